//! Runs a plugin as the host does: makes it, gives it two threads, asks it to stop, takes it down.
//!
//! Enters: a [`Harness`] and when to stop. Leaves: a [`Run`]. Never: waits beyond the stop timeout; a thread that has not
//! ended by then is left behind.

use std::cell::RefCell;
use std::panic;
use std::sync::{Arc, Once};
use std::thread;
use std::time::{Duration, Instant};

use abi_stable::std_types::{RErr, ROk, RResult};

use super::Harness;
use super::collected::{Failure, FailureKind, Part, Run};
use super::host::in_memory;
use super::state::{Phase, Shared, State};
use crate::abi::{AbiError, HostBox, MonitorBox, failure, worker};
use crate::log;
use crate::settings::{self, Given};

pub(super) type Create = extern "C" fn(HostBox) -> RResult<MonitorBox, AbiError>;

/// How long a `process_data` that has ended without an error waits for a `get_power` that may have ended before it.
const GRACE: Duration = Duration::from_millis(500);

thread_local! {
    static CURRENT: RefCell<Option<Arc<Shared>>> = const { RefCell::new(None) };
}

/// The run to which this thread belongs.
pub(super) fn current() -> Option<Arc<Shared>> {
    // On the way out of a thread there is none any more.
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// Does this as a part of the run: with its settings, its events and panics going to it.
fn within<R>(shared: &Arc<Shared>, given: &Given, run: impl FnOnce() -> R) -> R {
    let outer = CURRENT.replace(Some(Arc::clone(shared)));
    let settings = settings::replace_given(Some(Arc::clone(given)));
    let result = run();
    settings::replace_given(settings);
    CURRENT.set(outer);
    result
}

/// The plugin's panics go its way to the log. Everybody else's, a failed assertion's first of all, stay as they were.
fn share_the_panic_hook(host: HostBox) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = panic::take_hook();
        log::connect(&Arc::new(host));
        let plugins = panic::take_hook();
        panic::set_hook(Box::new(move |info| if current().is_some() { plugins(info) } else { others(info) }));
    });
}

pub(super) fn run(harness: Harness, samples: usize, timeout: Duration) -> Run {
    let Harness { create, settings, stop_timeout, limits } = harness;
    let shared = Shared::new(limits);
    let given: Given = Arc::new(settings);
    share_the_panic_hook(in_memory(&shared));

    let monitor = match within(&shared, &given, || create(in_memory(&shared))) {
        ROk(monitor) => Arc::new(monitor),
        RErr(error) => return Run { failures: vec![failed(Part::New, &error)], ..shared.collected() },
    };
    for which in [worker::GET_POWER, worker::PROCESS_DATA] {
        let (shared, given, monitor) = (Arc::clone(&shared), Arc::clone(&given), Arc::clone(&monitor));
        thread::spawn(move || {
            let ended = within(&shared, &given, || match which {
                worker::GET_POWER => monitor.get_power(),
                _ => monitor.process_data(),
            });
            // Before it is told: the plugin is taken down where the run was started.
            drop(monitor);
            shared.change(|state| state.ended[which as usize] = Some((ended, Instant::now())));
        });
    }

    let over = |state: &State| state.taken() >= samples || state.ended.iter().any(Option::is_some);
    shared.wait(Instant::now().checked_add(timeout), over);
    // `get_power` that returns closes the raw queue, and may be told of after the `process_data` that has ended for it.
    let alone = matches!(shared.lock().ended, [None, Some((ROk(()), _))]);
    if alone {
        shared.wait(Instant::now().checked_add(GRACE), |state| state.ended[0].is_some());
    }
    let asked = Instant::now();
    stop(&shared, &monitor, asked, stop_timeout);

    let (failures, last) = ends(&shared.lock(), asked);
    let raw_queue = monitor.raw_queue();
    within(&shared, &given, || drop(monitor));
    Run {
        failures,
        raw_queue,
        stopping: last.map_or(stop_timeout, |last| last.saturating_duration_since(asked)),
        ..shared.collected()
    }
}

/// In the host's order: `get_power` first, and `process_data` only when it does not end by itself.
fn stop(shared: &Shared, monitor: &MonitorBox, asked: Instant, timeout: Duration) {
    let both = |state: &State| state.ended.iter().all(Option::is_some);
    shared.change(|state| state.phase = Phase::Stopping);
    monitor.stop(worker::GET_POWER);
    let get_power = shared.wait(Some(asked + timeout / 4), |state| state.ended[0].is_some());
    if !(get_power && shared.wait(Some(asked + timeout / 2), both)) {
        monitor.stop(worker::PROCESS_DATA);
        shared.wait(Some(asked + timeout * 3 / 4), both);
    }
    shared.change(|state| state.phase = Phase::Closed);
    shared.wait(Some(asked + timeout), both);
}

/// What went wrong with the two workers, and when the last of them ended, if both did.
fn ends(state: &State, asked: Instant) -> (Vec<Failure>, Option<Instant>) {
    let [get_power, process_data] = [0, 1].map(|which| state.ended[which].as_ref().map(|(_, at)| *at));
    let get_power_ended_first = get_power.is_some_and(|at| at < asked);
    let mut failures = Vec::new();
    for (part, end) in [Part::GetPower, Part::ProcessData].into_iter().zip(&state.ended) {
        // `process_data` ends by itself once `get_power` has.
        let rightly = part == Part::ProcessData && get_power_ended_first;
        let failure = match end {
            None => told(part, FailureKind::IgnoredStop, "did not end in time, and is left behind"),
            Some((RErr(error), _)) => failed(part, error),
            Some((ROk(()), at)) if *at < asked && !rightly => {
                told(part, FailureKind::EarlyReturn, "returned before it was asked to stop")
            }
            Some((ROk(()), _)) => continue,
        };
        // Those that ended come first, by the clock.
        failures.push((end.is_none(), end.as_ref().map(|(_, at)| *at), failure));
    }
    failures.sort_by_key(|(left, at, _)| (*left, *at));
    (failures.into_iter().map(|(.., failure)| failure).collect(), get_power.zip(process_data).map(|(a, b)| a.max(b)))
}

fn failed(part: Part, error: &AbiError) -> Failure {
    let kind = if error.failure == failure::PANIC { FailureKind::Panic } else { FailureKind::Error };
    told(part, kind, &error.message)
}

fn told(part: Part, kind: FailureKind, message: &str) -> Failure {
    Failure { part, kind, message: message.to_owned() }
}
