//! What the variables do by which a run is watched.

use super::{SOON, pushing_to, stop};
use crate::admin::{page_of, shown};
use crate::http;
use crate::sink::{Sample, Sink};

effects! {
    ADMIN_ADDR: the_page_is_there_and_only_there,
    READY_MAX_AGE_S: older_deliveries_make_it_not_ready,
    SELF_METRICS: they_go_where_they_should,
    JOB: it_is_the_job_of_what_is_pushed,
    INSTANCE: it_is_the_instance_of_what_is_pushed,
}

fn status(url: &str, path: &str) -> u16 {
    http::request("GET", &format!("{url}{path}"), &[], &[]).expect("an answer").status
}

fn the_page_is_there_and_only_there() {
    let sink = Sink::start();
    for address in ["127.0.0.1:0", "127.0.0.2:0", "0.0.0.0:0"] {
        let host = pushing_to(&sink).env("ADMIN_ADDR", address).spawn();
        let url = page_of(&host);
        let ip = address.strip_suffix(":0").expect("an address");
        assert!(url.starts_with(&format!("http://{ip}:")) && !url.ends_with(":0"), "{url}");
        assert_eq!(status(&url, "/live"), 200);
        // The page is there before the plugin is.
        host.wait_for_log(|line| line.message() == "running", SOON);
        stop(&host);
        assert!(http::request("GET", &format!("{url}/live"), &[], &[]).is_err(), "it is gone with the run");
    }
    let off = pushing_to(&sink).env("ADMIN_ADDR", "off").spawn();
    sink.wait_samples(sink.samples().len() + 1, SOON);
    stop(&off);
    assert!(!off.log_text().contains("health and metrics"), "{}", off.log_text());
}

fn older_deliveries_make_it_not_ready() {
    for (age, is_ready) in [("0.1", false), ("3600", true), ("", true)] {
        let sink = Sink::start();
        let host = shown(pushing_to(&sink)).env("PUSH_INTERVAL_S", "1").env("READY_MAX_AGE_S", age).spawn();
        let url = page_of(&host);
        sink.wait_requests(2, SOON);
        // Between two pushes, unless one has just come.
        let seen = (0..20).map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            status(&url, "/ready") == 200
        });
        assert_eq!(seen.min(), Some(is_ready), "{age:?}");
    }
}

/// What a run pushes of its own, and the status of its `/metrics`.
fn own(variables: &[(&str, &str)]) -> (Vec<Sample>, u16) {
    let sink = Sink::start();
    let mut host = shown(pushing_to(&sink)).env("HOSTNAME", "h1");
    for (name, value) in variables {
        host = host.env(name, value);
    }
    let host = host.spawn();
    let url = page_of(&host);
    sink.wait_requests(2, SOON);
    let status = status(&url, "/metrics");
    let ledger = stop(&host);
    let mut samples = sink.wait_samples(ledger.delivered as usize, SOON);
    samples.retain(|sample| sample.metric.starts_with("monitor_client_"));
    (samples, status)
}

fn they_go_where_they_should() {
    for (value, pushed, status) in
        [("off", false, 404), ("admin", false, 200), ("push", true, 404), ("both", true, 200), ("", true, 200)]
    {
        let (samples, seen) = own(&[("SELF_METRICS", value)]);
        assert_eq!((!samples.is_empty(), seen), (pushed, status), "{value:?}");
    }
}

#[track_caller]
fn assert_label(variables: &[(&str, &str)], label: &str, value: &str) {
    let (samples, _) = own(&[&[("SELF_METRICS", "push")], variables].concat());
    assert!(samples.len() > 100);
    for sample in samples {
        assert_eq!(sample.labels.get(label).map(String::as_str), Some(value), "{}", sample.metric);
    }
}

fn it_is_the_job_of_what_is_pushed() {
    assert_label(&[("JOB", "power of \"x\"")], "job", "power of \"x\"");
    assert_label(&[], "job", "monitor-fault");
}

fn it_is_the_instance_of_what_is_pushed() {
    assert_label(&[("INSTANCE", "rack 7")], "instance", "rack 7");
    assert_label(&[], "instance", "h1");
}
