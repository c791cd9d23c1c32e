//! Cases: values and timestamps.

use super::table::{Case, json};

pub(super) fn values() -> Vec<Case> {
    vec![
        json("no `value`", r#"{"metric":"m"}"#, "dropped", &["no_value"]),
        json("`value` null", r#"{"metric":"m","value":null}"#, "dropped", &["value_not_a_number"]),
        json("`value` a boolean", r#"{"metric":"m","value":true}"#, "dropped", &["value_not_a_number"]),
        json("`value` text", r#"{"metric":"m","value":"12"}"#, "dropped", &["value_not_a_number"]),
        json("`value` a list", r#"{"metric":"m","value":[1]}"#, "dropped", &["value_not_a_number"]),
        json(
            "NaN and infinities, as Python writes them",
            r#"[{"metric":"m","value":NaN},{"metric":"m","value":Infinity},{"metric":"m","value":-Infinity}]"#,
            "sent",
            &["m{} NaN now", "m{} inf now", "m{} -inf now"],
        ),
        json(
            "NaN and infinities as text",
            r#"[{"metric":"m","value":"NaN"},{"metric":"m","value":"-Infinity"}]"#,
            "mended: taken as numbers",
            &["m{} NaN now", "m{} -inf now"],
        ),
        json(
            "an integer beyond 2^53",
            r#"{"metric":"m","value":9007199254740993}"#,
            "sent: the nearest double",
            &["m{} 9007199254740992 now"],
        ),
        json(
            "an integer beyond 64 bits",
            r#"{"metric":"m","value":36893488147419103233}"#,
            "sent: the nearest double",
            &["m{} 36893488147419103000 now"],
        ),
        json(
            "a number beyond doubles",
            r#"[{"metric":"m","value":1e999},{"metric":"m","value":1}]"#,
            "partly sent",
            &["value_not_a_number", "m{} 1 now"],
        ),
        json("minus zero", r#"{"metric":"m","value":-0.0}"#, "sent: its sign is kept", &["m{} -0 now"]),
    ]
}

pub(super) fn timestamps() -> Vec<Case> {
    vec![
        json(
            "`timestamp_ms` null",
            r#"{"metric":"m","value":1,"timestamp_ms":null}"#,
            "mended: stamped on arrival",
            &["m{} 1 now"],
        ),
        json(
            "`timestamp_ms` with a fraction",
            r#"{"metric":"m","value":1,"timestamp_ms":1762678050123.9}"#,
            "mended: the fraction is cut off",
            &["m{} 1 1762678050123"],
        ),
        json(
            "`timestamp_ms` in seconds",
            r#"{"metric":"m","value":1,"timestamp_ms":1762678050}"#,
            "dropped: the log says that it looks like seconds",
            &["invalid_timestamp"],
        ),
        json(
            "`timestamp_ms` in microseconds",
            r#"{"metric":"m","value":1,"timestamp_ms":1762678050123456}"#,
            "dropped: the log says that it looks like microseconds",
            &["invalid_timestamp"],
        ),
        json(
            "`timestamp_ms` in nanoseconds",
            r#"{"metric":"m","value":1,"timestamp_ms":1762678050123456789}"#,
            "dropped: the log says that it looks like nanoseconds",
            &["invalid_timestamp"],
        ),
        json(
            "`timestamp_ms` zero or negative",
            r#"[{"metric":"m","value":1,"timestamp_ms":0},{"metric":"m","value":1,"timestamp_ms":-1}]"#,
            "dropped",
            &["invalid_timestamp", "invalid_timestamp"],
        ),
        json(
            "`timestamp_ms` beyond 64 bits",
            r#"{"metric":"m","value":1,"timestamp_ms":1e30}"#,
            "dropped",
            &["invalid_timestamp"],
        ),
        json(
            "`timestamp_ms` the last before 2000",
            r#"{"metric":"m","value":1,"timestamp_ms":946684799999}"#,
            "dropped",
            &["invalid_timestamp"],
        ),
        json(
            "`timestamp_ms` the first of 2000",
            r#"{"metric":"m","value":1,"timestamp_ms":946684800000}"#,
            "sent",
            &["m{} 1 946684800000"],
        ),
        json(
            "`timestamp_ms` the last of 2099",
            r#"{"metric":"m","value":1,"timestamp_ms":4102444799999}"#,
            "sent",
            &["m{} 1 4102444799999"],
        ),
        json(
            "`timestamp_ms` the first of 2100",
            r#"{"metric":"m","value":1,"timestamp_ms":4102444800000}"#,
            "dropped",
            &["invalid_timestamp"],
        ),
        json(
            "`timestamp_ms` text",
            r#"{"metric":"m","value":1,"timestamp_ms":"1762678050123"}"#,
            "dropped",
            &["invalid_timestamp"],
        ),
        json(
            "`timestamp` in a record",
            r#"{"metric":"m","value":1,"timestamp":"2025-11-09T08:47:30"}"#,
            "mended: ignored, stamped on arrival",
            &["m{} 1 now"],
        ),
        json(
            "pyJoules-like, with a zone",
            r#"{"timestamp":"2025-11-09 10:47:30.123456+02:00","core":1}"#,
            "sent",
            &[r#"default_metric{component="core",source="svc"} 1 1762678050123"#],
        ),
        json(
            "pyJoules-like, no `timestamp` or null",
            r#"[{"core":1},{"timestamp":null,"core":1}]"#,
            "mended: stamped on arrival",
            &[
                r#"default_metric{component="core",source="svc"} 1 now"#,
                r#"default_metric{component="core",source="svc"} 1 now"#,
            ],
        ),
        json(
            "pyJoules-like, `timestamp` a number",
            r#"{"timestamp":1762678050.5,"core":1,"dram":2}"#,
            "dropped: each component",
            &["invalid_timestamp", "invalid_timestamp"],
        ),
        json(
            "pyJoules-like, `timestamp` no ISO 8601",
            r#"{"timestamp":"yesterday","core":1}"#,
            "dropped",
            &["invalid_timestamp"],
        ),
    ]
}
