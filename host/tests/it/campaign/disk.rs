//! The spool's files, read by their description alone and with none of the host's code; and damaged.
//!
//! Enters: a directory that no process uses. Leaves: what waits there, damaged records too; the directory with bytes
//! changed at random. Never: writes but to damage.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fastrand::Rng;

use super::wire::{Sample, Version, samples};

const HEADER: usize = 48;

/// Where the copies in the cursor begin, and how long one is.
const COPIES: [usize; 2] = [0, 4096];
const COPY: usize = 32;

/// A record that waits, whose header at least can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// The number of its batch, which another one has only if this one was destroyed.
    pub(super) sequence: u64,
    /// How many samples its header says it has.
    pub(super) count: u64,
    /// Its samples; of one whose body is damaged, those that it had before.
    pub(super) samples: Vec<Sample>,
    /// Its body is not damaged.
    pub(super) whole: bool,
}

/// The files of one round.
pub(super) struct Disk<'a> {
    dir: &'a Path,
    /// What records held when they were seen whole.
    seen: BTreeMap<u64, Vec<Sample>>,
}

impl<'a> Disk<'a> {
    pub(super) fn new(dir: &'a Path) -> Self {
        Self { dir, seen: BTreeMap::new() }
    }

    /// All that waits, oldest first, or what can't be read although its checksum is right.
    pub(super) fn waiting(&mut self) -> Result<Vec<Record>, String> {
        let (first, offset) = self.cursor();
        let mut all = Vec::new();
        for (number, path) in self.segments() {
            if number < first {
                continue;
            }
            let bytes = fs::read(path).map_err(|error| error.to_string())?;
            // What is done with may come back when the cursor is lost: it is read once more, to know it then.
            self.records(&bytes, 0)?;
            all.extend(self.records(&bytes, if number == first { offset } else { 0 })?);
        }
        Ok(all)
    }

    /// The records from this byte on.
    fn records(&mut self, bytes: &[u8], mut at: usize) -> Result<Vec<Record>, String> {
        let mut all = Vec::new();
        while at < bytes.len() {
            let found = self.record(&bytes[at..])?;
            at += found.as_ref().map_or(1, |(_, len)| *len);
            all.extend(found.map(|(record, _)| record));
        }
        Ok(all)
    }

    /// The segment and the byte in it up to which all is done with, by the copy that is further on.
    fn cursor(&self) -> (u64, usize) {
        let bytes = fs::read(self.dir.join("cursor")).unwrap_or_default();
        let copies = COPIES.iter().filter_map(|&at| bytes.get(at..at + COPY));
        let whole =
            copies.filter(|copy| copy[..4] == *b"\xd5mc\x01" && crc32fast::hash(&copy[..28]) == u32_at(copy, 28));
        whole.map(|copy| (u64_at(copy, 4), u64_at(copy, 12) as usize)).max().unwrap_or_default()
    }

    fn segments(&self) -> BTreeMap<u64, PathBuf> {
        let files = fs::read_dir(self.dir).into_iter().flatten().flatten().map(|file| file.path());
        let number = |path: &PathBuf| path.file_name()?.to_str()?.strip_suffix(".seg")?.parse().ok();
        files.filter_map(|path| Some((number(&path)?, path))).collect()
    }

    /// The record that these bytes begin with, and its length.
    fn record(&mut self, bytes: &[u8]) -> Result<Option<(Record, usize)>, String> {
        if bytes.len() < HEADER || bytes[..4] != *b"\xd5mr\x01" || crc32fast::hash(&bytes[..40]) != u32_at(bytes, 40) {
            return Ok(None);
        }
        let version = if bytes[4] == 1 { Version::V1 } else { Version::V2 };
        let (count, sequence) = (u32_at(bytes, 12).into(), u64_at(bytes, 16));
        let Some(body) = bytes[HEADER..].get(..u32_at(bytes, 8) as usize) else { return Ok(None) };
        let whole = crc32fast::hash(body) == u32_at(bytes, 44);
        if whole {
            let samples = samples(version, body).map_err(|error| format!("record {sequence}: {error}"))?;
            self.seen.insert(sequence, samples);
        }
        let samples = self.seen.get(&sequence).cloned().unwrap_or_default();
        if samples.len() as u64 != count {
            return Err(format!("record {sequence} has {} samples and says {count}", samples.len()));
        }
        Ok(Some((Record { sequence, count, samples, whole }, HEADER + body.len())))
    }

    /// Hurts the spool; returns what was done, none where there was nothing to hurt.
    pub(super) fn damage(&self, how: Damage, random: &mut Rng) -> Option<String> {
        let cursor = self.dir.join("cursor");
        let segments: Vec<PathBuf> = self.segments().into_values().collect();
        let path = match how {
            Damage::Cursor | Damage::NoCursor => cursor,
            _ => segments.get(random.usize(..segments.len().max(1)))?.clone(),
        };
        let mut bytes = fs::read(&path).ok().filter(|bytes| !bytes.is_empty())?;
        let done = match how {
            Damage::Flip(count) => {
                let places: Vec<usize> = (0..count).map(|_| random.usize(..bytes.len())).collect();
                places.iter().for_each(|&at| bytes[at] ^= random.u8(1..));
                format!("changed {places:?}")
            }
            Damage::Zero => {
                let from = random.usize(..bytes.len());
                let to = bytes.len().min(from + random.usize(1..2000));
                bytes[from..to].fill(0);
                format!("zeroed {from}..{to}")
            }
            Damage::Tail => {
                bytes.truncate(bytes.len().saturating_sub(random.usize(1..1000)));
                format!("cut to {}", bytes.len())
            }
            Damage::Cursor => {
                let copies: &[usize] = if random.bool() { &COPIES } else { &COPIES[random.usize(..2)..][..1] };
                for copy in copies {
                    if let Some(byte) = bytes.get_mut(copy + random.usize(..COPY)) {
                        *byte ^= random.u8(1..);
                    }
                }
                format!("changed the copies at {copies:?}")
            }
            Damage::NoCursor => {
                fs::remove_file(&path).expect("the cursor can be removed");
                return Some("cursor: removed".to_owned());
            }
        };
        fs::write(&path, &bytes).expect("the spool can be damaged");
        let name = path.file_name().unwrap_or_default().display().to_string();
        Some(format!("{}: {done}", name.trim_start_matches('0')))
    }
}

/// How a spool is hurt.
#[derive(Clone, Copy, Debug)]
pub(super) enum Damage {
    /// So many bytes of a segment are changed.
    Flip(usize),
    /// A part of a segment is lost.
    Zero,
    /// The end of a segment is lost.
    Tail,
    /// A byte of one copy in the cursor is changed, or one of each.
    Cursor,
    /// The cursor is gone.
    NoCursor,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("bytes of a header"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("bytes of a header"))
}
