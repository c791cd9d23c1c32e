//! `monitor-host run`: from a configuration to an exit status.
//!
//! Enters: the configuration; signals; the end of a worker. Leaves: the exit status (0 asked to stop, 1 a worker ended
//! the run, 3 the plugin can't be loaded) and, as the log's last word, the ledger.
//!
//! Never: touches a sample.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded, select};
use signal_hook::consts::signal::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::config::{self, Config, PluginPath, plugin_path};
use crate::ledger::{Origin, Snapshot};
use crate::notify::{self, Manager};
use crate::pipeline::{Finished, Pipeline, READER, StartError};
use crate::plugin::process::Spawner;
use crate::plugin::{Ended, Isolation, LoadError, PROCESS, Source, Worker, WorkerError};
use crate::supervise::{Books, PLUGIN};

/// The run was ended by a worker, or a worker did not end.
const WORKER_ENDED: u8 = 1;

/// The configuration can't be used.
const BAD_CONFIGURATION: u8 = 2;

/// The plugin can't be loaded.
const NO_PLUGIN: u8 = 3;

/// How long after `process_data` the end of `get_power` that caused it may be told: both are on their way already.
const CAUSE_TIMEOUT: Duration = Duration::from_millis(200);

/// Runs until a signal or a worker ends it; `manager` is told how it goes.
pub fn run(config: &Config, mut manager: Manager) -> ExitCode {
    log_panics();
    let signals = match signals() {
        Ok(signals) => signals,
        Err(error) => {
            tracing::error!("signals can't be awaited: {error}");
            return WORKER_ENDED.into();
        }
    };
    let exe = std::env::current_exe().unwrap_or_default();
    let chosen = plugin_path(config.monitor_impl_path.clone(), exe.parent().unwrap_or(Path::new(".")), Path::is_file);
    let pipeline = match start(config, &chosen, &signals) {
        Ok(pipeline) => pipeline,
        Err(error) => return refuse(&error),
    };
    manager.ready();
    let looks = manager.looks();
    let mut ended = Vec::new();
    let asked = loop {
        select! {
            recv(signals) -> signal => {
                tracing::info!(signal = signal.unwrap_or_default(), "asked to stop: the queues are drained and pushed");
                break true;
            }
            recv(pipeline.endings()) -> end => {
                ended.extend(end);
                if ended.iter().any(|one| one.name == READER) {
                    tracing::info!("nobody reads standard output any more: the dry run ends");
                    ended.clear();
                    break true;
                }
                cause_first(&mut ended, pipeline.endings());
                break false;
            }
            recv(looks) -> _ => look(&mut manager, &pipeline),
        }
    };
    manager.stopping(config.shutdown_timeout);
    let ledger = std::sync::Arc::clone(&pipeline.ledger);
    let finished = pipeline.finish(ended, Instant::now() + config.shutdown_timeout);
    let well = report(&finished, asked);
    tell(&ledger.snapshot(), finished.plugin);
    if asked && well { ExitCode::SUCCESS } else { WORKER_ENDED.into() }
}

/// Tells the watchdog that the run is alive, if it is.
fn look(manager: &mut Manager, pipeline: &Pipeline) {
    match pipeline.latest(manager.half()) {
        None => manager.alive(&pipeline.state()),
        Some((stage, late)) => {
            let late_s = late.as_secs_f64();
            tracing::error!(
                stage,
                late_s,
                "a thread of the host's hangs: the watchdog is not told that this run is alive"
            );
            manager.not_alive(&format!("{stage} should have moved {late_s:.1} s ago"));
        }
    }
}

/// The end of `get_power` closes the raw queue, which ends `process_data`: two threads tell it, in any order.
fn cause_first(ended: &mut Vec<Ended>, endings: &Receiver<Ended>) {
    let consequence = |one: &Ended| one.name == Worker::ProcessData.name() && one.result.is_ok();
    if ended.iter().all(consequence)
        && let Ok(cause) = endings.recv_timeout(CAUSE_TIMEOUT)
    {
        ended.insert(0, cause);
    }
}

fn start(config: &Config, chosen: &PluginPath, signals: &Receiver<i32>) -> Result<Pipeline, StartError> {
    let path = &chosen.path;
    let source = match config.plugin_isolation {
        Isolation::Off => Source::here(path)?,
        Isolation::Process => Source::process(Spawner {
            library: path.clone(),
            memory_max: config.plugin_memory_max,
            withheld: config::secrets().chain(notify::VARIABLES).collect(),
            max_label_value_bytes: config.max_label_value_bytes.get(),
        })?,
    };
    let manifest = &source.manifest;
    tracing::info!(
        path = %path.display(),
        name = manifest.name,
        version = manifest.version,
        api = manifest.api,
        rustc = manifest.rustc,
        isolated = source.is_isolated(),
        "plugin"
    );
    if manifest.panic == "abort" {
        tracing::warn!(
            "the plugin was built with panic = \"abort\": a panic in it ends this process at once, and what waits in \
             memory is lost with it"
        );
    }
    if chosen.is_dummy {
        tracing::warn!(
            "MONITOR_IMPL_PATH is not set and no libmonitor_impl.so lies beside this program: \
             the dummy plugin runs, its readings are not real"
        );
    }
    let pipeline = Pipeline::start(config, source, signals)?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        url = %config.url_for_log(),
        scrape_interval_s = config.scrape_interval.as_secs_f64(),
        push_interval_s = config.push_interval.as_secs_f64(),
        "running"
    );
    if config.dry_run {
        tracing::warn!(
            spool = config.spool_dir.is_some().then_some("left alone"),
            "DRY_RUN: nothing is pushed; what would be is printed on standard output, and counted as delivered"
        );
        return Ok(pipeline);
    }
    // One that can't be used so far was told.
    match config.spool_dir.as_ref().filter(|_| pipeline.has_spool()) {
        Some(dir) => tracing::info!(
            dir = %dir.display(),
            "batches wait on disk: a crash of this process would lose at most SPOOL_FLUSH_S of samples"
        ),
        None => tracing::info!(
            "batches wait in memory, at most {} of them or {} bytes: a crash of this process would lose them \
             (SPOOL_DIR keeps them on disk)",
            config.max_retry_batches,
            config.max_retry_bytes,
        ),
    }
    Ok(pipeline)
}

fn refuse(error: &StartError) -> ExitCode {
    match error {
        StartError::Access(refused) => refused.lines().iter().for_each(|line| tracing::error!("{line}")),
        StartError::AskedToStop => tracing::info!("{error}"),
        _ => tracing::error!("{error}"),
    }
    match error {
        StartError::Plugin(LoadError { detail, backtrace, .. }) => {
            if !detail.is_empty() {
                tracing::debug!("{detail}");
            }
            if !backtrace.is_empty() {
                tracing::error!("backtrace: {backtrace}");
            }
            NO_PLUGIN.into()
        }
        StartError::Access(_) | StartError::Sender(_) | StartError::Spool(_) => BAD_CONFIGURATION.into(),
        StartError::AskedToStop => ExitCode::SUCCESS,
        StartError::Thread(_) => WORKER_ENDED.into(),
    }
}

/// Says how the workers ended. Returns whether they did as they were asked to.
fn report(finished: &Finished, asked: bool) -> bool {
    let mut well = finished.late.is_empty();
    for worker in &finished.late {
        tracing::error!(
            worker = worker.name(),
            "the worker did not end although it was asked to: what it still holds is lost; a plugin should look at its stop"
        );
    }
    for (i, Ended { name, result }) in finished.ended.iter().enumerate() {
        match result {
            Err(error) => {
                well = false;
                tell_failure(name, error);
            }
            // Whatever ended first by itself is the reason; the others were asked to end.
            Ok(()) if i == 0 && !asked => {
                tracing::error!(worker = *name, "the worker ended by itself, which ends the run");
            }
            Ok(()) => tracing::debug!(worker = *name, "the worker has ended"),
        }
    }
    well
}

fn tell_failure(name: &str, error: &WorkerError) {
    let whose = if matches!(name, PROCESS | PLUGIN) { "plugin" } else { "worker" };
    tracing::error!(worker = name, panicked = error.panicked, "the {whose} failed: {error}");
    if !error.detail.is_empty() {
        let what = if error.panicked { "backtrace" } else { "the last lines on its stderr" };
        tracing::error!(worker = name, "{what}: {}", error.detail);
    }
}

/// The log's last word: where every sample went.
fn tell(books: &Snapshot, Books { raw, restarts, stalls }: Books) {
    let lost_readings = raw.sent.saturating_sub(raw.received);
    if lost_readings > 0 {
        tracing::warn!(lost_readings, "readings were left in the raw queue: process_data ended before it was empty");
    }
    if restarts + stalls > 0 {
        tracing::warn!(restarts, stalls, "the plugin did not run through");
    }
    let own = books.collected.iter().find(|(origin, _)| *origin == Origin::Own).map_or(0, |(_, samples)| *samples);
    // Few plugins have any.
    let exemplars = Some(&books.exemplars).filter(|exemplars| exemplars.collected > 0);
    tracing::info!(
        collected = books.collected(),
        collected_self = Some(own).filter(|&samples| samples > 0),
        delivered = books.delivered,
        pending = books.pending(),
        dropped = books.dropped(),
        reasons = books.reasons(),
        refused_sends = books.refused_sends,
        raw_sent = raw.sent,
        raw_received = raw.received,
        raw_refused = raw.refused,
        exemplars_collected = exemplars.map(|exemplars| exemplars.collected),
        exemplars_delivered = exemplars.map(|exemplars| exemplars.delivered),
        exemplars_pending = exemplars.map(|exemplars| exemplars.pending()),
        exemplars_dropped = exemplars.map(|exemplars| exemplars.dropped()),
        exemplar_reasons = exemplars.map(|exemplars| exemplars.reasons()),
        left_out_starts = Some(books.left_out_starts).filter(|&samples| samples > 0),
        "ledger"
    );
}

/// A signal so soon after the first one is the same request: timeout(1), shells and supervisors signal a process and then
/// its group.
const SAME_REQUEST: Duration = Duration::from_millis(250);

/// The first SIGTERM or SIGINT arrives here; another one, later than [`SAME_REQUEST`], ends the process at once.
pub(crate) fn signals() -> std::io::Result<Receiver<i32>> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let (sender, receiver) = bounded(1);
    let wait = move || {
        let mut forever = signals.forever();
        if let Some(signal) = forever.next() {
            let _ = sender.send(signal);
        }
        let asked = Instant::now();
        if let Some(signal) = forever.find(|_| asked.elapsed() > SAME_REQUEST) {
            tracing::error!(signal, "asked to stop a second time: ended at once, what was not delivered is lost");
            std::process::exit(WORKER_ENDED.into());
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(wait)?;
    Ok(receiver)
}

/// A panic of the host's own code is a defect; it is told in the log like everything else.
pub(crate) fn log_panics() {
    std::panic::set_hook(Box::new(|panic| tracing::error!("monitor-host panicked, which is a defect: {panic}")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_only_followed_is_not_the_reason() {
        let ended = |worker: Worker| Ended { name: worker.name(), result: Ok(()) };
        let order = |first: Worker, then: Option<Worker>| {
            let (events, endings) = bounded(1);
            then.into_iter().for_each(|worker| events.send(ended(worker)).unwrap());
            let mut all = vec![ended(first)];
            cause_first(&mut all, &endings);
            all.iter().map(|one| one.name).collect::<Vec<_>>()
        };
        assert_eq!(order(Worker::ProcessData, Some(Worker::GetPower)), ["get_power", "process_data"]);
        assert_eq!(order(Worker::ProcessData, None), ["process_data"]);
        // The cause itself waits for nobody: the other is asked to stop, and told later.
        assert_eq!(order(Worker::GetPower, Some(Worker::ProcessData)), ["get_power"]);
    }
}
