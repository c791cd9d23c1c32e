//! What a run of the simulation showed.
//!
//! Enters: requests and deliveries, as they happen. Leaves: counts by the second, and figures from the moment on when the
//! receiver is back.

use std::time::Duration;

use super::receiver::{Outage, Reply};

/// Ages are counted in classes of so many milliseconds.
const AGE_CLASS_MS: u64 = 100;

/// One second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Second {
    /// Requests that were made.
    pub(crate) requests: u64,
    /// Of those, answered 503.
    pub(crate) rejected: u64,
    /// Batches that were delivered.
    pub(crate) delivered: u64,
    /// The same, of those that were cut before the receiver was back.
    pub(crate) delivered_late: u64,
}

/// All of it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    outage: Outage,
    /// From the start on.
    pub(crate) seconds: Vec<Second>,
    /// Requests after the outage, and what became of them.
    pub(crate) requests: u64,
    /// Answered 503.
    pub(crate) rejected: u64,
    /// Given up by the client, and stored all the same: the batch comes again.
    pub(crate) stored_again: u64,
    /// How many batches were older than so many classes when they were delivered after the outage.
    ages: Vec<u64>,
    /// When clients had caught up, after the outage; in order.
    pub(crate) caught_up: Vec<Duration>,
    /// Batches that MAX_RETRY_BATCHES left no room for.
    pub(crate) dropped: u64,
    /// Clients that had not caught up at the end.
    pub(crate) behind: u64,
}

impl Seen {
    pub(super) fn new(outage: Outage) -> Self {
        Seen {
            outage,
            seconds: Vec::new(),
            requests: 0,
            rejected: 0,
            stored_again: 0,
            ages: Vec::new(),
            caught_up: Vec::new(),
            dropped: 0,
            behind: 0,
        }
    }

    pub(super) fn is_over(&self, now: Duration) -> bool {
        now >= self.outage.until
    }

    pub(super) fn asked(&mut self, now: Duration, reply: &Reply) {
        let is_over = self.is_over(now);
        let rejected = matches!(reply, Reply::Status { status: 503, .. });
        let second = self.second(now);
        second.requests += 1;
        second.rejected += u64::from(rejected);
        if is_over {
            self.requests += 1;
            self.rejected += u64::from(rejected);
            self.stored_again += u64::from(matches!(reply, Reply::Silence { stored: true }));
        }
    }

    /// A batch that was cut at `cut`. Its samples are older by up to an interval; that is the same for all.
    pub(super) fn delivered(&mut self, now: Duration, cut: Duration) {
        let (is_over, is_late) = (self.is_over(now), cut < self.outage.until);
        let second = self.second(now);
        second.delivered += 1;
        second.delivered_late += u64::from(is_over && is_late);
        if is_over {
            let class = (now.saturating_sub(cut).as_millis() as u64 / AGE_CLASS_MS) as usize;
            if self.ages.len() <= class {
                self.ages.resize(class + 1, 0);
            }
            self.ages[class] += 1;
        }
    }

    pub(super) fn caught_up(&mut self, now: Duration) {
        self.caught_up.push(now - self.outage.until);
    }

    fn second(&mut self, now: Duration) -> &mut Second {
        let index = now.as_secs() as usize;
        if self.seconds.len() <= index {
            self.seconds.resize(index + 1, Second::default());
        }
        &mut self.seconds[index]
    }

    /// The seconds behind the outage.
    pub(crate) fn afterwards(&self) -> &[Second] {
        let from = (self.outage.until.as_secs() as usize).min(self.seconds.len());
        &self.seconds[from..]
    }

    /// The most requests in a second after the outage.
    pub(crate) fn peak(&self) -> u64 {
        self.afterwards().iter().map(|second| second.requests).max().unwrap_or(0)
    }

    /// The share of requests after the outage that were for nothing: answered 503, or to be made again though they were
    /// stored.
    pub(crate) fn in_vain(&self) -> f64 {
        (self.rejected + self.stored_again) as f64 / self.requests.max(1) as f64
    }

    /// So old at most were so many of the batches when they were delivered after the outage, as a share.
    pub(crate) fn age(&self, share: f64) -> Duration {
        let all: u64 = self.ages.iter().sum();
        let mut seen = 0;
        let class = self.ages.iter().position(|count| {
            seen += count;
            seen as f64 >= all as f64 * share
        });
        Duration::from_millis(class.unwrap_or(0) as u64 * AGE_CLASS_MS)
    }

    /// When so many of the clients had caught up, as a share; none if they had not.
    pub(crate) fn caught_up_by(&self, share: f64) -> Option<Duration> {
        let all = self.caught_up.len() as u64 + self.behind;
        let wanted = ((all as f64 * share).ceil() as usize).max(1);
        self.caught_up.get(wanted - 1).copied()
    }
}
