//! The spool from outside: what one run leaves, the next one delivers, first and in order.

mod damage;
mod kill;
pub(crate) mod unfinished;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use signal_hook::consts::SIGTERM;
use tempfile::TempDir;

use crate::faults::{LONG, NOWHERE, aimed, assert_all_arrived, books, host, lines, raw, stop, wait_for_text};
use crate::host::{Host, Ledger, Running};
use crate::receivers::port::Port;
use crate::sink::Sink;

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// A host with a spool, whose last request is given up soon when it is asked to stop.
fn spooling(url: &str, dir: &Path) -> Host {
    with_spool(host(url), dir)
}

pub(crate) fn with_spool(host: Host, dir: &Path) -> Host {
    host.env("SPOOL_DIR", dir).env("SPOOL_FLUSH_S", "0.1").env("SHUTDOWN_TIMEOUT_S", "1")
}

/// A run without a receiver, which leaves a number of batches in the spool; its books.
#[track_caller]
fn leave(dir: &Path) -> Ledger {
    let running = spooling(NOWHERE, dir).spawn();
    // A few batches.
    let before = bytes_in(dir);
    wait_until(&running, || bytes_in(dir) > before + 600);
    running.signal(SIGTERM);
    assert_eq!(running.wait(LONG).code(), Some(0), "{}", running.log_text());
    let ledger = running.ledger();
    ledger.assert_balanced();
    assert_eq!((ledger.delivered, ledger.dropped, ledger.refused_sends), (0, 0, 0), "{ledger:?}");
    let waits = wait_for_text(&running, "waits in the spool for the next run");
    assert_eq!(waits.json["samples"], ledger.pending);
    ledger
}

/// How many bytes the segments in it have.
pub(crate) fn bytes_in(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    let segments = files.filter(|file| file.path().extension().is_some_and(|end| end == "seg"));
    // One may be deleted at any moment.
    segments.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
}

/// Waits for what shows on the disk and nowhere else.
#[track_caller]
pub(crate) fn wait_until(running: &Running, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < LONG && running.ended().is_none(), "{}", running.log_text());
        thread::sleep(Duration::from_millis(10));
    }
}

/// The address of a receiver that a test starts there later.
fn url(port: &Port) -> String {
    format!("http://{}/api/v1/write", port.address())
}

#[test]
fn what_a_stopped_run_left_goes_first() {
    let dir = folder();
    let first = leave(dir.path());
    assert_eq!(first.pending, first.collected);
    // A second one finds it, adds its own, and leaves both.
    let second = leave(dir.path());
    assert_eq!(second.pending, second.collected);
    let own = second.collected - first.collected;
    assert!(first.pending > 0 && own > 0, "{first:?} {second:?}");

    let sink = Sink::start();
    let running = spooling(sink.url(), dir.path()).spawn();
    let told = wait_for_text(&running, "an earlier run left these in the spool");
    assert_eq!((told.json["samples"].as_u64(), told.level()), (Some(second.pending), "INFO"));
    sink.wait_samples(second.pending as usize + 20, LONG);
    let third = stop(&running);
    let read = raw(&running, "raw_sent");
    assert_eq!((third.collected, third.delivered), (second.pending + read, second.pending + read));
    let numbers: Vec<u64> =
        sink.wait_samples(third.delivered as usize, LONG).iter().map(|one| one.value as u64).collect();
    let expected: Vec<u64> = (1..=first.pending).chain(1..=own).chain(1..=read).collect();
    assert_eq!(numbers, expected);
    assert_eq!(sink.violations(), []);
    assert_eq!(lines(&running, "WARNING").len() + lines(&running, "ERROR").len(), 0, "{}", running.log_text());
}

#[test]
fn a_refusal_of_what_was_in_flight_when_a_run_ended_says_so() {
    let dir = folder();
    leave(dir.path());
    let sink = Sink::start();
    sink.answer(json!([{"status": 503, "count": 1}, {"status": 400, "body": "out of order sample", "count": 2}]));
    let running = spooling(sink.url(), dir.path()).spawn();
    sink.wait_requests(4, LONG);
    stop(&running);
    // Only the oldest can have been under way.
    let hints: Vec<_> = lines(&running, "ERROR").iter().map(|line| line.json["hint"].to_string()).collect();
    assert!(hints[0].contains("an earlier attempt may have been stored") && hints[1] == "null", "{hints:?}");
}

#[test]
fn a_second_host_on_the_same_spool_is_refused() {
    let (sink, dir) = (Sink::start(), folder());
    let running = spooling(sink.url(), dir.path()).spawn();
    sink.wait_requests(1, LONG);
    let second = spooling(sink.url(), dir.path()).spawn();
    assert_eq!(second.wait(LONG).code(), Some(2), "{}", second.log_text());
    let told = wait_for_text(&second, "in use by another process");
    assert!(told.level() == "ERROR" && told.message().contains("SPOOL_DIR"), "{}", told.text);
    // The first one does not mind.
    stop(&running);
    assert_all_arrived(&running, &sink);
}

/// All that was sampled arrives, although a line says that there is no spool.
#[track_caller]
fn assert_goes_on_in_memory(running: &Running, sink: &Sink) {
    let told = running.wait_for_log(|line| line.message().starts_with("SPOOL_DIR: "), LONG);
    assert!(told.level() == "ERROR" && told.message().contains("wait in memory"), "{}", told.text);
    sink.wait_requests(3, LONG);
    stop(running);
    assert_all_arrived(running, sink);
}

#[test]
fn where_there_can_be_no_spool_batches_wait_in_memory() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("file"), "not a spool").unwrap();
    fs::create_dir_all(at("folder/cursor")).unwrap();
    for name in ["file", "file/below", "folder"] {
        let sink = Sink::start();
        assert_goes_on_in_memory(&spooling(sink.url(), &at(name)).spawn(), &sink);
    }
    assert_eq!(fs::read(at("file")).unwrap(), b"not a spool");
}

#[test]
fn a_spool_that_can_be_used_later_is_used_then() {
    let (port, dir) = (Port::reserve().unwrap(), folder());
    let [earlier, link, place] = ["earlier", "link", "place"].map(|name| dir.path().join(name));
    let left = leave(&earlier).pending;
    // What it names is not there yet, and can't be made.
    symlink(&place, &link).unwrap();
    let running = spooling(&url(&port), &link).env("SHUTDOWN_TIMEOUT_S", "30").spawn();
    let told = running.wait_for_log(|line| line.message().starts_with("SPOOL_DIR: "), LONG);
    assert!(told.level() == "ERROR" && told.message().contains("wait in memory"), "{}", told.text);
    wait_for_text(&running, "a push failed and will be tried again");
    let before = bytes_in(&earlier);
    fs::rename(&earlier, &place).unwrap();
    let told = wait_for_text(&running, "an earlier run left these in the spool");
    assert_eq!(told.json["samples"], left);
    assert_eq!(wait_for_text(&running, "the spool can be used now").level(), "INFO");
    wait_until(&running, || bytes_in(&place) > before);

    // Nothing was delivered meanwhile, so that all of it goes in order.
    let sink = Sink::start_at(&port.address().to_string());
    sink.wait_samples(left as usize + 20, LONG);
    let ledger = stop(&running);
    let read = raw(&running, "raw_sent");
    assert_eq!((ledger.collected, ledger.delivered), (left + read, left + read), "{ledger:?}");
    let arrived = sink.wait_samples(ledger.delivered as usize, LONG);
    let numbers: Vec<u64> = arrived.iter().map(|one| one.value as u64).collect();
    assert_eq!(numbers, (1..=left).chain(1..=read).collect::<Vec<_>>());
    assert_eq!(sink.violations(), []);
    for text in ["SPOOL_DIR: ", "the spool can be used now"] {
        let lines = running.log().iter().filter(|line| line.text.contains(text)).count();
        assert_eq!(lines, 1, "{text}: {}", running.log_text());
    }
}

#[test]
fn what_a_full_disk_does_not_take_waits_in_memory() {
    let (port, dir) = (Port::reserve().unwrap(), folder());
    // So many bytes that a file of 32 blocks, of 512 bytes or of 1024, takes only a few batches.
    let mut random = fastrand::Rng::with_seed(1);
    let filler: String = (0..3000).map(|_| random.alphanumeric()).collect();
    let limited = Host::by_shell(r#"trap "" XFSZ; ulimit -f 32; exec "$0""#);
    let running = with_spool(aimed(limited, &url(&port)), dir.path())
        .env("EXTERNAL_LABELS", format!("filler={filler}"))
        .env("SHUTDOWN_TIMEOUT_S", "30")
        .spawn();
    let told = wait_for_text(&running, "batches wait in memory until the spool can be written");
    assert!(told.level() == "ERROR" && told.message().starts_with("the spool: can't write"), "{}", told.text);
    let full = bytes_in(dir.path());
    let sink = Sink::start_at(&port.address().to_string());
    // What was answered gives its space back, and what comes then goes to the disk again.
    wait_for_text(&running, "the spool can be written again");
    wait_until(&running, || bytes_in(dir.path()) < full);
    sink.wait_requests(3, LONG);
    running.signal(SIGTERM);
    assert_eq!(running.wait(LONG).code(), Some(0), "{}", running.log_text());
    assert!(books(&running).delivered > 0);
    assert_all_arrived(&running, &sink);
}
