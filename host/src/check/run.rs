//! Runs a plugin for a while without pushing, and watches it.
//!
//! Enters: a library's path, the settings, for how long, and the wish to end sooner. Leaves: [`Facts`], or why there are
//! none. The author's code runs on threads of its own, each with a deadline, so that one that hangs is left behind. One that
//! crashes takes this process with it: the check runs it in a child (`apart`), which hears of each stage.
//!
//! Never: opens a socket, writes a file, or judges.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::apart::End;
use super::facts::{Dropped, Facts, Seen, Threads, Worker as Ending};
use super::tap::Tap;
use super::threads;
use crate::batch::Limits;
use crate::config::Config;
use crate::intake::Intake;
use crate::labels::Rules;
use crate::ledger::Ledger;
use crate::plugin::{HostSettings, Library, LoadError, Plugin, Worker, WorkerError, load};
use crate::queue::ProcessedQueue;
use crate::series::SeriesTable;

/// How long the library's constructors and the plugin's `new()` may take, each.
pub(super) const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long after one worker the end of the other may be told that caused it, or that it caused.
const CAUSE_TIMEOUT: Duration = Duration::from_millis(200);
/// How long after the plugin's end its threads may take to end too.
const THREADS_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a plugin was not run.
#[derive(Debug)]
pub(super) enum NotRun {
    /// It can't be loaded, or refuses to start.
    Refused(LoadError),
    /// This has not returned within [`START_TIMEOUT`].
    Hung(&'static str),
    /// The process in which it ran has died without a report.
    Died(End),
    /// The system gave no thread, or no process.
    System(std::io::Error),
}

/// Opens the library at `path`.
pub(super) fn open(path: &Path) -> Result<Library, NotRun> {
    let path = path.to_owned();
    match within("loading", START_TIMEOUT, move || load(&path)).map_err(NotRun::System)? {
        Some(loaded) => loaded.map_err(NotRun::Refused),
        None => Err(NotRun::Hung("loading")),
    }
}

/// Makes the plugin and runs it for `length`, or until there is a signal in `asked`.
pub(super) fn measure(
    library: Library,
    path: &Path,
    config: &Config,
    length: Duration,
    asked: &Receiver<i32>,
    stage: impl Fn(&str),
) -> Result<Facts, NotRun> {
    let ledger = Arc::new(Ledger::default());
    let table = Arc::new(SeriesTable::new(config.max_series.get()));
    let queue = Arc::new(ProcessedQueue::new(config.proc_queue_size.get(), Arc::clone(&ledger)));
    let rules = Rules { external: config.external_labels.clone(), max_value_bytes: config.max_label_value_bytes.get() };
    let (metric, service) = (&config.metric_default, &config.service_label);
    let intake = Arc::new(Intake::new(Arc::clone(&queue), Arc::clone(&table), metric, service, rules));
    let limits = Limits {
        max_samples: config.batch_max_samples.get(),
        max_bytes: config.batch_max_bytes,
        allow_out_of_order: config.allow_out_of_order,
    };
    let tap = Tap::new(Arc::clone(&queue), table, Arc::clone(&ledger), limits);
    let tap = thread::Builder::new().name("check".into()).spawn(|| tap.run()).map_err(NotRun::System)?;
    let before = threads::all();

    let may_stay = library.manifest.threads == "stay";

    stage("in new()");
    let began = Instant::now();
    let plugin = create(library, path, Arc::clone(&intake), config)?;
    let start = began.elapsed();

    stage("while get_power and process_data ran");
    let run = Run { plugin: Arc::new(plugin), intake: Arc::clone(&intake), patience: config.shutdown_timeout };
    let Watched { get_power, process_data, ran, interrupted } = run.watch(length, asked).map_err(NotRun::System)?;
    let raw = run.plugin.raw_queue();
    let late = [&get_power, &process_data].into_iter().any(|worker| matches!(worker, Ending::Late(_)));
    stage("while the plugin was taken down");
    let drop = if late { Dropped::Never } else { take_down(run.plugin, run.patience / 2).map_err(NotRun::System)? };
    let threads = before.filter(|_| matches!(drop, Dropped::After(_))).and_then(|before| {
        let left = threads::new_since(&before, THREADS_TIMEOUT)?;
        let (before, after) = (before.len(), threads::all()?.len());
        Some(Threads { before, after, left: left.into_values().collect(), may_stay })
    });
    stage("after the plugin's end");
    queue.close();
    let panicked = |_| Seen { unreadable: Some("the check itself panicked".to_owned()), ..Seen::default() };
    let seen = tap.join().unwrap_or_else(panicked);
    Ok(Facts {
        start,
        ran,
        interrupted,
        get_power,
        process_data,
        drop,
        threads,
        raw,
        books: ledger.snapshot(),
        sends: intake.taken(),
        firsts: intake.first_rejected(),
        seen,
    })
}

fn create(library: Library, path: &Path, intake: Arc<Intake>, config: &Config) -> Result<Plugin, NotRun> {
    let settings =
        HostSettings { scrape_interval: config.scrape_interval, raw_queue_size: config.raw_queue_size.get() };
    let path = path.to_owned();
    let made = within("new()", START_TIMEOUT, move || library.create(&path, intake, settings));
    match made.map_err(NotRun::System)? {
        Some(made) => made.map_err(NotRun::Refused),
        None => Err(NotRun::Hung("new()")),
    }
}

fn take_down(plugin: Arc<Plugin>, patience: Duration) -> std::io::Result<Dropped> {
    let began = Instant::now();
    let dropped = within("drop", patience, move || drop(plugin))?;
    Ok(dropped.map_or(Dropped::Late(patience), |()| Dropped::After(began.elapsed())))
}

/// What `run` gives, on a thread of its own; none if it has not returned in time.
fn within<T: Send + 'static>(
    name: &str,
    limit: Duration,
    run: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<Option<T>> {
    let (done, end) = bounded(1);
    let run = move || {
        // Nobody listens any more: the time was over.
        let _ = done.send(run());
    };
    let thread = thread::Builder::new().name(name.to_owned()).spawn(run)?;
    let done = end.recv_timeout(limit).ok();
    if done.is_some() {
        // It has nothing left to do, and is not to be taken for one of the plugin's.
        let _ = thread.join();
    }
    Ok(done)
}

/// A worker has ended.
#[derive(Debug)]
struct Ended {
    worker: Worker,
    result: Result<(), WorkerError>,
    at: Instant,
}

struct Run {
    plugin: Arc<Plugin>,
    intake: Arc<Intake>,
    /// SHUTDOWN_TIMEOUT_S; the workers get the same shares of it as in a run.
    patience: Duration,
}

struct Watched {
    get_power: Ending,
    process_data: Ending,
    ran: Duration,
    interrupted: bool,
}

impl Run {
    fn watch(&self, length: Duration, interrupt: &Receiver<i32>) -> std::io::Result<Watched> {
        let (events, endings) = bounded(2);
        let began = Instant::now();
        self.start(Worker::ProcessData, events.clone())?;
        self.start(Worker::GetPower, events)?;
        let (mut ended, mut interrupted) = (Vec::new(), false);
        select! {
            recv(endings) -> end => ended.extend(end),
            recv(interrupt) -> _ => interrupted = true,
            default(length) => {}
        }
        let ran = began.elapsed();
        if !ended.is_empty() {
            ended.extend(endings.recv_timeout(CAUSE_TIMEOUT));
        } else {
            // The plugin goes on in the next run: its series don't end with this one.
            self.intake.end_of_run();
        }
        let asked = Instant::now();
        self.stop(&endings, &mut ended, asked);
        let when = When { asked, patience: self.patience / 2 };
        let [get_power, process_data] = when.endings(ended);
        Ok(Watched { get_power, process_data, ran, interrupted })
    }

    fn start(&self, worker: Worker, events: Sender<Ended>) -> std::io::Result<()> {
        let plugin = Arc::clone(&self.plugin);
        let run = move || {
            let result = plugin.run(worker);
            let at = Instant::now();
            // The last one is dropped where its drop is watched.
            drop(plugin);
            let _ = events.send(Ended { worker, result, at });
        };
        thread::Builder::new().name(worker.name().to_owned()).spawn(run).map(drop)
    }

    /// As a run ends: `get_power` first, `process_data` when its input is empty, or when time presses.
    fn stop(&self, endings: &Receiver<Ended>, ended: &mut Vec<Ended>, asked: Instant) {
        self.plugin.stop(Worker::GetPower);
        collect(endings, ended, &[Worker::GetPower], asked + self.patience / 4);
        if !has_ended(ended, Worker::GetPower) {
            self.plugin.stop(Worker::ProcessData);
        }
        collect(endings, ended, &[Worker::GetPower, Worker::ProcessData], asked + self.patience / 2);
    }
}

/// Waits until these workers have ended, but not beyond `until`.
fn collect(endings: &Receiver<Ended>, ended: &mut Vec<Ended>, wanted: &[Worker], until: Instant) {
    while !wanted.iter().all(|&worker| has_ended(ended, worker)) {
        match endings.recv_deadline(until) {
            Ok(one) => ended.push(one),
            Err(_) => return,
        }
    }
}

fn has_ended(ended: &[Ended], worker: Worker) -> bool {
    ended.iter().any(|one| one.worker == worker)
}

/// When the workers were asked to stop, and how long they had for it.
struct When {
    asked: Instant,
    patience: Duration,
}

impl When {
    /// What the ends of `get_power` and `process_data` mean.
    fn endings(&self, ended: Vec<Ended>) -> [Ending; 2] {
        let of_input = ended.iter().find(|one| one.worker == Worker::GetPower).map(|one| one.at);
        [Worker::GetPower, Worker::ProcessData].map(|worker| {
            let Some(Ended { result, at, .. }) = ended.iter().find(|one| one.worker == worker) else {
                return Ending::Late(self.patience);
            };
            // The raw queue closes a moment before the end of `get_power` is told.
            let followed = worker == Worker::ProcessData && of_input.is_some_and(|input| input < self.asked);
            let since = match worker {
                Worker::GetPower => self.asked,
                Worker::ProcessData => of_input.unwrap_or(self.asked).max(self.asked),
            };
            match result {
                Err(error) if error.panicked => Ending::Panicked(error.to_string()),
                Err(error) => Ending::Failed(error.to_string()),
                Ok(()) if followed => Ending::Followed,
                Ok(()) if *at < self.asked => Ending::Returned,
                Ok(()) => Ending::Stopped(at.saturating_duration_since(since)),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn who_ended_first_is_the_one_that_ended_by_itself() {
        let start = Instant::now();
        let when = When { asked: start + MS(1000), patience: MS(400) };
        let endings = |get_power: Option<u64>, process_data: Option<u64>| {
            let end = |worker, at: Option<u64>| at.map(|at| Ended { worker, result: Ok(()), at: start + MS(at) });
            when.endings(
                end(Worker::GetPower, get_power).into_iter().chain(end(Worker::ProcessData, process_data)).collect(),
            )
        };
        use Ending::{Followed, Late, Returned, Stopped};
        for (get_power, process_data, expected) in [
            (Some(1010), Some(1015), [Stopped(MS(10)), Stopped(MS(5))]),
            // `process_data` sees the end of its input before the end of `get_power` is told.
            (Some(1010), Some(1009), [Stopped(MS(10)), Stopped(MS(0))]),
            (Some(900), Some(901), [Returned, Followed]),
            (Some(900), Some(899), [Returned, Followed]),
            (Some(900), Some(1100), [Returned, Followed]),
            (Some(1010), Some(900), [Stopped(MS(10)), Returned]),
            (Some(900), None, [Returned, Late(MS(400))]),
            (None, None, [Late(MS(400)), Late(MS(400))]),
            (None, Some(1100), [Late(MS(400)), Stopped(MS(100))]),
        ] {
            assert_eq!(endings(get_power, process_data), expected, "{get_power:?} {process_data:?}");
        }
    }

    #[test]
    fn what_hangs_is_left_behind() {
        let (go, wait) = bounded::<()>(0);
        assert_eq!(within("hangs", MS(20), move || wait.recv()).unwrap(), None);
        drop(go);
        assert_eq!(within("returns", Duration::from_secs(60), || 7).unwrap(), Some(7));
    }
}
