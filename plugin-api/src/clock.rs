//! The moment of a reading, twice: for the distance between two readings, and for people.
//!
//! Enters: both clocks of the system, before and after a reading. Leaves: the middle of the reading on each; in milliseconds
//! since the Unix epoch no two readings of one [`Clock`] are the same.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How far a timestamp may be put forward to come behind the one before, in milliseconds. More is a clock that was set
/// back: it is followed, and receivers decide what becomes of samples in the past.
const JITTER_MS: i64 = 10;

/// When a reading was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// On the monotonic clock, since the [`Clock`] was made: for what is divided by time.
    pub at: Duration,
    /// Milliseconds since the Unix epoch: the timestamp of its samples.
    pub timestamp_ms: i64,
}

/// Gives the moments of successive readings, in milliseconds strictly one after the other, up to a thousand readings a second.
///
/// A clock of the system's that was set back by more than 10 ms is followed.
///
/// ```
/// # use monitor_plugin_api::Clock;
/// let mut clock = Clock::new();
/// let (first, load) = clock.around(|| std::fs::read_to_string("/proc/loadavg"));
/// let (second, _) = clock.around(|| ());
/// assert!(second.timestamp_ms > first.timestamp_ms && second.at > first.at);
/// ```
#[derive(Debug)]
pub struct Clock {
    made: Instant,
    last_ms: i64,
}

impl Clock {
    /// A clock that begins now.
    #[expect(clippy::new_without_default, reason = "when it is made matters")]
    pub fn new() -> Self {
        Clock { made: Instant::now(), last_ms: i64::MIN }
    }

    /// Runs `read` and says when that was: the middle of it.
    pub fn around<T>(&mut self, read: impl FnOnce() -> T) -> (Moment, T) {
        let before = Instant::now();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let result = read();
        let half = before.elapsed() / 2;
        let timestamp_ms = self.unlike_the_last(i64::try_from((wall + half).as_millis()).unwrap_or(i64::MAX));
        (Moment { at: before + half - self.made, timestamp_ms }, result)
    }

    fn unlike_the_last(&mut self, now_ms: i64) -> i64 {
        let next = self.last_ms.saturating_add(1);
        self.last_ms = if now_ms < next && next - now_ms <= JITTER_MS { next } else { now_ms };
        self.last_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_the_middle_and_comes_behind_the_last() {
        let mut clock = Clock::new();
        let start = clock.around(|| ()).0;
        let wait = Duration::from_millis(20);
        let (middle, ()) = clock.around(|| std::thread::sleep(wait));
        let end = clock.around(|| ()).0;
        assert!(middle.at - start.at >= wait / 2 && end.at - middle.at >= wait / 2, "{start:?} {middle:?} {end:?}");
        let (first, second) = (clock.around(|| ()).0, clock.around(|| ()).0);
        assert!(second.timestamp_ms > first.timestamp_ms && second.at > first.at);
    }

    #[test]
    fn a_clock_set_back_is_followed() {
        let mut clock = Clock::new();
        let given: Vec<_> = [1000, 1000, 1001, 1005, 400, 400, 2000].map(|ms| clock.unlike_the_last(ms)).into();
        assert_eq!(given, [1000, 1001, 1002, 1005, 400, 401, 2000]);
    }
}
