//! The stop, as a module is handed it: it behaves as `threading.Event`, and `isinstance` takes it for one.
//!
//! Enters: the host's stop, or the module's own `set`. Leaves: every wait at once. Never: unset again, so `clear` does nothing
//! but say so.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::arguments::Timeout;
use crate::host::{self, Kept};

/// The stop of one of the two functions.
#[pyclass(frozen, module = "monitor_host")]
pub(crate) struct StopEvent {
    run: Kept,
    worker: i32,
}

impl StopEvent {
    pub(crate) fn new(run: Kept, worker: i32) -> Self {
        StopEvent { run, worker }
    }
}

#[pymethods]
impl StopEvent {
    fn is_set(&self) -> bool {
        self.run.is_stopped(self.worker)
    }

    #[pyo3(name = "isSet")]
    fn is_set_in_camel_case(&self) -> bool {
        self.is_set()
    }

    #[pyo3(signature = (timeout = Timeout::NONE))]
    fn wait(&self, py: Python<'_>, timeout: Timeout<'_>) -> PyResult<bool> {
        // As its own does, it looks at no timeout when there is nothing to wait for.
        Ok(self.is_set() || self.run.wait_stopped(py, self.worker, timeout.of_event()?))
    }

    fn set(&self) {
        self.run.stop();
    }

    fn clear(&self, py: Python<'_>) {
        if self.is_set() {
            py.detach(|| host::log(2, "stop_event", "clear() was called: a stop is never taken back"));
        }
    }

    #[getter(__class__)]
    fn class<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyType>> {
        Ok(py.import(intern!(py, "threading"))?.getattr(intern!(py, "Event"))?.cast_into()?)
    }
}
