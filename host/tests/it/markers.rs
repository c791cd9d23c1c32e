//! The end of a series: one stale marker a millisecond behind its newest sample, and none while it may go on.

use crate::drive;
use crate::faults::{LONG, assert_all_arrived, books, host, raw, stop, wait_for_text};
use crate::receivers::{Kind, Receiver};
use crate::sink::{Sample, Sink};

/// The markers that arrived, each a millisecond behind the newest sample of its series, and one a series at most.
#[track_caller]
fn markers(sink: &Sink) -> Vec<Sample> {
    let (markers, samples): (Vec<Sample>, Vec<Sample>) = sink.samples().into_iter().partition(Sample::is_marker);
    for marker in &markers {
        let same = |other: &&Sample| (&other.metric, &other.labels) == (&marker.metric, &marker.labels);
        assert_eq!(markers.iter().filter(same).count(), 1, "{marker:?}");
        let newest = samples.iter().filter(same).map(|sample| sample.timestamp_ms).max();
        assert_eq!(newest, Some(marker.timestamp_ms - 1), "{marker:?}");
    }
    markers
}

#[test]
fn a_series_whose_handle_is_dropped_ends_with_one_marker() {
    for protocol in ["1.0", "2.0"] {
        for form in ["series", "records", "list"] {
            let sink = Sink::start();
            let host = host(sink.url()).env("REMOTE_WRITE_PROTOCOL", protocol).env("FAULT_FORM", form);
            let running = host.env("FAULT_SERIES", "3").env("FAULT_END_AFTER", "5").spawn();
            wait_for_text(&running, "unknown_series");
            let so_far = sink.samples().len();
            sink.wait_samples(so_far + 20, LONG);
            let (ledger, readings) = (stop(&running), raw(&running, "raw_sent"));
            let arrived = sink.wait_samples(ledger.delivered as usize, LONG);
            // The three become one, their successor; records go on under the old names, which live again.
            let later = if form == "series" { 1 } else { 3 };
            // A late sample of one of them is all that was dropped.
            let read = 3 * 5 + later * (readings - 5);
            assert_eq!((ledger.collected, ledger.delivered), (read + 1 + 3, read + 3), "{protocol} {form}: {ledger:?}");
            assert_eq!(sink.violations(), []);

            let ended: Vec<_> = arrived.iter().filter(|sample| sample.is_marker()).collect();
            let series: Vec<_> = ended.iter().map(|marker| &*marker.labels["series"]).collect();
            assert_eq!(series, ["0", "1", "2"], "{protocol} {form}");
            for marker in ended {
                assert_eq!(marker.metric, "fault_number");
                let same: Vec<_> = arrived.iter().filter(|sample| sample.labels == marker.labels).collect();
                assert_eq!((same[4].value, same[4].timestamp_ms), (5.0, marker.timestamp_ms - 1));
                assert_eq!(same.len() > 6, later == 3, "{protocol} {form}: {same:?}");
            }
        }
    }
}

#[test]
fn prometheus_shows_an_ended_series_no_more() {
    drive::in_parallel([Kind::PrometheusDebian, Kind::Prometheus3], |kind| {
        let Some(receiver) = Receiver::start(kind) else {
            return;
        };
        let host = drive::host("monitor-fault", &receiver.write_url()).env("FAULT_SERIES", "3");
        let host = host.env("PUSH_INTERVAL_S", "0.3").env("FAULT_END_AFTER", "5").spawn();
        // The successor's samples come a second after the end, and push after push brings some.
        wait_for_text(&host, "unknown_series");
        let (mut delivered, so_far) = (0, host.log().len());
        let mut seen = 0;
        host.wait_for_log(
            |line| {
                seen += 1;
                delivered += u64::from(seen > so_far && drive::is_delivered(line));
                delivered >= 3
            },
            LONG,
        );
        let shown = receiver.instant(r#"{__name__=~"fault_.*"}"#);
        let names: Vec<_> = shown.iter().map(|labels| &*labels["__name__"]).collect();
        assert_eq!(names, ["fault_successor"], "{kind:?}");
        // What there was stays to be asked for.
        let before = receiver.range("fault_number");
        assert_eq!(before.len(), 3, "{before:?}");
        before.iter().for_each(|series| drive::assert_numbered(&series.samples, 5));

        host.signal(signal_hook::consts::SIGTERM);
        assert_eq!(host.wait(LONG).code(), Some(0), "{}", host.log_text());
        let ledger = books(&host);
        assert_eq!((ledger.dropped_as("unknown_series"), ledger.dropped), (1, 1), "{ledger:?}");
        let after = receiver.instant(r#"{__name__=~"fault_.*"}"#);
        assert_eq!(after, shown, "an ordinary end ends no series");
    });
}

#[test]
fn an_ordinary_end_ends_no_series() {
    for form in ["series", "records", "json"] {
        let sink = Sink::start();
        let json = r#"{"metric":"m","labels":{"a":"1"},"value":NUMBER,"timestamp_ms":NOW_MS}"#;
        let running = host(sink.url()).env("FAULT_FORM", form).env("FAULT_JSON", json).spawn();
        sink.wait_samples(20, LONG);
        stop(&running);
        assert_all_arrived(&running, &sink);
        assert!(markers(&sink).is_empty(), "{form}");
    }
}

#[test]
fn a_plugin_that_ends_by_itself_ends_its_series() {
    for worker in ["FAULT_GET_POWER", "FAULT_PROCESS_DATA"] {
        for how in ["return", "error", "panic"] {
            let sink = Sink::start();
            let running = host(sink.url()).env("FAULT_SERIES", "2").env(worker, how).spawn();
            assert_eq!(running.wait(LONG).code(), Some(1), "{}", running.log_text());
            let ledger = books(&running);
            sink.wait_samples(ledger.delivered as usize, LONG);
            assert_eq!(markers(&sink).len(), 2, "{worker}={how}");
            assert_eq!((ledger.delivered, ledger.dropped), (2 * 10 + 2, 0), "{worker}={how}: {ledger:?}");
        }
    }
}

#[test]
fn a_silent_series_ends_after_series_idle_s() {
    for form in ["series", "list"] {
        let sink = Sink::start();
        let running = host(sink.url())
            .env("FAULT_FORM", form)
            .env("FAULT_SERIES", "3")
            .env("FAULT_SILENT_AFTER", "10")
            .env("SERIES_IDLE_S", "1")
            .spawn();
        let is_silent = |sample: &Sample| sample.is_marker() && sample.labels["series"] == "0";
        sink.wait_for(LONG, "marker", |samples| samples.iter().any(is_silent));
        // It ends once, however long it is silent: two more sweeps and their pushes.
        let so_far = sink.samples().len();
        sink.wait_samples(so_far + 2 * 125, LONG);
        let ledger = stop(&running);
        sink.wait_samples(ledger.delivered as usize, LONG);
        let ended = markers(&sink);
        assert!(ended.len() == 1 && is_silent(&ended[0]), "{form}: {ended:?}");
        let read = 3 * 10 + 2 * (raw(&running, "raw_sent") - 10);
        assert_eq!((ledger.collected, ledger.delivered), (read + 1, read + 1), "{form}: {ledger:?}");
        assert_eq!(sink.violations(), []);
    }
}
