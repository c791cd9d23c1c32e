//! When a target is scraped: points of a grid in absolute time, at an offset of the target's own.
//!
//! Enters: the wall clock, in nanoseconds since the Unix epoch. Leaves: the next point, and the timestamp of a scrape. Never:
//! looks at a clock; gives two points for one interval.

use std::time::Duration;

/// A scrape that begins this soon after its point is as good as on it: even timestamps compress better, and are easier to read.
const TOLERANCE_NS: i64 = 2_000_000;

const MS: i64 = 1_000_000;

/// A grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    interval: i64,
    offset: i64,
}

impl Grid {
    /// Points `interval` apart; `seed` decides where in the interval they lie.
    pub(crate) fn new(interval: Duration, seed: u64) -> Self {
        let interval = i64::try_from(interval.as_nanos()).unwrap_or(i64::MAX).max(MS);
        // Below 2^63, as the interval is. Whole milliseconds, as timestamps are.
        let offset = (seed % interval as u64) as i64 / MS * MS;
        Grid { interval, offset }
    }

    /// The point to scrape at, and how many before it are left out. `last` is the one before.
    pub(crate) fn next(&self, last: Option<i64>, now: i64) -> (i64, u64) {
        let Some(next) = last.map(|last| last.saturating_add(self.interval)) else { return (self.after(now), 0) };
        if next > now {
            // Further away than an interval: the clock was set back.
            return if next - now > self.interval { (self.after(now), 0) } else { (next, 0) };
        }
        // Late. A point that is half over is left for the one behind it.
        let missed = (now - next) / self.interval + i64::from((now - next) % self.interval > self.interval / 2);
        (next.saturating_add(missed.saturating_mul(self.interval)), missed.unsigned_abs())
    }

    /// The timestamp in milliseconds of a scrape for `point` that began at `began`.
    pub(crate) fn timestamp_ms(&self, point: i64, began: i64) -> i64 {
        let on_time = (0..=TOLERANCE_NS.min(self.interval / 100)).contains(&(began - point));
        (if on_time { point } else { began }).div_euclid(MS)
    }

    fn after(&self, now: i64) -> i64 {
        now.saturating_add((self.offset - now).rem_euclid(self.interval))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    #[test]
    fn targets_lie_apart_and_stay_where_they_are() {
        let seconds = |seed| Grid::new(Duration::from_secs(15), seed).next(None, 1_000_000 * S).0;
        assert_eq!(seconds(0), 1_000_005 * S);
        assert_eq!(seconds(3 * S as u64), 1_000_008 * S);
        assert_eq!(seconds(3 * S as u64 + 999_999), 1_000_008 * S, "whole milliseconds");
        let grid = Grid::new(Duration::from_secs(15), 0);
        assert_eq!(grid.next(None, 1_000_005 * S), (1_000_005 * S, 0));
        assert_eq!(grid.next(Some(1_000_005 * S), 1_000_005 * S), (1_000_020 * S, 0));
    }

    #[test]
    fn a_late_one_goes_on_with_the_grid() {
        let grid = Grid::new(Duration::from_secs(10), 0);
        for (now, next) in [
            (109, (110, 0)),
            (114, (110, 0)),
            (116, (120, 1)),
            (124, (120, 1)),
            (126, (130, 2)),
            // The clock was set: ahead, and back.
            (9_001, (9_000, 889)),
            (42, (50, 0)),
        ] {
            let (point, missed) = grid.next(Some(100 * S), now * S);
            assert_eq!((point / S, missed), next, "{now}");
        }
    }

    #[test]
    fn a_timestamp_is_the_point_or_the_truth() {
        let grid = Grid::new(Duration::from_secs(10), 0);
        let at = |began| grid.timestamp_ms(100 * S, began);
        assert_eq!(at(100 * S + 2 * MS), 100_000);
        assert_eq!(at(100 * S + 2 * MS + 1), 100_002);
        assert_eq!(at(100 * S - 1), 99_999);
        let fast = Grid::new(Duration::from_millis(50), 0);
        assert_eq!(fast.timestamp_ms(100 * S, 100 * S + MS), 100_001, "a hundredth of the interval at most");
    }
}
