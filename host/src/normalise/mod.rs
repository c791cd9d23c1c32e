//! What a plugin sends, made into samples or into the reasons why it is none.
//!
//! Enters: typed records and JSON text (a dictionary or a list of them), and the time. Leaves, into a [`Sink`]: samples
//! with canonical labels, a canonical value and a checked timestamp; and one rejection for each that can't be used.
//! `docs/records.md` has the rules, and a table of cases that the tests here generate.
//!
//! Never: reads a clock; drops anything in silence; lets one bad item of a list cost another; puts more than 200
//! characters of what a plugin sent into a message; allocates for typed records once its buffers have grown.

mod json;
mod mend;
mod parse;
mod shown;
mod time;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;

#[cfg(test)]
mod tests;

pub use json::MAX_DOCUMENT_BYTES;

use crate::labels::{LabelSet, MAX_LABELS, Rules};
use crate::ledger::Reason;
use crate::sample::canonical;
use shown::Shown;
use std::fmt;
use std::sync::Arc;

/// Where samples go, and what is not one.
pub trait Sink {
    /// A usable sample: canonical label bytes (see [`crate::labels`]), canonical value, checked timestamp.
    fn sample(&mut self, labels: &[u8], value: f64, timestamp_ms: i64);

    /// Something that counts as one sample and can't be used. `detail` says which one and why, in at most 200
    /// characters, without control characters.
    fn reject(&mut self, reason: Reason, detail: fmt::Arguments<'_>);
}

/// Makes samples. Each sending thread has its own and reuses it.
#[derive(Debug)]
pub struct Normaliser {
    metric_default: String,
    service_label: String,
    labels: LabelSet,
}

impl Normaliser {
    /// `metric_default` names the records that have no metric of their own (METRIC_DEFAULT), `service_label` is the
    /// `source` of what becomes of pyJoules-like dictionaries (SERVICE_LABEL), `rules` hold for all labels.
    pub fn new(metric_default: impl Into<String>, service_label: impl Into<String>, rules: Arc<Rules>) -> Self {
        let labels = LabelSet::new(rules);
        Self { metric_default: metric_default.into(), service_label: service_label.into(), labels }
    }

    /// Takes one typed record: one sample or one rejection. An empty `metric` is METRIC_DEFAULT, no `timestamp_ms` is
    /// `now_ms`. `labels` is cloned only to name the repeated label.
    pub fn record<'a, L>(
        &mut self,
        metric: &str,
        labels: L,
        value: f64,
        timestamp_ms: Option<i64>,
        now_ms: i64,
        sink: &mut impl Sink,
    ) where
        L: IntoIterator<Item = (&'a str, &'a str), IntoIter: Clone>,
    {
        let metric = non_empty_or(metric, &self.metric_default);
        match time::of_record(timestamp_ms, now_ms) {
            Ok(at) => sample(&mut self.labels, metric, labels, value, at, sink),
            Err(wrong) => reject_timestamp(metric, &wrong, sink),
        }
    }
}

/// The last step, common to all forms: names and labels are checked and encoded, the value is made canonical.
fn sample<'a, L>(set: &mut LabelSet, metric: &str, labels: L, value: f64, at: i64, sink: &mut impl Sink)
where
    L: IntoIterator<Item = (&'a str, &'a str), IntoIter: Clone>,
{
    let name = Shown(metric);
    if let Err(reason) = set.start(metric) {
        let why = Rule(reason);
        return sink.reject(reason, format_args!("metric {name}: {why}"));
    }
    let labels = labels.into_iter();
    for (label, value) in labels.clone() {
        if let Err(reason) = set.label(label, value) {
            let (label, why) = (Shown(label), Rule(reason));
            return sink.reject(reason, format_args!("{name}: label {label}: {why}"));
        }
    }
    match set.encode() {
        Ok(bytes) => sink.sample(bytes, canonical(value), at),
        Err(reason) => {
            let label = Shown(repeated(labels));
            sink.reject(reason, format_args!("{name}: label {label} is given twice"));
        }
    }
}

fn non_empty_or<'a>(text: &'a str, default: &'a str) -> &'a str {
    if text.is_empty() { default } else { text }
}

fn reject_timestamp(of: &str, wrong: &time::Wrong<'_>, sink: &mut impl Sink) {
    let of = Shown(of);
    sink.reject(Reason::InvalidTimestamp, format_args!("{of}: {wrong}"));
}

/// What the name or label should have been.
pub(crate) struct Rule(pub(crate) Reason);

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Reason::InvalidMetricName => f.write_str("a metric's name must match [a-zA-Z_:][a-zA-Z0-9_:]*"),
            Reason::InvalidLabelName => {
                f.write_str("a label's name must match [a-zA-Z_][a-zA-Z0-9_]* and not begin with __")
            }
            Reason::LabelTooLong => f.write_str("longer than MAX_LABEL_VALUE_BYTES allows"),
            Reason::TooManyLabels => write!(f, "a series may have {MAX_LABELS} labels at most"),
            Reason::RepeatedLabel => f.write_str("a label is given twice"),
            Reason::TooManySeries => f.write_str("MAX_SERIES are known already"),
            other => f.write_str(other.name()),
        }
    }
}

/// The name of the first label that is given twice, for the message.
fn repeated<'a>(labels: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> &'a str {
    let given = labels.filter(|(_, value)| !value.is_empty());
    let mut earlier = given.clone().enumerate();
    let twice = earlier.find(|(i, (name, _))| given.clone().take(*i).any(|(other, _)| other == *name));
    twice.map_or("", |(_, (name, _))| name)
}
