//! The thread between the processed queue and the finished batches.
//!
//! Enters: what the queue holds, when it is half full and at each push deadline. Leaves: batches, to be kept until
//! they are delivered; what can't be part of one is counted. Deadlines are points of a fixed grid: a late cut moves
//! none of them.
//!
//! Never: waits for the sender.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use monitor_plugin_api::Sample;

use crate::batch::{Batcher, Limits, Pushed};
use crate::histogram::Histogram;
use crate::keep::Kept;
use crate::ledger::{Ledger, Origin, Place, Reason};
use crate::log::Limit;
use crate::negotiate::Current;
use crate::queue::{Aside, Drained, ProcessedQueue, Wake};
use crate::series::{SeriesId, SeriesTable, View};

/// What bounds batches, and when they are cut.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// What bounds a batch.
    pub limits: Limits,
    /// PUSH_INTERVAL_S.
    pub push_interval: Duration,
    /// The same while batches wait on disk: what a crash can lose then is what was not cut yet.
    pub spool_interval: Duration,
    /// SERIES_IDLE_S.
    pub series_idle: Option<Duration>,
}

/// The stage.
#[derive(Debug)]
pub struct Batching {
    settings: Settings,
    queue: Arc<ProcessedQueue>,
    table: Arc<SeriesTable>,
    kept: Arc<Kept>,
    ledger: Arc<Ledger>,
    protocol: Arc<Current>,
    batcher: Batcher,
    /// Series that have ended, until the batch with their last sample is cut.
    ended: Vec<SeriesId>,
    /// Series whose last batch is cut, until no send that began before can mean them; and the moment of that.
    leaving: HashSet<SeriesId>,
    leaving_since: u64,
    next_sweep: Option<Instant>,
    overflow_limit: Limit,
    drop_limit: Limit,
}

impl Batching {
    /// The stage between `queue` and `kept`, for samples of the series in `table`.
    pub fn new(
        settings: Settings,
        queue: Arc<ProcessedQueue>,
        table: Arc<SeriesTable>,
        kept: Arc<Kept>,
        ledger: Arc<Ledger>,
        protocol: Arc<Current>,
    ) -> Self {
        let (overflow_limit, drop_limit) = (Limit::default(), Limit::default());
        Batching {
            settings,
            queue,
            table,
            kept,
            ledger,
            protocol,
            batcher: Batcher::new(settings.limits),
            ended: Vec::new(),
            leaving: HashSet::new(),
            leaving_since: 0,
            next_sweep: settings.series_idle.map(|idle| Instant::now() + idle),
            overflow_limit,
            drop_limit,
        }
    }

    /// Runs until the queue is closed and empty; the last batch is cut then. The first deadline comes after
    /// `first_push`, so that a fleet that starts at once does not push at once.
    pub fn run(mut self, first_push: Duration) {
        let mut drained = Drained::default();
        let mut deadline = Instant::now() + first_push;
        loop {
            let wake = self.queue.wait(deadline);
            self.turn(wake, &mut drained);
            match wake {
                Wake::Closed => return self.kept.close(),
                Wake::Deadline => {
                    let interval = match self.kept.has_disk() {
                        true => self.settings.spool_interval,
                        false => self.settings.push_interval,
                    };
                    deadline = next_deadline(deadline, interval, Instant::now());
                }
                Wake::HalfFull => {}
            }
        }
    }

    /// What is to be done each time the queue wakes this stage; `drained` is a buffer.
    fn turn(&mut self, wake: Wake, drained: &mut Drained) {
        let table = Arc::clone(&self.table);
        // Before the drain: what these sends brought is seen by it.
        let settled = table.settled();
        self.queue.drain(drained);
        self.take(drained, &table.view());
        if self.leaving_since <= settled {
            // One that was seen again stays.
            for series in self.leaving.drain() {
                table.remove(series);
            }
        }
        if wake == Wake::Deadline {
            self.sweep();
        }
        if wake != Wake::HalfFull {
            self.cut(&table.view());
        }
        // No sample of theirs needs their labels any more, but for those that are on their way.
        if self.batcher.is_empty() && self.leaving.is_empty() && !self.ended.is_empty() {
            self.leaving.extend(self.ended.drain(..));
            self.leaving_since = table.moment();
        }
    }

    /// All that was sent, in the order in which it came.
    fn take(&mut self, drained: &mut Drained, view: &View<'_>) {
        let Drained { samples, asides } = drained;
        let mut taken = 0;
        for (before, aside) in asides.drain(..) {
            samples[taken..before].iter().for_each(|sample| self.put(sample, view));
            taken = before;
            match aside {
                Aside::Histogram(histogram) => self.put_histogram(histogram, view),
                Aside::Exemplar(exemplar) => {
                    if let Err(reason) = self.batcher.push_exemplar(exemplar) {
                        self.ledger.discard_exemplars(reason, 1);
                    }
                }
                Aside::End(series) => self.end(series, view),
            }
        }
        samples[taken..].iter().for_each(|sample| self.put(sample, view));
    }

    fn put(&mut self, sample: &Sample, view: &View<'_>) {
        let mut pushed = self.batcher.push(sample, view);
        if pushed == Pushed::Full {
            self.cut(view);
            pushed = self.batcher.push(sample, view);
        }
        self.book(pushed, sample.timestamp_ms);
    }

    fn put_histogram(&mut self, histogram: Histogram, view: &View<'_>) {
        let timestamp_ms = histogram.timestamp_ms;
        let pushed = self.batcher.push_histogram(histogram, view).or_else(|histogram| {
            self.cut(view);
            self.batcher.push_histogram(histogram, view)
        });
        // An empty batch takes whatever comes.
        self.book(pushed.unwrap_or(Pushed::Full), timestamp_ms);
    }

    fn book(&mut self, pushed: Pushed, timestamp_ms: i64) {
        match pushed {
            Pushed::Dropped(reason) => self.drop_one(reason, timestamp_ms),
            Pushed::Taken | Pushed::Full => self.ledger.transfer(Place::Queued, Place::Batched, 1),
        }
    }

    /// Marks the end of a series, and forgets it once the marker is on its way.
    fn end(&mut self, series: SeriesId, view: &View<'_>) {
        let mut pushed = self.batcher.end(series, view);
        if pushed == Some(Pushed::Full) {
            self.cut(view);
            pushed = self.batcher.end(series, view);
        }
        if pushed == Some(Pushed::Taken) {
            self.ledger.collect(Origin::Marker, Place::Batched, 1);
        }
        view.expect_nothing(series);
        self.leaving.remove(&series);
        self.ended.push(series);
    }

    /// Ends the series of which nothing was heard: after SERIES_IDLE_S, or when MAX_SERIES leave no room for others.
    fn sweep(&mut self) {
        // A sweep forgets what was heard of those that are leaving.
        if !self.leaving.is_empty() {
            return;
        }
        let now = Instant::now();
        let crowded = self.table.was_crowded();
        // One sweep at most: a second one would find every series idle.
        let idle = if let (Some(due), Some(every)) = (&mut self.next_sweep, self.settings.series_idle)
            && now >= *due
        {
            *due = now + every;
            self.table.sweep(false)
        } else if crowded {
            self.table.sweep(true)
        } else {
            return;
        };
        let table = Arc::clone(&self.table);
        let view = table.view();
        idle.into_iter().for_each(|series| self.end(series, &view));
    }

    fn drop_one(&mut self, reason: Reason, timestamp_ms: i64) {
        self.ledger.discard(Place::Queued, reason, 1);
        if let Some(suppressed) = self.drop_limit.allow(Instant::now()) {
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

    fn cut(&mut self, view: &View<'_>) {
        let (batch, duplicates) = self.batcher.cut(self.protocol.get(), view);
        self.ledger.discard(Place::Batched, Reason::Duplicate, duplicates);
        let Some(batch) = batch else { return };
        let overflow = self.kept.push(batch);
        if overflow.batches > 0
            && let Some(suppressed) = self.overflow_limit.allow(Instant::now())
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
}

/// The first point of the grid after `now`.
fn next_deadline(deadline: Instant, interval: Duration, now: Instant) -> Instant {
    let late = now.saturating_duration_since(deadline);
    // An interval is at least a millisecond, so the count of those missed fits.
    let missed = (late.as_nanos() / interval.as_nanos().max(1)) as u32;
    deadline + interval * (missed + 1)
}

#[cfg(test)]
mod tests;
