//! The way out of a plugin: records, JSON, and what registered series have: samples, histograms, exemplars.
//!
//! Enters: an item. Leaves: the host has taken all of it, or the item comes back whole with the reason. A send never
//! waits beyond its timeout.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use abi_stable::std_types::{RResult, RSlice, RStr};

use crate::abi::{AbiLabel, AbiMetadata, AbiRecord, HostBox, Sample, code};
use crate::error::Error;
use crate::record::{Json, Record};
use crate::series::{Series, SeriesSpec};

/// How long a send without a timeout of its own waits for room.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);

/// The item comes back: it was not taken.
#[derive(Clone, PartialEq, Eq)]
pub enum SendError<T> {
    /// The queue stayed full for the whole timeout. The host counts it as a refused send.
    Full(T),
    /// The run is over; nothing is taken any more.
    Stopped(T),
}

impl<T> SendError<T> {
    /// The item that was not taken.
    pub fn into_inner(self) -> T {
        match self {
            SendError::Full(item) | SendError::Stopped(item) => item,
        }
    }

    /// Whether the run is over: then there is no point in trying again.
    pub fn is_stopped(&self) -> bool {
        matches!(self, SendError::Stopped(_))
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::Full(_) => "the queue stayed full for the whole timeout",
            SendError::Stopped(_) => "the run is over, nothing is taken any more",
        })
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_stopped() { "Stopped" } else { "Full" })
    }
}

impl<T> std::error::Error for SendError<T> {}

/// What can be sent: [`Record`], `Vec<Record>`, [`Json`], `&[Sample]`; and of native histograms
/// [`HistogramSample`](crate::HistogramSample) and slices of it. [`WithExemplars`](crate::WithExemplars) sends more with
/// a slice of either.
pub trait Emit: sealed::Sealed {}

pub(crate) mod sealed {
    use super::{Duration, HostBox};

    pub trait Sealed {
        /// Offers it to the host, whose answer is a [`crate::abi::code`].
        fn offer(&self, host: &HostBox, timeout: Duration) -> i32;
    }
}

/// The end of the processed queue that a plugin writes to. Cheap to clone, may be used from any thread.
#[derive(Clone)]
pub struct RecordSender {
    host: Arc<HostBox>,
}

impl fmt::Debug for RecordSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordSender")
    }
}

impl RecordSender {
    pub(crate) fn new(host: Arc<HostBox>) -> Self {
        RecordSender { host }
    }

    /// Sends a [`Record`], a `Vec<Record>`, a [`Json`] document, a `&[Sample]`, or whatever else is [`Emit`]; waits up to
    /// one second for room.
    ///
    /// # Errors
    /// Hands the item back when the queue stayed full, or when the run is over. The host counts it either way.
    pub fn send<T: Emit>(&self, item: T) -> Result<(), SendError<T>> {
        self.send_timeout(item, DEFAULT_TIMEOUT)
    }

    /// As [`send`](Self::send), waiting up to `timeout` for room; zero does not wait.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_timeout<T: Emit>(&self, item: T, timeout: Duration) -> Result<(), SendError<T>> {
        match item.offer(&self.host, timeout) {
            code::SENT => Ok(()),
            code::FULL => Err(SendError::Full(item)),
            _ => Err(SendError::Stopped(item)),
        }
    }

    /// Registers a series, so that its samples need no labels any more. The same labels again give the same series.
    ///
    /// # Errors
    /// A name or a label that remote write does not take, or more series than the host allows.
    pub fn register(&self, spec: SeriesSpec) -> Result<Series, Error> {
        let labels = abi_labels(&spec.labels);
        let metadata =
            AbiMetadata { kind: spec.kind.code(), help: RStr::from_str(&spec.help), unit: RStr::from_str(&spec.unit) };
        match self.host.register_series(RStr::from_str(&spec.metric), RSlice::from_slice(&labels), metadata) {
            RResult::ROk(number) => {
                if let Some(start_ms) = spec.start_ms {
                    self.host.set_series_start(number, start_ms);
                }
                Ok(Series::new(number, Arc::clone(&self.host)))
            }
            RResult::RErr(error) => Err(Error::new(error.message.into_string())),
        }
    }
}

fn abi_labels(labels: &[(String, String)]) -> Vec<AbiLabel<'_>> {
    labels.iter().map(abi_label).collect()
}

pub(crate) fn abi_label((name, value): &(String, String)) -> AbiLabel<'_> {
    AbiLabel { name: RStr::from_str(name), value: RStr::from_str(value) }
}

pub(crate) fn nanoseconds(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX)
}

fn offer_records(records: &[Record], host: &HostBox, timeout: Duration) -> i32 {
    let labels: Vec<AbiLabel<'_>> = records.iter().flat_map(|record| record.labels.iter().map(abi_label)).collect();
    let mut rest = labels.as_slice();
    let mut abi = Vec::with_capacity(records.len());
    for record in records {
        let (own, others) = rest.split_at(record.labels.len());
        rest = others;
        abi.push(AbiRecord {
            metric: RStr::from_str(&record.metric),
            labels: RSlice::from_slice(own),
            value: record.value,
            timestamp_ms: record.abi_timestamp(),
        });
    }
    host.send_records(RSlice::from_slice(&abi), nanoseconds(timeout))
}

impl Emit for Record {}
impl sealed::Sealed for Record {
    fn offer(&self, host: &HostBox, timeout: Duration) -> i32 {
        offer_records(std::slice::from_ref(self), host, timeout)
    }
}

impl Emit for Vec<Record> {}
impl sealed::Sealed for Vec<Record> {
    fn offer(&self, host: &HostBox, timeout: Duration) -> i32 {
        offer_records(self, host, timeout)
    }
}

impl<T: AsRef<[u8]>> Emit for Json<T> {}
impl<T: AsRef<[u8]>> sealed::Sealed for Json<T> {
    fn offer(&self, host: &HostBox, timeout: Duration) -> i32 {
        host.send_json(RSlice::from_slice(self.0.as_ref()), nanoseconds(timeout))
    }
}

impl Emit for &[Sample] {}
impl sealed::Sealed for &[Sample] {
    fn offer(&self, host: &HostBox, timeout: Duration) -> i32 {
        host.send_samples(RSlice::from_slice(self), nanoseconds(timeout))
    }
}
