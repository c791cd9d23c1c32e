//! One module, run twice.
//!
//! Enters: a file of `modules/`. Leaves: nothing, or what differs. Never: looks at a sample of another row's (each row's
//! samples carry its number, in a label that the host adds).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use signal_hook::consts::SIGTERM;
use tempfile::TempDir;

use super::cpython::CPython;
use crate::faults::{LONG, books};
use crate::host::{Line, Running};
use crate::receivers::Labels;
use crate::receivers::fetch::run;
use crate::sink::{Sample, Sink};

/// The label by which a row's samples are told from the others'.
const ROW_LABEL: &str = "row_of_the_table";

/// How a run ends, where the reference does not say it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// As the module has it: it fails, or runs until it is stopped, in good order.
    AsTheModule,
    /// It does not hear that it is to stop.
    LeftBehind,
}

/// A module and what there is to know about it.
pub(super) struct Row {
    pub(super) name: &'static str,
    variables: &'static [(&'static str, &'static str)],
    end: End,
    says: &'static [&'static str],
    shows: &'static [&'static str],
}

/// What plain CPython gave, as `reference.py` writes it down.
#[derive(Deserialize)]
struct Reference {
    /// Metric, labels, value, timestamp.
    samples: Vec<(String, Labels, String, Option<i64>)>,
    rejected: BTreeMap<String, u64>,
    ends: Ends,
    /// Level, logger, message.
    logs: Vec<(String, String, String)>,
}

/// How each part ended, in a line; none for a function that would have gone on.
#[derive(Deserialize)]
struct Ends {
    import: String,
    get_power: Option<String>,
    process_data: Option<String>,
}

impl Ends {
    /// The exit status of a host.
    fn status(&self) -> i32 {
        match (self.import.as_str(), &self.get_power, &self.process_data) {
            ("returned", None, None) => 0,
            ("returned", ..) => 1,
            _ => 3,
        }
    }
}

impl Row {
    pub(super) const fn of(name: &'static str) -> Self {
        Self { name, variables: &[], end: End::AsTheModule, says: &[], shows: &[] }
    }

    /// Sets these variables, in both runs.
    pub(super) const fn with(mut self, variables: &'static [(&'static str, &'static str)]) -> Self {
        self.variables = variables;
        self
    }

    /// It ends in another way than the reference says.
    pub(super) const fn ends(mut self, end: End) -> Self {
        self.end = end;
        self
    }

    /// Of the errors that are logged, one has all of this.
    pub(super) const fn says(mut self, says: &'static [&'static str]) -> Self {
        self.says = says;
        self
    }

    /// Each of these is a line on stderr of its own.
    pub(super) const fn shows(mut self, shows: &'static [&'static str]) -> Self {
        self.shows = shows;
        self
    }

    /// Runs the module under plain CPython, then under the bridge, as this row of the table; what differs.
    pub(super) fn compare(&self, number: usize, python: &CPython, sink: &Sink) -> Result<(), String> {
        let folder = self.deployed();
        let reference = self.reference(python, folder.path())?;
        let number = number.to_string();
        let host = self.spawn(&number, python, folder.path(), sink);
        let is_mine = |sample: &&Sample| sample.labels.get(ROW_LABEL) == Some(&number);
        if reference.ends.status() == 0 {
            sink.wait_for(LONG, &format!("sample `last` of {}", self.name), |samples| {
                samples.iter().filter(is_mine).any(|sample| sample.metric == "last") || host.ended().is_some()
            });
            host.signal(SIGTERM);
        }
        let status = host.wait(LONG).code();
        let context = |what: String| format!("{what}\n{}", host.log_text());

        let expected = if self.end == End::LeftBehind { 1 } else { reference.ends.status() };
        same("exit status", status, Some(expected)).map_err(context)?;
        self.check_errors(&host, expected).map_err(context)?;
        check_log(&reference.logs, &host).map_err(context)?;
        let lacks = |line: &&&str| !host.log().iter().any(|shown| shown.text == **line);
        same("what is not shown", self.shows.iter().filter(lacks).collect::<Vec<_>>(), Vec::new()).map_err(context)?;
        same("standard output", host.output(), Vec::new()).map_err(context)?;
        if expected == 3 {
            return same("samples", reference.samples.len(), 0);
        }
        let ledger = books(&host);
        same("what was dropped", &ledger.reasons, &reference.rejected).map_err(context)?;
        same("delivered", ledger.delivered, reference.samples.len() as u64).map_err(context)?;
        sink.wait_for(LONG, "all that was delivered", |samples| {
            samples.iter().filter(is_mine).count() as u64 >= ledger.delivered
        });
        let arrived: Vec<Sample> = sink.samples().into_iter().filter(|sample| is_mine(&sample)).collect();
        check_samples(reference, arrived).map_err(context)
    }

    /// The module as it is deployed: in a folder, under the usual name, with what belongs beside it.
    fn deployed(&self) -> TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let module = Path::new(super::MODULES).join(self.name);
        fs::copy(module.with_extension("py"), folder.path().join("monitor_impl.py")).expect("a module");
        if module.is_dir() {
            copy(&module, folder.path());
        }
        folder
    }

    fn reference(&self, python: &CPython, folder: &Path) -> Result<Reference, String> {
        let result = folder.join("reference.json");
        let mut command = python.command();
        command.arg(super::REFERENCE).arg(folder.join("monitor_impl.py")).arg(&result);
        command.envs(self.variables.iter().copied()).current_dir(folder);
        run(&mut command)?;
        let text = fs::read_to_string(&result).map_err(|error| format!("no result: {error}"))?;
        serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))
    }

    fn spawn(&self, number: &str, python: &CPython, folder: &Path, sink: &Sink) -> Running {
        let host =
            super::host(python, &folder.join("monitor_impl.py")).within(folder).env("REMOTE_WRITE_URL", sink.url());
        let host = host.env("PUSH_INTERVAL_S", "0.2").env("EXTERNAL_LABELS", format!("{ROW_LABEL}={number}"));
        self.variables.iter().fold(host, |host, (name, value)| host.env(name, value)).spawn()
    }

    /// One error says all that it should; a run in good order has none.
    fn check_errors(&self, host: &Running, status: i32) -> Result<(), String> {
        let errors: Vec<String> = crate::faults::lines(host, "ERROR").iter().map(unescaped).collect();
        if status == 0 {
            return same("errors", errors, Vec::new());
        }
        let says_all = |error: &&String| self.says.iter().all(|part| error.contains(part));
        match errors.iter().filter(says_all).count() {
            1 => Ok(()),
            found => Err(format!("{found} errors with {:?}", self.says)),
        }
    }
}

/// All that a line says, as it was before it became JSON.
fn unescaped(line: &Line) -> String {
    let fields = line.json.as_object().into_iter().flatten();
    fields.map(|(_, value)| value.as_str().map_or_else(|| value.to_string(), str::to_owned) + "\n").collect()
}

/// What the module logged stands in the host's log, each message at its level and under its logger's name, and nothing else
/// does, but for what the plugin itself says.
fn check_log(logged: &[(String, String, String)], host: &Running) -> Result<(), String> {
    let mut lines: Vec<[String; 3]> = Vec::new();
    for line in host.log().iter().filter(|line| line.field("target") == "plugin") {
        lines.push([line.level(), line.field("module"), line.message()].map(str::to_owned));
    }
    lines.retain(|[_, module, _]| !module.starts_with("monitor_p"));
    for (level, logger, message) in logged {
        let level = match level.as_str() {
            "CRITICAL" => "ERROR",
            "NOTICE" => "INFO",
            level => level,
        };
        // A traceback follows the message.
        let is_it =
            |line: &[String; 3]| line[0] == level && line[1] == *logger && line[2].starts_with(message.as_str());
        let Some(at) = lines.iter().position(is_it) else {
            return Err(format!("{level} {logger} {message:?} is not logged"));
        };
        lines.remove(at);
    }
    same("further lines in the log", lines, Vec::new())
}

fn check_samples(reference: Reference, arrived: Vec<Sample>) -> Result<(), String> {
    type Samples = BTreeMap<(String, Labels), Vec<(f64, Option<i64>)>>;
    let mut expected: Samples = BTreeMap::new();
    for (metric, labels, value, at) in reference.samples {
        let value = value.parse().map_err(|error| format!("{value}: {error}"))?;
        expected.entry((metric, labels)).or_default().push((value, at));
    }
    let mut got: Samples = BTreeMap::new();
    for Sample { metric, mut labels, value, timestamp_ms, received_ms, .. } in arrived {
        labels.remove(ROW_LABEL);
        // What was stamped on arrival has no time to compare.
        let is_now = (received_ms - timestamp_ms).abs() < LONG.as_millis() as i64;
        got.entry((metric, labels)).or_default().push((value, (!is_now).then_some(timestamp_ms)));
    }
    let bits = |samples: &Vec<(f64, Option<i64>)>| -> Vec<(u64, Option<i64>)> {
        samples.iter().map(|(value, at)| (if value.is_nan() { f64::NAN } else { *value }.to_bits(), *at)).collect()
    };
    for (series, samples) in &expected {
        let found = got.remove(series).unwrap_or_default();
        if bits(&found) != bits(samples) {
            return Err(format!("{series:?} is {found:?} instead of {samples:?}"));
        }
    }
    same("further series", got.into_keys().collect::<Vec<_>>(), Vec::new())
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?} instead of {expected:?}")) }
}

/// All that lies in a folder, folders too.
fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").args(["-r", "--"]).args([&from.join("."), to])).expect("a copy");
}
