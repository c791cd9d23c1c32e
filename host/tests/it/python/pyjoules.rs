//! A client of the kind that the Python program came with, unchanged, with pyJoules as it is on PyPI.
//!
//! A thread spends energy and shows it in the files of a powercap tree; pyJoules reads them, and what it read is written down
//! behind its back. What a real Prometheus has at the end is held against that, interval for interval.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::cpython::CPython;
use crate::drive::{is_delivered, stop};
use crate::faults::LONG;
use crate::receivers::{Kind, Receiver};

/// Finds its files below another folder than pyJoules knows.
const REDIRECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/python/redirect");

/// Zone, the kernel's name, the name that pyJoules gives to it, and watts.
const ZONES: [(&str, &str, &str, u64); 6] = [
    ("intel-rapl:0", "package-0", "package_0", 40),
    ("intel-rapl:0:0", "core", "core_0", 21),
    ("intel-rapl:0:1", "uncore", "uncore_0", 2),
    ("intel-rapl:0:2", "dram", "dram_0", 5),
    ("intel-rapl:1", "package-1", "package_1", 33),
    ("intel-rapl:1:0", "dram", "dram_1", 4),
];

/// So many pushes are waited for.
const PUSHES: usize = 8;

struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { folder: tempfile::tempdir().unwrap() };
        for (zone, name, _, _) in ZONES {
            let path = machine.zone(zone);
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join("name"), format!("{name}\n")).unwrap();
            fs::write(path.join("energy_uj"), shown(0)).unwrap();
        }
        machine
    }

    /// As the kernel has them: a zone of a package lies in the package's folder.
    fn zone(&self, zone: &str) -> PathBuf {
        let package = zone.rsplit_once(':').map(|(package, _)| package).filter(|package| package.contains(':'));
        let within = package.map_or(PathBuf::new(), PathBuf::from);
        self.folder.path().join("intel-rapl").join(within).join(zone)
    }

    fn reads(&self) -> PathBuf {
        self.folder.path().join("reads")
    }

    /// Spends until it is told to stop.
    fn spend(&self, stop: &AtomicBool) {
        let open = |zone| fs::OpenOptions::new().write(true).open(self.zone(zone).join("energy_uj")).unwrap();
        let zones = ZONES.map(|(zone, _, _, watts)| (open(zone), watts));
        let start = Instant::now();
        while !stop.load(Ordering::Acquire) {
            for (file, watts) in &zones {
                let spent = watts * start.elapsed().as_micros() as u64;
                file.write_all_at(shown(spent).as_bytes(), 0).unwrap();
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// By pyJoules' name, what each interval took: the differences of the reads at its begin and at its end.
    fn intervals(&self) -> BTreeMap<&'static str, Vec<f64>> {
        let text = fs::read_to_string(self.reads()).unwrap();
        let reads: Vec<(&str, u64)> = text
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(zone, uj)| (zone, uj.parse().unwrap()))
            .collect();
        let of_zone = |zone| reads.iter().filter(move |read| read.0 == zone).map(|read| read.1).collect::<Vec<_>>();
        let spent = |zone| of_zone(zone).chunks_exact(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        ZONES.iter().map(|(zone, _, name, _)| (*name, spent(*zone))).collect()
    }
}

/// Of one length, so that nobody reads a number cut short.
fn shown(uj: u64) -> String {
    format!("{uj:020}\n")
}

#[test]
fn an_existing_client_with_pyjoules_delivers_what_it_measured() {
    let (Some(python), Some(receiver)) = (CPython::get(), Receiver::start(Kind::PrometheusDebian)) else { return };
    let (machine, stopped) = (Machine::new(), AtomicBool::new(false));
    let client = Path::new(super::MODULES).join("pyjoules_client.py");
    let host = super::host(&python, &client)
        .env("REMOTE_WRITE_URL", receiver.write_url())
        .env("SCRAPE_INTERVAL_S", "0.05")
        .env("PUSH_INTERVAL_S", "0.25")
        .env("SERVICE_LABEL", "rack-7")
        .env("LOG_LEVEL", "DEBUG")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONPATH", REDIRECT)
        .env("POWERCAP_ROOT", machine.folder.path())
        .env("POWERCAP_READS", machine.reads());

    let (running, ledger) = thread::scope(|scope| {
        let spending = scope.spawn(|| machine.spend(&stopped));
        let running = host.spawn();
        let mut pushes = 0;
        running.wait_for_log(
            |line| {
                pushes += usize::from(is_delivered(line));
                pushes >= PUSHES
            },
            LONG,
        );
        let (ledger, _) = stop(&running);
        stopped.store(true, Ordering::Release);
        spending.join().unwrap();
        (running, ledger)
    });

    let intervals = machine.intervals();
    let stored = receiver.range(r#"{__name__="pyjoules_remote_write_energy_uj"}"#);
    assert_eq!(stored.len(), ZONES.len(), "{stored:?}");
    for series in &stored {
        let labels: Vec<_> = series.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let [("__name__", _), ("component", component), ("source", "rack-7")] = labels[..] else {
            panic!("{labels:?}");
        };
        let values: Vec<f64> = series.samples.iter().map(|sample| sample.1).collect();
        assert_eq!(values, intervals[component], "{component}");
        // Stamped when it was measured, to the millisecond, and not when it arrived.
        assert!(series.samples.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 50), "{component}: {:?}", series.samples);
        assert!(values.len() >= PUSHES && values.iter().sum::<f64>() > 0.0, "{component}: {values:?}");
    }
    let delivered: usize = stored.iter().map(|series| series.samples.len()).sum();
    assert_eq!((ledger.delivered, ledger.dropped), (delivered as u64, 0), "{ledger:?}");
    // What pyJoules itself says as it is imported, and the client when it starts.
    let text = running.log_text();
    assert!(text.contains("pynvml not found") && text.contains("measuring every 0.05 s"), "{text}");
}
