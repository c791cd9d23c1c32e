//! The spool at work: a queue whose elements lie on disk.
//!
//! Enters: records at one end. Leaves: records at the other, one at a time; sums of what waits and what was lost. Each
//! record that was appended or recovered is at any time in exactly one of them: waiting, held, removed, lost.
//!
//! Never: reads more than one record at a time; drops a record without counting it.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::cursor::{Cursor, Place, State};
use super::record::{Header, Record};
use super::segment::{self, Segment};
use super::{Bounds, Losses, SpoolError, Tally, files, scan};

/// The queue on disk.
#[derive(Debug)]
pub struct Spool {
    pub(super) dir: PathBuf,
    pub(super) bounds: Bounds,
    /// How large a segment grows.
    pub(super) segment_bytes: u64,
    pub(super) fsync: bool,
    /// Oldest first.
    pub(super) segments: VecDeque<Segment>,
    /// The last of them, if it can be appended to.
    pub(super) writer: Option<File>,
    pub(super) next_number: u64,
    pub(super) cursor: Cursor,
    /// What the cursor says, or will say when it can be written again.
    pub(super) state: State,
    /// Segments that are done with but could not be deleted yet.
    pub(super) garbage: Vec<Segment>,
    /// The record that was given out and not answered yet.
    pub(super) held: Option<Held>,
    pub(super) losses: Losses,
    /// For the next record, so that it is written with one write.
    pub(super) buffer: Vec<u8>,
    pub(super) lock: File,
}

/// A record that was given out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) tally: Tally,
    /// Where the one after it begins.
    next: u64,
    /// The bound may have dropped its segment meanwhile.
    pub(super) on_disk: bool,
}

impl Spool {
    /// Puts a record behind all others. Makes room by dropping the oldest ones, if it must; never the held one, which
    /// then is no longer on disk. If it fails, no part of the record stays behind.
    pub fn append(&mut self, record: &Record) -> Result<(), SpoolError> {
        let len = record.encoded_len();
        if len > self.bounds.max_bytes || record.body.len() > u32::MAX as usize {
            return Err(SpoolError::TooLarge { bytes: len });
        }
        if self.segments.back().is_some_and(|newest| newest.end > 0 && newest.end + len > self.segment_bytes) {
            self.writer = None;
        }
        self.make_room(len)?;
        let mut written = self.write(record);
        if written.is_err() && self.give_up_answered() {
            written = self.write(record);
        }
        written
    }

    fn write(&mut self, record: &Record) -> Result<(), SpoolError> {
        if self.writer.is_none() {
            self.writer = Some(self.begin_segment()?);
        }
        let (Some(writer), Some(newest)) = (&self.writer, self.segments.back_mut()) else {
            let error = io::Error::other("no segment is open");
            return Err(SpoolError::io("write", &self.dir)(error));
        };
        let header = record.encode(&mut self.buffer);
        let mut written = writer.write_all_at(&self.buffer, newest.end);
        if self.fsync {
            written = written.and_then(|()| writer.sync_data());
        }
        if let Err(error) = written {
            let path = segment::path(&self.dir, newest.number);
            if writer.set_len(newest.end).is_err() {
                // What stays of the record must be followed by nothing.
                self.writer = None;
            }
            return Err(SpoolError::io("write", &path)(error));
        }
        newest.end += record.encoded_len();
        newest.add(&header);
        self.state.last_sequence = self.state.last_sequence.max(record.sequence);
        Ok(())
    }

    /// The oldest record, which is held from now on: it waits no more, but stays on disk until it is removed or put
    /// back. One that is held already is put back first.
    pub fn oldest(&mut self) -> Result<Option<Record>, SpoolError> {
        self.put_back();
        let before = self.losses.damaged;
        let found = self.next_whole();
        if self.losses.damaged != before {
            // So that the next run does not count the damage again. If this fails, it does, and nothing is lost by it.
            let _ = self.move_cursor();
        }
        found
    }

    fn next_whole(&mut self) -> Result<Option<Record>, SpoolError> {
        while let Some((file, at, header)) = self.front()? {
            let path = self.oldest_path();
            let read = scan::read(&file, at, &header).map_err(SpoolError::io("read", &path))?;
            let Some(oldest) = self.segments.front_mut() else { break };
            let (tally, next) = (header.tally(), at + header.record_len());
            if let Some(record) = read {
                self.held = Some(Held { tally, next, on_disk: true });
                return Ok(Some(record));
            }
            oldest.left -= tally;
            oldest.position = next;
            self.losses.damaged += tally;
        }
        Ok(None)
    }

    /// The held record was answered: it will not be given out again. If this fails, that holds for this run at least,
    /// and for the next one when anything was removed after it.
    pub fn remove_oldest(&mut self) -> Result<(), SpoolError> {
        let Some(Held { tally, next, on_disk: true }) = self.held.take() else { return Ok(()) };
        if let Some(oldest) = self.segments.front_mut() {
            oldest.left -= tally;
            oldest.position = next;
        }
        self.move_cursor()
    }

    /// The held record was not answered: it is the oldest one again, unless the bound came over it.
    pub fn put_back(&mut self) {
        if let Some(Held { tally, on_disk: false, .. }) = self.held.take() {
            self.losses.overflow += tally;
        }
    }

    /// Drops the oldest records as long as their newest samples are older than `max_age` at the time `now_ms`
    /// (milliseconds since the Unix epoch). Does nothing while a record is held.
    pub fn expire(&mut self, now_ms: i64) -> Result<(), SpoolError> {
        let max_age_ms = i64::try_from(self.bounds.max_age.as_millis()).unwrap_or(i64::MAX);
        let limit_ms = now_ms.saturating_sub(max_age_ms);
        if self.held.is_some() {
            return Ok(());
        }
        let before = self.losses;
        while let Some((_, at, header)) = self.front()? {
            let Some(oldest) = self.segments.front_mut() else { break };
            if oldest.newest_ms < limit_ms {
                self.losses.expired += oldest.skip_all();
            } else if header.time_range_ms.1 < limit_ms {
                oldest.left -= header.tally();
                oldest.position = at + header.record_len();
                self.losses.expired += header.tally();
            } else {
                break;
            }
        }
        if self.losses == before { Ok(()) } else { self.move_cursor() }
    }

    /// What waits; the held record does not.
    pub fn waiting(&self) -> Tally {
        let mut waiting = Tally::default();
        self.segments.iter().for_each(|segment| waiting += segment.left);
        if let Some(Held { tally, on_disk: true, .. }) = self.held {
            waiting -= tally;
        }
        waiting
    }

    /// What was lost since this was asked last.
    pub fn take_losses(&mut self) -> Losses {
        std::mem::take(&mut self.losses)
    }

    /// The highest sequence number that a record ever had, in this run or before; 0 if there was none.
    pub fn last_sequence(&self) -> u64 {
        self.state.last_sequence
    }

    /// The header of the oldest record, where it begins, and the file. Passes over what is damaged.
    fn front(&mut self) -> Result<Option<(File, u64, Header)>, SpoolError> {
        loop {
            self.retire();
            let path = self.oldest_path();
            let Some(oldest) = self.segments.front_mut().filter(|oldest| oldest.left.records > 0) else {
                return Ok(None);
            };
            let found = match files::open(&path, OpenOptions::new().read(true)) {
                Ok(file) => {
                    let found = scan::next(&file, oldest.position, oldest.end);
                    found.map_err(SpoolError::io("read", &path))?.map(|(at, header)| (file, at, header))
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(SpoolError::io("open", &path)(error)),
            };
            if let Some((file, at, _)) = &found
                && *at > oldest.position
            {
                // What the gap cost is what is missing from all that should be left.
                let whole = scan::sum(file, *at, oldest.end).map_err(SpoolError::io("read", &path))?;
                if let Some(lost) = oldest.left.checked_sub(whole) {
                    oldest.left = whole;
                    self.losses.damaged += lost;
                }
                oldest.position = *at;
            }
            match found {
                Some((file, at, header)) if oldest.left.checked_sub(header.tally()).is_some() => {
                    return Ok(Some((file, at, header)));
                }
                // Nobody appended or recovered such a record.
                Some((_, at, header)) => oldest.position = at + header.record_len(),
                None => {
                    self.losses.damaged += oldest.skip_all();
                    if self.segments.len() == 1 && !path.exists() {
                        // What is appended to a file without a name would be lost too.
                        self.writer = None;
                    }
                }
            }
        }
    }

    fn oldest_path(&self) -> PathBuf {
        segment::path(&self.dir, self.segments.front().map_or(0, |oldest| oldest.number))
    }

    /// Writes down where the oldest record begins, then deletes what lies before it.
    fn move_cursor(&mut self) -> Result<(), SpoolError> {
        if let Some(oldest) = self.segments.front() {
            self.state.place = self.state.place.max(Place { segment: oldest.number, offset: oldest.position });
        }
        let written = self.cursor.write(&self.state);
        self.retire();
        written.map_err(SpoolError::io("write", &self.dir.join("cursor")))
    }
}
