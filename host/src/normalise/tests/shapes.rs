//! Cases: documents, dictionaries and lists.

use super::table::{Case, bytes, json};

pub(super) fn shapes() -> Vec<Case> {
    vec![
        json(
            "a record",
            r#"{"metric":"m","labels":{"a":"1"},"value":1.5,"timestamp_ms":1762678050123}"#,
            "sent",
            &[r#"m{a="1"} 1.5 1762678050123"#],
        ),
        json(
            "a record with nothing but its value",
            r#"{"value":1}"#,
            "mended: METRIC_DEFAULT, stamped on arrival",
            &["default_metric{} 1 now"],
        ),
        json("`metric` null", r#"{"metric":null,"value":1}"#, "mended: METRIC_DEFAULT", &["default_metric{} 1 now"]),
        json("`metric` empty", r#"{"metric":"","value":1}"#, "mended: METRIC_DEFAULT", &["default_metric{} 1 now"]),
        json(
            "further keys",
            r#"{"metric":"m","value":1,"core":2,"unit":"J"}"#,
            "sent: they are ignored",
            &["m{} 1 now"],
        ),
        json(
            "`labels` twice",
            r#"{"metric":"m","labels":{"a":"1"},"labels":{"b":"2"},"value":1}"#,
            "sent: the last ones hold",
            &[r#"m{b="2"} 1 now"#],
        ),
        json("a key twice", r#"{"metric":"m","value":1,"value":2}"#, "sent: the last one holds", &["m{} 2 now"]),
        json(
            "pyJoules-like",
            r#"{"timestamp":"2025-11-09T08:47:30.123456","tag":"t","duration":0.1,"package-0":123456,"core":3456}"#,
            "sent: a sample for each component",
            &[
                r#"default_metric{component="package-0",source="svc"} 123456 1762678050123"#,
                r#"default_metric{component="core",source="svc"} 3456 1762678050123"#,
            ],
        ),
        json(
            "pyJoules-like, one component not a number",
            r#"{"core":1,"uncore":null,"dram":2}"#,
            "partly sent",
            &[
                r#"default_metric{component="core",source="svc"} 1 now"#,
                "value_not_a_number",
                r#"default_metric{component="dram",source="svc"} 2 now"#,
            ],
        ),
        json(
            "pyJoules-like, a component without a name",
            r#"{"":1,"core":2}"#,
            "partly sent",
            &["invalid_label_value", r#"default_metric{component="core",source="svc"} 2 now"#],
        ),
        json(
            "pyJoules-like, no component",
            r#"{"timestamp":"2025-11-09T08:47:30","tag":"t","duration":0.1}"#,
            "dropped",
            &["no_value"],
        ),
        json("an empty dictionary", "{}", "dropped", &["no_value"]),
        json(
            "a list of both shapes",
            r#"[{"metric":"m","value":1},{"core":2}]"#,
            "sent",
            &["m{} 1 now", r#"default_metric{component="core",source="svc"} 2 now"#],
        ),
        json(
            "a list with bad items",
            r#"[{"metric":"m","value":1},7,null,[{"metric":"m","value":2}],{"metric":"m"},{"metric":"m","value":3}]"#,
            "partly sent: no item costs another",
            &["m{} 1 now", "not_a_dictionary", "not_a_dictionary", "not_a_dictionary", "no_value", "m{} 3 now"],
        ),
        json("an empty list", "[]", "nothing: counts as no sample", &[]),
        json("neither dictionary nor list", "12", "dropped", &["not_a_dictionary"]),
        json("broken JSON", r#"{"metric":"m","value":"#, "dropped", &["invalid_json"]),
        json(
            "a list that breaks off",
            r#"[{"metric":"m","value":1},{"metric":"m","#,
            "dropped: all of it, counted as one",
            &["invalid_json"],
        ),
        json(
            "two documents in one",
            r#"{"value":1}{"value":2}"#,
            "dropped: all of it, counted as one",
            &["invalid_json"],
        ),
        bytes("nothing", "(no bytes)", "", "dropped", "invalid_json"),
        bytes(
            "not UTF-8",
            r#"{"metric":"m","labels":{"a":"<byte ff>"},"value":1}"#,
            b"{\"metric\":\"m\",\"labels\":{\"a\":\"\xff\"},\"value\":1}",
            "dropped",
            "invalid_json",
        ),
        bytes(
            "nested deeper than 127 levels",
            r#"{"value":1,"x":[[[…]]]}"#,
            format!(r#"{{"value":1,"x":{}{}}}"#, "[".repeat(127), "]".repeat(127)),
            "dropped",
            "invalid_json",
        ),
    ]
}
