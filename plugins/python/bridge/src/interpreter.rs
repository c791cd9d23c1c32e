//! The interpreter: started once in a process, never ended. What is said in Python stands in `prelude.py`.
//!
//! Enters: the wish for a Python. Leaves: one whose log, output and signals are the host's.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyModule;

use crate::{ending, host};

static PRELUDE: Mutex<Option<Py<PyModule>>> = Mutex::new(None);

/// Starts the interpreter, if it does not run yet; or why it can't be used.
pub(crate) fn start() -> Result<(), String> {
    let mut prelude = PRELUDE.lock().unwrap_or_else(PoisonError::into_inner);
    if prelude.is_some() {
        return Ok(());
    }
    ending::STARTING.store(true, Ordering::Relaxed);
    ending::register();
    // Without handlers of signals.
    Python::initialize();
    ending::STARTING.store(false, Ordering::Relaxed);
    let made = Python::attach(|py| {
        let made = PyModule::from_code(
            py,
            std::ffi::CString::new(include_str!("prelude.py"))?.as_c_str(),
            c"<monitor-host>",
            c"monitor_host",
        )?;
        made.setattr("__file__", "<monitor-host>")?;
        made.call_method1("prepare", (wrap_pyfunction!(write, &made)?, python_level(host::log_level())))?;
        Ok(made.unbind())
    });
    *prelude = Some(made.map_err(|error: PyErr| error.to_string())?);
    Ok(())
}

/// The module of `prelude.py`.
pub(crate) fn prelude(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    let prelude = PRELUDE.lock().unwrap_or_else(PoisonError::into_inner);
    let prelude = prelude.as_ref().map(|prelude| prelude.bind(py).clone());
    prelude.ok_or_else(|| pyo3::exceptions::PyRuntimeError::new_err("the interpreter is not started"))
}

/// What was raised, where, and why, in one line.
pub(crate) fn explain(error: &PyErr) -> String {
    Python::attach(|py| {
        let explained = prelude(py)
            .and_then(|prelude| prelude.call_method1("explain", (error.value(py), error.traceback(py)))?.extract());
        explained.unwrap_or_else(|_| error.to_string())
    })
}

/// Writes out what was printed.
pub(crate) fn flush(py: Python<'_>) {
    let _ = prelude(py).and_then(|prelude| prelude.call_method0("flush"));
}

/// The functions that were registered with `atexit` run.
pub(crate) fn finish(py: Python<'_>) {
    if let Err(error) = prelude(py).and_then(|prelude| prelude.call_method0("finish")) {
        host::log(2, "atexit", &error.to_string());
    }
}

/// What `logging` has to say.
#[pyfunction]
fn write(py: Python<'_>, level: i64, who: &str, said: &str) {
    let level = match level {
        40.. => 1,
        30..40 => 2,
        20..30 => 3,
        10..20 => 4,
        _ => 5,
    };
    py.detach(|| host::log(level, who, said));
}

/// The lowest of `logging`'s levels that the host's log shows.
fn python_level(host_level: i32) -> i64 {
    match host_level {
        ..=0 => 1000,
        1 => 40,
        2 => 30,
        3 => 20,
        4 => 10,
        _ => 1,
    }
}
