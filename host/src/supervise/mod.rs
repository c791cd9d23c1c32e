//! Keeps the plugin running: makes its instances, one after the other, and decides by the [`policy`] what follows when one
//! ends.
//!
//! Enters: the ends of workers, signs of life, the wish to stop. Leaves: to the run, only the ends that end it; what
//! happened in between is told in the log and counted in [`Books`], which [`Status`] shows at any time.
//!
//! Never: makes an instance while a worker of another one runs; releases the series of one that is replaced before its
//! successor had a push interval to take them up again; waits without an end for what an author's code does, once
//! it is asked to stop.
//!
//! It has a thread of its own, which is where instances are made: a plugin's process ends with the thread that started it.

pub mod policy;
mod shell;
pub mod status;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, select, unbounded};
use monitor_plugin_api::abi::RawQueueStats;

pub use self::policy::Restart;
use self::shell::Shell;
pub use self::status::Status;
use crate::intake::Intake;
use crate::plugin::{Ended, HostSettings, LoadError, Source, Worker};

/// The name under which what is no worker's own end is told.
pub const PLUGIN: &str = "plugin";

/// How long the author's code may take to let go of the plugin when everything else is done, at least.
pub const LAST_MOMENT: Duration = Duration::from_secs(1);

/// How instances are kept running.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// What an instance is told.
    pub host: HostSettings,
    /// PLUGIN_RESTART.
    pub restart: Restart,
    /// PLUGIN_RESTART_MAX.
    pub max_restarts: u32,
    /// PLUGIN_STALL_S.
    pub stall: Option<Duration>,
    /// How long a series waits to be taken up again by the next instance: PUSH_INTERVAL_S.
    pub grace: Duration,
    /// How long the workers of an instance that is to be replaced may take to end.
    pub patience: Duration,
}

/// What there was of instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// The raw queues' books, all together, in items.
    pub raw: RawQueueStats,
    /// How many restarts there were, also of what could not be made again.
    pub restarts: u64,
    /// How many stalls there were.
    pub stalls: u64,
}

enum Command {
    /// The workers may start; what ends the run is told there. The other end is disconnected when both have started.
    Run(Sender<Ended>, Sender<()>),
    /// The run is ending, and nothing has failed: its series go on in the next one.
    GoOnLater,
    /// A worker is to end. No instance is made any more.
    Stop(Worker),
    /// Nothing of the plugin is wanted any more: what it has sent is read, by this moment.
    End(Instant),
}

/// The plugin, as the pipeline holds it.
#[derive(Debug)]
pub struct Supervisor {
    commands: Sender<Command>,
    status: Arc<Status>,
    /// Disconnected when all that the plugin sent is in the processed queue.
    is_over: Receiver<()>,
    /// Disconnected when the plugin is taken down.
    is_down: Receiver<()>,
}

impl Supervisor {
    /// Makes the first instance, unless something comes from `asked` before: then there is none, and what its `new()` has
    /// begun is given up. Its workers run from [`run`](Self::run) on.
    ///
    /// # Errors
    /// The system gave no thread; or, inside, why there is no plugin.
    pub fn start(
        source: Source,
        intake: Arc<Intake>,
        settings: Settings,
        asked: &Receiver<i32>,
    ) -> io::Result<Result<Option<Self>, LoadError>> {
        let (commands, inbox) = unbounded();
        let (over, is_over) = bounded(0);
        let (down, is_down) = bounded::<()>(0);
        let (made, is_made) = bounded(1);
        let status = Arc::new(Status::default());
        let own = Arc::clone(&status);
        let run = move || {
            let shell = Shell::new(source, intake, settings, inbox, own);
            match shell.make_first() {
                Ok(Some(first)) => {
                    let _ = made.send(Ok(()));
                    shell.run(first, over);
                }
                Ok(None) => {}
                Err(error) => drop(made.send(Err(error))),
            }
            drop(down);
        };
        std::thread::Builder::new().name(PLUGIN.to_owned()).spawn(run)?;
        let supervisor = Supervisor { commands, status, is_over, is_down };
        select! {
            recv(is_made) -> made => Ok(made.unwrap_or_else(|_| Err(LoadError::defect())).map(|()| Some(supervisor))),
            recv(asked) -> _ => {
                supervisor.take_down(Instant::now() + LAST_MOMENT);
                Ok(Ok(None))
            }
        }
    }

    /// Starts the workers, and returns when both have started; the ends of those that end the run go to `endings`.
    pub fn run(&self, endings: Sender<Ended>) {
        let (starting, started) = bounded(0);
        let _ = self.commands.send(Command::Run(endings, starting));
        let _ = started.recv();
    }

    /// The run is ending by itself: the series of the plugin go on in the next one.
    pub fn go_on_later(&self) {
        let _ = self.commands.send(Command::GoOnLater);
    }

    /// Asks a worker to end; both have ended where no instance runs just now.
    pub fn stop(&self, worker: Worker) {
        let _ = self.commands.send(Command::Stop(worker));
    }

    /// Ends what can be ended without asking, and waits until all that the plugin has sent is in the processed queue, but not
    /// beyond `until`.
    pub fn end(&self, until: Instant) -> Books {
        let _ = self.commands.send(Command::End(until));
        let _ = self.is_over.recv_deadline(until);
        self.status.get().1
    }

    /// What there is of the plugin at any time.
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }

    /// Takes the plugin down, whose author's `drop` runs now. That may go on behind `until`, unnoticed.
    pub fn take_down(self, until: Instant) {
        drop(self.commands);
        let _ = self.is_down.recv_deadline(until);
    }
}
