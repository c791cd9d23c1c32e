use super::*;
use crate::encode::transcode;
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
    batcher.push(&at(a, 0, f64::from_bits(monitor_proto::STALE_NAN + 1)), &table.view());
    let batch = batcher.cut(V1, &table.view()).0.unwrap();
    assert_eq!(read(&batch)["a"][0].1.to_bits(), monitor_proto::NORMAL_NAN);
}

#[test]
fn a_marker_of_the_plugins_is_the_last_one() {
    let table = SeriesTable::new(1000);
    let a = series(&table, "a");
    let view = table.view();
    let stale = f64::from_bits(monitor_proto::STALE_NAN);
    let mut batcher = Batcher::new(LIMITS);
    batcher.push(&at(a, 10, 1.0), &view);
    assert_eq!(batcher.push(&at(a, 10, stale), &view), Pushed::Dropped(Reason::Duplicate));
    assert_eq!(batcher.push(&at(a, 25, stale), &view), Pushed::Taken);
    assert_eq!(batcher.end(a, &view), None, "it is marked already");
    assert_eq!(batcher.push(&at(a, 30, 2.0), &view), Pushed::Taken, "it goes on");
    assert_eq!(batcher.end(a, &view), Some(Pushed::Taken));
    let points = read(&batcher.cut(V1, &view).0.unwrap())["a"].clone();
    let moments: Vec<_> = points.iter().map(|(moment, value)| (*moment, value.to_bits() == stale.to_bits())).collect();
    assert_eq!(moments, [(10, false), (25, true), (30, false), (31, true)]);
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

fn histogram(series: SeriesId, offset_ms: i64, shape: Shape) -> Histogram {
    // An empty one has the fields of a marker; what is in it does not matter here.
    Histogram::stale(series, EARLIEST_MS + offset_ms, shape)
}

fn exemplar(series: SeriesId, offset_ms: i64, value: f64) -> Exemplar {
    Exemplar { series, value, timestamp_ms: EARLIEST_MS + offset_ms, labels: Box::default() }
}

/// What a receiver of 2.0 reads: for each entry the offsets of its samples, histograms and exemplars.
fn read_v2(batch: &Batch) -> Vec<[Vec<i64>; 3]> {
    let message = snap::raw::Decoder::new().decompress_vec(&batch.body).unwrap();
    assert_eq!(message.len(), batch.message_len);
    let request = monitor_proto::v2::Request::decode(message.as_slice()).unwrap();
    let offset = |timestamp: i64| timestamp - EARLIEST_MS;
    let entries = request.timeseries.iter().map(|series| {
        [
            series.samples.iter().map(|s| offset(s.timestamp)).collect(),
            series.histograms.iter().map(|h| offset(h.timestamp)).collect(),
            series.exemplars.iter().map(|e| offset(e.timestamp)).collect(),
        ]
    });
    entries.collect()
}

#[test]
fn a_series_has_samples_or_histograms_in_one_batch() {
    let table = SeriesTable::new(1000);
    let (a, b) = (series(&table, "a"), series(&table, "b"));
    let view = table.view();
    let mut batcher = Batcher::new(LIMITS);
    let whole = Shape::IntegerHistogram;
    assert_eq!(batcher.push_histogram(histogram(a, 0, whole), &view), Ok(Pushed::Taken));
    assert_eq!(batcher.push(&at(b, 0, 1.0), &view), Pushed::Taken);
    assert_eq!(batcher.push_histogram(histogram(a, 1, whole), &view), Ok(Pushed::Taken));
    assert_eq!(batcher.push_histogram(histogram(a, 1, whole), &view), Ok(Pushed::Dropped(Reason::Duplicate)));
    assert_eq!(batcher.push_histogram(histogram(a, 0, whole), &view), Ok(Pushed::Dropped(Reason::OutOfOrder)));
    assert_eq!(batcher.push(&at(a, 1, 1.0), &view), Pushed::Dropped(Reason::Duplicate));
    // The other kind waits for the next batch.
    assert_eq!(batcher.push(&at(a, 2, 1.0), &view), Pushed::Full);
    assert_eq!(batcher.push_histogram(histogram(b, 2, whole), &view), Err(histogram(b, 2, whole)));
    assert_eq!(batcher.len(), 3);
    let first = batcher.cut(Protocol::V2, &view).0.unwrap();
    assert_eq!((first.samples, first.time_range_ms), (3, (EARLIEST_MS, EARLIEST_MS + 1)));
    assert_eq!(read_v2(&first), [[vec![], vec![0, 1], vec![]], [vec![0], vec![], vec![]]]);
    assert_eq!(batcher.push(&at(a, 2, 1.0), &view), Pushed::Taken);
    assert_eq!(batcher.push_histogram(histogram(b, 2, whole), &view), Ok(Pushed::Taken));
    let second = batcher.cut(Protocol::V2, &view).0.unwrap();
    assert_eq!(read_v2(&second), [[vec![2], vec![], vec![]], [vec![], vec![2], vec![]]]);
    assert!(batcher.is_empty() && batcher.cut(Protocol::V2, &view).0.is_none());
}

#[test]
fn a_series_of_histograms_ends_with_one() {
    let table = SeriesTable::new(1000);
    let a = series(&table, "a");
    let view = table.view();
    let mut batcher = Batcher::new(LIMITS);
    for (offset, shape) in [(0, Shape::IntegerHistogram), (10, Shape::FloatHistogram)] {
        batcher.push_histogram(histogram(a, offset, shape), &view).unwrap();
        assert_eq!(batcher.end(a, &view), Some(Pushed::Taken));
        assert_eq!(batcher.end(a, &view), None);
        let batch = batcher.cut(Protocol::V2, &view).0.unwrap();
        assert_eq!(read_v2(&batch), [[vec![], vec![offset, offset + 1], vec![]]]);
    }
    // It goes on with samples, and so it ends.
    batcher.push(&at(a, 20, 1.0), &view);
    assert_eq!(batcher.end(a, &view), Some(Pushed::Taken));
    assert_eq!(read_v2(&batcher.cut(Protocol::V2, &view).0.unwrap()), [[vec![20, 21], vec![], vec![]]]);
}

#[test]
fn exemplars_go_with_their_sample_or_not_at_all() {
    let table = SeriesTable::new(1000);
    let (a, b, silent) = (series(&table, "a"), series(&table, "b"), series(&table, "silent"));
    let view = table.view();
    let mut batcher = Batcher::new(LIMITS);
    batcher.push(&at(a, 0, 1.0), &view);
    batcher.push_histogram(histogram(b, 0, Shape::FloatHistogram), &view).unwrap();
    assert_eq!(batcher.push_exemplar(exemplar(silent, 0, 1.0)), Err(Reason::LoneExemplar));
    assert_eq!(batcher.push_exemplar(exemplar(b, 3, 1.0)), Ok(()));
    assert_eq!(batcher.push_exemplar(exemplar(a, 5, 1.0)), Ok(()));
    assert_eq!(batcher.push_exemplar(exemplar(a, 5, 1.0)), Err(Reason::Duplicate));
    assert_eq!(batcher.push_exemplar(exemplar(a, 5, 0.5)), Err(Reason::OutOfOrder));
    assert_eq!(batcher.push_exemplar(exemplar(a, 4, 2.0)), Err(Reason::OutOfOrder));
    assert_eq!(batcher.push_exemplar(exemplar(a, 5, 1.5)), Ok(()));
    let batch = batcher.cut(Protocol::V2, &view).0.unwrap();
    assert_eq!((batch.samples, batch.exemplars), (2, 3));
    assert_eq!(read_v2(&batch), [[vec![0], vec![], vec![5, 5]], [vec![], vec![0], vec![3]]]);
    // The next batch has no sample of it yet; and their order holds from batch to batch.
    assert_eq!(batcher.push_exemplar(exemplar(a, 6, 1.0)), Err(Reason::LoneExemplar));
    batcher.push(&at(a, 7, 1.0), &view);
    assert_eq!(batcher.push_exemplar(exemplar(a, 4, 1.0)), Err(Reason::OutOfOrder));
    let batch = batcher.cut(Protocol::V2, &view).0.unwrap();
    assert_eq!((batch.samples, batch.exemplars), (1, 0));
}

#[test]
fn histograms_and_exemplars_keep_the_limits() {
    let table = SeriesTable::new(1000);
    let a = series(&table, "a");
    let view = table.view();
    let mut refusals = 0;
    for max_bytes in [90, 110, 130, 250] {
        let mut batcher = Batcher::new(Limits { max_samples: 3, max_bytes, ..LIMITS });
        let (mut batches, mut refused) = (Vec::new(), 0);
        for offset in 0..20 {
            let histogram = histogram(a, offset, Shape::FloatHistogram);
            if let Err(histogram) = batcher.push_histogram(histogram, &view) {
                batches.extend(batcher.cut(Protocol::V2, &view).0);
                assert_eq!(batcher.push_histogram(histogram, &view), Ok(Pushed::Taken));
            }
            refused += u64::from(batcher.push_exemplar(exemplar(a, offset, 1.0)) == Err(Reason::TooManyExemplars));
        }
        batches.extend(batcher.cut(Protocol::V2, &view).0);
        assert!(batches.iter().all(|batch| batch.samples <= 3 && batch.message_len <= max_bytes));
        assert_eq!(batches.iter().map(|batch| batch.samples).sum::<u64>(), 20);
        refusals += refused;
        assert_eq!(batches.iter().map(|batch| batch.exemplars).sum::<u64>() + refused, 20);
        let batches = batches.iter().flat_map(read_v2).map(|[_, histograms, exemplars]| (histograms, exemplars));
        assert!(batches.flat_map(|(histograms, _)| histograms).eq(0..20));
    }
    assert!(refusals > 0);

    let mut batcher = Batcher::new(LIMITS);
    batcher.push(&at(a, 0, 1.0), &view);
    let pushed = (0..rare::MAX_EXEMPLARS as i64 + 1).map(|n| batcher.push_exemplar(exemplar(a, n, 1.0)));
    assert_eq!(pushed.filter(|pushed| *pushed == Err(Reason::TooManyExemplars)).count(), 1);
}

#[test]
fn what_1_0_leaves_out_is_counted_once() {
    let table = SeriesTable::new(1000);
    let (a, b) = (series(&table, "a"), series(&table, "b"));
    table.set_start(a, EARLIEST_MS + 5);
    let mut batcher = Batcher::new(LIMITS);
    let mut cut = |offset, protocol| {
        let view = table.view();
        batcher.push(&at(a, offset, 1.0), &view);
        batcher.push(&at(a, offset + 5, 1.0), &view);
        batcher.push_histogram(histogram(b, offset, Shape::FloatHistogram), &view).unwrap();
        batcher.cut(protocol, &view).0.unwrap()
    };
    // The first sample is from before the start.
    assert_eq!(cut(0, V1).left_out_starts, 1);
    table.set_start(b, EARLIEST_MS);
    assert_eq!(cut(10, V1).left_out_starts, 3);
    let second = cut(20, Protocol::V2);
    assert_eq!(second.left_out_starts, 0);
    assert_eq!(transcode::to_v1(&second.body).unwrap().left_out_starts, 3);
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

proptest! {
    #[test]
    fn a_run_is_taken_as_its_samples_alone(
        sent in prop::collection::vec((0..4usize, -2..40i64, 0..6u8), 0..80),
        max_samples in 1usize..20,
        max_bytes in 60usize..900,
        allow_out_of_order: bool,
    ) {
        let table = SeriesTable::new(1000);
        let ids: Vec<_> = ["a", "b", "c"].iter().map(|name| series(&table, name)).collect();
        let stranger = SeriesId { index: 9, generation: 1 };
        let value = |kind: u8| match kind {
            0 => f64::from_bits(STALE_NAN),
            1 => f64::NAN,
            2 => 0.0,
            other => other.into(),
        };
        // Most go forward in time, some are far too old.
        let sample = |(i, &(of, offset, kind)): (i64, &(usize, i64, u8))| {
            let offset = if offset == -1 { i64::MIN / 2 } else { 10 * i + offset };
            at(ids.get(of).copied().unwrap_or(stranger), offset, value(kind))
        };
        let samples: Vec<_> = (0..).zip(&sent).map(sample).collect();
        let limits = Limits { max_samples, max_bytes, allow_out_of_order };
        let view = table.view();
        let batches = |by_run: bool| {
            let (mut batcher, mut batches, mut dropped) = (Batcher::new(limits), Vec::new(), Vec::new());
            for run in samples.chunk_by(|a, b| a.series() == b.series()) {
                let mut run = run.iter().peekable();
                while let Some(first) = run.peek() {
                    let series = SeriesId::from_number(first.series());
                    if by_run {
                        batcher.push_run(series, &mut run, &view);
                    }
                    let Some(sample) = run.next() else { break };
                    let mut pushed = batcher.push(sample, &view);
                    if pushed == Pushed::Full {
                        batches.push(batcher.cut(V1, &view).0.unwrap());
                        pushed = batcher.push(sample, &view);
                    }
                    dropped.extend(Some(pushed).filter(|pushed| *pushed != Pushed::Taken));
                }
            }
            let ended: Vec<_> = ids.iter().map(|id| batcher.end(*id, &view)).collect();
            batches.extend(batcher.cut(V1, &view).0);
            let told = batches.into_iter().map(|batch| (batch.body, batch.samples, batch.time_range_ms));
            (told.collect::<Vec<_>>(), dropped, ended)
        };
        prop_assert_eq!(batches(true), batches(false));
    }
}
