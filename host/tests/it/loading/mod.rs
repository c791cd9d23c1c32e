//! What can't be the plugin: exit status 3, one line that says which file, what is wrong and what to do.
//!
//! The libraries are damaged copies of real ones, or made by `made`; nothing of them may run before they are known to be
//! plugins.

mod damaged;
mod linked;
mod made;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::faults::{LONG, NOWHERE, host, lines};
use crate::host::{Host, Line, Running};
use crate::plugins;

/// A file that the host must refuse, in a folder of the test's own.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder for temporary files"))
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).expect("a temporary file can be written");
        path
    }
}

/// The host ends by itself, with 3, after one line about this file.
#[track_caller]
fn assert_refused(path: &Path, says: &str) {
    let running = refused(path);
    let log = running.log();
    assert_eq!(log.len(), 1, "{}", running.log_text());
    assert_says(&running, &log[0], path, says);
}

/// As [`assert_refused`], of a library that has been opened: it may have written to stderr by itself.
#[track_caller]
fn assert_refused_after_opening(path: &Path, says: &str) {
    let running = refused(path);
    let told = lines(&running, "ERROR");
    assert_eq!(told.len(), 1, "{}", running.log_text());
    assert_says(&running, &told[0], path, says);
}

/// The host, ended with 3: a signal would leave no code.
#[track_caller]
fn refused(path: &Path) -> Running {
    refused_by(Host::new(), path)
}

/// As [`refused`], however the host is started.
#[track_caller]
fn refused_by(host: Host, path: &Path) -> Running {
    let host = host.env("MONITOR_IMPL_PATH", path).env("REMOTE_WRITE_URL", NOWHERE);
    // Whatever gets that far ends there.
    let running = host.env("FAULT_NEW", "error").spawn();
    assert_eq!(running.wait(LONG).code(), Some(3), "{}: {}", path.display(), running.log_text());
    running
}

#[track_caller]
fn assert_says(running: &Running, line: &Line, path: &Path, says: &str) {
    let begins = format!("{}: ", path.display());
    let message = line.message();
    assert!(line.level() == "ERROR" && message.starts_with(&begins) && message.contains(says), "{says}: {message}");
    // The path once more, where a command is given.
    assert!(message.len() < 2 * begins.len() + 400 && !message.contains('\n'), "{message}");
    assert_eq!(running.output(), [""; 0]);
}

#[test]
fn what_is_no_library() {
    let files = Files::new();
    assert_refused(&files.0.path().join("none.so"), "No such file");
    assert_refused(files.0.path(), "is a directory");
    assert_refused(&files.0.path().join("none.so/beyond"), "No such file");
    assert_refused(Path::new("/dev/null"), "is not a regular file");
    assert_refused(&files.file("empty.so", b""), "an empty file");
    assert_refused(&files.file("text.so", b"to be built\n"), "text");
    assert_refused(&files.file("script.so", b"#!/bin/sh\nexit\n"), "a script");
    assert_refused(&files.file("archive.so", b"!<arch>\n/ 0"), "an archive");
    assert_refused(&files.file("wasm.so", b"\0asm\x01\0\0\0"), "WebAssembly");
    assert_refused(&files.file("windows.so", b"MZ\x90\0"), "a Windows library");
    assert_refused(&files.file("macos.so", b"\xcf\xfa\xed\xfe\x07"), "a macOS library");
    assert_refused(&files.file("packed.so", b"\x1f\x8b\x08\0"), "a compressed file (unpack it)");
    assert_refused(&files.file("zip.so", b"PK\x03\x04"), "a zip archive (unpack it)");
    assert_refused(&files.file("zeros.so", &[0; 5000]), "a file of zeros");
    assert_refused(&files.file("noise.so", &[0xab; 5000]), "is not a shared library but something else");
    assert_refused(&files.file("name.so", b"\x7fELF"), "is cut short");
}

#[test]
fn what_may_not_be_read() {
    let files = Files::new();
    let path = files.file("secret.so", b"\x7fELF");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).expect("the file is ours");
    let without = "setpriv --bounding-set=-dac_override,-dac_read_search";
    let may_read = |command: &str| {
        let script = format!("{command} cat {}", path.display());
        Command::new("sh").args(["-c", &script]).output().is_ok_and(|output| output.status.success())
    };
    // Root may read everything, unless that is taken away.
    let running = if !may_read("") {
        refused(&path)
    } else if Command::new("setpriv").arg("--version").output().is_ok() && !may_read(without) {
        refused_by(Host::by_shell(&format!("exec {without} \"$0\"")), &path)
    } else {
        return eprintln!("SKIPPED: this is root, and no setpriv takes its rights away");
    };
    let log = running.log();
    assert_eq!(log.len(), 1, "{}", running.log_text());
    assert_says(&running, &log[0], &path, "can't be read: Permission denied (os error 13); let the user that runs");
}

#[test]
fn what_is_another_library() {
    // Libraries that this process has mapped itself exist, whatever the system.
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mapped = maps.lines().filter_map(|line| line.find('/').map(|start| &line[start..]));
    let mut libraries: Vec<&str> = mapped.filter(|path| path.contains(".so")).collect();
    libraries.dedup();
    assert!(libraries.len() >= 2, "{maps}");
    for library in libraries {
        assert_refused(Path::new(library), "is a library but no plugin");
    }
    // Position-independent programs look like libraries.
    assert_refused(Path::new(env!("CARGO_BIN_EXE_monitor-host")), "is not a shared library but a program");
}

#[test]
fn a_plugin_that_can_not_start() {
    let path = plugins::so("monitor-fault");
    for (how, says) in [("error", "there is no sensor"), ("panic", "lib.rs"), ("panic", "FAULT_NEW asked for a panic")]
    {
        let running = host(NOWHERE).env("FAULT_NEW", how).spawn();
        assert_eq!(running.wait(LONG).code(), Some(3), "{}", running.log_text());
        let told = lines(&running, "ERROR");
        assert_eq!(told.len(), 1, "{}", running.log_text());
        let message = told[0].message();
        assert!(message.starts_with(&format!("{}: ", path.display())) && message.contains(says), "{message}");
    }
}

#[test]
fn a_panic_in_new_comes_with_a_backtrace_where_one_was_asked_for() {
    for (asked, told) in [("1", 1), ("0", 0)] {
        let running = host(NOWHERE).env("FAULT_NEW", "panic").env("RUST_BACKTRACE", asked).spawn();
        assert_eq!(running.wait(LONG).code(), Some(3), "{}", running.log_text());
        let backtraces = lines(&running, "ERROR").into_iter().filter(|line| line.message().starts_with("backtrace: "));
        let backtraces: Vec<_> = backtraces.collect();
        assert_eq!(backtraces.len(), told, "{}", running.log_text());
        assert!(backtraces.iter().all(|line| line.message().contains("fault/src/lib.rs")), "{}", running.log_text());
    }
}

#[test]
fn a_plugin_whose_setting_is_wrong() {
    for (name, value) in [("FAULT_AFTER", "ten"), ("FAULT_FORM", "xml"), ("FAULT_OFFSETS_MS", "1,,2")] {
        let running = host(NOWHERE).env(name, value).spawn();
        assert_eq!(running.wait(LONG).code(), Some(3), "{}", running.log_text());
        let told = lines(&running, "ERROR");
        assert!(told.len() == 1 && told[0].message().contains(name), "{}", running.log_text());
    }
}
