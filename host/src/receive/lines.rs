//! Enters: what happened. Leaves: one JSON object a line, or a line for people; floats such that they read back exactly.
//!
//! What JSON has no number for is text: `"NaN"`, `"+Inf"`, `"-Inf"`, and `"StaleNaN"` for the marker of an ended series.

use std::fmt;
use std::io::{self, Write};

use jiff::Timestamp;
use monitor_proto::STALE_NAN;
use serde::{Serialize, Serializer};

use super::check::Violation;
use super::decode::{Histogram, Metadata, Reading, Series};
use super::table::Key;

/// A float as JSON has it.
pub(crate) struct Number(pub(crate) f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            value if value.is_finite() => serializer.serialize_f64(value),
            value => serializer.serialize_str(special(value)),
        }
    }
}

/// The name of a float that is no finite number.
pub(super) fn special(value: f64) -> &'static str {
    if value.to_bits() == STALE_NAN {
        "StaleNaN"
    } else if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "+Inf"
    } else {
        "-Inf"
    }
}

/// Pairs as a JSON object.
pub(crate) struct Object<'a>(pub(crate) &'a [(String, String)]);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

fn is_zero(value: &i64) -> bool {
    *value == 0
}

#[derive(Serialize)]
struct Listening<'a> {
    listening: &'a str,
}

#[derive(Serialize)]
struct SampleLine<'a> {
    request: u64,
    metric: &'a str,
    labels: Object<'a>,
    value: Number,
    timestamp_ms: i64,
    #[serde(skip_serializing_if = "is_zero")]
    start_timestamp_ms: i64,
    received_ms: i64,
}

#[derive(Serialize)]
struct HistogramLine<'a> {
    request: u64,
    metric: &'a str,
    labels: Object<'a>,
    histogram: CountAndSum,
    timestamp_ms: i64,
    #[serde(skip_serializing_if = "is_zero")]
    start_timestamp_ms: i64,
    received_ms: i64,
}

#[derive(Serialize)]
struct CountAndSum {
    count: Number,
    sum: Number,
}

#[derive(Serialize)]
struct ExemplarLine<'a> {
    request: u64,
    metric: &'a str,
    labels: Object<'a>,
    exemplar: Object<'a>,
    value: Number,
    timestamp_ms: i64,
    received_ms: i64,
}

#[derive(Serialize)]
struct MetadataLine<'a> {
    request: u64,
    metadata: &'a str,
    r#type: &'a str,
    help: &'a str,
    unit: &'a str,
}

#[derive(Serialize)]
struct ViolationLine<'a> {
    violation: &'a str,
    request: u64,
    series: Option<&'a str>,
    detail: &'a str,
}

/// How a request ended.
#[derive(Serialize)]
pub(super) struct RequestLine<'a> {
    pub(super) request: u64,
    /// None if it was not answered.
    pub(super) status: Option<u16>,
    /// `drop` or `hang`, if that was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fault: Option<&'static str>,
    /// In the request, stored or not.
    pub(super) samples: u64,
    pub(super) stored: bool,
    /// As they came, compressed.
    pub(super) bytes: usize,
    pub(super) protocol: Option<&'static str>,
    /// The `Retry-Attempt` header.
    pub(super) attempt: Option<u64>,
    /// Why it was refused, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<&'a str>,
    pub(super) received_ms: i64,
}

/// Writes one line.
pub(super) fn line(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

/// Where the receiver listens.
pub(super) fn listening(out: &mut dyn Write, url: &str) -> io::Result<()> {
    line(out, &Listening { listening: url })
}

/// All that was stored of one entry of a request.
pub(super) fn series(
    out: &mut dyn Write,
    request: u64,
    key: &Key,
    series: &Series,
    received_ms: i64,
) -> io::Result<()> {
    let metric = key.metric.as_str();
    for sample in &series.samples {
        line(
            out,
            &SampleLine {
                request,
                metric,
                labels: Object(&key.labels),
                value: Number(sample.value),
                timestamp_ms: sample.timestamp_ms,
                start_timestamp_ms: sample.start_timestamp_ms,
                received_ms,
            },
        )?;
    }
    for histogram in &series.histograms {
        line(
            out,
            &HistogramLine {
                request,
                metric,
                labels: Object(&key.labels),
                histogram: CountAndSum { count: Number(histogram.count), sum: Number(histogram.sum) },
                timestamp_ms: histogram.timestamp_ms,
                start_timestamp_ms: histogram.start_timestamp_ms,
                received_ms,
            },
        )?;
    }
    for exemplar in &series.exemplars {
        line(
            out,
            &ExemplarLine {
                request,
                metric,
                labels: Object(&key.labels),
                exemplar: Object(&exemplar.labels),
                value: Number(exemplar.value),
                timestamp_ms: exemplar.timestamp_ms,
                received_ms,
            },
        )?;
    }
    Ok(())
}

/// A sample for people: its moment, its series, its value. Control characters are escaped.
pub(crate) struct Text<'a>(pub(crate) &'a Key, pub(crate) &'a Reading);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Text(key, reading) = self;
        let (timestamp_ms, value) = reading.point();
        match Timestamp::from_millisecond(timestamp_ms) {
            Ok(moment) => write!(f, "{moment:.3}")?,
            Err(_) => write!(f, "{timestamp_ms}")?,
        }
        match reading {
            Reading::Histogram(Histogram { count, sum, .. }) if sum.to_bits() != STALE_NAN => {
                write!(f, "  {key} count={},sum={}", Digits(*count), Digits(*sum))
            }
            _ => write!(f, "  {key} {}", Digits(value)),
        }
    }
}

/// The shortest digits that read back as the same number.
struct Digits(f64);

impl fmt::Display for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_finite() { write!(f, "{:?}", self.0) } else { f.write_str(special(self.0)) }
    }
}

/// What a metric was said to mean.
pub(super) fn metadata(out: &mut dyn Write, request: u64, metadata: &Metadata) -> io::Result<()> {
    let Metadata { metric, kind, help, unit } = metadata;
    line(out, &MetadataLine { request, metadata: metric, r#type: kind, help, unit })
}

/// What was wrong with a request.
pub(super) fn violation(out: &mut dyn Write, request: u64, violation: &Violation) -> io::Result<()> {
    let Violation { kind, series, detail } = violation;
    line(out, &ViolationLine { violation: kind.name(), request, series: series.as_deref(), detail })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receive::decode::Sample;

    fn value_text(value: f64) -> String {
        let entry =
            Series { samples: vec![Sample { value, timestamp_ms: 7, start_timestamp_ms: 0 }], ..Default::default() };
        let key = Key { metric: "m".into(), labels: vec![("a".into(), "\"b".into())] };
        let mut out = Vec::new();
        series(&mut out, 3, &key, &entry, 9).unwrap();
        let text = String::from_utf8(out).unwrap();
        let (before, after) =
            (r#"{"request":3,"metric":"m","labels":{"a":"\"b"},"value":"#, ",\"timestamp_ms\":7,\"received_ms\":9}\n");
        text.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)).expect(&text).into()
    }

    #[test]
    fn finite_floats_read_back_bit_by_bit() {
        for value in [
            0.0,
            -0.0,
            1.5,
            0.1 + 0.2,
            1e300,
            f64::MIN_POSITIVE,
            5e-324,
            f64::MAX,
            -f64::MAX,
            9_007_199_254_740_993.0,
            123_456_789.123_456_79,
        ] {
            let read: f64 = value_text(value).parse().unwrap();
            assert_eq!(read.to_bits(), value.to_bits(), "{value:e}");
        }
    }

    #[test]
    fn a_line_for_people_has_moment_series_and_value() {
        let key = Key { metric: "m".into(), labels: vec![("a".into(), "x\ny".into())] };
        let text = |value, timestamp_ms| {
            Text(&key, &Reading::Sample(Sample { value, timestamp_ms, start_timestamp_ms: 0 })).to_string()
        };
        assert_eq!(text(23.5, 1_760_000_000_007), r#"2025-10-09T08:53:20.007Z  m{a="x\ny"} 23.5"#);
        assert_eq!(text(f64::NAN, i64::MAX), r#"9223372036854775807  m{a="x\ny"} NaN"#);
    }

    #[test]
    fn other_floats_are_named() {
        assert_eq!(value_text(f64::NAN), r#""NaN""#);
        assert_eq!(value_text(f64::from_bits(STALE_NAN)), r#""StaleNaN""#);
        assert_eq!(value_text(f64::INFINITY), r#""+Inf""#);
        assert_eq!(value_text(f64::NEG_INFINITY), r#""-Inf""#);
    }
}
