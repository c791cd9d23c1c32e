//! How fast a run ends that is asked to: a plugin must not wait for its next reading first. That is so far away here that who
//! waits for it, or looks up every other moment, is told from who is woken.

use std::time::{Duration, Instant};

use signal_hook::consts::SIGTERM;

use super::{MODES, PLUGINS, Plugin, Sensor, alone};
use crate::faults::{LONG, books};
use crate::sink::Sink;

/// From the signal to the end of the process, which pushes what it still has, and has a library to unload.
const AT_ONCE: Duration = Duration::from_millis(100);

/// Of three runs two have to be fast. Where they are not, the machine may have been starved: some rounds more, at most.
const RUNS: usize = 3;
const ROUNDS: usize = 8;

#[test]
fn who_is_asked_to_stop_does_so_within_a_tenth_of_a_second() {
    // One after the other, so that they don't keep each other from it.
    let _alone = alone();
    for plugin in PLUGINS {
        let Some(sensor) = (plugin.sensor)() else { continue };
        let (sink, at_once) = (Sink::start(), AT_ONCE + plugin.own_sleep);
        for mode in MODES {
            let mut rounds = Vec::new();
            while !rounds.iter().any(|middle| *middle <= at_once) {
                assert!(rounds.len() < ROUNDS, "{plugin:?}, PLUGIN_ISOLATION={mode}: stops after {rounds:?}");
                let mut took: [Duration; RUNS] = std::array::from_fn(|_| one(&plugin, &sensor, mode, &sink));
                took.sort();
                rounds.push(took[RUNS / 2]);
            }
            eprintln!("{plugin:?}, PLUGIN_ISOLATION={mode}: stops after {rounds:?}");
        }
    }
}

fn one(plugin: &Plugin, sensor: &Sensor, mode: &str, sink: &Sink) -> Duration {
    let before = sink.samples().len();
    let host = plugin.host(sensor, mode, sink.url()).env("SCRAPE_INTERVAL_S", plugin.seldom_s).spawn();
    sink.wait_samples(before + 1, LONG);
    let asked = Instant::now();
    host.signal(SIGTERM);
    let status = host.wait(LONG);
    let took = asked.elapsed();
    assert_eq!(status.code(), Some(0), "{plugin:?}, PLUGIN_ISOLATION={mode}: {}", host.log_text());
    let ledger = books(&host);
    assert_eq!(ledger.dropped, 0, "{ledger:?}");
    // So that the next run waits for samples of its own.
    sink.wait_samples(before + ledger.delivered as usize, LONG);
    took
}
