//! One file of the spool's log, and what is known of it without its records.
//!
//! Enters: a directory, or a segment's number. Leaves: which segments there are, and the sums over what waits in one.
//!
//! Never: holds something for each record; opens what is not a regular file.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::record::{Header, is_plausible};
use super::{Tally, files, scan};

/// What is known of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) number: u64,
    /// Where to look for the next record.
    pub(super) position: u64,
    /// Where the next record is written.
    pub(super) end: u64,
    /// What waits between the two.
    pub(super) left: Tally,
    /// The newest timestamp of what waits, in milliseconds since the Unix epoch.
    pub(super) newest_ms: i64,
}

/// What the scan of a segment met, besides records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rubbish {
    pub(super) places: u64,
    pub(super) bytes: u64,
    pub(super) torn_bytes: u64,
}

impl Segment {
    /// A segment without records.
    pub(super) fn empty(number: u64) -> Segment {
        Segment { number, position: 0, end: 0, left: Tally::default(), newest_ms: i64::MIN }
    }

    /// A segment that is there, its records from `position` on, what else there is, and the highest sequence number.
    pub(super) fn scan(dir: &Path, number: u64, position: u64) -> io::Result<(Segment, Rubbish, u64)> {
        let file = files::open(&path(dir, number), OpenOptions::new().read(true))?;
        let end = file.metadata()?.len();
        // What the cursor is ahead of was cut off after it had been answered.
        let position = position.min(end);
        let mut segment = Segment { position, end, ..Segment::empty(number) };
        let (mut rubbish, mut at, mut last_sequence) = (Rubbish::default(), position, 0);
        while let Some((found, header)) = scan::next(&file, at, end)? {
            if found > at {
                rubbish.places += 1;
                rubbish.bytes += found - at;
            }
            segment.add(&header);
            last_sequence = last_sequence.max(header.sequence);
            at = found + header.record_len();
        }
        rubbish.torn_bytes = end - at;
        Ok((segment, rubbish, last_sequence))
    }

    /// Counts a record that waits in it.
    pub(super) fn add(&mut self, header: &Header) {
        self.left += header.tally();
        self.newest_ms = self.newest_ms.max(header.time_range_ms.1);
    }

    /// Nothing of it waits any more: returns what did.
    pub(super) fn skip_all(&mut self) -> Tally {
        self.position = self.end;
        std::mem::take(&mut self.left)
    }
}

/// Where the segment with this number lies.
pub(super) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}.seg"))
}

/// The numbers of the segments that are there, in order, and a number that is above all of them.
pub(super) fn list(dir: &Path) -> io::Result<(Vec<u64>, u64)> {
    let (mut numbers, mut free) = (Vec::new(), 1);
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(number) = name.to_str().and_then(number) else { continue };
        free = free.max(number + 1);
        if entry.file_type()?.is_file() {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok((numbers, free))
}

fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg").filter(|digits| digits.len() == 20)?;
    let number = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())??;
    is_plausible(number).then_some(number)
}

/// Deletes a segment; that it is not there is as good.
pub(super) fn delete(dir: &Path, number: u64) -> io::Result<()> {
    match fs::remove_file(path(dir, number)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_its_own_are_segments() {
        assert_eq!(number("00000000000000000012.seg"), Some(12));
        for name in ["12.seg", "00000000000000000012", "+0000000000000000012.seg", "18446744073709551615.seg", "lock"] {
            assert_eq!(number(name), None, "{name}");
        }
    }

    #[test]
    fn what_is_no_file_is_left_alone_and_its_number_too() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(list(dir.path()).unwrap(), (vec![], 1));
        fs::create_dir(path(dir.path(), 7)).unwrap();
        fs::write(path(dir.path(), 3), "x").unwrap();
        fs::write(path(dir.path(), 1), "").unwrap();
        assert_eq!(list(dir.path()).unwrap(), (vec![1, 3], 8));
    }
}
