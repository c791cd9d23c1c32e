//! The plugin in a process of its own, beside the same plugin in the host's: what is the same, and what each fault costs.

mod faults;
mod matrix;
mod rare;
mod restart;
mod stall;
mod start;

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGCONT, SIGINT, SIGKILL, SIGSTOP, SIGTERM};

use crate::faults::{LONG, assert_all_arrived, books, host, lines, raw, stop, wait_for_text};
use crate::host::{Host, Running};
use crate::sink::{Sample, Sink};

/// Where the plugin runs.
const MODES: [&str; 2] = ["off", "process"];

fn in_mode(mode: &str, sink: &Sink) -> Host {
    host(sink.url()).env("PLUGIN_ISOLATION", mode)
}

fn isolated(sink: &Sink) -> Host {
    in_mode("process", sink)
}

/// A number of `/proc/PID/stat`, counted from the one behind the state: 0 is the parent, 1 the process group. None when
/// there is no such process, or only its status is left.
fn stat(pid: u32, field: usize) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    fields.nth(field)?.parse().ok().filter(|_| state != "Z" && state != "X")
}

/// The processes that this one has started.
fn children(parent: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").expect("/proc can be read").flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|&pid| stat(pid, 0) == Some(parent)).collect()
}

/// The plugin's process, which runs.
#[track_caller]
fn plugin_of(running: &Running) -> u32 {
    wait_for_text(running, "\"running\"");
    let found = children(running.pid());
    assert_eq!(found.len(), 1, "{}", running.log_text());
    found[0]
}

fn signal(pid: u32, signal: i32) {
    let sent = std::process::Command::new("sh").arg("-c").arg(format!("kill -{signal} {pid}")).status();
    assert!(sent.expect("a shell can be started").success());
}

/// Waits until there is no such process.
#[track_caller]
fn wait_until_gone(pid: u32) {
    let start = Instant::now();
    while stat(pid, 0).is_some() {
        assert!(start.elapsed() < LONG, "process {pid} is still there");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until so many different samples have arrived; there must not be more. A host that stands still for seconds may
/// send a batch twice, whose answer it missed.
#[track_caller]
fn wait_for_each_once(sink: &Sink, delivered: u64) {
    let mut expected = delivered as usize;
    loop {
        let arrived = sink.wait_samples(expected, LONG);
        let each = arrived.iter().map(|one| (&one.labels["series"], one.timestamp_ms, one.is_marker()));
        let different = each.collect::<BTreeSet<_>>().len();
        assert!(different <= delivered as usize, "{different} arrived, {delivered} were delivered");
        if different == delivered as usize {
            return;
        }
        expected = arrived.len() + delivered as usize - different;
    }
}

fn markers(sink: &Sink) -> Vec<Sample> {
    sink.samples().into_iter().filter(Sample::is_marker).collect()
}

#[test]
fn both_ways_bring_the_same() {
    let json = r#"{"metric":"m","labels":{"a":"ü"},"value":NUMBER,"timestamp_ms":NOW_MS}"#;
    let broken = r#"[{"metric":"m","value":NUMBER,"timestamp_ms":NOW_MS},{"metric":"9","value":1},{"labels":[]}"#;
    for (form, text) in [("series", ""), ("records", ""), ("list", ""), ("json", json), ("json", broken)] {
        let brought = MODES.map(|mode| {
            let sink = Sink::start();
            let host = in_mode(mode, &sink).env("FAULT_FORM", form).env("FAULT_JSON", text).env("FAULT_SERIES", "3");
            let running = host.spawn();
            match text == broken {
                true => drop(wait_for_text(&running, "what can't be used")),
                false => drop(sink.wait_samples(60, LONG)),
            }
            let ledger = stop(&running);
            assert_eq!(raw(&running, "raw_sent"), raw(&running, "raw_received"), "{mode} {form}");
            let each = if form == "json" { 1 } else { 3 };
            assert_eq!(ledger.collected, each * raw(&running, "raw_sent"), "{mode} {form}: {ledger:?}");
            let arrived = sink.wait_samples(ledger.delivered as usize, LONG);
            assert_eq!((sink.violations(), markers(&sink).len()), (vec![], 0), "{mode} {form}");
            let reasons: Vec<_> = ledger.reasons.into_keys().collect();
            let series: Vec<_> = sink
                .series()
                .into_iter()
                .map(|(labels, samples)| {
                    assert!(
                        samples.iter().map(|sample| sample.1).eq((1..=samples.len()).map(|n| n as f64)),
                        "{samples:?}"
                    );
                    labels
                })
                .collect();
            let levels = |level| running.log().iter().filter(|line| line.level() == level).count();
            (arrived.len() as u64 == ledger.delivered, series, reasons, levels("ERROR"), levels("WARNING"))
        });
        assert_eq!(brought[0], brought[1], "{form} {text}");
        assert!(brought[0].0);
    }
}

#[test]
fn what_a_plugin_prints_is_no_frame() {
    let sink = Sink::start();
    let running = isolated(&sink).env("FAULT_PROCESS_DATA", "print").env("FAULT_AFTER", "3").spawn();
    let printed = running.wait_for_log(|line| line.text.starts_with("the plugin prints, xxx"), LONG);
    assert!(printed.json.is_null());
    sink.wait_samples(20, LONG);
    stop(&running);
    assert_all_arrived(&running, &sink);
}

#[test]
fn a_plugin_s_process_knows_no_secret_and_no_service_manager() {
    let sink = Sink::start();
    let running = isolated(&sink).env("REMOTE_WRITE_BEARER_TOKEN", "a-token").env("FAULT_AFTER", "77");
    let running = running.env("NOTIFY_SOCKET", "@nobody").env("WATCHDOG_USEC", "60000000").spawn();
    let environment = fs::read(format!("/proc/{}/environ", plugin_of(&running))).unwrap();
    let environment = String::from_utf8_lossy(&environment);
    assert!(environment.contains("FAULT_AFTER=77"), "its own settings: {environment}");
    assert!(!environment.contains("a-token") && !environment.contains("REMOTE_WRITE_URL"), "{environment}");
    assert!(!environment.contains("NOTIFY_SOCKET") && !environment.contains("WATCHDOG"), "{environment}");
    stop(&running);
}

#[test]
fn signals_for_all_of_a_service_are_the_host_s_concern() {
    let sink = Sink::start();
    let running = isolated(&sink).spawn();
    let plugin = plugin_of(&running);
    assert_ne!(stat(plugin, 1), stat(running.pid(), 1), "a Ctrl-C goes to the terminal's process group");
    [SIGTERM, SIGINT].iter().for_each(|&asked| signal(plugin, asked));
    sink.wait_samples(20, LONG);
    stop(&running);
    assert_all_arrived(&running, &sink);
    wait_until_gone(plugin);
}

#[test]
fn no_orphan_stays_when_the_host_is_killed() {
    for behaviour in ["run", "hang"] {
        let sink = Sink::start();
        let running = isolated(&sink).env("FAULT_PROCESS_DATA", behaviour).spawn();
        let plugin = plugin_of(&running);
        sink.wait_samples(5, LONG);
        running.signal(SIGKILL);
        running.wait(LONG);
        wait_until_gone(plugin);
    }
}

#[test]
fn no_orphan_stays_when_the_host_is_asked_twice() {
    let sink = Sink::start();
    let running = isolated(&sink).env("FAULT_PROCESS_DATA", "hang").env("SHUTDOWN_TIMEOUT_S", "600").spawn();
    let plugin = plugin_of(&running);
    // It hangs from the tenth reading on.
    sink.wait_samples(10, LONG);
    running.signal(SIGTERM);
    wait_for_text(&running, "asked to stop");
    // Nothing but time tells a second request from the first one, sent twice.
    std::thread::sleep(Duration::from_millis(500));
    running.signal(SIGTERM);
    assert_eq!(running.wait(LONG).code(), Some(1), "{}", running.log_text());
    wait_until_gone(plugin);
}

#[test]
fn nobody_else_may_start_the_plugin_s_process() {
    let alone = Host::new().arg("plugin-worker").arg("--host").arg("1").arg("/nonexistent.so").spawn();
    assert_eq!(alone.wait(LONG).code(), Some(4));
    assert!(alone.log_text().contains("PLUGIN_ISOLATION"), "{}", alone.log_text());
    let help = Host::new().arg("--help").spawn();
    assert_eq!(help.wait(LONG).code(), Some(0));
    assert!(help.output().iter().all(|line| !line.contains("plugin-worker")), "{:?}", help.output());
}

/// A host that stands still does not read: the pipe fills up.
#[test]
fn a_full_pipe_hands_back_what_it_does_not_take() {
    let sink = Sink::start();
    let running =
        isolated(&sink).env("FAULT_SERIES", "500").env("FAULT_FORM", "list").env("RAW_QUEUE_SIZE", "10").spawn();
    let plugin = plugin_of(&running);
    sink.wait_samples(1000, LONG);
    running.signal(SIGSTOP);
    let (start, before) = (Instant::now(), written_by(plugin));
    // What finds no room waits for its own timeout of a second.
    while start.elapsed() < Duration::from_secs(4) || written_by(plugin) == before {
        std::thread::sleep(Duration::from_millis(20));
    }
    running.signal(SIGCONT);
    wait_for_text(&running, "the pipe from the plugin's process stayed full");
    let ledger = stop(&running);
    assert!(ledger.refused_sends > 0 && ledger.collected.is_multiple_of(500), "{ledger:?}");
    assert_eq!(ledger.collected / 500 + ledger.refused_sends, raw(&running, "raw_received"), "{ledger:?}");
    assert_eq!(ledger.dropped, 0, "{ledger:?}");
    wait_for_each_once(&sink, ledger.delivered);
}

/// How many bytes a process has written.
fn written_by(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).expect("a process that runs");
    let line = text.lines().find_map(|line| line.strip_prefix("wchar: "));
    line.and_then(|number| number.parse().ok()).expect("a number")
}

/// Kills the plugin's process while it sends more than the pipe holds: the host stands still, so that the pipe fills up.
#[track_caller]
fn kill_in_mid_send(running: &Running, plugin: u32) {
    /// Most of the pipe: only the beginning of a send into the empty pipe writes as much.
    const PIPE: u64 = 250_000;
    let is_torn = || {
        running.signal(SIGSTOP);
        let (start, before) = (Instant::now(), written_by(plugin));
        while start.elapsed() < Duration::from_secs(4) {
            if written_by(plugin) >= before + PIPE {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        // It stood still in the middle of another send, which needs a moment to come to its end.
        running.signal(SIGCONT);
        std::thread::sleep(Duration::from_millis(700));
        false
    };
    assert!((0..10).any(|_| is_torn()), "{}", running.log_text());
    signal(plugin, SIGKILL);
    running.signal(SIGCONT);
}

/// A send of more than the pipe holds is half written when the process is killed.
#[test]
fn a_torn_send_costs_nothing_that_was_sent() {
    const SERIES: u64 = 12_000;
    let sink = Sink::start();
    // Seldom enough that the pipe is empty most of the time, on a starved machine too.
    let running = isolated(&sink).env("FAULT_SERIES", SERIES.to_string()).env("SCRAPE_INTERVAL_S", "2");
    let running = running.env("SHUTDOWN_TIMEOUT_S", "60").spawn();
    let plugin = plugin_of(&running);
    sink.wait_samples(SERIES as usize, LONG);
    kill_in_mid_send(&running, plugin);
    assert_eq!(running.wait(2 * LONG).code(), Some(1), "{}", running.log_text());
    wait_for_text(&running, "died while it sent");
    let ledger = books(&running);
    // Each reading came whole, and each series with its marker.
    assert_eq!((ledger.dropped, ledger.collected % SERIES), (0, 0), "{ledger:?}");
    wait_for_each_once(&sink, ledger.delivered);
    let told = lines(&running, "ERROR");
    assert!(told.iter().any(|line| line.message().contains("was ended by a kill")), "{}", running.log_text());
}
