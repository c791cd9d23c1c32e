//! PLUGIN_RESTART: who is replaced and how often, and what becomes of the series.

use std::path::PathBuf;

use signal_hook::consts::SIGTERM;
use tempfile::TempDir;

use super::{MODES, in_mode, markers};
use crate::drive::number;
use crate::faults::{LONG, books, lines, numbers, stop, wait_for_text};
use crate::host::{Host, Running};
use crate::sink::Sink;

/// Counts instances across processes.
struct Instances {
    _dir: TempDir,
    file: PathBuf,
}

impl Instances {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("instances");
        Instances { _dir: dir, file }
    }

    fn count(&self) -> u64 {
        std::fs::metadata(&self.file).map_or(0, |file| file.len())
    }
}

fn restarting(mode: &str, sink: &Sink, instances: &Instances) -> Host {
    in_mode(mode, sink).env("PLUGIN_RESTART", "on-failure").env("FAULT_INSTANCES", &instances.file)
}

/// What the log says of restarts: how many in a row each was, and its gap.
fn restarts(running: &Running) -> Vec<(u64, f64)> {
    let told = lines(running, "WARNING").into_iter();
    let told = told.filter(|line| line.message().starts_with("the plugin is restarted: "));
    told.map(|line| (number(&line, "restart"), line.json["delay_s"].as_f64().expect("a number"))).collect()
}

#[test]
fn what_failed_is_replaced_and_goes_on_in_its_series() {
    for (mode, hows) in [("off", &["error", "panic"][..]), ("process", &["error", "panic", "segfault", "exit"])] {
        for how in hows {
            let (sink, instances) = (Sink::start(), Instances::new());
            let host = restarting(mode, &sink, &instances);
            let running = host.env("FAULT_PROCESS_DATA", how).env("FAULT_FAULTY", "2").env("FAULT_SERIES", "2").spawn();
            // The third instance runs, and longer than a series would wait for it.
            sink.wait_samples(2 * 60, LONG);
            let ledger = stop(&running);
            assert_eq!((instances.count(), restarts(&running)), (3, vec![(1, 0.25), (2, 0.5)]), "{mode} {how}");
            assert_eq!((ledger.dropped, markers(&sink).len()), (0, 0), "{mode} {how}: {ledger:?}");
            for (labels, samples) in sink.series() {
                let values: Vec<u64> = samples.iter().map(|sample| sample.1 as u64).collect();
                let last = values.len() as u64 - 20;
                let expected: Vec<u64> = (1..=10).chain(1..=10).chain(1..=last).collect();
                assert_eq!(values, expected, "{mode} {how} {labels:?}");
            }
            let told = wait_for_text(&running, "the plugin did not run through");
            assert_eq!((number(&told, "restarts"), number(&told, "stalls")), (2, 0));
            assert_eq!(sink.violations(), []);
        }
    }
}

#[test]
fn a_series_that_nobody_takes_up_again_ends() {
    for mode in MODES {
        let (sink, instances) = (Sink::start(), Instances::new());
        let host = restarting(mode, &sink, &instances).env("FAULT_PROCESS_DATA", "panic").env("FAULT_FAULTY", "1");
        let running = host.env("FAULT_SERIES", "3").env("FAULT_SERIES_LATER", "1").spawn();
        sink.wait_for(LONG, "markers", |samples| samples.iter().filter(|one| one.is_marker()).count() == 2);
        let so_far = sink.samples().len();
        sink.wait_samples(so_far + 20, LONG);
        stop(&running);
        let mut ended: Vec<_> = markers(&sink).into_iter().map(|marker| marker.labels["series"].clone()).collect();
        ended.sort();
        assert_eq!(ended, ["1", "2"], "{mode}");
    }
}

#[test]
fn a_series_that_a_running_plugin_ends_ends() {
    for mode in MODES {
        let (sink, instances) = (Sink::start(), Instances::new());
        let running = restarting(mode, &sink, &instances).env("FAULT_END_AFTER", "5").spawn();
        sink.wait_for(LONG, "marker", |samples| samples.iter().any(|one| one.is_marker()));
        stop(&running);
        assert_eq!((markers(&sink).len(), instances.count()), (1, 1), "{mode}");
    }
}

#[test]
fn after_so_many_restarts_the_run_ends() {
    for (mode, how) in [("off", "panic"), ("process", "panic"), ("process", "abort")] {
        let (sink, instances) = (Sink::start(), Instances::new());
        let host = restarting(mode, &sink, &instances).env("FAULT_PROCESS_DATA", how).env("PLUGIN_RESTART_MAX", "2");
        let running = host.spawn();
        assert_eq!(running.wait(LONG).code(), Some(1), "{}", running.log_text());
        assert_eq!((instances.count(), restarts(&running)), (3, vec![(1, 0.25), (2, 0.5)]), "{mode} {how}");
        wait_for_text(&running, "PLUGIN_RESTART_MAX");
        let ledger = books(&running);
        let expected: Vec<u64> = (0..3).flat_map(|_| 1..=10).collect();
        assert_eq!(numbers(&sink, &ledger), expected, "{mode} {how}");
        assert_eq!((ledger.dropped, markers(&sink).len()), (0, 1), "its series end with it: {mode} {how}");
    }
}

#[test]
fn who_returns_too_early_is_replaced_only_where_always_is_asked_for() {
    for mode in MODES {
        let (sink, instances) = (Sink::start(), Instances::new());
        let running = restarting(mode, &sink, &instances).env("FAULT_GET_POWER", "return").spawn();
        assert_eq!(running.wait(LONG).code(), Some(1), "{}", running.log_text());
        wait_for_text(&running, "the worker ended by itself");
        assert_eq!((instances.count(), numbers(&sink, &books(&running)).len()), (1, 10), "{mode}");

        let (sink, instances) = (Sink::start(), Instances::new());
        let host = restarting(mode, &sink, &instances).env("PLUGIN_RESTART", "always");
        let running = host.env("FAULT_GET_POWER", "return").env("FAULT_FAULTY", "1").spawn();
        sink.wait_samples(30, LONG);
        stop(&running);
        assert_eq!((instances.count(), markers(&sink).len()), (2, 0), "{mode}");
    }
}

#[test]
fn a_plugin_that_can_not_be_made_again_is_tried_again() {
    for mode in MODES {
        let (sink, instances) = (Sink::start(), Instances::new());
        let host = restarting(mode, &sink, &instances).env("FAULT_GET_POWER", "error").env("PLUGIN_RESTART_MAX", "3");
        // The first is made: its successors are not.
        let running = host.env("FAULT_NEW_LATER", "error").spawn();
        assert_eq!(running.wait(LONG).code(), Some(1), "{}", running.log_text());
        assert_eq!((instances.count(), restarts(&running).len()), (4, 3), "{mode}");
        wait_for_text(&running, "it can't be made again: ");
        assert_eq!(numbers(&sink, &books(&running)), (1..=10).collect::<Vec<_>>(), "{mode}");
    }
}

#[test]
fn a_stop_between_two_instances_is_an_ordinary_end() {
    for mode in MODES {
        let (sink, instances) = (Sink::start(), Instances::new());
        // The fourth gap is of two seconds.
        let running = restarting(mode, &sink, &instances).env("FAULT_PROCESS_DATA", "error").spawn();
        running.wait_for_log(|line| line.json["restart"] == 4, LONG);
        running.signal(SIGTERM);
        assert_eq!(running.wait(LONG).code(), Some(0), "{}", running.log_text());
        let ledger = books(&running);
        assert_eq!((instances.count(), numbers(&sink, &ledger).len()), (4, 40), "{mode}");
        assert_eq!(markers(&sink).len(), 0, "its series go on in the next run");
    }
}
