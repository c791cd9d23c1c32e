//! What this process takes of the machine, as the kernel counts it.
//!
//! Enters: /proc. Leaves: a [`Usage`], or none where /proc is not there. Never: asks about another process.

use std::fs;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};

/// What a process takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// User and system time.
    pub cpu: Duration,
    /// Memory that is in use.
    pub resident_bytes: u64,
    /// Memory that is mapped.
    pub virtual_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// File descriptors.
    pub open_fds: u64,
    /// How many of those there may be; the highest number where there is no limit.
    pub max_fds: u64,
}

/// What this process takes now.
pub fn usage() -> Option<Usage> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let ticks_per_second = rustix::param::clock_ticks_per_second();
    let known = parse(&stat, ticks_per_second, rustix::param::page_size() as u64)?;
    // One of them is the look itself.
    let open_fds = (fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1);
    let max_fds = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    Some(Usage { open_fds, max_fds, ..known })
}

/// The fields of `/proc/self/stat` (proc(5)). The name of the program stands in brackets and may hold anything.
fn parse(stat: &str, ticks_per_second: u64, page_bytes: u64) -> Option<Usage> {
    let (_, rest) = stat.rsplit_once(')')?;
    // The first is the third of the manual.
    let field = |number: usize| rest.split_ascii_whitespace().nth(number - 3)?.parse::<u64>().ok();
    let ticks = field(14)? + field(15)?;
    let (whole, part) = (ticks / ticks_per_second.max(1), ticks % ticks_per_second.max(1));
    Some(Usage {
        cpu: Duration::from_secs(whole) + Duration::from_secs(part) / u32::try_from(ticks_per_second.max(1)).ok()?,
        threads: field(20)?,
        virtual_bytes: field(23)?,
        resident_bytes: field(24)?.saturating_mul(page_bytes),
        ..Usage::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_line_is_read_whatever_the_program_is_called() {
        let line =
            "7 (a) b ( ) S 1 7 7 0 -1 4194304 1 2 3 4 250 175 8 9 20 0 5 0 99 4096000 300 18446744073709551615 1 1";
        let usage = parse(line, 100, 4096).unwrap();
        assert_eq!(usage.cpu, Duration::from_millis(4250));
        assert_eq!((usage.threads, usage.virtual_bytes, usage.resident_bytes), (5, 4_096_000, 300 * 4096));
        for broken in ["", "7 (a", "7 (a) S 1 2", "7 (a) S x x x x x x x x x x x x x x x x x x x x x x"] {
            assert_eq!(parse(broken, 100, 4096), None, "{broken}");
        }
    }

    #[test]
    fn this_process_takes_something() {
        let usage = usage().unwrap();
        assert!(usage.resident_bytes > 1 << 20 && usage.virtual_bytes >= usage.resident_bytes, "{usage:?}");
        assert!(usage.threads >= 2 && (3..usage.max_fds).contains(&usage.open_fds), "{usage:?}");
    }
}
