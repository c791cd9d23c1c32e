//! Energy as RAPL counts it: a sensor plugin for `monitor-host`.
//!
//! `get_power` reads all counters of powercap on a fixed grid; `process_data` makes them into counters that never wrap, and
//! into the records of the program that came before this one. README.md has the settings and the series.

mod clock;
mod counter;
mod health;
mod output;
mod sweep;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tree;
mod zones;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use monitor_plugin_api::{
    Error, MonitorImpl, RawReceiver, RawSender, RecordSender, Stop, export_monitor_impl, setting, tracing,
};

use clock::{Clock, Moment};
use output::{Names, Output};
use sweep::{Readings, Sweeper};
use zones::Zone;

/// All counters at one moment.
struct Sweep {
    moment: Moment,
    readings: Readings,
    /// How far behind its deadline it began.
    late: Duration,
    /// Deadlines before it that were left out.
    missed: u64,
}

struct Rapl {
    zones: Arc<[Zone]>,
    names: Names,
    with_power: bool,
    service: String,
}

impl MonitorImpl for Rapl {
    type Raw = Sweep;

    fn new() -> Result<Self, Error> {
        let root = PathBuf::from(setting("SYSFS_ROOT").text("/sys")?);
        let names = match setting("RAPL_NAMES").choice("both", &["conventional", "pyjoules", "both"])? {
            "conventional" => Names { conventional: true, original: false },
            "pyjoules" => Names { conventional: false, original: true },
            _ => Names { conventional: true, original: true },
        };
        let with_power = setting("RAPL_POWER").choice("off", &["off", "on"])? == "on";
        let service = setting("SERVICE_LABEL").text("monitor")?;
        let zones = find(&root)?;
        Ok(Rapl { zones: zones.into(), names, with_power, service })
    }

    fn get_power(&self, out: RawSender<Sweep>, scrape_interval: Duration, stop: Stop) -> Result<(), Error> {
        let mut sweeper = Sweeper::new(Arc::clone(&self.zones), open);
        let mut clock = Clock::new();
        for tick in stop.every(scrape_interval) {
            let late = tick.due.elapsed();
            let (moment, readings) = clock.around(|| sweeper.sweep(Instant::now()));
            // A full queue hands it back, and no energy is lost: the next sweep has it.
            let _ = out.send_timeout(Sweep { moment, readings, late, missed: tick.missed }, Duration::ZERO);
        }
        Ok(())
    }

    fn process_data(&self, input: RawReceiver<Sweep>, out: RecordSender, _stop: Stop) -> Result<(), Error> {
        let mut output = Output::new(&self.zones, self.names, self.with_power, &self.service, out);
        for sweep in input {
            output.take(&sweep)?;
        }
        output.finish();
        Ok(())
    }
}

fn open(zone: &Zone) -> std::io::Result<File> {
    File::open(&zone.counter)
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
    let sweeper = Sweeper::new(Arc::clone(&zones), open);
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
