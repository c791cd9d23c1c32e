//! What a real Prometheus refuses is lost, with its words in the log; what comes after is not.

use std::time::Duration;

use crate::drive::{self, SOON, now_ms};
use crate::host::{Line, Running};
use crate::push::push;
use crate::receivers::{Kind, Receiver, Series};

const PROMETHEUS: [Kind; 2] = [Kind::PrometheusDebian, Kind::Prometheus3];

/// How far another writer of the same series is ahead.
const AHEAD: Duration = Duration::from_secs(4);

#[test]
fn samples_that_prometheus_refuses_do_not_block_the_next() {
    drive::in_parallel(PROMETHEUS, |kind| {
        let Some(receiver) = Receiver::start(kind) else {
            return;
        };
        let ahead_ms = now_ms() + AHEAD.as_millis() as i64;
        push_by_hand(&receiver, ("fault_number", "series", "0"), ahead_ms);
        let host = drive::host("monitor-fault", &receiver.write_url()).env("PUSH_INTERVAL_S", "0.5").spawn();
        drive::wait_for_first_batch(&host);
        let mut delivered = 0;
        host.wait_for_log(
            |line| {
                delivered += u64::from(drive::is_delivered(line));
                delivered >= 3
            },
            SOON,
        );

        let (ledger, readings) = drive::stop(&host);
        let refused = ledger.dropped_as("refused");
        assert_eq!((ledger.collected, ledger.dropped), (readings, refused), "{ledger:?}");
        assert!(refused > 0 && ledger.delivered > 0, "{ledger:?}");
        // The second is for a reading of the very millisecond that the other writer took.
        assert_eq!(refusals(&host, &["out of order sample", "duplicate sample for timestamp"]), refused);

        let arrived = receiver.range("fault_number");
        assert_eq!(arrived.len(), 1, "{arrived:?}");
        let (other, ours) = arrived[0].samples.split_first().expect("the other writer's sample");
        assert_eq!(*other, (ahead_ms, -1.0));
        drive::assert_increasing(ours);
        // The first that are missing are those that were refused.
        let values = ours.iter().map(|&(_, number)| number);
        assert!(values.eq((refused + 1..=readings).map(|n| n as f64)), "{refused} refused: {ours:?}");
    });
}

#[test]
fn samples_of_two_hours_ago_are_refused_and_the_run_goes_on() {
    drive::in_parallel(PROMETHEUS, |kind| {
        let Some(receiver) = Receiver::start(kind) else {
            return;
        };
        // Whoever sent what is newer, and of whatever series.
        push_by_hand(&receiver, ("other_metric", "writer", "another"), now_ms());
        let host = two_hours_late(&receiver);
        let mut batches = 0;
        host.wait_for_log(
            |line| {
                batches += u64::from(line.level() == "ERROR" && line.field("reason") == "refused");
                batches >= 3
            },
            SOON,
        );
        let (ledger, readings) = drive::stop(&host);
        assert_eq!((ledger.collected, ledger.dropped_as("refused")), (readings, readings), "{ledger:?}");
        assert_eq!(refusals(&host, &["out of bounds"]), readings);
        let hint = host
            .log()
            .iter()
            .all(|line| line.field("reason") != "refused" || line.field("hint").contains("out_of_order_time_window"));
        assert!(hint, "{}", host.log_text());
    });
}

fn two_hours_late(receiver: &Receiver) -> Running {
    let host = drive::host("monitor-fault", &receiver.write_url()).env("PUSH_INTERVAL_S", "0.5");
    host.env("FAULT_OFFSETS_MS", "-7200000").spawn()
}

#[test]
fn samples_of_two_hours_ago_are_taken_with_what_the_documentation_says() {
    let text = include_str!("../../../docs/delivery.md");
    let (_, rest) = text.split_once("```yaml\n").expect("a configuration in docs/delivery.md");
    let (yaml, _) = rest.split_once("```").expect("its end");
    assert!(yaml.contains("out_of_order_time_window: "), "{yaml}");
    drive::in_parallel(PROMETHEUS, |kind| {
        let Some(receiver) = Receiver::configured(kind, yaml) else {
            return;
        };
        push_by_hand(&receiver, ("other_metric", "writer", "another"), now_ms());
        let host = two_hours_late(&receiver);
        drive::wait_for_first_batch(&host);
        let (ledger, readings) = drive::stop(&host);
        drive::assert_all_delivered(&ledger);
        let arrived = receiver.range_of("fault_number", 3);
        assert_eq!(arrived.len(), 1, "{arrived:?}");
        drive::assert_numbered(&arrived[0].samples, readings);
    });
}

/// One sample of another writer.
#[track_caller]
fn push_by_hand(receiver: &Receiver, (metric, label, value): (&str, &str, &str), moment_ms: i64) {
    let labels = [("__name__", metric), (label, value)].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let answer = push(&receiver.write_url(), &[Series { labels: labels.into(), samples: vec![(moment_ms, -1.0)] }]);
    assert_eq!(answer.status, 204, "{answer:?}");
}

/// How many samples the log says were refused, in Prometheus' own words and for no other reason. To 2.0 it says more: the
/// series, and the same again for each sample.
#[track_caller]
fn refusals(host: &Running, words: &[&str]) -> u64 {
    let log = host.log();
    let told: Vec<&Line> = log.iter().filter(|line| line.field("reason") == "refused").collect();
    for line in &told {
        let (_, why) = line.message().split_once("its samples are lost: ").unwrap_or_default();
        let theirs = why.strip_prefix("HTTP 400 Bad Request: ").unwrap_or_default();
        assert!(
            line.level() == "ERROR" && words.iter().any(|words| theirs.starts_with(words)),
            "not one of {words:?}: {}",
            line.text
        );
    }
    told.iter().map(|line| drive::number(line, "samples")).sum()
}
