//! The fields of messages: numbers little-endian, texts with their length before them.
//!
//! Enters: values, or the bytes of one message. Leaves: the bytes, or the values, which borrow their texts.
//!
//! Never: panics on bytes that make no sense; takes memory for a count that the bytes do not bear out.

use monitor_plugin_api::Sample;
use monitor_plugin_api::abi::{AbiError, AbiLabel};

use super::message::{Malformed, Records};
use crate::labels::{MAX_LABELS, MAX_NAME_BYTES, is_label_name};
use crate::plugin::Worker;

pub(super) fn worker_number(worker: Worker) -> u8 {
    match worker {
        Worker::GetPower => 0,
        Worker::ProcessData => 1,
    }
}

pub(super) fn put_u32(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}

pub(super) fn put_u64(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

/// Texts are clipped or bounded before: none has 4 GiB.
pub(super) fn put_str(out: &mut Vec<u8>, text: &str) {
    put_u32(out, text.len() as u32);
    out.extend_from_slice(text.as_bytes());
}

pub(super) fn put_labels(out: &mut Vec<u8>, labels: &[AbiLabel<'_>], max_value_bytes: usize) {
    // An absent label says nothing, and does not count (`labels.rs`); its name is looked at all the same.
    let is_legal = |name: &str| is_label_name(name) && !name.starts_with("__");
    let labels = labels.iter().filter(|label| !label.value.is_empty() || !is_legal(label.name.as_str()));
    let count_at = out.len();
    put_u32(out, 0);
    let mut count = 0_u32;
    for label in labels.take(MAX_LABELS + 1) {
        put_str(out, clip(label.name.as_str(), MAX_NAME_BYTES));
        put_str(out, clip(label.value.as_str(), max_value_bytes));
        count += 1;
    }
    out[count_at..count_at + 4].copy_from_slice(&count.to_le_bytes());
}

/// The text, or so much of it that it is still longer than `bytes`.
pub(super) fn clip(text: &str, bytes: usize) -> &str {
    let enough = bytes.saturating_add(1);
    let end = (enough..text.len()).find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(text.len())]
}

/// What is left of a message.
pub(super) struct Take<'a>(pub(super) &'a [u8]);

impl<'a> Take<'a> {
    fn bytes(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*bytes)
    }

    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn str(&mut self) -> Result<&'a str, Malformed> {
        let length = self.u32()? as usize;
        std::str::from_utf8(self.bytes(length)?).map_err(|_| Malformed)
    }

    pub(super) fn worker(&mut self) -> Result<Worker, Malformed> {
        match self.u8()? {
            0 => Ok(Worker::GetPower),
            1 => Ok(Worker::ProcessData),
            _ => Err(Malformed),
        }
    }

    pub(super) fn failure(&mut self) -> Result<Option<AbiError>, Malformed> {
        if self.u8()? == 0 {
            return Ok(None);
        }
        let failure = self.u32()? as i32;
        Ok(Some(AbiError { failure, message: self.str()?.into(), detail: self.str()?.into() }))
    }

    pub(super) fn labels(&mut self) -> Result<Vec<AbiLabel<'a>>, Malformed> {
        let mut labels = Vec::new();
        self.labels_into(&mut labels)?;
        Ok(labels)
    }

    pub(super) fn labels_into(&mut self, labels: &mut Vec<AbiLabel<'a>>) -> Result<usize, Malformed> {
        let count = self.u32()? as usize;
        for _ in 0..count {
            labels.push(AbiLabel { name: self.str()?.into(), value: self.str()?.into() });
        }
        Ok(count)
    }

    pub(super) fn records(&mut self) -> Result<Records<'a>, Malformed> {
        let count = self.u32()?;
        let mut all = Records { labels: Vec::new(), records: Vec::new() };
        for _ in 0..count {
            let metric = self.str()?.into();
            let labels = self.labels_into(&mut all.labels)?;
            all.records.push((metric, labels, f64::from_bits(self.u64()?), self.u64()? as i64));
        }
        Ok(all)
    }

    pub(super) fn samples(&mut self) -> Result<Vec<Sample>, Malformed> {
        let (samples, rest) = self.rest().as_chunks::<{ size_of::<Sample>() }>();
        let number = |bytes: &[u8; 24], at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let sample = |bytes: &[u8; 24]| {
            Sample::from_parts(number(bytes, 0), f64::from_bits(number(bytes, 8)), number(bytes, 16) as i64)
        };
        if rest.is_empty() { Ok(samples.iter().map(sample).collect()) } else { Err(Malformed) }
    }
}
