//! The driver's energy counter, made into energy since the first reading.
//!
//! Enters: what the counter showed (millijoules since the driver was loaded), and when. Leaves: the millijoules spent since
//! the first reading, or why the last interval's can't be known.
//!
//! Never: goes down; guesses. Looks at no clock. The counter can only begin again when the driver was loaded anew or the GPU
//! was reset, and neither happens under an NVML that stays initialised: only after an interruption is a fall taken for that.

use std::time::Duration;

/// No GPU draws more, in watts: what would need more is no energy but a counter that was set anew.
const MOST_WATTS: u128 = 10_000;

/// The counter is refreshed several times a second, and late at times: so much energy more may show up in one interval.
const REFRESH: Duration = Duration::from_secs(1);

/// What one reading tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// So many millijoules were spent since the first reading.
    Spent(u64),
    /// The driver counts from zero again, and what it has counted since is in; what the old driver counted behind the last
    /// reading is not known.
    Restarted(u64),
    /// The counter fell, or rose beyond what can be: this interval is left out.
    LeftOut,
}

/// A counter that begins again at zero with its driver.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counter {
    last: Option<(u64, Duration)>,
    spent_mj: u64,
    interrupted: bool,
}

impl Counter {
    /// The GPU or the driver was gone: the counter may have begun again.
    pub(crate) fn interrupted(&mut self) {
        self.interrupted = true;
    }

    /// Takes a reading of `now_mj` millijoules at `at`, on any clock that never goes back.
    pub(crate) fn step(&mut self, now_mj: u64, at: Duration) -> Step {
        let interrupted = std::mem::take(&mut self.interrupted);
        let Some((last_mj, last_at)) = self.last.replace((now_mj, at)) else { return Step::Spent(0) };
        // Watts times milliseconds are millijoules.
        let most = MOST_WATTS * (at.saturating_sub(last_at) + REFRESH).as_millis();
        let (mj, restarted) = match now_mj.checked_sub(last_mj) {
            Some(mj) => (mj, false),
            None if interrupted => (now_mj, true),
            None => return Step::LeftOut,
        };
        if u128::from(mj) > most {
            return Step::LeftOut;
        }
        self.spent_mj += mj;
        if restarted { Step::Restarted(self.spent_mj) } else { Step::Spent(self.spent_mj) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn it_begins_at_zero_and_adds_up() {
        let mut counter = Counter::default();
        let steps = [9_000_000, 9_000_400, 9_000_400, 9_001_000].map(|mj| counter.step(mj, S));
        assert_eq!(steps, [0, 400, 400, 1000].map(Step::Spent));
    }

    #[test]
    fn a_new_driver_counts_from_zero() {
        let mut counter = Counter::default();
        counter.step(9_000_000, S);
        counter.step(9_000_500, 2 * S);
        counter.interrupted();
        assert_eq!(counter.step(70, 60 * S), Step::Restarted(570));
        assert_eq!(counter.step(100, 61 * S), Step::Spent(600));
        // Gone, but the same driver all the time: nothing is missing.
        counter.interrupted();
        assert_eq!(counter.step(300, 70 * S), Step::Spent(800));
        // A new driver that has counted for longer than nobody looked.
        counter.interrupted();
        counter.step(50_000_000, 71 * S);
        counter.interrupted();
        assert_eq!(counter.step(40_000_000, 72 * S), Step::LeftOut);
        assert_eq!(counter.step(40_000_007, 73 * S), Step::Spent(807));
    }

    #[test]
    fn what_can_t_be_is_left_out() {
        let mut counter = Counter::default();
        counter.step(1_000_000, S);
        assert_eq!(counter.step(999_999, 2 * S), Step::LeftOut, "it fell, and nothing had happened");
        assert_eq!(counter.step(1_000_009, 3 * S), Step::Spent(10));
        assert_eq!(counter.step(u64::MAX, 4 * S), Step::LeftOut);
        assert_eq!(counter.step(2_000_000, 5 * S), Step::LeftOut);
        assert_eq!(counter.step(2_000_001, 6 * S), Step::Spent(11));
    }
}
