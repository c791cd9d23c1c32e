//! The cases of `docs/records.md`: the test asserts them, the page prints them.

use super::{Answer, labels, names, readings, shapes};
use std::fmt::Write;

/// The time of arrival in all cases, 2025-11-09T08:47:30.999Z; shown as `now`.
pub(super) const NOW_MS: i64 = 1_762_678_050_999;

pub(super) struct Case {
    pub(super) what: &'static str,
    pub(super) input: Input,
    /// Begins with `sent`, `mended`, `partly`, `dropped` or `nothing`.
    pub(super) verdict: &'static str,
    pub(super) answers: Vec<&'static str>,
}

/// What goes in, with what the page shows where the thing itself can't be shown.
pub(super) enum Input {
    Json(&'static str),
    Bytes(&'static str, Vec<u8>),
    Record(&'static str, Record),
}

pub(super) struct Record {
    pub(super) metric: &'static str,
    pub(super) labels: Vec<(String, String)>,
    pub(super) value: f64,
    pub(super) at: Option<i64>,
}

pub(super) fn json(what: &'static str, text: &'static str, verdict: &'static str, answers: &[&'static str]) -> Case {
    let (input, answers) = (Input::Json(text), answers.to_vec());
    Case { what, input, verdict, answers }
}

pub(super) fn bytes(
    what: &'static str,
    shown: &'static str,
    bytes: impl Into<Vec<u8>>,
    verdict: &'static str,
    answer: &'static str,
) -> Case {
    let (input, answers) = (Input::Bytes(shown, bytes.into()), vec![answer]);
    Case { what, input, verdict, answers }
}

pub(super) fn record(
    what: &'static str,
    shown: &'static str,
    record: Record,
    verdict: &'static str,
    answer: &'static str,
) -> Case {
    let (input, answers) = (Input::Record(shown, record), vec![answer]);
    Case { what, input, verdict, answers }
}

pub(super) fn typed(value: f64) -> Record {
    Record { metric: "m", labels: vec![], value, at: Some(1_762_678_050_123) }
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = shapes::shapes();
    cases.extend(readings::values());
    cases.extend(readings::timestamps());
    cases.extend(names::names_and_labels());
    cases.extend(names::typed_records());
    cases
}

/// An answer as the table has it.
pub(super) fn show(answer: &Answer) -> String {
    match answer {
        Answer::Reject(reason) => reason.name().to_owned(),
        Answer::Sample { labels: encoded, value_bits, at } => {
            let mut metric = "";
            let mut pairs = Vec::new();
            for (name, value) in labels::pairs(encoded) {
                match value.len() {
                    _ if name == monitor_proto::NAME_LABEL => metric = value,
                    ..100 => pairs.push(format!("{name}={value:?}")),
                    len => pairs.push(format!("{name}=\"{}… ({len} bytes)\"", &value[..3])),
                }
            }
            let value = match f64::from_bits(*value_bits) {
                nan if nan.is_nan() && *value_bits != monitor_proto::NORMAL_NAN => {
                    format!("NaN {value_bits:x}")
                }
                value => value.to_string(),
            };
            let at = if *at == NOW_MS { "now".to_owned() } else { at.to_string() };
            format!("{metric}{{{}}} {value} {at}", pairs.join(","))
        }
    }
}

/// The table of the page.
pub(super) fn markdown() -> String {
    let mut page = String::from(
        "| case | input | what becomes of it | samples (`metric{labels} value ms`), reasons |\n|---|---|---|---|\n",
    );
    for case in cases() {
        let input = match &case.input {
            Input::Json(text) => text,
            Input::Bytes(shown, _) | Input::Record(shown, _) => shown,
        };
        let answers: Vec<_> = case.answers.iter().map(|a| format!("`{a}`")).collect();
        let _ = writeln!(page, "| {} | `{input}` | {} | {} |", case.what, case.verdict, answers.join("<br>"));
    }
    page
}
