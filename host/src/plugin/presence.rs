//! What the host notes of one instance of the plugin: whether it shows signs of life, and the handles of series it holds.
//!
//! Enters: every call of the instance, each handle that it gets and gives back. Leaves: whether it called since the last
//! look, and, when the instance is over, what it still held: whoever ends or replaces it decides when that is released.
//!
//! Never: releases anything itself; costs a send more than two loads.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::series::SeriesId;

/// What becomes of the handles that an instance gives back, and of those it still holds when it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handles {
    /// Released as they are given back, by the plugin alone: nothing is noted.
    Own,
    /// Noted, because the instance can die without giving them back; released as they are given back.
    Noted,
    /// Noted, and one that is given back is held for a while: the instance may be failing, and the next one go on with
    /// the series.
    Held,
}

/// One instance, as the host sees it.
#[derive(Debug)]
pub struct Presence {
    alive: AtomicBool,
    over: AtomicBool,
    handles: Handles,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    held: HashMap<SeriesId, u32>,
    /// Given back by the instance, and when; one for each series, which is enough to keep it.
    leaving: VecDeque<(Instant, SeriesId)>,
    left: HashSet<SeriesId>,
}

impl Presence {
    /// A new instance.
    pub fn new(handles: Handles) -> Self {
        let (alive, over) = (AtomicBool::new(false), AtomicBool::new(false));
        Presence { alive, over, handles, book: Mutex::default() }
    }

    /// The instance has called. Returns whether it may: not once it is over.
    pub fn sign(&self) -> bool {
        // Reading first keeps the line shared between the plugin's threads.
        if !self.alive.load(Relaxed) {
            self.alive.store(true, Relaxed);
        }
        !self.over.load(Relaxed)
    }

    /// Whether it has called since this was last asked.
    pub fn has_called(&self) -> bool {
        self.alive.swap(false, Relaxed)
    }

    /// It got a handle. Returns whether it may keep it: not once it is over.
    pub fn got(&self, series: SeriesId) -> bool {
        if self.handles == Handles::Own {
            return true;
        }
        let mut book = self.lock();
        if self.over.load(Relaxed) {
            return false;
        }
        *book.held.entry(series).or_default() += 1;
        true
    }

    /// It gave a handle back. Returns whether that is to be released now.
    pub fn gave_back(&self, series: SeriesId, now: Instant) -> bool {
        if self.handles == Handles::Own {
            return true;
        }
        let mut book = self.lock();
        // What it held when it was over has been taken from it; and nobody gives back what he hasn't got.
        let Some(held) = book.held.get_mut(&series) else { return false };
        *held -= 1;
        if *held == 0 {
            book.held.remove(&series);
        }
        if self.handles == Handles::Noted || !book.left.insert(series) {
            return true;
        }
        book.leaving.push_back((now, series));
        false
    }

    /// The handles that were given back by this moment and held since: to be released.
    pub fn left_by(&self, moment: Instant) -> Vec<SeriesId> {
        let mut book = self.lock();
        let due = book.leaving.partition_point(|(when, _)| *when <= moment);
        let Book { leaving, left, .. } = &mut *book;
        let gone: Vec<SeriesId> = leaving.drain(..due).map(|(_, series)| series).collect();
        for series in &gone {
            left.remove(series);
        }
        gone
    }

    /// The instance is over: nothing is taken from it any more. Returns its handles, one entry for each.
    pub fn end(&self) -> Vec<SeriesId> {
        let mut book = self.lock();
        self.over.store(true, Relaxed);
        let Book { held, leaving, .. } = std::mem::take(&mut *book);
        let held = held.into_iter().flat_map(|(series, handles)| std::iter::repeat_n(series, handles as usize));
        leaving.into_iter().map(|(_, series)| series).chain(held).collect()
    }

    // The book is whole at every point where a panic could happen.
    fn lock(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ONE: SeriesId = SeriesId { index: 1, generation: 0 };
    const TWO: SeriesId = SeriesId { index: 2, generation: 0 };

    #[test]
    fn a_call_is_a_sign_of_life_until_it_was_seen() {
        let presence = Presence::new(Handles::Own);
        assert!(!presence.has_called());
        assert!(presence.sign() && presence.sign());
        assert!(presence.has_called() && !presence.has_called());
        presence.end();
        assert!(!presence.sign());
    }

    #[test]
    fn who_notes_nothing_releases_at_once() {
        let presence = Presence::new(Handles::Own);
        assert!(presence.got(ONE) && presence.gave_back(ONE, Instant::now()) && presence.end().is_empty());
    }

    #[test]
    fn what_it_held_is_left_at_its_end_and_never_twice() {
        let (presence, now) = (Presence::new(Handles::Noted), Instant::now());
        assert!(presence.got(ONE) && presence.got(ONE) && presence.got(TWO));
        assert!(presence.gave_back(ONE, now));
        let mut left = presence.end();
        left.sort_by_key(|series| series.index);
        assert_eq!(left, [ONE, TWO]);
        assert!(!presence.gave_back(ONE, now) && !presence.got(TWO) && presence.end().is_empty());
    }

    #[test]
    fn what_is_given_back_is_held_for_a_while() {
        let (presence, start) = (Presence::new(Handles::Held), Instant::now());
        let later = start + Duration::from_secs(1);
        assert!(presence.got(ONE) && presence.got(TWO));
        assert!(!presence.gave_back(ONE, start) && !presence.gave_back(TWO, later));
        // A second handle of the same series is not held as well.
        assert!(presence.got(TWO) && presence.gave_back(TWO, later));
        assert_eq!(presence.left_by(start), [ONE]);
        assert_eq!(presence.end(), [TWO]);
    }
}
