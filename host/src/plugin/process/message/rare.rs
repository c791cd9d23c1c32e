//! Sends with histograms or exemplars, as one message or, where they are long, as several.
//!
//! Enters: what the plugin sends, or the bytes. Leaves: the bytes, or [`Rare`], which lends what the host's boundary takes.
//!
//! Never: parts an exemplar from its sample, but where there are more than any batch takes; writes more of what is too
//! long than shows that it is.

use std::collections::HashMap;
use std::ops::Range;

use abi_stable::std_types::RSlice;
use monitor_plugin_api::Sample;
use monitor_plugin_api::abi::{AbiExemplar, AbiHistogram, AbiLabel, AbiSpan};

use super::super::codec::{Take, clip, put_str, put_u32, put_u64};
use super::{Malformed, kind, put_samples};
use crate::exemplar::MAX_CHARACTERS;
use crate::histogram::MAX_BUCKETS;

/// As many exemplars as a message holds; a batch takes no more (`batch/rare.rs`).
const MOST_EXEMPLARS: usize = 10_000;

/// More bytes of labels than this are more than [`MAX_CHARACTERS`] characters.
const MOST_LABEL_BYTES: usize = 4 * MAX_CHARACTERS;

/// How a send goes in messages of some `soft_limit` bytes: which of its items, each given by its series and about how many
/// bytes it takes, and which exemplars. An exemplar goes with the last item of its series, as the host has it.
pub(in super::super) fn parts<'a>(
    items: impl Iterator<Item = (u64, usize)> + Clone,
    exemplars: &[AbiExemplar<'a>],
    soft_limit: usize,
) -> Vec<(Range<usize>, Vec<AbiExemplar<'a>>)> {
    let (mut ranges, mut begin, mut bytes, mut count) = (Vec::new(), 0, 0, 0);
    for (_, more) in items.clone() {
        if bytes > 0 && bytes + more > soft_limit {
            ranges.push(begin..count);
            (begin, bytes) = (count, 0);
        }
        bytes += more;
        count += 1;
    }
    ranges.push(begin..count);
    let mut part_of = HashMap::new();
    if ranges.len() > 1 {
        let parts = ranges.iter().enumerate().flat_map(|(part, range)| range.clone().map(move |_| part));
        part_of.extend(items.map(|(series, _)| series).zip(parts));
    }
    let mut parts: Vec<_> = ranges.into_iter().map(|range| (range, Vec::new())).collect();
    let mut too_many = Vec::new();
    for exemplar in exemplars {
        let own = &mut parts[part_of.get(&exemplar.series).copied().unwrap_or(0)].1;
        if own.len() < MOST_EXEMPLARS { own.push(*exemplar) } else { too_many.push(*exemplar) }
    }
    // The host counts them as dropped.
    parts.extend(too_many.chunks(MOST_EXEMPLARS).map(|exemplars| (count..count, exemplars.to_vec())));
    parts
}

/// About how many bytes a histogram takes.
pub(in super::super) fn histogram_bytes(histogram: &AbiHistogram<'_>) -> usize {
    let lists = [
        histogram.negative_spans.len(),
        histogram.positive_spans.len(),
        histogram.negative_int.len(),
        histogram.positive_int.len(),
        histogram.negative_float.len(),
        histogram.positive_float.len(),
        histogram.custom_values.len(),
    ];
    100 + lists.into_iter().map(|items| 8 * items.min(MAX_BUCKETS + 1)).sum::<usize>()
}

/// Samples or histograms, with their exemplars.
#[derive(Debug)]
pub(in super::super) struct Rare<'a> {
    pub(in super::super) samples: Vec<Sample>,
    histograms: Vec<Owned>,
    /// Those of all exemplars.
    labels: Vec<AbiLabel<'a>>,
    exemplars: Vec<Exemplar>,
}

/// Series, number of labels, value, timestamp.
type Exemplar = (u64, usize, f64, i64);

/// A histogram without its lists, which lie beside it.
#[derive(Debug)]
struct Owned {
    plain: AbiHistogram<'static>,
    spans: [Vec<AbiSpan>; 2],
    int: [Vec<u64>; 2],
    float: [Vec<f64>; 2],
    custom_values: Vec<f64>,
}

impl Rare<'_> {
    /// As the host takes them.
    pub(in super::super) fn histograms(&self) -> Vec<AbiHistogram<'_>> {
        self.histograms.iter().map(Owned::lend).collect()
    }

    /// As the host takes them.
    pub(in super::super) fn exemplars(&self) -> Vec<AbiExemplar<'_>> {
        let mut rest = self.labels.as_slice();
        let lend = |&(series, labels, value, timestamp_ms): &Exemplar| {
            let (own, others) = rest.split_at(labels);
            rest = others;
            AbiExemplar { series, labels: own.into(), value, timestamp_ms }
        };
        self.exemplars.iter().map(lend).collect()
    }
}

impl Owned {
    fn lend(&self) -> AbiHistogram<'_> {
        let [negative_spans, positive_spans] = &self.spans;
        let ([negative_int, positive_int], [negative_float, positive_float]) = (&self.int, &self.float);
        AbiHistogram {
            negative_spans: negative_spans.as_slice().into(),
            negative_int: negative_int.as_slice().into(),
            negative_float: negative_float.as_slice().into(),
            positive_spans: positive_spans.as_slice().into(),
            positive_int: positive_int.as_slice().into(),
            positive_float: positive_float.as_slice().into(),
            custom_values: self.custom_values.as_slice().into(),
            ..self.plain
        }
    }
}

pub(in super::super) fn samples_with_exemplars(out: &mut Vec<u8>, samples: &[Sample], exemplars: &[AbiExemplar<'_>]) {
    out.push(kind::SAMPLES_WITH_EXEMPLARS);
    put_exemplars(out, exemplars);
    put_samples(out, samples);
}

pub(in super::super) fn histograms(out: &mut Vec<u8>, histograms: &[AbiHistogram<'_>], exemplars: &[AbiExemplar<'_>]) {
    out.push(kind::HISTOGRAMS);
    put_exemplars(out, exemplars);
    put_u32(out, histograms.len() as u32);
    for histogram in histograms {
        put_histogram(out, histogram);
    }
}

/// Labels that are too many or too long stay so, which is all that the host needs to refuse them.
fn put_exemplars(out: &mut Vec<u8>, exemplars: &[AbiExemplar<'_>]) {
    put_u32(out, exemplars.len() as u32);
    for exemplar in exemplars {
        put_u64(out, exemplar.series);
        put_u64(out, exemplar.value.to_bits());
        put_u64(out, exemplar.timestamp_ms as u64);
        let count_at = out.len();
        put_u32(out, 0);
        let (mut count, mut bytes) = (0_u32, 0);
        for label in exemplar.labels.iter().take(MAX_CHARACTERS + 1) {
            put_str(out, clip(label.name.as_str(), MOST_LABEL_BYTES));
            put_str(out, clip(label.value.as_str(), MOST_LABEL_BYTES));
            count += 1;
            // An absent label says nothing, and does not count.
            bytes += if label.value.is_empty() { 0 } else { label.name.len() + label.value.len() };
            if bytes > MOST_LABEL_BYTES {
                break;
            }
        }
        out[count_at..count_at + 4].copy_from_slice(&count.to_le_bytes());
    }
}

fn put_histogram(out: &mut Vec<u8>, given: &AbiHistogram<'_>) {
    for number in [given.series, given.timestamp_ms as u64, given.count_int, given.zero_count_int] {
        put_u64(out, number);
    }
    for number in [given.counting, given.reset, given.schema] {
        put_u32(out, number as u32);
    }
    for number in [given.sum, given.zero_threshold, given.count_float, given.zero_count_float] {
        put_u64(out, number.to_bits());
    }
    for spans in [&given.negative_spans, &given.positive_spans] {
        put_list(out, spans, |out, span| {
            put_u32(out, span.offset as u32);
            put_u32(out, span.length);
        });
    }
    for counts in [&given.negative_int, &given.positive_int] {
        put_list(out, counts, |out, count| put_u64(out, *count));
    }
    for counts in [&given.negative_float, &given.positive_float, &given.custom_values] {
        put_list(out, counts, |out, count| put_u64(out, count.to_bits()));
    }
}

/// A list that is too long stays too long, and no more.
fn put_list<T>(out: &mut Vec<u8>, list: &RSlice<'_, T>, put: impl Fn(&mut Vec<u8>, &T)) {
    let list = &list.as_slice()[..list.len().min(MAX_BUCKETS + 1)];
    put_u32(out, list.len() as u32);
    list.iter().for_each(|item| put(out, item));
}

impl<'a> Take<'a> {
    pub(super) fn samples_with_exemplars(&mut self) -> Result<Rare<'a>, Malformed> {
        let (labels, exemplars) = self.exemplars()?;
        Ok(Rare { samples: self.samples()?, histograms: Vec::new(), labels, exemplars })
    }

    pub(super) fn histograms(&mut self) -> Result<Rare<'a>, Malformed> {
        let (labels, exemplars) = self.exemplars()?;
        let mut histograms = Vec::new();
        for _ in 0..self.u32()? {
            histograms.push(self.histogram()?);
        }
        Ok(Rare { samples: Vec::new(), histograms, labels, exemplars })
    }

    fn exemplars(&mut self) -> Result<(Vec<AbiLabel<'a>>, Vec<Exemplar>), Malformed> {
        let (mut labels, mut exemplars) = (Vec::new(), Vec::new());
        for _ in 0..self.u32()? {
            let (series, value, timestamp_ms) = (self.u64()?, f64::from_bits(self.u64()?), self.u64()? as i64);
            exemplars.push((series, self.labels_into(&mut labels)?, value, timestamp_ms));
        }
        Ok((labels, exemplars))
    }

    fn histogram(&mut self) -> Result<Owned, Malformed> {
        let (series, timestamp_ms) = (self.u64()?, self.u64()? as i64);
        let (count_int, zero_count_int) = (self.u64()?, self.u64()?);
        let (counting, reset, schema) = (self.u32()? as i32, self.u32()? as i32, self.u32()? as i32);
        let (sum, zero_threshold) = (f64::from_bits(self.u64()?), f64::from_bits(self.u64()?));
        let (count_float, zero_count_float) = (f64::from_bits(self.u64()?), f64::from_bits(self.u64()?));
        let plain = AbiHistogram {
            counting,
            reset,
            schema,
            sum,
            zero_threshold,
            count_int,
            count_float,
            zero_count_int,
            zero_count_float,
            ..AbiHistogram::empty(series, timestamp_ms)
        };
        let span = |take: &mut Self| Ok(AbiSpan { offset: take.u32()? as i32, length: take.u32()? });
        let spans = [self.list(span)?, self.list(span)?];
        let int = [self.list(Self::u64)?, self.list(Self::u64)?];
        let double = |take: &mut Self| take.u64().map(f64::from_bits);
        let float = [self.list(double)?, self.list(double)?];
        Ok(Owned { plain, spans, int, float, custom_values: self.list(double)? })
    }

    fn list<T>(&mut self, item: impl Fn(&mut Self) -> Result<T, Malformed>) -> Result<Vec<T>, Malformed> {
        (0..self.u32()?).map(|_| item(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Said;
    use super::*;

    fn exemplar<'a>(labels: &'a [AbiLabel<'a>]) -> AbiExemplar<'a> {
        AbiExemplar { series: 7, labels: labels.into(), value: -0.5, timestamp_ms: 9 }
    }

    #[test]
    fn they_come_out_as_they_went_in() {
        let labels = [AbiLabel { name: "trace_id".into(), value: "4bf9".into() }];
        let exemplars = [exemplar(&labels), exemplar(&[]), exemplar(&labels)];
        let samples = [Sample::from_parts(1, f64::NAN, 2), Sample::from_parts(3, 4.0, -5)];
        let mut bytes = Vec::new();
        samples_with_exemplars(&mut bytes, &samples, &exemplars);
        let Ok(Said::SamplesWithExemplars(read)) = Said::read(&bytes) else { panic!("{bytes:?}") };
        assert_eq!(format!("{:?}", read.samples), format!("{samples:?}"));
        assert_eq!(format!("{:?}", read.exemplars()), format!("{exemplars:?}"));

        let spans = [AbiSpan { offset: -3, length: 2 }, AbiSpan { offset: 1, length: 1 }];
        let whole = AbiHistogram {
            series: 1 << 40,
            timestamp_ms: -2,
            counting: 0,
            reset: 3,
            schema: -4,
            sum: f64::INFINITY,
            zero_threshold: 1e-128,
            count_int: u64::MAX,
            count_float: 5.5,
            zero_count_int: 6,
            zero_count_float: 7.5,
            negative_spans: spans[..1].into(),
            negative_int: [1, 2][..].into(),
            negative_float: [0.5, 1.5][..].into(),
            positive_spans: spans[..].into(),
            positive_int: [3, 4, 5][..].into(),
            positive_float: [2.5, 3.5, 4.5][..].into(),
            custom_values: [0.1, 10.0][..].into(),
        };
        let empty = AbiHistogram { negative_spans: RSlice::EMPTY, custom_values: RSlice::EMPTY, ..whole };
        let mut bytes = Vec::new();
        histograms(&mut bytes, &[whole, empty], &exemplars[..1]);
        let Ok(Said::Histograms(read)) = Said::read(&bytes) else { panic!("{bytes:?}") };
        assert_eq!(format!("{:?}", read.histograms()), format!("{:?}", [whole, empty]));
        assert_eq!(format!("{:?}", read.exemplars()), format!("{:?}", &exemplars[..1]));
        // Cut anywhere, it is no message, and no panic.
        for end in 0..bytes.len() {
            assert!(Said::read(&bytes[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn what_is_too_long_stays_too_long_and_no_more() {
        let counts = vec![1; 3 * MAX_BUCKETS];
        let none = AbiHistogram { positive_int: counts.as_slice().into(), ..AbiHistogram::empty(0, 0) };
        let mut bytes = Vec::new();
        histograms(&mut bytes, &[none], &[]);
        let Ok(Said::Histograms(read)) = Said::read(&bytes) else { panic!("no histograms") };
        assert_eq!(read.histograms()[0].positive_int.len(), MAX_BUCKETS + 1);

        let long = "x".repeat(100_000);
        let labels = vec![AbiLabel { name: "a".into(), value: long.as_str().into() }; 1000];
        let mut bytes = Vec::new();
        samples_with_exemplars(&mut bytes, &[], &[exemplar(&labels)]);
        assert!(bytes.len() < 2 * MOST_LABEL_BYTES, "{}", bytes.len());
        let Ok(Said::SamplesWithExemplars(read)) = Said::read(&bytes) else { panic!("no exemplars") };
        let exemplar = &read.exemplars()[0];
        assert!(crate::exemplar::Exemplar::new(exemplar).is_err(), "{exemplar:?}");
    }

    #[test]
    fn a_long_send_goes_in_parts_that_keep_exemplars_with_their_samples() {
        let of = |series| AbiExemplar { series, ..exemplar(&[]) };
        let items = [(1, 40), (2, 40), (3, 40), (1, 200), (4, 10)];
        let sent = [of(1), of(2), of(3), of(4), of(9)];
        let parts = parts(items.into_iter(), &sent, 100);
        let shown: Vec<_> = parts
            .into_iter()
            .map(|(range, own)| (range, own.iter().map(|exemplar| exemplar.series).collect::<Vec<_>>()))
            .collect();
        assert_eq!(shown, [(0..2, vec![2, 9]), (2..3, vec![3]), (3..4, vec![1]), (4..5, vec![4])]);
        let one = super::parts(items.into_iter(), &sent, 1000);
        assert_eq!((one.len(), one[0].0.clone(), one[0].1.len()), (1, 0..5, 5));
        let none = super::parts(std::iter::empty(), &[], 1000);
        assert_eq!((none.len(), none[0].0.clone()), (1, 0..0));
        // More than any batch takes.
        let many = vec![of(1); 2 * MOST_EXEMPLARS + 1];
        let parts = super::parts([(1, 24)].into_iter(), &many, 1000);
        let lengths: Vec<_> = parts.iter().map(|(range, own)| (range.len(), own.len())).collect();
        assert_eq!(lengths, [(1, MOST_EXEMPLARS), (0, MOST_EXEMPLARS), (0, 1)]);
    }
}
