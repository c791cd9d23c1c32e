//! The thread that reads what the plugin's process sends, from its first message to its last byte.
//!
//! Enters: frames. Leaves: the plugin's calls, made again on the host's own boundary; answers; how the workers ended,
//! and how the process did.
//!
//! Never: stops reading before the pipe is at its end, or the process dead and the pipe empty (a program that it forked
//! may hold the other end); keeps more than one message in memory; takes anything behind a frame that is none.
//!
//! It waits where the processed queue is full. That queue is emptied at once when it is half full, and by nobody who
//! waits for the receiver, so the wait is short, and the plugin's process feels it as a full pipe.

use std::os::fd::{AsFd, OwnedFd};
use std::process::Child;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use abi_stable::std_types::{RErr, ROk, RSlice};
use crossbeam_channel::Sender;
use monitor_plugin_api::abi::{AbiError, HostAbi, code};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read, retry_on_intr};
use rustix::process::{PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};

use super::fate;
use super::frame::Incoming;
use super::message::{Counters, Said, Told};
use super::parent::{Shared, Spawner};
use super::stderr::LastLines;
use crate::plugin::boundary::Host;
use crate::plugin::{Ended, LoadError, PROCESS, WORKERS, Worker, WorkerError};

/// A send waits as long as it takes.
const FOR_EVER: u64 = u64::MAX;

/// Where the system has no handle on a process (before Linux 5.3, or a container's filter), it is looked at so often.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How long a process whose pipe is at its end may take to end too.
const TIME_TO_DIE: Duration = Duration::from_secs(1);

/// How long each of the last lines of a dead process may take to be passed on: a starved machine takes its time, and only a
/// stderr of ours that nobody reads takes all of it.
const LAST_LINES: Duration = Duration::from_secs(2);

/// An error that crosses the control pipe must fit into one write.
const ERROR_MAX: usize = 2000;

pub(super) struct Inbox {
    spawner: Spawner,
    child: Child,
    pipe: OwnedFd,
    last_lines: LastLines,
    shared: Arc<Shared>,
    host: Host,
    made: Sender<Result<(), LoadError>>,
    /// Whether `made` was told.
    was_answered: bool,
    /// Who ran and has not ended.
    running: Vec<Worker>,
    counters: Counters,
    said_bye: bool,
}

/// Why reading ended.
enum End {
    /// All is read.
    Whole,
    /// The last frame broke off.
    Torn { bytes: usize },
    /// What came makes no sense.
    Nonsense(String),
}

impl Inbox {
    pub(super) fn new(
        spawner: Spawner,
        child: Child,
        pipe: OwnedFd,
        last_lines: LastLines,
        shared: Arc<Shared>,
        host: Host,
        made: Sender<Result<(), LoadError>>,
    ) -> Self {
        let (running, counters) = (WORKERS.to_vec(), Counters::default());
        let (was_answered, said_bye) = (false, false);
        Inbox { spawner, child, pipe, last_lines, shared, host, made, was_answered, running, counters, said_bye }
    }

    /// Reads until the process is gone.
    pub(super) fn run(mut self) {
        let handle = pidfd_open(self.shared.pid, PidfdFlags::empty()).ok();
        let end = self.read_all(handle.as_ref());
        // Whoever has closed the pipe, or writes nonsense, is no plugin any more.
        let patience = match end {
            End::Nonsense(_) => Some(Duration::ZERO),
            _ if self.said_bye => None,
            _ => Some(TIME_TO_DIE),
        };
        let was_broken = patience.is_some_and(|patience| !self.wait_for_exit(handle.as_ref(), Some(patience)));
        if was_broken {
            self.shared.kill();
        }
        self.wait_for_exit(handle.as_ref(), None);
        let (was_killed, status) = self.shared.bury(|| self.child.wait());
        let how = match (&end, status) {
            (End::Nonsense(_), _) if was_broken => "was killed, as it sent what makes no sense".to_owned(),
            _ if was_broken => "was killed, as it had closed its pipe to the host".to_owned(),
            _ if was_killed => "was killed, as it did not end when it was asked to".to_owned(),
            (_, Ok(status)) if self.said_bye && status.success() => {
                // What it wrote at its end is passed on before ours.
                drop(self.last_lines.wait(LAST_LINES));
                return;
            }
            (_, Ok(status)) => fate::words(status, &self.last_lines.wait(LAST_LINES), self.spawner.memory_max),
            (_, Err(error)) => format!("ended, and how is not known ({error})"),
        };
        self.report(&end, &how);
    }

    fn read_all(&mut self, handle: Option<&OwnedFd>) -> End {
        let mut incoming = Incoming::default();
        let mut is_dead = false;
        loop {
            match self.wait(handle, &mut is_dead) {
                Readable::Yes => {}
                Readable::NothingYet => continue,
                Readable::NothingMore => break,
            }
            match incoming.read(|into| Ok(retry_on_intr(|| read(&self.pipe, &mut *into))?)) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => return End::Nonsense(error.to_string()),
            }
            loop {
                match incoming.next() {
                    Ok(Some(message)) => match Said::read(message) {
                        Ok(said) => {
                            if let Err(why) = self.hear(said) {
                                return End::Nonsense(why);
                            }
                        }
                        Err(error) => return End::Nonsense(error.to_string()),
                    },
                    Ok(None) => break,
                    Err(error) => return End::Nonsense(error.to_string()),
                }
            }
        }
        match incoming.rest() {
            0 => End::Whole,
            bytes => End::Torn { bytes },
        }
    }

    /// Waits until there is something to read, or the process is dead and there is not.
    fn wait(&self, handle: Option<&OwnedFd>, is_dead: &mut bool) -> Readable {
        let mut fds = vec![PollFd::new(&self.pipe, PollFlags::IN)];
        if !*is_dead {
            fds.extend(handle.map(|handle| PollFd::from_borrowed_fd(handle.as_fd(), PollFlags::IN)));
        }
        let timeout = match (*is_dead, handle) {
            (true, _) => Some(Timespec { tv_sec: 0, tv_nsec: 0 }),
            (false, Some(_)) => None,
            (false, None) => Some(Timespec { tv_sec: 0, tv_nsec: LOOK_EVERY.subsec_nanos().into() }),
        };
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            // Nothing can be awaited: reading tells what there is.
            Err(_) => return Readable::Yes,
        }
        let has_something = |fd: &PollFd<'_>| !fd.revents().is_empty();
        if has_something(&fds[0]) {
            return Readable::Yes;
        }
        if *is_dead {
            return Readable::NothingMore;
        }
        *is_dead = match handle {
            Some(_) => fds.get(1).is_some_and(has_something),
            None => self.has_exited(),
        };
        Readable::NothingYet
    }

    /// One message. An error says why it can't be meant.
    fn hear(&mut self, said: Said<'_>) -> Result<(), String> {
        match said {
            Said::Hello { version: env!("CARGO_PKG_VERSION") } => {}
            Said::Hello { version } => return Err(format!("the process is monitor-host {version}")),
            Said::Refused { message, detail, backtrace } => {
                let [message, detail, backtrace] = [message, detail, backtrace].map(str::to_owned);
                let error = LoadError { message, detail, backtrace };
                self.running.clear();
                (self.was_answered, self.said_bye) = (true, true);
                let _ = self.made.try_send(Err(error));
            }
            Said::Ready => {
                self.was_answered = true;
                let _ = self.made.try_send(Ok(()));
            }
            Said::Records(records) => {
                let records = records.to_abi();
                let taken = self.host.send_records(RSlice::from_slice(&records), FOR_EVER);
                self.settle(taken, records.len());
            }
            Said::Json(document) => {
                let taken = self.host.send_json(RSlice::from_slice(document), FOR_EVER);
                self.settle(taken, 1);
            }
            Said::Samples(samples) => {
                let taken = self.host.send_samples(RSlice::from_slice(&samples), FOR_EVER);
                self.settle(taken, samples.len());
            }
            Said::SamplesWithExemplars(sent) => {
                let exemplars = sent.exemplars();
                let (samples, exemplars) = (RSlice::from_slice(&sent.samples), RSlice::from_slice(&exemplars));
                let taken = self.host.send_samples_with_exemplars(samples, exemplars, FOR_EVER);
                self.settle(taken, sent.samples.len());
            }
            Said::Histograms(sent) => {
                let (histograms, exemplars) = (sent.histograms(), sent.exemplars());
                let (all, exemplars) = (RSlice::from_slice(&histograms), RSlice::from_slice(&exemplars));
                let taken = self.host.send_histograms(all, exemplars, FOR_EVER);
                self.settle(taken, histograms.len());
            }
            Said::Register { request, series } => {
                let labels = RSlice::from_slice(&series.labels);
                let answer = match self.host.register_series(series.metric, labels, series.metadata) {
                    ROk(number) => Ok(number),
                    RErr(AbiError { message, .. }) => Err(message.chars().take(ERROR_MAX / 4).collect::<String>()),
                };
                let answer = answer.as_ref().map(|number| *number).map_err(String::as_str);
                self.shared.tell(&Told::Registered { request, answer });
            }
            Said::SeriesStart { series, start_ms } => self.host.set_series_start(series, start_ms),
            Said::Release { series } => self.host.release_series(series),
            Said::Log(event) => self.host.log(event),
            Said::Counters(counters) => self.count(counters),
            Said::Ended { worker, failure } => {
                self.running.retain(|&running| running != worker);
                let result = failure.map_or(Ok(()), |error| Err(error.into()));
                self.shared.ended(Ended { name: worker.name(), result });
            }
            Said::Bye => self.said_bye = true,
        }
        Ok(())
    }

    /// What the plugin was told is sent has been taken, or is lost and counted: only where the run ended without waiting
    /// for this thread, or a stage has panicked.
    fn settle(&self, taken: i32, samples: usize) {
        if taken != code::SENT {
            self.host.intake.lost(samples as u64);
        }
    }

    fn count(&mut self, counters: Counters) {
        if counters.calls != self.counters.calls {
            self.host.presence.sign();
        }
        self.host.intake.refused(counters.refused.saturating_sub(self.counters.refused));
        *self.shared.raw.lock().unwrap_or_else(PoisonError::into_inner) = counters.raw;
        self.counters = counters;
    }

    /// Whether the process has ended; its status stays for who asks next.
    fn has_exited(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(self.shared.pid), options), Ok(None))
    }

    /// Waits until the process has ended, but not longer than `patience`. Returns whether it has. A process that is ending
    /// has closed its pipes a moment before.
    fn wait_for_exit(&self, handle: Option<&OwnedFd>, patience: Option<Duration>) -> bool {
        let until = patience.map(|patience| Instant::now() + patience);
        while !self.has_exited() {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return false;
            }
            let step = left.map_or(LOOK_EVERY, |left| left.min(LOOK_EVERY));
            match handle {
                Some(handle) => {
                    let timeout = Timespec { tv_sec: 0, tv_nsec: step.subsec_nanos().into() };
                    let _ = poll(&mut [PollFd::new(handle, PollFlags::IN)], Some(&timeout));
                }
                None => std::thread::sleep(step.min(Duration::from_millis(10))),
            }
        }
        true
    }

    /// Says how the process ended, which is not how it should.
    fn report(&mut self, end: &End, how: &str) {
        match end {
            End::Whole => {}
            End::Torn { bytes } => tracing::warn!(
                bytes,
                "the plugin's process died while it sent: what was half sent is lost, the plugin was not told that it is sent"
            ),
            End::Nonsense(why) => tracing::error!("the plugin's process sent what makes no sense: {why}"),
        }
        let last_lines = self.last_lines.wait(LAST_LINES).join("\n");
        if self.said_bye || self.was_answered && self.running.is_empty() {
            // Both workers had ended: it had nothing any more that could be lost.
            return tracing::warn!(last_lines, "the plugin was taken down, then its process {how}");
        }
        if !self.was_answered {
            let message =
                format!("{}: the plugin's process {how}, before there was a plugin", self.spawner.library.display());
            let _ = self.made.try_send(Err(LoadError { message, detail: last_lines, backtrace: String::new() }));
            return;
        }
        let ran: Vec<&str> = self.running.iter().map(|worker| worker.name()).collect();
        let (pid, ran) = (self.shared.pid.as_raw_nonzero(), ran.join(" and "));
        let message = format!("its process (pid {pid}) {how}, while it ran {ran}");
        self.shared.ended(Ended { name: PROCESS, result: Err(WorkerError::new(message, false, last_lines)) });
        for worker in std::mem::take(&mut self.running) {
            self.shared.ended(Ended { name: worker.name(), result: Ok(()) });
        }
    }
}

enum Readable {
    Yes,
    NothingYet,
    NothingMore,
}
