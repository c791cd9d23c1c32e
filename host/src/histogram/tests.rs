use super::*;
use abi_stable::std_types::RSlice;
use monitor_plugin_api::abi::{counting, reset};
use monitor_proto::{v1, v2};
use proptest::prelude::*;
use prost::Message;

const NOW: i64 = 1_760_000_000_000;

pub(crate) fn empty() -> AbiHistogram<'static> {
    AbiHistogram::empty(1, NOW)
}

/// Spans that live as long as the program.
macro_rules! spans {
    ($(($offset:expr, $length:expr)),*) => {
        &[$(AbiSpan { offset: $offset, length: $length }),*]
    };
}

fn span(offset: i32, length: u32) -> AbiSpan {
    AbiSpan { offset, length }
}

fn integers(spans: &'static [AbiSpan], counts: &'static [u64]) -> AbiHistogram<'static> {
    AbiHistogram {
        positive_spans: RSlice::from_slice(spans),
        positive_int: RSlice::from_slice(counts),
        count_int: counts.iter().fold(0, |sum, count| sum.saturating_add(*count)),
        ..empty()
    }
}

fn floats(counts: &'static [f64]) -> AbiHistogram<'static> {
    AbiHistogram {
        counting: counting::FLOAT,
        positive_spans: RSlice::from_slice(spans![(0, 2)]),
        positive_float: RSlice::from_slice(counts),
        count_float: 1.0,
        ..empty()
    }
}

fn custom(bounds: &'static [f64]) -> AbiHistogram<'static> {
    let custom_values = RSlice::from_slice(bounds);
    AbiHistogram { schema: CUSTOM_BUCKETS, custom_values, ..integers(spans![(1, 2)], &[1, 2]) }
}

#[test]
fn what_receivers_would_refuse_is_refused() {
    let plain = || integers(spans![(-3, 2), (1, 1)], &[1, 2, 3]);
    for good in [
        empty(),
        plain(),
        AbiHistogram { sum: f64::NAN, count_int: 7, ..plain() },
        AbiHistogram { sum: f64::INFINITY, schema: 8, zero_threshold: 0.5, reset: reset::GAUGE, ..plain() },
        floats(&[0.5, 0.0]),
        // Sums of floats are not compared.
        AbiHistogram { count_float: 99.0, ..floats(&[0.5, 0.25]) },
        custom(&[-1.0, 0.0]),
        custom(&[1.0, 2.0, 3.0]),
        integers(spans![(0, 1)], &[i64::MAX as u64]),
    ] {
        assert!(Histogram::new(&good).is_ok(), "{good:?}");
    }
    for bad in [
        AbiHistogram { counting: 2, ..plain() },
        AbiHistogram { reset: 4, ..plain() },
        AbiHistogram { reset: -1, ..plain() },
        AbiHistogram { schema: 9, ..plain() },
        AbiHistogram { schema: -5, ..plain() },
        AbiHistogram { zero_threshold: -1.0, ..plain() },
        AbiHistogram { zero_threshold: f64::NAN, ..plain() },
        AbiHistogram { count_int: 7, ..plain() },
        AbiHistogram { count_int: 5, sum: f64::NAN, ..plain() },
        AbiHistogram { zero_count_int: 1, ..plain() },
        AbiHistogram { custom_values: RSlice::from_slice(&[1.0]), ..plain() },
        integers(spans![(0, 2)], &[1]),
        integers(spans![(0, 1), (-1, 1)], &[1, 1]),
        integers(spans![(i32::MAX, 1)], &[1]),
        integers(spans![(0, 2)], &[u64::MAX, 1]),
        integers(spans![(0, u32::MAX)], &[1]),
        floats(&[0.5, -0.5]),
        floats(&[0.5, f64::NAN]),
        floats(&[f64::INFINITY, 0.0]),
        AbiHistogram { count_float: f64::NAN, ..floats(&[0.5, 0.5]) },
        custom(&[1.0]),
        custom(&[2.0, 1.0]),
        custom(&[1.0, 1.0]),
        custom(&[1.0, f64::INFINITY]),
        custom(&[f64::NAN, 1.0]),
        AbiHistogram { zero_threshold: 1.0, ..custom(&[1.0, 2.0]) },
        AbiHistogram { positive_spans: RSlice::from_slice(spans![(-1, 2)]), ..custom(&[1.0, 2.0]) },
        AbiHistogram { negative_spans: RSlice::from_slice(spans![(0, 0)]), ..custom(&[1.0, 2.0]) },
        AbiHistogram { zero_count_int: 1, count_int: 4, ..custom(&[1.0, 2.0]) },
    ] {
        assert!(Histogram::new(&bad).is_err(), "{bad:?}");
    }
    let many = vec![1; MAX_BUCKETS + 1];
    let spans = [span(0, many.len() as u32)];
    let many = AbiHistogram {
        positive_spans: RSlice::from_slice(&spans),
        positive_int: RSlice::from_slice(&many),
        count_int: many.len() as u64,
        ..empty()
    };
    assert!(Histogram::new(&many).unwrap_err().contains("16384"));
}

#[test]
fn a_stale_marker_is_a_sum() {
    for shape in [Shape::IntegerHistogram, Shape::FloatHistogram] {
        let marker = Histogram::stale(SeriesId::from_number(1), NOW, shape);
        let read = v1::Histogram::decode(&*marker.body).unwrap();
        assert_eq!((read.sum.to_bits(), read.timestamp), (STALE_NAN, NOW));
        let is_float = matches!(read.count, Some(v1::histogram::Count::CountFloat(0.0)));
        assert_eq!((is_float, shape), (shape == Shape::FloatHistogram, marker.shape));
    }
    // Data never looks like one.
    let data = Histogram::new(&AbiHistogram { sum: f64::from_bits(STALE_NAN), ..empty() }).unwrap();
    assert_eq!(v1::Histogram::decode(&*data.body).unwrap().sum.to_bits(), monitor_proto::NORMAL_NAN);
}

/// Buckets that fit together: gaps, and counts for each run.
fn runs() -> impl Strategy<Value = Vec<(u8, Vec<u32>)>> {
    prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u32>(), 0..5)), 0..4)
}

type Runs = (Vec<AbiSpan>, Vec<u64>, Vec<f64>);

fn spans(runs: &[(u8, Vec<u32>)], first: i32) -> Runs {
    let span = |(i, (gap, counts)): (usize, &(u8, Vec<u32>))| {
        span(i32::from(*gap) + if i == 0 { first } else { 0 }, counts.len() as u32)
    };
    let counts: Vec<u64> = runs.iter().flat_map(|(_, counts)| counts).map(|&count| count.into()).collect();
    let floats = counts.iter().map(|&count| count as f64 / 3.0).collect();
    (runs.iter().enumerate().map(span).collect(), counts, floats)
}

proptest! {
    #[test]
    fn prost_reads_what_was_meant(
        positive in runs(), negative in runs(), first in -1000i32..1000, zero: u32, is_float: bool,
        (sum, schema, hint, threshold) in (any::<f64>(), -4i32..=8, 0i32..4, 0.0..1e9f64),
        bounds in prop::option::of(prop::collection::btree_set(-1000i32..1000, 1..5)),
    ) {
        let positive = spans(&positive, first);
        let negative = spans(&negative, first);
        let counted = positive.1.iter().chain(&negative.1).sum::<u64>() + u64::from(zero);
        let given = AbiHistogram {
            counting: i32::from(is_float),
            reset: hint,
            schema,
            sum,
            zero_threshold: threshold,
            count_int: counted,
            count_float: counted as f64,
            zero_count_int: zero.into(),
            zero_count_float: f64::from(zero),
            negative_spans: RSlice::from_slice(&negative.0),
            negative_int: RSlice::from_slice(if is_float { &[] } else { &negative.1 }),
            negative_float: RSlice::from_slice(if is_float { &negative.2 } else { &[] }),
            positive_spans: RSlice::from_slice(&positive.0),
            positive_int: RSlice::from_slice(if is_float { &[] } else { &positive.1 }),
            positive_float: RSlice::from_slice(if is_float { &positive.2 } else { &[] }),
            ..empty()
        };
        let bounds: Vec<f64> = bounds.iter().flatten().map(|&bound| f64::from(bound)).collect();
        let (all, of_all): (Vec<u64>, Vec<f64>) = (0..=bounds.len() as u64).map(|n| (n, n as f64 / 7.0)).unzip();
        let one_run = [span(0, all.len() as u32)];
        let given = if bounds.is_empty() { given } else {
            AbiHistogram {
                counting: given.counting,
                reset: hint,
                schema: CUSTOM_BUCKETS,
                sum,
                count_int: all.iter().sum(),
                count_float: of_all.iter().sum(),
                positive_spans: RSlice::from_slice(&one_run),
                positive_int: RSlice::from_slice(if is_float { &[] } else { &all }),
                positive_float: RSlice::from_slice(if is_float { &of_all } else { &[] }),
                custom_values: RSlice::from_slice(&bounds),
                ..empty()
            }
        };
        let histogram = Histogram::new(&given).unwrap();
        let read = v2::Histogram::decode(&*histogram.body).unwrap();

        // The fields are the same in both messages.
        let other = v1::Histogram::decode(&*histogram.body).unwrap();
        prop_assert_eq!(other.encode_to_vec(), read.encode_to_vec());

        prop_assert_eq!(read.sum.to_bits(), sample::canonical(sum).to_bits());
        prop_assert_eq!((read.schema, read.reset_hint, read.timestamp), (given.schema, hint, NOW));
        prop_assert_eq!(read.zero_threshold, given.zero_threshold);
        prop_assert_eq!(&read.custom_values[..], given.custom_values.as_slice());
        let read_spans = |spans: &[v2::BucketSpan]| spans.iter().map(|s| span(s.offset, s.length)).collect::<Vec<_>>();
        prop_assert_eq!(&read_spans(&read.positive_spans)[..], given.positive_spans.as_slice());
        prop_assert_eq!(&read_spans(&read.negative_spans)[..], given.negative_spans.as_slice());
        if is_float {
            prop_assert_eq!(read.count, Some(v2::histogram::Count::CountFloat(given.count_float)));
            prop_assert_eq!(read.zero_count, Some(v2::histogram::ZeroCount::ZeroCountFloat(given.zero_count_float)));
            prop_assert_eq!(&read.positive_counts[..], given.positive_float.as_slice());
            prop_assert_eq!(&read.negative_counts[..], given.negative_float.as_slice());
            prop_assert!(read.positive_deltas.is_empty() && read.negative_deltas.is_empty());
        } else {
            prop_assert_eq!(read.count, Some(v2::histogram::Count::CountInt(given.count_int)));
            prop_assert_eq!(read.zero_count, Some(v2::histogram::ZeroCount::ZeroCountInt(given.zero_count_int)));
            let absolute = |deltas: &[i64]| deltas.iter().scan(0, |sum, delta| { *sum += delta; Some(*sum as u64) }).collect::<Vec<_>>();
            prop_assert_eq!(&absolute(&read.positive_deltas)[..], given.positive_int.as_slice());
            prop_assert_eq!(&absolute(&read.negative_deltas)[..], given.negative_int.as_slice());
            prop_assert!(read.positive_counts.is_empty() && read.negative_counts.is_empty());
        }
    }
}
