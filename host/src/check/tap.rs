//! Where the samples of a check go, in the place of kept batches and sender.
//!
//! Enters: what the processed queue holds. Leaves: [`Seen`]. Samples pass the same batcher and encoder as in a run: what is
//! called good here is what a run would push, and nothing else is. Finished batches are read again where they hold
//! something new, and else one a second: a tap that read them all would be slower than a run, and the queue full.
//!
//! Never: holds more than a batch and a bounded number of series.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use monitor_proto::STALE_NAN;

use super::facts::{OfSeries, Seen};
use crate::batch::{Batcher, Limits};
use crate::batching::{Feed, Grouping};
use crate::encode::Protocol;
use crate::labels;
use crate::ledger::{Ledger, Place, Reason};
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
    grouping: Grouping,
    /// Series that have ended, until the batch with their last sample is cut.
    ended: HashSet<SeriesId>,
    /// By place in the table, each with the generation that it is about.
    of_series: Vec<Option<(u32, OfSeries)>>,
    /// The batch in the making holds the first sample of a series.
    has_new: bool,
    /// Its stale markers.
    markers: u64,
    next_read: Instant,
    /// By reason and number of the series: its name, and how many samples.
    disorder: BTreeMap<(Reason, u64), (String, u64)>,
    seen: Seen,
}

impl Tap {
    pub(super) fn new(
        queue: Arc<ProcessedQueue>,
        table: Arc<SeriesTable>,
        ledger: Arc<Ledger>,
        limits: Limits,
    ) -> Self {
        Tap {
            queue,
            table,
            ledger,
            batcher: Batcher::new(limits),
            grouping: Grouping::default(),
            ended: HashSet::new(),
            of_series: Vec::new(),
            has_new: false,
            markers: 0,
            next_read: Instant::now(),
            disorder: BTreeMap::new(),
            seen: Seen::default(),
        }
    }

    /// Runs until the queue is closed and empty.
    pub(super) fn run(mut self) -> Seen {
        let mut drained = Drained::default();
        let mut next_cut = Instant::now() + CUT_EVERY;
        let table = Arc::clone(&self.table);
        loop {
            let wake = self.queue.wait(next_cut);
            self.queue.drain(&mut drained);
            self.take(&mut drained, &table.view());
            if wake != Wake::HalfFull {
                self.cut(&table.view());
                next_cut = Instant::now() + CUT_EVERY;
                self.forget_ended(&table);
            }
            if wake == Wake::Closed {
                self.note_busiest(&table.view());
                let disorder = self.disorder.into_iter();
                self.seen.disorder = disorder.map(|((reason, _), (name, samples))| (reason, name, samples)).collect();
                return self.seen;
            }
        }
    }

    fn count(&mut self, id: SeriesId, moment: i64) {
        let index = id.index as usize;
        if index >= MAX_SERIES {
            return;
        }
        if self.of_series.len() <= index {
            self.of_series.resize(index + 1, None);
        }
        match &mut self.of_series[index] {
            Some((generation, of_series)) if *generation == id.generation => of_series.add(moment),
            other => {
                *other = Some((id.generation, OfSeries::new(moment)));
                self.seen.series += 1;
                self.has_new = true;
            }
        }
    }

    /// The places of series that have ended are free for others.
    fn forget_ended(&mut self, table: &SeriesTable) {
        if self.ended.is_empty() {
            return;
        }
        self.note_busiest(&table.view());
        for series in self.ended.drain() {
            table.remove(series);
        }
    }

    /// Keeps the busiest series so far, with its name, which it has for as long as it is in the table.
    fn note_busiest(&mut self, view: &View<'_>) {
        // As the table, which gave the places.
        let all = self.of_series.iter().enumerate().filter_map(|(index, known)| {
            let (generation, of_series) = (*known)?;
            Some((SeriesId { index: index as u32, generation }, of_series))
        });
        // The first of equals.
        let busiest = all.rev().max_by_key(|(_, of_series)| of_series.samples);
        if let Some((id, of_series)) = busiest
            && self.seen.busiest.as_ref().is_none_or(|(_, known)| of_series.samples > known.samples)
            && let Some(labels) = view.labels(id)
        {
            self.seen.busiest = Some((shown(labels), of_series));
        }
    }

    fn note(&mut self, request: Request) {
        let seen = &mut self.seen;
        for metadata in request.metadata {
            if seen.metadata.len() < MAX_METRICS || seen.metadata.contains_key(&metadata.metric) {
                seen.metadata.insert(metadata.metric.clone(), Some(metadata));
            }
        }
        for series in request.series {
            let key = series.key();
            let readings = series.readings().filter(|reading| reading.point().1.to_bits() != STALE_NAN);
            if seen.metadata.len() < MAX_METRICS && !seen.metadata.contains_key(&key.metric) {
                seen.metadata.insert(key.metric.clone(), None);
            }
            if let Some((_, known)) = seen.examples.iter_mut().find(|(same, _)| *same == key) {
                let room = EXAMPLES.1.saturating_sub(known.len());
                known.extend(readings.take(room));
            } else if seen.examples.len() < EXAMPLES.0 {
                seen.examples.push((key, readings.take(EXAMPLES.1).collect()));
            }
        }
    }
}

impl Feed for Tap {
    fn batcher(&mut self) -> &mut Batcher {
        &mut self.batcher
    }

    fn grouping(&mut self) -> &mut Grouping {
        &mut self.grouping
    }

    fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn batched(&mut self, series: SeriesId, moments: impl Iterator<Item = i64>) {
        moments.for_each(|moment| self.count(series, moment));
    }

    fn dropped(&mut self, reason: Reason, series: SeriesId, timestamp_ms: i64, view: &View<'_>) {
        let key = (reason, series.to_number());
        if let Some((_, samples)) = self.disorder.get_mut(&key) {
            *samples += 1;
        } else if self.disorder.len() < MAX_DISORDER {
            let labels = view.labels(series);
            let name = labels.map_or_else(|| "a series that has ended".to_owned(), shown);
            let first = || format!("{name}: timestamp {timestamp_ms}");
            self.seen.firsts.entry(reason).or_insert_with(first);
            self.disorder.insert(key, (name, 1));
        }
    }

    fn ended(&mut self, series: SeriesId, is_marked: bool) {
        self.markers += u64::from(is_marked);
        self.ended.insert(series);
    }

    fn cut(&mut self, view: &View<'_>) {
        // 2.0 says of each series what it is.
        let (batch, duplicates) = self.batcher.cut(Protocol::V2, view);
        self.ledger.discard(Place::Batched, Reason::Duplicate, duplicates);
        let Some(batch) = batch else { return };
        self.ledger.deliver(Place::Batched, batch.samples);
        self.ledger.deliver_exemplars(batch.exemplars);
        let markers = std::mem::take(&mut self.markers);
        self.seen.markers += markers;
        self.seen.samples += batch.samples - markers;
        if std::mem::take(&mut self.has_new) || Instant::now() >= self.next_read {
            self.next_read = Instant::now() + CUT_EVERY;
            match decode(decode::Protocol::V2, &batch.body) {
                Ok(request) => self.note(request),
                Err(error) => self.seen.unreadable = Some(error.to_string()),
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
    use crate::ledger::Origin;
    use crate::series::Metadata;
    use monitor_plugin_api::Sample;

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
        assert_eq!((seen.samples, seen.markers, seen.series), (21, 1, 2));
        let (name, of_a) = seen.busiest.as_ref().unwrap();
        let expected = OfSeries { samples: 20, first_ms: NOW, last_ms: NOW + 1900, longest_gap_ms: 150 };
        assert_eq!((&**name, *of_a, of_a.interval()), ("a", expected, Some(Duration::from_millis(100))));
        let (key, samples) = &seen.examples[0];
        assert_eq!((&*key.metric, samples.len(), samples[0].point().1), ("a", 3, 2.5));
        let kinds: Vec<_> = seen.metadata.values().map(|m| m.as_ref().map(|m| (&*m.kind, &*m.help))).collect();
        assert_eq!(kinds[0], Some(("gauge", "h")));
    }

    #[test]
    fn a_place_in_the_table_may_have_several_tenants() {
        let fed = Fed::new();
        let mut tap = Tap::new(
            Arc::clone(&fed.queue),
            Arc::clone(&fed.table),
            Arc::clone(&fed.ledger),
            Limits { max_samples: 7, max_bytes: 1 << 20, allow_out_of_order: false },
        );
        for tenant in 0..3 {
            let id = SeriesId::from_number(fed.series(&format!("m{tenant}"), Metadata::default()));
            for i in 0..=2 - tenant {
                fed.ledger.collect(Origin::Plugin, Place::Queued, 1);
                let sample = Sample::from_parts(id.to_number(), 1.0, NOW + i);
                tap.put_all(&[sample], &fed.table.view());
            }
            assert!(fed.table.release(id));
            tap.end(id, &fed.table.view());
            tap.cut(&fed.table.view());
            tap.forget_ended(&fed.table);
            assert_eq!(fed.table.len(), 0);
        }
        assert_eq!((tap.seen.series, tap.seen.samples, tap.seen.markers), (3, 6, 3));
        let (name, of_series) = tap.seen.busiest.unwrap();
        assert_eq!((&*name, of_series.samples), ("m0", 3));
    }

    #[test]
    fn what_a_batch_drops_is_told_by_series() {
        let fed = Fed::new();
        let (a, b) = (fed.series("a", Metadata::default()), fed.series("b", Metadata::default()));
        for (series, moment) in [(a, 5), (a, 5), (a, 3), (a, 2), (b, 9), (b, 9), (99, 1), (a, i64::MIN / 2)] {
            fed.send(series, moment);
        }
        let seen = fed.seen();
        let told: Vec<_> = seen.disorder.iter().map(|(reason, name, n)| (reason.name(), &**name, *n)).collect();
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
