//! When to write a line that would repeat: the caller's clock enters, a yes with a count leaves.
//! Never reads a clock, never writes.

use std::time::{Duration, Instant};

/// Thins out a line that would repeat: the first at once, then at most one an interval. Pure: the caller's clock.
///
/// ```
/// # use monitor_host::log::Limit;
/// # use std::time::Instant;
/// let mut limit = Limit::default();
/// if let Some(suppressed) = limit.allow(Instant::now()) {
///     tracing::warn!(suppressed, "records dropped");
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Limit {
    interval: Duration,
    last: Option<Instant>,
    suppressed: u64,
}

impl Limit {
    /// At most one line each `interval`.
    pub const fn new(interval: Duration) -> Self {
        Limit { interval, last: None, suppressed: 0 }
    }

    /// Whether to write the line now: `Some` with how many were suppressed since the last one, or `None`.
    pub fn allow(&mut self, now: Instant) -> Option<u64> {
        let due = self.last.is_none_or(|last| now.saturating_duration_since(last) >= self.interval);
        if !due {
            self.suppressed = self.suppressed.saturating_add(1);
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.suppressed))
    }
}

impl Default for Limit {
    /// At most one line in 10 s.
    fn default() -> Self {
        Limit::new(Duration::from_secs(10))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_lets_the_first_through_then_one_an_interval() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut limit = Limit::default();
        assert_eq!(limit.allow(at(0)), Some(0));
        assert_eq!(limit.allow(at(0)), None);
        assert_eq!(limit.allow(at(9_999)), None);
        assert_eq!(limit.allow(at(10_000)), Some(2));
        assert_eq!(limit.allow(at(10_001)), None);
        assert_eq!(limit.allow(at(60_000)), Some(1));
        assert_eq!(limit.allow(at(90_000)), Some(0));
        // A clock read on another thread may lie before the last one.
        assert_eq!(limit.allow(at(80_000)), None);
    }
}
