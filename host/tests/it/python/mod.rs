//! Existing Python clients under the bridge: unchanged modules, real CPython, real libraries.
//!
//! Enters: nothing. Leaves: hosts with the bridge. Never: takes a Python of the system's.

mod bridge;
pub(crate) mod cpython;
mod pyjoules;
mod row;
mod table;

use std::path::Path;

use cpython::CPython;

use crate::host::Host;
use crate::plugins;

/// The modules under test, and the program that stands in for the one that they were written for.
const MODULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/python/modules");
const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/python/reference.py");

/// A host that runs this module.
fn host(python: &CPython, module: &Path) -> Host {
    // Lies beside the plugin then.
    plugins::so("monitor-python-bridge");
    let host = Host::new().env("MONITOR_IMPL_PATH", plugins::so("monitor-python")).env("MONITOR_IMPL_PY", module);
    let host = host.env("PYTHON_LIBRARY", python.library());
    python.variables().into_iter().fold(host, |host, (name, value)| host.env(name, value))
}
