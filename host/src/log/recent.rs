//! The last warnings and errors of the log, for whoever asks later.
//!
//! Enters: what is logged as WARNING or ERROR. Leaves: the last [`MAX`] of them, each once: what is said again counts up. Texts
//! are cut; secrets are none in them, as in the log itself.
//!
//! Never: holds more than that, or of the plugin's own lines more than [`MAX_OF_PLUGIN`]: a plugin that complains all the time is
//! not to drive out what a receiver said.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::line::Said;

/// How many are held.
pub(super) const MAX: usize = 20;

/// How many of them may be lines that the plugin logged itself.
const MAX_OF_PLUGIN: usize = 10;

/// What is held of a message, and of its fields, in bytes.
const MAX_TEXT: usize = 1024;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Trouble {
    /// When it was said first, in milliseconds since the Unix epoch.
    pub first_ms: i64,
    /// When it was said last.
    pub last_ms: i64,
    /// How often. Of lines that would repeat, the log itself leaves most out and says how many: `suppressed`.
    pub times: u64,
    /// `WARNING` or `ERROR`.
    pub level: &'static str,
    /// Where it happened: a stage of the path, or what surrounds it.
    pub stage: &'static str,
    /// What was said.
    pub text: String,
    /// What was said beside it the last time: `name=value`, separated by blanks.
    pub details: String,
}

/// The last ones, the newest at the end.
#[derive(Debug)]
pub struct Recent(Mutex<VecDeque<Trouble>>);

impl Recent {
    /// None yet.
    pub(super) const fn new() -> Self {
        Recent(Mutex::new(VecDeque::new()))
    }

    /// All of them, the newest first.
    pub fn get(&self) -> Vec<Trouble> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().cloned().collect()
    }

    fn put(&self, new: Trouble) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |old: &Trouble| (old.level, old.stage, &old.text) == (new.level, new.stage, &new.text);
        if let Some(mut again) = held.iter().position(same).and_then(|place| held.remove(place)) {
            (again.last_ms, again.times, again.details) = (new.last_ms, again.times + 1, new.details);
            return held.push_back(again);
        }
        let is_plugins = |trouble: &Trouble| trouble.stage == OF_PLUGIN;
        if is_plugins(&new) && held.iter().filter(|old| is_plugins(old)).count() >= MAX_OF_PLUGIN {
            let oldest = held.iter().position(is_plugins);
            oldest.and_then(|place| held.remove(place));
        } else if held.len() >= MAX {
            held.pop_front();
        }
        held.push_back(new);
    }
}

/// Puts there what is logged.
pub(super) struct Layered(pub(super) &'static Recent);

impl Layered {
    /// What of the log it hears: warnings where the log has them.
    pub(super) fn filter(ours: LevelFilter) -> LevelFilter {
        ours.min(LevelFilter::WARN)
    }
}

impl<S: Subscriber> Layer<S> for Layered {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let (level, target, text, details) = Said::of(event).parts();
        let now_ms = Timestamp::now().as_millisecond();
        self.0.put(Trouble {
            first_ms: now_ms,
            last_ms: now_ms,
            times: 1,
            level,
            stage: stage(target),
            text: cut(text),
            details: cut(details),
        });
    }
}

/// The stage of a line that the plugin logged itself.
const OF_PLUGIN: &str = "plugin's log";

/// By the module that said it.
fn stage(target: &str) -> &'static str {
    let mut modules = target.split("::");
    match (modules.next().unwrap_or_default(), modules.next().unwrap_or_default()) {
        ("plugin", _) => OF_PLUGIN,
        ("monitor_host", "plugin" | "supervise") => "plugin",
        ("monitor_host", "intake" | "normalise" | "series" | "queue") => "intake",
        ("monitor_host", "batching" | "batch") => "batch",
        ("monitor_host", "keep" | "spool") => "kept",
        ("monitor_host", "send" | "access" | "negotiate" | "retry") => "receiver",
        ("monitor_host", "admin") => "admin page",
        _ => "host",
    }
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        text.truncate((0..=MAX_TEXT).rfind(|&end| text.is_char_boundary(end)).unwrap_or(0));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use tracing::{error, info, warn};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn held(ours: LevelFilter, events: impl FnOnce()) -> Vec<Trouble> {
        let recent: &'static Recent = Box::leak(Box::new(Recent::new()));
        let subscriber = tracing_subscriber::registry().with(Layered(recent).with_filter(Layered::filter(ours)));
        tracing::subscriber::with_default(subscriber, events);
        recent.get()
    }

    #[test]
    fn what_is_said_again_counts_up() {
        let all = held(LevelFilter::INFO, || {
            info!("all is well");
            warn!(target: "monitor_host::send", waiting = 1, "HTTP 503: busy");
            error!(target: "monitor_host::supervise::shell", "gone");
            warn!(target: "monitor_host::send", waiting = 2, url = "http://h/ x", "HTTP 503: busy");
        });
        let short: Vec<_> = all.iter().map(|t| (t.level, t.stage, &*t.text, t.times, &*t.details)).collect();
        assert_eq!(
            short,
            [
                ("WARNING", "receiver", "HTTP 503: busy", 2, "waiting=2 url=\"http://h/ x\""),
                ("ERROR", "plugin", "gone", 1, "")
            ]
        );
        assert!(all.iter().all(|trouble| trouble.first_ms <= trouble.last_ms && trouble.first_ms > 1_700_000_000_000));
        assert_eq!(held(LevelFilter::ERROR, || warn!("not in the log either")), []);
    }

    #[test]
    fn they_are_few_and_short_and_the_plugin_drives_none_out() {
        let all = held(LevelFilter::TRACE, || {
            (0..MAX).for_each(|n| warn!(target: "monitor_host::send", "words {n}"));
            (0..1000).for_each(|n| error!(target: "plugin", "no sensor {n} {}", "ü".repeat(MAX_TEXT)));
        });
        assert_eq!(all.len(), MAX);
        assert_eq!(all.iter().filter(|trouble| trouble.stage == OF_PLUGIN).count(), MAX_OF_PLUGIN);
        assert!(
            all[0].text.starts_with("no sensor 999") && all.iter().all(|trouble| trouble.text.len() < MAX_TEXT + 4)
        );
        assert_eq!(all[MAX_OF_PLUGIN].text, format!("words {}", MAX - 1));
    }

    #[test]
    fn every_place_has_a_name() {
        for (target, name) in [
            ("plugin", "plugin's log"),
            ("monitor_host::plugin::log", "plugin"),
            ("monitor_host::intake", "intake"),
            ("monitor_host::batching::own", "batch"),
            ("monitor_host::keep::disk", "kept"),
            ("monitor_host::access::tls", "receiver"),
            ("monitor_host", "host"),
            ("hyper::client", "host"),
        ] {
            assert_eq!(stage(target), name, "{target}");
        }
    }
}
