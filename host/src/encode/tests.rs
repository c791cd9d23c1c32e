//! Requests with everything that a series can carry, in both versions, against prost's decoder and against each other.

use super::*;
use crate::labels::LabelSet;
use monitor_proto::{v1 as proto1, v2 as proto2};
use proptest::prelude::*;
use prost::Message;

/// One series as proptest makes it.
#[derive(Clone, Debug)]
struct Given {
    name: String,
    start_ms: i64,
    metadata: Option<(i32, String)>,
    /// None: it has histograms.
    points: Option<Vec<(u64, i64)>>,
    histograms: Vec<(u64, f64, i64)>,
    exemplars: Vec<(String, u64, i64)>,
}

fn given() -> impl Strategy<Value = Given> {
    let points = prop::option::of(prop::collection::vec(any::<(u64, i64)>(), 1..5));
    let histograms = prop::collection::vec(any::<(u64, f64, i64)>(), 1..4);
    let exemplars = prop::collection::vec(("[a-e]{0,3}", any::<u64>(), any::<i64>()), 0..4);
    let metadata = prop::option::of((0i32..8, "[a-z]{0,9}".prop_map(String::from)));
    ("[a-z]{1,4}", any::<i64>(), metadata, points, histograms, exemplars).prop_map(
        |(name, start_ms, metadata, points, histograms, exemplars)| Given {
            name,
            start_ms,
            metadata,
            points,
            histograms,
            exemplars,
        },
    )
}

fn body(&(count, sum, timestamp): &(u64, f64, i64)) -> Vec<u8> {
    let count = Some(proto2::histogram::Count::CountInt(count));
    proto2::Histogram { count, sum, timestamp, custom_values: vec![1.5, -0.0], ..Default::default() }.encode_to_vec()
}

fn labels(name: &str, exemplar: bool) -> Vec<u8> {
    let mut out = Vec::new();
    if exemplar {
        if !name.is_empty() {
            crate::labels::put_label(&mut out, "trace_id", name);
        }
        return out;
    }
    let mut set = LabelSet::default();
    set.start("metric").unwrap();
    set.label("name", name).unwrap();
    out.extend_from_slice(set.encode().unwrap());
    out
}

/// Both messages of the same series, and how many bytes they may take.
fn encode(given: &[Given]) -> (Vec<u8>, Vec<u8>, usize, u64) {
    let (mut first, mut second, mut request) = (Vec::new(), Vec::new(), v2::Request::default());
    let (mut bound, mut starts) = (2, 0);
    for one in given {
        let labels_of_series = labels(&one.name, false);
        let metadata = one.metadata.clone().map(|(kind, help)| Metadata { kind, help, unit: "u".into() });
        let points = one.points.iter().flatten();
        let points: Vec<_> =
            points.map(|&(bits, timestamp_ms)| Point { value: f64::from_bits(bits), timestamp_ms }).collect();
        let bodies: Vec<_> = one.histograms.iter().filter(|_| one.points.is_none()).collect();
        let bodies: Vec<_> = bodies.into_iter().map(|histogram| (body(histogram), histogram.2)).collect();
        let histograms: Vec<_> =
            bodies.iter().map(|(body, timestamp_ms)| Histogram { body, timestamp_ms: *timestamp_ms }).collect();
        let of_exemplars: Vec<_> = one.exemplars.iter().map(|(name, ..)| labels(name, true)).collect();
        let exemplars = one.exemplars.iter().zip(&of_exemplars).map(|(&(_, bits, timestamp_ms), labels)| Exemplar {
            labels,
            value: f64::from_bits(bits),
            timestamp_ms,
        });
        let exemplars: Vec<_> = exemplars.collect();
        let series = Series {
            labels: &labels_of_series,
            metadata: metadata.as_ref(),
            start_ms: one.start_ms,
            points: &points,
            histograms: &histograms,
            exemplars: &exemplars,
        };
        bound += series_bound(&Known::of(&labels_of_series, metadata.as_ref()));
        bound += points.iter().map(|point| point_bound(point, one.start_ms)).sum::<usize>();
        bound += bodies.iter().map(|(body, _)| histogram_bound(body, one.start_ms)).sum::<usize>();
        bound += of_exemplars.iter().map(|labels| exemplar_bound(labels)).sum::<usize>();
        starts += series.starts();
        v1::series(&mut first, &series);
        request.series(&series);
    }
    request.finish(&mut second);
    (first, second, bound, starts)
}

proptest! {
    #[test]
    fn prost_reads_histograms_and_exemplars_of_both_versions(given in prop::collection::vec(given(), 0..6)) {
        let (first, second, bound, starts) = encode(&given);
        prop_assert!(first.len() <= bound && second.len() <= bound, "{} {} {bound}", first.len(), second.len());
        let read1 = proto1::WriteRequest::decode(first.as_slice()).unwrap();
        let read2 = proto2::Request::decode(second.as_slice()).unwrap();
        prop_assert_eq!(read1.timeseries.len(), given.len());
        prop_assert_eq!(read2.timeseries.len(), given.len());
        let mut read_starts = 0;
        for ((one, in1), in2) in given.iter().zip(&read1.timeseries).zip(&read2.timeseries) {
            let symbol = |i: &u32| read2.symbols[*i as usize].clone();
            let pairs = |refs: &[u32]| refs.chunks(2).map(|pair| (symbol(&pair[0]), symbol(&pair[1]))).collect::<Vec<_>>();
            prop_assert_eq!(in2.samples.is_empty(), !in2.histograms.is_empty(), "one of them, not both");
            prop_assert_eq!(&in1.labels.iter().map(|l| (l.name.clone(), l.value.clone())).collect::<Vec<_>>(), &pairs(&in2.labels_refs));

            let meant: Vec<_> = one.exemplars.iter().map(|(name, bits, timestamp)| {
                let label = Some(("trace_id".to_owned(), name.clone())).filter(|_| !name.is_empty());
                (label.into_iter().collect::<Vec<_>>(), *bits, *timestamp)
            }).collect();
            let exemplars1: Vec<_> = in1.exemplars.iter().map(|e| {
                (e.labels.iter().map(|l| (l.name.clone(), l.value.clone())).collect::<Vec<_>>(), e.value.to_bits(), e.timestamp)
            }).collect();
            let exemplars2: Vec<_> = in2.exemplars.iter().map(|e| (pairs(&e.labels_refs), e.value.to_bits(), e.timestamp)).collect();
            prop_assert_eq!(&exemplars1, &meant);
            prop_assert_eq!(&exemplars2, &meant);

            let bodies: Vec<_> = one.histograms.iter().filter(|_| one.points.is_none()).map(body).collect();
            prop_assert_eq!(in1.histograms.iter().map(Message::encode_to_vec).collect::<Vec<_>>(), bodies.clone());
            let start = |t: i64| if one.start_ms <= t { one.start_ms } else { 0 };
            for (histogram, body) in in2.histograms.iter().zip(&bodies) {
                prop_assert_eq!(histogram.start_timestamp, start(histogram.timestamp));
                let without = proto2::Histogram { start_timestamp: 0, ..histogram.clone() };
                prop_assert_eq!(&without.encode_to_vec(), body);
                read_starts += u64::from(histogram.start_timestamp != 0);
            }
            read_starts += in2.samples.iter().filter(|sample| sample.start_timestamp != 0).count() as u64;
        }
        prop_assert_eq!(read_starts, starts);

        // What is made of 2.0 is what 1.0 would have been from the start, but for metadata, which stands behind it there.
        let compressed = snap::raw::Encoder::new().compress_vec(&second).unwrap();
        let transcoded = transcode::to_v1(&compressed).unwrap();
        prop_assert_eq!(transcoded.left_out_starts, starts);
        let message = snap::raw::Decoder::new().decompress_vec(&transcoded.body).unwrap();
        prop_assert_eq!(&message[..first.len()], &first[..]);
        let metadata = proto1::WriteRequest::decode(message.as_slice()).unwrap().metadata;
        prop_assert_eq!(metadata.len(), usize::from(given.iter().any(|one| one.metadata.is_some())));
    }
}

#[test]
fn a_kind_that_nobody_knows_fits() {
    // A plugin's own number: ten bytes of varint.
    let metadata = Metadata { kind: -1, help: "h".repeat(20_000), unit: "u".repeat(20_000) };
    let labels = labels("kind", false);
    let known = Known::of(&labels, Some(&metadata));
    let mut request = v2::Request::default();
    let of = Series {
        labels: &labels,
        metadata: Some(&metadata),
        start_ms: 0,
        points: &[],
        histograms: &[],
        exemplars: &[],
    };
    request.series(&of);
    let mut out = Vec::new();
    request.finish(&mut out);
    assert!(out.len() <= 2 + series_bound(&known));
    let read = proto2::Request::decode(out.as_slice()).unwrap();
    assert_eq!(read.timeseries[0].metadata.as_ref().unwrap().r#type, -1);
}
