//! The plugin's table, made safe: one run of it, kept for as long as a Python object may call it.
//!
//! Enters: calls on the module's threads, with the interpreter's lock. Leaves: the same calls, and never a wait with the
//! lock held.

use std::sync::OnceLock;

use monitor_python_table::{Bytes, FOREVER, Host, Item, Run, code};
use pyo3::prelude::*;

static HOST: OnceLock<&'static Host> = OnceLock::new();

/// The plugin is there. There is one in a process.
pub(crate) fn connect(host: &'static Host) {
    HOST.get_or_init(|| host);
}

/// Writes into the host's log.
pub(crate) fn log(level: i32, who: &str, said: &str) {
    if let Some(host) = HOST.get() {
        (host.log)(level, Bytes::of(who.as_bytes()), Bytes::of(said.as_bytes()));
    }
}

/// The highest level that the host's log shows.
pub(crate) fn log_level() -> i32 {
    HOST.get().map_or(5, |host| (host.log_level)())
}

/// How long a call may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// So many nanoseconds, perhaps none.
    For(u64),
    Forever,
}

impl Wait {
    fn nanoseconds(self) -> u64 {
        match self {
            Wait::For(nanoseconds) => nanoseconds.min(FOREVER - 1),
            Wait::Forever => FOREVER,
        }
    }
}

/// Why nothing was moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    TimedOut,
    /// The run is over.
    Over,
}

/// The run that an object belongs to.
#[derive(Debug)]
pub(crate) struct Kept {
    host: &'static Host,
    run: Run,
}

impl Kept {
    pub(crate) fn new(host: &'static Host, run: Run) -> Self {
        (host.keep)(run);
        Kept { host, run }
    }

    /// Puts an object into the raw queue. Where there is room the lock is kept: a thread that gives it away may wait long
    /// until it has it again, however short its call.
    pub(crate) fn put(&self, py: Python<'_>, object: Py<PyAny>, wait: Wait) -> Result<(), Refused> {
        let item = Item(object.into_ptr().cast());
        let answer = match (self.host.try_put)(self.run, &item) {
            code::DONE => code::DONE,
            _ => py.detach(|| (self.host.put)(self.run, &item, wait.nanoseconds())),
        };
        refused(answer).inspect_err(|_| drop(crate::object(item)))
    }

    /// Takes an object out of the raw queue; as with [`put`](Self::put), the lock is kept if one is there.
    pub(crate) fn get(&self, py: Python<'_>, wait: Wait) -> Result<Py<PyAny>, Refused> {
        let mut item = Item(std::ptr::null_mut());
        let answer = match (self.host.try_get)(self.run, &mut item) {
            code::DONE => code::DONE,
            _ => py.detach(|| (self.host.get)(self.run, &mut item, wait.nanoseconds())),
        };
        refused(answer).map(|()| crate::object(item))
    }

    /// How many objects the raw queue holds.
    pub(crate) fn waiting(&self) -> u64 {
        (self.host.waiting)(self.run)
    }

    /// How many it holds at most.
    pub(crate) fn capacity(&self) -> u64 {
        (self.host.capacity)(self.run)
    }

    /// How many the host's own queue holds at most.
    pub(crate) fn output_capacity(&self) -> u64 {
        (self.host.output_capacity)(self.run)
    }

    /// Sends a JSON document.
    pub(crate) fn send(&self, py: Python<'_>, document: &[u8], wait: Wait) -> Result<(), Refused> {
        refused(py.detach(|| (self.host.send)(self.run, Bytes::of(document), wait.nanoseconds())))
    }

    /// Whether a worker should end.
    pub(crate) fn is_stopped(&self, worker: i32) -> bool {
        (self.host.is_stopped)(self.run, worker)
    }

    /// Waits until a worker should end; whether it should.
    pub(crate) fn wait_stopped(&self, py: Python<'_>, worker: i32, wait: Wait) -> bool {
        py.detach(|| (self.host.wait_stopped)(self.run, worker, wait.nanoseconds()))
    }

    /// Both workers should end.
    pub(crate) fn stop(&self) {
        (self.host.stop)(self.run);
    }
}

impl Clone for Kept {
    fn clone(&self) -> Self {
        Kept::new(self.host, self.run)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        (self.host.release)(self.run);
    }
}

fn refused(answer: i32) -> Result<(), Refused> {
    match answer {
        code::DONE => Ok(()),
        code::TIMED_OUT => Err(Refused::TimedOut),
        _ => Err(Refused::Over),
    }
}
