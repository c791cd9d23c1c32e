//! From the processed queue into a batcher: the same for a run and for a check, so that what a check calls good is what a
//! run would push.
//!
//! Enters: what the queue held, in the order in which it was sent. Leaves: a batcher that has it, cut wherever it was full;
//! and, of each, word of what became of it.
//!
//! Never: loses one without a word.

use monitor_plugin_api::Sample;

use super::grouping::Grouping;
use crate::batch::{Batcher, Pushed};
use crate::histogram::Histogram;
use crate::ledger::{Ledger, Origin, Place, Reason};
use crate::queue::{Aside, Drained};
use crate::series::{SeriesId, View};

/// A stage that has a batcher; [`take`](Self::take) is what it does with what it drained.
pub(crate) trait Feed {
    fn batcher(&mut self) -> &mut Batcher;

    fn grouping(&mut self) -> &mut Grouping;

    fn ledger(&self) -> &Ledger;

    /// The batcher is full, and to be empty after this.
    fn cut(&mut self, view: &View<'_>);

    /// Samples of one series are in the batch, of these moments.
    fn batched(&mut self, _series: SeriesId, _moments: impl Iterator<Item = i64>) {}

    /// A sample can't be in any batch, and the ledger knows it.
    fn dropped(&mut self, reason: Reason, series: SeriesId, timestamp_ms: i64, view: &View<'_>);

    /// A series is to be forgotten once its last batch is cut. `is_marked`: a stale marker says so to the receiver.
    fn ended(&mut self, series: SeriesId, is_marked: bool);

    /// All that was sent: by series, and of each series in the order in which it came.
    fn take(&mut self, drained: &mut Drained, view: &View<'_>) {
        let Drained { samples, asides } = drained;
        let mut taken = 0;
        for (before, aside) in asides.drain(..) {
            // The last one may be an exemplar's, and stays before it.
            if let Some((last, others)) = samples[taken..before].split_last() {
                self.put_all(others, view);
                self.put_all(std::slice::from_ref(last), view);
            }
            taken = before;
            match aside {
                Aside::Histogram(histogram) => self.put_histogram(histogram, view),
                Aside::Exemplar(exemplar) => {
                    if let Err(reason) = self.batcher().push_exemplar(exemplar) {
                        self.ledger().discard_exemplars(reason, 1);
                    }
                }
                Aside::End(series) => self.end(series, view),
            }
        }
        self.put_all(&samples[taken..], view);
    }

    fn put_all(&mut self, samples: &[Sample], view: &View<'_>) {
        let mut grouping = std::mem::take(self.grouping());
        grouping.look_through(samples, view.places());
        let mut taken = 0;
        for run in grouping.runs(samples) {
            let mut run = run.peekable();
            while let Some(first) = run.peek() {
                let (series, all) = (SeriesId::from_number(first.series()), run.clone());
                let length = self.batcher().push_run(series, &mut run, view);
                taken += length as u64;
                self.batched(series, all.take(length).map(|sample| sample.timestamp_ms));
                if let Some(sample) = run.next() {
                    self.put(sample, &mut taken, view);
                }
            }
        }
        *self.grouping() = grouping;
        self.book(taken);
    }

    /// Counts in `taken` what is in the batch and not in the books yet.
    fn put(&mut self, sample: &Sample, taken: &mut u64, view: &View<'_>) {
        let mut pushed = self.batcher().push(sample, view);
        if pushed == Pushed::Full {
            self.book(std::mem::take(taken));
            self.cut(view);
            pushed = self.batcher().push(sample, view);
        }
        self.note(pushed, SeriesId::from_number(sample.series()), sample.timestamp_ms, taken, view);
    }

    fn put_histogram(&mut self, histogram: Histogram, view: &View<'_>) {
        let (series, timestamp_ms) = (histogram.series, histogram.timestamp_ms);
        let pushed = self.batcher().push_histogram(histogram, view).or_else(|histogram| {
            self.cut(view);
            self.batcher().push_histogram(histogram, view)
        });
        let mut taken = 0;
        // An empty batch takes whatever comes.
        self.note(pushed.unwrap_or(Pushed::Full), series, timestamp_ms, &mut taken, view);
        self.book(taken);
    }

    fn note(&mut self, pushed: Pushed, series: SeriesId, timestamp_ms: i64, taken: &mut u64, view: &View<'_>) {
        match pushed {
            Pushed::Dropped(reason) => {
                self.ledger().discard(Place::Queued, reason, 1);
                self.dropped(reason, series, timestamp_ms, view);
            }
            Pushed::Taken | Pushed::Full => {
                *taken += 1;
                self.batched(series, std::iter::once(timestamp_ms));
            }
        }
    }

    /// So many samples are in the batch now.
    fn book(&self, taken: u64) {
        self.ledger().transfer(Place::Queued, Place::Batched, taken);
    }

    /// Marks the end of a series, where it has a beginning.
    fn end(&mut self, series: SeriesId, view: &View<'_>) {
        let mut pushed = self.batcher().end(series, view);
        if pushed == Some(Pushed::Full) {
            self.cut(view);
            pushed = self.batcher().end(series, view);
        }
        let is_marked = pushed == Some(Pushed::Taken);
        if is_marked {
            self.ledger().collect(Origin::Marker, Place::Batched, 1);
        }
        view.expect_nothing(series);
        self.ended(series, is_marked);
    }
}
