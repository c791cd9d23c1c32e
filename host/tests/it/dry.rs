//! A dry run: everything happens but the push, and standard output has what would have been pushed.

use std::process::{Command, Stdio};

use crate::faults::{LONG, NOWHERE, books, host, numbers, raw, stop};
use crate::host::Host;
use crate::plugins;
use crate::process::Process;
use crate::sink::Sink;
use crate::spool::bytes_in;

/// The value at the end of a printed line, which begins with its moment and its series.
#[track_caller]
fn value(line: &str) -> f64 {
    let (moment, rest) = line.split_once("  ").unwrap_or_else(|| panic!("{line:?}"));
    assert!(moment.len() == "2025-10-09T08:53:20.007Z".len() && moment.starts_with("20"), "{line}");
    let value = rest.strip_prefix("fault_number{series=\"0\"} ").unwrap_or_else(|| panic!("{line:?}"));
    value.parse().unwrap_or_else(|_| panic!("{line:?}"))
}

#[test]
fn every_sample_is_printed_and_counted_as_delivered() {
    for protocol in ["auto", "1.0", "2.0"] {
        let sink = Sink::start();
        let running = host(sink.url()).env("REMOTE_WRITE_PROTOCOL", protocol).arg("run").arg("--dry-run").spawn();
        running.wait_for_output(|line| value(line) >= 10.0, LONG);
        let ledger = stop(&running);
        let printed: Vec<f64> = running.output().iter().map(|line| value(line)).collect();
        let read: Vec<f64> = (1..=raw(&running, "raw_sent")).map(|number| number as f64).collect();
        assert_eq!(printed, read, "{protocol}");
        assert_eq!((ledger.delivered, ledger.dropped), (printed.len() as u64, 0), "{ledger:?}");
        assert_eq!(sink.requests().len(), 0);
        let says = |text: &str| running.log().iter().any(|line| line.message().contains(text));
        assert!(says("DRY_RUN: nothing is pushed") && !says("batches wait in memory"), "{}", running.log_text());
    }
}

#[test]
fn a_histogram_is_a_line_too() {
    let running = host(NOWHERE).env("DRY_RUN", "1").env("FAULT_FORM", "histograms").spawn();
    running.wait_for_output(|line| line.contains("counts=\"custom\""), LONG);
    let ledger = stop(&running);
    let printed = running.output();
    assert!(printed[0].ends_with("  fault_histogram{counts=\"integer\"} count=6.0,sum=10.0"), "{printed:#?}");
    assert_eq!((ledger.delivered, ledger.dropped), (printed.len() as u64, 0), "{ledger:?}");
}

#[test]
fn nothing_of_the_way_in_is_needed() {
    let running = host("https://nowhere.invalid/write").env("DRY_RUN", "1").env("TLS_CA_FILE", "/nonexistent/ca.pem");
    let running = running.env("REMOTE_WRITE_BEARER_TOKEN_FILE", "/nonexistent/token").spawn();
    running.wait_for_output(|line| value(line) >= 1.0, LONG);
    stop(&running);
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_well() {
    // `head` ends behind three lines; the status is the host's own.
    let script = r#"set -o pipefail; "$0" run --dry-run | head -n 3"#;
    let binary = env!("CARGO_BIN_EXE_monitor-host");
    let running = Host::at("bash").arg("-c").arg(script).arg(binary);
    let running = crate::faults::aimed(running, NOWHERE).spawn();
    assert_eq!(running.wait(LONG).code(), Some(0), "{}", running.log_text());
    assert_eq!(running.output().iter().map(|line| value(line)).collect::<Vec<_>>(), [1.0, 2.0, 3.0]);
    let ledger = books(&running);
    assert_eq!(ledger.dropped_as("shutdown"), ledger.dropped, "{ledger:?}");
}

#[test]
fn an_output_that_fails_is_told() {
    // A device that is always full.
    let mut command = Command::new(env!("CARGO_BIN_EXE_monitor-host"));
    command.env_clear().env("MONITOR_IMPL_PATH", plugins::so("monitor-fault")).env("DRY_RUN", "1");
    command.env("ADMIN_ADDR", "off");
    let full = std::fs::File::options().write(true).open("/dev/full").expect("the device that is always full");
    command.env("PUSH_INTERVAL_S", "0.1").stdout(full).stderr(Stdio::null());
    let process = Process::spawn(&mut command).expect("the host can be executed");
    assert_eq!(process.wait(LONG).and_then(|status| status.code()), Some(1));
}

#[test]
fn a_spool_is_left_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let spooled = |url: &str| host(url).env("SPOOL_DIR", dir.path()).env("SHUTDOWN_TIMEOUT_S", "2");
    let running = spooled(NOWHERE).spawn();
    running.wait_for_log(|line| line.message().starts_with("a push failed"), LONG);
    running.signal(signal_hook::consts::SIGTERM);
    assert_eq!(running.wait(LONG).code(), Some(0), "{}", running.log_text());
    let (waits, bytes) = (running.ledger().pending, bytes_in(dir.path()));
    assert!(waits > 0 && bytes > 0);

    let dry = spooled(NOWHERE).env("DRY_RUN", "1").spawn();
    dry.wait_for_output(|line| value(line) >= 5.0, LONG);
    stop(&dry);
    assert_eq!(bytes_in(dir.path()), bytes);

    let sink = Sink::start();
    let real = spooled(sink.url()).spawn();
    sink.wait_samples(waits as usize + 1, LONG);
    let ledger = stop(&real);
    assert_eq!(numbers(&sink, &ledger)[..waits as usize], (1..=waits).collect::<Vec<_>>());
}
