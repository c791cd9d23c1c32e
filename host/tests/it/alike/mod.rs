//! What all plugins that ship have in common: a check passes, they stop at once, in a process of their own too, and a run of any
//! length leaves memory, descriptors and threads flat.
//!
//! [`PLUGINS`] is the table: what a plugin reads is set up in its row.

mod flat;
mod stop;

use std::any::Any;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::drive;
use crate::faults::LONG;
use crate::host::Host;
use crate::nvml::rig::Rig;
use crate::plugins;
use crate::python::cpython::CPython;
use crate::rapl::machine::{Machine, Zone, zone};
use crate::scrape::exporter::NodeExporter;
use crate::scrape::exposer::{Answer, Exposer};

/// A plugin that ships.
struct Plugin {
    package: &'static str,
    /// Makes what it reads; none on a machine that can't have it, which has said so.
    sensor: fn() -> Option<Sensor>,
    /// The same with less to tell, where that is too much to be read often.
    little: Option<fn() -> Option<Sensor>>,
    /// What it may wait for on its own when it is asked to stop.
    own_sleep: Duration,
    /// SCRAPE_INTERVAL_S when it is to read often, and when it is to wait for long.
    often_s: &'static str,
    seldom_s: &'static str,
}

/// What a plugin reads: there until this is dropped.
struct Sensor {
    variables: Vec<(&'static str, OsString)>,
    _alive: Box<dyn Any + Send + Sync>,
}

/// What most of them are.
const SENSOR: Plugin =
    Plugin { package: "", sensor: nothing, little: None, own_sleep: Duration::ZERO, often_s: "0.02", seldom_s: "30" };

/// All of them.
const PLUGINS: [Plugin; 6] = [
    Plugin { package: "monitor-dummy", ..SENSOR },
    Plugin { package: "monitor-rapl", sensor: powercap, ..SENSOR },
    Plugin { package: "monitor-nvml", sensor: gpus, ..SENSOR },
    // A thousand series at once, and a first scrape that comes within an interval.
    Plugin { package: "monitor-scrape", sensor: node_exporter, little: Some(exposer), seldom_s: "3", ..SENSOR },
    Plugin { package: "monitor-python", sensor: module_that_waits, ..SENSOR },
    Plugin { package: "monitor-python", sensor: module_that_sleeps, own_sleep: Duration::from_millis(300), ..SENSOR },
];

/// Where the plugin runs.
const MODES: [&str; 2] = ["off", "process"];

/// Held by whoever loads the machine, or suffers from it.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn nothing() -> Option<Sensor> {
    Some(Sensor { variables: Vec::new(), _alive: Box::new(()) })
}

const ZONES: &[Zone] = &[
    zone("intel-rapl:0", "package-0", 0, "package-0"),
    zone("intel-rapl:0:0", "core", 0, "package-0/core"),
    zone("intel-rapl:1", "package-1", 0, "package-1"),
];

fn powercap() -> Option<Sensor> {
    let machine = Machine::new(ZONES, 262_143_328_850, 7);
    let root = machine.root().as_os_str().to_owned();
    Some(Sensor { variables: vec![("SYSFS_ROOT", root)], _alive: Box::new(machine) })
}

fn gpus() -> Option<Sensor> {
    let rig = Rig::new(2);
    let variables = rig.variables().map(|(name, value)| (name, value.into_os_string()));
    Some(Sensor { variables: variables.into(), _alive: Box::new(rig) })
}

fn node_exporter() -> Option<Sensor> {
    let exporter = NodeExporter::start()?;
    Some(Sensor { variables: vec![("SCRAPE_TARGETS", exporter.url().into())], _alive: Box::new(exporter) })
}

/// A counter, a gauge, and a series whose text is another one each time: such come and go.
fn exposer() -> Option<Sensor> {
    let times = AtomicU64::new(0);
    let exposer = Exposer::start(move |_| {
        let time = times.fetch_add(1, Ordering::Relaxed);
        Answer::text(format!(
            "# HELP asked_total How often.\n# TYPE asked_total counter\nasked_total {time}\n# TYPE asked gauge\nasked{{to=\"tell\"}} 1\n\
             # TYPE turn gauge\nturn{{of=\"{}\"}} 1\n",
            time % 100
        ))
    });
    Some(Sensor { variables: vec![("SCRAPE_TARGETS", exposer.url("/metrics").into())], _alive: Box::new(exposer) })
}

fn module_that_waits() -> Option<Sensor> {
    module(include_str!("waits.py"))
}

fn module_that_sleeps() -> Option<Sensor> {
    module(include_str!("sleeps.py"))
}

fn module(text: &str) -> Option<Sensor> {
    let (python, folder) = (CPython::get()?, tempfile::tempdir().unwrap());
    let file = folder.path().join("monitor_impl.py");
    fs::write(&file, text).unwrap();
    let mut variables = vec![("MONITOR_IMPL_PY", file.into()), ("PYTHON_LIBRARY", python.library().into())];
    variables.extend(python.variables());
    Some(Sensor { variables, _alive: Box::new(folder) })
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.package)
    }
}

impl Sensor {
    fn given_to(&self, host: Host) -> Host {
        self.variables.iter().fold(host, |host, (name, value)| host.env(name, value))
    }
}

impl Plugin {
    /// A host that runs it, ten readings and ten pushes a second.
    fn host(&self, sensor: &Sensor, mode: &str, url: &str) -> Host {
        let host = Host::new().env("MONITOR_IMPL_PATH", plugins::so(self.package)).env("PLUGIN_ISOLATION", mode);
        sensor.given_to(host).env("REMOTE_WRITE_URL", url).env("PUSH_INTERVAL_S", "0.1")
    }
}

#[test]
fn a_check_finds_nothing_wrong() {
    drive::in_parallel(PLUGINS, |plugin| {
        let Some(sensor) = (plugin.sensor)() else { return };
        let check = Host::new().arg("check").arg(plugins::so(plugin.package)).arg("--json").arg("--seconds").arg("2");
        let running = sensor.given_to(check).spawn();
        let status = running.wait(LONG);
        let text = running.output().join("\n");
        let report: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{plugin:?}: {error}: {text}"));
        assert_eq!((status.code(), &report["problems"]), (Some(0), &Value::Array(Vec::new())), "{plugin:?}: {report}");
        assert_eq!(report["plugin"]["name"], plugin.package);
        assert!(report["run"]["samples"]["good"].as_u64() > Some(0), "{plugin:?}: {report}");
    });
}
