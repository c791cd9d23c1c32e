//! The floor: what no sender can do without. One thread, labels encoded before anything else, snappy, one connection.
//!
//! Enters: the variables that the host and the load's plugin take. Leaves: the same samples in the same groups at the
//! same times, in requests of the same size.
//!
//! Never: retries, counts, or looks at what it is answered.

use std::env;
use std::io::{BufRead, BufReader, Error, Result, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use signal_hook::consts::SIGTERM;

/// As the load's plugin has them (host/benches/load).
const METRIC: &str = "load_energy_joules_total";
const SOURCE: &str = "bench";
const GROUP: i64 = 4;

/// BATCH_MAX_SAMPLES.
const MAX_SAMPLES: usize = 10_000;

/// Sends until SIGTERM.
pub(crate) fn run() -> Result<()> {
    let asked = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGTERM, Arc::clone(&asked))?;
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<f64>().ok());
    let series = number("LOAD_SERIES").unwrap_or(5.0) as usize;
    let every = Duration::from_secs_f64(number("SCRAPE_INTERVAL_S").unwrap_or(0.1));
    let push = Duration::from_secs_f64(number("PUSH_INTERVAL_S").unwrap_or(4.0));
    let is_v2 = env::var("REMOTE_WRITE_PROTOCOL").is_ok_and(|text| text == "2.0");
    if env::var("LOAD_PACE").is_ok_and(|pace| pace == "flood") {
        let mut sender = Sender::new(series, GROUP as usize, is_v2)?;
        let mut now = now_ms();
        while !asked.load(Ordering::Relaxed) {
            sender.push(&(now..now + GROUP).collect::<Vec<_>>())?;
            now += GROUP;
        }
        return Ok(());
    }
    let readings = (push.as_secs_f64() / every.as_secs_f64()).round() as usize;
    let mut sender = Sender::new(series, readings, is_v2)?;
    let (mut due, mut times) = (Instant::now(), Vec::with_capacity(readings));
    while !asked.load(Ordering::Relaxed) {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        due += every;
        times.push(now_ms());
        if times.len() == readings {
            sender.push(&times)?;
            times.clear();
        }
    }
    Ok(())
}

/// The series of one request.
struct Chunk {
    /// 2.0: the symbols.
    head: Vec<u8>,
    /// Of each series its number, and its labels as they stand in its entry.
    series: Vec<(usize, Vec<u8>)>,
}

struct Sender {
    chunks: Vec<Chunk>,
    header: String,
    tag: u8,
    stream: BufReader<TcpStream>,
    message: Vec<u8>,
    request: Vec<u8>,
    encoder: snap::raw::Encoder,
}

impl Sender {
    /// For so many samples of each series in a push.
    fn new(series: usize, times: usize, is_v2: bool) -> Result<Self> {
        let url = env::var("REMOTE_WRITE_URL").map_err(Error::other)?;
        let rest = url.strip_prefix("http://").unwrap_or(&url);
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let stream = TcpStream::connect(host)?;
        stream.set_nodelay(true)?;
        let (version, proto) = if is_v2 { ("2.0.0", ";proto=io.prometheus.write.v2.Request") } else { ("0.1.0", "") };
        let header = format!(
            "POST /{path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/x-protobuf{proto}\r\n\
             content-encoding: snappy\r\nx-prometheus-remote-write-version: {version}\r\ncontent-length: "
        );
        let all: Vec<usize> = (0..series).collect();
        let chunks = all.chunks((MAX_SAMPLES / times).max(1));
        let chunks = chunks.map(|chunk| if is_v2 { chunk_v2(chunk) } else { chunk_v1(chunk) }).collect();
        let tag = if is_v2 { 0x2a } else { 0x0a };
        let (stream, encoder) = (BufReader::new(stream), snap::raw::Encoder::new());
        Ok(Sender { chunks, header, tag, stream, message: Vec::new(), request: Vec::new(), encoder })
    }

    /// A sample of each series at each of these times.
    fn push(&mut self, times: &[i64]) -> Result<()> {
        for chunk in &self.chunks {
            self.message.clear();
            self.message.extend_from_slice(&chunk.head);
            for (part, labels) in &chunk.series {
                self.message.push(self.tag);
                // A sample is 18 bytes: its tag and length, and a value and a time with theirs, now and for centuries.
                put_varint(&mut self.message, (labels.len() + 18 * times.len()) as u64);
                self.message.extend_from_slice(labels);
                for &now in times {
                    self.message.extend_from_slice(&[0x12, 16, 0x09]);
                    self.message.extend_from_slice(&value(*part, now).to_le_bytes());
                    self.message.push(0x10);
                    put_varint(&mut self.message, now as u64);
                }
            }
            let most = snap::raw::max_compress_len(self.message.len());
            // Compressed behind the longest header, which is then put before it.
            let room = self.header.len() + 32;
            self.request.resize(room + most, 0);
            let length = self.encoder.compress(&self.message, &mut self.request[room..]).map_err(Error::other)?;
            let header = format!("{}{length}\r\n\r\n", self.header);
            let begin = room - header.len();
            self.request[begin..room].copy_from_slice(header.as_bytes());
            self.stream.get_mut().write_all(&self.request[begin..room + length])?;
            let mut line = String::new();
            while self.stream.read_line(&mut line)? > 2 {
                line.clear();
            }
        }
        Ok(())
    }
}

/// Labels in the order of their names.
fn labels(part: usize) -> [(&'static str, String); 3] {
    [("__name__", METRIC.into()), ("part", format!("part-{part}")), ("source", SOURCE.into())]
}

/// How long the labels of a series are, encoded.
pub(super) fn label_bytes(part: usize) -> usize {
    chunk_v1(&[part]).series[0].1.len()
}

fn chunk_v1(parts: &[usize]) -> Chunk {
    let field = |out: &mut Vec<u8>, tag, bytes: &[u8]| {
        out.push(tag);
        put_varint(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    };
    let encoded = |part: &usize| {
        let mut out = Vec::new();
        for (name, value) in labels(*part) {
            let mut label = Vec::new();
            field(&mut label, 0x0a, name.as_bytes());
            field(&mut label, 0x12, value.as_bytes());
            field(&mut out, 0x0a, &label);
        }
        (*part, out)
    };
    Chunk { head: Vec::new(), series: parts.iter().map(encoded).collect() }
}

fn chunk_v2(parts: &[usize]) -> Chunk {
    let mut symbols = vec![String::new()];
    let mut number = |text: &str| {
        // What all series have in common stands at the begin; what they have not is new.
        let known = symbols.iter().take(8).position(|symbol| symbol == text);
        known.unwrap_or_else(|| {
            symbols.push(text.to_owned());
            symbols.len() - 1
        }) as u64
    };
    let mut series = Vec::new();
    for &part in parts {
        let mut refs = Vec::new();
        for (name, value) in labels(part) {
            put_varint(&mut refs, number(name));
            put_varint(&mut refs, number(&value));
        }
        series.push((part, [&[0x0a, refs.len() as u8], &refs[..]].concat()));
    }
    let mut head = Vec::new();
    for symbol in symbols {
        head.push(0x22);
        put_varint(&mut head, symbol.len() as u64);
        head.extend_from_slice(symbol.as_bytes());
    }
    Chunk { head, series }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// As the load's plugin has it.
fn value(part: usize, now: i64) -> f64 {
    ((part as i64 * 7919 + now * 13) & 0xff_ffff) as f64 / 16384.0
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
