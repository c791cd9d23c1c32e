//! The plugin: found, looked at, loaded, and run.
//!
//! Enters: the path of a shared library. Leaves: a [`Plugin`] whose two workers the pipeline runs on its threads, or a
//! [`LoadError`] that says in one line what is wrong with which file and what to do.
//!
//! `preflight` reads the file before anything in it can run; `load` is the only place that opens it; `boundary` is
//! what the plugin sees of the host. No other module of the host knows the ABI.

mod boundary;
mod load;
mod preflight;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;

pub use boundary::HostSettings;
pub use load::{Library, Plugin, Worker, WorkerError, load};
pub use preflight::inspect;

/// Why a library can't be the plugin.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct LoadError {
    message: String,
    /// More for whoever looks closer; may have hundreds of lines.
    pub detail: String,
}

impl LoadError {
    fn new(path: &std::path::Path, wrong: impl std::fmt::Display) -> Self {
        LoadError { message: format!("{}: {wrong}", path.display()), detail: String::new() }
    }

    fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }
}
