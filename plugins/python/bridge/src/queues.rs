//! The two queues that a module is handed; both behave as `queue.Queue`, and `isinstance` takes them for one.
//!
//! Enters: any object into the raw queue, dictionaries and lists of them into the output queue. Leaves: the same object out
//! of the raw queue; a JSON document to the host. Never: waits with the interpreter's lock held; raises for what an
//! object holds.

use std::cell::RefCell;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use monitor_python_table::worker;
use pyo3::exceptions::{PySystemExit, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyType;
use pyo3::{create_exception, import_exception, intern};

use crate::arguments::{Timeout, Truth};
use crate::host::{Kept, Refused, Wait};
use crate::json;

import_exception!(queue, Empty);
import_exception!(queue, Full);

create_exception!(
    monitor_host,
    RunOver,
    PySystemExit,
    "Raised where a queue would wait for ever although the run is over; it ends the thread, as sys.exit does."
);

/// What is between the two functions.
#[pyclass(frozen, module = "monitor_host")]
pub(crate) struct RawQueue {
    run: Kept,
    tasks: Tasks,
}

impl RawQueue {
    pub(crate) fn new(run: Kept) -> Self {
        RawQueue { run, tasks: Tasks::default() }
    }

    /// Nobody does a task any more.
    pub(crate) fn close(&self) {
        self.tasks.close();
    }

    fn put_waiting(&self, py: Python<'_>, item: Py<PyAny>, wait: Wait) -> PyResult<()> {
        // Before it can be taken out: its taker may be done with it before this thread goes on.
        self.tasks.add();
        self.run.put(py, item, wait).map_err(|refused| {
            self.tasks.take_back();
            full(refused, wait)
        })
    }

    fn get_waiting(&self, py: Python<'_>, wait: Wait) -> PyResult<Py<PyAny>> {
        self.run.get(py, wait).map_err(|refused| empty(refused, wait))
    }
}

#[pymethods]
impl RawQueue {
    #[pyo3(signature = (item, block = Truth(true), timeout = Timeout::NONE))]
    fn put(&self, py: Python<'_>, item: Py<PyAny>, block: Truth, timeout: Timeout<'_>) -> PyResult<()> {
        self.put_waiting(py, item, timeout.of_queue(&block)?)
    }

    fn put_nowait(&self, py: Python<'_>, item: Py<PyAny>) -> PyResult<()> {
        self.put_waiting(py, item, Wait::For(0))
    }

    #[pyo3(signature = (block = Truth(true), timeout = Timeout::NONE))]
    fn get(&self, py: Python<'_>, block: Truth, timeout: Timeout<'_>) -> PyResult<Py<PyAny>> {
        self.get_waiting(py, timeout.of_queue(&block)?)
    }

    fn get_nowait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.get_waiting(py, Wait::For(0))
    }

    fn qsize(&self) -> u64 {
        self.run.waiting()
    }

    fn empty(&self) -> bool {
        self.run.waiting() == 0
    }

    fn full(&self) -> bool {
        self.run.waiting() >= self.run.capacity()
    }

    #[getter]
    fn maxsize(&self) -> u64 {
        self.run.capacity()
    }

    #[getter]
    fn unfinished_tasks(&self) -> u64 {
        self.tasks.lock().unfinished
    }

    fn task_done(&self) -> PyResult<()> {
        if self.tasks.finish() { Ok(()) } else { Err(PyValueError::new_err("task_done() called too many times")) }
    }

    fn join(&self, py: Python<'_>) -> PyResult<()> {
        if py.detach(|| self.tasks.join()) { Ok(()) } else { Err(over()) }
    }

    #[getter(__class__)]
    fn class<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyType>> {
        queue_class(py)
    }
}

/// What takes dictionaries and lists of them to the host.
#[pyclass(frozen, module = "monitor_host")]
pub(crate) struct OutputQueue {
    run: Kept,
}

impl OutputQueue {
    pub(crate) fn new(run: Kept) -> Self {
        OutputQueue { run }
    }

    fn send(&self, py: Python<'_>, item: &Bound<'_, PyAny>, wait: Wait) -> PyResult<()> {
        thread_local! {
            static DOCUMENT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        // Taken out while it is written: an object's own code may run meanwhile, and put as well.
        let mut document = DOCUMENT.take();
        document.clear();
        json::write(item, &mut document);
        let sent = self.run.send(py, &document, wait);
        if document.capacity() <= 1 << 20 {
            DOCUMENT.set(document);
        }
        sent.map_err(|refused| full(refused, wait))
    }
}

#[pymethods]
impl OutputQueue {
    #[pyo3(signature = (item, block = Truth(true), timeout = Timeout::NONE))]
    fn put(&self, item: &Bound<'_, PyAny>, block: Truth, timeout: Timeout<'_>) -> PyResult<()> {
        self.send(item.py(), item, timeout.of_queue(&block)?)
    }

    fn put_nowait(&self, item: &Bound<'_, PyAny>) -> PyResult<()> {
        self.send(item.py(), item, Wait::For(0))
    }

    /// What was put is the host's at once, so there is never anything to take back.
    #[pyo3(signature = (block = Truth(true), timeout = Timeout::NONE))]
    fn get(&self, py: Python<'_>, block: Truth, timeout: Timeout<'_>) -> PyResult<()> {
        let wait = timeout.of_queue(&block)?;
        let is_over = wait != Wait::For(0) && self.run.wait_stopped(py, worker::PROCESS_DATA, wait);
        Err(empty(if is_over { Refused::Over } else { Refused::TimedOut }, wait))
    }

    fn get_nowait(&self) -> PyResult<()> {
        Err(Empty::new_err(()))
    }

    fn qsize(&self) -> u64 {
        0
    }

    fn empty(&self) -> bool {
        true
    }

    fn full(&self) -> bool {
        false
    }

    #[getter]
    fn maxsize(&self) -> u64 {
        self.run.output_capacity()
    }

    #[getter]
    fn unfinished_tasks(&self) -> u64 {
        0
    }

    fn task_done(&self) -> PyResult<()> {
        Err(PyValueError::new_err("task_done() called too many times"))
    }

    fn join(&self) {}

    #[getter(__class__)]
    fn class<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyType>> {
        queue_class(py)
    }
}

fn queue_class(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    Ok(py.import(intern!(py, "queue"))?.getattr(intern!(py, "Queue"))?.cast_into()?)
}

fn full(refused: Refused, wait: Wait) -> PyErr {
    if refused == Refused::Over && wait == Wait::Forever { over() } else { Full::new_err(()) }
}

fn empty(refused: Refused, wait: Wait) -> PyErr {
    if refused == Refused::Over && wait == Wait::Forever { over() } else { Empty::new_err(()) }
}

fn over() -> PyErr {
    RunOver::new_err(())
}

/// Items that were put and of which nobody has said that they are done.
#[derive(Debug, Default)]
struct Tasks {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    unfinished: u64,
    closed: bool,
}

impl Tasks {
    fn add(&self) {
        self.lock().unfinished += 1;
    }

    fn take_back(&self) {
        self.finish();
    }

    /// One is done; whether there was one.
    fn finish(&self) -> bool {
        let mut state = self.lock();
        let Some(left) = state.unfinished.checked_sub(1) else { return false };
        state.unfinished = left;
        if left == 0 {
            self.changed.notify_all();
        }
        true
    }

    /// Waits until all are done; false where nobody does them any more.
    fn join(&self) -> bool {
        let state = self.lock();
        let waits = |state: &mut State| state.unfinished > 0 && !state.closed;
        let state = self.changed.wait_while(state, waits).unwrap_or_else(PoisonError::into_inner);
        state.unfinished == 0
    }

    fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
