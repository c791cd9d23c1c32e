//! What a plugin sees of the host.
//!
//! Enters: the plugin's calls, from any of its threads. Leaves: the same, to the [`Intake`] and to the log. A panic of
//! ours ends here: the plugin is told that nothing is taken any more.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{RErr, ROk, RResult, RSlice, RStr};
use monitor_plugin_api::Sample;
use monitor_plugin_api::abi::{
    AbiError, AbiExemplar, AbiHistogram, AbiLabel, AbiLogEvent, AbiMetadata, AbiRecord, HostAbi, HostAbi_TO, HostBox,
    NO_TIMESTAMP, code, failure, level,
};

use crate::intake::{Intake, Record};
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

/// The host, ready to be handed to a plugin.
pub(super) fn host(intake: Arc<Intake>, settings: HostSettings) -> HostBox {
    HostAbi_TO::from_value(Host { intake, settings }, TD_Opaque)
}

struct Host {
    intake: Arc<Intake>,
    settings: HostSettings,
}

impl HostAbi for Host {
    fn scrape_interval_ns(&self) -> u64 {
        u64::try_from(self.settings.scrape_interval.as_nanos()).unwrap_or(u64::MAX)
    }

    fn raw_queue_size(&self) -> u64 {
        self.settings.raw_queue_size as u64
    }

    fn log_level(&self) -> i32 {
        use tracing::level_filters::LevelFilter;
        match LevelFilter::current() {
            LevelFilter::OFF => 0,
            LevelFilter::ERROR => level::ERROR,
            LevelFilter::WARN => level::WARN,
            LevelFilter::INFO => level::INFO,
            LevelFilter::DEBUG => level::DEBUG,
            _ => level::TRACE,
        }
    }

    fn log(&self, event: AbiLogEvent<'_>) {
        let (target, message, fields) = (event.target.as_str(), event.message.as_str(), event.fields.as_str());
        // A `tracing` level is part of the call.
        macro_rules! write {
            ($level:ident) => {
                if fields.is_empty() {
                    tracing::event!(target: "plugin", tracing::Level::$level, module = target, "{message}")
                } else {
                    tracing::event!(target: "plugin", tracing::Level::$level, module = target, fields, "{message}")
                }
            };
        }
        guarded((), || match event.level {
            ..=level::ERROR => write!(ERROR),
            level::WARN => write!(WARN),
            level::INFO => write!(INFO),
            level::DEBUG => write!(DEBUG),
            _ => write!(TRACE),
        });
    }

    fn send_records(&self, records: RSlice<'_, AbiRecord<'_>>, timeout_ns: u64) -> i32 {
        guarded(code::STOPPED, || {
            let records = records.as_slice().iter().map(|record| Record {
                metric: record.metric.as_str(),
                labels: pairs(&record.labels),
                value: record.value,
                timestamp_ms: Some(record.timestamp_ms).filter(|&timestamp_ms| timestamp_ms != NO_TIMESTAMP),
            });
            answer(self.intake.records(records, Duration::from_nanos(timeout_ns)))
        })
    }

    fn send_json(&self, document: RSlice<'_, u8>, timeout_ns: u64) -> i32 {
        guarded(code::STOPPED, || answer(self.intake.json(document.as_slice(), Duration::from_nanos(timeout_ns))))
    }

    fn send_samples(&self, samples: RSlice<'_, Sample>, timeout_ns: u64) -> i32 {
        guarded(code::STOPPED, || answer(self.intake.samples(samples.as_slice(), Duration::from_nanos(timeout_ns))))
    }

    fn send_samples_with_exemplars(
        &self,
        samples: RSlice<'_, Sample>,
        exemplars: RSlice<'_, AbiExemplar<'_>>,
        timeout_ns: u64,
    ) -> i32 {
        guarded(code::STOPPED, || {
            let (samples, exemplars) = (samples.as_slice(), exemplars.as_slice());
            answer(self.intake.samples_with_exemplars(samples, exemplars, Duration::from_nanos(timeout_ns)))
        })
    }

    fn send_histograms(
        &self,
        histograms: RSlice<'_, AbiHistogram<'_>>,
        exemplars: RSlice<'_, AbiExemplar<'_>>,
        timeout_ns: u64,
    ) -> i32 {
        guarded(code::STOPPED, || {
            let (histograms, exemplars) = (histograms.as_slice(), exemplars.as_slice());
            answer(self.intake.histograms(histograms, exemplars, Duration::from_nanos(timeout_ns)))
        })
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
        let panicked = error("the host could not register the series".into());
        guarded(panicked, || {
            let metadata = Metadata {
                kind: metadata.kind,
                help: metadata.help.as_str().to_owned(),
                unit: metadata.unit.as_str().to_owned(),
            };
            match self.intake.register(metric.as_str(), pairs(&labels), metadata) {
                Ok(series) => ROk(series.to_number()),
                Err(reason) => {
                    let labels: Vec<_> = pairs(&labels).take(10).collect();
                    let shown: String = format!("{metric}{labels:?}").chars().take(200).collect();
                    error(format!("the series {shown} can't be registered: {reason}"))
                }
            }
        })
    }

    fn set_series_start(&self, series: u64, start_ms: i64) {
        guarded((), || self.intake.set_start(SeriesId::from_number(series), start_ms));
    }

    fn release_series(&self, series: u64) {
        guarded((), || self.intake.release(SeriesId::from_number(series)));
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

fn guarded<R>(panicked: R, run: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| {
        std::mem::forget(payload);
        panicked
    })
}
