use super::*;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tempfile::TempDir;

mod damage;
mod files;
mod model;
mod process;

const ROOMY: Bounds = Bounds { max_bytes: 1 << 20, max_age: Duration::MAX };

/// As many samples as its number, of that many milliseconds, and a body of this length.
fn record(sequence: u64, body_len: usize) -> Record {
    Record {
        sequence,
        protocol: if sequence.is_multiple_of(2) { Protocol::V2 } else { Protocol::V1 },
        samples: sequence as u32,
        exemplars: 0,
        time_range_ms: (sequence as i64 - 1, sequence as i64),
        body: vec![sequence as u8; body_len].into(),
    }
}

fn open(dir: &Path, bounds: Bounds) -> (Spool, Recovered) {
    reopen(dir, bounds, false)
}

/// A test that starts a process has all open files, locks included, twice for a moment, whoever they belong to.
fn reopen(dir: &Path, bounds: Bounds, fsync: bool) -> (Spool, Recovered) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match Spool::open(dir, bounds, fsync) {
            Err(SpoolError::Held { .. }) if Instant::now() < end => std::thread::yield_now(),
            opened => return opened.unwrap(),
        }
    }
}

fn filled(dir: &Path, bounds: Bounds, sequences: impl IntoIterator<Item = u64>, body_len: usize) -> Spool {
    let mut spool = open(dir, bounds).0;
    sequences.into_iter().for_each(|n| spool.append(&record(n, body_len)).unwrap());
    spool
}

/// Removes all that waits, and returns the numbers.
fn drain(spool: &mut Spool) -> Vec<u64> {
    let mut sequences = Vec::new();
    while let Some(record) = spool.oldest().unwrap() {
        spool.remove_oldest().unwrap();
        sequences.push(record.sequence);
    }
    assert_eq!(spool.waiting(), Tally::default());
    sequences
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let (numbers, _) = segment::list(dir).unwrap();
    numbers.into_iter().map(|number| segment::path(dir, number)).collect()
}

fn tally(records: u64, samples: u64, body_len: u64) -> Tally {
    Tally { records, samples, exemplars: 0, bytes: records * (HEADER_LEN as u64 + body_len) }
}

#[test]
fn what_waits_outlives_the_process_in_order_and_unchanged() {
    let dir = TempDir::new().unwrap();
    for fsync in [false, true] {
        let dir = dir.path().join("made").join(fsync.to_string());
        let (mut spool, recovered) = reopen(&dir, ROOMY, fsync);
        assert_eq!((recovered, spool.last_sequence()), (Recovered::default(), 0));
        assert_eq!(spool.oldest().unwrap(), None);
        (1..=4).for_each(|n| spool.append(&record(n, 10)).unwrap());
        assert_eq!(spool.oldest().unwrap(), Some(record(1, 10)));
        spool.remove_oldest().unwrap();
        assert_eq!(spool.oldest().unwrap(), Some(record(2, 10)));
        drop(spool);
        let (mut spool, recovered) = reopen(&dir, ROOMY, fsync);
        assert_eq!(recovered, Recovered { waiting: tally(3, 9, 10), ..Recovered::default() });
        assert_eq!((spool.waiting(), spool.last_sequence()), (tally(3, 9, 10), 4));
        spool.append(&record(5, 10)).unwrap();
        assert_eq!(spool.oldest().unwrap(), Some(record(2, 10)));
        assert_eq!(drain(&mut spool), [2, 3, 4, 5]);
        assert_eq!(spool.take_losses(), Losses::default());
        drop(spool);
        let (mut spool, recovered) = reopen(&dir, ROOMY, fsync);
        assert_eq!((recovered, spool.last_sequence()), (Recovered::default(), 5));
        assert!(drain(&mut spool).is_empty());
    }
}

#[test]
fn what_is_held_waits_no_more_until_it_is_put_back() {
    let dir = TempDir::new().unwrap();
    let mut spool = filled(dir.path(), ROOMY, 1..=2, 0);
    spool.remove_oldest().unwrap();
    assert_eq!(spool.waiting(), tally(2, 3, 0));
    for _ in 0..2 {
        assert_eq!(spool.oldest().unwrap().unwrap().sequence, 1);
        assert_eq!(spool.waiting(), tally(1, 2, 0));
    }
    spool.put_back();
    assert_eq!(spool.waiting(), tally(2, 3, 0));
    assert_eq!(drain(&mut spool), [1, 2]);
}

#[test]
fn the_bound_holds_and_drops_the_oldest() {
    let dir = TempDir::new().unwrap();
    let bounds = Bounds { max_bytes: 16_000, ..ROOMY };
    let mut spool = open(dir.path(), bounds).0;
    let mut dropped = Tally::default();
    for n in 1..=1000 {
        spool.append(&record(n, 52)).unwrap();
        dropped += spool.take_losses().overflow;
        let on_disk: u64 = segments(dir.path()).iter().map(|path| path.metadata().unwrap().len()).sum();
        assert_eq!(on_disk, spool.disk_bytes());
        assert!(on_disk <= bounds.max_bytes);
        // No more goes than a segment, which is a sixteenth of the bound.
        assert!(n <= 160 || spool.waiting().records > 150);
    }
    let waiting = spool.waiting();
    assert_eq!(dropped.records + waiting.records, 1000);
    assert_eq!(dropped.samples + waiting.samples, 500_500);
    drop(spool);
    let (mut spool, recovered) = open(dir.path(), bounds);
    assert_eq!(recovered, Recovered { waiting, ..Recovered::default() });
    assert_eq!(drain(&mut spool), (dropped.records + 1..=1000).collect::<Vec<_>>());
}

#[test]
fn the_bound_never_counts_what_is_held() {
    for answered in [true, false] {
        let dir = TempDir::new().unwrap();
        let mut spool = filled(dir.path(), Bounds { max_bytes: 200, ..ROOMY }, 1..=2, 52);
        assert_eq!(spool.oldest().unwrap().unwrap().sequence, 1);
        (3..=4).for_each(|n| spool.append(&record(n, 52)).unwrap());
        assert_eq!(spool.take_losses().overflow, tally(1, 2, 52));
        if answered {
            spool.remove_oldest().unwrap();
        } else {
            spool.put_back();
        }
        let lost = if answered { Tally::default() } else { tally(1, 1, 52) };
        assert_eq!((spool.take_losses().overflow, spool.waiting()), (lost, tally(2, 7, 52)));
        assert_eq!(drain(&mut spool), [3, 4]);
    }
}

#[test]
fn what_is_larger_than_the_bound_costs_nothing_else() {
    let dir = TempDir::new().unwrap();
    let mut spool = filled(dir.path(), Bounds { max_bytes: 200, ..ROOMY }, 1..=2, 52);
    let error = spool.append(&record(3, 153)).unwrap_err();
    assert!(error.to_string().starts_with("a batch takes 201 bytes"), "{error}");
    assert_eq!((spool.take_losses(), spool.waiting()), (Losses::default(), tally(2, 3, 52)));
    spool.append(&record(3, 152)).unwrap();
    assert_eq!((spool.take_losses().overflow, drain(&mut spool)), (tally(2, 3, 52), vec![3]));
}

#[test]
fn what_is_answered_gives_its_space_back() {
    let dir = TempDir::new().unwrap();
    let mut spool = open(dir.path(), Bounds { max_bytes: 16_000, ..ROOMY }).0;
    for n in 1..=500 {
        spool.append(&record(n, 52)).unwrap();
        assert_eq!(spool.oldest().unwrap().unwrap().sequence, n);
        spool.remove_oldest().unwrap();
        assert_eq!(segments(dir.path()).len(), 1);
    }
    assert_eq!(spool.take_losses(), Losses::default());
}

#[test]
fn a_full_disk_gets_back_what_was_answered_of_the_open_segment() {
    let dir = TempDir::new().unwrap();
    let mut spool = filled(dir.path(), ROOMY, 1..=3, 1000);
    // A file that is full: it takes no byte, wherever it is written.
    let full = || Some(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    assert_eq!(spool.oldest().unwrap().unwrap().sequence, 1);
    spool.remove_oldest().unwrap();
    spool.writer = full();
    let error = spool.append(&record(4, 1000)).unwrap_err();
    assert!(error.to_string().contains("free space or lower SPOOL_MAX_BYTES"), "{error}");
    assert_eq!(drain(&mut spool), [2, 3], "what waited is as it was");

    let before = segments(dir.path());
    spool.append(&record(4, 1000)).unwrap();
    assert_eq!(drain(&mut spool), [4]);
    spool.writer = full();
    spool.append(&record(5, 1000)).unwrap();
    assert!(segments(dir.path()).len() == 1 && segments(dir.path()) != before, "{:?}", segments(dir.path()));
    assert_eq!((spool.disk_bytes(), spool.take_losses()), (1048, Losses::default()));
    drop(spool);
    let (mut spool, recovered) = open(dir.path(), ROOMY);
    assert_eq!(recovered.waiting, tally(1, 5, 1000));
    assert_eq!((drain(&mut spool), spool.last_sequence()), (vec![5], 5));
}

#[test]
fn age_drops_the_oldest_by_their_newest_sample() {
    let dir = TempDir::new().unwrap();
    // Segments of a hundred bytes hold two of these records, of 4,800 many.
    for max_bytes in [1600, 16 * 4800] {
        let bounds = Bounds { max_bytes, max_age: Duration::from_millis(10) };
        let mut spool = filled(dir.path(), bounds, 1..=9, 0);
        spool.expire(11).unwrap();
        assert_eq!(spool.take_losses(), Losses::default());
        assert_eq!(spool.oldest().unwrap().unwrap().sequence, 1);
        spool.expire(15).unwrap();
        assert_eq!(spool.take_losses(), Losses::default(), "a record is held");
        spool.put_back();
        spool.expire(15).unwrap();
        assert_eq!(spool.take_losses(), Losses { expired: tally(4, 10, 0), ..Losses::default() });
        drop(spool);
        let mut spool = open(dir.path(), bounds).0;
        assert_eq!(spool.oldest().unwrap().unwrap().sequence, 5);
        spool.put_back();
        spool.expire(i64::MAX).unwrap();
        assert_eq!((spool.take_losses().expired.records, spool.oldest().unwrap()), (5, None));
        spool.expire(i64::MIN).unwrap();
    }
    let mut spool = filled(dir.path(), ROOMY, 1..=2, 0);
    spool.expire(i64::MAX).unwrap();
    assert_eq!(spool.waiting().records, 2);
}

#[test]
fn only_one_at_a_time_may_use_a_directory() {
    let dir = TempDir::new().unwrap();
    let spool = open(dir.path(), ROOMY).0;
    let error = Spool::open(dir.path(), ROOMY, false).unwrap_err();
    assert!(matches!(&error, SpoolError::Held { dir: held } if held == dir.path()));
    assert!(error.to_string().contains("is in use by another process: give each"), "{error}");
    drop(spool);
    open(dir.path(), ROOMY);
}

#[test]
fn what_the_system_refuses_is_said_and_can_be_tried_again() {
    let parent = TempDir::new().unwrap();
    let file = parent.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Spool::open(&file.join("spool"), ROOMY, false).unwrap_err();
    assert!(error.to_string().starts_with("can't make the directory "), "{error}");

    let dir = parent.path().join("spool");
    let mut spool = filled(&dir, ROOMY, 1..=2, 0);
    fs::remove_dir_all(&dir).unwrap();
    assert_eq!(spool.oldest().unwrap(), None);
    assert_eq!(spool.take_losses().damaged, tally(2, 3, 0));
    let error = spool.append(&record(3, 0)).unwrap_err();
    assert!(matches!(&error, SpoolError::Io { action: "make", error, .. } if error.kind() == io::ErrorKind::NotFound));
    assert_eq!(spool.waiting(), Tally::default());
    fs::create_dir(&dir).unwrap();
    spool.append(&record(3, 0)).unwrap();
    assert_eq!(drain(&mut spool), [3]);
}

#[test]
fn errors_say_what_to_do() {
    let path = Path::new("x/cursor");
    let said = |kind: io::ErrorKind| SpoolError::io("write", path)(kind.into()).to_string();
    assert_eq!(
        said(io::ErrorKind::StorageFull),
        "can't write x/cursor: no storage space; free space or lower SPOOL_MAX_BYTES"
    );
    assert!(
        said(io::ErrorKind::ReadOnlyFilesystem)
            .ends_with("; SPOOL_DIR must be a directory that this user may write to")
    );
    assert_eq!(said(io::ErrorKind::TimedOut), "can't write x/cursor: timed out");
}
