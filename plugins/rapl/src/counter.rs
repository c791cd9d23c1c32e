//! One wrapping energy counter, made into energy spent.
//!
//! Enters: what the counter showed, and when. Leaves: the energy since the reading before, or why that can't be known.
//!
//! Never: a negative energy; a guess. Looks at no clock.

use std::time::Duration;

/// The counter is refreshed about each millisecond, and late at times: so much energy more may show up in one interval.
const REFRESH: Duration = Duration::from_millis(20);

/// What one reading tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// There is no reading before it.
    First,
    /// So many microjoules were spent since the reading before.
    Spent {
        /// In microjoules.
        uj: u64,
        /// The counter went over its end on the way.
        wrapped: bool,
    },
    /// The counter was set anew (sleep, a reloaded driver): what was spent since the reading before can't be known.
    Reset,
    /// The counter went down, and its range is not known: a wrap, most likely, but of unknown length.
    NoRange,
}

/// A counter of microjoules that begins again at zero behind its range.
#[derive(Clone, Debug)]
pub(crate) struct Counter {
    range_uj: Option<u64>,
    most_watts: u64,
    last: Option<(u64, Duration)>,
}

impl Counter {
    /// A counter whose greatest value is `range_uj` microjoules (`max_energy_range_uj`), where that is known. Nothing draws more
    /// than `most_watts` there: what would need more is no energy but a counter that was set anew.
    pub(crate) fn new(range_uj: Option<u64>, most_watts: u64) -> Self {
        Counter { range_uj: range_uj.filter(|&range| range > 0), most_watts, last: None }
    }

    /// The range is read anew when a counter comes back.
    pub(crate) fn has_range(&mut self, range_uj: Option<u64>) {
        self.range_uj = range_uj.filter(|&range| range > 0);
    }

    /// Begins anew: what was spent since the last reading can't be known. Returns whether there was one.
    pub(crate) fn forget(&mut self) -> bool {
        self.last.take().is_some()
    }

    /// Takes a reading of `now_uj` microjoules at `at`, on any clock that never goes back.
    pub(crate) fn step(&mut self, now_uj: u64, at: Duration) -> Step {
        let Some((last_uj, last_at)) = self.last.replace((now_uj, at)) else { return Step::First };
        let (uj, wrapped) = match now_uj.checked_sub(last_uj) {
            Some(uj) => (uj, false),
            None => match self.range_uj {
                // From the last reading to the end of the range, and on from zero.
                Some(range) => match range.checked_sub(last_uj) {
                    Some(rest) => (rest + now_uj, true),
                    None => return Step::Reset,
                },
                None => return Step::NoRange,
            },
        };
        // Watts times microseconds are microjoules.
        let most = u128::from(self.most_watts) * (at.saturating_sub(last_at) + REFRESH).as_micros();
        if u128::from(uj) > most { Step::Reset } else { Step::Spent { uj, wrapped } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn spent(uj: u64, wrapped: bool) -> Step {
        Step::Spent { uj, wrapped }
    }

    #[test]
    fn differences_wraps_and_resets_are_told_apart() {
        let mut counter = Counter::new(Some(262_143_328_850), 20_000);
        assert_eq!(counter.step(262_143_000_000, S), Step::First);
        assert_eq!(counter.step(262_143_328_850, 2 * S), spent(328_850, false));
        assert_eq!(counter.step(100, 3 * S), spent(100, true));
        assert_eq!(counter.step(100, 4 * S), spent(0, false));
        assert_eq!(counter.step(100_000_000_000, 5 * S), Step::Reset, "100 kJ in a second");
        assert_eq!(counter.step(7, 6 * S), Step::Reset, "a wrap would be 162 kJ in a second");
        assert_eq!(counter.step(1_000_007, 7 * S), spent(1_000_000, false));
        assert_eq!(counter.step(300_000_000_000, 1_000_000 * S), spent(299_998_999_993, false));
        assert_eq!(counter.step(5, 2_000_000 * S), Step::Reset, "beyond its own range before");
    }

    #[test]
    fn a_reset_that_looks_like_a_wrap_is_told_by_the_power_that_it_would_take() {
        // From 200 kJ to the end of the range and on: 62 kJ in 5 s are 12 kW.
        let step = |most_watts| {
            let mut counter = Counter::new(Some(262_143_328_850), most_watts);
            counter.step(200_000_000_000, S);
            counter.step(1000, 6 * S)
        };
        assert_eq!(step(4000), Step::Reset);
        assert_eq!(step(20_000), spent(62_143_329_850, true));
    }

    #[test]
    fn what_was_forgotten_is_not_counted() {
        let mut counter = Counter::new(None, 20_000);
        counter.step(1000, S);
        assert!(counter.forget());
        assert!(!counter.forget());
        assert_eq!(counter.step(10, 2 * S), Step::First);
        assert_eq!(counter.step(12, 3 * S), spent(2, false));
    }

    #[test]
    fn without_a_range_a_fall_is_not_guessed() {
        for range in [None, Some(0)] {
            let mut counter = Counter::new(range, 20_000);
            counter.step(1000, S);
            assert_eq!(counter.step(10, 2 * S), Step::NoRange);
            assert_eq!(counter.step(30, 3 * S), spent(20, false));
        }
    }

    #[test]
    fn nothing_is_lost_over_many_wraps() {
        // Five joules: it wraps all the time.
        let range = 5_000_000;
        let (mut counter, mut shown, mut spent_uj, mut counted, mut wraps) =
            (Counter::new(Some(range), 20_000), 3, 0, 0, 0);
        counter.step(shown, Duration::ZERO);
        for i in 1..20_000u64 {
            let uj = (i * 7919) % range;
            spent_uj += uj;
            shown += uj;
            // The counter shows 0..=range, and goes from range to 0 without a step between: as the kernel computes it.
            if shown > range {
                shown -= range;
            }
            if let Step::Spent { uj, wrapped } = counter.step(shown, S * i as u32) {
                counted += uj;
                wraps += u64::from(wrapped);
            }
        }
        assert_eq!(counted, spent_uj);
        assert!(wraps > 5000, "{wraps}");
    }
}
