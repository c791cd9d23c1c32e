//! Whatever a plugin sends, in both versions, against prost's decoder: what a receiver may count on.

use super::*;
use crate::labels;
use crate::labels::LabelSet;
use crate::sample::EARLIEST_MS;
use crate::series::{Metadata, SeriesTable};
use monitor_proto::{v1 as proto1, v2 as proto2};
use proptest::prelude::*;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};

/// Names and values.
type Labels = Vec<(String, String)>;

#[derive(Clone, Debug)]
enum Sent {
    Sample { of: prop::sample::Index, offset_ms: i64, bits: u64 },
    Histogram { of: prop::sample::Index, offset_ms: i64 },
    Exemplar { of: prop::sample::Index, offset_ms: i64, value: f64 },
    Deadline,
}

fn sent() -> impl Strategy<Value = Sent> {
    let of = any::<prop::sample::Index>;
    // Beside its place in the list: now and then backwards.
    let offset_ms = || 0..60i64;
    prop_oneof![
        8 => (of(), offset_ms(), any::<u64>()).prop_map(|(of, offset_ms, bits)| Sent::Sample { of, offset_ms, bits }),
        4 => (of(), offset_ms()).prop_map(|(of, offset_ms)| Sent::Histogram { of, offset_ms }),
        4 => (of(), offset_ms(), any::<i32>())
            .prop_map(|(of, offset_ms, value)| Sent::Exemplar { of, offset_ms, value: value.into() }),
        1 => Just(Sent::Deadline),
    ]
}

/// A metric and labels, in any order, some of them empty.
fn labels() -> impl Strategy<Value = (String, Labels)> {
    ("[a-zA-Z_:][a-zA-Z0-9_:]{0,3}", prop::collection::vec(("[A-Zab][a-z0-9_]{0,2}", ".{0,3}"), 0..5))
}

/// One entry of a request as a receiver reads it.
#[derive(Debug, PartialEq)]
struct Entry {
    labels: Labels,
    samples: Vec<(i64, u64)>,
    histograms: Vec<i64>,
    exemplars: Vec<(i64, u64, Labels)>,
}

fn read(batch: &Batch) -> Vec<Entry> {
    let message = snap::raw::Decoder::new().decompress_vec(&batch.body).unwrap();
    match batch.protocol {
        Protocol::V1 => {
            let pairs =
                |labels: &[proto1::Label]| labels.iter().map(|l| (l.name.clone(), l.value.clone())).collect::<Vec<_>>();
            let entry = |one: &proto1::TimeSeries| Entry {
                labels: pairs(&one.labels),
                samples: one.samples.iter().map(|s| (s.timestamp, s.value.to_bits())).collect(),
                histograms: one.histograms.iter().map(|h| h.timestamp).collect(),
                exemplars: one.exemplars.iter().map(|e| (e.timestamp, e.value.to_bits(), pairs(&e.labels))).collect(),
            };
            proto1::WriteRequest::decode(&*message).unwrap().timeseries.iter().map(entry).collect()
        }
        Protocol::V2 => {
            let request = proto2::Request::decode(&*message).unwrap();
            assert_eq!(request.symbols[0], "");
            assert_eq!(request.symbols.iter().collect::<BTreeSet<_>>().len(), request.symbols.len(), "unique");
            let symbol = |reference: u32| {
                let symbol = request.symbols.get(reference as usize);
                symbol.unwrap_or_else(|| panic!("{reference} is beyond {}", request.symbols.len())).clone()
            };
            let pairs = |references: &[u32]| {
                assert!(references.len().is_multiple_of(2), "{references:?}");
                references.chunks(2).map(|pair| (symbol(pair[0]), symbol(pair[1]))).collect::<Vec<_>>()
            };
            let entry = |one: &proto2::TimeSeries| Entry {
                labels: pairs(&one.labels_refs),
                samples: one.samples.iter().map(|s| (s.timestamp, s.value.to_bits())).collect(),
                histograms: one.histograms.iter().map(|h| h.timestamp).collect(),
                exemplars: one
                    .exemplars
                    .iter()
                    .map(|e| (e.timestamp, e.value.to_bits(), pairs(&e.labels_refs)))
                    .collect(),
            };
            request.timeseries.iter().map(entry).collect()
        }
    }
}

/// What all requests may be relied upon for, one after the other.
fn judge(batches: &[Batch]) -> Vec<Vec<Entry>> {
    let mut newest = BTreeMap::new();
    let mut requests = Vec::new();
    for batch in batches {
        let entries = read(batch);
        let (mut samples, mut exemplars, mut times, mut names) = (0, 0, Vec::new(), BTreeSet::new());
        for entry in &entries {
            assert!(entry.labels.is_sorted_by(|a, b| a.0.as_bytes() < b.0.as_bytes()), "{entry:?}");
            assert!(entry.labels.iter().any(|(name, _)| name == "__name__"), "{entry:?}");
            assert!(entry.labels.iter().all(|(_, value)| !value.is_empty()), "{entry:?}");
            assert!(names.insert(entry.labels.clone()), "a series has one entry: {entry:?}");
            assert_ne!(entry.samples.is_empty(), entry.histograms.is_empty(), "one of them: {entry:?}");
            let moments: Vec<_> = entry.samples.iter().map(|s| s.0).chain(entry.histograms.iter().copied()).collect();
            let before = newest.insert(entry.labels.clone(), moments[moments.len() - 1]).unwrap_or(i64::MIN);
            assert!([&[before][..], &moments].concat().is_sorted_by(|a, b| a < b), "{before} {entry:?}");
            assert!(entry.exemplars.is_sorted_by_key(|exemplar| exemplar.0), "{entry:?}");
            samples += moments.len() as u64;
            exemplars += entry.exemplars.len() as u64;
            times.extend(moments);
        }
        assert_eq!((samples, exemplars), (batch.samples, batch.exemplars));
        assert_eq!(batch.time_range_ms, (*times.iter().min().unwrap(), *times.iter().max().unwrap()));
        requests.push(entries);
    }
    requests
}

/// All batches of these, and how many samples and exemplars were dropped.
fn batches(protocol: Protocol, limits: Limits, series: &[(String, Labels)], sent: &[Sent]) -> (Vec<Batch>, u64, u64) {
    let table = SeriesTable::new(100);
    let register = |(metric, labels): &(String, Labels)| {
        let mut set = LabelSet::default();
        set.start(metric).unwrap();
        // A label that comes twice is refused; so it comes once.
        let mut names = BTreeSet::new();
        labels.iter().filter(|(name, _)| names.insert(name)).for_each(|(name, value)| set.label(name, value).unwrap());
        table.register(set.encode().unwrap(), Metadata { kind: 1, help: metric.clone(), unit: String::new() }).unwrap()
    };
    let ids: Vec<_> = series.iter().map(register).collect();
    let view = table.view();
    let mut batcher = Batcher::new(limits);
    let (mut batches, mut dropped, mut dropped_exemplars) = (Vec::new(), 0, 0);
    for (place, one) in (0..).zip(sent) {
        let moment = |offset_ms: i64| EARLIEST_MS + 20 * place + offset_ms;
        let pushed = match one {
            Sent::Sample { of, offset_ms, bits } => {
                let sample = Sample::from_parts(of.get(&ids).to_number(), f64::from_bits(*bits), moment(*offset_ms));
                let mut pushed = batcher.push(&sample, &view);
                if pushed == Pushed::Full {
                    batches.extend(batcher.cut(protocol, &view).0);
                    pushed = batcher.push(&sample, &view);
                }
                pushed
            }
            Sent::Histogram { of, offset_ms } => {
                let histogram = Histogram::stale(*of.get(&ids), moment(*offset_ms), Shape::IntegerHistogram);
                let pushed = batcher.push_histogram(histogram, &view).or_else(|histogram| {
                    batches.extend(batcher.cut(protocol, &view).0);
                    batcher.push_histogram(histogram, &view)
                });
                pushed.unwrap()
            }
            Sent::Exemplar { of, offset_ms, value } => {
                let (series, timestamp_ms) = (*of.get(&ids), moment(*offset_ms));
                let mut labels = Vec::new();
                labels::put_label(&mut labels, "trace_id", &timestamp_ms.to_string());
                let exemplar = Exemplar { series, value: *value, timestamp_ms, labels: labels.into() };
                dropped_exemplars += u64::from(batcher.push_exemplar(exemplar).is_err());
                continue;
            }
            Sent::Deadline => {
                batches.extend(batcher.cut(protocol, &view).0);
                continue;
            }
        };
        assert_ne!(pushed, Pushed::Full, "an empty batch takes whatever comes");
        dropped += u64::from(matches!(pushed, Pushed::Dropped(_)));
    }
    batches.extend(batcher.cut(protocol, &view).0);
    (batches, dropped, dropped_exemplars)
}

proptest! {
    #[test]
    fn both_versions_carry_the_same_and_keep_every_rule(
        series in prop::collection::vec(labels(), 1..5),
        sent in prop::collection::vec(sent(), 1..150),
        max_samples in 1usize..50,
        max_bytes in 60usize..4000,
    ) {
        let limits = Limits { max_samples, max_bytes, allow_out_of_order: false };
        let (first, ..) = batches(Protocol::V1, limits, &series, &sent);
        let (second, dropped, dropped_exemplars) = batches(Protocol::V2, limits, &series, &sent);
        prop_assert_eq!(judge(&first), judge(&second));
        let exemplars = sent.iter().filter(|one| matches!(one, Sent::Exemplar { .. })).count() as u64;
        let cuts = sent.iter().filter(|one| matches!(one, Sent::Deadline)).count() as u64;
        prop_assert_eq!(second.iter().map(|batch| batch.samples).sum::<u64>() + dropped, sent.len() as u64 - exemplars - cuts);
        prop_assert_eq!(second.iter().map(|batch| batch.exemplars).sum::<u64>() + dropped_exemplars, exemplars);
    }
}
