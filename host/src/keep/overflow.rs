//! What had to go from memory undelivered: how much, and from when, so that a gap in a graph finds its line in the log.

use crate::batch::Batch;

/// Batches that were dropped, and what they held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overflow {
    /// How many batches.
    pub batches: u64,
    /// How many samples they held.
    pub samples: u64,
    /// The oldest and the newest of their timestamps, in milliseconds since the Unix epoch; none without any.
    pub time_range_ms: Option<(i64, i64)>,
}

impl Overflow {
    /// Adds what others were.
    pub fn add(&mut self, other: Overflow) {
        self.batches += other.batches;
        self.samples += other.samples;
        self.time_range_ms = match (self.time_range_ms, other.time_range_ms) {
            (Some((from, to)), Some((other_from, other_to))) => Some((from.min(other_from), to.max(other_to))),
            (range, other_range) => range.or(other_range),
        };
    }

    /// The oldest of their timestamps.
    pub fn from_ms(&self) -> Option<i64> {
        self.time_range_ms.map(|(from, _)| from)
    }

    /// The newest of their timestamps.
    pub fn to_ms(&self) -> Option<i64> {
        self.time_range_ms.map(|(_, to)| to)
    }
}

impl From<&Batch> for Overflow {
    fn from(batch: &Batch) -> Self {
        Overflow { batches: 1, samples: batch.samples, time_range_ms: Some(batch.time_range_ms) }
    }
}
