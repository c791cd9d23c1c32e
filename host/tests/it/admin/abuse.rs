//! A thousand slow, broken and greedy clients of the admin page: the push path goes on, the memory stays, and whoever asks
//! as one should is answered.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use super::{Page, shown};
use crate::faults::{LONG, host, stop};
use crate::memory::{SLACK_KIB, memory_kib};
use crate::sink::{Request, Sink};

/// Clients in all.
const CLIENTS: usize = 1000;

/// Of these, so many are at work at a time.
const AT_ONCE: usize = 400;

/// What lies between two pushes, where there is nothing to wait for.
const PUSH_MS: i64 = 200;

/// What one of them does, by its number. Returns the connection while it is still to be held.
fn misbehave(address: &str, number: usize) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(address).ok()?;
    let long = "x".repeat(1 << 20);
    let sent = match number % 8 {
        // Nothing at all; half a line; half a head.
        0 => Ok(()),
        1 => stream.write_all(b"GET /met"),
        2 => stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: "),
        // No HTTP; a line, a header, a number of headers without end.
        3 => stream.write_all(&[0x16, 0x03, 0x01, 0xff, 0x00, b'\r', b'\n', b'\r', b'\n']),
        4 => stream.write_all(format!("GET /{long} HTTP/1.1\r\n\r\n").as_bytes()),
        5 => stream.write_all(format!("GET /live HTTP/1.1\r\nX: {long}\r\n\r\n").as_bytes()),
        6 => stream.write_all(format!("GET /live HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(10_000)).as_bytes()),
        // An answer that nobody reads, and a body that is never wanted.
        _ => stream.write_all(b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\n0123456789"),
    };
    // Who is cut off in the middle has what he wanted.
    sent.is_ok().then_some(stream)
}

/// The gaps between requests, in milliseconds: their median, and the longest.
fn gaps(requests: &[Request]) -> (i64, i64) {
    let mut gaps: Vec<i64> = requests.windows(2).map(|pair| pair[1].received_ms - pair[0].received_ms).collect();
    gaps.sort_unstable();
    (gaps[gaps.len() / 2], gaps[gaps.len() - 1])
}

#[test]
fn a_thousand_bad_clients_cost_neither_samples_nor_memory() {
    let sink = Sink::start();
    let running = shown(host(sink.url())).spawn();
    let page = Page::of(&running);
    page.until("/ready", |answer| answer.status == 200);
    (0..20).for_each(|_| _ = page.numbers());
    let calm = sink.wait_requests(10, LONG);
    let before_kib = memory_kib(running.pid(), "VmRSS");

    let began = Instant::now();
    let mut held = Vec::new();
    for number in 0..CLIENTS {
        held.extend(misbehave(page.address(), number));
        if held.len() > AT_ONCE {
            held.remove(0);
        }
        if number % 100 == 99 {
            let asked = Instant::now();
            assert_eq!(page.get("/live").status, 200);
            assert!(asked.elapsed() < LONG, "{number}: {:?}", asked.elapsed());
        }
    }
    let took = began.elapsed();
    let during_kib = memory_kib(running.pid(), "VmHWM");
    // Silent ones make room for others, or are too slow at last.
    let cut_off = page.until_number(r#"admin_connections_total{result="cut_off"}"#, |connections| connections > 50.0);
    let broken = page.until_number(r#"admin_connections_total{result="broken"}"#, |connections| connections > 50.0);
    for mut silent in held {
        // Whatever they still hold is ended by the page itself.
        silent.set_read_timeout(Some(LONG)).expect("a timeout");
        let _ = silent.read_to_end(&mut Vec::new());
    }
    page.until_number("process_open_fds", |fds| fds < 30.0);
    assert!(during_kib < before_kib + SLACK_KIB, "{before_kib} KiB, then {during_kib} KiB");

    // It delivered all the while, at its own pace.
    let ledger = stop(&running);
    assert_eq!((ledger.dropped, ledger.delivered), (0, ledger.collected), "{ledger:?}");
    let (usual, _) = gaps(&calm[1..]);
    let (median, longest) = gaps(&sink.requests()[10..]);
    eprintln!(
        "{CLIENTS} clients in {took:?}: {cut_off} cut off, {broken} broken; {before_kib} KiB, {during_kib} KiB; \
         pushes each {usual} ms before, {median} ms (longest {longest} ms) meanwhile"
    );
    let is_at_its_pace = median <= 4 * usual.max(PUSH_MS) && longest < LONG.as_millis() as i64;
    assert!(is_at_its_pace, "{usual} ms, {median} ms, {longest} ms");
}

#[test]
fn no_answer_gives_a_secret_away() {
    let sink = Sink::start();
    let with_secrets = sink.url().replace("http://", "http://user:pass-of-url@") + "?token=query-secret";
    let running = shown(host(&with_secrets))
        .env("SELF_METRICS", "both")
        .env("REMOTE_WRITE_HEADERS", "X-Key=header-secret")
        .env("HTTP_PROXY", "http://user:proxy-secret@127.0.0.1:9")
        .env("NO_PROXY", "127.0.0.1")
        .spawn();
    let page = Page::of(&running);
    page.until("/ready", |answer| answer.status == 200);
    // Each answer is looked through.
    for path in [
        "/",
        "/live",
        "/ready",
        "/metrics",
        "/nothing",
        "/?token=x",
        "/script.js",
        "/status.json",
        "/series.json?limit=200",
        "/history.json?id=0",
    ] {
        for accept in ["", "application/openmetrics-text"] {
            page.ask("GET", path, &[("Accept", accept)]);
        }
        page.ask("POST", path, &[]);
    }
    // A receiver that repeats what it was sent; its words stand on the status page, with the settings.
    sink.answer(serde_json::json!({"status": 503, "body": "no header-secret, no query-secret, no pass-of-url"}));
    let told = page.until("/status.json", |answer| answer.body.contains("HTTP 503"));
    assert!(told.body.contains("REMOTE_WRITE_HEADERS") && told.body.contains("?***"), "{told:?}");
    sink.answer_as_usual();
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        running.assert_no_secret_in("an answer with header-secret in it");
    }));
    assert!(found.is_err(), "they are looked for");
    // What it pushes is looked through too.
    let all = format!("{:?}", sink.wait_samples(100, LONG));
    running.assert_no_secret_in(&all);
}
