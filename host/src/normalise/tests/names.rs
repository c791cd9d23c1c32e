//! Cases: names and labels, and typed records.

use super::table::{Case, Record, bytes, json, record, typed};
use crate::labels::{MAX_LABELS, MAX_NAME_BYTES};

pub(super) fn names_and_labels() -> Vec<Case> {
    let long = |len| format!(r#"{{"metric":"m","labels":{{"a":"{}"}},"value":1}}"#, "x".repeat(len));
    let many = |n| {
        let labels: Vec<_> = (0..n).map(|i| format!(r#""l{i}":"x""#)).collect();
        format!(r#"{{"metric":"m","labels":{{{}}},"value":1}}"#, labels.join(","))
    };
    vec![
        json(
            "an illegal metric name",
            r#"[{"metric":"9m","value":1},{"metric":"a-b","value":1},{"metric":"é","value":1}]"#,
            "dropped",
            &["invalid_metric_name", "invalid_metric_name", "invalid_metric_name"],
        ),
        json("`metric` not text", r#"{"metric":5,"value":1}"#, "dropped", &["invalid_metric_name"]),
        json(
            "`labels` null or empty",
            r#"[{"metric":"m","labels":null,"value":1},{"metric":"m","labels":{},"value":1}]"#,
            "sent",
            &["m{} 1 now", "m{} 1 now"],
        ),
        json(
            "`labels` not a dictionary",
            r#"{"metric":"m","labels":["a","b"],"value":1}"#,
            "dropped",
            &["invalid_label_value"],
        ),
        json(
            "labels in any order",
            r#"{"metric":"m","labels":{"b":"2","Z":"0","a":"1"},"value":1}"#,
            "sent: sorted",
            &[r#"m{Z="0",a="1",b="2"} 1 now"#],
        ),
        json(
            "a label's value empty or null",
            r#"{"metric":"m","labels":{"a":"","b":null,"c":"3"},"value":1}"#,
            "sent: the label is absent",
            &[r#"m{c="3"} 1 now"#],
        ),
        json(
            "a label's value a number or boolean",
            r#"{"metric":"m","labels":{"gpu":0,"on":true,"r":2.50},"value":1}"#,
            "mended: becomes text",
            &[r#"m{gpu="0",on="true",r="2.5"} 1 now"#],
        ),
        json(
            "a label's value a list or dictionary",
            r#"[{"metric":"m","labels":{"a":["x"]},"value":1},{"metric":"m","labels":{"a":{}},"value":1}]"#,
            "dropped",
            &["invalid_label_value", "invalid_label_value"],
        ),
        json(
            "any Unicode in a label's value",
            r#"{"metric":"m","labels":{"a":"é \"\n😀"},"value":1}"#,
            "sent",
            &[r#"m{a="é \"\n😀"} 1 now"#],
        ),
        json(
            "half of a UTF-16 pair, as Python writes undecodable bytes",
            r#"{"metric":"m","labels":{"a":"x\udcff"},"value":1}"#,
            "mended: becomes U+FFFD",
            &[r#"m{a="x�"} 1 now"#],
        ),
        json(
            "an illegal label name",
            r#"[{"metric":"m","labels":{"a-b":"1"},"value":1},{"metric":"m","labels":{"a:b":"1"},"value":1},{"metric":"m","labels":{"9":"1"},"value":1}]"#,
            "dropped",
            &["invalid_label_name", "invalid_label_name", "invalid_label_name"],
        ),
        json(
            "an empty label name",
            r#"{"metric":"m","labels":{"":"1"},"value":1}"#,
            "dropped",
            &["invalid_label_name"],
        ),
        json(
            "`__name__` or another reserved name",
            r#"[{"metric":"m","labels":{"__name__":"n"},"value":1},{"metric":"m","labels":{"__x":"1"},"value":1}]"#,
            "dropped",
            &["invalid_label_name", "invalid_label_name"],
        ),
        json("a label twice", r#"{"metric":"m","labels":{"a":"1","a":"1"},"value":1}"#, "dropped", &["repeated_label"]),
        bytes(
            "a label's value of 64 KiB",
            r#"{"metric":"m","labels":{"a":"xxx…"},"value":1}"#,
            long(MAX_NAME_BYTES),
            "sent",
            r#"m{a="xxx… (65536 bytes)"} 1 now"#,
        ),
        bytes(
            "a label's value of 1 MiB",
            r#"{"metric":"m","labels":{"a":"xxx…"},"value":1}"#,
            long(1 << 20),
            "dropped",
            "label_too_long",
        ),
        bytes(
            "more than 255 labels",
            r#"{"metric":"m","labels":{"l0":"x",…},"value":1}"#,
            many(MAX_LABELS),
            "dropped",
            "too_many_labels",
        ),
    ]
}

pub(super) fn typed_records() -> Vec<Case> {
    let label = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    vec![
        record(
            "typed: a record",
            r#"m, a="1", 1.5, 1762678050123"#,
            Record { labels: label("a", "1"), ..typed(1.5) },
            "sent",
            r#"m{a="1"} 1.5 1762678050123"#,
        ),
        record(
            "typed: no metric, no timestamp",
            "1.5",
            Record { metric: "", at: None, ..typed(1.5) },
            "mended: METRIC_DEFAULT, stamped on arrival",
            "default_metric{} 1.5 now",
        ),
        record(
            "typed: the NaN that means the end of a series",
            "m, NaN 7ff0000000000002",
            typed(f64::from_bits(0x7ff0_0000_0000_0002)),
            "mended: NaN 7ff8000000000001, as every NaN",
            "m{} NaN 1762678050123",
        ),
        record("typed: an infinity", "m, -Infinity", typed(f64::NEG_INFINITY), "sent", "m{} -inf 1762678050123"),
        record(
            "typed: an absurd timestamp",
            "m, 1, 1762678050",
            Record { at: Some(1_762_678_050), ..typed(1.0) },
            "dropped",
            "invalid_timestamp",
        ),
        record(
            "typed: an illegal metric name",
            "m m, 1",
            Record { metric: "m m", ..typed(1.0) },
            "dropped",
            "invalid_metric_name",
        ),
        record(
            "typed: a reserved label name",
            r#"m, __name__="n", 1"#,
            Record { labels: label("__name__", "n"), ..typed(1.0) },
            "dropped",
            "invalid_label_name",
        ),
        record(
            "typed: a label twice",
            r#"m, a="1", a="2", 1"#,
            Record { labels: [label("a", "1"), label("a", "2")].concat(), ..typed(1.0) },
            "dropped",
            "repeated_label",
        ),
        record(
            "typed: a label's value of 1 MiB",
            r#"m, a="xxx…", 1"#,
            Record { labels: label("a", &"x".repeat(1 << 20)), ..typed(1.0) },
            "dropped",
            "label_too_long",
        ),
    ]
}
