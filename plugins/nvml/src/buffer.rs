//! The power samples that the driver itself takes and keeps for a while, each with a timestamp of its own.
//!
//! Enters: what one poll gave (microseconds on a clock that the documentation leaves open, milliwatts), and what the machine's
//! clocks show. Leaves: watts with milliseconds since the Unix epoch, in order, each sample once; those that can't be placed
//! are counted. Never: reads a clock; gives two samples one millisecond.

/// A driver's newest sample lies no further behind the clock that it was taken with.
const FRESH_US: i64 = 60_000_000;

/// Nor does it lie further before it: clocks are read one after the other.
const AHEAD_US: i64 = 1_000_000;

/// How far a sample may be put forward to come behind the one before, in milliseconds.
const JITTER_MS: i64 = 10;

/// No sample lies so far before the one before it, in milliseconds, unless the wall clock was set back: that is followed, and
/// receivers decide what becomes of samples in the past.
const SET_BACK_MS: i64 = JITTER_MS + 2;

/// The machine's clocks at one moment, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    /// Since the Unix epoch.
    pub(crate) real: i64,
    /// Since the machine was started, sleep included.
    pub(crate) boot: i64,
    /// Since some moment, sleep left out.
    pub(crate) monotonic: i64,
}

/// On which of them a driver counts: older ones on the first, newer ones on the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Base {
    Real,
    Boot,
    Monotonic,
}

/// What one poll brought.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Taken {
    /// Milliseconds since the Unix epoch, and watts.
    pub(crate) samples: Vec<(i64, f64)>,
    /// Samples of a clock that is none of the machine's.
    pub(crate) unplaced: u64,
    /// Samples too close behind others.
    pub(crate) crowded: u64,
}

/// Follows the samples of one GPU.
#[derive(Clone, Debug)]
pub(crate) struct Buffer {
    base: Option<Base>,
    seen_us: u64,
    began_ms: i64,
    /// Of the sample before.
    last_ms: Option<i64>,
}

impl Buffer {
    /// From `now_ms` on, milliseconds since the Unix epoch: what is older belongs to whoever ran before.
    pub(crate) fn new(now_ms: i64) -> Self {
        Buffer { base: None, seen_us: 0, began_ms: now_ms, last_ms: None }
    }

    /// The GPU was gone: another driver may count on another clock.
    pub(crate) fn interrupted(&mut self) {
        (self.base, self.seen_us) = (None, 0);
    }

    /// The timestamp to ask the driver for what is newer than.
    pub(crate) fn seen_us(&self) -> u64 {
        self.seen_us
    }

    /// Takes what the driver gave, in any order and with samples that were there before, or without a timestamp.
    pub(crate) fn take(&mut self, mut polled: Vec<(u64, f64)>, clocks: Clocks) -> Taken {
        let mut taken = Taken::default();
        polled.retain(|(us, _)| *us > self.seen_us);
        polled.sort_by_key(|(us, _)| *us);
        polled.dedup_by_key(|(us, _)| *us);
        let Some((newest_us, _)) = polled.last() else { return taken };
        // The first poll brings a history, which nobody is waiting for.
        let floor_ms = if self.seen_us == 0 { self.last_ms.unwrap_or(self.began_ms) } else { i64::MIN };
        self.seen_us = *newest_us;
        self.base = self.base.or_else(|| base(*newest_us, clocks));
        let Some(base) = self.base else {
            taken.unplaced = polled.len() as u64;
            return taken;
        };
        let to_real = clocks.real - base.of(clocks);
        for (us, watts) in polled {
            let ms = i64::try_from(us).unwrap_or(i64::MAX).saturating_add(to_real).div_euclid(1000);
            if ms <= floor_ms {
                continue;
            }
            let ms = match self.last_ms {
                Some(last_ms) if last_ms.saturating_sub(ms) < JITTER_MS => ms.max(last_ms.saturating_add(1)),
                Some(last_ms) if last_ms.saturating_sub(ms) < SET_BACK_MS => {
                    taken.crowded += 1;
                    continue;
                }
                _ => ms,
            };
            self.last_ms = Some(ms);
            taken.samples.push((ms, watts));
        }
        taken
    }
}

impl Base {
    fn of(self, clocks: Clocks) -> i64 {
        match self {
            Base::Real => clocks.real,
            Base::Boot => clocks.boot,
            Base::Monotonic => clocks.monotonic,
        }
    }
}

/// The clock that shows a little more than the newest sample.
fn base(newest_us: u64, clocks: Clocks) -> Option<Base> {
    let newest = i64::try_from(newest_us).ok()?;
    let behind = |base: &Base| base.of(clocks).saturating_sub(newest);
    let fits = |base: &Base| (-AHEAD_US..=FRESH_US).contains(&behind(base));
    [Base::Real, Base::Boot, Base::Monotonic].into_iter().filter(fits).min_by_key(|base| behind(base).abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: i64 = 1_760_000_000_000_000;
    const CLOCKS: Clocks = Clocks { real: REAL, boot: 500_000_000_000, monotonic: 300_000_000_000 };

    fn at(offset_us: i64) -> u64 {
        (REAL + offset_us) as u64
    }

    fn later(us: i64) -> Clocks {
        Clocks { real: REAL + us, boot: CLOCKS.boot + us, monotonic: CLOCKS.monotonic + us }
    }

    fn buffer() -> Buffer {
        Buffer::new(REAL / 1000 - 1000)
    }

    fn offsets(taken: &Taken) -> Vec<(i64, f64)> {
        taken.samples.iter().map(|(ms, watts)| (ms - REAL / 1000, *watts)).collect()
    }

    #[test]
    fn each_sample_once_and_in_order() {
        let mut buffer = buffer();
        let polled = vec![(at(-20_000), 2.0), (at(-40_000), 1.0), (0, 9.0), (at(-20_000), 2.0)];
        assert_eq!(offsets(&buffer.take(polled, CLOCKS)), [(-40, 1.0), (-20, 2.0)]);
        assert_eq!(buffer.seen_us(), at(-20_000));
        // A driver that gives what it was not asked for.
        let polled = vec![(at(-40_000), 1.0), (at(-20_000), 2.0), (at(0), 3.0)];
        assert_eq!(offsets(&buffer.take(polled, CLOCKS)), [(0, 3.0)]);
        assert_eq!(buffer.take(Vec::new(), CLOCKS), Taken::default());
    }

    #[test]
    fn two_in_one_millisecond_get_two() {
        let mut buffer = buffer();
        let polled = (0..5).map(|i| (at(i * 300), i as f64)).collect();
        assert_eq!(offsets(&buffer.take(polled, CLOCKS)), [(0, 0.0), (1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]);
        // A thousand a second would be as far as milliseconds go.
        let polled = (5..105).map(|i| (at(1500 + i), 0.0)).collect();
        let taken = buffer.take(polled, CLOCKS);
        assert_eq!((taken.samples.len(), taken.crowded), (7, 93));
    }

    #[test]
    fn the_driver_s_clock_is_found() {
        for base in [Base::Real, Base::Boot, Base::Monotonic] {
            let mut buffer = buffer();
            let newest = base.of(CLOCKS) as u64 - 7000;
            assert_eq!(
                offsets(&buffer.take(vec![(newest, 5.0), (newest - 1000, 4.0)], CLOCKS)),
                [(-8, 4.0), (-7, 5.0)]
            );
            assert_eq!(buffer.base, Some(base));
            // It stays the same one when the driver sleeps for a while.
            let taken = buffer.take(vec![(newest + 1000, 6.0)], later(3_600_000_000));
            assert_eq!(offsets(&taken), [(-6, 6.0)]);
        }
        let mut buffer = buffer();
        let taken = buffer.take(vec![(77, 1.0), (78, 1.0)], CLOCKS);
        assert_eq!((taken.samples, taken.unplaced), (vec![], 2));
    }

    #[test]
    fn what_was_there_before_the_first_poll_is_no_concern() {
        let mut buffer = Buffer::new(REAL / 1000);
        let polled = vec![(at(-30_000), 1.0), (at(-5_000), 2.0), (at(5_000), 3.0)];
        assert_eq!(
            buffer.take(polled, later(6000)),
            Taken { samples: vec![(REAL / 1000 + 5, 3.0)], ..Taken::default() }
        );
        // Back after a loss: a history again.
        buffer.interrupted();
        let polled = vec![(at(3_000), 2.5), (at(5_000), 3.0), (at(9_000), 4.0)];
        assert_eq!(offsets(&buffer.take(polled, later(10_000))), [(9, 4.0)]);
    }

    #[test]
    fn the_moment_of_the_start_moves_no_sample() {
        let mut buffer = Buffer::new(REAL / 1000);
        assert_eq!(buffer.take(vec![(at(-50_000), 1.0)], CLOCKS), Taken::default());
        // The driver gives late what it took a little before and after the start.
        let polled = [-30_000, -11_000, -5_000, 2_000].map(|us| (at(us), us as f64)).to_vec();
        let taken = buffer.take(polled, later(10_000));
        assert_eq!(offsets(&taken), [(-30, -30_000.0), (-11, -11_000.0), (-5, -5_000.0), (2, 2_000.0)]);
        assert_eq!(taken.crowded, 0);
    }

    #[test]
    fn a_clock_that_was_set_back_is_followed() {
        let mut buffer = buffer();
        buffer.take(vec![(CLOCKS.boot as u64 - 1000, 1.0)], CLOCKS);
        // An hour back; the driver's clock goes on.
        let clocks = Clocks { real: REAL - 3_600_000_000, ..later(50_000) };
        let taken = buffer.take(vec![(CLOCKS.boot as u64 + 40_000, 2.0), (CLOCKS.boot as u64 + 40_100, 3.0)], clocks);
        assert_eq!(offsets(&taken), [(-3_600_010, 2.0), (-3_600_009, 3.0)]);
    }
}
