//! Fuzzes [`Normaliser::json`] and the intake around it: any text, as a plugin could send it.
//!
//! Promises: each item of a document is one sample or rejection, and each component of a pyJoules-like one; labels are
//! canonical; a message is one short line; the ledger counts all of it.

use std::time::Duration;

use monitor_plugin_api::Sample;
use monitor_proto::{NAME_LABEL, NORMAL_NAN, v1};
use prost::Message;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::*;
use crate::fuzz::{Target, assert_is_a_line, bytes};
use crate::intake::Intake;
use crate::labels;
use crate::ledger::Ledger;
use crate::queue::{Drained, ProcessedQueue};
use crate::sample::is_plausible;
use crate::series::{SeriesId, SeriesTable};

const NOW_MS: i64 = 1_762_678_050_123;

/// JSON text from a plugin.
pub static RECORDS: Target = Target {
    name: "records",
    run: |input| {
        strict(input);
        whole(input);
    },
    seeds: || {
        bytes([
            r#"{"metric":"m","labels":{"b":"2","a":1,"c":"","d":null,"e":true,"f":1.5},"value":1,"timestamp_ms":1762678050123}"#,
            r#"[{"metric":"m","value":1},{"value":"NaN","timestamp_ms":1762678050123.9},{"metric":"","value":-0.0}]"#,
            r#"{"timestamp":"2025-11-09T08:47:30.123+02:00[Europe/Berlin]","tag":"t","duration":1.5,"core":12.5,"dram":3}"#,
            r#"[{"timestamp":"2025-11-09 08:47:30","package_0":NaN,"core_0":-Infinity},7,null,"x",[],{}]"#,
            r#"{"metric":"a:b_9","value":18446744073709551615,"labels":{"host":"own","__x":"y"}}"#,
            r#"{"value":1e999,"labels":{"a":"\ud83d","b":"\ud83d\ude00","a":"twice"}}"#,
            r#"[{"a":1,"a":2,"":3},{"value":[1,{"x":2}],"labels":[]},{"metric":5,"value":-1E-400}]"#,
            r#" [[[[[[[[]]]]]]]] "#,
            r#"{"timestamp_ms":-1e300,"value":1}{"#,
            "\"\\udcff\\u0000\\\\\"",
        ])
    },
    words: || {
        bytes([
            "\"metric\":",
            "\"labels\":",
            "\"value\":",
            "\"timestamp_ms\":",
            "\"timestamp\":",
            "\"tag\"",
            "\"duration\"",
            "NaN",
            "-Infinity",
            "Infinity",
            "1e999",
            "null",
            "true",
            "\\ud800",
            "\\udc00",
            "\\u0000",
            "1762678050123",
            "2025-11-09T08:47:30.123Z",
            "+24:00",
            "-00:00",
            "[UTC]",
            "__name__",
            "18446744073709551616",
            "{\"a\":",
            "[{",
        ])
    },
};

/// With labels of the operator's and a bound for their values, each sample and each message by itself.
fn strict(document: &[u8]) {
    let external = [("host", "h1"), ("site", "berlin")].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let rules = Arc::new(Rules { external, max_value_bytes: 12 });
    let mut normaliser = Normaliser::new("default_metric", "monitor", rules);
    // What it keeps from one text is nothing to the next.
    for _ in 0..2 {
        let mut seen = Seen::default();
        normaliser.json(document, NOW_MS, &mut seen);
        assert_eq!(Some(seen.samples + seen.rejected), expected(document).or(Some(1)));
    }
}

/// By the intake into the queue, as a plugin's send goes.
fn whole(document: &[u8]) {
    let (ledger, table) = (Arc::new(Ledger::default()), Arc::new(SeriesTable::new(4)));
    let queue = Arc::new(ProcessedQueue::new(1, Arc::clone(&ledger)));
    let intake = Intake::new(Arc::clone(&queue), Arc::clone(&table), "default_metric", "monitor", Rules::default());
    intake.json(document, Duration::ZERO).expect("an empty queue takes everything");
    let books = ledger.snapshot();
    assert!(books.balances());
    assert_eq!(Some(books.collected()), expected(document).or(Some(1)));
    let mut drained = Drained::default();
    queue.drain(&mut drained);
    assert_eq!(drained.samples.len() as u64, books.collected() - books.dropped());
    for sample in drained.samples {
        let view = table.view();
        let labels = view.labels(SeriesId::from_number(Sample::series(&sample))).expect("a series of the table");
        assert_is_canonical(labels, sample.value, sample.timestamp_ms);
    }
}

#[derive(Default)]
struct Seen {
    samples: u64,
    rejected: u64,
}

impl Sink for Seen {
    fn sample(&mut self, labels: &[u8], value: f64, timestamp_ms: i64) {
        self.samples += 1;
        assert_is_canonical(labels, value, timestamp_ms);
        for outer in ["host", "site"] {
            assert!(labels::pairs(labels).any(|(name, value)| name == outer && value.len() <= 12));
        }
    }

    fn reject(&mut self, _: Reason, detail: fmt::Arguments<'_>) {
        self.rejected += 1;
        let detail = detail.to_string();
        assert_is_a_line(&detail, 800);
        assert!(detail.chars().count() <= 200, "{detail}");
    }
}

fn assert_is_canonical(encoded: &[u8], value: f64, timestamp_ms: i64) {
    assert!(is_plausible(timestamp_ms), "{timestamp_ms}");
    assert!(!value.is_nan() || value.to_bits() == NORMAL_NAN, "{:x}", value.to_bits());
    let pairs: Vec<_> = labels::pairs(encoded).collect();
    assert!(pairs.windows(2).all(|pair| pair[0].0 < pair[1].0), "{pairs:?}");
    assert!(pairs.iter().all(|(_, value)| !value.is_empty()), "{pairs:?}");
    assert!(labels::metric(encoded).is_some_and(labels::is_metric_name), "{pairs:?}");
    for (name, _) in pairs.iter().filter(|(name, _)| *name != NAME_LABEL) {
        assert!(labels::is_label_name(name) && !name.starts_with("__"), "{name:?}");
    }
    let read = v1::TimeSeries::decode(encoded).expect("labels are fields of a series");
    assert!(read.labels.iter().map(|label| (&*label.name, &*label.value)).eq(pairs));
}

/// How many samples and rejections a document is; none if it is not JSON. Counted without the code under test, but for
/// what Python writes and JSON doesn't have.
fn expected(document: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(document).ok()?;
    let tree = serde_json::from_str(text).ok();
    let tree = tree.or_else(|| {
        let mended = mend::mend(text)?;
        assert_eq!(mend::mend(&mended), None, "what is mended needs no mending");
        serde_json::from_str(&mended).ok()
    })?;
    Some(match tree {
        Tree::List(items) => items.iter().map(Tree::samples).sum(),
        alone => alone.samples(),
    })
}

/// JSON with what counts: keys, repeated ones too.
enum Tree {
    Dictionary(Vec<String>),
    List(Vec<Tree>),
    Other,
}

impl Tree {
    fn samples(&self) -> u64 {
        let Tree::Dictionary(keys) = self else { return 1 };
        let is_one_of = |names: &[&str], key: &String| names.contains(&key.as_str());
        match keys.iter().any(|key| is_one_of(&["metric", "labels", "value", "timestamp_ms"], key)) {
            true => 1,
            false => keys.iter().filter(|key| !is_one_of(&["timestamp", "tag", "duration"], key)).count().max(1) as u64,
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        de.deserialize_any(Grow)
    }
}

struct Grow;

impl<'de> Visitor<'de> for Grow {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut keys = Vec::new();
        while let Some((key, _)) = map.next_entry::<String, Tree>()? {
            keys.push(key);
        }
        Ok(Tree::Dictionary(keys))
    }
}
