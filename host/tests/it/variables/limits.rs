//! What the variables do that say how series are named and how many there may be, and what is done with an answer.

use serde_json::json;

use super::{SOON, pushing_to, stop};
use crate::host::{Host, Ledger};
use crate::sink::{Sample, Sink};

effects! {
    EXTERNAL_LABELS: every_series_has_them_unless_it_has_its_own,
    MAX_LABEL_VALUE_BYTES: longer_values_are_dropped,
    MAX_SERIES: no_more_series_are_known,
    SERIES_IDLE_S: a_series_that_is_silent_for_so_long_ends,
    REMOTE_WRITE_PROTOCOL: requests_are_of_this_version,
    RETRY_ON_HTTP: these_refusals_are_tried_again,
    MAX_SAMPLE_AGE_S: older_batches_are_dropped,
}

/// Runs a host until it has sent so many samples; what arrived, and its books.
fn run(sink: &Sink, host: Host, samples: usize) -> (Vec<Sample>, Ledger) {
    let host = host.spawn();
    sink.wait_samples(samples, SOON);
    let ledger = stop(&host);
    (sink.wait_samples(ledger.delivered as usize, SOON), ledger)
}

fn with_json(sink: &Sink, text: &str) -> Host {
    pushing_to(sink).env("FAULT_FORM", "json").env("FAULT_JSON", text)
}

fn every_series_has_them_unless_it_has_its_own() {
    let own = ("series", "0");
    for (labels, expected) in [
        ("", &[own][..]),
        ("site=berlin, host=${HOSTNAME},series=other", &[("host", "rack 7"), own, ("site", "berlin")]),
    ] {
        for form in ["series", "records"] {
            let sink = Sink::start();
            let host = pushing_to(&sink).env("FAULT_FORM", form).env("HOSTNAME", "rack 7");
            let (samples, _) = run(&sink, host.env("EXTERNAL_LABELS", labels), 1);
            let found: Vec<_> = samples[0].labels.iter().map(|(name, value)| (&**name, &**value)).collect();
            assert_eq!(found, expected, "{form}");
        }
    }
}

fn longer_values_are_dropped() {
    let text = r#"[{"labels":{"a":"12345678901234567890"},"value":1,"timestamp_ms":NOW_MS},
        {"labels":{"a":"123456789012345678901"},"value":2,"timestamp_ms":NOW_MS}]"#;
    for (most, dropped) in [("", false), ("21", false), ("20", true)] {
        let sink = Sink::start();
        let host = with_json(&sink, text).env("METRIC_DEFAULT", "m").env("MAX_LABEL_VALUE_BYTES", most);
        let (samples, ledger) = run(&sink, host, 4);
        let longer = samples.iter().any(|sample| sample.labels["a"].len() == 21);
        assert_eq!((ledger.dropped_as("label_too_long") > 0, !longer), (dropped, dropped), "{most}: {ledger:?}");
        assert_eq!(ledger.dropped_as("label_too_long"), ledger.dropped);
    }
}

fn no_more_series_are_known() {
    let text = r#"[{"labels":{"a":"1"},"value":1,"timestamp_ms":NOW_MS},
        {"labels":{"a":"2"},"value":2,"timestamp_ms":NOW_MS}]"#;
    // The plugin holds one of its own, of which it sends nothing.
    for (most, dropped) in [("", false), ("3", false), ("2", true)] {
        let sink = Sink::start();
        let (_, ledger) = run(&sink, with_json(&sink, text).env("MAX_SERIES", most), 20);
        assert_eq!(ledger.dropped_as("too_many_series") > 0, dropped, "{most}: {ledger:?}");
        assert_eq!(
            (sink.series().len(), ledger.dropped_as("too_many_series")),
            (2 - usize::from(dropped), ledger.dropped)
        );
    }
}

fn a_series_that_is_silent_for_so_long_ends() {
    for (idle, ends) in [("", false), ("1", true), ("600", false)] {
        let sink = Sink::start();
        let host = pushing_to(&sink).env("FAULT_SERIES", "2").env("FAULT_SILENT_AFTER", "5");
        // Three seconds of the series that goes on.
        let (samples, _) = run(&sink, host.env("SERIES_IDLE_S", idle), 10 + 60);
        let ended: Vec<_> = samples.iter().filter(|sample| sample.is_marker()).collect();
        assert_eq!(ended.len(), usize::from(ends), "{idle}: {ended:?}");
        for marker in ended {
            assert_eq!(marker.labels["series"], "0");
            let newest = samples.iter().rfind(|sample| sample.labels == marker.labels && !sample.is_marker());
            let silence_ms = marker.received_ms - newest.expect("five samples").timestamp_ms;
            // Looked for once in so long; the second is a slow machine's.
            assert!((1000..3500).contains(&silence_ms), "{silence_ms} ms");
        }
    }
}

fn requests_are_of_this_version() {
    for (choice, version) in [("1.0", "1.0"), ("2.0", "2.0"), ("auto", "2.0"), ("", "2.0")] {
        let sink = Sink::start();
        run(&sink, pushing_to(&sink).env("REMOTE_WRITE_PROTOCOL", choice), 10);
        let requests = sink.requests();
        assert!(requests.iter().all(|request| request.protocol.as_deref() == Some(version)), "{choice}: {requests:?}");
    }
}

fn these_refusals_are_tried_again() {
    for (statuses, again) in [("", false), ("403", false), ("401, 403", true)] {
        let sink = Sink::start();
        sink.answer(json!([{"count": 1}, {"status": 401, "count": 2}]));
        let (_, ledger) = run(&sink, pushing_to(&sink).env("RETRY_ON_HTTP", statuses), 20);
        let lost: u64 = sink.requests()[1..3].iter().map(|request| request.samples).sum();
        assert_eq!(ledger.dropped_as("refused"), if again { 0 } else { lost }, "{statuses}: {ledger:?}");
        let attempts: Vec<_> = sink.requests()[1..4].iter().map(|request| request.attempt).collect();
        assert_eq!(attempts, if again { [None, Some(1), Some(2)] } else { [None; 3] });
    }
}

fn older_batches_are_dropped() {
    for (age, too_old) in [("", false), ("60", false), ("3", true)] {
        let sink = Sink::start();
        // Older than that from the start.
        let host = pushing_to(&sink).env("FAULT_OFFSETS_MS", "-5000").env("MAX_SAMPLE_AGE_S", age).spawn();
        if too_old {
            host.wait_for_log(|line| line.field("reason") == "too_old", SOON);
        } else {
            sink.wait_samples(10, SOON);
        }
        let ledger = stop(&host);
        let dropped = if too_old { ledger.collected } else { 0 };
        assert_eq!((ledger.dropped_as("too_old"), ledger.dropped), (dropped, dropped), "{age}: {ledger:?}");
        assert_eq!(sink.requests().is_empty(), too_old, "nothing of it is sent");
    }
}
