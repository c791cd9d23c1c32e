//! The plugin's log and its panics, on their way to the host's log.
//!
//! A shared library has statics of its own, `tracing`'s and the panic hook among them, so nothing that a plugin logs
//! would be seen. Enters: `tracing` events and panics of this library. Leaves: calls of the host's `log`. Spans are
//! not followed. Never: formats an event that the host's level would not show.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Once, PoisonError, RwLock};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber, span};

use crate::abi::{AbiLogEvent, HostBox, level};

static HOST: RwLock<Option<Arc<HostBox>>> = RwLock::new(None);

thread_local! {
    static LAST_PANIC: RefCell<Option<PanicReport>> = const { RefCell::new(None) };
}

/// What the panic hook saw, for whoever catches the panic.
#[derive(Debug)]
pub(crate) struct PanicReport {
    /// `panicked at src/lib.rs:12:5: message`
    pub(crate) message: String,
    /// The backtrace where RUST_BACKTRACE asks for one, else empty.
    pub(crate) backtrace: String,
}

/// From here on, events and panics of this library go to `host`.
pub(crate) fn connect(host: &Arc<HostBox>) {
    *HOST.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(host));
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Fails only where the plugin has set a subscriber of its own, which is then its wish.
        let _ = tracing::subscriber::set_global_default(Bridge { max: filter(host.log_level()) });
        std::panic::set_hook(Box::new(|info| {
            let payload = info.payload();
            let text = payload.downcast_ref::<&str>().copied();
            let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
            let place = info.location().map_or_else(String::new, |place| format!(" at {place}"));
            let message = format!("panicked{place}: {}", text.unwrap_or("(no message)"));
            let backtrace = Backtrace::capture();
            let backtrace = match backtrace.status() {
                BacktraceStatus::Captured => backtrace.to_string(),
                _ => String::new(),
            };
            let thread = std::thread::current();
            // The host's threads have names that this library's `std` does not know.
            let fields = thread.name().map(|name| format!("thread={name:?}")).unwrap_or_default();
            write(level::ERROR, "panic", &message, &fields);
            LAST_PANIC.with_borrow_mut(|last| *last = Some(PanicReport { message, backtrace }));
        }));
    });
}

/// Writes a line into the host's log in the name of `target`, for a plugin that carries the log of something else: what
/// `tracing` writes has the name of a module of Rust's.
pub fn log_as(level: Level, target: &str, message: &str) {
    if level <= LevelFilter::current() {
        write(number(level), target, message, "");
    }
}

/// The report of the panic that this thread has just caught.
pub(crate) fn take_panic() -> Option<PanicReport> {
    LAST_PANIC.with_borrow_mut(Option::take)
}

fn write(level: i32, target: &str, message: &str, fields: &str) {
    // A hook must never panic or wait for itself: where the lock is taken for writing, the event is not worth it.
    let Ok(host) = HOST.try_read() else { return };
    if let Some(host) = host.as_ref() {
        host.log(AbiLogEvent { level, target: target.into(), message: message.into(), fields: fields.into() });
    }
}

fn filter(max: i32) -> LevelFilter {
    match max {
        ..=0 => LevelFilter::OFF,
        level::ERROR => LevelFilter::ERROR,
        level::WARN => LevelFilter::WARN,
        level::INFO => LevelFilter::INFO,
        level::DEBUG => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    }
}

fn number(level: Level) -> i32 {
    match level {
        Level::ERROR => level::ERROR,
        Level::WARN => level::WARN,
        Level::INFO => level::INFO,
        Level::DEBUG => level::DEBUG,
        Level::TRACE => level::TRACE,
    }
}

struct Bridge {
    max: LevelFilter,
}

impl Subscriber for Bridge {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= self.max
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.max)
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let metadata = event.metadata();
        write(number(*metadata.level()), metadata.target(), &text.message, &text.fields);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String can't fail.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            let space = if self.fields.is_empty() { "" } else { " " };
            write!(self.fields, "{space}{}={value:?}", field.name())
        };
    }
}
