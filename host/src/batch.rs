//! One batch in the making: samples of all series, merged by series, in timestamp order.
//!
//! Enters: samples, histograms and exemplars as they were sent, one after the other. Leaves: a finished batch, encoded
//! and compressed, or the reason why a sample can't be part of one. What an earlier batch holds of a series counts for
//! its order too. Of one series, a batch holds samples or histograms: where it changes, the batch is cut. Exemplars go in
//! the batch of their sample, or not at all.
//!
//! Never: looks at a clock; costs more for series that sent nothing; holds a batch beyond its limits.

mod cut;
mod rare;

use std::iter::Peekable;

use bytes::Bytes;
use monitor_plugin_api::Sample;
use monitor_proto::STALE_NAN;

use self::rare::Rare;
use crate::encode::{self, Point, Protocol, v2};
use crate::exemplar::Exemplar;
use crate::histogram::{Histogram, Shape};
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

/// The oldest and the newest timestamp of nothing.
const NO_RANGE: (i64, i64) = (i64::MAX, i64::MIN);

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
    /// The oldest and the newest timestamp of the points.
    range_ms: (i64, i64),
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
            range_ms: NO_RANGE,
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

    /// Puts samples of one series into the batch, as long as there is nothing to ask: each is newer than the one before it,
    /// and there is room. So what is known of the series is looked up once. Returns how many were taken; what `run` has next
    /// then is for [`push`](Self::push), which knows what to say.
    pub fn push_run<'s>(
        &mut self,
        series: SeriesId,
        run: &mut Peekable<impl Iterator<Item = &'s Sample>>,
        table: &View<'_>,
    ) -> usize {
        let Some(of_series) = table.get(series) else { return 0 };
        let (held, known) = (self.len(), *self.known(series));
        let (is_new, holds_histograms) = (known.batch != self.batch, known.batch == self.batch | OF_HISTOGRAMS);
        if holds_histograms || held >= self.limits.max_samples {
            return 0;
        }
        let (number, before, room) = (series.to_number(), self.points.len(), self.limits.max_samples - held);
        let mut message_len = self.message_len + if is_new { encode::series_bound(&of_series) } else { 0 };
        let mut newest_ms = known.newest_ms;
        while let Some(sample) = run.peek() {
            let point = Point { value: sample::canonical(sample.value), timestamp_ms: sample.timestamp_ms };
            let longer = message_len + encode::point_bound(&point, of_series.start_ms);
            let is_ordinary = sample.series() == number
                && point.timestamp_ms > newest_ms
                && sample::is_plausible(point.timestamp_ms)
                && !sample::is_marker(sample.value);
            if !is_ordinary || longer > self.limits.max_bytes || self.points.len() - before == room {
                break;
            }
            (message_len, newest_ms) = (longer, point.timestamp_ms);
            self.points.push(point);
            run.next();
        }
        let Some(first) = self.points.get(before) else { return 0 };
        self.range_ms = (self.range_ms.0.min(first.timestamp_ms), self.range_ms.1.max(newest_ms));
        let length = self.points.len() - before;
        let slot = if is_new { self.open_slot(series, self.batch, &of_series) } else { known.slot };
        self.add_points(slot, length as u32);
        let known = &mut self.known[series.index as usize];
        (known.newest_ms, known.ended) = (newest_ms, false);
        self.message_len = message_len;
        table.touch(series);
        length
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
        self.points.push(point);
        self.add_points(slot, 1);
        let (oldest, newest) = self.range_ms;
        self.range_ms = (oldest.min(point.timestamp_ms), newest.max(point.timestamp_ms));
        Pushed::Taken
    }

    /// The last points, so many, are of this slot.
    #[inline(always)]
    fn add_points(&mut self, slot: u32, points: u32) {
        let of_slot = &mut self.slots[slot as usize].points;
        match self.runs.last_mut() {
            Some((last, length)) if *last == slot => *length += points,
            _ => {
                self.scattered |= *of_slot > 0;
                self.runs.push((slot, points));
            }
        }
        *of_slot += points;
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
        let slot = if is_new { self.open_slot(series, batch, of_series) } else { known.slot };
        let known = &mut self.known[series.index as usize];
        known.ended = false;
        known.newest_ms = known.newest_ms.max(timestamp_ms);
        self.message_len += cost;
        Some(slot)
    }

    /// A slot for a series that has none in this batch.
    fn open_slot(&mut self, series: SeriesId, batch: u32, of_series: &series::Known<'_>) -> u32 {
        let known = &mut self.known[series.index as usize];
        known.batch = batch;
        // A batch holds fewer than 2^32 samples, so fewer series as well.
        known.slot = self.slots.len() as u32;
        known.shape = Shape::Float;
        let due = !known.told || self.sequence.is_multiple_of(METADATA_EVERY);
        let tell = due && of_series.metadata.is_some();
        known.told = true;
        self.slots.push(Slot { series, points: 0, tell });
        known.slot
    }

    /// How many samples the batch holds, histograms included.
    pub fn len(&self) -> usize {
        self.points.len() + self.rare.histograms()
    }

    /// Whether the batch holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The newest timestamp in the batch, if it holds anything.
    pub fn newest_ms(&self) -> Option<i64> {
        (!self.is_empty()).then(|| self.time_range().1)
    }

    fn time_range(&self) -> (i64, i64) {
        let wider = |(oldest, newest): (i64, i64), t: i64| (oldest.min(t), newest.max(t));
        self.rare.times().fold(self.range_ms, wider)
    }
}

#[cfg(test)]
mod arbitrary;
#[cfg(test)]
mod tests;
