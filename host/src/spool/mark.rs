//! Who uses the spool, written where the lock is: what stands there when nobody holds the lock was left by a run that ended
//! without a word.
//!
//! Enters: a process and the moment of its start; its ordinary end. Leaves: the same, of a run that had no such end.
//!
//! Never: fails: a mark that can't be written says nothing later.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;

/// A run that was killed, crashed, or lost its machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastRun {
    /// Its process id; 0 is not known.
    pub pid: u32,
    /// When it started to use the spool, in milliseconds since the Unix epoch; 0 is not known.
    pub since_ms: i64,
}

/// What the last run left, unless it came to its end.
pub(super) fn read(lock: &File) -> Option<LastRun> {
    let mut text = Vec::new();
    // Longer than any mark.
    lock.take(64).read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text);
    let mut words = text.split_ascii_whitespace();
    let number = words.next()?.parse().unwrap_or_default();
    let since_ms = words.next().and_then(|word| word.parse().ok()).unwrap_or_default();
    Some(LastRun { pid: number, since_ms })
}

/// This run has begun.
pub(super) fn begin(lock: &File, run: LastRun) {
    end(lock);
    let _ = lock.write_all_at(format!("{} {}\n", run.pid, run.since_ms).as_bytes(), 0);
}

/// This run has come to its end.
pub(super) fn end(lock: &File) {
    let _ = lock.set_len(0);
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use super::*;

    #[test]
    fn a_run_without_an_end_is_known_by_its_mark() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).unwrap();
        assert_eq!(read(&open()), None);
        let run = LastRun { pid: 4_000_000, since_ms: 1_760_000_000_000 };
        begin(&open(), run);
        assert_eq!(read(&open()), Some(run));
        let shorter = LastRun { pid: 7, since_ms: 1 };
        begin(&open(), shorter);
        assert_eq!(read(&open()), Some(shorter));
        end(&open());
        assert_eq!(read(&open()), None);
        for rubbish in [&b"x"[..], b"\xff\xff 7", &[b'9'; 500]] {
            std::fs::write(&path, rubbish).unwrap();
            assert_eq!(read(&open()).map(|run| run.pid), Some(0), "{rubbish:?}");
        }
    }
}
