//! How far records have been answered: one small file, overwritten in place.
//!
//! Enters: the place up to which nothing has to be sent any more. Leaves: that place, after a crash too.
//!
//! Never: needs space on the disk after it was made, so a full disk can still be emptied; goes back; has both copies
//! in the making at once, so one of them is whole whenever the power fails (if writes are flushed).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::files;
use super::record::{is_plausible, u32_at, u64_at};
use super::scan::ReadAt;

/// What a copy begins with; the last byte is the version of the format.
const MAGIC: [u8; 4] = [0xd5, b'm', b'c', 1];

/// How long a copy is.
pub(super) const COPY_LEN: usize = 32;

/// Where the copies begin: not in the same page.
pub(super) const COPIES: [u64; 2] = [0, 4096];

/// A place in the log. Ordered as records are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The segment's number.
    pub(super) segment: u64,
    /// The byte in it.
    pub(super) offset: u64,
}

/// What a copy says. Both parts only ever grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct State {
    /// All records before it are done with.
    pub(super) place: Place,
    /// The highest number that a record had so far.
    pub(super) last_sequence: u64,
}

impl State {
    pub(super) fn encode(&self) -> [u8; COPY_LEN] {
        let mut bytes = [0; COPY_LEN];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..12].copy_from_slice(&self.place.segment.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.place.offset.to_le_bytes());
        bytes[20..28].copy_from_slice(&self.last_sequence.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..28]);
        bytes[28..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; COPY_LEN]) -> Option<State> {
        if bytes[..4] != MAGIC || crc32fast::hash(&bytes[..28]) != u32_at(bytes, 28) {
            return None;
        }
        let place = Place { segment: u64_at(bytes, 4), offset: u64_at(bytes, 12) };
        let state = State { place, last_sequence: u64_at(bytes, 20) };
        [place.segment, place.offset, state.last_sequence].into_iter().all(is_plausible).then_some(state)
    }
}

/// The cursor file.
#[derive(Debug)]
pub(super) struct Cursor {
    file: File,
    fsync: bool,
}

impl Cursor {
    /// Opens the file, or makes it; `None` if neither copy is whole.
    pub(super) fn open(path: &Path, fsync: bool) -> io::Result<(Cursor, Option<State>)> {
        let file = files::open(path, OpenOptions::new().read(true).write(true).create(true).truncate(false))?;
        let mut newest: Option<State> = None;
        for position in COPIES {
            let mut copy = [0; COPY_LEN];
            // What is missing stays zero, which no copy is.
            ReadAt::read_at(&file, &mut copy, position)?;
            // The copy that was written last is the one further on: the cursor never goes back.
            newest = newest.max(State::decode(&copy));
        }
        Ok((Cursor { file, fsync }, newest))
    }

    /// Writes both copies, one after the other.
    pub(super) fn write(&self, state: &State) -> io::Result<()> {
        let bytes = state.encode();
        for position in COPIES {
            self.file.write_all_at(&bytes, position)?;
            if self.fsync {
                self.file.sync_data()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: State = State { place: Place { segment: 3, offset: 900 }, last_sequence: 70 };
    const NEW: State = State { place: Place { segment: 4, offset: 5 }, last_sequence: 71 };

    #[test]
    fn it_is_read_back_whichever_copy_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cursor");
        let open = || Cursor::open(&path, false).unwrap();
        assert_eq!(open().1, None);
        for position in COPIES {
            for at in 0..COPY_LEN as u64 {
                let (cursor, _) = open();
                cursor.write(&NEW).unwrap();
                cursor.file.write_all_at(&[!NEW.encode()[at as usize]], position + at).unwrap();
                assert_eq!(open().1, Some(NEW), "{position} {at}");
            }
        }
        COPIES.iter().for_each(|&at| open().0.file.write_all_at(&[0], at).unwrap());
        assert_eq!(open().1, None);
    }

    #[test]
    fn of_two_copies_the_later_one_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cursor");
        for position in COPIES {
            let (cursor, _) = Cursor::open(&path, true).unwrap();
            cursor.write(&OLD).unwrap();
            cursor.file.write_all_at(&NEW.encode(), position).unwrap();
            assert_eq!(Cursor::open(&path, true).unwrap().1, Some(NEW));
        }
    }

    #[test]
    fn what_could_overflow_is_damage() {
        let place = Place { segment: u64::MAX, offset: 0 };
        assert_eq!(State::decode(&State { place, last_sequence: 0 }.encode()), None);
        assert_eq!(State::decode(&NEW.encode()), Some(NEW));
    }
}
