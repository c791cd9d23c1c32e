//! Energy, power and state of NVIDIA GPUs, as their driver tells them through NVML: a sensor plugin for `monitor-host`.
//!
//! `get_power` asks the driver on a fixed grid, and looks after GPUs and drivers that come and go; `process_data` makes the
//! answers into series. README.md has the settings and the series.

mod buffer;
mod code;
mod energy;
mod field;
mod gpu;
mod health;
mod history;
mod library;
mod mig;
mod output;
mod roll;
#[cfg(test)]
mod tests;
mod watch;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use monitor_plugin_api::{
    Error, MonitorImpl, RawReceiver, RawSender, RecordSender, Stop, export_monitor_impl, setting, tracing,
};
use nvml_wrapper::Nvml;

use code::{Code, Fate};
use gpu::Reading;
use health::Report;
use library::Library;
use output::Output;
use watch::{Plan, Watch};

/// All GPUs that are there at one moment, each with what was read of it.
struct Sweep {
    readings: Vec<Reading>,
    report: Option<Report>,
}

struct Gpus {
    plan: Plan,
    /// Until `get_power` takes it.
    nvml: Mutex<Option<Nvml>>,
}

impl MonitorImpl for Gpus {
    type Raw = Sweep;

    fn new() -> Result<Self, Error> {
        let (short, hour) = (Duration::from_millis(10), Duration::from_secs(3600));
        let plan = Plan {
            library: Library(setting("NVML_LIBRARY").text("libnvidia-ml.so.1")?),
            slow: setting("NVML_SLOW_INTERVAL_S").seconds(Duration::from_secs(1), short..=hour)?,
            pace: setting("NVML_RESCAN_S").seconds(Duration::from_secs(10), short..=hour)?,
            buffered: setting("NVML_SAMPLES").choice("on", &["on", "off"])? == "on",
        };
        let nvml = plan.library.init()?;
        match nvml.device_count().map_err(Code::of) {
            Ok(0) => return Err(plan.library.without_gpus()),
            Err(code) if code.fate() == Fate::Restart => {
                return Err(Error::new(format!("no NVML: GPUs can't be counted: {code}; see what nvidia-smi says")));
            }
            // Whatever it is, it is looked for again.
            _ => {}
        }
        let driver = nvml.sys_driver_version().unwrap_or_default();
        tracing::info!(driver, library = plan.library.0, "NVML is initialised");
        Ok(Gpus { plan, nvml: Mutex::new(Some(nvml)) })
    }

    fn get_power(&self, out: RawSender<Sweep>, scrape_interval: Duration, stop: Stop) -> Result<(), Error> {
        let nvml = self.nvml.lock().unwrap_or_else(PoisonError::into_inner).take();
        Watch::new(self.plan.clone(), stop.every(scrape_interval), out).run(nvml);
        Ok(())
    }

    fn process_data(&self, input: RawReceiver<Sweep>, out: RecordSender, _stop: Stop) -> Result<(), Error> {
        let mut output = Output::new(out);
        for sweep in input {
            output.take(&sweep)?;
        }
        Ok(())
    }
}

export_monitor_impl!(Gpus);
