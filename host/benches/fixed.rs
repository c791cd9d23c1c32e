//! A fixed piece of work for each stage, for the bench and for the test that counts instructions.
//!
//! Enters: how many series, and how many samples of each. Leaves: the stages as calls, each over all samples.
//!
//! Never: looks at a clock; does one run's work otherwise than another's, but for the seeds of hash tables.

use std::sync::Arc;

use monitor_host::batch::{Batch, Batcher, Limits};
use monitor_host::batching::Grouping;
use monitor_host::encode::{Point, Protocol, Series, v1, v2};
use monitor_host::labels::Rules;
use monitor_host::ledger::Reason;
use monitor_host::normalise::{Normaliser, Sink};
use monitor_host::series::{SeriesId, SeriesTable};
use monitor_plugin_api::Sample;

pub(crate) const METRIC: &str = "load_energy_joules_total";

/// Some moment, in milliseconds since the Unix epoch.
pub(crate) const BEGIN_MS: i64 = 1_760_000_000_000;

/// Everything that the stages work on.
pub(crate) struct Fixed {
    pub(crate) table: SeriesTable,
    pub(crate) parts: Vec<String>,
    ids: Vec<SeriesId>,
    /// A sample of each series, then the next of each, as a plugin sends them.
    pub(crate) samples: Vec<Sample>,
    /// The samples of each series.
    pub(crate) points: Vec<Vec<Point>>,
    normaliser: Normaliser,
    grouping: Grouping,
    batcher: Batcher,
    request: v2::Request,
    pub(crate) message: Vec<u8>,
}

struct Intern<'a> {
    table: &'a SeriesTable,
    found: Vec<Option<SeriesId>>,
}

impl Sink for Intern<'_> {
    fn sample(&mut self, labels: &[u8], _: f64, _: i64) {
        self.found.push(self.table.intern(labels));
    }

    fn reject(&mut self, reason: Reason, detail: std::fmt::Arguments<'_>) {
        panic!("{reason}: {detail}");
    }
}

impl Fixed {
    pub(crate) fn new(series: usize, times: i64) -> Self {
        let limits = Limits { max_samples: usize::MAX, max_bytes: usize::MAX, allow_out_of_order: false };
        let value = |part: usize, at: i64| ((part as i64 * 7919 + at * 13) & 0xff_ffff) as f64 / 16384.0;
        let times = || (0..times).map(|i| BEGIN_MS + 1000 * i);
        let points = |part| times().map(|at| Point { value: value(part, at), timestamp_ms: at }).collect();
        let mut fixed = Fixed {
            table: SeriesTable::new(series),
            parts: (0..series).map(|part| format!("part-{part}")).collect(),
            ids: Vec::new(),
            samples: Vec::new(),
            points: (0..series).map(points).collect(),
            normaliser: Normaliser::new("unnamed", "bench", Arc::new(Rules::default())),
            grouping: Grouping::default(),
            batcher: Batcher::new(limits),
            request: v2::Request::default(),
            message: Vec::new(),
        };
        fixed.ids = fixed.normalise();
        let sample = |(part, id): (usize, &SeriesId), at| Sample::from_parts(id.to_number(), value(part, at), at);
        fixed.samples = times().flat_map(|at| fixed.ids.iter().enumerate().map(move |id| sample(id, at))).collect();
        fixed
    }

    /// A record of each series, with its labels as text.
    #[inline(never)]
    pub(crate) fn normalise(&mut self) -> Vec<SeriesId> {
        let mut sink = Intern { table: &self.table, found: Vec::with_capacity(self.parts.len()) };
        for part in &self.parts {
            let labels = [("part", part.as_str()), ("source", "bench")];
            self.normaliser.record(METRIC, labels, 1.0, Some(BEGIN_MS), BEGIN_MS, &mut sink);
        }
        sink.found.into_iter().flatten().collect()
    }

    /// The same as a JSON document.
    #[inline(never)]
    pub(crate) fn normalise_json(&mut self, document: &[u8]) -> usize {
        let mut sink = Intern { table: &self.table, found: Vec::with_capacity(self.parts.len()) };
        self.normaliser.json(document, BEGIN_MS, &mut sink);
        sink.found.len()
    }

    /// The document.
    pub(crate) fn document(&self) -> String {
        let item = |part: &String| {
            let labels = format!(r#"{{"part":"{part}","source":"bench"}}"#);
            format!(r#"{{"metric":"{METRIC}","labels":{labels},"value":1.5,"timestamp_ms":{BEGIN_MS}}}"#)
        };
        format!("[{}]", self.parts.iter().map(item).collect::<Vec<_>>().join(","))
    }

    /// All samples into a batch, each by so much later than the last time; [`cut`](Self::cut) it before the next time.
    #[inline(never)]
    pub(crate) fn batch(&mut self, later_ms: i64) {
        let view = self.table.view();
        self.samples.iter_mut().for_each(|sample| sample.timestamp_ms += later_ms);
        self.grouping.look_through(&self.samples, view.places());
        for run in self.grouping.runs(&self.samples) {
            let mut run = run.peekable();
            let series = run.peek().map(|first| SeriesId::from_number(first.series()));
            series.map(|series| self.batcher.push_run(series, &mut run, &view));
            assert_eq!(run.next(), None, "all are taken");
        }
    }

    /// Ends the batch: encoded, and compressed.
    #[inline(never)]
    pub(crate) fn cut(&mut self, protocol: Protocol) -> Option<Batch> {
        self.batcher.cut(protocol, &self.table.view()).0
    }

    /// All samples as one message, which is not compressed.
    #[inline(never)]
    pub(crate) fn encode(&mut self, protocol: Protocol) {
        self.message.clear();
        let view = self.table.view();
        for (id, points) in self.ids.iter().zip(&self.points) {
            let Some(labels) = view.labels(*id) else { continue };
            let series = Series { labels, metadata: None, start_ms: 0, points, histograms: &[], exemplars: &[] };
            match protocol {
                Protocol::V1 => v1::series(&mut self.message, &series),
                Protocol::V2 => self.request.series(&series),
            }
        }
        if protocol == Protocol::V2 {
            self.request.finish(&mut self.message);
        }
    }
}
