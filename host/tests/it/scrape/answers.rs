//! What becomes of each answer that a target can give; all targets of one host, so that none may spoil another.

use std::io::Write;
use std::process::{Command, Stdio};

use signal_hook::consts::SIGTERM;

use super::exposer::{Answer, Exposer, OPENMETRICS};
use super::{host, of};
use crate::faults::{LONG, books, raw, stop};
use crate::memory::memory_kib;
use crate::receivers::port::Port;
use crate::sink::Sink;
use crate::stub::Stub;

/// A plain exposition.
const PLAIN: &str = "# TYPE a gauge\na 1\nb 2\n";

/// By the program that every system has.
fn gzip(text: &[u8]) -> Vec<u8> {
    let mut child = Command::new("gzip").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("gzip");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(text).expect("gzip reads"));
        child.wait_with_output().expect("gzip ends").stdout
    })
}

fn gzipped(body: impl AsRef<[u8]>) -> Answer {
    Answer::with("200 OK", "Content-Encoding: gzip\r\n", body)
}

/// A target, how many samples it has if it works, and what is said of it if not.
struct Case {
    name: &'static str,
    target: String,
    instance: String,
    expected: Result<u64, &'static str>,
    _exposer: Option<Exposer>,
}

fn case(name: &'static str, answer: Answer, expected: Result<u64, &'static str>) -> Case {
    let exposer = Exposer::always(answer);
    Case { name, target: exposer.url("/metrics"), instance: exposer.instance(), expected, _exposer: Some(exposer) }
}

#[test]
fn every_answer_is_taken_whole_or_refused_with_a_reason() {
    let plain = Exposer::always(Answer::text(PLAIN));
    let (elsewhere, round) = (format!("Location: {}\r\n", plain.url("/other")), "Location: /again\r\n");
    let packed = gzip(PLAIN.repeat(100).replace("a 1\nb 2\n", "").as_bytes());
    let long = format!("long{{text=\"{}\"}} 1\n", "x".repeat(10_000));
    let html = "<html><body>It works!</body></html>";
    let nobody = Port::reserve().unwrap();
    let protobuf = "application/vnd.google.protobuf; encoding=delimited";
    let mut cases = vec![
        case("plain", Answer::text(PLAIN), Ok(2)),
        case("no newline at the end", Answer::text(PLAIN.trim_end()), Ok(2)),
        case("no content type", Answer::with("200 OK", "", PLAIN), Ok(2)),
        case("empty", Answer::text(""), Ok(0)),
        case("gzip", gzipped(gzip(PLAIN.as_bytes())), Ok(2)),
        case("10 kB label", Answer::text(long), Ok(1)),
        case("redirect", Answer::with("302 Found", &elsewhere, ""), Ok(2)),
        case("OpenMetrics", Answer::of(OPENMETRICS, "# TYPE a gauge\na 1\n# EOF\n"), Ok(1)),
        case("redirects without end", Answer::with("301 Moved Permanently", round, ""), Err("too many redirects")),
        case("not found", Answer::with("404 Not Found", "", PLAIN), Err("HTTP status 404 Not Found")),
        case("no content", Answer::with("204 No Content", "", ""), Err("HTTP status 204 No Content")),
        case("truncated", Answer::text(PLAIN).without_last(3), Err("the answer broke off")),
        case("nothing", Answer::text("").without_last(200), Err("no answer")),
        case(
            "slow",
            Answer::text(PLAIN).hanging_before_last(3),
            Err("no whole answer within 0.8 s (SCRAPE_TIMEOUT_S)"),
        ),
        case("silent", Answer::text("").hanging_before_last(200), Err("no whole answer within 0.8 s")),
        case("truncated gzip", gzipped(&packed[..packed.len() - 5]), Err("the gzip of the body is damaged")),
        case("no gzip", gzipped(PLAIN), Err("the gzip of the body is damaged")),
        case("other packing", Answer::with("200 OK", "Content-Encoding: br\r\n", ""), Err("Content-Encoding \"br\"")),
        case("protocol buffers", Answer::of(protobuf, PLAIN), Err("only text can be read")),
        case("a page", Answer::of("text/html", html), Err("line 1: ")),
        case("malformed", Answer::text("a 1\nb 2\nc x\nd 4\n"), Err("line 3: ")),
        case("OpenMetrics without its end", Answer::of(OPENMETRICS, "a 1\n"), Err("# EOF")),
    ];
    cases.push(Case {
        name: "nobody",
        target: format!("{}", nobody.address()),
        instance: nobody.address().to_string(),
        expected: Err("Connection refused"),
        _exposer: None,
    });

    let sink = Sink::start();
    let targets: Vec<_> = cases.iter().map(|case| case.target.as_str()).collect();
    let host = host(sink.url(), &targets.join(" ")).env("SCRAPE_INTERVAL_S", "1").env("SCRAPE_TIMEOUT_S", "0.8");
    // A starved receiver takes its time over so much text.
    let running = host.env("SHUTDOWN_TIMEOUT_S", "50").spawn();
    let good = |case: &Case| if case.expected.is_ok() { 1.0 } else { 0.0 };
    sink.wait_for(LONG, "two scrapes of each target", |samples| {
        let ups: Vec<_> = samples.iter().filter(|sample| sample.metric == "up").collect();
        let scraped = |case: &Case| {
            ups.iter().filter(|up| up.labels["instance"] == case.instance && up.value == good(case)).count() >= 2
        };
        cases.iter().all(scraped)
    });
    running.signal(SIGTERM);
    assert_eq!(running.wait(LONG).code(), Some(0), "{}", running.log_text());
    let ledger = books(&running);
    assert_eq!((ledger.dropped, ledger.refused_sends), (0, 0), "{ledger:?}");
    let samples = sink.wait_samples(ledger.delivered as usize, LONG);
    assert_eq!(sink.violations(), []);

    for case in &cases {
        let of_target: Vec<_> = samples.iter().filter(|sample| sample.labels["instance"] == case.instance).collect();
        let ups: Vec<_> = of_target.iter().filter(|sample| sample.metric == "up").collect();
        let told = running.log().into_iter().filter(|line| line.text.contains(&case.instance)).collect::<Vec<_>>();
        match case.expected {
            Ok(exposed) => {
                let last = ups.iter().rfind(|up| up.value == 1.0).expect("it was waited for").timestamp_ms;
                let here = |sample: &&&&crate::sink::Sample| sample.timestamp_ms == last && !is_about(sample);
                assert_eq!(of_target.iter().filter(|sample| here(&sample)).count() as u64, exposed, "{}", case.name);
            }
            Err(says) => {
                assert!(of_target.iter().all(|sample| is_about(sample)), "{}", case.name);
                assert!(told.iter().any(|line| line.message().contains(says)), "{}: {told:?}", case.name);
                // Of a starved machine's target there may be other failures in between.
                let again = told.windows(2).find(|pair| pair[0].message() == pair[1].message());
                assert!(again.is_none(), "{}: said twice of {} scrapes: {told:?}", case.name, ups.len());
            }
        }
    }
    // Up to where it is malformed, as Prometheus counts.
    let malformed = &cases.iter().find(|case| case.name == "malformed").expect("a case").instance;
    let mut scraped = of(&sink, "scrape_samples_scraped");
    // None of a starved machine's scrape that had no answer in time.
    scraped.retain(|one| one.labels["instance"] == *malformed && one.value > 0.0);
    assert!(!scraped.is_empty() && scraped.iter().all(|one| one.value == 2.0), "{scraped:?}");
}

/// Whether a sample is about the scrape, not of it.
fn is_about(sample: &crate::sink::Sample) -> bool {
    sample.metric == "up" || sample.metric.starts_with("scrape_") || sample.metric.starts_with("monitor_scrape_")
}

#[test]
fn twelve_thousand_series_are_one_scrape() {
    let body: String = (0..12_000).map(|i| format!("many{{number=\"{i}\"}} {i}\n")).collect();
    let exposer = Exposer::always(gzipped(gzip(body.as_bytes())));
    // A starved machine's scrape may last longer than its interval.
    let whole = (0..3).any(|_| {
        // What a receiver makes of so much has tests of its own.
        let receiver = Stub::start(|_| "204 No Content".to_owned());
        let host = host(&receiver.url(), &exposer.url("/metrics")).env("REMOTE_WRITE_PROTOCOL", "1.0");
        let running = host.env("SCRAPE_INTERVAL_S", "1").env("BATCH_MAX_SAMPLES", "10000").spawn();
        receiver.wait_requests(5, LONG);
        let ledger = stop(&running);
        if running.log_text().contains("is not scraped") {
            return false;
        }
        let (scrapes, samples) = (raw(&running, "raw_sent"), 12_000 + 9);
        let collected = (scrapes * samples, scrapes * samples, 0);
        assert_eq!((ledger.collected, ledger.delivered, ledger.refused_sends), collected, "{ledger:?}");
        true
    });
    assert!(whole, "each time a scrape failed");
}

#[test]
fn a_hundred_megabytes_are_refused_and_never_held() {
    let line = "big{text=\"0123456789012345678901234567890123456789\"} 1\n";
    let body = line.repeat(100_000_000 / line.len() + 1);
    let bomb = Exposer::always(gzipped(gzip(body.as_bytes())));
    let plain = Exposer::always(Answer::text(&body));
    drop(body);
    let sink = Sink::start();
    let targets = format!("{} {}", plain.url("/metrics"), bomb.url("/metrics"));
    let host = host(sink.url(), &targets).env("SCRAPE_INTERVAL_S", "1").env("SCRAPE_BODY_SIZE_LIMIT", "8000000");
    let running = host.spawn();
    for exposer in [&plain, &bomb] {
        exposer.wait_asked(2);
        let says = format!("{} is not scraped", exposer.url("/metrics"));
        let is_told = |line: &crate::host::Line| {
            line.text.contains(&says) && line.text.contains("longer than SCRAPE_BODY_SIZE_LIMIT (8000000 bytes)")
        };
        running.wait_for_log(is_told, LONG);
    }
    let most = memory_kib(running.pid(), "VmHWM");
    // Twice the limit while a buffer grows, for each target; and what a host takes by itself.
    assert!(most < 80_000, "{most} KiB");
    assert!(of(&sink, "up").iter().all(|up| up.value == 0.0));
}
