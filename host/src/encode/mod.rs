//! Samples of series as the bytes of a remote-write request, not yet compressed.
//!
//! Enters: for each series its canonical label bytes, what is known of it, and its samples in timestamp order. Leaves:
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
use crate::series::Metadata;

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

/// One series of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Series<'a> {
    /// Canonical label bytes.
    pub labels: &'a [u8],
    /// What its plugin declared, if anything.
    pub metadata: Option<&'a Metadata>,
    /// When its counter was last zero, in milliseconds since the Unix epoch; 0 is not known.
    pub start_ms: i64,
    /// Its samples, in order; at least one.
    pub points: &'a [Point],
}

/// At most how many bytes a series takes in either message, its samples left out.
pub fn series_bound(labels: &[u8], metadata: Option<&Metadata>) -> usize {
    // 1.0: a tag and a length below 2^28. 2.0 in addition: a tag and a length for the references, and for each pair two of
    // them, of up to four bytes each, where 1.0 has the pair's own tag and length; metadata with its three fields.
    let pairs = crate::labels::pairs(labels).count();
    let metadata = metadata.map_or(0, |metadata| metadata.help.len() + metadata.unit.len() + 32);
    labels.len() + 10 + 6 * pairs + metadata
}

/// At most how many bytes a sample takes in either message.
pub fn point_bound(point: &Point, start_ms: i64) -> usize {
    2 + body_len(point, start_ms)
}

/// Appends a `Sample`: its fields are the same in both messages, but for the start timestamp that only 2.0 has.
fn put_point(out: &mut Vec<u8>, point: &Point, start_ms: i64) {
    // One byte of length: a body is at most 31 bytes.
    out.extend_from_slice(&[0x12, body_len(point, start_ms) as u8]);
    // Proto3 leaves a zero out; a negative zero is not one.
    if point.value.to_bits() != 0 {
        out.push(0x09);
        out.extend_from_slice(&point.value.to_le_bytes());
    }
    put_time(out, 0x10, point.timestamp_ms);
    put_time(out, 0x18, start_ms);
}

fn put_time(out: &mut Vec<u8>, tag: u8, ms: i64) {
    if ms != 0 {
        out.push(tag);
        put_varint(out, ms as u64);
    }
}

fn body_len(point: &Point, start_ms: i64) -> usize {
    let time = |ms: i64| if ms == 0 { 0 } else { 1 + varint_len(ms as u64) };
    let value = if point.value.to_bits() == 0 { 0 } else { 9 };
    value + time(point.timestamp_ms) + time(start_ms)
}
