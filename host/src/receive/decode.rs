//! Enters: a request's `Content-Type`, `Content-Encoding` and body. Leaves: plain series and samples, or why not.
//!
//! Both protocols come out alike. Bounded: what would unpack to more than [`MAX_BYTES`] is never unpacked. Judges only
//! what makes a message unreadable; what a readable one does wrong is for [`super::check`].

use std::collections::HashSet;

use hyper::HeaderMap;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use monitor_proto::{MESSAGE_V1, MESSAGE_V2, NAME_LABEL, v1, v2};
use prost::Message;

use super::table::Key;

/// Largest body, before and after decompression.
pub(super) const MAX_BYTES: usize = 64 << 20;

/// First bytes of snappy's framed format, which remote write does not use.
const FRAMED: &[u8] = b"\xff\x06\x00\x00sNaPpY";

/// Which message a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    V1,
    V2,
}

impl From<crate::encode::Protocol> for Protocol {
    fn from(protocol: crate::encode::Protocol) -> Self {
        match protocol {
            crate::encode::Protocol::V1 => Protocol::V1,
            crate::encode::Protocol::V2 => Protocol::V2,
        }
    }
}

impl Protocol {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::V1 => "1.0",
            Self::V2 => "2.0",
        }
    }
}

/// Why a request can't be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("unsupported Content-Type {0:?}: send application/x-protobuf, for 2.0 with ;proto={MESSAGE_V2}")]
    ContentType(String),
    #[error("remote write {} is not taken here", .0.name())]
    Protocol(Protocol),
    #[error("unsupported Content-Encoding {0:?}: send snappy (block format)")]
    Encoding(String),
    #[error("the body is larger than {MAX_BYTES} bytes when unpacked: send smaller batches")]
    TooLarge,
    #[error("the body is framed snappy: send the block format")]
    Framed,
    #[error("the body is not snappy: {0}")]
    Snappy(#[from] snap::Error),
    #[error("the body is not the protobuf message that the Content-Type names: {0}")]
    Message(#[from] prost::DecodeError),
    #[error("symbol {reference} is referred to, but there are only {symbols}")]
    Symbol { reference: u32, symbols: usize },
    #[error("a series has {0} label references: they come in pairs")]
    OddReferences(usize),
}

/// One request, of either protocol.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Request {
    pub(crate) series: Vec<Series>,
    pub(crate) metadata: Vec<Metadata>,
    /// What is wrong with the table of symbols, in words.
    pub(super) bad_symbols: Option<String>,
}

/// How much a request holds.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Totals {
    pub(super) samples: u64,
    pub(super) histograms: u64,
    pub(super) exemplars: u64,
}

impl Request {
    pub(super) fn totals(&self) -> Totals {
        let sum = |count: fn(&Series) -> usize| self.series.iter().map(|series| count(series) as u64).sum();
        Totals {
            samples: sum(|series| series.samples.len()),
            histograms: sum(|series| series.histograms.len()),
            exemplars: sum(|series| series.exemplars.len()),
        }
    }
}

/// One entry of a request.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Series {
    /// As sent.
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) histograms: Vec<Histogram>,
    pub(super) exemplars: Vec<Exemplar>,
}

#[derive(Debug, PartialEq, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) value: f64,
    pub(crate) timestamp_ms: i64,
    /// 0 if not told.
    pub(super) start_timestamp_ms: i64,
}

/// As much of a native histogram as is shown.
#[derive(Debug, PartialEq, Clone, Copy)]
pub(crate) struct Histogram {
    pub(crate) count: f64,
    pub(crate) sum: f64,
    pub(crate) timestamp_ms: i64,
    /// 0 if not told.
    pub(super) start_timestamp_ms: i64,
    /// Its spans name as many buckets as it has counts for.
    pub(super) is_whole: bool,
}

/// A sample of either kind.
#[derive(Debug, PartialEq, Clone, Copy)]
pub(crate) enum Reading {
    Sample(Sample),
    Histogram(Histogram),
}

impl Reading {
    /// Timestamp, and the value, which of a histogram is its sum.
    pub(crate) fn point(&self) -> (i64, f64) {
        match self {
            Reading::Sample(sample) => (sample.timestamp_ms, sample.value),
            Reading::Histogram(histogram) => (histogram.timestamp_ms, histogram.sum),
        }
    }
}

#[derive(Debug, PartialEq)]
pub(super) struct Exemplar {
    pub(super) labels: Vec<(String, String)>,
    pub(super) value: f64,
    pub(super) timestamp_ms: i64,
}

#[derive(Debug, PartialEq, Clone)]
pub(crate) struct Metadata {
    pub(crate) metric: String,
    pub(crate) kind: String,
    pub(crate) help: String,
    pub(crate) unit: String,
}

impl Series {
    pub(crate) fn key(&self) -> Key {
        let metric = self.labels.iter().find(|(name, _)| name == NAME_LABEL);
        let mut labels: Vec<_> =
            self.labels.iter().filter(|(name, value)| name != NAME_LABEL && !value.is_empty()).cloned().collect();
        labels.sort();
        Key { metric: metric.map(|(_, value)| value.clone()).unwrap_or_default(), labels }
    }

    /// Timestamp and value of all that is ordered in time.
    pub(super) fn points(&self) -> impl Iterator<Item = (i64, f64)> {
        self.readings().map(|reading| reading.point())
    }

    /// All that is ordered in time.
    pub(crate) fn readings(&self) -> impl Iterator<Item = Reading> {
        let samples = self.samples.iter().map(|&sample| Reading::Sample(sample));
        samples.chain(self.histograms.iter().map(|&histogram| Reading::Histogram(histogram)))
    }
}

/// Which message the headers announce. No `Content-Type` means 1.0, as other receivers have it.
pub(super) fn protocol(headers: &HeaderMap) -> Result<Protocol, DecodeError> {
    let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    if let Some(encoding) = text(CONTENT_ENCODING).filter(|encoding| !encoding.eq_ignore_ascii_case("snappy")) {
        return Err(DecodeError::Encoding(encoding));
    }
    let Some(content_type) = text(CONTENT_TYPE) else {
        return Ok(Protocol::V1);
    };
    let mut parts = content_type.split(';').map(str::trim);
    if !parts.next().is_some_and(|media| media.eq_ignore_ascii_case("application/x-protobuf")) {
        return Err(DecodeError::ContentType(content_type));
    }
    let message = parts
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("proto"))
        .map(|(_, message)| message.trim().trim_matches('"'));
    match message {
        None | Some(MESSAGE_V1) => Ok(Protocol::V1),
        Some(MESSAGE_V2) => Ok(Protocol::V2),
        Some(_) => Err(DecodeError::ContentType(content_type)),
    }
}

/// Unpacks and reads a body.
pub(crate) fn decode(protocol: Protocol, body: &[u8]) -> Result<Request, DecodeError> {
    if body.starts_with(FRAMED) {
        return Err(DecodeError::Framed);
    }
    if snap::raw::decompress_len(body)? > MAX_BYTES {
        return Err(DecodeError::TooLarge);
    }
    let bytes = snap::raw::Decoder::new().decompress_vec(body)?;
    match protocol {
        Protocol::V1 => Ok(plain_v1(v1::WriteRequest::decode(bytes.as_slice())?)),
        Protocol::V2 => plain_v2(v2::Request::decode(bytes.as_slice())?),
    }
}

fn plain_v1(request: v1::WriteRequest) -> Request {
    let pairs = |labels: Vec<v1::Label>| labels.into_iter().map(|label| (label.name, label.value)).collect();
    let series = request.timeseries.into_iter().map(|series| Series {
        labels: pairs(series.labels),
        samples: series
            .samples
            .iter()
            .map(|sample| Sample { value: sample.value, timestamp_ms: sample.timestamp, start_timestamp_ms: 0 })
            .collect(),
        histograms: series
            .histograms
            .iter()
            .map(|histogram| Histogram {
                count: match histogram.count {
                    Some(v1::histogram::Count::CountInt(count)) => count as f64,
                    Some(v1::histogram::Count::CountFloat(count)) => count,
                    None => 0.0,
                },
                sum: histogram.sum,
                timestamp_ms: histogram.timestamp,
                start_timestamp_ms: 0,
                is_whole: is_whole(
                    histogram.positive_spans.iter().map(|span| span.length),
                    [histogram.positive_deltas.len(), histogram.positive_counts.len()],
                ) && is_whole(
                    histogram.negative_spans.iter().map(|span| span.length),
                    [histogram.negative_deltas.len(), histogram.negative_counts.len()],
                ),
            })
            .collect(),
        exemplars: series
            .exemplars
            .into_iter()
            .map(|exemplar| Exemplar {
                labels: pairs(exemplar.labels),
                value: exemplar.value,
                timestamp_ms: exemplar.timestamp,
            })
            .collect(),
    });
    let metadata = request.metadata.into_iter().map(|metadata| Metadata {
        kind: metadata.r#type().as_str_name().to_lowercase(),
        metric: metadata.metric_family_name,
        help: metadata.help,
        unit: metadata.unit,
    });
    Request { series: series.collect(), metadata: metadata.collect(), bad_symbols: None }
}

fn plain_v2(request: v2::Request) -> Result<Request, DecodeError> {
    let symbols = &request.symbols;
    let mut plain = Request { bad_symbols: symbols_fault(symbols), ..Default::default() };
    for series in &request.timeseries {
        let labels = resolve(symbols, &series.labels_refs)?;
        if let Some(metadata) = &series.metadata {
            let metric = labels.iter().find(|(name, _)| name == NAME_LABEL);
            plain.metadata.push(Metadata {
                metric: metric.map(|(_, value)| value.clone()).unwrap_or_default(),
                kind: kind_v2(metadata.r#type()),
                help: symbol(symbols, metadata.help_ref)?.into(),
                unit: symbol(symbols, metadata.unit_ref)?.into(),
            });
        }
        plain.series.push(Series {
            labels,
            samples: series
                .samples
                .iter()
                .map(|sample| Sample {
                    value: sample.value,
                    timestamp_ms: sample.timestamp,
                    start_timestamp_ms: sample.start_timestamp,
                })
                .collect(),
            histograms: series
                .histograms
                .iter()
                .map(|histogram| Histogram {
                    count: match histogram.count {
                        Some(v2::histogram::Count::CountInt(count)) => count as f64,
                        Some(v2::histogram::Count::CountFloat(count)) => count,
                        None => 0.0,
                    },
                    sum: histogram.sum,
                    timestamp_ms: histogram.timestamp,
                    start_timestamp_ms: histogram.start_timestamp,
                    is_whole: is_whole(
                        histogram.positive_spans.iter().map(|span| span.length),
                        [histogram.positive_deltas.len(), histogram.positive_counts.len()],
                    ) && is_whole(
                        histogram.negative_spans.iter().map(|span| span.length),
                        [histogram.negative_deltas.len(), histogram.negative_counts.len()],
                    ),
                })
                .collect(),
            exemplars: series
                .exemplars
                .iter()
                .map(|exemplar| {
                    Ok(Exemplar {
                        labels: resolve(symbols, &exemplar.labels_refs)?,
                        value: exemplar.value,
                        timestamp_ms: exemplar.timestamp,
                    })
                })
                .collect::<Result<_, DecodeError>>()?,
        });
    }
    Ok(plain)
}

/// Whether the buckets in these spans are as many as one of the two kinds of counts, of which the other is empty.
fn is_whole(spans: impl Iterator<Item = u32>, counts: [usize; 2]) -> bool {
    let buckets: u64 = spans.map(u64::from).sum();
    buckets == (counts[0] + counts[1]) as u64 && counts.contains(&0)
}

fn kind_v2(kind: v2::metadata::MetricType) -> String {
    match kind {
        v2::metadata::MetricType::Unspecified => "unknown".into(),
        known => known.as_str_name().trim_start_matches("METRIC_TYPE_").to_lowercase(),
    }
}

fn symbols_fault(symbols: &[String]) -> Option<String> {
    if symbols.first().is_none_or(|first| !first.is_empty()) {
        return Some("the first symbol is not the empty string".into());
    }
    let mut seen = HashSet::with_capacity(symbols.len());
    let repeated = symbols.iter().find(|symbol| !seen.insert(symbol.as_str()))?;
    Some(format!("symbol {repeated:?} stands there twice"))
}

fn symbol(symbols: &[String], reference: u32) -> Result<&str, DecodeError> {
    // A message without any symbols still says "no help" with 0.
    match symbols.get(reference as usize) {
        Some(symbol) => Ok(symbol),
        None if reference == 0 => Ok(""),
        None => Err(DecodeError::Symbol { reference, symbols: symbols.len() }),
    }
}

fn resolve(symbols: &[String], references: &[u32]) -> Result<Vec<(String, String)>, DecodeError> {
    if references.len() % 2 == 1 {
        return Err(DecodeError::OddReferences(references.len()));
    }
    references
        .chunks_exact(2)
        .map(|pair| Ok((symbol(symbols, pair[0])?.into(), symbol(symbols, pair[1])?.into())))
        .collect()
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
