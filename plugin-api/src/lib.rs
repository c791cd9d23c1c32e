//! What a sensor plugin of `monitor-host` is written against.
//!
//! A plugin is one shared library. Its author implements [`MonitorImpl`] and exports it with
//! [`export_monitor_impl!`]; the host runs `get_power` and `process_data` on two threads, joined by a bounded raw
//! queue, and does everything else: batching, encoding, pushing, retrying.
//!
//! ```
//! use std::time::Duration;
//! use monitor_plugin_api::{
//!     export_monitor_impl, now_ms, Error, MonitorImpl, RawReceiver, RawSender, Record, RecordSender, Stop,
//! };
//!
//! struct Load;
//!
//! impl MonitorImpl for Load {
//!     type Raw = (i64, f64);
//!
//!     fn new() -> Result<Self, Error> {
//!         Ok(Load)
//!     }
//!
//!     fn get_power(&self, out: RawSender<Self::Raw>, scrape_interval: Duration, stop: Stop) -> Result<(), Error> {
//!         for _ in stop.every(scrape_interval) {
//!             let text = std::fs::read_to_string("/proc/loadavg")?;
//!             let load = text.split(' ').next().unwrap_or_default().parse()?;
//!             // A full queue hands the reading back, and the host counts it.
//!             let _ = out.send((now_ms(), load));
//!         }
//!         Ok(())
//!     }
//!
//!     fn process_data(&self, input: RawReceiver<Self::Raw>, out: RecordSender, _stop: Stop) -> Result<(), Error> {
//!         for (timestamp_ms, load) in input {
//!             let _ = out.send(Record::new("node_load1", load).at(timestamp_ms));
//!         }
//!         Ok(())
//!     }
//! }
//!
//! export_monitor_impl!(Load);
//! # fn main() {}
//! ```
//!
//! Build it with `crate-type = ["cdylib"]`, and point MONITOR_IMPL_PATH at the library. The feature `testing` has a host
//! in memory, for its tests.

pub mod abi;
mod clock;
mod error;
mod exemplar;
#[doc(hidden)]
pub mod glue;
mod histogram;
mod log;
pub mod manifest;
mod queue;
mod record;
mod sender;
mod series;
mod settings;
mod stop;
#[cfg(feature = "testing")]
pub mod testing;

use std::time::Duration;

pub use abi::Sample;
pub use clock::{Clock, Moment};
pub use error::Error;
pub use exemplar::{Exemplar, WithExemplars};
pub use histogram::{Count, Histogram, HistogramSample};
pub use log::log_as;
pub use queue::{RawReceiver, RawSender};
pub use record::{Json, Record, now_ms};
pub use sender::{DEFAULT_TIMEOUT, Emit, RecordSender, SendError};
pub use series::{Kind, Series, SeriesSpec};
pub use settings::{Setting, setting};
pub use stop::{Every, Stop, Tick};
/// For a plugin's log: `tracing::warn!(…)` and its like reach the host's log.
pub use tracing;

/// The version of this crate, which is the version of the boundary.
pub const API_VERSION: &str = env!("CARGO_PKG_VERSION");

/// A sensor.
pub trait MonitorImpl: Send + Sync + Sized + 'static {
    /// What `get_power` reads and `process_data` turns into samples. The host never sees it.
    type Raw: Send + 'static;

    /// Prepares the sensor: reads settings, opens devices.
    ///
    /// # Errors
    /// The host logs the message and exits with status 3: it should say what is missing and what to do.
    fn new() -> Result<Self, Error>;

    /// Reads the sensor every `scrape_interval` until `stop` is set. Runs on a thread of its own.
    ///
    /// # Errors
    /// An error, a panic, or a return before `stop` is set ends the run: what was read is still delivered.
    fn get_power(&self, out: RawSender<Self::Raw>, scrape_interval: Duration, stop: Stop) -> Result<(), Error>;

    /// Turns readings into samples until `input` ends. Runs on a thread of its own.
    ///
    /// # Errors
    /// As for [`get_power`](Self::get_power): samples that were sent are still delivered.
    fn process_data(&self, input: RawReceiver<Self::Raw>, out: RecordSender, stop: Stop) -> Result<(), Error>;
}

/// A sensor whose readings already are what is sent: [`Record`], `Vec<Record>` or [`Json`]. It needs no `process_data`.
pub trait MonitorSource: Send + Sync + Sized + 'static {
    /// What `get_power` reads and the host sends.
    type Item: Emit + Send + 'static;

    /// As [`MonitorImpl::new`].
    ///
    /// # Errors
    /// As [`MonitorImpl::new`].
    fn new() -> Result<Self, Error>;

    /// As [`MonitorImpl::get_power`].
    ///
    /// # Errors
    /// As [`MonitorImpl::get_power`].
    fn get_power(&self, out: RawSender<Self::Item>, scrape_interval: Duration, stop: Stop) -> Result<(), Error>;
}

/// Makes a whole sensor of a [`MonitorSource`].
#[doc(hidden)]
pub struct FromSource<T>(T);

impl<T: MonitorSource> MonitorImpl for FromSource<T> {
    type Raw = T::Item;

    fn new() -> Result<Self, Error> {
        T::new().map(FromSource)
    }

    fn get_power(&self, out: RawSender<T::Item>, scrape_interval: Duration, stop: Stop) -> Result<(), Error> {
        self.0.get_power(out, scrape_interval, stop)
    }

    fn process_data(&self, input: RawReceiver<T::Item>, out: RecordSender, _stop: Stop) -> Result<(), Error> {
        for item in input {
            let mut offered = out.send(item);
            // Waiting here fills the raw queue, so that `get_power` feels the pressure and its refusals are counted.
            while let Err(SendError::Full(item)) = offered {
                offered = out.send(item);
            }
        }
        Ok(())
    }
}

/// Exports a [`MonitorImpl`] as the library's plugin: `export_monitor_impl!(Cpu);`. With `source`, a
/// [`MonitorSource`]: `export_monitor_impl!(source Cpu);`. Once in a crate.
///
/// With `threads_stay`, the manifest says that threads of libraries that the plugin opens go on behind its end, as those of an
/// interpreter do: `monitor-host check` has a hint then where it would find a problem.
#[macro_export]
macro_rules! export_monitor_impl {
    (source $monitor:ty) => {
        $crate::export_monitor_impl!($crate::FromSource<$monitor>);
    };
    (threads_stay $monitor:ty) => {
        $crate::export_monitor_impl!(@ $monitor, "threads=stay\n");
    };
    ($monitor:ty) => {
        $crate::export_monitor_impl!(@ $monitor, "");
    };
    (@ $monitor:ty, $more:literal) => {
        const _: () = {
            const OWN: &str =
                concat!("name=", env!("CARGO_PKG_NAME"), "\nversion=", env!("CARGO_PKG_VERSION"), "\n", $more);
            const LENGTH: usize = $crate::manifest::COMMON.len() + OWN.len() + 1;

            #[unsafe(export_name = "MONITOR_PLUGIN_MANIFEST")]
            static MANIFEST: [u8; LENGTH] = $crate::manifest::bytes(OWN);

            #[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
            static LOADER: $crate::__private::LibHeader = $crate::glue::header::<$monitor>();
        };
    };
}

/// The guide's example, compiled as the one above is.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Guide;

/// For the macro alone.
#[doc(hidden)]
pub mod __private {
    pub use abi_stable::library::{LibHeader, ROOT_MODULE_LOADER_NAME};
}

#[cfg(test)]
mod tests {
    /// A macro needs the name as a literal.
    #[test]
    fn the_loader_symbol_is_the_one_that_hosts_look_for() {
        let source = include_str!("lib.rs");
        let exported = format!("#[unsafe(export_name = {:?})]", super::__private::ROOT_MODULE_LOADER_NAME);
        assert!(source.contains(&exported), "{exported}");
    }
}
