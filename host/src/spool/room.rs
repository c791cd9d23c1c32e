//! Segments come and go: what the spool takes of the disk.
//!
//! Enters: how much is to be added. Leaves: room for it, and a file to write to.
//!
//! Never: drops what waits as long as deleting gains nothing.

use std::fs::{File, OpenOptions};

use super::cursor::Place;
use super::queue::Spool;
use super::segment::{self, Segment};
use super::{SpoolError, files};

impl Spool {
    /// How much of the disk the segments take, in bytes.
    pub fn disk_bytes(&self) -> u64 {
        self.segments.iter().chain(&self.garbage).map(|segment| segment.end).sum()
    }

    /// Deletes segments in which nothing waits and to which nothing will be appended. Those that can't be deleted are
    /// tried again the next time: they cost only space.
    pub(super) fn retire(&mut self) {
        while let Some(oldest) = self.segments.front() {
            if oldest.left.records > 0 || (self.segments.len() == 1 && self.writer.is_some()) {
                break;
            }
            self.state.place = self.state.place.max(Place { segment: oldest.number, offset: oldest.end });
            self.garbage.extend(self.segments.pop_front());
        }
        self.garbage.retain(|segment| segment::delete(&self.dir, segment.number).is_err());
    }

    /// Deletes the newest segment too, if all of it was answered, although more would be appended to it: on a full disk
    /// its space is what the next record needs. Returns whether it did.
    pub(super) fn give_up_answered(&mut self) -> bool {
        let Some(newest) = self.segments.back().filter(|newest| newest.end > 0 && newest.left.records == 0) else {
            return false;
        };
        let number = newest.number;
        self.writer = None;
        self.retire();
        // One that can't be deleted has freed nothing.
        self.garbage.iter().all(|segment| segment.number != number)
    }

    /// Drops the oldest segments until so many bytes can be added.
    pub(super) fn make_room(&mut self, bytes: u64) -> Result<(), SpoolError> {
        self.retire();
        while self.disk_bytes() + bytes > self.bounds.max_bytes {
            // As long as nothing can be deleted, nothing is gained by dropping more.
            let Some(oldest) = self.garbage.first().or(self.segments.front()) else { break };
            let deleted = segment::delete(&self.dir, oldest.number);
            deleted.map_err(SpoolError::io("delete", &segment::path(&self.dir, oldest.number)))?;
            if !self.garbage.is_empty() {
                self.garbage.remove(0);
                continue;
            }
            let Some(mut dropped) = self.segments.pop_front() else { break };
            if self.segments.is_empty() {
                self.writer = None;
            }
            let mut lost = dropped.skip_all();
            if let Some(held) = self.held.as_mut().filter(|held| held.on_disk) {
                held.on_disk = false;
                lost -= held.tally;
            }
            self.losses.overflow += lost;
        }
        Ok(())
    }

    /// Makes the file that the next record goes to.
    pub(super) fn begin_segment(&mut self) -> Result<File, SpoolError> {
        let number = self.next_number;
        let path = segment::path(&self.dir, number);
        let made = files::open(&path, OpenOptions::new().write(true).create_new(true));
        // A name that is taken must not stand in the way for ever.
        self.next_number += 1;
        let file = made.map_err(SpoolError::io("make", &path))?;
        if self.fsync
            && let Err(error) = self.sync_dir()
        {
            self.garbage.push(Segment::empty(number));
            return Err(error);
        }
        self.segments.push_back(Segment::empty(number));
        Ok(file)
    }

    /// Makes the names in the directory survive a power cut.
    pub(super) fn sync_dir(&self) -> Result<(), SpoolError> {
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(SpoolError::io("flush", &self.dir))
    }
}
