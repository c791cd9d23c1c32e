//! `cargo bench`: each pure stage beside what it can't do without, on one thread.
//!
//! Leaves a table: nanoseconds a sample, the least of many rounds, and how many times its floor that is. 10,000 series with
//! two labels, four samples each.

mod fixed;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::hint::black_box;
use std::time::{Duration, Instant};

use fixed::Fixed;
use monitor_host::encode::Protocol;
use monitor_proto::{v1, v2};
use prost::Message;

const SERIES: usize = 10_000;
const TIMES: i64 = 4;
const ROUNDS: i64 = 40;

fn main() {
    let mut fixed = Fixed::new(SERIES, TIMES);
    let samples = SERIES * TIMES as usize;
    let mut table = Table::default();

    let text: String = fixed.parts.concat();
    let floor = copy(text.as_bytes(), SERIES);
    table.row("normalise a record", least(SERIES, || fixed.normalise()), "memcpy of its text", floor);
    let document = fixed.document();
    let ignore = || serde_json::from_str::<serde::de::IgnoredAny>(&document).is_ok();
    let floor = least(SERIES, ignore);
    let json = least(SERIES, || fixed.normalise_json(document.as_bytes()));
    table.row("normalise JSON", json, "parsing alone", floor);

    let mut times = BTreeMap::new();
    for (protocol, version) in [(Protocol::V1, "1.0"), (Protocol::V2, "2.0")] {
        let (mut batch, mut cut) = (Duration::MAX, Duration::MAX);
        for _ in 0..ROUNDS {
            // Each round's samples are newer.
            let later = times.len() as i64 * 10_000;
            let began = Instant::now();
            fixed.batch(later);
            let batched = Instant::now();
            let whole = fixed.cut(protocol);
            (batch, cut) = (batch.min(batched - began), cut.min(batched.elapsed()));
            times.insert(later, whole.map(|batch| batch.body.len()));
        }
        let bytes: Vec<u8> = fixed.samples.iter().flat_map(|sample| sample.value.to_le_bytes().repeat(3)).collect();
        table.row("batch", per(batch, samples), "memcpy of 24 bytes", copy(&bytes, samples));

        fixed.encode(Protocol::V1);
        let labels = labels_of(&fixed.message, version);
        let floor = least(samples, || floor_of(&mut fixed, &labels));
        let encode = least(samples, || fixed.encode(protocol));
        table.row(&format!("encode {version}"), encode, "labels encoded before", floor);

        let message = fixed.message.clone();
        let mut packed = vec![0; snap::raw::max_compress_len(message.len())];
        let mut encoder = snap::raw::Encoder::new();
        let mut length = 0;
        let snappy = least(samples, || length = encoder.compress(&message, &mut packed).unwrap_or(0));
        table.row(&format!("snappy of {version}"), snappy, "memcpy", copy(&message, samples));
        table.row(&format!("cut {version}"), per(cut, samples), "that and snappy", floor + snappy);

        let mut out = vec![0; message.len()];
        let unpack = least(samples, || snap::raw::Decoder::new().decompress(&packed[..length], &mut out).is_ok());
        let decode = least(samples, || match protocol {
            Protocol::V1 => drop(black_box(v1::WriteRequest::decode(&*message))),
            Protocol::V2 => drop(black_box(v2::Request::decode(&*message))),
        });
        table.row(&format!("decode {version}"), unpack + decode, "snappy alone", unpack);
        let bytes = length as f64 / samples as f64;
        let _ = writeln!(table.0, "| bytes of {version} a sample: {bytes:.2} | | | | |");
    }
    println!("| stage | ns a sample | floor | ns | ratio |\n|---|---|---|---|---|\n{}", table.0);
}

#[derive(Default)]
struct Table(String);

impl Table {
    fn row(&mut self, stage: &str, ns: f64, of: &str, floor: f64) {
        let _ = writeln!(self.0, "| {stage} | {ns:.1} | {of} | {floor:.1} | × {:.1} |", ns / floor);
    }
}

/// All samples as one message, of labels that were encoded before: what no encoder can do without.
#[inline(never)]
fn floor_of(fixed: &mut Fixed, labels: &[Vec<u8>]) {
    fixed.message.clear();
    for (labels, points) in labels.iter().zip(&fixed.points) {
        fixed.message.extend_from_slice(&[0x0a, 0, 0]);
        fixed.message.extend_from_slice(labels);
        for point in points {
            let mut bytes = [0x12, 16, 0x09, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0];
            bytes[3..11].copy_from_slice(&point.value.to_le_bytes());
            for (i, byte) in bytes[12..].iter_mut().enumerate() {
                *byte = (point.timestamp_ms >> (7 * i)) as u8 | 0x80;
            }
            bytes[17] &= 0x7f;
            fixed.message.extend_from_slice(&bytes);
        }
    }
}

/// The labels of each entry of a message of 1.0; for 2.0, as many bytes as its references take.
fn labels_of(message: &[u8], version: &str) -> Vec<Vec<u8>> {
    let request = v1::WriteRequest::decode(message).unwrap_or_default();
    let label = |label: &v1::Label| [vec![0x0a, label.encoded_len() as u8], label.encode_to_vec()].concat();
    let bytes = |series: &v1::TimeSeries| series.labels.iter().flat_map(label).collect::<Vec<u8>>();
    let all = request.timeseries.iter().map(bytes);
    if version == "1.0" { all.collect() } else { all.map(|labels| labels[..10].to_vec()).collect() }
}

/// Nanoseconds for each of so many, the least of all rounds.
fn least<R>(of: usize, mut work: impl FnMut() -> R) -> f64 {
    let time = |_| {
        let began = Instant::now();
        black_box(work());
        began.elapsed()
    };
    per((0..ROUNDS).map(time).min().unwrap_or_default(), of)
}

fn per(time: Duration, of: usize) -> f64 {
    time.as_secs_f64() * 1e9 / of as f64
}

fn copy(bytes: &[u8], of: usize) -> f64 {
    let mut out = vec![0; bytes.len()];
    least(of, || black_box(&mut out).copy_from_slice(black_box(bytes)))
}
