//! A run from its start to its ledger, as the tests of delivery go through it.
//!
//! Enters: a plugin, a receiver, what to wait for. Leaves: the books, and judgements on what arrived. Never: knows which
//! receiver it was.

use std::fmt::Debug;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use signal_hook::consts::SIGTERM;

use crate::host::{Host, Ledger, Line, Running};
use crate::plugins;

/// For what takes a moment on a machine that has nothing else to do.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// The hole in a series that a starved machine can make. Readings are 100 ms apart otherwise.
pub(crate) const LONGEST_GAP_MS: i64 = 2000;

/// A host with one of the plugins that pushes to `url`, and says in its log what it delivers.
pub(crate) fn host(plugin: &str, url: &str) -> Host {
    Host::new().env("MONITOR_IMPL_PATH", plugins::so(plugin)).env("REMOTE_WRITE_URL", url).env("LOG_LEVEL", "DEBUG")
}

/// Asks a host to stop, which it does with 0 and with balanced books: nothing is pending, no reading was lost within the
/// plugin, the queue took all it was given. Returns the books and the number of readings.
#[track_caller]
pub(crate) fn stop(host: &Running) -> (Ledger, u64) {
    host.signal(SIGTERM);
    let status = host.wait(SOON);
    assert_eq!(status.code(), Some(0), "{}", host.log_text());
    let ledger = host.ledger();
    ledger.assert_balanced();
    assert_eq!((ledger.pending, ledger.refused_sends), (0, 0), "{ledger:?}");
    let line = host.log().into_iter().rfind(|line| line.message() == "ledger").expect("the ledger was read before");
    let raw = ["raw_sent", "raw_received", "raw_refused"].map(|name| number(&line, name));
    assert_eq!(raw, [raw[0], raw[0], 0], "readings were lost: {}", line.text);
    (ledger, raw[0])
}

/// Nothing was lost.
#[track_caller]
pub(crate) fn assert_all_delivered(ledger: &Ledger) {
    assert_eq!((ledger.delivered, ledger.dropped), (ledger.collected, 0), "{ledger:?}");
}

/// A field of a log line that is a number.
#[track_caller]
pub(crate) fn number(line: &Line, name: &str) -> u64 {
    line.json[name].as_u64().unwrap_or_else(|| panic!("no number {name}: {}", line.text))
}

/// Whether a line tells of a delivered batch.
pub(crate) fn is_delivered(line: &Line) -> bool {
    line.level() == "DEBUG" && line.message() == "delivered"
}

/// Waits until the receiver has taken the first batch.
#[track_caller]
pub(crate) fn wait_for_first_batch(host: &Running) {
    host.wait_for_log(|line| line.message() == "the first batch is delivered", SOON);
}

/// Waits until the receiver takes samples again after a fault, then until all that waited and three more batches are
/// delivered. Does not look at the first `seen` lines of the log: a receiver that is being stopped may take one more.
/// Returns how many batches waited when the first one got through.
#[track_caller]
pub(crate) fn wait_for_recovery(host: &Running, seen: usize) -> u64 {
    let (mut lines, mut waiting, mut delivered) = (0, None, 0);
    host.wait_for_log(
        |line| {
            lines += 1;
            if lines > seen && line.message() == "the receiver takes samples again" {
                waiting = Some(number(line, "waiting"));
            }
            delivered += u64::from(waiting.is_some() && is_delivered(line));
            waiting.is_some_and(|waiting| delivered >= 1 + waiting + 3)
        },
        SOON,
    );
    waiting.expect("it was waited for")
}

/// The samples of one series come one after the other.
#[track_caller]
pub(crate) fn assert_increasing(samples: &[(i64, f64)]) {
    assert!(samples.is_sorted_by(|before, after| before.0 < after.0), "{samples:?}");
}

/// The samples of one series lie 100 ms apart, none twice, none too far from the next.
#[track_caller]
pub(crate) fn assert_evenly_spaced(samples: &[(i64, f64)]) {
    let mut gaps: Vec<i64> = samples.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    gaps.sort_unstable();
    let (shortest, median, longest) = (gaps[0], gaps[gaps.len() / 2], gaps[gaps.len() - 1]);
    let as_wanted = shortest > 0 && (80..=120).contains(&median) && longest <= LONGEST_GAP_MS;
    assert!(as_wanted, "gaps of {shortest}, {median} (median), {longest} ms in {samples:?}");
}

/// The values of one series are 1, 2, 3, … to `last`.
#[track_caller]
pub(crate) fn assert_numbered(samples: &[(i64, f64)], last: u64) {
    assert!(samples.iter().map(|&(_, value)| value).eq((1..=last).map(|n| n as f64)), "1 to {last}: {samples:?}");
}

/// Unix time in milliseconds.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_millis() as i64
}

/// Does the same with each, in a thread each, since all that they do is wait. Fails when one does.
pub(crate) fn in_parallel<T: Debug + Send>(all: impl IntoIterator<Item = T>, each: impl Fn(T) + Sync) {
    let each = &each;
    thread::scope(|scope| {
        for one in all {
            // The name is how a failure says whose it is.
            let thread = thread::Builder::new().name(format!("{one:?}"));
            thread.spawn_scoped(scope, move || each(one)).expect("a thread");
        }
    });
}
