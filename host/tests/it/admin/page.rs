//! The status page and its data: what a browser gets, what it says of a real run, and the bounds that it keeps.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{ASK_EVERY, Page, shown};
use crate::faults::{LONG, NOWHERE, host, stop};
use crate::host::Host;
use crate::memory::{SLACK_KIB, memory_kib};
use crate::sink::Sink;

impl Page<'_> {
    /// The JSON at a path.
    #[track_caller]
    fn json(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{answer:?}");
        serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
    }

    /// Asks for the status until it is as wanted.
    #[track_caller]
    fn until_status(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + LONG;
        loop {
            let status = self.json("/status.json");
            if wanted(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "{status}");
            thread::sleep(ASK_EVERY);
        }
    }

    #[track_caller]
    fn until_sentence(&self, begins: &str) -> Value {
        self.until_status(|status| text(status, "/delivery/sentence").starts_with(begins))
    }
}

#[track_caller]
fn text<'a>(json: &'a Value, pointer: &str) -> &'a str {
    json.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no text at {pointer} in {json}"))
}

#[track_caller]
fn count(json: &Value, pointer: &str) -> u64 {
    json.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("no count at {pointer} in {json}"))
}

/// With the ages of a fast test.
fn quickly(sink: &Sink) -> Host {
    shown(host(sink.url())).env("READY_MAX_AGE_S", "1")
}

#[test]
fn the_page_may_load_itself_and_nothing_else() {
    let running = shown(host(NOWHERE)).env("SELF_METRICS", "off").spawn();
    let page = Page::of(&running);
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/script.js", "text/javascript; charset=utf-8"),
        ("/text.js", "text/javascript; charset=utf-8"),
        ("/path.js", "text/javascript; charset=utf-8"),
        ("/series.js", "text/javascript; charset=utf-8"),
        ("/chart.js", "text/javascript; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
    ] {
        let answer = page.get(path);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)), "{path}");
        let policy = answer.header("content-security-policy").expect("a policy");
        for directive in
            ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "base-uri 'none'"]
        {
            assert!(policy.split("; ").any(|one| one == directive), "{policy}");
        }
        assert!(policy.contains("frame-ancestors 'none'") && policy.contains("form-action 'none'"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"), "{policy}");
        for (header, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(header), Some(value), "{path}");
        }
        let head = page.ask("HEAD", path, &[]);
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        assert_eq!(page.ask("POST", path, &[]).status, 405);
    }
    assert!(page.get("/").body.contains(r#"id="delivery""#));
    assert_eq!(page.get("/script.jsx").status, 404);
    // Without metrics the page is whole.
    assert_eq!((page.get("/metrics").status, page.get("/status.json").status), (404, 200));
}

/// The status of an answer to a request with these headers and no others.
fn raw(address: &str, path: &str, headers: &str) -> u16 {
    let mut stream = TcpStream::connect(address).expect("a page");
    write!(stream, "GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n").expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
}

#[test]
fn neither_names_of_others_nor_sites_of_others_get_data() {
    let local = shown(host(NOWHERE)).spawn();
    let page = Page::of(&local);
    let host_of = |name: &str| format!("Host: {name}\r\n");
    let data = ["/status.json", "/series.json", "/history.json?id=0"];
    page.until("/series.json", |answer| answer.status == 200);
    for path in ["/", "/script.js"].iter().chain(&data) {
        for (name, status) in [("evil.example:9464", 421), ("localhost:1", 200), (page.address(), 200), ("[::1]", 200)]
        {
            assert_eq!(raw(page.address(), path, &host_of(name)), status, "{path} as {name}");
        }
    }
    for path in ["/live", "/metrics"] {
        assert_eq!(raw(page.address(), path, &host_of("prometheus.example")), 200, "a scrape may use any name");
    }
    for (site, status) in [("cross-site", 403), ("same-origin", 200), ("none", 200)] {
        let headers = host_of("localhost") + &format!("Sec-Fetch-Site: {site}\r\n");
        assert!(data.iter().all(|path| raw(page.address(), path, &headers) == status), "{site}");
        assert_eq!(raw(page.address(), "/", &headers), 200, "a link leads here");
    }

    let open = shown(host(NOWHERE)).env("ADMIN_ADDR", "0.0.0.0:0").spawn();
    let port = Page::of(&open).address().rsplit(':').next().expect("a port").to_owned();
    assert_eq!(raw(&format!("127.0.0.1:{port}"), "/status.json", &host_of("node7.example")), 200);
}

#[test]
fn the_status_says_what_runs_and_where_every_sample_is() {
    let sink = Sink::start();
    let running = quickly(&sink)
        .env("READY_MAX_AGE_S", "60")
        .env("FAULT_SERIES", "3")
        .env("PROC_QUEUE_SIZE", "72")
        .env("INSTANCE", "rack 7")
        .env("PUSH_INTERVAL_S", "0.5")
        .spawn();
    let page = Page::of(&running);
    let status = page.until_sentence("Samples arrive at the receiver.");
    assert_eq!(status.pointer("/delivery/delivers"), Some(&json!(true)));
    assert_eq!((text(&status, "/plugin/name"), text(&status, "/plugin/state")), ("monitor-fault", "running"));
    assert_eq!(
        (text(&status, "/host/version"), text(&status, "/host/instance")),
        (env!("CARGO_PKG_VERSION"), "rack 7")
    );
    assert_eq!(status.pointer("/plugin/is_isolated"), Some(&json!(false)));
    let now_ms = count(&status, "/now_ms");
    assert!((count(&status, "/host/began_ms")..=now_ms).contains(&count(&status, "/plugin/since_ms")), "{status}");
    assert_eq!((count(&status, "/path/processed_queue/capacity"), count(&status, "/series/items")), (72, 3));
    // What was taken is somewhere; counts of one answer are read one after the other.
    for pointer in ["/path/get_power/readings", "/path/process_data/readings", "/path/receiver/samples"] {
        let before = count(&status, pointer);
        page.until_status(|status| count(status, pointer) > before);
    }
    page.until_status(|status| count(status, "/path/processed_queue/samples") > 0);
    assert_eq!(count(&status, "/path/dropped/samples"), 0);
    let settings = status["settings"].as_array().expect("settings");
    let setting = |name: &str| settings.iter().find(|one| one["name"] == name).expect("a setting");
    assert_eq!(setting("PROC_QUEUE_SIZE")["value"], "72 items");
    assert_eq!(
        (&setting("PROC_QUEUE_SIZE")["from"], &setting("MAX_SERIES")["from"]),
        (&json!("environment"), &json!("default"))
    );
    assert_eq!(setting("SPOOL_DIR")["value"], Value::Null);
    let delivered = count(&page.json("/status.json"), "/path/receiver/samples");
    let ledger = stop(&running);
    assert!(ledger.delivered >= delivered && delivered > 0, "{ledger:?}");
}

#[test]
fn an_outage_is_told_in_the_receivers_own_words() {
    let sink = Sink::start();
    let running = quickly(&sink).spawn();
    let page = Page::of(&running);
    page.until_sentence("Samples arrive at the receiver.");
    sink.answer(json!({"status": 503, "body": "no room for <img src=x onerror=alert(1)> now"}));
    let words = "HTTP 503 Service Unavailable: no room for <img src=x onerror=alert(1)> now";
    page.until_status(|status| {
        status["delivery"]["is_troubled"] == true
            && text(status, "/delivery/sentence")
                == format!("The last push did not arrive: {words}. Samples wait in memory.")
    });
    let told = page.until_sentence(&format!("Samples do not arrive: {words}."));
    assert_eq!(told["delivery"]["delivers"], false);
    assert!(told["delivery"]["look_at"].as_array().is_some_and(|hints| !hints.is_empty()), "{told}");
    page.until_status(|status| count(status, "/path/kept/samples") > 0 && count(status, "/path/receiver/failed") > 1);
    let error = |status: &Value| {
        let errors = status["errors"].as_array().expect("errors").clone();
        errors.into_iter().find(|error| error["stage"] == "receiver").expect("an error of the receiver")
    };
    let found = error(&page.json("/status.json"));
    assert!(text(&found, "/text").ends_with(words) && found["level"] == "WARNING", "{found}");
    sink.answer_as_usual();
    page.until_sentence("Samples arrive at the receiver.");
    assert!(text(&error(&page.json("/status.json")), "/text").ends_with(words), "it is still among the last errors");
}

#[test]
fn a_plugin_that_died_or_is_not_made_yet_is_told() {
    let sink = Sink::start();
    let running = quickly(&sink).env("FAULT_PROCESS_DATA", "error").env("PLUGIN_RESTART", "on-failure").spawn();
    let page = Page::of(&running);
    let down = page.until_sentence("The plugin does not run");
    assert_eq!((down["delivery"]["delivers"].as_bool(), text(&down, "/plugin/state")), (Some(false), "down"));
    // It is down a moment before the log says why.
    let is_cause = |error: &Value| {
        error["stage"] == "plugin" && text(error, "/text").contains("the sensor has gone, as the test asked")
    };
    page.until_status(|status| status["errors"].as_array().is_some_and(|errors| errors.iter().any(is_cause)));
    page.until_status(|status| status["plugin"]["state"] == "running" && count(status, "/plugin/restarts") > 0);

    let unmade = quickly(&sink).env("FAULT_NEW", "hang").spawn();
    let page = Page::of(&unmade);
    let status = page.json("/status.json");
    assert_eq!((&status["plugin"], &status["path"], &status["series"]), (&Value::Null, &Value::Null, &Value::Null));
    assert!(text(&status, "/delivery/sentence").contains("is being made") && !status["settings"].is_null());
    assert_eq!((page.get("/series.json").status, page.get("/history.json").status), (503, 503));
}

/// The ids of series that were found.
fn ids(found: &Value) -> Vec<String> {
    found["series"].as_array().expect("series").iter().map(|one| text(one, "/id").to_owned()).collect()
}

#[test]
fn of_ten_thousand_series_those_in_view_are_kept_and_no_others() {
    const SERIES: u64 = 10_000;
    let running = shown(host(NOWHERE)).env("FAULT_SERIES", SERIES.to_string()).env("SCRAPE_INTERVAL_S", "0.2").spawn();
    let page = Page::of(&running);
    page.until_status(|status| status["series"]["items"] == SERIES);
    let before_kib = memory_kib(running.pid(), "VmRSS");

    let all = page.json("/series.json");
    assert_eq!((count(&all, "/matching"), count(&all, "/known"), ids(&all).len()), (SERIES, SERIES, 50));
    let some = page.json("/series.json?q=FAULT_number+%22777&limit=1000");
    // 777 and 7770 to 7779.
    assert_eq!((count(&some, "/matching"), ids(&some).len(), some["is_complete"].as_bool()), (11, 11, Some(true)));
    assert_eq!(text(&some, "/series/0/text"), r#"fault_number{series="777"}"#);
    assert_eq!(ids(&page.json("/series.json?limit=100000")).len(), 200);
    assert_eq!(ids(&page.json("/series.json?limit=0&q=%00%ff&x=y")).len(), 0);
    assert_eq!(page.get(&format!("/series.json?q={}", "x".repeat(5000))).status, 414);

    // In view: as many as may be, and one more.
    let chosen = ids(&page.json("/series.json?limit=65"));
    let query = |ids: &[String]| ids.iter().map(|id| format!("id={id}")).collect::<Vec<_>>().join("&");
    let in_view = format!("/history.json?{}", query(&chosen[..64]));
    let points = |one: &Value| one["points"].as_array().map_or(0, Vec::len);
    // What nobody asks for is kept for three seconds, and a starved machine may take longer from one request to the next:
    // then there is room for the one more, until that is forgotten too.
    let deadline = Instant::now() + LONG;
    let (seen, news) = loop {
        let seen = page.json(&in_view);
        if seen["series"].as_array().expect("series").iter().all(|one| one["state"] == "kept" && points(one) >= 3) {
            let one_more = page.json(&format!("/history.json?id={}", chosen[64]));
            let since = &seen["series"][0]["points"][1][0];
            let news = page.json(&format!("/history.json?id={}:{since}", chosen[0]));
            if text(&one_more, "/series/0/state") == "refused" && points(&news["series"][0]) > 0 {
                break (seen, news);
            }
        }
        assert!(Instant::now() < deadline, "{seen}");
        thread::sleep(ASK_EVERY);
    };
    let [point, next] = [&seen["series"][0]["points"][0], &seen["series"][0]["points"][1]];
    assert!(
        point[0].as_i64() < next[0].as_i64() && point[1].as_f64() < next[1].as_f64(),
        "numbers rise: {point} {next}"
    );
    assert!(news["series"][0]["points"][0][0].as_i64() >= next[0].as_i64(), "{news}");
    assert_eq!(text(&page.json("/history.json?id=4294967295"), "/series/0/state"), "gone");
    for bad in ["id=x".to_owned(), query(&chosen), "id=1:".to_owned()] {
        assert_eq!(page.get(&format!("/history.json?{bad}")).status, 400, "{bad}");
    }
    let after_kib = memory_kib(running.pid(), "VmRSS");
    assert!(after_kib < before_kib + 2 * SLACK_KIB, "{before_kib} KiB, then {after_kib} KiB");
}

#[test]
fn labels_of_any_kind_are_text() {
    let hostile = r#"</script><img src=x onerror=alert(1)>"#;
    let item =
        json!({"metric": "m", "labels": {"a": format!("{hostile}\n\u{202e}\u{0}\"")}, "value": 1, "timestamp_ms": 0});
    let item = item.to_string().replace(r#""timestamp_ms":0"#, r#""timestamp_ms":NOW_MS"#);
    let running = shown(host(NOWHERE)).env("FAULT_FORM", "json").env("FAULT_JSON", item).spawn();
    let page = Page::of(&running);
    let answer = page.until("/series.json?q=script", |answer| answer.status == 200 && answer.body.contains("onerror"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let found: Value = serde_json::from_str(&answer.body).expect("JSON");
    let text = text(&found, "/series/0/text");
    assert_eq!(text, format!(r#"m{{a="{hostile}\n\u{{202e}}\0\""}}"#), "what can't be seen is written out");
    assert!(text.chars().all(|c| !c.is_control()));
}

#[test]
fn a_fast_series_keeps_its_peaks_in_few_points() {
    let running = shown(host(NOWHERE)).env("SCRAPE_INTERVAL_S", "0.001").spawn();
    let page = Page::of(&running);
    page.until_status(|status| status["series"]["items"] == 1);
    let id = ids(&page.json("/series.json")).remove(0);
    let deadline = Instant::now() + LONG;
    loop {
        let seen = page.json(&format!("/history.json?id={id}"));
        let points = seen["series"][0]["points"].as_array().expect("points").clone();
        // The numbers rise: the last one is the largest of each half second. One in which a starved machine made a single
        // reading has that alone.
        let several = points.iter().filter(|point| point.as_array().is_some_and(|point| point.len() > 2));
        let ranges = several.map(|point| {
            let [last, min, max] = [1, 2, 3].map(|i| point[i].as_f64().unwrap_or_else(|| panic!("{points:?}")));
            assert!(last == max && max > min, "{points:?}");
            max - min
        });
        if points.len() >= 4 && ranges.fold(0.0, f64::max) > 50.0 {
            return;
        }
        assert!(Instant::now() < deadline, "{seen}");
        thread::sleep(Duration::from_millis(100));
    }
}
