//! Enters: specifications of faults, and the time. Leaves: how to answer the next request.
//!
//! Pure: the time is an argument, nothing sleeps here. Faults stand in a queue; the first is in force until its
//! requests are used up or its time is over, then the next.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue, RETRY_AFTER};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Faults that may wait in the queue.
const MAX_QUEUED: usize = 1000;
/// A day: longer delays and spans are slips of the pen.
const MAX_SECONDS: f64 = 86_400.0;

/// A specification that can't be followed: what is wrong with it.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("{0}")]
pub struct FaultError(String);

/// One fault and how long it lasts.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    count: Option<u64>,
    span: Option<Duration>,
    answer: Planned,
}

/// How to answer one request.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Planned {
    /// Wait so long before the answer.
    pub(super) delay: Duration,
    /// Store the request whatever the answer, and before the delay.
    pub(super) store: bool,
    pub(super) then: Then,
}

impl Planned {
    /// Whether a request that deserves it is stored.
    pub(super) fn lets_store(&self) -> bool {
        match &self.then {
            Then::Usual => true,
            Then::Answer(answer) => answer.status.is_success() || self.store,
            Then::Drop | Then::Hang => self.store,
        }
    }
}

/// What follows the delay.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) enum Then {
    /// What the request deserves.
    #[default]
    Usual,
    /// This, whatever the request deserves; a success still has to be deserved.
    Answer(Answer),
    /// Close the connection.
    Drop,
    /// Keep the connection open and say nothing.
    Hang,
}

/// A response before it is one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn text(status: StatusCode, body: impl Into<String>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }
}

/// The specification as written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Spec {
    status: Option<u16>,
    count: Option<u64>,
    for_s: Option<f64>,
    retry_after: Option<Value>,
    headers: BTreeMap<String, String>,
    body: Option<String>,
    delay_s: f64,
    drop: bool,
    hang: bool,
    store: bool,
}

impl Fault {
    /// Reads a JSON object, a JSON array of them, or the short form `key=value,key=value`.
    pub(super) fn parse(text: &str) -> Result<Vec<Self>, FaultError> {
        let text = text.trim();
        let value = if text.starts_with(['{', '[']) {
            serde_json::from_str(text).map_err(|error| FaultError(format!("not JSON: {error}")))?
        } else {
            short_form(text)?
        };
        match value {
            Value::Array(specs) if specs.is_empty() => Err(FaultError("the list is empty".into())),
            Value::Array(specs) => specs.into_iter().map(Self::from_value).collect(),
            spec => Ok(vec![Self::from_value(spec)?]),
        }
    }

    fn from_value(value: Value) -> Result<Self, FaultError> {
        let spec: Spec = serde_json::from_value(value).map_err(|error| FaultError(error.to_string()))?;
        if spec.count == Some(0) {
            return Err(FaultError("count is 0: use 1 or more, or leave it out".into()));
        }
        Ok(Self {
            count: spec.count,
            span: spec.for_s.map(|seconds| duration("for_s", seconds)).transpose()?,
            answer: Planned { delay: duration("delay_s", spec.delay_s)?, store: spec.store, then: spec.then()? },
        })
    }
}

impl Spec {
    fn then(self) -> Result<Then, FaultError> {
        let extras = self.retry_after.is_some() || !self.headers.is_empty() || self.body.is_some();
        match (self.status, self.drop, self.hang) {
            (None, false, false) if extras => {
                Err(FaultError("retry_after, headers and body need a status to go with".into()))
            }
            (None, false, false) => Ok(Then::Usual),
            (None, true, false) if !extras => Ok(Then::Drop),
            (None, false, true) if !extras => Ok(Then::Hang),
            (Some(code), false, false) => self.status(code),
            _ => Err(FaultError("drop, hang and an answer exclude each other: give one of them".into())),
        }
    }

    fn status(self, code: u16) -> Result<Then, FaultError> {
        let status = StatusCode::from_u16(code)
            .ok()
            .filter(|_| (200..=599).contains(&code))
            .ok_or_else(|| FaultError(format!("status {code} is not between 200 and 599")))?;
        let retry_after = match self.retry_after {
            None => None,
            Some(Value::String(text)) => Some(text),
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(other) => {
                return Err(FaultError(format!("retry_after {other} is neither text nor number")));
            }
        };
        let headers = self
            .headers
            .into_iter()
            .chain(retry_after.map(|text| (RETRY_AFTER.to_string(), text)))
            .map(|(name, value)| {
                let bad = || FaultError(format!("header {name}: {value} can't be sent"));
                Ok((HeaderName::try_from(&name).map_err(|_| bad())?, HeaderValue::try_from(&value).map_err(|_| bad())?))
            })
            .collect::<Result<_, _>>()?;
        Ok(Then::Answer(Answer { status, headers, body: self.body.unwrap_or_default() }))
    }
}

/// `status=503,count=3`: numbers, true and false are taken as such, all else as text.
fn short_form(text: &str) -> Result<Value, FaultError> {
    let mut spec = Map::new();
    for pair in text.split(',') {
        let (key, value) = pair.split_once('=').ok_or_else(|| FaultError(format!("{pair:?} is not key=value")))?;
        let value = match value.parse() {
            Ok(plain @ (Value::Number(_) | Value::Bool(_))) => plain,
            _ => Value::String(value.into()),
        };
        if spec.insert(key.trim().into(), value).is_some() {
            return Err(FaultError(format!("{} is given twice", key.trim())));
        }
    }
    Ok(Value::Object(spec))
}

fn duration(key: &str, seconds: f64) -> Result<Duration, FaultError> {
    if !(0.0..=MAX_SECONDS).contains(&seconds) {
        return Err(FaultError(format!("{key} {seconds} is not between 0 and {MAX_SECONDS} seconds")));
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// The faults that wait, the first of them in force.
#[derive(Debug)]
pub(super) struct Plan {
    queue: VecDeque<Fault>,
    /// Since when the first is in force.
    since: Instant,
}

impl Plan {
    pub(super) fn new(faults: Vec<Fault>, now: Instant) -> Self {
        Self { queue: faults.into(), since: now }
    }

    /// Appends faults and says how many wait now, the one in force included.
    pub(super) fn push(&mut self, faults: Vec<Fault>, now: Instant) -> Result<usize, FaultError> {
        self.settle(now);
        if self.queue.len() + faults.len() > MAX_QUEUED {
            return Err(FaultError(format!("more than {MAX_QUEUED} answers would wait: DELETE them first")));
        }
        if self.queue.is_empty() {
            self.since = now;
        }
        self.queue.extend(faults);
        Ok(self.queue.len())
    }

    /// How many wait, the one in force included.
    pub(super) fn waiting(&mut self, now: Instant) -> usize {
        self.settle(now);
        self.queue.len()
    }

    /// Forgets all faults and says how many were waiting.
    pub(super) fn clear(&mut self, now: Instant) -> usize {
        let waiting = self.waiting(now);
        self.queue.clear();
        waiting
    }

    /// How to answer the request that is read at `now`.
    pub(super) fn next(&mut self, now: Instant) -> Planned {
        self.settle(now);
        let Some(first) = self.queue.front_mut() else {
            return Planned::default();
        };
        let answer = first.answer.clone();
        if let Some(left) = &mut first.count {
            *left -= 1;
            if *left == 0 {
                self.queue.pop_front();
                self.since = now;
            }
        }
        answer
    }

    /// Removes what is over; each starts when the one before ended, not when that was noticed.
    fn settle(&mut self, now: Instant) {
        while let Some(span) = self.queue.front().and_then(|fault| fault.span) {
            let end = self.since + span;
            if now < end {
                break;
            }
            self.queue.pop_front();
            self.since = end;
        }
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
