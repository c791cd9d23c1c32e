//! Samples of series as the bytes of a remote-write 1.0 request.
//!
//! Enters: canonical label bytes and the samples of each series, in timestamp order. Leaves: one
//! `prometheus.WriteRequest`, not yet compressed. Label bytes are copied as they are; each sample is at most 21 bytes.
//!
//! Never: looks at a clock, a lock or a socket; allocates once the output buffer has grown.

use crate::labels::{put_varint, varint_len};

/// A sample within its series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The value, canonical.
    pub value: f64,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
}

/// Appends one `TimeSeries` (field 1 of the request) with these labels and samples.
pub fn series(out: &mut Vec<u8>, labels: &[u8], points: &[Point]) {
    let samples: usize = points.iter().map(point_len).sum();
    out.push(0x0a);
    put_varint(out, (labels.len() + samples) as u64);
    out.extend_from_slice(labels);
    for point in points {
        let body = body_len(point);
        // One byte of length: a body is at most 20 bytes.
        out.extend_from_slice(&[0x12, body as u8]);
        // Proto3 leaves a zero out; a negative zero is not one.
        if point.value.to_bits() != 0 {
            out.push(0x09);
            out.extend_from_slice(&point.value.to_le_bytes());
        }
        if point.timestamp_ms != 0 {
            out.push(0x10);
            put_varint(out, point.timestamp_ms as u64);
        }
    }
}

/// How many bytes a `TimeSeries` with labels of this length takes before its first sample; an upper bound.
pub fn series_len(labels: usize) -> usize {
    // A tag and the length of a message below 2^28 bytes.
    labels + 5
}

/// How many bytes a sample takes.
pub fn point_len(point: &Point) -> usize {
    2 + body_len(point)
}

fn body_len(point: &Point) -> usize {
    let value = if point.value.to_bits() == 0 { 0 } else { 9 };
    let timestamp = if point.timestamp_ms == 0 { 0 } else { 1 + varint_len(point.timestamp_ms as u64) };
    value + timestamp
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::LabelSet;
    use monitor_proto::v1::WriteRequest;
    use proptest::prelude::*;
    use prost::Message;

    fn labels(value: &str) -> Vec<u8> {
        let mut set = LabelSet::default();
        set.start("metric").unwrap();
        set.label("component", value).unwrap();
        set.encode().unwrap().to_vec()
    }

    proptest! {
        #[test]
        fn prost_reads_every_sample(
            given in proptest::collection::vec((".{1,300}", proptest::collection::vec((any::<u64>(), any::<i64>()), 1..6)), 0..5),
        ) {
            let mut out = Vec::new();
            let mut bound = 0;
            for (value, points) in &given {
                let labels = labels(value);
                let points: Vec<_> = points.iter().map(|&(bits, timestamp_ms)| Point { value: f64::from_bits(bits), timestamp_ms }).collect();
                bound += series_len(labels.len()) + points.iter().map(point_len).sum::<usize>();
                series(&mut out, &labels, &points);
            }
            prop_assert!(out.len() <= bound && bound <= out.len() + 5 * given.len());
            let request = WriteRequest::decode(out.as_slice()).unwrap();
            prop_assert_eq!(request.timeseries.len(), given.len());
            for (read, (value, points)) in request.timeseries.iter().zip(&given) {
                prop_assert_eq!(&read.labels[1].value, value);
                let read: Vec<_> = read.samples.iter().map(|s| (s.value.to_bits(), s.timestamp)).collect();
                prop_assert_eq!(&read, points);
            }
        }
    }

    #[test]
    fn a_zero_costs_nothing_and_a_negative_zero_keeps_its_sign() {
        assert_eq!(point_len(&Point { value: 0.0, timestamp_ms: 0 }), 2);
        let mut out = Vec::new();
        series(&mut out, &labels("x"), &[Point { value: -0.0, timestamp_ms: 1 }]);
        let request = WriteRequest::decode(out.as_slice()).unwrap();
        assert!(request.timeseries[0].samples[0].value.is_sign_negative());
    }
}
