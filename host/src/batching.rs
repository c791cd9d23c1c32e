//! The thread between the processed queue and the finished batches.
//!
//! Enters: what the queue holds, when it is half full and at each push deadline. Leaves: batches, to be kept until
//! they are delivered; what can't be part of one is counted. Deadlines are points of a fixed grid: a late cut moves
//! none of them. At a push the host's own metrics join, when they are due.
//!
//! Never: waits for the sender at a deadline, or for one that takes nothing.

mod feed;
mod grouping;
mod own;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use monitor_plugin_api::Sample;

pub(crate) use self::feed::Feed;
pub use self::grouping::Grouping;
pub use self::own::{MAX_SERIES as OWN_SERIES, Own};
use crate::batch::{Batcher, Limits, Pushed};
use crate::keep::{Kept, Overflow};
use crate::ledger::{Ledger, Origin, Place, Reason};
use crate::log::Limit;
use crate::metrics::facts::Cuts;
use crate::negotiate::Current;
use crate::notify::pulse::Pulse;
use crate::queue::{Drained, ProcessedQueue, Wake};
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
    grouping: Grouping,
    /// Series that have ended, until the batch with their last sample is cut.
    ended: HashSet<SeriesId>,
    /// Series whose last batch is cut, until no send that began before can mean them; and the moment of that.
    leaving: HashSet<SeriesId>,
    leaving_since: u64,
    next_sweep: Option<Instant>,
    own: Option<Own>,
    /// The batch that is being filled holds samples of ours.
    holds_own: bool,
    cuts: Arc<Cuts>,
    pulse: Arc<Pulse>,
    overflow_limit: Limit,
    /// Dropped, and not told yet.
    untold: Overflow,
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
            grouping: Grouping::default(),
            ended: HashSet::new(),
            leaving: HashSet::new(),
            leaving_since: 0,
            next_sweep: settings.series_idle.map(|idle| Instant::now() + idle),
            own: None,
            holds_own: false,
            cuts: Arc::default(),
            pulse: Arc::default(),
            overflow_limit,
            untold: Overflow::default(),
            drop_limit,
        }
    }

    /// Notes what it does in `cuts`, and sends the host's own metrics too, if there are any.
    pub fn told(mut self, cuts: Arc<Cuts>, own: Option<Own>) -> Self {
        (self.cuts, self.own) = (cuts, own);
        self
    }

    /// Says in `pulse` by when it moves again.
    pub fn pulsing(mut self, pulse: Arc<Pulse>) -> Self {
        self.pulse = pulse;
        self
    }

    /// Runs until the queue is closed and empty; the last batch is cut then. The first deadline comes after
    /// `first_push`, so that a fleet that starts at once does not push at once.
    pub fn run(mut self, first_push: Duration) {
        let mut drained = Drained::default();
        let mut deadline = Instant::now() + first_push;
        loop {
            self.pulse.moves_by(deadline);
            let wake = self.queue.wait(deadline);
            if wake == Wake::HalfFull {
                self.kept.wait_for_room(deadline);
            }
            self.turn(wake, &mut drained);
            match wake {
                Wake::Closed => {
                    if self.untold.batches > 0 {
                        self.tell_overflow();
                    }
                    return self.kept.close();
                }
                Wake::Deadline => {
                    let interval = match self.kept.has_disk() {
                        true => self.settings.spool_interval,
                        false => self.settings.push_interval,
                    };
                    let next = next_deadline(deadline, interval, Instant::now());
                    self.cuts.missed(passed_over(deadline, next, interval));
                    deadline = next;
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
            // They look at the table too: before it is locked for the cut.
            let own = self.own.as_mut().and_then(|own| own.due(wake == Wake::Closed, Instant::now()));
            self.put_own(&own.unwrap_or_default(), &table.view());
            self.cut(&table.view());
        }
        // No sample of theirs needs their labels any more, but for those that are on their way.
        if self.batcher.is_empty() && self.leaving.is_empty() && !self.ended.is_empty() {
            self.leaving.extend(self.ended.drain());
            self.leaving_since = table.moment();
        }
    }

    /// Puts samples of the host's own metrics into the batch.
    fn put_own(&mut self, samples: &[Sample], view: &View<'_>) {
        if samples.is_empty() {
            return;
        }
        self.note_newest(self.batcher.newest_ms());
        if self.queue.history().is_watched() {
            self.queue.history().note(samples, &[]);
        }
        self.holds_own = true;
        for sample in samples {
            let mut pushed = self.batcher.push(sample, view);
            if pushed == Pushed::Full {
                self.cut(view);
                self.holds_own = true;
                pushed = self.batcher.push(sample, view);
            }
            match pushed {
                Pushed::Dropped(reason) => self.ledger.collect_dropped(Origin::Own, reason, 1),
                Pushed::Taken | Pushed::Full => self.ledger.collect(Origin::Own, Place::Batched, 1),
            }
        }
    }

    fn note_newest(&self, newest_ms: Option<i64>) {
        if let Some(newest_ms) = newest_ms.filter(|_| !self.holds_own) {
            self.cuts.saw(newest_ms);
        }
    }

    /// All that was dropped since this was told last.
    fn tell_overflow(&mut self) {
        let overflow = std::mem::take(&mut self.untold);
        tracing::warn!(
            reason = %Reason::RetryOverflow,
            batches = overflow.batches,
            samples = overflow.samples,
            from_ms = overflow.from_ms(),
            to_ms = overflow.to_ms(),
            "the oldest waiting batches were dropped to make room: MAX_RETRY_BATCHES or MAX_RETRY_BYTES is reached"
        );
    }

    /// Ends the series of which nothing was heard: after SERIES_IDLE_S, or when MAX_SERIES leave no room for others.
    fn sweep(&mut self) {
        // A sweep forgets what was heard of those that are leaving.
        if !self.leaving.is_empty() {
            return;
        }
        let now = Instant::now();
        let crowded = self.table.was_crowded();
        if let Some(own) = &self.own {
            own.touch(&self.table.view());
        }
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
}

impl Feed for Batching {
    fn batcher(&mut self) -> &mut Batcher {
        &mut self.batcher
    }

    fn grouping(&mut self) -> &mut Grouping {
        &mut self.grouping
    }

    fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn dropped(&mut self, reason: Reason, _: SeriesId, timestamp_ms: i64, _: &View<'_>) {
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

    fn ended(&mut self, series: SeriesId, _: bool) {
        self.leaving.remove(&series);
        self.ended.insert(series);
    }

    fn cut(&mut self, view: &View<'_>) {
        let (batch, duplicates) = self.batcher.cut(self.protocol.get(), view);
        self.ledger.discard(Place::Batched, Reason::Duplicate, duplicates);
        let Some(batch) = batch else { return };
        self.note_newest(Some(batch.time_range_ms.1));
        self.holds_own = false;
        self.untold.add(self.kept.push(batch));
        if self.untold.batches > 0 && self.overflow_limit.allow(Instant::now()).is_some() {
            self.tell_overflow();
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

/// How many points of the grid lie between these two.
fn passed_over(deadline: Instant, next: Instant, interval: Duration) -> u64 {
    let points = next.saturating_duration_since(deadline).as_nanos() / interval.as_nanos().max(1);
    u64::try_from(points).unwrap_or(u64::MAX).saturating_sub(1)
}

#[cfg(test)]
mod tests;
