//! One run of one sender: started, watched between two moments, ended.
//!
//! Enters: what to run, under which load, for how long. Leaves: what it cost for what arrived.
//!
//! Never: leaves a process running; counts what was sent before the first moment or after the second.

use std::io::{BufRead, BufReader, Error, Result};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use super::allocations::Count;
use super::receive::{self, Listening};
use super::{How, Load, Pass};
use crate::measure::{self, Ended, Process};

/// By then a sender has pushed.
const PATIENCE: Duration = Duration::from_secs(30);

/// PUSH_INTERVAL_S, the default.
const PUSH: Duration = Duration::from_secs(4);

/// How long the flood is watched, for each push that a steady load is.
const FLOOD: Duration = Duration::from_secs(2);

/// The plugin's threads, as the host names them.
const WORKERS: [&str; 2] = ["get_power", "process_data"];

/// How often a starting host is looked at.
const LOOK: Duration = Duration::from_micros(200);

/// Who sends.
#[derive(Clone, Debug)]
pub(super) enum Who {
    Host,
    Floor,
    /// A command of the shell, which finds the same variables.
    Other(String),
}

impl Who {
    pub(super) fn name(&self) -> &str {
        match self {
            Who::Host => "host",
            Who::Floor => "floor",
            Who::Other(command) => command.split(' ').next().unwrap_or(command),
        }
    }

    fn command(&self, folder: &Path) -> Result<Command> {
        Ok(match self {
            Who::Host => {
                let mut host = Command::new(folder.join("monitor-host"));
                host.env_clear().env("MONITOR_IMPL_PATH", folder.join("libmonitor_load.so")).env("LOG_FORMAT", "json");
                host
            }
            Who::Floor => {
                let mut floor = Command::new(std::env::current_exe()?);
                floor.arg("bench-floor");
                floor
            }
            Who::Other(command) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("exec {command}")]);
                shell
            }
        })
    }
}

/// What it took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    pub(super) samples: f64,
    pub(super) seconds: f64,
    pub(super) bytes: f64,
    pub(super) requests: f64,
    /// 0 where they are not counted.
    pub(super) allocations: f64,
    /// Its processes together: time and wakeups of the watched span, memory at its end.
    pub(super) process: Process,
    /// From its start to the first request.
    pub(super) first_s: f64,
    /// What the host's ledger says that it dropped.
    pub(super) dropped: f64,
}

/// Runs it for so many pushes.
pub(super) fn run(who: &Who, load: &Load, how: &How, pass: Pass<'_>) -> Result<Cost> {
    let Listening { url, counts, arrived } = receive::listen()?;
    let mut command = who.command(&how.folder)?;
    command.env("REMOTE_WRITE_URL", url).env("REMOTE_WRITE_PROTOCOL", &how.protocol).envs(load.variables());
    let mut count = None;
    if let Pass::Counted(counter) = pass {
        // The floor has none either.
        command.env("SELF_METRICS", "off");
        count = counter.map(|counter| counter.attach(&mut command, load.name, who.name())).transpose()?;
    }
    let began = Instant::now();
    let mut sender = Ended(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?);
    let log = sender.0.stderr.take().ok_or_else(|| Error::other("it has no stderr"))?;
    let log = thread::spawn(move || BufReader::new(log).lines().map_while(Result::ok).last());
    let first = arrived.recv_timeout(PATIENCE).map_err(|_| Error::other(format!("{} pushed nothing", who.name())))?;
    let look = || -> Result<_> {
        let pid = sender.0.id();
        let of = [vec![pid], measure::children(pid)?].concat();
        let of = of.into_iter().map(measure::process).collect::<Result<Vec<_>>>()?;
        let sum = |what: fn(&Process) -> f64| of.iter().map(what).sum::<f64>();
        let process = Process {
            cpu_s: sum(|one| one.cpu_s),
            wakeups: sum(|one| one.wakeups),
            peak_kib: sum(|one| one.peak_kib),
            share_kib: sum(|one| one.share_kib),
        };
        let sums = [&counts.samples, &counts.bytes, &counts.requests].map(|count| count.load(Relaxed) as f64);
        let allocations = count.as_ref().map_or(Ok(0.0), Count::read)?;
        Ok((Instant::now(), process, sums, allocations))
    };
    // Between two pushes of a steady load, so that both moments see whole ones.
    thread::sleep(PUSH / 4);
    let (from, before, sums, allocations) = look()?;
    thread::sleep(if load.is_flood() { FLOOD } else { PUSH } * how.pushes);
    let (until, after, all_sums, all_allocations) = look()?;
    let [samples, bytes, requests] = [0, 1, 2].map(|i: usize| all_sums[i] - sums[i]);
    if let Some(error) = counts.error.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(Error::other(format!("what {} sent can't be read: {error}", who.name())));
    }
    let ended = sender.stop();
    // Others may take a SIGTERM as they like.
    if !matches!(who, Who::Other(_)) {
        ended?;
    }
    let ledger = log.join().ok().flatten().unwrap_or_default();
    let dropped = ledger.split_once("\"dropped\":").and_then(|(_, rest)| rest.split(',').next()?.parse().ok());
    Ok(Cost {
        samples,
        seconds: (until - from).as_secs_f64(),
        bytes,
        requests,
        allocations: all_allocations - allocations,
        process: Process { cpu_s: after.cpu_s - before.cpu_s, wakeups: after.wakeups - before.wakeups, ..after },
        first_s: (first - began).as_secs_f64(),
        dropped: dropped.unwrap_or(0.0),
    })
}

/// How long a start takes, in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    /// Until both workers of the plugin run.
    pub(super) workers_s: f64,
    /// Until the first batch arrives, of a host that waits for nothing.
    pub(super) batch_s: f64,
}

pub(super) fn start(how: &How) -> Result<Start> {
    let Listening { url, arrived, .. } = receive::listen()?;
    let mut command = Who::Host.command(&how.folder)?;
    // The first sample fills the first batch, and the second one, which comes at once, ends it.
    command.env("LOAD_SERIES", "1").env("SCRAPE_INTERVAL_S", "0.001").env("BATCH_MAX_SAMPLES", "1");
    command.env("REMOTE_WRITE_URL", url).env("PROC_QUEUE_SIZE", "1");
    let began = Instant::now();
    let mut host = Ended(command.stderr(Stdio::null()).spawn()?);
    // A thread takes its name as the first thing that it does.
    let workers_s = loop {
        let threads = measure::threads(host.0.id())?;
        if WORKERS.iter().all(|worker| threads.iter().any(|name| name == worker)) {
            break began.elapsed().as_secs_f64();
        }
        if began.elapsed() > PATIENCE {
            return Err(Error::other("the host's workers don't run"));
        }
        thread::sleep(LOOK);
    };
    let first = arrived.recv_timeout(PATIENCE).map_err(|_| Error::other("the host pushed nothing"))?;
    host.stop()?;
    Ok(Start { workers_s, batch_s: (first - began).as_secs_f64() })
}

/// A host with so many registered series, of which one gets a sample a second: what it takes in MiB, and its processor time
/// for a push, in milliseconds.
pub(super) fn idle(series: u32, how: &How) -> Result<(f64, f64)> {
    let Listening { url, arrived, .. } = receive::listen()?;
    let mut command = Who::Host.command(&how.folder)?;
    command.env("LOAD_SERIES", series.to_string()).env("LOAD_ACTIVE", "1").env("SCRAPE_INTERVAL_S", "1");
    command.env("REMOTE_WRITE_URL", url).env("REMOTE_WRITE_PROTOCOL", "1.0");
    let mut host = Ended(command.stderr(Stdio::null()).spawn()?);
    arrived.recv_timeout(PATIENCE).map_err(|_| Error::other("the host pushed nothing"))?;
    thread::sleep(PUSH / 4);
    let before = measure::process(host.0.id())?;
    thread::sleep(PUSH * how.pushes);
    let after = measure::process(host.0.id())?;
    host.stop()?;
    Ok((after.peak_kib / 1024.0, (after.cpu_s - before.cpu_s) * 1e3 / f64::from(how.pushes)))
}
