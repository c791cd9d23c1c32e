//! What there is of the plugin just now, for whoever looks from another thread.
//!
//! Enters: what the supervising thread does. Leaves: books and a state, at any moment.
//!
//! Never: holds an instance that is being taken down: its author's `drop` runs where the supervisor wants it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use monitor_plugin_api::abi::RawQueueStats;
use monitor_plugin_api::now_ms;

use super::Books;
use crate::plugin::Meter;

/// How the plugin is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// No instance runs: it is being made, or replaced, or the run is ending.
    #[default]
    Down,
    /// Its workers run.
    Running,
    /// They run, but give no sign of life (PLUGIN_STALL_S).
    Stalled,
}

#[derive(Debug, Default)]
struct Inner {
    state: State,
    /// When the present or last instance began to run, in milliseconds since the Unix epoch.
    since_ms: Option<i64>,
    /// Without the raw queue of the present instance.
    books: Books,
    present: Option<Meter>,
}

/// Shared by the supervising thread and those who look.
#[derive(Debug, Default)]
pub struct Status(Mutex<Inner>);

impl Status {
    /// How the plugin is, and what there was of it.
    pub fn get(&self) -> (State, Books) {
        let inner = self.lock();
        // A few numbers, under a lock that nobody holds for long.
        let present = inner.present.as_ref().map(Meter::raw_queue);
        let raw = present.map_or(inner.books.raw, |own| sum(inner.books.raw, own));
        (inner.state, Books { raw, ..inner.books })
    }

    /// When the present or last instance began to run, in milliseconds since the Unix epoch; none before the first.
    pub fn since_ms(&self) -> Option<i64> {
        self.lock().since_ms
    }

    pub(super) fn begins(&self, meter: Meter) {
        let mut inner = self.lock();
        (inner.state, inner.present, inner.since_ms) = (State::Running, Some(meter), Some(now_ms()));
    }

    pub(super) fn set(&self, state: State) {
        self.lock().state = state;
    }

    /// The present instance is over: its raw queue counts for good.
    pub(super) fn is_over(&self) {
        let mut inner = self.lock();
        inner.state = State::Down;
        if let Some(meter) = inner.present.take() {
            inner.books.raw = sum(inner.books.raw, meter.raw_queue());
        }
    }

    pub(super) fn restarted(&self) {
        self.lock().books.restarts += 1;
    }

    pub(super) fn stalled(&self) {
        let mut inner = self.lock();
        inner.state = State::Stalled;
        inner.books.stalls += 1;
    }

    // It is whole at every point where a panic could happen.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sum(before: RawQueueStats, own: RawQueueStats) -> RawQueueStats {
    RawQueueStats {
        sent: before.sent + own.sent,
        received: before.received + own.received,
        refused: before.refused + own.refused,
        capacity: own.capacity,
    }
}
