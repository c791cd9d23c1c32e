//! The wish to end, as a worker sees it, and a ticker that obeys it.
//!
//! Enters: one call of `set`, from any thread. Leaves: every wait at once. Never: unset again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Tells a worker to end. Cheap to clone, may be asked from any thread.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    set: AtomicBool,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Stop {
    /// A stop that is not set. The host hands one to each worker; this is for tests.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the worker should end now.
    pub fn is_set(&self) -> bool {
        self.0.set.load(Ordering::Acquire)
    }

    /// Sleeps for this long, or until the worker should end. Returns whether it should end.
    pub fn wait(&self, duration: Duration) -> bool {
        match Instant::now().checked_add(duration) {
            Some(deadline) => self.wait_until(deadline),
            None => self.wait_forever(),
        }
    }

    /// Sleeps until this moment, or until the worker should end. Returns whether it should end.
    pub fn wait_until(&self, deadline: Instant) -> bool {
        let mut guard = self.0.lock.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.is_set() {
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|d| !d.is_zero()) else {
                return false;
            };
            guard = self.0.changed.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn wait_forever(&self) -> bool {
        let mut guard = self.0.lock.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.is_set() {
            guard = self.0.changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        true
    }

    /// Ticks every `period` from now on, without drift, until the worker should end.
    pub fn every(&self, period: Duration) -> Every {
        let now = Instant::now();
        Every { stop: self.clone(), period: period.max(Duration::from_nanos(1)), next: now, not_before: now }
    }

    /// Asks the worker to end. The host does this; in a plugin it is for tests.
    pub fn set(&self) {
        let _guard = self.0.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.set.store(true, Ordering::Release);
        self.0.changed.notify_all();
    }
}

/// An iterator over the points of a fixed grid in time; see [`Stop::every`].
///
/// Whoever comes late by a period or more gets the next point of the grid, never a burst of old ones. A point that would
/// follow less than half a period after a late one is skipped too: on a machine that had stood still for a period, two
/// readings would fall into one millisecond.
#[derive(Debug)]
pub struct Every {
    stop: Stop,
    period: Duration,
    next: Instant,
    not_before: Instant,
}

/// One point of the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// When it was due.
    pub due: Instant,
    /// How many points before it were skipped because the worker was late.
    pub missed: u64,
}

impl Iterator for Every {
    type Item = Tick;

    fn next(&mut self) -> Option<Tick> {
        let (due, missed) = next_point(self.next, self.period, Instant::now(), self.not_before);
        if self.stop.wait_until(due) {
            return None;
        }
        self.next = due + self.period;
        self.not_before = Instant::now() + self.period / 2;
        Some(Tick { due, missed })
    }
}

/// The first point of the grid `next, next + period, …` that is less than a period past and not before `not_before`, and
/// how many were skipped.
fn next_point(next: Instant, period: Duration, now: Instant, not_before: Instant) -> (Instant, u64) {
    let late = now.saturating_duration_since(next);
    // One more than the whole periods gone by: the point after `now`.
    let past = if late < period { 0 } else { late.as_nanos() / period.as_nanos() + 1 };
    let crowded = not_before.saturating_duration_since(next).as_nanos().div_ceil(period.as_nanos());
    let skipped = u32::try_from(past.max(crowded)).unwrap_or(u32::MAX);
    (next + period * skipped, u64::from(skipped))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_at_stop() {
        let stop = Stop::new();
        assert!(!stop.wait(Duration::ZERO));
        let waiter = std::thread::spawn({
            let stop = stop.clone();
            move || stop.wait(Duration::MAX)
        });
        stop.set();
        assert!(waiter.join().unwrap());
        assert!(stop.wait(Duration::from_secs(3600)));
        assert_eq!(stop.every(Duration::from_millis(1)).next(), None);
    }

    #[test]
    fn late_workers_skip_to_the_grid() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let point = |next, late| next_point(next, ms(100), start + ms(late), start);
        assert_eq!(point(start + ms(100), 0), (start + ms(100), 0));
        assert_eq!(point(start, 99), (start, 0));
        assert_eq!(point(start, 100), (start + ms(200), 2));
        assert_eq!(point(start, 350), (start + ms(400), 4));
    }

    #[test]
    fn a_point_does_not_crowd_a_late_one() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        // The point before was due at the start and came `late`.
        let point = |late: u64| next_point(start + ms(100), ms(100), start + ms(late + 1), start + ms(late + 50));
        assert_eq!(point(0), (start + ms(100), 0));
        assert_eq!(point(50), (start + ms(100), 0));
        assert_eq!(point(51), (start + ms(200), 1));
        assert_eq!(point(100), (start + ms(200), 1));
        assert_eq!(point(170), (start + ms(300), 2));
        assert_eq!(point(530), (start + ms(600), 5));
        assert_eq!(point(580), (start + ms(700), 6));
    }

    #[test]
    fn ticks_come_in_order_on_the_grid() {
        let ticks: Vec<_> = Stop::new().every(Duration::from_millis(2)).take(5).collect();
        for pair in ticks.windows(2) {
            let apart = (pair[1].due - pair[0].due).as_millis();
            assert_eq!(apart, 2 * (u128::from(pair[1].missed) + 1));
        }
    }
}
