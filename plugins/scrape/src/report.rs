//! What is told of each scrape, whatever came of it: Prometheus's own series of a target, and how many samples were lost here.
//!
//! Enters: the numbers of one scrape. Leaves: samples of series that have the target's labels alone.

use std::time::Duration;

use monitor_plugin_api::{Error, Kind, RecordSender, Sample, Series, SeriesSpec};

/// What a scrape came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Numbers {
    pub(crate) up: bool,
    pub(crate) took: Duration,
    /// Samples in the exposition, up to where it is malformed.
    pub(crate) scraped: u64,
    /// The same, as there is no relabeling here.
    pub(crate) kept: u64,
    /// Series that the scrape before had not.
    pub(crate) added: u64,
}

/// What was lost here, in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    /// Samples of a series that the exposition has twice.
    pub(crate) duplicates: u64,
    /// Samples of a series that the host does not take.
    pub(crate) refused: u64,
    /// Samples for which the host's queue had no room.
    pub(crate) queue_full: u64,
    /// Scrapes left out.
    pub(crate) missed: u64,
}

const DROPPED: &str = "monitor_scrape_dropped_samples_total";
const DROPPED_HELP: &str = "Samples of the target that were scraped and not pushed.";

/// Name, kind, unit, help, and a reason.
type Told = (&'static str, Kind, &'static str, &'static str, &'static str);

const SERIES: [Told; 9] = [
    ("up", Kind::Gauge, "", "Whether the last scrape of the target went well.", ""),
    ("scrape_duration_seconds", Kind::Gauge, "seconds", "How long the last scrape took.", ""),
    ("scrape_samples_scraped", Kind::Gauge, "", "How many samples the target exposed.", ""),
    ("scrape_samples_post_metric_relabeling", Kind::Gauge, "", "The same: nothing is relabeled.", ""),
    ("scrape_series_added", Kind::Gauge, "", "How many series were new in the last scrape.", ""),
    (DROPPED, Kind::Counter, "", DROPPED_HELP, "duplicate"),
    (DROPPED, Kind::Counter, "", DROPPED_HELP, "refused"),
    (DROPPED, Kind::Counter, "", DROPPED_HELP, "queue_full"),
    ("monitor_scrape_missed_total", Kind::Counter, "", "Scrapes left out: the one before was not done.", ""),
];

/// The series that tell of one target.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Series>);

impl Report {
    /// Registers those that are not yet: before all others, so that a target's own series leave room for them.
    ///
    /// # Errors
    /// The host does not take one of them. It is tried again with the next scrape.
    pub(crate) fn register(&mut self, out: &RecordSender, labels: &[(String, String)]) -> Result<(), Error> {
        for (metric, kind, unit, help, reason) in &SERIES[self.0.len()..] {
            let spec = SeriesSpec::new(*metric).kind(*kind).unit(*unit).help(*help).label("reason", *reason);
            let spec = labels.iter().fold(spec, |spec, (name, value)| spec.label(name, value));
            self.0.push(out.register(spec)?);
        }
        Ok(())
    }

    /// Puts the samples of one scrape into `samples`.
    pub(crate) fn put(&self, at_ms: i64, numbers: Numbers, lost: Lost, samples: &mut Vec<Sample>) {
        // Counts stay far below 2^53, where doubles end to be exact.
        let values = [
            f64::from(u8::from(numbers.up)),
            numbers.took.as_secs_f64(),
            numbers.scraped as f64,
            numbers.kept as f64,
            numbers.added as f64,
            lost.duplicates as f64,
            lost.refused as f64,
            lost.queue_full as f64,
            lost.missed as f64,
        ];
        samples.extend(self.0.iter().zip(values).map(|(series, value)| series.sample(value, at_ms)));
    }
}
