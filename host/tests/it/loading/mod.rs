//! What can't be the plugin: exit status 3, one line that says which file, what is wrong and what to do.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::faults::{LONG, NOWHERE, host, lines};
use crate::host::Host;
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
    let running = Host::new().env("MONITOR_IMPL_PATH", path).env("REMOTE_WRITE_URL", NOWHERE).spawn();
    // A signal would leave no code.
    assert_eq!(running.wait(LONG).code(), Some(3), "{}: {}", path.display(), running.log_text());
    let log = running.log();
    assert_eq!(log.len(), 1, "{}", running.log_text());
    let begins = format!("{}: ", path.display());
    let message = log[0].message();
    assert!(log[0].level() == "ERROR" && message.starts_with(&begins) && message.contains(says), "{says}: {message}");
    assert!(message.len() < begins.len() + 300 && !message.contains('\n'), "{message}");
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
    assert_refused(&files.file("noise.so", &[0xab; 5000]), "is not a shared library");
    assert_refused(&files.file("name.so", b"\x7fELF"), "is cut short");
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
    assert_refused(Path::new(env!("CARGO_BIN_EXE_monitor-host")), "no plugin");
}

#[test]
fn a_plugin_that_is_cut_short() {
    let files = Files::new();
    let whole = fs::read(plugins::so("monitor-dummy")).unwrap();
    let length = whole.len();
    let some = [5, 16, 63, 64, 65, 200, 4096, 4097];
    let shares = (1..16).map(|sixteenths| length / 16 * sixteenths);
    for length in some.into_iter().chain(shares).chain([length - 4096, length - 64, length - 1]) {
        let path = files.file("short.so", &whole[..length]);
        assert_refused(&path, "is cut short or damaged: copy or build it again");
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_plugin_for_another_machine() {
    let files = Files::new();
    let whole = fs::read(plugins::so("monitor-dummy")).unwrap();
    let other = |at: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[at] = byte;
        files.file("other.so", &bytes)
    };
    // The ELF header has the class at 4, the byte order at 5, the type at 16 and the machine at 18: 243 is RISC-V.
    assert_refused(&other(18, 243), "is for another machine (ELF machine 243)");
    assert_refused(&other(4, 1), "is a 32-bit library");
    assert_refused(&other(5, 2), "is for another machine");
    assert_refused(&other(16, 1), "is not a shared library");
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
fn a_plugin_whose_setting_is_wrong() {
    for (name, value) in [("FAULT_AFTER", "ten"), ("FAULT_FORM", "xml"), ("FAULT_OFFSETS_MS", "1,,2")] {
        let running = host(NOWHERE).env(name, value).spawn();
        assert_eq!(running.wait(LONG).code(), Some(3), "{}", running.log_text());
        let told = lines(&running, "ERROR");
        assert!(told.len() == 1 && told[0].message().contains(name), "{}", running.log_text());
    }
}
