//! One native histogram on its way: judged and encoded when it arrives, copied from then on.
//!
//! Enters: a histogram as a plugin sends it. Leaves: the bytes of a remote-write `Histogram`, whose fields are the same
//! in 1.0 and 2.0 but for the start timestamp, which 2.0 appends; or why no receiver would take it. The rules are those
//! of Prometheus' own `Histogram.Validate`, and a bound.
//!
//! Never: changes a count; holds more than [`MAX_BUCKETS`] buckets.

use monitor_plugin_api::abi::{AbiHistogram, AbiSpan, CUSTOM_BUCKETS, counting, reset};
use monitor_proto::STALE_NAN;

use crate::labels::{put_varint, varint_len};
use crate::sample;
use crate::series::SeriesId;

/// As many buckets, spans and bounds each as one histogram may have; in use are hundreds.
pub const MAX_BUCKETS: usize = 16 * 1024;

/// What a sample of a series is. Receivers hold one kind after the other, but a 2.0 series carries one only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A number.
    Float,
    /// A histogram of whole observations.
    IntegerHistogram,
    /// A histogram of fractions of observations.
    FloatHistogram,
}

/// A histogram that can be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// Whose it is.
    pub series: SeriesId,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// Which of the two kinds.
    pub shape: Shape,
    /// The fields of the message.
    pub body: Box<[u8]>,
}

impl Histogram {
    /// Judges and encodes a histogram.
    ///
    /// # Errors
    /// What a receiver would refuse it for.
    pub fn new(given: &AbiHistogram<'_>) -> Result<Self, &'static str> {
        let is_float = match given.counting {
            counting::INTEGER => false,
            counting::FLOAT => true,
            _ => return Err("it counts with something unknown"),
        };
        check(given, is_float)?;
        Ok(Histogram {
            series: SeriesId::from_number(given.series),
            timestamp_ms: given.timestamp_ms,
            shape: if is_float { Shape::FloatHistogram } else { Shape::IntegerHistogram },
            body: encode(given, is_float).into(),
        })
    }

    /// The stale marker of a series of histograms: an empty one whose sum is the marker's NaN.
    pub fn stale(series: SeriesId, timestamp_ms: i64, shape: Shape) -> Self {
        let mut body = match shape {
            Shape::FloatHistogram => put_doubles_of_zero(),
            _ => vec![0x08, 0],
        };
        put_double(&mut body, 0x19, f64::from_bits(STALE_NAN));
        body.push(0x78);
        put_varint(&mut body, timestamp_ms as u64);
        Histogram { series, timestamp_ms, shape, body: body.into() }
    }
}

fn put_doubles_of_zero() -> Vec<u8> {
    let mut body = vec![0x11];
    body.extend_from_slice(&0f64.to_le_bytes());
    body
}

fn check(given: &AbiHistogram<'_>, is_float: bool) -> Result<(), &'static str> {
    let is_custom = given.schema == CUSTOM_BUCKETS;
    if !is_custom && !(-4..=8).contains(&given.schema) {
        return Err("its schema is not one of -4 to 8, or -53 for custom buckets");
    }
    if !(reset::UNKNOWN..=reset::GAUGE).contains(&given.reset) {
        return Err("its reset hint is unknown");
    }
    if !(given.zero_threshold.is_finite() && given.zero_threshold >= 0.0) {
        return Err("its zero threshold is negative or not finite");
    }
    let sides = [side(given, is_float, Side::Positive), side(given, is_float, Side::Negative)];
    for (spans, counts) in sides {
        check_spans(spans, counts, is_custom)?;
    }
    if is_custom {
        check_custom(given, is_float)?
    } else {
        check_exponential(given)?
    };
    if is_float { check_floats(given) } else { check_integers(given) }
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Positive,
    Negative,
}

/// The spans of one side and how many counts there are for them.
fn side<'a>(given: &AbiHistogram<'a>, is_float: bool, side: Side) -> (&'a [AbiSpan], usize) {
    match (side, is_float) {
        (Side::Positive, true) => (given.positive_spans.as_slice(), given.positive_float.len()),
        (Side::Positive, false) => (given.positive_spans.as_slice(), given.positive_int.len()),
        (Side::Negative, true) => (given.negative_spans.as_slice(), given.negative_float.len()),
        (Side::Negative, false) => (given.negative_spans.as_slice(), given.negative_int.len()),
    }
}

fn check_spans(spans: &[AbiSpan], counts: usize, is_custom: bool) -> Result<(), &'static str> {
    if counts > MAX_BUCKETS || spans.len() > MAX_BUCKETS {
        return Err("it has more than 16384 buckets: choose a coarser schema");
    }
    let (mut index, mut buckets) = (0i64, 0u64);
    for (i, span) in spans.iter().enumerate() {
        if span.offset < 0 && (i > 0 || is_custom) {
            return Err("a span begins before the end of the one before it");
        }
        index += i64::from(span.offset) + i64::from(span.length);
        buckets += u64::from(span.length);
        if i32::try_from(index).is_err() {
            return Err("a bucket's index lies beyond 32 bits");
        }
    }
    if buckets == counts as u64 {
        Ok(())
    } else {
        Err("its spans name another number of buckets than it has counts for")
    }
}

fn check_exponential(given: &AbiHistogram<'_>) -> Result<(), &'static str> {
    if given.custom_values.is_empty() { Ok(()) } else { Err("it has bounds of its own but another schema than -53") }
}

fn check_custom(given: &AbiHistogram<'_>, is_float: bool) -> Result<(), &'static str> {
    let bounds = given.custom_values.as_slice();
    if bounds.len() > MAX_BUCKETS {
        return Err("it has more than 16384 bounds");
    }
    if !bounds.iter().all(|bound| bound.is_finite()) || !bounds.windows(2).all(|pair| pair[0] < pair[1]) {
        return Err("its bounds do not rise, or are not finite");
    }
    let zero_count = if is_float { given.zero_count_float != 0.0 } else { given.zero_count_int != 0 };
    let (negative, counts) = side(given, is_float, Side::Negative);
    if zero_count || given.zero_threshold != 0.0 || !negative.is_empty() || counts > 0 {
        return Err("with custom buckets it can't have a zero bucket or negative ones");
    }
    let spans = given.positive_spans.as_slice();
    let reach: i64 = spans.iter().map(|span| i64::from(span.offset) + i64::from(span.length)).sum();
    // One more bucket than bounds: what lies above the last.
    if reach > bounds.len() as i64 + 1 { Err("it has more buckets than bounds") } else { Ok(()) }
}

fn check_integers(given: &AbiHistogram<'_>) -> Result<(), &'static str> {
    let buckets = given.positive_int.iter().chain(given.negative_int.iter());
    let counted: u128 = buckets.map(|&count| u128::from(count)).sum::<u128>() + u128::from(given.zero_count_int);
    // So that the difference of any two fits the wire's type.
    if given.count_int > i64::MAX as u64 {
        return Err("it counts more than 2^63 observations");
    }
    match counted.cmp(&given.count_int.into()) {
        std::cmp::Ordering::Equal => Ok(()),
        // Observations that are no number lie in no bucket.
        std::cmp::Ordering::Less if given.sum.is_nan() => Ok(()),
        _ => Err("its count is not the sum of its buckets"),
    }
}

fn check_floats(given: &AbiHistogram<'_>) -> Result<(), &'static str> {
    let buckets = given.positive_float.iter().chain(given.negative_float.iter());
    let mut counts = buckets.chain([&given.zero_count_float, &given.count_float]);
    // Their sum is not compared: it differs by roundings, and Prometheus takes it.
    if counts.all(|count| count.is_finite() && *count >= 0.0) {
        Ok(())
    } else {
        Err("a count is negative or not finite")
    }
}

fn encode(given: &AbiHistogram<'_>, is_float: bool) -> Vec<u8> {
    let mut out = Vec::new();
    // Of each pair of fields one is there, zero or not: it says what the histogram counts with.
    if is_float {
        out.push(0x11);
        out.extend_from_slice(&given.count_float.to_le_bytes());
    } else {
        out.push(0x08);
        put_varint(&mut out, given.count_int);
    }
    put_double(&mut out, 0x19, sample::canonical(given.sum));
    put_nonzero(&mut out, 0x20, zigzag(given.schema.into()));
    put_double(&mut out, 0x29, given.zero_threshold);
    if is_float {
        out.push(0x39);
        out.extend_from_slice(&given.zero_count_float.to_le_bytes());
    } else {
        out.push(0x30);
        put_varint(&mut out, given.zero_count_int);
    }
    for (spans, tags, integers, floats) in [
        (&given.negative_spans, [0x42, 0x4a, 0x52], &given.negative_int, &given.negative_float),
        (&given.positive_spans, [0x5a, 0x62, 0x6a], &given.positive_int, &given.positive_float),
    ] {
        for span in spans.iter() {
            put_span(&mut out, tags[0], span);
        }
        if is_float {
            put_doubles(&mut out, tags[2], floats.as_slice());
        } else {
            put_deltas(&mut out, tags[1], integers.as_slice());
        }
    }
    put_nonzero(&mut out, 0x70, given.reset as u64);
    put_nonzero(&mut out, 0x78, given.timestamp_ms as u64);
    if !given.custom_values.is_empty() {
        // Field 16 is the first whose tag takes two bytes.
        out.push(0x82);
        put_doubles(&mut out, 0x01, given.custom_values.as_slice());
    }
    out
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn put_nonzero(out: &mut Vec<u8>, tag: u8, value: u64) {
    if value != 0 {
        out.push(tag);
        put_varint(out, value);
    }
}

/// Proto3 leaves a zero out; a negative zero is not one.
fn put_double(out: &mut Vec<u8>, tag: u8, value: f64) {
    if value.to_bits() != 0 {
        out.push(tag);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

fn put_span(out: &mut Vec<u8>, tag: u8, span: &AbiSpan) {
    let (offset, length) = (zigzag(span.offset.into()), u64::from(span.length));
    let field = |value: u64| if value == 0 { 0 } else { 1 + varint_len(value) };
    // One byte of length: at most 2 * (1 + 5) bytes.
    out.extend_from_slice(&[tag, (field(offset) + field(length)) as u8]);
    put_nonzero(out, 0x08, offset);
    put_nonzero(out, 0x10, length);
}

fn put_doubles(out: &mut Vec<u8>, tag: u8, values: &[f64]) {
    if !values.is_empty() {
        out.push(tag);
        put_varint(out, 8 * values.len() as u64);
        values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
    }
}

/// Each count as the difference to the one before.
fn put_deltas(out: &mut Vec<u8>, tag: u8, counts: &[u64]) {
    let deltas =
        || counts.iter().scan(0, |before, &count| Some(zigzag(count as i64 - std::mem::replace(before, count as i64))));
    if !counts.is_empty() {
        out.push(tag);
        put_varint(out, deltas().map(varint_len).sum::<usize>() as u64);
        deltas().for_each(|delta| put_varint(out, delta));
    }
}

#[cfg(test)]
mod tests;
