//! The end of a batch: its samples put together by series, encoded, and compressed.
//!
//! Enters: what the batcher holds, which message it is to be, and a look at the series. Leaves: the bytes of one request, and
//! a batcher that begins the next.
//!
//! Never: allocates but for those bytes, once its buffers have grown.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Batch, Batcher, NO_RANGE, OF_HISTOGRAMS};
use crate::encode::{Point, Protocol, Series, v1};
use crate::labels;
use crate::series::View;

impl Batcher {
    /// Finishes the batch and begins the next: the batch, unless it is empty, and how many samples were dropped as
    /// [`Reason::Duplicate`](crate::ledger::Reason::Duplicate) (only where order is the receiver's business are they found so late).
    pub fn cut(&mut self, protocol: Protocol, table: &View<'_>) -> (Option<Batch>, u64) {
        if self.is_empty() {
            return (None, 0);
        }
        let (samples, time_range_ms) = (self.len() as u64, self.time_range());
        if self.scattered {
            self.group();
        }
        let (duplicates, starts) = self.encode(protocol, table);
        let samples = samples - duplicates;
        let most = snap::raw::max_compress_len(self.message.len());
        // Never shorter: the next batch would have to fill it again.
        if self.compressed.len() < most {
            self.compressed.resize(most, 0);
        }
        // Fails only for a short output buffer or an input beyond 4 GiB, which the limits exclude.
        let compressed = self.compressor.compress(&self.message, &mut self.compressed);
        let length = compressed.expect("the buffer has the length that the compressor asked for");
        self.sequence += 1;
        let batch = Batch {
            body: Bytes::copy_from_slice(&self.compressed[..length]),
            protocol,
            message_len: self.message.len(),
            samples,
            exemplars: self.rare.exemplars() as u64,
            left_out_starts: if protocol == Protocol::V1 { starts } else { 0 },
            time_range_ms,
            sequence: self.sequence,
            attempts: 0,
            may_be_stored: false,
        };
        self.points.clear();
        self.runs.clear();
        self.scattered = false;
        self.rare.clear();
        self.slots.clear();
        (self.message_len, self.range_ms) = (0, NO_RANGE);
        self.batch += 1;
        if self.batch == OF_HISTOGRAMS {
            self.known.iter_mut().for_each(|known| known.batch = 0);
            self.batch = 1;
        }
        (Some(batch), duplicates)
    }

    /// Puts the points together by slot, those of each in order of arrival.
    fn group(&mut self) {
        let mut next = 0;
        self.offsets.clear();
        for slot in &self.slots {
            self.offsets.push(next);
            next += slot.points as usize;
        }
        self.grouped.clear();
        self.grouped.resize(self.points.len(), Point { value: 0.0, timestamp_ms: 0 });
        let mut rest = self.points.as_slice();
        for &(slot, length) in &self.runs {
            let (run, others) = rest.split_at(length as usize);
            rest = others;
            let offset = &mut self.offsets[slot as usize];
            self.grouped[*offset..*offset + run.len()].copy_from_slice(run);
            *offset += run.len();
        }
        std::mem::swap(&mut self.points, &mut self.grouped);
    }

    /// Fills `message`, and returns how many duplicates were left out, and how many samples have a start timestamp that
    /// 1.0 has no place for.
    fn encode(&mut self, protocol: Protocol, table: &View<'_>) -> (u64, u64) {
        self.message.clear();
        let (mut duplicates, mut starts) = (self.rare.group(), 0);
        let rare = self.rare.read();
        let mut families = BTreeMap::new();
        let mut rest = self.points.as_mut_slice();
        for (i, slot) in (0..).zip(&self.slots) {
            let (mut points, others) = rest.split_at_mut(slot.points as usize);
            rest = others;
            if self.limits.allow_out_of_order {
                points.sort_by_key(|point| point.timestamp_ms);
                let kept = keep_first(points);
                duplicates += (points.len() - kept) as u64;
                points = &mut points[..kept];
            }
            // A series leaves the table only after the batch that holds its last sample was cut.
            let Some(known) = table.get(slot.series) else { continue };
            let series = Series {
                labels: known.labels,
                metadata: known.metadata,
                start_ms: known.start_ms,
                points,
                histograms: rare.histograms_of(i),
                exemplars: rare.exemplars_of(i),
            };
            match protocol {
                Protocol::V1 => {
                    starts += series.starts();
                    v1::series(&mut self.message, &series);
                    if slot.tell {
                        families.extend(labels::metric(known.labels).zip(known.metadata));
                    }
                }
                Protocol::V2 => self.request_v2.series(&series),
            }
        }
        for (metric, metadata) in families {
            v1::metadata(&mut self.message, metric, metadata);
        }
        if protocol == Protocol::V2 {
            self.request_v2.finish(&mut self.message);
        }
        (duplicates, starts)
    }
}

/// Moves the first point of each millisecond to the front; returns how many there are.
fn keep_first(points: &mut [Point]) -> usize {
    let mut kept = 0;
    for i in 0..points.len() {
        if kept == 0 || points[kept - 1].timestamp_ms != points[i].timestamp_ms {
            points[kept] = points[i];
            kept += 1;
        }
    }
    kept
}
