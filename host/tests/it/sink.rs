//! `monitor-host receive --json` as a receiver that tests can ask what arrived, and tell how to answer.
//!
//! Enters: what a test pushes to [`Sink::url`]. Leaves: samples, requests, and what was wrong with them, in the order of
//! arrival. Never: judges; a test asserts on [`Sink::violations`] itself.

use std::collections::BTreeMap;
use std::io;
use std::process::{Command, Stdio};
use std::time::Duration;

use monitor_proto::STALE_NAN;
use serde::{Deserialize, Deserializer, de};
use serde_json::{Value, json};

use crate::http::{self, Answer};
use crate::process::Process;
use crate::push::push;
use crate::receivers::{Labels, Series};
use crate::watch::Watch;

/// How long the receiver may take until it listens.
const READY_TIMEOUT: Duration = Duration::from_secs(20);

/// A sample that arrived.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Sample {
    /// The number of the request that brought it.
    pub(crate) request: u64,
    /// The metric's name.
    pub(crate) metric: String,
    /// The other labels.
    pub(crate) labels: Labels,
    /// The value, with the bits of a staleness marker where it was one.
    #[serde(deserialize_with = "value")]
    pub(crate) value: f64,
    /// Unix time in milliseconds, as sent.
    pub(crate) timestamp_ms: i64,
    /// The same of when its series began; 0 where that was not said.
    #[serde(default)]
    pub(crate) start_timestamp_ms: i64,
    /// Unix time in milliseconds when it arrived.
    pub(crate) received_ms: i64,
}

impl Sample {
    /// Whether it says that its series has ended.
    pub(crate) fn is_marker(&self) -> bool {
        self.value.to_bits() == STALE_NAN
    }
}

/// A request that arrived, whether it was taken or not.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Request {
    /// Counts requests, from the first one.
    pub(crate) request: u64,
    /// The status that it was answered with; none when it got no answer.
    pub(crate) status: Option<u16>,
    /// The samples in it, stored or not.
    pub(crate) samples: u64,
    /// Whether they were stored, which is when they come as [`Sample`]s too.
    pub(crate) stored: bool,
    /// The size of its body as it came, compressed.
    pub(crate) bytes: u64,
    /// `1.0` or `2.0`, by its headers.
    pub(crate) protocol: Option<String>,
    /// What its `Retry-Attempt` header said.
    pub(crate) attempt: Option<u64>,
    /// Why it was refused, if the receiver did so on its own account.
    pub(crate) error: Option<String>,
    /// Unix time in milliseconds when it arrived.
    pub(crate) received_ms: i64,
}

/// Something that is against the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Violation {
    /// The rule that was broken.
    pub(crate) violation: String,
    /// The number of the request that broke it.
    pub(crate) request: Option<u64>,
    /// The series that broke it, if it was one.
    pub(crate) series: Option<String>,
    /// What was seen.
    pub(crate) detail: String,
}

/// All that the receiver has said.
#[derive(Default)]
struct Arrived {
    url: Option<String>,
    samples: Vec<Sample>,
    requests: Vec<Request>,
    violations: Vec<Violation>,
    others: Vec<Value>,
}

impl Arrived {
    fn add(&mut self, line: &str) {
        if let Err(error) = self.try_add(line) {
            let (violation, detail) = ("a line that can't be read".to_owned(), format!("{error}: {line}"));
            self.violations.push(Violation { violation, request: None, series: None, detail });
        }
    }

    fn try_add(&mut self, line: &str) -> serde_json::Result<()> {
        let json: Value = serde_json::from_str(line)?;
        let has = |name| json.get(name).is_some();
        if let Some(url) = json.get("listening") {
            self.url = Some(String::deserialize(url)?);
        } else if has("violation") {
            self.violations.push(Violation::deserialize(&json)?);
        } else if has("exemplar") || has("histogram") || has("metadata") {
            self.others.push(json);
        } else if has("metric") {
            self.samples.push(Sample::deserialize(&json)?);
        } else {
            self.requests.push(Request::deserialize(&json)?);
        }
        Ok(())
    }
}

/// A running receiver on a port of its own; gone when dropped.
pub(crate) struct Sink {
    _process: Process,
    arrived: Watch<Arrived>,
    log: Watch<Vec<String>>,
    url: String,
}

impl Sink {
    /// Starts it and waits until it listens.
    pub(crate) fn start() -> Self {
        Self::start_at("127.0.0.1:0")
    }

    /// As [`Sink::start`], one that reads `1.0`, `2.0`, `both` or, as `legacy`, takes 2.0 for something it can ignore.
    pub(crate) fn reading(protocol: &str) -> Self {
        Self::start_with("127.0.0.1:0", protocol)
    }

    /// As [`Sink::start`], at this address.
    pub(crate) fn start_at(address: &str) -> Self {
        Self::start_with(address, "both")
    }

    /// As [`Sink::reading`], at this address.
    pub(crate) fn start_with(address: &str, protocol: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_monitor-host"));
        command.env_clear().args(["receive", "--json", "--listen", address, "--protocol", protocol]);
        let mut process = Process::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
            .expect("the receiver can be executed");
        let stdout = process.stdout.take().expect("stdout is piped");
        let stderr = process.stderr.take().expect("stderr is piped");
        let arrived = Watch::lines(Arrived::default(), stdout, Arrived::add);
        let log = Watch::lines(Vec::new(), stderr, |lines: &mut Vec<String>, line| lines.push(line.to_owned()));
        let url = arrived.wait(READY_TIMEOUT, |arrived| arrived.url.clone());
        let url = url.unwrap_or_else(|why| panic!("the receiver does not listen ({why:?}): {:?}", log.get(Vec::clone)));
        Self { _process: process, arrived, log, url }
    }

    /// Where to push.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Says how the next requests are answered, as in `{"status":503,"count":3}`.
    #[track_caller]
    pub(crate) fn answer(&self, how: Value) {
        let json = [("Content-Type", "application/json")];
        self.control("POST", "/-/answer", &json, how.to_string().as_bytes());
    }

    /// Answers as usual again.
    #[track_caller]
    pub(crate) fn answer_as_usual(&self) {
        self.control("DELETE", "/-/answer", &[], &[]);
    }

    /// The receiver's own counts.
    #[track_caller]
    pub(crate) fn stats(&self) -> Value {
        let answer = self.control("GET", "/-/stats", &[], &[]);
        serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.body))
    }

    /// Waits until at least so many samples have arrived, and returns all that have.
    #[track_caller]
    pub(crate) fn wait_samples(&self, at_least: usize, timeout: Duration) -> Vec<Sample> {
        self.wait(timeout, &format!("{at_least} samples"), |arrived| {
            (arrived.samples.len() >= at_least).then(|| arrived.samples.clone())
        })
    }

    /// Waits until what has arrived is as `wanted`.
    #[track_caller]
    pub(crate) fn wait_for(&self, timeout: Duration, what: &str, wanted: impl Fn(&[Sample]) -> bool) {
        self.wait(timeout, what, |arrived| wanted(&arrived.samples).then_some(()));
    }

    /// Waits until at least so many samples have arrived, histograms included, and all that came with them.
    #[track_caller]
    pub(crate) fn wait_stored(&self, at_least: usize, timeout: Duration) {
        self.wait(timeout, &format!("{at_least} samples or histograms"), |arrived| {
            let histograms = arrived.others.iter().filter(|one| one.get("histogram").is_some());
            let histograms: Vec<_> = histograms.filter_map(|one| one["request"].as_u64()).collect();
            let last = arrived.samples.iter().map(|sample| sample.request).chain(histograms.iter().copied()).max();
            // The line of a request comes last.
            let is_whole = arrived.requests.iter().any(|request| Some(request.request) == last);
            (is_whole && arrived.samples.len() + histograms.len() >= at_least).then_some(())
        });
    }

    /// Waits until at least so many requests have been answered or refused, and returns all that have.
    #[track_caller]
    pub(crate) fn wait_requests(&self, at_least: usize, timeout: Duration) -> Vec<Request> {
        self.wait(timeout, &format!("{at_least} requests"), |arrived| {
            (arrived.requests.len() >= at_least).then(|| arrived.requests.clone())
        })
    }

    /// The samples so far.
    pub(crate) fn samples(&self) -> Vec<Sample> {
        self.arrived.get(|arrived| arrived.samples.clone())
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.arrived.get(|arrived| arrived.requests.clone())
    }

    /// What was against the protocol so far.
    pub(crate) fn violations(&self) -> Vec<Violation> {
        self.arrived.get(|arrived| arrived.violations.clone())
    }

    /// Exemplars, histograms and metadata so far, as the receiver printed them.
    pub(crate) fn others(&self) -> Vec<Value> {
        self.arrived.get(|arrived| arrived.others.clone())
    }

    /// The samples so far by series, each in the order of arrival; the keys are as those of
    /// [`by_labels`](crate::receivers::by_labels).
    pub(crate) fn series(&self) -> BTreeMap<Labels, Vec<(i64, f64)>> {
        let mut series: BTreeMap<Labels, Vec<(i64, f64)>> = BTreeMap::new();
        for Sample { metric, mut labels, timestamp_ms, value, .. } in self.samples() {
            labels.insert("__name__".to_owned(), metric);
            series.entry(labels).or_default().push((timestamp_ms, value));
        }
        series
    }

    #[track_caller]
    fn wait<R>(&self, timeout: Duration, wanted: &str, find: impl FnMut(&Arrived) -> Option<R>) -> R {
        let found = self.arrived.wait(timeout, find);
        found.unwrap_or_else(|why| {
            let counts = self.arrived.get(|arrived| (arrived.samples.len(), arrived.requests.len()));
            let log = self.log.get(Vec::clone);
            panic!("no {wanted} within {timeout:?} ({why:?}): (samples, requests) {counts:?}, {log:?}")
        })
    }

    #[track_caller]
    fn control(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let base = self.url.strip_suffix("/api/v1/write").expect("an address that ends with the usual path");
        let answer: io::Result<Answer> = http::request(method, &format!("{base}{path}"), headers, body);
        let answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        assert!((200..300).contains(&answer.status), "{method} {path}: {answer:?}");
        answer
    }
}

/// A number, or the name of one that JSON has not.
fn value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(name) if name == "StaleNaN" => Ok(f64::from_bits(STALE_NAN)),
        Value::String(name) => name.parse().map_err(de::Error::custom),
        number => number.as_f64().ok_or_else(|| de::Error::custom(format!("no value: {number}"))),
    }
}

#[test]
fn the_receivers_lines_are_read() {
    let mut arrived = Arrived::default();
    arrived.add(r#"{"listening":"http://127.0.0.1:1/api/v1/write"}"#);
    // The second takes care to read: its neighbour is what a quick reader finds.
    for value in ["7.0", "907.3038322028689", r#""StaleNaN""#, r#""-Inf""#, r#""NaN""#] {
        arrived.add(&format!(
            r#"{{"request":1,"metric":"m","labels":{{"a":"b"}},"value":{value},"timestamp_ms":5,"received_ms":6}}"#
        ));
    }
    arrived.add(
        r#"{"request":1,"status":204,"samples":4,"stored":true,"bytes":99,"protocol":"1.0","attempt":null,"received_ms":6}"#,
    );
    arrived.add(r#"{"violation":"label_order","request":1,"series":"m{}","detail":"b before a"}"#);
    assert_eq!(arrived.violations.len(), 1);
    assert_eq!(arrived.violations[0].violation, "label_order");
    assert_eq!(arrived.requests[0].status, Some(204));
    let bits: Vec<u64> = arrived.samples.iter().map(|sample| sample.value.to_bits()).collect();
    let written: f64 = "907.3038322028689".parse().unwrap();
    assert_eq!(bits[..4], [7.0_f64.to_bits(), written.to_bits(), STALE_NAN, f64::NEG_INFINITY.to_bits()]);
    assert!(arrived.samples[4].value.is_nan() && bits[4] != STALE_NAN);

    arrived.add("a panic's message");
    assert_eq!(arrived.violations.len(), 2, "what can't be read must not pass");
}

#[test]
fn the_receiver_says_what_arrives_and_answers_as_told() {
    let sink = Sink::start();
    let labels = [("__name__", "power_w"), ("cpu", "0"), ("host", "ü \" \\ \n")];
    let labels: Labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let samples = vec![(1_700_000_000_123, 907.3038322028689), (1_700_000_000_124, f64::INFINITY)];
    let series = Series { labels: labels.clone(), samples: samples.clone() };
    let timeout = Duration::from_secs(20);

    assert_eq!(push(sink.url(), std::slice::from_ref(&series)).status, 204);
    let arrived = sink.wait_samples(2, timeout);
    assert_eq!((arrived[0].request, arrived[0].metric.as_str()), (arrived[1].request, "power_w"));
    assert_eq!(sink.series(), BTreeMap::from([(labels, samples)]));

    let later = Series { samples: vec![(1_700_000_000_125, -0.25)], ..series };
    sink.answer(json!({"status": 503, "count": 1, "body": "not now"}));
    let told = push(sink.url(), std::slice::from_ref(&later));
    assert_eq!((told.status, told.body.as_str()), (503, "not now"));
    sink.answer(json!({"status": 429, "retry_after": "1"}));
    sink.answer_as_usual();
    assert_eq!(push(sink.url(), std::slice::from_ref(&later)).status, 204);
    assert_eq!(sink.wait_samples(3, timeout)[2].value, -0.25);
    let requests = sink.wait_requests(3, timeout);
    let seen: Vec<_> = requests.iter().map(|request| (request.status, request.samples, request.stored)).collect();
    assert_eq!(seen, [(Some(204), 2, true), (Some(503), 1, false), (Some(204), 1, true)]);
    assert_eq!(requests[0].protocol.as_deref(), Some("1.0"));
    assert_eq!(sink.stats()["requests"], 3);
    assert_eq!(sink.violations(), [], "a retry is none");

    push(sink.url(), &[later]);
    sink.wait_requests(4, timeout);
    assert_eq!(sink.violations().first().map(|seen| seen.violation.as_str()), Some("duplicate"));
}
