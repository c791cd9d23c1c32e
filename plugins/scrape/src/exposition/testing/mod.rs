//! For tests: bodies and what they give, and the fuzz target. No build that ships has any of it.
//!
//! The same cases are asked of a real Prometheus, in the host's tests.

pub mod fuzz;
mod openmetrics;
mod text;

use std::fmt::Write as _;

pub use openmetrics::OPENMETRICS;
pub use text::TEXT;

use super::{Entry, Exemplar, Format, Labels, Malformed, Parser};

/// A body, and what it gives.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// What it is about.
    pub name: &'static str,
    /// The format that it is in.
    pub format: Format,
    /// The body. Where it holds the second 1700000000, any other second of as many digits does as well.
    pub body: &'static [u8],
    /// Its entries as [`entries`] writes them, or the line that says why it is refused.
    pub gives: Result<&'static str, &'static str>,
}

const fn text(name: &'static str, body: &'static [u8], gives: Result<&'static str, &'static str>) -> Case {
    Case { name, format: Format::Text, body, gives }
}

const fn openmetrics(name: &'static str, body: &'static [u8], gives: Result<&'static str, &'static str>) -> Case {
    Case { name, format: Format::OpenMetrics, body, gives }
}

/// All entries of a body, a line each: labels by name, texts in quotes, timestamps in milliseconds behind `@`; for a
/// `_created`, the moment behind `since`.
///
/// # Errors
///
/// As the parser's.
pub fn entries(body: &[u8], format: Format) -> Result<String, Malformed> {
    let mut parser = Parser::new(body, format);
    let mut lines = Vec::new();
    while let Some(entry) = parser.next()? {
        lines.push(match entry {
            Entry::Help { family, text } => format!("HELP {family:?} {text:?}"),
            Entry::Type { family, kind } => format!("TYPE {family:?} {kind:?}"),
            Entry::Unit { family, unit } => format!("UNIT {family:?} {unit:?}"),
            Entry::Sample(sample) => {
                let mut line =
                    format!("{}{} {:?}", named(&sample.name.unescaped()), labels(&sample.labels), sample.value);
                line += &at(sample.timestamp_ms);
                if let Some(Exemplar { labels: own, value, timestamp_ms }) = sample.exemplar {
                    // Writing to a string can't fail.
                    let _ = write!(line, " # {} {value:?}{}", labels(&own), at(timestamp_ms));
                }
                if let Some(created) = sample.created_ms() {
                    let _ = write!(line, " since {created}");
                }
                line
            }
        });
    }
    Ok(lines.join("\n"))
}

fn named(name: &str) -> String {
    let is_plain = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':');
    if is_plain(name) { name.to_owned() } else { format!("{name:?}") }
}

fn labels(labels: &Labels<'_, '_>) -> String {
    let mut pairs: Vec<_> = labels.iter().map(|(name, value)| format!("{}={value:?}", named(&name))).collect();
    pairs.sort_unstable();
    format!("{{{}}}", pairs.join(","))
}

fn at(timestamp_ms: Option<i64>) -> String {
    timestamp_ms.map(|timestamp_ms| format!(" @{timestamp_ms}")).unwrap_or_default()
}
