//! What is answered, stored, counted and told of a request, without a socket.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use monitor_proto::{
    CONTENT_TYPE_V1, CONTENT_TYPE_V2, SAMPLES_WRITTEN_HEADER, VERSION_HEADER, VERSION_V1, VERSION_V2, v1, v2,
};
use prost::Message;
use serde_json::Value;

use super::super::answer::Fault;
use super::*;

/// A buffer that can be read while it is written to.
#[derive(Clone, Default)]
pub(crate) struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Buffer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    pub(crate) fn json(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }
}

/// One series `power{zone="a"}` with these points, as a 1.0 body.
pub(crate) fn body_v1(points: &[(i64, f64)]) -> Vec<u8> {
    let label = |name: &str, value: &str| v1::Label { name: name.into(), value: value.into() };
    let message = v1::WriteRequest {
        timeseries: vec![v1::TimeSeries {
            labels: vec![label("__name__", "power"), label("zone", "a")],
            samples: points.iter().map(|&(timestamp, value)| v1::Sample { value, timestamp }).collect(),
            ..Default::default()
        }],
        metadata: Vec::new(),
    };
    snap::raw::Encoder::new().compress_vec(&message.encode_to_vec()).unwrap()
}

/// The same as a 2.0 body, with help.
pub(crate) fn body_v2(points: &[(i64, f64)]) -> Vec<u8> {
    let message = v2::Request {
        symbols: ["", "__name__", "power", "zone", "a", "Power."].map(String::from).into(),
        timeseries: vec![v2::TimeSeries {
            labels_refs: vec![1, 2, 3, 4],
            samples: points
                .iter()
                .map(|&(timestamp, value)| v2::Sample { value, timestamp, start_timestamp: 0 })
                .collect(),
            metadata: Some(v2::Metadata { r#type: 2, help_ref: 5, unit_ref: 0 }),
            ..Default::default()
        }],
    };
    snap::raw::Encoder::new().compress_vec(&message.encode_to_vec()).unwrap()
}

pub(crate) fn headers(content_type: &'static str) -> HeaderMap {
    let version = if content_type == CONTENT_TYPE_V2 { VERSION_V2 } else { VERSION_V1 };
    [
        ("content-type", content_type),
        ("content-encoding", "snappy"),
        ("user-agent", "test/1"),
        (VERSION_HEADER, version),
    ]
    .into_iter()
    .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
    .collect()
}

struct Bench {
    receiver: Receiver,
    out: Buffer,
    warnings: Buffer,
}

impl Bench {
    fn new(options: Options) -> Self {
        let (out, warnings) = (Buffer::default(), Buffer::default());
        let sinks = Sinks { out: Box::new(out.clone()), warnings: Box::new(warnings.clone()) };
        Self { receiver: Receiver::new(options, sinks, Instant::now()), out, warnings }
    }

    fn json() -> Self {
        Self::new(Options { json: true, ..Options::default() })
    }

    fn send(&mut self, headers: &HeaderMap, body: &[u8]) -> Reply {
        let now = Now { instant: Instant::now() + Duration::from_secs(1), wall_ms: 5000 };
        let planned = self.receiver.plan.next(now.instant);
        self.receiver.handle(headers, body, &planned, now)
    }

    fn v1(&mut self, points: &[(i64, f64)]) -> Reply {
        self.send(&headers(CONTENT_TYPE_V1), &body_v1(points))
    }

    fn fault(&mut self, spec: &str) {
        self.receiver.plan.push(Fault::parse(spec).unwrap(), Instant::now()).unwrap();
    }

    fn samples(&self) -> u64 {
        self.receiver.counts.samples
    }
}

fn status(reply: &Reply) -> u16 {
    match reply {
        Reply::Answer(answer) => answer.status.as_u16(),
        other => panic!("{other:?}"),
    }
}

fn written(reply: &Reply) -> Option<&str> {
    let Reply::Answer(answer) = reply else { panic!("{reply:?}") };
    let header = answer.headers.iter().find(|(name, _)| name == SAMPLES_WRITTEN_HEADER)?;
    header.1.to_str().ok()
}

#[test]
fn samples_and_their_request_are_told_in_lines() {
    let mut bench = Bench::json();
    let mut head = headers(CONTENT_TYPE_V1);
    head.insert("retry-attempt", HeaderValue::from_static("2"));
    let body = body_v1(&[(1000, 1.5), (2000, 2.5)]);
    assert_eq!(status(&bench.send(&head, &body)), 204);
    let lines = bench.out.json();
    assert_eq!(
        lines[0],
        json!({"request": 1, "metric": "power", "labels": {"zone": "a"}, "value": 1.5,
               "timestamp_ms": 1000, "received_ms": 5000})
    );
    assert_eq!(lines[1]["timestamp_ms"], 2000);
    assert_eq!(
        lines[2],
        json!({"request": 1, "status": 204, "samples": 2, "stored": true, "bytes": body.len(),
               "protocol": "1.0", "attempt": 2, "received_ms": 5000})
    );
    assert_eq!((lines.len(), bench.warnings.text().as_str()), (3, ""));
}

#[test]
fn only_2_0_is_answered_with_what_was_written() {
    let mut bench = Bench::json();
    assert_eq!(written(&bench.v1(&[(1, 1.0)])), None);
    let reply = bench.send(&headers(CONTENT_TYPE_V2), &body_v2(&[(2, 1.0), (3, 1.0)]));
    assert_eq!((status(&reply), written(&reply)), (204, Some("2")));
    let lines = bench.out.json();
    let metadata = json!({"request": 2, "metadata": "power", "type": "gauge", "help": "Power.", "unit": ""});
    assert!(lines.contains(&metadata), "{lines:?}");
    assert_eq!(bench.receiver.stats()["violations"], 0);
}

#[test]
fn each_protocol_can_be_refused() {
    for (protocols, first, second) in [
        (Protocols::Both, 204, 204),
        (Protocols::V1, 204, 415),
        (Protocols::V2, 415, 204),
        (Protocols::Legacy, 204, 204),
    ] {
        let mut bench = Bench::new(Options { protocols, ..Options::default() });
        assert_eq!(status(&bench.v1(&[(1, 1.0)])), first, "{protocols:?}");
        let reply = bench.send(&headers(CONTENT_TYPE_V2), &body_v2(&[(2, 1.0)]));
        assert_eq!(status(&reply), second, "{protocols:?}");
    }
}

#[test]
fn a_legacy_receiver_answers_2_0_like_a_success_and_stores_nothing() {
    let mut bench = Bench::new(Options { protocols: Protocols::Legacy, ..Options::default() });
    let reply = bench.send(&headers(CONTENT_TYPE_V2), &body_v2(&[(2, 1.0)]));
    assert_eq!((status(&reply), written(&reply), bench.samples()), (204, None, 0));
}

#[test]
fn unreadable_requests_are_refused_and_told() {
    let mut bench = Bench::json();
    assert_eq!(status(&bench.send(&headers(CONTENT_TYPE_V1), b"junk")), 400);
    assert_eq!(status(&bench.send(&headers("application/json"), b"{}")), 415);
    let lines = bench.out.json();
    let errors = lines.iter().filter(|line| line["error"].is_string() && line["stored"] == false);
    assert_eq!(errors.count(), 2, "{lines:?}");
    assert_eq!(bench.receiver.stats()["by_status"], json!({"400": 1, "415": 1}));
}

#[test]
fn violations_are_told_and_let_pass() {
    let mut bench = Bench::json();
    bench.v1(&[(2, 1.0)]);
    assert_eq!(status(&bench.v1(&[(1, 1.0)])), 204);
    let violation = json!({"violation": "out_of_order", "request": 2, "series": "power{zone=\"a\"}",
                           "detail": "sample at 1 after 2"});
    assert!(bench.out.json().contains(&violation), "{}", bench.out.text());
    assert_eq!(bench.samples(), 2);

    let mut bench = Bench::new(Options::default());
    bench.v1(&[(2, 1.0)]);
    bench.v1(&[(1, 1.0)]);
    let warning = "warning: request 2: out_of_order: sample at 1 after 2 power{zone=\"a\"}\n";
    assert_eq!(bench.warnings.text(), warning);
    assert_eq!(bench.out.text(), "");
}

#[test]
fn a_strict_receiver_refuses_what_is_out_of_order_and_stores_none_of_it() {
    let mut bench = Bench::new(Options { strict: true, ..Options::default() });
    assert_eq!(status(&bench.v1(&[(2, 1.0)])), 204);
    assert_eq!(status(&bench.v1(&[(1, 1.0), (3, 1.0)])), 400);
    assert_eq!(status(&bench.v1(&[(2, 9.0)])), 400);
    assert_eq!(status(&bench.v1(&[(2, 1.0)])), 204, "the same once more is harmless");
    assert_eq!(status(&bench.v1(&[(3, 1.0)])), 204, "what was refused was not stored");
    let refused = bench.send(&headers(CONTENT_TYPE_V2), &body_v2(&[(2, 7.0)]));
    assert_eq!((status(&refused), written(&refused)), (400, Some("0")));
}

#[test]
fn a_fault_stores_nothing_and_the_same_request_may_come_again() {
    let mut bench = Bench::json();
    bench.fault(r#"[{"status":503,"count":1,"retry_after":"1","body":"later"},{"drop":true,"count":1},{"hang":true,"count":1}]"#);
    let Reply::Answer(answer) = bench.v1(&[(1, 1.0)]) else { panic!("no answer") };
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (503, "later"));
    assert_eq!(answer.headers[0].1, "1");
    assert_eq!(bench.v1(&[(1, 1.0)]), Reply::Drop);
    assert_eq!(bench.v1(&[(1, 1.0)]), Reply::Hang);
    assert_eq!(bench.samples(), 0);
    assert_eq!(status(&bench.v1(&[(1, 1.0)])), 204);
    let lines = bench.out.json();
    let ends: Vec<_> = lines.iter().filter(|line| line.get("stored").is_some()).collect();
    assert_eq!(ends[1]["status"], Value::Null);
    assert_eq!(ends[1]["fault"], "drop");
    assert_eq!((bench.samples(), lines.len()), (1, 5));
    let stats = bench.receiver.stats();
    assert_eq!(stats["by_status"], json!({"503": 1, "drop": 1, "hang": 1, "204": 1}));
    assert_eq!(stats["violations"], 0);
}

#[test]
fn a_lost_answer_means_that_the_request_comes_twice() {
    let mut bench = Bench::json();
    bench.fault("drop=true,store=true,count=1");
    assert_eq!(bench.v1(&[(1, 1.0)]), Reply::Drop);
    assert_eq!(bench.samples(), 1);
    assert_eq!(status(&bench.v1(&[(1, 1.0)])), 204);
    assert_eq!(bench.receiver.stats()["violations_by_kind"], json!({"duplicate": 1}));
}

#[test]
fn a_planned_success_has_to_be_deserved() {
    let mut bench = Bench::json();
    bench.fault("status=200,body=fine");
    let reply = bench.send(&headers(CONTENT_TYPE_V2), &body_v2(&[(1, 1.0)]));
    assert_eq!((status(&reply), written(&reply), bench.samples()), (200, Some("1"), 1));
    assert_eq!(status(&bench.send(&headers(CONTENT_TYPE_V1), b"junk")), 400);
}

#[test]
fn a_failure_to_write_is_noted_once() {
    struct Broken;
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let sinks = Sinks { out: Box::new(Broken), warnings: Box::new(io::sink()) };
    let options = Options { json: true, ..Options::default() };
    let mut bench = Bench { receiver: Receiver::new(options, sinks, Instant::now()), ..Bench::json() };
    bench.v1(&[(1, 1.0)]);
    assert_eq!(bench.receiver.take_failure().unwrap().kind(), io::ErrorKind::BrokenPipe);
    assert!(bench.receiver.take_failure().is_none());
}

#[test]
fn warnings_take_rows_from_the_screen() {
    let mut bench = Bench::new(Options { rows: 3, ..Options::default() });
    bench.v1(&[(1000, 1.0)]);
    let calm = bench.receiver.screen(2000);
    assert!(calm.starts_with("   samples") && calm.contains("power{zone"), "{calm}");
    for _ in 0..9 {
        bench.send(&headers("text/plain"), b"");
    }
    let screen = bench.receiver.screen(2000);
    assert_eq!(screen.lines().filter(|line| line.starts_with("warning: ")).count(), MAX_WARNINGS);
    assert!(screen.lines().count() <= 3 + MAX_WARNINGS, "{screen}");
}
