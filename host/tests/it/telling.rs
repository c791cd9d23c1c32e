//! What a plugin says, well or badly: its log, and records that can't be used.

use std::collections::BTreeMap;
use std::time::Instant;

use monitor_proto::STALE_NAN;

use crate::faults::{LONG, assert_all_arrived, books, host, numbers, stop, wait_for_text};
use crate::host::{Host, Ledger, Line, Running};
use crate::sink::Sink;

/// Twenty readings, then the end: every number is known.
const READINGS: u64 = 20;

#[track_caller]
fn run(host: Host) -> Running {
    let host = host.env("FAULT_GET_POWER", "return").env("FAULT_AFTER", READINGS.to_string());
    let running = host.spawn();
    assert_eq!(running.wait(LONG).code(), Some(1), "{}", running.log_text());
    running
}

#[test]
fn a_plugins_events_come_with_level_module_and_fields() {
    let sink = Sink::start();
    let running = run(host(sink.url()).env("LOG_LEVEL", "DEBUG"));
    assert_all_arrived(&running, &sink);
    for (level, message, fields) in [
        ("INFO", "the fault plugin is ready", Some("answer=42")),
        ("DEBUG", "a detail of the fault plugin", None),
        ("WARNING", "a warning of the fault plugin", None),
        ("ERROR", "an error of the fault plugin", None),
    ] {
        let line = running.wait_for_log(|line| line.message() == message, LONG);
        assert_eq!((line.level(), line.field("target"), line.field("module")), (level, "plugin", "monitor_fault"));
        assert_eq!(line.json["fields"].as_str(), fields, "{}", line.text);
    }
}

#[test]
fn the_log_level_holds_for_the_plugin_too() {
    for (level, said) in [("DEBUG", 4), ("INFO", 3), ("WARNING", 2), ("ERROR", 1)] {
        let sink = Sink::start();
        let running = run(host(sink.url()).env("LOG_LEVEL", level));
        // The ledger itself is an INFO line.
        sink.wait_samples(READINGS as usize, LONG);
        let log = running.log();
        let said_by_plugin: Vec<_> = log.iter().filter(|line| line.field("target") == "plugin").collect();
        assert_eq!(said_by_plugin.len(), said, "{level}: {}", running.log_text());
        assert_eq!(log.iter().any(|line| line.message() == "ledger"), ["DEBUG", "INFO"].contains(&level));
    }
}

#[test]
fn a_flood_of_lines_costs_no_sample_and_little_room() {
    for flood in ["error", "info"] {
        let sink = Sink::start();
        let began = Instant::now();
        let running = host(sink.url()).env("FAULT_FLOOD", flood).spawn();
        let about_lines = |line: &Line| line.message().starts_with("the plugin logs too much");
        running.wait_for_log(about_lines, LONG);
        // Lines of the other level still pass.
        wait_for_text(&running, if flood == "error" { "the fault plugin is ready" } else { "an error of the fault" });
        sink.wait_samples(60, LONG);
        stop(&running);
        assert_all_arrived(&running, &sink);

        let log = running.log();
        let flooded: Vec<_> = log.iter().filter(|line| line.message().starts_with("flood flood")).collect();
        let may_pass = 100 + 20 * (1 + began.elapsed().as_secs() as usize);
        assert!((100..=may_pass).contains(&flooded.len()), "{} lines, {may_pass} at most", flooded.len());
        assert!(flooded.iter().all(|line| line.message().len() < 8300), "{}", flooded[0].text.len());
        // At once, then every ten seconds, and at the end.
        let told: Vec<_> = log.iter().filter(|line| about_lines(line)).collect();
        assert!((2..3 + began.elapsed().as_secs() as usize / 10 + 1).contains(&told.len()), "{}", told.len());
        let left_out: u64 = told.iter().map(|line| line.json["left_out"].as_u64().expect("a number")).sum();
        assert!(told.iter().all(|line| line.level() == "WARNING") && left_out > 1000, "{left_out}");
    }
}

#[test]
fn bad_records_are_counted_by_reason_and_cost_no_good_one() {
    let bad = [
        (r#"{"metric":"bad_no_value"}"#, "no_value"),
        (r#"{"metric":"bad_value","value":"12"}"#, "value_not_a_number"),
        (r#"{"metric":"bad_value","value":true}"#, "value_not_a_number"),
        (r#"{"metric":"1bad","value":1}"#, "invalid_metric_name"),
        (r#"{"metric":"bad_label","value":1,"labels":{"a-b":"1"}}"#, "invalid_label_name"),
        (r#"{"metric":"bad_label","value":1,"labels":{"__name__":"other"}}"#, "invalid_label_name"),
        (r#"{"metric":"bad_label","value":1,"labels":{"a":[1]}}"#, "invalid_label_value"),
        (r#"{"metric":"bad_label","value":1,"labels":{"a":"1","a":"2"}}"#, "repeated_label"),
        (r#"{"metric":"bad_moment","value":1,"timestamp_ms":1762678050}"#, "invalid_timestamp"),
        ("7", "not_a_dictionary"),
        ("null", "not_a_dictionary"),
    ];
    let good = r#"{"metric":"good","labels":{"a":"1"},"value":NUMBER,"timestamp_ms":NOW_MS}"#;
    let list: Vec<_> = bad.iter().map(|(text, _)| *text).chain([good]).collect();
    let sink = Sink::start();
    let running = run(host(sink.url()).env("FAULT_FORM", "json").env("FAULT_JSON", format!("[{}]", list.join(","))));

    let ledger = books(&running);
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    bad.iter().for_each(|(_, reason)| *reasons.entry((*reason).to_owned()).or_default() += READINGS);
    let expected = Ledger {
        collected: READINGS * list.len() as u64,
        delivered: READINGS,
        pending: 0,
        dropped: READINGS * bad.len() as u64,
        reasons,
        refused_sends: 0,
    };
    assert_eq!(ledger, expected);
    assert_eq!(numbers(&sink, &ledger), (1..=READINGS).collect::<Vec<_>>());
    assert!(sink.samples().iter().all(|sample| sample.metric == "good" && sample.labels["a"] == "1"));
    assert_eq!(sink.violations(), []);
    assert_told_seldom(&running, expected.reasons.keys());
}

/// Each reason was told, with what was wrong, and not each time.
#[track_caller]
fn assert_told_seldom<'a>(running: &Running, reasons: impl IntoIterator<Item = &'a String>) {
    let log = running.log();
    for reason in reasons {
        let told: Vec<_> = log.iter().filter(|line| line.field("reason") == reason).collect();
        // One in ten seconds; a slow machine may take as long.
        assert!((1..4).contains(&told.len()), "{reason}: {}", running.log_text());
        let line = told[0];
        assert_eq!(line.level(), "WARNING", "{}", line.text);
        let detail = line.message().strip_prefix("the plugin sent what can't be used: ");
        assert!(detail.is_some_and(|detail| !detail.is_empty() && detail.len() < 300), "{}", line.text);
    }
}

#[test]
fn a_document_that_is_no_json_is_dropped_whole() {
    for (text, reason) in [
        (r#"[{"metric":"m","value":1},{"metric":"m","#, "invalid_json"),
        (r#"{"value":1}{"value":2}"#, "invalid_json"),
        ("", "invalid_json"),
        ("12", "not_a_dictionary"),
    ] {
        let sink = Sink::start();
        let running = run(host(sink.url()).env("FAULT_FORM", "json").env("FAULT_JSON", text));
        let ledger = books(&running);
        assert_eq!((ledger.collected, ledger.dropped_as(reason)), (READINGS, READINGS), "{text}: {ledger:?}");
        assert_told_seldom(&running, [&reason.to_owned()]);
        assert_eq!(sink.requests().len(), 0, "nothing is no batch");
    }
}

#[test]
fn every_form_brings_every_sample_of_every_series() {
    for form in ["series", "records", "list"] {
        let sink = Sink::start();
        let running = run(host(sink.url()).env("FAULT_FORM", form).env("FAULT_SERIES", "30"));
        let ledger = books(&running);
        // The plugin ended by itself, and its series with it.
        assert_eq!((ledger.delivered, ledger.dropped), (30 * (READINGS + 1), 0), "{form}: {ledger:?}");
        sink.wait_samples(ledger.delivered as usize, LONG);
        let series = sink.series();
        assert_eq!(series.len(), 30);
        for samples in series.values() {
            let (marker, samples) = samples.split_last().expect("samples");
            assert_eq!(marker.1.to_bits(), STALE_NAN, "{form}");
            let values: Vec<_> = samples.iter().map(|(_, value)| *value as u64).collect();
            assert_eq!(values, (1..=READINGS).collect::<Vec<_>>(), "{form}");
        }
        assert_eq!(sink.violations(), []);
    }
}
