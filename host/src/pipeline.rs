//! The path of a sample, from top to bottom.
//!
//! ```text
//! plugin get_power ─▶ raw queue ─▶ plugin process_data ─▶ intake ─▶ processed queue ─▶ batching ─▶ kept ─▶ sender ─▶ receiver
//!     thread 1       in the plugin       thread 2                       bounded        thread 3   bounded  thread 4
//! ```
//!
//! One direction, by value, one thread a stage. No stage knows its neighbours' insides; what they share is the ledger.
//! Beside the path stands who looks at it: the host's own metrics, and the admin page.
//! Ending it goes the same way: each stage is finished before the next one is told that nothing will come.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender as Events, unbounded};
use monitor_plugin_api::now_ms;
use tokio::sync::watch;

use crate::access::{self, Access};
use crate::admin::{Admin, Known, ready};
use crate::batch::Limits;
use crate::batching::{Batching, OWN_SERIES, Own, Settings};
use crate::config::Config;
use crate::dry::Printer;
use crate::intake::Intake;
use crate::keep::{Bounds, Disk, Kept};
use crate::labels::Rules;
use crate::ledger::{Ledger, Place, Reason};
use crate::metrics::Observer;
use crate::metrics::facts::{About, Connections, Cuts};
use crate::negotiate::{Current, Negotiation};
use crate::notify::pulse::{self, Pulse, Stage};
pub use crate::plugin::Ended;
use crate::plugin::{HostSettings, LoadError, Source, WORKERS, Worker, WorkerError};
use crate::queue::{Drained, ProcessedQueue};
use crate::send::books::Pushes;
use crate::send::{Sender, SetupError, Target};
use crate::series::SeriesTable;
use crate::spool::{self, SpoolError};
use crate::supervise::{self, Books, LAST_MOMENT, Supervisor};

/// In a dry run, the [`Ended::name`] which says that nobody reads standard output any more.
pub const READER: &str = "reader of standard output";

/// How a run ended.
#[derive(Debug)]
pub struct Finished {
    /// The threads that ended, in that order.
    pub ended: Vec<Ended>,
    /// The workers that did not end although they were asked to.
    pub late: Vec<Worker>,
    /// What there was of the plugin: its raw queue's books, in items, and its restarts.
    pub plugin: Books,
}

/// Why the pipeline could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The plugin refused to start.
    #[error(transparent)]
    Plugin(#[from] LoadError),
    /// The spool can't be used.
    #[error("SPOOL_DIR: {0}")]
    Spool(#[from] SpoolError),
    /// A file that is needed to get in can't be used.
    #[error(transparent)]
    Access(#[from] access::Refused),
    /// There is no way to send.
    #[error(transparent)]
    Sender(#[from] SetupError),
    /// A signal came before the plugin was made.
    #[error("asked to stop before the plugin was made: nothing was collected")]
    AskedToStop,
    /// The system gave no thread.
    #[error("a thread can't be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// All stages, running.
#[derive(Debug)]
pub struct Pipeline {
    /// The books of this run.
    pub ledger: Arc<Ledger>,
    plugin: Supervisor,
    endings: Receiver<Ended>,
    processed: Arc<ProcessedQueue>,
    batching: Option<JoinHandle<()>>,
    kept: Arc<Kept>,
    sender: Option<JoinHandle<()>>,
    finish_by: watch::Sender<Option<Instant>>,
    observer: Arc<Observer>,
    /// READY_MAX_AGE_S.
    max_age: Duration,
    /// What is to move, whatever the receiver and the plugin do.
    stages: Vec<Stage>,
    /// Served until the run is over.
    _admin: Option<Admin>,
}

impl Pipeline {
    /// Puts all stages together and starts them, the last one first. A signal from `asked` is only taken while the plugin
    /// is made.
    ///
    /// # Errors
    /// See [`StartError`]; nothing runs then, but what can't be ended: a `new()` in this process.
    pub fn start(config: &Config, source: Source, asked: &Receiver<i32>) -> Result<Self, StartError> {
        // A dry run pushes nothing: it needs no way in, and no spool of earlier runs is its to empty.
        let access = if config.dry_run { None } else { Some(Access::new(config)?) };
        // The admin page, which shows that the run is alive while its plugin is still being made.
        let began_ms = now_ms();
        let connections = Arc::new(Connections::default());
        let known = Known::of(config, began_ms);
        let max_age = known.max_age();
        let admin = config.admin_addr.and_then(|at| Admin::start(at, known, Arc::clone(&connections)));

        let ledger = Arc::new(Ledger::default());
        // The host's own series take no plugin's place.
        let own_series = if config.self_metrics.are_pushed() { OWN_SERIES } else { 0 };
        let table = Arc::new(SeriesTable::new(config.max_series.get() + own_series));

        // get_power ─▶ raw queue ─▶ process_data: within the plugin, which knows only the intake; here or in a process
        let processed = Arc::new(ProcessedQueue::new(config.proc_queue_size.get(), Arc::clone(&ledger)));
        let rules =
            Rules { external: config.external_labels.clone(), max_value_bytes: config.max_label_value_bytes.get() };
        let intake = Arc::new(Intake::new(
            Arc::clone(&processed),
            Arc::clone(&table),
            &config.metric_default,
            &config.service_label,
            rules,
        ));
        let host =
            HostSettings { scrape_interval: config.scrape_interval, raw_queue_size: config.raw_queue_size.get() };
        let settings = supervise::Settings {
            host,
            restart: config.plugin_restart,
            max_restarts: u32::try_from(config.plugin_restart_max.get()).unwrap_or(u32::MAX),
            stall: config.plugin_stall,
            grace: config.push_interval,
            patience: config.shutdown_timeout / 2,
        };
        let about = About::new(&source.manifest, source.is_isolated());
        let plugin =
            Supervisor::start(source, Arc::clone(&intake), settings, asked)??.ok_or(StartError::AskedToStop)?;

        // processed queue ─▶ batches ─▶ kept
        let bounds = Bounds { max_batches: config.max_retry_batches, max_bytes: config.max_retry_bytes };
        let disk = open_spool(config, &ledger)?;
        let push_interval = config.push_interval;
        let spool_interval = push_interval.min(config.spool_flush);
        let kept = Arc::new(Kept::new(bounds, disk, Arc::clone(&ledger)));
        let limits = Limits {
            max_samples: config.batch_max_samples.get(),
            max_bytes: config.batch_max_bytes,
            allow_out_of_order: config.allow_out_of_order,
        };
        let protocol = Arc::new(Current::new(Negotiation::new(config.remote_write_protocol).current()));
        let (pushes, cuts) = (Arc::new(Pushes::default()), Arc::new(Cuts::default()));
        let observer = Arc::new(Observer {
            about,
            ledger: Arc::clone(&ledger),
            plugin: plugin.status(),
            processed: Arc::clone(&processed),
            table: Arc::clone(&table),
            cuts: Arc::clone(&cuts),
            last_look: Mutex::new(kept.look_now()),
            kept: Arc::clone(&kept),
            pushes: Arc::clone(&pushes),
            protocol: Arc::clone(&protocol),
            admin: connections,
            began_ms,
            is_ending: false.into(),
        });
        let own = config.self_metrics.are_pushed().then(|| {
            let job = if config.job.is_empty() { &observer.about.name } else { &config.job };
            Own::new(Arc::clone(&observer), &intake, job, &config.instance)
        });
        let settings = Settings { limits, push_interval, spool_interval, series_idle: config.series_idle };
        let batching = Batching::new(
            settings,
            Arc::clone(&processed),
            table,
            Arc::clone(&kept),
            Arc::clone(&ledger),
            Arc::clone(&protocol),
        );
        let batching = batching.told(cuts, own);

        // kept ─▶ receiver, or standard output
        let mut stages = Vec::new();
        let mut pulse = |name| {
            let pulse = Arc::<Pulse>::default();
            stages.push(Stage { name, pulse: Arc::clone(&pulse) });
            pulse
        };
        let (finish_by, time_is_up) = watch::channel(None);
        let (events, endings) = unbounded();
        let sender = match access {
            Some(access) => {
                let target = Target {
                    url: config.remote_write_url.without_credentials(),
                    access,
                    shown_url: config.url_for_log(),
                    timeout: config.remote_write_timeout,
                    protocol: config.remote_write_protocol,
                    retry_on: config.retry_on_http.clone(),
                    max_age: config.max_sample_age,
                };
                let sender = Sender::new(target, Arc::clone(&kept), Arc::clone(&ledger), pushes, protocol, time_is_up)?;
                let sender = sender.pulsing(pulse("sender"));
                start_stage("sender", events.clone(), || sender.run())?
            }
            None => {
                let printer = Printer::new(Arc::clone(&kept), Arc::clone(&ledger), pushes, std::io::stdout());
                let tell = events.clone();
                start_stage("printer", events.clone(), move || printer.run(|error| tell_output_ended(error, &tell)))?
            }
        };
        let sender = Some(sender);
        let first_push = if kept.has_disk() { spool_interval } else { push_interval }.mul_f64(fastrand::f64());
        let batching = batching.pulsing(pulse("batching"));
        let batching = Some(start_stage("batching", events.clone(), move || batching.run(first_push))?);
        kept.begin();
        plugin.run(events);
        admin.iter().for_each(|admin| admin.watch(Arc::clone(&observer)));
        Ok(Pipeline {
            ledger,
            plugin,
            endings,
            processed,
            batching,
            kept,
            sender,
            finish_by,
            observer,
            max_age,
            stages,
            _admin: admin,
        })
    }

    /// Whether batches wait on disk.
    pub fn has_spool(&self) -> bool {
        self.kept.has_disk()
    }

    /// Tells when a thread has ended.
    pub fn endings(&self) -> &Receiver<Ended> {
        &self.endings
    }

    /// Whether it delivers, in a sentence.
    pub fn state(&self) -> String {
        ready::line(&self.observer.facts(), self.max_age).unwrap_or_else(|failing| failing)
    }

    /// The stage that has not moved for longest, if it should have done so longer than `grace` ago; and how long ago.
    pub fn latest(&self, grace: Duration) -> Option<(&'static str, Duration)> {
        pulse::latest(&self.stages, grace, Instant::now())
    }

    /// Ends everything by `deadline`, stage after stage, and delivers what can be delivered until then. `ended` are
    /// the threads that have ended already: without any, this is an ordinary end, which ends no series.
    pub fn finish(mut self, mut ended: Vec<Ended>, deadline: Instant) -> Finished {
        self.observer.is_ending.store(true, Relaxed);
        let _ = self.finish_by.send(Some(deadline));
        self.kept.finish_by(deadline);
        // The workers get half of the time, so that there is some left to deliver what they gave.
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now);
        // A plugin that is asked to stop goes on in the next run. One that ended by itself has ended its series.
        if ended.is_empty() {
            self.plugin.go_on_later();
        }
        self.plugin.stop(Worker::GetPower);
        self.collect(&mut ended, &[Worker::GetPower], now + left / 4);
        if !has_ended(&ended, Worker::GetPower) {
            self.plugin.stop(Worker::ProcessData);
        }
        self.collect(&mut ended, &WORKERS, now + left / 2);
        self.plugin.stop(Worker::ProcessData);
        let late: Vec<_> = WORKERS.into_iter().filter(|&worker| !has_ended(&ended, worker)).collect();

        // What is still on the way from a process of the plugin's own was sent: it counts.
        let plugin = self.plugin.end(now + left * 3 / 4);
        self.processed.close();
        // A panic of a stage was told by its ending; what it held is given up below.
        let _ = self.batching.take().map(JoinHandle::join);
        self.kept.close();
        let _ = self.sender.take().map(JoinHandle::join);
        self.give_up_the_rest();
        ended.extend(self.endings.try_iter());
        self.plugin.take_down(deadline.max(Instant::now() + LAST_MOMENT));
        Finished { ended, late, plugin }
    }

    /// Waits until these workers have ended, but not beyond `until`.
    fn collect(&self, ended: &mut Vec<Ended>, wanted: &[Worker], until: Instant) {
        while !wanted.iter().all(|&worker| has_ended(ended, worker)) {
            match self.endings.recv_deadline(until) {
                Ok(one) => ended.push(one),
                Err(_) => return,
            }
        }
    }

    /// What is still somewhere can't be delivered any more: it is counted as dropped.
    fn give_up_the_rest(&self) {
        let mut left = Drained::default();
        self.processed.drain(&mut left);
        self.ledger.discard(Place::Queued, Reason::Shutdown, left.len() as u64);
        let given_up = self.kept.give_up();
        if given_up.batches > 0 {
            tracing::warn!(
                reason = %Reason::Shutdown,
                batches = given_up.batches,
                samples = given_up.samples,
                from_ms = given_up.from_ms(),
                to_ms = given_up.to_ms(),
                "undelivered batches were given up: SHUTDOWN_TIMEOUT_S is over"
            );
        }
        let (batches, on_disk) = self.kept.on_disk();
        if batches > 0 {
            tracing::info!(
                batches,
                samples = on_disk,
                "what could not be delivered waits in the spool for the next run"
            );
        }
        // No stage runs any more: what else stands in the books was in the hands of one that panicked.
        for (place, samples) in self.ledger.snapshot().places {
            let expected = if place == Place::Kept { on_disk } else { 0 };
            self.ledger.discard(place, Reason::Shutdown, samples.saturating_sub(expected));
        }
        let exemplars = self.ledger.snapshot().exemplars.pending();
        let lost = exemplars.saturating_sub(self.kept.exemplars_on_disk());
        self.ledger.discard_exemplars(Reason::Shutdown, lost);
    }
}

/// A dry run whose output is closed has shown what was asked for; one whose output fails has not.
fn tell_output_ended(error: &std::io::Error, events: &Events<Ended>) {
    let name = if error.kind() == std::io::ErrorKind::BrokenPipe {
        READER
    } else {
        tracing::error!("standard output can't be written: {error}");
        "printer"
    };
    // A full channel: the run is ending anyway.
    let _ = events.try_send(Ended { name, result: Ok(()) });
}

/// The spool that SPOOL_DIR names, if any; a dry run leaves it alone.
fn open_spool(config: &Config, ledger: &Ledger) -> Result<Option<Disk>, SpoolError> {
    let Some(dir) = config.spool_dir.as_ref().filter(|_| !config.dry_run) else { return Ok(None) };
    let bounds = spool::Bounds { max_bytes: config.spool_max_bytes as u64, max_age: config.spool_max_age };
    Disk::open(dir, bounds, config.spool_fsync, ledger).map(Some)
}

fn has_ended(ended: &[Ended], worker: Worker) -> bool {
    ended.iter().any(|one| one.name == worker.name())
}

fn start_stage(
    name: &'static str,
    events: Events<Ended>,
    run: impl FnOnce() + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    let run = move || {
        if catch_unwind(AssertUnwindSafe(run)).is_err() {
            let _ = events.send(Ended { name, result: Err(WorkerError::defect(name)) });
        }
    };
    thread::Builder::new().name(name.to_owned()).spawn(run)
}
