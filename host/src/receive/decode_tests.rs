//! Both protocols come out alike, and nothing that a sender can send makes the receiver panic or unpack without bound.

use hyper::header::HeaderValue;
use proptest::prelude::*;

use super::*;

fn pair(name: &str, value: &str) -> (String, String) {
    (name.into(), value.into())
}

fn packed(message: &impl Message) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(&message.encode_to_vec()).unwrap()
}

fn headers(content_type: Option<&str>, encoding: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [(CONTENT_TYPE, content_type), (CONTENT_ENCODING, encoding)] {
        if let Some(value) = value {
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
    }
    headers
}

fn expected() -> Series {
    Series {
        labels: vec![pair("__name__", "power"), pair("zone", "a")],
        samples: vec![Sample { value: 1.5, timestamp_ms: 7, start_timestamp_ms: 0 }],
        histograms: vec![Histogram { count: 3.0, sum: 4.5, timestamp_ms: 8, start_timestamp_ms: 0, is_whole: true }],
        exemplars: vec![Exemplar { labels: vec![pair("trace", "t")], value: 0.5, timestamp_ms: 6 }],
    }
}

fn metadata() -> Metadata {
    Metadata { metric: "power".into(), kind: "gauge".into(), help: "Power.".into(), unit: "watts".into() }
}

#[test]
fn a_1_0_message_becomes_plain() {
    let label = |name: &str, value: &str| v1::Label { name: name.into(), value: value.into() };
    let message = v1::WriteRequest {
        timeseries: vec![v1::TimeSeries {
            labels: vec![label("__name__", "power"), label("zone", "a")],
            samples: vec![v1::Sample { value: 1.5, timestamp: 7 }],
            exemplars: vec![v1::Exemplar { labels: vec![label("trace", "t")], value: 0.5, timestamp: 6 }],
            histograms: vec![v1::Histogram {
                count: Some(v1::histogram::Count::CountInt(3)),
                sum: 4.5,
                timestamp: 8,
                ..Default::default()
            }],
        }],
        metadata: vec![v1::MetricMetadata {
            r#type: v1::metric_metadata::MetricType::Gauge.into(),
            metric_family_name: "power".into(),
            help: "Power.".into(),
            unit: "watts".into(),
        }],
    };
    let plain = decode(Protocol::V1, &packed(&message)).unwrap();
    assert_eq!(plain, Request { series: vec![expected()], metadata: vec![metadata()], bad_symbols: None });
}

fn message_v2() -> v2::Request {
    let symbols = ["", "__name__", "power", "zone", "a", "trace", "t", "Power.", "watts"];
    v2::Request {
        symbols: symbols.map(String::from).into(),
        timeseries: vec![v2::TimeSeries {
            labels_refs: vec![1, 2, 3, 4],
            samples: vec![v2::Sample { value: 1.5, timestamp: 7, start_timestamp: 0 }],
            histograms: vec![v2::Histogram {
                count: Some(v2::histogram::Count::CountFloat(3.0)),
                sum: 4.5,
                timestamp: 8,
                ..Default::default()
            }],
            exemplars: vec![v2::Exemplar { labels_refs: vec![5, 6], value: 0.5, timestamp: 6 }],
            metadata: Some(v2::Metadata { r#type: v2::metadata::MetricType::Gauge.into(), help_ref: 7, unit_ref: 8 }),
        }],
    }
}

#[test]
fn a_2_0_message_becomes_the_same() {
    let plain = decode(Protocol::V2, &packed(&message_v2())).unwrap();
    assert_eq!(plain, Request { series: vec![expected()], metadata: vec![metadata()], bad_symbols: None });
}

#[test]
fn a_bad_table_of_symbols_is_told() {
    let told = |change: fn(&mut v2::Request)| {
        let mut message = message_v2();
        change(&mut message);
        decode(Protocol::V2, &packed(&message)).map(|plain| plain.bad_symbols)
    };
    assert!(told(|message| message.symbols[0] = "x".into()).unwrap().is_some());
    assert!(told(|message| message.symbols.push("zone".into())).unwrap().is_some());
    let outside = told(|message| message.timeseries[0].labels_refs[3] = 9);
    assert!(matches!(outside, Err(DecodeError::Symbol { reference: 9, symbols: 9 })));
    let odd = told(|message| message.timeseries[0].labels_refs.truncate(3));
    assert!(matches!(odd, Err(DecodeError::OddReferences(3))));
}

#[test]
fn the_content_type_names_the_protocol() {
    let v1 = [
        None,
        Some("application/x-protobuf"),
        Some("application/x-protobuf;proto=prometheus.WriteRequest"),
        Some("Application/X-Protobuf; charset=utf-8"),
    ];
    for content_type in v1 {
        assert_eq!(protocol(&headers(content_type, Some("snappy"))).unwrap(), Protocol::V1, "{content_type:?}");
    }
    let v2 = [
        "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        "application/x-protobuf; Proto=\"io.prometheus.write.v2.Request\"",
    ];
    for content_type in v2 {
        assert_eq!(protocol(&headers(Some(content_type), None)).unwrap(), Protocol::V2, "{content_type}");
    }
    for content_type in ["", "application/json", "application/x-protobuf;proto=prometheus.ReadRequest"] {
        let refused = protocol(&headers(Some(content_type), Some("snappy")));
        assert!(matches!(refused, Err(DecodeError::ContentType(_))), "{content_type}");
    }
    let zipped = protocol(&headers(Some("application/x-protobuf"), Some("gzip")));
    assert!(matches!(zipped, Err(DecodeError::Encoding(_))));
}

#[test]
fn what_is_no_message_is_refused_in_one_line() {
    let framed = b"\xff\x06\x00\x00sNaPpY\x00\x00";
    let noise = snap::raw::Encoder::new().compress_vec(b"\xff\xff\xff\xff").unwrap();
    // A length of 64 MiB and one byte, then nothing.
    let huge = [0x81, 0x80, 0x80, 0x20];
    for body in [&b""[..], b"plain text", framed, &noise, &huge] {
        for protocol in [Protocol::V1, Protocol::V2] {
            let error = decode(protocol, body).expect_err("refused").to_string();
            assert!(!error.contains('\n'), "{error}");
        }
    }
    assert!(matches!(decode(Protocol::V1, framed), Err(DecodeError::Framed)));
    assert!(matches!(decode(Protocol::V1, &huge), Err(DecodeError::TooLarge)));
}

#[test]
fn keys_do_not_depend_on_the_order_of_labels_and_leave_empty_values_out() {
    let labels = |pairs: &[(&str, &str)]| Series {
        labels: pairs.iter().map(|&(name, value)| pair(name, value)).collect(),
        ..Default::default()
    };
    assert_eq!(
        labels(&[("__name__", "m"), ("a", "1"), ("b", "2")]).key(),
        labels(&[("c", ""), ("b", "2"), ("a", "1"), ("__name__", "m")]).key()
    );
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..300), flip in 0usize..300) {
        let _ = decode(Protocol::V1, &body);
        let _ = decode(Protocol::V2, &body);
        let mut message = message_v2().encode_to_vec();
        let at = flip % message.len();
        message[at] ^= body.first().copied().unwrap_or(1);
        let packed = snap::raw::Encoder::new().compress_vec(&message).unwrap();
        let _ = decode(Protocol::V1, &packed);
        let _ = decode(Protocol::V2, &packed);
    }
}
