//! Enters: a request's headers and body, how it is to be answered, and the time. Leaves: the answer, and lines for
//! whoever watches.
//!
//! The receiver without its sockets: it keeps the series, the counts and the queue of faults, and never sleeps.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::time::Instant;

use hyper::HeaderMap;
use serde_json::json;

use super::answer::{Plan, Planned};
use super::check::{self, Kind, Report};
use super::decode::{self, DecodeError, Protocol, Request};
use super::lines::{self, RequestLine};
use super::options::{Options, Protocols};
use super::table::Table;
use super::verdict::{self, Reply};
use super::view;

/// Warnings shown for one request; the others are counted.
const MAX_WARNINGS: usize = 5;

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) instant: Instant,
    /// Milliseconds since the Unix epoch.
    pub(super) wall_ms: i64,
}

/// What was counted since the start.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) requests: u64,
    /// By status, or `drop` and `hang`.
    pub(super) answers: BTreeMap<String, u64>,
    /// Stored.
    pub(super) samples: u64,
    pub(super) histograms: u64,
    pub(super) exemplars: u64,
    pub(super) by_kind: BTreeMap<Kind, u64>,
}

impl Counts {
    pub(super) fn violations(&self) -> u64 {
        self.by_kind.values().sum()
    }
}

/// Where lines go: standard output and standard error, or a test's buffers.
pub(super) struct Sinks {
    pub(super) out: Box<dyn Write + Send>,
    pub(super) warnings: Box<dyn Write + Send>,
}

/// All that the receiver knows.
pub(super) struct Receiver {
    pub(super) plan: Plan,
    table: Table,
    counts: Counts,
    json: bool,
    strict: bool,
    protocols: Protocols,
    rows: usize,
    sinks: Sinks,
    /// The newest warnings, newest first.
    recent: VecDeque<String>,
    /// The first failure to write, for whoever ends the program.
    failure: Option<io::Error>,
}

impl Receiver {
    pub(super) fn new(options: Options, sinks: Sinks, now: Instant) -> Self {
        Self {
            plan: Plan::new(options.answers, now),
            table: Table::new(options.max_series),
            counts: Counts::default(),
            json: options.json,
            strict: options.strict,
            protocols: options.protocols,
            rows: options.rows,
            sinks,
            recent: VecDeque::new(),
            failure: None,
        }
    }

    /// Reads, judges, stores, counts and reports one request.
    pub(super) fn handle(&mut self, headers: &HeaderMap, body: &[u8], planned: &Planned, now: Now) -> Reply {
        self.counts.requests += 1;
        let protocol = decode::protocol(headers);
        let known = protocol.as_ref().ok().copied();
        let request = protocol.and_then(|protocol| {
            let taken = match self.protocols {
                Protocols::V1 => protocol == Protocol::V1,
                Protocols::V2 => protocol == Protocol::V2,
                Protocols::Both | Protocols::Legacy => true,
            };
            if !taken {
                return Err(DecodeError::Protocol(protocol));
            }
            decode::decode(protocol, body)
        });

        let mut report = Report::default();
        check::headers(headers, known, &mut report);
        if let (Some(protocol), Ok(request)) = (known, &request) {
            check::request(protocol, request, &self.table, &mut report);
        }
        let objection = report.refusal.as_deref().filter(|_| self.strict);
        let deserved = verdict::deserved(self.protocols, known, &request, objection);
        let error = deserved.as_ref().err().map(|answer| answer.body.clone());
        let stores = planned.lets_store() && deserved.as_ref().is_ok_and(|deserved| deserved.stores);
        let reply = verdict::reply(&planned.then, deserved);

        let number = self.counts.requests;
        let samples = request.as_ref().map_or(0, |request| request.totals().samples);
        self.report(report);
        if let Ok(request) = request
            && stores
        {
            self.store(request, now);
        }
        self.account(
            &reply,
            RequestLine {
                request: number,
                status: None,
                fault: None,
                samples,
                stored: stores,
                bytes: body.len(),
                protocol: known.map(Protocol::name),
                attempt: headers.get("retry-attempt").and_then(|value| value.to_str().ok()?.parse().ok()),
                error: error.as_deref(),
                received_ms: now.wall_ms,
            },
        );
        reply
    }

    fn store(&mut self, request: Request, now: Now) {
        let totals = request.totals();
        self.counts.samples += totals.samples;
        self.counts.histograms += totals.histograms;
        self.counts.exemplars += totals.exemplars;
        let had_room = self.table.untracked() == 0;
        let told = if self.json { request.metadata.as_slice() } else { &[] };
        for metadata in told {
            let written = lines::metadata(&mut self.sinks.out, self.counts.requests, metadata);
            self.note(written);
        }
        for series in &request.series {
            let key = series.key();
            if self.json {
                let written = lines::series(&mut self.sinks.out, self.counts.requests, &key, series, now.wall_ms);
                self.note(written);
            }
            self.table.store(key, series.points());
        }
        if had_room && self.table.untracked() > 0 {
            let known = self.table.len();
            self.warn(format!("only {known} series are remembered: the others are counted, not checked for order"));
        }
    }

    fn account(&mut self, reply: &Reply, mut line: RequestLine<'_>) {
        let answer = match reply {
            Reply::Answer(answer) => {
                line.status = Some(answer.status.as_u16());
                answer.status.as_str()
            }
            Reply::Drop => *line.fault.insert("drop"),
            Reply::Hang => *line.fault.insert("hang"),
        };
        *self.counts.answers.entry(answer.to_owned()).or_default() += 1;
        if self.json {
            let written = lines::line(&mut self.sinks.out, &line);
            self.note(written);
        } else if let Some(error) = line.error {
            self.warn(format!("request {} refused: {error}", line.request));
        }
        let flushed = self.sinks.out.flush();
        self.note(flushed);
    }

    fn report(&mut self, report: Report) {
        let number = self.counts.requests;
        if self.json {
            for violation in &report.kept {
                let written = lines::violation(&mut self.sinks.out, number, violation);
                self.note(written);
            }
        } else {
            for violation in report.kept.iter().take(MAX_WARNINGS) {
                let series = violation.series.as_deref().unwrap_or_default();
                let kind = violation.kind.name();
                self.warn(format!("request {number}: {kind}: {} {series}", violation.detail).trim_end().to_owned());
            }
            let untold = report.total().saturating_sub(MAX_WARNINGS as u64);
            if untold > 0 {
                self.warn(format!("request {number}: and {untold} more"));
            }
        }
        for (kind, count) in report.counts {
            *self.counts.by_kind.entry(kind).or_default() += count;
        }
    }

    fn warn(&mut self, text: String) {
        // Nobody is left to tell when standard error is gone.
        let _ = writeln!(self.sinks.warnings, "warning: {text}");
        self.recent.truncate(MAX_WARNINGS - 1);
        self.recent.push_front(text);
    }

    fn note(&mut self, written: io::Result<()>) {
        if let Err(error) = written {
            self.failure.get_or_insert(error);
        }
    }

    /// The first failure to write, once.
    pub(super) fn take_failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }

    pub(super) fn requests(&self) -> u64 {
        self.counts.requests
    }

    /// Prints a text on standard output.
    pub(super) fn print(&mut self, text: &str) {
        let out = &mut self.sinks.out;
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        self.note(written);
    }

    /// The table for people.
    pub(super) fn view(&self, now_ms: i64) -> String {
        view::table(&self.table, &self.counts, self.rows, now_ms)
    }

    /// The table with the newest warnings below it, for a screen that would wipe them away. They take rows from it, so
    /// that the whole keeps its height.
    pub(super) fn screen(&self, now_ms: i64) -> String {
        let rows = self.rows.saturating_sub(self.recent.len()).max(1);
        let mut text = view::table(&self.table, &self.counts, rows, now_ms);
        text.extend(self.recent.iter().map(|warning| format!("warning: {warning}\n")));
        text
    }

    pub(super) fn total(&self, now_ms: i64) -> String {
        view::total(&self.table, &self.counts, now_ms)
    }

    pub(super) fn stats(&self) -> serde_json::Value {
        let kinds: BTreeMap<_, _> = self.counts.by_kind.iter().map(|(kind, count)| (kind.name(), count)).collect();
        json!({
            "requests": self.counts.requests,
            "by_status": self.counts.answers,
            "samples": self.counts.samples,
            "histograms": self.counts.histograms,
            "exemplars": self.counts.exemplars,
            "violations": self.counts.violations(),
            "violations_by_kind": kinds,
            "series": self.table.len(),
            "untracked_samples": self.table.untracked(),
        })
    }
}

#[cfg(test)]
#[path = "receiver_tests.rs"]
pub(super) mod tests;
