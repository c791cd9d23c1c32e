//! The check in a process of its own: a plugin that crashes, or ends the process, has its report too.
//!
//! The check starts this program once more. The child runs the plugin, and tells through a pipe how far it has come, then
//! the report. The pipe comes as its standard output and is moved away before the library is opened: what a plugin prints
//! goes to stderr, and never into a report.
//!
//! Enters: the arguments of the check; a signal. Leaves: the child's report, or how the child has died.
//!
//! Never: takes a status for a report; lets the child outlive the check; waits for whoever else has the pipe.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, after, bounded, never, select, unbounded};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::plugin::process::{end_with, own_program, words};

/// How long the child may take to end behind its report: exit handlers of the plugin's libraries run then.
const EXIT_TIMEOUT: Duration = Duration::from_secs(10);
/// For what a dead child has left in the pipe.
const REST_TIMEOUT: Duration = Duration::from_secs(1);

/// The flag, not part of the interface, that makes a check the child of the process with this number.
pub(super) const FLAG: &str = "child-of";

/// What became of the child.
#[derive(Debug)]
pub(super) struct End {
    /// How it ended, and the report if it told one whole.
    pub(super) report: Option<Vec<u8>>,
    /// What it was at, as the end of a sentence.
    pub(super) stage: String,
    pub(super) status: ExitStatus,
    /// It did not end by itself.
    pub(super) late: bool,
}

impl End {
    /// The report, if the child also ended as the report says.
    pub(super) fn sound_report(&self) -> Option<(&[u8], u8)> {
        let status = self.status.code().and_then(|code| u8::try_from(code).ok())?;
        let report = self.report.as_deref()?.strip_prefix(&[status])?;
        (!self.late).then_some((report, status))
    }

    /// `was ended by a segmentation fault (SIGSEGV) in new()`.
    pub(super) fn words(&self) -> String {
        match self.late {
            true => format!("had not ended {} s {}", EXIT_TIMEOUT.as_secs(), self.stage),
            false => format!("{} {}", words(self.status, &[], None), self.stage),
        }
    }
}

/// Runs the check in a child, and passes the wish to end on to it.
pub(super) fn watch(asked: &Receiver<i32>) -> io::Result<End> {
    let mut child = start()?;
    let pid = Pid::from_child(&child);
    let mut told = match child.stdout.take() {
        Some(pipe) => listen(pipe)?,
        None => never(),
    };
    let died = death(pid)?;
    let mut end =
        End { report: None, stage: "before the plugin was opened".into(), status: ExitStatus::default(), late: false };
    let mut overdue = never();
    loop {
        select! {
            recv(told) -> one => match one {
                Ok(one) => {
                    overdue = if matches!(one, Told::Report(_)) { after(EXIT_TIMEOUT) } else { overdue };
                    end.take(one);
                }
                Err(_) => told = never(),
            },
            recv(died) -> _ => break,
            // Not reaped yet: nobody else has its number.
            recv(asked) -> _ => {
                let _ = kill_process(pid, Signal::TERM);
            }
            recv(overdue) -> _ => {
                end.late = true;
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
    while let Ok(one) = told.recv_timeout(REST_TIMEOUT) {
        end.take(one);
    }
    end.status = child.wait()?;
    Ok(end)
}

impl End {
    fn take(&mut self, told: Told) {
        match told {
            Told::Stage(stage) => self.stage = stage,
            Told::Report(report) => {
                self.report = Some(report);
                self.stage = "after the plugin's end, when the process was to exit".into();
            }
        }
    }
}

fn start() -> io::Result<Child> {
    // An input that is at its end, without a file that might not be there.
    let (nothing, _) = io::pipe()?;
    let mut command = Command::new(own_program()?);
    command.arg0("monitor-host").arg("check").arg(format!("--{FLAG}={}", std::process::id()));
    // Behind the program's name and that of the subcommand.
    command.args(std::env::args_os().skip(2));
    // A Ctrl-C is for the parent, which passes it on.
    command.stdin(nothing).stdout(Stdio::piped()).process_group(0).spawn()
}

/// Disconnects when the process has died; its status is still to be taken.
fn death(pid: Pid) -> io::Result<Receiver<()>> {
    let (dead, died) = bounded::<()>(0);
    let wait = move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let _ = rustix::io::retry_on_intr(|| waitid(WaitId::Pid(pid), options));
        drop(dead);
    };
    thread::Builder::new().name("check-child".into()).spawn(wait)?;
    Ok(died)
}

/// What the child tells.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Stage(String),
    /// The exit status, then the report.
    Report(Vec<u8>),
}

fn listen(pipe: ChildStdout) -> io::Result<Receiver<Told>> {
    let (sender, told) = unbounded();
    let read = move || {
        let _ = read(BufReader::new(pipe), &sender);
    };
    thread::Builder::new().name("check-pipe".into()).spawn(read)?;
    Ok(told)
}

/// Lines `stage TEXT`, then a line `report LENGTH` and so many bytes; anything else is the end.
fn read(mut pipe: impl BufRead, told: &Sender<Told>) -> Option<()> {
    loop {
        let mut line = String::new();
        pipe.read_line(&mut line).ok()?;
        if let Some(stage) = line.strip_prefix("stage ") {
            told.send(Told::Stage(stage.trim_end().to_owned())).ok()?;
            continue;
        }
        let length: u64 = line.strip_prefix("report ")?.trim_end().parse().ok()?;
        let mut report = Vec::new();
        pipe.by_ref().take(length).read_to_end(&mut report).ok()?;
        let whole = report.len() as u64 == length;
        return whole.then(|| told.send(Told::Report(report)).ok()).flatten();
    }
}

/// The child's end of the pipe.
#[derive(Clone, Debug)]
pub(super) struct Teller(Arc<Mutex<File>>);

impl Teller {
    /// Makes this process the child of `parent`, and takes standard output away from the plugin.
    pub(super) fn claim(parent: i32) -> io::Result<Self> {
        use rustix::stdio::{dup2_stdout, stderr, stdout};
        end_with(parent)?;
        let pipe = rustix::io::fcntl_dupfd_cloexec(stdout(), 3)?;
        dup2_stdout(stderr())?;
        // What `ps` shows would be the name of the link by which this program was started.
        let _ = rustix::thread::set_name(c"monitor-host");
        Ok(Teller(Arc::new(Mutex::new(pipe.into()))))
    }

    /// Says what comes next.
    pub(super) fn stage(&self, what: &str) {
        // A parent that is gone takes this process with it.
        let _ = self.lock().write_all(format!("stage {what}\n").as_bytes());
    }

    /// Says what was found.
    pub(super) fn report(&self, text: &str, status: u8) -> io::Result<()> {
        let mut bytes = format!("report {}\n", text.len() + 1).into_bytes();
        bytes.push(status);
        bytes.extend_from_slice(text.as_bytes());
        self.lock().write_all(&bytes)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, File> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(bytes: &[u8]) -> Vec<Told> {
        let (sender, told) = unbounded();
        let _ = read(bytes, &sender);
        drop(sender);
        told.iter().collect()
    }

    #[test]
    fn only_a_whole_report_is_one() {
        let stage = || Told::Stage("in new()".into());
        assert_eq!(told(b"stage in new()\nreport 3\n\0OK"), [stage(), Told::Report(b"\0OK".into())]);
        for bytes in [&b"stage in new()\nreport 4\n\0OK"[..], b"stage in new()\nprinted\n", b"stage in new()\n"] {
            assert_eq!(told(bytes), [stage()]);
        }
    }

    #[test]
    fn a_report_counts_only_with_its_status() {
        use std::os::unix::process::ExitStatusExt;
        let end = |report: &[u8], raw, late| End {
            report: Some(report.into()),
            stage: "in new()".into(),
            status: ExitStatus::from_raw(raw),
            late,
        };
        assert_eq!(end(b"\0OK", 0, false).sound_report(), Some((&b"OK"[..], 0)));
        assert_eq!(end(b"\x01NO", 1 << 8, false).sound_report(), Some((&b"NO"[..], 1)));
        assert_eq!(end(b"\0OK", 1 << 8, false).sound_report(), None);
        assert_eq!(end(b"\0OK", 11, false).sound_report(), None);
        assert_eq!(end(b"\0OK", 0, true).sound_report(), None);
        assert_eq!(end(b"", 11, false).words(), "was ended by a segmentation fault (SIGSEGV) in new()");
    }
}
