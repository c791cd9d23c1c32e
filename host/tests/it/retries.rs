//! What is tried again: the same bytes, after a growing gap, and nothing overtakes.

use serde_json::json;

use crate::drive::now_ms;
use crate::faults::{LONG, assert_all_arrived, host, stop, wait_for_text};
use crate::receivers::port::Port;
use crate::sink::{Request, Sink};
use crate::stub::Stub;

/// The gaps between one batch's attempts, in milliseconds, as the receiver saw them.
fn gaps(requests: &[Request]) -> Vec<i64> {
    requests.windows(2).map(|pair| pair[1].received_ms - pair[0].received_ms).collect()
}

/// `attempts` requests in a row are the attempts of one batch, counted; the others had one attempt each.
#[track_caller]
fn assert_attempts(requests: &[Request], from: usize, attempts: usize) {
    let tried = &requests[from..from + attempts];
    let same = tried.iter().all(|one| (one.bytes, one.samples) == (tried[0].bytes, tried[0].samples));
    assert!(same, "{tried:?}");
    let counted: Vec<_> = requests.iter().map(|request| request.attempt.unwrap_or(0)).collect();
    let mut expected = vec![0; requests.len()];
    expected[from..from + attempts].iter_mut().zip(0..).for_each(|(attempt, count)| *attempt = count);
    assert_eq!(counted, expected);
}

#[test]
fn what_may_pass_is_tried_again_after_growing_gaps() {
    let sink = Sink::start();
    let status = |status| json!({"status": status, "body": "not now", "count": 1});
    let asks = json!({"status": 429, "retry_after": 1, "count": 1});
    sink.answer(json!([{"count": 1}, status(500), status(502), status(503), status(504), asks]));
    let running = host(sink.url()).spawn();
    sink.wait_requests(9, LONG);
    stop(&running);

    assert_all_arrived(&running, &sink);
    let requests = sink.requests();
    assert_attempts(&requests, 1, 6);
    // Each gap is at least twice what the one before had to be; the last one is what the receiver asked for. Two
    // milliseconds are for the clocks.
    let spaced = gaps(&requests[1..7]);
    assert!(spaced.iter().zip([30, 60, 120, 240, 1000]).all(|(gap, least)| gap + 2 >= least), "{spaced:?}");
    let told = wait_for_text(&running, "a push failed and will be tried again");
    assert!(told.level() == "WARNING" && told.message().contains("500") && told.message().contains("not now"));
    wait_for_text(&running, "the receiver takes samples again");
}

/// A moment as HTTP writes it, so many seconds from now, and the same in Unix milliseconds.
fn http_date(seconds: i64) -> (String, i64) {
    let second = now_ms() / 1000 + seconds;
    let moment = jiff::Timestamp::from_second(second).unwrap();
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&moment);
    (date.unwrap(), second * 1000)
}

#[test]
fn a_date_to_try_again_is_kept_to_and_one_in_the_past_is_not() {
    let (later, later_ms) = http_date(4);
    let (past, _) = http_date(-3600);
    let asks = |date: &str| json!({"status": 503, "headers": {"Retry-After": date}, "count": 1});
    let sink = Sink::start();
    sink.answer(json!([asks(&past), asks("soon"), asks(&later)]));
    let running = host(sink.url()).spawn();
    let requests = sink.wait_requests(5, LONG);
    stop(&running);
    assert_all_arrived(&running, &sink);
    assert_attempts(&sink.requests(), 0, 4);
    // A starved machine makes each gap longer, but not by what the past is away.
    let spaced = gaps(&requests[..3]);
    assert!(spaced.iter().all(|gap| (28..30_000).contains(gap)), "{spaced:?}");
    assert!(requests[3].received_ms >= later_ms - 5, "{requests:?}");
}

#[test]
fn what_a_receiver_asks_for_is_bounded() {
    let sink = Sink::start();
    sink.answer(json!({"status": 429, "retry_after": 86_400, "count": 1}));
    let running = host(sink.url()).spawn();
    let told = wait_for_text(&running, "a push failed and will be tried again");
    assert_eq!(told.json["retry_in_s"].as_f64(), Some(300.0), "{}", told.text);
    // The end of the run does not wait for it.
    stop(&running);
    assert_all_arrived(&running, &sink);
}

#[test]
fn a_retry_sends_the_same_bytes() {
    let stub = Stub::start(|count| if count < 3 { "503 Busy".into() } else { "204 No Content".into() });
    let running = host(&stub.url()).spawn();
    stub.wait_requests(5, LONG);
    let ledger = stop(&running);
    assert_eq!((ledger.dropped, ledger.delivered), (0, ledger.collected));

    let requests = stub.wait_requests(5, LONG);
    assert!(requests[1..4].iter().all(|request| request.body == requests[0].body));
    assert_ne!(requests[4].body, requests[0].body);
    let attempts: Vec<_> = requests[..5].iter().map(|request| request.header("retry-attempt")).collect();
    assert_eq!(attempts, [None, Some("1"), Some("2"), Some("3"), None]);
    for request in requests {
        let headers = ["content-type", "content-encoding", "x-prometheus-remote-write-version"];
        let values = headers.map(|name| request.header(name).unwrap_or_default());
        assert_eq!(values, ["application/x-protobuf", "snappy", "0.1.0"]);
        assert!(request.head.starts_with("post /api/v1/write http/1.1"), "{}", request.head);
        assert!(request.header("user-agent").is_some_and(|agent| agent.starts_with("monitor-host/")));
    }
}

#[test]
fn a_connection_that_drops_is_no_answer() {
    let sink = Sink::start();
    sink.answer(json!([{"count": 1}, {"drop": true, "count": 3}]));
    let running = host(sink.url()).spawn();
    sink.wait_requests(7, LONG);
    stop(&running);
    assert_all_arrived(&running, &sink);
    assert_attempts(&sink.requests(), 1, 4);
}

#[test]
fn a_receiver_that_hangs_costs_its_timeout() {
    let sink = Sink::start();
    sink.answer(json!({"hang": true, "count": 2}));
    let running = host(sink.url()).env("REMOTE_WRITE_TIMEOUT_S", "1").spawn();
    sink.wait_requests(5, LONG);
    stop(&running);
    assert_all_arrived(&running, &sink);
    let requests = sink.requests();
    assert_attempts(&requests, 0, 3);
    // The timeout begins when a request is begun, which a busy receiver sees later: hence half of it.
    assert!(gaps(&requests[..3]).iter().all(|&gap| gap >= 500), "{requests:?}");
}

#[test]
fn a_receiver_that_comes_later_gets_it_all() {
    let port = Port::reserve().unwrap();
    let running = host(&format!("http://{}/api/v1/write", port.address())).spawn();
    let told = wait_for_text(&running, "a push failed and will be tried again");
    assert!(told.message().contains("refused"), "{}", told.text);
    let sink = Sink::start_at(&port.address().to_string());
    sink.wait_requests(5, LONG);
    stop(&running);
    assert_all_arrived(&running, &sink);
    assert!(sink.requests()[0].attempt.is_some_and(|attempt| attempt > 0));
}
