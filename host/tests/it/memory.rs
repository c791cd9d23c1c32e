//! What bounds the memory: series that never repeat, a receiver that is gone, a plugin that floods.

use std::fs;
use std::thread;
use std::time::Duration;

use signal_hook::consts::SIGTERM;

use crate::drive;
use crate::faults::{LONG, NOWHERE, books, host, raw, stop, wait_for_text};
use crate::sink::Sink;

/// Memory that a process has in use, in KiB, as the kernel counts it: `VmRSS` now, `VmHWM` at most so far.
#[track_caller]
fn memory_kib(pid: u32, which: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
    let line = status.lines().find_map(|line| line.strip_prefix(which)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or_else(|| panic!("no {which} in {status}"))
}

/// What an allocator may keep for itself.
const SLACK_KIB: u64 = 6 * 1024;

#[test]
fn labels_that_never_repeat_do_not_fill_the_memory() {
    const MAX_SERIES: usize = 50;
    const TEXT_BYTES: usize = 20_000;
    let sink = Sink::start();
    // Five series a reading that are never seen again.
    let text = "x".repeat(TEXT_BYTES);
    let item = |i| {
        format!(
            r#"{{"metric":"m","labels":{{"run":"NUMBER-{i}","text":"{text}"}},"value":NUMBER,"timestamp_ms":NOW_MS}}"#
        )
    };
    let items: Vec<String> = (0..5).map(item).collect();
    let running = host(sink.url())
        .env("FAULT_FORM", "json")
        .env("FAULT_JSON", format!("[{}]", items.join(",")))
        .env("PUSH_INTERVAL_S", "0.1")
        .env("MAX_SERIES", MAX_SERIES.to_string())
        // A starved receiver takes its time over so much text.
        .env("SHUTDOWN_TIMEOUT_S", "50")
        .spawn();
    // Half of what arrives are the markers of those that made room for the others.
    let early = sink.wait_samples(8 * MAX_SERIES, LONG).len();
    let early_kib = memory_kib(running.pid(), "VmRSS");
    let late = sink.wait_samples(40 * MAX_SERIES, LONG).len();
    let late_kib = memory_kib(running.pid(), "VmRSS");
    let taken_kib = ((late - early) / 2 * TEXT_BYTES / 1024) as u64;
    assert!(taken_kib > 2 * SLACK_KIB && late_kib < early_kib + SLACK_KIB, "{early_kib}, {late_kib}, {taken_kib} KiB");

    let ledger = stop(&running);
    let arrived = sink.wait_samples(ledger.delivered as usize, LONG);
    let markers = arrived.iter().filter(|sample| sample.is_marker()).count() as u64;
    let read = 5 * raw(&running, "raw_sent");
    let refused = ledger.dropped_as("too_many_series");
    assert!(refused > 0 && refused == ledger.dropped, "{ledger:?}");
    assert_eq!((ledger.collected, ledger.delivered), (read + markers, read - refused + markers), "{ledger:?}");
    // All but the last that were known have ended.
    let taken = arrived.len() as u64 - markers;
    assert!(markers <= taken && taken - markers <= MAX_SERIES as u64, "{markers} of {taken} have ended");
    let told = wait_for_text(&running, "too_many_series");
    assert!(told.message().contains("MAX_SERIES") && told.text.len() < 600, "{}", told.text);
    assert_eq!(sink.violations(), []);
}

/// How long the flood lasts.
const FLOOD: Duration = Duration::from_secs(8);

#[test]
fn a_flood_and_a_dead_receiver_do_not_fill_the_memory() {
    // A sample in the processed queue takes 24 bytes, and what was taken out of it the same again: 2^20 at most each, or so
    // many readings of a thousand. All else is some 20 MiB in a build without optimisation, and the batches that wait.
    drive::in_parallel([("100", 32), ("1000", 80)], |(items, bound_mib)| {
        let running = host(NOWHERE)
            .env("SCRAPE_INTERVAL_S", "0.001")
            .env("FAULT_SERIES", "1000")
            .env("PROC_QUEUE_SIZE", items)
            .env("MAX_RETRY_BYTES", "1MiB")
            .env("SHUTDOWN_TIMEOUT_S", "2")
            .spawn();
        wait_for_text(&running, "retry_overflow");
        // What is watched is that nothing happens.
        thread::sleep(FLOOD);
        let most_kib = memory_kib(running.pid(), "VmHWM");
        // In so little time a starved plugin may not get through its readings, which makes the exit status another; the
        // books are right all the same.
        running.signal(SIGTERM);
        running.wait(LONG);
        let ledger = books(&running);
        assert!(most_kib < bound_mib * 1024, "{most_kib} KiB");
        assert_eq!(ledger.delivered, 0);
        assert!(ledger.dropped_as("retry_overflow") > 0 && ledger.dropped_as("shutdown") > 0, "{ledger:?}");
    });
}
