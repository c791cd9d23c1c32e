//! SIGTERM and SIGINT: everything is delivered, or counted, in time.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::faults::{LONG, assert_all_arrived, books, host, raw, wait_for_text};
use crate::host::Running;
use crate::receivers::port::Port;
use crate::sink::Sink;

/// What a slow machine may add to SHUTDOWN_TIMEOUT_S.
const SLACK: Duration = Duration::from_secs(8);

/// Sends a signal and waits for the end: the exit status, and how long it took.
#[track_caller]
fn end(running: &Running, signal: i32) -> (Option<i32>, Duration) {
    let start = Instant::now();
    running.signal(signal);
    let status = running.wait(LONG);
    (status.code(), start.elapsed())
}

fn what_was_sampled_arrives(signal: i32) {
    let sink = Sink::start();
    // No deadline comes; a small queue and a small batch show that sampling goes on.
    let small = [("PUSH_INTERVAL_S", "3600"), ("PROC_QUEUE_SIZE", "8"), ("BATCH_MAX_SAMPLES", "10")];
    let running = small.into_iter().fold(host(sink.url()), |host, (name, value)| host.env(name, value)).spawn();
    sink.wait_requests(2, LONG);
    let (code, took) = end(&running, signal);
    assert_eq!(code, Some(0), "{}", running.log_text());
    assert!(took < Duration::from_secs(8) + SLACK, "{took:?}");
    assert_all_arrived(&running, &sink);
    assert_eq!(raw(&running, "raw_sent"), raw(&running, "raw_received"));
}

#[test]
fn sigterm_in_mid_interval_delivers_what_was_sampled() {
    what_was_sampled_arrives(SIGTERM);
}

#[test]
fn sigint_in_mid_interval_delivers_what_was_sampled() {
    what_was_sampled_arrives(SIGINT);
}

#[test]
fn a_request_to_stop_that_is_sent_twice_is_one() {
    // As timeout(1) sends it: to the process, and to its group.
    let sink = Sink::start();
    let running = host(sink.url()).spawn();
    sink.wait_requests(1, LONG);
    running.signal(SIGTERM);
    running.signal(SIGINT);
    assert_eq!(running.wait(LONG).code(), Some(0), "{}", running.log_text());
    assert_all_arrived(&running, &sink);
}

#[test]
fn a_receiver_that_hangs_does_not_hold_up_the_end() {
    let sink = Sink::start();
    sink.answer(json!({"hang": true}));
    let running = host(sink.url()).env("SHUTDOWN_TIMEOUT_S", "2").env("REMOTE_WRITE_TIMEOUT_S", "60").spawn();
    sink.wait_requests(1, LONG);
    let (code, took) = end(&running, SIGTERM);
    assert_eq!(code, Some(0), "the plugin did as it was asked: {}", running.log_text());
    assert!((Duration::from_secs(1)..Duration::from_secs(2) + SLACK).contains(&took), "{took:?}");
    let ledger = books(&running);
    assert!(ledger.collected > 0 && ledger.collected == raw(&running, "raw_sent"));
    assert_eq!((ledger.delivered, ledger.dropped_as("shutdown")), (0, ledger.collected));
    wait_for_text(&running, "SHUTDOWN_TIMEOUT_S is over");
}

#[test]
fn a_receiver_that_is_gone_does_not_hold_up_the_end() {
    let port = Port::reserve().unwrap();
    let running = host(&format!("http://{}/api/v1/write", port.address())).env("SHUTDOWN_TIMEOUT_S", "2").spawn();
    wait_for_text(&running, "a push failed and will be tried again");
    let (code, took) = end(&running, SIGTERM);
    assert_eq!(code, Some(0), "{}", running.log_text());
    assert!(took < Duration::from_secs(2) + SLACK, "{took:?}");
    let ledger = books(&running);
    assert!(ledger.collected > 0);
    assert_eq!((ledger.delivered, ledger.dropped_as("shutdown")), (0, ledger.collected));
}

#[test]
fn a_receiver_that_comes_back_in_the_last_moment_gets_it_all() {
    let port = Port::reserve().unwrap();
    let running = host(&format!("http://{}/api/v1/write", port.address())).env("SHUTDOWN_TIMEOUT_S", "60").spawn();
    wait_for_text(&running, "a push failed and will be tried again");
    running.signal(SIGTERM);
    wait_for_text(&running, "asked to stop");
    let sink = Sink::start_at(&port.address().to_string());
    assert_eq!(running.wait(LONG).code(), Some(0), "{}", running.log_text());
    assert_all_arrived(&running, &sink);
}

/// As `timeout` does it: to the process, then to its group.
#[test]
fn two_signals_at_once_are_one() {
    let sink = Sink::start();
    let running = host(sink.url()).spawn();
    sink.wait_requests(1, LONG);
    let pid = running.pid();
    let sent = std::process::Command::new("sh").arg("-c").arg(format!("kill -INT {pid}; kill -TERM {pid}")).status();
    assert!(sent.expect("kill").success());
    assert_eq!(running.wait(LONG).code(), Some(0), "{}", running.log_text());
    assert_all_arrived(&running, &sink);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for signals in [[SIGTERM, SIGTERM], [SIGINT, SIGINT], [SIGTERM, SIGINT]] {
        let sink = Sink::start();
        sink.answer(json!({"hang": true}));
        let running = host(sink.url()).env("SHUTDOWN_TIMEOUT_S", "600").env("REMOTE_WRITE_TIMEOUT_S", "600").spawn();
        sink.wait_requests(1, LONG);
        running.signal(signals[0]);
        wait_for_text(&running, "asked to stop");
        // What comes right behind the first is told to the same end.
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(running.ended(), None);
        // Nothing but time tells a second request from the first one, sent twice.
        thread::sleep(Duration::from_millis(500));
        let (code, took) = end(&running, signals[1]);
        assert_eq!(code, Some(1), "{}", running.log_text());
        assert!(took < SLACK, "{took:?}");
        wait_for_text(&running, "asked to stop a second time");
    }
}
