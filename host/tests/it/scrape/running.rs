//! How the plugin starts, with what it reaches its targets, and how it ends.

use std::fs;
use std::time::Instant;

use serde_json::Value;

use super::exposer::{Answer, Exposer};
use super::{host, of, wait_value};
use crate::access::authority::Authority;
use crate::access::front::Front;
use crate::faults::{LONG, NOWHERE, lines, stop, wait_for_text};
use crate::host::Host;
use crate::plugins;
use crate::sink::Sink;

/// A check of the plugin with this target; its report.
#[track_caller]
fn check(target: &str, seconds: &str) -> Value {
    let host = Host::new().arg("check").arg(plugins::so("monitor-scrape")).arg("--json").arg("--seconds").arg(seconds);
    let running = host.env("SCRAPE_TARGETS", target).env("SCRAPE_INTERVAL_S", "1").spawn();
    assert_eq!(running.wait(LONG).code(), Some(0), "{}\n{:?}", running.log_text(), running.output());
    let text = running.output().join("\n");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_check_passes_and_stops_at_once_whatever_hangs() {
    let exposer = Exposer::always(Answer::text("a 1\n"));
    let report = check(&exposer.url("/metrics"), "1.5");
    assert_eq!((&report["verdict"], &report["problems"]), (&"ok".into(), &Value::Array(vec![])), "{report}");

    // The other's one scrape hangs from its first moment on; the next one begins when it is given up.
    let hanging = Exposer::always(Answer::text("a 1\n").hanging_before_last(1));
    let both = format!("{} {}", exposer.url("/metrics"), hanging.url("/metrics"));
    let mut took = (0..3).map(|_| {
        let report = check(&both, "3");
        assert_eq!(report["verdict"], "ok", "{report}");
        report["run"]["workers"]["get_power"]["stop_s"].as_f64().unwrap_or_else(|| panic!("no time in {report}"))
    });
    // A machine that stands still may make one late.
    assert!(took.any(|seconds| seconds < 0.1));
}

#[test]
fn a_run_ends_at_once_while_a_scrape_hangs() {
    let mut took = (0..3).map(|_| {
        let hanging = Exposer::always(Answer::text("a 1\n").hanging_before_last(1));
        let sink = Sink::start();
        let running = host(sink.url(), &hanging.url("/metrics")).env("SCRAPE_INTERVAL_S", "5").spawn();
        hanging.wait_asked(1);
        let start = Instant::now();
        stop(&running);
        start.elapsed().as_secs_f64()
    });
    // The scrape would hang for seconds more. A machine that stands still may make one late.
    assert!(took.any(|seconds| seconds < 2.5));
}

#[test]
fn a_process_of_its_own_gives_the_same() {
    let sinks = ["off", "process"].map(|mode| {
        let (exposer, sink) = (Exposer::always(Answer::text("a 1\nb{x=\"y\"} 2\n")), Sink::start());
        let running = host(sink.url(), &exposer.url("/metrics")).env("PLUGIN_ISOLATION", mode).spawn();
        wait_value(&sink, "b", 2.0, 2);
        exposer.change_to(Answer::text("a 1\n"));
        sink.wait_for(LONG, "a marker", |samples| samples.iter().any(|one| one.metric == "b" && one.is_marker()));
        let ledger = stop(&running);
        assert_eq!((ledger.dropped, ledger.delivered), (0, ledger.collected), "{mode}: {ledger:?}");
        sink.wait_samples(ledger.delivered as usize, LONG);
        assert_eq!(sink.violations(), []);
        sink
    });
    let names = |sink: &Sink| {
        let names = sink.series().into_keys().map(|mut labels| {
            labels.remove("instance");
            labels
        });
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&sinks[0]), names(&sinks[1]));
    assert_eq!(names(&sinks[0]).len(), 2 + 9);
    for sink in &sinks {
        let marker = of(sink, "b").into_iter().find(|sample| sample.is_marker()).expect("it was waited for");
        assert!(of(sink, "up").iter().any(|up| up.timestamp_ms == marker.timestamp_ms), "it has its scrape's moment");
    }
}

#[test]
fn each_mistake_is_one_line_that_names_its_variable() {
    let missing = tempfile::tempdir().unwrap().path().join("none").display().to_string();
    let start = |variables: &[(&str, &str)]| {
        let running = variables.iter().fold(host(NOWHERE, "a:1"), |host, (name, value)| host.env(name, value)).spawn();
        assert_eq!(running.wait(LONG).code(), Some(3), "{variables:?}: {}", running.log_text());
        let errors = lines(&running, "ERROR");
        assert_eq!(errors.len(), 1, "{}", running.log_text());
        errors[0].text.clone()
    };
    for (name, value) in [
        ("SCRAPE_TARGETS", ""),
        ("SCRAPE_TARGETS", "ftp://a:1"),
        ("SCRAPE_TARGETS", "a:1 http://a:1/x"),
        ("SCRAPE_TIMEOUT_S", "0"),
        ("SCRAPE_SAMPLE_LIMIT", "0"),
        ("SCRAPE_BODY_SIZE_LIMIT", "1GB"),
        ("SCRAPE_LABEL_LIMIT", "-1"),
        ("SCRAPE_LABEL_NAME_LENGTH_LIMIT", "x"),
        ("SCRAPE_LABEL_VALUE_LENGTH_LIMIT", "x"),
        ("SCRAPE_HONOR_LABELS", "1"),
        ("SCRAPE_HONOR_TIMESTAMPS", "yes"),
        ("SCRAPE_TRACK_TIMESTAMPS_STALENESS", "yes"),
        ("SCRAPE_TLS_VERIFY", "no"),
        ("SCRAPE_TLS_CA_FILE", &missing),
        ("SCRAPE_TLS_CERT_FILE", "x"),
        ("SCRAPE_TLS_KEY_FILE", "x"),
        ("SCRAPE_PASSWORD", "p"),
        ("SCRAPE_PASSWORD_FILE", &missing),
        ("SCRAPE_BEARER_TOKEN_FILE", &missing),
    ] {
        let said = start(&[(name, value)]);
        assert!(said.contains(name), "{name}={value}: {said}");
    }
    let said = start(&[("SCRAPE_TARGETS", "ftp://a:1"), ("SCRAPE_TIMEOUT_S", "x"), ("SCRAPE_HONOR_LABELS", "x")]);
    let all = ["SCRAPE_TARGETS", "SCRAPE_TIMEOUT_S", "SCRAPE_HONOR_LABELS"];
    assert!(all.into_iter().all(|name| said.contains(name)), "all at once: {said}");
    let said = start(&[("SCRAPE_BEARER_TOKEN", "t0ken"), ("SCRAPE_USERNAME", "me")]);
    assert!(said.contains("SCRAPE_BEARER_TOKEN and SCRAPE_USERNAME are both set"), "{said}");
}

#[test]
fn secrets_are_sent_where_they_belong_and_read_anew() {
    let elsewhere = Exposer::always(Answer::text("a 1\n"));
    let away = format!("Location: http://localhost:{}/away\r\n", elsewhere.instance().rsplit_once(':').unwrap().1);
    let exposer = Exposer::always(Answer::text("a 1\n"));
    let moving = Exposer::always(Answer::with("302 Found", &away, ""));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, "first\n").unwrap();
    let sink = Sink::start();
    let targets = format!("{} {}", exposer.url("/metrics?key=value"), moving.url("/metrics?key=value"));
    let running = host(sink.url(), &targets).env("SCRAPE_BEARER_TOKEN_FILE", &file).spawn();
    let token = |exposer: &Exposer, token: &str| {
        while exposer.asked().last().and_then(|asked| asked.header("authorization")) != Some(token) {
            exposer.wait_asked_again(1);
        }
    };
    token(&exposer, "Bearer first");
    fs::write(&file, "second\n").unwrap();
    token(&exposer, "Bearer second");
    token(&moving, "Bearer second");
    elsewhere.wait_asked(1);
    let told = |name| elsewhere.asked().iter().any(|asked| asked.header(name).is_some());
    assert!(!told("authorization") && !told("referer"), "{:?}", elsewhere.asked());
    let asked = &exposer.asked()[0];
    assert_eq!(asked.path, "/metrics?key=value");
    let header = |name: &str| asked.header(name).unwrap_or_else(|| panic!("no {name} in {asked:?}"));
    assert!(header("accept").starts_with("application/openmetrics-text;version=1.0.0;"));
    assert_eq!((header("accept-encoding"), header("x-prometheus-scrape-timeout-seconds")), ("gzip", "0.2"));
    assert!(header("user-agent").starts_with("monitor-scrape/"));
    fs::remove_file(&file).unwrap();
    wait_for_text(&running, "SCRAPE_BEARER_TOKEN_FILE");
    wait_value(&sink, "up", 0.0, 1);
    stop(&running);

    let exposer = Exposer::always(Answer::text("a 1\n"));
    let host = host(NOWHERE, &exposer.url("/")).env("SCRAPE_USERNAME", "me").env("SCRAPE_PASSWORD", "pass-word");
    let _running = host.spawn();
    assert_eq!(exposer.wait_asked(1)[0].header("authorization"), Some("Basic bWU6cGFzcy13b3Jk"));
}

#[test]
fn tls_targets_are_known_by_their_authority_and_know_us() {
    const EXPOSITION: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\na 1\n";
    let authority = Authority::new("exporters");
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    authority.write(&ca);
    let (certificate, key) = authority.sign("us").write(folder.path());
    let [ca, certificate, key] = [&ca, &certificate, &key].map(|path| path.to_str().unwrap());
    let front = |clients| {
        Front::answering_by(Authority::server(&authority.sign("localhost"), clients), |_| EXPOSITION.to_owned())
    };
    let (anybody, known) = (front(None), front(Some(&authority)));
    let ours = [("SCRAPE_TLS_CA_FILE", ca), ("SCRAPE_TLS_CERT_FILE", certificate), ("SCRAPE_TLS_KEY_FILE", key)];
    let with = |front: &Front, variables: &[(&str, &str)], says: Option<&str>| {
        let sink = Sink::start();
        let target = format!("https://localhost:{}/metrics", front.address.port());
        let host = host(sink.url(), &target).env("SCRAPE_INTERVAL_S", "2");
        let running = variables.iter().fold(host, |host, (name, value)| host.env(name, value)).spawn();
        match says {
            Some(says) => _ = running.wait_for_log(|line| line.text.contains(says), LONG),
            None => _ = wait_value(&sink, "up", 1.0, 1),
        }
        assert_eq!(stop(&running).dropped, 0);
        assert!(says.is_none() || of(&sink, "up").iter().all(|up| up.value == 0.0));
    };
    with(&anybody, &ours[..1], None);
    with(&anybody, &[("SCRAPE_TLS_VERIFY", "off")], None);
    with(&anybody, &[], Some("SCRAPE_TLS_CA_FILE"));
    with(&known, &ours, None);
    with(&known, &ours[..1], Some("CertificateRequired"));
}
