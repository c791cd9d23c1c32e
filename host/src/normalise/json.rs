//! The rules for dictionaries that come as JSON text.
//!
//! Enters: JSON text. Leaves: samples and rejections, in the order of the text. A dictionary with one of the keys
//! `metric`, `labels`, `value`, `timestamp_ms` is a record; every other is pyJoules-like, one sample for a component.
//!
//! Never: gives out anything of a text that breaks off later on.

use super::parse::{self, Dictionary, Item, Value};
use super::shown::Shown;
use super::{Normaliser, Sink, mend, non_empty_or, reject_timestamp, sample, time};
use crate::ledger::Reason;

/// Text takes several times its length while it is read; what is longer is not read at all.
pub const MAX_DOCUMENT_BYTES: usize = 64 << 20;

impl Normaliser {
    /// Takes JSON text: a dictionary, or a list of dictionaries. Each item of a list is at least one sample or
    /// rejection; an empty list is nothing at all; text that is not JSON is one rejection and no sample.
    pub fn json(&mut self, document: &[u8], now_ms: i64, sink: &mut impl Sink) {
        if document.len() > MAX_DOCUMENT_BYTES {
            let bytes = document.len();
            return sink.reject(Reason::DocumentTooLarge, format_args!("{bytes} bytes of text: send less at once"));
        }
        let text = match std::str::from_utf8(document) {
            Ok(text) => text,
            Err(error) => {
                let at = error.valid_up_to();
                return sink.reject(Reason::InvalidJson, format_args!("not UTF-8 at byte {at}"));
            }
        };
        let mut result = self.read(text, now_ms, sink);
        if result.is_err()
            && let Some(mended) = mend::mend(text)
        {
            result = self.read(&mended, now_ms, sink);
        }
        if let Err(error) = result {
            let begin = Shown(text);
            sink.reject(Reason::InvalidJson, format_args!("not JSON: {error}; begins with {begin}"));
        }
    }

    /// Either fails before anything went to the sink, or takes all of the text.
    fn read(&mut self, text: &str, now_ms: i64, sink: &mut impl Sink) -> Result<(), serde_json::Error> {
        parse::read(text, |place, item| match item {
            Item::Dictionary(d) if d.is_record() => self.json_record(d, now_ms, sink),
            Item::Dictionary(d) => self.components(d, now_ms, sink),
            Item::Other(value) => {
                sink.reject(Reason::NotADictionary, format_args!("{place} is {value}, not a dictionary"))
            }
        })
    }

    fn json_record(&mut self, record: &Dictionary<'_>, now_ms: i64, sink: &mut impl Sink) {
        let metric = match &record.metric {
            Value::Null => &self.metric_default,
            Value::Text(text) => non_empty_or(text, &self.metric_default),
            other => {
                return sink.reject(Reason::InvalidMetricName, format_args!("`metric` is {other}, not text"));
            }
        };
        let name = Shown(metric);
        let Some(value) = &record.value else {
            return sink.reject(Reason::NoValue, format_args!("a record of {name} has no `value`"));
        };
        let Some(value) = value.number() else {
            return sink.reject(Reason::ValueNotANumber, format_args!("`value` of {name} is {value}, not a number"));
        };
        let at = match time::of_json_record(&record.timestamp_ms, now_ms) {
            Ok(at) => at,
            Err(wrong) => return reject_timestamp(metric, &wrong, sink),
        };
        let labels = match record.labels() {
            Ok(labels) => labels,
            Err(None) => {
                return sink.reject(
                    Reason::InvalidLabelValue,
                    format_args!("`labels` of {name} is {}, not a dictionary", record.labels),
                );
            }
            Err(Some((label, value))) => {
                return sink.reject(
                    Reason::InvalidLabelValue,
                    format_args!("{name}: label {} is {value}, not text", Shown(label)),
                );
            }
        };
        sample(&mut self.labels, metric, labels, value, at, sink);
    }

    fn components(&mut self, dictionary: &Dictionary<'_>, now_ms: i64, sink: &mut impl Sink) {
        let at = time::of_dictionary(&dictionary.timestamp, now_ms);
        let mut none = true;
        for (component, value) in dictionary.components() {
            none = false;
            let name = Shown(component);
            if component.is_empty() {
                sink.reject(
                    Reason::InvalidLabelValue,
                    format_args!("a component's name is empty (its value: {value})"),
                );
                continue;
            }
            let Some(value) = value.number() else {
                sink.reject(Reason::ValueNotANumber, format_args!("component {name} is {value}, not a number"));
                continue;
            };
            let at = match &at {
                Ok(at) => *at,
                Err(wrong) => {
                    reject_timestamp(component, wrong, sink);
                    continue;
                }
            };
            let labels = [("component", component), ("source", &self.service_label)];
            sample(&mut self.labels, &self.metric_default, labels, value, at, sink);
        }
        if none {
            sink.reject(Reason::NoValue, format_args!("a dictionary without `value` and without any component"));
        }
    }
}
