//! PLUGIN_STALL_S: a plugin that gives no sign of life.

use signal_hook::consts::SIGTERM;

use super::{MODES, in_mode, markers, plugin_of, wait_until_gone};
use crate::faults::{LONG, books, lines, numbers, stop, wait_for_text};
use crate::sink::Sink;

const TOLD: &str = "the plugin stalls: no record and no other sign of life";

#[test]
fn a_stall_is_told_once_and_ends_nothing() {
    for mode in MODES {
        let sink = Sink::start();
        let running = in_mode(mode, &sink).env("FAULT_GET_POWER", "stall").env("PLUGIN_STALL_S", "0.5").spawn();
        let told = wait_for_text(&running, TOLD);
        let silent = told.json["silent_s"].as_f64().unwrap();
        assert!((0.5..30.0).contains(&silent) && told.level() == "WARNING", "{}", told.text);
        // Another five of its time.
        std::thread::sleep(std::time::Duration::from_millis(2500));
        running.signal(SIGTERM);
        assert_eq!(running.wait(LONG).code(), Some(0), "{mode}: {}", running.log_text());
        let again = lines(&running, "WARNING").iter().filter(|line| line.message().contains(TOLD)).count();
        assert_eq!(again, 1, "{mode}: {}", running.log_text());
        assert!(numbers(&sink, &books(&running)).len() >= 10, "{mode}");
    }
}

#[test]
fn who_only_speaks_seldom_does_not_stall() {
    for mode in MODES {
        let sink = Sink::start();
        // Five samples a second, of which each is a sign of life.
        let host = in_mode(mode, &sink).env("SCRAPE_INTERVAL_S", "0.2").env("PLUGIN_STALL_S", "20");
        let running = host.env("PLUGIN_RESTART", "always").spawn();
        sink.wait_samples(10, LONG);
        stop(&running);
        assert!(!running.log_text().contains(TOLD), "{mode}");
    }
}

#[test]
fn a_stalled_plugin_is_replaced() {
    for (mode, how) in [("off", "stall"), ("process", "stall"), ("process", "hang")] {
        let (sink, dir) = (Sink::start(), tempfile::tempdir().unwrap());
        let running = in_mode(mode, &sink)
            .env("PLUGIN_RESTART", "on-failure")
            .env("PLUGIN_STALL_S", "2")
            .env("SHUTDOWN_TIMEOUT_S", "4")
            .env("FAULT_INSTANCES", dir.path().join("instances"))
            .env("FAULT_FAULTY", "1")
            .env("FAULT_PROCESS_DATA", how)
            .spawn();
        let first = (mode == "process").then(|| plugin_of(&running));
        wait_for_text(&running, TOLD);
        wait_for_text(&running, "the plugin is restarted: it stalled");
        sink.wait_for(LONG, "the second instance", |samples| {
            samples.iter().filter(|sample| sample.value == 5.0).count() == 2
        });
        first.into_iter().for_each(wait_until_gone);
        let ledger = stop(&running);
        assert_eq!((ledger.dropped, markers(&sink).len()), (0, 0), "{mode} {how}");
    }
}

#[test]
fn a_worker_that_hangs_in_the_host_s_own_process_ends_the_run() {
    let sink = Sink::start();
    let running = in_mode("off", &sink)
        .env("PLUGIN_RESTART", "on-failure")
        .env("PLUGIN_STALL_S", "1")
        .env("SHUTDOWN_TIMEOUT_S", "2")
        .env("FAULT_PROCESS_DATA", "hang")
        .spawn();
    assert_eq!(running.wait(LONG).code(), Some(1), "{}", running.log_text());
    wait_for_text(&running, TOLD);
    wait_for_text(&running, "the worker did not end although it was asked to");
    let ledger = books(&running);
    assert_eq!(numbers(&sink, &ledger), (1..=10).collect::<Vec<_>>());
}
