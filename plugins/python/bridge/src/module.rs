//! A module: loaded, its two functions run, its failures told in one line.
//!
//! Enters: a path; then the calls of the two workers, each on a thread of its own. Leaves: the functions' own ends. Never:
//! ends the interpreter, whose threads may go on.

use std::sync::atomic::{AtomicU32, Ordering};

use monitor_python_table::worker;
use pyo3::exceptions::PySystemExit;
use pyo3::prelude::*;

use crate::ending;
use crate::event::StopEvent;
use crate::host::{Kept, Wait};
use crate::interpreter;
use crate::queues::{OutputQueue, RawQueue, RunOver};

/// A module that is loaded.
pub(crate) struct Module {
    run: Kept,
    /// `get_power` and `process_data`.
    functions: [Py<PyAny>; 2],
    raw: Py<RawQueue>,
    /// Functions that have not ended.
    at_work: AtomicU32,
}

impl Module {
    /// Loads the module at `path`; or why it can't be.
    pub(crate) fn load(run: Kept, path: &str) -> Result<Self, String> {
        interpreter::start()?;
        ending::register();
        Python::attach(|py| {
            let functions = interpreter::prelude(py)?.call_method1("load", (path,))?.extract()?;
            let raw = Py::new(py, RawQueue::new(run.clone()))?;
            Ok(Module { run, functions, raw, at_work: AtomicU32::new(0) })
        })
        .map_err(|error| interpreter::explain(&error))
    }

    /// Runs one of its functions until it ends; why it failed, if it did.
    pub(crate) fn work(&self, worker: i32, scrape_interval_s: f64) -> Result<(), String> {
        self.at_work.fetch_add(1, Ordering::AcqRel);
        let ended = Python::attach(|py| {
            let ended = self.call(py, worker, scrape_interval_s);
            if worker == worker::PROCESS_DATA {
                self.raw.get().close();
            }
            interpreter::flush(py);
            ended.or_else(|error| self.judge(py, worker, error))
        });
        self.at_work.fetch_sub(1, Ordering::AcqRel);
        ending::register();
        ended.map_err(|error| interpreter::explain(&error))
    }

    fn call(&self, py: Python<'_>, worker: i32, scrape_interval_s: f64) -> PyResult<()> {
        let stop = Py::new(py, StopEvent::new(self.run.clone(), worker))?;
        let (prelude, [get_power, process_data]) = (interpreter::prelude(py)?, &self.functions);
        let raw = self.raw.clone_ref(py);
        if worker == worker::GET_POWER {
            prelude.call_method1("run", ("get_power", get_power, raw, scrape_interval_s, stop))?;
        } else {
            let out = Py::new(py, OutputQueue::new(self.run.clone()))?;
            prelude.call_method1("run", ("process_data", process_data, raw, out, stop))?;
        }
        Ok(())
    }

    /// A function may end by `sys.exit()` when it was asked to stop, and by a wait that the end of the run has ended.
    fn judge(&self, py: Python<'_>, worker: i32, error: PyErr) -> PyResult<()> {
        if error.is_instance_of::<RunOver>(py) {
            // Whatever ended the run is told first, and then this one is asked to stop.
            self.run.wait_stopped(py, worker, Wait::Forever);
            return Ok(());
        }
        let is_quiet = error.is_instance_of::<PySystemExit>(py) && {
            let code = error.value(py).getattr("code")?;
            code.is_none() || code.eq(0)?
        };
        if is_quiet && self.run.is_stopped(worker) { Ok(()) } else { Err(error) }
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // One that ignores the stop may hold the lock for ever.
        if self.at_work.load(Ordering::Acquire) == 0 {
            Python::attach(interpreter::finish);
            ending::register();
        }
    }
}
