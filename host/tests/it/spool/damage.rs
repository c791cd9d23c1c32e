//! A spool that something has damaged between two runs: what can be read arrives in order, the rest is told and counted.
//!
//! FAULTS_SEED repeats the damage.

use std::fs;
use std::path::{Path, PathBuf};

use fastrand::Rng;

use super::kill::seeded;
use super::{folder, leave, spooling};
use crate::faults::{LONG, raw, stop, wait_for_text};
use crate::sink::Sink;

/// The only segment that the short runs of these tests make.
fn segment(dir: &Path) -> PathBuf {
    let mut files = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    files.find(|path| path.extension().is_some_and(|end| end == "seg")).expect("a segment")
}

/// Changes this many bytes of a file.
fn flip(path: &Path, bytes: usize, random: &mut Rng) {
    let mut content = fs::read(path).unwrap();
    for _ in 0..bytes {
        let at = random.usize(..content.len());
        content[at] ^= random.u8(1..);
    }
    fs::write(path, content).unwrap();
}

/// What one run left and something damaged, read by the next run, which is told of the damage by `says`. Returns how
/// many samples were left, and the numbers that arrived of them.
fn replay(damage: impl FnOnce(&Path), says: &[&str]) -> (u64, Vec<u64>) {
    let (sink, dir) = (Sink::start(), folder());
    let left = leave(dir.path()).pending;
    damage(dir.path());
    let running = spooling(sink.url(), dir.path()).spawn();
    let told = running.wait_for_log(|line| says.iter().any(|text| line.message().contains(text)), LONG);
    assert_eq!(told.level(), "WARNING", "{}", told.text);
    wait_for_text(&running, "the first batch is delivered");
    sink.wait_requests(2, LONG);
    let ledger = stop(&running);
    assert_eq!((ledger.pending, ledger.dropped), (0, ledger.dropped_as("spool_damaged")), "{ledger:?}");
    assert_eq!(sink.violations(), []);

    let read = raw(&running, "raw_sent");
    assert!(ledger.collected <= left + read && ledger.delivered >= read, "{left} left, {read} read: {ledger:?}");
    let samples = sink.wait_samples(ledger.delivered as usize, LONG);
    let mut numbers: Vec<u64> = samples.iter().map(|one| one.value as u64).collect();
    // The run's own come last, and all of them.
    let own = numbers.split_off(numbers.len() - read as usize);
    assert_eq!(own, (1..=read).collect::<Vec<_>>());
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    assert!(numbers.last() <= Some(&left));
    (left, numbers)
}

/// How often numbers are missing from 1 to the last one that was left.
fn holes(left: u64, numbers: &[u64]) -> usize {
    let ends = [0].into_iter().chain(numbers.iter().copied()).chain([left + 1]).collect::<Vec<_>>();
    ends.windows(2).filter(|pair| pair[1] != pair[0] + 1).count()
}

const DAMAGED: &[&str] = &["the spool is damaged", "can't be read any more", "was ended while it wrote"];

#[test]
fn changed_bytes_cost_the_batches_that_they_are_in() {
    let mut random = seeded();
    for bytes in [1, 1, 1, 2, 4] {
        let (left, numbers) = replay(|dir| flip(&segment(dir), bytes, &mut random), DAMAGED);
        assert!((1..=bytes).contains(&holes(left, &numbers)), "{bytes}: {numbers:?} of {left}");
    }
}

#[test]
fn a_tail_that_is_cut_off_costs_what_was_in_it() {
    let mut random = seeded();
    for _ in 0..3 {
        let cut = |dir: &Path| {
            let path = segment(dir);
            let content = fs::read(&path).unwrap();
            // Within the last record, whose header alone takes 48 bytes.
            fs::write(&path, &content[..content.len() - random.usize(1..48)]).unwrap();
        };
        let (left, numbers) = replay(cut, DAMAGED);
        assert!(numbers.len() as u64 >= left / 2 && (numbers.len() as u64) < left, "{numbers:?} of {left}");
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    }
}

#[test]
fn a_cursor_that_is_lost_costs_nothing() {
    let mut random = seeded();
    let whole = |damage: &mut dyn FnMut(&Path)| {
        let (left, numbers) = replay(damage, &["the spool is damaged"]);
        assert_eq!(numbers, (1..=left).collect::<Vec<_>>());
    };
    whole(&mut |dir| fs::remove_file(dir.join("cursor")).unwrap());
    whole(&mut |dir| fs::write(dir.join("cursor"), []).unwrap());
    whole(&mut |dir| {
        let rubbish: Vec<u8> = (0..5000).map(|_| random.u8(..)).collect();
        fs::write(dir.join("cursor"), rubbish).unwrap();
    });
}

#[test]
fn a_spool_that_holds_only_rubbish_is_told_and_used() {
    let mut random = seeded();
    let (_, numbers) = replay(
        |dir| {
            let path = segment(dir);
            let rubbish: Vec<u8> = fs::read(&path).unwrap().iter().map(|_| random.u8(..)).collect();
            fs::write(path, rubbish).unwrap();
        },
        DAMAGED,
    );
    assert!(numbers.is_empty(), "{numbers:?}");
}
