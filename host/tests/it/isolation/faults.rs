//! What a plugin can do to itself: in a process of its own it costs what was still inside; in the host's, the documented end.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGABRT, SIGKILL, SIGSEGV};

use super::{MODES, in_mode, isolated, markers, plugin_of, signal, wait_until_gone};
use crate::faults::{LONG, assert_all_arrived, books, lines, numbers, raw, stop};
use crate::host::Running;
use crate::plugins;
use crate::sink::Sink;

const DEATHS: [(&str, &str); 4] = [
    ("segfault", "was ended by a segmentation fault (SIGSEGV"),
    ("abort", "was ended by an abort (SIGABRT"),
    ("overflow", "was ended by an abort, as a stack overflowed (SIGABRT"),
    ("exit", "exited with status 7"),
];

/// The one line of an error that names this; the others must be its detail.
#[track_caller]
fn assert_told(running: &Running, says: &str) {
    let told = lines(running, "ERROR");
    let naming = told.iter().filter(|line| line.message().contains(says)).count();
    assert_eq!(naming, 1, "{says}: {}", running.log_text());
}

#[test]
fn a_death_costs_only_what_was_still_inside() {
    for (worker, variable) in [("get_power", "FAULT_GET_POWER"), ("process_data", "FAULT_PROCESS_DATA")] {
        for (how, says) in DEATHS {
            let sink = Sink::start();
            // Nothing but the end makes a push.
            let running = isolated(&sink).env(variable, how).env("PUSH_INTERVAL_S", "3600").spawn();
            assert_eq!(running.wait(LONG).code(), Some(1), "{worker} {how}: {}", running.log_text());
            assert_told(&running, says);
            let ledger = books(&running);
            let arrived = numbers(&sink, &ledger);
            assert_eq!(arrived, (1..=arrived.len() as u64).collect::<Vec<_>>(), "{worker} {how}");
            // What `process_data` sent was sent, also the last before its end.
            assert!(worker == "get_power" || arrived.len() == 10, "{how}: {arrived:?}");
            // The series of a plugin that ends by itself end, however it ended.
            let begun = usize::from(!arrived.is_empty());
            assert_eq!((ledger.dropped, markers(&sink).len()), (0, begun), "{worker} {how}: {ledger:?}");
            assert_eq!(sink.violations(), []);
            let last_words = running.log_text().matches("the plugin's last words").count();
            // As it came, and in the report.
            assert_eq!(last_words, if how == "abort" { 2 } else { 0 }, "{}", running.log_text());
        }
    }
}

#[test]
fn a_death_in_the_host_s_own_process_is_the_host_s() {
    for (how, _) in DEATHS {
        let sink = Sink::start();
        let running = in_mode("off", &sink).env("FAULT_PROCESS_DATA", how).spawn();
        let status = running.wait(LONG);
        let expected = match how {
            "segfault" => (None, Some(SIGSEGV)),
            "exit" => (Some(7), None),
            _ => (None, Some(SIGABRT)),
        };
        assert_eq!((status.code(), status.signal()), expected, "{how}: {}", running.log_text());
    }
}

#[test]
fn failures_that_are_told_read_the_same_both_ways() {
    for variable in ["FAULT_GET_POWER", "FAULT_PROCESS_DATA"] {
        for how in ["error", "return", "panic"] {
            let told = MODES.map(|mode| {
                let sink = Sink::start();
                let running = in_mode(mode, &sink).env(variable, how).env("PUSH_INTERVAL_S", "3600").spawn();
                assert_eq!(running.wait(LONG).code(), Some(1), "{mode} {how}: {}", running.log_text());
                let ledger = books(&running);
                assert_eq!(numbers(&sink, &ledger), (1..=10).collect::<Vec<_>>(), "{mode} {variable} {how}");
                assert_eq!((ledger.dropped, markers(&sink).len()), (0, 1), "{mode} {variable} {how}");
                assert!(raw(&running, "raw_received") == 10 && raw(&running, "raw_sent") >= 10);
                let errors = lines(&running, "ERROR").into_iter();
                errors.map(|line| (line.message().to_owned(), line.field("worker").to_owned())).collect::<Vec<_>>()
            });
            assert_eq!(told[0], told[1], "{variable} {how}");
        }
    }
}

#[test]
fn a_kill_from_outside_is_told() {
    let sink = Sink::start();
    let running = isolated(&sink).spawn();
    let plugin = plugin_of(&running);
    sink.wait_samples(10, LONG);
    signal(plugin, SIGKILL);
    assert_eq!(running.wait(LONG).code(), Some(1), "{}", running.log_text());
    assert_told(&running, "was ended by a kill");
    let ledger = books(&running);
    let arrived = numbers(&sink, &ledger);
    assert!(arrived.len() >= 10 && arrived == (1..=arrived.len() as u64).collect::<Vec<_>>(), "{arrived:?}");
}

#[test]
fn a_worker_that_ignores_the_stop_is_killed_in_time() {
    for variable in ["FAULT_GET_POWER", "FAULT_PROCESS_DATA"] {
        let sink = Sink::start();
        let running = isolated(&sink).env(variable, "ignore-stop").env("SHUTDOWN_TIMEOUT_S", "2").spawn();
        let plugin = plugin_of(&running);
        sink.wait_samples(10, LONG);
        let start = Instant::now();
        running.signal(signal_hook::consts::SIGTERM);
        assert_eq!(running.wait(LONG).code(), Some(1), "{}", running.log_text());
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
        wait_until_gone(plugin);
        assert_told(&running, "the worker did not end although it was asked to");
        let ledger = books(&running);
        assert_eq!((ledger.delivered, ledger.dropped), (raw(&running, "raw_sent"), 0), "{ledger:?}");
        assert_eq!(numbers(&sink, &ledger), (1..=ledger.delivered).collect::<Vec<_>>());
    }
}

#[test]
fn what_happens_while_it_is_taken_down_costs_nothing() {
    for how in ["panic", "segfault", "exit"] {
        let sink = Sink::start();
        let running = isolated(&sink).env("FAULT_DROP", how).spawn();
        sink.wait_samples(10, LONG);
        stop(&running);
        assert_all_arrived(&running, &sink);
    }
}

#[test]
fn a_plugin_that_can_not_be_made_ends_the_start_both_ways() {
    let path = plugins::so("monitor-fault").display();
    for how in ["error", "panic"] {
        let told = MODES.map(|mode| {
            let sink = Sink::start();
            let running = in_mode(mode, &sink).env("FAULT_NEW", how).spawn();
            assert_eq!(running.wait(LONG).code(), Some(3), "{mode} {how}: {}", running.log_text());
            lines(&running, "ERROR").iter().map(|line| line.message().to_owned()).collect::<Vec<_>>()
        });
        assert_eq!(told[0], told[1], "{how}");
    }
    for (how, says) in DEATHS {
        let sink = Sink::start();
        let running = isolated(&sink).env("FAULT_NEW", how).spawn();
        assert_eq!(running.wait(LONG).code(), Some(3), "{how}: {}", running.log_text());
        let told = lines(&running, "ERROR");
        let message = told[0].message();
        assert!(told.len() == 1 && message.starts_with(&format!("{path}: ")) && message.contains(says), "{message}");
    }
}

#[test]
fn a_leak_ends_at_its_bound() {
    let sink = Sink::start();
    let running = isolated(&sink)
        .env("FAULT_PROCESS_DATA", "leak")
        .env("PLUGIN_MEMORY_MAX", "128MiB")
        .env("PUSH_INTERVAL_S", "3600")
        .spawn();
    assert_eq!(running.wait(LONG).code(), Some(1), "{}", running.log_text());
    assert_told(&running, "as memory was refused (SIGABRT), with PLUGIN_MEMORY_MAX at 134217728 bytes");
    assert_eq!(numbers(&sink, &books(&running)), (1..=10).collect::<Vec<_>>());
}
