//! What the variables of the spool do, as the next run, the receiver or the disk shows it.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::{SOON, pushing_to, stop};
use crate::faults::{NOWHERE, raw};
use crate::host::{Host, Ledger, Running};
use crate::plugins;
use crate::sink::Sink;
use crate::spool::{bytes_in, wait_until};

effects! {
    SPOOL_DIR: what_waits_there_outlives_the_run,
    SPOOL_MAX_BYTES: no_more_of_the_disk_is_taken,
    SPOOL_MAX_AGE_S: what_waited_longer_is_dropped,
    SPOOL_FLUSH_S: with_a_spool_batches_are_cut_as_often,
    SPOOL_FSYNC: what_can_not_be_flushed_is_no_spool,
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// A host whose receiver is not there.
fn unheard(dir: &Path) -> Host {
    let quick = [("SCRAPE_INTERVAL_S", "0.05"), ("PUSH_INTERVAL_S", "0.2"), ("SHUTDOWN_TIMEOUT_S", "1")];
    let host = Host::new().env("REMOTE_WRITE_URL", NOWHERE).env("MONITOR_IMPL_PATH", plugins::so("monitor-fault"));
    quick.into_iter().fold(host, |host, (name, value)| host.env(name, value)).env("SPOOL_DIR", dir)
}

fn wait_for_failure(host: &Running) {
    host.wait_for_log(|line| line.message().starts_with("a push failed and will be tried again"), SOON);
}

/// A run that delivers nothing; its books.
#[track_caller]
fn leave(host: Host) -> Ledger {
    let host = host.spawn();
    wait_for_failure(&host);
    let ledger = stop(&host);
    assert!(ledger.collected > 0 && ledger.delivered == 0, "{ledger:?}");
    ledger
}

fn what_waits_there_outlives_the_run() {
    let dir = folder();
    let ledger = leave(unheard(dir.path()).env("SPOOL_DIR", ""));
    assert_eq!((ledger.pending, ledger.dropped_as("shutdown")), (0, ledger.collected));
    assert_eq!(bytes_in(dir.path()), 0);

    let ledger = leave(unheard(dir.path()));
    assert_eq!((ledger.pending, ledger.dropped), (ledger.collected, 0));
    assert!(bytes_in(dir.path()) > 0);
    let sink = Sink::start();
    let host = pushing_to(&sink).env("SPOOL_DIR", dir.path()).spawn();
    sink.wait_samples(ledger.pending as usize + 1, SOON);
    let second = stop(&host);
    assert_eq!((second.collected, second.pending), (ledger.pending + raw(&host, "raw_sent"), 0));
}

fn no_more_of_the_disk_is_taken() {
    const BOUND: u64 = 1 << 20;
    // Without a pattern that a compressor could use.
    let mut random = fastrand::Rng::with_seed(1);
    let filler: String = (0..40_000).map(|_| random.alphanumeric()).collect();
    for (bound, overflows) in [("1MiB", true), ("", false)] {
        let dir = folder();
        let host = unheard(dir.path()).env("EXTERNAL_LABELS", format!("filler={filler}"));
        let host = host.env("SPOOL_FLUSH_S", "0.1").env("SPOOL_MAX_BYTES", bound).spawn();
        if overflows {
            host.wait_for_log(|line| line.field("reason") == "spool_overflow", SOON);
            assert!(bytes_in(dir.path()) <= BOUND);
        } else {
            wait_until(&host, || bytes_in(dir.path()) > BOUND);
        }
        let ledger = stop(&host);
        assert_eq!(bytes_in(dir.path()) <= BOUND, overflows);
        assert_eq!(
            (ledger.dropped_as("spool_overflow"), ledger.dropped_as("spool_overflow") > 0),
            (ledger.dropped, overflows)
        );
        assert_eq!((ledger.delivered, ledger.pending > 0), (0, true), "{ledger:?}");
        if overflows {
            // The oldest made room.
            let sink = Sink::start();
            let host = pushing_to(&sink).env("SPOOL_DIR", dir.path()).spawn();
            let samples = sink.wait_samples(ledger.pending as usize, SOON);
            stop(&host);
            let numbers: Vec<u64> =
                samples.iter().take(ledger.pending as usize).map(|sample| sample.value as u64).collect();
            assert_eq!(numbers, (ledger.dropped + 1..=ledger.collected).collect::<Vec<_>>());
        }
    }
}

fn what_waited_longer_is_dropped() {
    for (age, expires) in [("60", true), ("600", false), ("", false)] {
        let dir = folder();
        // As if this run had been a hundred seconds ago.
        let left = leave(unheard(dir.path()).env("FAULT_OFFSETS_MS", "-100000")).pending;
        let sink = Sink::start();
        let host = pushing_to(&sink).env("SPOOL_DIR", dir.path()).env("SPOOL_MAX_AGE_S", age).spawn();
        sink.wait_samples(if expires { 1 } else { left as usize + 1 }, SOON);
        let ledger = stop(&host);
        assert_eq!(ledger.collected, left + raw(&host, "raw_sent"));
        let expired = if expires { left } else { 0 };
        assert_eq!((ledger.dropped_as("spool_expired"), ledger.dropped), (expired, expired), "{ledger:?}");
    }
}

fn with_a_spool_batches_are_cut_as_often() {
    // One reading in 50 ms; how many of them a batch holds says how often batches are cut.
    let samples_each = |flush: &str, with_spool: bool| {
        let (sink, dir) = (Sink::start(), folder());
        let host = pushing_to(&sink).env("PUSH_INTERVAL_S", "2").env("SPOOL_FLUSH_S", flush);
        let host = if with_spool { host.env("SPOOL_DIR", dir.path()) } else { host }.spawn();
        let requests = sink.wait_requests(3, SOON);
        stop(&host);
        // The first one comes at a random phase.
        requests[1].samples.max(requests[2].samples)
    };
    let [often, seldom, never] =
        [("0.2", true), ("1", true), ("0.2", false)].map(|(flush, spool)| samples_each(flush, spool));
    assert!(often <= 8 && (12..=30).contains(&seldom) && never > 30, "{often}, {seldom}, {never}");
}

/// What makes every flush fail, compiled into this folder.
fn unflushable(dir: &Path) -> PathBuf {
    let (source, library) = (dir.join("flush.c"), dir.join("flush.so"));
    std::fs::write(&source, include_str!("flush.c")).expect("a file");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).args([&library, &source]);
    let output = compiler.output().expect("a C compiler, as Rust needs one to link");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    library
}

fn what_can_not_be_flushed_is_no_spool() {
    let made = folder();
    let library = unflushable(made.path());
    for (fsync, works) in [("0", true), ("", true), ("1", false)] {
        let (sink, dir) = (Sink::start(), folder());
        let host = pushing_to(&sink).env("SPOOL_DIR", dir.path()).env("SPOOL_FSYNC", fsync);
        let host = host.env("LD_PRELOAD", &library).spawn();
        sink.wait_samples(10, SOON);
        let ledger = stop(&host);
        assert_eq!((ledger.delivered, ledger.dropped), (ledger.collected, 0));
        let told = host.log().into_iter().find(|line| line.message().starts_with("SPOOL_DIR: "));
        assert_eq!(told.is_none(), works, "{fsync}: {}", host.log_text());
        assert!(told.is_none_or(|line| line.level() == "ERROR" && line.message().contains("wait in memory")));
    }

    let (sink, dir) = (Sink::start(), folder());
    let host = pushing_to(&sink).env("SPOOL_DIR", dir.path()).env("SPOOL_FSYNC", "1").spawn();
    sink.wait_samples(10, SOON);
    stop(&host);
    assert!(!host.log_text().contains("SPOOL_DIR: "), "{}", host.log_text());
}
