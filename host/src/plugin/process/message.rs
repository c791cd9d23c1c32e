//! What the two processes say to each other, as bytes: the calls of [`HostAbi`](monitor_plugin_api::abi::HostAbi) and
//! their answers, how the workers end, and what the plugin's process is told.
//!
//! A message is a byte for its kind, then its fields (`codec.rs`). To add a call: a kind, a function that writes it, a variant of
//! [`Said`] with its arm in [`Said::read`], and what the host does with it (`inbox.rs`). Both ends are the same program, so
//! there are no versions.
//!
//! Enters: values, or the bytes of one frame. Leaves: the bytes, or the values.
//!
//! Never: panics on bytes that make no sense; copies a text; writes a record longer than the host would look at.

mod rare;

use abi_stable::std_types::RStr;
use monitor_plugin_api::Sample;
use monitor_plugin_api::abi::{AbiError, AbiLabel, AbiLogEvent, AbiMetadata, AbiRecord, RawQueueStats};

pub(super) use self::rare::{Rare, histogram_bytes, histograms, parts, samples_with_exemplars};
use super::codec::{Take, clip, put_labels, put_str, put_u32, put_u64, worker_number};
use crate::labels::MAX_NAME_BYTES;
use crate::plugin::{LoadError, Worker};

mod kind {
    // From the plugin's process.
    pub(super) const HELLO: u8 = 1;
    pub(super) const REFUSED: u8 = 2;
    pub(super) const READY: u8 = 3;
    pub(super) const RECORDS: u8 = 4;
    pub(super) const JSON: u8 = 5;
    pub(super) const SAMPLES: u8 = 6;
    pub(super) const REGISTER: u8 = 7;
    pub(super) const SERIES_START: u8 = 8;
    pub(super) const RELEASE: u8 = 9;
    pub(super) const LOG: u8 = 10;
    pub(super) const COUNTERS: u8 = 11;
    pub(super) const ENDED: u8 = 12;
    pub(super) const BYE: u8 = 13;
    pub(super) const SAMPLES_WITH_EXEMPLARS: u8 = 14;
    pub(super) const HISTOGRAMS: u8 = 15;
    // To it.
    pub(super) const SETTINGS: u8 = 64;
    pub(super) const RUN: u8 = 65;
    pub(super) const STOP: u8 = 66;
    pub(super) const REGISTERED: u8 = 67;
}

/// The bytes are no message: the two ends are not the same program, or one is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message can't be understood")]
pub(super) struct Malformed;

/// What the plugin's process counts itself, since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// The raw queue's books.
    pub(super) raw: RawQueueStats,
    /// Sends that the plugin got back because the pipe stayed full.
    pub(super) refused: u64,
    /// Calls of the plugin.
    pub(super) calls: u64,
}

/// What the plugin's process is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// SCRAPE_INTERVAL_S.
    pub(super) scrape_interval_ns: u64,
    /// RAW_QUEUE_SIZE.
    pub(super) raw_queue_size: u64,
    /// The highest level of a log event that is worth sending.
    pub(super) log_level: i32,
    /// MAX_LABEL_VALUE_BYTES: more of a value is never looked at.
    pub(super) max_label_value_bytes: u64,
    /// PLUGIN_MEMORY_MAX; 0 is no limit.
    pub(super) memory_max: u64,
}

/// What the plugin's process says.
#[derive(Debug)]
pub(super) enum Said<'a> {
    /// First of all: which build of this program it is.
    Hello {
        version: &'a str,
    },
    /// There is no plugin: why.
    Refused {
        message: &'a str,
        detail: &'a str,
        backtrace: &'a str,
    },
    /// The plugin is made, and may run.
    Ready,
    Records(Records<'a>),
    Json(&'a [u8]),
    Samples(Vec<Sample>),
    SamplesWithExemplars(Rare<'a>),
    Histograms(Rare<'a>),
    Register {
        request: u64,
        series: Series<'a>,
    },
    SeriesStart {
        series: u64,
        start_ms: i64,
    },
    Release {
        series: u64,
    },
    Log(AbiLogEvent<'a>),
    Counters(Counters),
    /// A worker has ended.
    Ended {
        worker: Worker,
        failure: Option<AbiError>,
    },
    /// The plugin is taken down, nothing follows.
    Bye,
}

/// What the plugin's process is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told<'a> {
    /// First of all.
    Settings(Settings),
    /// The workers are to start.
    Run,
    /// A worker is to end.
    Stop(Worker),
    /// The answer to a [`Said::Register`]: the series' number, or why there is none.
    Registered { request: u64, answer: Result<u64, &'a str> },
}

/// A series to be registered.
#[derive(Debug)]
pub(super) struct Series<'a> {
    pub(super) metric: RStr<'a>,
    pub(super) labels: Vec<AbiLabel<'a>>,
    pub(super) metadata: AbiMetadata<'a>,
}

/// Records, their labels in one list.
#[derive(Debug)]
pub(super) struct Records<'a> {
    pub(super) labels: Vec<AbiLabel<'a>>,
    /// Metric, number of labels, value, timestamp.
    pub(super) records: Vec<(RStr<'a>, usize, f64, i64)>,
}

impl<'a> Records<'a> {
    /// As the host takes them.
    pub(super) fn to_abi<'b>(&'b self) -> Vec<AbiRecord<'b>>
    where
        'a: 'b,
    {
        let (mut records, mut rest) = (Vec::with_capacity(self.records.len()), self.labels.as_slice());
        for &(metric, labels, value, timestamp_ms) in &self.records {
            let (own, others) = rest.split_at(labels);
            rest = others;
            records.push(AbiRecord { metric, labels: own.into(), value, timestamp_ms });
        }
        records
    }
}

// What the plugin's process writes.

pub(super) fn hello(out: &mut Vec<u8>, version: &str) {
    out.push(kind::HELLO);
    put_str(out, version);
}

pub(super) fn refused(out: &mut Vec<u8>, error: &LoadError) {
    out.push(kind::REFUSED);
    put_str(out, &error.message);
    put_str(out, &error.detail);
    put_str(out, &error.backtrace);
}

pub(super) fn ready(out: &mut Vec<u8>) {
    out.push(kind::READY);
}

/// As many of these records as `soft_limit` bytes take, at least one. Returns how many.
///
/// Of a text that is longer than the host takes only so much is written that it still is too long.
pub(super) fn records(
    out: &mut Vec<u8>,
    records: &[AbiRecord<'_>],
    max_value_bytes: usize,
    soft_limit: usize,
) -> usize {
    let start = out.len();
    out.push(kind::RECORDS);
    let count_at = out.len();
    put_u32(out, 0);
    let mut written = 0;
    for record in records {
        if written > 0 && out.len() - start >= soft_limit {
            break;
        }
        put_str(out, clip(record.metric.as_str(), MAX_NAME_BYTES.max(max_value_bytes)));
        put_labels(out, record.labels.as_slice(), max_value_bytes);
        put_u64(out, record.value.to_bits());
        put_u64(out, record.timestamp_ms as u64);
        written += 1;
    }
    out[count_at..count_at + 4].copy_from_slice(&(written as u32).to_le_bytes());
    written
}

pub(super) fn json(out: &mut Vec<u8>, document: &[u8], max_bytes: usize) {
    out.push(kind::JSON);
    // One byte more than is taken is enough to be refused for its length.
    out.extend_from_slice(&document[..document.len().min(max_bytes + 1)]);
}

pub(super) fn samples(out: &mut Vec<u8>, samples: &[Sample]) {
    out.push(kind::SAMPLES);
    put_samples(out, samples);
}

fn put_samples(out: &mut Vec<u8>, samples: &[Sample]) {
    out.reserve(size_of_val(samples));
    for sample in samples {
        put_u64(out, sample.series());
        put_u64(out, sample.value.to_bits());
        put_u64(out, sample.timestamp_ms as u64);
    }
}

pub(super) fn register(
    out: &mut Vec<u8>,
    request: u64,
    metric: &str,
    labels: &[AbiLabel<'_>],
    metadata: &AbiMetadata<'_>,
    max_value_bytes: usize,
) {
    out.push(kind::REGISTER);
    put_u64(out, request);
    put_str(out, clip(metric, MAX_NAME_BYTES.max(max_value_bytes)));
    put_labels(out, labels, max_value_bytes);
    put_u32(out, metadata.kind as u32);
    put_str(out, clip(metadata.help.as_str(), MAX_NAME_BYTES));
    put_str(out, clip(metadata.unit.as_str(), MAX_NAME_BYTES));
}

pub(super) fn series_start(out: &mut Vec<u8>, series: u64, start_ms: i64) {
    out.push(kind::SERIES_START);
    put_u64(out, series);
    put_u64(out, start_ms as u64);
}

pub(super) fn release(out: &mut Vec<u8>, series: u64) {
    out.push(kind::RELEASE);
    put_u64(out, series);
}

pub(super) fn log(out: &mut Vec<u8>, event: &AbiLogEvent<'_>) {
    /// A longer text is no line of a log.
    const MAX_TEXT: usize = 64 << 10;
    out.push(kind::LOG);
    put_u32(out, event.level as u32);
    for text in [&event.target, &event.message, &event.fields] {
        put_str(out, clip(text.as_str(), MAX_TEXT));
    }
}

pub(super) fn counters(out: &mut Vec<u8>, counters: &Counters) {
    out.push(kind::COUNTERS);
    let Counters { raw, refused, calls } = counters;
    [raw.sent, raw.received, raw.refused, raw.capacity, *refused, *calls]
        .into_iter()
        .for_each(|number| put_u64(out, number));
}

pub(super) fn ended(out: &mut Vec<u8>, worker: Worker, failure: Option<(i32, &str, &str)>) {
    out.push(kind::ENDED);
    out.push(worker_number(worker));
    out.push(failure.is_some().into());
    if let Some((failure, message, detail)) = failure {
        put_u32(out, failure as u32);
        put_str(out, message);
        put_str(out, detail);
    }
}

pub(super) fn bye(out: &mut Vec<u8>) {
    out.push(kind::BYE);
}

impl<'a> Said<'a> {
    /// The message in these bytes.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut take = Take(bytes);
        let said = match take.u8()? {
            kind::HELLO => Said::Hello { version: take.str()? },
            kind::REFUSED => Said::Refused { message: take.str()?, detail: take.str()?, backtrace: take.str()? },
            kind::READY => Said::Ready,
            kind::RECORDS => Said::Records(take.records()?),
            kind::JSON => Said::Json(take.rest()),
            kind::SAMPLES => Said::Samples(take.samples()?),
            kind::SAMPLES_WITH_EXEMPLARS => Said::SamplesWithExemplars(take.samples_with_exemplars()?),
            kind::HISTOGRAMS => Said::Histograms(take.histograms()?),
            kind::REGISTER => {
                let (request, metric, labels) = (take.u64()?, take.str()?.into(), take.labels()?);
                let kind = take.u32()? as i32;
                let metadata = AbiMetadata { kind, help: take.str()?.into(), unit: take.str()?.into() };
                Said::Register { request, series: Series { metric, labels, metadata } }
            }
            kind::SERIES_START => Said::SeriesStart { series: take.u64()?, start_ms: take.u64()? as i64 },
            kind::RELEASE => Said::Release { series: take.u64()? },
            kind::LOG => {
                let level = take.u32()? as i32;
                let (target, message, fields) = (take.str()?.into(), take.str()?.into(), take.str()?.into());
                Said::Log(AbiLogEvent { level, target, message, fields })
            }
            kind::COUNTERS => {
                let (sent, received, refused, capacity) = (take.u64()?, take.u64()?, take.u64()?, take.u64()?);
                let raw = RawQueueStats { sent, received, refused, capacity };
                Said::Counters(Counters { raw, refused: take.u64()?, calls: take.u64()? })
            }
            kind::ENDED => Said::Ended { worker: take.worker()?, failure: take.failure()? },
            kind::BYE => Said::Bye,
            _ => return Err(Malformed),
        };
        take.is_over().then_some(said).ok_or(Malformed)
    }
}

// What it is told.

impl Told<'_> {
    /// Appends the message's bytes.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Told::Settings(settings) => {
                out.push(kind::SETTINGS);
                put_u64(out, settings.scrape_interval_ns);
                put_u64(out, settings.raw_queue_size);
                put_u32(out, settings.log_level as u32);
                put_u64(out, settings.max_label_value_bytes);
                put_u64(out, settings.memory_max);
            }
            Told::Run => out.push(kind::RUN),
            Told::Stop(worker) => out.extend([kind::STOP, worker_number(*worker)]),
            Told::Registered { request, answer } => {
                out.push(kind::REGISTERED);
                put_u64(out, *request);
                out.push(answer.is_ok().into());
                match answer {
                    Ok(series) => put_u64(out, *series),
                    Err(why) => put_str(out, why),
                }
            }
        }
    }
}

impl<'a> Told<'a> {
    /// The message in these bytes.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut take = Take(bytes);
        let told = match take.u8()? {
            kind::SETTINGS => Told::Settings(Settings {
                scrape_interval_ns: take.u64()?,
                raw_queue_size: take.u64()?,
                log_level: take.u32()? as i32,
                max_label_value_bytes: take.u64()?,
                memory_max: take.u64()?,
            }),
            kind::RUN => Told::Run,
            kind::STOP => Told::Stop(take.worker()?),
            kind::REGISTERED => {
                let (request, is_good) = (take.u64()?, take.u8()? == 1);
                let answer = if is_good { Ok(take.u64()?) } else { Err(take.str()?) };
                Told::Registered { request, answer }
            }
            _ => return Err(Malformed),
        };
        take.is_over().then_some(told).ok_or(Malformed)
    }
}

#[cfg(test)]
mod tests;
