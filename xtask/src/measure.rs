//! What the system knows of a process: its time, its memory, its wakeups; and how one is ended.
//!
//! Never: leaves a process running.

use std::fs;
use std::io::{Error, Result};
use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};

/// A process at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Process {
    /// Processor time of the threads that it has now.
    pub(crate) cpu_s: f64,
    pub(crate) peak_kib: f64,
    pub(crate) share_kib: f64,
    /// How often its threads have waited for something.
    pub(crate) wakeups: f64,
}

/// What /proc knows of a process.
pub(crate) fn process(pid: u32) -> Result<Process> {
    let odd = |what: &str| Error::other(format!("/proc/{pid}/{what} is not as expected"));
    let number = |file: String, name: &str| {
        let lines = fs::read_to_string(format!("/proc/{pid}/{file}"))?;
        let line = lines.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
        line.ok_or_else(|| odd(&file))
    };
    let mut process = Process {
        peak_kib: number("status".into(), "VmHWM:")?,
        share_kib: number("smaps_rollup".into(), "Pss:")?,
        ..Process::default()
    };
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread = thread?;
        // utime and stime in `stat` count hundredths of a second: too coarse for what this is about.
        let schedstat = fs::read_to_string(thread.path().join("schedstat"))?;
        let first = schedstat.split(' ').next().and_then(|ns| ns.parse::<u64>().ok());
        process.cpu_s += first.ok_or_else(|| odd("task/*/schedstat"))? as f64 / 1e9;
        let status = format!("task/{}/status", thread.file_name().display());
        process.wakeups += number(status, "voluntary_ctxt_switches:")?;
    }
    Ok(process)
}

/// What the threads are called that a process has now.
pub(crate) fn threads(pid: u32) -> Result<Vec<String>> {
    let names = fs::read_dir(format!("/proc/{pid}/task"))?.flatten().map(|thread| {
        // One that has ended meanwhile has no name.
        fs::read_to_string(thread.path().join("comm")).unwrap_or_default().trim_end().to_owned()
    });
    Ok(names.collect())
}

/// The processes that this one has started.
pub(crate) fn children(parent: u32) -> Result<Vec<u32>> {
    let pids = fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_child = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
    };
    Ok(pids.filter(|pid| is_child(pid) == Some(parent)).collect())
}

/// A child that is asked to end, and awaited, when this is dropped.
pub(crate) struct Ended(pub(crate) Child);

impl Ended {
    /// Asks it to end, and waits for that.
    pub(crate) fn stop(&mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.0), Signal::TERM)?;
        let status = self.0.wait()?;
        if status.success() { Ok(()) } else { Err(Error::other(format!("the sender ended with {status}"))) }
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            let _ = self.stop();
        }
    }
}
