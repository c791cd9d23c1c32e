//! The places of the raw queue: who wants to put an item waits here for one of them, and not in the queue itself, whose own
//! waits can't be ended and which counts every attempt that failed.
//!
//! Enters: arrivals and departures. Leaves: a place, or why there is none. Never: holds an item.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[derive(Debug, Default)]
struct State {
    taken: u64,
    closed: bool,
}

/// So many places.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) capacity: u64,
    state: Mutex<State>,
    changed: Condvar,
}

/// What came of the wish for a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Taken,
    /// There was none until the timeout.
    None,
    /// There was none, and there will be none any more.
    Never,
}

impl Gate {
    pub(crate) fn new(capacity: u64) -> Self {
        Gate { capacity, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Takes a place; waits for one up to `timeout`, without one for as long as it takes.
    pub(crate) fn enter(&self, timeout: Option<Duration>) -> Place {
        let mut state = self.lock();
        let mut deadline = None;
        loop {
            if state.taken < self.capacity {
                state.taken += 1;
                return Place::Taken;
            }
            if state.closed {
                return Place::Never;
            }
            let Some(timeout) = timeout else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let now = Instant::now();
            // One that is beyond the clock never comes.
            let left = match *deadline.get_or_insert_with(|| now.checked_add(timeout)) {
                Some(end) => end.saturating_duration_since(now),
                None => timeout,
            };
            if left.is_zero() {
                return Place::None;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Takes a place whether there is one or not.
    pub(crate) fn force(&self) {
        self.lock().taken += 1;
    }

    /// Gives a place back; how many are taken then.
    pub(crate) fn leave(&self) -> u64 {
        let mut state = self.lock();
        state.taken = state.taken.saturating_sub(1);
        let taken = state.taken;
        drop(state);
        self.changed.notify_one();
        taken
    }

    /// Nobody will give a place back: no wait for one any more.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Whether it was closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// How many places are taken.
    pub(crate) fn taken(&self) -> u64 {
        self.lock().taken.min(self.capacity)
    }

    // Nothing but arithmetic runs under the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: Option<Duration> = Some(Duration::from_secs(3600));

    #[test]
    fn there_are_as_many_places_as_said() {
        let gate = Gate::new(2);
        assert_eq!([gate.enter(None), gate.enter(Some(Duration::ZERO))], [Place::Taken; 2]);
        assert_eq!(gate.enter(Some(Duration::ZERO)), Place::None);
        assert_eq!(gate.enter(Some(Duration::from_millis(1))), Place::None);
        assert_eq!((gate.taken(), gate.leave(), gate.enter(None)), (2, 1, Place::Taken));
    }

    #[test]
    fn a_wait_ends_with_a_departure_or_the_close() {
        let gate = Gate::new(1);
        gate.enter(None);
        let gate = &gate;
        std::thread::scope(|scope| {
            let waiters = [None, FAR, Some(Duration::MAX)].map(|timeout| scope.spawn(move || gate.enter(timeout)));
            gate.leave();
            while gate.taken() == 0 {
                std::thread::yield_now();
            }
            gate.close();
            let mut ends = waiters.map(|waiter| waiter.join().unwrap());
            ends.sort_by_key(|place| *place == Place::Taken);
            assert_eq!(ends, [Place::Never, Place::Never, Place::Taken]);
        });
        assert_eq!(gate.enter(None), Place::Never);
    }
}
