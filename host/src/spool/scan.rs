//! Finds records in bytes that may hold anything.
//!
//! Enters: a segment's bytes, by position. Leaves: where the next record is whose header is whole, however much rubbish
//! lies before it.
//!
//! Never: holds more than one buffer of a segment; goes backwards, so it ends; takes a body for a whole one.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::Tally;
use super::record::{HEADER_LEN, Header, MAGIC, Record};

/// How much is looked through at once when a record's begin has to be searched.
pub(super) const WINDOW: usize = 64 << 10;

/// The error number of a medium that can't give back what it was given.
const EIO: i32 = 5;

/// Bytes that are read by their position.
pub(super) trait ReadAt {
    /// Fills the buffer from this position on as far as there are bytes; returns how many.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match FileExt::read_at(self, &mut buffer[filled..], position + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // What the medium has lost is damage like any other; to try again would hold up all that follows.
                Err(error) if error.raw_os_error() == Some(EIO) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let rest = usize::try_from(position).ok().and_then(|start| self.get(start..)).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }
}

/// The first record at or after `from` that ends at or before `end`, and where it begins. Its body is not looked at.
pub(super) fn next(bytes: &(impl ReadAt + ?Sized), from: u64, end: u64) -> io::Result<Option<(u64, Header)>> {
    if from >= end {
        return Ok(None);
    }
    let fits = |at: u64, header: &Header| header.record_len() <= end.saturating_sub(at);
    let mut here = [0; HEADER_LEN];
    let read = bytes.read_at(&mut here, from)?;
    if let Some(header) = Header::decode(&here[..read]).filter(|header| fits(from, header)) {
        return Ok(Some((from, header)));
    }
    let mut window = vec![0; WINDOW];
    let mut start = from.saturating_add(1);
    while start < end {
        let read = bytes.read_at(&mut window, start)?;
        for offset in 0..=read.saturating_sub(MAGIC.len()) {
            let candidate = &window[offset..read];
            if candidate.starts_with(&MAGIC)
                && let Some(header) = Header::decode(candidate)
                && fits(start + offset as u64, &header)
            {
                return Ok(Some((start + offset as u64, header)));
            }
        }
        if read < HEADER_LEN {
            break;
        }
        // A header that the window cut off is whole in the next one.
        start += (read - HEADER_LEN + 1) as u64;
    }
    Ok(None)
}

/// What all records are together that [`next`] finds between the two.
pub(super) fn sum(bytes: &(impl ReadAt + ?Sized), mut from: u64, end: u64) -> io::Result<Tally> {
    let mut sum = Tally::default();
    while let Some((at, header)) = next(bytes, from, end)? {
        sum += header.tally();
        from = at + header.record_len();
    }
    Ok(sum)
}

/// The record that begins at `at` with this header; `None` if its body is damaged or missing.
pub(super) fn read(bytes: &(impl ReadAt + ?Sized), at: u64, header: &Header) -> io::Result<Option<Record>> {
    let mut body = vec![0; header.body_len as usize];
    let read = bytes.read_at(&mut body, at + HEADER_LEN as u64)?;
    Ok(if read == body.len() { header.with_body(body) } else { None })
}

/// All records that can be read from a segment with these bytes, and how many bytes belong to none of them. What the
/// spool does with a file, without the file: the way in for a fuzzer.
pub fn read_all(bytes: &[u8]) -> (Vec<Record>, u64) {
    let (mut records, mut position, end) = (Vec::new(), 0, bytes.len() as u64);
    let mut whole = 0;
    while let Ok(Some((at, header))) = next(bytes, position, end) {
        if let Ok(Some(record)) = read(bytes, at, &header) {
            whole += header.record_len();
            records.push(record);
        }
        position = at + header.record_len();
    }
    (records, end - whole)
}

#[cfg(test)]
mod tests {
    use super::super::record::Protocol;
    use super::*;
    use proptest::prelude::*;

    fn record(sequence: u64, body: Vec<u8>) -> Record {
        Record { sequence, protocol: Protocol::V1, samples: 1, exemplars: 0, time_range_ms: (0, 0), body: body.into() }
    }

    fn encoded(record: &Record) -> Vec<u8> {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        bytes
    }

    proptest! {
        #[test]
        fn rubbish_between_records_costs_none_of_them(
            parts in prop::collection::vec((0..300usize, prop::collection::vec(any::<u8>(), 0..100)), 0..8),
            // Beginnings of records, at every place of a window, are the rubbish that is hardest to tell.
            rubbish in prop_oneof![Just(vec![0]), Just(MAGIC.to_vec()), Just(encoded(&record(9, vec![1]))[..43].to_vec())],
            gap in prop_oneof![Just(0), WINDOW - 60..WINDOW + 60],
        ) {
            let (mut bytes, mut records, mut waste) = (Vec::new(), Vec::new(), 0);
            for (sequence, (waste_len, body)) in parts.into_iter().enumerate() {
                let waste_len = if sequence == 1 { gap } else { waste_len };
                bytes.extend(rubbish.iter().copied().cycle().take(waste_len));
                waste += waste_len as u64;
                records.push(record(sequence as u64, body));
                bytes.extend(encoded(&records[sequence]));
            }
            prop_assert_eq!(read_all(&bytes), (records, waste));
        }

        #[test]
        fn any_bytes_are_read_to_their_end(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert_eq!(read_all(&bytes), (vec![], bytes.len() as u64));
        }
    }

    #[test]
    fn every_torn_tail_leaves_what_stands_before_it() {
        let (first, second) = (record(1, vec![7; 20]), record(2, vec![8; 30]));
        let bytes = [encoded(&first), encoded(&second)].concat();
        let boundary = encoded(&first).len();
        for len in boundary..bytes.len() {
            assert_eq!(read_all(&bytes[..len]), (vec![first.clone()], (len - boundary) as u64));
        }
        assert_eq!(read_all(&bytes), (vec![first, second], 0));
    }

    #[test]
    fn a_damaged_body_is_skipped_by_its_length() {
        // A record within the body would be found if the body were searched.
        let inner = encoded(&record(5, vec![1]));
        let (first, second) = (record(1, inner), record(2, vec![]));
        let mut bytes = [encoded(&first), encoded(&second)].concat();
        bytes[HEADER_LEN + 48] ^= 1;
        assert_eq!(read_all(&bytes), (vec![second], first.encoded_len()));
    }
}
