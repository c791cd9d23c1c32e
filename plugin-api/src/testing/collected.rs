//! What a run leaves behind: samples, series, log events and failures, as values that a test can compare.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::histogram::{CollectedExemplar, CollectedHistogram};
use crate::Kind;
use crate::abi::RawQueueStats;

/// A series as the host knows it: registered, or named by records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CollectedSeries {
    /// The metric; empty where the plugin leaves it to METRIC_DEFAULT.
    pub metric: String,
    /// Sorted by name; those with an empty value are left out.
    pub labels: Vec<(String, String)>,
    /// Counter, gauge, or not known.
    pub kind: Kind,
    /// One sentence about the metric.
    pub help: String,
    /// The unit of the metric.
    pub unit: String,
    /// When the counter was last zero, in milliseconds since the Unix epoch.
    pub start_ms: Option<i64>,
    /// The plugin registered it; otherwise records named it.
    pub registered: bool,
    /// The last handle was dropped before the plugin was asked to stop.
    pub ended: bool,
}

impl CollectedSeries {
    /// The value of a label, or `None` where it is absent.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// As PromQL writes it: `metric{a="b"}`.
impl fmt::Display for CollectedSeries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.metric)?;
        for (i, (name, value)) in self.labels.iter().enumerate() {
            write!(f, "{}{name}={value:?}", if i == 0 { '{' } else { ',' })?;
        }
        f.write_str(if self.labels.is_empty() { "" } else { "}" })
    }
}

/// A sample that the host took.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CollectedSample {
    /// Whose sample it is.
    pub series: Arc<CollectedSeries>,
    /// In the unit of the series.
    pub value: f64,
    /// Milliseconds since the Unix epoch; the moment of arrival where the record had none.
    pub timestamp_ms: i64,
}

impl CollectedSample {
    /// The metric of its series.
    pub fn metric(&self) -> &str {
        &self.series.metric
    }

    /// The value of a label of its series, or `None` where it is absent.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.series.label(name)
    }
}

/// A `tracing` event of the plugin, or a panic (target `panic`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogEvent {
    /// How grave it is.
    pub level: tracing::Level,
    /// The module, unless the event names another target.
    pub target: String,
    /// The text.
    pub message: String,
    /// `name=value` pairs, separated by spaces.
    pub fields: String,
}

/// The part of a plugin that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `new`.
    New,
    /// `get_power`.
    GetPower,
    /// `process_data`.
    ProcessData,
}

/// How a part failed. Each of these ends a run of the host with an exit status that is not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// It returned an error.
    Error,
    /// It panicked.
    Panic,
    /// It returned before it was asked to stop.
    EarlyReturn,
    /// It had not returned at the end of [`Harness::stop_timeout`](super::Harness::stop_timeout): its thread is left behind.
    IgnoredStop,
}

/// What went wrong, where.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// Where.
    pub part: Part,
    /// In which way.
    pub kind: FailureKind,
    /// The line that the host would log.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = match self.part {
            Part::New => "new",
            Part::GetPower => "get_power",
            Part::ProcessData => "process_data",
        };
        write!(f, "{part}: {}", self.message)
    }
}

/// What a plugin did, from `new` to the end of its threads.
#[derive(Clone, Debug, Default)]
pub struct Run {
    pub(super) samples: Vec<CollectedSample>,
    pub(super) series: Vec<Arc<CollectedSeries>>,
    pub(super) histograms: Vec<CollectedHistogram>,
    pub(super) exemplars: Vec<CollectedExemplar>,
    pub(super) documents: Vec<String>,
    pub(super) log: Vec<LogEvent>,
    pub(super) failures: Vec<Failure>,
    pub(super) refused_sends: u64,
    pub(super) dropped_samples: u64,
    pub(super) raw_queue: RawQueueStats,
    pub(super) stopping: Duration,
}

impl Run {
    /// The samples that the host took, from records and of registered series, in the order of their sends.
    pub fn samples(&self) -> &[CollectedSample] {
        &self.samples
    }

    /// The samples of one metric.
    pub fn samples_of<'a>(&'a self, metric: &'a str) -> impl Iterator<Item = &'a CollectedSample> {
        self.samples.iter().filter(move |sample| sample.metric() == metric)
    }

    /// The native histograms that the host took, in the order of their sends.
    pub fn histograms(&self) -> &[CollectedHistogram] {
        &self.histograms
    }

    /// The exemplars that the host took, in the order of their sends.
    pub fn exemplars(&self) -> &[CollectedExemplar] {
        &self.exemplars
    }

    /// All series, in the order in which the host met them. One that ended and was registered again is there twice.
    pub fn series(&self) -> &[Arc<CollectedSeries>] {
        &self.series
    }

    /// The JSON documents that the host took, unread: what they hold is not among the samples.
    pub fn documents(&self) -> &[String] {
        &self.documents
    }

    /// What the plugin logged, panics included; the first 10,000 events. An event of a thread that the plugin started
    /// itself goes to the run that began last in the process.
    pub fn log(&self) -> &[LogEvent] {
        &self.log
    }

    /// What went wrong, in the order in which it did.
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }

    /// How many sends the plugin got back, because the queue behind `RecordSender` was full or closed.
    pub fn refused_sends(&self) -> u64 {
        self.refused_sends
    }

    /// How many samples the host took and could not use: of series that had ended (`unknown_series`), or of more series
    /// than [`Harness::max_series`](super::Harness::max_series) allows (`too_many_series`).
    pub fn dropped_samples(&self) -> u64 {
        self.dropped_samples
    }

    /// The books of the queue between `get_power` and `process_data`, in readings.
    pub fn raw_queue(&self) -> RawQueueStats {
        self.raw_queue
    }

    /// How long the plugin took to end once it was asked to.
    pub fn stopping(&self) -> Duration {
        self.stopping
    }

    /// Asserts that nothing went wrong.
    ///
    /// # Panics
    /// Something did: says what.
    #[track_caller]
    pub fn assert_ok(&self) {
        let failures: Vec<_> = self.failures.iter().map(Failure::to_string).collect();
        assert!(failures.is_empty(), "the plugin failed: {}", failures.join("; "));
    }

    /// Asserts that the plugin ended within `limit` of being asked to.
    ///
    /// # Panics
    /// It took longer, or had to be left behind.
    #[track_caller]
    pub fn assert_stops_within(&self, limit: Duration) {
        let left = self.failures.iter().find(|failure| failure.kind == FailureKind::IgnoredStop);
        assert!(left.is_none(), "the plugin did not stop: {}", left.map(Failure::to_string).unwrap_or_default());
        assert!(self.stopping <= limit, "the plugin took {:?} to stop, and not {limit:?} at most", self.stopping);
    }
}
