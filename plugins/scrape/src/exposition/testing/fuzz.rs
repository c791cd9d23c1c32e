//! The fuzz target of the parser.
//!
//! Enters: any bytes, as a body in both formats. Holds: reading ends; a malformed body has one short line that can be shown;
//! what is said of a sample is what stands in the body, and read again alone it is the same.

use super::super::{Entry, Format, Labels, Malformed, Parser, Sample};
use super::{OPENMETRICS, TEXT};

/// Reads the bytes in both formats.
///
/// # Panics
///
/// Where the parser breaks a promise.
pub fn run(body: &[u8]) {
    for format in [Format::Text, Format::OpenMetrics] {
        read(body, format);
    }
    if let Ok(declared) = str::from_utf8(body) {
        let _ = Format::of(Some(declared)).inspect_err(|reason| assert_is_a_line(reason));
    }
}

/// The bodies of all cases.
pub fn seeds() -> Vec<Vec<u8>> {
    TEXT.iter().chain(OPENMETRICS).map(|case| case.body.to_vec()).collect()
}

/// What the formats are made of.
pub fn words() -> Vec<Vec<u8>> {
    let words = [
        "# HELP ",
        "# TYPE ",
        "# UNIT ",
        "# EOF\n",
        "# ",
        " # {",
        "#",
        "\n",
        " ",
        "\t",
        "\r\n",
        "{",
        "}",
        ",",
        "=",
        "\"",
        "\\",
        "\\n",
        "\\\"",
        "\\\\",
        "=\"",
        "\",",
        "\"} 1\n",
        "a",
        "a_total",
        "a_created",
        "a_bucket",
        "_sum",
        "_count",
        "__name__",
        "le=\"1\"",
        "quantile=\"0.5\"",
        " counter\n",
        " gauge\n",
        " histogram\n",
        " summary\n",
        " untyped\n",
        " unknown\n",
        " info\n",
        " stateset\n",
        " gaugehistogram\n",
        " 1\n",
        " 1 1700000000",
        " NaN",
        " +Inf",
        " -1e-400",
        "1e400",
        "0x1p-2",
        "é",
        "\0",
        "application/vnd.google.protobuf",
    ];
    let mut words: Vec<_> = words.map(|word| word.as_bytes().to_vec()).into();
    words.push(b"\xff".to_vec());
    words
}

fn read(body: &[u8], format: Format) {
    let mut parser = Parser::new(body, format);
    // Each entry takes at least its name.
    for _ in 0..=body.len() {
        match parser.next() {
            Ok(Some(Entry::Sample(sample))) => check(&sample, body, format),
            Ok(Some(_)) => {}
            Ok(None) => {
                assert!(matches!(parser.next(), Ok(None)), "something after the end");
                return;
            }
            Err(malformed) => {
                told(&malformed, body);
                assert!(matches!(parser.next(), Ok(None)), "something after an error");
                return;
            }
        }
    }
    panic!("more entries than bytes");
}

fn told(malformed: &Malformed, body: &[u8]) {
    let lines = body.split(|&byte| byte == b'\n').count();
    assert!((1..=lines).contains(&malformed.line), "{malformed} of {lines} lines");
    assert_is_a_line(&malformed.reason);
}

fn check(sample: &Sample<'_, '_>, body: &[u8], format: Format) {
    let range = body.as_ptr_range();
    let own = sample.raw.as_ptr_range();
    assert!(range.start <= own.start && own.end <= range.end && !sample.raw.is_empty(), "it is not of the body");
    assert!(!sample.name.unescaped().is_empty(), "no name");
    let names = sorted(&sample.labels).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "twice: {names:?}");
    assert!(names.iter().all(|name| !name.is_empty() && name != "__name__"), "{names:?}");
    assert!(!sample.value.is_nan() || sample.value.to_bits() == 0x7ff8_0000_0000_0001, "another NaN");
    assert!(sample.created_ms().is_none() || format == Format::OpenMetrics, "created");
    assert_eq!(sample.part().is_some(), sample.group(&mut Vec::new()), "a part without a group");
    let exemplar = sample.exemplar.as_ref();
    assert!(exemplar.is_none_or(|exemplar| exemplar.labels.iter().all(|(name, _)| !name.is_empty())), "no name");

    // The series alone, without a type above it.
    let mut alone = [sample.raw, b" 1\n"].concat();
    if format == Format::OpenMetrics {
        alone.extend_from_slice(b"# EOF\n");
    }
    let mut parser = Parser::new(&alone, format);
    let Ok(Some(Entry::Sample(again))) = parser.next() else { panic!("{:?} is not read alone", sample.raw) };
    assert_eq!((again.raw, again.name.unescaped()), (sample.raw, sample.name.unescaped()));
    let texts = |labels: &Labels<'_, '_>| {
        let plain = Labels { numeric: None, ..*labels };
        sorted(&plain)
    };
    assert_eq!(texts(&again.labels), texts(&sample.labels));
}

fn sorted(labels: &Labels<'_, '_>) -> Vec<(String, String)> {
    let mut all: Vec<_> = labels.iter().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
    all.sort_unstable();
    all
}

fn assert_is_a_line(text: &str) {
    assert!(!text.is_empty() && text.len() <= 300, "{} bytes: {text:?}", text.len());
    assert!(!text.chars().any(char::is_control), "a control character: {text:?}");
}
