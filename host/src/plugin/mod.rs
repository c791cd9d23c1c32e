//! The plugin: found, looked at, loaded, and run.
//!
//! Enters: the path of a shared library. Leaves: a [`Plugin`] whose two workers the pipeline runs on its threads, or a
//! [`LoadError`] that says in one line what is wrong with which file and what to do.
//!
//! `preflight` reads the file before anything in it can run; `load` is the only place that opens it; `explain` says in
//! one line what went wrong there; `boundary` is what the plugin sees of the host, `log` bounds what it says, and `presence`
//! is what the host sees of it; `process` puts a pipe between the two; `source` makes instances either way. No other
//! module of the host knows the ABI.

mod boundary;
mod explain;
mod load;
mod log;
mod preflight;
mod presence;
pub mod process;
mod source;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;

pub use boundary::HostSettings;
pub use load::{Library, Plugin, Worker, WorkerError, load};
pub use preflight::{inspect, inspect_bytes};
pub use presence::{Handles, Presence};
pub use source::{Isolation, Meter, Running, Source};

/// Both workers, in the order of the path.
pub const WORKERS: [Worker; 2] = [Worker::GetPower, Worker::ProcessData];

/// The name under which the end of a plugin's process is told.
pub const PROCESS: &str = "process";

/// Something has ended: a worker, the plugin's process, or, where it panicked, a stage of the host's own.
#[derive(Debug)]
pub struct Ended {
    /// A worker's function, [`PROCESS`], or the stage.
    pub name: &'static str,
    /// How.
    pub result: Result<(), WorkerError>,
}

/// Why a library can't be the plugin.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct LoadError {
    message: String,
    /// More for whoever looks closer; may have hundreds of lines.
    pub detail: String,
    /// Where a panic came from, if RUST_BACKTRACE asked for it.
    pub backtrace: String,
}

impl LoadError {
    fn new(path: &std::path::Path, wrong: impl std::fmt::Display) -> Self {
        LoadError { message: format!("{}: {wrong}", path.display()), detail: String::new(), backtrace: String::new() }
    }

    /// A thread of the host's own has panicked.
    pub(crate) fn defect() -> Self {
        let message = "the plugin could not be made: this is a defect of monitor-host, please report it".to_owned();
        LoadError { message, detail: String::new(), backtrace: String::new() }
    }

    fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }
}
