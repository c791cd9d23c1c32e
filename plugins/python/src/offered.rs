//! What the bridge may call: the table of functions over a [`Run`].
//!
//! Enters: the bridge's calls, on the module's threads. Leaves: the same calls on the run, and on the log. A panic ends
//! here: the bridge is told that the run is over.

#![allow(unsafe_code, reason = "a run is named by a pointer in the bridge's calls")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use monitor_plugin_api::tracing::level_filters::LevelFilter;
use monitor_plugin_api::{log_as, tracing};
use monitor_python_table::{Bridge, Bytes, FOREVER, Host, Item, Run as Name, code};

use crate::item::Owned;
use crate::run::{Refused, Run};

/// The bridge, which takes items back. There is one in a process.
static BRIDGE: OnceLock<&'static Bridge> = OnceLock::new();

/// The table for this bridge.
pub(crate) fn table(bridge: &'static Bridge) -> &'static Host {
    BRIDGE.get_or_init(|| bridge);
    &TABLE
}

/// The run's name in calls; it holds for as long as the run lives, or the bridge keeps it.
pub(crate) fn name(run: &Arc<Run>) -> Name {
    Name(Arc::as_ptr(run).cast())
}

static TABLE: Host = Host {
    log_level,
    log,
    keep,
    release,
    try_put,
    put,
    try_get,
    get,
    waiting,
    capacity,
    output_capacity,
    send,
    is_stopped,
    wait_stopped,
    stop,
};

extern "C" fn log_level() -> i32 {
    match LevelFilter::current().into_level() {
        None => 0,
        Some(tracing::Level::ERROR) => 1,
        Some(tracing::Level::WARN) => 2,
        Some(tracing::Level::INFO) => 3,
        Some(tracing::Level::DEBUG) => 4,
        Some(_) => 5,
    }
}

extern "C" fn log(level: i32, who: Bytes<'_>, said: Bytes<'_>) {
    let level = match level {
        ..=1 => tracing::Level::ERROR,
        2 => tracing::Level::WARN,
        3 => tracing::Level::INFO,
        4 => tracing::Level::DEBUG,
        _ => tracing::Level::TRACE,
    };
    guarded((), || log_as(level, &who.text(), &said.text()));
}

extern "C" fn keep(run: Name) {
    // SAFETY: `name` made it of an `Arc`, and the caller holds the run while it calls.
    unsafe { Arc::increment_strong_count(run.0.cast::<Run>()) };
}

extern "C" fn release(run: Name) {
    // SAFETY: as above; the caller gives back what it has kept, once.
    guarded((), || unsafe { Arc::decrement_strong_count(run.0.cast::<Run>()) });
}

extern "C" fn try_put(run: Name, item: &Item) -> i32 {
    put_with(item, |item| the(run).try_put(item))
}

extern "C" fn put(run: Name, item: &Item, timeout_ns: u64) -> i32 {
    put_with(item, |item| the(run).put(item, timeout(timeout_ns)))
}

fn put_with(item: &Item, put: impl FnOnce(Owned) -> Result<(), (Refused, Owned)>) -> i32 {
    // Where it panicked the item may be in the queue, or given back already: in no case is it the caller's.
    guarded(code::DONE, || {
        let Some(bridge) = BRIDGE.get() else { return code::OVER };
        match put(Owned::new(Item(item.0), bridge.drop_item)) {
            Ok(()) => code::DONE,
            Err((refused, item)) => {
                // It is the caller's still.
                let _ = item.into_item();
                answer(&refused)
            }
        }
    })
}

extern "C" fn try_get(run: Name, item: &mut Item) -> i32 {
    get_with(item, || the(run).try_get())
}

extern "C" fn get(run: Name, item: &mut Item, timeout_ns: u64) -> i32 {
    get_with(item, || the(run).get(timeout(timeout_ns)))
}

fn get_with(item: &mut Item, get: impl FnOnce() -> Result<Owned, Refused>) -> i32 {
    guarded(code::OVER, || match get() {
        Ok(taken) => {
            *item = taken.into_item();
            code::DONE
        }
        Err(refused) => answer(&refused),
    })
}

extern "C" fn waiting(run: Name) -> u64 {
    guarded(0, || the(run).waiting())
}

extern "C" fn capacity(run: Name) -> u64 {
    guarded(1, || the(run).capacity())
}

extern "C" fn output_capacity(run: Name) -> u64 {
    guarded(1, || the(run).output_capacity)
}

extern "C" fn send(run: Name, document: Bytes<'_>, timeout_ns: u64) -> i32 {
    guarded(code::OVER, || match the(run).send(document.get(), timeout(timeout_ns)) {
        Ok(()) => code::DONE,
        Err(refused) => answer(&refused),
    })
}

extern "C" fn is_stopped(run: Name, worker: i32) -> bool {
    guarded(true, || the(run).is_stopped(worker))
}

extern "C" fn wait_stopped(run: Name, worker: i32, timeout_ns: u64) -> bool {
    guarded(true, || the(run).wait_stopped(worker, timeout(timeout_ns)))
}

extern "C" fn stop(run: Name) {
    guarded((), || the(run).stop());
}

fn the<'a>(run: Name) -> &'a Run {
    // SAFETY: `name` made it, and the bridge keeps the run as long as anything of its own names it.
    unsafe { &*run.0.cast::<Run>() }
}

fn timeout(nanoseconds: u64) -> Option<Duration> {
    (nanoseconds != FOREVER).then(|| Duration::from_nanos(nanoseconds))
}

fn answer(refused: &Refused) -> i32 {
    match refused {
        Refused::TimedOut => code::TIMED_OUT,
        Refused::Over => code::OVER,
    }
}

fn guarded<R>(panicked: R, run: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| {
        std::mem::forget(payload);
        panicked
    })
}
