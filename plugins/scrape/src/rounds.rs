//! When each target is asked, and what becomes of its answers.
//!
//! Enters: targets, and the interval between two scrapes of one. Leaves: what each of them answered, or why it did not, into
//! the raw queue. Each target has a task of its own on one thread: none waits for another, and a stop ends them all at
//! once, wherever they wait.
//!
//! Never: holds more than one body of a target; asks a target again before its last answer has been read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use monitor_plugin_api::{Error, RawSender, SendError};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::failure::Failure;
use crate::fetch::{Body, Fetcher};
use crate::grid::Grid;
use crate::target::Target;

/// What a target answered.
#[derive(Debug)]
pub(crate) struct Scraped {
    /// Its number among the targets.
    pub(crate) target: usize,
    /// When, in milliseconds since the Unix epoch: for every sample that does not say so itself.
    pub(crate) at_ms: i64,
    pub(crate) began: Instant,
    /// Points of the grid before it that were left out.
    pub(crate) missed: u64,
    pub(crate) body: Result<Body, Failure>,
    /// Given back when this is dropped.
    _turn: Turn,
}

#[cfg(test)]
impl Scraped {
    /// What the only target answered at this moment.
    pub(crate) fn of(at_ms: i64, body: Result<Body, Failure>) -> Self {
        let _turn = Turn(Arc::default());
        Scraped { target: 0, at_ms, began: Instant::now(), missed: 0, body, _turn }
    }
}

/// How all targets are asked.
#[derive(Debug)]
pub(crate) struct Rounds {
    pub(crate) targets: Arc<[Target]>,
    pub(crate) job: String,
    pub(crate) fetcher: Arc<Fetcher>,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
}

impl Rounds {
    /// Asks until `stop` is dropped.
    ///
    /// # Errors
    /// A task panicked.
    pub(crate) async fn run(&self, out: RawSender<Scraped>, stop: oneshot::Receiver<()>) -> Result<(), Error> {
        let mut tasks = JoinSet::new();
        for (number, target) in self.targets.iter().enumerate() {
            let round = Round {
                number,
                target: target.clone(),
                fetcher: Arc::clone(&self.fetcher),
                grid: Grid::new(self.interval, target.seed(&self.job)),
                timeout: self.timeout,
                busy: Arc::default(),
            };
            tasks.spawn(round.run(out.clone()));
        }
        tokio::select! {
            // It is never sent to.
            _ = stop => Ok(()),
            ended = tasks.join_next() => match ended {
                Some(Err(error)) => Err(Error::from(error).context("a scrape")),
                // The raw queue is closed: the run is over.
                _ => Ok(()),
            },
        }
    }
}

/// How one target is asked.
struct Round {
    number: usize,
    target: Target,
    fetcher: Arc<Fetcher>,
    grid: Grid,
    timeout: Duration,
    busy: Arc<AtomicBool>,
}

impl Round {
    async fn run(self, out: RawSender<Scraped>) {
        let (mut last, mut missed, mut expected) = (None, 0, 0);
        loop {
            let (point, left_out) = self.grid.next(last, wall_ns());
            missed += left_out;
            sleep_until(point).await;
            last = Some(point);
            let Some(turn) = Turn::take(&self.busy) else {
                missed += 1;
                continue;
            };
            let (at_ms, began) = (self.grid.timestamp_ms(point, wall_ns()), Instant::now());
            let body = self.fetcher.fetch(&self.target, self.timeout, expected).await;
            // Somewhat more than the last one, so that most are read without a copy.
            expected = body.as_ref().map_or(expected, |body| body.bytes.len() + body.bytes.len() / 8);
            let scraped = Scraped { target: self.number, at_ms, began, missed, body, _turn: turn };
            missed = match out.send_timeout(scraped, Duration::ZERO) {
                Ok(()) => 0,
                Err(SendError::Full(scraped)) => scraped.missed + 1,
                Err(SendError::Stopped(_)) => return,
            };
        }
    }
}

/// The right to scrape a target.
#[derive(Debug)]
struct Turn(Arc<AtomicBool>);

impl Turn {
    fn take(busy: &Arc<AtomicBool>) -> Option<Self> {
        (!busy.swap(true, Ordering::AcqRel)).then(|| Turn(Arc::clone(busy)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Nanoseconds since the Unix epoch.
fn wall_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Waits for a moment of the wall clock, as far as it is known now: an interval at most.
async fn sleep_until(point: i64) {
    let left = u64::try_from(point.saturating_sub(wall_ns())).unwrap_or(0);
    tokio::time::sleep(Duration::from_nanos(left)).await;
}
