//! `cargo xtask isolation-cost`: what a process of its own costs beside the same plugin in the host's process.
//!
//! Enters: a release build of the host and the dummy plugin; COST_SECONDS (30), for how long each load runs. Leaves: a
//! table on standard output. Both modes run at the same time, under the same load, against a receiver that reads requests and
//! does nothing else, so that what else the machine does meets both.
//!
//! Never: leaves a process running; judges.

use std::io::{BufRead, BufReader, Error, Result};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::cost::{PATIENCE, build, receive, seconds};
use crate::measure::{Ended, Process, children, process};

const MODES: [&str; 2] = ["off", "process"];

/// DUMMY_FORM, and how often a second.
const LOADS: [(&str, u64); 4] = [("series", 10), ("series", 100), ("records", 10), ("records", 100)];

const SERIES: u64 = 1000;

/// Starts of each mode, one after the other.
const STARTS: usize = 21;

/// Builds, measures and prints.
pub(crate) fn run() -> Result<ExitCode> {
    let folder = build(&["monitor-host", "monitor-dummy"])?;
    let seconds = seconds()?;
    println!(
        "{SERIES} series, remote write 1.0, a push each second, {seconds} s for each load; the host, then the plugin's process\n"
    );
    println!(
        "| `DUMMY_FORM`, readings a second | `PLUGIN_ISOLATION` | samples | processor s per million samples | peak RSS, MiB | PSS, MiB |"
    );
    println!("|---|---|---|---|---|---|");
    for (form, rate) in LOADS {
        let both = MODES.map(|mode| {
            thread::spawn({
                let folder = folder.clone();
                move || load(&folder, mode, form, rate, Duration::from_secs(seconds))
            })
        });
        let [off, process] = both.map(|one| one.join().map_err(|_| Error::other("a measuring thread panicked")));
        let (off, process) = (off??, process??);
        for (mode, cost) in MODES.iter().zip([&off, &process]) {
            let [cpu, peak, share] = [cost.cpu_s(), cost.peak_mib(), cost.share_mib()].map(|parts| text(&parts));
            println!("| `{form}`, {rate} | `{mode}` | {} | {cpu} | {peak} | {share} |", cost.samples);
        }
        let ratio = |of: fn(&Cost) -> Vec<f64>| {
            let sum = |cost| of(cost).iter().sum::<f64>();
            format!("× {:.2}", sum(&process) / sum(&off))
        };
        println!("| | ratio | | {} | {} | {} |", ratio(Cost::cpu_s), ratio(Cost::peak_mib), ratio(Cost::share_mib));
    }
    let mut starts = MODES.map(|_| Vec::new());
    for _ in 0..STARTS {
        for (mode, times) in MODES.iter().zip(&mut starts) {
            times.push(start(&folder, mode)?);
        }
    }
    println!(
        "\n| from exec to the first batch at the receiver, {STARTS} starts | median, ms | least and most, ms |\n|---|---|---|"
    );
    for (mode, times) in MODES.iter().zip(&mut starts) {
        times.sort_by(f64::total_cmp);
        println!("| `{mode}` | {:.1} | {:.1} to {:.1} |", times[STARTS / 2], times[0], times[STARTS - 1]);
    }
    println!("| ratio | × {:.2} | |", starts[1][STARTS / 2] / starts[0][STARTS / 2]);
    Ok(ExitCode::SUCCESS)
}

/// What one run took: of the host, then of the plugin's process, if it has one.
struct Cost {
    samples: u64,
    of: Vec<Process>,
}

impl Cost {
    fn cpu_s(&self) -> Vec<f64> {
        self.of.iter().map(|one| one.cpu_s / self.samples as f64 * 1e6).collect()
    }

    fn peak_mib(&self) -> Vec<f64> {
        self.of.iter().map(|one| one.peak_kib / 1024.0).collect()
    }

    fn share_mib(&self) -> Vec<f64> {
        self.of.iter().map(|one| one.share_kib / 1024.0).collect()
    }
}

fn text(parts: &[f64]) -> String {
    parts.iter().map(|part| format!("{part:.2}")).collect::<Vec<_>>().join(" + ")
}

fn load(folder: &Path, mode: &str, form: &str, rate: u64, time: Duration) -> Result<Cost> {
    let (url, first) = receive()?;
    let mut command = host(folder, mode, &url);
    command.env("DUMMY_FORM", form).env("DUMMY_SERIES", SERIES.to_string()).env("PUSH_INTERVAL_S", "1");
    command.env("SCRAPE_INTERVAL_S", (1.0 / rate as f64).to_string());
    let began = Instant::now();
    let mut host = Ended(command.stderr(Stdio::piped()).spawn()?);
    let log = host.0.stderr.take().ok_or_else(|| Error::other("the host has no stderr"))?;
    let log = thread::spawn(move || BufReader::new(log).lines().map_while(Result::ok).last());
    first.recv_timeout(PATIENCE).map_err(|_| Error::other("the host pushed nothing"))?;
    thread::sleep(time.saturating_sub(began.elapsed()));
    let of = [vec![host.0.id()], children(host.0.id())?].concat();
    let expected = if mode == "process" { 2 } else { 1 };
    if of.len() != expected {
        return Err(Error::other(format!("{} processes with PLUGIN_ISOLATION={mode}", of.len())));
    }
    let of = of.into_iter().map(process).collect::<Result<_>>()?;
    host.stop()?;
    let ledger = log.join().ok().flatten().unwrap_or_default();
    let number = |name: &str| {
        let (_, rest) = ledger.split_once(&format!("\"{name}\":"))?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok()
    };
    match [number("collected"), number("delivered"), number("refused_sends"), number("raw_refused")] {
        [Some(samples), Some(delivered), Some(0), Some(0)] if samples == delivered && samples > 0 => {
            Ok(Cost { samples, of })
        }
        _ => Err(Error::other(format!("not every sample was delivered: this machine is too slow: {ledger}"))),
    }
}

/// How long a start takes until its first batch arrives, in milliseconds.
fn start(folder: &Path, mode: &str) -> Result<f64> {
    let (url, first) = receive()?;
    let mut command = host(folder, mode, &url);
    // The first sample fills the first batch, and the second one, which comes at once, ends it: nothing waits for an interval.
    command.env("DUMMY_SERIES", "1").env("BATCH_MAX_SAMPLES", "1").env("PROC_QUEUE_SIZE", "1");
    command.env("SCRAPE_INTERVAL_S", "0.001");
    let began = Instant::now();
    let mut host = Ended(command.stderr(Stdio::null()).spawn()?);
    let arrived = first.recv_timeout(PATIENCE).map_err(|_| Error::other("the host pushed nothing"))?;
    host.stop()?;
    Ok(arrived.duration_since(began).as_secs_f64() * 1e3)
}

fn host(folder: &Path, mode: &str, url: &str) -> Command {
    let mut command = Command::new(folder.join("monitor-host"));
    command.env_clear().env("MONITOR_IMPL_PATH", folder.join("libmonitor_dummy.so")).env("PLUGIN_ISOLATION", mode);
    command.env("REMOTE_WRITE_URL", url).env("REMOTE_WRITE_PROTOCOL", "1.0").env("LOG_FORMAT", "json");
    // Nothing but the path is to be measured.
    command.env("ADMIN_ADDR", "off").env("SELF_METRICS", "off");
    command
}
