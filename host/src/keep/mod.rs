//! Finished batches that wait to be sent, oldest first: in memory, or on disk where SPOOL_DIR names a place.
//!
//! Enters: batches from the batcher, and those whose attempt failed. Leaves: the oldest, to the sender, which says what
//! became of it. In memory, MAX_RETRY_BATCHES and MAX_RETRY_BYTES bound what waits: when more wait, the oldest are
//! dropped and counted. On disk the spool's own bounds do; a batch is there before it is sent and until it is answered,
//! and what can't be written waits in memory until it can. A batch in a request is not counted here. A spool that can't be
//! opened is tried again as batches come; what it turns out to hold is of an earlier run, and goes first.
//!
//! A flood may wait for a receiver that takes batch after batch ([`Kept::wait_for_room`]).
//!
//! Never: lets a newer batch overtake an older one; waits for a receiver that takes none.

mod disk;
mod look;
mod overflow;

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use self::disk::Disk;
pub use self::look::{Look, SpoolLook};
pub use self::overflow::Overflow;
use crate::batch::Batch;
use crate::ledger::{Ledger, Place, Reason};

/// How soon a spool that could not be read is tried again.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// So many bytes may wait for a receiver that keeps taking before a flood has to.
const ROOM: usize = 4 << 20;

/// How long a flood waits for the next batch to be taken.
const PATIENCE: Duration = Duration::from_millis(250);

/// How much may wait in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// MAX_RETRY_BATCHES; 0 means that no batch is sent a second time.
    pub max_batches: usize,
    /// MAX_RETRY_BYTES, of compressed batches.
    pub max_bytes: usize,
}

/// What the sender finds.
#[derive(Debug)]
pub enum Taken {
    /// The oldest batch; it is in flight now.
    Batch(Batch),
    /// The moment that [`Kept::finish_by`] set has come.
    TimeIsUp,
    /// Nothing waits, and nothing will come any more.
    Finished,
}

/// Where the batch came from that is in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Source {
    #[default]
    None,
    Memory,
    Disk,
}

#[derive(Debug, Default)]
struct State {
    batches: VecDeque<Batch>,
    bytes: usize,
    /// Whatever is on disk is older than what is in memory.
    disk: Option<Disk>,
    /// The disk was opened in mid-run, with what an earlier run left, perhaps.
    disk_is_news: bool,
    in_flight: Source,
    /// The last attempt failed: the gap behind it is the receiver's, and not a backlog's.
    has_failed: bool,
    /// The oldest timestamp of the batch in flight, and of what is on disk as far as it is known.
    in_flight_ms: Option<i64>,
    on_disk_ms: Option<i64>,
    closed: bool,
    /// The close is news to the sender: it tries once more, whatever gap it is in.
    hurry: bool,
    finish_by: Option<Instant>,
    /// How many batches were taken.
    takes: u64,
    /// A flood has waited in vain, and no batch was taken since.
    stalled: bool,
}

/// The queue of finished batches.
#[derive(Debug)]
pub struct Kept {
    state: Mutex<State>,
    changed: Condvar,
    taken: Condvar,
    bounds: Bounds,
    ledger: Arc<Ledger>,
}

impl Kept {
    /// A queue in memory, and on `disk` if there is one; what it recovered waits already.
    pub fn new(bounds: Bounds, disk: Option<Disk>, ledger: Arc<Ledger>) -> Self {
        let state = State { disk, ..State::default() };
        Kept { state: Mutex::new(state), changed: Condvar::new(), taken: Condvar::new(), bounds, ledger }
    }

    /// Takes a new batch, whose samples are in [`Place::Batched`] so far.
    pub fn push(&self, batch: Batch) -> Overflow {
        self.ledger.transfer(Place::Batched, Place::Kept, batch.samples);
        let mut state = self.lock();
        state.bytes += batch.body.len();
        state.batches.push_back(batch);
        self.write_to_disk(&mut state);
        // A batch that was never sent is no retry: one of them may always wait for the sender.
        let overflow = self.trim(&mut state, 1);
        drop(state);
        self.changed.notify_one();
        overflow
    }

    /// Waits, not beyond `until`, while more than enough waits for a receiver that takes batch after batch: so that what a
    /// plugin sends faster than that is refused while the plugin still has it. A receiver that fails, or takes none for a
    /// while, is not waited for: what its outage may cost is bounded by [`Bounds`]. With a disk nothing waits here: a
    /// flood goes there, within its bounds.
    pub fn wait_for_room(&self, until: Instant) {
        let mut state = self.lock();
        let room = ROOM.min(self.bounds.max_bytes / 2);
        let has_failed = |state: &State| state.batches.front().is_some_and(|batch| batch.attempts > 0);
        let mut next_by = (state.takes, Instant::now() + PATIENCE);
        while state.bytes > room && !state.stalled && !has_failed(&state) && state.finish_by.is_none() && !state.closed
        {
            let now = Instant::now();
            if state.takes != next_by.0 {
                next_by = (state.takes, now + PATIENCE);
            }
            let left = next_by.1.min(until).saturating_duration_since(now);
            if left.is_zero() {
                state.stalled = next_by.1 <= now;
                return;
            }
            state = self.taken.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Takes back the batch in flight, whose attempt failed; it is the oldest.
    pub fn put_back(&self, batch: Batch) -> Overflow {
        self.ledger.transfer(Place::InFlight, Place::Kept, batch.samples);
        let mut state = self.lock();
        state.has_failed = true;
        let source = std::mem::take(&mut state.in_flight);
        if let (Source::Disk, Some(disk)) = (source, &mut state.disk) {
            disk.put_back(&batch, &self.ledger);
            return Overflow::default();
        }
        state.bytes += batch.body.len();
        state.batches.push_front(batch);
        self.taken.notify_one();
        self.write_to_disk(&mut state);
        // What waits behind it was never sent: one of those may stay, as in `push`.
        let at_least = usize::from(state.batches.len() > 1);
        self.trim(&mut state, at_least)
    }

    /// The batch in flight is settled: delivered, or given up for good. Its samples are in the ledger already.
    pub fn settled(&self) {
        let mut state = self.lock();
        state.has_failed = false;
        let source = std::mem::take(&mut state.in_flight);
        if let (Source::Disk, Some(disk)) = (source, &mut state.disk) {
            disk.remove();
        }
        self.write_to_disk(&mut state);
    }

    /// Time is up while the batch is in flight: on disk it waits for the next run. Returns whether it is lost.
    pub fn abandon(&self, batch: &Batch) -> bool {
        let mut state = self.lock();
        if let (Source::Disk, Some(disk)) = (std::mem::take(&mut state.in_flight), &mut state.disk) {
            self.ledger.transfer(Place::InFlight, Place::Kept, batch.samples);
            disk.put_back(batch, &self.ledger);
            return false;
        }
        self.ledger.discard(Place::InFlight, Reason::Shutdown, batch.samples);
        self.ledger.discard_exemplars(Reason::Shutdown, batch.exemplars);
        true
    }

    /// Waits for the oldest batch, but not before the moment `not_before`, if one is given. The end of a run cuts a backlog's
    /// gap short, but none behind a failure.
    pub fn take(&self, not_before: Option<Instant>) -> Taken {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            if state.finish_by.is_some_and(|end| now >= end) {
                return Taken::TimeIsUp;
            }
            let is_cut_short = state.hurry || (state.finish_by.is_some() && !state.has_failed);
            let mut until = not_before.filter(|&moment| moment > now && !is_cut_short);
            if until.is_none() {
                match self.oldest(&mut state) {
                    Ok(Some(batch)) => {
                        state.hurry = false;
                        state.in_flight_ms = Some(batch.time_range_ms.0);
                        state.takes += 1;
                        state.stalled &= batch.attempts > 0;
                        self.taken.notify_one();
                        self.ledger.transfer(Place::Kept, Place::InFlight, batch.samples);
                        return Taken::Batch(batch);
                    }
                    Ok(None) if state.closed => return Taken::Finished,
                    Ok(None) => {}
                    Err(Unreadable) => until = Some(now + READ_AGAIN),
                }
            } else if state.closed && self.is_empty(&state) {
                return Taken::Finished;
            }
            let until = [until, state.finish_by].into_iter().flatten().min();
            state = match until {
                Some(until) => {
                    let left = until.saturating_duration_since(now);
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn oldest(&self, state: &mut State) -> Result<Option<Batch>, Unreadable> {
        if let Some(disk) = &mut state.disk
            && let Some(batch) = disk.oldest(&self.ledger)?
        {
            state.in_flight = Source::Disk;
            state.on_disk_ms = Some(batch.time_range_ms.0);
            return Ok(Some(batch));
        }
        let batch = state.batches.pop_front();
        if let Some(batch) = &batch {
            state.bytes -= batch.body.len();
            state.in_flight = Source::Memory;
        }
        Ok(batch)
    }

    /// Moves what waits in memory behind what is on disk, as far as it can be written.
    fn write_to_disk(&self, state: &mut State) {
        let State { disk: Some(disk), disk_is_news, batches, bytes, in_flight, on_disk_ms, .. } = state else { return };
        *disk_is_news |= disk.open_again(&self.ledger);
        // One that is in flight from memory may come back, and is older than these.
        if *in_flight == Source::Memory {
            return;
        }
        while let Some(batch) = batches.front() {
            // What is older than that is in flight, or nowhere.
            if disk.waiting().records == 0 {
                *on_disk_ms = Some(batch.time_range_ms.0);
            }
            if !disk.append(batch, &self.ledger) {
                return;
            }
            *bytes -= batch.body.len();
            batches.pop_front();
        }
    }

    fn is_empty(&self, state: &State) -> bool {
        state.batches.is_empty() && state.disk.as_ref().is_none_or(|disk| disk.waiting().records == 0)
    }

    /// The run comes to its end: from this moment on [`take`](Self::take) gives up.
    pub fn finish_by(&self, moment: Instant) {
        self.lock().finish_by = Some(moment);
        self.changed.notify_all();
        self.taken.notify_all();
    }

    /// No new batch will come: the oldest is tried at once, and what follows as ever.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.hurry = true;
        drop(state);
        self.changed.notify_all();
    }

    /// The run is over: drops everything that waits in memory; what is on disk waits for the next run.
    pub fn give_up(&self) -> Overflow {
        let mut state = self.lock();
        self.write_to_disk(&mut state);
        let mut given_up = Overflow::default();
        while let Some(batch) = state.batches.pop_front() {
            self.ledger.discard(Place::Kept, Reason::Shutdown, batch.samples);
            self.ledger.discard_exemplars(Reason::Shutdown, batch.exemplars);
            given_up.add(Overflow::from(&batch));
        }
        state.bytes = 0;
        state.disk.iter().for_each(Disk::end);
        given_up
    }

    /// The run has begun, and is to come to its end by [`give_up`](Self::give_up).
    pub fn begin(&self) {
        self.lock().disk.iter_mut().for_each(Disk::begin);
    }

    /// Whether there is a spool, and it can be used.
    pub fn has_disk(&self) -> bool {
        self.lock().disk.as_ref().is_some_and(Disk::is_open)
    }

    /// Whether the spool was opened since this was asked last: a backlog may have come with it.
    pub fn disk_was_opened(&self) -> bool {
        std::mem::take(&mut self.lock().disk_is_news)
    }

    /// How many batches wait, and how many samples they hold.
    pub fn waiting(&self) -> (u64, u64) {
        let state = self.lock();
        let (on_disk, of_disk) = self.on_disk_of(&state);
        let samples: u64 = state.batches.iter().map(|batch| batch.samples).sum();
        (state.batches.len() as u64 + on_disk, samples + of_disk)
    }

    /// How many batches wait on disk, and how many samples they hold.
    pub fn on_disk(&self) -> (u64, u64) {
        self.on_disk_of(&self.lock())
    }

    /// How many exemplars wait on disk.
    pub fn exemplars_on_disk(&self) -> u64 {
        self.lock().disk.as_ref().map_or(0, |disk| disk.waiting().exemplars)
    }

    fn on_disk_of(&self, state: &State) -> (u64, u64) {
        state.disk.as_ref().map_or((0, 0), |disk| (disk.waiting().records, disk.waiting().samples))
    }

    fn trim(&self, state: &mut State, at_least: usize) -> Overflow {
        let mut overflow = Overflow::default();
        let max_batches = self.bounds.max_batches.max(at_least);
        while state.batches.len() > max_batches
            || (state.bytes > self.bounds.max_bytes && state.batches.len() > at_least)
        {
            let Some(batch) = state.batches.pop_front() else { break };
            state.bytes -= batch.body.len();
            self.ledger.discard(Place::Kept, Reason::RetryOverflow, batch.samples);
            self.ledger.discard_exemplars(Reason::RetryOverflow, batch.exemplars);
            overflow.add(Overflow::from(&batch));
        }
        overflow
    }

    // The state is whole at every point where a panic could happen.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The spool could not be read this time.
#[derive(Debug)]
struct Unreadable;

#[cfg(test)]
mod hour;
#[cfg(test)]
mod model;

#[cfg(test)]
mod tests;
