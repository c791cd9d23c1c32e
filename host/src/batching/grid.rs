//! When batches are cut: deadlines are points of a fixed grid. Pure: moments and random numbers come in as arguments.
//!
//! Enters: the interval, a moment. Leaves: the next point of the grid. Never: moves the grid, however late a cut comes.

use std::time::{Duration, Instant};

/// How long after the start the first point lies: at a random phase, so that machines that start at once don't push at
/// once, and never later than one interval. `random` is from [0, 1).
pub fn first_push(interval: Duration, random: f64) -> Duration {
    interval.mul_f64(random)
}

/// The first point of the grid after `now`.
pub fn next_deadline(deadline: Instant, interval: Duration, now: Instant) -> Instant {
    let late = now.saturating_duration_since(deadline);
    // An interval is at least a millisecond, so the count of those missed fits.
    let missed = (late.as_nanos() / interval.as_nanos().max(1)) as u32;
    deadline + interval * (missed + 1)
}

/// How many points of the grid lie between these two.
pub fn passed_over(deadline: Instant, next: Instant, interval: Duration) -> u64 {
    let points = next.saturating_duration_since(deadline).as_nanos() / interval.as_nanos().max(1);
    u64::try_from(points).unwrap_or(u64::MAX).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_push_comes_within_the_first_interval() {
        let interval = Duration::from_secs(4);
        let at = [0.0, 0.25, 0.999].map(|random| first_push(interval, random).as_millis());
        assert_eq!(at, [0, 1000, 3996]);
    }
}
