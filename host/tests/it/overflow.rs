//! What the bounds of the retry queue cost: the oldest batches, exactly, and the books say how many samples; and nothing
//! where the receiver is well.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use crate::drive::{self, now_ms};
use crate::faults::{self, LONG};
use crate::host::Running;
use crate::receivers::{Kind, Receiver};
use crate::sink::Sink;

/// Some eight push intervals.
const OUTAGE: Duration = Duration::from_secs(8);

/// Two batches of ten samples take less, three take more: some 137 bytes each.
const BYTES: u64 = 340;

#[test]
fn exactly_the_oldest_are_missing_when_the_retry_queue_overflows() {
    let Some(mut receiver) = Receiver::start(Kind::Prometheus3) else {
        return;
    };
    let bounds = [
        ("two_batches", "MAX_RETRY_BATCHES", 2),
        ("few_bytes", "MAX_RETRY_BYTES", BYTES),
        ("no_batches", "MAX_RETRY_BATCHES", 0),
        ("no_bytes", "MAX_RETRY_BYTES", 0),
    ];
    let start = |(metric, variable, bound): (&str, &str, u64)| {
        let host = drive::host("monitor-fault", &receiver.write_url()).env("PUSH_INTERVAL_S", "1");
        let host = host.env("METRIC_DEFAULT", metric).env(variable, bound.to_string()).env("FAULT_FORM", "json");
        host.env("FAULT_JSON", r#"{"value":NUMBER,"timestamp_ms":NOW_MS}"#).spawn()
    };
    let hosts = bounds.map(|bound| (start(bound), bound));
    hosts.iter().for_each(|(host, _)| drive::wait_for_first_batch(host));
    receiver.stop();
    let gone_ms = now_ms();
    thread::sleep(OUTAGE);
    let hosts = hosts.map(|(host, bound)| (host.log().len(), host, bound));
    receiver.start_again();
    for (seen, host, (metric, variable, bound)) in hosts {
        let waiting = drive::wait_for_recovery(&host, seen);
        let (ledger, readings) = drive::stop(&host);
        assert_eq!((ledger.collected, ledger.dropped), (readings, ledger.dropped_as("retry_overflow")));
        let bytes = assert_one_run_of_batches_is_missing(&host, waiting);
        match (variable, bound) {
            // A batch in a request is not counted, so that these waited beside the first that got through.
            ("MAX_RETRY_BATCHES", 2) => assert!((1..=2).contains(&waiting), "{waiting} waited"),
            ("MAX_RETRY_BYTES", BYTES) => assert!(waiting >= 1 && bytes <= BYTES, "{waiting} waited: {bytes} bytes"),
            _ => assert!(waiting <= 1, "{waiting} waited, although nothing is tried again"),
        }

        let arrived = receiver.range(metric);
        assert_eq!(arrived.len(), 1, "{arrived:?}");
        let samples = &arrived[0].samples;
        drive::assert_increasing(samples);
        let numbers: Vec<u64> = samples.iter().map(|&(_, number)| number as u64).collect();
        let holes = holes(&numbers);
        assert_eq!((numbers[0], numbers[numbers.len() - 1]), (1, readings), "{metric}");
        assert_eq!(
            holes.iter().map(|(_, length)| *length).collect::<Vec<_>>(),
            [ledger.dropped],
            "{metric}: {numbers:?}"
        );
        let (before, _) = samples[holes[0].0];
        assert!(before <= gone_ms, "{metric}: not the oldest are missing, but those after {before}");
    }
}

/// By the numbers of the delivered batches: one run is missing, and all that waited at the recovery came through.
/// Returns how many bytes waited, the batch in the request not counted.
#[track_caller]
fn assert_one_run_of_batches_is_missing(host: &Running, waiting: u64) -> u64 {
    let log = host.log();
    let delivered = log.iter().filter(|line| drive::is_delivered(line));
    let bytes: BTreeMap<u64, u64> =
        delivered.map(|line| (drive::number(line, "sequence"), drive::number(line, "bytes"))).collect();
    let sequences: Vec<u64> = bytes.keys().copied().collect();
    let holes = holes(&sequences);
    assert_eq!(holes.len(), 1, "{sequences:?}");
    let (before, length) = holes[0];
    // Of eight that were cut meanwhile, three at most can have waited; a starved machine may miss deadlines.
    assert!(length >= 3, "{sequences:?}");
    sequences[before + 2..].iter().take(waiting as usize).map(|sequence| bytes[sequence]).sum()
}

/// Where numbers are missing: the position before, and how many.
fn holes(numbers: &[u64]) -> Vec<(usize, u64)> {
    let pairs = numbers.windows(2).enumerate();
    pairs.filter(|(_, pair)| pair[1] != pair[0] + 1).map(|(i, pair)| (i, pair[1] - pair[0] - 1)).collect()
}

/// More than two and a half seconds of the flood: half of the longest gap that a backlog begins with.
const FLOOD: usize = 700;

#[test]
fn a_flood_at_the_start_costs_nothing_where_the_receiver_is_well() {
    let sink = Sink::start();
    // Two hundred batches a second, several at once, of some fifty bytes each: there is room for about a second's.
    let small = [("PROC_QUEUE_SIZE", "8"), ("BATCH_MAX_SAMPLES", "1"), ("MAX_RETRY_BYTES", "12000")];
    let host = faults::host(sink.url()).env("SCRAPE_INTERVAL_S", "0.005").env("PUSH_INTERVAL_S", "60");
    let running = small.into_iter().fold(host, |host, (name, value)| host.env(name, value)).spawn();
    sink.wait_requests(FLOOD, LONG);
    let ledger = faults::stop(&running);
    assert_eq!((ledger.dropped, ledger.delivered), (0, ledger.collected), "{ledger:?}");
    assert_eq!(sink.violations(), []);
}
