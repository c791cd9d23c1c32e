//! One series' labels in their canonical form: sorted bytewise by name, empty values left out, encoded once.
//!
//! Enters: a metric name and label pairs in any order. Leaves: the bytes of the `labels` fields of a remote-write 1.0
//! `TimeSeries` (field 1, length-delimited, each a `Label{name=1,value=2}`), or the reason why they are not a
//! series' labels. The encoding is injective, so the bytes are the identity of the series as well.
//!
//! Never: allocates once its buffers have grown; changes a name or a value.

use std::sync::Arc;

use monitor_proto::NAME_LABEL;

use crate::ledger::Reason;

/// Longest label name that is sent, in bytes; receivers commonly refuse far shorter ones.
pub const MAX_NAME_BYTES: usize = 64 * 1024;

/// Most labels that one series may have, its name included.
pub const MAX_LABELS: usize = 256;

/// What the operator's settings say about labels.
#[derive(Clone, Debug)]
pub struct Rules {
    /// EXTERNAL_LABELS: every series gets those that it has not itself.
    pub external: Vec<(String, String)>,
    /// MAX_LABEL_VALUE_BYTES.
    pub max_value_bytes: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Rules { external: Vec::new(), max_value_bytes: 64 * 1024 }
    }
}

/// Collects one series' labels and encodes them. Kept and reused by its owner.
#[derive(Debug, Default)]
pub struct LabelSet {
    rules: Arc<Rules>,
    text: String,
    /// (start of the name, start of the value, end of the value) within `text`.
    pairs: Vec<(u32, u32, u32)>,
    encoded: Vec<u8>,
}

impl LabelSet {
    /// A set that obeys these rules.
    pub fn new(rules: Arc<Rules>) -> Self {
        LabelSet { rules, ..LabelSet::default() }
    }

    /// The longest value that is taken, in bytes.
    pub fn max_value_bytes(&self) -> usize {
        self.rules.max_value_bytes
    }

    /// Begins a new series of this metric.
    ///
    /// # Errors
    /// [`Reason::InvalidMetricName`] unless it matches `[a-zA-Z_:][a-zA-Z0-9_:]*`, [`Reason::LabelTooLong`].
    pub fn start(&mut self, metric: &str) -> Result<(), Reason> {
        self.text.clear();
        self.pairs.clear();
        if !is_metric_name(metric) {
            return Err(Reason::InvalidMetricName);
        }
        self.add(NAME_LABEL, metric)
    }

    /// Adds one label. An empty value means that the label is absent, so nothing is added.
    ///
    /// # Errors
    /// [`Reason::InvalidLabelName`] unless the name matches `[a-zA-Z_][a-zA-Z0-9_]*` and does not begin with `__`
    /// (reserved, `__name__` among them), [`Reason::LabelTooLong`], [`Reason::TooManyLabels`].
    pub fn label(&mut self, name: &str, value: &str) -> Result<(), Reason> {
        if !is_label_name(name) || name.starts_with("__") {
            return Err(Reason::InvalidLabelName);
        }
        if value.is_empty() {
            return Ok(());
        }
        self.add(name, value)
    }

    fn add(&mut self, name: &str, value: &str) -> Result<(), Reason> {
        if name.len() > MAX_NAME_BYTES || value.len() > self.rules.max_value_bytes {
            return Err(Reason::LabelTooLong);
        }
        if self.pairs.len() == MAX_LABELS {
            return Err(Reason::TooManyLabels);
        }
        // Bounded by MAX_LABELS pairs of at most 64 KiB and 1 MiB (272 MiB), inside u32.
        let start = self.text.len() as u32;
        self.text.push_str(name);
        let middle = self.text.len() as u32;
        self.text.push_str(value);
        self.pairs.push((start, middle, self.text.len() as u32));
        Ok(())
    }

    fn add_external(&mut self) -> Result<(), Reason> {
        let rules = Arc::clone(&self.rules);
        let own = self.pairs.len();
        for (name, value) in rules.external.iter().filter(|(_, value)| !value.is_empty()) {
            let is_name = |p: &(u32, u32, u32)| self.text[p.0 as usize..p.1 as usize] == **name;
            if !self.pairs[..own].iter().any(is_name) {
                self.add(name, value)?;
            }
        }
        Ok(())
    }

    /// The canonical bytes of what was collected, and of the external labels.
    ///
    /// # Errors
    /// [`Reason::RepeatedLabel`] when a name was given twice.
    pub fn encode(&mut self) -> Result<&[u8], Reason> {
        self.add_external()?;
        let text = self.text.as_str();
        let name = |p: &(u32, u32, u32)| &text[p.0 as usize..p.1 as usize];
        self.pairs.sort_unstable_by(|a, b| name(a).cmp(name(b)));
        if self.pairs.windows(2).any(|w| name(&w[0]) == name(&w[1])) {
            return Err(Reason::RepeatedLabel);
        }
        self.encoded.clear();
        for pair in &self.pairs {
            let (name, value) = (name(pair), &text[pair.1 as usize..pair.2 as usize]);
            put_label(&mut self.encoded, name, value);
        }
        Ok(&self.encoded)
    }
}

/// The pairs within canonical label bytes, in their order.
pub fn pairs(encoded: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    byte_pairs(encoded).map_while(|(name, value)| Some((str::from_utf8(name).ok()?, str::from_utf8(value).ok()?)))
}

/// As [`pairs`], for those who need no text.
pub fn byte_pairs(mut encoded: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    // Only bytes that `LabelSet::encode` made come here; anything else ends the iteration.
    std::iter::from_fn(move || {
        let mut label = take_field(&mut encoded)?;
        Some((take_field(&mut label)?, take_field(&mut label)?))
    })
}

/// The metric's name within canonical label bytes.
pub fn metric(encoded: &[u8]) -> Option<&str> {
    pairs(encoded).find(|(name, _)| *name == NAME_LABEL).map(|(_, metric)| metric)
}

/// `metric{a="b",…}` as people write it, for logs.
pub fn display(encoded: &[u8]) -> String {
    let mut metric = "";
    let mut rest = Vec::new();
    for (name, value) in pairs(encoded) {
        if name == NAME_LABEL {
            metric = value;
        } else {
            rest.push(format!("{name}={value:?}"));
        }
    }
    format!("{metric}{{{}}}", rest.join(","))
}

/// Whether remote write 1.0 takes it as the name of a metric: `[a-zA-Z_:][a-zA-Z0-9_:]*`.
pub fn is_metric_name(name: &str) -> bool {
    is_name(name, |b| b == b':')
}

/// Whether remote write 1.0 takes it as the name of a label: `[a-zA-Z_][a-zA-Z0-9_]*`.
pub fn is_label_name(name: &str) -> bool {
    is_name(name, |_| false)
}

fn is_name(name: &str, also: impl Fn(u8) -> bool) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_' || also(b))
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || also(b))
}

/// Appends one `Label` as a field of a 1.0 `TimeSeries`.
pub(crate) fn put_label(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(0x0a);
    put_varint(out, (field_len(name.len()) + field_len(value.len())) as u64);
    put_field(out, 0x0a, name.as_bytes());
    put_field(out, 0x12, value.as_bytes());
}

fn field_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

fn put_field(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn take_field<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (_tag, rest) = bytes.split_first()?;
    let (len, rest) = take_varint(rest)?;
    let (field, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    *bytes = rest;
    Some(field)
}

/// The protobuf varint that these bytes begin with, and what follows it.
pub(crate) fn take_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (i, &b) in bytes.iter().enumerate().take(10) {
        value |= u64::from(b & 0x7f) << (7 * i);
        if b & 0x80 == 0 {
            return Some((value, &bytes[i + 1..]));
        }
    }
    None
}

/// Appends a protobuf varint.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// How many bytes a protobuf varint takes.
pub(crate) fn varint_len(value: u64) -> usize {
    // 9 bits a 64th more than 7: the usual closed form of ceil(bits / 7) for 1..=64 bits.
    ((64 - (value | 1).leading_zeros()) as usize * 9 + 64) / 64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use prost::Message;

    fn encode(metric: &str, labels: &[(&str, &str)]) -> Result<Vec<u8>, Reason> {
        let mut set = LabelSet::default();
        set.start(metric)?;
        for (name, value) in labels {
            set.label(name, value)?;
        }
        set.encode().map(<[u8]>::to_vec)
    }

    #[test]
    fn order_and_empty_values_make_no_difference() {
        let one = encode("m", &[("b", "2"), ("a", "1"), ("c", "")]).unwrap();
        let two = encode("m", &[("a", "1"), ("b", "2")]).unwrap();
        assert_eq!(one, two);
        assert_eq!(display(&one), r#"m{a="1",b="2"}"#);
    }

    #[test]
    fn external_labels_override_nothing() {
        let external = [("a", "outer"), ("host", "h1"), ("none", "")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        let mut set = LabelSet::new(Arc::new(Rules { external: external.to_vec(), max_value_bytes: 5 }));
        set.start("m").unwrap();
        set.label("a", "own").unwrap();
        assert_eq!(display(set.encode().unwrap()), r#"m{a="own",host="h1"}"#);
        set.start("m").unwrap();
        assert_eq!(display(set.encode().unwrap()), r#"m{a="outer",host="h1"}"#);
        assert_eq!(set.label("b", "longer"), Err(Reason::LabelTooLong));
    }

    #[test]
    fn upper_case_sorts_before_the_metric_name() {
        let bytes = encode("m", &[("Zone", "x"), ("a", "y")]).unwrap();
        let names: Vec<_> = pairs(&bytes).map(|(name, _)| name).collect();
        assert_eq!(names, ["Zone", "__name__", "a"]);
    }

    #[test]
    fn what_is_not_a_series_has_its_reason() {
        let long = "x".repeat(MAX_NAME_BYTES + 1);
        for (metric, labels, reason) in [
            ("", vec![], Reason::InvalidMetricName),
            ("9m", vec![], Reason::InvalidMetricName),
            ("m-m", vec![], Reason::InvalidMetricName),
            ("m", vec![("", "v")], Reason::InvalidLabelName),
            ("m", vec![("a:b", "v")], Reason::InvalidLabelName),
            ("m", vec![("__name__", "v")], Reason::InvalidLabelName),
            ("m", vec![("__x", "v")], Reason::InvalidLabelName),
            ("m", vec![("a", "1"), ("a", "1")], Reason::RepeatedLabel),
            ("m", vec![("a", long.as_str())], Reason::LabelTooLong),
            ("m", vec![(long.as_str(), "v")], Reason::LabelTooLong),
        ] {
            assert_eq!(encode(metric, &labels), Err(reason), "{metric:?} {:?}", labels.len());
        }
    }

    proptest! {
        #[test]
        fn prost_reads_what_was_meant(
            labels in proptest::collection::btree_map("[a-zA-Z][a-z0-9_]{0,5}", ".{0,200}", 0..8),
        ) {
            let given: Vec<_> = labels.iter().rev().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            let bytes = encode("m", &given).unwrap();
            let series = monitor_proto::v1::TimeSeries::decode(bytes.as_slice()).unwrap();
            let read: Vec<_> = series.labels.iter().map(|l| (l.name.clone(), l.value.clone())).collect();
            let mut meant: Vec<_> = labels.into_iter().filter(|(_, v)| !v.is_empty()).collect();
            meant.push((NAME_LABEL.into(), "m".into()));
            meant.sort();
            prop_assert_eq!(&read, &meant);
            prop_assert_eq!(pairs(&bytes).map(|(n, v)| (n.to_owned(), v.to_owned())).collect::<Vec<_>>(), meant);
        }

        #[test]
        fn varints_are_as_long_as_said(value: u64) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            prop_assert_eq!(out.len(), varint_len(value));
            prop_assert_eq!(take_varint(&out), Some((value, &[][..])));
        }
    }
}
