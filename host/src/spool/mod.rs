//! Finished batches that wait to be sent, on disk, oldest first: what survives a crash of the process.
//!
//! Enters: encoded batches, in order. Leaves: the oldest, again and again until it was answered; and what was lost and
//! why, for the ledger. Damaged and torn records are skipped and counted.
//!
//! Never: lets a newer record overtake an older one; holds a body that nobody asked for, or anything for each record;
//! panics or loops, whatever the files hold; looks at a clock; leaves half a record behind a failed append; uses more of
//! the disk than its bound (the cursor's 4 KiB aside).
//!
//! # The directory
//!
//! | file | what it holds |
//! |---|---|
//! | `lock` | while a run uses the directory, its process id and start, in text; it holds a lock on the file |
//! | `cursor` | up to where records are done with |
//! | `00000000000000000001.seg` … | records, one after the other; the highest number is the newest segment |
//!
//! They are made for this user alone, and opened through no link (`files`).
//!
//! All numbers are little-endian, all checksums CRC-32 as in zlib. A **record**:
//!
//! | bytes | what |
//! |---|---|
//! | 0-3 | `d5 6d 72 01`; the last is the version of the format |
//! | 4 | the body's protocol: 1 is remote write 1.0, 2 is 2.0 |
//! | 5 | 0 |
//! | 6-7 | number of exemplars |
//! | 8-11 | length of the body |
//! | 12-15 | number of samples |
//! | 16-23 | sequence number of the batch |
//! | 24-31, 32-39 | oldest and newest timestamp in it, milliseconds since the Unix epoch, signed |
//! | 40-43 | checksum of the bytes 0-39 |
//! | 44-47 | checksum of the body |
//! | 48- | the body: the compressed request |
//!
//! The header has a checksum of its own, so that a damaged body is skipped by its length and its samples are known. Where
//! a header is damaged, the next one that is whole is searched.
//!
//! The **cursor** has two copies, at 0 and at 4096, written one after the other. Of those that are whole, the one
//! further on counts:
//!
//! | bytes | what |
//! |---|---|
//! | 0-3 | `d5 6d 63 01`; the last is the version of the format |
//! | 4-11, 12-19 | the segment and the byte in it before which all records are done with |
//! | 20-27 | the highest sequence number so far |
//! | 28-31 | checksum of the bytes 0-27 |
//!
//! # How it is used
//!
//! A segment is only ever appended to, and deleted when all of it is done with. Records are written with one write each,
//! which survives the death of the process; with `fsync` they are flushed before [`Spool::append`] returns, and survive
//! a power cut too. What a crash tore off at the end of a segment is left there, and the next run begins a new segment.
//! The bound drops whole segments, because nothing less gives space back.

mod cursor;
mod error;
mod files;
mod mark;
mod open;
mod queue;
mod record;
mod room;
mod scan;
mod segment;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;

use std::ops::{AddAssign, SubAssign};
use std::time::Duration;

pub use self::error::SpoolError;
pub use self::mark::LastRun;
pub use self::queue::Spool;
pub use self::record::{HEADER_LEN, Protocol, Record};
pub use self::scan::read_all;

/// How much may wait, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// SPOOL_MAX_BYTES: how much of the disk the segments may take.
    pub max_bytes: u64,
    /// SPOOL_MAX_AGE_S, counted from a record's newest sample; [`Duration::MAX`] is no bound.
    pub max_age: Duration,
}

/// A number of records, what they carry and what they take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many records.
    pub records: u64,
    /// How many samples they carry.
    pub samples: u64,
    /// How many exemplars they carry.
    pub exemplars: u64,
    /// How many bytes they take on disk, headers included.
    pub bytes: u64,
}

impl Tally {
    fn checked_sub(self, other: Tally) -> Option<Tally> {
        Some(Tally {
            records: self.records.checked_sub(other.records)?,
            samples: self.samples.checked_sub(other.samples)?,
            exemplars: self.exemplars.checked_sub(other.exemplars)?,
            bytes: self.bytes.checked_sub(other.bytes)?,
        })
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.records += other.records;
        self.samples += other.samples;
        self.exemplars += other.exemplars;
        self.bytes += other.bytes;
    }
}

impl SubAssign for Tally {
    fn sub_assign(&mut self, other: Tally) {
        debug_assert!(self.checked_sub(other).is_some(), "{other:?} is taken from {self:?}");
        *self = self.checked_sub(other).unwrap_or_default();
    }
}

/// What was found in the directory when it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// What waits to be sent. Some of it may turn out to be damaged: bodies are not read yet.
    pub waiting: Tally,
    /// At how many places there were bytes between two records that belong to none; each was at least one record.
    pub damaged_places: u64,
    /// How many bytes there were at these places.
    pub damaged_bytes: u64,
    /// How many bytes after the last record of a segment belong to none: what a crash or a full disk cut short.
    pub torn_bytes: u64,
    /// Neither copy of the cursor could be read: records of the oldest segment that were answered are sent again.
    pub cursor_lost: bool,
    /// The last run did not come to its end.
    pub unfinished: Option<LastRun>,
}

/// Records that waited and will never be sent, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Dropped to stay within `max_bytes`.
    pub overflow: Tally,
    /// Dropped because of `max_age`.
    pub expired: Tally,
    /// Damaged since they were appended or recovered.
    pub damaged: Tally,
}

#[cfg(test)]
mod tests;
