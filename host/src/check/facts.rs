//! What a check has measured: plain data, judged and shown elsewhere. Whatever ran the plugin leaves this.

use std::collections::BTreeMap;
use std::time::Duration;

use monitor_plugin_api::abi::RawQueueStats;

use crate::ledger::{Reason, Snapshot};
use crate::receive::decode::{Metadata, Reading};
use crate::receive::table::Key;

/// All that is known of a plugin that was run.
#[derive(Debug)]
pub(super) struct Facts {
    /// How long its `new()` took.
    pub(super) start: Duration,
    /// From the start of the workers to the moment when they were asked to stop.
    pub(super) ran: Duration,
    /// Somebody asked for the end before the time was over.
    pub(super) interrupted: bool,
    pub(super) get_power: Worker,
    pub(super) process_data: Worker,
    pub(super) drop: Dropped,
    /// None: not looked at, because something of the plugin still runs, or because there is no `/proc`.
    pub(super) threads: Option<Threads>,
    /// In items.
    pub(super) raw: RawQueueStats,
    pub(super) books: Snapshot,
    /// How many sends were taken.
    pub(super) sends: u64,
    /// For each reason of the ledger, what was wrong with the first sample.
    pub(super) firsts: BTreeMap<Reason, String>,
    pub(super) seen: Seen,
}

impl Facts {
    /// Samples that a run would have pushed, a second.
    pub(super) fn per_second(&self) -> f64 {
        self.seen.samples as f64 / self.ran.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// How a worker ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Worker {
    /// As it should: so long after it was asked to stop, or, of `process_data`, after its input had ended.
    Stopped(Duration),
    /// `process_data` did so because `get_power` had ended by itself.
    Followed,
    /// By itself, without an error.
    Returned,
    /// With an error, before or after it was asked to.
    Failed(String),
    Panicked(String),
    /// Not within this time.
    Late(Duration),
}

/// What became of the plugin's own value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dropped {
    /// It took so long.
    After(Duration),
    /// Not within this time.
    Late(Duration),
    /// Not tried: a worker is still in it.
    Never,
}

/// The process's threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Threads {
    /// Before the plugin's `new()`.
    pub(super) before: usize,
    /// After everything of it has ended.
    pub(super) after: usize,
    /// The names of those that were not there before.
    pub(super) left: Vec<String>,
    /// The plugin's manifest says that some go on.
    pub(super) may_stay: bool,
}

/// What a receiver would have got.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) samples: u64,
    /// Stale markers, which end series.
    pub(super) markers: u64,
    /// How many series; those beyond a bound are not told apart.
    pub(super) series: u64,
    /// The series with the most samples.
    pub(super) busiest: Option<(String, OfSeries)>,
    /// By metric, read from the bytes that a receiver would have got.
    pub(super) metadata: BTreeMap<String, Option<Metadata>>,
    /// The first samples of some series, read from the same bytes.
    pub(super) examples: Vec<(Key, Vec<Reading>)>,
    /// Samples that were dropped because of their order, by reason and series.
    pub(super) disorder: Vec<(Reason, String, u64)>,
    /// For each reason that the batch drops a sample, what was wrong with the first.
    pub(super) firsts: BTreeMap<Reason, String>,
    /// A batch that can't be read again, and why.
    pub(super) unreadable: Option<String>,
}

/// One series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OfSeries {
    pub(super) samples: u64,
    pub(super) first_ms: i64,
    pub(super) last_ms: i64,
    pub(super) longest_gap_ms: i64,
}

impl OfSeries {
    /// With its first sample.
    pub(super) fn new(moment: i64) -> Self {
        OfSeries { samples: 1, first_ms: moment, last_ms: moment, longest_gap_ms: 0 }
    }

    /// With one more sample.
    pub(super) fn add(&mut self, moment: i64) {
        self.samples += 1;
        self.longest_gap_ms = self.longest_gap_ms.max(moment.saturating_sub(self.last_ms));
        (self.first_ms, self.last_ms) = (self.first_ms.min(moment), self.last_ms.max(moment));
    }

    /// Between two samples, on the average.
    pub(super) fn interval(&self) -> Option<Duration> {
        let gaps = self.samples.checked_sub(1).filter(|&gaps| gaps > 0)?;
        let span = u64::try_from(self.last_ms.saturating_sub(self.first_ms)).ok()?;
        Some(Duration::from_millis(span).div_f64(gaps as f64))
    }
}
