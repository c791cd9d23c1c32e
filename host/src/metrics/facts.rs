//! What is known of a run at one moment.
//!
//! Enters: the parts of the pipeline, shared. Leaves: [`Facts`], plain numbers, which the metrics and the judgement of
//! readiness are made of.
//!
//! Never: changes anything; waits for a stage, a disk or the plugin's code, but for locks that nobody holds for long.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use monitor_plugin_api::manifest::Manifest;
use monitor_plugin_api::now_ms;

use super::process::{self, Usage};
use crate::encode::Protocol;
use crate::keep::{Kept, Look};
use crate::ledger::{Ledger, Snapshot};
use crate::negotiate::Current;
use crate::queue::{Depth, ProcessedQueue};
use crate::send::books::{self, Pushes};
use crate::series::SeriesTable;
use crate::supervise::status::State;
use crate::supervise::{Books, Status};

/// How often the queue of finished batches is looked at when it is in use.
const LOOKS: u32 = 10;

/// What never changes in a run.
#[derive(Clone, Debug)]
pub struct About {
    /// The plugin's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The version of the API that it was built with.
    pub api: String,
    /// PLUGIN_ISOLATION.
    pub isolation: &'static str,
}

impl About {
    /// What a plugin's library says about itself.
    pub fn new(manifest: &Manifest, is_isolated: bool) -> Self {
        About {
            name: manifest.name.to_string(),
            version: manifest.version.to_string(),
            api: manifest.api.to_string(),
            isolation: if is_isolated { "process" } else { "off" },
        }
    }
}

/// What the batching stage notes, once a batch.
#[derive(Debug, Default)]
pub struct Cuts {
    newest_ms: AtomicI64,
    missed_deadlines: AtomicU64,
}

impl Cuts {
    /// A batch holds a sample of this moment.
    pub fn saw(&self, timestamp_ms: i64) {
        self.newest_ms.fetch_max(timestamp_ms, Relaxed);
    }

    /// The newest of these moments; 0 before the first.
    pub fn newest_ms(&self) -> i64 {
        self.newest_ms.load(Relaxed)
    }

    /// So many points of the grid were passed over.
    pub fn missed(&self, deadlines: u64) {
        self.missed_deadlines.fetch_add(deadlines, Relaxed);
    }
}

/// What became of a connection to the admin page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// It got its answer.
    Answered,
    /// It left early, or spoke no HTTP.
    Broken,
    /// It was too slow, or one too many.
    CutOff,
}

impl Connection {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 3] = [Connection::Answered, Connection::Broken, Connection::CutOff];

    /// The name under which it is exposed.
    pub fn name(self) -> &'static str {
        match self {
            Connection::Answered => "answered",
            Connection::Broken => "broken",
            Connection::CutOff => "cut_off",
        }
    }
}

/// The admin page's own counts.
#[derive(Debug, Default)]
pub struct Connections([AtomicU64; Connection::ALL.len()]);

impl Connections {
    /// One is over.
    pub fn count(&self, connection: Connection) {
        self.0[connection as usize].fetch_add(1, Relaxed);
    }
}

/// The parts of a run that are looked at.
#[derive(Debug)]
pub struct Observer {
    /// What never changes.
    pub about: About,
    /// The books.
    pub ledger: Arc<Ledger>,
    /// The plugin.
    pub plugin: Arc<Status>,
    /// Its samples on their way to a batch.
    pub processed: Arc<ProcessedQueue>,
    /// All series.
    pub table: Arc<SeriesTable>,
    /// What batching notes.
    pub cuts: Arc<Cuts>,
    /// Finished batches.
    pub kept: Arc<Kept>,
    /// Requests.
    pub pushes: Arc<Pushes>,
    /// What the receiver knows.
    pub protocol: Arc<Current>,
    /// The admin page's own counts.
    pub admin: Arc<Connections>,
    /// When the run began, in milliseconds since the Unix epoch.
    pub began_ms: i64,
    /// What waited when it could be seen last.
    pub last_look: Mutex<Look>,
    /// The run is ending.
    pub is_ending: AtomicBool,
}

impl Observer {
    /// What is known now.
    pub fn facts(&self) -> Facts {
        let mut last_look = self.last_look.lock().unwrap_or_else(PoisonError::into_inner);
        // A disk that hangs holds the queue: what was seen last is shown then, and its age goes on.
        for _ in 0..LOOKS {
            if let Some(look) = self.kept.look() {
                *last_look = look;
                break;
            }
            std::thread::yield_now();
        }
        let kept = *last_look;
        drop(last_look);
        Facts {
            now_ms: now_ms(),
            now: Instant::now(),
            about: self.about.clone(),
            ledger: self.ledger.snapshot(),
            plugin: self.plugin.get(),
            plugin_since_ms: self.plugin.since_ms(),
            processed: self.processed.depth(),
            series: self.table.len(),
            max_series: self.table.max_len(),
            newest_ms: self.cuts.newest_ms(),
            missed_deadlines: self.cuts.missed_deadlines.load(Relaxed),
            kept,
            pushes: self.pushes.snapshot(),
            remote_write_version: match self.protocol.get() {
                Protocol::V1 => 1,
                Protocol::V2 => 2,
            },
            process: process::usage(),
            admin: Connection::ALL.map(|connection| (connection, self.admin.0[connection as usize].load(Relaxed))),
            began_ms: self.began_ms,
            is_ending: self.is_ending.load(Relaxed),
        }
    }
}

/// A run at one moment.
#[derive(Clone, Debug)]
pub struct Facts {
    /// That moment, in milliseconds since the Unix epoch.
    pub now_ms: i64,
    /// The same, by the clock that is never set.
    pub now: Instant,
    /// What never changes.
    pub about: About,
    /// The ledger.
    pub ledger: Snapshot,
    /// How the plugin is, and what there was of it.
    pub plugin: (State, Books),
    /// When its present or last instance began to run.
    pub plugin_since_ms: Option<i64>,
    /// The processed queue.
    pub processed: Depth,
    /// How many series are known.
    pub series: usize,
    /// How many may be.
    pub max_series: usize,
    /// The newest timestamp in a finished batch, the host's own metrics aside; 0 before the first.
    pub newest_ms: i64,
    /// Points of the push grid that were passed over.
    pub missed_deadlines: u64,
    /// Finished batches.
    pub kept: Look,
    /// Requests.
    pub pushes: books::Snapshot,
    /// 1 or 2.
    pub remote_write_version: u64,
    /// The process; none where the kernel doesn't say.
    pub process: Option<Usage>,
    /// Connections to the admin page.
    pub admin: [(Connection, u64); Connection::ALL.len()],
    /// When the run began.
    pub began_ms: i64,
    /// The run is ending.
    pub is_ending: bool,
}

impl Facts {
    /// Whether the plugin does what it is there for.
    pub fn plugin_runs(&self) -> bool {
        self.plugin.0 == State::Running
    }

    /// How long ago the last delivery was; none before the first.
    pub fn delivery_age(&self) -> Option<Duration> {
        self.pushes.last_delivery.map(|delivery| self.now.saturating_duration_since(delivery.at))
    }

    /// How old the oldest sample is that waits in a finished batch; none when there is none. One from the future has no age.
    pub fn oldest_pending_age(&self) -> Option<Duration> {
        let age_ms = |oldest_ms| self.now_ms.saturating_sub(oldest_ms);
        self.kept.oldest_ms.map(|oldest_ms| Duration::from_millis(u64::try_from(age_ms(oldest_ms)).unwrap_or(0)))
    }
}
