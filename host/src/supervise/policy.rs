//! What follows when an instance of the plugin has ended, or seems to hang. Pure: times come in.
//!
//! Enters: how it ended and how long it had run; whether it called. Leaves: a verdict; a stall, told once.
//!
//! Never: looks at a clock; restarts more than PLUGIN_RESTART_MAX times in a row.

use std::time::{Duration, Instant};

/// PLUGIN_RESTART.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// An instance that ends, ends the run.
    Never,
    /// One that failed is replaced: an error, a panic, the death of its process, a stall.
    OnFailure,
    /// One that returned too early is replaced as well.
    Always,
}

/// The gap before the first restart; it doubles with each that follows.
const FIRST_DELAY: Duration = Duration::from_millis(250);

/// The longest gap.
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// An instance that ran for so long was healthy: with its end, the count of restarts begins anew.
pub const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It ends the run.
    End,
    /// It ends the run, as it was restarted so often in a row.
    GiveUp {
        /// How often.
        restarts: u32,
    },
    /// Another one is made.
    Again {
        /// Which restart in a row that is, from 1 on.
        restart: u32,
        /// The gap before it.
        delay: Duration,
    },
}

/// Counts restarts and judges.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    restart: Restart,
    /// PLUGIN_RESTART_MAX.
    max: u32,
    in_a_row: u32,
}

impl Policy {
    /// At most `max` restarts in a row.
    pub fn new(restart: Restart, max: u32) -> Self {
        Policy { restart, max, in_a_row: 0 }
    }

    /// Whether an instance may ever be replaced.
    pub fn restarts(&self) -> bool {
        self.restart != Restart::Never
    }

    /// An instance has ended. `failed`: otherwise than by returning too early.
    pub fn judge(&mut self, failed: bool, ran: Duration) -> Verdict {
        let replaced = match self.restart {
            Restart::Never => false,
            Restart::OnFailure => failed,
            Restart::Always => true,
        };
        if !replaced {
            return Verdict::End;
        }
        if ran >= HEALTHY_AFTER {
            self.in_a_row = 0;
        }
        if self.in_a_row >= self.max {
            return Verdict::GiveUp { restarts: self.in_a_row };
        }
        let delay = delay(self.in_a_row);
        self.in_a_row += 1;
        Verdict::Again { restart: self.in_a_row, delay }
    }
}

/// The gap behind so many restarts in a row.
fn delay(restarts: u32) -> Duration {
    FIRST_DELAY.saturating_mul(1_u32.checked_shl(restarts).unwrap_or(u32::MAX)).min(LONGEST_DELAY)
}

/// Watches for signs of life (PLUGIN_STALL_S).
#[derive(Clone, Copy, Debug)]
pub struct Stall {
    after: Duration,
    last_sign: Instant,
    told: bool,
}

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing that was not known.
    Nothing,
    /// There was no sign for so long: a stall, told this once.
    Stalled(Duration),
    /// It calls again, after so long.
    Revived(Duration),
}

impl Stall {
    /// The watch over an instance that starts now.
    pub fn new(after: Duration, now: Instant) -> Self {
        Stall { after, last_sign: now, told: false }
    }

    /// How often to look: a stall is seen at most an eighth of its time too late.
    pub fn look_every(&self) -> Duration {
        self.after / 8
    }

    /// Whether it called since the last look.
    pub fn look(&mut self, has_called: bool, now: Instant) -> Found {
        let silent = now.saturating_duration_since(self.last_sign);
        if has_called {
            self.last_sign = now;
            return if std::mem::take(&mut self.told) { Found::Revived(silent) } else { Found::Nothing };
        }
        if self.told || silent < self.after {
            return Found::Nothing;
        }
        self.told = true;
        Found::Stalled(silent)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SOON: Duration = Duration::from_secs(1);

    fn delays(policy: &mut Policy) -> Vec<Duration> {
        let again = |verdict| match verdict {
            Verdict::Again { delay, .. } => Some(delay),
            _ => None,
        };
        std::iter::from_fn(|| again(policy.judge(true, SOON))).collect()
    }

    #[test]
    fn who_is_replaced() {
        use Restart::{Always, Never, OnFailure};
        for (restart, after_failure, after_return) in
            [(Never, false, false), (OnFailure, true, false), (Always, true, true)]
        {
            for (failed, expected) in [(true, after_failure), (false, after_return)] {
                let verdict = Policy::new(restart, 3).judge(failed, SOON);
                assert_eq!(verdict != Verdict::End, expected, "{restart:?} {failed}");
            }
        }
    }

    #[test]
    fn gaps_double_up_to_the_longest() {
        let all = delays(&mut Policy::new(Restart::OnFailure, 10));
        let seconds: Vec<f64> = all.iter().map(Duration::as_secs_f64).collect();
        assert_eq!(seconds, [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]);
    }

    #[test]
    fn a_healthy_stretch_begins_the_count_anew() {
        let mut policy = Policy::new(Restart::Always, 2);
        assert_eq!(delays(&mut policy).len(), 2);
        assert_eq!(policy.judge(true, SOON), Verdict::GiveUp { restarts: 2 });
        assert_eq!(policy.judge(true, HEALTHY_AFTER), Verdict::Again { restart: 1, delay: FIRST_DELAY });
        assert_eq!(delays(&mut policy).len(), 1);
    }

    proptest! {
        #[test]
        fn no_gap_is_out_of_bounds(restarts: u32) {
            prop_assert!((FIRST_DELAY..=LONGEST_DELAY).contains(&delay(restarts)));
            prop_assert!(delay(restarts) <= delay(restarts.saturating_add(1)));
        }

        #[test]
        fn there_are_never_more_restarts_in_a_row_than_allowed(
            max in 0_u32..20,
            runs in prop::collection::vec((any::<bool>(), 0_u64..100), 0..100),
        ) {
            let mut policy = Policy::new(Restart::OnFailure, max);
            let mut in_a_row = 0;
            for (failed, seconds) in runs {
                if seconds >= HEALTHY_AFTER.as_secs() && failed {
                    in_a_row = 0;
                }
                match policy.judge(failed, Duration::from_secs(seconds)) {
                    Verdict::Again { restart, .. } => {
                        in_a_row += 1;
                        prop_assert_eq!(restart, in_a_row);
                    }
                    Verdict::GiveUp { restarts } => prop_assert_eq!((restarts, in_a_row), (max, max)),
                    Verdict::End => prop_assert!(!failed),
                }
                prop_assert!(in_a_row <= max);
            }
        }
    }

    #[test]
    fn a_stall_is_told_once_and_so_is_its_end() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut stall = Stall::new(second * 4, start);
        let mut look = |has_called, seconds| stall.look(has_called, start + second * seconds);
        assert_eq!(look(false, 3), Found::Nothing);
        assert_eq!(look(true, 3), Found::Nothing);
        assert_eq!(look(false, 6), Found::Nothing);
        assert_eq!(look(false, 7), Found::Stalled(second * 4));
        assert_eq!(look(false, 20), Found::Nothing);
        assert_eq!(look(true, 21), Found::Revived(second * 18));
        assert_eq!(look(false, 25), Found::Stalled(second * 4));
    }
}
