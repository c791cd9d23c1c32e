//! The host's own metrics at the receiver: the plugin's samples arrive as ever, and the books know of both.

use std::collections::BTreeMap;

use super::{Page, shown};
use crate::faults::{LONG, NOWHERE, host, raw, stop};
use crate::sink::{Sample, Sink};

fn is_own(sample: &Sample) -> bool {
    sample.metric.starts_with("monitor_client_")
}

#[test]
fn they_come_with_the_first_push_and_the_last_and_disturb_nobody() {
    let sink = Sink::start();
    // Small batches, little room for series, and all of those idle at once.
    let running = shown(host(sink.url()))
        .env("SELF_METRICS", "both")
        .env("MAX_SERIES", "1")
        .env("BATCH_MAX_SAMPLES", "7")
        .env("SERIES_IDLE_S", "1")
        .env("EXTERNAL_LABELS", "site=b,job=external")
        .env("HOSTNAME", "h1")
        .spawn();
    sink.wait_for(LONG, "two seconds of numbers", |samples| samples.iter().any(|sample| sample.value == 100.0));
    let collected = Page::of(&running).number(r#"samples_collected_total{origin="self"}"#);
    let ledger = stop(&running);
    assert_eq!(ledger.delivered, ledger.collected, "{ledger:?}");
    let told = running.log().into_iter().rfind(|line| line.message() == "ledger").expect("a ledger");
    assert_eq!(told.json["collected_self"].as_u64(), Some(ledger.collected - raw(&running, "raw_sent")));
    let arrived = sink.wait_samples(ledger.delivered as usize, LONG);
    let (own, others): (Vec<_>, Vec<_>) = arrived.iter().partition(|sample| is_own(sample));

    // What the plugin sent is there, each once and in order, and nothing else.
    let numbers: Vec<f64> = others.iter().map(|sample| sample.value).collect();
    assert_eq!(numbers, (1..=raw(&running, "raw_sent")).map(|n| n as f64).collect::<Vec<_>>());

    let mut series: BTreeMap<_, Vec<&Sample>> = BTreeMap::new();
    own.iter().for_each(|sample| series.entry((&sample.metric, &sample.labels)).or_default().push(sample));
    assert_eq!(own.iter().filter(|sample| sample.is_marker()).count(), 0, "they are never idle");
    // At the first push and at the end; on a starved machine fifteen seconds may have gone by between them.
    assert_eq!(series.len() as f64, collected);
    assert!(series.values().all(|samples| samples.len() >= 2), "{series:?}");
    for (_, labels) in series.keys() {
        let told = ["job", "instance", "site"].map(|name| labels.get(name).map(String::as_str));
        assert_eq!(told, [Some("monitor-fault"), Some("h1"), Some("b")]);
    }
    let last = |name: &str| {
        let found = own.iter().rfind(|sample| sample.metric == format!("monitor_client_{name}"));
        found.unwrap_or_else(|| panic!("no {name}")).value
    };
    assert_eq!(last("up"), 1.0);
    assert_eq!(last("readings_taken_total"), raw(&running, "raw_sent") as f64);
    assert!(last("samples_delivered_total") > 50.0);
    assert_eq!(sink.violations(), []);
}

#[test]
fn with_nobody_to_take_them_they_wait_and_drop_like_any_other() {
    let running = shown(host(NOWHERE))
        .env("SELF_METRICS", "push")
        .env("FAULT_GET_POWER", "stall")
        .env("FAULT_AFTER", "1")
        .env("SHUTDOWN_TIMEOUT_S", "0.5")
        .spawn();
    running.wait_for_log(|line| line.message().starts_with("a push failed"), LONG);
    let ledger = stop(&running);
    assert!(ledger.collected > 100 && ledger.dropped_as("shutdown") == ledger.collected, "{ledger:?}");
}
