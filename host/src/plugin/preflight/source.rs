//! Bytes of a file, a few at a time.
//!
//! Enters: an offset and a size, as a file of anybody's claims them. Leaves: those bytes, or nothing where the file has
//! fewer. Never: holds more than [`MAX_READ`] at once, so that neither a huge file nor a huge number in it costs memory.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// The most that is read at once, in bytes: a table of a million symbols.
const MAX_READ: u64 = 32 << 20;

/// Where the bytes of a library come from.
pub(super) trait Source {
    /// How many there are.
    fn size(&self) -> u64;

    /// Those at `offset`; nothing if the source ends before, or if they are too many.
    fn bytes(&self, offset: u64, size: u64) -> Option<Vec<u8>> {
        let within = offset.checked_add(size).is_some_and(|end| end <= self.size());
        (within && size <= MAX_READ).then(|| self.read(offset, usize::try_from(size).ok()?)).flatten()
    }

    /// As [`Source::bytes`], which has looked at the numbers.
    fn read(&self, offset: u64, size: usize) -> Option<Vec<u8>>;
}

impl Source for [u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read(&self, offset: u64, size: usize) -> Option<Vec<u8>> {
        let start = usize::try_from(offset).ok()?;
        Some(self.get(start..start.checked_add(size)?)?.to_vec())
    }
}

/// A file and its size when it was opened.
pub(super) struct OnDisk {
    pub(super) file: File,
    pub(super) size: u64,
}

impl Source for OnDisk {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, offset: u64, size: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; size];
        self.file.read_exact_at(&mut bytes, offset).ok()?;
        Some(bytes)
    }
}

/// The little-endian number of `N` bytes at `at`; 0 beyond the end.
pub(super) fn number<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    let found = at.checked_add(N).and_then(|end| bytes.get(at..end)).unwrap_or_default();
    found.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_makes_it_read_beyond_the_end_or_too_much() {
        let bytes = &b"0123456789"[..];
        assert_eq!(bytes.bytes(2, 3).unwrap(), b"234");
        assert_eq!(bytes.bytes(10, 0).unwrap(), b"");
        for (offset, size) in [(0, 11), (10, 1), (11, 0), (u64::MAX, 1), (1, u64::MAX), (u64::MAX, u64::MAX)] {
            assert_eq!(bytes.bytes(offset, size), None);
        }
        assert_eq!(vec![0; 1 + MAX_READ as usize].bytes(0, MAX_READ + 1), None);
    }

    #[test]
    fn numbers_are_little_endian() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        assert_eq!(number::<2>(&bytes, 0), 0x0201);
        assert_eq!(number::<8>(&bytes, 1), 0x0908_0706_0504_0302);
        assert_eq!(number::<8>(&bytes, 2), 0);
        assert_eq!(number::<4>(&bytes, usize::MAX), 0);
    }
}
