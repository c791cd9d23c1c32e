use super::*;
use crate::labels::LabelSet;
use crate::sample::EARLIEST_MS;
use crate::series::{Metadata, SeriesTable};
use monitor_proto::v1::WriteRequest;
use proptest::prelude::*;
use prost::Message;
use std::collections::BTreeMap;

const V1: Protocol = Protocol::V1;

const LIMITS: Limits = Limits { max_samples: 1000, max_bytes: 1 << 20, allow_out_of_order: false };

fn series(table: &SeriesTable, name: &str) -> SeriesId {
    let mut set = LabelSet::default();
    set.start("m").unwrap();
    set.label("name", name).unwrap();
    table.register(set.encode().unwrap(), Metadata::default()).unwrap()
}

fn at(series: SeriesId, offset_ms: i64, value: f64) -> Sample {
    Sample::from_parts(series.to_number(), value, EARLIEST_MS + offset_ms)
}

/// What a receiver reads: for each series its samples, as (offset, value).
fn read(batch: &Batch) -> BTreeMap<String, Vec<(i64, f64)>> {
    let message = snap::raw::Decoder::new().decompress_vec(&batch.body).unwrap();
    assert_eq!(message.len(), batch.message_len);
    let request = WriteRequest::decode(message.as_slice()).unwrap();
    let of = |series: &monitor_proto::v1::TimeSeries| {
        let points = series.samples.iter().map(|s| (s.timestamp - EARLIEST_MS, s.value));
        (series.labels[1].value.clone(), points.collect())
    };
    request.timeseries.iter().map(of).collect()
}

#[test]
fn samples_of_a_series_are_merged_in_order() {
    let table = SeriesTable::new(1000);
    let (a, b) = (series(&table, "a"), series(&table, "b"));
    let view = table.view();
    let mut batcher = Batcher::new(LIMITS);
    for sample in [at(a, 0, 1.0), at(b, 5, 2.0), at(a, 10, 3.0)] {
        assert_eq!(batcher.push(&sample, &view), Pushed::Taken);
    }
    let (batch, duplicates) = batcher.cut(V1, &view);
    let batch = batch.unwrap();
    assert_eq!((batch.samples, duplicates, batch.sequence), (3, 0, 1));
    assert_eq!(batch.time_range_ms, (EARLIEST_MS, EARLIEST_MS + 10));
    let read = read(&batch);
    assert_eq!(read["a"], [(0, 1.0), (10, 3.0)]);
    assert_eq!(read["b"], [(5, 2.0)]);
    assert!(batcher.cut(V1, &view).0.is_none());
}

#[test]
fn order_holds_across_batches() {
    let table = SeriesTable::new(1000);
    let a = series(&table, "a");
    let view = table.view();
    let mut batcher = Batcher::new(LIMITS);
    assert_eq!(batcher.push(&at(a, 10, 1.0), &view), Pushed::Taken);
    batcher.cut(V1, &view);
    assert_eq!(batcher.push(&at(a, 10, 1.0), &view), Pushed::Dropped(Reason::Duplicate));
    assert_eq!(batcher.push(&at(a, 9, 1.0), &view), Pushed::Dropped(Reason::OutOfOrder));
    assert_eq!(batcher.push(&at(a, 11, 1.0), &view), Pushed::Taken);
}

#[test]
fn strangers_and_absurd_moments_are_dropped() {
    let table = SeriesTable::new(1000);
    let a = series(&table, "a");
    let mut batcher = Batcher::new(LIMITS);
    let absurd = Sample::from_parts(a.to_number(), 1.0, 17);
    let stranger = Sample::from_parts(7, 1.0, EARLIEST_MS);
    assert_eq!(batcher.push(&absurd, &table.view()), Pushed::Dropped(Reason::InvalidTimestamp));
    assert_eq!(batcher.push(&stranger, &table.view()), Pushed::Dropped(Reason::UnknownSeries));
    table.view().expect_nothing(a);
    assert!(table.release(a) && table.remove(a));
    assert_eq!(batcher.push(&at(a, 0, 1.0), &table.view()), Pushed::Dropped(Reason::UnknownSeries));
    let next = series(&table, "b");
    assert_eq!(next.index, a.index);
    assert_eq!(batcher.push(&at(next, 0, 1.0), &table.view()), Pushed::Taken);
}

#[test]
fn the_limits_hold_and_lose_nothing() {
    let table = SeriesTable::new(1000);
    let ids: Vec<_> = (0..50).map(|i| series(&table, &format!("{i:0>60}"))).collect();
    let view = table.view();
    let mut batcher = Batcher::new(Limits { max_samples: 7, max_bytes: 500, ..LIMITS });
    let mut batches = Vec::new();
    for offset in 0..4 {
        for id in &ids {
            while batcher.push(&at(*id, offset, 1.0), &view) == Pushed::Full {
                batches.extend(batcher.cut(V1, &view).0);
            }
        }
    }
    batches.extend(batcher.cut(V1, &view).0);
    assert!(batches.iter().all(|batch| batch.samples <= 7 && batch.message_len <= 500));
    assert_eq!(batches.iter().map(|batch| batch.samples).sum::<u64>(), 200);
}

#[test]
fn a_sample_longer_than_the_limit_goes_alone() {
    let table = SeriesTable::new(1000);
    let long = series(&table, &"x".repeat(5000));
    let mut batcher = Batcher::new(Limits { max_bytes: 100, ..LIMITS });
    assert_eq!(batcher.push(&at(long, 0, 1.0), &table.view()), Pushed::Taken);
    assert_eq!(batcher.push(&at(long, 1, 1.0), &table.view()), Pushed::Full);
    assert_eq!(batcher.cut(V1, &table.view()).0.unwrap().samples, 1);
}

#[test]
fn nan_is_canonical() {
    let table = SeriesTable::new(1000);
    let a = series(&table, "a");
    let mut batcher = Batcher::new(LIMITS);
    batcher.push(&at(a, 0, f64::from_bits(monitor_proto::STALE_NAN)), &table.view());
    let batch = batcher.cut(V1, &table.view()).0.unwrap();
    assert_eq!(read(&batch)["a"][0].1.to_bits(), monitor_proto::NORMAL_NAN);
}

#[test]
fn an_end_is_one_stale_marker_behind_the_newest_sample() {
    let table = SeriesTable::new(1000);
    let (a, silent) = (series(&table, "a"), series(&table, "silent"));
    let view = table.view();
    let mut batcher = Batcher::new(LIMITS);
    batcher.push(&at(a, 10, 1.0), &view);
    assert_eq!(batcher.end(a, &view), Some(Pushed::Taken));
    assert_eq!(batcher.end(a, &view), None, "it has ended already");
    assert_eq!(batcher.end(silent, &view), None, "it has sent nothing");
    let points = read(&batcher.cut(V1, &view).0.unwrap())["a"].clone();
    assert_eq!((points[0], points[1].0), ((10, 1.0), 11));
    assert_eq!(points[1].1.to_bits(), monitor_proto::STALE_NAN);
    // It comes back to life.
    assert_eq!(batcher.push(&at(a, 12, 2.0), &view), Pushed::Taken);
    assert_eq!(batcher.end(a, &view), Some(Pushed::Taken));
}

#[test]
fn metadata_goes_with_the_first_request_of_1_0_and_with_each_of_2_0() {
    let table = SeriesTable::new(1000);
    let mut set = LabelSet::default();
    set.start("watts").unwrap();
    let declared = Metadata { kind: 2, help: "Power.".into(), unit: "watts".into() };
    let id = table.register(set.encode().unwrap(), declared).unwrap();
    table.set_start(id, 77);
    let mut batcher = Batcher::new(LIMITS);
    let mut cut = |offset, protocol| {
        batcher.push(&at(id, offset, 1.0), &table.view());
        let batch = batcher.cut(protocol, &table.view()).0.unwrap();
        assert_eq!(batch.protocol, protocol);
        snap::raw::Decoder::new().decompress_vec(&batch.body).unwrap()
    };
    let first = WriteRequest::decode(cut(0, V1).as_slice()).unwrap();
    assert_eq!(first.metadata[0].metric_family_name, "watts");
    assert_eq!(WriteRequest::decode(cut(1, V1).as_slice()).unwrap().metadata, []);
    for offset in 2..4 {
        let request = monitor_proto::v2::Request::decode(cut(offset, Protocol::V2).as_slice()).unwrap();
        assert_eq!(request.timeseries[0].metadata.as_ref().unwrap().r#type, 2);
        assert_eq!(request.timeseries[0].samples[0].start_timestamp, 77);
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_and_every_series_is_in_order(
        given in proptest::collection::vec((0usize..5, 0i64..60), 1..200),
        max_samples in 1usize..50,
        allow_out_of_order: bool,
    ) {
        let table = SeriesTable::new(1000);
        let ids: Vec<_> = (0..5).map(|i| series(&table, &i.to_string())).collect();
        let view = table.view();
        let mut batcher = Batcher::new(Limits { max_samples, allow_out_of_order, ..LIMITS });
        let (mut batches, mut dropped) = (Vec::new(), 0);
        for &(which, offset) in &given {
            let mut pushed = batcher.push(&at(ids[which], offset, 0.5), &view);
            if pushed == Pushed::Full {
                let (batch, duplicates) = batcher.cut(V1, &view);
                batches.extend(batch);
                dropped += duplicates;
                pushed = batcher.push(&at(ids[which], offset, 0.5), &view);
            }
            dropped += u64::from(matches!(pushed, Pushed::Dropped(_)));
        }
        let (batch, duplicates) = batcher.cut(V1, &view);
        batches.extend(batch);
        dropped += duplicates;
        let sent: u64 = batches.iter().map(|batch| batch.samples).sum();
        prop_assert_eq!(sent + dropped, given.len() as u64);
        let mut newest = BTreeMap::new();
        for batch in &batches {
            let series = read(batch);
            prop_assert_eq!(series.values().map(|points| points.len() as u64).sum::<u64>(), batch.samples);
            for (name, points) in series {
                prop_assert!(points.windows(2).all(|pair| pair[0].0 < pair[1].0));
                if !allow_out_of_order {
                    let before = newest.insert(name, points[points.len() - 1].0);
                    prop_assert!(before.is_none_or(|before| before < points[0].0));
                }
            }
        }
    }
}
