//! What a check says: facts and findings enter, one document leaves, which is shown as text or as JSON. Pure.
//!
//! The names of its fields are an interface: docs/check.md tells them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use monitor_plugin_api::manifest::Manifest;
use serde::{Serialize, Serializer};

use super::facts::{Dropped, Facts, Worker};
use super::findings::{self, Finding};
use super::run::{NotRun, START_TIMEOUT};
use crate::ledger::Reason;
use crate::receive::decode::Reading;
use crate::receive::lines::{Number, Object};
use crate::receive::table::Key;

/// The outcome in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// Nothing is wrong.
    Ok,
    /// It ran, and something is wrong; or it hung before it could run.
    Problems,
    /// It can't be loaded.
    NotLoaded,
}

impl Verdict {
    pub(super) fn exit_status(self) -> u8 {
        match self {
            Verdict::Ok => 0,
            Verdict::Problems => 1,
            Verdict::NotLoaded => 3,
        }
    }
}

/// What was checked.
#[derive(Clone, Debug)]
pub(super) struct Subject<'a> {
    pub(super) path: &'a Path,
    /// Nothing was named, and no plugin lies beside the binary.
    pub(super) is_dummy: bool,
    /// SCRAPE_INTERVAL_S.
    pub(super) scrape_interval: Duration,
    /// Known once the library is loaded.
    pub(super) manifest: Option<Manifest>,
}

impl Subject<'_> {
    fn panics_abort(&self) -> bool {
        self.manifest.as_ref().is_some_and(|manifest| manifest.panic == "abort")
    }
}

/// The whole report.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    pub(super) verdict: Verdict,
    pub(super) exit_status: u8,
    pub(super) file: String,
    pub(super) is_dummy: bool,
    pub(super) plugin: Option<Plugin>,
    /// Why it can't be loaded.
    pub(super) error: Option<String>,
    pub(super) run: Option<Run<'a>>,
    pub(super) problems: Vec<Finding>,
    pub(super) hints: Vec<Finding>,
}

#[derive(Debug, Serialize)]
pub(super) struct Plugin {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) api: String,
    pub(super) rustc: String,
    pub(super) target: String,
    /// `unwind` or `abort`.
    pub(super) panic: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Run<'a> {
    pub(super) start_s: f64,
    pub(super) ran_s: f64,
    pub(super) interrupted: bool,
    pub(super) scrape_interval_s: f64,
    pub(super) samples: Samples,
    pub(super) sends: Sends,
    pub(super) readings: Readings,
    pub(super) series: u64,
    pub(super) busiest: Option<Busiest<'a>>,
    pub(super) metrics: Vec<Metric<'a>>,
    pub(super) examples: Vec<Example<'a>>,
    pub(super) dropped: Vec<DroppedSamples<'a>>,
    pub(super) disorder: Vec<Disorder<'a>>,
    pub(super) workers: BTreeMap<&'static str, WorkerEnd<'a>>,
    /// None when the plugin was not or not wholly taken down.
    pub(super) drop_s: Option<f64>,
    pub(super) threads: Option<Threads<'a>>,
}

#[derive(Debug, Serialize)]
pub(super) struct Samples {
    pub(super) collected: u64,
    /// A run would have pushed them.
    pub(super) good: u64,
    pub(super) dropped: u64,
    /// Of the good ones.
    pub(super) per_s: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct Sends {
    pub(super) taken: u64,
    pub(super) refused: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Readings {
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) refused: u64,
    pub(super) capacity: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Busiest<'a> {
    pub(super) series: &'a str,
    pub(super) samples: u64,
    pub(super) interval_s: Option<f64>,
    pub(super) longest_gap_s: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct Metric<'a> {
    pub(super) metric: &'a str,
    pub(super) r#type: Option<&'a str>,
    pub(super) help: Option<&'a str>,
    pub(super) unit: Option<&'a str>,
}

#[derive(Debug, Serialize)]
pub(super) struct Example<'a> {
    metric: &'a str,
    labels: Labels<'a>,
    #[serde(serialize_with = "number")]
    value: f64,
    /// Of a native histogram; its value is the sum.
    #[serde(serialize_with = "count")]
    count: Option<f64>,
    timestamp_ms: i64,
    #[serde(skip)]
    pub(super) of: (&'a Key, &'a Reading),
}

#[derive(Debug, Serialize)]
pub(super) struct DroppedSamples<'a> {
    #[serde(serialize_with = "reason")]
    pub(super) reason: Reason,
    pub(super) samples: u64,
    /// What was wrong with the first.
    pub(super) first: Option<&'a str>,
}

#[derive(Debug, Serialize)]
pub(super) struct Disorder<'a> {
    #[serde(serialize_with = "reason")]
    pub(super) reason: Reason,
    pub(super) series: &'a str,
    pub(super) samples: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct WorkerEnd<'a> {
    pub(super) end: &'static str,
    /// After it was asked to; of `process_data`, after its input had ended.
    pub(super) stop_s: Option<f64>,
    pub(super) error: Option<&'a str>,
}

#[derive(Debug, Serialize)]
pub(super) struct Threads<'a> {
    pub(super) before: usize,
    pub(super) after: usize,
    pub(super) leaked: &'a [String],
}

#[derive(Debug)]
struct Labels<'a>(&'a [(String, String)]);

impl Serialize for Labels<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Object(self.0).serialize(serializer)
    }
}

fn number<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    Number(*value).serialize(serializer)
}

fn count<S: Serializer>(count: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    count.map(Number).serialize(serializer)
}

fn reason<S: Serializer>(reason: &Reason, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(reason.name())
}

/// Lines that samples are shown in, at most.
const MAX_EXAMPLES: usize = 10;

impl<'a> Report<'a> {
    /// The report on a plugin that ran.
    pub(super) fn of_run(subject: &Subject<'_>, facts: &'a Facts) -> Self {
        let problems = findings::problems(facts);
        let mut hints = findings::hints(facts, subject.scrape_interval, subject.is_dummy);
        hints.extend(subject.panics_abort().then(findings::panics_abort));
        let verdict = if problems.is_empty() { Verdict::Ok } else { Verdict::Problems };
        Report { run: Some(run(subject, facts)), problems, hints, ..Report::new(subject, verdict) }
    }

    /// The report on one that did not come so far.
    pub(super) fn of_none(subject: &Subject<'_>, why: &NotRun) -> Self {
        match why {
            NotRun::Refused(error) => {
                Report { error: Some(error.to_string()), ..Report::new(subject, Verdict::NotLoaded) }
            }
            NotRun::Hung(what) => Report {
                problems: vec![findings::hung(what, START_TIMEOUT)],
                ..Report::new(subject, Verdict::Problems)
            },
            NotRun::Died(end) => {
                Report { problems: vec![findings::died(end)], ..Report::new(subject, Verdict::Problems) }
            }
            NotRun::System(error) => {
                Report { problems: vec![findings::system(error)], ..Report::new(subject, Verdict::Problems) }
            }
        }
    }

    fn new(subject: &Subject<'_>, verdict: Verdict) -> Self {
        let plugin = subject.manifest.clone().map(|Manifest { api, name, version, rustc, target, panic, .. }| Plugin {
            name,
            version,
            api,
            rustc,
            target,
            panic: Some(panic).filter(|panic| !panic.is_empty()),
        });
        Report {
            verdict,
            exit_status: verdict.exit_status(),
            file: subject.path.display().to_string(),
            is_dummy: subject.is_dummy,
            plugin,
            error: None,
            run: None,
            problems: Vec::new(),
            hints: Vec::new(),
        }
    }
}

fn run<'a>(subject: &Subject<'_>, facts: &'a Facts) -> Run<'a> {
    let Facts { seen, books, raw, .. } = facts;
    let first = |reason| facts.firsts.get(&reason).or_else(|| seen.firsts.get(&reason)).map(String::as_str);
    let dropped = books.dropped.iter().filter(|(_, samples)| *samples > 0);
    let each = (MAX_EXAMPLES / seen.examples.len().max(1)).max(1);
    let examples = seen.examples.iter().flat_map(|(key, samples)| samples.iter().take(each).map(move |s| (key, s)));
    Run {
        start_s: facts.start.as_secs_f64(),
        ran_s: facts.ran.as_secs_f64(),
        interrupted: facts.interrupted,
        scrape_interval_s: subject.scrape_interval.as_secs_f64(),
        samples: Samples {
            collected: books.collected() - seen.markers.min(books.collected()),
            good: seen.samples,
            dropped: books.dropped(),
            per_s: facts.per_second(),
        },
        sends: Sends { taken: facts.sends, refused: books.refused_sends },
        readings: Readings { sent: raw.sent, received: raw.received, refused: raw.refused, capacity: raw.capacity },
        series: seen.series,
        busiest: seen.busiest.as_ref().map(|(series, of_series)| Busiest {
            series,
            samples: of_series.samples,
            interval_s: of_series.interval().map(|interval| interval.as_secs_f64()),
            longest_gap_s: of_series.longest_gap_ms as f64 / 1000.0,
        }),
        metrics: seen
            .metadata
            .iter()
            .map(|(metric, known)| {
                let known = known.as_ref();
                let given = |text: &'a str| Some(text).filter(|text| !text.is_empty());
                Metric {
                    metric,
                    r#type: known.map(|known| known.kind.as_str()).filter(|kind| *kind != "unknown"),
                    help: known.and_then(|known| given(&known.help)),
                    unit: known.and_then(|known| given(&known.unit)),
                }
            })
            .collect(),
        examples: examples
            .take(MAX_EXAMPLES)
            .map(|(key, reading)| {
                let (timestamp_ms, value) = reading.point();
                let count = match reading {
                    Reading::Sample(_) => None,
                    Reading::Histogram(histogram) => Some(histogram.count),
                };
                let of = (key, reading);
                Example { metric: &key.metric, labels: Labels(&key.labels), value, count, timestamp_ms, of }
            })
            .collect(),
        dropped: dropped.map(|&(reason, samples)| DroppedSamples { reason, samples, first: first(reason) }).collect(),
        disorder: seen
            .disorder
            .iter()
            .map(|(reason, series, samples)| Disorder { reason: *reason, series, samples: *samples })
            .collect(),
        workers: [("get_power", &facts.get_power), ("process_data", &facts.process_data)]
            .map(|(name, end)| (name, worker(end)))
            .into(),
        drop_s: match facts.drop {
            Dropped::After(took) => Some(took.as_secs_f64()),
            Dropped::Late(_) | Dropped::Never => None,
        },
        threads: facts.threads.as_ref().map(|threads| Threads {
            before: threads.before,
            after: threads.after,
            leaked: &threads.left,
        }),
    }
}

fn worker(end: &Worker) -> WorkerEnd<'_> {
    let (end, stop, error) = match end {
        Worker::Stopped(took) => ("stopped", Some(took.as_secs_f64()), None),
        Worker::Followed => ("followed", None, None),
        Worker::Returned => ("returned", None, None),
        Worker::Failed(why) => ("failed", None, Some(why.as_str())),
        Worker::Panicked(why) => ("panicked", None, Some(why.as_str())),
        Worker::Late(_) => ("late", None, None),
    };
    WorkerEnd { end, stop_s: stop, error }
}
