//! Which version of remote write a receiver gets, and what its answers to 2.0 mean.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use monitor_proto::{CONTENT_TYPE_V2, VERSION_V2, v2};
use prost::Message;
use serde_json::{Value, json};

use crate::drive;
use crate::faults::{self, LONG, assert_all_arrived, books, lines, numbers, raw, stop, wait_for_text};
use crate::host::{Host, Line, Running};
use crate::receivers::port::Port;
use crate::receivers::{Kind, Receiver};
use crate::sink::{Request, Sink};
use crate::stub::{self, Stub};

/// So many failures make `auto` try 1.0 too.
const PATIENCE: usize = 3;

fn auto(url: &str) -> Host {
    faults::host(url).env("REMOTE_WRITE_PROTOCOL", "auto")
}

fn is_choice(line: &Line) -> bool {
    line.level() == "INFO" && line.message().starts_with("the receiver does not confirm remote write 2.0")
}

/// How often the log says that 1.0 was chosen.
fn choices(running: &Running) -> usize {
    running.log().iter().filter(|line| is_choice(line)).count()
}

/// The versions of the requests, each with how many came in a row.
fn versions(requests: &[Request]) -> Vec<(&str, usize)> {
    let all = requests.iter().map(|request| request.protocol.as_deref().unwrap_or("none"));
    all.fold(Vec::new(), |mut rows: Vec<(&str, usize)>, version| {
        match rows.last_mut() {
            Some((same, count)) if *same == version => *count += 1,
            _ => rows.push((version, 1)),
        }
        rows
    })
}

#[test]
fn auto_loses_nothing_at_any_real_receiver() {
    drive::in_parallel(Kind::ALL, |kind| {
        let Some(receiver) = Receiver::start(kind) else {
            return;
        };
        let host = drive::host("monitor-fault", &receiver.write_url()).env("FAULT_SERIES", "5");
        let host = host.env("PUSH_INTERVAL_S", "0.5").env("REMOTE_WRITE_PROTOCOL", "auto").spawn();
        let mut delivered = 0;
        let tenth = |line: &Line| {
            delivered += u64::from(drive::is_delivered(line));
            delivered >= 10
        };
        host.wait_for_log(tenth, LONG);
        let (ledger, readings) = drive::stop(&host);
        drive::assert_all_delivered(&ledger);
        assert_eq!(ledger.collected, readings * 5);
        let arrived = receiver.range("fault_number");
        assert_eq!(arrived.len(), 5, "{arrived:?}");
        arrived.iter().for_each(|series| drive::assert_numbered(&series.samples, readings));

        // The choice is told once: 1.0 when it is made, 2.0 when it has proved itself.
        let expected = if kind == Kind::Prometheus3 { ("2.0", 0) } else { ("1.0", 1) };
        let first = wait_for_text(&host, "the first batch is delivered");
        assert_eq!((first.field("protocol"), choices(&host)), expected, "{}", host.log_text());
    });
}

/// A receiver answers the first requests as told, then as the Sink does. All arrives, as 1.0 from the request behind the
/// first `tried` on.
fn falls_to_1_0(sink: &Sink, answers: Value, tried: usize) -> Running {
    if !answers.is_null() {
        sink.answer(answers);
    }
    let running = auto(sink.url()).spawn();
    sink.wait_requests(tried + 5, LONG);
    stop(&running);
    assert_all_arrived(&running, sink);
    let requests = sink.requests();
    assert_eq!(versions(&requests), [("2.0", tried), ("1.0", requests.len() - tried)]);
    // What was not understood is the first that comes as 1.0; who takes 1.0 only does not count what is in it.
    let same = |request: &Request| request.error.is_some() || request.samples == requests[tried].samples;
    assert!(requests[..tried].iter().all(same), "{requests:?}");
    assert_eq!(choices(&running), 1, "{}", running.log_text());
    assert_eq!(lines(&running, "ERROR").len(), 0, "{}", running.log_text());
    running
}

#[test]
fn a_receiver_that_takes_2_0_for_nothing_gets_1_0() {
    falls_to_1_0(&Sink::reading("legacy"), Value::Null, 1);
    falls_to_1_0(&Sink::reading("1.0"), Value::Null, 1);
}

#[test]
fn a_receiver_that_refuses_2_0_gets_1_0() {
    for status in [415, 400] {
        let running = falls_to_1_0(&Sink::start(), json!({"status": status, "body": "what is this?", "count": 1}), 1);
        let told = running.wait_for_log(is_choice, LONG);
        assert!(told.field("answer").contains("what is this?") && told.json["hint"].is_null(), "{}", told.text);
    }
}

#[test]
fn three_failures_before_2_0_was_confirmed_are_enough() {
    let running = falls_to_1_0(&Sink::start(), json!({"status": 503, "count": PATIENCE}), PATIENCE);
    // It may only have been starting: the line says what it was taken for, and what to do.
    let told = running.wait_for_log(is_choice, LONG);
    let hint = told.field("hint");
    assert!(hint.contains("three failures") && hint.contains("REMOTE_WRITE_PROTOCOL=2.0"), "{}", told.text);
    falls_to_1_0(&Sink::start(), json!({"drop": true, "count": PATIENCE}), PATIENCE);
    // The gap that the receiver asked for holds for 1.0 too.
    let sink = Sink::start();
    falls_to_1_0(&sink, json!({"status": 429, "retry_after": 1, "count": PATIENCE}), PATIENCE);
    let requests = sink.requests();
    let gaps: Vec<_> = requests[..=PATIENCE].windows(2).map(|pair| pair[1].received_ms - pair[0].received_ms).collect();
    assert!(gaps.iter().all(|gap| *gap >= 995), "{gaps:?}");
}

#[test]
fn a_receiver_that_is_down_is_not_taken_for_one_of_1_0() {
    let port = Port::reserve().unwrap();
    let running = auto(&format!("http://{}/api/v1/write", port.address())).spawn();
    wait_for_text(&running, "a push failed and will be tried again");
    // A refused connection is seen by nobody: five take less than a second by the gaps between them.
    thread::sleep(Duration::from_secs(2));
    let sink = Sink::start_at(&port.address().to_string());
    sink.wait_requests(5, LONG);
    stop(&running);
    assert_all_arrived(&running, &sink);
    let requests = sink.requests();
    assert!(requests[0].attempt > Some(PATIENCE as u64), "{:?}", requests[0]);
    assert_eq!(versions(&requests), [("2.0", requests.len())]);
    assert_eq!(choices(&running), 0, "{}", running.log_text());
}

#[test]
fn a_refusal_is_final_once_2_0_is_confirmed() {
    let sink = Sink::start();
    let poison = json!({"status": 400, "body": "out of bounds", "count": 1});
    sink.answer(json!([{"count": 2}, poison, {"count": 2}, {"status": 503, "count": 5}]));
    let running = auto(sink.url()).spawn();
    sink.wait_requests(13, LONG);
    let ledger = stop(&running);

    let requests = sink.requests();
    assert_eq!(versions(&requests), [("2.0", requests.len())], "nor do failures count any more");
    let statuses: Vec<_> = requests[..6].iter().map(|request| request.status).collect();
    assert_eq!(statuses, [204, 204, 400, 204, 204, 503].map(Some));
    assert_eq!((ledger.dropped_as("refused"), ledger.dropped), (requests[2].samples, requests[2].samples));
    let missing: BTreeSet<u64> = (1..=raw(&running, "raw_sent")).collect();
    let missing = missing.difference(&numbers(&sink, &ledger).into_iter().collect()).count();
    assert_eq!(missing as u64, requests[2].samples, "all others have arrived");
    let told = lines(&running, "ERROR");
    assert!(told.len() == 1 && told[0].message().contains("HTTP 400 Bad Request: out of bounds"), "{told:?}");
    assert_eq!((choices(&running), sink.violations()), (0, vec![]));
}

#[test]
fn a_confirmed_receiver_that_understands_no_more_gets_1_0() {
    let sink = Sink::start();
    sink.answer(json!([{"count": 2}, {"status": 415, "count": 1}]));
    let running = auto(sink.url()).spawn();
    sink.wait_requests(6, LONG);
    stop(&running);
    assert_all_arrived(&running, &sink);
    let requests = sink.requests();
    assert_eq!(versions(&requests), [("2.0", 3), ("1.0", requests.len() - 3)]);
}

#[test]
fn where_only_2_0_is_wanted_a_receiver_without_it_is_told() {
    for receiver in ["legacy", "1.0"] {
        let sink = Sink::reading(receiver);
        let running = faults::host(sink.url()).env("REMOTE_WRITE_PROTOCOL", "2.0").spawn();
        sink.wait_requests(4, LONG);
        let ledger = stop(&running);
        assert!(ledger.collected > 0 && ledger.collected == raw(&running, "raw_sent"));
        assert_eq!((ledger.delivered, ledger.dropped_as("refused")), (0, ledger.collected), "{ledger:?}");
        let requests = sink.requests();
        assert!(requests.iter().all(|request| !request.stored && request.attempt.is_none()), "{requests:?}");
        assert_eq!(versions(&requests), [("2.0", requests.len())]);
        let told = lines(&running, "ERROR");
        assert_eq!(told.len(), requests.len());
        for line in told {
            assert!(line.message().contains("set REMOTE_WRITE_PROTOCOL=auto"), "{receiver}: {}", line.text);
        }
    }
}

/// How many samples a 2.0 request carries.
fn samples(request: &stub::Request) -> u64 {
    let message = snap::raw::Decoder::new().decompress_vec(&request.body).expect("snappy");
    let request = v2::Request::decode(message.as_slice()).expect("a 2.0 request");
    request.timeseries.iter().map(|series| series.samples.len() as u64).sum()
}

fn with_written(status: &str, samples: &str) -> String {
    format!("{status}\r\nX-Prometheus-Remote-Write-Samples-Written: {samples}")
}

#[test]
fn what_was_written_is_what_the_headers_say() {
    for (status, said, written, reason) in [
        ("200 OK", "3", 3, "partial_write"),
        ("204 No Content", "0", 0, "partial_write"),
        // Something was said, but not what.
        ("200 OK", "some", 0, "partial_write"),
        ("400 Bad Request", "3", 3, "refused"),
        ("400 Bad Request", "0", 0, "refused"),
        // More than was sent is all of it.
        ("200 OK", "99999", u64::MAX, "partial_write"),
    ] {
        let answer = with_written(status, said);
        let stub = Stub::start(move |_| answer.clone());
        let running = auto(&stub.url()).spawn();
        stub.wait_requests(4, LONG);
        let ledger = stop(&running);
        let sent: Vec<u64> = stub.wait_requests(4, LONG).iter().map(samples).collect();
        let kept: u64 = sent.iter().map(|&sent| sent.min(written)).sum();
        let lost = sent.iter().sum::<u64>() - kept;
        assert_eq!((ledger.delivered, ledger.dropped), (kept, lost), "{status} {said}: {sent:?}");
        assert_eq!(ledger.dropped_as(reason), lost, "{status} {said}: {ledger:?}");
        assert!(written == u64::MAX || lost > 0, "batches of more than three: {sent:?}");
        let told = lines(&running, "ERROR");
        let told: u64 = told.iter().map(|line| drive::number(line, "samples")).sum();
        assert_eq!(told, lost, "{}", running.log_text());
    }
}

#[test]
fn a_retry_of_2_0_sends_the_same_bytes() {
    let stub = Stub::start(|count| match count {
        1..=3 => "503 Busy".to_owned(),
        _ => with_written("204 No Content", "99999"),
    });
    let running = auto(&stub.url()).spawn();
    stub.wait_requests(6, LONG);
    let ledger = stop(&running);
    assert_eq!((ledger.dropped, ledger.delivered), (0, raw(&running, "raw_sent")));
    let requests = stub.wait_requests(6, LONG);
    let attempts: Vec<_> = requests[..6].iter().map(|request| request.header("retry-attempt")).collect();
    assert_eq!(attempts, [None, None, Some("1"), Some("2"), Some("3"), None]);
    assert!(requests[2..5].iter().all(|request| request.body == requests[1].body));
    assert_ne!(requests[5].body, requests[1].body);
    assert_eq!(requests.iter().map(samples).sum::<u64>(), ledger.delivered + 3 * samples(&requests[1]));
    for request in requests {
        let headers = ["content-type", "content-encoding", "x-prometheus-remote-write-version"];
        let values = headers.map(|name| request.header(name).unwrap_or_default());
        assert_eq!(values, [&*CONTENT_TYPE_V2.to_ascii_lowercase(), "snappy", VERSION_V2]);
    }
}

#[test]
fn batches_that_waited_as_2_0_arrive_as_1_0() {
    let port = Port::reserve().unwrap();
    let address = port.address().to_string();
    let newer = Sink::start_at(&address);
    newer.answer(json!([{"count": 3}, {"status": 503}]));
    let running = auto(newer.url()).env("FAULT_SERIES", "3").env("EXTERNAL_LABELS", "site=ü").spawn();
    // By the fifth attempt half a second has passed, and two batches more wait.
    newer.wait_requests(3 + 5, LONG);
    let arrived = newer.series();
    drop(newer);
    let older = Sink::start_with(&address, "legacy");
    older.wait_requests(8, LONG);
    stop(&running);

    let ledger = books(&running);
    let readings = raw(&running, "raw_sent");
    assert_eq!((ledger.collected, ledger.delivered), (3 * readings, 3 * readings), "{ledger:?}");
    let before: usize = arrived.values().map(Vec::len).sum();
    older.wait_samples(ledger.delivered as usize - before, LONG);
    let later = older.series();
    assert_eq!(later.keys().collect::<Vec<_>>(), arrived.keys().collect::<Vec<_>>(), "the same labels");
    for (labels, before) in &arrived {
        let all = [&before[..], &later[labels]].concat();
        drive::assert_numbered(&all, readings);
        drive::assert_increasing(&all);
    }
    let requests = older.requests();
    assert_eq!(versions(&requests), [("2.0", 1), ("1.0", requests.len() - 1)], "found out once");
    assert_eq!((choices(&running), older.violations()), (1, vec![]));
}
