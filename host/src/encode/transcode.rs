//! A 2.0 request made into a 1.0 request, for a receiver that turns out not to know 2.0.
//!
//! Enters and leaves: snappy-compressed messages. Start timestamps have no place in 1.0 and are left out; metadata goes
//! from the series to the metric. Samples, their order and their series stay what they are.

use std::collections::BTreeMap;

use monitor_proto::{NAME_LABEL, v2};
use prost::Message;

use super::{Point, Series, v1};
use crate::labels::put_label;
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
    let request = v2::Request::decode(message.as_slice())?;
    let message = request_to_v1(&request)?;
    let body = snap::raw::Encoder::new().compress_vec(&message)?;
    Ok(Transcoded { body, message_len: message.len() })
}

/// Not by prost's types of 1.0: prost takes a negative zero for a zero, and leaves both out.
fn request_to_v1(request: &v2::Request) -> Result<Vec<u8>, Unreadable> {
    let symbol = |i: u32| request.symbols.get(i as usize).map(String::as_str).ok_or(Unreadable::Reference);
    let mut families = BTreeMap::new();
    let (mut message, mut labels, mut points) = (Vec::new(), Vec::new(), Vec::new());
    for series in &request.timeseries {
        labels.clear();
        for pair in series.labels_refs.chunks(2) {
            let &[name, value] = pair else { return Err(Unreadable::Reference) };
            let (name, value) = (symbol(name)?, symbol(value)?);
            put_label(&mut labels, name, value);
            if name == NAME_LABEL
                && let Some(metadata) = &series.metadata
            {
                families.insert(value, metadata);
            }
        }
        points.clear();
        points.extend(series.samples.iter().map(|s| Point { value: s.value, timestamp_ms: s.timestamp }));
        v1::series(&mut message, &Series { labels: &labels, metadata: None, start_ms: 0, points: &points });
    }
    for (metric, metadata) in families {
        let (help, unit) = (symbol(metadata.help_ref)?.to_owned(), symbol(metadata.unit_ref)?.to_owned());
        v1::metadata(&mut message, metric, &Metadata { kind: metadata.r#type, help, unit });
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::v2::Request;
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
        let (mut request, mut message) = (Request::default(), Vec::new());
        request.series(&Series {
            labels: set.encode().unwrap(),
            metadata: Some(&metadata),
            start_ms: 3,
            points: &points,
        });
        request.finish(&mut message);
        let body = snap::raw::Encoder::new().compress_vec(&message).unwrap();

        let transcoded = to_v1(&body).unwrap();
        let message = snap::raw::Decoder::new().decompress_vec(&transcoded.body).unwrap();
        assert_eq!(message.len(), transcoded.message_len);
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
