//! A plugin's log on its way into the host's.
//!
//! Enters: events of the plugin, from any of its threads, as many as it likes. Leaves: events of ours with the target
//! `plugin`, no more than [`CLASSES`] allow and none longer than [`MAX_TEXT`]; now and then how many were left out.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use monitor_plugin_api::abi::{AbiLogEvent, level};
use tracing::level_filters::LevelFilter;

use crate::log::{Bucket, Verdict};

/// The most of a message, and of its fields, that is written, in bytes.
const MAX_TEXT: usize = 8192;

/// What has a bound of its own, so that a flood of one leaves the others alone: its name, the burst of lines that passes,
/// and how many a second do after it.
const CLASSES: [(&str, u32, u32); 4] = [
    ("panics", 100, 20),
    ("ERROR and WARNING", 100, 20),
    ("INFO", 100, 20),
    // Whoever asked for these wants many.
    ("DEBUG and TRACE", 1000, 200),
];

/// The log of one plugin.
#[derive(Debug)]
pub(super) struct PluginLog {
    /// By [`CLASSES`].
    buckets: [Mutex<Bucket>; CLASSES.len()],
}

impl PluginLog {
    pub(super) fn new() -> Self {
        PluginLog { buckets: CLASSES.map(|(_, burst, per_second)| Mutex::new(Bucket::new(burst, per_second))) }
    }

    /// The highest level that is written.
    pub(super) fn level() -> i32 {
        match LevelFilter::current() {
            LevelFilter::OFF => 0,
            LevelFilter::ERROR => level::ERROR,
            LevelFilter::WARN => level::WARN,
            LevelFilter::INFO => level::INFO,
            LevelFilter::DEBUG => level::DEBUG,
            _ => level::TRACE,
        }
    }

    /// Writes the event, or leaves it out.
    pub(super) fn write(&self, event: &AbiLogEvent<'_>) {
        if event.level > Self::level() {
            return;
        }
        let class = match event.level {
            ..=level::ERROR if event.target.as_str() == "panic" => 0,
            ..=level::WARN => 1,
            level::INFO => 2,
            _ => 3,
        };
        let verdict = self.buckets[class].lock().unwrap_or_else(PoisonError::into_inner).offer(Instant::now());
        match verdict {
            Verdict::Write => write(event),
            Verdict::LeaveOut => {}
            Verdict::LeaveOutAndTell(lines) => tell(class, lines),
        }
    }

    /// Tells what was left out and not told yet.
    pub(super) fn finish(&self) {
        for (class, bucket) in self.buckets.iter().enumerate() {
            let lines = bucket.lock().unwrap_or_else(PoisonError::into_inner).take_untold();
            if lines > 0 {
                tell(class, lines);
            }
        }
    }
}

fn tell(class: usize, left_out: u64) {
    let (levels, burst, per_second) = CLASSES[class];
    tracing::warn!(
        left_out,
        levels,
        "the plugin logs too much: beyond {burst} lines at once and {per_second} a second they are left out"
    );
}

fn write(event: &AbiLogEvent<'_>) {
    let (module, message, fields) = (event.target.as_str(), &*short(&event.message), &*short(&event.fields));
    // A `tracing` level is part of the call.
    macro_rules! write {
        ($level:ident) => {
            if fields.is_empty() {
                tracing::event!(target: "plugin", tracing::Level::$level, module, "{message}")
            } else {
                tracing::event!(target: "plugin", tracing::Level::$level, module, fields, "{message}")
            }
        };
    }
    match event.level {
        ..=level::ERROR => write!(ERROR),
        level::WARN => write!(WARN),
        level::INFO => write!(INFO),
        level::DEBUG => write!(DEBUG),
        _ => write!(TRACE),
    }
}

fn short(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_TEXT {
        return text.into();
    }
    let end = (0..=MAX_TEXT).rfind(|&end| text.is_char_boundary(end)).unwrap_or(0);
    format!("{}… ({} bytes)", &text[..end], text.len()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(short("as it is"), "as it is");
        let long = "ü".repeat(MAX_TEXT);
        let cut = short(&long);
        assert!(
            cut.starts_with('ü') && cut.ends_with("ü… (16384 bytes)") && cut.len() < MAX_TEXT + 40,
            "{}",
            cut.len()
        );
        let odd = format!("x{long}");
        assert!(short(&odd).len() < MAX_TEXT + 40);
    }
}
