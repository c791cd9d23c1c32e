//! `monitor-host health`: a line and an exit status for whatever the run beside it is like.

use serde_json::json;

use super::{Page, shown};
use crate::faults::{LONG, host};
use crate::host::Host;
use crate::sink::Sink;

/// Asks at an address; returns the exit status and the line.
#[track_caller]
fn ask(address: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let health = arguments.iter().fold(Host::new().arg("health"), Host::arg).env("ADMIN_ADDR", address).spawn();
    let code = health.wait(LONG).code();
    let output = health.output();
    assert!(output.len() <= 1 && health.log().len() <= 1, "{output:?} {}", health.log_text());
    (code, output.concat() + &health.log_text())
}

#[test]
fn its_status_is_that_of_the_run() {
    let sink = Sink::start();
    sink.answer(json!({"status": 503}));
    let running = shown(host(sink.url())).spawn();
    let page = Page::of(&running);
    page.until("/ready", |answer| answer.body.contains("nothing was delivered yet"));
    let (code, line) = ask(page.address(), &[]);
    assert!(code == Some(1) && line.contains("not ready: nothing was delivered yet"), "{code:?} {line}");
    assert_eq!(ask(page.address(), &["--live"]), (Some(0), "alive".to_owned()));
    sink.answer_as_usual();
    page.until("/ready", |answer| answer.status == 200);
    let (code, line) = ask(page.address(), &[]);
    assert!(code == Some(0) && line.starts_with("ready: the last delivery was"), "{code:?} {line}");
    // Who listens everywhere is asked on this machine; a flag beats the variable.
    let port = page.address().rsplit_once(':').expect("a port").1;
    assert_eq!(ask(&format!("0.0.0.0:{port}"), &[]).0, Some(0));
    assert_eq!(ask("off", &["--admin-addr", page.address()]).0, Some(0));
}

#[test]
fn where_nobody_answers_it_is_1_and_says_why() {
    for (address, says) in [
        ("off", "ADMIN_ADDR is off"),
        ("127.0.0.1:0", "port 0"),
        ("127.0.0.1:9", "http://127.0.0.1:9/ready: "),
        ("nonsense", "ADMIN_ADDR=\"nonsense\""),
    ] {
        let (code, line) = ask(address, &[]);
        assert!(code == Some(1) && line.contains(says), "{address}: {code:?} {line}");
    }
    // Something else listens there.
    let sink = Sink::start();
    let address = sink.url().strip_prefix("http://").and_then(|url| url.split('/').next()).expect("an address");
    assert_eq!(ask(address, &[]).0, Some(1));
}
