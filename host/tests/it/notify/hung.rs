//! A disk that hangs, for real: a file system of its own that is frozen while the host writes to it.

use std::cell::Cell;
use std::fs::File;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::{Manager, STRICT};
use crate::faults::{LONG, host, lines, stop};
use crate::host::Line;
use crate::receivers::{fetch, say};
use crate::sink::Sink;

/// A mounted file system; thawed and gone when dropped.
struct Disk(TempDir);

impl Disk {
    /// Needs root and a loop device, which not every container has.
    fn mounted() -> Result<Self, String> {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let (image, at) = (dir.path().join("image"), dir.path().join("disk"));
        File::create(&image).and_then(|file| file.set_len(16 << 20)).map_err(|error| error.to_string())?;
        std::fs::create_dir(&at).map_err(|error| error.to_string())?;
        fetch::run(Command::new("/sbin/mkfs.ext4").arg("-q").arg(&image))?;
        fetch::run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&at))?;
        Ok(Self(dir))
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("disk")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = freeze("--unfreeze", &self.path());
        let _ = fetch::run(Command::new("umount").arg("--lazy").arg(self.path()));
    }
}

fn freeze(how: &str, disk: &Path) -> Result<String, String> {
    fetch::run(Command::new("/sbin/fsfreeze").arg(how).arg(disk))
}

#[test]
fn a_stage_that_hangs_is_no_sign_of_life() {
    let manager = Manager::at_path();
    let sink = Sink::start();
    let disk = match Disk::mounted() {
        Ok(disk) => disk,
        Err(why) => return say(&format!("SKIPPED: no disk that can be made to hang: {why}")),
    };
    let spool = disk.path().join("spool");
    let running =
        manager.watches(host(sink.url()), STRICT).env("SPOOL_DIR", &spool).env("SPOOL_FLUSH_S", "0.1").spawn();
    // Dropped before the host, which could not be killed in a write to it.
    let disk = disk;
    manager.hears(|words| words.starts_with("WATCHDOG=1\nSTATUS=ready"));

    freeze("--freeze", &disk.path()).expect("a file system can be frozen");
    // On a starved machine any stage is late for a moment. This one stays so: many times in a row nothing else is told.
    let in_a_row = Cell::new(0);
    manager.hears(|words| {
        let hangs = words.starts_with("STATUS=batching should have moved ");
        in_a_row.set(if hangs { in_a_row.get() + 1 } else { 0 });
        in_a_row.get() == 10
    });
    let says = |line: &Line| line.text.contains("a thread of the host's hangs") && line.field("stage") == "batching";
    assert_eq!(running.wait_for_log(says, LONG).level(), "ERROR");

    freeze("--unfreeze", &disk.path()).expect("and thawed");
    manager.hears(|words| words.starts_with("WATCHDOG=1\nSTATUS=ready"));
    let ledger = stop(&running);
    assert_eq!(ledger.dropped, 0, "{ledger:?}");
    assert!(lines(&running, "ERROR").iter().all(|line| line.text.contains("hangs")), "{}", running.log_text());
}
