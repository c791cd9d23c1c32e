//! State that one thread builds up and others wait for.
//!
//! Enters: updates, mostly the lines of a child's output. Leaves: the state, or the first thing in it that a caller asked
//! for. Never: polls; a waiting thread is woken by the change itself.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A shared state with an end. Clones share it.
pub(crate) struct Watch<S>(Arc<Shared<S>>);

/// Why a wait came back without what it waited for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Missed {
    /// The time ran out.
    TimedOut,
    /// The state will not change any more.
    Ended,
}

struct Shared<S> {
    state: Mutex<State<S>>,
    changed: Condvar,
}

struct State<S> {
    value: S,
    ended: bool,
}

impl<S> Clone for Watch<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: Send + 'static> Watch<S> {
    /// A state that has not ended.
    pub(crate) fn new(value: S) -> Self {
        let state = Mutex::new(State { value, ended: false });
        Self(Arc::new(Shared { state, changed: Condvar::new() }))
    }

    /// A state that a thread of its own builds from the lines of `stream`, and that ends with the stream. Bytes that
    /// are no UTF-8 are replaced, so that a child's garbage can be looked at.
    pub(crate) fn lines(
        value: S,
        stream: impl Read + Send + 'static,
        mut fold: impl FnMut(&mut S, &str) + Send + 'static,
    ) -> Self {
        let watch = Self::new(value);
        let writer = watch.clone();
        thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            // A stream that can no longer be read has ended, whatever the reason.
            while stream.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(&line);
                writer.update(|state| fold(state, text.trim_end_matches(['\r', '\n'])));
                line.clear();
            }
            writer.end();
        });
        watch
    }

    /// Changes the state and wakes those who wait.
    pub(crate) fn update(&self, change: impl FnOnce(&mut S)) {
        change(&mut self.lock().value);
        self.0.changed.notify_all();
    }

    /// Says that no change will follow, and wakes those who wait.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.0.changed.notify_all();
    }

    /// Looks at the state as it is now.
    pub(crate) fn get<R>(&self, look: impl FnOnce(&S) -> R) -> R {
        look(&self.lock().value)
    }

    /// Waits until `find` finds something; it is asked at once and after each change.
    pub(crate) fn wait<R>(&self, timeout: Duration, mut find: impl FnMut(&S) -> Option<R>) -> Result<R, Missed> {
        let deadline = Instant::now() + timeout;
        let mut state = self.lock();
        loop {
            if let Some(found) = find(&state.value) {
                return Ok(found);
            }
            if state.ended {
                return Err(Missed::Ended);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Missed::TimedOut);
            }
            state = self.0.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until the state has ended; false when the time ran out first.
    pub(crate) fn wait_end(&self, timeout: Duration) -> bool {
        self.wait(timeout, |_| None::<()>) == Err(Missed::Ended)
    }

    /// A test that failed inside a closure must not hide the state from the message that says why.
    fn lock(&self) -> MutexGuard<'_, State<S>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
