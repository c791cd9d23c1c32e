//! Each rule, broken and kept.

use super::super::decode::{Histogram, Sample};
use super::*;

fn series(labels: &[(&str, &str)], points: &[(i64, f64)]) -> Series {
    Series {
        labels: labels.iter().map(|&(name, value)| (name.into(), value.into())).collect(),
        samples: points
            .iter()
            .map(|&(timestamp_ms, value)| Sample { value, timestamp_ms, start_timestamp_ms: 0 })
            .collect(),
        ..Default::default()
    }
}

type Labels = &'static [(&'static str, &'static str)];
/// What is sent, what is objected to, and a second expectation.
type Case<Sent, More> = (Sent, &'static [Kind], More);

fn judged(protocol: Protocol, series: Vec<Series>, table: &Table) -> (Vec<Kind>, Option<String>) {
    let mut report = Report::default();
    request(protocol, &Request { series, ..Default::default() }, table, &mut report);
    (report.kept.iter().map(|violation| violation.kind).collect(), report.refusal)
}

#[test]
fn labels_are_judged() {
    use Kind::*;
    let cases: &[Case<Labels, &[Kind]>] = &[
        (&[("Zone", "a"), ("__name__", "m"), ("b", "c")], &[], &[]),
        (&[("__name__", "m:x"), ("b", "ü\n")], &[], &[]),
        (&[("b", "c"), ("__name__", "m")], &[LabelsUnsorted], &[LabelsUnsorted]),
        (&[("__name__", "m"), ("b", "c"), ("b", "d")], &[LabelRepeated], &[LabelRepeated]),
        (&[("", "x"), ("__name__", "m")], &[LabelName], &[LabelName]),
        (&[("__name__", "m"), ("b", "")], &[LabelValue], &[LabelValue]),
        (&[("__name__", "m"), ("__x", "y")], &[LabelName], &[LabelName]),
        (&[("b", "c")], &[MetricName], &[MetricName]),
        (&[("__name__", "")], &[MetricName], &[MetricName]),
        (&[("__name__", "9m"), ("a.b", "c")], &[MetricName, LabelName], &[]),
    ];
    for (labels, v1, v2) in cases {
        let entry = || vec![series(labels, &[(1, 1.0)])];
        let table = Table::new(1);
        assert_eq!(judged(Protocol::V1, entry(), &table).0, *v1, "1.0 {labels:?}");
        assert_eq!(judged(Protocol::V2, entry(), &table).0, *v2, "2.0 {labels:?}");
    }
}

#[test]
fn order_is_judged_within_a_request_and_after_what_is_stored() {
    use Kind::*;
    let stored = series(&[("__name__", "m")], &[(10, 1.0)]);
    let mut table = Table::new(1);
    table.store(stored.key(), stored.points());
    let cases: &[Case<&[(i64, f64)], bool>] = &[
        (&[(11, 1.0), (12, 1.0)], &[], false),
        (&[(9, 1.0), (11, 1.0)], &[OutOfOrder], true),
        (&[(12, 1.0), (11, 1.0), (13, 1.0)], &[OutOfOrder], true),
        (&[(10, 1.0)], &[Duplicate], false),
        (&[(10, 2.0)], &[Conflict], true),
        (&[(11, 1.0), (11, 2.0)], &[Conflict], true),
        (&[(11, f64::NAN), (11, f64::from_bits(STALE_NAN))], &[NotANumber, Conflict], true),
    ];
    for (points, kinds, refused) in cases {
        let (found, refusal) = judged(Protocol::V1, vec![series(&[("__name__", "m")], points)], &table);
        assert_eq!((found.as_slice(), refusal.is_some()), (*kinds, *refused), "{points:?}");
    }
    let apart = [(11, 1.0), (11, 1.0)].map(|point| series(&[("__name__", "m")], &[point]));
    assert_eq!(judged(Protocol::V1, apart.into(), &table).0, [Duplicate]);
}

#[test]
fn nothing_sent_is_judged() {
    let table = Table::new(1);
    assert_eq!(judged(Protocol::V1, vec![], &table).0, [Kind::EmptyRequest]);
    assert_eq!(judged(Protocol::V2, vec![series(&[("__name__", "m")], &[])], &table).0, [Kind::EmptySeries]);
}

#[test]
fn histograms_are_judged() {
    let good = Histogram { count: 1.0, sum: 1.0, timestamp_ms: 5, start_timestamp_ms: 0, is_whole: true };
    let judged = |histogram, samples: &[(i64, f64)]| {
        let histograms = vec![histogram];
        let entry = Series { histograms, ..series(&[("__name__", "m")], samples) };
        judged(Protocol::V2, vec![entry], &Table::new(1)).0
    };
    assert_eq!(judged(good, &[]), []);
    assert_eq!(judged(Histogram { sum: f64::from_bits(STALE_NAN), ..good }, &[]), []);
    assert_eq!(judged(Histogram { is_whole: false, ..good }, &[]), [Kind::Histogram]);
    assert_eq!(judged(Histogram { sum: -f64::NAN, ..good }, &[]), [Kind::NotANumber]);
    assert_eq!(judged(good, &[(4, 1.0)]), [Kind::MixedSeries]);
}

#[test]
fn missing_and_wrong_headers_are_judged() {
    let mut map = HeaderMap::new();
    let count = |map: &HeaderMap, protocol| {
        let mut report = Report::default();
        headers(map, Some(protocol), &mut report);
        report.total()
    };
    assert_eq!(count(&map, Protocol::V1), 4);
    map.insert(CONTENT_TYPE, "application/x-protobuf".parse().unwrap());
    map.insert(CONTENT_ENCODING, "snappy".parse().unwrap());
    map.insert(USER_AGENT, "sender/1".parse().unwrap());
    map.insert(VERSION_HEADER, "0.1.0".parse().unwrap());
    assert_eq!(count(&map, Protocol::V1), 0);
    assert_eq!(count(&map, Protocol::V2), 1);
}

#[test]
fn what_is_told_of_one_request_is_bounded() {
    let many = (0..1000).map(|_| series(&[], &[(1, 1.0)])).collect();
    let mut report = Report::default();
    request(Protocol::V1, &Request { series: many, ..Default::default() }, &Table::new(1), &mut report);
    assert_eq!(report.kept.len(), MAX_KEPT);
    assert_eq!(report.counts[&Kind::MetricName], 1000);
}
