//! Histograms and exemplars as a run keeps them.
//!
//! Enters: what crosses the boundary. Leaves: buckets by their index, whole or weighted counts alike as doubles.

use std::sync::Arc;

use super::collected::CollectedSeries;
use crate::abi::{AbiExemplar, AbiHistogram, AbiSpan, counting};

/// A native histogram that the host took.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct CollectedHistogram {
    /// Whose it is.
    pub series: Arc<CollectedSeries>,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// From -4 to 8, or -53 for bounds of its own.
    pub schema: i32,
    /// How many observations it has.
    pub count: f64,
    /// Their sum, in the unit of the series.
    pub sum: f64,
    /// How many of them lie in the zero bucket.
    pub zero_count: f64,
    /// Index and count of each bucket above zero.
    pub positive: Vec<(i32, f64)>,
    /// Index and count of each bucket below zero.
    pub negative: Vec<(i32, f64)>,
    /// The upper bounds of its buckets, where they are its own.
    pub bounds: Vec<f64>,
}

/// An exemplar that the host took.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct CollectedExemplar {
    /// Whose it is.
    pub series: Arc<CollectedSeries>,
    /// In the order in which the plugin gave them.
    pub labels: Vec<(String, String)>,
    /// What was observed, in the unit of the series.
    pub value: f64,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
}

/// All but the series.
pub(super) fn histogram(abi: &AbiHistogram<'_>) -> CollectedHistogram {
    let integer = abi.counting == counting::INTEGER;
    let buckets = |spans: &[AbiSpan], whole: &[u64], float: &[f64]| {
        let mut next = 0i32;
        let mut indices = Vec::new();
        for span in spans {
            next = next.saturating_add(span.offset);
            for _ in 0..span.length {
                indices.push(next);
                next = next.saturating_add(1);
            }
        }
        let whole = whole.iter().map(|&count| count as f64);
        let counts: Vec<f64> = if integer { whole.collect() } else { float.to_vec() };
        indices.into_iter().zip(counts).collect()
    };
    CollectedHistogram {
        series: Arc::default(),
        timestamp_ms: abi.timestamp_ms,
        schema: abi.schema,
        count: if integer { abi.count_int as f64 } else { abi.count_float },
        sum: abi.sum,
        zero_count: if integer { abi.zero_count_int as f64 } else { abi.zero_count_float },
        positive: buckets(&abi.positive_spans, &abi.positive_int, &abi.positive_float),
        negative: buckets(&abi.negative_spans, &abi.negative_int, &abi.negative_float),
        bounds: abi.custom_values.to_vec(),
    }
}

/// All but the series.
pub(super) fn exemplar(abi: &AbiExemplar<'_>) -> CollectedExemplar {
    let labels = abi.labels.iter().map(|label| (label.name.to_string(), label.value.to_string())).collect();
    CollectedExemplar { series: Arc::default(), labels, value: abi.value, timestamp_ms: abi.timestamp_ms }
}
