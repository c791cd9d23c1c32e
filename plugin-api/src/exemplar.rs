//! Exemplars: single observations that are sent with the sample or the histogram that counted them.
//!
//! Enters: what an author gives. Leaves: the host has taken samples and exemplars, or all of it comes back.

use std::time::Duration;

use abi_stable::std_types::RSlice;

use crate::abi::{AbiExemplar, AbiLabel, HostBox, Sample};
use crate::histogram::{self, HistogramSample};
use crate::sender::{Emit, abi_label, nanoseconds, sealed};

/// One observation that a series has counted; see [`Series::exemplar`](crate::Series::exemplar).
///
/// Its labels take 128 characters at most, names and values together (OpenMetrics). Within a series the timestamps of
/// exemplars rise. Prometheus keeps them only with `--enable-feature=exemplar-storage`.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    pub(crate) series: u64,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) value: f64,
    pub(crate) timestamp_ms: i64,
}

impl Exemplar {
    /// Adds a label, such as `trace_id`. An empty value means that the label is absent.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push((name.into(), value.into()));
        self
    }
}

/// Samples or histograms, and exemplars of the series that they belong to. An exemplar whose series has none among them
/// is dropped, and counted by the host.
///
/// ```no_run
/// # use monitor_plugin_api::{RecordSender, Series, WithExemplars, now_ms};
/// # fn send(out: &RecordSender, requests: &Series) {
/// let samples = [requests.sample(4711.0, now_ms())];
/// let exemplars = [requests.exemplar(1.0, now_ms()).label("trace_id", "4bf92f3577b34da6")];
/// let _ = out.send(WithExemplars(&samples, &exemplars));
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WithExemplars<'a, T>(pub &'a [T], pub &'a [Exemplar]);

impl Emit for WithExemplars<'_, Sample> {}
impl sealed::Sealed for WithExemplars<'_, Sample> {
    fn offer(&self, host: &HostBox, timeout: Duration) -> i32 {
        let labels = labels(self.1);
        let exemplars = exemplars(self.1, &labels);
        let (samples, exemplars) = (RSlice::from_slice(self.0), RSlice::from_slice(&exemplars));
        host.send_samples_with_exemplars(samples, exemplars, nanoseconds(timeout))
    }
}

impl Emit for WithExemplars<'_, HistogramSample> {}
impl sealed::Sealed for WithExemplars<'_, HistogramSample> {
    fn offer(&self, host: &HostBox, timeout: Duration) -> i32 {
        let labels = labels(self.1);
        histogram::offer(self.0, &exemplars(self.1, &labels), host, timeout)
    }
}

fn labels(exemplars: &[Exemplar]) -> Vec<AbiLabel<'_>> {
    exemplars.iter().flat_map(|exemplar| exemplar.labels.iter().map(abi_label)).collect()
}

/// `labels` are those of all exemplars, one after the other.
fn exemplars<'a>(exemplars: &[Exemplar], labels: &'a [AbiLabel<'a>]) -> Vec<AbiExemplar<'a>> {
    let mut rest = labels;
    let abi = exemplars.iter().map(|exemplar| {
        let (own, others) = rest.split_at(exemplar.labels.len());
        rest = others;
        let Exemplar { series, value, timestamp_ms, .. } = *exemplar;
        AbiExemplar { series, labels: RSlice::from_slice(own), value, timestamp_ms }
    });
    abi.collect()
}
