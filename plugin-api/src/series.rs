//! Registered series: name and labels are told once, then each sample is 24 bytes.

use std::fmt;
use std::sync::Arc;

use crate::abi::{HostBox, Sample, kind};
use crate::exemplar::Exemplar;
use crate::histogram::{Count, Histogram, HistogramSample};

/// The NaN that Prometheus takes for a stale marker, and for nothing else.
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// What a series is called and what it means, to be registered with
/// [`RecordSender::register`](crate::RecordSender::register).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeriesSpec {
    pub(crate) metric: String,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) kind: Kind,
    pub(crate) help: String,
    pub(crate) unit: String,
    pub(crate) start_ms: Option<i64>,
}

/// What kind of metric a series belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Not known.
    #[default]
    Unknown,
    /// Only ever goes up, or back to zero when its source restarts. Its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations by bucket, which only grow or begin again.
    Histogram,
    /// Observations by bucket as they are at present.
    GaugeHistogram,
    /// Quantiles that the source itself computes.
    Summary,
    /// Always 1: the facts are in its labels. Its name ends in `_info`.
    Info,
    /// One series for each of several states, 1 or 0.
    StateSet,
}

impl Kind {
    pub(crate) fn code(self) -> i32 {
        match self {
            Kind::Unknown => kind::UNKNOWN,
            Kind::Counter => kind::COUNTER,
            Kind::Gauge => kind::GAUGE,
            Kind::Histogram => kind::HISTOGRAM,
            Kind::GaugeHistogram => kind::GAUGE_HISTOGRAM,
            Kind::Summary => kind::SUMMARY,
            Kind::Info => kind::INFO,
            Kind::StateSet => kind::STATE_SET,
        }
    }
}

impl SeriesSpec {
    /// A series of this metric.
    pub fn new(metric: impl Into<String>) -> Self {
        SeriesSpec { metric: metric.into(), ..SeriesSpec::default() }
    }

    /// A series of a counter.
    pub fn counter(metric: impl Into<String>) -> Self {
        SeriesSpec { kind: Kind::Counter, ..SeriesSpec::new(metric) }
    }

    /// A series of a gauge.
    pub fn gauge(metric: impl Into<String>) -> Self {
        SeriesSpec { kind: Kind::Gauge, ..SeriesSpec::new(metric) }
    }

    /// A series of native histograms.
    pub fn histogram(metric: impl Into<String>) -> Self {
        SeriesSpec { kind: Kind::Histogram, ..SeriesSpec::new(metric) }
    }

    /// Says what kind of metric it is.
    #[must_use]
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Adds a label. An empty value means that the label is absent.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push((name.into(), value.into()));
        self
    }

    /// When the counter was last zero, in milliseconds since the Unix epoch: the boot, the loading of the driver. Samples
    /// then say from when on they count (remote write 2.0). After a reset, register the series again; with 0 where it is not
    /// known any more.
    #[must_use]
    pub fn started_at(mut self, start_ms: i64) -> Self {
        self.start_ms = Some(start_ms);
        self
    }

    /// One sentence about the metric, for people.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    /// The unit, in the plural and base form that Prometheus uses: `joules`, `watts`, `seconds`, `bytes`.
    #[must_use]
    pub fn unit(mut self, unit: impl Into<String>) -> Self {
        self.unit = unit.into();
        self
    }
}

/// A registered series. Clones are the same series; it ends when the last one is dropped.
#[derive(Clone)]
pub struct Series {
    number: u64,
    /// There until this is dropped.
    handle: Option<Arc<Handle>>,
}

/// Counts the clones, and leads the last one to the host. One word is what the smallest piece of heap has room for, beside
/// the counts: a plugin may hold a million of them.
struct Handle {
    host: Arc<HostBox>,
}

impl Series {
    pub(crate) fn new(number: u64, host: Arc<HostBox>) -> Self {
        Series { number, handle: Some(Arc::new(Handle { host })) }
    }

    /// A sample of this series, measured at `timestamp_ms` (milliseconds since the Unix epoch).
    #[inline]
    pub fn sample(&self, value: f64, timestamp_ms: i64) -> Sample {
        Sample { series: self.number, value, timestamp_ms }
    }

    /// Says that the series has no value from `timestamp_ms` on, until its next sample: a stale marker at that very moment.
    /// The handle stays, for a series that may come back; when it is dropped, no other marker is made. Without this, the end
    /// of the last handle marks the series a millisecond behind its newest sample.
    pub fn stale(&self, timestamp_ms: i64) -> Sample {
        self.sample(f64::from_bits(STALE), timestamp_ms)
    }

    /// The histogram as it stands, as this series has it at `timestamp_ms` (milliseconds since the Unix epoch).
    pub fn histogram<C: Count>(&self, histogram: &Histogram<C>, timestamp_ms: i64) -> HistogramSample {
        histogram.sample(self.number, timestamp_ms)
    }

    /// One observation that this series has counted, made at `timestamp_ms` (milliseconds since the Unix epoch): an
    /// example to look at, such as a request by its trace.
    pub fn exemplar(&self, value: f64, timestamp_ms: i64) -> Exemplar {
        Exemplar { series: self.number, labels: Vec::new(), value, timestamp_ms }
    }
}

impl fmt::Debug for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Series").field(&self.number).finish()
    }
}

impl Drop for Series {
    fn drop(&mut self) {
        // Of clones that are dropped at the same time, one alone gets what is inside.
        if let Some(handle) = self.handle.take().and_then(Arc::into_inner) {
            handle.host.release_series(self.number);
        }
    }
}
