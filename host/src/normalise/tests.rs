//! The table of `docs/records.md`, and what holds for any input.

mod names;
mod readings;
mod shapes;
mod table;

use super::*;
use crate::labels;
use proptest::prelude::*;
use table::{Input, NOW_MS};

/// What came out, in order, and whether every message kept its bounds.
#[derive(Debug, Default, PartialEq)]
struct Out(Vec<Answer>);

#[derive(Clone, Debug, PartialEq)]
enum Answer {
    Sample { labels: Vec<u8>, value_bits: u64, at: i64 },
    Reject(Reason),
}

impl Sink for Out {
    fn sample(&mut self, labels: &[u8], value: f64, at: i64) {
        let (labels, value_bits) = (labels.to_vec(), value.to_bits());
        self.0.push(Answer::Sample { labels, value_bits, at });
    }

    fn reject(&mut self, reason: Reason, detail: fmt::Arguments<'_>) {
        let detail = detail.to_string();
        assert!(detail.chars().count() <= 200, "{} characters: {detail}", detail.chars().count());
        assert!(!detail.is_empty() && !detail.chars().any(char::is_control), "{detail:?}");
        self.0.push(Answer::Reject(reason));
    }
}

fn normaliser() -> Normaliser {
    Normaliser::new("default_metric", "svc", Default::default())
}

fn json(document: &[u8]) -> Out {
    let mut out = Out::default();
    normaliser().json(document, NOW_MS, &mut out);
    out
}

#[test]
fn every_case_of_the_table_has_its_answer() {
    // One for all: what is left over from a case must not leak into the next.
    let mut normaliser = normaliser();
    for case in table::cases() {
        let mut out = Out::default();
        match &case.input {
            Input::Json(text) => normaliser.json(text.as_bytes(), NOW_MS, &mut out),
            Input::Bytes(_, bytes) => normaliser.json(bytes, NOW_MS, &mut out),
            Input::Record(_, record) => {
                let labels = record.labels.iter().map(|(n, v)| (n.as_str(), v.as_str()));
                normaliser.record(record.metric, labels, record.value, record.at, NOW_MS, &mut out);
            }
        }
        let answers: Vec<_> = out.0.iter().map(table::show).collect();
        assert_eq!(answers, case.answers, "{}", case.what);
        let samples = out.0.iter().filter(|a| matches!(a, Answer::Sample { .. })).count();
        let verdict = match samples {
            0 if out.0.is_empty() => "nothing",
            0 => "dropped",
            n if n < out.0.len() => "partly",
            _ => "sent",
        };
        assert!(
            case.verdict.starts_with(verdict) || verdict == "sent" && case.verdict.starts_with("mended"),
            "{}: {verdict} is called {}",
            case.what,
            case.verdict
        );
    }
}

#[test]
fn the_documentation_has_the_table() {
    const BEGIN: &str = "<!-- The table is generated: UPDATE_GENERATED=1 cargo test -p monitor-host -->\n";
    const END: &str = "<!-- end of the table -->\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/records.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the line that begins the table");
    let (_, after) = rest.split_once(END).expect("the line that ends the table");
    let meant = format!("{before}{BEGIN}\n{}\n{END}{after}", table::markdown());
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(path, &meant).unwrap();
    } else {
        assert!(page == meant, "docs/records.md is behind: run this test with UPDATE_GENERATED=1");
    }
}

#[test]
fn the_message_names_what_is_wrong() {
    struct Details(Vec<String>);
    impl Sink for Details {
        fn sample(&mut self, _: &[u8], _: f64, _: i64) {}
        fn reject(&mut self, _: Reason, detail: fmt::Arguments<'_>) {
            self.0.push(detail.to_string());
        }
    }
    let mut out = Details(Vec::new());
    let text = r#"[{"metric":"m","labels":{"a":"1","b":"2","a":"3"},"value":1},
        {"metric":"m","labels":{"a-b":"1"},"value":1}, {"metric":"m","value":"12"},
        {"metric":"m","value":1,"timestamp_ms":1762678050}, 7, {"core":1,"timestamp":"soon"}]"#;
    normaliser().json(text.as_bytes(), NOW_MS, &mut out);
    normaliser().json(b"[1,", NOW_MS, &mut out);
    assert_eq!(
        out.0,
        [
            r#""m": label "a" is given twice"#,
            r#""m": label "a-b": a label's name must match [a-zA-Z_][a-zA-Z0-9_]* and not begin with __"#,
            r#"`value` of "m" is the text "12", not a number"#,
            r#""m": timestamp_ms 1762678050 is not within the years 2000 to 2099: it looks like seconds"#,
            "item 4 of the list is the number 7, not a dictionary",
            r#""core": `timestamp` "soon" is not an ISO 8601 date and time of the years 2000 to 2099"#,
            r#"not JSON: EOF while parsing a value at line 1 column 3; begins with "[1,""#,
        ]
    );
}

/// Pieces of JSON in any order: mostly broken, often only just.
fn token_soup() -> impl Strategy<Value = String> {
    let tokens = [
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        " ",
        "\n",
        "\"",
        "\\",
        "\\ud83d",
        "\"value\"",
        "\"labels\"",
        "\"metric\"",
        "\"timestamp_ms\"",
        "\"timestamp\"",
        "\"core\"",
        "\"\"",
        "1",
        "-0.5",
        "1e999",
        "NaN",
        "-Infinity",
        "null",
        "true",
        "ü",
        "{\"value\":1}",
        "{\"labels\":{\"a\":\"b\"},\"value\":2}",
        "[]",
    ];
    proptest::collection::vec(proptest::sample::select(tokens.to_vec()), 0..24).prop_map(|t| t.concat())
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        (NOW_MS..NOW_MS + 9).prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        "[a-z_\"é]{0,3}".prop_map(Into::into),
        Just("2025-11-09T08:47:30.5".into()),
    ];
    let keys = ["metric", "labels", "value", "timestamp_ms", "timestamp", "tag", "core", "a", ""];
    leaf.prop_recursive(4, 32, 5, move |inner| {
        let key = proptest::sample::select(keys.to_vec()).prop_map(String::from);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            proptest::collection::vec((key, inner), 0..6)
                .prop_map(|pairs| pairs.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_have_an_answer(bytes: Vec<u8>) {
        prop_assert!(!json(&bytes).0.is_empty());
    }

    #[test]
    fn json_or_not_is_what_serde_json_says(text in token_soup()) {
        let out = json(text.as_bytes()).0;
        let mended = mend::mend(&text);
        let value = serde_json::from_str::<serde_json::Value>(&text)
            .or_else(|e| mended.map_or(Err(e), |t| serde_json::from_str(&t)));
        match value {
            Err(_) => prop_assert_eq!(out, [Answer::Reject(Reason::InvalidJson)]),
            Ok(value) => {
                prop_assert!(!out.contains(&Answer::Reject(Reason::InvalidJson)));
                let items = value.as_array().map_or(1, Vec::len);
                prop_assert!(out.len() >= items && (items > 0 || out.is_empty()));
            }
        }
    }

    #[test]
    fn a_list_gives_what_its_items_give(items in proptest::collection::vec(any_json(), 0..6)) {
        let alone = items.iter().flat_map(|item| match item {
            serde_json::Value::Array(_) => vec![Answer::Reject(Reason::NotADictionary)],
            item => json(item.to_string().as_bytes()).0,
        });
        let alone: Vec<_> = alone.collect();
        prop_assert!(alone.len() >= items.len());
        prop_assert_eq!(json(serde_json::Value::from(items).to_string().as_bytes()).0, alone);
    }

    #[test]
    fn a_record_says_the_same_in_both_forms(
        labels in proptest::collection::vec(("[a-c_]{1,2}", ".{0,3}"), 0..4),
        bits: u64,
        at in proptest::option::of(NOW_MS - 5..NOW_MS + 5),
    ) {
        let value = f64::from_bits(bits);
        let pairs: Vec<_> = labels.iter().map(|(n, v)| format!("{}:{}", quoted(n), quoted(v))).collect();
        let number = if value.is_nan() { "NaN".into() } else { format!("{value:?}").replace("inf", "Infinity") };
        let at_text = at.map_or("null".into(), |at| at.to_string());
        let text = format!(
            r#"{{"metric":"m","labels":{{{}}},"value":{number},"timestamp_ms":{at_text}}}"#,
            pairs.join(","),
        );
        let mut typed = Out::default();
        let labels = labels.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        normaliser().record("m", labels, value, at, NOW_MS, &mut typed);
        prop_assert_eq!(json(text.as_bytes()), typed);
    }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

#[test]
fn a_document_beyond_the_bound_is_not_read() {
    struct Reasons(Vec<Reason>);
    impl Sink for Reasons {
        fn sample(&mut self, _: &[u8], _: f64, _: i64) {
            panic!("it was read");
        }
        fn reject(&mut self, reason: Reason, _: std::fmt::Arguments<'_>) {
            self.0.push(reason);
        }
    }
    let mut sink = Reasons(Vec::new());
    Normaliser::new("m", "s", Default::default()).json(&vec![b' '; (64 << 20) + 1], 0, &mut sink);
    assert_eq!(sink.0, [Reason::DocumentTooLarge]);
}
