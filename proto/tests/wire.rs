//! What the generated code encodes has the field numbers of the specification, byte for byte.

use monitor_proto::{v1, v2};
use prost::Message;

#[test]
fn a_1_0_request_has_the_bytes_of_the_specification() {
    let request = v1::WriteRequest {
        timeseries: vec![v1::TimeSeries {
            labels: vec![v1::Label { name: "a".into(), value: "b".into() }],
            samples: vec![v1::Sample { value: 1.0, timestamp: 2 }],
            ..Default::default()
        }],
        metadata: vec![v1::MetricMetadata {
            r#type: v1::metric_metadata::MetricType::Gauge.into(),
            metric_family_name: "m".into(),
            help: "h".into(),
            unit: "u".into(),
        }],
    };
    #[rustfmt::skip]
    let bytes = [
        0x0a, 0x15,
            0x0a, 0x06, 0x0a, 0x01, b'a', 0x12, 0x01, b'b',
            0x12, 0x0b, 0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x10, 0x02,
        0x1a, 0x0b, 0x08, 0x02, 0x12, 0x01, b'm', 0x22, 0x01, b'h', 0x2a, 0x01, b'u',
    ];
    assert_eq!(request.encode_to_vec(), bytes);
}

#[test]
fn a_2_0_request_has_the_bytes_of_the_specification() {
    let request = v2::Request {
        symbols: vec![String::new(), "a".into(), "b".into()],
        timeseries: vec![v2::TimeSeries {
            labels_refs: vec![1, 2],
            samples: vec![v2::Sample { value: 1.0, timestamp: 2, start_timestamp: 3 }],
            exemplars: vec![v2::Exemplar { labels_refs: vec![1, 2], value: 0.0, timestamp: 4 }],
            metadata: Some(v2::Metadata { r#type: 1, help_ref: 1, unit_ref: 2 }),
            ..Default::default()
        }],
    };
    #[rustfmt::skip]
    let bytes = [
        0x22, 0x00, 0x22, 0x01, b'a', 0x22, 0x01, b'b',
        0x2a, 0x23,
            0x0a, 0x02, 0x01, 0x02,
            0x12, 0x0d, 0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x10, 0x02, 0x18, 0x03,
            0x22, 0x06, 0x0a, 0x02, 0x01, 0x02, 0x18, 0x04,
            0x2a, 0x06, 0x08, 0x01, 0x18, 0x01, 0x20, 0x02,
    ];
    assert_eq!(request.encode_to_vec(), bytes);
}

#[test]
fn a_histogram_has_the_field_numbers_of_the_specification() {
    let span = v2::BucketSpan { offset: -1, length: 2 };
    let histogram = v2::Histogram {
        count: Some(v2::histogram::Count::CountInt(3)),
        sum: 0.0,
        schema: -1,
        zero_threshold: 0.0,
        zero_count: Some(v2::histogram::ZeroCount::ZeroCountInt(1)),
        negative_spans: vec![span],
        negative_deltas: vec![-1],
        positive_spans: vec![span],
        positive_deltas: vec![1],
        reset_hint: v2::histogram::ResetHint::No.into(),
        timestamp: 5,
        start_timestamp: 6,
        ..Default::default()
    };
    #[rustfmt::skip]
    let bytes = [
        0x08, 0x03, 0x20, 0x01, 0x30, 0x01,
        0x42, 0x04, 0x08, 0x01, 0x10, 0x02,
        0x4a, 0x01, 0x01,
        0x5a, 0x04, 0x08, 0x01, 0x10, 0x02,
        0x62, 0x01, 0x02,
        0x70, 0x02, 0x78, 0x05, 0x88, 0x01, 0x06,
    ];
    assert_eq!(histogram.encode_to_vec(), bytes);
}
