//! What a plugin sees of the host.
//!
//! Enters: the plugin's calls, from any of its threads, or made again for it by the thread that reads what its own process
//! sends. Leaves: the same, to the [`Intake`] and to the log, and each as a sign of life. A panic of ours ends here: the
//! plugin is told that nothing is taken any more.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{RErr, ROk, RResult, RSlice, RStr};
use monitor_plugin_api::Sample;
use monitor_plugin_api::abi::{
    AbiError, AbiExemplar, AbiHistogram, AbiLabel, AbiLogEvent, AbiMetadata, AbiRecord, HostAbi, HostAbi_TO, HostBox,
    NO_TIMESTAMP, code, failure,
};

use super::log::PluginLog;
use crate::intake::{Intake, Record};
use crate::normalise::Rule;
use crate::plugin::Presence;
use crate::queue::Refused;
use crate::series::{Metadata, SeriesId};

/// What a plugin is told of the host's settings.
#[derive(Clone, Copy, Debug)]
pub struct HostSettings {
    /// SCRAPE_INTERVAL_S.
    pub scrape_interval: Duration,
    /// RAW_QUEUE_SIZE, in items.
    pub raw_queue_size: usize,
}

/// The host, as one instance of a plugin sees it.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) intake: Arc<Intake>,
    pub(super) settings: HostSettings,
    pub(super) presence: Arc<Presence>,
    pub(super) log: Arc<PluginLog>,
}

impl Host {
    /// Ready to be handed to a plugin.
    pub(super) fn boxed(self) -> HostBox {
        HostAbi_TO::from_value(self, TD_Opaque)
    }

    /// Passes a send on, unless the instance is over.
    fn send(&self, send: impl FnOnce(&Intake) -> Result<(), Refused>) -> i32 {
        if !self.presence.sign() {
            return code::STOPPED;
        }
        guarded(code::STOPPED, || answer(send(&self.intake)))
    }
}

impl HostAbi for Host {
    fn scrape_interval_ns(&self) -> u64 {
        u64::try_from(self.settings.scrape_interval.as_nanos()).unwrap_or(u64::MAX)
    }

    fn raw_queue_size(&self) -> u64 {
        self.settings.raw_queue_size as u64
    }

    fn log_level(&self) -> i32 {
        PluginLog::level()
    }

    fn log(&self, event: AbiLogEvent<'_>) {
        self.presence.sign();
        guarded((), || self.log.write(&event));
    }

    fn send_records(&self, records: RSlice<'_, AbiRecord<'_>>, timeout_ns: u64) -> i32 {
        self.send(|intake| {
            let records = records.as_slice().iter().map(|record| Record {
                metric: record.metric.as_str(),
                labels: pairs(&record.labels),
                value: record.value,
                timestamp_ms: Some(record.timestamp_ms).filter(|&timestamp_ms| timestamp_ms != NO_TIMESTAMP),
            });
            intake.records(records, Duration::from_nanos(timeout_ns))
        })
    }

    fn send_json(&self, document: RSlice<'_, u8>, timeout_ns: u64) -> i32 {
        self.send(|intake| intake.json(document.as_slice(), Duration::from_nanos(timeout_ns)))
    }

    fn send_samples(&self, samples: RSlice<'_, Sample>, timeout_ns: u64) -> i32 {
        self.send(|intake| intake.samples(samples.as_slice(), Duration::from_nanos(timeout_ns)))
    }

    fn send_samples_with_exemplars(
        &self,
        samples: RSlice<'_, Sample>,
        exemplars: RSlice<'_, AbiExemplar<'_>>,
        timeout_ns: u64,
    ) -> i32 {
        let (samples, exemplars) = (samples.as_slice(), exemplars.as_slice());
        self.send(|intake| intake.samples_with_exemplars(samples, exemplars, Duration::from_nanos(timeout_ns)))
    }

    fn send_histograms(
        &self,
        histograms: RSlice<'_, AbiHistogram<'_>>,
        exemplars: RSlice<'_, AbiExemplar<'_>>,
        timeout_ns: u64,
    ) -> i32 {
        let (histograms, exemplars) = (histograms.as_slice(), exemplars.as_slice());
        self.send(|intake| intake.histograms(histograms, exemplars, Duration::from_nanos(timeout_ns)))
    }

    fn register_series(
        &self,
        metric: RStr<'_>,
        labels: RSlice<'_, AbiLabel<'_>>,
        metadata: AbiMetadata<'_>,
    ) -> RResult<u64, AbiError> {
        let error = |message: String| {
            RErr(AbiError { failure: failure::ERROR, message: message.into(), detail: Default::default() })
        };
        if !self.presence.sign() {
            return error("the host takes nothing from this instance any more".into());
        }
        let panicked = error("the host could not register the series".into());
        guarded(panicked, || {
            let metadata = Metadata {
                kind: metadata.kind,
                help: metadata.help.as_str().to_owned(),
                unit: metadata.unit.as_str().to_owned(),
            };
            match self.intake.register(metric.as_str(), pairs(&labels), metadata) {
                Ok(series) => {
                    if !self.presence.got(series) {
                        self.intake.release(series);
                    }
                    ROk(series.to_number())
                }
                Err(reason) => {
                    let labels: Vec<_> =
                        pairs(&labels).take(10).map(|(name, value)| format!("{name}={value:?}")).collect();
                    let shown: String = format!("{metric}{{{}}}", labels.join(",")).chars().take(200).collect();
                    let rule = Rule(reason);
                    error(format!("the series {shown} can't be registered: {reason}: {rule}"))
                }
            }
        })
    }

    fn set_series_start(&self, series: u64, start_ms: i64) {
        self.presence.sign();
        guarded((), || self.intake.set_start(SeriesId::from_number(series), start_ms));
    }

    fn release_series(&self, series: u64) {
        self.presence.sign();
        let series = SeriesId::from_number(series);
        guarded((), || {
            if self.presence.gave_back(series, Instant::now()) {
                self.intake.release(series);
            }
        });
    }
}

fn pairs<'a>(labels: &RSlice<'a, AbiLabel<'a>>) -> impl Iterator<Item = (&'a str, &'a str)> + Clone {
    labels.as_slice().iter().map(|label| (label.name.as_str(), label.value.as_str()))
}

fn answer(taken: Result<(), Refused>) -> i32 {
    match taken {
        Ok(()) => code::SENT,
        Err(Refused::Full) => code::FULL,
        Err(Refused::Closed) => code::STOPPED,
    }
}

pub(super) fn guarded<R>(panicked: R, run: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| {
        std::mem::forget(payload);
        panicked
    })
}
