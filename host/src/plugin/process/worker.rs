//! The plugin's process: this program once more, as `monitor-host plugin-worker`, started by the host and by nobody else.
//!
//! Enters: the library's path; what the host tells through a pipe. Leaves: what the plugin does, through another. The
//! library is checked, opened, made and run as in the host's own process, by the same code.
//!
//! Never: outlives the host; lets the plugin, or a program that it starts, get at the two pipes: they come as standard
//! input and output and are moved away before the library is opened, so that a plugin's own `println!` goes to stderr.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use clap::{Arg, ArgMatches, Command, value_parser};
use crossbeam_channel::{Receiver, Sender, bounded};
use monitor_plugin_api::abi::failure;
use rustix::process::{Resource, Rlimit, Signal, getppid, getrlimit, set_parent_process_death_signal, setrlimit};

use super::frame::Incoming;
use super::message::{self, Counters, Settings, Told};
use super::pipe::Outgoing;
use super::remote::Remote;
use crate::plugin::{Plugin, Worker, WorkerError, load};

/// The subcommand. It is no part of the interface: nothing but the host of the same build may start it.
pub const NAME: &str = "plugin-worker";

/// How often the counters go to the host.
const COUNTERS_EVERY: Duration = Duration::from_millis(500);

/// Ended because the host is gone or makes no sense.
const NO_HOST: u8 = 4;

/// The hidden subcommand.
pub fn command() -> Command {
    Command::new(NAME)
        .about("Internal: a plugin's own process, started by `run` with PLUGIN_ISOLATION=process")
        .hide(true)
        .arg(Arg::new("host").long("host").required(true).value_parser(value_parser!(i32)))
        .arg(Arg::new("library").required(true).value_parser(value_parser!(OsString)))
}

/// The arguments for [`command`], in the process `host`.
pub(super) fn arguments(host: u32, library: &Path) -> [OsString; 4] {
    [NAME.into(), "--host".into(), host.to_string().into(), library.into()]
}

/// Runs a plugin for the host that started this process.
pub fn run(arguments: &ArgMatches) -> ExitCode {
    let host = arguments.get_one::<i32>("host").copied().unwrap_or_default();
    let library = arguments.get_one::<OsString>("library").map(PathBuf::from).unwrap_or_default();
    match serve(host, &library) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{NAME}: {error}");
            NO_HOST.into()
        }
    }
}

fn serve(host: i32, library: &Path) -> io::Result<()> {
    end_with(host).map_err(|error| io::Error::other(format!("{error}: see PLUGIN_ISOLATION")))?;
    let (control, frames) = claim_pipes()?;
    // What `ps` shows would be the name of the link by which this program was started.
    let _ = rustix::thread::set_name(c"plugin-worker");
    ignore_signals()?;
    let mut control = Control { pipe: control, incoming: Incoming::default() };
    let settings = control.settings()?;
    limit_memory(settings.memory_max)?;
    let remote = Arc::new(Remote::new(Outgoing::new(frames)?, settings));
    let told_host = |sent: Result<(), _>| sent.map_err(|_| io::Error::other("the host takes nothing any more"));
    told_host(remote.pipe.send(|out| message::hello(out, env!("CARGO_PKG_VERSION"))))?;
    let plugin = match load(library).and_then(|opened| opened.create_with(library, remote.host())) {
        Ok(plugin) => Arc::new(plugin),
        Err(error) => {
            return told_host(remote.pipe.send(|out| message::refused(out, &error)));
        }
    };
    told_host(remote.pipe.send(message::ready))?;

    let (go, started) = bounded(1);
    // The listener must not keep the plugin from being taken down.
    let (answered, stopped) = (Arc::clone(&remote), Arc::downgrade(&plugin));
    thread("control", move || control.listen(&answered, &stopped, &go))?;
    // No message: the host is gone, which ends the process at any moment now.
    let Ok(()) = started.recv() else { return Ok(()) };
    let ended = start_workers(&remote, &plugin)?;
    count_until(&remote, &plugin, &ended);
    count(&remote, &plugin, &mut None, None);
    drop(plugin);
    told_host(remote.pipe.send(message::bye))
}

/// This process ends when the host does, however that ends.
pub(crate) fn end_with(host: i32) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The host may have died before the signal was asked for.
    match getppid() {
        Some(parent) if parent.as_raw_nonzero().get() == host => Ok(()),
        _ => Err(io::Error::other("is started by monitor-host alone")),
    }
}

/// The pipes from and to the host, out of reach of the plugin.
fn claim_pipes() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::io::fcntl_dupfd_cloexec;
    use rustix::stdio::{dup2_stdin, dup2_stdout, stderr, stdin, stdout};
    let control = fcntl_dupfd_cloexec(stdin(), 3)?;
    let frames = fcntl_dupfd_cloexec(stdout(), 3)?;
    // An input that is at its end, without a file that might not be there.
    let (nothing, _) = io::pipe()?;
    dup2_stdin(&nothing)?;
    dup2_stdout(stderr())?;
    Ok((control, frames))
}

/// The host stops the plugin in order. A service manager asks every process of a service at once.
fn ignore_signals() -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    for signal in [SIGINT, SIGTERM] {
        // A handler rather than SIG_IGN, which programs that the plugin starts would inherit.
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    Ok(())
}

/// PLUGIN_MEMORY_MAX. RLIMIT_DATA counts what is private and writable: the heap, its arenas as far as they are in use, and
/// whole stacks. RLIMIT_AS would count what GPU libraries merely reserve.
fn limit_memory(bytes: u64) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    let bytes = getrlimit(Resource::Data).maximum.map_or(bytes, |most| most.min(bytes));
    Ok(setrlimit(Resource::Data, Rlimit { current: Some(bytes), maximum: Some(bytes) })?)
}

/// What the host says.
struct Control {
    pipe: OwnedFd,
    incoming: Incoming,
}

impl Control {
    fn settings(&mut self) -> io::Result<Settings> {
        loop {
            if let Some(bytes) = self.incoming.next().map_err(io::Error::other)? {
                return match Told::read(bytes) {
                    Ok(Told::Settings(settings)) => Ok(settings),
                    _ => Err(io::Error::other("the host began with something else than its settings")),
                };
            }
            self.more()?;
        }
    }

    /// Does what the host says, until it is gone; then this process ends.
    fn listen(mut self, remote: &Remote, plugin: &Weak<Plugin>, go: &Sender<()>) {
        let ended = loop {
            match self.incoming.next() {
                Ok(Some(bytes)) => match Told::read(bytes) {
                    Ok(Told::Run) => drop(go.try_send(())),
                    Ok(Told::Stop(worker)) => plugin.upgrade().iter().for_each(|plugin| plugin.stop(worker)),
                    Ok(Told::Registered { request, answer }) => remote.answered(request, answer),
                    Ok(Told::Settings(_)) | Err(_) => break "the host said what can't be understood".to_owned(),
                },
                Ok(None) => match self.more() {
                    Ok(()) => {}
                    Err(error) => break error.to_string(),
                },
                Err(error) => break error.to_string(),
            }
        };
        eprintln!("{NAME}: {ended}");
        std::process::exit(NO_HOST.into());
    }

    fn more(&mut self) -> io::Result<()> {
        let read = |into: &mut [u8]| Ok(rustix::io::retry_on_intr(|| rustix::io::read(&self.pipe, &mut *into))?);
        match self.incoming.read(read)? {
            0 => Err(io::Error::other("the host is gone")),
            _ => Ok(()),
        }
    }
}

/// Both workers, each on a thread of its own, which says how it ended. The channel closes behind the second one.
fn start_workers(remote: &Arc<Remote>, plugin: &Arc<Plugin>) -> io::Result<Receiver<()>> {
    let (running, ended) = bounded(0);
    for worker in [Worker::ProcessData, Worker::GetPower] {
        let (remote, plugin, running) = (Arc::clone(remote), Arc::clone(plugin), Sender::clone(&running));
        thread(worker.name(), move || {
            let result = plugin.run(worker);
            drop(plugin);
            let failure = result.as_ref().err().map(|error: &WorkerError| {
                let kind = if error.panicked { failure::PANIC } else { failure::ERROR };
                (kind, error.message(), &*error.detail)
            });
            let _ = remote.pipe.send(|out| message::ended(out, worker, failure));
            drop(running);
        })?;
    }
    Ok(ended)
}

/// Sends the counters now and then, until both workers have ended.
fn count_until(remote: &Remote, plugin: &Plugin, ended: &Receiver<()>) {
    let mut last = None;
    while ended.recv_timeout(COUNTERS_EVERY) == Err(crossbeam_channel::RecvTimeoutError::Timeout) {
        // A pipe that is full has more important things in it.
        count(remote, plugin, &mut last, Some(Instant::now()));
    }
}

fn count(remote: &Remote, plugin: &Plugin, last: &mut Option<Counters>, deadline: Option<Instant>) {
    let (refused, calls) = remote.counts();
    let now = Counters { raw: plugin.raw_queue(), refused, calls };
    if *last != Some(now)
        && remote
            .pipe
            .send_item(deadline, |out| {
                message::counters(out, &now);
                false
            })
            .is_ok()
    {
        *last = Some(now);
    }
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map(drop)
}
