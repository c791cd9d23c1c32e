//! Real receivers, to see what others make of our requests: Debian's own Prometheus, a newer one, VictoriaMetrics.
//!
//! Enters: what a test pushes to [`Receiver::write_url`]. Leaves: what the receiver stored, as raw samples. Never:
//! shares a process, a port or a data folder between tests.

pub(crate) mod fetch;
pub(crate) mod port;
mod roundtrip;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde::Deserialize;
use signal_hook::consts::SIGTERM;
use tempfile::TempDir;

use crate::http;
use crate::process::Process;
use port::Port;

/// How long a receiver may take from its start until it is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a receiver may take to write its data down when asked to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Which receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The Prometheus of the running Debian release; bookworm's is 2.42, which knows remote write 1.0 only.
    PrometheusDebian,
    /// The Prometheus of Debian's rolling release: 3.5 or newer, remote write 1.0 and 2.0.
    Prometheus3,
    /// The VictoriaMetrics of Debian's rolling release: 1.145 or newer, remote write 1.0. It stores decimals: integers up to
    /// 2^53 and numbers of up to eleven digits come back as they were, others differ after the twelfth; in a series that
    /// mixes large and small numbers the small ones lose more.
    VictoriaMetrics,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::PrometheusDebian, Self::Prometheus3, Self::VictoriaMetrics];
}

/// Labels by name; the metric is `__name__`.
pub(crate) type Labels = BTreeMap<String, String>;

/// A series as a receiver stored it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Series {
    /// All its labels, `__name__` among them.
    pub(crate) labels: Labels,
    /// Its raw samples in the receiver's order: Unix time in milliseconds, value.
    pub(crate) samples: Vec<(i64, f64)>,
}

/// A running receiver with a port and a data folder of its own; gone with all it stored when dropped.
pub(crate) struct Receiver {
    kind: Kind,
    binary: PathBuf,
    port: Port,
    // Before the folder, so that the process is gone when the folder goes.
    process: Option<Process>,
    folder: TempDir,
    /// Arguments that a test gave.
    more: Vec<String>,
}

impl Receiver {
    /// Starts a receiver and waits until it is ready. None, with one line that says so, where its package can't be
    /// had; in CI that is a failure.
    pub(crate) fn start(kind: Kind) -> Option<Self> {
        Self::with(kind, "", &[])
    }

    /// The same, a Prometheus with this configuration.
    pub(crate) fn configured(kind: Kind, yaml: &str) -> Option<Self> {
        Self::with(kind, yaml, &[])
    }

    /// The same, with these arguments too.
    pub(crate) fn configured_with(kind: Kind, yaml: &str, arguments: &[&str]) -> Option<Self> {
        Self::with(kind, yaml, arguments)
    }

    /// As [`Receiver::start`], with these arguments too.
    pub(crate) fn start_with(kind: Kind, arguments: &[&str]) -> Option<Self> {
        Self::with(kind, "", arguments)
    }

    fn with(kind: Kind, yaml: &str, arguments: &[&str]) -> Option<Self> {
        let binary = fetch::binary(fetch::package(kind))?;
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("prometheus.yml"), yaml).expect("a configuration");
        let port = Port::reserve().expect("a free port");
        let more = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut receiver = Self { kind, binary, port, process: None, folder, more };
        receiver.start_again();
        Some(receiver)
    }

    /// What Prometheus' own `promtool` says of a text: all that it printed, and whether it was content.
    pub(crate) fn promtool(&self, arguments: &[&str], text: &str) -> (String, bool) {
        let tool = fetch::promtool().expect("it came with the receivers");
        let file = self.folder.path().join("promtool.txt");
        fs::write(&file, text).expect("a file of ours");
        let input = File::open(&file).expect("a file of ours");
        let mut command = Command::new(tool);
        let output = command.args(arguments).stdin(input).output().expect("promtool can be executed");
        let said = [output.stdout, output.stderr].concat();
        (String::from_utf8_lossy(&said).into_owned(), output.status.success())
    }

    /// The package's version.
    pub(crate) fn version(&self) -> String {
        fetch::version(fetch::package(self.kind))
    }

    /// Where to push.
    pub(crate) fn write_url(&self) -> String {
        self.url("/api/v1/write")
    }

    /// Stops the receiver in good order. Its port refuses connections then; what it stored stays.
    pub(crate) fn stop(&mut self) {
        let process = self.process.take().expect("the receiver runs");
        process.signal(SIGTERM);
        assert!(process.wait(STOP_TIMEOUT).is_some(), "{:?} ignores SIGTERM: {}", self.kind, self.log_tail());
    }

    /// Starts a stopped receiver on the same port and data, and waits until it is ready.
    pub(crate) fn start_again(&mut self) {
        assert!(self.process.is_none(), "the receiver runs already");
        let log = File::options().create(true).append(true).open(self.log());
        let mut command = Command::new(&self.binary);
        command.args(self.arguments()).current_dir(self.folder.path());
        command.stdout(Stdio::null()).stderr(log.expect("a log file"));
        self.process = Some(Process::spawn(&mut command).expect("a receiver that can be executed"));
        self.wait_ready();
    }

    /// Stops and starts again.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.start_again();
    }

    /// Stops and starts again, with these arguments in the place of others that a test gave.
    pub(crate) fn restart_with(&mut self, arguments: &[&str]) {
        self.more = arguments.iter().map(|&argument| argument.to_owned()).collect();
        self.restart();
    }

    /// The folder in which a Prometheus has its write-ahead log.
    pub(crate) fn wal(&self) -> PathBuf {
        self.folder.path().join("data/wal")
    }

    /// The raw samples of the series that a selector such as `{job="x"}` selects, an hour back and an hour ahead, sorted
    /// by labels. Neither kind returns staleness markers.
    pub(crate) fn range(&self, selector: &str) -> Vec<Series> {
        self.range_of(selector, 1)
    }

    /// The same, so many hours back.
    pub(crate) fn range_of(&self, selector: &str, hours: u32) -> Vec<Series> {
        if self.kind == Kind::VictoriaMetrics {
            // Else samples show up about a second after they were taken.
            let flushed = http::request("GET", &self.url("/internal/force_flush"), &[], &[]).expect("a flush");
            assert_eq!(flushed.status, 200, "{flushed:?}");
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock after 1970");
        let time = (now.as_secs() + 3600).to_string();
        // A range selector alone gives samples as they were stored, where a range query would interpolate.
        let query = format!("{selector}[{}h]", hours + 1);
        let body = self.query(&[("query", &query), ("time", &time)]);
        parse(&body).unwrap_or_else(|error| panic!("{query}: {error}: {body}"))
    }

    /// The labels of the series that have a value now, sorted.
    pub(crate) fn instant(&self, selector: &str) -> Vec<Labels> {
        let body = self.query(&[("query", selector)]);
        let answer: Answer<Value> = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
        let mut all: Vec<Labels> = answer.data.result.into_iter().map(|value| value.metric).collect();
        all.sort();
        all
    }

    /// What the HTTP API has at this path, such as `query_exemplars`: the answer's `data`. Without fields it is a GET.
    pub(crate) fn ask(&self, path: &str, fields: &[(&str, &str)]) -> serde_json::Value {
        let url = self.url(&format!("/api/v1/{path}"));
        let body = match fields {
            [] => self.answered(http::request("GET", &url, &[], &[]), path),
            _ => self.answered(http::post_form(&url, fields), path),
        };
        let mut answer: serde_json::Value =
            serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
        answer["data"].take()
    }

    fn query(&self, fields: &[(&str, &str)]) -> String {
        self.answered(http::post_form(&self.url("/api/v1/query"), fields), &format!("{fields:?}"))
    }

    fn answered(&self, answer: io::Result<http::Answer>, what: &str) -> String {
        let answer = answer.unwrap_or_else(|error| panic!("{what}: {error}: {}", self.log_tail()));
        assert_eq!(answer.status, 200, "{what}: {}", answer.body);
        answer.body
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.port.address())
    }

    fn arguments(&self) -> Vec<String> {
        let address = self.port.address();
        let data = self.folder.path().join("data").display().to_string();
        let mut arguments = match self.kind {
            Kind::PrometheusDebian | Kind::Prometheus3 => vec![
                "--config.file=prometheus.yml".to_owned(),
                format!("--storage.tsdb.path={data}"),
                format!("--web.listen-address={address}"),
                "--web.enable-remote-write-receiver".to_owned(),
            ],
            Kind::VictoriaMetrics => vec![format!("-storageDataPath={data}"), format!("-httpListenAddr={address}")],
        };
        arguments.extend_from_slice(&self.more);
        arguments
    }

    fn wait_ready(&self) {
        let url = self.url(match self.kind {
            Kind::PrometheusDebian | Kind::Prometheus3 => "/-/ready",
            Kind::VictoriaMetrics => "/health",
        });
        let deadline = Instant::now() + READY_TIMEOUT;
        while !http::request("GET", &url, &[], &[]).is_ok_and(|answer| answer.status == 200) {
            if let Some(status) = self.process.as_ref().and_then(Process::ended) {
                panic!("{:?} ended with {status}: {}", self.kind, self.log_tail());
            }
            assert!(Instant::now() < deadline, "{:?} does not get ready: {}", self.kind, self.log_tail());
            // Readiness can be asked for, not awaited.
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn log_tail(&self) -> String {
        tail(&self.log())
    }
}

/// The same series as a map, to compare with what was sent.
pub(crate) fn by_labels(series: Vec<Series>) -> BTreeMap<Labels, Vec<(i64, f64)>> {
    series.into_iter().map(|series| (series.labels, series.samples)).collect()
}

/// A counterpart of the host's. Where it can't be had: none, with one line that says so; in CI that is a failure.
#[track_caller]
pub(crate) fn had<T>(counterpart: Result<T, String>, name: &str) -> Option<T> {
    match counterpart {
        Ok(counterpart) => Some(counterpart),
        Err(why) if std::env::var_os("CI").is_none_or(|ci| ci.is_empty()) => {
            say(&format!("SKIPPED: no {name} to test against: {why}"));
            None
        }
        Err(why) => panic!("no {name} to test against: {why}"),
    }
}

/// One line that shows even when the test passes: the test harness captures what macros print, not this.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

fn tail(log: &Path) -> String {
    let log = fs::read(log).unwrap_or_default();
    String::from_utf8_lossy(&log[log.len().saturating_sub(4000)..]).into_owned()
}

/// The answer to an instant query, of Prometheus' HTTP API; VictoriaMetrics speaks it too.
#[derive(Deserialize)]
struct Answer<R> {
    data: Data<R>,
}

#[derive(Deserialize)]
struct Data<R> {
    result: Vec<R>,
}

/// Where a moment was selected.
#[derive(Deserialize)]
struct Value {
    metric: Labels,
}

/// Where a range was selected.
#[derive(Deserialize)]
struct Row {
    metric: Labels,
    values: Vec<(f64, String)>,
}

fn parse(body: &str) -> Result<Vec<Series>, Box<dyn std::error::Error>> {
    let answer: Answer<Row> = serde_json::from_str(body)?;
    let mut all = Vec::new();
    for row in answer.data.result {
        let mut samples = Vec::with_capacity(row.values.len());
        for (seconds, value) in row.values {
            // Seconds with three decimals: rounding gives back the very millisecond, as a double of today's date has a
            // resolution below a microsecond.
            samples.push(((seconds * 1000.0).round() as i64, value.parse()?));
        }
        all.push(Series { labels: row.metric, samples });
    }
    all.sort_by(|left, right| left.labels.cmp(&right.labels));
    Ok(all)
}
