//! Native histograms and exemplars, from a plugin to what a receiver stores of them; and what has no place where.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};
use signal_hook::consts::SIGTERM;

use crate::drive;
use crate::faults::{self, LONG, books, wait_for_text};
use crate::host::{Host, Line, Running};
use crate::receivers::{Kind, Labels, Receiver};
use crate::sink::Sink;
use crate::stub::Stub;

/// What a Prometheus needs to keep all of it. Its log is read by a test, so it is not compressed.
const ALL: [&str; 2] =
    ["--enable-feature=native-histograms,exemplar-storage,metadata-wal-records", "--no-storage.tsdb.wal-compression"];
/// The same for an older one.
const ALL_2: [&str; 1] = ["--enable-feature=native-histograms,exemplar-storage"];

/// After so many readings, the plugin drops the handles of its series: there are a few batches before.
const LAST: u64 = 30;

fn host(form: &str, url: &str) -> Host {
    faults::host(url).env("FAULT_FORM", form).env("LOG_LEVEL", "DEBUG")
}

/// A number in the last line of the log; none where the field is not there.
fn told(running: &Running, name: &str) -> Option<u64> {
    running.log().into_iter().rfind(|line| line.message() == "ledger").expect("a ledger").json[name].as_u64()
}

/// The books of exemplars, which balance: collected, delivered, pending, and why others were dropped.
#[track_caller]
fn exemplars(running: &Running) -> (u64, u64, u64, String) {
    let line = running.log().into_iter().rfind(|line| line.message() == "ledger").expect("a ledger");
    let number = |name: &str| drive::number(&line, &format!("exemplars_{name}"));
    let (collected, delivered, pending) = (number("collected"), number("delivered"), number("pending"));
    assert_eq!(collected, delivered + pending + number("dropped"), "{}", line.text);
    (collected, delivered, pending, line.field("exemplar_reasons").to_owned())
}

/// The histograms of each series `fault_histogram` by its label `counts`, as they were at the moments of `floats`, which
/// were sent with them. One moment after the other: a 2.42 that is asked for a range shows the last one for all.
fn stored(receiver: &Receiver, floats: &[(i64, f64)]) -> BTreeMap<String, Vec<Value>> {
    let mut all: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (moment, _) in floats {
        let time = format!("{}.{:03}", moment / 1000, moment % 1000);
        let data = receiver.ask("query", &[("query", "fault_histogram"), ("time", &time)]);
        for series in data["result"].as_array().expect("a list") {
            let counts = series["metric"]["counts"].as_str().expect("a label").to_owned();
            all.entry(counts).or_default().push(series["histogram"][1].clone());
        }
    }
    all
}

/// What the plugin sends of number `n`, as Prometheus shows it: what bound is open (0: the lower, 1: the upper, 3: none),
/// the bounds, the count.
fn expected(counts: &str, n: u64) -> Value {
    let n = n as f64;
    let sum = (10.0 * n).to_string();
    let text = |n: f64| n.to_string();
    match counts {
        "integer" => json!({"count": text(6.0 * n), "sum": sum, "buckets": [
            [1, "-1", "-0.5", text(n)], [3, "-0.001", "0.001", text(n)],
            [0, "0.25", "0.5", text(n)], [0, "0.5", "1", text(2.0 * n)], [0, "16", "32", text(n)],
        ]}),
        "float" => json!({"count": text(2.5 * n), "sum": sum, "buckets": [
            [1, "-1.189207115002721", "-1.0905077326652577", text(n / 2.0)],
            [3, "-0.001", "0.001", text(n / 2.0)],
            [0, "0.8408964152537144", "0.9170040432046711", text(n / 2.0)],
            [0, "0.9170040432046711", "1", text(n)],
        ]}),
        _ => json!({"count": text(3.0 * n), "sum": sum, "buckets": [
            [3, "-Inf", "1", text(n)], [0, "2", "4", text(n)], [0, "4", "+Inf", text(n)],
        ]}),
    }
}

#[track_caller]
fn assert_stored(receiver: &Receiver, counts: &[&str], last: u64) {
    let floats = receiver.range(r#"fault_number{series="0"}"#);
    drive::assert_numbered(&floats[0].samples, last);
    let stored = stored(receiver, &floats[0].samples);
    for &counts in counts {
        let all: Vec<Value> = (1..=last).map(|n| expected(counts, n)).collect();
        assert_eq!(stored[counts], all, "{counts}");
    }
}

/// The exemplars of a series in the receiver's order: trace, value.
fn stored_exemplars(receiver: &Receiver, selector: &str) -> Vec<(String, String)> {
    let now = drive::now_ms() / 1000;
    let (start, end) = ((now - 3600).to_string(), (now + 3600).to_string());
    let data = receiver.ask("query_exemplars", &[("query", selector), ("start", &start), ("end", &end)]);
    let [series] = &data.as_array().expect("a list")[..] else { panic!("{selector}: {data}") };
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let exemplars = series["exemplars"].as_array().expect("a list").iter();
    exemplars.map(|one| (text(&one["labels"]["trace_id"]), text(&one["value"]))).collect()
}

fn expected_exemplars(last: u64, value: impl Fn(u64) -> f64) -> Vec<(String, String)> {
    (1..=last).map(|n| (format!("{n:08x}"), value(n).to_string())).collect()
}

/// Whether the write-ahead log holds this text.
fn wal_has(receiver: &Receiver, text: &str) -> bool {
    let files = fs::read_dir(receiver.wal()).expect("a log").flatten();
    let contents = files.filter_map(|file| fs::read(file.path()).ok());
    contents.into_iter().any(|log| log.windows(text.len()).any(|window| window == text.as_bytes()))
}

#[test]
fn prometheus_3_gives_back_every_kind_of_sample_in_both_versions() {
    drive::in_parallel(["1.0", "2.0"], |protocol| {
        let Some(mut receiver) = Receiver::start_with(Kind::Prometheus3, &ALL) else {
            return;
        };
        let host = host("mixed", &receiver.write_url()).env("REMOTE_WRITE_PROTOCOL", protocol);
        let host = host.env("FAULT_START_MS", "1700000000000").env("FAULT_END_AFTER", LAST.to_string());
        let running = host.spawn();
        // Sent when the series have ended; the delivery behind it brings the successor.
        wait_for_text(&running, "unknown_series");
        let mut seen = 0;
        running.wait_for_log(
            |line| {
                seen += u64::from(drive::is_delivered(line));
                seen >= 8
            },
            LONG,
        );
        let ledger = faults::stop(&running);
        let readings = faults::raw(&running, "raw_sent");
        let successor = readings - LAST;
        // Four series, their markers, the late sample, and what came after.
        assert_eq!((ledger.collected, ledger.dropped), (4 * LAST + 4 + 1 + successor, 1), "{ledger:?}");
        assert_eq!(ledger.delivered, ledger.collected - 1);
        assert_eq!(exemplars(&running), (4 * LAST + successor, 4 * LAST + successor, 0, String::new()));
        // The successor has no start.
        let left_out = (protocol == "1.0").then_some(4 * LAST + 4);
        assert_eq!(told(&running, "left_out_starts"), left_out, "{}", running.log_text());

        assert_stored(&receiver, &["integer", "float", "custom"], LAST);
        // The markers end what would be shown for five minutes.
        let names = |labels: Vec<Labels>| labels.into_iter().map(|mut labels| labels.remove("__name__").unwrap());
        let shown: Vec<String> = names(receiver.instant(r#"{__name__=~"fault_.*"}"#)).collect();
        assert_eq!(shown, ["fault_successor"]);

        assert_eq!(stored_exemplars(&receiver, "fault_number"), expected_exemplars(LAST, |n| n as f64 / 2.0));
        for counts in ["integer", "float", "custom"] {
            let stored = stored_exemplars(&receiver, &format!("fault_histogram{{counts={counts:?}}}"));
            let expected = expected_exemplars(LAST, |_| 3.5);
            if protocol == "2.0" {
                assert_eq!(stored, expected, "{counts}");
            } else {
                // Of 1.0 it looks for an exemplar's series before it reads the histograms that make it known: those of
                // the first request are lost to it.
                assert!(!stored.is_empty() && expected.ends_with(&stored), "{counts}: {stored:?}");
                assert!(stored.len() < expected.len(), "it takes all of them: the documentation can say so");
            }
        }
        // Its API has the metadata of what it scrapes, none of what is written to it: of 2.0 that is in its log.
        assert_eq!(receiver.ask("metadata", &[]), json!({}));
        receiver.stop();
        assert_eq!(wal_has(&receiver, "Numbers by size."), protocol == "2.0");
    });
}

#[test]
fn with_histograms_in_the_first_batch_auto_loses_nothing_at_any_real_receiver() {
    drive::in_parallel(Kind::ALL, |kind| {
        let arguments: &[&str] = match kind {
            Kind::Prometheus3 => &ALL,
            Kind::PrometheusDebian => &ALL_2,
            Kind::VictoriaMetrics => &[],
        };
        let Some(receiver) = Receiver::start_with(kind, arguments) else {
            return;
        };
        let host = drive::host("monitor-fault", &receiver.write_url()).env("FAULT_FORM", "mixed");
        let host = host.env("PUSH_INTERVAL_S", "0.5").env("REMOTE_WRITE_PROTOCOL", "auto");
        let running = host.env("FAULT_START_MS", "1700000000000").spawn();
        let mut delivered = 0;
        let fifth = |line: &Line| {
            delivered += u64::from(drive::is_delivered(line));
            delivered >= 5
        };
        running.wait_for_log(fifth, LONG);
        let (ledger, readings) = drive::stop(&running);
        drive::assert_all_delivered(&ledger);
        assert_eq!(ledger.collected, 4 * readings);
        assert_eq!(exemplars(&running), (4 * readings, 4 * readings, 0, String::new()));
        // Found out by the first batch, which is sent again.
        let left_out = (kind != Kind::Prometheus3).then_some(4 * readings);
        assert_eq!(told(&running, "left_out_starts"), left_out, "{}", running.log_text());

        let floats = receiver.range("fault_number");
        drive::assert_numbered(&floats[0].samples, readings);
        match kind {
            Kind::Prometheus3 => assert_stored(&receiver, &["integer", "float", "custom"], readings),
            Kind::PrometheusDebian => {
                assert_stored(&receiver, &["integer", "float"], readings);
                // It is older than custom bounds: count and sum are right, its buckets are not.
                let custom = &stored(&receiver, &floats[0].samples)["custom"];
                for (n, histogram) in (1..=readings).zip(custom) {
                    let of = |histogram: &Value| (histogram["count"].clone(), histogram["sum"].clone());
                    assert_eq!(of(histogram), of(&expected("custom", n)));
                }
                assert_eq!(custom.len() as u64, readings);
            }
            // It makes series of counts, sums and ranges of them.
            Kind::VictoriaMetrics => {
                for (suffix, counts, times) in [
                    ("count", "integer", 6.0),
                    ("count", "float", 2.5),
                    ("count", "custom", 3.0),
                    ("sum", "float", 10.0),
                ] {
                    let series = receiver.range(&format!("fault_histogram_{suffix}{{counts={counts:?}}}"));
                    let values: Vec<f64> = series[0].samples.iter().map(|sample| sample.1).collect();
                    assert_eq!(
                        values,
                        (1..=readings).map(|n| n as f64 * times).collect::<Vec<_>>(),
                        "{suffix} {counts}"
                    );
                }
                let ranges = receiver.range(r#"fault_histogram_bucket{counts="integer"}"#);
                assert_eq!(ranges.len(), 5, "{ranges:?}");
                assert_eq!(receiver.ask("metadata", &[])["fault_histogram"][0]["help"], "Numbers by size.");
            }
        }
        if kind != Kind::VictoriaMetrics {
            assert_eq!(stored_exemplars(&receiver, "fault_number"), expected_exemplars(readings, |n| n as f64 / 2.0));
        }
    });
}

#[test]
fn batches_wait_where_histograms_are_disabled() {
    let Some(mut receiver) = Receiver::start(Kind::Prometheus3) else {
        return;
    };
    let running = host("mixed", &receiver.write_url()).env("REMOTE_WRITE_PROTOCOL", "2.0").spawn();
    let told = wait_for_text(&running, "native histograms are disabled");
    assert!(told.level() == "WARNING" && told.message().contains("will be tried again: HTTP 500"), "{}", told.text);
    receiver.restart_with(&ALL);
    running.wait_for_log(|line| line.message() == "the receiver takes samples again", LONG);
    let ledger = faults::stop(&running);
    let readings = faults::raw(&running, "raw_sent");
    assert_eq!((ledger.delivered, ledger.collected), (4 * readings, 4 * readings), "{ledger:?}");
    assert_stored(&receiver, &["integer", "float", "custom"], readings);
}

#[test]
fn nothing_is_against_the_protocol() {
    for protocol in ["1.0", "2.0"] {
        let sink = Sink::start();
        let host = host("mixed", sink.url()).env("REMOTE_WRITE_PROTOCOL", protocol).env("FAULT_SERIES", "2");
        let running = host.env("FAULT_START_MS", "1700000000000").env("FAULT_END_AFTER", LAST.to_string()).spawn();
        wait_for_text(&running, "unknown_series");
        let ledger = faults::stop(&running);
        let successor = faults::raw(&running, "raw_sent") - LAST;
        let collected = 5 * LAST + successor;
        assert_eq!(exemplars(&running), (collected, collected, 0, String::new()));
        let markers = 5;
        sink.wait_samples((ledger.delivered - 3 * (LAST + 1)) as usize, LONG);
        let others = sink.others();
        let histograms: Vec<_> = others.iter().filter(|other| !other["histogram"].is_null()).collect();
        assert_eq!(histograms.len() as u64 + sink.samples().len() as u64, ledger.delivered);
        assert_eq!(ledger.delivered, collected + markers);
        let stale = histograms.iter().filter(|histogram| histogram["histogram"]["sum"] == "StaleNaN");
        assert_eq!(stale.count(), 3);
        let with_start = histograms.iter().filter(|histogram| histogram["start_timestamp_ms"] == 1_700_000_000_000_i64);
        assert_eq!(with_start.count(), if protocol == "2.0" { histograms.len() } else { 0 });
        assert_eq!(others.iter().filter(|other| !other["exemplar"].is_null()).count() as u64, collected);
        assert_eq!(sink.violations(), []);
    }
}

#[test]
fn what_nobody_would_take_is_dropped_and_counted() {
    let sink = Sink::start();
    let running = host("invalid", sink.url()).spawn();
    sink.wait_samples(10, LONG);
    let ledger = faults::stop(&running);
    let readings = faults::raw(&running, "raw_sent");
    assert_eq!((ledger.delivered, ledger.dropped_as("invalid_histogram")), (readings, readings), "{ledger:?}");
    let reasons = format!("invalid_exemplar={},lone_exemplar={readings}", 2 * readings);
    assert_eq!(exemplars(&running), (3 * readings, 0, 0, reasons));
    let said = wait_for_text(&running, "its count is not the sum of its buckets");
    assert_eq!((said.level(), said.field("reason")), ("WARNING", "invalid_histogram"));
    assert_eq!(sink.violations(), []);
    // Who sends none of it sees none of it.
    let sink = Sink::start();
    let plain = host("series", sink.url()).spawn();
    sink.wait_samples(1, LONG);
    faults::stop(&plain);
    for field in ["exemplars_collected", "left_out_starts"] {
        assert_eq!(told(&plain, field), None, "{}", plain.log_text());
    }
}

#[test]
fn partial_writes_go_to_the_books_of_each() {
    let header = |what: &str, count: &str| format!("\r\nX-Prometheus-Remote-Write-{what}-Written: {count}");
    let written = |status: &str, [samples, histograms, exemplars]: [&str; 3]| {
        let headers = [("Samples", samples), ("Histograms", histograms), ("Exemplars", exemplars)];
        let headers = headers.into_iter().filter(|(_, count)| !count.is_empty());
        status.to_owned() + &headers.map(|(what, count)| header(what, count)).collect::<String>()
    };
    for (status, counts, kept, kept_exemplars, reason) in [
        ("204 No Content", ["1", "2", "3"], 3, 3, "partial_write"),
        ("200 OK", ["", "2", ""], 2, 0, "partial_write"),
        ("400 Bad Request", ["1", "1", "1"], 2, 1, "refused"),
    ] {
        let answer = written(status, counts);
        let stub = Stub::start(move |_| answer.clone());
        let running = host("mixed", &stub.url()).env("REMOTE_WRITE_PROTOCOL", "2.0").spawn();
        stub.wait_requests(3, LONG);
        let ledger = faults::stop(&running);
        let requests = stub.wait_requests(3, LONG).len() as u64;
        assert_eq!(ledger.delivered, kept * requests, "{status}: {ledger:?}");
        assert_eq!(ledger.dropped_as(reason), ledger.dropped, "{status}: {ledger:?}");
        let (collected, delivered, pending, reasons) = exemplars(&running);
        assert_eq!((delivered, pending), (kept_exemplars * requests, 0), "{status}");
        assert_eq!(reasons, format!("{reason}={}", collected - delivered));
        let once = running.log().iter().filter(|line| line.text.contains("does not write all exemplars")).count();
        assert_eq!(once, usize::from(reason == "partial_write"), "{}", running.log_text());
    }
}

#[test]
fn a_spool_keeps_histograms_and_exemplars_and_their_books() {
    let dir = tempfile::tempdir().expect("a folder");
    let run = |url: &str| {
        let host = host("mixed", url).env("REMOTE_WRITE_PROTOCOL", "2.0").env("FAULT_START_MS", "1700000000000");
        host.env("SPOOL_DIR", dir.path()).env("SPOOL_FLUSH_S", "0.1").env("SHUTDOWN_TIMEOUT_S", "1")
    };
    let first = run(faults::NOWHERE).spawn();
    crate::spool::wait_until(&first, || crate::spool::bytes_in(dir.path()) > 2000);
    first.signal(SIGTERM);
    assert_eq!(first.wait(LONG).code(), Some(0), "{}", first.log_text());
    let left = first.ledger();
    let waiting = exemplars(&first);
    assert_eq!(waiting, (left.pending, 0, left.pending, String::new()), "an exemplar for each sample");

    // Kept as 2.0, sent as 1.0: the receiver knows no other.
    let sink = Sink::reading("legacy");
    let second = run(sink.url()).env("REMOTE_WRITE_PROTOCOL", "auto").spawn();
    sink.wait_samples(left.pending as usize / 4 + 5, LONG);
    faults::stop(&second);
    let ledger = books(&second);
    assert_eq!(ledger.delivered, left.pending + 4 * faults::raw(&second, "raw_sent"), "{ledger:?}");
    assert_eq!(exemplars(&second), (ledger.delivered, ledger.delivered, 0, String::new()));
    assert_eq!(told(&second, "left_out_starts"), Some(ledger.delivered), "{}", second.log_text());
    assert_eq!(sink.violations(), []);
}
