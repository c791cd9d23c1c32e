//! One client: a model of its batches, and the host's own functions for when what is done.
//!
//! Enters: its turns, and the receiver's answers. Leaves: requests, and the moment of the next turn. Batches are numbers: the
//! oldest that waits, and how many were cut. That is what `keep` does, whose batches no machine could hold for so many.

use std::time::{Duration, Instant};

use fastrand::Rng;
use monitor_host::batching::grid;
use monitor_host::pace::Pace;
use monitor_host::retry::{self, Backoff, Verdict};

use super::receiver::{Model, Reply};
use super::seen::Seen;
use super::{SAMPLES_A_SECOND, Settings};

/// What waits between requests.
#[derive(Clone, Copy, Debug)]
enum Gaps {
    Real(Pace),
    /// Without limits for a backlog.
    OfAttempts(Backoff),
}

pub(super) struct Client {
    settings: Settings,
    gaps: Gaps,
    start: Instant,
    /// The grid of its cuts: the first point and the next one.
    first: Duration,
    deadline: Instant,
    /// How many batches were cut, and the number of the oldest that waits.
    cut: u64,
    oldest: u64,
    in_flight: Option<(u64, Reply)>,
    /// Of no use any more, because MAX_RETRY_BATCHES waited.
    pub(super) dropped: u64,
    /// It has not delivered yet what was cut in the outage.
    pub(super) is_behind: bool,
}

impl Client {
    pub(super) fn new(settings: Settings, start: Instant, first: Duration) -> Self {
        let gaps = match settings.catch_up {
            true => Gaps::Real(Pace::new(settings.interval)),
            false => Gaps::OfAttempts(Backoff::default()),
        };
        let deadline = start + first;
        Client {
            settings,
            gaps,
            start,
            first,
            deadline,
            cut: 0,
            oldest: 0,
            in_flight: None,
            dropped: 0,
            is_behind: true,
        }
    }

    /// An answer has come, or a batch is to be sent, or one is to be cut. Returns when its next turn is.
    pub(super) fn turn(&mut self, now: Duration, model: &mut Model, seen: &mut Seen, random: &mut Rng) -> Duration {
        self.cut(now);
        if let Some((batch, reply)) = self.in_flight.take() {
            let gap = self.settle(batch, reply, now, seen, random);
            if let Some(gap) = gap.filter(|_| self.oldest < self.cut) {
                return now + gap;
            }
        }
        if self.oldest == self.cut {
            return self.deadline - self.start;
        }
        let batch = self.oldest;
        self.oldest += 1;
        let samples = (SAMPLES_A_SECOND * self.settings.interval.as_secs_f64()) as u32;
        let (reply, at) = model.ask(now, samples, self.settings.timeout);
        seen.asked(now, &reply);
        self.in_flight = Some((batch, reply));
        at
    }

    /// Cuts what is due.
    fn cut(&mut self, now: Duration) {
        while self.deadline <= self.start + now {
            self.deadline = grid::next_deadline(self.deadline, self.settings.interval, self.deadline);
            self.cut += 1;
        }
        let most = self.settings.max_batches;
        if self.cut - self.oldest > most {
            self.dropped += self.cut - self.oldest - most;
            self.oldest = self.cut - most;
        }
    }

    /// Books an answer; the gap behind it.
    fn settle(
        &mut self,
        batch: u64,
        reply: Reply,
        now: Duration,
        seen: &mut Seen,
        random: &mut Rng,
    ) -> Option<Duration> {
        let drawn = if self.settings.jitter { random.f64() } else { 0.0 };
        let (verdict, asked) = match reply {
            Reply::Status { status, retry_after } => (retry::judge(status, &[]), retry_after),
            Reply::Silence { .. } => (Verdict::Retry, None),
        };
        let waiting = self.cut - self.oldest;
        if verdict != Verdict::Retry {
            seen.delivered(now, self.first + self.settings.interval * batch as u32);
            self.is_behind &= waiting > 1 || !seen.is_over(now);
            return match &mut self.gaps {
                Gaps::Real(pace) => pace.answered(waiting, drawn),
                Gaps::OfAttempts(backoff) => {
                    backoff.succeeded();
                    None
                }
            };
        }
        // It is the oldest again, unless there is no room for it any more.
        if batch + 1 == self.oldest && waiting < self.settings.max_batches {
            self.oldest = batch;
        } else {
            self.dropped += 1;
        }
        Some(match &mut self.gaps {
            Gaps::Real(pace) => pace.failed(asked, drawn),
            Gaps::OfAttempts(backoff) => backoff.failed(asked, drawn),
        })
    }
}
