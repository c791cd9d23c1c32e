//! What bounds the memory: series that never repeat, a receiver that is gone, a plugin that floods.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use signal_hook::consts::SIGTERM;

use crate::drive;
use crate::faults::{LONG, NOWHERE, aimed, books, host, raw, stop, wait_for_text};
use crate::host::{Host, Running};
use crate::sink::Sink;
use crate::spool::bytes_in;

/// Memory that a process has in use, in KiB, as the kernel counts it: `VmRSS` now, `VmHWM` at most so far.
#[track_caller]
pub(crate) fn memory_kib(pid: u32, which: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
    let line = status.lines().find_map(|line| line.strip_prefix(which)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or_else(|| panic!("no {which} in {status}"))
}

/// What an allocator may keep for itself.
pub(crate) const SLACK_KIB: u64 = 6 * 1024;

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
    // A sample in the processed queue takes 24 bytes, and what was taken out of it the same again: 2^17 at most each, or so
    // many readings of a thousand. All else is some 20 MiB in a build without optimisation, and the batches that wait.
    drive::in_parallel([("100", 32), ("1000", 40)], |(items, bound_mib)| {
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

/// What a flooded host may take of memory, its threads' stacks included: it takes some 25 MiB in a build without
/// optimisation.
const LIMIT_KIB: u64 = 40 * 1024;

/// A flood of a thousand samples a reading that nobody receives, in a process whose data are limited by the kernel: an
/// allocation beyond the limit fails, and that ends the process.
fn flooded(form: &str, limit_kib: u64, spool: Option<&Path>) -> Host {
    let items = (0..1000)
        .map(|i| format!(r#"{{"metric":"m","labels":{{"series":"{i}"}},"value":NUMBER,"timestamp_ms":NOW_MS}}"#));
    let limited = Host::by_shell(&format!(r#"ulimit -d {limit_kib} && exec "$0""#));
    let host = aimed(limited, NOWHERE)
        .env("SCRAPE_INTERVAL_S", "0.001")
        .env("FAULT_FORM", form)
        .env("FAULT_SERIES", "1000")
        .env("FAULT_JSON", format!("[{}]", items.collect::<Vec<_>>().join(",")))
        .env("PROC_QUEUE_SIZE", "100")
        .env("MAX_RETRY_BYTES", "1MiB")
        .env("SHUTDOWN_TIMEOUT_S", "4");
    match spool {
        Some(dir) => host.env("SPOOL_DIR", dir).env("SPOOL_MAX_BYTES", "1MiB").env("SPOOL_FLUSH_S", "0.1"),
        None => host,
    }
}

/// The bound on its data that the kernel keeps to, in KiB.
fn limit_kib(running: &Running) -> Option<u64> {
    let limits = fs::read_to_string(format!("/proc/{}/limits", running.pid())).expect("a running process");
    let bytes = limits.lines().find_map(|line| line.strip_prefix("Max data size")?.split_whitespace().next());
    Some(bytes?.parse::<u64>().ok()? / 1024)
}

#[test]
fn a_flood_in_any_form_lives_within_a_limit_of_the_kernel() {
    let forms = ["list", "json", "series"].map(|form| [(form, false), (form, true)]);
    drive::in_parallel(forms.concat(), |(form, with_spool)| {
        let dir = tempfile::tempdir().unwrap();
        let running = flooded(form, LIMIT_KIB, with_spool.then_some(dir.path())).spawn();
        let (overflow, bound) = if with_spool { ("spool_overflow", 1 << 20) } else { ("retry_overflow", 0) };
        wait_for_text(&running, overflow);
        // What is watched is that nothing happens.
        thread::sleep(FLOOD);
        assert_eq!((running.ended(), limit_kib(&running)), (None, Some(LIMIT_KIB)), "{}", running.log_text());
        let most_kib = memory_kib(running.pid(), "VmHWM");
        running.signal(SIGTERM);
        // With so little time a starved plugin may leave readings behind: the exit status is not judged.
        assert!(running.wait(LONG).code().is_some(), "{}", running.log_text());
        let ledger = running.ledger();
        ledger.assert_balanced();
        assert!(ledger.delivered == 0 && ledger.dropped_as(overflow) > 0, "{ledger:?}");
        assert_eq!(ledger.pending > 0, with_spool, "{ledger:?}");
        assert!(bytes_in(dir.path()) <= bound);
        // As they were sent, a good part of the limit at least.
        let bytes_each = if form == "series" { 24 } else { 70 };
        assert!(ledger.collected * bytes_each > LIMIT_KIB * 1024 / 4, "{form}: {ledger:?}");
        eprintln!("{form}, spool {with_spool}: {} samples in {most_kib} KiB", ledger.collected);
    });
}

#[test]
fn a_limit_of_the_kernel_that_is_too_low_is_seen() {
    let running = flooded("series", LIMIT_KIB / 2, None).spawn();
    let status = running.wait(LONG);
    // Before the flood or in it: an allocation that fails ends the process.
    let said = running.log_text();
    assert!(
        !status.success() && ["memory allocation of", "out of memory"].iter().any(|text| said.contains(text)),
        "{said}"
    );
}
