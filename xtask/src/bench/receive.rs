//! A receiver that costs as little as one can that reads what it gets: it unpacks each request, and takes every value and
//! timestamp out of it.
//!
//! Enters: requests of 1.0 and 2.0, over any number of connections. Leaves: how many samples, bytes and requests came.
//!
//! Never: refuses a message that it can read; keeps a sample.

use std::io::{BufRead, BufReader, Error, Read, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

/// What has come so far.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) samples: AtomicU64,
    /// Of the bodies, as they were sent.
    pub(crate) bytes: AtomicU64,
    pub(crate) requests: AtomicU64,
    /// Why a request could not be read: the first.
    pub(crate) error: Mutex<Option<String>>,
}

/// Where it listens, what has come, and what tells of each request.
pub(crate) struct Listening {
    pub(crate) url: String,
    pub(crate) counts: Arc<Counts>,
    pub(crate) arrived: Receiver<Instant>,
}

/// Listens on a port of its own until the program ends.
pub(crate) fn listen() -> Result<Listening> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/api/v1/write", listener.local_addr()?);
    let (arrived, counts) = (mpsc::channel(), Arc::new(Counts::default()));
    thread::spawn({
        let counts = Arc::clone(&counts);
        move || {
            for stream in listener.incoming().flatten() {
                let (counts, arrived) = (Arc::clone(&counts), arrived.0.clone());
                thread::spawn(move || {
                    if let Err(error) = answer(&stream, &counts, &arrived) {
                        let mut first = counts.error.lock().unwrap_or_else(PoisonError::into_inner);
                        first.get_or_insert_with(|| error.to_string());
                    }
                });
            }
        }
    });
    Ok(Listening { url, counts, arrived: arrived.1 })
}

/// Reads requests to the end of the connection.
fn answer(stream: &TcpStream, counts: &Counts, arrived: &Sender<Instant>) -> Result<()> {
    let (mut reader, mut writer) = (BufReader::with_capacity(1 << 16, stream), stream);
    stream.set_nodelay(true)?;
    let (mut line, mut body, mut message) = (String::new(), Vec::new(), Vec::new());
    loop {
        let (mut length, mut is_v2) = (0, false);
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            line.make_ascii_lowercase();
            if line.trim_end().is_empty() {
                break;
            }
            if let Some(number) = line.strip_prefix("content-length:") {
                length = number.trim().parse().map_err(Error::other)?;
            }
            is_v2 |= line.contains("io.prometheus.write.v2.request");
        }
        body.resize(length, 0);
        reader.read_exact(&mut body)?;
        message.resize(snap::raw::decompress_len(&body).map_err(Error::other)?, 0);
        snap::raw::Decoder::new().decompress(&body, &mut message).map_err(Error::other)?;
        let samples = samples(&message, if is_v2 { 5 } else { 1 }).ok_or_else(|| Error::other("not a message"))?;
        counts.samples.fetch_add(samples, Relaxed);
        counts.bytes.fetch_add(length as u64, Relaxed);
        counts.requests.fetch_add(1, Relaxed);
        // Nobody may wait for it any more.
        let _ = arrived.send(Instant::now());
        write!(writer, "HTTP/1.1 204 No Content\r\nx-prometheus-remote-write-samples-written: {samples}\r\n\r\n")?;
    }
}

/// How many samples the entries of a request hold, which are its fields of this number.
fn samples(mut message: &[u8], entries: u64) -> Option<u64> {
    let mut samples = 0;
    while !message.is_empty() {
        let (field, mut entry) = field(&mut message)?;
        if field != entries {
            continue;
        }
        while !entry.is_empty() {
            let (field, sample) = self::field(&mut entry)?;
            if field == 2 {
                read_sample(sample)?;
                samples += 1;
            }
        }
    }
    Some(samples)
}

/// Takes value and timestamp out of it.
fn read_sample(mut sample: &[u8]) -> Option<()> {
    let (mut value, mut timestamp_ms) = (0.0, 0);
    while let Some((&tag, rest)) = sample.split_first() {
        sample = rest;
        if tag == 0x09 {
            let (bytes, rest) = sample.split_first_chunk()?;
            (value, sample) = (f64::from_le_bytes(*bytes), rest);
        } else {
            timestamp_ms = varint(&mut sample)?;
        }
    }
    std::hint::black_box((value, timestamp_ms));
    Some(())
}

/// The number and the bytes of the length-delimited field that these begin with.
fn field<'a>(bytes: &mut &'a [u8]) -> Option<(u64, &'a [u8])> {
    let tag = varint(bytes)?;
    let length = varint(bytes)? as usize;
    let (field, rest) = bytes.split_at_checked(length).filter(|_| tag & 7 == 2)?;
    *bytes = rest;
    Some((tag >> 3, field))
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}
