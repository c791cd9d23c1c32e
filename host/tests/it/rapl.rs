//! The RAPL plugin beside a model of what a kernel shows: what was spent is what arrives, whatever the counters do meanwhile.
//!
//! No test machine has RAPL, so a thread plays the processor: it spends energy and rewrites the files of a powercap tree.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::faults::{LONG, books, lines, stop};
use crate::host::Host;
use crate::plugins;
use crate::sink::{Sample, Sink};

/// The counters of the model begin again at zero behind this many microjoules.
const RANGE_UJ: u64 = 20_000_000;

/// Id, name, and the watts that the model spends there: two sockets in an order of their own, a platform, and a twin.
const ZONES: [(&str, &str, u64); 8] = [
    ("intel-rapl:0", "package-1", 40),
    ("intel-rapl:0:0", "dram", 3),
    ("intel-rapl:2", "package-0", 25),
    ("intel-rapl:2:0", "core", 17),
    ("intel-rapl:2:1", "uncore", 1),
    ("intel-rapl:2:2", "dram", 4),
    ("intel-rapl:3", "psys", 90),
    ("intel-rapl-mmio:0", "package-0", 25),
];

/// A machine's powercap files, and a processor that spends energy.
struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let machine = Machine { dir: tempfile::tempdir().unwrap() };
        for (id, name, _) in ZONES {
            let zone = machine.zone(id);
            fs::create_dir_all(&zone).unwrap();
            fs::write(zone.join("name"), format!("{name}\n")).unwrap();
            fs::write(zone.join("max_energy_range_uj"), format!("{RANGE_UJ}\n")).unwrap();
            fs::write(zone.join("energy_uj"), shown(RANGE_UJ / 2)).unwrap();
        }
        machine
    }

    fn zone(&self, id: &str) -> PathBuf {
        self.dir.path().join("class/powercap").join(id)
    }

    fn host(&self, url: &str) -> Host {
        let host = Host::new().env("MONITOR_IMPL_PATH", plugins::so("monitor-rapl")).env("REMOTE_WRITE_URL", url);
        host.env("SYSFS_ROOT", self.dir.path()).env("SCRAPE_INTERVAL_S", "0.01").env("PUSH_INTERVAL_S", "0.2")
    }

    /// Spends energy until it is stopped; then, by zone, the microjoules that were spent in all.
    fn spend(&self) -> Spending {
        let files: Vec<_> = ZONES
            .iter()
            .map(|(id, _, _)| fs::OpenOptions::new().write(true).open(self.zone(id).join("energy_uj")).unwrap())
            .collect();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let (start, mut spent) = (Instant::now(), [0; ZONES.len()]);
            while !stopped.load(Ordering::Acquire) {
                for (i, (_, _, watts)) in ZONES.iter().enumerate() {
                    spent[i] = watts * start.elapsed().as_micros() as u64;
                    std::os::unix::fs::FileExt::write_all_at(
                        &files[i],
                        shown((RANGE_UJ / 2 + spent[i]) % RANGE_UJ).as_bytes(),
                        0,
                    )
                    .unwrap();
                }
                thread::sleep(Duration::from_millis(1));
            }
            spent
        });
        Spending { stop, thread }
    }
}

/// Of one length, so that nobody reads a number cut short.
fn shown(uj: u64) -> String {
    format!("{uj:020}\n")
}

struct Spending {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<[u64; ZONES.len()]>,
}

impl Spending {
    fn stop(self) -> BTreeMap<&'static str, u64> {
        self.stop.store(true, Ordering::Release);
        let spent = self.thread.join().unwrap();
        ZONES.iter().zip(spent).map(|((id, _, _), uj)| (*id, uj)).collect()
    }
}

/// The newest value of one series; `domain` names it in the conventional series.
#[track_caller]
fn newest(samples: &[Sample], metric: &str, domain: &str) -> Sample {
    let of_series =
        |sample: &&Sample| sample.metric == metric && sample.labels.get("domain").is_some_and(|d| *d == *domain);
    samples.iter().rfind(of_series).unwrap_or_else(|| panic!("no {metric} of {domain}")).clone()
}

#[test]
fn what_was_spent_is_what_arrives() {
    let (machine, sink) = (Machine::new(), Sink::start());
    let host = machine.host(sink.url()).env("RAPL_POWER", "on").env("SERVICE_LABEL", "rack-7").spawn();
    // The counters stand still until the first readings have arrived, so that none of what is spent comes before them.
    sink.wait_samples(1, LONG);
    let spending = machine.spend();
    // Long enough for the largest one to wrap some times.
    let begin = sink.samples().len();
    sink.wait_samples(begin + 5000, LONG);
    let spent = spending.stop();
    let before = sink.samples().len();
    // A reading of all that was spent has arrived.
    sink.wait_samples(before + 500, LONG);
    let ledger = stop(&host);
    assert_eq!((ledger.dropped, ledger.refused_sends), (0, 0), "{ledger:?}");
    let samples = sink.wait_samples(ledger.delivered as usize, LONG);
    assert_eq!(sink.violations(), []);

    for (metric, domain, id, original) in [
        ("monitor_energy_joules_total", "package-1", "intel-rapl:0", "package_1"),
        ("monitor_energy_joules_total", "package-1/dram", "intel-rapl:0:0", "dram_1"),
        ("monitor_energy_joules_total", "package-0", "intel-rapl:2", "package_0"),
        ("monitor_energy_joules_total", "package-0/dram", "intel-rapl:2:2", "dram_0"),
        ("monitor_subdomain_energy_joules_total", "package-0/core", "intel-rapl:2:0", "core_0"),
        ("monitor_subdomain_energy_joules_total", "package-0/uncore", "intel-rapl:2:1", "uncore_0"),
        ("monitor_platform_energy_joules_total", "psys", "intel-rapl:3", "psys_0"),
    ] {
        let joules = newest(&samples, metric, domain).value;
        assert_eq!((joules * 1e6).round() as u64, spent[id], "{domain}");
        // The original's records: each interval's energy, none of it negative, all of them together the same.
        let of_series = |sample: &&Sample| {
            sample.metric == "pyjoules_remote_write_energy_uj"
                && *sample.labels["component"] == *original
                && *sample.labels["source"] == *"rack-7"
        };
        let intervals: Vec<f64> = samples.iter().filter(of_series).map(|sample| sample.value).collect();
        assert!(intervals.iter().all(|uj| *uj >= 0.0));
        assert_eq!(intervals.iter().sum::<f64>(), spent[id] as f64, "{original}");
        let power = newest(&samples, "monitor_power_watts", domain);
        assert_eq!((power.value, &*power.labels["method"]), (0.0, "derived"), "nothing is spent at the end");
    }
    // The twin is the same package again.
    let packages = samples.iter().filter(|sample| sample.labels.get("component").is_some_and(|c| **c == *"package"));
    let domains: std::collections::BTreeSet<_> = packages.map(|sample| sample.labels["domain"].to_string()).collect();
    assert_eq!(domains.into_iter().collect::<Vec<_>>(), ["package-0", "package-1"]);
    let wraps = samples.iter().rfind(|sample| sample.metric == "monitor_rapl_wraps_total").unwrap().value as u64;
    let expected: u64 = ZONES[..7].iter().map(|(id, _, _)| (RANGE_UJ / 2 + spent[id]) / RANGE_UJ).sum();
    assert_eq!(wraps, expected);
    assert!(wraps >= 3, "too short a run: {wraps}");
}

#[test]
fn a_machine_without_rapl_is_told_what_to_do() {
    let (empty, machine) = (tempfile::tempdir().unwrap(), Machine::new());
    fs::create_dir_all(empty.path().join("zones/class/powercap/dtpm:0")).unwrap();
    for (root, says) in [
        (Path::new("/nonexistent").to_owned(), "no RAPL: /nonexistent/class/powercap: No such file"),
        (empty.path().join("zones"), "shows no zone intel-rapl:*; load the kernel module"),
    ] {
        let host = machine.host(crate::faults::NOWHERE).env("SYSFS_ROOT", &root).spawn();
        assert_eq!(host.wait(LONG).code(), Some(3));
        let errors = lines(&host, "ERROR");
        assert_eq!(errors.len(), 1, "{}", host.log_text());
        assert!(errors[0].text.contains(says), "{}", errors[0].text);
    }
}

#[test]
fn a_counter_that_fails_is_told_and_spoils_no_other() {
    let (machine, sink) = (Machine::new(), Sink::start());
    let bad = machine.zone("intel-rapl:3").join("energy_uj");
    fs::remove_file(&bad).unwrap();
    // Opens, and gives EIO when it is read at its beginning.
    std::os::unix::fs::symlink("/proc/self/mem", &bad).unwrap();
    fs::remove_file(machine.zone("intel-rapl:0").join("max_energy_range_uj")).unwrap();
    let host = machine.host(sink.url()).env("RAPL_NAMES", "conventional").spawn();
    sink.wait_samples(1, LONG);
    // A wrap of a counter whose range is not known.
    let counter = machine.zone("intel-rapl:0").join("energy_uj");
    let rewrite =
        |uj| fs::OpenOptions::new().write(true).open(&counter).unwrap().write_all(shown(uj).as_bytes()).unwrap();
    for uj in [7, 1_000_007] {
        let before = sink.samples().len();
        rewrite(uj);
        sink.wait_samples(before + 500, LONG);
    }
    host.signal(signal_hook::consts::SIGTERM);
    assert_eq!(host.wait(LONG).code(), Some(0), "{}", host.log_text());
    let ledger = books(&host);
    let samples = sink.wait_samples(ledger.delivered as usize, LONG);
    let last = |metric: &str| samples.iter().rfind(|sample| sample.metric == metric).map(|sample| sample.value);
    assert_eq!(last("monitor_rapl_unknown_range_total"), Some(1.0));
    assert!(last("monitor_rapl_read_errors_total") >= Some(1.0));
    assert_eq!(last("monitor_platform_energy_joules_total"), None);
    assert_eq!(newest(&samples, "monitor_energy_joules_total", "package-1").value, 1.0);
    let text = host.log_text();
    assert!(text.contains("can't be read: EIO") && text.contains("max_energy_range_uj"), "{text}");
}
