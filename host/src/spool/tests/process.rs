//! What only another process can go through: a death without warning, and a disk that takes no more.

use super::*;
use std::io::{BufRead, BufReader};
use std::process::{ChildStdout, Command, Stdio};

/// Names the directory to a test that runs itself as the other process.
const DIR: &str = "SPOOL_TEST_DIR";

/// Runs this test again, by its path, as a child of a shell that runs `before` first.
fn again(test: &str, before: &str, dir: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{before} exec \"$@\""), "sh"]);
    command.arg(std::env::current_exe().unwrap()).args(["--exact", test, "--nocapture"]);
    command.env(DIR, dir).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// The numbers after `done` in the child's output.
fn done(out: ChildStdout) -> impl Iterator<Item = u64> {
    let lines = BufReader::new(out).lines().map_while(Result::ok);
    lines.filter_map(|line| line.strip_prefix("done ")?.parse().ok())
}

#[test]
fn what_was_appended_survives_a_kill() {
    // However late the kill comes on a busy machine, the bound drops nothing: the pipe is full before.
    let bounds = Bounds { max_bytes: 1 << 30, ..ROOMY };
    if let Some(dir) = std::env::var_os(DIR) {
        let mut spool = open(Path::new(&dir), bounds).0;
        let mut sequence = spool.last_sequence();
        loop {
            sequence += 1;
            spool.append(&record(sequence, 1000)).unwrap();
            println!("done {sequence}");
        }
    }
    let dir = TempDir::new().unwrap();
    let mut expected = 1;
    for _ in 0..5 {
        let mut child =
            again("spool::tests::process::what_was_appended_survives_a_kill", "", dir.path()).spawn().unwrap();
        let mut sequences = done(child.stdout.take().unwrap());
        let first = sequences.next().expect("the child begins to append");
        assert_eq!(first, expected);
        sequences.by_ref().take(20).for_each(drop);
        child.kill().unwrap();
        let last = sequences.last().unwrap_or(first);
        child.wait().unwrap();
        let (mut spool, recovered) = open(dir.path(), bounds);
        assert_eq!(recovered.damaged_bytes, 0);
        let survived = drain(&mut spool);
        assert!(survived.last().is_some_and(|&survived| survived >= last));
        let end = first + survived.len() as u64;
        assert!(survived.into_iter().eq(first..end));
        expected = end;
    }
}

#[test]
fn a_disk_that_takes_no_more_costs_only_what_it_does_not_take() {
    // A limit on the length of files stands for a full disk: writes are cut short at it, then fail.
    if let Some(dir) = std::env::var_os(DIR) {
        let mut spool = open(Path::new(&dir), Bounds { max_bytes: 1 << 30, ..ROOMY }).0;
        let mut sequence = 0;
        let error = loop {
            sequence += 1;
            if let Err(error) = spool.append(&record(sequence, 10_000)) {
                break error;
            }
            println!("done {sequence}");
        };
        assert!(error.to_string().starts_with("can't write "), "{error}");
        assert!(spool.append(&record(sequence, 10_000)).is_err());
        assert_eq!(spool.waiting().records, sequence - 1);
        assert_eq!(spool.oldest().unwrap().map(|record| record.sequence), Some(1));
        spool.remove_oldest().unwrap();
        // What is small enough is taken again.
        spool.append(&record(sequence, 10)).unwrap();
        println!("done {sequence}");
        return;
    }
    let dir = TempDir::new().unwrap();
    let test = "spool::tests::process::a_disk_that_takes_no_more_costs_only_what_it_does_not_take";
    let mut child = again(test, "trap '' XFSZ; ulimit -f 101 &&", dir.path()).spawn().unwrap();
    let appended: Vec<u64> = done(child.stdout.take().unwrap()).collect();
    assert!(child.wait().unwrap().success());
    assert!(appended.len() > 3, "{appended:?}");
    let (mut spool, recovered) = open(dir.path(), ROOMY);
    assert_eq!((recovered.torn_bytes, recovered.damaged_bytes), (0, 0));
    assert_eq!(drain(&mut spool), appended[1..]);
}

#[test]
fn a_disk_that_is_full_of_what_was_answered_is_used_again() {
    if let Some(dir) = std::env::var_os(DIR) {
        let mut spool = open(Path::new(&dir), Bounds { max_bytes: 1 << 30, ..ROOMY }).0;
        for round in 0..3 {
            let mut sequence = round * 100;
            while spool.append(&record(sequence + 1, 10_000)).is_ok() {
                sequence += 1;
            }
            assert!(sequence > round * 100 + 3);
            while spool.oldest().unwrap().is_some() {
                spool.remove_oldest().unwrap();
            }
            spool.append(&record(sequence + 1, 10_000)).unwrap();
            assert_eq!(spool.oldest().unwrap().map(|record| record.sequence), Some(sequence + 1));
            spool.remove_oldest().unwrap();
        }
        spool.append(&record(1000, 10_000)).unwrap();
        println!("done 1000");
        return;
    }
    let dir = TempDir::new().unwrap();
    let test = "spool::tests::process::a_disk_that_is_full_of_what_was_answered_is_used_again";
    let mut child = again(test, "trap '' XFSZ; ulimit -f 101 &&", dir.path()).spawn().unwrap();
    assert_eq!(done(child.stdout.take().unwrap()).collect::<Vec<_>>(), [1000]);
    assert!(child.wait().unwrap().success());
    assert_eq!(drain(&mut open(dir.path(), ROOMY).0), [1000]);
}
