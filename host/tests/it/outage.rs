//! A receiver that is gone for a while and comes back gets everything, in order.

use std::thread;
use std::time::Duration;

use signal_hook::consts::SIGTERM;

use crate::drive::{self, now_ms};
use crate::faults::{LONG, assert_all_arrived, host, raw, wait_for_text};
use crate::host::{Host, Running};
use crate::memory::{SLACK_KIB, memory_kib};
use crate::receivers::port::Port;
use crate::receivers::{Kind, Receiver};
use crate::sink::Sink;
use crate::spool::{bytes_in, wait_until};

const OUTAGE: Duration = Duration::from_secs(30);

/// A batch a second was cut meanwhile; a starved machine may miss half of the deadlines.
const FEWEST_WAITING: u64 = 15;

#[test]
fn an_outage_of_30_s_costs_nothing() {
    drive::in_parallel(Kind::ALL, |kind| {
        let Some(mut receiver) = Receiver::start(kind) else {
            return;
        };
        let host = drive::host("monitor-fault", &receiver.write_url()).env("FAULT_SERIES", "5");
        let host = host.env("PUSH_INTERVAL_S", "1").spawn();
        drive::wait_for_first_batch(&host);
        receiver.stop();
        let gone_ms = now_ms();
        thread::sleep(OUTAGE);
        let (back_ms, seen) = (now_ms(), host.log().len());
        receiver.start_again();
        let waiting = drive::wait_for_recovery(&host, seen);
        assert!(waiting >= FEWEST_WAITING, "{waiting} batches waited");

        let (ledger, readings) = drive::stop(&host);
        // A Prometheus refuses what comes out of order, and the host counts that as dropped.
        drive::assert_all_delivered(&ledger);
        assert_eq!(ledger.collected, readings * 5);
        let arrived = receiver.range("fault_number");
        assert_eq!(arrived.len(), 5, "{arrived:?}");
        for series in arrived {
            drive::assert_numbered(&series.samples, readings);
            drive::assert_evenly_spaced(&series.samples);
            let meanwhile = series.samples.iter().filter(|(moment, _)| (gone_ms..back_ms).contains(moment));
            assert!(meanwhile.count() >= 150, "sampling did not go on: {series:?}");
        }
        let failure = host.log().into_iter().find(|line| line.message().starts_with("a push failed and will be tried"));
        assert_eq!(failure.expect("the outage is told").level(), "WARNING");
    });
}

/// An hour's batches of a second each; a starved machine makes fewer in [`FAST_OUTAGE`].
const HOUR_OF_BATCHES: u64 = 3600;

/// Two hundred batches a second.
const FAST_OUTAGE: Duration = Duration::from_secs(20);

/// As if an hour passed in [`FAST_OUTAGE`]: a sample each 5 ms, a batch each sample.
fn in_fast_forward(port: &Port) -> Host {
    host(&format!("http://{}/api/v1/write", port.address()))
        .env("SCRAPE_INTERVAL_S", "0.005")
        .env("PUSH_INTERVAL_S", "0.1")
        .env("BATCH_MAX_SAMPLES", "1")
        .env("SHUTDOWN_TIMEOUT_S", "60")
}

/// Memory stays as it was once `is_full`, for as long as the receiver is away.
#[track_caller]
fn assert_memory_is_flat(running: &Running, is_full: impl FnMut() -> bool) {
    wait_until(running, is_full);
    let early_kib = memory_kib(running.pid(), "VmRSS");
    let mut most_kib = early_kib;
    for _ in 0..FAST_OUTAGE.as_secs() * 2 {
        thread::sleep(Duration::from_millis(500));
        most_kib = most_kib.max(memory_kib(running.pid(), "VmRSS"));
    }
    eprintln!("{early_kib} KiB at first, {most_kib} KiB at most");
    assert!(most_kib < early_kib + SLACK_KIB / 2, "{early_kib} KiB at first, {most_kib} KiB at most");
}

/// The receiver is back: the backlog goes out no faster than it may, and the rest when the run is asked to stop. Returns
/// the sink, and how many batches waited.
#[track_caller]
fn catch_up(running: &Running, port: &Port) -> (Sink, u64) {
    let sink = Sink::start_at(&port.address().to_string());
    let waiting = drive::number(&wait_for_text(running, "the receiver takes samples again"), "waiting");
    let backlog = sink.wait_requests(200, LONG);
    let took_ms = backlog[199].received_ms - backlog[0].received_ms;
    // A hundred a second and two hundred new ones.
    assert!(took_ms >= 500, "200 batches in {took_ms} ms knock a receiver over");
    running.signal(SIGTERM);
    assert_eq!(running.wait(LONG * 2).code(), Some(0), "{}", running.log_text());
    assert_eq!(sink.violations(), []);
    (sink, waiting)
}

#[test]
fn an_hour_of_batches_on_disk_costs_no_memory_and_arrives_in_order() {
    const MAX_BYTES: u64 = 1 << 20;
    let (port, dir) = (Port::reserve().unwrap(), tempfile::tempdir().unwrap());
    let running = in_fast_forward(&port).env("SPOOL_DIR", dir.path()).env("SPOOL_MAX_BYTES", "1MiB").spawn();
    assert_memory_is_flat(&running, || bytes_in(dir.path()) > 20_000);
    let on_disk = bytes_in(dir.path());
    assert!(on_disk > HOUR_OF_BATCHES / 2 * 100 && on_disk <= MAX_BYTES, "{on_disk} bytes");
    let (sink, waiting) = catch_up(&running, &port);
    assert!(waiting > HOUR_OF_BATCHES / 2, "{waiting} waited");
    assert_all_arrived(&running, &sink);
}

#[test]
fn of_an_hour_of_batches_memory_keeps_the_newest() {
    const MAX_BATCHES: u64 = 900;
    let port = Port::reserve().unwrap();
    let running = in_fast_forward(&port).env("MAX_RETRY_BATCHES", MAX_BATCHES.to_string()).spawn();
    assert_memory_is_flat(&running, || running.log_text().contains("retry_overflow"));
    let (sink, waiting) = catch_up(&running, &port);
    assert!((MAX_BATCHES / 2..=MAX_BATCHES).contains(&waiting), "{waiting} waited");

    let ledger = running.ledger();
    ledger.assert_balanced();
    let (read, lost) = (raw(&running, "raw_sent"), ledger.dropped_as("retry_overflow"));
    assert_eq!((ledger.collected, ledger.dropped, ledger.pending), (read, lost, 0), "{ledger:?}");
    assert!(lost > HOUR_OF_BATCHES / 4, "{ledger:?}");
    // Each that is missing was the oldest then: while the first go out again, new ones still push others out.
    let arrived: Vec<u64> = sink.wait_samples(ledger.delivered as usize, LONG).iter().map(|s| s.value as u64).collect();
    assert!(arrived.is_sorted() && arrived.len() as u64 + lost == read, "{lost} lost of {read}");
    let newest = &arrived[arrived.len() - MAX_BATCHES as usize / 2..];
    assert!(newest.iter().copied().eq(newest[0]..=read), "{newest:?} of {read}");
}
