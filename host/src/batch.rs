//! One batch in the making: samples of all series, merged by series, in timestamp order.
//!
//! Enters: samples, histograms and exemplars as they were sent, one after the other. Leaves: a finished batch, encoded
//! and compressed, or the reason why a sample can't be part of one. What an earlier batch holds of a series counts for
//! its order too. Of one series, a batch holds samples or histograms: where it changes, the batch is cut. Exemplars go in
//! the batch of their sample, or not at all.
//!
//! Never: looks at a clock; costs more for series that sent nothing; holds a batch beyond its limits.

mod rare;

use std::collections::BTreeMap;

use bytes::Bytes;
use monitor_plugin_api::Sample;
use monitor_proto::STALE_NAN;

use self::rare::Rare;
use crate::encode::{self, Point, Protocol, Series, v1, v2};
use crate::exemplar::Exemplar;
use crate::histogram::{Histogram, Shape};
use crate::labels;
use crate::ledger::Reason;
use crate::sample;
use crate::series::{self, SeriesId, View};

/// What bounds a batch, and whether order is the receiver's business.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// BATCH_MAX_SAMPLES.
    pub max_samples: usize,
    /// BATCH_MAX_BYTES, of the message before compression.
    pub max_bytes: usize,
    /// ALLOW_OUT_OF_ORDER: send what is older than what was batched before.
    pub allow_out_of_order: bool,
}

/// A finished batch: the bytes of one request.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The snappy-compressed message; a retry sends the same bytes.
    pub body: Bytes,
    /// Which message it is.
    pub protocol: Protocol,
    /// How long the message is before compression.
    pub message_len: usize,
    /// How many samples it carries, histograms included.
    pub samples: u64,
    /// How many exemplars it carries.
    pub exemplars: u64,
    /// How many of its samples lack the start timestamp that they have, because it is of 1.0.
    pub left_out_starts: u64,
    /// The oldest and the newest timestamp in it, in milliseconds since the Unix epoch.
    pub time_range_ms: (i64, i64),
    /// Counts the batches of this run from 1.
    pub sequence: u64,
    /// How often it was sent without success.
    pub attempts: u32,
    /// The answer to one of these attempts, or to one of an earlier run, may have been lost: the receiver may have it.
    pub may_be_stored: bool,
}

/// What became of a sample that was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is in the batch.
    Taken,
    /// It is not, and never will be.
    Dropped(Reason),
    /// The batch is full: cut it, then push the sample again.
    Full,
}

/// What is known of a series, by its place in the table.
#[derive(Clone, Copy, Debug)]
struct Known {
    generation: u32,
    /// The batch in which it has the slot, with [`OF_HISTOGRAMS`] if it holds such; 0 is none.
    batch: u32,
    slot: u32,
    /// Its metadata was part of an earlier 1.0 request.
    told: bool,
    /// The newest sample is a stale marker.
    ended: bool,
    /// What its newest sample is.
    shape: Shape,
    newest_ms: i64,
}

const UNKNOWN: Known =
    Known { generation: 0, batch: 0, slot: 0, told: false, ended: false, shape: Shape::Float, newest_ms: i64::MIN };

/// Marks the number of a batch in which a series has histograms: for a sample it is another batch, so that one comparison
/// finds what is new and what is of another kind.
const OF_HISTOGRAMS: u32 = 1 << 31;

/// In 1.0, metadata stands beside the series: it goes with the first batch, and again after so many.
const METADATA_EVERY: u64 = 150;

/// A series in the current batch.
#[derive(Clone, Copy, Debug)]
struct Slot {
    series: SeriesId,
    points: u32,
    /// Its metadata is due.
    tell: bool,
}

/// Makes batches, one after the other.
#[derive(Debug)]
pub struct Batcher {
    limits: Limits,
    known: Vec<Known>,
    slots: Vec<Slot>,
    /// In order of arrival.
    points: Vec<Point>,
    /// Whose they are: slots, each with how many of them follow each other.
    runs: Vec<(u32, u32)>,
    /// A slot has more than one run.
    scattered: bool,
    /// What most batches don't hold.
    rare: Rare,
    message_len: usize,
    batch: u32,
    sequence: u64,
    // Buffers of the cut, kept for the next one.
    offsets: Vec<usize>,
    grouped: Vec<Point>,
    request_v2: v2::Request,
    message: Vec<u8>,
    compressed: Vec<u8>,
    compressor: snap::raw::Encoder,
}

impl Batcher {
    /// A batcher with an empty batch.
    pub fn new(limits: Limits) -> Self {
        Batcher {
            limits,
            known: Vec::new(),
            slots: Vec::new(),
            points: Vec::new(),
            runs: Vec::new(),
            scattered: false,
            rare: Rare::default(),
            message_len: 0,
            batch: 1,
            sequence: 0,
            offsets: Vec::new(),
            grouped: Vec::new(),
            request_v2: v2::Request::default(),
            message: Vec::new(),
            compressed: Vec::new(),
            compressor: snap::raw::Encoder::new(),
        }
    }

    /// Puts a sample into the batch.
    pub fn push(&mut self, sample: &Sample, table: &View<'_>) -> Pushed {
        let series = SeriesId::from_number(sample.series());
        let point = Point { value: sample::canonical(sample.value), timestamp_ms: sample.timestamp_ms };
        match self.admit(series, point.timestamp_ms, table) {
            Ok(of_series) if sample::is_marker(sample.value) => self.mark(series, point.timestamp_ms, &of_series),
            Ok(of_series) => self.put(series, point, &of_series),
            Err(reason) => Pushed::Dropped(reason),
        }
    }

    /// Puts a histogram into the batch.
    ///
    /// # Errors
    /// The batch is full: cut it, then push what comes back again.
    pub fn push_histogram(&mut self, histogram: Histogram, table: &View<'_>) -> Result<Pushed, Histogram> {
        match self.admit(histogram.series, histogram.timestamp_ms, table) {
            Ok(of_series) => self.put_histogram(histogram, &of_series).map(|()| Pushed::Taken),
            Err(reason) => Ok(Pushed::Dropped(reason)),
        }
    }

    /// Puts an exemplar to the sample or histogram of its series that was pushed before.
    ///
    /// # Errors
    /// Why it can't be there.
    pub fn push_exemplar(&mut self, exemplar: Exemplar) -> Result<(), Reason> {
        let series = exemplar.series;
        let known = self.known.get(series.index as usize).filter(|known| known.generation == series.generation);
        let Some(known) = known.filter(|known| known.batch & !OF_HISTOGRAMS == self.batch) else {
            return Err(Reason::LoneExemplar);
        };
        let cost = encode::exemplar_bound(&exemplar.labels);
        let room = self.limits.max_bytes.saturating_sub(self.message_len);
        self.rare.push_exemplar(known.slot, exemplar, cost <= room)?;
        self.message_len += cost;
        Ok(())
    }

    /// What is known of a series that has a newer sample now.
    #[inline(always)]
    fn admit<'a>(
        &mut self,
        series: SeriesId,
        timestamp_ms: i64,
        table: &'a View<'_>,
    ) -> Result<series::Known<'a>, Reason> {
        if !sample::is_plausible(timestamp_ms) {
            return Err(Reason::InvalidTimestamp);
        }
        let of_series = table.get(series).ok_or(Reason::UnknownSeries)?;
        table.touch(series);
        let newest_ms = self.known(series).newest_ms;
        if !self.limits.allow_out_of_order && timestamp_ms <= newest_ms {
            return Err(if timestamp_ms == newest_ms { Reason::Duplicate } else { Reason::OutOfOrder });
        }
        Ok(of_series)
    }

    /// Ends a series: a stale marker goes a millisecond behind its newest sample. `None` where there is nothing to end.
    pub fn end(&mut self, series: SeriesId, table: &View<'_>) -> Option<Pushed> {
        let of_series = table.get(series)?;
        let known = self.known(series);
        if known.newest_ms == i64::MIN || known.ended {
            return None;
        }
        let timestamp_ms = known.newest_ms + 1;
        Some(self.mark(series, timestamp_ms, &of_series))
    }

    /// A stale marker, of the kind that the newest sample is of. When the series goes, it needs no other.
    fn mark(&mut self, series: SeriesId, timestamp_ms: i64, of_series: &series::Known<'_>) -> Pushed {
        let pushed = match self.known(series).shape {
            Shape::Float => self.put(series, Point { value: f64::from_bits(STALE_NAN), timestamp_ms }, of_series),
            shape => match self.put_histogram(Histogram::stale(series, timestamp_ms, shape), of_series) {
                Ok(()) => Pushed::Taken,
                Err(_) => Pushed::Full,
            },
        };
        if pushed == Pushed::Taken {
            self.known(series).ended = true;
        }
        pushed
    }

    fn known(&mut self, series: SeriesId) -> &mut Known {
        let index = series.index as usize;
        if self.known.len() <= index {
            self.known.resize(index + 1, UNKNOWN);
        }
        let known = &mut self.known[index];
        if known.generation != series.generation {
            *known = Known { generation: series.generation, ..UNKNOWN };
        }
        known
    }

    #[inline(always)]
    fn put(&mut self, series: SeriesId, point: Point, of_series: &series::Known<'_>) -> Pushed {
        let cost = encode::point_bound(&point, of_series.start_ms);
        let Some(slot) = self.slot(series, self.batch, cost, point.timestamp_ms, of_series) else {
            return Pushed::Full;
        };
        let of_slot = &mut self.slots[slot as usize].points;
        match self.runs.last_mut() {
            Some((last, length)) if *last == slot => *length += 1,
            _ => {
                self.scattered |= *of_slot > 0;
                self.runs.push((slot, 1));
            }
        }
        *of_slot += 1;
        self.points.push(point);
        Pushed::Taken
    }

    fn put_histogram(&mut self, histogram: Histogram, of_series: &series::Known<'_>) -> Result<(), Histogram> {
        let cost = encode::histogram_bound(&histogram.body, of_series.start_ms);
        let batch = self.batch | OF_HISTOGRAMS;
        match self.slot(histogram.series, batch, cost, histogram.timestamp_ms, of_series) {
            Some(slot) => {
                self.known(histogram.series).shape = histogram.shape;
                self.rare.push_histogram(slot, histogram);
                Ok(())
            }
            None => Err(histogram),
        }
    }

    /// The slot of a series for so many bytes more; none if the batch is full. `batch` is this one's number, for
    /// histograms marked as theirs.
    #[inline(always)]
    fn slot(
        &mut self,
        series: SeriesId,
        batch: u32,
        mut cost: usize,
        timestamp_ms: i64,
        of_series: &series::Known<'_>,
    ) -> Option<u32> {
        let held = self.points.len() + self.rare.histograms();
        let known = &mut self.known[series.index as usize];
        let is_new = known.batch != batch;
        if is_new {
            if known.batch == batch ^ OF_HISTOGRAMS {
                return None;
            }
            cost += encode::series_bound(of_series);
        }
        let too_long = self.message_len + cost > self.limits.max_bytes && held > 0;
        if held >= self.limits.max_samples || too_long {
            return None;
        }
        if is_new {
            known.batch = batch;
            // A batch holds fewer than 2^32 samples, so fewer series as well.
            known.slot = self.slots.len() as u32;
            known.shape = Shape::Float;
            let due = !known.told || self.sequence.is_multiple_of(METADATA_EVERY);
            let tell = due && of_series.metadata.is_some();
            known.told = true;
            self.slots.push(Slot { series, points: 0, tell });
        }
        known.ended = false;
        known.newest_ms = known.newest_ms.max(timestamp_ms);
        self.message_len += cost;
        Some(known.slot)
    }

    /// How many samples the batch holds, histograms included.
    pub fn len(&self) -> usize {
        self.points.len() + self.rare.histograms()
    }

    /// Whether the batch holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Finishes the batch and begins the next: the batch, unless it is empty, and how many samples were dropped as
    /// [`Reason::Duplicate`] (only where order is the receiver's business are they found so late).
    pub fn cut(&mut self, protocol: Protocol, table: &View<'_>) -> (Option<Batch>, u64) {
        if self.is_empty() {
            return (None, 0);
        }
        let (samples, time_range_ms) = (self.len() as u64, self.time_range());
        if self.scattered {
            self.group();
        }
        let (duplicates, starts) = self.encode(protocol, table);
        let samples = samples - duplicates;
        self.compressed.resize(snap::raw::max_compress_len(self.message.len()), 0);
        // Fails only for a short output buffer or an input beyond 4 GiB, which the limits exclude.
        let compressed = self.compressor.compress(&self.message, &mut self.compressed);
        let length = compressed.expect("the buffer has the length that the compressor asked for");
        self.sequence += 1;
        let batch = Batch {
            body: Bytes::copy_from_slice(&self.compressed[..length]),
            protocol,
            message_len: self.message.len(),
            samples,
            exemplars: self.rare.exemplars() as u64,
            left_out_starts: if protocol == Protocol::V1 { starts } else { 0 },
            time_range_ms,
            sequence: self.sequence,
            attempts: 0,
            may_be_stored: false,
        };
        self.points.clear();
        self.runs.clear();
        self.scattered = false;
        self.rare.clear();
        self.slots.clear();
        self.message_len = 0;
        self.batch += 1;
        if self.batch == OF_HISTOGRAMS {
            self.known.iter_mut().for_each(|known| known.batch = 0);
            self.batch = 1;
        }
        (Some(batch), duplicates)
    }

    /// The newest timestamp in the batch, if it holds anything.
    pub fn newest_ms(&self) -> Option<i64> {
        (!self.is_empty()).then(|| self.time_range().1)
    }

    fn time_range(&self) -> (i64, i64) {
        let wider = |(oldest, newest): (i64, i64), t: i64| (oldest.min(t), newest.max(t));
        let range = self.rare.times().fold((i64::MAX, i64::MIN), wider);
        self.points.iter().map(|point| point.timestamp_ms).fold(range, wider)
    }

    /// Puts the points together by slot, those of each in order of arrival.
    fn group(&mut self) {
        let mut next = 0;
        self.offsets.clear();
        for slot in &self.slots {
            self.offsets.push(next);
            next += slot.points as usize;
        }
        self.grouped.clear();
        self.grouped.resize(self.points.len(), Point { value: 0.0, timestamp_ms: 0 });
        let mut rest = self.points.as_slice();
        for &(slot, length) in &self.runs {
            let (run, others) = rest.split_at(length as usize);
            rest = others;
            let offset = &mut self.offsets[slot as usize];
            self.grouped[*offset..*offset + run.len()].copy_from_slice(run);
            *offset += run.len();
        }
        std::mem::swap(&mut self.points, &mut self.grouped);
    }

    /// Fills `message`, and returns how many duplicates were left out, and how many samples have a start timestamp that
    /// 1.0 has no place for.
    fn encode(&mut self, protocol: Protocol, table: &View<'_>) -> (u64, u64) {
        self.message.clear();
        let (mut duplicates, mut starts) = (self.rare.group(), 0);
        let rare = self.rare.read();
        let mut families = BTreeMap::new();
        let mut rest = self.points.as_mut_slice();
        for (i, slot) in (0..).zip(&self.slots) {
            let (mut points, others) = rest.split_at_mut(slot.points as usize);
            rest = others;
            if self.limits.allow_out_of_order {
                points.sort_by_key(|point| point.timestamp_ms);
                let kept = keep_first(points);
                duplicates += (points.len() - kept) as u64;
                points = &mut points[..kept];
            }
            // A series leaves the table only after the batch that holds its last sample was cut.
            let Some(known) = table.get(slot.series) else { continue };
            let series = Series {
                labels: known.labels,
                metadata: known.metadata,
                start_ms: known.start_ms,
                points,
                histograms: rare.histograms_of(i),
                exemplars: rare.exemplars_of(i),
            };
            match protocol {
                Protocol::V1 => {
                    starts += series.starts();
                    v1::series(&mut self.message, &series);
                    if slot.tell {
                        families.extend(labels::metric(known.labels).zip(known.metadata));
                    }
                }
                Protocol::V2 => self.request_v2.series(&series),
            }
        }
        for (metric, metadata) in families {
            v1::metadata(&mut self.message, metric, metadata);
        }
        if protocol == Protocol::V2 {
            self.request_v2.finish(&mut self.message);
        }
        (duplicates, starts)
    }
}

/// Moves the first point of each millisecond to the front; returns how many there are.
fn keep_first(points: &mut [Point]) -> usize {
    let mut kept = 0;
    for i in 0..points.len() {
        if kept == 0 || points[kept - 1].timestamp_ms != points[i].timestamp_ms {
            points[kept] = points[i];
            kept += 1;
        }
    }
    kept
}

#[cfg(test)]
mod arbitrary;
#[cfg(test)]
mod tests;
