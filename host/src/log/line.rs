//! One event enters, one line of text leaves, its newline at the end. Pure: the time comes in.
//! Neither control characters nor those that turn the direction of a text or break a line pass as they are.

use std::fmt::{self, Write as _};

use jiff::Timestamp;
use serde::Serializer as _;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// What a line says.
pub(super) struct Said {
    level: Level,
    target: &'static str,
    fields: Fields,
}

impl Said {
    pub(super) fn of(event: &Event<'_>) -> Self {
        let metadata = event.metadata();
        Said { level: *metadata.level(), target: metadata.target(), fields: Fields::of(event) }
    }

    /// So many lines were lost.
    pub(super) fn lost(lines: u64) -> Self {
        let message = "lines of this log were lost: nobody read stderr".to_owned();
        let fields = Fields { message, fields: vec![("lines", lines.into())] };
        Said { level: Level::WARN, target: "monitor_host::log", fields }
    }

    /// Level, target, message, and the fields as `name=value`, control characters escaped.
    pub(super) fn parts(self) -> (&'static str, &'static str, String, String) {
        let (mut message, mut fields) = (String::new(), String::new());
        push_escaped(&mut message, &self.fields.message);
        for (name, value) in self.fields.fields {
            let blank = if fields.is_empty() { "" } else { " " };
            let _ = write!(fields, "{blank}{name}=");
            push_value(&mut fields, &value);
        }
        (level_name(self.level), self.target, message, fields)
    }

    pub(super) fn json(self, now: Timestamp) -> String {
        let Fields { message, fields } = self.fields;
        let head = [
            ("timestamp", Value::from(format!("{now:.3}"))),
            ("level", Value::from(level_name(self.level))),
            ("message", Value::from(message)),
            ("target", Value::from(self.target)),
        ];
        let own = fields.into_iter().map(|(name, value)| {
            let taken = matches!(name, "timestamp" | "level" | "target");
            (if taken { format!("{name}_") } else { name.to_owned() }, value)
        });
        let all = head.map(|(name, value)| (name.to_owned(), value)).into_iter().chain(own);
        let mut line = Vec::with_capacity(256);
        // Writing strings and numbers to memory can't fail.
        let _ = serde_json::Serializer::new(&mut line).collect_map(all);
        let mut line = visible(&String::from_utf8_lossy(&line));
        line.push('\n');
        line
    }

    pub(super) fn human(self, now: Timestamp, colour: bool) -> String {
        let Fields { message, fields } = self.fields;
        let (dim, paint, reset) = match (colour, self.level) {
            (false, _) => ("", "", ""),
            (true, Level::ERROR) => ("\x1b[2m", "\x1b[31m", "\x1b[0m"),
            (true, Level::WARN) => ("\x1b[2m", "\x1b[33m", "\x1b[0m"),
            (true, Level::INFO) => ("\x1b[2m", "\x1b[32m", "\x1b[0m"),
            (true, _) => ("\x1b[2m", "\x1b[2m", "\x1b[0m"),
        };
        let stamp = format!("{now:.3}");
        let time = stamp.split_once('T').map_or(stamp.as_str(), |(_, time)| time);
        let mut line = format!("{dim}{time}{reset} {paint}{:<7}{reset} ", level_name(self.level));
        push_escaped(&mut line, &message);
        for (name, value) in fields {
            let _ = write!(line, " {dim}{name}={reset}");
            push_value(&mut line, &value);
        }
        line.push('\n');
        line
    }
}

/// What acts on whoever shows it: control characters (the terminal's 8-bit ones among them), separators of lines, marks
/// that turn the direction of the text.
fn acts(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// JSON in which nothing acts. JSON itself asks to escape only what is below the space; all of these can stand in texts alone.
fn visible(json: &str) -> String {
    let mut visible = String::with_capacity(json.len() + 1);
    for c in json.chars() {
        if acts(c) {
            // None of them lies beyond 16 bits.
            let _ = write!(visible, "\\u{:04x}", u32::from(c));
        } else {
            visible.push(c);
        }
    }
    visible
}

fn push_value(line: &mut String, value: &Value) {
    match value {
        Value::String(text) if text.is_empty() || text.contains([' ', '"', '=']) => {
            push_escaped(line, &format!("\"{}\"", text.replace('"', "\\\"")));
        }
        Value::String(text) => push_escaped(line, text),
        other => push_escaped(line, &other.to_string()),
    }
}

fn push_escaped(line: &mut String, text: &str) {
    for c in text.chars() {
        if acts(c) {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
}

/// Levels by the original's (Python's) names.
fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        Level::DEBUG => "DEBUG",
        Level::TRACE => "TRACE",
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    fields: Vec<(&'static str, Value)>,
}

impl Fields {
    fn of(event: &Event<'_>) -> Self {
        let mut fields = Fields::default();
        event.record(&mut fields);
        fields
    }

    fn push(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            ("message", other) => self.message = other.to_string(),
            (name, value) => self.fields.push((name.strip_prefix("r#").unwrap_or(name), value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, value.into());
    }

    /// JSON has no NaN and no infinities: they become strings.
    fn record_f64(&mut self, field: &Field, value: f64) {
        let finite = value.is_finite();
        self.push(field, if finite { value.into() } else { value.to_string().into() });
    }

    /// With its causes: "what: why: why that".
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            let _ = write!(text, ": {cause}");
            source = cause.source();
        }
        self.push(field, text.into());
    }
}
