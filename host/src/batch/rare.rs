//! What most batches don't hold: histograms and exemplars, each with the slot of its series.
//!
//! Enters: one after the other, in the order of arrival. Leaves: those of one slot, in timestamp order. A batch without
//! any costs a look at an empty list.
//!
//! Never: holds more than [`MAX_EXEMPLARS`].

use crate::encode;
use crate::exemplar::Exemplar;
use crate::histogram::Histogram;
use crate::ledger::Reason;

/// As many exemplars as a batch may hold.
pub(super) const MAX_EXEMPLARS: usize = 10_000;

/// The newest exemplar of a series.
#[derive(Clone, Copy, Debug)]
struct Newest {
    generation: u32,
    timestamp_ms: i64,
    value: f64,
}

const NONE: Newest = Newest { generation: 0, timestamp_ms: i64::MIN, value: 0.0 };

#[derive(Debug, Default)]
pub(super) struct Rare {
    histograms: Vec<(u32, Histogram)>,
    exemplars: Vec<(u32, Exemplar)>,
    /// By a series' place in the table, as far as any had exemplars; not only of this batch.
    newest: Vec<Newest>,
}

impl Rare {
    pub(super) fn push_histogram(&mut self, slot: u32, histogram: Histogram) {
        self.histograms.push((slot, histogram));
    }

    /// Takes an exemplar that is newer than the one before it of its series, by its value where the moment is the same:
    /// so Prometheus has it.
    pub(super) fn push_exemplar(&mut self, slot: u32, exemplar: Exemplar, fits: bool) -> Result<(), Reason> {
        let index = exemplar.series.index as usize;
        if self.newest.len() <= index {
            self.newest.resize(index + 1, NONE);
        }
        let newest = &mut self.newest[index];
        if newest.generation != exemplar.series.generation {
            *newest = Newest { generation: exemplar.series.generation, ..NONE };
        }
        let (before, now) = ((newest.timestamp_ms, newest.value), (exemplar.timestamp_ms, exemplar.value));
        if now == before {
            return Err(Reason::Duplicate);
        }
        if now < before {
            return Err(Reason::OutOfOrder);
        }
        if !fits || self.exemplars.len() >= MAX_EXEMPLARS {
            return Err(Reason::TooManyExemplars);
        }
        (newest.timestamp_ms, newest.value) = now;
        self.exemplars.push((slot, exemplar));
        Ok(())
    }

    pub(super) fn histograms(&self) -> usize {
        self.histograms.len()
    }

    pub(super) fn exemplars(&self) -> usize {
        self.exemplars.len()
    }

    pub(super) fn times(&self) -> impl Iterator<Item = i64> {
        self.histograms.iter().map(|(_, histogram)| histogram.timestamp_ms)
    }

    /// Puts together what is of one slot. Returns how many histograms were left out because there was one of the same
    /// millisecond.
    pub(super) fn group(&mut self) -> u64 {
        let before = self.histograms.len();
        self.histograms.sort_by_key(|(slot, histogram)| (*slot, histogram.timestamp_ms));
        let key = |(slot, histogram): &(u32, Histogram)| (*slot, histogram.timestamp_ms);
        self.histograms.dedup_by(|later, first| key(later) == key(first));
        self.exemplars.sort_by_key(|(slot, _)| *slot);
        (before - self.histograms.len()) as u64
    }

    /// What was grouped, as it is encoded.
    pub(super) fn read(&self) -> Grouped<'_> {
        Grouped {
            histogram_slots: self.histograms.iter().map(|(slot, _)| *slot).collect(),
            histograms: self
                .histograms
                .iter()
                .map(|(_, h)| encode::Histogram { body: &h.body, timestamp_ms: h.timestamp_ms })
                .collect(),
            exemplar_slots: self.exemplars.iter().map(|(slot, _)| *slot).collect(),
            exemplars: self
                .exemplars
                .iter()
                .map(|(_, e)| encode::Exemplar { labels: &e.labels, value: e.value, timestamp_ms: e.timestamp_ms })
                .collect(),
        }
    }

    pub(super) fn clear(&mut self) {
        self.histograms.clear();
        self.exemplars.clear();
    }
}

/// Histograms and exemplars by slot.
#[derive(Debug)]
pub(super) struct Grouped<'a> {
    histogram_slots: Vec<u32>,
    histograms: Vec<encode::Histogram<'a>>,
    exemplar_slots: Vec<u32>,
    exemplars: Vec<encode::Exemplar<'a>>,
}

impl<'a> Grouped<'a> {
    pub(super) fn histograms_of(&self, slot: u32) -> &[encode::Histogram<'a>] {
        of(&self.histogram_slots, slot, &self.histograms)
    }

    pub(super) fn exemplars_of(&self, slot: u32) -> &[encode::Exemplar<'a>] {
        of(&self.exemplar_slots, slot, &self.exemplars)
    }
}

/// The part of `all` whose slots, which are sorted, are this one.
fn of<'t, T>(slots: &[u32], slot: u32, all: &'t [T]) -> &'t [T] {
    let first = slots.partition_point(|other| *other < slot);
    let length = slots[first..].partition_point(|other| *other == slot);
    &all[first..first + length]
}
