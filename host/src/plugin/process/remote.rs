//! The host as a plugin sees it in a process of its own.
//!
//! Enters: the plugin's calls, from any of its threads. Leaves: the same as messages, and what the host answers where it
//! has to. A send is taken when its last byte is in the pipe, from where no death of this process takes it back.
//!
//! Never: judges what is sent (the host does, as in its own process); waits for an answer but to a registration; lets a
//! panic of ours reach the plugin.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{RErr, ROk, RResult, RSlice, RStr};
use monitor_plugin_api::Sample;
use monitor_plugin_api::abi::{
    AbiError, AbiExemplar, AbiHistogram, AbiLabel, AbiLogEvent, AbiMetadata, AbiRecord, HostAbi, HostAbi_TO, HostBox,
    code, failure,
};

use super::message::{self, Settings};
use super::pipe::{NotSent, Outgoing};
use crate::normalise::MAX_DOCUMENT_BYTES;
use crate::plugin::boundary::guarded;

/// A longer item goes in several messages, so that neither end has to hold all of it twice.
const MESSAGE: usize = 1 << 20;

/// The host on the other end of the pipe.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) pipe: Outgoing,
    settings: Settings,
    answers: Answers,
    /// Sends that the plugin got back.
    refused: AtomicU64,
    calls: AtomicU64,
}

impl Remote {
    pub(super) fn new(pipe: Outgoing, settings: Settings) -> Self {
        let (refused, calls) = (AtomicU64::new(0), AtomicU64::new(0));
        Remote { pipe, settings, answers: Answers::default(), refused, calls }
    }

    /// For the plugin.
    pub(super) fn host(self: &Arc<Self>) -> HostBox {
        HostAbi_TO::from_value(Host(Arc::clone(self)), TD_Opaque)
    }

    /// The host has answered a registration.
    pub(super) fn answered(&self, request: u64, answer: Result<u64, &str>) {
        self.answers.give(request, answer.map_err(str::to_owned));
    }

    /// Sends refused so far, and calls.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.refused.load(Relaxed), self.calls.load(Relaxed))
    }

    fn send(&self, timeout_ns: u64, next: impl FnMut(&mut Vec<u8>) -> bool) -> i32 {
        let sent = self.pipe.send_item(Instant::now().checked_add(Duration::from_nanos(timeout_ns)), next);
        if sent.is_err() {
            self.refused.fetch_add(1, Relaxed);
        }
        match sent {
            Ok(()) => code::SENT,
            Err(NotSent::Full) => code::FULL,
            Err(NotSent::Broken) => code::STOPPED,
        }
    }

    fn max_value_bytes(&self) -> usize {
        usize::try_from(self.settings.max_label_value_bytes).unwrap_or(usize::MAX)
    }
}

/// One hand on it: a type that isn't the `Arc` itself, for the boundary's traits.
struct Host(Arc<Remote>);

impl Host {
    /// A call of the plugin; what it returns if we panic.
    fn call<R>(&self, panicked: R, run: impl FnOnce(&Remote) -> R) -> R {
        self.0.calls.fetch_add(1, Relaxed);
        guarded(panicked, || run(&self.0))
    }
}

// Where nothing is returned, a broken pipe is no concern of the plugin: this process is about to end.
impl HostAbi for Host {
    fn scrape_interval_ns(&self) -> u64 {
        self.0.settings.scrape_interval_ns
    }

    fn raw_queue_size(&self) -> u64 {
        self.0.settings.raw_queue_size
    }

    fn log_level(&self) -> i32 {
        self.0.settings.log_level
    }

    fn log(&self, event: AbiLogEvent<'_>) {
        self.call((), |remote| {
            if event.level <= remote.settings.log_level {
                let _ = remote.pipe.send(|out| message::log(out, &event));
            }
        });
    }

    fn send_records(&self, records: RSlice<'_, AbiRecord<'_>>, timeout_ns: u64) -> i32 {
        self.call(code::STOPPED, |remote| {
            let mut rest = records.as_slice();
            remote.send(timeout_ns, |out| {
                let written = message::records(out, rest, remote.max_value_bytes(), MESSAGE);
                rest = &rest[written..];
                !rest.is_empty()
            })
        })
    }

    fn send_json(&self, document: RSlice<'_, u8>, timeout_ns: u64) -> i32 {
        self.call(code::STOPPED, |remote| {
            remote.send(timeout_ns, |out| {
                message::json(out, document.as_slice(), MAX_DOCUMENT_BYTES);
                false
            })
        })
    }

    fn send_samples(&self, samples: RSlice<'_, Sample>, timeout_ns: u64) -> i32 {
        self.call(code::STOPPED, |remote| {
            let mut parts = samples.as_slice().chunks(MESSAGE / size_of::<Sample>()).peekable();
            remote.send(timeout_ns, |out| {
                message::samples(out, parts.next().unwrap_or_default());
                parts.peek().is_some()
            })
        })
    }

    fn send_samples_with_exemplars(
        &self,
        samples: RSlice<'_, Sample>,
        exemplars: RSlice<'_, AbiExemplar<'_>>,
        timeout_ns: u64,
    ) -> i32 {
        self.call(code::STOPPED, |remote| {
            let samples = samples.as_slice();
            let items = samples.iter().map(|sample| (sample.series(), size_of::<Sample>()));
            let mut parts = message::parts(items, exemplars.as_slice(), MESSAGE).into_iter().peekable();
            remote.send(timeout_ns, |out| {
                let (range, exemplars) = parts.next().unwrap_or_default();
                message::samples_with_exemplars(out, &samples[range], &exemplars);
                parts.peek().is_some()
            })
        })
    }

    fn send_histograms(
        &self,
        histograms: RSlice<'_, AbiHistogram<'_>>,
        exemplars: RSlice<'_, AbiExemplar<'_>>,
        timeout_ns: u64,
    ) -> i32 {
        self.call(code::STOPPED, |remote| {
            let histograms = histograms.as_slice();
            let items = histograms.iter().map(|one| (one.series, message::histogram_bytes(one)));
            let mut parts = message::parts(items, exemplars.as_slice(), MESSAGE).into_iter().peekable();
            remote.send(timeout_ns, |out| {
                let (range, exemplars) = parts.next().unwrap_or_default();
                message::histograms(out, &histograms[range], &exemplars);
                parts.peek().is_some()
            })
        })
    }

    fn register_series(
        &self,
        metric: RStr<'_>,
        labels: RSlice<'_, AbiLabel<'_>>,
        metadata: AbiMetadata<'_>,
    ) -> RResult<u64, AbiError> {
        let error = |message: &str| {
            RErr(AbiError { failure: failure::ERROR, message: message.into(), detail: Default::default() })
        };
        self.call(error("the host could not register the series"), |remote| {
            let request = remote.answers.expect();
            let (labels, most) = (labels.as_slice(), remote.max_value_bytes());
            let asked =
                remote.pipe.send(|out| message::register(out, request, metric.as_str(), labels, &metadata, most));
            if asked.is_err() {
                return error("the host takes nothing any more");
            }
            match remote.answers.wait(request) {
                Ok(series) => ROk(series),
                Err(why) => error(&why),
            }
        })
    }

    fn set_series_start(&self, series: u64, start_ms: i64) {
        self.call((), |remote| {
            let _ = remote.pipe.send(|out| message::series_start(out, series, start_ms));
        });
    }

    fn release_series(&self, series: u64) {
        self.call((), |remote| {
            let _ = remote.pipe.send(|out| message::release(out, series));
        });
    }
}

/// The answers that are waited for. The host always gives one, unless it dies, and this process with it.
#[derive(Debug, Default)]
struct Answers {
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, Option<Result<u64, String>>>>,
    given: Condvar,
}

impl Answers {
    fn expect(&self) -> u64 {
        let request = self.next.fetch_add(1, Relaxed);
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(request, None);
        request
    }

    fn give(&self, request: u64, answer: Result<u64, String>) {
        if let Some(place) = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&request) {
            *place = Some(answer);
        }
        self.given.notify_all();
    }

    fn wait(&self, request: u64) -> Result<u64, String> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(Some(answer)) = waiting.get(&request) {
                let answer = answer.clone();
                waiting.remove(&request);
                return answer;
            }
            waiting = self.given.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
