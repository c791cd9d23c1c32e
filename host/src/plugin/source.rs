//! Where instances of the plugin come from: the library opened here, or a process for each.
//!
//! Enters: what an instance needs. Leaves: a [`Running`], which both ways has the same face: two workers that are started,
//! asked to stop, and tell how they ended.
//!
//! Never: makes two instances at once; knows why one is made or ended.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};
use monitor_plugin_api::abi::RawQueueStats;
use monitor_plugin_api::manifest::Manifest;

use super::boundary::Host;
use super::log::PluginLog;
use super::process::{Isolated, RawBooks, Spawner};
use super::{Ended, HostSettings, Library, LoadError, Plugin, Presence, WORKERS, Worker, WorkerError, inspect, load};
use crate::intake::Intake;

/// PLUGIN_ISOLATION.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// The plugin runs in the host's own process.
    Off,
    /// It has a process of its own.
    Process,
}

/// Makes instances of one plugin.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    /// What the library says about itself.
    pub manifest: Manifest,
    way: Way,
    /// All instances are one plugin.
    log: Arc<PluginLog>,
}

#[derive(Debug)]
enum Way {
    Here(Library),
    Process(Spawner),
}

impl Source {
    /// Opens the library, to run in this process.
    ///
    /// # Errors
    /// It is no plugin, or not one that this host can run.
    pub fn here(path: &Path) -> Result<Self, LoadError> {
        let library = load(path)?;
        Ok(Source {
            path: path.to_owned(),
            manifest: library.manifest.clone(),
            way: Way::Here(library),
            log: Arc::new(PluginLog::new()),
        })
    }

    /// Looks at the library's file; it is opened in the process of each instance.
    ///
    /// # Errors
    /// It is no plugin.
    pub fn process(spawner: Spawner) -> Result<Self, LoadError> {
        let path = spawner.library.clone();
        Ok(Source { manifest: inspect(&path)?, path, way: Way::Process(spawner), log: Arc::new(PluginLog::new()) })
    }

    /// Whether an instance may die without a word, and be killed.
    pub fn is_isolated(&self) -> bool {
        matches!(self.way, Way::Process(_))
    }

    /// Tells how much of the plugin's log was left out and not told yet.
    pub fn finish_log(&self) {
        self.log.finish();
    }

    /// Makes an instance. A process ends when the calling thread does.
    ///
    /// # Errors
    /// What the author's `new()` said; or there is no process.
    pub fn make(
        &self,
        intake: &Arc<Intake>,
        settings: HostSettings,
        presence: &Arc<Presence>,
    ) -> Result<Running, LoadError> {
        let host =
            Host { intake: Arc::clone(intake), settings, presence: Arc::clone(presence), log: Arc::clone(&self.log) };
        match &self.way {
            Way::Here(library) => Ok(Running::here(library.create_with(&self.path, host.boxed())?)),
            Way::Process(spawner) => spawner.spawn(host, settings).map(Running::Isolated).map_err(|error| {
                LoadError::new(&self.path, format_args!("the plugin's process can't be started: {error}"))
            }),
        }
    }
}

/// One instance of the plugin.
#[derive(Debug)]
pub enum Running {
    /// In this process.
    Here {
        /// The plugin; its threads have it too, while they run.
        plugin: Arc<Plugin>,
        /// It is made already.
        made: Receiver<Result<(), LoadError>>,
    },
    /// In one of its own.
    Isolated(Isolated),
}

impl Running {
    fn here(plugin: Plugin) -> Self {
        let (sender, made) = bounded(1);
        let _ = sender.send(Ok(()));
        Running::Here { plugin: Arc::new(plugin), made }
    }

    /// Tells once whether the plugin could be made.
    pub fn made(&self) -> &Receiver<Result<(), LoadError>> {
        match self {
            Running::Here { made, .. } => made,
            Running::Isolated(isolated) => isolated.made(),
        }
    }

    /// Starts both workers. How each ended goes to `events`; behind its [`super::PROCESS`], if that died, those that it ran.
    pub fn start(&self, events: &Sender<Ended>) {
        match self {
            Running::Here { plugin, .. } => {
                for worker in WORKERS.into_iter().rev() {
                    if let Err(error) = start_worker(worker, plugin, events.clone()) {
                        let why = WorkerError::new(format!("a thread can't be started: {error}"), false, "");
                        let _ = events.send(Ended { name: worker.name(), result: Err(why) });
                    }
                }
            }
            Running::Isolated(isolated) => isolated.start(events.clone()),
        }
    }

    /// Asks a worker to end.
    pub fn stop(&self, worker: Worker) {
        match self {
            Running::Here { plugin, .. } => plugin.stop(worker),
            Running::Isolated(isolated) => isolated.stop(worker),
        }
    }

    /// Ends it without asking, where that can be done.
    pub fn kill(&self) {
        if let Running::Isolated(isolated) = self {
            isolated.kill();
        }
    }

    /// Reads the books of its raw queue.
    pub fn meter(&self) -> Meter {
        match self {
            Running::Here { plugin, .. } => Meter::Here(Arc::clone(plugin)),
            Running::Isolated(isolated) => Meter::Isolated(isolated.raw_books()),
        }
    }

    /// Waits until nothing comes of an isolated instance any more, but not beyond `until`. Returns whether that is so. An
    /// instance in this process has nothing on the way.
    pub fn wait_gone(&self, until: Instant) -> bool {
        match self {
            Running::Here { .. } => true,
            Running::Isolated(isolated) => isolated.wait_gone(until),
        }
    }

    /// Takes an instance down whose workers have ended: its author's `drop` runs, but is not waited for beyond `until`.
    /// Returns whether it has ended.
    pub fn take_down(self, until: Instant) -> bool {
        if let Running::Isolated(isolated) = &self {
            return isolated.wait_gone(until);
        }
        let (done, is_done) = bounded(0);
        let run = move || {
            drop(self);
            drop::<Sender<()>>(done);
        };
        match std::thread::Builder::new().name("plugin-drop".to_owned()).spawn(run) {
            Ok(_) => is_done.recv_deadline(until) == Err(crossbeam_channel::RecvTimeoutError::Disconnected),
            // The closure is dropped, and the plugin with it.
            Err(_) => true,
        }
    }
}

/// Reads the books of one instance's raw queue, from any thread. It holds the instance: whoever takes that down is to drop
/// this first.
#[derive(Debug)]
pub enum Meter {
    /// In this process.
    Here(Arc<Plugin>),
    /// In one of its own.
    Isolated(RawBooks),
}

impl Meter {
    /// The books, in items.
    pub fn raw_queue(&self) -> RawQueueStats {
        match self {
            Meter::Here(plugin) => plugin.raw_queue(),
            Meter::Isolated(books) => books.get(),
        }
    }
}

fn start_worker(worker: Worker, plugin: &Arc<Plugin>, events: Sender<Ended>) -> io::Result<()> {
    let plugin = Arc::clone(plugin);
    let run = move || {
        let result = plugin.run(worker);
        // Whoever takes the instance down is the last to hold it.
        drop(plugin);
        // Nobody listens any more once the run has given this worker up.
        let _ = events.send(Ended { name: worker.name(), result });
    };
    std::thread::Builder::new().name(worker.name().to_owned()).spawn(run).map(drop)
}
