//! The host's own metrics on their way to the receiver.
//!
//! Enters: a push that is due, and what is known of the run at that moment. Leaves: a sample for each of their series, for
//! the batch that is just filled. They go the way of all samples from there.
//!
//! Never: has a thread or a timer of its own; comes more often than [`EVERY`], but once more at the end of the run; lets
//! one of its series end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use monitor_plugin_api::Sample;

use super::next_deadline;
use crate::intake::Intake;
use crate::metrics::{FAMILIES, Family, Kind, Observer};
use crate::series::{Metadata, SeriesId, View};

/// How long it is between two of them, at least.
const EVERY: Duration = Duration::from_secs(15);

/// How many series they are, at most.
pub const MAX_SERIES: usize = 110;

/// The metrics, registered.
#[derive(Debug)]
pub struct Own {
    observer: Arc<Observer>,
    /// For each family its series, in the order of its points.
    series: Vec<Vec<SeriesId>>,
    next: Instant,
}

impl Own {
    /// Registers all series that this run has, under these labels. One that can't be, is told and left out with its
    /// family.
    pub fn new(observer: Arc<Observer>, intake: &Intake, job: &str, instance: &str) -> Self {
        let facts = observer.facts();
        let mut refused = Vec::new();
        let register = |family: &Family| {
            let metadata = Metadata {
                kind: metadata_kind(family.kind),
                help: family.help.to_owned(),
                unit: family.unit.to_owned(),
            };
            let (mut series, mut refusal) = (Vec::new(), None);
            family.series(&facts, |name, labels, _| {
                let labels = labels.iter().copied().chain([("job", job), ("instance", instance)]);
                match intake.register(name, labels, metadata.clone()) {
                    Ok(id) => series.push(id),
                    Err(reason) => refusal = Some(reason),
                }
            });
            match refusal {
                None => series,
                Some(reason) => {
                    refused.push((family.name, reason));
                    Vec::new()
                }
            }
        };
        let series = FAMILIES.iter().map(register).collect();
        if let Some((first, reason)) = refused.first() {
            tracing::warn!(
                families = refused.len(),
                first,
                %reason,
                "the host's own metrics can't all be pushed: look at MAX_LABEL_VALUE_BYTES and EXTERNAL_LABELS"
            );
        }
        Own { observer, series, next: Instant::now() }
    }

    /// The samples that go now, if it is time or the run ends.
    pub(super) fn due(&mut self, is_last: bool, now: Instant) -> Option<Vec<Sample>> {
        if !is_last && now < self.next {
            return None;
        }
        if !is_last {
            self.next = next_deadline(self.next, EVERY, now);
        }
        let facts = self.observer.facts();
        let mut samples = Vec::with_capacity(MAX_SERIES);
        for (family, series) in FAMILIES.iter().zip(&self.series) {
            let mut series = series.iter();
            family.series(&facts, |_, _, value| {
                let sample = |id: &SeriesId| Sample::from_parts(id.to_number(), value, facts.now_ms);
                samples.extend(series.next().map(sample));
            });
        }
        Some(samples)
    }

    /// They are not idle, however seldom they come.
    pub(super) fn touch(&self, view: &View<'_>) {
        self.series.iter().flatten().for_each(|&series| view.touch(series));
    }
}

/// As plugins declare it.
fn metadata_kind(kind: Kind) -> i32 {
    use monitor_plugin_api::abi::kind;
    match kind {
        Kind::Counter => kind::COUNTER,
        Kind::Gauge => kind::GAUGE,
        Kind::Histogram => kind::HISTOGRAM,
        Kind::Info => kind::INFO,
    }
}
