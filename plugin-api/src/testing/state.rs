//! What the host in memory knows, and its queue.
//!
//! Enters: items, by [`Shared::take`]. Leaves: a [`Run`], what was taken and what was refused. Its memory is bounded: at
//! [`MAX_WEIGHT`] every further send is refused.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use abi_stable::std_types::{RResult, RSlice, RStr};

use super::collected::{CollectedSample, CollectedSeries, LogEvent, Run};
use super::histogram::{CollectedExemplar, CollectedHistogram};
use crate::abi::{AbiError, AbiLabel, code};

/// What one run keeps at most, in samples; JSON weighs a sample for each 24 bytes.
const MAX_WEIGHT: usize = 1 << 20;

/// How many log events one run keeps.
const MAX_EVENTS: usize = 10_000;

#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) scrape_interval: Duration,
    pub(super) raw_queue_size: usize,
    pub(super) proc_queue_size: Option<usize>,
    pub(super) drained_every: Option<Duration>,
    pub(super) max_series: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            scrape_interval: Duration::from_millis(10),
            raw_queue_size: 1000,
            proc_queue_size: None,
            drained_every: None,
            max_series: MAX_WEIGHT,
        }
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Running,
    /// The plugin was asked to stop: handles that go from now on end no series.
    Stopping,
    /// Nothing is taken any more.
    Closed,
}

type Key = (String, Vec<(String, String)>);

#[derive(Default)]
pub(super) struct State {
    pub(super) phase: Phase,
    /// How the two workers ended, and when; by [`crate::abi::worker`].
    pub(super) ended: [Option<(RResult<(), AbiError>, Instant)>; 2],
    pub(super) series: Vec<CollectedSeries>,
    /// Of each series.
    pub(super) handles: Vec<u64>,
    /// The series that have not ended.
    pub(super) numbers: HashMap<Key, usize>,
    samples: Vec<(usize, f64, i64)>,
    pub(super) histograms: Vec<(usize, CollectedHistogram)>,
    pub(super) exemplars: Vec<(usize, CollectedExemplar)>,
    pub(super) documents: Vec<String>,
    log: Vec<LogEvent>,
    refused_sends: u64,
    pub(super) dropped_samples: u64,
    weight: usize,
    queued: usize,
    drain_at: Option<Instant>,
}

impl State {
    /// Samples, histograms and documents.
    pub(super) fn taken(&self) -> usize {
        self.samples.len() + self.histograms.len() + self.documents.len()
    }

    /// The number of the series with these labels; `None` where it would be one too many.
    pub(super) fn number(
        &mut self,
        metric: RStr<'_>,
        labels: &RSlice<'_, AbiLabel<'_>>,
        limits: &Limits,
    ) -> Option<usize> {
        let labels = labels.iter().filter(|label| !label.value.is_empty());
        let mut labels: Vec<_> = labels.map(|label| (label.name.to_string(), label.value.to_string())).collect();
        labels.sort();
        let key = (metric.to_string(), labels);
        if let Some(number) = self.numbers.get(&key) {
            return Some(*number);
        }
        if self.numbers.len() >= limits.max_series {
            return None;
        }
        let number = self.series.len();
        let (metric, labels) = key.clone();
        self.series.push(CollectedSeries { metric, labels, ..CollectedSeries::default() });
        self.handles.push(0);
        self.numbers.insert(key, number);
        Some(number)
    }

    pub(super) fn sample(&mut self, number: Option<usize>, value: f64, timestamp_ms: i64) {
        match self.live(number) {
            Some(number) => self.samples.push((number, value, timestamp_ms)),
            None => self.dropped_samples += 1,
        }
    }

    /// The number, where it is that of a series that has not ended.
    pub(super) fn live(&self, number: Option<usize>) -> Option<usize> {
        number.filter(|&number| self.series.get(number).is_some_and(|series| !series.ended))
    }

    fn drain(&mut self, every: Option<Duration>, now: Instant) {
        let Some(every) = every else { return };
        if self.drain_at.is_none_or(|at| at <= now) {
            self.queued = 0;
            self.drain_at = now.checked_add(every);
        }
    }
}

/// One run's host, seen from all its threads.
pub(super) struct Shared {
    pub(super) limits: Limits,
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Shared { limits, state: Mutex::default(), changed: Condvar::new() })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and lets everyone who waits for it look again.
    pub(super) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits until this holds, or until the deadline; says whether it holds.
    pub(super) fn wait(&self, deadline: Option<Instant>, holds: impl Fn(&State) -> bool) -> bool {
        let mut state = self.lock();
        loop {
            if holds(&state) {
                return true;
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return false;
            }
            state = self.sleep(state, deadline);
        }
    }

    fn sleep<'a>(&self, state: MutexGuard<'a, State>, until: Option<Instant>) -> MutexGuard<'a, State> {
        match until {
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Every send goes through here: waits for room, then `keep`s the item; a [`code`].
    pub(super) fn take(&self, weight: usize, timeout_ns: u64, keep: impl FnOnce(&mut State)) -> i32 {
        let deadline = Instant::now().checked_add(Duration::from_nanos(timeout_ns));
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            state.drain(self.limits.drained_every, now);
            let room = self.limits.proc_queue_size.is_none_or(|size| state.queued < size);
            if state.phase != Phase::Closed && room && state.weight + weight <= MAX_WEIGHT {
                state.weight += weight;
                state.queued += 1;
                keep(&mut state);
                drop(state);
                self.changed.notify_all();
                return code::SENT;
            }
            // A queue that nothing empties is closed as soon as the plugin was asked to stop.
            let over = match state.phase {
                Phase::Running => false,
                Phase::Stopping => self.limits.drained_every.is_none(),
                Phase::Closed => true,
            };
            if over || deadline.is_some_and(|deadline| deadline <= now) {
                state.refused_sends += 1;
                return if over { code::STOPPED } else { code::FULL };
            }
            let until = [deadline, state.drain_at].into_iter().flatten().min();
            state = self.sleep(state, until);
        }
    }

    pub(super) fn keep_event(&self, event: LogEvent) {
        // Captured by the test that runs, and shown if it fails.
        eprintln!("[plugin {} {}] {} {}", event.level, event.target, event.message, event.fields);
        let mut state = self.lock();
        if state.log.len() < MAX_EVENTS {
            state.log.push(event);
        }
    }

    /// What was collected until now.
    pub(super) fn collected(&self) -> Run {
        let state = &mut *self.lock();
        let series: Vec<_> = state.series.iter().cloned().map(Arc::new).collect();
        let sample = |&(number, value, timestamp_ms): &(usize, f64, i64)| {
            let series = Arc::clone(&series[number]);
            CollectedSample { series, value, timestamp_ms }
        };
        Run {
            samples: state.samples.iter().map(sample).collect(),
            histograms: state
                .histograms
                .iter()
                .map(|(number, histogram)| CollectedHistogram {
                    series: Arc::clone(&series[*number]),
                    ..histogram.clone()
                })
                .collect(),
            exemplars: state
                .exemplars
                .iter()
                .map(|(number, exemplar)| CollectedExemplar {
                    series: Arc::clone(&series[*number]),
                    ..exemplar.clone()
                })
                .collect(),
            series: series.clone(),
            documents: std::mem::take(&mut state.documents),
            log: std::mem::take(&mut state.log),
            refused_sends: state.refused_sends,
            dropped_samples: state.dropped_samples,
            ..Run::default()
        }
    }
}
