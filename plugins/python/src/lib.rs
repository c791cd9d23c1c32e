//! Runs an unchanged `monitor_impl.py`: a sensor plugin for `monitor-host`.
//!
//! This library knows no Python: `library` finds one and opens it for the whole process, then `bridge` opens the library
//! beside this one that is written against it. The host's two threads wait there while the module's two functions run; what
//! these are handed calls back through `offered` to `run`, where the host's queues and stops are. README.md has the settings.

mod bridge;
mod gate;
mod item;
mod library;
mod offered;
mod run;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use monitor_plugin_api::{
    Error, MonitorImpl, RawReceiver, RawSender, RecordSender, Stop, export_monitor_impl, setting, tracing,
};
use monitor_python_table::worker;

use bridge::Loaded;
use item::Owned;
use run::Run;

/// The module's name, where none is given.
const MODULE: &str = "monitor_impl.py";

/// The host's default of PROC_QUEUE_SIZE.
const OUTPUT_CAPACITY: u64 = 1000;

struct Python {
    module: Loaded,
    run: Arc<Run>,
}

impl MonitorImpl for Python {
    type Raw = Owned;

    fn new() -> Result<Self, Error> {
        let named = setting("MONITOR_IMPL_PY").text("")?;
        let own = library::lies_at((Python::new as fn() -> Result<Python, Error>) as *const _)
            .ok_or_else(|| Error::new("the plugin lies in no file"))?;
        let path = module_path(&named, &own)?;
        // A flag of the host's would not be seen; then `maxsize` is not right, and nothing else.
        let output_capacity =
            setting("PROC_QUEUE_SIZE").number(OUTPUT_CAPACITY, 1..=u64::MAX).unwrap_or(OUTPUT_CAPACITY);
        let python = library::open(&setting("PYTHON_LIBRARY").text("")?)?;
        let bridge = bridge::open(&beside(&own, bridge::FILE))?;
        let run = Arc::new(Run::new(output_capacity));
        let module = Loaded::new(bridge, &run, &path)
            .map_err(|error| error.context(format_args!("Python {}", python.version)))?;
        tracing::info!(
            python = python.version,
            library = %python.path.display(),
            module = %path.display(),
            "the module is loaded"
        );
        Ok(Python { module, run })
    }

    fn get_power(&self, out: RawSender<Owned>, scrape_interval: Duration, stop: Stop) -> Result<(), Error> {
        self.run.begin_get_power(out, stop);
        let ended = self.module.work(worker::GET_POWER, scrape_interval);
        self.run.end_get_power();
        ended
    }

    fn process_data(&self, input: RawReceiver<Owned>, out: RecordSender, stop: Stop) -> Result<(), Error> {
        self.run.begin_process_data(input, out, stop);
        let ended = self.module.work(worker::PROCESS_DATA, Duration::ZERO);
        self.run.end_process_data();
        ended
    }
}

/// Where the module lies: as it was named, or beside this library.
fn module_path(named: &str, own: &Path) -> Result<PathBuf, Error> {
    let path = if named.is_empty() { beside(own, MODULE) } else { PathBuf::from(named) };
    let path = std::path::absolute(&path).map_err(|error| Error::from(error).context(path.display()))?;
    match std::fs::metadata(&path) {
        Ok(file) if file.is_file() => Ok(path),
        found => {
            let why = found.map_or_else(|error| error.to_string(), |_| "this is no file".to_owned());
            Err(Error::new(format!(
                "no module: {}: {why}; put a {MODULE} beside the plugin, or name it in MONITOR_IMPL_PY",
                path.display()
            )))
        }
    }
}

/// A file beside this library; where that is a link, one beside what it points to will do as well.
fn beside(own: &Path, name: &str) -> PathBuf {
    let here = own.with_file_name(name);
    let there = own.canonicalize().map(|own| own.with_file_name(name));
    match there {
        Ok(there) if !here.exists() && there.exists() => there,
        _ => here,
    }
}

export_monitor_impl!(threads_stay Python);
