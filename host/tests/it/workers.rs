//! A worker that ends the run: what it gave is delivered, why it ended is told, the exit status is 1.

use std::time::{Duration, Instant};

use signal_hook::consts::SIGTERM;

use crate::faults::{LONG, books, host, lines, numbers, raw, wait_for_text};
use crate::sink::Sink;

/// How the worker of this variable ends after ten readings, and what the log says of it.
#[track_caller]
fn ends_the_run(variable: &str, worker: &str, how: &str, says: &[&str]) {
    let sink = Sink::start();
    // Nothing but the end makes a push.
    let running = host(sink.url()).env(variable, how).env("PUSH_INTERVAL_S", "3600").spawn();
    assert_eq!(running.wait(LONG).code(), Some(1), "{}", running.log_text());

    let ledger = books(&running);
    assert_eq!(numbers(&sink, &ledger), (1..=10).collect::<Vec<_>>(), "{ledger:?}");
    // And the marker: a plugin that ends by itself ends its series.
    assert_eq!((ledger.collected, ledger.dropped), (11, 0));
    assert!(raw(&running, "raw_received") == 10 && raw(&running, "raw_sent") >= 10);
    assert_eq!(sink.violations(), []);

    let errors = lines(&running, "ERROR");
    let told: Vec<_> = errors.iter().filter(|line| line.field("worker") == worker).collect();
    assert_eq!(told.len(), 1, "{}", running.log_text());
    assert!(says.iter().all(|says| told[0].message().contains(says)), "{says:?}: {}", told[0].text);
    let others = errors.iter().filter(|line| !line.field("worker").is_empty()).count();
    assert_eq!(others, 1, "the other worker has done nothing: {}", running.log_text());
}

const GONE: &[&str] = &["the sensor has gone, as the test asked"];
const RETURNED: &[&str] = &["ended by itself"];
// The place is the author's own file.
const PANICKED: &[&str] = &["panicked at ", "lib.rs:", "as the test asked"];

#[test]
fn get_power_fails() {
    ends_the_run("FAULT_GET_POWER", "get_power", "error", GONE);
}

#[test]
fn get_power_returns() {
    ends_the_run("FAULT_GET_POWER", "get_power", "return", RETURNED);
}

#[test]
fn get_power_panics() {
    ends_the_run("FAULT_GET_POWER", "get_power", "panic", PANICKED);
}

#[test]
fn get_power_panics_with_a_string() {
    ends_the_run("FAULT_GET_POWER", "get_power", "panic-string", PANICKED);
}

#[test]
fn process_data_fails() {
    ends_the_run("FAULT_PROCESS_DATA", "process_data", "error", GONE);
}

#[test]
fn process_data_returns() {
    ends_the_run("FAULT_PROCESS_DATA", "process_data", "return", RETURNED);
}

#[test]
fn process_data_panics() {
    ends_the_run("FAULT_PROCESS_DATA", "process_data", "panic", PANICKED);
}

#[test]
fn process_data_panics_with_a_string() {
    ends_the_run("FAULT_PROCESS_DATA", "process_data", "panic-string", PANICKED);
}

#[test]
fn a_backtrace_is_told_where_one_was_asked_for() {
    let sink = Sink::start();
    let running = host(sink.url()).env("FAULT_GET_POWER", "panic").env("RUST_BACKTRACE", "1").spawn();
    assert_eq!(running.wait(LONG).code(), Some(1));
    assert_eq!(books(&running).delivered, 11);
    wait_for_text(&running, "backtrace: ");
}

/// A worker that goes on when it is asked to stop.
fn is_left_behind(variable: &str, worker: &str) {
    let sink = Sink::start();
    let running = host(sink.url()).env(variable, "ignore-stop").env("SHUTDOWN_TIMEOUT_S", "2").spawn();
    sink.wait_samples(10, LONG);
    let start = Instant::now();
    running.signal(SIGTERM);
    assert_eq!(running.wait(LONG).code(), Some(1), "{}", running.log_text());
    let took = start.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");

    let told = lines(&running, "ERROR");
    assert_eq!(told.len(), 1, "{}", running.log_text());
    assert!(told[0].field("worker") == worker && told[0].message().contains("did not end"), "{}", told[0].text);
    let ledger = books(&running);
    assert_eq!((ledger.delivered, ledger.dropped), (raw(&running, "raw_sent"), 0), "{ledger:?}");
    assert_eq!(numbers(&sink, &ledger), (1..=ledger.delivered).collect::<Vec<_>>());
}

#[test]
fn get_power_ignores_the_stop() {
    is_left_behind("FAULT_GET_POWER", "get_power");
}

#[test]
fn process_data_ignores_the_stop() {
    is_left_behind("FAULT_PROCESS_DATA", "process_data");
}
