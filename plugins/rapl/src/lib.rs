//! Energy as RAPL counts it: a sensor plugin for `monitor-host`.
//!
//! `get_power` reads all counters of powercap on a fixed grid; `process_data` makes them into counters that never wrap, and
//! into the records of the program that came before this one. README.md has the settings and the series.

mod counter;
mod domain;
mod health;
mod output;
mod sweep;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tree;
mod zones;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use monitor_plugin_api::{
    Clock, Error, Moment, MonitorImpl, RawReceiver, RawSender, RecordSender, Stop, export_monitor_impl, setting,
    tracing,
};

use output::{Form, Output};
use sweep::{Reading, Sweeper};
use zones::Zone;

/// All counters at one moment.
struct Sweep {
    moment: Moment,
    /// The domains of the readings: the same table as in the sweep before, as long as nothing is found anew.
    zones: Arc<[Zone]>,
    readings: Vec<Reading>,
    /// How far behind its deadline it began; the greatest delay, where sweeps before it were lost.
    late: Duration,
    /// Deadlines before it that were left out.
    missed: u64,
}

struct Rapl {
    root: PathBuf,
    zones: Arc<[Zone]>,
    form: Form,
}

impl MonitorImpl for Rapl {
    type Raw = Sweep;

    fn new() -> Result<Self, Error> {
        let root = PathBuf::from(setting("SYSFS_ROOT").text("/sys")?);
        let names = setting("RAPL_NAMES").choice("both", &["conventional", "pyjoules", "both"])?;
        let power = setting("RAPL_POWER").choice("off", &["off", "on"])? == "on";
        let service = setting("SERVICE_LABEL").text("monitor")?;
        let form = Form { conventional: names != "pyjoules", original: names != "conventional", power, service };
        let zones = find(&root)?.into();
        Ok(Rapl { root, zones, form })
    }

    fn get_power(&self, out: RawSender<Sweep>, scrape_interval: Duration, stop: Stop) -> Result<(), Error> {
        warn_of_hidden_wraps(&self.zones, scrape_interval);
        let mut sweeper = Sweeper::new(self.root.clone(), Arc::clone(&self.zones), Instant::now());
        let mut clock = Clock::new();
        let (mut late, mut missed) = (Duration::ZERO, 0);
        for tick in stop.every(scrape_interval) {
            late = late.max(tick.due.elapsed());
            missed += tick.missed;
            let (moment, readings) = clock.around(|| sweeper.sweep(Instant::now()));
            let sweep = Sweep { moment, zones: sweeper.zones(), readings, late, missed };
            // A full queue hands it back, and no energy is lost: the next sweep has it.
            if out.send_timeout(sweep, Duration::ZERO).is_ok() {
                (late, missed) = (Duration::ZERO, 0);
            }
            sweeper.look_around(Instant::now());
        }
        Ok(())
    }

    fn process_data(&self, input: RawReceiver<Sweep>, out: RecordSender, _stop: Stop) -> Result<(), Error> {
        let mut output = Output::new(self.form.clone(), out);
        for sweep in input {
            output.take(&sweep)?;
        }
        output.finish();
        Ok(())
    }
}

/// What a large processor draws, in watts.
const MANY_WATTS: f64 = 1000.0;

/// A counter that wraps twice between two readings can't be told from one that does so once.
fn warn_of_hidden_wraps(zones: &[Zone], scrape_interval: Duration) {
    let least = zones.iter().filter_map(|zone| Some((zone.range_uj?, zone))).min_by_key(|(range_uj, _)| *range_uj);
    if let Some((range_uj, zone)) = least {
        let wraps_after_s = range_uj as f64 / 1e6 / MANY_WATTS;
        if scrape_interval.as_secs_f64() > wraps_after_s {
            tracing::warn!(
                domain = zone.domain,
                "at {MANY_WATTS} W this energy counter wraps every {wraps_after_s} s: of two wraps between two readings one is \
                 lost; make SCRAPE_INTERVAL_S shorter"
            );
        }
    }
}

/// The domains below `root`, of which at least one can be read.
fn find(root: &Path) -> Result<Vec<Zone>, Error> {
    let powercap = zones::powercap(root);
    let nothing = |why: String| {
        Error::new(format!(
            "no RAPL: {why}; load the kernel module intel_rapl_msr, or mount the host's /sys at SYSFS_ROOT in a container \
             (a virtual machine has no RAPL)"
        ))
    };
    let found = zones::discover(root).map_err(|error| nothing(format!("{}: {error}", powercap.display())))?;
    for line in &found.unusable {
        tracing::warn!("a RAPL zone is left out: {line}");
    }
    if found.zones.is_empty() {
        return Err(nothing(format!("{} shows no zone intel-rapl:*", powercap.display())));
    }
    let zones: Arc<[Zone]> = found.zones.into();
    let sweeper = Sweeper::new(root.into(), Arc::clone(&zones), Instant::now());
    for (zone, error) in sweeper.closed() {
        let why = unreadable(&zone.counter, error);
        if sweeper.is_blind() {
            return Err(Error::new(why));
        }
        tracing::warn!("{} is not read: {why}", zone.domain);
    }
    let names: Vec<_> = zones.iter().map(|zone| zone.domain.as_str()).collect();
    tracing::info!(zones = names.join(" "), "RAPL is read");
    Ok(zones.to_vec())
}

/// Why a counter can't be opened, and what to do about it.
fn unreadable(path: &Path, error: i32) -> String {
    use std::os::unix::fs::MetadataExt;
    let name = sweep::errno(error);
    let shown = path.display();
    if name != "EACCES" {
        return format!("{shown} can't be opened: {name}");
    }
    let uid = std::fs::metadata("/proc/self").map_or_else(|_| "?".to_owned(), |me| me.uid().to_string());
    let mode = std::fs::metadata(path).map_or_else(|_| "?".to_owned(), |file| format!("{:04o}", file.mode() & 0o7777));
    format!(
        "{shown} can't be opened: {name}, its mode is {mode} and this process runs as uid {uid}; run it as root (uid 0, no \
         capability is needed), or let a udev rule give the file to its group"
    )
}

export_monitor_impl!(Rapl);
