//! How much of a stream of lines to write: the caller's clock enters, a verdict leaves. Never reads a clock, never writes.

use std::time::{Duration, Instant};

/// Lets a burst of lines through, then so many a second; counts what is left out and says when to tell.
#[derive(Clone, Debug)]
pub struct Bucket {
    burst: u32,
    per_second: u32,
    /// How far back the clock of the tokens is: as if a line cost this much of it each.
    spent_until: Option<Instant>,
    told: Option<Instant>,
    untold: u64,
}

/// What to do with one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Write it.
    Write,
    /// Leave it out.
    LeaveOut,
    /// Leave it out, and tell that so many were, since the last time.
    LeaveOutAndTell(u64),
}

impl Bucket {
    /// How often it is told that lines are left out.
    const TELL_EVERY: Duration = Duration::from_secs(10);

    /// At most `burst` lines at once and `per_second` lines a second.
    pub const fn new(burst: u32, per_second: u32) -> Self {
        Bucket { burst, per_second, spent_until: None, told: None, untold: 0 }
    }

    /// What to do with a line that comes now.
    pub fn offer(&mut self, now: Instant) -> Verdict {
        let cost = Duration::from_secs(1) / self.per_second.max(1);
        // The bucket is full when all that was spent lies in the past, empty when a burst of it lies in the future.
        let spent = self.spent_until.map_or(now, |spent| spent.max(now));
        if spent.duration_since(now) + cost <= cost * self.burst.max(1) {
            self.spent_until = Some(spent + cost);
            return Verdict::Write;
        }
        self.untold = self.untold.saturating_add(1);
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < Self::TELL_EVERY) {
            return Verdict::LeaveOut;
        }
        self.told = Some(now);
        Verdict::LeaveOutAndTell(std::mem::take(&mut self.untold))
    }

    /// How many were left out and not told yet.
    pub fn take_untold(&mut self) -> u64 {
        std::mem::take(&mut self.untold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_so_many_a_second() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut bucket = Bucket::new(3, 10);
        let written = |bucket: &mut Bucket, ms| (0..50).filter(|_| bucket.offer(at(ms)) == Verdict::Write).count();
        assert_eq!(written(&mut bucket, 0), 3);
        assert_eq!(written(&mut bucket, 99), 0);
        assert_eq!(written(&mut bucket, 100), 1);
        assert_eq!(written(&mut bucket, 100), 0);
        assert_eq!(written(&mut bucket, 250), 1);
        assert_eq!(written(&mut bucket, 300), 1);
        // A long silence fills it to a burst, no further.
        assert_eq!(written(&mut bucket, 60_000), 3);
        // A clock read on another thread may lie before the last one.
        assert_eq!(written(&mut bucket, 59_000), 0);
    }

    #[test]
    fn what_is_left_out_is_told_at_once_then_now_and_then() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut bucket = Bucket::new(1, 1);
        assert_eq!(bucket.offer(at(0)), Verdict::Write);
        assert_eq!(bucket.offer(at(1)), Verdict::LeaveOutAndTell(1));
        assert_eq!(bucket.offer(at(2)), Verdict::LeaveOut);
        assert_eq!(bucket.offer(at(3)), Verdict::LeaveOut);
        assert_eq!(bucket.offer(at(10_000)), Verdict::Write);
        assert_eq!(bucket.offer(at(10_001)), Verdict::LeaveOutAndTell(3));
        assert_eq!(bucket.offer(at(10_002)), Verdict::LeaveOut);
        assert_eq!(bucket.take_untold(), 1);
        assert_eq!(bucket.take_untold(), 0);
    }

    #[test]
    fn a_day_of_flood_writes_no_more_than_its_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(100, 20);
        let written = (0..864_000u64)
            .filter(|tick| bucket.offer(start + Duration::from_millis(tick * 100 / 10)) == Verdict::Write)
            .count();
        // 8640 s of it.
        assert_eq!(written, 100 + 8640 * 20 - 1);
    }
}
