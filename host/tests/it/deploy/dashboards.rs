//! Every expression of every panel and variable, on a real Prometheus that holds what the real binary sent: each is read,
//! gives something, with the labels that its legend shows, and gives nothing of a host that is not there.
//!
//! Enters: clients with the plugins that ship, on made-up sensors. Never: looks at a picture.

use std::fs;
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::panels::{DASHBOARDS, Query, dashboard, queries, variables};
use super::{RULES, at_home, host_of, named, text};
use crate::drive;
use crate::faults::{self, LONG};
use crate::host::Running;
use crate::nvml::rig::Rig;
use crate::rapl::machine::{Machine, Zone, zone};
use crate::receivers::{Kind, Receiver};

/// What shows only what went wrong: empty in a good run, and why. Each gives something beside clients that are not well.
const EMPTY_WHEN_WELL: [(&str, &str); 3] = [
    ("monitor-host: fleet: Samples dropped", "a line for each reason would hide the one that counts"),
    ("monitor-host: fleet: Who drops", "the same"),
    ("monitor-host: energy: Errors in place of a value", "there is no series of an error that never occurred"),
];

const ZONES: &[Zone] = &[
    zone("intel-rapl:0", "package-0", 400, "package-0"),
    zone("intel-rapl:0:0", "core", 300, "package-0/core"),
    zone("intel-rapl:0:1", "dram", 50, "package-0/dram"),
    zone("intel-rapl:1", "psys", 600, "psys"),
];

const DAY: u64 = 86_400;

/// What Grafana puts in the place of variables where a host is chosen, or a pattern of hosts.
fn filled_in(expr: &str, host: &str) -> String {
    let rate_interval = rate_interval();
    let all = [
        ("$__rate_interval", rate_interval.as_str()),
        ("$__range_s", "3600"),
        ("$__range", "1h"),
        ("${original}", "pyjoules_remote_write_energy_uj"),
        ("$job", ".*"),
        ("$instance", ".*"),
        ("$source", ".*"),
        ("$host", host),
    ];
    let expr = all.iter().fold(expr.to_owned(), |expr, (variable, value)| expr.replace(variable, value));
    assert!(!expr.contains('$'), "a variable that this test does not know: {expr}");
    expr
}

/// Grafana's `$__rate_interval`, by the data source as it is provisioned: four of its scrape intervals, where steps are finer.
fn rate_interval() -> String {
    let source = text("deploy/grafana/provisioning/datasources/prometheus.yaml");
    let line = source.lines().find_map(|line| line.trim().strip_prefix("timeInterval: ")).expect("a scrape interval");
    let seconds: u64 = line.trim_end_matches('s').parse().expect("seconds");
    assert_eq!(seconds, 15, "how often clients push their own metrics: rates over less would mostly be empty");
    format!("{}s", 4 * seconds)
}

/// What a panel would get: series with their labels.
fn answer(receiver: &Receiver, query: &Query, host: &str) -> Vec<Value> {
    let expr = filled_in(&query.expr, host);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs();
    // As Grafana does it: at the multiples of a step.
    let (step, back) = if query.daily { (DAY, 14 * DAY) } else { (15, 600) };
    let (start, end) = (((now - back) / step * step).to_string(), (now / step * step).to_string());
    let data = match query.instant {
        true => receiver.ask("query", &[("query", &expr)]),
        false => receiver
            .ask("query_range", &[("query", &expr), ("start", &start), ("end", &end), ("step", &step.to_string())]),
    };
    data["result"].as_array().unwrap_or_else(|| panic!("{}: {data}", query.of)).clone()
}

/// What is the matter with a panel's answer; none when it shows what it says.
fn amiss(query: &Query, series: &[Value]) -> Option<String> {
    if series.is_empty() {
        return Some("nothing".to_owned());
    }
    let has = |label: &String| series.iter().any(|series| series["metric"][label].is_string());
    query.labels.iter().find(|label| !has(label)).map(|label| format!("no series with the label {label}"))
}

/// A Prometheus with the rules, as it is shipped but for how long one waits for them.
fn receiver() -> Option<Receiver> {
    let yaml = format!("global: {{evaluation_interval: 1s}}\nrule_files: ['{}']\n", at_home(RULES).display());
    Receiver::configured(Kind::Prometheus3, &yaml)
}

/// Machines, and a client on each.
struct Fleet {
    machine: Machine,
    rig: Rig,
    _spool: tempfile::TempDir,
    clients: Vec<Running>,
}

impl Fleet {
    fn start(url: &str) -> Self {
        let (machine, rig) = (Machine::new(ZONES, 262_143_328_850, 5_000_000), Rig::new(2));
        let spool = tempfile::tempdir().expect("a folder");
        let client = |plugin: &str, instance: &str| named(drive::host(plugin, url), instance);
        let gpus = rig.variables().into_iter();
        let gpus = gpus.fold(client("monitor-nvml", "gpus"), |host, (name, value)| host.env(name, value));
        let clients = vec![
            client("monitor-dummy", "dummy").env("SPOOL_DIR", spool.path()).spawn(),
            client("monitor-rapl", "rapl").env("SYSFS_ROOT", machine.root()).spawn(),
            gpus.env("NVML_SLOW_INTERVAL_S", "0.1").spawn(),
        ];
        clients.iter().for_each(drive::wait_for_first_batch);
        Fleet { machine, rig, _spool: spool, clients }
    }

    /// A second's work at some hundred watts.
    fn works(&mut self, seconds: u64) {
        ZONES.iter().for_each(|zone| self.machine.spend(zone.id, 100_000_000));
        self.rig.set("0.energy", 7_000_000_000 + seconds * 200_000);
    }
}

#[test]
fn every_expression_gives_something_of_hosts_that_are_there_and_nothing_of_others() {
    let Some(receiver) = receiver() else { return };
    let mut fleet = Fleet::start(&receiver.write_url());
    let boards = DASHBOARDS.map(dashboard);
    let all: Vec<Query> = boards.iter().flat_map(queries).collect();
    for (panel, why) in EMPTY_WHEN_WELL {
        assert!(all.iter().any(|query| query.of == panel), "no panel {panel} that is empty because {why}");
    }
    let (quiet, mut waiting): (Vec<_>, Vec<_>) =
        all.iter().partition(|query| EMPTY_WHEN_WELL.iter().any(|(panel, _)| *panel == query.of));
    let deadline = Instant::now() + 2 * LONG;
    for second in 1.. {
        fleet.works(second);
        // When all has been told twice can't be awaited, but it shows.
        thread::sleep(Duration::from_secs(1));
        waiting.retain(|query| amiss(query, &answer(&receiver, query, ".*")).is_some());
        if waiting.is_empty() {
            break;
        }
        let told =
            || waiting.iter().map(|query| (&query.of, amiss(query, &answer(&receiver, query, ".*")), &query.expr));
        assert!(Instant::now() < deadline, "{:#?}", told().collect::<Vec<_>>());
    }
    for query in &quiet {
        assert_eq!(answer(&receiver, query, ".*"), [] as [Value; 0], "{}: {}", query.of, query.expr);
    }
    for query in &all {
        let elsewhere = answer(&receiver, query, "nowhere");
        // A count of none is a number, too.
        let is_none =
            |series: &Value| series["metric"].as_object().is_some_and(|labels| labels.is_empty()) && is_zero(series);
        assert!(elsewhere.iter().all(is_none), "{} does not heed the host: {elsewhere:?}", query.of);
    }
    let power = all.iter().find(|query| query.of == "monitor-host: energy: Power").expect("the first panel");
    let watts = answer(&receiver, power, &host_of("rapl"));
    assert!(
        watts[0]["value"][1].as_str().is_some_and(|watts| watts.parse::<f64>().is_ok_and(|watts| watts > 0.0)),
        "{watts:?}"
    );

    for (name, selector, label) in boards.iter().flat_map(variables) {
        let values =
            receiver.ask("query", &[("query", &format!("count by ({label}) ({})", filled_in(&selector, ".*")))]);
        let values = values["result"].as_array().expect("series");
        assert!(values.iter().any(|value| value["metric"][&label].is_string()), "{name}: {selector} has no {label}");
    }
    fleet.clients.iter().for_each(|client| drop(drive::stop(client)));
}

/// Whether all values are 0.
fn is_zero(series: &Value) -> bool {
    let all = series["values"].as_array().cloned().unwrap_or_else(|| vec![series["value"].clone()]);
    all.iter().all(|value| value[1] == "0")
}

#[test]
fn what_is_empty_when_all_is_well_shows_what_is_not() {
    let Some(receiver) = receiver() else { return };
    let url = receiver.write_url();
    let fleet = Fleet::start(&url);
    // One reading in a hundred is too late for its series.
    let disorderly = named(faults::host(&url), "disorderly").env("FAULT_OFFSETS_MS", ["0"; 99].join(",") + ",-1500");
    let _disorderly = disorderly.spawn();
    fleet.rig.set("0.nvmlDeviceGetTotalEnergyConsumption.error", 999);
    // Open files that hold no number any more.
    let mut file =
        fs::File::options().write(true).truncate(true).open(fleet.machine.file("intel-rapl:0:0", "energy_uj"));
    file.as_mut().expect("a file of ours").write_all(b"no number\n").expect("a file of ours");

    let boards = DASHBOARDS.map(dashboard);
    let all = boards.iter().flat_map(queries);
    let mut waiting: Vec<Query> =
        all.filter(|query| EMPTY_WHEN_WELL.iter().any(|(panel, _)| *panel == query.of)).collect();
    let deadline = Instant::now() + 2 * LONG;
    while !waiting.is_empty() {
        assert!(Instant::now() < deadline, "{waiting:#?}");
        thread::sleep(Duration::from_secs(1));
        waiting.retain(|query| amiss(query, &answer(&receiver, query, ".*")).is_some());
    }
}
