//! Fuzzes [`transcode`](super::transcode): any bytes as a 2.0 request, packed or to be packed.
//!
//! Promises: what comes out is a 1.0 request with the same series, labels, samples, histograms, exemplars and metadata; a
//! length that the bytes can't have is not believed.

use std::collections::BTreeSet;

use monitor_proto::{NAME_LABEL, v1, v2};
use prost::Message;

use super::transcode::to_v1;
use crate::fuzz::{Choices, Target, bytes};

/// 2.0 messages made into 1.0.
pub static TRANSCODE: Target = Target {
    name: "transcode",
    run: |input| {
        let mut choices = Choices(input);
        if choices.byte() & 1 == 1 {
            return transcode(choices.0);
        }
        transcode(&snap::raw::Encoder::new().compress_vec(choices.0).expect("inputs are far below 4 GiB"));
    },
    seeds: || {
        let message = seed();
        let packed = snap::raw::Encoder::new().compress_vec(&message).expect("a seed is small");
        vec![
            [&b"\0"[..], &message].concat(),
            [&b"\x01"[..], &packed].concat(),
            b"\x01\xff\xff\xff\xff\x0f\0".to_vec(),
            b"\0".to_vec(),
        ]
    },
    words: || bytes(["__name__", "power", "\x0a\x04\x01\x02\x03\x04", "\x22\x00", "\x2a\x08", "\x12\x00"]),
};

fn seed() -> Vec<u8> {
    let sample = |value, timestamp| v2::Sample { value, timestamp, start_timestamp: 5 };
    let series = |labels: &[u32], kind| v2::TimeSeries {
        labels_refs: labels.to_vec(),
        samples: vec![sample(-0.0, 7), sample(f64::NAN, -8), sample(1.5, i64::MAX)],
        metadata: Some(v2::Metadata { r#type: kind, help_ref: 5, unit_ref: 6 }),
        ..Default::default()
    };
    let symbols = ["", "__name__", "power", "zone", "a", "Power.", "watts"].map(String::from).into();
    v2::Request { symbols, timeseries: vec![series(&[1, 2, 3, 4], 2), series(&[1, 2], -1), series(&[], 0)] }
        .encode_to_vec()
}

fn transcode(body: &[u8]) {
    let Ok(made) = to_v1(body) else { return };
    let unpacked = |body: &[u8]| snap::raw::Decoder::new().decompress_vec(body).expect("it was unpacked before");
    let message = unpacked(&made.body);
    assert_eq!(message.len(), made.message_len);
    let new = v1::WriteRequest::decode(message.as_slice()).expect("what was made is a request");
    let old = v2::Request::decode(unpacked(body).as_slice()).expect("what was taken was a request");

    let symbol = |reference: u32| old.symbols[reference as usize].as_str();
    assert_eq!(new.timeseries.len(), old.timeseries.len());
    let mut families = BTreeSet::new();
    for (new, old) in new.timeseries.iter().zip(&old.timeseries) {
        let labels = new.labels.iter().map(|label| (label.name.as_str(), label.value.as_str()));
        let given = old.labels_refs.chunks_exact(2).map(|pair| (symbol(pair[0]), symbol(pair[1])));
        assert!(labels.eq(given.clone()), "{:?}", new.labels);
        let samples = new.samples.iter().map(|sample| (sample.value.to_bits(), sample.timestamp));
        assert!(samples.eq(old.samples.iter().map(|sample| (sample.value.to_bits(), sample.timestamp))));
        let counts = |histogram: &v1::Histogram| (histogram.sum.to_bits(), histogram.timestamp, histogram.schema);
        let given_counts = |histogram: &v2::Histogram| (histogram.sum.to_bits(), histogram.timestamp, histogram.schema);
        assert!(new.histograms.iter().map(counts).eq(old.histograms.iter().map(given_counts)));
        let exemplars = new.exemplars.iter().map(|exemplar| (exemplar.value.to_bits(), exemplar.timestamp));
        assert!(exemplars.eq(old.exemplars.iter().map(|exemplar| (exemplar.value.to_bits(), exemplar.timestamp))));
        if old.metadata.is_some() {
            // A label that stands twice is no defect of transcoding; its first one names the metric.
            families.extend(given.clone().find(|(name, _)| *name == NAME_LABEL).map(|(_, metric)| metric));
        }
    }
    assert!(new.metadata.iter().map(|metadata| metadata.metric_family_name.as_str()).eq(families));
}
