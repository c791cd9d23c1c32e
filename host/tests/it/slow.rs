//! A receiver that takes its time holds up nothing but itself.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use serde_json::json;

use crate::drive;
use crate::sink::Sink;

/// How many answers take 10 s.
const SLOW_ANSWERS: u64 = 2;

/// PUSH_INTERVAL_S in milliseconds.
const INTERVAL_MS: i64 = 2000;

/// How far the newest sample of a batch may lie from its deadline, sampling and a starved machine taken together.
const TOLERANCE_MS: i64 = 600;

const SERIES: usize = 100;

#[test]
fn a_receiver_that_takes_10_s_to_answer_holds_up_nothing() {
    let sink = Sink::start();
    sink.answer(json!({"delay_s": 10, "count": SLOW_ANSWERS}));
    let host = drive::host("monitor-fault", sink.url()).env("PUSH_INTERVAL_S", "2");
    let host = host.env("FAULT_SERIES", SERIES.to_string()).env("REMOTE_WRITE_TIMEOUT_S", "30").spawn();
    // The two slow ones, the nine or ten that waited for them, and two in time.
    sink.wait_requests(13, Duration::from_secs(120));
    let peak_kib = peak_kib(host.pid());
    assert!(peak_kib < 64 * 1024, "the host took {peak_kib} KiB");
    let (ledger, readings) = drive::stop(&host);
    drive::assert_all_delivered(&ledger);
    // The receiver may still be telling what it answered.
    let samples = sink.wait_samples(ledger.delivered as usize, drive::SOON);
    assert_eq!(samples.len() as u64, ledger.delivered);
    assert_eq!(sink.violations(), []);

    let series = sink.series();
    assert_eq!(series.len(), SERIES);
    for samples in series.values() {
        drive::assert_numbered(samples, readings);
        drive::assert_evenly_spaced(samples);
    }

    let mut newest: BTreeMap<u64, i64> = BTreeMap::new();
    for sample in samples {
        let newest = newest.entry(sample.request).or_insert(sample.timestamp_ms);
        *newest = sample.timestamp_ms.max(*newest);
    }
    // The stop cut the last one.
    newest.pop_last();
    let cuts: Vec<i64> = newest.into_values().collect();
    let mut steps = 0;
    for cut in &cuts {
        let off_grid = (cut - cuts[0] + INTERVAL_MS / 2).rem_euclid(INTERVAL_MS) - INTERVAL_MS / 2;
        assert!(off_grid.abs() <= TOLERANCE_MS, "{off_grid} ms off the grid: {cuts:?}");
        steps = (cut - cuts[0] - off_grid) / INTERVAL_MS;
    }
    // One deadline missed may be the machine's fault; two are not.
    assert!(steps - (cuts.len() as i64 - 1) <= 1, "deadlines were missed: {cuts:?}");
}

/// The most memory that a process has ever had resident.
fn peak_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the host runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number of KiB")
}
