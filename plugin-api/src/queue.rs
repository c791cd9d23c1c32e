//! The raw queue: what `get_power` read, on its way to `process_data`, within the plugin.
//!
//! Enters: items of the author's own type, by value. Leaves: the same items, in order. Bounded by RAW_QUEUE_SIZE.
//! A full queue hands the item back after the timeout. The queue closes when `get_power` has returned; what is in it
//! is still handed out. Never: serialises an item, drops one in silence.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::abi::RawQueueStats;
use crate::sender::{DEFAULT_TIMEOUT, SendError};
use crate::stop::Stop;

struct State<T> {
    items: VecDeque<T>,
    closed: bool,
    stats: RawQueueStats,
}

pub(crate) struct RawQueue<T> {
    state: Mutex<State<T>>,
    not_empty: Condvar,
    not_full: Condvar,
}

impl<T> RawQueue<T> {
    pub(crate) fn new(capacity: u64) -> Arc<Self> {
        let stats = RawQueueStats { capacity: capacity.max(1), ..RawQueueStats::default() };
        let state = State { items: VecDeque::new(), closed: false, stats };
        Arc::new(RawQueue { state: Mutex::new(state), not_empty: Condvar::new(), not_full: Condvar::new() })
    }

    // Nothing of the author's runs under the lock, so a poisoned state is as good as any.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing enters any more; what is inside can still be taken.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.wake();
    }

    /// Lets every waiting thread look at its stop again.
    pub(crate) fn wake(&self) {
        drop(self.lock());
        self.not_empty.notify_all();
        self.not_full.notify_all();
    }

    pub(crate) fn stats(&self) -> RawQueueStats {
        self.lock().stats
    }
}

/// The end of the raw queue that `get_power` writes to.
pub struct RawSender<T>(pub(crate) Arc<RawQueue<T>>);

impl<T> Clone for RawSender<T> {
    fn clone(&self) -> Self {
        RawSender(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for RawSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RawSender").field(&self.0.stats()).finish()
    }
}

impl<T> RawSender<T> {
    /// Puts an item into the queue; waits up to one second for room.
    ///
    /// # Errors
    /// Hands the item back when the queue stayed full, or when the run is over. The host counts it either way.
    pub fn send(&self, item: T) -> Result<(), SendError<T>> {
        self.send_timeout(item, DEFAULT_TIMEOUT)
    }

    /// How many items the queue holds at most: RAW_QUEUE_SIZE.
    pub fn capacity(&self) -> u64 {
        self.0.lock().stats.capacity
    }

    /// As [`send`](Self::send), waiting up to `timeout` for room; zero does not wait.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_timeout(&self, item: T, timeout: Duration) -> Result<(), SendError<T>> {
        let deadline = Instant::now().checked_add(timeout);
        let mut state = self.0.lock();
        loop {
            if state.closed {
                state.stats.refused += 1;
                return Err(SendError::Stopped(item));
            }
            if (state.items.len() as u64) < state.stats.capacity {
                state.items.push_back(item);
                state.stats.sent += 1;
                drop(state);
                self.0.not_empty.notify_one();
                return Ok(());
            }
            let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
            if left.is_some_and(|d| d.is_zero()) {
                state.stats.refused += 1;
                let (refused, capacity) = (state.stats.refused, state.stats.capacity);
                drop(state);
                tell_refused(refused, capacity);
                return Err(SendError::Full(item));
            }
            state = wait(&self.0.not_full, state, left);
        }
    }
}

/// The end of the raw queue that `process_data` reads from.
///
/// It is an iterator as well: `for reading in input` ends when the queue does.
pub struct RawReceiver<T> {
    pub(crate) queue: Arc<RawQueue<T>>,
    pub(crate) stop: Stop,
}

impl<T> fmt::Debug for RawReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RawReceiver").field(&self.queue.stats()).finish()
    }
}

impl<T> RawReceiver<T> {
    /// The next item; waits for one. `None` when there will be none: `get_power` has ended and the queue is empty,
    /// or the worker was asked to stop and the queue is empty.
    pub fn pull(&self) -> Option<T> {
        self.pull_until(None)
    }

    /// As [`pull`](Self::pull), but waits no longer than `timeout`; then `None`, and [`is_over`](Self::is_over) is false.
    pub fn pull_timeout(&self, timeout: Duration) -> Option<T> {
        self.pull_until(Instant::now().checked_add(timeout))
    }

    /// Whether no item will come any more.
    pub fn is_over(&self) -> bool {
        let state = self.queue.lock();
        state.items.is_empty() && (state.closed || self.stop.is_set())
    }

    fn pull_until(&self, deadline: Option<Instant>) -> Option<T> {
        let mut state = self.queue.lock();
        loop {
            if let Some(item) = state.items.pop_front() {
                state.stats.received += 1;
                drop(state);
                self.queue.not_full.notify_one();
                return Some(item);
            }
            if state.closed {
                drop(state);
                // A worker that loops on its stop rather than on the queue must end as well.
                self.stop.set();
                return None;
            }
            let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
            if self.stop.is_set() || left.is_some_and(|d| d.is_zero()) {
                return None;
            }
            state = wait(&self.queue.not_empty, state, left);
        }
    }
}

impl<T> Iterator for RawReceiver<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.pull()
    }
}

/// Says it at the 1st, 10th, 100th, … refusal: often enough to be seen, never a flood.
fn tell_refused(refused: u64, capacity: u64) {
    if refused == 10u64.pow(refused.ilog10()) {
        tracing::warn!(
            refused,
            capacity,
            "the raw queue stayed full: a reading was handed back; process_data can't keep up with get_power"
        );
    }
}

fn wait<'a, T>(condvar: &Condvar, state: MutexGuard<'a, State<T>>, left: Option<Duration>) -> MutexGuard<'a, State<T>> {
    match left {
        Some(left) => condvar.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
        None => condvar.wait(state).unwrap_or_else(PoisonError::into_inner),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(capacity: u64) -> (RawSender<u32>, RawReceiver<u32>) {
        let queue = RawQueue::new(capacity);
        (RawSender(Arc::clone(&queue)), RawReceiver { queue, stop: Stop::new() })
    }

    #[test]
    fn a_full_queue_hands_the_item_back() {
        let (sender, receiver) = pair(1);
        sender.send(1).unwrap();
        assert_eq!(sender.send_timeout(2, Duration::from_millis(1)), Err(SendError::Full(2)));
        assert_eq!(receiver.pull(), Some(1));
        sender.send(3).unwrap();
        let stats = sender.0.stats();
        assert_eq!((stats.sent, stats.received, stats.refused), (2, 1, 1));
    }

    #[test]
    fn what_was_sent_comes_out_after_the_close() {
        let (sender, mut receiver) = pair(8);
        sender.send(1).unwrap();
        sender.send(2).unwrap();
        sender.0.close();
        assert_eq!(sender.send(3), Err(SendError::Stopped(3)));
        assert!(!receiver.is_over());
        assert_eq!(receiver.by_ref().collect::<Vec<_>>(), [1, 2]);
        assert!(receiver.is_over() && receiver.stop.is_set());
    }

    #[test]
    fn a_stop_ends_a_waiting_pull() {
        let (sender, receiver) = pair(1);
        let (queue, stop) = (Arc::clone(&sender.0), receiver.stop.clone());
        let waiter = std::thread::spawn(move || receiver.pull());
        stop.set();
        queue.wake();
        assert_eq!(waiter.join().unwrap(), None);
    }

    #[test]
    fn a_pull_ends_at_its_timeout() {
        let (_sender, receiver) = pair(1);
        assert_eq!(receiver.pull_timeout(Duration::from_millis(1)), None);
        assert!(!receiver.is_over());
    }
}
