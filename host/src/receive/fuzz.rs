//! Fuzzes the receiver: a body of either protocol, packed or to be packed, through decoding, checks, table and lines.
//!
//! Promises: every request has its answer; what is stored is what was in it; the same request again is judged the same; what
//! is printed can't move a terminal's cursor, and in JSON is JSON.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use hyper::HeaderMap;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use monitor_proto::{CONTENT_TYPE_V1, CONTENT_TYPE_V2, v1, v2};
use prost::Message;

use super::answer::Planned;
use super::receiver::Now;
use super::verdict::Reply;
use super::*;
use crate::fuzz::{Choices, Target, bytes};

/// Requests to the receiver.
pub static RECEIVE: Target = Target {
    name: "receive",
    run: |input| {
        let mut choices = Choices(input);
        let kind = choices.byte();
        let packed = snap::raw::Encoder::new().compress_vec(choices.0).expect("inputs are far below 4 GiB");
        request(kind, if kind & 1 == 0 { &packed } else { choices.0 });
    },
    seeds: || {
        let (v1, v2) = (seed_v1(), seed_v2());
        let packed = |message: &[u8]| snap::raw::Encoder::new().compress_vec(message).expect("seeds are small");
        let mut seeds = Vec::new();
        for options in [0x00, 0x10, 0x30, 0x40, 0x50] {
            seeds.push([&[options][..], &v1].concat());
            seeds.push([&[options | 2][..], &v2].concat());
        }
        seeds.push([&[0x01][..], &packed(&v1)].concat());
        seeds.push([&[0x13][..], &packed(&v2)].concat());
        seeds.push(b"\x01\xff\x06\x00\x00sNaPpY".to_vec());
        seeds.push(b"\x01\xff\xff\xff\xff\x0f".to_vec());
        seeds
    },
    words: || bytes(["__name__", "power", "\x0a\x00", "\x22\x04\x01\x02\x03\x04", "\u{1b}[2J", "\x7f\u{85}", "="]),
};

fn seed_v1() -> Vec<u8> {
    let label = |name: &str, value: &str| v1::Label { name: name.into(), value: value.into() };
    let series = |samples: &[(i64, f64)]| v1::TimeSeries {
        labels: vec![label("__name__", "power"), label("zone", "a")],
        samples: samples.iter().map(|&(timestamp, value)| v1::Sample { value, timestamp }).collect(),
        exemplars: vec![v1::Exemplar { labels: vec![label("trace", "t")], value: 0.5, timestamp: 6 }],
        histograms: vec![v1::Histogram { sum: 4.5, timestamp: 8, ..Default::default() }],
    };
    let metadata =
        v1::MetricMetadata { r#type: 2, metric_family_name: "power".into(), help: "P.".into(), unit: "".into() };
    let timeseries = vec![series(&[(7, 1.5), (9, -0.0)]), series(&[(9, f64::NAN), (3, 1.0)])];
    v1::WriteRequest { timeseries, metadata: vec![metadata] }.encode_to_vec()
}

fn seed_v2() -> Vec<u8> {
    let series = |samples: &[(i64, f64)]| v2::TimeSeries {
        labels_refs: vec![1, 2, 3, 4],
        samples: samples
            .iter()
            .map(|&(timestamp, value)| v2::Sample { value, timestamp, start_timestamp: 1 })
            .collect(),
        histograms: vec![v2::Histogram { sum: 4.5, timestamp: 8, ..Default::default() }],
        exemplars: vec![v2::Exemplar { labels_refs: vec![3, 4], value: 0.5, timestamp: 6 }],
        metadata: Some(v2::Metadata { r#type: 2, help_ref: 5, unit_ref: 0 }),
    };
    let symbols = ["", "__name__", "power", "zone", "a", "Power."].map(String::from).into();
    v2::Request { symbols, timeseries: vec![series(&[(7, 1.5), (9, -0.0)]), series(&[(9, f64::NAN), (3, 1.0)])] }
        .encode_to_vec()
}

/// Sends one request twice; `kind` says which protocol, and what the receiver was told.
fn request(kind: u8, body: &[u8]) {
    let (is_v2, strict, json, few) = (kind & 2 != 0, kind & 0x10 != 0, kind & 0x20 != 0, kind & 0x40 != 0);
    let protocols = [Protocols::Both, Protocols::V1, Protocols::V2, Protocols::Legacy][usize::from(kind >> 2 & 3)];
    let max_series = if few { 1 } else { 1000 };
    let options = Options { json, strict, protocols, max_series, ..Options::default() };
    let (out, warnings) = (Printed::default(), Printed::default());
    let sinks = Sinks { out: Box::new(out.clone()), warnings: Box::new(warnings.clone()) };
    let now = Now { instant: Instant::now(), wall_ms: 1_762_678_050_123 };
    let mut receiver = Receiver::new(options, sinks, now.instant);

    let content_type = if is_v2 { CONTENT_TYPE_V2 } else { CONTENT_TYPE_V1 };
    let headers = HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (HeaderName::from_static("user-agent"), HeaderValue::from_static("fuzz")),
    ]);
    let mut stored = 0;
    for round in 1..=2 {
        let reply = receiver.handle(&headers, body, &Planned::default(), now);
        let Reply::Answer(answer) = reply else { panic!("nothing else was planned: {reply:?}") };
        let protocol = if is_v2 { decode::Protocol::V2 } else { decode::Protocol::V1 };
        let readable = decode::decode(protocol, body);
        let samples = receiver.stats()["samples"].as_u64().expect("a count");
        if answer.status.is_success() && (protocols != Protocols::Legacy || !is_v2) {
            let totals = readable.expect("what is stored can be read").totals();
            assert_eq!(samples, stored + totals.samples, "round {round}");
        } else {
            assert_eq!(samples, stored, "round {round}");
            assert!(answer.status.is_success() || !answer.body.is_empty(), "a refusal says why");
        }
        assert!(!answer.status.is_server_error(), "{answer:?}");
        stored = samples;
    }
    assert!(receiver.take_failure().is_none());
    for text in [receiver.view(now.wall_ms), receiver.screen(now.wall_ms), receiver.total(now.wall_ms), warnings.text()]
    {
        let line = text.lines().find(|line| line.chars().any(char::is_control));
        assert_eq!(line, None, "it could move a terminal's cursor");
    }
    for line in out.text().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line.is_object());
    }
}

/// A buffer that can be read while it is written to.
#[derive(Clone, Default)]
struct Printed(Arc<Mutex<Vec<u8>>>);

impl Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Printed {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8(bytes.clone()).expect("what is printed is UTF-8")
    }
}
