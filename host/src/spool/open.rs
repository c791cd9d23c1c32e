//! Opens the spool's directory, whatever state it was left in.
//!
//! Enters: a directory. Leaves: a [`Spool`] that goes on where the last one stopped, and what it found.
//!
//! Never: changes a segment that holds something unreadable; gives a number out twice.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use super::cursor::Cursor;
use super::mark::{self, LastRun};
use super::queue::Spool;
use super::segment::{self, Rubbish, Segment};
use super::{Bounds, Recovered, SpoolError, files};

/// How large a segment grows, but for a record that is larger.
const SEGMENT_BYTES: u64 = 8 << 20;

/// How many segments there are at least when the spool is full: dropping one drops at most such a part of it.
const SEGMENTS: u64 = 16;

impl Spool {
    /// Opens the directory, which is made if it is missing, and locks it as long as the spool lives.
    pub fn open(dir: &Path, bounds: Bounds, fsync: bool) -> Result<(Spool, Recovered), SpoolError> {
        files::make_dir(dir).map_err(SpoolError::io("make the directory", dir))?;
        let lock = lock(dir)?;
        let path = dir.join("cursor");
        let (cursor, state) = Cursor::open(&path, fsync).map_err(SpoolError::io("open", &path))?;
        let (numbers, free) = segment::list(dir).map_err(SpoolError::io("list", dir))?;
        let cursor_lost = state.is_none() && !numbers.is_empty();
        let mut recovered = Recovered { cursor_lost, unfinished: mark::read(&lock), ..Recovered::default() };
        let mut state = state.unwrap_or_default();
        let (mut segments, mut garbage) = (VecDeque::new(), Vec::new());
        let mut newest_is_whole = false;
        for number in numbers {
            if number < state.place.segment {
                garbage.push(Segment::empty(number));
                continue;
            }
            let from = if number == state.place.segment { state.place.offset } else { 0 };
            let path = segment::path(dir, number);
            let scanned = Segment::scan(dir, number, from).map_err(SpoolError::io("read", &path))?;
            let (segment, rubbish, last_sequence) = scanned;
            recovered.waiting += segment.left;
            recovered.damaged_places += rubbish.places;
            recovered.damaged_bytes += rubbish.bytes;
            recovered.torn_bytes += rubbish.torn_bytes;
            state.last_sequence = state.last_sequence.max(last_sequence);
            newest_is_whole = rubbish == Rubbish::default() && from <= segment.end;
            segments.push_back(segment);
        }
        let writer = match segments.back() {
            Some(newest) if newest_is_whole => {
                let path = segment::path(dir, newest.number);
                let writer = files::open(&path, OpenOptions::new().write(true));
                Some(writer.map_err(SpoolError::io("open", &path))?)
            }
            _ => None,
        };
        let mut spool = Spool {
            dir: dir.to_owned(),
            bounds,
            segment_bytes: SEGMENT_BYTES.min(bounds.max_bytes / SEGMENTS),
            fsync,
            segments,
            writer,
            next_number: free.max(state.place.segment + 1),
            cursor,
            state,
            garbage,
            held: None,
            losses: Default::default(),
            buffer: Vec::new(),
            lock,
        };
        spool.start(&path)?;
        Ok((spool, recovered))
    }

    /// A run has begun that will come to an [`end`](Self::end), unless it is killed or crashes.
    pub fn begin(&self, run: LastRun) {
        mark::begin(&self.lock, run);
    }

    /// The run has come to its end.
    pub fn end(&self) {
        mark::end(&self.lock);
    }

    /// Writes the cursor, so that both copies are whole and a directory that can't be written to is found out now.
    fn start(&mut self, path: &Path) -> Result<(), SpoolError> {
        self.cursor.write(&self.state).map_err(SpoolError::io("write", path))?;
        if self.fsync {
            self.sync_dir()?;
        }
        self.retire();
        Ok(())
    }
}

fn lock(dir: &Path) -> Result<File, SpoolError> {
    let path = dir.join("lock");
    let opened = files::open(&path, OpenOptions::new().read(true).write(true).create(true).truncate(false));
    let file = opened.map_err(SpoolError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SpoolError::Held { dir: dir.to_owned() }),
        Err(TryLockError::Error(error)) => Err(SpoolError::io("lock", &path)(error)),
    }
}
