//! The only place where a library is opened, and what it becomes then.
//!
//! Enters: a path that `preflight` has looked at. Leaves: a [`Plugin`]. A library stays loaded until the process ends:
//! its threads, its thread-locals and what it handed out may live as long.
//!
//! The library's types are compared with ours by abi_stable, both ways: a plugin built with a newer API of this major
//! version lacks nothing that we use, and one built with an older API is asked for nothing that it lacks.

#![allow(unsafe_code, reason = "opening a library, and trusting its loader symbol, can't be checked by the compiler")]

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use abi_stable::StableAbi;
use abi_stable::abi_stability::abi_checking::check_layout_compatibility;
use abi_stable::library::{AbiHeaderRef, LibHeader, LibraryError, ROOT_MODULE_LOADER_NAME_WITH_NUL};
use abi_stable::std_types::{RErr, ROk, RResult};
use libloading::os::unix::{Library as OsLibrary, RTLD_LOCAL, RTLD_NOW};
use monitor_plugin_api::API_VERSION;
use monitor_plugin_api::abi::{AbiError, HostBox, MonitorBox, PluginModuleRef, RawQueueStats, failure, worker};
use monitor_plugin_api::manifest::Manifest;

use super::boundary::{Host, HostSettings};
use super::log::PluginLog;
use super::{Handles, LoadError, Presence, explain, preflight};
use crate::intake::Intake;

/// A library that is open and fits; no code of its author has run yet, but for constructors.
pub struct Library {
    module: PluginModuleRef,
    /// What it says about itself.
    pub manifest: Manifest,
}

/// Opens the library at `path`.
///
/// # Errors
/// The file is not a plugin, or not one that this host can run.
pub fn load(path: &Path) -> Result<Library, LoadError> {
    let manifest = preflight::inspect(path)?;
    // An absolute path: a bare name would be looked for in the system's library folders.
    let absolute = std::path::absolute(path).map_err(|error| LoadError::new(path, error))?;
    // SAFETY: the file is a whole shared library for this machine that exports a plugin's symbols; its constructors
    // are trusted as far as the operator trusts the plugin.
    let library = unsafe { OsLibrary::open(Some(&absolute), RTLD_NOW | RTLD_LOCAL) };
    let library = library.map_err(|error| {
        let error = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        LoadError::new(path, explain::opening(&error, &absolute)).detail(error)
    })?;
    // SAFETY: the macro exports a `LibHeader` under this name, which begins with an `AbiHeader`; `upgrade` checks its
    // magic before it is read as more than that.
    let header =
        unsafe { library.get::<AbiHeaderRef>(ROOT_MODULE_LOADER_NAME_WITH_NUL.as_bytes()).map(|symbol| *symbol) };
    std::mem::forget(library);
    let header = header.map_err(|error| LoadError::new(path, format_args!("has no loader: {error}")))?;
    let unfit = |error: LibraryError| LoadError::new(path, explain::loader(&error)).detail(error.to_string());
    let header = header.upgrade().map_err(unfit)?;
    let module = match header.init_root_module::<PluginModuleRef>() {
        Err(LibraryError::AbiInstability(report)) => older(header, &manifest)
            .map_err(|line| LoadError::new(path, line).detail(report.to_string()))?
            .map_err(unfit)?,
        other => other.map_err(unfit)?,
    };
    Ok(Library { module, manifest })
}

/// The module of a plugin that lacks what this host's API has grown; else what differs, in one line.
fn older(header: &'static LibHeader, manifest: &Manifest) -> Result<Result<PluginModuleRef, LibraryError>, String> {
    let ours = <PluginModuleRef as StableAbi>::LAYOUT;
    let theirs = header.layout().unwrap_or(ours);
    let Err(seen_by_plugin) = check_layout_compatibility(theirs, ours) else {
        // SAFETY: seen from the plugin's side our types are a later version of its own, which may only have grown at the
        // end of prefix types; what it lacks reads as absent, and the caller's default steps in.
        return Ok(unsafe { header.init_root_module_with_unchecked_layout::<PluginModuleRef>() });
    };
    let minor = |version: &str| version.split('.').nth(1).and_then(|minor| minor.parse::<u64>().ok());
    if minor(&manifest.api) < minor(API_VERSION) {
        return Err(explain::layout(&seen_by_plugin, true));
    }
    match check_layout_compatibility(ours, theirs) {
        Err(seen_by_us) => Err(explain::layout(&seen_by_us, false)),
        Ok(()) => Err(explain::layout(&seen_by_plugin, true)),
    }
}

/// The version of the C library that this process runs with, as in `2.36`.
pub(super) fn glibc_version() -> Option<&'static str> {
    #[cfg(target_env = "gnu")]
    {
        unsafe extern "C" {
            safe fn gnu_get_libc_version() -> *const std::ffi::c_char;
        }
        // SAFETY: the C library promises static text that ends with a NUL.
        unsafe { std::ffi::CStr::from_ptr(gnu_get_libc_version()) }.to_str().ok()
    }
    #[cfg(not(target_env = "gnu"))]
    None
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Library").field("manifest", &self.manifest).finish()
    }
}

impl Library {
    /// Makes the plugin: its author's `new()` runs.
    ///
    /// # Errors
    /// What `new()` said.
    pub fn create(&self, path: &Path, intake: Arc<Intake>, settings: HostSettings) -> Result<Plugin, LoadError> {
        let (presence, log) = (Arc::new(Presence::new(Handles::Own)), Arc::new(PluginLog::new()));
        let created = self.create_with(path, Host { intake, settings, presence, log: Arc::clone(&log) }.boxed());
        if created.is_err() {
            log.finish();
        }
        created
    }

    /// As [`create`](Self::create), for a host that is somewhere else.
    pub(super) fn create_with(&self, path: &Path, host: HostBox) -> Result<Plugin, LoadError> {
        match self.module.create()(host) {
            ROk(monitor) => Ok(Plugin { monitor }),
            RErr(error) => {
                let refused = LoadError::new(path, format_args!("the plugin can't start: {}", error.message));
                Err(LoadError { backtrace: error.detail.into_string(), ..refused })
            }
        }
    }
}

/// One of a plugin's two workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Worker {
    /// Reads the sensor.
    GetPower,
    /// Turns readings into samples.
    ProcessData,
}

impl Worker {
    /// The name of its function.
    pub fn name(self) -> &'static str {
        match self {
            Worker::GetPower => "get_power",
            Worker::ProcessData => "process_data",
        }
    }
}

/// Why a worker ended.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct WorkerError {
    message: String,
    /// Whether it panicked.
    pub panicked: bool,
    /// A backtrace, where one was asked for; of a process, the last lines on its stderr.
    pub detail: String,
}

impl From<AbiError> for WorkerError {
    fn from(error: AbiError) -> Self {
        let (message, detail) = (error.message.into_string(), error.detail.into_string());
        WorkerError { message, panicked: error.failure == failure::PANIC, detail }
    }
}

impl WorkerError {
    pub(crate) fn new(message: impl Into<String>, panicked: bool, detail: impl Into<String>) -> Self {
        WorkerError { message: message.into(), panicked, detail: detail.into() }
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// A stage of the host's own has panicked.
    pub(crate) fn defect(stage: &str) -> Self {
        let message = format!("{stage} panicked: this is a defect of monitor-host, please report it");
        WorkerError { message, panicked: true, detail: String::new() }
    }
}

/// A plugin that is ready to run.
pub struct Plugin {
    monitor: MonitorBox,
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin").field("raw_queue", &self.raw_queue()).finish()
    }
}

impl Plugin {
    /// Runs one of its workers on this thread until it ends.
    ///
    /// # Errors
    /// The worker returned an error, or panicked.
    pub fn run(&self, worker: Worker) -> Result<(), WorkerError> {
        let ended: RResult<(), AbiError> = match worker {
            Worker::GetPower => self.monitor.get_power(),
            Worker::ProcessData => self.monitor.process_data(),
        };
        ended.into_result().map_err(WorkerError::from)
    }

    /// Asks one of its workers to end.
    pub fn stop(&self, worker: Worker) {
        self.monitor.stop(match worker {
            Worker::GetPower => worker::GET_POWER,
            Worker::ProcessData => worker::PROCESS_DATA,
        });
    }

    /// The books of its raw queue, in items.
    pub fn raw_queue(&self) -> RawQueueStats {
        self.monitor.raw_queue()
    }
}
