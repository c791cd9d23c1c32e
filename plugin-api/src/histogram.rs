//! Native histograms: observations counted in buckets that need no bounds written down, many in one sample.
//!
//! Enters: observations, or counts by bucket. Leaves: a [`HistogramSample`], which the host sends as it is. Never: looks
//! at whether the counts make sense; the host does, and drops what a receiver would refuse (`invalid_histogram`).
//!
//! Buckets, schemas and the zero bucket are those of the Prometheus native histograms specification.

use std::collections::BTreeMap;
use std::time::Duration;

use abi_stable::std_types::RSlice;

use crate::abi::{AbiExemplar, AbiHistogram, AbiSpan, CUSTOM_BUCKETS, HostBox, counting, reset};
use crate::sender::{Emit, nanoseconds, sealed as emit};

/// Observations nearer to zero than this lie in the zero bucket unless [`Histogram::zero`] says otherwise: 2^-128, as
/// in Prometheus' own client library.
const ZERO_THRESHOLD: f64 = f64::from_bits((1023 - 128) << 52);

/// A native histogram; `C` is what it counts with: `u64`, or `f64` for weighted or scaled counts.
///
/// With an exponential schema, bucket `i` holds what lies above `b^(i-1)` and up to `b^i`, where `b = 2^(2^-schema)`:
/// schema 0 doubles from bucket to bucket, schema 3 grows by 9 %. Negative observations have buckets of their own, by
/// their absolute value. With custom bounds, bucket `i` holds what lies above bound `i-1` and up to bound `i`, and one
/// more bucket what lies above the last. Unless it is a gauge, counts only grow from sample to sample, or begin again.
///
/// ```no_run
/// # use monitor_plugin_api::{Error, Histogram, RecordSender, SeriesSpec, now_ms};
/// # fn send(out: &RecordSender) -> Result<(), Error> {
/// let series = out.register(SeriesSpec::histogram("read_seconds").unit("seconds"))?;
/// let mut reads = Histogram::exponential(3);
/// reads.observe(0.0021);
/// let _ = out.send(series.histogram(&reads, now_ms()));
///
/// // The same from counts that somebody else has made: 5, 0 and 2 observations in the buckets 7, 8 and 9.
/// let counted = Histogram::<u64>::exponential(0).positive(7, [5, 0, 2]).sum(1200.0);
/// let _ = out.send(series.histogram(&counted, now_ms()));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram<C = u64> {
    schema: i32,
    bounds: Vec<f64>,
    zero_threshold: f64,
    zero: C,
    positive: BTreeMap<i32, C>,
    negative: BTreeMap<i32, C>,
    count: Option<C>,
    sum: f64,
    reset: i32,
}

/// What a [`Histogram`] can count with: `u64` and `f64`.
pub trait Count: sealed::Sealed {}
impl Count for u64 {}
impl Count for f64 {}

mod sealed {
    use super::{Buckets, Counts};

    pub trait Sealed: Copy + Default {
        fn plus(self, other: Self) -> Self;
        fn counts(buckets: Buckets<Self>) -> Counts;
    }
}

impl sealed::Sealed for u64 {
    fn plus(self, other: u64) -> u64 {
        self.saturating_add(other)
    }

    fn counts(buckets: Buckets<u64>) -> Counts {
        Counts::Integer(buckets)
    }
}

impl sealed::Sealed for f64 {
    fn plus(self, other: f64) -> f64 {
        self + other
    }

    fn counts(buckets: Buckets<f64>) -> Counts {
        Counts::Float(buckets)
    }
}

impl<C: Count> Histogram<C> {
    /// An empty one with exponential buckets; `schema` from -4 (a bucket spans a factor of 65536) to 8 (0.3 %).
    pub fn exponential(schema: i32) -> Self {
        Self::empty(schema, Vec::new(), ZERO_THRESHOLD)
    }

    /// An empty one with these upper bounds, finite and rising, of its buckets; what lies above the last has one too.
    /// Prometheus takes such histograms from 3.0 on.
    pub fn custom(bounds: impl Into<Vec<f64>>) -> Self {
        Self::empty(CUSTOM_BUCKETS, bounds.into(), 0.0)
    }

    fn empty(schema: i32, bounds: Vec<f64>, zero_threshold: f64) -> Self {
        Histogram {
            schema,
            bounds,
            zero_threshold,
            zero: C::default(),
            positive: BTreeMap::new(),
            negative: BTreeMap::new(),
            count: None,
            sum: 0.0,
            reset: reset::UNKNOWN,
        }
    }

    /// Adds counts to a run of buckets, from bucket `first` on.
    #[must_use]
    pub fn positive(mut self, first: i32, counts: impl IntoIterator<Item = C>) -> Self {
        add(&mut self.positive, first, counts);
        self
    }

    /// As [`positive`](Self::positive), for observations below zero; never with custom bounds.
    #[must_use]
    pub fn negative(mut self, first: i32, counts: impl IntoIterator<Item = C>) -> Self {
        add(&mut self.negative, first, counts);
        self
    }

    /// Sets the zero bucket: observations whose absolute value is at most `threshold`, and how many they are. Never with
    /// custom bounds.
    #[must_use]
    pub fn zero(mut self, threshold: f64, count: C) -> Self {
        (self.zero_threshold, self.zero) = (threshold, count);
        self
    }

    /// Sets the sum of all observations, in the unit of the series.
    #[must_use]
    pub fn sum(mut self, sum: f64) -> Self {
        self.sum = sum;
        self
    }

    /// Sets the number of observations. Left out, it is that of all buckets, and so it must be unless the sum is NaN:
    /// observations of NaN lie in no bucket.
    #[must_use]
    pub fn count(mut self, count: C) -> Self {
        self.count = Some(count);
        self
    }

    /// It is a gauge: its counts are those of the moment, and go down as well. Its series is of
    /// [`Kind::GaugeHistogram`](crate::Kind::GaugeHistogram).
    #[must_use]
    pub fn gauge(mut self) -> Self {
        self.reset = reset::GAUGE;
        self
    }

    pub(crate) fn sample(&self, series: u64, timestamp_ms: i64) -> HistogramSample {
        let all = [self.zero].into_iter().chain(self.positive.values().chain(self.negative.values()).copied());
        let counts = C::counts(Buckets {
            count: self.count.unwrap_or_else(|| all.fold(C::default(), C::plus)),
            zero: self.zero,
            positive: runs(&self.positive),
            negative: runs(&self.negative),
        });
        let Histogram { schema, sum, zero_threshold, reset, .. } = *self;
        HistogramSample {
            series,
            timestamp_ms,
            schema,
            sum,
            zero_threshold,
            reset,
            bounds: self.bounds.clone(),
            counts,
        }
    }
}

impl Histogram<u64> {
    /// Counts one observation, in the unit of the series. Each bucket that was ever hit is kept and sent: a resolution
    /// far beyond the sensor's costs memory and bytes.
    pub fn observe(&mut self, value: f64) {
        self.sum += value;
        if let Some(count) = &mut self.count {
            *count += 1;
        }
        if value.is_nan() {
            let (positive, negative) = (self.positive.values(), self.negative.values());
            let counted = self.zero + positive.chain(negative).sum::<u64>();
            self.count.get_or_insert(counted + 1);
        } else if self.schema == CUSTOM_BUCKETS {
            // As many bounds as memory holds: fewer than 2^31.
            let bucket = self.bounds.partition_point(|bound| *bound < value) as i32;
            add(&mut self.positive, bucket, [1]);
        } else if value.abs() <= self.zero_threshold {
            self.zero += 1;
        } else {
            let buckets = if value > 0.0 { &mut self.positive } else { &mut self.negative };
            add(buckets, bucket(value.abs(), self.schema), [1]);
        }
    }
}

/// The bucket of a value above zero, infinity included, which lies one beyond the largest number's.
fn bucket(value: f64, schema: i32) -> i32 {
    let (fraction, exponent) = split(value.min(f64::MAX));
    let index = if schema <= 0 {
        // A power of two is the upper bound of its bucket.
        let doubling = if fraction == 0.5 { exponent - 1 } else { exponent };
        let width = 1 << (-schema).min(30);
        (doubling + width - 1).div_euclid(width)
    } else {
        let in_doubling = 1 << schema.min(20);
        // The upper bound of bucket `i` of those between 1/2 and 1; logarithm and power may be off by a rounding.
        let bound = |i: i32| 0.5 * (f64::from(i) / f64::from(in_doubling)).exp2();
        let mut i = ((fraction.log2() + 1.0) * f64::from(in_doubling)).ceil() as i32;
        while i > 0 && bound(i - 1) >= fraction {
            i -= 1;
        }
        while bound(i) < fraction {
            i += 1;
        }
        i + (exponent - 1) * in_doubling
    };
    if value.is_infinite() { index + 1 } else { index }
}

/// A positive finite number as `fraction * 2^exponent`, with a fraction from 1/2 up to, but not, 1.
fn split(value: f64) -> (f64, i32) {
    // Subnormal numbers are made normal first.
    let (value, scaled) = if value < f64::MIN_POSITIVE { (value * 2f64.powi(54), 54) } else { (value, 0) };
    let bits = value.to_bits();
    let exponent = (bits >> 52) as i32 - 1022;
    (f64::from_bits(bits & !(0x7ff << 52) | 1022 << 52), exponent - scaled)
}

fn add<C: Count>(buckets: &mut BTreeMap<i32, C>, first: i32, counts: impl IntoIterator<Item = C>) {
    for (i, count) in (0..).zip(counts) {
        let bucket = buckets.entry(first.saturating_add(i)).or_default();
        *bucket = bucket.plus(count);
    }
}

/// Buckets as spans and their counts.
fn runs<C: Copy>(buckets: &BTreeMap<i32, C>) -> (Vec<AbiSpan>, Vec<C>) {
    let (mut spans, mut end): (Vec<AbiSpan>, i64) = (Vec::new(), 0);
    for &index in buckets.keys() {
        let gap = i64::from(index) - end;
        match spans.last_mut() {
            Some(span) if gap == 0 => span.length += 1,
            // A gap beyond this is one that the host refuses.
            _ => spans.push(AbiSpan { offset: gap.try_into().unwrap_or(i32::MAX), length: 1 }),
        }
        end = i64::from(index) + 1;
    }
    (spans, buckets.values().copied().collect())
}

/// A histogram at one moment, ready to be sent; see [`Series::histogram`](crate::Series::histogram).
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramSample {
    series: u64,
    timestamp_ms: i64,
    schema: i32,
    sum: f64,
    zero_threshold: f64,
    reset: i32,
    bounds: Vec<f64>,
    counts: Counts,
}

#[doc(hidden)]
#[derive(Clone, Debug, PartialEq)]
pub enum Counts {
    Integer(Buckets<u64>),
    Float(Buckets<f64>),
}

#[doc(hidden)]
#[derive(Clone, Debug, PartialEq)]
pub struct Buckets<C> {
    count: C,
    zero: C,
    positive: (Vec<AbiSpan>, Vec<C>),
    negative: (Vec<AbiSpan>, Vec<C>),
}

impl HistogramSample {
    fn abi(&self) -> AbiHistogram<'_> {
        let empty = AbiHistogram {
            reset: self.reset,
            schema: self.schema,
            sum: self.sum,
            zero_threshold: self.zero_threshold,
            custom_values: RSlice::from_slice(&self.bounds),
            ..AbiHistogram::empty(self.series, self.timestamp_ms)
        };
        match &self.counts {
            Counts::Integer(Buckets { count, zero, positive, negative }) => AbiHistogram {
                count_int: *count,
                zero_count_int: *zero,
                negative_spans: RSlice::from_slice(&negative.0),
                negative_int: RSlice::from_slice(&negative.1),
                positive_spans: RSlice::from_slice(&positive.0),
                positive_int: RSlice::from_slice(&positive.1),
                ..empty
            },
            Counts::Float(Buckets { count, zero, positive, negative }) => AbiHistogram {
                counting: counting::FLOAT,
                count_float: *count,
                zero_count_float: *zero,
                negative_spans: RSlice::from_slice(&negative.0),
                negative_float: RSlice::from_slice(&negative.1),
                positive_spans: RSlice::from_slice(&positive.0),
                positive_float: RSlice::from_slice(&positive.1),
                ..empty
            },
        }
    }
}

impl Emit for HistogramSample {}
impl emit::Sealed for HistogramSample {
    fn offer(&self, host: &HostBox, timeout: Duration) -> i32 {
        offer(std::slice::from_ref(self), &[], host, timeout)
    }
}

impl Emit for &[HistogramSample] {}
impl emit::Sealed for &[HistogramSample] {
    fn offer(&self, host: &HostBox, timeout: Duration) -> i32 {
        offer(self, &[], host, timeout)
    }
}

pub(crate) fn offer(
    histograms: &[HistogramSample],
    exemplars: &[AbiExemplar<'_>],
    host: &HostBox,
    timeout: Duration,
) -> i32 {
    let abi: Vec<AbiHistogram<'_>> = histograms.iter().map(HistogramSample::abi).collect();
    host.send_histograms(RSlice::from_slice(&abi), RSlice::from_slice(exemplars), nanoseconds(timeout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lies_in_its_bucket() {
        for schema in -4..=8 {
            let bound = |i: i32| (f64::from(i) * (f64::from(-schema)).exp2()).exp2();
            for value in [1e-300, 1e-9, 0.3, 0.999, 1.0, 1.001, 2.0, 3.0, 1024.0, 1e6, 1e300] {
                let i = bucket(value, schema);
                // The bounds themselves are only as exact as the power is.
                let within = bound(i - 1) < value * (1.0 + 1e-12) && value <= bound(i) * (1.0 + 1e-12);
                assert!(within, "{value} in bucket {i} of schema {schema}: {} to {}", bound(i - 1), bound(i));
            }
            assert_eq!(bucket(1.0, schema), 0, "one is the upper bound of bucket 0 in every schema");
            assert_eq!(bucket(f64::INFINITY, schema), bucket(f64::MAX, schema) + 1);
        }
        // 65536 is the upper bound of bucket 1 in schema -4, and the smallest numbers lie 1074 doublings below one.
        assert_eq!((bucket(65536.0, -4), bucket(65537.0, -4), bucket(0.9, -4)), (1, 2, 0));
        assert_eq!((bucket(f64::from_bits(1), 0), bucket(f64::MIN_POSITIVE, 0)), (-1074, -1022));
        assert_eq!((bucket(f64::MAX, 0), bucket(f64::MAX, 8)), (1024, 262_144));
    }

    #[test]
    fn observations_are_counted() {
        let mut histogram = Histogram::exponential(0);
        for value in [0.0, 1e-39, 0.75, 1.0, 3.0, -3.0, -4.0] {
            histogram.observe(value);
        }
        let counted = Histogram::<u64>::exponential(0).zero(ZERO_THRESHOLD, 2).positive(0, [2]).positive(2, [1]);
        assert_eq!(histogram, counted.negative(2, [2]).sum(-2.25 + 1e-39));
        let Counts::Integer(buckets) = histogram.sample(1, 2).counts else { panic!() };
        assert_eq!((buckets.count, buckets.positive.1), (7, vec![2, 1]));
        let spans: Vec<_> = buckets.positive.0.iter().map(|span| (span.offset, span.length)).collect();
        assert_eq!(spans, [(0, 1), (1, 1)]);
        // What is no number lies in no bucket.
        histogram.observe(f64::NAN);
        histogram.observe(1.0);
        let sample = histogram.sample(1, 2);
        let Counts::Integer(buckets) = &sample.counts else { panic!() };
        assert_eq!((buckets.count, &*buckets.positive.1, sample.sum.is_nan()), (9, &[3, 1][..], true));
    }

    #[test]
    fn custom_bounds_are_upper_bounds() {
        let mut histogram = Histogram::custom([0.1, 1.0]);
        [0.05, 0.1, 0.5, 2.0, f64::INFINITY].into_iter().for_each(|value| histogram.observe(value));
        assert_eq!(histogram.positive.into_iter().collect::<Vec<_>>(), [(0, 2), (1, 1), (2, 2)]);
    }
}
