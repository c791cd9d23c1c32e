//! What each variable does, as the receiver, the log or the clock show it.

use std::time::{Duration, Instant};

use serde_json::json;
use signal_hook::consts::SIGTERM;

use super::{SOON, installed, pushing_to, stop};
use crate::host::{Host, Line, Running};
use crate::plugins;
use crate::sink::{Request, Sink};

effects! {
    MONITOR_IMPL_PATH: the_plugin_is_the_one_given_or_the_one_beside_the_binary,
    SCRAPE_INTERVAL_S: timestamps_are_so_far_apart,
    RAW_QUEUE_SIZE: readings_beyond_it_are_handed_back,
    PROC_QUEUE_SIZE: half_of_it_is_batched_at_once,
    METRIC_DEFAULT: it_names_what_has_no_name,
    SERVICE_LABEL: it_is_the_source_of_components,
    PUSH_INTERVAL_S: requests_are_so_far_apart_and_hold_as_much,
    BATCH_MAX_SAMPLES: no_request_holds_more_samples,
    BATCH_MAX_BYTES: no_message_is_longer,
    ALLOW_OUT_OF_ORDER: older_samples_are_sent_or_counted,
    REMOTE_WRITE_URL: samples_arrive_there_and_only_there,
    REMOTE_WRITE_TIMEOUT_S: a_request_without_an_answer_is_repeated_after_it,
    MAX_RETRY_BATCHES: no_more_batches_wait,
    MAX_RETRY_BYTES: no_more_bytes_wait,
    DRY_RUN: samples_are_printed_instead,
    SHUTDOWN_TIMEOUT_S: the_end_comes_by_then,
    LOG_LEVEL: less_severe_lines_are_left_out,
    LOG_FORMAT: lines_are_for_people_or_json,
    DUMMY_SERIES: the_dummy_has_so_many_series,
    DUMMY_FORM: the_dummy_sends_the_same_in_every_form,
}

fn fail_for_good(sink: &Sink) {
    sink.answer(json!({"status": 503}));
}

fn is_overflow(line: &Line) -> bool {
    line.field("reason") == "retry_overflow"
}

fn median(mut numbers: Vec<i64>) -> i64 {
    assert!(!numbers.is_empty());
    numbers.sort_unstable();
    numbers[numbers.len() / 2]
}

fn gaps(moments: impl IntoIterator<Item = i64>) -> Vec<i64> {
    let moments: Vec<i64> = moments.into_iter().collect();
    moments.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// Wide, for a machine that is busy with other tests; what the two values of a test may give must not overlap.
#[track_caller]
fn assert_near(measured: i64, meant: i64) {
    assert!((meant * 6 / 10..=meant * 18 / 10).contains(&measured), "{measured} rather than {meant}");
}

#[track_caller]
fn last(host: &Running, message: &str) -> Line {
    let line = host.log().into_iter().rfind(|line| line.message().contains(message));
    line.unwrap_or_else(|| panic!("no {message:?} in\n{}", host.log_text()))
}

fn the_plugin_is_the_one_given_or_the_one_beside_the_binary() {
    let dummy = ("monitor-dummy", "libmonitor_dummy.so");
    let own = ("monitor-fault", "libmonitor_impl.so");
    let fault = plugins::so("monitor-fault").to_str().expect("a path in UTF-8");
    for (beside, given, metric) in [
        (&[dummy][..], "", "monitor_dummy_power_watts"),
        (&[dummy, own], "", "fault_number"),
        (&[dummy], fault, "fault_number"),
    ] {
        let (_folder, binary) = installed(beside);
        let sink = Sink::start();
        let host = Host::at(&binary).env("REMOTE_WRITE_URL", sink.url()).env("PUSH_INTERVAL_S", "0.1");
        let host = host.env("MONITOR_IMPL_PATH", given).spawn();
        assert_eq!(sink.wait_samples(1, SOON)[0].metric, metric);
        stop(&host);
        let warned = host.log().iter().any(|line| line.level() == "WARNING" && line.message().contains("not real"));
        assert_eq!(warned, metric.contains("dummy"), "{}", host.log_text());
    }
}

fn timestamps_are_so_far_apart() {
    for (interval, milliseconds) in [("0.1", 100), ("0.4", 400)] {
        let sink = Sink::start();
        let host = pushing_to(&sink).env("SCRAPE_INTERVAL_S", interval).spawn();
        let samples = sink.wait_samples(6, SOON);
        stop(&host);
        assert_near(median(gaps(samples.iter().map(|sample| sample.timestamp_ms))), milliseconds);
    }
}

fn readings_beyond_it_are_handed_back() {
    for (size, some) in [("1", true), ("1000", false)] {
        let sink = Sink::start();
        let host = pushing_to(&sink).env("SCRAPE_INTERVAL_S", "0.02").env("FAULT_PROCESS_DELAY_S", "0.05");
        let host = host.env("RAW_QUEUE_SIZE", size).spawn();
        sink.wait_samples(10, SOON);
        stop(&host);
        let refused = last(&host, "ledger").json["raw_refused"].as_u64();
        assert_eq!(refused.map(|refused| refused > 0), Some(some), "{size}: {refused:?}");
    }
}

fn half_of_it_is_batched_at_once() {
    // No deadline comes, and a batch goes when the next sample does: only the queue's fill sets the pace.
    let first_delay_ms = |size: &str| {
        let sink = Sink::start();
        let host = pushing_to(&sink).env("PUSH_INTERVAL_S", "86400").env("BATCH_MAX_SAMPLES", "1");
        let host = host.env("PROC_QUEUE_SIZE", size).spawn();
        let first = sink.wait_samples(1, SOON).swap_remove(0);
        stop(&host);
        first.received_ms - first.timestamp_ms
    };
    let (one, fifteen) = (first_delay_ms("1"), first_delay_ms("30"));
    // Until the fifteenth reading, at one in 50 ms.
    assert!(fifteen > 600 && one < fifteen, "{one} ms, {fifteen} ms");
}

/// The first samples of a component and of a record, both without a metric: metric and label `source` of each.
fn unnamed(variables: &[(&str, &str)]) -> [(String, Option<String>); 2] {
    let sink = Sink::start();
    let text = r#"[{"package-0": NUMBER}, {"value": NUMBER, "timestamp_ms": NOW_MS}]"#;
    let mut host = pushing_to(&sink).env("FAULT_FORM", "json").env("FAULT_JSON", text);
    for (name, value) in variables {
        host = host.env(name, value);
    }
    let host = host.spawn();
    sink.wait_samples(4, SOON);
    let samples = sink.wait_samples(stop(&host).delivered as usize, SOON);
    [true, false].map(|is_component| {
        let found = samples.iter().find(|sample| sample.labels.contains_key("component") == is_component);
        let found = found.unwrap_or_else(|| panic!("{samples:?}"));
        (found.metric.clone(), found.labels.get("source").cloned())
    })
}

fn it_names_what_has_no_name() {
    let unset = unnamed(&[]).map(|(metric, _)| metric);
    assert_eq!(unset, ["pyjoules_remote_write_energy_uj"; 2]);
    let set = unnamed(&[("METRIC_DEFAULT", "own:metric")]).map(|(metric, _)| metric);
    assert_eq!(set, ["own:metric"; 2]);
}

fn it_is_the_source_of_components() {
    let sources = |variables: &[_]| unnamed(variables).map(|(_, source)| source);
    assert_eq!(sources(&[]), [Some("monitor".to_owned()), None]);
    assert_eq!(sources(&[("SERVICE_LABEL", "rack 7")]), [Some("rack 7".to_owned()), None]);
}

fn requests_are_so_far_apart_and_hold_as_much() {
    for (interval, milliseconds, samples_each) in [("0.3", 300, 6), ("1", 1000, 20)] {
        let sink = Sink::start();
        let host = pushing_to(&sink).env("PUSH_INTERVAL_S", interval).spawn();
        let requests = sink.wait_requests(5, SOON);
        stop(&host);
        // The first one comes at a random phase.
        assert_near(median(gaps(requests[1..].iter().map(|request| request.received_ms))), milliseconds);
        assert_near(median(requests[1..].iter().map(|request| request.samples as i64).collect()), samples_each);
    }
}

fn no_request_holds_more_samples() {
    let largest = |most: &str| {
        let sink = Sink::start();
        let host = pushing_to(&sink).env("FAULT_SERIES", "20").env("BATCH_MAX_SAMPLES", most).spawn();
        sink.wait_samples(100, SOON);
        stop(&host);
        sink.requests().iter().map(|request| request.samples).max()
    };
    assert_eq!(largest("7"), Some(7));
    assert!(largest("10000") >= Some(20));
}

fn no_message_is_longer() {
    let longest = |most: &str| {
        let sink = Sink::start();
        let host = pushing_to(&sink).env("FAULT_SERIES", "100").env("LOG_LEVEL", "DEBUG");
        // A 2.0 message, where each text stands once, is far shorter than what it could need.
        let host = host.env("REMOTE_WRITE_PROTOCOL", "1.0").env("BATCH_MAX_BYTES", most).spawn();
        sink.wait_samples(500, SOON);
        stop(&host);
        host.log().iter().filter_map(|line| line.json["message_bytes"].as_u64()).max()
    };
    let bounded = longest("1KiB");
    assert!(bounded > Some(500) && bounded <= Some(1024), "{bounded:?}");
    assert!(longest("1MiB") > Some(1024));
}

fn older_samples_are_sent_or_counted() {
    for (allowed, in_order) in [("0", true), ("1", false)] {
        let sink = Sink::start();
        let host = pushing_to(&sink).env("FAULT_OFFSETS_MS", "0,-5000").env("PUSH_INTERVAL_S", "0.1");
        let host = host.env("ALLOW_OUT_OF_ORDER", allowed).spawn();
        let requests = sink.wait_requests(6, SOON).len();
        let ledger = stop(&host);
        assert_eq!(ledger.dropped_as("out_of_order") > 0, in_order, "{requests} requests, {ledger:?}");
        let samples = sink.wait_samples(ledger.delivered as usize, SOON);
        let rising = gaps(samples.iter().map(|sample| sample.timestamp_ms)).into_iter().all(|gap| gap > 0);
        assert_eq!(rising, in_order);
    }
}

fn samples_arrive_there_and_only_there() {
    let (one, other) = (Sink::start(), Sink::start());
    let host = pushing_to(&one).env("REMOTE_WRITE_URL", other.url()).spawn();
    other.wait_samples(1, SOON);
    let ledger = stop(&host);
    assert_eq!((one.requests().len(), ledger.delivered), (0, ledger.collected));
}

fn a_request_without_an_answer_is_repeated_after_it() {
    for (timeout, least_ms, most_ms) in [("0.3", 300, 1000), ("1.2", 1200, 5000)] {
        let sink = Sink::start();
        sink.answer(json!({"hang": true, "count": 1}));
        let host = pushing_to(&sink).env("REMOTE_WRITE_TIMEOUT_S", timeout).spawn();
        let requests = sink.wait_requests(2, SOON);
        stop(&host);
        let [first, second]: &[Request; 2] = requests[..2].try_into().expect("two requests");
        assert_eq!((first.status, second.attempt, first.samples), (None, Some(1), second.samples));
        // The host's clock starts a little before the request arrives.
        let gap = second.received_ms - first.received_ms + 100;
        assert!((least_ms..=most_ms).contains(&gap), "{timeout} s: {gap} ms");
    }
}

fn no_more_batches_wait() {
    for bound in [2, 5] {
        let sink = Sink::start();
        fail_for_good(&sink);
        let host = pushing_to(&sink).env("PUSH_INTERVAL_S", "0.1").env("SHUTDOWN_TIMEOUT_S", "0.5");
        let host = host.env("MAX_RETRY_BATCHES", bound.to_string()).spawn();
        host.wait_for_log(is_overflow, SOON);
        let ledger = stop(&host);
        // Who misses samples finds all of them in the log, with their moments.
        let told: Vec<_> = host.log().into_iter().filter(is_overflow).collect();
        let told_samples: u64 = told.iter().filter_map(|line| line.json["samples"].as_u64()).sum();
        assert!(told_samples > 0 && told_samples == ledger.dropped_as("retry_overflow"), "{told_samples} {ledger:?}");
        for line in &told {
            let [from, to] = ["from_ms", "to_ms"].map(|name| line.json[name].as_i64().expect("a moment"));
            assert!(0 < from && from <= to, "{}", line.text);
        }
        let waited = last(&host, "given up").json["batches"].as_u64();
        // One may be in a request at that moment.
        assert!(waited >= Some(bound - 1) && waited <= Some(bound), "{bound}: {waited:?}");
    }
}

fn no_more_bytes_wait() {
    const BOUND: u64 = 600;
    const ONE_SAMPLE: u64 = 60;
    let sink = Sink::start();
    fail_for_good(&sink);
    let host = pushing_to(&sink).env("PUSH_INTERVAL_S", "0.1").env("SHUTDOWN_TIMEOUT_S", "0.5");
    let host = host.env("MAX_RETRY_BYTES", BOUND.to_string()).spawn();
    host.wait_for_log(is_overflow, SOON);
    let ledger = stop(&host);
    assert!(ledger.dropped_as("retry_overflow") > 0, "{ledger:?}");
    // What waits was perhaps never sent: a batch takes so much even with one sample, as a starved machine makes them.
    let smallest = sink.requests().iter().map(|request| request.bytes).min().expect("a request").min(ONE_SAMPLE);
    let waited = last(&host, "given up").json["batches"].as_u64().expect("a number of batches");
    assert!(waited > 0 && waited * smallest <= BOUND, "{waited} batches of {smallest} bytes or more");
}

fn samples_are_printed_instead() {
    for (dry, printed) in [("1", true), ("0", false), ("", false)] {
        let sink = Sink::start();
        let host = pushing_to(&sink).env("DRY_RUN", dry).spawn();
        if printed {
            host.wait_for_output(|line| line.contains("fault_number"), SOON);
        } else {
            sink.wait_samples(1, SOON);
        }
        stop(&host);
        assert_eq!((host.output().is_empty(), sink.requests().is_empty()), (!printed, printed), "{dry:?}");
    }
}

fn the_end_comes_by_then() {
    for (timeout, least, most) in [("0.5", 0.5, 1.9), ("2", 2.0, 10.0)] {
        let sink = Sink::start();
        sink.answer(json!({"hang": true}));
        let host = pushing_to(&sink).env("SHUTDOWN_TIMEOUT_S", timeout).spawn();
        sink.wait_requests(1, SOON);
        let asked = Instant::now();
        host.signal(SIGTERM);
        assert_eq!(host.wait(SOON).code(), Some(0));
        let took = asked.elapsed();
        assert!((Duration::from_secs_f64(least)..Duration::from_secs_f64(most)).contains(&took), "{took:?}");
        let ledger = host.ledger();
        ledger.assert_balanced();
        assert!(ledger.dropped_as("shutdown") > 0, "{ledger:?}");
    }
}

fn less_severe_lines_are_left_out() {
    let all = ["DEBUG", "INFO", "WARNING", "ERROR"];
    for (level, shown) in
        [("TRACE", &all[..]), ("debug", &all), ("INFO", &all[1..]), ("WARNING", &all[2..]), ("CRITICAL", &all[3..])]
    {
        let sink = Sink::start();
        let host = pushing_to(&sink).env("LOG_LEVEL", level).spawn();
        // The plugin writes one line of each, the most severe last.
        host.wait_for_log(|line| line.message() == "an error of the fault plugin", SOON);
        let log = host.log();
        let written = all.into_iter().filter(|level| {
            log.iter().any(|line| line.level() == *level && line.message().ends_with("of the fault plugin"))
                || *level == "INFO" && log.iter().any(|line| line.message() == "the fault plugin is ready")
        });
        assert_eq!(written.collect::<Vec<_>>(), shown, "{level}: {}", host.log_text());
    }
}

fn lines_are_for_people_or_json() {
    // What is no terminal gets JSON by itself.
    for (format, is_json) in [("json", true), ("human", false), ("auto", true), ("", true)] {
        let sink = Sink::start();
        let host = pushing_to(&sink).env("LOG_FORMAT", format).spawn();
        host.wait_for_log(|line| line.text.contains("an error of the fault plugin"), SOON);
        for line in host.log() {
            assert_eq!(line.json.is_object(), is_json, "{format:?}: {}", line.text);
        }
    }
}

/// What the dummy sends in its first readings, by series.
fn dummy_series(name: &str, value: &str) -> Vec<String> {
    let sink = Sink::start();
    let host = pushing_to(&sink).env("MONITOR_IMPL_PATH", plugins::so("monitor-dummy")).env(name, value).spawn();
    sink.wait_samples(20, SOON);
    let ledger = stop(&host);
    sink.wait_samples(ledger.delivered as usize, SOON);
    assert_eq!(ledger.collected % sink.series().len() as u64, 0, "whole readings: {ledger:?}");
    sink.series().into_keys().map(|labels| format!("{labels:?}")).collect()
}

fn the_dummy_has_so_many_series() {
    assert_eq!(dummy_series("DUMMY_SERIES", "").len(), 5);
    assert_eq!(dummy_series("DUMMY_SERIES", "7").len(), 7);
}

fn the_dummy_sends_the_same_in_every_form() {
    let usual = dummy_series("DUMMY_FORM", "");
    for form in ["series", "records", "json"] {
        assert_eq!(dummy_series("DUMMY_FORM", form), usual, "{form}");
    }
}
