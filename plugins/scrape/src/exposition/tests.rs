//! What is read of whole bodies; what any body does.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::testing::{self, OPENMETRICS, TEXT, entries};
use super::{Entry, Format, Parser};

#[test]
fn each_case_gives_what_it_has_to() {
    let mut wrong = Vec::new();
    for case in TEXT.iter().chain(OPENMETRICS) {
        let given = entries(case.body, case.format).map_err(|malformed| malformed.to_string());
        if given.as_deref().map_err(String::as_str) != case.gives {
            wrong.push(format!("{:?}: {}\n  gives {given:?}\n  not   {:?}", case.format, case.name, case.gives));
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn each_case_has_a_name_of_its_own() {
    let mut names: Vec<_> =
        TEXT.iter().chain(OPENMETRICS).map(|case| (case.format == Format::Text, case.name)).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[test]
fn large_bodies_are_read() {
    let mut body = String::from("# TYPE a counter\n");
    for number in 0..12_000 {
        body += &format!("a{{number=\"{number}\"}} {number}\n");
    }
    let long = "x".repeat(10_000);
    body += &format!("b{{long=\"{long}\",{long}=\"\"}} 1\n");
    let many: Vec<_> = (0..10_000).map(|number| format!("l{number}=\"\"")).collect();
    body += &format!("c{{{}}} 1\n", many.join(","));
    body += "d 1\n# EOF\n";
    for format in [Format::Text, Format::OpenMetrics] {
        let mut parser = Parser::new(body.as_bytes(), format);
        let (mut sum, mut labels) = (0.0, Vec::new());
        while let Some(entry) = parser.next().unwrap() {
            if let Entry::Sample(sample) = entry {
                sum += sample.value;
                labels.push(sample.labels.len());
            }
        }
        assert_eq!(sum, f64::from(12_000 * 11_999 / 2 + 3));
        assert_eq!(labels[12_000..], [2, 10_000, 0]);
    }
}

#[test]
fn a_line_takes_no_more_memory_than_so_many_labels() {
    let labels = |count: usize| (0..count).map(|number| format!("l{number}=\"\",")).collect::<String>();
    let read = |count| Parser::new(format!("a{{{}}} 1", labels(count)).as_bytes(), Format::Text).next().map(|_| ());
    assert_eq!(read(1 << 16), Ok(()));
    let reason = read((1 << 16) + 1).unwrap_err().reason;
    assert_eq!(reason, "more than 65536 labels, at `l65536=\"\",} 1`");
}

#[test]
fn nothing_comes_after_an_error_or_the_end() {
    let mut parser = Parser::new(b"a 1\nb\nc 3\n", Format::Text);
    assert!(matches!(parser.next(), Ok(Some(Entry::Sample(_)))));
    assert_eq!(parser.next().unwrap_err().line, 2);
    assert!(matches!(parser.next(), Ok(None)));
    let mut parser = Parser::new(b"# EOF\n", Format::OpenMetrics);
    assert!(matches!(parser.next(), Ok(None)));
    assert!(matches!(parser.next(), Ok(None)));
}

#[test]
fn what_is_of_the_body_outlives_the_parser() {
    let body = b"a{b=\"c\"} 1\nd 2\n".to_vec();
    let mut kept = Vec::new();
    let mut parser = Parser::new(&body, Format::Text);
    while let Some(Entry::Sample(sample)) = parser.next().unwrap() {
        kept.push((sample.raw, sample.name, sample.labels.get("b")));
    }
    drop(parser);
    assert_eq!(kept[0].0, b"a{b=\"c\"}");
    assert_eq!((kept[0].1.to_string(), kept[0].2.as_deref()), ("a".to_owned(), Some("c")));
    assert_eq!((kept[1].0, kept[1].2.as_deref()), (&b"d"[..], None));
}

#[test]
fn what_belongs_to_one_created_has_one_group() {
    let body = "# TYPE h histogram\nh_bucket{a=\"1\",le=\"1\"} 2\nh_bucket{le=\"+Inf\",a=\"1\"} 2\nh_sum{a=\"1\"} 3\n\
                h_count{a=\"1\"} 2\nh_created{a=\"1\"} 1.5\nh_created{a=\"2\"} 2.5\nother 1\n\
                # TYPE c counter\nc_total{a=\"1\"} 1\nc_created{a=\"1\"} 4\n# EOF\n";
    let mut parser = Parser::new(body.as_bytes(), Format::OpenMetrics);
    let mut groups = Vec::new();
    while let Some(entry) = parser.next().unwrap() {
        if let Entry::Sample(sample) = entry {
            let mut key = b"what was there".to_vec();
            let has_group = sample.group(&mut key);
            groups.push((has_group.then_some(key), sample.created_ms()));
        }
    }
    let of = |number: usize| groups[number].0.clone();
    assert!((1..5).all(|number| of(number) == of(0)) && of(0).is_some());
    assert!(of(5).is_some() && of(5) != of(0));
    assert_eq!(of(6), None);
    assert!(of(7) == of(8) && of(7) != of(0));
    let created: Vec<_> = groups.iter().filter_map(|(_, created)| *created).collect();
    assert_eq!(created, [1500, 2500, 4000]);
}

/// A label's or a metric's name, and whether it has to be in quotes.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![3 => "[a-zA-Z_][a-zA-Z0-9_]{0,8}", 1 => "\\PC{1,6}", 1 => "[\"\\\\\n{},= #a]{1,6}"]
        .prop_filter("it stands for the metric", |name| name != "__name__")
}

/// Any text, those that need escapes often.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9/]{0,12}", any::<String>(), "[\"\\\\\n{},= #\t\r\0a]{0,8}"]
}

fn labels() -> impl Strategy<Value = Vec<(String, String)>> {
    // By name, so that no name is there twice.
    btree_map(name(), text(), 0..6).prop_map(|labels| labels.into_iter().collect())
}

/// A value, without the NaN that has no one spelling.
fn value() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>(), Just(f64::INFINITY), Just(-0.0), any::<i32>().prop_map(f64::from)]
        .prop_filter("NaN", |value| !value.is_nan())
}

type Written = (String, Vec<(String, String)>, f64, Option<u32>, Option<(Vec<(String, String)>, f64, Option<u32>)>);

fn samples() -> impl Strategy<Value = Vec<Written>> {
    // No zero bytes in exemplars, which have none.
    let plain =
        labels().prop_map(|labels| labels.into_iter().map(|(name, value)| (name, value.replace('\0', ""))).collect());
    let exemplar = (plain, value(), any::<Option<u32>>());
    vec((name(), labels(), value(), any::<Option<u32>>(), option::of(exemplar)), 0..12)
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

fn is_plain(name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(is_letter) && name.chars().all(|c| is_letter(c) || c.is_ascii_digit())
}

fn braces(first: Option<String>, labels: &[(String, String)], comma: &str) -> String {
    let name = |name: &str| if is_plain(name) { name.to_owned() } else { quoted(name) };
    let labels = labels.iter().map(|(label, value)| format!("{}={}", name(label), quoted(value)));
    format!("{{{}}}", first.into_iter().chain(labels).collect::<Vec<_>>().join(comma))
}

/// A body of these samples; `bits` choose among the spellings that a format has.
fn written(samples: &[Written], format: Format, bits: u64) -> String {
    let is_text = format == Format::Text;
    let has = |bit: u64| is_text && bits >> bit & 1 == 1;
    let (blank, comma) = if has(0) { (" \t ", " ,\t") } else { (" ", ",") };
    let mut body = String::new();
    for (name, labels, value, timestamp, exemplar) in samples {
        if has(1) {
            body += "\n # some comment\n";
        }
        body += &match is_plain(name) {
            true if labels.is_empty() && !has(2) => name.clone(),
            true => format!("{name}{}{}", if has(0) { blank } else { "" }, braces(None, labels, comma)),
            false => braces(Some(quoted(name)), labels, comma),
        };
        body += &format!("{blank}{value:?}");
        if let Some(seconds) = timestamp {
            let spelling = if is_text { format!("{seconds}000") } else { seconds.to_string() };
            body += &format!("{blank}{spelling}");
        }
        if let (Some((labels, value, timestamp)), false) = (exemplar, is_text) {
            body += &format!(" # {} {value:?}", braces(None, labels, ","));
            body += &timestamp.map(|seconds| format!(" {seconds}")).unwrap_or_default();
        }
        body += "\n";
    }
    match is_text {
        true if has(3) => body.truncate(body.trim_end().len()),
        true => {}
        false => body += "# EOF\n",
    }
    body
}

fn plain(labels: &super::Labels<'_, '_>) -> Vec<(String, String)> {
    labels.iter().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

/// The samples of a body as they were before they were written.
fn read(body: &str, format: Format) -> Result<Vec<Written>, super::Malformed> {
    let seconds = |timestamp_ms: i64| u32::try_from(timestamp_ms / 1000).unwrap();
    let mut parser = Parser::new(body.as_bytes(), format);
    let mut samples = Vec::new();
    while let Some(entry) = parser.next()? {
        let Entry::Sample(sample) = entry else { panic!("{entry:?}") };
        let exemplar = sample
            .exemplar
            .map(|exemplar| (plain(&exemplar.labels), exemplar.value, exemplar.timestamp_ms.map(seconds)));
        let timestamp = sample.timestamp_ms.map(seconds);
        samples.push((sample.name.to_string(), plain(&sample.labels), sample.value, timestamp, exemplar));
    }
    Ok(samples)
}

proptest! {
    #[test]
    fn what_is_written_is_read(samples in samples(), bits: u64) {
        prop_assert_eq!(read(&written(&samples, Format::OpenMetrics, bits), Format::OpenMetrics), Ok(samples.clone()));
        let without: Vec<_> = samples.into_iter().map(|(a, b, c, d, _)| (a, b, c, d, None)).collect();
        prop_assert_eq!(read(&written(&without, Format::Text, bits), Format::Text), Ok(without));
    }

    #[test]
    fn any_bytes_are_read_or_refused(body in vec(any::<u8>(), 0..200)) {
        testing::fuzz::run(&body);
    }

    #[test]
    fn any_pieces_are_read_or_refused(pieces in vec(select(testing::fuzz::words()), 0..40)) {
        testing::fuzz::run(&pieces.concat());
    }

    #[test]
    fn a_case_with_a_byte_changed_is_read_or_refused(case in select(TEXT.iter().chain(OPENMETRICS).collect::<Vec<_>>()), at: Index, byte: u8) {
        let mut body = case.body.to_vec();
        if !body.is_empty() {
            let at = at.index(body.len());
            body[at] = byte;
        }
        testing::fuzz::run(&body);
    }
}
