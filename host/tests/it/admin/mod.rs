//! The admin page and the host's own metrics, by the real binary.
//!
//! Enters: a host that is told to serve its page on a free port. Leaves: what the page answers, as numbers where it shows
//! some. Never: takes an answer that gives a secret away.

mod abuse;
mod health;
mod moves;
mod page;
mod prometheus;
mod pushed;
mod ready;

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use crate::faults::LONG;
use crate::host::{Host, Running};
use crate::http::{self, Answer};

/// How often something is asked for that can't be awaited.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// With its page on a free port, and metrics there.
pub(crate) fn shown(host: Host) -> Host {
    host.env("ADMIN_ADDR", "127.0.0.1:0").env("SELF_METRICS", "admin")
}

/// The address of a host's page, as its log tells it: `http://127.0.0.1:1234`.
#[track_caller]
pub(crate) fn page_of(running: &Running) -> String {
    let line = running.wait_for_log(|line| line.message() == "health and metrics are served", LONG);
    line.field("url").to_owned()
}

/// The page of a running host.
pub(crate) struct Page<'a> {
    running: &'a Running,
    url: String,
}

impl<'a> Page<'a> {
    /// Waits until it is served.
    #[track_caller]
    pub(crate) fn of(running: &'a Running) -> Self {
        Self { running, url: page_of(running) }
    }

    /// `127.0.0.1:1234`.
    pub(crate) fn address(&self) -> &str {
        self.url.strip_prefix("http://").expect("an address")
    }

    /// Asks.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[])
    }

    /// Asks otherwise.
    #[track_caller]
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let answer = http::request(method, &format!("{}{path}", self.url), headers, &[]);
        let answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error}: {}", self.running.log_text()));
        self.running.assert_no_secret_in(&format!("{answer:?}"));
        answer
    }

    /// Asks until the answer is as wanted.
    #[track_caller]
    pub(crate) fn until(&self, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        let deadline = Instant::now() + LONG;
        loop {
            let answer = self.get(path);
            if wanted(&answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{path}: {answer:?}: {}", self.running.log_text());
            thread::sleep(ASK_EVERY);
        }
    }

    /// The numbers that it shows: those of each series by its name, as `pushes_total{result="failed"}`, without
    /// `monitor_client_`. There are some once the plugin is made.
    #[track_caller]
    pub(crate) fn numbers(&self) -> BTreeMap<String, f64> {
        numbers(&self.until("/metrics", |answer| answer.status == 200).body)
    }

    /// A number, which has to be there.
    #[track_caller]
    pub(crate) fn number(&self, series: &str) -> f64 {
        let all = self.numbers();
        *all.get(series).unwrap_or_else(|| panic!("no {series} in {all:?}"))
    }

    /// Asks until a number is as wanted.
    #[track_caller]
    pub(crate) fn until_number(&self, series: &str, wanted: impl Fn(f64) -> bool) -> f64 {
        let deadline = Instant::now() + LONG;
        loop {
            let number = self.number(series);
            if wanted(number) {
                return number;
            }
            assert!(Instant::now() < deadline, "{series} is {number}: {}", self.running.log_text());
            thread::sleep(ASK_EVERY);
        }
    }
}

/// The numbers in the text format.
#[track_caller]
fn numbers(text: &str) -> BTreeMap<String, f64> {
    let line = |line: &str| {
        let (series, number) = line.rsplit_once(' ')?;
        Some((series.strip_prefix("monitor_client_")?.to_owned(), number.parse().ok()?))
    };
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|text| line(text).unwrap_or_else(|| panic!("not a line of metrics: {text:?}"))).collect()
}
