//! What the variables do that say where the plugin runs, and what follows when it fails or hangs.

use std::os::unix::process::ExitStatusExt;

use signal_hook::consts::SIGABRT;

use super::{SOON, pushing_to, stop};
use crate::host::{Host, Running};
use crate::sink::Sink;

effects! {
    PLUGIN_ISOLATION: the_plugin_dies_alone,
    PLUGIN_MEMORY_MAX: no_more_memory_is_given,
    PLUGIN_RESTART: what_failed_or_returned_starts_again,
    PLUGIN_RESTART_MAX: not_more_often_in_a_row,
    PLUGIN_STALL_S: silence_for_so_long_is_told,
}

fn said(running: &Running, text: &str) -> bool {
    running.log().iter().any(|line| line.message().contains(text))
}

/// Ends as its plugin does something after ten readings.
fn ending(sink: &Sink, how: &str) -> Host {
    pushing_to(sink).env("FAULT_PROCESS_DATA", how)
}

fn the_plugin_dies_alone() {
    for (isolation, code) in [("", None), ("off", None), ("process", Some(1))] {
        let sink = Sink::start();
        let host = ending(&sink, "abort").env("PLUGIN_ISOLATION", isolation).spawn();
        let status = host.wait(SOON);
        assert_eq!((status.code(), status.signal()), (code, code.map_or(Some(SIGABRT), |_| None)), "{isolation}");
        assert_eq!(said(&host, "the plugin failed: its process"), code.is_some(), "{}", host.log_text());
    }
}

fn no_more_memory_is_given() {
    let sink = Sink::start();
    let host = ending(&sink, "leak").env("PLUGIN_ISOLATION", "process").env("PLUGIN_MEMORY_MAX", "64MiB").spawn();
    assert_eq!(host.wait(SOON).code(), Some(1), "{}", host.log_text());
    assert!(said(&host, "with PLUGIN_MEMORY_MAX at 67108864 bytes"), "{}", host.log_text());
    // Enough for one that behaves.
    let sink = Sink::start();
    let host = pushing_to(&sink).env("PLUGIN_ISOLATION", "process").env("PLUGIN_MEMORY_MAX", "64MiB").spawn();
    sink.wait_samples(20, SOON);
    stop(&host);
}

fn what_failed_or_returned_starts_again() {
    for (restart, how, again) in [
        ("", "error", false),
        ("never", "error", false),
        ("on-failure", "error", true),
        ("on-failure", "return", false),
        ("always", "error", true),
        ("always", "return", true),
    ] {
        let sink = Sink::start();
        let host = ending(&sink, how).env("PLUGIN_RESTART", restart).env("PLUGIN_RESTART_MAX", "1").spawn();
        assert_eq!(host.wait(SOON).code(), Some(1), "{restart} {how}");
        assert_eq!(said(&host, "the plugin is restarted"), again, "{restart} {how}: {}", host.log_text());
    }
}

fn not_more_often_in_a_row() {
    for (most, restarts) in [("1", 1), ("3", 3)] {
        let sink = Sink::start();
        let host = ending(&sink, "error").env("PLUGIN_RESTART", "on-failure").env("PLUGIN_RESTART_MAX", most).spawn();
        assert_eq!(host.wait(SOON).code(), Some(1));
        let told = host.log().iter().filter(|line| line.message().starts_with("the plugin is restarted")).count();
        assert_eq!(told, restarts, "{}", host.log_text());
    }
}

fn silence_for_so_long_is_told() {
    for (seconds, told) in [("", false), ("600", false), ("0.3", true)] {
        let sink = Sink::start();
        let host = pushing_to(&sink).env("FAULT_GET_POWER", "stall").env("PLUGIN_STALL_S", seconds).spawn();
        sink.wait_samples(10, SOON);
        match told {
            true => drop(host.wait_for_log(|line| line.message().starts_with("the plugin stalls"), SOON)),
            // Longer than the other one takes.
            false => std::thread::sleep(std::time::Duration::from_secs(1)),
        }
        stop(&host);
        assert_eq!(said(&host, "the plugin stalls"), told, "{seconds}: {}", host.log_text());
    }
}
