//! Where a plugin's sends arrive, on the plugin's own thread.
//!
//! Enters: records, JSON text; samples, histograms and exemplars of registered series; registrations and the ends of
//! series. Leaves: samples in the processed queue, or the refusal that the plugin gets back. What can't be used is
//! counted when the rest of its item is taken, and said in the log (at most a line for each reason every ten seconds).
//!
//! Never: takes a part of an item; blocks beyond the plugin's timeout; holds a lock while it waits.

mod rare;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use monitor_plugin_api::abi::{AbiExemplar, AbiHistogram};
use monitor_plugin_api::{Sample, now_ms};

use crate::labels::{self, LabelSet, Rules};
use crate::ledger::{Origin, Reason};
use crate::log::Limit;
use crate::normalise::{Normaliser, Sink};
use crate::queue::{Extras, ProcessedQueue, Refused};
use crate::series::{Metadata, SeriesId, SeriesTable};

/// A record as it comes from a plugin.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a, L> {
    /// Empty: METRIC_DEFAULT.
    pub metric: &'a str,
    /// In any order.
    pub labels: L,
    /// In the metric's unit.
    pub value: f64,
    /// Milliseconds since the Unix epoch; none: now.
    pub timestamp_ms: Option<i64>,
}

/// What one send needs besides its item; kept for the next send.
#[derive(Debug)]
struct Scratch {
    normaliser: Normaliser,
    samples: Vec<Sample>,
    rejected: Rejected,
}

/// What can't be used.
#[derive(Debug, Default)]
struct Rejected {
    counts: Vec<(Reason, u64)>,
    /// For each entry of `counts`, what was wrong with the first one.
    details: Vec<String>,
}

impl Rejected {
    fn add(&mut self, reason: Reason, detail: impl fmt::Display) {
        if let Some((_, count)) = self.counts.iter_mut().find(|(same, _)| *same == reason) {
            *count += 1;
        } else {
            self.counts.push((reason, 1));
            self.details.push(detail.to_string());
        }
    }
}

/// The host's side of a plugin's sends.
#[derive(Debug)]
pub struct Intake {
    queue: Arc<ProcessedQueue>,
    table: Arc<SeriesTable>,
    metric_default: String,
    service_label: String,
    rules: Arc<Rules>,
    /// The run is ending: a handle that goes now ends no series.
    ending: AtomicBool,
    idle: Mutex<Vec<Scratch>>,
    taken: AtomicU64,
    first_rejected: Mutex<BTreeMap<Reason, String>>,
    reject_limits: Mutex<Vec<Limit>>,
    refuse_limit: Mutex<Limit>,
}

impl Intake {
    /// The way into `queue`, for samples of the series in `table`.
    pub fn new(
        queue: Arc<ProcessedQueue>,
        table: Arc<SeriesTable>,
        metric_default: &str,
        service_label: &str,
        rules: Rules,
    ) -> Self {
        Intake {
            queue,
            table,
            metric_default: metric_default.to_owned(),
            service_label: service_label.to_owned(),
            rules: Arc::new(rules),
            ending: AtomicBool::new(false),
            idle: Mutex::default(),
            taken: AtomicU64::new(0),
            first_rejected: Mutex::default(),
            reject_limits: Mutex::new(Reason::ALL.iter().map(|_| Limit::default()).collect()),
            refuse_limit: Mutex::default(),
        }
    }

    /// Takes all of these records, or none of them.
    ///
    /// # Errors
    /// [`Refused`]: the plugin still has them.
    pub fn records<'a, L>(
        &self,
        records: impl IntoIterator<Item = Record<'a, L>>,
        timeout: Duration,
    ) -> Result<(), Refused>
    where
        L: IntoIterator<Item = (&'a str, &'a str), IntoIter: Clone>,
    {
        self.normalised(timeout, |normaliser, sink| {
            let now = now_ms();
            for r in records {
                normaliser.record(r.metric, r.labels, r.value, r.timestamp_ms, now, sink);
            }
        })
    }

    /// Takes one JSON document: a dictionary, or a list of them.
    ///
    /// # Errors
    /// [`Refused`]: the plugin still has it.
    pub fn json(&self, document: &[u8], timeout: Duration) -> Result<(), Refused> {
        self.normalised(timeout, |normaliser, sink| normaliser.json(document, now_ms(), sink))
    }

    /// Takes all of these samples of registered series, or none of them.
    ///
    /// # Errors
    /// [`Refused`]: the plugin still has them.
    pub fn samples(&self, samples: &[Sample], timeout: Duration) -> Result<(), Refused> {
        self.enqueue(samples.len(), || self.queue.send(samples, &[], timeout))
    }

    /// Takes all of these samples of registered series with their exemplars, or nothing.
    ///
    /// # Errors
    /// [`Refused`]: the plugin still has them.
    pub fn samples_with_exemplars(
        &self,
        samples: &[Sample],
        exemplars: &[AbiExemplar<'_>],
        timeout: Duration,
    ) -> Result<(), Refused> {
        self.rare(samples, &[], exemplars, timeout)
    }

    /// Takes all of these histograms of registered series with their exemplars, or nothing.
    ///
    /// # Errors
    /// [`Refused`]: the plugin still has them.
    pub fn histograms(
        &self,
        histograms: &[AbiHistogram<'_>],
        exemplars: &[AbiExemplar<'_>],
        timeout: Duration,
    ) -> Result<(), Refused> {
        self.rare(&[], histograms, exemplars, timeout)
    }

    fn rare(
        &self,
        samples: &[Sample],
        histograms: &[AbiHistogram<'_>],
        exemplars: &[AbiExemplar<'_>],
        timeout: Duration,
    ) -> Result<(), Refused> {
        let rare::Judged { asides, rejected, rejected_exemplars } =
            rare::judge(samples, histograms, exemplars, &self.table);
        let extras =
            Extras { asides, rejected: rejected.counts.clone(), rejected_exemplars: rejected_exemplars.counts.clone() };
        let taken = self.enqueue(samples.len() + histograms.len(), || self.queue.send_with(samples, extras, timeout));
        if taken.is_ok() {
            self.tell_rejected(&rejected, false);
            self.tell_rejected(&rejected_exemplars, true);
        }
        taken
    }

    /// Registers a series, and counts one handle of it.
    ///
    /// # Errors
    /// Why these can't be the labels of a series.
    pub fn register<'a>(
        &self,
        metric: &str,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
        metadata: Metadata,
    ) -> Result<SeriesId, Reason> {
        let mut set = LabelSet::new(Arc::clone(&self.rules));
        set.start(if metric.is_empty() { &self.metric_default } else { metric })?;
        for (name, value) in labels {
            set.label(name, value)?;
        }
        self.table.register(set.encode()?, metadata).ok_or(Reason::TooManySeries)
    }

    /// Notes when the counter behind a series was last zero.
    pub fn set_start(&self, series: SeriesId, start_ms: i64) {
        self.table.set_start(series, start_ms);
    }

    /// Takes back one handle; with the last one, the series ends behind what was sent of it.
    pub fn release(&self, series: SeriesId) {
        if self.table.release(series) && !self.ending.load(Relaxed) {
            self.queue.end(series);
        }
    }

    /// So many sends were refused before they came here: the pipe from the plugin's process was full.
    pub fn refused(&self, items: u64) {
        self.queue.ledger().refuse_sends(items);
        if items > 0
            && let Some(suppressed) =
                self.refuse_limit.lock().unwrap_or_else(PoisonError::into_inner).allow(Instant::now())
        {
            tracing::warn!(
                items,
                suppressed,
                "the pipe from the plugin's process stayed full: sends were refused, the plugin has its samples back; \
                 is the machine overloaded, or PROC_QUEUE_SIZE too small?"
            );
        }
    }

    /// So many samples, of which the plugin was told that they are sent, can't be taken any more.
    pub fn lost(&self, samples: u64) {
        self.queue.ledger().collect_dropped(Origin::Plugin, Reason::Shutdown, samples);
    }

    /// The run is ending: its series go on in the next one, so no handle that goes from now on ends one.
    pub fn end_of_run(&self) {
        self.ending.store(true, Relaxed);
    }

    /// How many sends were taken.
    pub fn taken(&self) -> u64 {
        self.taken.load(Relaxed)
    }

    /// For each reason that something could not be used, what was wrong with the first.
    pub fn first_rejected(&self) -> BTreeMap<Reason, String> {
        self.first_rejected.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn normalised(
        &self,
        timeout: Duration,
        normalise: impl FnOnce(&mut Normaliser, &mut Collect<'_>),
    ) -> Result<(), Refused> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut scratch = idle.unwrap_or_else(|| Scratch {
            normaliser: Normaliser::new(&*self.metric_default, &*self.service_label, Arc::clone(&self.rules)),
            samples: Vec::new(),
            rejected: Rejected::default(),
        });
        scratch.samples.clear();
        scratch.rejected.counts.clear();
        scratch.rejected.details.clear();
        let Scratch { normaliser, samples, rejected } = &mut scratch;
        // However long it takes until the samples are in the queue, their series stay known.
        let naming = self.table.begin_naming();
        normalise(normaliser, &mut Collect { table: &self.table, samples, rejected });
        let taken = self.enqueue(samples.len(), || self.queue.send(samples, &rejected.counts, timeout));
        drop(naming);
        if taken.is_ok() {
            self.tell_rejected(rejected, false);
        }
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
        taken
    }

    fn enqueue(&self, samples: usize, send: impl FnOnce() -> Result<(), Refused>) -> Result<(), Refused> {
        let taken = send();
        self.taken.fetch_add(u64::from(taken.is_ok()), Relaxed);
        if taken == Err(Refused::Full) {
            let allowed = self.refuse_limit.lock().unwrap_or_else(PoisonError::into_inner).allow(Instant::now());
            if let Some(suppressed) = allowed {
                tracing::warn!(
                    samples,
                    suppressed,
                    "the processed queue stayed full: a send was refused, the plugin has its samples back; \
                     is the machine overloaded, or PROC_QUEUE_SIZE too small?"
                );
            }
        }
        taken
    }

    fn tell_rejected(&self, rejected: &Rejected, are_exemplars: bool) {
        for (&(reason, count), detail) in rejected.counts.iter().zip(&rejected.details) {
            let mut firsts = self.first_rejected.lock().unwrap_or_else(PoisonError::into_inner);
            firsts.entry(reason).or_insert_with(|| detail.clone());
            drop(firsts);
            let mut limits = self.reject_limits.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(suppressed) = limits[reason as usize].allow(Instant::now()) {
                let (samples, exemplars) = if are_exemplars { (None, Some(count)) } else { (Some(count), None) };
                tracing::warn!(
                    %reason,
                    samples,
                    exemplars,
                    suppressed,
                    "the plugin sent what can't be used: {detail}"
                );
            }
        }
    }
}

struct Collect<'a> {
    table: &'a SeriesTable,
    samples: &'a mut Vec<Sample>,
    rejected: &'a mut Rejected,
}

impl Sink for Collect<'_> {
    fn sample(&mut self, labels: &[u8], value: f64, timestamp_ms: i64) {
        match self.table.intern(labels) {
            Some(series) => self.samples.push(Sample::from_parts(series.to_number(), value, timestamp_ms)),
            None => {
                let shown: String = labels::display(labels).chars().take(150).collect();
                self.reject(Reason::TooManySeries, format_args!("{shown}: MAX_SERIES are known already"));
            }
        }
    }

    fn reject(&mut self, reason: Reason, detail: fmt::Arguments<'_>) {
        self.rejected.add(reason, detail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Ledger;
    use crate::queue::Drained;

    fn intake(capacity: usize) -> (Intake, Arc<ProcessedQueue>, Arc<Ledger>) {
        let ledger = Arc::new(Ledger::default());
        let queue = Arc::new(ProcessedQueue::new(capacity, Arc::clone(&ledger)));
        (
            Intake::new(
                Arc::clone(&queue),
                Arc::new(SeriesTable::new(1000)),
                "default_metric",
                "monitor",
                Rules::default(),
            ),
            queue,
            ledger,
        )
    }

    fn record(labels: &[(&'static str, &'static str)]) -> Record<'static, Vec<(&'static str, &'static str)>> {
        Record { metric: "m", labels: labels.to_vec(), value: 1.0, timestamp_ms: Some(1_760_000_000_000) }
    }

    #[test]
    fn records_and_registered_series_meet() {
        let (intake, queue, _) = intake(10);
        let labels = [("b", "2"), ("a", "1")];
        let series = intake.register("m", labels.into_iter(), Metadata::default()).unwrap();
        intake.records([record(&[("a", "1"), ("b", "2"), ("c", "")])], Duration::ZERO).unwrap();
        let mut drained = Drained::default();
        queue.drain(&mut drained);
        assert_eq!(drained.samples[0].series(), series.to_number());
    }

    #[test]
    fn a_bad_record_costs_the_others_nothing() {
        let (intake, queue, ledger) = intake(10);
        let records = [record(&[]), record(&[("", "x")]), record(&[("a", "1")])];
        intake.records(records, Duration::ZERO).unwrap();
        assert_eq!(queue.len(), 2);
        assert_eq!(ledger.snapshot().reasons(), "invalid_label_name=1");
        intake.json(b"{", Duration::ZERO).unwrap();
        intake.records([record(&[("9", "x")])], Duration::ZERO).unwrap();
        let firsts = intake.first_rejected();
        assert!(firsts[&Reason::InvalidLabelName].contains("label \"\""), "{firsts:?}");
        assert_eq!((firsts.len(), intake.taken()), (2, 3));
        let books = ledger.snapshot();
        assert_eq!((books.collected(), books.dropped()), (5, 3));
        assert!(books.balances());
    }

    #[test]
    fn a_refused_item_is_counted_as_nothing_else() {
        let (intake, queue, ledger) = intake(1);
        intake.records([record(&[])], Duration::ZERO).unwrap();
        let again = [record(&[("a", "1")]), record(&[("", "x")])];
        assert_eq!(intake.records(again, Duration::ZERO), Err(Refused::Full));
        let books = ledger.snapshot();
        assert_eq!((queue.len(), books.collected(), books.dropped(), books.refused_sends), (1, 1, 0, 1));
    }

    #[test]
    fn a_send_that_waits_for_room_is_seen_to_be_under_way() {
        let (intake, queue, _) = intake(1);
        intake.records([record(&[])], Duration::ZERO).unwrap();
        assert_eq!(intake.table.settled(), intake.table.moment());
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| intake.records([record(&[("a", "1")])], Duration::from_secs(3600)));
            while intake.table.len() < 2 {
                std::thread::yield_now();
            }
            assert!(intake.table.settled() < intake.table.moment());
            queue.drain(&mut Drained::default());
            sender.join().unwrap().unwrap();
        });
        assert_eq!((intake.table.settled(), queue.len()), (intake.table.moment(), 1));
    }

    #[test]
    fn a_series_ends_with_its_last_handle() {
        let (intake, queue, _) = intake(10);
        let register = || intake.register("", [].into_iter(), Metadata::default()).unwrap();
        let series = register();
        assert_eq!(register(), series);
        intake.release(series);
        intake.samples(&[Sample::from_parts(series.to_number(), 1.0, 1_760_000_000_000)], Duration::ZERO).unwrap();
        intake.release(series);
        let mut drained = Drained::default();
        queue.drain(&mut drained);
        assert_eq!(drained.asides, [(1, crate::queue::Aside::End(series))]);
        assert_eq!(intake.register("9", [].into_iter(), Metadata::default()), Err(Reason::InvalidMetricName));
    }

    #[test]
    fn exemplars_stand_behind_the_last_sample_of_their_series() {
        use crate::queue::Aside;
        use abi_stable::std_types::RSlice;
        let (intake, queue, ledger) = intake(10);
        let now = 1_760_000_000_000i64;
        let exemplar =
            |series, value, offset| AbiExemplar { series, labels: RSlice::EMPTY, value, timestamp_ms: now + offset };
        let sample = |series, offset| Sample::from_parts(series, 1.0, now + offset);
        let exemplars =
            [exemplar(2, 9.0, 5), exemplar(1, 2.0, 1), exemplar(1, 1.0, 1), exemplar(1, 5.0, 0), exemplar(7, 0.0, 0)];
        let samples = [sample(1, 0), sample(2, 0), sample(1, 1), sample(3, 0)];
        intake.samples(&samples[..1], Duration::ZERO).unwrap();
        intake.samples_with_exemplars(&samples, &exemplars, Duration::ZERO).unwrap();
        let mut drained = Drained::default();
        queue.drain(&mut drained);
        let stands = drained.asides.iter().map(|(before, aside)| match aside {
            Aside::Exemplar(exemplar) => (*before, exemplar.series.index, exemplar.value),
            other => panic!("{other:?}"),
        });
        assert_eq!(stands.collect::<Vec<_>>(), [(3, 2, 9.0), (4, 1, 5.0), (4, 1, 1.0), (4, 1, 2.0)]);
        let books = ledger.snapshot();
        assert_eq!((books.collected(), books.exemplars.collected), (5, 5));
        assert_eq!(books.exemplars.reasons(), "lone_exemplar=1");
    }
}
