//! Samples as authors write them down when they don't register a series: records, and JSON text.

use crate::abi::NO_TIMESTAMP;

/// One sample with everything that belongs to it.
///
/// The host checks it on arrival and sends it as it is; what it does with an odd one is in its `docs/records.md`.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Record {
    pub(crate) metric: String,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) value: f64,
    pub(crate) timestamp_ms: Option<i64>,
}

impl Record {
    /// A sample of this metric. An empty name means the operator's METRIC_DEFAULT.
    pub fn new(metric: impl Into<String>, value: f64) -> Self {
        Record { metric: metric.into(), labels: Vec::new(), value, timestamp_ms: None }
    }

    /// Adds a label. An empty value means that the label is absent.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push((name.into(), value.into()));
        self
    }

    /// When it was measured, in milliseconds since the Unix epoch. Left out, the host takes the moment of arrival.
    #[must_use]
    pub fn at(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = Some(timestamp_ms);
        self
    }

    pub(crate) fn abi_timestamp(&self) -> i64 {
        self.timestamp_ms.unwrap_or(NO_TIMESTAMP)
    }
}

/// A JSON document: a dictionary, or a list of dictionaries, of the two shapes in the host's `docs/records.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json<T = String>(pub T);

/// The present moment in milliseconds since the Unix epoch, as timestamps are given.
pub fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}
