//! What crosses the boundary between host and plugin, and nothing else does.
//!
//! Two traits, one for each direction, and plain `repr(C)` values. Both traits may grow at their end within a major
//! version: a side that is older lacks the method, and the caller gets the default written here. Values never grow
//! (that would change every array of them): what is new comes as a new method. Codes are integers, because an enum
//! could not grow either.
//!
//! Nobody panics across it: [`crate::glue`] catches what the plugin's code does, the host catches its own.

#![allow(missing_docs, reason = "abi_stable's macros make public items of their own")]
// The derives expand to forms that these lints dislike.
#![allow(clippy::needless_lifetimes, non_local_definitions, unreachable_pub)]

use abi_stable::library::RootModule;
use abi_stable::package_version_strings;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::{RBox, RResult, RSlice, RStr, RString};
use abi_stable::{StableAbi, declare_root_module_statics, sabi_trait};

/// What a send answers.
pub mod code {
    /// The host has it: it is in the ledger.
    pub const SENT: i32 = 0;
    /// The processed queue stayed full for the whole timeout; nothing was taken.
    pub const FULL: i32 = 1;
    /// The host takes nothing any more; nothing was taken.
    pub const STOPPED: i32 = 2;
}

/// Which of the two worker threads is meant.
pub mod worker {
    /// The one that runs `get_power`.
    pub const GET_POWER: i32 = 0;
    /// The one that runs `process_data`.
    pub const PROCESS_DATA: i32 = 1;
}

/// The levels of a log event; a number above the host's own level is not worth sending.
pub mod level {
    pub const ERROR: i32 = 1;
    pub const WARN: i32 = 2;
    pub const INFO: i32 = 3;
    pub const DEBUG: i32 = 4;
    pub const TRACE: i32 = 5;
}

/// What kind of metric a series belongs to, with the numbers of remote write's `MetricMetadata`.
pub mod kind {
    pub const UNKNOWN: i32 = 0;
    pub const COUNTER: i32 = 1;
    pub const GAUGE: i32 = 2;
    pub const HISTOGRAM: i32 = 3;
    pub const GAUGE_HISTOGRAM: i32 = 4;
    pub const SUMMARY: i32 = 5;
    pub const INFO: i32 = 6;
    pub const STATE_SET: i32 = 7;
}

/// What a histogram counts with.
pub mod counting {
    /// Whole observations: the fields that end in `_int`.
    pub const INTEGER: i32 = 0;
    /// Fractions of them, as weighted or scaled counts have: the fields that end in `_float`.
    pub const FLOAT: i32 = 1;
}

/// Whether a histogram's counts began again since the one before, with the numbers of remote write's `ResetHint`.
pub mod reset {
    pub const UNKNOWN: i32 = 0;
    pub const YES: i32 = 1;
    pub const NO: i32 = 2;
    /// A gauge histogram: its counts go down as well.
    pub const GAUGE: i32 = 3;
}

/// The schema of a histogram whose buckets have bounds of their own.
pub const CUSTOM_BUCKETS: i32 = -53;

/// What an error is.
pub mod failure {
    /// The plugin returned it.
    pub const ERROR: i32 = 0;
    /// The plugin panicked.
    pub const PANIC: i32 = 1;
}

/// The timestamp of a record that has none: the host stamps it on arrival.
pub const NO_TIMESTAMP: i64 = i64::MIN;

/// One sample of a registered series: 24 bytes, plain data.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// The series' number, from the host's `register_series`.
    pub(crate) series: u64,
    /// The measured value, in the unit of the series.
    pub value: f64,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
}

impl Sample {
    /// The number that the host gave to the series.
    pub fn series(&self) -> u64 {
        self.series
    }

    /// A sample from its parts, as the host sees them.
    #[doc(hidden)]
    pub fn from_parts(series: u64, value: f64, timestamp_ms: i64) -> Self {
        Sample { series, value, timestamp_ms }
    }
}

/// A label, borrowed for one call.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct AbiLabel<'a> {
    pub name: RStr<'a>,
    pub value: RStr<'a>,
}

/// A record, borrowed for one call. An empty `metric` means METRIC_DEFAULT.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct AbiRecord<'a> {
    pub metric: RStr<'a>,
    pub labels: RSlice<'a, AbiLabel<'a>>,
    pub value: f64,
    pub timestamp_ms: i64,
}

/// What a metric is, borrowed for one call. Empty help or unit: not known.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct AbiMetadata<'a> {
    pub kind: i32,
    pub help: RStr<'a>,
    pub unit: RStr<'a>,
}

/// A run of buckets without gaps: remote write's `BucketSpan`.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbiSpan {
    /// Buckets that are left out before this run; in the first span, the index of its first bucket.
    pub offset: i32,
    /// Buckets in this run.
    pub length: u32,
}

/// A native histogram of a registered series, borrowed for one call: remote write's `Histogram`, but that each bucket
/// has its own count and not a difference. Only the fields of its [`counting`] are read.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct AbiHistogram<'a> {
    pub series: u64,
    pub timestamp_ms: i64,
    pub counting: i32,
    pub reset: i32,
    pub schema: i32,
    pub sum: f64,
    pub zero_threshold: f64,
    pub count_int: u64,
    pub count_float: f64,
    pub zero_count_int: u64,
    pub zero_count_float: f64,
    pub negative_spans: RSlice<'a, AbiSpan>,
    pub negative_int: RSlice<'a, u64>,
    pub negative_float: RSlice<'a, f64>,
    pub positive_spans: RSlice<'a, AbiSpan>,
    pub positive_int: RSlice<'a, u64>,
    pub positive_float: RSlice<'a, f64>,
    pub custom_values: RSlice<'a, f64>,
}

impl AbiHistogram<'_> {
    /// An integer histogram of schema 0 that has counted nothing.
    pub fn empty(series: u64, timestamp_ms: i64) -> Self {
        AbiHistogram {
            series,
            timestamp_ms,
            counting: counting::INTEGER,
            reset: reset::UNKNOWN,
            schema: 0,
            sum: 0.0,
            zero_threshold: 0.0,
            count_int: 0,
            count_float: 0.0,
            zero_count_int: 0,
            zero_count_float: 0.0,
            negative_spans: RSlice::EMPTY,
            negative_int: RSlice::EMPTY,
            negative_float: RSlice::EMPTY,
            positive_spans: RSlice::EMPTY,
            positive_int: RSlice::EMPTY,
            positive_float: RSlice::EMPTY,
            custom_values: RSlice::EMPTY,
        }
    }
}

/// An example of what a series counted, borrowed for one call.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct AbiExemplar<'a> {
    pub series: u64,
    pub labels: RSlice<'a, AbiLabel<'a>>,
    pub value: f64,
    pub timestamp_ms: i64,
}

/// A log event, borrowed for one call. `fields` is `name=value` pairs, already text.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct AbiLogEvent<'a> {
    pub level: i32,
    pub target: RStr<'a>,
    pub message: RStr<'a>,
    pub fields: RStr<'a>,
}

/// Why something failed, in one line; `detail` may be longer (a backtrace).
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct AbiError {
    pub failure: i32,
    pub message: RString,
    pub detail: RString,
}

/// The raw queue's books, in items; only the plugin's side knows what an item is.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawQueueStats {
    /// Accepted by the queue.
    pub sent: u64,
    /// Taken out by `process_data`.
    pub received: u64,
    /// Handed back to `get_power`: the queue was full for the whole timeout, or closed.
    pub refused: u64,
    /// What the queue holds at most.
    pub capacity: u64,
}

/// What the host offers to a plugin. Every method may be called from any thread.
#[sabi_trait]
pub trait HostAbi: Send + Sync {
    /// Nanoseconds between two readings (SCRAPE_INTERVAL_S).
    fn scrape_interval_ns(&self) -> u64;

    /// How many items the raw queue holds (RAW_QUEUE_SIZE).
    fn raw_queue_size(&self) -> u64;

    /// The highest [`level`] that the host's log shows.
    fn log_level(&self) -> i32;

    /// Writes into the host's log.
    fn log(&self, event: AbiLogEvent<'_>);

    /// Takes all of these records, or none of them: a [`code`].
    fn send_records(&self, records: RSlice<'_, AbiRecord<'_>>, timeout_ns: u64) -> i32;

    /// Takes one JSON document (a dictionary or a list of dictionaries), or nothing: a [`code`].
    fn send_json(&self, document: RSlice<'_, u8>, timeout_ns: u64) -> i32;

    /// Takes all of these samples, or none of them: a [`code`].
    fn send_samples(&self, samples: RSlice<'_, Sample>, timeout_ns: u64) -> i32;

    /// Takes all of these samples and the exemplars that belong to them, or nothing: a [`code`].
    fn send_samples_with_exemplars(
        &self,
        samples: RSlice<'_, Sample>,
        exemplars: RSlice<'_, AbiExemplar<'_>>,
        timeout_ns: u64,
    ) -> i32;

    /// Takes all of these histograms and the exemplars that belong to them, or nothing: a [`code`].
    fn send_histograms(
        &self,
        histograms: RSlice<'_, AbiHistogram<'_>>,
        exemplars: RSlice<'_, AbiExemplar<'_>>,
        timeout_ns: u64,
    ) -> i32;

    /// Registers a series and counts one handle of it. The same labels give the same number.
    fn register_series(
        &self,
        metric: RStr<'_>,
        labels: RSlice<'_, AbiLabel<'_>>,
        metadata: AbiMetadata<'_>,
    ) -> RResult<u64, AbiError>;

    /// When the counter behind the series was last zero, in milliseconds since the Unix epoch.
    fn set_series_start(&self, series: u64, start_ms: i64);

    /// One handle of the series is gone; with the last one the series ends.
    #[sabi(last_prefix_field)]
    fn release_series(&self, series: u64);
}

/// The host as a plugin holds it.
pub type HostBox = HostAbi_TO<'static, RBox<()>>;

/// What a plugin offers to the host.
#[sabi_trait]
pub trait MonitorAbi: Send + Sync {
    /// Reads the sensor until asked to stop; runs once, on a thread of its own.
    fn get_power(&self) -> RResult<(), AbiError>;

    /// Turns readings into samples until the raw queue ends; runs once, on a thread of its own.
    fn process_data(&self) -> RResult<(), AbiError>;

    /// Asks one [`worker`] to end. Returns at once, may be repeated.
    #[sabi(last_prefix_field)]
    fn stop(&self, worker: i32);

    /// The raw queue's books.
    fn raw_queue(&self) -> RawQueueStats {
        RawQueueStats::default()
    }
}

/// A plugin as the host holds it.
pub type MonitorBox = MonitorAbi_TO<'static, RBox<()>>;

/// The library's root module.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginModuleRef)))]
#[sabi(missing_field(panic))]
pub struct PluginModule {
    /// Makes the plugin, or says why it can't be made.
    #[sabi(last_prefix_field)]
    pub create: extern "C" fn(host: HostBox) -> RResult<MonitorBox, AbiError>,
}

impl RootModule for PluginModuleRef {
    declare_root_module_statics! { PluginModuleRef }
    const BASE_NAME: &'static str = "monitor_impl";
    const NAME: &'static str = "monitor_impl";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}
