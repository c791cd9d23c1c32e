//! What the sender counts of its requests.
//!
//! Enters: each request, when it is over, and how it ended; every delivery, and why there was none. Leaves: a [`Snapshot`] for the host's own
//! metrics. Written by one thread, a few times a request; read by any.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::batch::Batch;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The receiver has the batch.
    Delivered,
    /// The receiver will never take it, or understood nothing of it as it was.
    Refused,
    /// It will be tried again.
    Failed,
    /// The run ended first.
    GivenUp,
}

impl Ending {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 4] = [Ending::Delivered, Ending::Refused, Ending::Failed, Ending::GivenUp];

    /// The name under which it is exposed.
    pub fn name(self) -> &'static str {
        match self {
            Ending::Delivered => "delivered",
            Ending::Refused => "refused",
            Ending::Failed => "failed",
            Ending::GivenUp => "given_up",
        }
    }
}

/// The bounds of the buckets of request durations, in seconds; what takes longer is in one more. With the default
/// REMOTE_WRITE_TIMEOUT_S, 10 s is the longest that a request can take.
pub const DURATION_BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The books.
#[derive(Debug, Default)]
pub struct Pushes {
    endings: [AtomicU64; Ending::ALL.len()],
    retries: AtomicU64,
    message_bytes: AtomicU64,
    body_bytes: AtomicU64,
    durations: [AtomicU64; DURATION_BOUNDS.len() + 1],
    duration_ns: AtomicU64,
    last_delivery: Mutex<Option<Delivery>>,
    last_failure: Mutex<Option<Failure>>,
}

/// A request that did not deliver its batch.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Never set back.
    pub at: Instant,
    /// [`Ending::Failed`] or [`Ending::Refused`].
    pub ending: Ending,
    /// The receiver's words, or why there are none; without secrets.
    pub why: Arc<str>,
}

/// The moment of a delivery, by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    /// Never set back.
    pub at: Instant,
    /// Milliseconds since the Unix epoch.
    pub wall_ms: i64,
}

impl Pushes {
    /// A request has come to its end. `again`: the same batch was sent before.
    pub(super) fn sent(&self, batch: &Batch, took: Duration, again: bool) {
        self.retries.fetch_add(u64::from(again), Relaxed);
        self.message_bytes.fetch_add(batch.message_len as u64, Relaxed);
        self.body_bytes.fetch_add(batch.body.len() as u64, Relaxed);
        let bucket = DURATION_BOUNDS.iter().position(|&bound| took.as_secs_f64() <= bound);
        self.durations[bucket.unwrap_or(DURATION_BOUNDS.len())].fetch_add(1, Relaxed);
        self.duration_ns.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// How the request ended that was told last.
    pub(super) fn ended(&self, ending: Ending) {
        self.endings[ending as usize].fetch_add(1, Relaxed);
    }

    /// Why the request failed, or was refused, that was told last.
    pub(super) fn failed(&self, ending: Ending, at: Instant, why: &str) {
        self.ended(ending);
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Failure { at, ending, why: why.into() });
    }

    /// A batch was delivered, over the network or, in a dry run, to whoever reads.
    pub fn delivered(&self, at: Instant, wall_ms: i64) {
        self.ended(Ending::Delivered);
        *self.last_delivery.lock().unwrap_or_else(PoisonError::into_inner) = Some(Delivery { at, wall_ms });
    }

    /// The books as they stand.
    pub fn snapshot(&self) -> Snapshot {
        let read = |a: &AtomicU64| a.load(Relaxed);
        let durations = std::array::from_fn(|bucket| read(&self.durations[bucket]));
        Snapshot {
            endings: Ending::ALL.map(|ending| (ending, read(&self.endings[ending as usize]))),
            retries: read(&self.retries),
            message_bytes: read(&self.message_bytes),
            body_bytes: read(&self.body_bytes),
            durations,
            duration: Duration::from_nanos(read(&self.duration_ns)),
            last_delivery: *self.last_delivery.lock().unwrap_or_else(PoisonError::into_inner),
            last_failure: self.last_failure.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// The books at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Requests, by how they ended.
    pub endings: [(Ending, u64); Ending::ALL.len()],
    /// Requests that sent a batch again.
    pub retries: u64,
    /// What was sent, before compression.
    pub message_bytes: u64,
    /// What was sent, as it went.
    pub body_bytes: u64,
    /// Requests, by how long they took: one bucket for each of [`DURATION_BOUNDS`], and one for what took longer.
    pub durations: [u64; DURATION_BOUNDS.len() + 1],
    /// How long all of them took.
    pub duration: Duration,
    /// The last delivery, if there was one.
    pub last_delivery: Option<Delivery>,
    /// The last request that was refused or failed, if there was one.
    pub last_failure: Option<Failure>,
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::encode::Protocol;

    #[test]
    fn each_request_is_in_one_bucket() {
        let batch = Batch {
            body: Bytes::from_static(&[0; 10]),
            protocol: Protocol::V2,
            message_len: 25,
            samples: 1,
            exemplars: 0,
            left_out_starts: 0,
            time_range_ms: (1, 1),
            sequence: 1,
            attempts: 0,
            may_be_stored: false,
        };
        let pushes = Pushes::default();
        for (ms, again) in [(5, false), (6, true), (10_000, true), (10_001, false)] {
            pushes.sent(&batch, Duration::from_millis(ms), again);
        }
        let snapshot = pushes.snapshot();
        assert_eq!(snapshot.durations, [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!((snapshot.retries, snapshot.message_bytes, snapshot.body_bytes), (2, 100, 40));
        assert_eq!(snapshot.duration, Duration::from_millis(20_012));
        assert!(snapshot.last_delivery.is_none());
    }

    #[test]
    fn the_last_delivery_is_the_last_one() {
        let (pushes, now) = (Pushes::default(), Instant::now());
        pushes.failed(Ending::Failed, now, "HTTP 503");
        pushes.delivered(now, 1);
        pushes.delivered(now, 7);
        let snapshot = pushes.snapshot();
        assert_eq!(snapshot.endings.map(|(_, count)| count), [2, 0, 1, 0]);
        assert_eq!(snapshot.last_delivery.map(|delivery| delivery.wall_ms), Some(7));
        assert_eq!(snapshot.last_failure.map(|failure| failure.why), Some("HTTP 503".into()));
    }
}
