//! The bridge, as the plugin sees it: opened, asked for its table, and called.
//!
//! Enters: calls of the workers. Leaves: what the module did, as a `Result`. The calls that come back are in `offered`.
//! Never: closes the bridge; opens one of another version.

#![allow(unsafe_code, reason = "opening a library, and trusting its table, can't be checked by the compiler")]

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use monitor_plugin_api::Error;
use monitor_python_table::{Answer, Bridge, Bytes, ENTRY, Entry, Module, VERSION};

use crate::offered;
use crate::run::Run;

/// The file's name; it lies beside the plugin.
pub(crate) const FILE: &str = "libmonitor_python_bridge.so";

/// Opens the bridge at `path`. A Python must have been opened before.
pub(crate) fn open(path: &Path) -> Result<&'static Bridge, Error> {
    let shown = path.display();
    let belongs = "it belongs to libmonitor_python.so: copy both of them, from one build";
    if !path.is_file() {
        return Err(Error::new(format!("{shown} is missing; {belongs}")));
    }
    // SAFETY: a library of ours, whose constructors do nothing; trusted as the plugin itself is, beside which it lies.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map_err(|error| {
        let text = std::error::Error::source(&error).map_or(error.to_string(), ToString::to_string);
        Error::new(format!("{shown} can't be opened: {text}; {belongs}"))
    })?;
    let library = std::mem::ManuallyDrop::new(library);
    // SAFETY: whatever its version, the bridge exports this function with this type.
    let entry = unsafe { library.get::<Entry>(ENTRY.to_bytes_with_nul()) };
    let entry = entry.map_err(|_| Error::new(format!("{shown} is another library; {belongs}")))?;
    // SAFETY: a static of a library that is never closed, which begins with its version whatever that is.
    let version = unsafe { (*entry()).version };
    if version != VERSION {
        return Err(Error::new(format!("{shown} is of another version ({version}, not {VERSION}); {belongs}")));
    }
    // SAFETY: the same static; of this version it has this type.
    Ok(unsafe { &*entry() })
}

/// A module that is loaded.
#[derive(Debug)]
pub(crate) struct Loaded {
    bridge: &'static Bridge,
    module: Module,
}

impl Loaded {
    /// Loads the module at `path`, for `run`.
    pub(crate) fn new(bridge: &'static Bridge, run: &Arc<Run>, path: &Path) -> Result<Self, Error> {
        let (host, run) = (offered::table(bridge), offered::name(run));
        let (module, said) =
            Answer::of(|answer| (bridge.load)(host, run, Bytes::of(path.as_os_str().as_bytes()), answer));
        if module.0.is_null() { Err(Error::new(said)) } else { Ok(Loaded { bridge, module }) }
    }

    /// Runs one of its functions on this thread, until it ends.
    pub(crate) fn work(&self, worker: i32, scrape_interval: Duration) -> Result<(), Error> {
        let (ended_well, said) =
            Answer::of(|answer| (self.bridge.work)(self.module, worker, scrape_interval.as_secs_f64(), answer));
        if ended_well { Ok(()) } else { Err(Error::new(said)) }
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        (self.bridge.unload)(self.module);
    }
}
