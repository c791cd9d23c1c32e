//! The host's hold on the plugin's process: started, told what to do, killed.
//!
//! Enters: a library's path; stops. Leaves: a process whose messages [`Inbox`] reads on a thread of its own.
//!
//! Never: waits for it in a write: the pipe to it is non-blocking, and a process that doesn't read is broken.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use monitor_plugin_api::abi::RawQueueStats;
use rustix::io::ioctl_fionbio;
use rustix::process::{Pid, Signal, kill_process_group};

use super::inbox::Inbox;
use super::message::{Settings, Told};
use super::stderr::LastLines;
use super::{frame, worker};
use crate::plugin::boundary::Host;
use crate::plugin::log::PluginLog;
use crate::plugin::{Ended, HostSettings, LoadError, Worker};

/// What starts the plugin's process.
#[derive(Clone, Debug)]
pub struct Spawner {
    /// The plugin's library.
    pub library: PathBuf,
    /// PLUGIN_MEMORY_MAX, in bytes.
    pub memory_max: Option<usize>,
    /// Variables that the process does not inherit, because they hold the host's secrets.
    pub withheld: Vec<&'static str>,
    /// MAX_LABEL_VALUE_BYTES.
    pub max_label_value_bytes: usize,
}

impl Spawner {
    /// Starts the process, whose calls go to `host`. Whether it makes the plugin is told by [`Isolated::made`].
    ///
    /// The process ends when the calling thread does.
    ///
    /// # Errors
    /// The system gave no process.
    pub(in crate::plugin) fn spawn(&self, host: Host, settings: HostSettings) -> io::Result<Isolated> {
        let mut child = self.start()?;
        let (control, frames, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(control), Some(frames), Some(stderr)) = (control, frames, stderr) else {
            // All three are asked for below.
            return Err(io::Error::other("a process without its pipes"));
        };
        let shared = Arc::new(Shared::new(&child, control.into())?);
        let (made, is_made) = bounded(1);
        let (gone, is_gone) = bounded(0);
        let isolated = Isolated { shared: Arc::clone(&shared), made: is_made, gone: is_gone };
        isolated.shared.tell(&Told::Settings(Settings {
            scrape_interval_ns: u64::try_from(settings.scrape_interval.as_nanos()).unwrap_or(u64::MAX),
            raw_queue_size: settings.raw_queue_size as u64,
            log_level: PluginLog::level(),
            max_label_value_bytes: self.max_label_value_bytes as u64,
            memory_max: self.memory_max.unwrap_or_default() as u64,
        }));
        let last_lines = LastLines::of(stderr)?;
        let inbox = Inbox::new(self.clone(), child, frames.into(), last_lines, shared, host, made);
        let run = move || {
            inbox.run();
            drop(gone);
        };
        std::thread::Builder::new().name("plugin-inbox".to_owned()).spawn(run)?;
        Ok(isolated)
    }

    fn start(&self) -> io::Result<Child> {
        let mut command = Command::new(own_program()?);
        command.arg0("monitor-host").args::<[OsString; 4], _>(worker::arguments(std::process::id(), &self.library));
        for name in &self.withheld {
            command.env_remove(name);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A Ctrl-C is for the host, which stops the plugin in order.
        command.process_group(0).spawn()
    }
}

/// The very program that runs, also where its file was replaced since.
pub(crate) fn own_program() -> io::Result<PathBuf> {
    let link = Path::new("/proc/self/exe");
    if link.exists() { Ok(link.to_owned()) } else { std::env::current_exe() }
}

/// A plugin's process. Killed when dropped, if it still runs.
#[derive(Debug)]
pub struct Isolated {
    shared: Arc<Shared>,
    made: Receiver<Result<(), LoadError>>,
    gone: Receiver<()>,
}

impl Isolated {
    /// Tells once whether there is a plugin in the process, or why not.
    pub fn made(&self) -> &Receiver<Result<(), LoadError>> {
        &self.made
    }

    /// Starts the workers. How each ends goes to `events`, and before that, should the process die, how.
    pub fn start(&self, events: Sender<Ended>) {
        let mut listener = self.shared.listener.lock().unwrap_or_else(PoisonError::into_inner);
        if let Listener::None(missed) = std::mem::replace(&mut *listener, Listener::To(events.clone())) {
            missed.into_iter().for_each(|ended| drop(events.send(ended)));
        }
        drop(listener);
        self.shared.tell(&Told::Run);
    }

    /// Asks one of its workers to end.
    pub fn stop(&self, worker: Worker) {
        self.shared.tell(&Told::Stop(worker));
    }

    /// Ends the process at once. What it has sent is read all the same.
    pub fn kill(&self) {
        self.shared.kill();
    }

    /// Waits until the process is gone and all that it had sent is read, but not beyond `until`. Returns whether it is.
    pub fn wait_gone(&self, until: Instant) -> bool {
        self.gone.recv_deadline(until) == Err(RecvTimeoutError::Disconnected)
    }

    /// The books of the plugin's raw queue.
    pub fn raw_books(&self) -> RawBooks {
        RawBooks(Arc::clone(&self.shared))
    }
}

/// The books of a raw queue in another process.
#[derive(Debug)]
pub struct RawBooks(Arc<Shared>);

impl RawBooks {
    /// As the process told them last.
    pub fn get(&self) -> RawQueueStats {
        *self.0.raw.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Isolated {
    fn drop(&mut self) {
        self.shared.kill();
    }
}

/// What the threads of the host share of one process.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) pid: Pid,
    /// None once it is killed or gone: the number may be another's then.
    alive: Mutex<Option<Control>>,
    listener: Mutex<Listener>,
    pub(super) raw: Mutex<RawQueueStats>,
}

/// Whom the ends of workers are told.
#[derive(Debug)]
enum Listener {
    /// Nobody yet: what was missed.
    None(Vec<Ended>),
    To(Sender<Ended>),
}

#[derive(Debug)]
struct Control {
    pipe: OwnedFd,
    was_killed: bool,
}

impl Shared {
    fn new(child: &Child, control: OwnedFd) -> io::Result<Self> {
        ioctl_fionbio(&control, true)?;
        Ok(Shared {
            pid: Pid::from_child(child),
            alive: Mutex::new(Some(Control { pipe: control, was_killed: false })),
            listener: Mutex::new(Listener::None(Vec::new())),
            raw: Mutex::default(),
        })
    }

    /// A worker, or the process, has ended.
    pub(super) fn ended(&self, ended: Ended) {
        match &mut *self.listener.lock().unwrap_or_else(PoisonError::into_inner) {
            Listener::None(missed) => missed.push(ended),
            Listener::To(events) => drop(events.send(ended)),
        }
    }

    /// Writes to the process, or kills it: every message is shorter than what a pipe takes whole (PIPE_BUF), and one that
    /// has no room shows that the process doesn't read.
    pub(super) fn tell(&self, told: &Told<'_>) {
        let mut bytes = Vec::new();
        frame::append(&mut bytes, |out| told.write(out));
        let alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(control) = &*alive else { return };
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&control.pipe, &bytes));
        drop(alive);
        match written {
            // A process that is just ending reads nothing more: its end is told by itself.
            Ok(_) | Err(rustix::io::Errno::PIPE) => {}
            Err(error) => {
                tracing::error!("the plugin's process does not listen ({error}): it is killed");
                self.kill();
            }
        }
    }

    /// Kills it, and what it has started.
    pub(super) fn kill(&self) {
        let mut alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(control) = &mut *alive {
            control.was_killed = true;
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
    }

    /// It is gone: what it had started goes too, then `reap` takes its status. Returns whether it was killed by us.
    pub(super) fn bury<T>(&self, reap: impl FnOnce() -> T) -> (bool, T) {
        let mut alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        let control = alive.take();
        // Until it is reaped, nobody else has its number.
        let _ = kill_process_group(self.pid, Signal::KILL);
        (control.is_some_and(|control| control.was_killed), reap())
    }
}
