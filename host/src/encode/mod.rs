//! Samples of series as the bytes of a remote-write request, not yet compressed.
//!
//! Enters: for each series its canonical label bytes, what is known of it, its samples or histograms in timestamp order,
//! and their exemplars. Leaves:
//! one `prometheus.WriteRequest` (1.0) or one `io.prometheus.write.v2.Request` (2.0); and 2.0 made into 1.0 again, for
//! a receiver that turns out not to know it.
//!
//! Never: looks at a clock, a lock or a socket; allocates for a sample once its buffers have grown.

pub mod transcode;
pub mod v1;
pub mod v2;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;

use monitor_proto::{CONTENT_TYPE_V1, CONTENT_TYPE_V2, VERSION_V1, VERSION_V2};

use crate::labels::{put_varint, varint_len};
use crate::series::{Known, Metadata};

/// Which message a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Remote write 1.0.
    V1,
    /// Remote write 2.0.
    V2,
}

impl Protocol {
    /// The request's Content-Type.
    pub fn content_type(self) -> &'static str {
        match self {
            Protocol::V1 => CONTENT_TYPE_V1,
            Protocol::V2 => CONTENT_TYPE_V2,
        }
    }

    /// The request's X-Prometheus-Remote-Write-Version.
    pub fn version(self) -> &'static str {
        match self {
            Protocol::V1 => VERSION_V1,
            Protocol::V2 => VERSION_V2,
        }
    }

    /// As the operator calls it.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::V1 => "1.0",
            Protocol::V2 => "2.0",
        }
    }
}

/// A sample within its series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The value, canonical.
    pub value: f64,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
}

/// A histogram within its series.
#[derive(Clone, Copy, Debug)]
pub struct Histogram<'a> {
    /// The fields of the message, as [`crate::histogram`] encodes them: without a start timestamp.
    pub body: &'a [u8],
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
}

/// An exemplar within its series.
#[derive(Clone, Copy, Debug)]
pub struct Exemplar<'a> {
    /// Its labels, encoded as those of a series.
    pub labels: &'a [u8],
    /// The observation.
    pub value: f64,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
}

/// One series of a batch: with points or with histograms.
#[derive(Clone, Copy, Debug)]
pub struct Series<'a> {
    /// Canonical label bytes.
    pub labels: &'a [u8],
    /// What its plugin declared, if anything.
    pub metadata: Option<&'a Metadata>,
    /// When its counter was last zero, in milliseconds since the Unix epoch; 0 is not known.
    pub start_ms: i64,
    /// Its samples, in order.
    pub points: &'a [Point],
    /// Its histograms, in order.
    pub histograms: &'a [Histogram<'a>],
    /// Exemplars of either, in order.
    pub exemplars: &'a [Exemplar<'a>],
}

impl Series<'_> {
    /// How many of its samples and histograms would carry a start timestamp in 2.0.
    pub fn starts(&self) -> u64 {
        if self.start_ms == 0 {
            return 0;
        }
        let times = self.points.iter().map(|point| point.timestamp_ms);
        let all = times.chain(self.histograms.iter().map(|histogram| histogram.timestamp_ms));
        all.filter(|&timestamp_ms| start_at(self.start_ms, timestamp_ms) != 0).count() as u64
    }
}

/// A sample from before the counter's last reset is not told to count from there.
#[inline]
fn start_at(start_ms: i64, timestamp_ms: i64) -> i64 {
    if start_ms <= timestamp_ms { start_ms } else { 0 }
}

/// At most how many bytes a series takes in either message, its samples left out.
pub fn series_bound(series: &Known<'_>) -> usize {
    // 1.0: a tag and a length below 2^28. 2.0 in addition: a tag and a length for the references, and for each pair two of
    // them, of up to four bytes each, where 1.0 has the pair's own tag and length; metadata with its three fields.
    let metadata = series.metadata.map_or(0, |metadata| metadata.help.len() + metadata.unit.len() + 40);
    series.labels.len() + 10 + 6 * usize::from(series.pairs) + metadata
}

/// At most how many bytes a sample takes in either message.
#[inline]
pub fn point_bound(point: &Point, start_ms: i64) -> usize {
    2 + body_len(point, start_ms)
}

/// How many bytes a histogram takes in 2.0; in 1.0 it takes no more.
pub fn histogram_bound(body: &[u8], start_ms: i64) -> usize {
    let body = body.len() + start_len(start_ms);
    1 + varint_len(body as u64) + body
}

/// At most how many bytes an exemplar takes in either message.
pub fn exemplar_bound(labels: &[u8]) -> usize {
    // As for a series' labels, with a value and a timestamp.
    labels.len() + 6 * crate::labels::byte_pairs(labels).count() + 30
}

/// Appends a `Histogram`; the tag is the message's own.
fn put_histogram(out: &mut Vec<u8>, tag: u8, body: &[u8], start_ms: i64) {
    out.push(tag);
    put_varint(out, (body.len() + start_len(start_ms)) as u64);
    out.extend_from_slice(body);
    if start_ms != 0 {
        out.extend_from_slice(&START_OF_HISTOGRAM);
        put_varint(out, start_ms as u64);
    }
}

/// The tag of `start_timestamp`, field 17, which only 2.0 has.
const START_OF_HISTOGRAM: [u8; 2] = [0x88, 0x01];

fn start_len(start_ms: i64) -> usize {
    if start_ms == 0 { 0 } else { START_OF_HISTOGRAM.len() + varint_len(start_ms as u64) }
}

/// Appends an `Exemplar`, whose labels are `fields` in the message's own way, as is the tag.
fn put_exemplar(out: &mut Vec<u8>, tag: u8, fields: &[u8], exemplar: &Exemplar<'_>) {
    out.push(tag);
    let (value, timestamp_ms) = (exemplar.value, exemplar.timestamp_ms);
    put_varint(out, (fields.len() + value_len(value) + time_len(timestamp_ms)) as u64);
    out.extend_from_slice(fields);
    put_value(out, 0x11, value);
    put_time(out, 0x18, timestamp_ms);
}

/// Appends a `Sample`: its fields are the same in both messages, but for the start timestamp that only 2.0 has.
#[inline(always)]
fn put_point(out: &mut Vec<u8>, point: &Point, start_ms: i64) {
    let value = point.value.to_bits();
    if value != 0 && start_ms == 0 && USUAL_TIMES.contains(&point.timestamp_ms) {
        // Nearly every sample there is: one copy of known length, made of two words.
        let time = usual_time(point.timestamp_ms);
        let head = 0x09_10_12 | u128::from(value) << 24 | 0x10 << 88 | u128::from(time) << 96;
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = head.to_le_bytes();
        let [q, r] = ((time >> 32) as u16).to_le_bytes();
        return out.extend_from_slice(&[a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r]);
    }
    // One byte of length: a body is at most 31 bytes.
    out.extend_from_slice(&[0x12, body_len(point, start_ms) as u8]);
    put_value(out, 0x09, point.value);
    put_time(out, 0x10, point.timestamp_ms);
    put_time(out, 0x18, start_ms);
}

/// The timestamps whose varint has six bytes: the years 1971 to 2109.
const USUAL_TIMES: std::ops::Range<i64> = 1 << 35..1 << 42;

/// The varint of one of the [`USUAL_TIMES`]: seven bits a byte from the lowest byte on, each but the last one marked.
#[inline]
fn usual_time(ms: i64) -> u64 {
    let byte = |i: u32| (ms as u64) << i & 0x7f << (8 * i);
    0x80_80_80_80_80 | byte(0) | byte(1) | byte(2) | byte(3) | byte(4) | byte(5)
}

/// Proto3 leaves a zero out; a negative zero is not one.
#[inline]
fn put_value(out: &mut Vec<u8>, tag: u8, value: f64) {
    if value.to_bits() != 0 {
        out.push(tag);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

#[inline]
fn put_time(out: &mut Vec<u8>, tag: u8, ms: i64) {
    if ms != 0 {
        out.push(tag);
        put_varint(out, ms as u64);
    }
}

#[inline]
fn body_len(point: &Point, start_ms: i64) -> usize {
    value_len(point.value) + time_len(point.timestamp_ms) + time_len(start_ms)
}

#[inline]
fn value_len(value: f64) -> usize {
    if value.to_bits() == 0 { 0 } else { 9 }
}

#[inline]
fn time_len(ms: i64) -> usize {
    match ms {
        0 => 0,
        ms if USUAL_TIMES.contains(&ms) => 7,
        ms => 1 + varint_len(ms as u64),
    }
}

#[cfg(test)]
mod tests;
