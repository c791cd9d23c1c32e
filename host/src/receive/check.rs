//! Enters: a request's headers and series, and what was stored before. Leaves: what a receiver may object to.
//!
//! Judges only; stores nothing, so a request that is refused and comes again is judged the same.

use std::collections::{BTreeMap, HashMap};

use hyper::HeaderMap;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use monitor_proto::{NAME_LABEL, NORMAL_NAN, STALE_NAN, VERSION_HEADER, VERSION_V1, VERSION_V2};

use super::decode::{Protocol, Request, Series};
use super::table::{Key, Last, Table};

/// Violations of one request that are told apart; the others are only counted.
const MAX_KEPT: usize = 100;

/// What was wrong, as a word that scripts can look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Header,
    EmptyRequest,
    Symbols,
    EmptySeries,
    MixedSeries,
    LabelsUnsorted,
    LabelRepeated,
    LabelName,
    LabelValue,
    MetricName,
    Histogram,
    NotANumber,
    OutOfOrder,
    Duplicate,
    Conflict,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::EmptyRequest => "empty_request",
            Self::Symbols => "symbols",
            Self::EmptySeries => "empty_series",
            Self::MixedSeries => "mixed_series",
            Self::LabelsUnsorted => "labels_unsorted",
            Self::LabelRepeated => "label_repeated",
            Self::LabelName => "label_name",
            Self::LabelValue => "label_value",
            Self::MetricName => "metric_name",
            Self::Histogram => "histogram",
            Self::NotANumber => "nan",
            Self::OutOfOrder => "out_of_order",
            Self::Duplicate => "duplicate",
            Self::Conflict => "conflict",
        }
    }

    /// Whether a strict receiver refuses the request. The same sample once more is let pass, as Prometheus does.
    fn refuses(self) -> bool {
        matches!(self, Self::OutOfOrder | Self::Conflict)
    }
}

/// One objection.
#[derive(Debug)]
pub(super) struct Violation {
    pub(super) kind: Kind,
    pub(super) series: Option<String>,
    pub(super) detail: String,
}

/// All objections to one request.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) kept: Vec<Violation>,
    pub(super) counts: BTreeMap<Kind, u64>,
    /// Why a strict receiver refuses the request: its first reason.
    pub(super) refusal: Option<String>,
}

impl Report {
    pub(super) fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    fn add(&mut self, kind: Kind, series: Option<&Key>, detail: String) {
        *self.counts.entry(kind).or_default() += 1;
        if kind.refuses() && self.refusal.is_none() {
            self.refusal = Some(match series {
                Some(series) => format!("{}: {detail} in {series}", kind.name()),
                None => format!("{}: {detail}", kind.name()),
            });
        }
        if self.kept.len() < MAX_KEPT {
            self.kept.push(Violation { kind, series: series.map(Key::to_string), detail });
        }
    }
}

/// Judges the headers that every request must carry.
pub(super) fn headers(headers: &HeaderMap, protocol: Option<Protocol>, report: &mut Report) {
    for name in [CONTENT_TYPE, CONTENT_ENCODING, USER_AGENT] {
        if headers.get(&name).is_none_or(|value| value.is_empty()) {
            report.add(Kind::Header, None, format!("{name} is missing"));
        }
    }
    let expected = match protocol {
        Some(Protocol::V1) => VERSION_V1,
        Some(Protocol::V2) => VERSION_V2,
        None => return,
    };
    match headers.get(VERSION_HEADER) {
        None => report.add(Kind::Header, None, format!("{VERSION_HEADER} is missing, should be {expected}")),
        Some(value) if value != expected => {
            report.add(Kind::Header, None, format!("{VERSION_HEADER} is {value:?}, should be {expected}"));
        }
        Some(_) => {}
    }
}

/// Judges the series of a request, and their order in time after what is in `table`.
pub(super) fn request(protocol: Protocol, request: &Request, table: &Table, report: &mut Report) {
    if request.series.is_empty() && request.metadata.is_empty() {
        report.add(Kind::EmptyRequest, None, "nothing in it".into());
    }
    if let Some(fault) = &request.bad_symbols {
        report.add(Kind::Symbols, None, fault.clone());
    }
    // Entries of one series may stand apart in one request.
    let mut newest: HashMap<Key, Option<Last>> = HashMap::with_capacity(request.series.len());
    for series in &request.series {
        let key = series.key();
        labels(protocol, series, &key, report);
        contents(protocol, series, &key, report);
        let mut last = newest.get(&key).copied().unwrap_or_else(|| table.last(&key));
        order(series, &key, &mut last, report);
        newest.insert(key, last);
    }
}

fn labels(protocol: Protocol, series: &Series, key: &Key, report: &mut Report) {
    let mut add = |kind, detail| report.add(kind, Some(key), detail);
    for pair in series.labels.windows(2) {
        match pair[0].0.cmp(&pair[1].0) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => add(Kind::LabelRepeated, format!("label {:?} stands twice", pair[0].0)),
            std::cmp::Ordering::Greater => {
                add(Kind::LabelsUnsorted, format!("label {:?} stands after {:?}", pair[1].0, pair[0].0));
            }
        }
    }
    for (name, value) in &series.labels {
        if name == NAME_LABEL {
            if !value.is_empty() && protocol == Protocol::V1 && !legal(value, ":_") {
                add(Kind::MetricName, format!("metric {value:?} is no name of 1.0"));
            }
            continue;
        }
        if name.is_empty() {
            add(Kind::LabelName, "a label has no name".into());
        } else if name.starts_with("__") {
            add(Kind::LabelName, format!("label {name:?} is reserved"));
        } else if protocol == Protocol::V1 && !legal(name, "_") {
            add(Kind::LabelName, format!("label {name:?} is no name of 1.0"));
        }
        if value.is_empty() {
            add(Kind::LabelValue, format!("label {name:?} is empty: leave it out"));
        }
    }
    if key.metric.is_empty() {
        add(Kind::MetricName, format!("{NAME_LABEL} is missing"));
    }
}

/// Letters, digits after the first place, and the extra characters.
fn legal(name: &str, extra: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || extra.contains(letter))
}

fn contents(protocol: Protocol, series: &Series, key: &Key, report: &mut Report) {
    match (series.samples.is_empty(), series.histograms.is_empty()) {
        (true, true) => report.add(Kind::EmptySeries, Some(key), "no samples and no histograms".into()),
        (false, false) if protocol == Protocol::V2 => {
            report.add(Kind::MixedSeries, Some(key), "samples and histograms in one entry".into());
        }
        _ => {}
    }
    for (timestamp_ms, value) in series.points() {
        let bits = value.to_bits();
        if value.is_nan() && bits != STALE_NAN && bits != NORMAL_NAN {
            report.add(Kind::NotANumber, Some(key), format!("NaN with bits {bits:#x} at {timestamp_ms}"));
        }
    }
    for histogram in series.histograms.iter().filter(|histogram| !histogram.is_whole) {
        let detail = format!("spans and counts at {} name different numbers of buckets", histogram.timestamp_ms);
        report.add(Kind::Histogram, Some(key), detail);
    }
}

fn order(series: &Series, key: &Key, last: &mut Option<Last>, report: &mut Report) {
    for (timestamp_ms, value) in series.points() {
        match last {
            Some(last) if timestamp_ms < last.timestamp_ms => {
                let detail = format!("sample at {timestamp_ms} after {}", last.timestamp_ms);
                report.add(Kind::OutOfOrder, Some(key), detail);
                continue;
            }
            Some(last) if timestamp_ms == last.timestamp_ms && value.to_bits() == last.value.to_bits() => {
                report.add(Kind::Duplicate, Some(key), format!("sample at {timestamp_ms} came twice"));
            }
            Some(last) if timestamp_ms == last.timestamp_ms => {
                let detail = format!("sample at {timestamp_ms} is {value} and was {}", last.value);
                report.add(Kind::Conflict, Some(key), detail);
            }
            _ => {}
        }
        *last = Some(Last { timestamp_ms, value });
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
