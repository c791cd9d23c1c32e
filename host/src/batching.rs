//! The thread between the processed queue and the finished batches.
//!
//! Enters: what the queue holds, when it is half full and at each push deadline. Leaves: batches, to be kept until
//! they are delivered; what can't be part of one is counted. Deadlines are points of a fixed grid: a late cut moves
//! none of them.
//!
//! Never: waits for the sender.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::batch::{Batcher, Limits, Pushed};
use crate::keep::Kept;
use crate::ledger::{Ledger, Place, Reason};
use crate::log::Limit;
use crate::negotiate::Current;
use crate::queue::{Drained, ProcessedQueue, Wake};
use crate::series::{SeriesId, SeriesTable, View};

/// What the thread works with.
#[derive(Debug)]
pub struct Batching {
    /// Where samples come from.
    pub queue: Arc<ProcessedQueue>,
    /// Whose they are.
    pub table: Arc<SeriesTable>,
    /// Where batches go.
    pub kept: Arc<Kept>,
    /// The books.
    pub ledger: Arc<Ledger>,
    /// Which message a batch becomes.
    pub protocol: Arc<Current>,
    /// What bounds a batch.
    pub limits: Limits,
    /// PUSH_INTERVAL_S.
    pub push_interval: Duration,
}

impl Batching {
    /// Runs until the queue is closed and empty; the last batch is cut then. The first deadline comes after
    /// `first_push`, so that a fleet that starts at once does not push at once.
    pub fn run(self, first_push: Duration) {
        let mut batcher = Batcher::new(self.limits);
        let mut drained = Drained::default();
        let mut ended = Vec::new();
        let (mut overflow_limit, mut drop_limit) = (Limit::default(), Limit::default());
        let mut deadline = Instant::now() + first_push;
        loop {
            let wake = self.queue.wait(deadline);
            self.queue.drain(&mut drained);
            ended.extend(drained.ends.iter().map(|&(_, series)| series));
            let view = self.table.view();
            for sample in &drained.samples {
                let mut pushed = batcher.push(sample, &view);
                if pushed == Pushed::Full {
                    self.cut(&mut batcher, &view, &mut overflow_limit);
                    pushed = batcher.push(sample, &view);
                }
                match pushed {
                    Pushed::Dropped(reason) => self.drop_one(reason, sample.timestamp_ms, &mut drop_limit),
                    Pushed::Taken | Pushed::Full => self.ledger.transfer(Place::Queued, Place::Batched, 1),
                }
            }
            if wake != Wake::HalfFull {
                self.cut(&mut batcher, &view, &mut overflow_limit);
                deadline = next_deadline(deadline, self.push_interval, Instant::now());
            }
            drop(view);
            if batcher.is_empty() {
                self.forget(&mut ended);
            }
            if wake == Wake::Closed {
                return self.kept.close();
            }
        }
    }

    fn drop_one(&self, reason: Reason, timestamp_ms: i64, limit: &mut Limit) {
        self.ledger.discard(Place::Queued, reason, 1);
        if let Some(suppressed) = limit.allow(Instant::now()) {
            let why = match reason {
                Reason::Duplicate => "its series has a sample of the same millisecond already",
                Reason::OutOfOrder => {
                    "its series has a newer sample already (ALLOW_OUT_OF_ORDER=1 sends it all the same)"
                }
                Reason::InvalidTimestamp => "its timestamp lies outside the years 2000 to 2099: is it in milliseconds?",
                _ => "its series has ended or was never registered",
            };
            tracing::warn!(%reason, timestamp_ms, suppressed, "a sample was dropped: {why}");
        }
    }

    fn cut(&self, batcher: &mut Batcher, view: &View<'_>, limit: &mut Limit) {
        let (batch, duplicates) = batcher.cut(self.protocol.get(), view);
        self.ledger.discard(Place::Batched, Reason::Duplicate, duplicates);
        let Some(batch) = batch else { return };
        let overflow = self.kept.push(batch);
        if overflow.batches > 0
            && let Some(suppressed) = limit.allow(Instant::now())
        {
            tracing::warn!(
                reason = %Reason::RetryOverflow,
                batches = overflow.batches,
                samples = overflow.samples,
                suppressed,
                "the oldest waiting batches were dropped to make room: MAX_RETRY_BATCHES or MAX_RETRY_BYTES is reached"
            );
        }
    }

    /// Takes series that have ended out of the table, now that no sample of theirs needs its labels.
    fn forget(&self, ended: &mut Vec<SeriesId>) {
        for series in ended.drain(..) {
            self.table.remove(series);
        }
    }
}

/// The first point of the grid after `now`.
fn next_deadline(deadline: Instant, interval: Duration, now: Instant) -> Instant {
    let late = now.saturating_duration_since(deadline);
    // An interval is at least a millisecond, so the count of those missed fits.
    let missed = (late.as_nanos() / interval.as_nanos().max(1)) as u32;
    deadline + interval * (missed + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_stay_on_their_grid() {
        let (start, s) = (Instant::now(), Duration::from_secs(4));
        assert_eq!(next_deadline(start, s, start), start + s);
        assert_eq!(next_deadline(start, s, start + s / 2), start + s);
        assert_eq!(next_deadline(start, s, start + s), start + s * 2);
        assert_eq!(next_deadline(start, s, start + s * 5 / 2), start + s * 3);
        assert_eq!(next_deadline(start + s, s, start), start + s * 2);
    }
}
