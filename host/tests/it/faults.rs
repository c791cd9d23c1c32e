//! A host with the plugin that misbehaves on request, and what to ask of it at its end.
//!
//! Enters: a receiver's address. Leaves: a host to add variables to; a run's books; the numbers that arrived. Never:
//! waits for a moment, only for what happens.

use std::time::Duration;

use signal_hook::consts::SIGTERM;

use crate::host::{Host, Ledger, Line, Running};
use crate::plugins;
use crate::sink::Sink;

/// For what takes moments, on a machine that has much else to do.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// For what never comes to its receiver: nobody listens there.
pub(crate) const NOWHERE: &str = "http://127.0.0.1:9/api/v1/write";

/// Fifty readings a second, five pushes a second. Always remote write 1.0: what `auto` makes of an answer has tests of
/// its own.
pub(crate) fn host(url: &str) -> Host {
    aimed(Host::new(), url)
}

/// As [`host`], however it is started.
pub(crate) fn aimed(host: Host, url: &str) -> Host {
    host.env("MONITOR_IMPL_PATH", plugins::so("monitor-fault"))
        .env("REMOTE_WRITE_URL", url)
        .env("SCRAPE_INTERVAL_S", "0.02")
        .env("PUSH_INTERVAL_S", "0.2")
        .env("REMOTE_WRITE_PROTOCOL", "1.0")
}

/// Asks a healthy run to stop; its books.
#[track_caller]
pub(crate) fn stop(running: &Running) -> Ledger {
    running.signal(SIGTERM);
    assert_eq!(running.wait(LONG).code(), Some(0), "{}", running.log_text());
    books(running)
}

/// The books of a run that has ended: balanced, and nothing left anywhere.
#[track_caller]
pub(crate) fn books(running: &Running) -> Ledger {
    let ledger = running.ledger();
    ledger.assert_balanced();
    assert_eq!(ledger.pending, 0, "{ledger:?}");
    ledger
}

/// A number of the ledger's line that is no sample's: `raw_sent`, `raw_received`, `raw_refused`.
#[track_caller]
pub(crate) fn raw(running: &Running, name: &str) -> u64 {
    let line = running.log().into_iter().rfind(|line| line.message() == "ledger").expect("a ledger");
    line.json[name].as_u64().unwrap_or_else(|| panic!("no {name}: {}", line.text))
}

/// What all readings brought, in the order of arrival: as many as the books say were delivered, but for the markers that
/// end series.
#[track_caller]
pub(crate) fn numbers(sink: &Sink, ledger: &Ledger) -> Vec<u64> {
    let samples = sink.wait_samples(ledger.delivered as usize, LONG);
    assert_eq!(samples.len() as u64, ledger.delivered, "more arrived than was delivered");
    samples.iter().filter(|sample| !sample.is_marker()).map(|sample| sample.value as u64).collect()
}

/// Every reading of the run has arrived, once and in order, and nothing was against the protocol.
#[track_caller]
pub(crate) fn assert_all_arrived(running: &Running, sink: &Sink) {
    let ledger = books(running);
    assert_eq!((ledger.dropped, ledger.refused_sends, raw(running, "raw_refused")), (0, 0, 0), "{ledger:?}");
    let read: Vec<u64> = (1..=raw(running, "raw_sent")).collect();
    assert!(!read.is_empty());
    assert_eq!(numbers(sink, &ledger), read);
    assert_eq!(sink.violations(), []);
}

/// The host's own lines of one level, `ERROR` or `WARNING`.
pub(crate) fn lines(running: &Running, level: &str) -> Vec<Line> {
    running.log().into_iter().filter(|line| line.level() == level && line.field("target") != "plugin").collect()
}

/// Waits for a line that holds this text.
#[track_caller]
pub(crate) fn wait_for_text(running: &Running, text: &str) -> Line {
    running.wait_for_log(|line| line.text.contains(text), LONG)
}
