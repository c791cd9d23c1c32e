//! What is read of whole bodies; what any body does.

use proptest::collection::vec;
use proptest::prelude::*;

use super::testing::{OPENMETRICS, TEXT, entries};
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
