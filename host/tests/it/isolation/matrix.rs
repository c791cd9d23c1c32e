//! Each fault of a plugin in both modes. In a process of its own: the host lives, replaces it, and every sample that had
//! left it arrives. In the host's: the documented end, and with a spool the next start tells of it and delivers the rest.
//!
//! The plugin writes a line before each send, which tells what had left it, whatever became of it.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::time::Instant;

use signal_hook::consts::{SIGABRT, SIGKILL, SIGSEGV, SIGTERM};

use super::{isolated, kill_in_mid_send, plugin_of, wait_for_each_once};
use crate::drive::{self, number};
use crate::faults::{LONG, NOWHERE, aimed, books, lines, raw, stop, wait_for_text};
use crate::host::Host;
use crate::sink::Sink;
use crate::spool::{folder, unfinished, with_spool};

type Variables = &'static [(&'static str, &'static str)];

/// How a run ends in which the plugin is in the host's own process.
#[derive(Clone, Copy, Debug)]
enum End {
    /// By itself, with this status.
    Status(i32),
    /// By itself, by this signal.
    Signal(i32),
    /// With this status, when it is asked to.
    Asked(i32),
    /// By a kill from outside.
    Killed,
}

impl End {
    /// Whether the host had no time for its books.
    fn is_bad(self) -> bool {
        matches!(self, End::Signal(_) | End::Status(7) | End::Killed)
    }
}

struct Row {
    fault: &'static str,
    /// In both modes.
    set: Variables,
    /// In a process of its own.
    isolated: Variables,
    /// What the host says of its end there.
    says: &'static str,
    /// In the host's own.
    end: End,
}

const ROWS: [Row; 11] = [
    Row {
        fault: "a segmentation fault",
        set: &[("FAULT_PROCESS_DATA", "segfault")],
        isolated: &[],
        says: "was ended by a segmentation fault (SIGSEGV)",
        end: End::Signal(SIGSEGV),
    },
    Row {
        fault: "an abort",
        set: &[("FAULT_PROCESS_DATA", "abort")],
        isolated: &[],
        says: "was ended by an abort (SIGABRT)",
        end: End::Signal(SIGABRT),
    },
    Row {
        fault: "a stack overflow",
        set: &[("FAULT_PROCESS_DATA", "overflow")],
        isolated: &[],
        says: "was ended by an abort, as a stack overflowed (SIGABRT)",
        end: End::Signal(SIGABRT),
    },
    Row {
        fault: "an exit",
        set: &[("FAULT_PROCESS_DATA", "exit")],
        isolated: &[],
        says: "exited with status 7",
        end: End::Status(7),
    },
    Row {
        fault: "a loop that ignores the stop",
        set: &[("FAULT_PROCESS_DATA", "spin"), ("SHUTDOWN_TIMEOUT_S", "2")],
        isolated: &[("PLUGIN_STALL_S", "1")],
        says: "it stalled",
        end: End::Asked(1),
    },
    Row {
        // In the host's own process, `in_process` sets the limit.
        fault: LEAK,
        set: &[("FAULT_PROCESS_DATA", "leak")],
        isolated: &[("PLUGIN_MEMORY_MAX", "128MiB")],
        says: "as memory was refused (SIGABRT), with PLUGIN_MEMORY_MAX at 134217728 bytes",
        end: End::Signal(SIGABRT),
    },
    Row {
        fault: "a panic in a drop",
        set: &[("FAULT_PROCESS_DATA", "error"), ("FAULT_DROP", "panic")],
        isolated: &[],
        says: "the sensor has gone, as the test asked",
        end: End::Status(1),
    },
    Row {
        fault: FULL,
        set: &[("FAULT_GET_POWER", "panic"), ("RAW_QUEUE_SIZE", "1"), ("FAULT_PROCESS_DELAY_S", "0.1")],
        isolated: &[],
        says: "as the test asked",
        end: End::Status(1),
    },
    Row {
        fault: "a flood of logs",
        set: &[("FAULT_FLOOD", "error")],
        // The plugin dies while it logs: what it had sent came behind all that.
        isolated: &[("FAULT_PROCESS_DATA", "segfault")],
        says: "was ended by a segmentation fault (SIGSEGV)",
        end: End::Asked(0),
    },
    Row {
        fault: "a flood of records",
        set: &[("FAULT_SERIES", "500"), ("SCRAPE_INTERVAL_S", "0.001"), ("PROC_QUEUE_SIZE", "4")],
        isolated: &[("FAULT_PROCESS_DATA", "segfault"), ("FAULT_AFTER", "60")],
        says: "was ended by a segmentation fault (SIGSEGV)",
        end: End::Asked(0),
    },
    Row {
        // Each send is more than the pipe holds.
        fault: TORN,
        set: &[],
        isolated: &[
            // Seldom enough that the pipe is empty most of the time, on a starved machine too.
            ("FAULT_SERIES", "12000"),
            ("SCRAPE_INTERVAL_S", "2"),
            ("SHUTDOWN_TIMEOUT_S", "60"),
        ],
        says: "was ended by a kill",
        end: End::Killed,
    },
];

const LEAK: &str = "a leak under a limit";
const FULL: &str = "a panic while a queue is full";
const TORN: &str = "a kill in the middle of a frame";

/// So many rows at a time.
const AT_ONCE: usize = 4;

fn each_row(cell: impl Fn(&Row) + Sync) {
    for rows in ROWS.chunks(AT_ONCE) {
        drive::in_parallel(rows.iter().map(|row| row.fault), |fault| {
            let began = Instant::now();
            cell(rows.iter().find(|row| row.fault == fault).expect("a row of these"));
            eprintln!("{fault}: {:.1} s", began.elapsed().as_secs_f64());
        });
    }
}

fn set(host: Host, variables: Variables) -> Host {
    variables.iter().fold(host, |host, (name, value)| host.env(name, value))
}

/// A reading: its number and its moment.
type Reading = (u64, i64);

/// What the plugin says it sent, in that order: in one of the lines, between whatever else is written there.
fn journal<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<Reading> {
    readings("reading ", lines)
}

/// What it says was handed back to it.
fn handed_back<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<Reading> {
    readings("handed back ", lines)
}

fn readings<'a>(what: &str, lines: impl IntoIterator<Item = &'a str>) -> Vec<Reading> {
    let reading = |line: &str| {
        let mut words = line[line.rfind(what)? + what.len()..].split_whitespace();
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    };
    lines.into_iter().filter_map(reading).collect()
}

/// Where the readings of a second instance begin.
fn second(readings: &[Reading]) -> Option<usize> {
    Some(readings.windows(2).position(|two| two[1].0 <= two[0].0)? + 1)
}

/// How many different samples of each reading have arrived.
fn arrived(sink: &Sink) -> BTreeMap<Reading, usize> {
    let samples = sink.samples().into_iter().filter(|one| !one.is_marker());
    let each: BTreeSet<_> =
        samples.map(|one| ((one.value as u64, one.timestamp_ms), one.labels["series"].clone())).collect();
    let mut readings = BTreeMap::new();
    each.into_iter().for_each(|(reading, _)| *readings.entry(reading).or_default() += 1);
    readings
}

#[test]
fn a_process_of_its_own_is_replaced_and_nothing_that_left_it_is_lost() {
    each_row(|row| {
        let (sink, dir) = (Sink::start(), folder());
        let host = isolated(&sink)
            .env("PLUGIN_RESTART", "on-failure")
            .env("FAULT_INSTANCES", dir.path().join("instances"))
            .env("FAULT_FAULTY", "1")
            .env("FAULT_SERIES_LATER", "1")
            .env("FAULT_JOURNAL", "1")
            // A starved machine takes its time for a flood of records.
            .env("SHUTDOWN_TIMEOUT_S", "50");
        let running = set(set(host, row.set), row.isolated).spawn();
        if row.fault == TORN {
            wait_for_text(&running, "reading 2 ");
            kill_in_mid_send(&running, plugin_of(&running));
            wait_for_text(&running, "died while it sent");
        }
        let told = wait_for_text(&running, "the plugin is restarted: ");
        assert!(told.message().contains(row.says), "{}: {}", row.fault, told.text);
        // The second instance begins anew.
        let mut said = Vec::new();
        running.wait_for_log(
            |line| {
                said.extend(journal([&line.text[..]]));
                second(&said).is_some() && said[said.len() - 1].0 >= 3
            },
            LONG,
        );
        let ledger = stop(&running);
        let told = wait_for_text(&running, "the plugin did not run through");
        assert_eq!((number(&told, "restarts"), ledger.dropped), (1, 0), "{}: {ledger:?}", row.fault);
        assert!(row.fault != FULL || raw(&running, "raw_refused") > 0, "{}", running.log_text());
        wait_for_each_once(&sink, ledger.delivered);

        let log = running.log();
        let said = journal(log.iter().map(|line| &line.text[..]));
        let back = handed_back(log.iter().map(|line| &line.text[..]));
        let second = second(&said).expect("a second instance");
        let series = |i: usize| {
            let first = row.isolated.iter().chain(row.set).find(|(name, _)| *name == "FAULT_SERIES");
            if i < second { first.map_or(1, |(_, count)| count.parse().expect("a number")) } else { 1 }
        };
        let mut arrived = arrived(&sink);
        let mut missing = Vec::new();
        for (i, reading) in said.iter().enumerate() {
            match arrived.remove(reading) {
                Some(samples) => assert_eq!(samples, series(i), "{}: {reading:?}", row.fault),
                None => missing.push(i),
            }
        }
        assert!(arrived.is_empty(), "{}: never sent: {arrived:?}", row.fault);
        // What was handed back, and what broke off, had not left it.
        let mut expected: Vec<_> = (0..said.len()).filter(|&i| back.contains(&said[i])).collect();
        // Of what was handed back shortly before its death, behind a flood say, the count died with it.
        let of_second = expected.iter().filter(|&&i| i >= second).count() as u64;
        let counted = of_second..=expected.len() as u64;
        assert!(counted.contains(&ledger.refused_sends), "{}: {counted:?}, {ledger:?}", row.fault);
        if row.fault == TORN {
            expected.push(second - 1);
            expected.sort_unstable();
        }
        assert_eq!(missing, expected, "{}: {said:?}", row.fault);
    });
}

#[test]
fn in_the_host_s_process_it_ends_as_documented_and_the_next_start_goes_on() {
    /// The second run's readings begin here.
    const FIRST: u64 = 1_000_000;
    each_row(|row| {
        let (sink, dir) = (Sink::start(), folder());
        let host = match row.fault {
            // As a container's limit would. KiB.
            LEAK => Host::by_shell("ulimit -d 262144 && exec \"$0\""),
            _ => Host::new(),
        };
        let host = with_spool(aimed(host, NOWHERE), dir.path()).env("FAULT_AFTER", "40").env("FAULT_JOURNAL", "1");
        let running = set(host, row.set).spawn();
        if matches!(row.end, End::Asked(_) | End::Killed) {
            running.wait_for_output(|line| line.starts_with("reading 40 "), LONG);
            running.signal(if matches!(row.end, End::Killed) { SIGKILL } else { SIGTERM });
        }
        let ended = running.wait(LONG);
        let expected = match row.end {
            End::Status(status) | End::Asked(status) => (Some(status), None),
            End::Signal(signal) => (None, Some(signal)),
            End::Killed => (None, Some(SIGKILL)),
        };
        assert_eq!((ended.code(), ended.signal()), expected, "{}: {}", row.fault, running.log_text());
        let output = running.output();
        let said = journal(output.iter().map(|line| &line[..]));
        // A host that had the time for its books says how much waits.
        let left = (!row.end.is_bad()).then(|| {
            let ledger = running.ledger();
            ledger.assert_balanced();
            assert_eq!((ledger.delivered, ledger.dropped), (0, 0), "{}: {ledger:?}", row.fault);
            assert!(row.fault != FULL || raw(&running, "raw_refused") > 0, "{}", running.log_text());
            ledger
        });

        let next = with_spool(aimed(Host::new(), sink.url()), dir.path()).env("FAULT_FIRST", FIRST.to_string());
        let next = next.env("SHUTDOWN_TIMEOUT_S", "50").spawn();
        let found = number(&wait_for_text(&next, "an earlier run left these in the spool"), "samples");
        sink.wait_for(LONG, "the next run's own", |samples| samples.iter().any(|one| one.value >= (FIRST + 5) as f64));
        next.signal(SIGTERM);
        assert_eq!(next.wait(LONG).code(), Some(0), "{}: {}", row.fault, next.log_text());
        let told = unfinished::told(&next);
        assert_eq!(told, row.end.is_bad().then_some(running.pid().into()), "{}: {}", row.fault, next.log_text());
        assert_eq!(lines(&next, "ERROR").len(), 0, "{}: {}", row.fault, next.log_text());
        let ledger = books(&next);
        assert_eq!(ledger.dropped, 0, "{}: {ledger:?}", row.fault);
        let all = sink.wait_samples(ledger.delivered as usize, LONG);
        let own = all.iter().filter(|one| one.value >= FIRST as f64).count() as u64;
        assert_eq!((all.len() as u64, found), (ledger.delivered, ledger.delivered - own), "{}", row.fault);

        let mut arrived = arrived(&sink);
        arrived.retain(|(number, _), _| *number < FIRST);
        let kept: Vec<_> = said.iter().filter(|reading| arrived.remove(reading).is_some()).collect();
        assert!(arrived.is_empty(), "{}: never sent: {arrived:?}", row.fault);
        match left {
            Some(books) => {
                assert_eq!(books.pending, found, "{}", row.fault);
                let missing = (said.len() - kept.len()) as u64;
                assert_eq!(missing, books.refused_sends, "{}", row.fault);
            }
            // What was written is the beginning, without a gap.
            None => {
                assert!(!kept.is_empty() && kept.iter().copied().eq(&said[..kept.len()]), "{}: {kept:?}", row.fault)
            }
        }
    });
}
