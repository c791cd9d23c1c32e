//! The alert rules on a real Prometheus: each fires in the very fault that it names, brought about in the real binary, and
//! none does in a good run, at a restart, or in a short outage.
//!
//! Nobody waits for minutes: durations and ages are made shorter ([`QUICKENED`]), in the text of the rules and nowhere else.
//! Shares and counts stay as they are, and so does what a client does: its own metrics come every 15 s.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;
use signal_hook::consts::SIGKILL;
use tempfile::TempDir;

use super::{RULES, host_of, named, text};
use crate::admin::{Page, shown};
use crate::drive::{now_ms, wait_for_first_batch};
use crate::faults::{LONG, host, stop};
use crate::host::Running;
use crate::http;
use crate::push::push;
use crate::receivers::{Kind, Labels, Receiver, Series};
use crate::sink::Sink;
use crate::stub::{Request, Stub};

/// What is written in the rules, and what stands there in these tests. Whatever is left of minutes and hours is a look back
/// that may be longer than the test.
const QUICKENED: [(&str, &str); 10] = [
    ("interval: 30s", "interval: 1s"),
    // Silence: longer than the 15 s between two samples, and what a busy machine adds to it.
    ("> 180", "> 25"),
    ("for: 3m", "for: 2s"),
    // Two samples are in it at least.
    ("[15m]", "[50s]"),
    ("for: 30m", "for: 3s"),
    ("_age_seconds[1h]) > 60", "_age_seconds[1h]) > 10"),
    ("for: 5m", "for: 1s"),
    ("> 120", "> 12"),
    ("for: 2m", "for: 1s"),
    ("[30m], 14400)", "[15s], 60)"),
];

/// How often the Prometheus is asked for what fires.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// The rules, made quick, as a file.
struct Rules(TempDir);

impl Rules {
    fn quickened() -> Self {
        let quick = QUICKENED.iter().fold(text(RULES), |rules, (long, short)| {
            assert!(rules.contains(long), "{RULES} has no {long:?} any more: say here what it is now");
            rules.replace(long, short)
        });
        let waits = quick.lines().filter(|line| line.trim_start().starts_with("for: ") && !line.ends_with('s'));
        assert_eq!(waits.collect::<Vec<_>>(), [""; 0], "these are too long for a test");
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join("rules.yaml"), quick).expect("a file of ours");
        Rules(dir)
    }

    /// A Prometheus' configuration with them, which scrapes these pages.
    fn configuration(&self, scraped: &[(&str, &Page<'_>)]) -> String {
        let target = |(instance, page): &(&str, &Page<'_>)| {
            let (address, host) = (page.address(), host_of(instance));
            format!("  - {{targets: ['{address}'], labels: {{instance: {instance}, host: {host}}}}}\n")
        };
        let rules = self.0.path().join("rules.yaml");
        format!(
            "rule_files: ['{}']\nscrape_configs:\n- job_name: fleet\n  scrape_interval: 1s\n  static_configs:\n{}",
            rules.display(),
            scraped.iter().map(target).collect::<String>()
        )
    }
}

/// An alert, and the label that tells it from others of its name: `severity`, `late` or `reason`.
type Alert = (&'static str, Option<(&'static str, &'static str)>);

/// Who fires what, by instance.
type Firing = BTreeMap<String, BTreeSet<Labels>>;

/// What fires now. Each says whom it is about.
fn firing(receiver: &Receiver) -> Firing {
    let mut firing = Firing::new();
    let answer = receiver.ask("alerts", &[]);
    for alert in answer["alerts"].as_array().expect("alerts").iter().filter(|alert| alert["state"] == "firing") {
        let instance = alert["labels"]["instance"].as_str().expect("an instance");
        for told in [&alert["annotations"]["summary"], &alert["annotations"]["description"]] {
            let told = told.as_str().expect("a text");
            assert!(told.contains(&format!("fleet at {instance} on {}", host_of(instance))), "{alert}");
        }
        let labels = Labels::deserialize(&alert["labels"]).expect("labels");
        firing.entry(instance.to_owned()).or_default().insert(labels);
    }
    firing
}

fn is(labels: &Labels, (name, label): Alert) -> bool {
    let has = |label: &str, value: &str| labels.get(label).is_some_and(|own| own == value);
    has("alertname", name) && label.is_none_or(|(label, value)| has(label, value))
}

#[test]
fn each_alert_fires_in_the_fault_it_names() {
    // Whoever is scraped is told to the Prometheus when it starts: these two have another receiver, which goes away.
    let sink = Sink::start();
    let spool = tempfile::tempdir().expect("a folder");
    let cut_off = shown(host(sink.url())).spawn();
    let filling = shown(host(sink.url()))
        .env("SPOOL_DIR", spool.path())
        .env("SPOOL_MAX_BYTES", "1MiB")
        .env("FAULT_SERIES", "300")
        .env("FAULT_SPREAD", "0.123456789")
        .spawn();
    let pages = [Page::of(&cut_off), Page::of(&filling)];
    pages.iter().for_each(|page| drop(page.until("/ready", |answer| answer.status == 200)));

    let rules = Rules::quickened();
    let scraped = [("cut-off", &pages[0]), ("filling", &pages[1])];
    let Some(receiver) = Receiver::configured(Kind::Prometheus3, &rules.configuration(&scraped)) else { return };
    sink.answer(json!({"status": 503}));

    let url = receiver.write_url();
    let client = |instance: &str| named(host(&url), instance);
    // The first request arrives, with all that the client tells of itself. The second takes until the client has told it again.
    let upstream = url.clone();
    let slow = Stub::hearing(move |count, request| {
        thread::sleep(Duration::from_secs(if count == 1 { 17 } else { 0 }));
        passed_on(&upstream, request)
    });
    let instances = tempfile::tempdir().expect("a folder");

    let killed = client("killed").spawn();
    let unheard = client("unheard").spawn();
    let _others = [
        client("well").spawn(),
        // Of a message of 2.0 Prometheus keeps what it can.
        client("refused").env("REMOTE_WRITE_PROTOCOL", "2.0").spawn(),
        // One reading in a hundred is too late for its series.
        client("disorderly").env("FAULT_OFFSETS_MS", ["0"; 99].join(",") + ",-1500").spawn(),
        named(host(&slow.url()), "slow").env("REMOTE_WRITE_TIMEOUT_S", "30").spawn(),
        client("stale").env("FAULT_OFFSETS_MS", "-600000").spawn(),
        // Four times at least within the 15 s until it is told.
        client("replaced")
            .env("PLUGIN_RESTART", "on-failure")
            .env("FAULT_PROCESS_DATA", "error")
            .env("FAULT_FAULTY", "4")
            .env("FAULT_INSTANCES", instances.path().join("instances"))
            .spawn(),
    ];
    [&killed, &unheard].into_iter().for_each(wait_for_first_batch);
    killed.signal(SIGKILL);
    ["refused", "unheard"].into_iter().for_each(|instance| push_ahead(&url, instance));
    for _ in 0..4 {
        let crashing = client("crashing").env("FAULT_PROCESS_DATA", "error").spawn();
        assert_eq!(crashing.wait(LONG).code(), Some(1), "{}", crashing.log_text());
    }

    let expected: [(&str, &[Alert], &[&str]); 10] = [
        ("killed", &[("MonitorClientSilent", None)], &[]),
        // Of a message of 1.0 it keeps nothing, and so hears nothing of the client.
        ("unheard", &[("MonitorClientSilent", None)], &[]),
        ("refused", &[("MonitorClientDropping", Some(("severity", "critical")))], &[]),
        ("disorderly", &[("MonitorClientDropping", Some(("severity", "warning")))], &[]),
        // What it told in the middle of it arrives when it is over, and is the last word for 15 s: less than two minutes.
        ("slow", &[("MonitorClientLagging", Some(("late", "delivery")))], &["MonitorClientNotDelivering"]),
        ("stale", &[("MonitorClientLagging", Some(("late", "readings")))], &[]),
        ("cut-off", &[("MonitorClientNotDelivering", None)], &["MonitorClientLagging"]),
        // What no longer fits is dropped, and nobody takes the rest.
        (
            "filling",
            &[("MonitorClientSpoolFilling", None)],
            &["MonitorClientDropping", "MonitorClientLagging", "MonitorClientNotDelivering"],
        ),
        ("replaced", &[("MonitorClientPluginRestarting", None)], &[]),
        // It has ended for good.
        ("crashing", &[("MonitorClientPluginRestarting", None)], &["MonitorClientSilent"]),
    ];
    let mut seen = Firing::new();
    let deadline = Instant::now() + 2 * LONG;
    let missing =
        || expected.iter().flat_map(|(instance, alerts, _)| alerts.iter().map(move |alert| (*instance, *alert)));
    loop {
        firing(&receiver).into_iter().for_each(|(instance, alerts)| seen.entry(instance).or_default().extend(alerts));
        let fired = |(instance, alert): &(&str, Alert)| {
            seen.get(*instance).is_some_and(|seen| seen.iter().any(|one| is(one, *alert)))
        };
        let missing: Vec<_> = missing().filter(|one| !fired(one)).collect();
        if missing.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "these don't fire: {missing:?}, and these do: {seen:?}");
        // When a rule is evaluated can't be awaited.
        thread::sleep(ASK_EVERY);
    }
    // Nobody has an alert that is another one's.
    for (instance, alerts) in &seen {
        let own = expected.iter().find(|(own, ..)| own == instance);
        let (_, own, others) = own.unwrap_or_else(|| panic!("{instance} is well: {alerts:?}"));
        let allowed: BTreeSet<&str> = own.iter().map(|(name, _)| *name).chain(others.iter().copied()).collect();
        let strange = alerts.iter().find(|alert| !allowed.contains(alert["alertname"].as_str()));
        assert_eq!(strange, None, "{instance}");
    }
}

/// Another writer of a client's series is five minutes ahead of it: a Prometheus refuses the client's.
fn push_ahead(url: &str, instance: &str) {
    let host = host_of(instance);
    let labels = [("__name__", "fault_number"), ("series", "0"), ("host", &host)];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let answer = push(url, &[Series { labels: labels.into(), samples: vec![(now_ms() + 300_000, -1.0)] }]);
    assert_eq!(answer.status, 204, "{answer:?}");
}

/// Hands a request on, and the answer back.
fn passed_on(url: &str, request: &Request) -> String {
    let names = ["content-type", "content-encoding", "x-prometheus-remote-write-version", "user-agent"];
    let headers: Vec<_> = names.iter().filter_map(|name| Some((*name, request.header(name)?))).collect();
    match http::request("POST", url, &headers, &request.body) {
        Ok(answer) => format!("{} As The Receiver Says", answer.status),
        // The test ends, and its receiver with it.
        Err(_) => "503 Service Unavailable".to_owned(),
    }
}

#[test]
fn none_fires_in_a_good_run_nor_at_a_restart_nor_in_a_short_outage() {
    let rules = Rules::quickened();
    let Some(mut receiver) = Receiver::configured(Kind::PrometheusDebian, &rules.configuration(&[])) else { return };
    let url = receiver.write_url();
    let start = |instance: &str| -> Running {
        let running = named(host(&url), instance).spawn();
        wait_for_first_batch(&running);
        running
    };
    let (steady, upgraded, began) = (start("steady"), start("upgraded"), Instant::now());
    let quiet_until = |moment: Duration, receiver: &Receiver| {
        while began.elapsed() < moment {
            let firing = firing(receiver);
            assert!(firing.is_empty(), "{firing:?}");
            thread::sleep(ASK_EVERY);
        }
    };
    quiet_until(Duration::from_secs(5), &receiver);
    stop(&upgraded);
    let upgraded = start("upgraded");
    quiet_until(Duration::from_secs(10), &receiver);
    receiver.stop();
    thread::sleep(Duration::from_secs(2));
    receiver.start_again();
    // Each has told of itself three times, but for a machine that is starved.
    quiet_until(Duration::from_secs(38), &receiver);
    let deadline = Instant::now() + LONG;
    loop {
        let heard = receiver.range(r#"monitor_client_up{instance="steady"}"#);
        let known = receiver.instant("monitor_client:heard_timestamp_seconds");
        if heard.len() == 1 && heard[0].samples.len() >= 3 && known.len() == 2 {
            break;
        }
        assert!(Instant::now() < deadline, "{heard:?}; or the rules were not evaluated: {known:?}");
        quiet_until(began.elapsed() + ASK_EVERY, &receiver);
    }
    for running in [&steady, &upgraded] {
        assert_eq!(stop(running).dropped, 0);
    }
}
