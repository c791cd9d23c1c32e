//! Which sends have named series whose samples may not be in the processed queue yet.
//!
//! Enters: the begin and the end of each send that looks series up by their labels. Leaves: up to which number all of
//! them have ended, so that a series can be forgotten when none of them can mean it.
//!
//! Never: knows which series were named; costs anything for a sample.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// All sends that name series, numbered as they begin.
#[derive(Debug, Default)]
pub(super) struct Namings(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// As many as there are threads that send.
    open: Vec<u64>,
}

/// A send that is under way; it ends when this is dropped.
#[derive(Debug)]
pub struct Naming<'a> {
    namings: &'a Namings,
    number: u64,
}

impl Namings {
    pub(super) fn begin(&self) -> Naming<'_> {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        state.open.push(number);
        Naming { namings: self, number }
    }

    /// The number of the next send to begin.
    pub(super) fn next(&self) -> u64 {
        self.lock().next
    }

    /// All sends with a lower number have ended.
    pub(super) fn ended_before(&self) -> u64 {
        let state = self.lock();
        state.open.iter().copied().min().unwrap_or(state.next)
    }

    // The state is whole at every point where a panic could happen.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Naming<'_> {
    fn drop(&mut self) {
        let mut state = self.namings.lock();
        if let Some(at) = state.open.iter().position(|&number| number == self.number) {
            state.open.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_is_open_counts() {
        let namings = Namings::default();
        assert_eq!((namings.ended_before(), namings.next()), (0, 0));
        let (first, second) = (namings.begin(), namings.begin());
        assert_eq!((namings.ended_before(), namings.next()), (0, 2));
        drop(second);
        let third = namings.begin();
        assert_eq!((namings.ended_before(), namings.next()), (0, 3));
        drop(first);
        assert_eq!((namings.ended_before(), namings.next()), (2, 3));
        drop(third);
        assert_eq!((namings.ended_before(), namings.next()), (3, 3));
    }
}
