//! Fuzzes the spool's files: any bytes as a segment, as a cursor, and as a whole directory that is then worked with.
//!
//! Promises: reading ends, and gives only what is there with the right checksum; opening never fails because of what files
//! hold; each record that was found or appended is waiting, held, removed or lost, once.

use std::fs;
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;

use super::cursor::{COPIES, COPY_LEN, Place, State};
use super::*;
use crate::fuzz::{Choices, Target};

/// Files of a spool.
pub static SPOOL: Target = Target {
    name: "spool",
    run: |input| {
        let mut choices = Choices(input);
        match choices.byte() {
            b's' => segment(choices.0),
            b'b' => segment(&built(&mut choices)),
            b'd' => directory(&mut choices),
            _ => segment(input),
        }
    },
    seeds: || {
        let records: Vec<u8> = [record(1, b""), record(2, b"body"), record(9, &[0xd5; 70])].concat();
        // As `built` reads it: four parts, of which two are whole, one is changed, and five bytes are cut off.
        let built = &b"\x04\x01\x05\x01\0\0\0\0\0\0\0abcde\x01\0\x02\0\0\0\0\0\0\0\x02\x03xyz\x30\x01\x04\x05"[..];
        let cursor = State { place: Place { segment: 1, offset: 48 }, last_sequence: 7 }.encode();
        vec![
            [&b"s"[..], &records].concat(),
            [&b"s"[..], &records[..records.len() - 1], b"\xd5mr\x01", &records].concat(),
            [b"b\x06", &built[1..], b"\x03\0", &[0xff; 36], b"\xf5\x78"].concat(),
            // Three files, no cursor: append, take, put back, take, remove; damage; expire; open again, and take it.
            [b"d\x03", built, built, built, b"\x01\0\xff\x01\x20\x09\x03\x03\x05\x07\x02\x05\0\x01\x06\x0a\0\x03\x05"]
                .concat(),
            // A small bound that comes over the record that is held.
            b"d\0\x01\x02\xff\x01\x80\x01\x03\x01\x80\x02\x01\x80\x03\x05\x03\0\x03\x05".to_vec(),
            // A cursor, of two whole copies and of one.
            [b"d\x01", built, b"\0\0\x01\x3c\0\x07\0\x40\0\x01\0\xff\x03\x05\x03\x05"].concat(),
            [b"d\x02", built, built, b"\0\x80", &cursor, b"\x01\x3c\0\x07\0\xff\x03\x05\0\x03\x05"].concat(),
        ]
    },
    words: || vec![b"\xd5mr\x01".to_vec(), b"\xd5mc\x01".to_vec(), record(3, b"xyz"), vec![0xff; 4], vec![0; 8]],
};

/// The record's bytes; it has as many samples as its number.
fn record(sequence: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    made(sequence, body).encode(&mut bytes);
    bytes
}

fn made(sequence: u64, body: &[u8]) -> Record {
    Record {
        sequence,
        protocol: if sequence.is_multiple_of(2) { Protocol::V2 } else { Protocol::V1 },
        samples: sequence as u32,
        exemplars: (sequence % 3) as u16,
        time_range_ms: ((sequence as i64).saturating_sub(1), sequence as i64),
        body: Bytes::copy_from_slice(body),
    }
}

/// What is read from these bytes is in them, in order, and nothing else is counted.
fn segment(bytes: &[u8]) {
    let (records, waste) = read_all(bytes);
    let (mut clean, mut encoded, mut rest) = (Vec::new(), Vec::new(), bytes);
    for record in &records {
        record.encode(&mut encoded);
        // A byte of a header means nothing today, so it may differ.
        let same = |found: &[u8]| found[..5] == encoded[..5] && found[6..40] == encoded[6..40];
        let at = rest.windows(encoded.len()).position(|found| same(found) && found[44..] == encoded[44..]);
        rest = &rest[at.expect("what was read stands there") + encoded.len()..];
        clean.extend_from_slice(&encoded);
    }
    assert_eq!(clean.len() as u64 + waste, bytes.len() as u64);
    let sum = scan::sum(bytes, 0, bytes.len() as u64).expect("memory can be read");
    assert!(sum.records >= records.len() as u64 && sum.bytes <= bytes.len() as u64, "{sum:?}");
    assert_eq!(read_all(&clean), (records, 0));
}

/// A segment of records and of what comes close to them; a checksum that is right is hard to come by otherwise.
fn built(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..choices.byte() % 8 {
        let kind = choices.byte();
        let len = usize::from(choices.byte());
        match kind % 6 {
            0 => bytes.extend_from_slice(choices.bytes(len)),
            1 => bytes.extend(record(choices.long(), choices.bytes(len))),
            2 => {
                let mut whole = record(u64::from(kind), choices.bytes(len));
                let at = usize::from(choices.byte()) % whole.len();
                whole[at] ^= choices.byte();
                bytes.extend(whole);
            }
            3 => {
                // A header that is whole and says anything.
                let mut header = record(0, b"");
                header[4..4 + 36].copy_from_slice(&[choices.bytes(36), &[0; 36]].concat()[..36]);
                let crc = crc32fast::hash(&header[..40]);
                header[40..44].copy_from_slice(&crc.to_le_bytes());
                bytes.extend(header);
            }
            4 => bytes.truncate(bytes.len().saturating_sub(len)),
            // Where one window ends; seldom and once, because it takes time.
            _ if kind > 0xf0 && bytes.len() < scan::WINDOW => bytes.resize(scan::WINDOW - 120 + len, b'm'),
            _ => {}
        }
    }
    bytes
}

/// Whole records in a spool's books: all that came in is somewhere, once.
#[derive(Default)]
struct Books {
    came: Tally,
    removed: Tally,
    lost: Tally,
    held: Option<Tally>,
}

impl Books {
    fn balance(&mut self, spool: &mut Spool) {
        let losses = spool.take_losses();
        for lost in [losses.overflow, losses.expired, losses.damaged] {
            self.lost += lost;
        }
        let mut found = spool.waiting();
        for part in [self.removed, self.lost, self.held.unwrap_or_default()] {
            found += part;
        }
        assert_eq!(self.came, found, "{losses:?} {:?} {:?}", self.held, spool.waiting());
    }
}

/// How often a directory is opened at most.
const OPENED: usize = 6;

/// A test beside this one that starts a process has all open files, locks included, twice for a moment.
fn open(dir: &Path, bounds: Bounds) -> Result<(Spool, Recovered), SpoolError> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match Spool::open(dir, bounds, false) {
            Err(SpoolError::Held { .. }) if Instant::now() < end => std::thread::yield_now(),
            opened => return opened,
        }
    }
}

/// Files of any content, opened and worked with, while one of them may be damaged further.
fn directory(choices: &mut Choices<'_>) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let dir = dir.path();
    for number in 0..u64::from(choices.byte() % 4) {
        let bytes = built(choices);
        fs::write(segment::path(dir, number), bytes).expect("a temporary directory takes files");
    }
    if choices.byte().is_multiple_of(2) {
        fs::write(dir.join("cursor"), cursor(choices)).expect("a temporary directory takes files");
    }
    let max_bytes = [1 << 20, 3000, 300][usize::from(choices.byte() % 3)];
    let bounds = Bounds { max_bytes, max_age: Duration::from_millis(u64::from(choices.byte())) };
    for _ in 0..OPENED {
        let (mut spool, recovered) = open(dir, bounds).expect("whatever files hold, they can be opened");
        assert_eq!(spool.waiting(), recovered.waiting);
        let last = spool.last_sequence();
        let mut books = Books { came: recovered.waiting, ..Books::default() };
        work(dir, &mut spool, &mut books, choices);
        assert!(spool.last_sequence() >= last);
    }
}

/// Works with an open spool until it is to be opened again.
fn work(dir: &Path, spool: &mut Spool, books: &mut Books, choices: &mut Choices<'_>) {
    while !choices.is_empty() {
        match choices.byte() % 8 {
            0 => return,
            1 | 2 => {
                let len = usize::from(choices.byte());
                let record = made(u64::from(choices.byte()), &[7; 255][..len]);
                if spool.append(&record).is_ok() {
                    books.came += tally(&record);
                }
            }
            3 | 4 => {
                books.held = None;
                if let Ok(Some(held)) = spool.oldest() {
                    books.held = Some(tally(&held));
                }
            }
            5 => {
                let _ = spool.remove_oldest();
                books.removed += books.held.take().unwrap_or_default();
            }
            6 => {
                let _ = spool.expire(i64::from(choices.byte()));
            }
            _ => damage(dir, choices),
        }
        books.balance(spool);
    }
}

fn tally(record: &Record) -> Tally {
    Tally {
        records: 1,
        samples: record.samples.into(),
        exemplars: record.exemplars.into(),
        bytes: record.encoded_len(),
    }
}

/// Changes a byte of a file, or cuts it off there.
fn damage(dir: &Path, choices: &mut Choices<'_>) {
    let path = segment::path(dir, u64::from(choices.byte() % 6));
    let (at, by) = (usize::from(choices.short()), choices.byte());
    let Ok(mut bytes) = fs::read(&path) else { return };
    match bytes.get_mut(at) {
        Some(byte) if by > 0 => *byte ^= by,
        _ => bytes.truncate(at),
    }
    let _ = fs::write(path, bytes);
}

/// Either any bytes, or copies that are whole.
fn cursor(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut file = vec![0; COPIES[1] as usize + COPY_LEN];
    let kinds = choices.byte();
    for (copy, at) in COPIES.into_iter().enumerate() {
        let bytes = match kinds >> (7 - copy) & 1 {
            0 => {
                let place = Place { segment: (choices.byte() % 8).into(), offset: choices.short().into() };
                State { place, last_sequence: choices.byte().into() }.encode().to_vec()
            }
            _ => choices.bytes(COPY_LEN).to_vec(),
        };
        file[at as usize..at as usize + bytes.len()].copy_from_slice(&bytes);
    }
    file
}
