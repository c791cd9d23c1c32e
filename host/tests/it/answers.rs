//! What a receiver can answer that ends the matter: a batch is delivered or refused, once.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::access::front::{Front, TAKEN};
use crate::faults::{LONG, assert_all_arrived, host, lines, numbers, stop, wait_for_text};
use crate::sink::Sink;
use crate::stub::Stub;

#[test]
fn a_refused_batch_is_told_counted_and_never_repeated() {
    let sink = Sink::start();
    let refusals = [
        (400, "out of bounds: the sample is too far in the past"),
        (401, "who are you?"),
        (404, "no such page"),
        (413, "too large for me"),
        (301, "moved, says the body"),
    ];
    // Each of them among good ones.
    sink.answer(json!({"count": 1}));
    for (status, words) in refusals {
        let location = if status == 301 { json!({"Location": "http://elsewhere.test/write"}) } else { json!({}) };
        sink.answer(json!([{"status": status, "body": words, "headers": location, "count": 1}, {"count": 1}]));
    }
    let running = host(sink.url()).spawn();
    sink.wait_requests(2 * refusals.len() + 2, LONG);
    let ledger = stop(&running);

    let requests = sink.requests();
    assert!(requests.iter().all(|request| request.attempt.is_none()), "{requests:?}");
    let statuses: Vec<_> = requests.iter().filter_map(|request| request.status).collect();
    assert_eq!(statuses[..10], [204, 400, 204, 401, 204, 404, 204, 413, 204, 301]);
    assert!(statuses[10..].iter().all(|&status| status == 204), "{statuses:?}");

    // All others have arrived, and what is missing is what was refused: one gap for each, as long as its batch.
    let refused: Vec<_> = requests.iter().filter(|request| request.status != Some(204)).map(|r| r.samples).collect();
    assert_eq!((ledger.dropped_as("refused"), ledger.dropped), (refused.iter().sum(), refused.iter().sum()));
    let arrived = numbers(&sink, &ledger);
    let gaps: Vec<_> = arrived.windows(2).map(|pair| pair[1] - pair[0] - 1).filter(|&gap| gap > 0).collect();
    assert_eq!(gaps, refused);
    assert_eq!((arrived.first(), arrived.last()), (Some(&1), Some(&ledger.collected)));
    assert_eq!(sink.violations(), []);

    let told = lines(&running, "ERROR");
    assert_eq!(told.len(), refusals.len(), "{}", running.log_text());
    for ((line, (status, words)), samples) in told.iter().zip(refusals).zip(refused) {
        let message = line.message();
        assert!(message.contains(words) && message.contains(&format!("HTTP {status}")), "{}", line.text);
        assert!(message.contains("http://elsewhere.test/write") == (status == 301), "{}", line.text);
        assert_eq!((line.field("reason"), line.json["samples"].as_u64()), ("refused", Some(samples)));
        assert!(line.json["hint"].is_null(), "{}", line.text);
    }
}

#[test]
fn a_refusal_after_a_lost_answer_says_that_it_may_have_been_stored() {
    for (lost, is_hinted) in
        [(json!({"drop": true}), true), (json!({"status": 502}), true), (json!({"status": 503}), false)]
    {
        let sink = Sink::start();
        let mut lost_once = lost.clone();
        lost_once["count"] = 1.into();
        let refused = json!({"status": 400, "body": "out of order sample", "count": 1});
        sink.answer(json!([{"count": 1}, lost_once, refused, {"count": 1}, refused]));
        let running = host(sink.url()).spawn();
        sink.wait_requests(6, LONG);
        let ledger = stop(&running);
        let requests = sink.requests();
        assert_eq!((requests[1].samples, requests[2].attempt), (requests[2].samples, Some(1)), "{requests:?}");
        assert_eq!(ledger.dropped_as("refused"), requests[2].samples + requests[4].samples);
        let hints: Vec<_> = lines(&running, "ERROR").iter().map(|line| line.json["hint"].to_string()).collect();
        assert_eq!(hints[0].contains("an earlier attempt may have been stored"), is_hinted, "{lost}: {hints:?}");
        // It is about that batch alone.
        assert_eq!(hints[1], "null");
    }
}

#[test]
fn a_redirect_that_keeps_the_body_is_followed() {
    let sink = Sink::start();
    let elsewhere = sink.url().to_owned();
    let stub = Stub::start(move |count| {
        let status = if count % 2 == 0 { "307 Temporary Redirect" } else { "308 Permanent Redirect" };
        format!("{status}\r\nLocation: {elsewhere}")
    });
    let running = host(&stub.url()).spawn();
    stub.wait_requests(3, LONG);
    stop(&running);
    assert_all_arrived(&running, &sink);
    assert!(sink.requests().iter().all(|request| request.attempt.is_none()), "{:?}", sink.requests());
}

#[test]
fn a_long_answer_is_cut_short_in_the_log() {
    let sink = Sink::start();
    // Longer than what is read of an answer, which is longer than what is shown of it.
    sink.answer(json!({"status": 400, "body": "words ".repeat(10_000), "count": 1}));
    let running = host(sink.url()).spawn();
    sink.wait_requests(3, LONG);
    let ledger = stop(&running);
    assert_eq!(ledger.dropped, sink.requests()[0].samples, "{ledger:?}");
    let told = lines(&running, "ERROR");
    assert_eq!(told.len(), 1);
    assert!((500..1500).contains(&told[0].text.len()), "{}", told[0].text);
}

#[test]
fn an_answer_is_never_unpacked() {
    // What it would be unpacked to is the receiver's choice.
    let front = Front::answering(|_| {
        "HTTP/1.1 400 Bad Request\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\nas it is.".to_owned()
    });
    let running = host(&front.url("http://localhost")).spawn();
    let heard = front.wait(|_| true);
    assert_eq!(heard.all("accept-encoding"), [""; 0]);
    let told = wait_for_text(&running, "refused a batch for good");
    assert!(told.message().ends_with("as it is."), "{}", told.text);
    stop(&running);
}

#[test]
fn a_connection_outlives_every_answer_that_is_not_too_long() {
    // As much as is read, less than is shown, and more than anybody wants.
    for (length, connections) in [(64 * 1024, 1), (100, 1), (256 * 1024, 5)] {
        let words = "w".repeat(length);
        let statuses = ["400 Bad Request", "503 Busy", "429 Slow Down", "200 OK"];
        let asked = AtomicUsize::new(0);
        let front = Front::answering(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
            count @ 0..4 => format!("HTTP/1.1 {}\r\nContent-Length: {length}\r\n\r\n{words}", statuses[count]),
            _ => TAKEN.to_owned(),
        });
        let running = host(&front.url("http://localhost")).spawn();
        wait_for_text(&running, "takes samples again");
        front.wait_after(6, |_| true);
        let ledger = stop(&running);
        // What the receiver says besides a success is not interpreted, however long it is.
        assert_eq!(ledger.dropped, ledger.dropped_as("refused"), "{ledger:?}");
        assert_eq!(front.connections(), connections, "{length} bytes in each answer");
    }
}
