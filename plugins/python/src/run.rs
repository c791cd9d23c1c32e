//! One instance of the plugin, as its two workers and the objects that the module holds share it.
//!
//! Enters: what the host hands to the workers, when they start. Leaves: the raw queue, the way out and the stops, with the
//! meaning that Python's `queue.Queue` and `threading.Event` give to waits. Never: touches a Python object, waits for the
//! interpreter.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use monitor_plugin_api::{Json, RawReceiver, RawSender, RecordSender, SendError, Stop};
use monitor_python_table::worker;

use crate::gate::{Gate, Place};
use crate::item::Owned;

/// The instance. What the workers bring is waited for: the host starts both at once.
#[derive(Debug)]
pub(crate) struct Run {
    raw: OnceLock<Raw>,
    input: OnceLock<RawReceiver<Owned>>,
    out: OnceLock<RecordSender>,
    /// By [`worker`].
    stops: [OnceLock<Stop>; 2],
    /// PROC_QUEUE_SIZE.
    pub(crate) output_capacity: u64,
    /// `get_power` has ended.
    is_read: AtomicBool,
    /// The threads whose wait for an item was told that none will come.
    told: Mutex<HashSet<ThreadId>>,
    /// The module itself has asked for the stop.
    is_asked: AtomicBool,
}

#[derive(Debug)]
struct Raw {
    sender: RawSender<Owned>,
    gate: Gate,
}

/// Why nothing was moved.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It was not possible until the timeout.
    TimedOut,
    /// It will never be possible.
    Over,
}

impl Run {
    pub(crate) fn new(output_capacity: u64) -> Self {
        Run {
            raw: OnceLock::new(),
            input: OnceLock::new(),
            out: OnceLock::new(),
            stops: [OnceLock::new(), OnceLock::new()],
            output_capacity,
            is_read: AtomicBool::new(false),
            told: Mutex::default(),
            is_asked: AtomicBool::new(false),
        }
    }

    /// `get_power` starts.
    pub(crate) fn begin_get_power(&self, out: RawSender<Owned>, stop: Stop) {
        let gate = Gate::new(out.capacity());
        let _ = self.raw.set(Raw { sender: out, gate });
        self.set_stop(worker::GET_POWER, stop);
    }

    /// `get_power` has ended: what waits is still processed.
    pub(crate) fn end_get_power(&self) {
        self.is_read.store(true, Relaxed);
        self.raw().gate.close();
        self.settle(self.raw().gate.taken());
    }

    /// `process_data` starts.
    pub(crate) fn begin_process_data(&self, input: RawReceiver<Owned>, out: RecordSender, stop: Stop) {
        self.set_stop(worker::PROCESS_DATA, stop);
        let _ = self.out.set(out);
        let _ = self.input.set(input);
    }

    /// `process_data` has ended: nobody makes room any more.
    pub(crate) fn end_process_data(&self) {
        self.raw().gate.close();
    }

    /// Puts an item into the raw queue if there is room just now. One that comes back was not counted.
    pub(crate) fn try_put(&self, item: Owned) -> Result<(), (Refused, Owned)> {
        let Raw { sender, gate } = self.raw();
        if gate.is_closed() || gate.enter(Some(Duration::ZERO)) != Place::Taken {
            return Err((Refused::TimedOut, item));
        }
        sender.send_timeout(item, Duration::ZERO).map_err(|refused| {
            self.settle(gate.leave());
            (Refused::TimedOut, refused.into_inner())
        })
    }

    /// Puts an item into the raw queue. One that comes back was counted by it.
    pub(crate) fn put(&self, item: Owned, timeout: Option<Duration>) -> Result<(), (Refused, Owned)> {
        let Raw { sender, gate } = self.raw();
        let place = gate.enter(timeout);
        if place != Place::Taken {
            // The queue itself has the last word, and counts the attempt. Before it is made: the item's taker gives back a place.
            gate.force();
        }
        sender.send_timeout(item, Duration::ZERO).map_err(|refused| {
            self.settle(gate.leave());
            let over = refused.is_stopped() || place == Place::Never;
            (if over { Refused::Over } else { Refused::TimedOut }, refused.into_inner())
        })
    }

    /// Takes an item out of the raw queue if there is one just now.
    pub(crate) fn try_get(&self) -> Result<Owned, Refused> {
        let item = self.input.get().and_then(|input| input.pull_timeout(Duration::ZERO)).ok_or(Refused::TimedOut)?;
        self.settle(self.raw().gate.leave());
        Ok(item)
    }

    /// Takes an item out of the raw queue. At the end of the run a wait with a timeout ends early, once on each thread: one
    /// that asks again without a look at its event waits as long as it said, and not in a loop without a rest.
    pub(crate) fn get(&self, timeout: Option<Duration>) -> Result<Owned, Refused> {
        let input = self.input.wait();
        let item = match timeout {
            None => input.pull(),
            Some(timeout) => input.pull_timeout(timeout),
        };
        if let Some(item) = item {
            self.settle(self.raw().gate.leave());
            return Ok(item);
        }
        if !input.is_over() {
            return Err(Refused::TimedOut);
        }
        let is_news = self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(thread::current().id());
        if !is_news {
            thread::sleep(timeout.unwrap_or_default());
        }
        Err(Refused::Over)
    }

    /// How many items the raw queue holds.
    pub(crate) fn waiting(&self) -> u64 {
        self.raw().gate.taken()
    }

    /// How many it holds at most.
    pub(crate) fn capacity(&self) -> u64 {
        self.raw().gate.capacity
    }

    /// Sends a JSON document to the host.
    pub(crate) fn send(&self, document: &[u8], timeout: Option<Duration>) -> Result<(), Refused> {
        let out = self.out.wait();
        loop {
            match out.send_timeout(Json(document), timeout.unwrap_or(Duration::MAX)) {
                Ok(()) => return Ok(()),
                Err(SendError::Stopped(_)) => return Err(Refused::Over),
                // The host's longest wait is a day.
                Err(SendError::Full(_)) if timeout.is_none() => {}
                Err(SendError::Full(_)) => return Err(Refused::TimedOut),
            }
        }
    }

    /// Whether a worker should end.
    pub(crate) fn is_stopped(&self, worker: i32) -> bool {
        self.stop_of(worker).is_set()
    }

    /// Waits until a worker should end; whether it should.
    pub(crate) fn wait_stopped(&self, worker: i32, timeout: Option<Duration>) -> bool {
        self.stop_of(worker).wait(timeout.unwrap_or(Duration::MAX))
    }

    /// Both workers should end, as the module itself says.
    pub(crate) fn stop(&self) {
        self.is_asked.store(true, Relaxed);
        self.stops.iter().filter_map(OnceLock::get).for_each(Stop::set);
    }

    fn raw(&self) -> &Raw {
        self.raw.wait()
    }

    fn stop_of(&self, worker: i32) -> &Stop {
        self.stops[usize::from(worker == worker::PROCESS_DATA)].wait()
    }

    fn set_stop(&self, worker: i32, stop: Stop) {
        let stop = self.stops[usize::from(worker == worker::PROCESS_DATA)].get_or_init(|| stop);
        if self.is_asked.load(Relaxed) {
            stop.set();
        }
    }

    /// `process_data` should end when `get_power` has ended and nothing waits. A worker that never waits for an item learns
    /// it so, too.
    fn settle(&self, waiting: u64) {
        if waiting == 0 && self.is_read.load(Relaxed) {
            self.stop_of(worker::PROCESS_DATA).set();
        }
    }
}
