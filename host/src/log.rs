//! The log: `tracing` events enter, lines on stderr leave. For people on a terminal, else one JSON object a line.
//!
//! One event is one line whatever its texts hold: control characters are escaped, so neither a plugin nor a receiver's
//! answer can forge a line or drive a terminal. A line is one write, and a write that fails is forgotten: a closed
//! stderr never stops the run, and one that nobody reads never holds it up. What was wrong last is held for the status page.
//! Never reads the environment, never writes a file.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

mod bucket;
mod limit;
mod line;
mod recent;
mod unblocked;

pub use self::bucket::{Bucket, Verdict};
pub use self::limit::Limit;
use self::line::Said;
use self::recent::Layered;
pub use self::recent::{Recent, Trouble};
use self::unblocked::{Rest, Unblocked};

/// What is on its way to stderr.
static REST: OnceLock<Rest> = OnceLock::new();

/// What was wrong last.
static RECENT: Recent = Recent::new();

/// How long the end of the program may wait for a stderr that takes nothing.
const LAST_LINES: Duration = Duration::from_millis(500);

/// The least severe events that are shown. `CRITICAL` of the original is [`Level::Error`]: `tracing` knows none above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Everything.
    Trace,
    /// What helps to find a fault.
    Debug,
    /// What an operator wants to see of a healthy run.
    Info,
    /// What wants a look, though the run goes on.
    Warning,
    /// What ends the run or loses samples.
    Error,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// [`Format::Human`] when stderr is a terminal, else [`Format::Json`].
    Auto,
    /// Time of day (UTC), level, message, fields.
    Human,
    /// One JSON object a line: `timestamp`, `level`, `message`, `target`, then the event's own fields.
    Json,
}

/// Starts the log on stderr, once a process; a second call changes nothing.
///
/// `colour` is a wish: only lines for people on a terminal are coloured.
pub fn init(level: Level, format: Format, colour: bool) {
    let terminal = io::stderr().is_terminal();
    let style = match format {
        Format::Json => Style::Json,
        Format::Auto if !terminal => Style::Json,
        Format::Auto | Format::Human => Style::Human { colour: colour && terminal },
    };
    let out: Box<dyn Write + Send> = match Unblocked::start(io::stderr(), move |lost| style.line(Said::lost(lost))) {
        Ok((out, rest)) => {
            let _ = REST.set(rest);
            Box::new(out)
        }
        // Without a thread, whoever logs writes: the run has worse to say.
        Err(_) => Box::new(io::stderr()),
    };
    let recent = Layered(&RECENT).with_filter(Layered::filter(threshold(level)));
    // An error here says that a log is running already.
    let _ = tracing::subscriber::set_global_default(subscriber(level, style, out).with(recent));
}

/// The last warnings and errors that were logged, the newest first.
pub fn troubles() -> Vec<Trouble> {
    RECENT.get()
}

/// Waits a moment for what is still on its way to stderr: the program ends.
pub fn finish() {
    if let Some(rest) = REST.get() {
        rest.wait(LAST_LINES);
    }
}

#[derive(Clone, Copy)]
enum Style {
    Human { colour: bool },
    Json,
}

impl Style {
    fn line(self, said: Said) -> String {
        match self {
            Style::Json => said.json(Timestamp::now()),
            Style::Human { colour } => said.human(Timestamp::now(), colour),
        }
    }
}

/// Our crates and the plugin's forwarded events by `level`; other crates' only from `WARN` up, unless all is asked for.
fn subscriber(
    level: Level,
    style: Style,
    out: impl Write + Send + 'static,
) -> impl Subscriber + for<'a> LookupSpan<'a> + Send + Sync {
    let ours = threshold(level);
    let others = match level {
        Level::Info => LevelFilter::WARN,
        _ => ours,
    };
    // Targets match by prefix: "monitor" takes in every crate of this workspace.
    let filter = Targets::new().with_default(others).with_target("monitor", ours).with_target("plugin", ours);
    let lines = Lines { style, out: Mutex::new(out) };
    tracing_subscriber::registry().with(lines.with_filter(filter))
}

fn threshold(level: Level) -> LevelFilter {
    match level {
        Level::Trace => LevelFilter::TRACE,
        Level::Debug => LevelFilter::DEBUG,
        Level::Info => LevelFilter::INFO,
        Level::Warning => LevelFilter::WARN,
        Level::Error => LevelFilter::ERROR,
    }
}

struct Lines<W> {
    style: Style,
    out: Mutex<W>,
}

impl<S: Subscriber, W: Write + Send + 'static> Layer<S> for Lines<W> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let line = self.style.line(Said::of(event));
        // One write, so that lines of several processes on one stderr do not mix.
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = out.write_all(line.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::Value;
    use tracing::{debug, error, info, trace, warn};

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines_of(level: Level, style: Style, events: impl FnOnce()) -> Vec<String> {
        let out = Captured::default();
        tracing::subscriber::with_default(subscriber(level, style, out.clone()), events);
        let bytes = out.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn json_is_one_flat_object_a_line() {
        let cause = io::Error::other("connection refused");
        let lines = lines_of(Level::Info, Style::Json, || {
            warn!(
                batches = 3_u64,
                lag = -2_i64,
                ratio = 0.5,
                nan = f64::NAN,
                ok = true,
                level = "mine",
                url = %"http://h/\n",
                error = &cause as &(dyn std::error::Error + 'static),
                "pushed {}\nlate",
                "two"
            );
        });
        assert_eq!(lines.len(), 1);
        let head: Vec<&str> = ["timestamp", "level", "message", "target"].into();
        let at: Vec<usize> = head.iter().map(|key| lines[0].find(&format!("\"{key}\":")).unwrap()).collect();
        assert!(at.is_sorted(), "{}", lines[0]);

        let object: Value = serde_json::from_str(&lines[0]).unwrap();
        let stamp = object["timestamp"].as_str().unwrap();
        assert_eq!(stamp.len(), "2024-01-02T03:04:05.678Z".len(), "{stamp}");
        assert!(stamp.ends_with('Z') && stamp.parse::<Timestamp>().is_ok(), "{stamp}");
        assert_eq!(object["level"], "WARNING");
        assert_eq!(object["message"], "pushed two\nlate");
        assert_eq!(object["target"], "monitor_host::log::tests");
        assert_eq!(object["batches"], 3);
        assert_eq!(object["lag"], -2);
        assert_eq!(object["ratio"], 0.5);
        assert_eq!(object["nan"], "NaN");
        assert_eq!(object["ok"], true);
        assert_eq!(object["level_"], "mine");
        assert_eq!(object["url"], "http://h/\n");
        assert_eq!(object["error"], "connection refused");
        assert_eq!(object.as_object().unwrap().len(), 12);
    }

    #[test]
    fn human_is_one_line_with_no_foreign_control_characters() {
        let style = Style::Human { colour: false };
        let lines = lines_of(Level::Info, style, || {
            error!(status = 400, words = "bad \"x\"\nfake", "refused\x1b[2J\r\nfake");
        });
        assert_eq!(lines.len(), 1);
        let (time, rest) = lines[0].split_once(' ').unwrap();
        assert_eq!(time.len(), "03:04:05.678Z".len());
        assert_eq!(rest, "ERROR   refused\\u{1b}[2J\\r\\nfake status=400 words=\"bad \\\"x\\\"\\nfake\"");

        let coloured = lines_of(Level::Info, Style::Human { colour: true }, || info!("x"));
        assert!(coloured[0].contains("\x1b[32mINFO   \x1b[0m x"), "{coloured:?}");
    }

    #[test]
    fn nothing_in_a_line_acts_on_who_shows_it() {
        // A terminal's 8-bit escape, the deletion, a line's separator, a text turned around.
        let hostile = "a\u{9b}2J\u{7f}b\u{2028}c\u{202e}d";
        for style in [Style::Json, Style::Human { colour: false }] {
            let lines = lines_of(Level::Info, style, || error!(words = hostile, "{hostile}"));
            assert_eq!(lines.len(), 1);
            assert!(!lines[0].contains(['\u{9b}', '\u{7f}', '\u{2028}', '\u{202e}']), "{lines:?}");
        }
        let lines = lines_of(Level::Info, Style::Json, || error!(words = hostile, "{hostile}"));
        let object: Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!((&object["message"], &object["words"]), (&hostile.into(), &hostile.into()));
    }

    #[test]
    fn levels_filter_us_and_keep_dependencies_quiet() {
        let shown = |level| {
            lines_of(level, Style::Human { colour: false }, || {
                error!("a");
                warn!("b");
                info!("c");
                info!(target: "plugin", "d");
                debug!("e");
                trace!("f");
                warn!(target: "hyper::client", "G");
                info!(target: "hyper::client", "H");
                debug!(target: "rustls", "I");
            })
            .iter()
            .map(|line| line.chars().last().unwrap())
            .collect::<String>()
        };
        assert_eq!(shown(Level::Error), "a");
        assert_eq!(shown(Level::Warning), "abG");
        assert_eq!(shown(Level::Info), "abcdG");
        assert_eq!(shown(Level::Debug), "abcdeGHI");
        assert_eq!(shown(Level::Trace), "abcdefGHI");
    }

    #[test]
    fn a_closed_stderr_is_no_concern_of_the_run() {
        struct Closed(Arc<Mutex<u32>>);
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                *self.0.lock().unwrap() += 1;
                Err(io::ErrorKind::BrokenPipe.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
        let tried = Arc::new(Mutex::new(0));
        let log = subscriber(Level::Info, Style::Json, Closed(Arc::clone(&tried)));
        tracing::subscriber::with_default(log, || {
            info!("one");
            info!("two");
        });
        assert_eq!(*tried.lock().unwrap(), 2);
    }
}
