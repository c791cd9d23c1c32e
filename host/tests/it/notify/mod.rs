//! What a service manager is told, over a socket that plays systemd's.
//!
//! Enters: the real binary, started as systemd starts it. Leaves: its words, a datagram each. (systemd itself starts it in
//! `.ci/image`.) Never: waits for a word that does not come.

mod hung;

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use signal_hook::consts::SIGTERM;
use tempfile::TempDir;

use crate::faults::{LONG, NOWHERE, assert_all_arrived, host, lines, wait_for_text};
use crate::host::Host;
use crate::sink::Sink;

/// A watchdog that is told ten times a second, unless a stage is late by a tenth of one: any is, now and then, on a starved
/// machine.
const STRICT: Duration = Duration::from_millis(200);

/// One that waits ten seconds for a stage: only what hangs is late.
const PATIENT: Duration = Duration::from_secs(20);

/// The manager's end.
struct Manager {
    socket: UnixDatagram,
    name: String,
    _dir: Option<TempDir>,
}

impl Manager {
    fn at_path() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        Self { socket, name: path.to_str().expect("UTF-8").to_owned(), _dir: Some(dir) }
    }

    fn abstract_one() -> Self {
        let name = format!("monitor-host-it-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        Self { socket: UnixDatagram::bind_addr(&address).expect("a socket"), name: format!("@{name}"), _dir: None }
    }

    /// A host that it starts.
    fn starts(&self, host: Host) -> Host {
        host.env("NOTIFY_SOCKET", &self.name)
    }

    /// The same, with a watchdog.
    fn watches(&self, host: Host, watchdog: Duration) -> Host {
        self.starts(host).env("WATCHDOG_USEC", watchdog.as_micros().to_string())
    }

    /// The next datagram, within this time.
    fn hears_within(&self, timeout: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(timeout)).expect("a timeout");
        let mut words = vec![0; 4096];
        let length = self.socket.recv(&mut words).ok()?;
        Some(String::from_utf8(words[..length].to_vec()).expect("UTF-8"))
    }

    /// The next one that `wanted` holds for; those before it are passed over.
    #[track_caller]
    fn hears(&self, wanted: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + LONG;
        let mut heard = Vec::new();
        loop {
            let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            match self.hears_within(left) {
                Some(words) if wanted(&words) => return words,
                Some(words) => heard.push(words),
                None => panic!("not heard; but {heard:?}"),
            }
        }
    }
}

#[test]
fn it_is_told_that_the_run_runs_and_that_it_ends() {
    for manager in [Manager::at_path(), Manager::abstract_one()] {
        let sink = Sink::start();
        let running = manager.starts(host(sink.url())).env("SHUTDOWN_TIMEOUT_S", "30").spawn();
        assert_eq!(manager.hears_within(LONG).as_deref(), Some("READY=1\nSTATUS=running"), "{}", running.log_text());
        sink.wait_samples(3, LONG);
        // Nobody waits for signs of life: there are none.
        assert_eq!(manager.hears_within(2 * STRICT), None);
        running.signal(SIGTERM);
        assert_eq!(
            manager.hears_within(LONG).as_deref(),
            Some("STOPPING=1\nEXTEND_TIMEOUT_USEC=35000000\nSTATUS=ending: what waits is delivered")
        );
        assert_eq!(running.wait(LONG).code(), Some(0), "{}", running.log_text());
        assert_eq!(manager.hears_within(Duration::from_millis(1)), None);
        assert_all_arrived(&running, &sink);
    }
}

#[test]
fn both_workers_run_before_it_is_told_that_they_do() {
    let manager = Manager::at_path();
    let sink = Sink::start();
    let running = manager.starts(host(sink.url())).env("FAULT_NEW", "hang").spawn();
    wait_for_text(&running, "\"plugin\"");
    assert_eq!(manager.hears_within(Duration::from_millis(500)), None);
    // Nor is one that never ran ended.
    running.signal(SIGTERM);
    assert_eq!(running.wait(LONG).code(), Some(0), "{}", running.log_text());
    assert_eq!(manager.hears_within(Duration::from_millis(1)), None);
}

#[test]
fn an_outage_is_no_death() {
    let manager = Manager::at_path();
    let sink = Sink::start();
    sink.answer(json!({"status": 503}));
    let running = manager.watches(host(sink.url()), PATIENT).spawn();
    assert_eq!(manager.hears_within(LONG).as_deref(), Some("READY=1\nSTATUS=running"), "{}", running.log_text());
    let told = manager.hears_within(LONG).unwrap_or_default();
    assert!(told.starts_with("WATCHDOG=1\nSTATUS=not ready: nothing was delivered yet"), "{told}");
    wait_for_text(&running, "a push failed and will be tried again");
    sink.answer_as_usual();
    manager.hears(|words| {
        assert!(words.starts_with("WATCHDOG=1\nSTATUS="), "{words}");
        words.starts_with("WATCHDOG=1\nSTATUS=ready: the last delivery was")
    });
    running.signal(SIGTERM);
    manager.hears(|words| words.starts_with("STOPPING=1\n"));
    assert_eq!(running.wait(LONG).code(), Some(0), "{}", running.log_text());
    assert_eq!(lines(&running, "ERROR").len(), 0, "{}", running.log_text());
}

#[test]
fn a_plugin_that_hangs_is_not_the_watchdog_s() {
    let manager = Manager::at_path();
    let sink = Sink::start();
    let host = manager.watches(host(sink.url()), PATIENT);
    let running = host.env("FAULT_GET_POWER", "hang").env("FAULT_AFTER", "5").spawn();
    sink.wait_samples(5, LONG);
    // The second sign of life comes when it has hung for longer than a stage of the host's may.
    for begins in ["READY=1\n", "WATCHDOG=1\n", "WATCHDOG=1\n"] {
        let words = manager.hears_within(LONG).unwrap_or_default();
        assert!(words.starts_with(begins), "{words:?}, not {begins:?}: {}", running.log_text());
    }
}

#[test]
fn a_manager_that_is_not_there_is_one_warning() {
    let nowhere = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-such-socket");
    for (socket, says) in [
        (nowhere.to_str().expect("UTF-8"), "can't be told"),
        ("notify", "neither a path"),
        ("vsock:2:1", "neither a path"),
    ] {
        let running = host(NOWHERE).env("NOTIFY_SOCKET", socket).env("SHUTDOWN_TIMEOUT_S", "0.1").spawn();
        wait_for_text(&running, "a push failed");
        running.signal(SIGTERM);
        assert_eq!(running.wait(LONG).code(), Some(0), "{}", running.log_text());
        let told: Vec<_> = running.log().into_iter().filter(|line| line.text.contains("NOTIFY_SOCKET")).collect();
        assert!(told.len() == 1 && told[0].level() == "WARNING" && told[0].text.contains(says), "{told:?}");
    }
}
