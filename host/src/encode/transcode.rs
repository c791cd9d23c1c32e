//! A 2.0 request made into a 1.0 request, for a receiver that turns out not to know 2.0.
//!
//! Enters and leaves: snappy-compressed messages. Start timestamps have no place in 1.0 and are left out and counted;
//! metadata goes from the series to the metric. Samples, histograms and exemplars, their order and their series stay
//! what they are.

use std::collections::BTreeMap;

use monitor_proto::{NAME_LABEL, v2};
use prost::Message;

use super::{Exemplar, Histogram, Point, Series, v1};
use crate::labels::{put_label, take_varint};
use crate::series::Metadata;

/// How many bytes one byte of snappy can stand for at most: three bytes repeat 64.
const DENSEST: usize = 22;

/// Why a stored request can't be made into another.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is not snappy.
    #[error("not decompressible: {0}")]
    Compression(#[from] snap::Error),
    /// It says that it unpacks to more than its bytes can hold.
    #[error("not decompressible: it claims to be {0} bytes long")]
    Length(usize),
    /// It is not the message that it should be.
    #[error("not a 2.0 request: {0}")]
    Message(#[from] prost::DecodeError),
    /// A histogram is not one.
    #[error("a histogram is cut short")]
    Histogram,
    /// A reference points to no symbol.
    #[error("a reference points beyond the symbols")]
    Reference,
}

/// A transcoded request.
#[derive(Debug)]
pub struct Transcoded {
    /// The compressed 1.0 message.
    pub body: Vec<u8>,
    /// How long the message is before compression.
    pub message_len: usize,
    /// How many samples and histograms had a start timestamp.
    pub left_out_starts: u64,
}

/// The 2.0 request, but that its histograms stay bytes: their fields are the same in 1.0.
#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(string, repeated, tag = "4")]
    symbols: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(uint32, repeated, tag = "1")]
    labels_refs: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<v2::Sample>,
    #[prost(bytes = "vec", repeated, tag = "3")]
    histograms: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "4")]
    exemplars: Vec<v2::Exemplar>,
    #[prost(message, optional, tag = "5")]
    metadata: Option<v2::Metadata>,
}

/// Makes a compressed 2.0 request into a compressed 1.0 request.
///
/// # Errors
/// The bytes are not a 2.0 request.
pub fn to_v1(body: &[u8]) -> Result<Transcoded, Unreadable> {
    // Believed, it would be memory before a single byte was unpacked.
    let len = snap::raw::decompress_len(body)?;
    if len / DENSEST > body.len() {
        return Err(Unreadable::Length(len));
    }
    let message = snap::raw::Decoder::new().decompress_vec(body)?;
    let request = Request::decode(message.as_slice())?;
    let (message, left_out_starts) = request_to_v1(&request)?;
    let body = snap::raw::Encoder::new().compress_vec(&message)?;
    Ok(Transcoded { body, message_len: message.len(), left_out_starts })
}

/// The 1.0 message, and how many start timestamps it lacks. Not by prost's types of 1.0: prost takes a negative zero for a
/// zero, and leaves both out.
fn request_to_v1(request: &Request) -> Result<(Vec<u8>, u64), Unreadable> {
    let symbol = |i: u32| request.symbols.get(i as usize).map(String::as_str).ok_or(Unreadable::Reference);
    let pairs = |refs: &[u32]| {
        let pair = |pair: &[u32]| match *pair {
            [name, value] => Ok((symbol(name)?, symbol(value)?)),
            _ => Err(Unreadable::Reference),
        };
        refs.chunks(2).map(pair).collect::<Result<Vec<_>, _>>()
    };
    let encoded = |pairs: &[(&str, &str)]| {
        let mut labels = Vec::new();
        pairs.iter().for_each(|(name, value)| put_label(&mut labels, name, value));
        labels
    };
    let mut families = BTreeMap::new();
    let (mut message, mut left_out) = (Vec::new(), 0);
    for series in &request.timeseries {
        let names = pairs(&series.labels_refs)?;
        if let Some(metadata) = &series.metadata {
            let metric = names.iter().find(|(name, _)| *name == NAME_LABEL);
            families.extend(metric.map(|(_, metric)| (*metric, metadata)));
        }
        left_out += series.samples.iter().filter(|sample| sample.start_timestamp != 0).count() as u64;
        let points: Vec<_> =
            series.samples.iter().map(|s| Point { value: s.value, timestamp_ms: s.timestamp }).collect();
        let mut bodies = Vec::with_capacity(series.histograms.len());
        for histogram in &series.histograms {
            // Copied as it is, so it has to be one.
            v2::Histogram::decode(histogram.as_slice())?;
            let (body, had_start) = without_start(histogram).ok_or(Unreadable::Histogram)?;
            left_out += u64::from(had_start);
            bodies.push(body);
        }
        // Its time stays within its body.
        let histograms: Vec<_> = bodies.iter().map(|body| Histogram { body, timestamp_ms: 0 }).collect();
        let of = |exemplar: &v2::Exemplar| Ok(encoded(&pairs(&exemplar.labels_refs)?));
        let exemplar_labels: Vec<_> = series.exemplars.iter().map(of).collect::<Result<_, Unreadable>>()?;
        let exemplars = series.exemplars.iter().zip(&exemplar_labels);
        let exemplars: Vec<_> =
            exemplars.map(|(e, labels)| Exemplar { labels, value: e.value, timestamp_ms: e.timestamp }).collect();
        let (labels, metadata) = (&encoded(&names), None);
        let (points, histograms, exemplars) = (&points, &histograms, &exemplars);
        v1::series(&mut message, &Series { labels, metadata, start_ms: 0, points, histograms, exemplars });
    }
    for (metric, metadata) in families {
        let (help, unit) = (symbol(metadata.help_ref)?.to_owned(), symbol(metadata.unit_ref)?.to_owned());
        v1::metadata(&mut message, metric, &Metadata { kind: metadata.r#type, help, unit });
    }
    Ok((message, left_out))
}

/// The fields of a histogram but the start timestamp, and whether there was one. None: these are no fields.
fn without_start(mut fields: &[u8]) -> Option<(Vec<u8>, bool)> {
    const START: u64 = 17;
    let (mut kept, mut had_start) = (Vec::with_capacity(fields.len()), false);
    while !fields.is_empty() {
        let (key, rest) = take_varint(fields)?;
        let rest = match key & 7 {
            0 => take_varint(rest)?.1,
            1 => rest.get(8..)?,
            2 => {
                let (length, rest) = take_varint(rest)?;
                rest.get(usize::try_from(length).ok()?..)?
            }
            5 => rest.get(4..)?,
            _ => return None,
        };
        let field = &fields[..fields.len() - rest.len()];
        if key >> 3 == START {
            had_start = true
        } else {
            kept.extend_from_slice(field)
        }
        fields = rest;
    }
    Some((kept, had_start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::LabelSet;
    use monitor_proto::v1::WriteRequest;
    use proptest::prelude::*;

    #[test]
    fn everything_that_1_0_can_carry_arrives() {
        let mut set = LabelSet::default();
        set.start("joules_total").unwrap();
        set.label("component", "core").unwrap();
        let points = [Point { value: -0.0, timestamp_ms: 5 }, Point { value: f64::INFINITY, timestamp_ms: 6 }];
        let metadata = Metadata { kind: 1, help: "Energy.".into(), unit: "joules".into() };
        let (mut request, mut message) = (crate::encode::v2::Request::default(), Vec::new());
        request.series(&Series {
            labels: set.encode().unwrap(),
            metadata: Some(&metadata),
            start_ms: 3,
            points: &points,
            histograms: &[],
            exemplars: &[],
        });
        request.finish(&mut message);
        let body = snap::raw::Encoder::new().compress_vec(&message).unwrap();

        let transcoded = to_v1(&body).unwrap();
        let message = snap::raw::Decoder::new().decompress_vec(&transcoded.body).unwrap();
        assert_eq!((message.len(), transcoded.left_out_starts), (transcoded.message_len, 2));
        let request = WriteRequest::decode(message.as_slice()).unwrap();
        let series = &request.timeseries[0];
        let labels: Vec<_> = series.labels.iter().map(|label| (label.name.as_str(), label.value.as_str())).collect();
        assert_eq!(labels, [("__name__", "joules_total"), ("component", "core")]);
        let samples: Vec<_> = series.samples.iter().map(|s| (s.value.to_bits(), s.timestamp)).collect();
        assert_eq!(samples, [((-0.0f64).to_bits(), 5), (f64::INFINITY.to_bits(), 6)]);
        assert_eq!((request.metadata[0].metric_family_name.as_str(), request.metadata[0].r#type), ("joules_total", 1));
        assert_eq!((request.metadata[0].help.as_str(), request.metadata[0].unit.as_str()), ("Energy.", "joules"));
    }

    #[test]
    fn what_is_no_histogram_is_not_copied() {
        // Its count is a number of eight bytes, and not the one byte that stands there.
        for (histogram, is_one) in [(&[0x10, 7][..], false), (&[0x08, 7][..], true)] {
            let series = TimeSeries { histograms: vec![histogram.to_vec()], ..Default::default() };
            let message = Request { symbols: vec![String::new()], timeseries: vec![series] }.encode_to_vec();
            let body = snap::raw::Encoder::new().compress_vec(&message).unwrap();
            assert_eq!(to_v1(&body).is_ok(), is_one);
        }
    }

    #[test]
    fn a_length_is_not_believed_beyond_reason() {
        let huge = to_v1(b"\xff\xff\xff\xff\x0f\0");
        assert!(matches!(huge, Err(Unreadable::Length(0xffff_ffff))), "{huge:?}");
        // What is as dense as can be is read: a message of empty series.
        let message = [0x2a, 0].repeat(1 << 20);
        let body = snap::raw::Encoder::new().compress_vec(&message).unwrap();
        assert!(body.len() * 20 < message.len());
        assert_eq!(to_v1(&body).unwrap().message_len, message.len());
    }

    proptest! {
        #[test]
        fn other_bytes_are_an_error_and_no_panic(bytes: Vec<u8>) {
            let _ = to_v1(&bytes);
            let _ = to_v1(&snap::raw::Encoder::new().compress_vec(&bytes).unwrap());
        }
    }
}
