//! One exemplar on its way to the batch that holds its sample.
//!
//! Enters: an exemplar as a plugin sends it. Leaves: one whose labels are encoded, or why no receiver would take it.
//!
//! Never: counts as a sample; holds more than [`MAX_CHARACTERS`] of labels.

use monitor_plugin_api::abi::AbiExemplar;

use crate::labels::{self, put_label};
use crate::ledger::Reason;
use crate::sample;
use crate::series::SeriesId;

/// Of its labels' names and values together, as OpenMetrics has it.
pub const MAX_CHARACTERS: usize = 128;

/// An exemplar that can be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// Whose it is.
    pub series: SeriesId,
    /// The observation; a number.
    pub value: f64,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// Its labels, as those of a series are written.
    pub labels: Box<[u8]>,
}

impl Exemplar {
    /// Judges an exemplar and encodes its labels.
    ///
    /// # Errors
    /// What a receiver would refuse it for.
    pub fn new(given: &AbiExemplar<'_>) -> Result<Self, (Reason, &'static str)> {
        let invalid = |why| Err((Reason::InvalidExemplar, why));
        if given.value.is_nan() {
            return invalid("its value is no number");
        }
        if !sample::is_plausible(given.timestamp_ms) {
            return Err((Reason::InvalidTimestamp, "an exemplar's timestamp lies outside the years 2000 to 2099"));
        }
        let pairs = given.labels.iter().map(|label| (label.name.as_str(), label.value.as_str()));
        let mut pairs: Vec<_> = pairs.take(MAX_CHARACTERS + 1).filter(|(_, value)| !value.is_empty()).collect();
        // In bytes first: characters of what is far too long need not be counted.
        let characters = |text: &str| if text.len() > 4 * MAX_CHARACTERS { text.len() } else { text.chars().count() };
        let length: usize = pairs.iter().map(|(name, value)| characters(name).saturating_add(characters(value))).sum();
        if length > MAX_CHARACTERS || given.labels.len() > MAX_CHARACTERS {
            return invalid("its labels take more than 128 characters");
        }
        pairs.sort_unstable();
        if !pairs.iter().all(|(name, _)| labels::is_label_name(name) && !name.starts_with("__")) {
            return invalid("a label's name is not [a-zA-Z_][a-zA-Z0-9_]*, or begins with __");
        }
        if pairs.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return invalid("it has a label twice");
        }
        let mut encoded = Vec::new();
        pairs.into_iter().for_each(|(name, value)| put_label(&mut encoded, name, value));
        Ok(Exemplar {
            series: SeriesId::from_number(given.series),
            value: given.value,
            timestamp_ms: given.timestamp_ms,
            labels: encoded.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi_stable::std_types::{RSlice, RStr};
    use monitor_plugin_api::abi::AbiLabel;

    fn exemplar(labels: &[(&str, &str)], value: f64, timestamp_ms: i64) -> Result<Exemplar, (Reason, &'static str)> {
        let abi = |&(name, value)| AbiLabel { name: RStr::from_str(name), value: RStr::from_str(value) };
        let labels: Vec<_> = labels.iter().map(abi).collect();
        Exemplar::new(&AbiExemplar { series: 1, labels: RSlice::from_slice(&labels), value, timestamp_ms })
    }

    #[test]
    fn labels_are_sorted_and_bounded() {
        let now = 1_760_000_000_000;
        let taken = exemplar(&[("trace_id", "ü"), ("a", ""), ("b", "2")], 1.5, now).unwrap();
        assert_eq!(labels::pairs(&taken.labels).collect::<Vec<_>>(), [("b", "2"), ("trace_id", "ü")]);
        assert_eq!((taken.value, taken.timestamp_ms), (1.5, now));
        assert!(exemplar(&[], f64::INFINITY, now).unwrap().labels.is_empty());
        // Characters, not bytes.
        let long = "ü".repeat(MAX_CHARACTERS - 1);
        assert!(exemplar(&[("t", &long)], 1.0, now).is_ok());
        for bad in [
            vec![("te", long.as_str())],
            vec![("a", "1"), ("a", "2")],
            vec![("9", "1")],
            vec![("", "1")],
            vec![("__a", "1")],
            vec![("", ""); 1000],
        ] {
            assert_eq!(exemplar(&bad, 1.0, now).unwrap_err().0, Reason::InvalidExemplar, "{bad:?}");
        }
        assert_eq!(exemplar(&[], f64::NAN, now).unwrap_err().0, Reason::InvalidExemplar);
        assert_eq!(exemplar(&[], 1.0, now / 1000).unwrap_err().0, Reason::InvalidTimestamp);
    }
}
