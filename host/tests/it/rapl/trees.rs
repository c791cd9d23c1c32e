//! Every kind of tree: what its processor spent is what arrives, microjoule by microjoule, over more than a thousand wraps.

use std::collections::{BTreeMap, BTreeSet};
use std::{fmt, fs};

use super::machine::{Machine, Spent, Zone, zone};
use super::{PLATFORM, health, microjoules, of_domain};
use crate::drive;
use crate::faults::{LONG, stop};
use crate::sink::{Sample, Sink};

struct Tree {
    what: &'static str,
    zones: &'static [Zone],
    range_uj: u64,
    /// What each counter shows at first.
    shown_uj: u64,
    /// How many wraps there are to be, of all counters together.
    wraps: u64,
    /// A zone without the file that tells its range.
    without_range: Option<&'static str>,
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
}

/// A few joules: a counter wraps about every other time that it is read.
const FEW_JOULES: Tree =
    Tree { what: "", zones: &[], range_uj: 2_000_000, shown_uj: 1_000_000, wraps: 1500, without_range: None };

const TREES: [Tree; 6] = [
    Tree {
        what: "one socket with psys and an mmio twin",
        zones: &[
            zone("intel-rapl:0", "package-0", 400, "package-0"),
            zone("intel-rapl:0:0", "core", 300, "package-0/core"),
            zone("intel-rapl:0:1", "uncore", 20, "package-0/uncore"),
            zone("intel-rapl:1", "psys", 600, "psys"),
            zone("intel-rapl-mmio:0", "package-0", 400, ""),
            // Known to the twin alone.
            zone("intel-rapl-mmio:0:0", "dram", 50, "package-0/dram"),
        ],
        ..FEW_JOULES
    },
    Tree {
        what: "two sockets",
        zones: &[
            zone("intel-rapl:0", "package-0", 500, "package-0"),
            zone("intel-rapl:0:0", "dram", 60, "package-0/dram"),
            zone("intel-rapl:1", "package-1", 450, "package-1"),
            zone("intel-rapl:1:0", "dram", 70, "package-1/dram"),
        ],
        ..FEW_JOULES
    },
    Tree {
        what: "dies",
        zones: &[
            zone("intel-rapl:0", "package-0-die-0", 300, "package-0-die-0"),
            zone("intel-rapl:0:0", "core", 200, "package-0-die-0/core"),
            zone("intel-rapl:1", "package-0-die-1", 310, "package-0-die-1"),
            zone("intel-rapl:1:0", "dram", 30, "package-0-die-1/dram"),
            zone("intel-rapl:2", "package-1-die-0", 320, "package-1-die-0"),
        ],
        ..FEW_JOULES
    },
    Tree {
        what: "an order of its own, and holes in the numbering",
        zones: &[
            zone("intel-rapl:2", "package-1", 350, "package-1"),
            zone("intel-rapl:2:3", "dram", 40, "package-1/dram"),
            zone("intel-rapl:7", "psys", 700, "psys"),
            zone("intel-rapl:12", "package-0", 360, "package-0"),
            zone("intel-rapl:12:1", "core", 260, "package-0/core"),
        ],
        ..FEW_JOULES
    },
    Tree {
        what: "AMD: a package and its cores, 15.3 µJ a step, shortly before a wrap",
        zones: &[
            zone("intel-rapl:0", "package-0", 280, "package-0"),
            zone("intel-rapl:0:0", "core", 190, "package-0/core"),
        ],
        range_uj: 65_532_610_987,
        shown_uj: 65_532_000_000,
        wraps: 2,
        without_range: None,
    },
    Tree {
        what: "a counter of unknown range",
        zones: &[
            zone("intel-rapl:0", "package-0", 400, "package-0"),
            zone("intel-rapl:0:0", "core", 250, "package-0/core"),
            zone("intel-rapl:1", "package-1", 410, "package-1"),
        ],
        without_range: Some("intel-rapl:0:0"),
        ..FEW_JOULES
    },
];

#[test]
fn what_was_spent_is_what_arrives() {
    drive::in_parallel(TREES, |tree| {
        let mut machine = Machine::new(tree.zones, tree.range_uj, tree.shown_uj);
        if let Some(id) = tree.without_range {
            fs::remove_file(machine.file(id, "max_energy_range_uj")).unwrap();
        }
        let sink = Sink::start();
        let host = machine.host(sink.url()).env("RAPL_POWER", "on").env("SERVICE_LABEL", "rack-7").spawn();
        // Nothing is spent before the first readings.
        sink.wait_samples(1, LONG);
        let spent = machine.spends(&host, tree.wraps);
        let ledger = stop(&host);
        assert_eq!((ledger.dropped, ledger.refused_sends), (0, 0), "{}: {ledger:?}", tree.what);
        let samples = sink.wait_samples(ledger.delivered as usize, LONG);
        assert_eq!(sink.violations(), [], "{}", tree.what);
        tree.judge(&samples, &spent);
    });
}

impl Tree {
    fn judge(&self, samples: &[Sample], spent: &BTreeMap<&str, Spent>) {
        let read: Vec<&Zone> = self.zones.iter().filter(|zone| !zone.domain.is_empty()).collect();
        let domains: BTreeSet<&str> =
            samples.iter().filter_map(|sample| sample.labels.get("domain").map(String::as_str)).collect();
        assert_eq!(domains, read.iter().map(|zone| zone.domain).collect(), "{}", self.what);

        for zone in &read {
            let (Spent { uj, wrapping_uj, .. }, what) = (spent[zone.id], format!("{}, {}", self.what, zone.domain));
            let known_uj = if self.without_range == Some(zone.id) { uj - wrapping_uj } else { uj };
            let counter = of_domain(samples, zone.domain);
            assert_eq!(microjoules(counter.last().unwrap().value), known_uj, "{what}");
            assert_eq!(counter[0].metric == PLATFORM, zone.name == "psys", "{what}");
            for pair in counter.windows(2) {
                assert!(pair[0].timestamp_ms < pair[1].timestamp_ms, "{what}: {pair:?}");
                assert!(pair[0].value <= pair[1].value, "{what}: {pair:?}");
            }
            // The original's records: each interval's energy, all of them together the same.
            let intervals: Vec<f64> = originals(samples, zone).map(|sample| sample.value).collect();
            assert!(intervals.iter().all(|uj| *uj >= 0.0), "{what}");
            let original_uj = if zone.name == "psys" { 0 } else { known_uj };
            assert_eq!(intervals.iter().sum::<f64>(), original_uj as f64, "{what}");
            let watts = samples.iter().filter(|sample| {
                sample.metric == "monitor_power_watts" && sample.labels["domain"] == zone.domain && sample.value > 0.0
            });
            assert!(watts.count() > 0, "{what}");
        }

        let wraps_of = |zone: &&&Zone| spent[zone.id].wraps;
        let (unknown, counted): (Vec<_>, Vec<_>) = read.iter().partition(|zone| self.without_range == Some(zone.id));
        let wraps: u64 = counted.iter().map(wraps_of).sum();
        assert_eq!(health(samples, "wraps_total", None), Some(wraps as f64), "{}", self.what);
        let left_out: u64 = unknown.iter().map(wraps_of).sum();
        assert_eq!(health(samples, "unknown_range_total", None), Some(left_out as f64), "{}", self.what);
        assert_eq!(left_out > 0, self.without_range.is_some());
        assert_eq!(health(samples, "resets_total", None), Some(0.0), "{}", self.what);
        assert_eq!(health(samples, "domains", None), Some(read.len() as f64), "{}", self.what);
        eprintln!("{}: {wraps} wraps, {left_out} of unknown length", self.what);
    }
}

/// The original's records of a zone: `package_0`, `core_0`, `package_0_die_1`, `dram_0_die_1`.
fn originals<'a>(samples: &'a [Sample], zone: &Zone) -> impl Iterator<Item = &'a Sample> {
    let component = match zone.domain.split_once('/') {
        Some((package, part)) => format!("{part}_{}", package.trim_start_matches("package-").replace('-', "_")),
        None => zone.domain.replace('-', "_"),
    };
    samples.iter().filter(move |sample| {
        sample.metric == "pyjoules_remote_write_energy_uj"
            && sample.labels["component"].starts_with(&component)
            && (sample.labels["component"] == component || component.starts_with("psys"))
            && sample.labels["source"] == "rack-7"
    })
}
