//! A run of any length leaves memory, descriptors and threads flat.
//!
//! All plugins at once, in both modes, fifty readings a second, for FLAT_SECONDS (60; `cargo xtask long flat`: 600). The
//! first third warms up; what the last one has in the middle of its looks is compared with what the second has. Memory is the
//! anonymous one: heaps and stacks, which are the process's own whatever else maps the same files.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::{MODES, PLUGINS, alone};
use crate::drive;
use crate::faults::{LONG, stop};
use crate::host::Running;

/// What the memory may differ by: in a run of a minute a kilobyte for each reading, in one of ten minutes a hundred bytes.
const SLACK_KIB: u64 = 1024;

/// How often one looks.
const EVERY: Duration = Duration::from_millis(500);

/// What a host and its plugin's process have at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    memory_kib: u64,
    descriptors: u64,
    threads: u64,
}

#[test]
fn memory_descriptors_and_threads_stay_flat() {
    let seconds = std::env::var("FLAT_SECONDS").ok().filter(|text| !text.is_empty());
    let seconds = seconds.map_or(60, |text| text.parse().expect("FLAT_SECONDS is a number of seconds"));
    let (receiver, _alone) = (Receiver::start(), alone());
    let runs = PLUGINS.iter().flat_map(|plugin| MODES.map(|mode| (plugin, mode)));
    drive::in_parallel(runs, |(plugin, mode)| {
        let Some(sensor) = plugin.little.unwrap_or(plugin.sensor)() else { return };
        let host = plugin.host(&sensor, mode, &receiver.url).env("SCRAPE_INTERVAL_S", plugin.often_s);
        let host = host.env("REMOTE_WRITE_PROTOCOL", "1.0").env("PUSH_INTERVAL_S", "1").spawn();
        host.wait_for_log(|line| line.message() == "the first batch is delivered", LONG);
        let (began, mut looks) = (Instant::now(), Vec::new());
        while began.elapsed() < Duration::from_secs(seconds) {
            thread::sleep(EVERY);
            looks.push(look(&host));
        }
        let ledger = stop(&host);
        // Where the system's clock is set back meanwhile, a reading bears a moment that another had; nothing else is dropped.
        let by_the_clock =
            ["duplicate", "out_of_order"].iter().filter_map(|reason| ledger.reasons.get(*reason)).sum::<u64>();
        let is_all = ledger.delivered + by_the_clock == ledger.collected && by_the_clock <= ledger.collected / 1000;
        assert!(is_all, "{plugin:?}, {mode}: {ledger:?}");
        if by_the_clock > 0 {
            eprintln!("{plugin:?}, PLUGIN_ISOLATION={mode}: the clock cost {by_the_clock} samples: {ledger:?}");
        }
        let [middle, last] = thirds(&looks);
        eprintln!("{plugin:?}, PLUGIN_ISOLATION={mode}: {} samples, {middle:?} then {last:?}", ledger.delivered);
        assert!(is_flat(middle, last), "{plugin:?}, PLUGIN_ISOLATION={mode}: {looks:?}");
    });
}

/// What is in the middle of the second third, and of the last one.
fn thirds(looks: &[Look]) -> [Look; 2] {
    let third = looks.len() / 3;
    [&looks[third..2 * third], &looks[2 * third..]].map(|looks| {
        let middle = |of: fn(&Look) -> u64| {
            let mut all: Vec<u64> = looks.iter().map(of).collect();
            all.sort_unstable();
            all[all.len() / 2]
        };
        Look {
            memory_kib: middle(|look| look.memory_kib),
            descriptors: middle(|look| look.descriptors),
            threads: middle(|look| look.threads),
        }
    })
}

fn is_flat(middle: Look, last: Look) -> bool {
    last.memory_kib <= middle.memory_kib + SLACK_KIB
        && last.descriptors <= middle.descriptors
        && last.threads <= middle.threads
}

fn look(host: &Running) -> Look {
    let pids = [vec![host.pid()], children(host.pid())].concat();
    let sum = |of: &dyn Fn(u32) -> u64| pids.iter().map(|pid| of(*pid)).sum();
    let status = |pid: u32, name: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
        line.unwrap_or_else(|| panic!("no {name} in {text}"))
    };
    Look {
        memory_kib: sum(&|pid| status(pid, "RssAnon:")),
        descriptors: sum(&|pid| fs::read_dir(format!("/proc/{pid}/fd")).expect("a running process").count() as u64),
        threads: sum(&|pid| status(pid, "Threads:")),
    }
}

/// The processes that a process has started, of each of its threads.
fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("a running process").flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

/// Takes whatever is pushed and keeps nothing of it: what a real receiver costs would be the tests' own load.
struct Receiver {
    url: String,
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let url = format!("http://{}/api/v1/write", listener.local_addr().expect("a listener has an address"));
        // It ends with the tests' process: it waits for connections until then.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || take_all(&stream));
            }
        });
        Receiver { url }
    }
}

/// Answers each request of a connection, to its end.
fn take_all(stream: &TcpStream) -> io::Result<()> {
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(number) = line.strip_prefix("content-length:") {
                length = number.trim().parse().map_err(io::Error::other)?;
            }
        }
        io::copy(&mut (&mut reader).take(length), &mut io::sink())?;
        writer.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
    }
}

#[test]
fn what_grows_is_seen() {
    let flat = Look { memory_kib: 9000, descriptors: 20, threads: 9 };
    let run = |at: fn(u64, Look) -> Look| {
        let looks: Vec<Look> = (0..120).map(|second| at(second, flat)).collect();
        let [middle, last] = thirds(&looks);
        is_flat(middle, last)
    };
    // What is a little up and down, and what grows while it warms up, is flat.
    assert!(run(|second, look| Look { memory_kib: look.memory_kib + second % 7 * 100, ..look }));
    assert!(run(|second, look| Look { descriptors: look.descriptors + second.min(30) / 10, ..look }));
    assert!(run(|second, look| Look { descriptors: look.descriptors + u64::from(second % 5 == 0), ..look }));
    assert!(!run(|second, look| Look { memory_kib: look.memory_kib + second * 30, ..look }));
    assert!(!run(|second, look| Look { descriptors: look.descriptors + second / 30, ..look }));
    assert!(!run(|second, look| Look { threads: look.threads + second / 30, ..look }));
}
