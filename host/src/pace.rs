//! When the next request may go, behind a failure and behind an answer. Pure: random numbers come in as arguments.
//!
//! Enters: what became of each request, and how many batches wait. Leaves: the gap before the next one. While a fault lasts
//! that is the backoff's. Behind it a backlog goes out slowly at first, then faster with each delivery, and slower again
//! when the receiver fails meanwhile: a fleet that catches up at once finds out how much its receiver can take.
//!
//! Never: holds back what is new once nothing older waits; holds back a backlog at the end of a run, which has no time to lose.

use std::time::Duration;

use crate::retry::{Backoff, JITTER, LONGEST_GAP, LONGEST_RETRY_AFTER};

/// The shortest gap between two batches of a backlog.
pub const CATCH_UP_GAP: Duration = Duration::from_millis(10);

/// A gap of a backlog, as a share of the one before it.
const FASTER: f64 = 0.5;

/// The same once the receiver has failed while the backlog went out: it may be all clients together that are too fast.
const CAREFULLY_FASTER: f64 = 15.0 / 16.0;

/// The gaps of one sender.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    backoff: Backoff,
    catch_up: CatchUp,
    is_ending: bool,
}

impl Pace {
    /// At the start of a run, where a batch is cut each `interval`: what waits is new, however much a flood makes of it.
    pub fn new(interval: Duration) -> Self {
        let catch_up = CatchUp { is_active: false, ..CatchUp::new(interval) };
        Pace { backoff: Backoff::default(), catch_up, is_ending: false }
    }

    /// An attempt failed, and the receiver asked for a gap, perhaps: how long to wait. `random` is from [0, 1).
    pub fn failed(&mut self, asked: Option<Duration>, random: f64) -> Duration {
        let gap = self.backoff.failed(asked, random);
        let careful = self.catch_up.failed(gap);
        if self.is_ending { gap } else { gap.max(careful) }
    }

    /// The receiver took a batch or refused it for good, and so many wait behind it: how long to wait, if at all.
    pub fn answered(&mut self, waiting: u64, random: f64) -> Option<Duration> {
        self.backoff.succeeded();
        self.catch_up.gap(waiting, random).filter(|_| !self.is_ending)
    }

    /// Batches of an earlier run have turned up. Where all clients lost their power at once, all of them find theirs at once.
    pub fn found_backlog(&mut self) {
        self.catch_up = CatchUp::new(self.catch_up.interval);
    }

    /// The run comes to its end: from here on there are the gaps between attempts alone.
    pub fn ends(&mut self) {
        self.is_ending = true;
    }

    /// How many attempts in a row have failed.
    pub fn failures(&self) -> u32 {
        self.backoff.failures()
    }
}

/// Whether there is a backlog from an outage or from an earlier run, and how slowly it goes out: one batch each gap, besides
/// as many as are new. So it always shrinks, however fast new ones come.
#[derive(Clone, Copy, Debug)]
struct CatchUp {
    interval: Duration,
    is_active: bool,
    /// The fewest that waited so far; none while nothing of it went out.
    fewest: Option<u64>,
    gap: Duration,
    /// The receiver has failed since the backlog began to go out.
    is_careful: bool,
}

impl CatchUp {
    /// Of which nothing has gone out yet.
    fn new(interval: Duration) -> Self {
        let gap = interval.min(LONGEST_GAP);
        CatchUp { interval, is_active: true, fewest: None, gap, is_careful: false }
    }

    /// The fault has come to this gap. Returns how long to wait at least: twice the gap that was too short, once a part of
    /// the backlog has gone out.
    /// That can be longer than attempts wait otherwise: with a cap at theirs, nearly half of a fleet's requests were in vain where
    /// batches are cut each minute.
    fn failed(&mut self, fault: Duration) -> Duration {
        if !self.is_active {
            *self = CatchUp { gap: Duration::ZERO, ..CatchUp::new(self.interval) };
        }
        self.is_careful |= self.fewest.take().is_some();
        // One old batch for each new one is slow enough; before anything is known, the receiver gets no longer gap than
        // between attempts.
        let longest = if self.is_careful { LONGEST_RETRY_AFTER } else { LONGEST_GAP };
        self.gap = (self.gap * 2).max(fault).min(self.interval.min(longest));
        if self.is_careful { self.gap } else { Duration::ZERO }
    }

    /// The gap after a delivery behind which so many batches wait. Once no more than one does, the backlog is gone, and
    /// however many come later go as fast as the receiver takes them.
    fn gap(&mut self, waiting: u64, random: f64) -> Option<Duration> {
        self.is_active &= waiting > 1;
        if !self.is_active {
            return None;
        }
        let has_shrunk = self.fewest.is_none_or(|fewest| waiting < fewest);
        self.fewest = Some(self.fewest.map_or(waiting, |fewest| fewest.min(waiting)));
        if !has_shrunk {
            return None;
        }
        let share = if self.is_careful { CAREFULLY_FASTER } else { FASTER };
        self.gap = self.gap.mul_f64(share).max(CATCH_UP_GAP);
        Some(self.gap.mul_f64(1.0 + JITTER * random))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::retry::FIRST_GAP;

    const INTERVAL: Duration = Duration::from_secs(4);

    fn ms(gap: Option<Duration>) -> Option<u128> {
        gap.map(|gap| gap.as_millis())
    }

    /// A sender whose receiver was away for so many attempts.
    fn after(failures: u32) -> Pace {
        let mut pace = Pace::new(INTERVAL);
        (0..failures).for_each(|_| _ = pace.failed(None, 0.0));
        pace
    }

    #[test]
    fn a_backlog_goes_out_faster_and_faster_until_it_is_gone() {
        let mut pace = after(20);
        let gaps: Vec<_> = (1..=12).rev().map(|waiting| ms(pace.answered(waiting, 0.0))).collect();
        let expected = [2000, 1000, 500, 250, 125, 62, 31, 15, 10, 10, 10].map(Some);
        assert_eq!(gaps, [&expected[..], &[None]].concat());
        // What comes later is no backlog.
        assert_eq!(pace.answered(9, 0.0), None);
    }

    #[test]
    fn a_short_fault_costs_little() {
        let mut pace = after(1);
        assert_eq!([9, 8, 7].map(|waiting| ms(pace.answered(waiting, 0.0))), [15, 10, 10].map(Some));
    }

    #[test]
    fn what_is_new_costs_no_gap() {
        let mut pace = after(1);
        let gaps = [5, 7, 6, 5, 4, 4, 0, 4].map(|waiting| pace.answered(waiting, 0.0).is_some());
        assert_eq!(gaps, [true, false, false, false, true, false, false, false]);
    }

    #[test]
    fn a_failure_amid_a_backlog_makes_it_slower_and_careful() {
        let mut pace = after(20);
        let fast: Vec<_> = (90..=99).rev().map(|waiting| ms(pace.answered(waiting, 0.0))).collect();
        assert_eq!(fast.last(), Some(&Some(10)));
        // The backoff's first gap, and then twice what was too short, up to the interval of batches.
        let slower: Vec<_> = (0..9).map(|_| pace.failed(None, 0.0).as_millis()).collect();
        assert_eq!(slower, [30, 60, 120, 240, 480, 960, 1920, 3840, 5000]);
        let gaps = [89, 88, 87].map(|waiting| ms(pace.answered(waiting, 0.0)));
        assert_eq!(gaps, [3750, 3515, 3295].map(Some));
        assert_eq!(pace.failed(None, 0.0).as_millis(), 4000, "not the backoff's first one");
        // The next backlog begins anew.
        pace.answered(0, 0.0);
        assert_eq!(pace.failed(None, 0.0), FIRST_GAP);
    }

    #[test]
    fn batches_of_an_earlier_run_begin_as_after_an_outage() {
        let mut pace = Pace::new(INTERVAL);
        pace.found_backlog();
        assert_eq!([9, 8].map(|waiting| ms(pace.answered(waiting, 0.0))), [2000, 1000].map(Some));
        pace.answered(0, 0.0);
        pace.found_backlog();
        assert_eq!(ms(pace.answered(7, 0.0)), Some(2000));
    }

    #[test]
    fn a_flood_is_no_backlog() {
        let mut pace = Pace::new(INTERVAL);
        assert_eq!([9, 20, 8, 2, 0, 7].map(|waiting| pace.answered(waiting, 0.0)), [None; 6]);
        // It is one once the receiver has failed.
        assert_eq!(pace.failed(None, 0.0), FIRST_GAP);
        assert_eq!(ms(pace.answered(7, 0.0)), Some(15));
    }

    #[test]
    fn the_end_of_a_run_has_the_gaps_of_attempts_alone() {
        let mut pace = after(20);
        assert_eq!(ms(pace.answered(9, 0.0)), Some(2000));
        assert_eq!(pace.failed(None, 0.0).as_millis(), 4000);
        pace.ends();
        assert_eq!([(); 3].map(|()| pace.failed(None, 0.0).as_millis()), [60, 120, 240]);
        assert_eq!([9, 8].map(|waiting| pace.answered(waiting, 0.0)), [None; 2]);
        assert_eq!(pace.failed(None, 0.0), FIRST_GAP);
        let asked = Duration::from_secs(9);
        assert_eq!(pace.failed(Some(asked), 0.0), asked, "the receiver's own word counts to the last");
    }

    #[test]
    fn a_failure_amid_a_backlog_waits_as_long_as_an_interval_but_not_at_the_end() {
        let mut pace = Pace::new(Duration::from_secs(60));
        (0..20).for_each(|_| _ = pace.failed(None, 0.0));
        pace.answered(9, 0.0);
        assert_eq!([(); 6].map(|()| pace.failed(None, 0.0).as_secs()), [5, 10, 20, 40, 60, 60]);
        pace.ends();
        assert_eq!(pace.failed(None, 0.0).as_millis(), 1920);
    }

    #[test]
    fn a_backlog_shrinks_however_fast_new_batches_come() {
        // A hundred batches wait; meanwhile so many come in each gap, and requests take no time.
        for new_each_gap in [0, 1, 5, 50] {
            let (mut pace, mut waiting, mut gaps) = (after(1), 100, 0);
            while waiting > 0 && gaps < 1000 {
                waiting -= 1;
                if pace.answered(waiting, 0.5).is_some() {
                    gaps += 1;
                    waiting += new_each_gap;
                }
            }
            assert!((97..=100).contains(&gaps), "{new_each_gap}: {gaps}");
        }
    }

    proptest! {
        #[test]
        fn gaps_stay_within_their_bounds(
            steps in proptest::collection::vec((any::<bool>(), 0u64..50, 0.0f64..1.0), 1..200),
            interval_ms in 1u64..600_000,
        ) {
            let interval = Duration::from_millis(interval_ms);
            let mut pace = Pace::new(interval);
            for (fails, waiting, random) in steps {
                if fails {
                    let gap = pace.failed(None, random);
                    let longest = LONGEST_GAP.mul_f64(1.0 + JITTER).max(interval.min(LONGEST_RETRY_AFTER));
                    prop_assert!(gap >= FIRST_GAP && gap <= longest, "{gap:?}");
                } else if let Some(gap) = pace.answered(waiting, random) {
                    let longest = interval.max(CATCH_UP_GAP).min(LONGEST_RETRY_AFTER).mul_f64(1.0 + JITTER);
                    prop_assert!(waiting > 1 && gap >= CATCH_UP_GAP && gap <= longest, "{gap:?}");
                }
            }
        }
    }
}
