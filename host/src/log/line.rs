//! One event enters, one line of text leaves, its newline at the end. Pure: the time comes in.
//! Control characters never pass as they are.

use std::fmt::{self, Write as _};

use jiff::Timestamp;
use serde::Serializer as _;
use serde_json::Value;
use tracing::Event;
use tracing::field::{Field, Visit};

pub(super) fn json(event: &Event<'_>, now: Timestamp) -> String {
    let Fields { message, fields } = Fields::of(event);
    let head = [
        ("timestamp", Value::from(format!("{now:.3}"))),
        ("level", Value::from(level_name(event))),
        ("message", Value::from(message)),
        ("target", Value::from(event.metadata().target())),
    ];
    let own = fields.into_iter().map(|(name, value)| {
        let taken = matches!(name, "timestamp" | "level" | "target");
        (if taken { format!("{name}_") } else { name.to_owned() }, value)
    });
    let all = head.map(|(name, value)| (name.to_owned(), value)).into_iter().chain(own);
    let mut line = Vec::with_capacity(256);
    // Writing strings and numbers to memory can't fail.
    let _ = serde_json::Serializer::new(&mut line).collect_map(all);
    line.push(b'\n');
    String::from_utf8_lossy(&line).into_owned()
}

pub(super) fn human(event: &Event<'_>, now: Timestamp, colour: bool) -> String {
    let Fields { message, fields } = Fields::of(event);
    let level = level_name(event);
    let (dim, paint, reset) = match (colour, *event.metadata().level()) {
        (false, _) => ("", "", ""),
        (true, tracing::Level::ERROR) => ("\x1b[2m", "\x1b[31m", "\x1b[0m"),
        (true, tracing::Level::WARN) => ("\x1b[2m", "\x1b[33m", "\x1b[0m"),
        (true, tracing::Level::INFO) => ("\x1b[2m", "\x1b[32m", "\x1b[0m"),
        (true, _) => ("\x1b[2m", "\x1b[2m", "\x1b[0m"),
    };
    let stamp = format!("{now:.3}");
    let time = stamp.split_once('T').map_or(stamp.as_str(), |(_, time)| time);
    let mut line = format!("{dim}{time}{reset} {paint}{level:<7}{reset} ");
    push_escaped(&mut line, &message);
    for (name, value) in fields {
        let _ = write!(line, " {dim}{name}={reset}");
        match value {
            Value::String(text) if text.is_empty() || text.contains([' ', '"', '=']) => {
                push_escaped(&mut line, &format!("\"{}\"", text.replace('"', "\\\"")));
            }
            Value::String(text) => push_escaped(&mut line, &text),
            other => push_escaped(&mut line, &other.to_string()),
        }
    }
    line.push('\n');
    line
}

fn push_escaped(line: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
}

/// Levels by the original's (Python's) names.
fn level_name(event: &Event<'_>) -> &'static str {
    match *event.metadata().level() {
        tracing::Level::ERROR => "ERROR",
        tracing::Level::WARN => "WARNING",
        tracing::Level::INFO => "INFO",
        tracing::Level::DEBUG => "DEBUG",
        tracing::Level::TRACE => "TRACE",
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
