//! Remote write 2.0: `io.prometheus.write.v2.Request`. Strings are symbols, each once a request.

use std::hash::BuildHasher;

use hashbrown::HashTable;

use super::{Series, body_len, histogram_bound, put_exemplar, put_histogram, put_point, start_at};
use crate::labels::{byte_pairs, put_varint, varint_len};
use crate::series::Metadata;

/// Collects the series of one request. Kept and reused by its owner.
#[derive(Debug, Default)]
pub struct Request {
    symbols: Symbols,
    series: Vec<u8>,
    refs: Vec<u8>,
    /// The numbers of the series before: most of what series have in common stands at the same places.
    before: Vec<u32>,
    /// The same for help and unit.
    metadata_before: [u32; 2],
    metadata: Vec<u8>,
    exemplars: Vec<u8>,
}

impl Request {
    /// Adds one `TimeSeries`.
    pub fn series(&mut self, series: &Series<'_>) {
        self.refs.clear();
        for (i, symbol) in byte_pairs(series.labels).flat_map(<[_; 2]>::from).enumerate() {
            if i == self.before.len() {
                self.before.push(0);
            }
            let number = &mut self.before[i];
            if !self.symbols.is(*number, symbol) {
                *number = self.symbols.intern(symbol);
            }
            put_varint(&mut self.refs, (*number).into());
        }
        self.metadata.clear();
        if let Some(metadata) = series.metadata {
            self.metadata(metadata);
        }
        self.exemplars.clear();
        if !series.exemplars.is_empty() {
            self.exemplars(series);
        }
        let start_ms = |timestamp_ms| start_at(series.start_ms, timestamp_ms);
        let samples: usize = series.points.iter().map(|point| 2 + body_len(point, start_ms(point.timestamp_ms))).sum();
        let histograms = series.histograms.iter();
        let histograms: usize = histograms.map(|h| histogram_bound(h.body, start_ms(h.timestamp_ms))).sum();
        let refs = 1 + varint_len(self.refs.len() as u64) + self.refs.len();
        let out = &mut self.series;
        out.push(0x2a);
        put_varint(out, (refs + samples + histograms + self.exemplars.len() + self.metadata.len()) as u64);
        out.push(0x0a);
        put_varint(out, self.refs.len() as u64);
        out.extend_from_slice(&self.refs);
        for point in series.points {
            put_point(out, point, start_ms(point.timestamp_ms));
        }
        for histogram in series.histograms {
            put_histogram(out, 0x1a, histogram.body, start_ms(histogram.timestamp_ms));
        }
        out.extend_from_slice(&self.exemplars);
        out.extend_from_slice(&self.metadata);
    }

    /// Fills `exemplars` with the `exemplars` fields of a series.
    fn exemplars(&mut self, series: &Series<'_>) {
        let (mut refs, mut fields) = (Vec::new(), Vec::new());
        for exemplar in series.exemplars {
            refs.clear();
            fields.clear();
            for (name, value) in byte_pairs(exemplar.labels) {
                put_varint(&mut refs, self.symbols.intern(name).into());
                put_varint(&mut refs, self.symbols.intern(value).into());
            }
            if !refs.is_empty() {
                fields.push(0x0a);
                put_varint(&mut fields, refs.len() as u64);
                fields.extend_from_slice(&refs);
            }
            put_exemplar(&mut self.exemplars, 0x22, &fields, exemplar);
        }
    }

    /// Fills `metadata` with the field of a series.
    fn metadata(&mut self, metadata: &Metadata) {
        for (number, text) in self.metadata_before.iter_mut().zip([&metadata.help, &metadata.unit]) {
            if !self.symbols.is(*number, text.as_bytes()) {
                *number = self.symbols.intern(text.as_bytes());
            }
        }
        let [help, unit] = self.metadata_before.map(u64::from);
        let fields = [(0x08, metadata.kind as u64), (0x18, help), (0x20, unit)];
        let present = || fields.into_iter().filter(|(_, value)| *value != 0);
        // One byte of length: three tags, and numbers of ten bytes at most.
        let length = present().map(|(_, value)| 1 + varint_len(value)).sum::<usize>();
        self.metadata.extend_from_slice(&[0x2a, length as u8]);
        for (tag, value) in present() {
            self.metadata.push(tag);
            put_varint(&mut self.metadata, value);
        }
    }

    /// Writes the request to `out` and begins the next one.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        out.clear();
        // symbols[0] is the empty string.
        out.extend_from_slice(&[0x22, 0]);
        for symbol in self.symbols.all() {
            out.push(0x22);
            put_varint(out, symbol.len() as u64);
            out.extend_from_slice(symbol);
        }
        out.extend_from_slice(&self.series);
        self.symbols.clear();
        self.before.clear();
        self.metadata_before = [0; 2];
        self.series.clear();
    }
}

/// The strings of one request, each with its number from 1; 0 is the empty string.
#[derive(Debug, Default)]
struct Symbols {
    numbers: HashTable<u32>,
    /// Where each one ends in `text`.
    ends: Vec<u32>,
    text: Vec<u8>,
    hasher: foldhash::fast::RandomState,
}

impl Symbols {
    fn intern(&mut self, symbol: &[u8]) -> u32 {
        if symbol.is_empty() {
            return 0;
        }
        let Symbols { numbers, ends, text, hasher } = self;
        let of = |number: &u32| symbol_at(ends, text, *number);
        let hash = hasher.hash_one(symbol);
        if let Some(number) = numbers.find(hash, |number| of(number) == symbol) {
            return *number;
        }
        // A batch is bounded far below 2^32 strings and bytes.
        let number = ends.len() as u32 + 1;
        numbers.insert_unique(hash, number, |number| hasher.hash_one(of(number)));
        text.extend_from_slice(symbol);
        ends.push(text.len() as u32);
        number
    }

    fn is(&self, number: u32, symbol: &[u8]) -> bool {
        number != 0 && symbol_at(&self.ends, &self.text, number) == symbol
    }

    fn all(&self) -> impl Iterator<Item = &[u8]> {
        (1..=self.ends.len() as u32).map(|number| symbol_at(&self.ends, &self.text, number))
    }

    fn clear(&mut self) {
        self.numbers.clear();
        self.ends.clear();
        self.text.clear();
    }
}

fn symbol_at<'a>(ends: &[u32], text: &'a [u8], number: u32) -> &'a [u8] {
    let i = number as usize - 1;
    let start = if i == 0 { 0 } else { ends[i - 1] };
    &text[start as usize..ends[i] as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{Point, point_bound, series_bound};
    use crate::labels::LabelSet;
    use crate::series::Known;
    use monitor_proto::v2;
    use proptest::prelude::*;
    use prost::Message;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn prost_reads_every_sample_and_symbols_are_unique(
            given in proptest::collection::vec(
                (proptest::collection::btree_map("[a-z]{1,3}", "[a-d]{0,3}", 0..5), proptest::option::of((0i32..8, "[a-z]{0,9}", "[a-z]{0,5}")),
                 any::<i64>(), proptest::collection::vec((any::<u64>(), any::<i64>()), 1..6)),
                0..6,
            ),
        ) {
            let (mut request, mut out, mut bound) = (Request::default(), Vec::new(), 2);
            for (labels, metadata, start_ms, points) in &given {
                let mut set = LabelSet::default();
                set.start("metric").unwrap();
                for (name, value) in labels {
                    set.label(name, value).unwrap();
                }
                let metadata = metadata.clone().map(|(kind, help, unit)| Metadata { kind, help, unit });
                let points: Vec<_> = points.iter().map(|&(bits, timestamp_ms)| Point { value: f64::from_bits(bits), timestamp_ms }).collect();
                let labels = set.encode().unwrap();
                bound += series_bound(&Known::of(labels, metadata.as_ref())) + points.iter().map(|p| point_bound(p, *start_ms)).sum::<usize>();
                request.series(&Series { labels, metadata: metadata.as_ref(), start_ms: *start_ms, points: &points, histograms: &[], exemplars: &[] });
            }
            request.finish(&mut out);
            prop_assert!(out.len() <= bound);
            let read = v2::Request::decode(out.as_slice()).unwrap();
            prop_assert_eq!(&read.symbols[0], "");
            prop_assert_eq!(read.symbols.iter().collect::<BTreeSet<_>>().len(), read.symbols.len());
            prop_assert_eq!(read.timeseries.len(), given.len());
            for (series, (labels, metadata, start_ms, points)) in read.timeseries.iter().zip(&given) {
                let symbol = |i: &u32| read.symbols[*i as usize].clone();
                let names: Vec<_> = series.labels_refs.chunks(2).map(|pair| (symbol(&pair[0]), symbol(&pair[1]))).collect();
                prop_assert!(names.is_sorted_by(|a, b| a.0 < b.0));
                let mut meant: BTreeSet<_> = labels.iter().filter(|(_, v)| !v.is_empty()).map(|(n, v)| (n.clone(), v.clone())).collect();
                meant.insert(("__name__".into(), "metric".into()));
                prop_assert_eq!(names.into_iter().collect::<BTreeSet<_>>(), meant);
                let samples: Vec<_> = series.samples.iter().map(|s| (s.value.to_bits(), s.timestamp)).collect();
                prop_assert_eq!(&samples, points);
                let start = |t: i64| if *start_ms <= t { *start_ms } else { 0 };
                prop_assert!(series.samples.iter().all(|s| s.start_timestamp == start(s.timestamp)));
                let read_metadata = series.metadata.as_ref().map(|m| (m.r#type, symbol(&m.help_ref), symbol(&m.unit_ref)));
                prop_assert_eq!(&read_metadata, metadata);
            }
            // The next request knows nothing of this one.
            request.finish(&mut out);
            prop_assert_eq!(out.as_slice(), &[0x22, 0]);
        }
    }
}
