//! The way from the files to the samples in lockstep with a processor that spends energy: over thousands of wraps nothing is lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use monitor_plugin_api::testing::{Harness, LogEvent, Run};
use monitor_plugin_api::{Error, Moment, MonitorImpl, RawReceiver, RawSender, RecordSender, Stop, setting};

use crate::output::{Form, Output};
use crate::sweep::{Reading, Sweeper};
use crate::tree::{RANGE_UJ, Tree};
use crate::zones::{Zone, discover};
use crate::{Rapl, Sweep, find};

const ZONES: [(&str, &str); 10] = [
    ("intel-rapl:0", "package-0-die-0"),
    ("intel-rapl:0:0", "core"),
    ("intel-rapl:0:1", "dram"),
    ("intel-rapl:1", "package-0-die-1"),
    ("intel-rapl:1:0", "core"),
    ("intel-rapl:3", "package-1-die-0"),
    ("intel-rapl:3:0", "core"),
    ("intel-rapl:3:1", "uncore"),
    ("intel-rapl:3:2", "dram"),
    ("intel-rapl:9", "psys"),
];

const STEPS: u64 = 4000;

/// What zone number `zone` spends in step `step`, in microjoules: at times nothing, at times almost all that a counter holds.
fn spent(zone: u64, step: u64) -> u64 {
    (step * 7919 * (zone + 1)) % RANGE_UJ
}

/// The sensor, with the processor in the place of the clock: each reading comes right behind what was spent.
struct Lockstep {
    tree: Tree,
    rapl: Rapl,
}

impl MonitorImpl for Lockstep {
    type Raw = Sweep;

    fn new() -> Result<Self, Error> {
        let tree = Tree::linked();
        for (id, name) in ZONES {
            tree.zone(id, name);
        }
        let zones = find(tree.root())?.into();
        let form = Form { conventional: true, original: true, power: false, service: "monitor".into() };
        let root = tree.root().into();
        Ok(Lockstep { tree, rapl: Rapl { root, zones, form } })
    }

    fn get_power(&self, out: RawSender<Sweep>, _scrape_interval: Duration, stop: Stop) -> Result<(), Error> {
        let mut sweeper = Sweeper::new(self.rapl.root.clone(), Arc::clone(&self.rapl.zones), Instant::now());
        let mut shown = [0; ZONES.len()];
        for step in 0..STEPS {
            for ((zone, (id, _)), shown) in (0..).zip(ZONES).zip(&mut shown) {
                *shown += spent(zone, step);
                if *shown > RANGE_UJ {
                    *shown -= RANGE_UJ;
                }
                self.tree.shows(id, *shown);
            }
            let at = Duration::from_millis(step);
            let moment = Moment { at, timestamp_ms: 1_760_000_000_000 + step as i64 };
            let (readings, zones) = (sweeper.sweep(Instant::now()), sweeper.zones());
            let sweep = Sweep { moment, zones, readings, late: Duration::ZERO, missed: 0 };
            if out.send(sweep).is_err() {
                return Err(Error::new("the raw queue stayed full"));
            }
        }
        stop.wait(Duration::MAX);
        Ok(())
    }

    fn process_data(&self, input: RawReceiver<Sweep>, out: RecordSender, _stop: Stop) -> Result<(), Error> {
        let mut output = Output::new(self.rapl.form.clone(), out);
        for sweep in input {
            output.take(&sweep)?;
        }
        output.finish();
        Ok(())
    }
}

#[test]
fn over_thousands_of_wraps_no_microjoule_is_lost() {
    // Each step is a sample of the counter and, but for the first one and the platform, one of the interval.
    let samples = ZONES.len() * STEPS as usize + (ZONES.len() - 1) * (STEPS as usize - 1);
    let run = Harness::new::<Lockstep>().run_until_samples(samples, Duration::from_secs(60));
    run.assert_ok();
    let mut wraps = 0;
    for ((zone, (_, name)), domain) in (0..).zip(ZONES).zip([
        "package-0-die-0",
        "package-0-die-0/core",
        "package-0-die-0/dram",
        "package-0-die-1",
        "package-0-die-1/core",
        "package-1-die-0",
        "package-1-die-0/core",
        "package-1-die-0/uncore",
        "package-1-die-0/dram",
        "psys",
    ]) {
        let of_domain: Vec<_> = run.samples().iter().filter(|s| s.label("domain") == Some(domain)).collect();
        assert_eq!(of_domain.len() as u64, STEPS, "{name}");
        let all: u64 = (1..STEPS).map(|step| spent(zone, step)).sum();
        wraps += all / RANGE_UJ;
        let joules = of_domain.last().map(|sample| sample.value).unwrap();
        assert_eq!((joules * 1e6).round() as u64, all, "{domain}");
        for pair in of_domain.windows(2) {
            assert!(pair[1].value >= pair[0].value && pair[1].timestamp_ms > pair[0].timestamp_ms, "{pair:?}");
        }
    }
    assert!(wraps > 10_000, "{wraps}");
    let intervals = run.samples_of("").chain(run.samples_of("pyjoules_remote_write_energy_uj"));
    let all: u64 = (0..9).flat_map(|zone| (1..STEPS).map(move |step| spent(zone, step))).sum();
    assert_eq!(intervals.map(|sample| sample.value).sum::<f64>(), all as f64);
}

#[test]
fn a_tree_that_stands_still_stops_at_once() {
    let tree = Tree::new();
    tree.zone("intel-rapl:0", "package-0");
    let root = tree.root().to_string_lossy().into_owned();
    let run = Harness::new::<Rapl>().setting("SYSFS_ROOT", root).run_until_samples(20, Duration::from_secs(20));
    run.assert_ok();
    run.assert_stops_within(Duration::from_millis(100));
    assert!(run.samples_of("monitor_energy_joules_total").all(|sample| sample.value == 0.0));
}

#[test]
fn one_reading_is_told_once() {
    let tree = Tree::new();
    tree.zone("intel-rapl:0", "package-0");
    let root = tree.root().to_string_lossy().into_owned();
    let harness = Harness::new::<Rapl>().setting("SYSFS_ROOT", root).scrape_interval(Duration::from_secs(3600));
    let run = harness.run_until_samples(1, Duration::from_secs(20));
    run.assert_ok();
    for metric in ["monitor_rapl_wraps_total", "monitor_rapl_domains", "monitor_energy_joules_total"] {
        assert_eq!(run.samples_of(metric).count(), 1, "{metric}");
    }
}

/// The second stage, with sweeps that SCRIPT says, a second apart: `7:5` is a counter of intel-rapl:7 that shows 5, `7:!` one
/// that fails.
struct Played(String);

const BEGAN_MS: i64 = 1_760_000_000_000;

impl MonitorImpl for Played {
    type Raw = Sweep;

    fn new() -> Result<Self, Error> {
        setting("SCRIPT").text("").map(Played)
    }

    fn get_power(&self, out: RawSender<Sweep>, _: Duration, stop: Stop) -> Result<(), Error> {
        let tree = Tree::new();
        let package = tree.zone("intel-rapl:0", "package-0");
        let mut zones: Arc<[Zone]> = discover(package.root()).unwrap().zones.into();
        for (second, step) in (0..).zip(self.0.split(' ')) {
            let (place, shown) = step.split_once(':').unwrap();
            let counter = tree.file(&format!("intel-rapl:{place}"), "energy_uj");
            if zones[0].counter != counter {
                zones = [Zone { counter, ..zones[0].clone() }].into();
            }
            let readings = vec![shown.parse().map_or(Reading::Failed(19), Reading::Uj)];
            let moment = Moment { at: Duration::from_secs(second), timestamp_ms: BEGAN_MS + 1000 * second as i64 };
            let sweep = Sweep { moment, zones: Arc::clone(&zones), readings, late: Duration::ZERO, missed: 0 };
            out.send(sweep).map_err(|_| Error::new("the raw queue stayed full"))?;
        }
        stop.wait(Duration::MAX);
        Ok(())
    }

    fn process_data(&self, input: RawReceiver<Sweep>, out: RecordSender, _: Stop) -> Result<(), Error> {
        let form = Form { conventional: true, original: true, power: true, service: "monitor".into() };
        let mut output = Output::new(form, out);
        input.into_iter().try_for_each(|sweep| output.take(&sweep))?;
        output.finish();
        Ok(())
    }
}

/// The values of a series, and the seconds at which they are.
fn values(run: &Run, metric: &str) -> Vec<(i64, f64)> {
    run.samples_of(metric).map(|sample| ((sample.timestamp_ms - BEGAN_MS) / 1000, sample.value)).collect()
}

#[test]
fn what_a_counter_shows_that_lies_elsewhere_is_no_energy_since() {
    let harness = Harness::new::<Played>().setting("SCRIPT", "0:4000000 0:4500000 0:! 7:4900000 7:4900007 7:4900009");
    // Those of the sensor itself, five readings, three intervals in microjoules and in watts.
    let run = harness.run_until_samples(7 + 5 + 3 + 3, Duration::from_secs(60));
    run.assert_ok();
    let energy = values(&run, "monitor_energy_joules_total");
    assert_eq!(energy, [(0, 0.0), (1, 0.5), (3, 0.5), (4, 0.500_007), (5, 0.500_009)]);
    assert_eq!(values(&run, ""), [(1, 500_000.0), (4, 7.0), (5, 2.0)]);
    assert_eq!(values(&run, "monitor_power_watts"), [(1, 0.5), (4, 0.000_007), (5, 0.000_002)]);
    assert_eq!(values(&run, "monitor_rapl_resets_total").last(), Some(&(5, 1.0)), "told at the end");
    let told = |line: &&LogEvent| line.message.contains("intel-rapl:7/energy_uj now; one interval is left out");
    assert_eq!(run.log().iter().filter(told).count(), 1);
}

#[test]
fn the_records_of_the_original_lose_nothing_with_a_send_that_is_refused() {
    // Room comes after a send has given up: of two sends one is refused, and the last one of all is offered again at the end.
    let harness = Harness::new::<Played>().setting("SCRIPT", "0:0 0:10 0:30 0:60 0:100 0:150");
    let harness = harness.proc_queue_size(1).drained_every(Duration::from_millis(1400));
    let run = harness.run_until_samples(7 + 1 + 3 + 3, Duration::from_secs(60));
    run.assert_ok();
    assert!(run.refused_sends() > 0);
    let (records, energy) = (values(&run, ""), values(&run, "monitor_energy_joules_total"));
    for (second, joules) in energy {
        let told: f64 = records.iter().filter(|(at, _)| *at <= second).map(|(_, uj)| uj).sum();
        assert_eq!(told, (joules * 1e6).round(), "after {second} s: {records:?}");
    }
    assert_eq!(records.iter().map(|(_, uj)| uj).sum::<f64>(), 150.0, "{records:?}");
}
