//! How a process ended, in words.
//!
//! Enters: its exit status, the last lines that it wrote on stderr, the bound of its memory. Leaves: a phrase that ends
//! "the plugin's process …".

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use signal_hook::consts::signal::{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGKILL, SIGSEGV, SIGSYS, SIGTRAP};

/// Says how it ended: `was ended by a segmentation fault (SIGSEGV)`, `exited with status 7`.
pub(crate) fn words(status: ExitStatus, last_lines: &[String], memory_max: Option<usize>) -> String {
    let Some(signal) = status.signal() else {
        return format!("exited with status {}", status.code().unwrap_or_default());
    };
    let name = signal_hook::low_level::signal_name(signal).map_or(format!("signal {signal}"), str::to_owned);
    let says = |text: &str| last_lines.iter().any(|line| line.contains(text));
    let kind = match signal {
        SIGSEGV => "a segmentation fault",
        SIGABRT if says("has overflowed its stack") => "an abort, as a stack overflowed",
        SIGABRT if says("memory allocation of ") => "an abort, as memory was refused",
        SIGABRT => "an abort",
        SIGBUS => "a bus error",
        SIGFPE => "an arithmetic fault",
        SIGILL => "an illegal instruction",
        SIGSYS => "a forbidden system call",
        SIGTRAP => "a trap",
        SIGKILL => "a kill, the system's for lack of memory or somebody's",
        _ => "a signal",
    };
    let dumped = if status.core_dumped() { ", core dumped" } else { "" };
    let limit = match memory_max {
        // Only an allocation of Rust's says that it failed; C's return null, and whoever doesn't look meets a fault.
        Some(bytes) if matches!(signal, SIGABRT | SIGSEGV) => format!(", with PLUGIN_MEMORY_MAX at {bytes} bytes"),
        _ => String::new(),
    };
    format!("was ended by {kind} ({name}{dumped}){limit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(raw: i32, last_line: &str, memory_max: Option<usize>) -> String {
        words(ExitStatus::from_raw(raw), &[last_line.to_owned()], memory_max)
    }

    #[test]
    fn each_end_has_its_words() {
        assert_eq!(ended(7 << 8, "", None), "exited with status 7");
        assert_eq!(ended(0, "", Some(9)), "exited with status 0");
        assert_eq!(ended(SIGSEGV, "", None), "was ended by a segmentation fault (SIGSEGV)");
        assert_eq!(ended(SIGABRT | 0x80, "", None), "was ended by an abort (SIGABRT, core dumped)");
        assert_eq!(ended(34, "", None), "was ended by a signal (signal 34)");
        let overflow = ended(SIGABRT, "thread 'get_power' (7) has overflowed its stack", None);
        assert_eq!(overflow, "was ended by an abort, as a stack overflowed (SIGABRT)");
        let memory = ended(SIGABRT, "memory allocation of 1048576 bytes failed", Some(1 << 26));
        assert_eq!(
            memory,
            "was ended by an abort, as memory was refused (SIGABRT), with PLUGIN_MEMORY_MAX at 67108864 bytes"
        );
    }
}
