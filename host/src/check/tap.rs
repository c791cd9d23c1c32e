//! Where the samples of a check go, in the place of kept batches and sender.
//!
//! Enters: what the processed queue holds. Leaves: [`Seen`]. Samples pass the same batcher and encoder as in a run, and
//! are read again from the finished bytes: what is called good here is what a run would push, and nothing else is.
//!
//! Never: holds more than a batch and a bounded number of series.

use std::sync::Arc;
use std::time::{Duration, Instant};

use monitor_plugin_api::Sample;
use monitor_proto::STALE_NAN;

use super::facts::{OfSeries, Seen};
use crate::batch::{Batch, Batcher, Limits, Pushed};
use crate::encode::Protocol;
use crate::labels;
use crate::ledger::{Ledger, Origin, Place, Reason};
use crate::queue::{Drained, ProcessedQueue, Wake};
use crate::receive::decode::{self, Request, decode};
use crate::series::{SeriesId, SeriesTable, View};

/// Between two batches.
const CUT_EVERY: Duration = Duration::from_secs(1);
/// So many series are told apart; the rest is counted.
const MAX_SERIES: usize = 100_000;
const MAX_METRICS: usize = 1000;
/// Samples dropped for their order are told by series for so many.
const MAX_DISORDER: usize = 100;
/// Characters of a series' name that are kept for a message.
const MAX_NAME: usize = 150;
/// Series of which samples are shown, and how many of each are kept for that.
const EXAMPLES: (usize, usize) = (10, 3);

/// The reading end of the processed queue.
#[derive(Debug)]
pub(super) struct Tap {
    queue: Arc<ProcessedQueue>,
    table: Arc<SeriesTable>,
    ledger: Arc<Ledger>,
    batcher: Batcher,
    /// Series that have ended, until the batch with their last sample is cut.
    ended: Vec<SeriesId>,
    seen: Seen,
}

impl Tap {
    pub(super) fn new(
        queue: Arc<ProcessedQueue>,
        table: Arc<SeriesTable>,
        ledger: Arc<Ledger>,
        limits: Limits,
    ) -> Self {
        Tap { queue, table, ledger, batcher: Batcher::new(limits), ended: Vec::new(), seen: Seen::default() }
    }

    /// Runs until the queue is closed and empty.
    pub(super) fn run(mut self) -> Seen {
        let mut drained = Drained::default();
        let mut next_cut = Instant::now() + CUT_EVERY;
        let table = Arc::clone(&self.table);
        loop {
            let wake = self.queue.wait(next_cut);
            self.queue.drain(&mut drained);
            self.take(&drained, &table.view());
            if wake != Wake::HalfFull {
                self.cut(&table.view());
                next_cut = Instant::now() + CUT_EVERY;
                for series in self.ended.drain(..) {
                    table.remove(series);
                }
            }
            if wake == Wake::Closed {
                return self.seen;
            }
        }
    }

    fn take(&mut self, drained: &Drained, view: &View<'_>) {
        let mut taken = 0;
        for &(before, series) in &drained.ends {
            drained.samples[taken..before].iter().for_each(|sample| self.put(sample, view));
            taken = before;
            self.end(series, view);
        }
        drained.samples[taken..].iter().for_each(|sample| self.put(sample, view));
    }

    fn put(&mut self, sample: &Sample, view: &View<'_>) {
        let mut pushed = self.batcher.push(sample, view);
        if pushed == Pushed::Full {
            self.cut(view);
            pushed = self.batcher.push(sample, view);
        }
        match pushed {
            Pushed::Dropped(reason) => self.dropped(reason, sample, view),
            Pushed::Taken | Pushed::Full => self.ledger.transfer(Place::Queued, Place::Batched, 1),
        }
    }

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
        self.ended.push(series);
    }

    fn dropped(&mut self, reason: Reason, sample: &Sample, view: &View<'_>) {
        self.ledger.discard(Place::Queued, reason, 1);
        let id = SeriesId::from_number(sample.series());
        let name = view.labels(id).map_or_else(|| "a series that has ended".to_owned(), shown);
        let timestamp_ms = sample.timestamp_ms;
        self.seen.firsts.entry(reason).or_insert_with(|| format!("{name}: timestamp {timestamp_ms}"));
        self.disorder(reason, name, 1);
    }

    fn disorder(&mut self, reason: Reason, name: String, samples: u64) {
        let disorder = &mut self.seen.disorder;
        let key = (reason, name);
        if disorder.len() < MAX_DISORDER || disorder.contains_key(&key) {
            *disorder.entry(key).or_default() += samples;
        }
    }

    fn cut(&mut self, view: &View<'_>) {
        // 2.0 says of each series what it is.
        let (batch, duplicates) = self.batcher.cut(Protocol::V2, view);
        self.ledger.discard(Place::Batched, Reason::Duplicate, duplicates);
        let Some(batch) = batch else { return };
        self.ledger.deliver(Place::Batched, batch.samples);
        self.read(&batch);
    }

    fn read(&mut self, batch: &Batch) {
        match decode(decode::Protocol::V2, &batch.body) {
            Ok(request) => self.note(request),
            Err(error) => self.seen.unreadable = Some(error.to_string()),
        }
    }

    fn note(&mut self, request: Request) {
        let seen = &mut self.seen;
        for metadata in request.metadata {
            if seen.metadata.len() < MAX_METRICS || seen.metadata.contains_key(&metadata.metric) {
                seen.metadata.insert(metadata.metric.clone(), Some(metadata));
            }
        }
        for mut series in request.series {
            let key = series.key();
            let all = series.samples.len();
            series.samples.retain(|sample| sample.value.to_bits() != STALE_NAN);
            seen.markers += (all - series.samples.len()) as u64;
            seen.samples += series.samples.len() as u64;
            if seen.metadata.len() < MAX_METRICS && !seen.metadata.contains_key(&key.metric) {
                seen.metadata.insert(key.metric.clone(), None);
            }
            if let Some((_, samples)) = seen.examples.iter_mut().find(|(same, _)| *same == key) {
                let room = EXAMPLES.1.saturating_sub(samples.len());
                samples.extend(series.samples.iter().take(room));
            } else if seen.examples.len() < EXAMPLES.0 {
                seen.examples.push((key.clone(), series.samples.iter().take(EXAMPLES.1).copied().collect()));
            }
            if seen.series.len() >= MAX_SERIES && !seen.series.contains_key(&key) {
                seen.of_others += series.samples.len() as u64;
                continue;
            }
            let mut moments = series.samples.iter().map(|sample| sample.timestamp_ms);
            let of_series = match seen.series.entry(key) {
                std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::hash_map::Entry::Vacant(new) => {
                    let Some(first_ms) = moments.next() else { continue };
                    new.insert(OfSeries { samples: 1, first_ms, last_ms: first_ms, longest_gap_ms: 0 })
                }
            };
            for moment in moments {
                of_series.longest_gap_ms = of_series.longest_gap_ms.max(moment.saturating_sub(of_series.last_ms));
                (of_series.samples, of_series.last_ms) = (of_series.samples + 1, of_series.last_ms.max(moment));
                of_series.first_ms = of_series.first_ms.min(moment);
            }
        }
    }
}

fn shown(labels: &[u8]) -> String {
    let name = labels::display(labels);
    let name = name.strip_suffix("{}").unwrap_or(&name);
    let cut: String = name.chars().take(MAX_NAME).collect();
    if cut.len() < name.len() { cut + "…" } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::LabelSet;
    use crate::series::Metadata;

    const NOW: i64 = 1_760_000_000_000;

    struct Fed {
        queue: Arc<ProcessedQueue>,
        table: Arc<SeriesTable>,
        ledger: Arc<Ledger>,
    }

    impl Fed {
        fn new() -> Self {
            let ledger = Arc::new(Ledger::default());
            let queue = Arc::new(ProcessedQueue::new(1000, Arc::clone(&ledger)));
            Fed { queue, table: Arc::new(SeriesTable::new(1000)), ledger }
        }

        fn series(&self, metric: &str, metadata: Metadata) -> u64 {
            let mut labels = LabelSet::default();
            labels.start(metric).unwrap();
            self.table.register(labels.encode().unwrap(), metadata).unwrap().to_number()
        }

        fn send(&self, series: u64, moment: i64) {
            self.queue.send(&[Sample::from_parts(series, 2.5, NOW + moment)], &[], Duration::ZERO).unwrap();
        }

        fn seen(self) -> Seen {
            self.queue.close();
            let limits = Limits { max_samples: 7, max_bytes: 1 << 20, allow_out_of_order: false };
            let seen = Tap::new(self.queue, self.table, Arc::clone(&self.ledger), limits).run();
            assert!(self.ledger.snapshot().balances());
            assert_eq!(self.ledger.snapshot().delivered, seen.samples + seen.markers);
            seen
        }
    }

    #[test]
    fn what_is_good_is_read_from_the_batches() {
        let fed = Fed::new();
        let gauge = Metadata { kind: 2, help: "h".into(), unit: String::new() };
        let (a, b) = (fed.series("a", gauge), fed.series("b", Metadata::default()));
        for i in 0..20 {
            fed.send(a, 100 * i + if i == 10 { 50 } else { 0 });
        }
        fed.send(b, 0);
        fed.queue.end(SeriesId::from_number(b));
        let seen = fed.seen();
        assert_eq!((seen.samples, seen.markers, seen.series.len(), seen.of_others), (21, 1, 2, 0));
        let (key, of_a) = seen.series.iter().find(|(key, _)| key.metric == "a").unwrap();
        let expected = OfSeries { samples: 20, first_ms: NOW, last_ms: NOW + 1900, longest_gap_ms: 150 };
        assert_eq!((*of_a, of_a.interval()), (expected, Some(Duration::from_millis(100))));
        let (example, samples) = &seen.examples[0];
        assert_eq!((example, samples.len(), samples[0].value), (key, 3, 2.5));
        let kinds: Vec<_> = seen.metadata.values().map(|m| m.as_ref().map(|m| (&*m.kind, &*m.help))).collect();
        assert_eq!(kinds[0], Some(("gauge", "h")));
    }

    #[test]
    fn what_a_batch_drops_is_told_by_series() {
        let fed = Fed::new();
        let (a, b) = (fed.series("a", Metadata::default()), fed.series("b", Metadata::default()));
        for (series, moment) in [(a, 5), (a, 5), (a, 3), (a, 2), (b, 9), (b, 9), (99, 1), (a, i64::MIN / 2)] {
            fed.send(series, moment);
        }
        let seen = fed.seen();
        let told: Vec<_> = seen.disorder.iter().map(|((reason, name), n)| (reason.name(), &**name, *n)).collect();
        assert_eq!(
            told,
            [
                ("invalid_timestamp", "a", 1),
                ("unknown_series", "a series that has ended", 1),
                ("duplicate", "a", 1),
                ("duplicate", "b", 1),
                ("out_of_order", "a", 2),
            ]
        );
        assert_eq!(seen.firsts[&Reason::OutOfOrder], format!("a: timestamp {}", NOW + 3));
    }
}
