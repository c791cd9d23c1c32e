//! Each of the host's own metrics moves when what it tells of happens: no family is without a proof.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use monitor_host::metrics::FAMILIES;
use serde_json::json;
use signal_hook::consts::{SIGCONT, SIGSTOP};

use super::{Page, shown};
use crate::drive::{in_parallel, now_ms};
use crate::faults::{NOWHERE, aimed, host};
use crate::host::{Host, Running};
use crate::plugins;
use crate::sink::Sink;

/// A page, and what was seen to move there.
struct Watched<'a> {
    page: Page<'a>,
    moved: RefCell<BTreeSet<String>>,
}

impl<'a> Watched<'a> {
    #[track_caller]
    fn new(running: &'a Running) -> Self {
        Self { page: Page::of(running), moved: RefCell::default() }
    }

    fn note(&self, series: &str) {
        let name = series.split('{').next().expect("a first part");
        let suffixes = ["_bucket", "_sum", "_count"].into_iter();
        let name = suffixes.filter_map(|suffix| name.strip_suffix(suffix)).next().unwrap_or(name);
        self.moved.borrow_mut().insert(format!("monitor_client_{name}"));
    }

    /// It comes to be so.
    #[track_caller]
    fn becomes(&self, series: &str, wanted: impl Fn(f64) -> bool) -> f64 {
        let number = self.page.until_number(series, wanted);
        self.note(series);
        number
    }

    /// It gets larger than it is now.
    #[track_caller]
    fn grows(&self, series: &str) {
        let before = self.page.number(series);
        self.becomes(series, |number| number > before);
    }
}

/// All goes well; each bound is the one that was set.
fn steady() -> BTreeSet<String> {
    let sink = Sink::start();
    let began_s = now_ms() as f64 / 1000.0;
    let running = shown(host(sink.url()))
        .env("REMOTE_WRITE_PROTOCOL", "auto")
        .env("FAULT_FORM", "exemplars")
        .env("FAULT_SERIES", "3")
        .env("PUSH_INTERVAL_S", "0.5")
        .env("RAW_QUEUE_SIZE", "71")
        .env("PROC_QUEUE_SIZE", "72")
        .env("MAX_RETRY_BATCHES", "73")
        .env("MAX_RETRY_BYTES", "74")
        .env("MAX_SERIES", "75")
        .spawn();
    let seen = Watched::new(&running);
    let is = |expected: f64| move |number: f64| number == expected;
    seen.page.until("/ready", |answer| answer.status == 200);
    seen.becomes("up", is(1.0));
    seen.becomes(&format!(r#"build_info{{version="{}"}}"#, env!("CARGO_PKG_VERSION")), is(1.0));
    let plugin = seen.page.numbers().into_keys().find(|series| series.starts_with("plugin_info")).expect("a plugin");
    assert!(plugin.contains(r#"name="monitor-fault""#) && plugin.contains(r#"isolation="off""#), "{plugin}");
    seen.note(&plugin);
    for (series, bound) in [
        ("raw_queue_capacity_items", 71.0),
        ("processed_queue_capacity_items", 72.0),
        ("kept_capacity_batches", 73.0),
        ("kept_capacity_bytes", 74.0),
        ("series_capacity", 75.0),
        ("series", 3.0),
        ("remote_write_version", 2.0),
    ] {
        seen.becomes(series, is(bound));
    }
    for series in [
        r#"samples_collected_total{origin="plugin"}"#,
        "samples_delivered_total",
        "exemplars_collected_total",
        "exemplars_delivered_total",
        "readings_taken_total",
        "readings_processed_total",
        r#"pushes_total{result="delivered"}"#,
        "push_message_bytes_total",
        "push_body_bytes_total",
        "push_duration_seconds_sum",
        "push_duration_seconds_count",
        r#"push_duration_seconds_bucket{le="+Inf"}"#,
        "last_delivery_timestamp_seconds",
        "newest_sample_timestamp_seconds",
        "process_cpu_seconds_total",
        r#"admin_connections_total{result="answered"}"#,
    ] {
        seen.grows(series);
    }
    seen.becomes(r#"samples_pending{place="queued"}"#, |samples| samples > 0.0);
    seen.becomes("processed_queue_items", |items| items > 0.0);
    seen.becomes("plugin_running", is(1.0));
    let recent = |moment_s: f64| (began_s..now_ms() as f64 / 1000.0 + 1.0).contains(&moment_s);
    for series in ["last_delivery_timestamp_seconds", "newest_sample_timestamp_seconds", "process_start_time_seconds"] {
        seen.becomes(series, recent);
    }
    let numbers = seen.page.numbers();
    let (resident, virtual_) = (numbers["process_resident_memory_bytes"], numbers["process_virtual_memory_bytes"]);
    assert!((1e6..1e9).contains(&resident) && virtual_ > resident, "{resident} {virtual_}");
    seen.note("process_resident_memory_bytes");
    seen.note("process_virtual_memory_bytes");
    // As the kernel lists them, but for those that come and go.
    let listed = |what: &str| std::fs::read_dir(format!("/proc/{}/{what}", running.pid())).expect("a process").count();
    seen.becomes("process_threads", |threads| threads == listed("task") as f64);
    seen.becomes("process_open_fds", |fds| (listed("fd") as f64 - fds).abs() <= 2.0);
    assert!(numbers["process_max_fds"] > numbers["process_open_fds"]);
    seen.note("process_max_fds");
    // What the books of the receiver say too.
    let delivered = seen.page.number("samples_delivered_total") as usize;
    assert!(sink.wait_samples(delivered, crate::faults::LONG).len() >= delivered);
    seen.moved.into_inner()
}

/// The receiver fails, and there is little room to wait.
fn outage() -> BTreeSet<String> {
    let sink = Sink::start();
    sink.answer(json!({"status": 503}));
    let running = shown(host(sink.url()))
        .env("REMOTE_WRITE_PROTOCOL", "auto")
        .env("FAULT_FORM", "exemplars")
        .env("MAX_RETRY_BATCHES", "3")
        .spawn();
    let seen = Watched::new(&running);
    for series in [
        r#"pushes_total{result="failed"}"#,
        "push_retries_total",
        r#"samples_dropped_total{reason="retry_overflow"}"#,
        "exemplars_dropped_total",
    ] {
        seen.grows(series);
    }
    seen.becomes("kept_batches", |batches| batches >= 2.0);
    seen.becomes("kept_bytes", |bytes| bytes > 50.0);
    seen.becomes(r#"samples_pending{place="kept"}"#, |samples| samples > 0.0);
    seen.becomes("oldest_pending_age_seconds", |age| age > 0.3);
    assert_eq!(seen.page.number("last_delivery_timestamp_seconds"), 0.0);
    // Three failures make 1.0 be tried.
    seen.becomes("remote_write_version", |version| version == 1.0);
    sink.answer_as_usual();
    seen.becomes("kept_batches", |batches| batches == 0.0);
    seen.becomes("oldest_pending_age_seconds", |age| age < 0.3);
    seen.becomes("last_delivery_timestamp_seconds", |moment| moment > 0.0);
    sink.answer(json!({"status": 400}));
    seen.grows(r#"pushes_total{result="refused"}"#);
    seen.grows(r#"samples_dropped_total{reason="refused"}"#);
    seen.moved.into_inner()
}

/// Batches wait on disk; the machine stands still for a while.
fn spool() -> BTreeSet<String> {
    let dir = tempfile::tempdir().expect("a folder");
    let spooled = || shown(host(NOWHERE)).env("SPOOL_DIR", dir.path()).env("SPOOL_MAX_BYTES", "3MiB");
    let running = spooled().env("FAULT_START_MS", "1").env("SHUTDOWN_TIMEOUT_S", "1").spawn();
    let seen = Watched::new(&running);
    seen.becomes("spool_capacity_bytes", |bytes| bytes == f64::from(3 << 20));
    seen.becomes("spool_batches", |batches| batches >= 2.0);
    seen.grows("spool_bytes");
    seen.grows("oldest_pending_age_seconds");
    // It is 1.0 that can't carry them.
    seen.grows("start_timestamps_left_out_total");
    running.signal(SIGSTOP);
    // What is waited for is time itself.
    thread::sleep(Duration::from_secs(1));
    running.signal(SIGCONT);
    seen.becomes("push_deadlines_missed_total", |deadlines| deadlines >= 1.0);
    let moved = seen.moved.into_inner();
    crate::variables::stop(&running);

    let running = spooled().spawn();
    let seen = Watched::new(&running);
    seen.becomes(r#"samples_collected_total{origin="recovered"}"#, |samples| samples > 0.0);
    moved
}

/// The plugin fails, hangs, and is slow.
fn plugin() -> BTreeSet<String> {
    let sink = Sink::start();
    let running = shown(host(sink.url())).env("FAULT_PROCESS_DATA", "error").env("PLUGIN_RESTART", "always").spawn();
    let seen = Watched::new(&running);
    seen.becomes("plugin_running", |running| running == 0.0);
    seen.grows("plugin_restarts_total");
    let before = seen.page.number("readings_taken_total");
    // What was counted of one instance stays when there is another.
    seen.becomes("plugin_restarts_total", |restarts| restarts >= 2.0);
    seen.becomes("readings_taken_total", |readings| readings > before);
    let mut moved = seen.moved.into_inner();

    let hanging = shown(host(sink.url())).env("FAULT_GET_POWER", "stall").env("PLUGIN_STALL_S", "0.3").spawn();
    let seen = Watched::new(&hanging);
    seen.becomes("plugin_stalls_total", |stalls| stalls == 1.0);
    seen.becomes("plugin_running", |running| running == 0.0);
    moved.extend(seen.moved.into_inner());

    let slow = shown(host(sink.url())).env("FAULT_PROCESS_DELAY_S", "0.2").env("RAW_QUEUE_SIZE", "2").spawn();
    let seen = Watched::new(&slow);
    seen.becomes("raw_queue_items", |items| items == 2.0);
    seen.grows("readings_refused_total");
    moved.extend(seen.moved.into_inner());
    moved
}

/// The plugin, in a process of its own, sends more than is taken, for the host stands still.
fn refused() -> BTreeSet<String> {
    let running = shown(aimed(Host::new(), NOWHERE))
        .env("MONITOR_IMPL_PATH", plugins::so("monitor-fault"))
        .env("PLUGIN_ISOLATION", "process")
        .env("FAULT_SERIES", "500")
        .env("FAULT_FORM", "list")
        .env("SHUTDOWN_TIMEOUT_S", "2")
        .spawn();
    let seen = Watched::new(&running);
    seen.becomes(r#"samples_collected_total{origin="plugin"}"#, |samples| samples > 0.0);
    // The pipe fills up, and a send is refused after a second; how long that takes is the machine's.
    for _ in 0..5 {
        running.signal(SIGSTOP);
        thread::sleep(Duration::from_secs(4));
        running.signal(SIGCONT);
        if seen.page.number("sends_refused_total") >= 1.0 {
            break;
        }
    }
    seen.becomes("sends_refused_total", |items| items >= 1.0);
    seen.moved.into_inner()
}

#[test]
fn every_metric_moves_with_what_it_tells_of() {
    let moved = Mutex::new(BTreeSet::new());
    in_parallel(["steady", "outage", "spool", "plugin", "refused"], |scene| {
        let seen = match scene {
            "steady" => steady(),
            "outage" => outage(),
            "spool" => spool(),
            "plugin" => plugin(),
            _ => refused(),
        };
        moved.lock().expect("no scene holds it").extend(seen);
    });
    let all: BTreeSet<String> = FAMILIES.iter().map(|family| family.name.to_owned()).collect();
    assert_eq!(moved.into_inner().expect("no scene holds it"), all);
}
