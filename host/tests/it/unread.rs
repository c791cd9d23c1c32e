//! A log that nobody reads holds nothing up; once it is read again, it says what is missing of it.

use signal_hook::consts::SIGTERM;

use crate::faults::{LONG, assert_all_arrived, host, raw, stop, wait_for_text};
use crate::sink::Sink;

/// So many requests are told in far more text than a pipe and the host itself hold, which is some 320 KiB.
const REQUESTS: usize = 600;

#[test]
fn a_stderr_that_nobody_reads_holds_nothing_up() {
    let sink = Sink::start();
    let unread = host(sink.url())
        .env("SCRAPE_INTERVAL_S", "0.01")
        .env("LOG_LEVEL", "TRACE")
        .env("BATCH_MAX_SAMPLES", "1")
        .spawn_unread();
    sink.wait_requests(REQUESTS, LONG);
    let running = unread.read();
    let told = wait_for_text(&running, "lines of this log were lost");
    let lost = told.json["lines"].as_u64().unwrap_or_default();
    assert!(told.level() == "WARNING" && lost > 0, "{}", told.text);

    // What comes from now on is whole again: the books are in it.
    stop(&running);
    assert_all_arrived(&running, &sink);
    assert!(raw(&running, "raw_sent") as usize >= REQUESTS / 2);
    let log = running.log();
    let again = log.iter().filter(|line| line.text.contains("lines of this log were lost")).count();
    assert_eq!(again, 1, "it was read all the time");
    assert!(log.iter().all(|line| !line.json.is_null()), "a torn line");
}

#[test]
fn a_stderr_that_nobody_reads_does_not_keep_the_program_from_ending() {
    let sink = Sink::start();
    let unread = host(sink.url())
        .env("SCRAPE_INTERVAL_S", "0.01")
        .env("LOG_LEVEL", "TRACE")
        .env("BATCH_MAX_SAMPLES", "1")
        .spawn_unread();
    sink.wait_requests(REQUESTS, LONG);
    unread.signal(SIGTERM);
    assert_eq!(unread.wait(LONG).and_then(|status| status.code()), Some(0));
}
