//! The host's side of the boundary, in memory: each call of the plugin, from any thread, becomes a change of [`Shared`].
//!
//! A new way to send is a new method here that goes through [`Shared::take`], and a new list in the state and in `Run`.

use std::sync::Arc;

use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{RErr, ROk, RResult, RSlice, RStr};

use super::collected::LogEvent;
use super::state::{Phase, Shared, State};
use super::{drive, histogram};
use crate::abi::{
    AbiError, AbiExemplar, AbiHistogram, AbiLabel, AbiLogEvent, AbiMetadata, AbiRecord, HostAbi, HostAbi_TO, HostBox,
    NO_TIMESTAMP, Sample, failure, kind, level,
};
use crate::{Kind, now_ms};

/// The host as the plugin gets it.
pub(super) fn in_memory(shared: &Arc<Shared>) -> HostBox {
    HostAbi_TO::from_value(InMemory(Arc::clone(shared)), TD_Opaque)
}

struct InMemory(Arc<Shared>);

impl HostAbi for InMemory {
    fn scrape_interval_ns(&self) -> u64 {
        u64::try_from(self.0.limits.scrape_interval.as_nanos()).unwrap_or(u64::MAX)
    }

    fn raw_queue_size(&self) -> u64 {
        self.0.limits.raw_queue_size as u64
    }

    fn log_level(&self) -> i32 {
        level::TRACE
    }

    fn log(&self, event: AbiLogEvent<'_>) {
        let level = match event.level {
            ..=level::ERROR => tracing::Level::ERROR,
            level::WARN => tracing::Level::WARN,
            level::INFO => tracing::Level::INFO,
            level::DEBUG => tracing::Level::DEBUG,
            _ => tracing::Level::TRACE,
        };
        let [target, message, fields] = [event.target, event.message, event.fields].map(|text| text.to_string());
        // A process has one bridge for events, and it leads to the run that began last.
        drive::current().as_ref().unwrap_or(&self.0).keep_event(LogEvent { level, target, message, fields });
    }

    fn send_records(&self, records: RSlice<'_, AbiRecord<'_>>, timeout_ns: u64) -> i32 {
        let now = now_ms();
        self.0.take(records.len(), timeout_ns, |state| {
            for record in records.iter() {
                let number = state.number(record.metric, &record.labels, &self.0.limits);
                let stamped = record.timestamp_ms == NO_TIMESTAMP;
                state.sample(number, record.value, if stamped { now } else { record.timestamp_ms });
            }
        })
    }

    fn send_json(&self, document: RSlice<'_, u8>, timeout_ns: u64) -> i32 {
        let text = String::from_utf8_lossy(document.as_slice());
        self.0.take(text.len() / 24 + 1, timeout_ns, |state| state.documents.push(text.into_owned()))
    }

    fn send_samples(&self, samples: RSlice<'_, Sample>, timeout_ns: u64) -> i32 {
        self.0.take(samples.len(), timeout_ns, |state| {
            for sample in samples.iter() {
                state.sample(usize::try_from(sample.series).ok(), sample.value, sample.timestamp_ms);
            }
        })
    }

    fn send_samples_with_exemplars(
        &self,
        samples: RSlice<'_, Sample>,
        exemplars: RSlice<'_, AbiExemplar<'_>>,
        timeout_ns: u64,
    ) -> i32 {
        self.0.take(samples.len() + 8 * exemplars.len(), timeout_ns, |state| {
            for sample in samples.iter() {
                state.sample(usize::try_from(sample.series).ok(), sample.value, sample.timestamp_ms);
            }
            keep_exemplars(state, &exemplars);
        })
    }

    fn send_histograms(
        &self,
        histograms: RSlice<'_, AbiHistogram<'_>>,
        exemplars: RSlice<'_, AbiExemplar<'_>>,
        timeout_ns: u64,
    ) -> i32 {
        // The two counts of a bucket are never both given.
        let buckets = |h: &AbiHistogram<'_>| {
            h.positive_int.len() + h.positive_float.len() + h.negative_int.len() + h.negative_float.len()
        };
        let weight: usize = histograms.iter().map(|h| 8 + buckets(h) + h.custom_values.len()).sum();
        self.0.take(weight + 8 * exemplars.len(), timeout_ns, |state| {
            for abi in histograms.iter() {
                match state.live(usize::try_from(abi.series).ok()) {
                    Some(number) => state.histograms.push((number, histogram::histogram(abi))),
                    None => state.dropped_samples += 1,
                }
            }
            keep_exemplars(state, &exemplars);
        })
    }

    fn register_series(
        &self,
        metric: RStr<'_>,
        labels: RSlice<'_, AbiLabel<'_>>,
        metadata: AbiMetadata<'_>,
    ) -> RResult<u64, AbiError> {
        let mut state = self.0.lock();
        let Some(number) = state.number(metric, &labels, &self.0.limits) else {
            let message = format!("the series {metric} can't be registered: too_many_series");
            return RErr(AbiError { failure: failure::ERROR, message: message.into(), detail: Default::default() });
        };
        state.handles[number] += 1;
        let series = &mut state.series[number];
        series.registered = true;
        series.help = metadata.help.to_string();
        series.unit = metadata.unit.to_string();
        series.kind = match metadata.kind {
            kind::COUNTER => Kind::Counter,
            kind::GAUGE => Kind::Gauge,
            kind::HISTOGRAM => Kind::Histogram,
            kind::GAUGE_HISTOGRAM => Kind::GaugeHistogram,
            kind::SUMMARY => Kind::Summary,
            kind::INFO => Kind::Info,
            kind::STATE_SET => Kind::StateSet,
            _ => Kind::Unknown,
        };
        ROk(number as u64)
    }

    fn set_series_start(&self, series: u64, start_ms: i64) {
        let state = &mut *self.0.lock();
        if let Some(series) = usize::try_from(series).ok().and_then(|number| state.series.get_mut(number)) {
            series.start_ms = Some(start_ms);
        }
    }

    fn release_series(&self, series: u64) {
        let state = &mut *self.0.lock();
        let Some(number) = usize::try_from(series).ok().filter(|&number| number < state.series.len()) else { return };
        state.handles[number] = state.handles[number].saturating_sub(1);
        if state.handles[number] == 0 && state.phase == Phase::Running {
            let series = &mut state.series[number];
            series.ended = true;
            state.numbers.remove(&(series.metric.clone(), series.labels.clone()));
        }
    }
}

fn keep_exemplars(state: &mut State, exemplars: &RSlice<'_, AbiExemplar<'_>>) {
    for abi in exemplars.iter() {
        if let Some(number) = state.live(usize::try_from(abi.series).ok()) {
            state.exemplars.push((number, histogram::exemplar(abi)));
        }
    }
}
