//! A machine's powercap files, and a processor that spends energy.
//!
//! No test machine has RAPL, so a thread plays the processor: it models power over time and rewrites the counters in place, as
//! a kernel shows them. It spends on only when the host has read all of what it has spent, so that no wrap is ever hidden
//! from a starved reader; how much it has spent is the truth that tests compare with.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::faults::LONG;
use crate::host::{Host, Running};
use crate::plugins;

/// A zone as powercap shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Zone {
    /// `intel-rapl:0:1`: says nothing of what it is.
    pub(crate) id: &'static str,
    /// What its `name` file says.
    pub(super) name: &'static str,
    /// What it spends.
    pub(super) watts: u64,
    /// The domain that the plugin makes of it; empty for one that is read elsewhere already.
    pub(super) domain: &'static str,
}

pub(crate) const fn zone(id: &'static str, name: &'static str, watts: u64, domain: &'static str) -> Zone {
    Zone { id, name, watts, domain }
}

/// The files, and what their counters show.
pub(crate) struct Machine {
    dir: tempfile::TempDir,
    zones: &'static [Zone],
    range_uj: u64,
    shown: BTreeMap<&'static str, u64>,
}

impl Machine {
    /// With these zones, whose counters begin again at zero behind `range_uj` and show `shown_uj` now.
    pub(crate) fn new(zones: &'static [Zone], range_uj: u64, shown_uj: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // For a host that runs as somebody else.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir_all(dir.path().join("class/powercap")).unwrap();
        let mut machine = Machine { dir, zones, range_uj, shown: BTreeMap::new() };
        for zone in zones {
            machine.appears(zone.id, zone, shown_uj);
        }
        machine
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    /// A zone's own folder, in the folder of the zone around it.
    fn home(&self, id: &str) -> PathBuf {
        let parts: Vec<_> = id.split(':').collect();
        let within = (1..=parts.len()).map(|n| parts[..n].join(":"));
        within.fold(self.root().join("devices/virtual/powercap"), |folder, name| folder.join(name))
    }

    /// A zone's folder by its link in class/powercap.
    pub(crate) fn file(&self, id: &str, name: &str) -> PathBuf {
        self.root().join("class/powercap").join(id).join(name)
    }

    /// The zone is there from now on, with this id, and shows so many microjoules.
    pub(super) fn appears(&mut self, id: &str, zone: &Zone, shown_uj: u64) {
        let home = self.home(id);
        fs::create_dir_all(&home).unwrap();
        fs::write(home.join("name"), format!("{}\n", zone.name)).unwrap();
        fs::write(home.join("max_energy_range_uj"), format!("{}\n", self.range_uj)).unwrap();
        fs::write(home.join("energy_uj"), text(shown_uj)).unwrap();
        symlink(&home, self.root().join("class/powercap").join(id)).unwrap();
        self.shown.insert(zone.id, shown_uj);
    }

    /// The zone and those within it are gone, as when their package is taken offline.
    pub(super) fn vanishes(&self, id: &str) {
        fs::remove_dir_all(self.home(id)).unwrap();
        for zone in self.zones.iter().filter(|zone| zone.id.starts_with(id)) {
            fs::remove_file(self.root().join("class/powercap").join(zone.id)).unwrap();
        }
    }

    /// A host that reads it, as fast as can be, and never has to hand anything back.
    pub(super) fn host(&self, url: &str) -> Host {
        let host = Host::new().env("MONITOR_IMPL_PATH", plugins::so("monitor-rapl")).env("REMOTE_WRITE_URL", url);
        host.env("SYSFS_ROOT", self.root())
            .env("SCRAPE_INTERVAL_S", "0.001")
            .env("PUSH_INTERVAL_S", "0.2")
            .env("RAW_QUEUE_SIZE", "100000")
            .env("PROC_QUEUE_SIZE", "100000")
    }

    /// One zone spends so much at once.
    pub(crate) fn spend(&mut self, id: &'static str, uj: u64) {
        let file = File::options().write(true).open(self.file(id, "energy_uj")).unwrap();
        self.count(id, uj);
        file.write_all_at(text(self.shown[id]).as_bytes(), 0).unwrap();
    }

    /// How the kernel counts: it shows 0 to the range, and what goes beyond it begins again at zero. Whether it did.
    fn count(&mut self, id: &'static str, uj: u64) -> bool {
        let shown = self.shown.get_mut(id).unwrap();
        *shown += uj;
        let wraps = *shown > self.range_uj;
        if wraps {
            *shown -= self.range_uj;
        }
        wraps
    }

    /// A thread spends energy until its counters have wrapped so many times in all; by zone, what it has spent.
    pub(super) fn spends(&mut self, reader: &Running, wraps: u64) -> BTreeMap<&'static str, Spent> {
        let pid = reader.pid();
        thread::scope(|scope| scope.spawn(|| self.spend_on(pid, wraps)).join().unwrap())
    }

    fn spend_on(&mut self, reader: u32, wraps: u64) -> BTreeMap<&'static str, Spent> {
        let zones = self.zones;
        let open = |zone: &Zone| File::options().write(true).open(self.file(zone.id, "energy_uj")).unwrap();
        let files: Vec<File> = zones.iter().map(open).collect();
        // So much less than a whole range at once, that it can't be taken for none.
        let most_watts = zones.iter().map(|zone| zone.watts).max().unwrap();
        let longest = Duration::from_micros(self.range_uj * 9 / 10 / most_watts);
        let (began, mut last) = (Instant::now(), Instant::now());
        let mut spent: BTreeMap<&str, Spent> = BTreeMap::new();
        while spent.values().map(|spent| spent.wraps).sum::<u64>() < wraps {
            assert!(began.elapsed() < LONG, "{spent:?}");
            let elapsed = last.elapsed().min(longest);
            last = Instant::now();
            for (zone, file) in zones.iter().zip(&files) {
                // Watts times microseconds are microjoules.
                let uj = zone.watts * elapsed.as_micros() as u64;
                let wraps = self.count(zone.id, uj);
                file.write_all_at(text(self.shown[zone.id]).as_bytes(), 0).unwrap();
                let spent = spent.entry(zone.id).or_default();
                spent.uj += uj;
                spent.wraps += u64::from(wraps);
                spent.wrapping_uj += if wraps { uj } else { 0 };
            }
            wait_for_a_sweep(reader, zones.len() as u64);
        }
        spent
    }
}

/// What one zone has spent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    pub(super) uj: u64,
    pub(super) wraps: u64,
    /// What it spent in those intervals in which it wrapped.
    pub(super) wrapping_uj: u64,
}

/// Until the process has read so often that each of so many counters was read since now: one sweep may be under way, one
/// follows it, and a few reads are those of sockets.
fn wait_for_a_sweep(pid: u32, counters: u64) {
    let reads = || {
        let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
        io.lines().find_map(|line| line.strip_prefix("syscr: ")?.parse::<u64>().ok()).unwrap()
    };
    let (began, enough) = (Instant::now(), reads() + 3 * counters);
    while reads() < enough {
        assert!(began.elapsed() < LONG, "the host does not read");
        thread::sleep(Duration::from_micros(500));
    }
}

/// Of one length, so that nobody reads a number cut short.
fn text(uj: u64) -> String {
    format!("{uj:020}\n")
}
