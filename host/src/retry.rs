//! What an answer means, and when to try again. Pure: moments and random numbers come in as arguments.
//!
//! Enters: a status, or that there was none, and what the receiver asked for. Leaves: delivered, try again after so
//! long, or refused for good. The table is the remote-write specification's: 2xx is done; 429, 5xx and no answer at
//! all are tried again; everything else never.

use std::time::{Duration, SystemTime};

/// The first gap after a failure, as in the reference sender.
pub const FIRST_GAP: Duration = Duration::from_millis(30);

/// The longest gap of our own, as in the reference sender.
pub const LONGEST_GAP: Duration = Duration::from_secs(5);

/// The longest gap that a receiver can ask for.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

/// How much longer than its nominal length a gap may be, as a share.
pub const JITTER: f64 = 0.1;

/// What to do with a batch after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver has it.
    Delivered,
    /// Try again, the same bytes.
    Retry,
    /// It can never succeed.
    Refused,
}

/// What a status means. `also` are refusals that are to be tried again (RETRY_ON_HTTP).
pub fn judge(status: u16, also: &[u16]) -> Verdict {
    match status {
        200..=299 => Verdict::Delivered,
        429 | 500..=599 => Verdict::Retry,
        _ if also.contains(&status) => Verdict::Retry,
        _ => Verdict::Refused,
    }
}

/// What a Retry-After header asks for: seconds, or a date. `None` if it is neither, or lies in the past.
pub fn retry_after(header: &str, now: SystemTime) -> Option<Duration> {
    let header = header.trim();
    let asked = if header.bytes().all(|b| b.is_ascii_digit()) && !header.is_empty() {
        // More digits than a u64 holds is as long as can be.
        Duration::from_secs(header.parse().unwrap_or(u64::MAX))
    } else {
        let date = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true).parse_timestamp(header).ok()?;
        SystemTime::from(date).duration_since(now).ok().filter(|gap| !gap.is_zero())?
    };
    Some(asked.min(LONGEST_RETRY_AFTER))
}

/// The gaps between attempts while a fault lasts: each twice the one before, up to a cap, and never shorter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    failures: u32,
    /// Drawn once for each fault, so that gaps never shrink while it lasts.
    stretch: f64,
}

impl Backoff {
    /// Another attempt failed: how long to wait. `random` is from [0, 1); only the first failure's matters.
    pub fn failed(&mut self, asked: Option<Duration>, random: f64) -> Duration {
        if self.failures == 0 {
            self.stretch = 1.0 + JITTER * random;
        }
        let gap = FIRST_GAP.saturating_mul(1 << self.failures.min(20)).min(LONGEST_GAP).mul_f64(self.stretch);
        self.failures = self.failures.saturating_add(1);
        // Whoever was told one date must not come back at one moment.
        asked.map_or(gap, |asked| asked.mul_f64(self.stretch).min(LONGEST_RETRY_AFTER).max(gap))
    }

    /// The fault is over.
    pub fn succeeded(&mut self) {
        *self = Backoff::default();
    }

    /// How many attempts in a row have failed.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn statuses_mean_what_the_specification_says() {
        for (statuses, verdict) in [
            (&[200, 204, 299][..], Verdict::Delivered),
            (&[429, 500, 502, 503, 504, 599], Verdict::Retry),
            (&[100, 301, 302, 304, 400, 401, 403, 404, 413, 415, 499, 600], Verdict::Refused),
        ] {
            for &status in statuses {
                assert_eq!(judge(status, &[]), verdict, "{status}");
            }
        }
    }

    #[test]
    fn a_refusal_may_be_tried_again() {
        assert_eq!(judge(401, &[401, 403]), Verdict::Retry);
        assert_eq!(judge(400, &[401, 403]), Verdict::Refused);
    }

    #[test]
    fn retry_after_comes_in_seconds_and_as_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777); // Sun, 06 Nov 1994 08:49:37 GMT
        let seconds = |n| Some(Duration::from_secs(n));
        for (header, expected) in [
            ("0", seconds(0)),
            (" 7 ", seconds(7)),
            ("86400", Some(LONGEST_RETRY_AFTER)),
            ("99999999999999999999999", Some(LONGEST_RETRY_AFTER)),
            ("Sun, 06 Nov 1994 08:49:40 GMT", seconds(3)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08:00:00 GMT", None),
            ("Sun, 06 Nov 2094 08:00:00 GMT", Some(LONGEST_RETRY_AFTER)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after(header, now), expected, "{header:?}");
        }
    }

    proptest! {
        #[test]
        fn gaps_never_shrink_and_stay_bounded(randoms in proptest::collection::vec(0.0f64..1.0, 1..60)) {
            let mut backoff = Backoff::default();
            let mut before = Duration::ZERO;
            for (i, random) in randoms.into_iter().enumerate() {
                let gap = backoff.failed(None, random);
                let nominal = FIRST_GAP.saturating_mul(1 << i.min(20)).min(LONGEST_GAP);
                prop_assert!(gap >= before && gap >= nominal && gap <= nominal.mul_f64(1.1));
                prop_assert_eq!(backoff.failures() as usize, i + 1);
                before = gap;
            }
            let asked = Duration::from_secs(60);
            let gap = backoff.failed(Some(asked), 0.5);
            prop_assert!(gap >= asked && gap <= asked.mul_f64(1.0 + JITTER));
            prop_assert_eq!(backoff.failed(Some(LONGEST_RETRY_AFTER), 0.5), LONGEST_RETRY_AFTER);
            backoff.succeeded();
            prop_assert!(backoff.failed(Some(Duration::ZERO), 0.0) == FIRST_GAP);
        }
    }
}
