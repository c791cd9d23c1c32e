//! Ready means that samples are delivered: each condition, by the fault that breaks it.

use std::thread;
use std::time::Duration;

use serde_json::json;
use signal_hook::consts::SIGTERM;

use super::{Page, shown};
use crate::faults::{LONG, host};
use crate::host::Host;
use crate::http::Answer;
use crate::sink::Sink;

/// Told after a second rather than a minute.
fn quickly(sink: &Sink) -> Host {
    shown(host(sink.url())).env("READY_MAX_AGE_S", "1")
}

fn is_ready(answer: &Answer) -> bool {
    (answer.status, answer.body.starts_with("ready: the last delivery was")) == (200, true)
}

/// Not ready, for this reason and perhaps others.
fn fails(reason: &str) -> impl Fn(&Answer) -> bool {
    move |answer| answer.status == 503 && answer.body.starts_with("not ready: ") && answer.body.contains(reason)
}

/// How long ago the last delivery was.
#[track_caller]
fn age_s(answer: &Answer) -> f64 {
    let age = answer.body.split_once("the last delivery was ").and_then(|(_, rest)| rest.split_once(" s ago"));
    age.and_then(|(age, _)| age.parse().ok()).unwrap_or_else(|| panic!("no age: {answer:?}"))
}

#[test]
fn an_outage_is_told_and_so_is_its_end() {
    let sink = Sink::start();
    sink.answer(json!({"status": 503}));
    let running = quickly(&sink).spawn();
    let page = Page::of(&running);
    page.until("/ready", fails("nothing was delivered yet"));
    sink.answer_as_usual();
    page.until("/ready", is_ready);
    sink.answer(json!({"status": 503}));
    let told = page.until("/ready", |answer| fails("the last delivery was ")(answer) && age_s(answer) >= 1.0);
    assert!(told.body.contains("at most 1 s (READY_MAX_AGE_S)") && !told.body.contains("plugin"), "{told:?}");
    page.until("/ready", fails("waits to be delivered"));
    assert_eq!(page.get("/live").status, 200, "it is alive all the same");
    sink.answer_as_usual();
    page.until("/ready", is_ready);
}

#[test]
fn a_receiver_that_hangs_is_told() {
    let sink = Sink::start();
    let running = quickly(&sink).env("SHUTDOWN_TIMEOUT_S", "3").spawn();
    let page = Page::of(&running);
    page.until("/ready", is_ready);
    sink.answer(json!({"hang": true}));
    page.until("/ready", fails("waits to be delivered, at most 1 s (READY_MAX_AGE_S)"));
    running.signal(SIGTERM);
    page.until("/ready", fails("the run is ending"));
    assert_eq!(running.wait(LONG).code(), Some(0));
}

#[test]
fn a_plugin_that_does_not_run_is_told() {
    let sink = Sink::start();
    let running = quickly(&sink).env("READY_MAX_AGE_S", "60").env("FAULT_PROCESS_DATA", "error");
    let running = running.env("PLUGIN_RESTART", "on-failure").spawn();
    let page = Page::of(&running);
    let told = page.until("/ready", fails("the plugin does not run"));
    assert!(!told.body.contains("READY_MAX_AGE_S"), "{told:?}");
    page.until("/ready", is_ready);
    page.until("/ready", fails("the plugin does not run"));
}

#[test]
fn a_plugin_that_stalls_is_told_and_so_is_one_that_is_not_made() {
    let sink = Sink::start();
    let stalled = quickly(&sink).env("FAULT_GET_POWER", "stall").env("PLUGIN_STALL_S", "0.3").spawn();
    Page::of(&stalled).until("/ready", fails("the plugin stalls (PLUGIN_STALL_S)"));

    let unmade = quickly(&sink).env("FAULT_NEW", "hang").spawn();
    let page = Page::of(&unmade);
    page.until("/ready", fails("the plugin is being made"));
    assert_eq!((page.get("/live").status, page.get("/metrics").status), (200, 503));
}

#[test]
fn a_dry_run_delivers_to_its_reader() {
    let sink = Sink::start();
    let running = quickly(&sink).env("DRY_RUN", "1").spawn();
    Page::of(&running).until("/ready", is_ready);
    assert_eq!(sink.requests().len(), 0);
}

#[test]
fn the_page_answers_what_it_is_asked_and_nothing_else() {
    let sink = Sink::start();
    let running = quickly(&sink).spawn();
    let page = Page::of(&running);
    page.until("/ready", is_ready);
    let paths = "monitor-host: / (the status page), /live, /ready, /metrics\n";
    assert_eq!(page.get("/somewhere").body, paths);
    assert_eq!((page.get("/live").status, page.get("/live?x=1").body.as_str()), (200, "alive\n"));
    for path in ["/nothing", "/metrics/", "/../etc/passwd", "//live"] {
        assert_eq!(page.get(path).status, 404, "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"] {
        let answer = page.ask(method, "/metrics", &[]);
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    let head = page.ask("HEAD", "/metrics", &[]);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    let open = page.ask("GET", "/metrics", &[("Accept", "application/openmetrics-text; version=1.0.0")]);
    assert!(open.header("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text")));
    assert!(open.body.ends_with("# EOF\n"), "{open:?}");
    let text = page.get("/metrics");
    assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for (header, value) in [("cache-control", "no-store"), ("x-content-type-options", "nosniff")] {
        assert_eq!(text.header(header), Some(value));
    }
}

#[test]
fn an_address_in_use_is_one_warning() {
    let sink = Sink::start();
    let first = quickly(&sink).spawn();
    let page = Page::of(&first);
    let second = shown(host(sink.url())).env("ADMIN_ADDR", page.address()).spawn();
    crate::drive::wait_for_first_batch(&second);
    // Whatever would be said later.
    thread::sleep(Duration::from_millis(300));
    let told: Vec<_> = second.log().into_iter().filter(|line| line.message().contains("ADMIN_ADDR")).collect();
    let [line] = &told[..] else { panic!("{}", second.log_text()) };
    assert!(line.level() == "WARNING" && line.message().contains("the run goes on without"), "{line:?}");
    crate::faults::stop(&second);
    page.until("/ready", is_ready);
}
