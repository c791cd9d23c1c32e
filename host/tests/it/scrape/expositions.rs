//! The parser of `plugins/scrape` beside Prometheus's own: one Prometheus scrapes every case of the parser's table, and has
//! to have stored what the parser reads, and refused what it refuses.

mod differences;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use monitor_scrape::exposition::testing::{Case, OPENMETRICS, TEXT};
use monitor_scrape::exposition::{Entry, Format, Parser};
use serde_json::Value;

use super::pages::{Page, Pages};
use crate::receivers::{Kind, Labels, Receiver};
use differences::{DIFFERENCES, Theirs};

/// How long Prometheus may take until it has asked for every page once; its interval is a second.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The second in the cases that stands for the present one.
const PRESENT: &str = "1700000000";

/// Content types, each of a page with one sample, which OpenMetrics refuses because of its end.
const CONTENT_TYPES: [Option<&str>; 12] = [
    None,
    Some(""),
    Some("text/plain"),
    Some("Text/PLAIN ; version=0.0.4"),
    Some("text/plain; version=1.0.0"),
    Some("text/html"),
    Some("application/json"),
    Some("nonsense;;"),
    Some("application/openmetrics-text"),
    Some("application/OpenMetrics-text; version=0.0.1; charset=utf-8"),
    Some("application/openmetrics"),
    Some("application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"),
];

/// What Prometheus is asked.
struct Question {
    name: String,
    page: Page,
    /// What it may give otherwise than we do.
    otherwise: Option<Theirs>,
}

#[test]
fn prometheus_reads_the_same() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64 - 5;
    let cases = TEXT.iter().chain(OPENMETRICS).map(|case| question(case, now));
    let mut questions: Vec<Question> =
        cases.filter(|question| !matches!(question.otherwise, Some(Theirs::Breaks))).collect();
    questions.extend(CONTENT_TYPES.map(|content_type| {
        let page = Page { content_type: content_type.map(str::to_owned), body: b"a 1\n".to_vec() };
        Question { name: format!("content type {content_type:?}"), page, otherwise: None }
    }));
    questions.push(large());

    let pages = Pages::serve(questions.iter().map(|question| question.page.clone()).collect());
    let yaml = configuration(&pages, questions.len());
    let features = ["--enable-feature=exemplar-storage"];
    let Some(prometheus) = Receiver::configured_with(Kind::Prometheus3, &yaml, &features) else {
        return;
    };
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let unasked = questions.len() - prometheus.instant("up{case!=\"\"}").len();
        let wrong = match unasked {
            0 => wrong(&questions, &theirs(&prometheus, questions.len()), now),
            _ => vec![format!("{unasked} not scraped yet")],
        };
        if wrong.is_empty() {
            return;
        }
        let (few, all) = (wrong.len(), questions.len());
        assert!(Instant::now() < deadline, "{few} of {all} differ after {TIMEOUT:?}:\n{}", wrong.join("\n"));
        // A scrape may have been too slow, and the next one can't be awaited.
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn each_difference_is_that_of_a_case() {
    for (format, name, _, why) in DIFFERENCES {
        let mut cases = TEXT.iter().chain(OPENMETRICS);
        assert!(cases.any(|case| case.format == *format && case.name == *name), "{format:?} {name:?}: {why}");
    }
}

/// How Prometheus's answers differ from ours where they should not.
fn wrong(questions: &[Question], answers: &[Given], now: i64) -> Vec<String> {
    let differ = |(question, theirs): (&Question, &Given)| {
        let ours = ours(&question.page, now);
        // A newer Prometheus may do as we do.
        let is_known = match question.otherwise {
            Some(Theirs::Gives(lines)) => *theirs == Some(lines.iter().map(|&line| line.to_owned()).collect()),
            _ => false,
        };
        (ours != *theirs && !is_known).then(|| format!("{}\n  ours   {ours:?}\n  theirs {theirs:?}", question.name))
    };
    questions.iter().zip(answers).filter_map(differ).collect()
}

/// Many series, a long value, many labels.
fn large() -> Question {
    let mut body = "# TYPE a gauge\n".to_owned();
    for number in 0..2000 {
        body += &format!("a{{number=\"{number}\"}} {number}.5\n");
    }
    let labels: Vec<_> = (0..1000).map(|number| format!("label_{number}=\"{number}\"")).collect();
    body += &format!("b{{long=\"{}\"}} 1\nc{{{}}} 1\n", "x".repeat(10_000), labels.join(","));
    let content_type = Some(content_type(Format::Text).to_owned());
    Question { name: "large".to_owned(), page: Page { content_type, body: body.into_bytes() }, otherwise: None }
}

/// A case of the table, as if it had been served now.
fn question(case: &Case, now: i64) -> Question {
    let difference = DIFFERENCES.iter().find(|(format, name, ..)| *format == case.format && *name == case.name);
    let content_type = Some(content_type(case.format).to_owned());
    Question {
        name: format!("{:?}: {}", case.format, case.name),
        page: Page { content_type, body: present(case.body, now) },
        otherwise: difference.map(|&(_, _, theirs, _)| theirs),
    }
}

fn content_type(format: Format) -> &'static str {
    match format {
        Format::Text => "text/plain; version=0.0.4; charset=utf-8",
        Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
    }
}

/// The body with the present second.
fn present(body: &[u8], now: i64) -> Vec<u8> {
    let (mut made, mut rest) = (Vec::new(), body);
    while let Some(at) = rest.windows(PRESENT.len()).position(|window| window == PRESENT.as_bytes()) {
        made.extend_from_slice(&rest[..at]);
        made.extend_from_slice(now.to_string().as_bytes());
        rest = &rest[at + PRESENT.len()..];
    }
    made.extend_from_slice(rest);
    made
}

/// Each page a target of its own, told apart by the label `case`.
fn configuration(pages: &Pages, count: usize) -> String {
    let mut yaml = "\
scrape_configs:
- job_name: expositions
  scrape_interval: 1s
  scrape_timeout: 1s
  fallback_scrape_protocol: PrometheusText0.0.4
  static_configs:
"
    .to_owned();
    for number in 0..count {
        let address = pages.address();
        yaml +=
            &format!("  - targets: ['{address}']\n    labels: {{case: '{number}', __metrics_path__: '/{number}'}}\n");
    }
    yaml
}

/// What a body gives, or nothing if it is refused: lines of samples, exemplars and metadata.
type Given = Option<BTreeSet<String>>;

/// What our parser reads, as far as Prometheus stores such a thing.
fn ours(page: &Page, now: i64) -> Given {
    let format = Format::of(page.content_type.as_deref()).ok()?;
    let is_near = |timestamp_ms: Option<i64>| timestamp_ms.is_none_or(|time| (time / 1000).abs_diff(now) < 600);
    let mut parser = Parser::new(&page.body, format);
    let mut given = BTreeMap::new();
    let mut exemplars = BTreeSet::new();
    let mut metadata: BTreeMap<String, (String, String, String)> = BTreeMap::new();
    while let Some(entry) = parser.next().ok()? {
        match entry {
            Entry::Help { family, text } => metadata.entry(family.into()).or_default().1 = text.into(),
            Entry::Type { family, kind } => {
                metadata.entry(family.into()).or_default().0 = format!("{kind:?}").to_lowercase();
            }
            Entry::Unit { family, unit } => metadata.entry(family.into()).or_default().2 = unit.into(),
            Entry::Sample(sample) => {
                let mut labels = plain(sample.labels.iter());
                labels.insert("__name__".to_owned(), sample.name.to_string());
                if let Some(exemplar) = sample.exemplar {
                    let own = plain(exemplar.labels.iter());
                    let length: usize =
                        own.iter().flat_map(|(name, value)| [name, value]).map(|text| text.chars().count()).sum();
                    if length <= 128 && is_near(sample.timestamp_ms) {
                        let at = exemplar.timestamp_ms.map(|time| format!(" @{time}")).unwrap_or_default();
                        exemplars.insert(format!("{labels:?} # {own:?} {:?}{at}", exemplar.value));
                    }
                }
                if is_near(sample.timestamp_ms) {
                    let at = sample.timestamp_ms.map(|time| format!(" @{time}")).unwrap_or_default();
                    given.entry(format!("{labels:?}{at}")).or_insert(sample.value);
                }
            }
        }
    }
    let samples = given.into_iter().map(|(series, value)| format!("{series} {value:?}"));
    let metadata = metadata.into_iter().map(|(family, told)| described(&family, told));
    Some(samples.chain(exemplars).chain(metadata).collect())
}

/// Without those that are empty.
fn plain<'a>(labels: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>) -> Labels {
    labels.filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name.into(), value.into())).collect()
}

fn described(family: &str, (kind, help, unit): (String, String, String)) -> String {
    let kind = if kind.is_empty() { "unknown" } else { &kind };
    format!("{family:?} is {kind} {help:?} {unit:?}")
}

/// What Prometheus has of each page.
fn theirs(prometheus: &Receiver, count: usize) -> Vec<Given> {
    let series = prometheus.range("{case!=\"\"}");
    let mut scrapes = vec![Vec::new(); count];
    let mut given = vec![None; count];
    for up in series.iter().filter(|series| series.labels["__name__"] == "up") {
        let case = number(&up.labels);
        scrapes[case] = up.samples.iter().map(|&(time, _)| time).collect();
        // What is refused is so each time.
        given[case] = up.samples.iter().any(|&(_, up)| up == 1.0).then(BTreeSet::new);
    }
    let at = |case: usize, time: i64| match scrapes[case].contains(&time) {
        true => String::new(),
        false => format!(" @{time}"),
    };
    let mut tell = |case: usize, line: String| {
        if let Some(lines) = &mut given[case] {
            lines.insert(line);
        }
    };
    for series in &series {
        let (case, labels) = (number(&series.labels), own(&series.labels));
        let name = labels["__name__"].as_str();
        if name == "up" || name.starts_with("scrape_") {
            continue;
        }
        for &(time, value) in &series.samples {
            tell(case, format!("{labels:?}{} {value:?}", at(case, time)));
        }
    }
    for row in rows(prometheus.ask("targets/metadata", &[])) {
        let field = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let told = (field("type"), field("help"), field("unit"));
        tell(number(&labels(&row["target"])), described(&field("metric"), told));
    }
    let fields = [("query", "{case!=\"\"}"), ("start", "0"), ("end", "9999999999")];
    for row in rows(prometheus.ask("query_exemplars", &fields)) {
        let series = labels(&row["seriesLabels"]);
        let case = number(&series);
        for exemplar in rows(row["exemplars"].clone()) {
            let value: f64 = exemplar["value"].as_str().unwrap().parse().unwrap();
            let time = (exemplar["timestamp"].as_f64().unwrap() * 1000.0).round() as i64;
            let labels = labels(&exemplar["labels"]);
            tell(case, format!("{:?} # {labels:?} {value:?}{}", own(&series), at(case, time)));
        }
    }
    given
}

fn rows(answer: Value) -> Vec<Value> {
    answer.as_array().expect("a list").clone()
}

fn labels(object: &Value) -> Labels {
    let pairs = object.as_object().expect("labels").iter();
    pairs.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect()
}

fn number(labels: &Labels) -> usize {
    labels["case"].parse().unwrap()
}

/// Without the labels of the target.
fn own(labels: &Labels) -> Labels {
    let is_own = |name: &str| !["case", "instance", "job"].contains(&name);
    labels.clone().into_iter().filter(|(name, _)| is_own(name)).collect()
}
