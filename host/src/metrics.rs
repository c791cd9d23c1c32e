//! The host's own metrics: which there are, and what each says.
//!
//! Enters: [`Facts`], plain numbers of one moment. Leaves: the points of every family, for whoever scrapes
//! ([`exposition`]), for the receiver (`batching/own.rs`), and as docs/metrics.md.
//!
//! Never: counts anything itself; looks at a clock; holds text that an operator gave in confidence.

pub mod exposition;
pub mod facts;
pub mod process;

pub use self::facts::{Facts, Observer};
use crate::ledger::{Origin, Place, Reason};
use crate::send::books::DURATION_BOUNDS;

/// SELF_METRICS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelfMetrics {
    /// Nowhere.
    Off,
    /// On the admin page.
    Admin,
    /// To the receiver.
    Push,
    /// Both.
    Both,
}

impl SelfMetrics {
    /// Whether the admin page shows them.
    pub fn are_shown(self) -> bool {
        matches!(self, SelfMetrics::Admin | SelfMetrics::Both)
    }

    /// Whether the receiver gets them.
    pub fn are_pushed(self) -> bool {
        matches!(self, SelfMetrics::Push | SelfMetrics::Both)
    }
}

/// What a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, or starts again. Its name ends with `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations by bucket.
    Histogram,
    /// Constant facts in labels, the value is 1. Its name ends with `_info`.
    Info,
}

impl Kind {
    /// As the exposition formats call it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Info => "info",
        }
    }
}

/// The value of a point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// A whole number.
    Count(u64),
    /// Any number.
    Number(f64),
    /// Observations by bucket, one more than there are bounds, and their sum.
    Histogram(&'a [u64], f64),
}

/// Takes points: the values of the family's labels, in their order, and the point's value.
type Sink<'a> = &'a mut dyn FnMut(&[&str], Value<'_>);

/// A family: its name, and what it says of [`Facts`].
pub struct Family {
    /// As it is pushed, but for the suffixes of a histogram's series.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// The unit in the plural, which its name ends with; empty where it has none.
    pub unit: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it says, in a sentence or two.
    pub help: &'static str,
    points: fn(&Facts, Sink<'_>),
}

impl Family {
    /// Its points; a family of what this run doesn't have, has none.
    pub fn points(&self, facts: &Facts, sink: Sink<'_>) {
        (self.points)(facts, sink);
    }

    /// Its series, one number each: those of a histogram are `_bucket`, `_sum` and `_count`.
    pub fn series(&self, facts: &Facts, mut each: impl FnMut(&str, &[(&str, &str)], f64)) {
        self.points(facts, &mut |values, value| {
            let labels: Vec<(&str, &str)> = self.labels.iter().copied().zip(values.iter().copied()).collect();
            match value {
                // Beyond 2^53 a count is rounded, which nobody sees.
                Value::Count(count) => each(self.name, &labels, count as f64),
                Value::Number(number) => each(self.name, &labels, number),
                Value::Histogram(buckets, sum) => {
                    let mut count = 0;
                    for (bucket, in_bucket) in buckets.iter().enumerate() {
                        count += in_bucket;
                        // With a point, as OpenMetrics has it: the series is the same pushed and scraped.
                        let bound = DURATION_BOUNDS.get(bucket).map_or("+Inf".to_owned(), |bound| format!("{bound:?}"));
                        let labels = [&labels[..], &[("le", &bound)]].concat();
                        each(&format!("{}_bucket", self.name), &labels, count as f64);
                    }
                    each(&format!("{}_sum", self.name), &labels, sum);
                    each(&format!("{}_count", self.name), &labels, count as f64);
                }
            }
        });
    }
}

const SECONDS: &str = "seconds";
const BYTES: &str = "bytes";

/// One family with at most one point for each value of at most one label.
macro_rules! family {
    ($kind:ident $name:literal $unit:expr, [$($label:literal),*], $help:literal, $points:expr) => {
        Family { name: $name, kind: Kind::$kind, unit: $unit, labels: &[$($label),*], help: $help, points: $points }
    };
}

fn count(sink: Sink<'_>, count: u64) {
    sink(&[], Value::Count(count));
}

fn number(sink: Sink<'_>, number: f64) {
    sink(&[], Value::Number(number));
}

fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1000.0
}

/// All of them, in the order in which they are shown.
#[rustfmt::skip]
pub static FAMILIES: &[Family] = &[
    family!(Gauge "monitor_client_up" "", [],
        "1. A client whose last sample of this is old has fallen silent.",
        |_, to| count(to, 1)),
    family!(Info "monitor_client_build_info" "", ["version"],
        "The version of monitor-host.",
        |_, to| to(&[env!("CARGO_PKG_VERSION")], Value::Count(1))),
    family!(Info "monitor_client_plugin_info" "", ["name", "version", "api", "isolation"],
        "The plugin: what it calls itself, the API that it was built with, and PLUGIN_ISOLATION.",
        |f, to| to(&[&f.about.name, &f.about.version, &f.about.api, f.about.isolation], Value::Count(1))),

    // Where every sample is, and what became of it.
    family!(Counter "monitor_client_samples_collected_total" "", ["origin"],
        "Samples that came into being, by who made them: the plugin, an earlier run that left them in the spool, a stale \
         marker, or these metrics (self).",
        |f, to| Origin::ALL.iter().for_each(|origin| {
            let samples = f.ledger.collected.iter().find(|(same, _)| same == origin).map_or(0, |(_, samples)| *samples);
            to(&[origin.name()], Value::Count(samples));
        })),
    family!(Gauge "monitor_client_samples_pending" "", ["place"],
        "Samples that wait, by where: in the processed queue, in the batch that is being filled, in a finished batch, in a \
         request that has no answer yet.",
        |f, to| Place::ALL.iter().for_each(|place| {
            let samples = f.ledger.places.iter().find(|(same, _)| same == place).map_or(0, |(_, samples)| *samples);
            to(&[place.name()], Value::Count(samples));
        })),
    family!(Counter "monitor_client_samples_delivered_total" "", [],
        "Samples that the receiver has confirmed.",
        |f, to| count(to, f.ledger.delivered)),
    family!(Counter "monitor_client_samples_dropped_total" "", ["reason"],
        "Samples that will never be delivered, by reason (docs/delivery.md).",
        |f, to| Reason::ALL.iter().for_each(|reason| {
            let samples = f.ledger.dropped.iter().find(|(same, _)| same == reason).map_or(0, |(_, samples)| *samples);
            to(&[reason.name()], Value::Count(samples));
        })),
    family!(Counter "monitor_client_start_timestamps_left_out_total" "", [],
        "Samples that were sent without the start timestamp that they have, because remote write 1.0 has no place for it.",
        |f, to| count(to, f.ledger.left_out_starts)),
    family!(Counter "monitor_client_exemplars_collected_total" "", [],
        "Exemplars that came into being.",
        |f, to| count(to, f.ledger.exemplars.collected)),
    family!(Counter "monitor_client_exemplars_delivered_total" "", [],
        "Exemplars that the receiver has confirmed.",
        |f, to| count(to, f.ledger.exemplars.delivered)),
    family!(Counter "monitor_client_exemplars_dropped_total" "", [],
        "Exemplars that will never be delivered.",
        |f, to| count(to, f.ledger.exemplars.dropped())),

    // The plugin.
    family!(Gauge "monitor_client_plugin_running" "", [],
        "1 while the plugin's workers run; 0 while it is made or replaced, and while it stalls (PLUGIN_STALL_S).",
        |f, to| count(to, u64::from(f.plugin_runs()))),
    family!(Counter "monitor_client_plugin_restarts_total" "", [],
        "How often the plugin was started again (PLUGIN_RESTART).",
        |f, to| count(to, f.plugin.1.restarts)),
    family!(Counter "monitor_client_plugin_stalls_total" "", [],
        "How often the plugin gave no sign of life for PLUGIN_STALL_S.",
        |f, to| count(to, f.plugin.1.stalls)),
    family!(Gauge "monitor_client_newest_sample_timestamp_seconds" SECONDS, [],
        "The newest timestamp in a finished batch, these metrics aside; 0 before the first. Its age is how late readings are.",
        |f, to| number(to, seconds(f.newest_ms))),

    // Queues.
    family!(Counter "monitor_client_readings_taken_total" "", [],
        "Readings that the raw queue took from get_power.",
        |f, to| count(to, f.plugin.1.raw.sent)),
    family!(Counter "monitor_client_readings_processed_total" "", [],
        "Readings that process_data took out of the raw queue.",
        |f, to| count(to, f.plugin.1.raw.received)),
    family!(Counter "monitor_client_readings_refused_total" "", [],
        "Readings that get_power got back because the raw queue was full.",
        |f, to| count(to, f.plugin.1.raw.refused)),
    family!(Gauge "monitor_client_raw_queue_items" "", [],
        "Readings in the raw queue. Those that an instance left behind when it ended stay counted.",
        |f, to| count(to, f.plugin.1.raw.sent.saturating_sub(f.plugin.1.raw.received))),
    family!(Gauge "monitor_client_raw_queue_capacity_items" "", [],
        "What the raw queue holds at most (RAW_QUEUE_SIZE).",
        |f, to| count(to, f.plugin.1.raw.capacity)),
    family!(Counter "monitor_client_sends_refused_total" "", [],
        "Items that the plugin got back because the processed queue was full or closed.",
        |f, to| count(to, f.ledger.refused_sends)),
    family!(Gauge "monitor_client_processed_queue_items" "", [],
        "Items in the processed queue.",
        |f, to| count(to, f.processed.items as u64)),
    family!(Gauge "monitor_client_processed_queue_capacity_items" "", [],
        "What the processed queue holds at most (PROC_QUEUE_SIZE).",
        |f, to| count(to, f.processed.capacity as u64)),
    family!(Gauge "monitor_client_series" "", [],
        "Series that are known, these metrics' own included.",
        |f, to| count(to, f.series as u64)),
    family!(Gauge "monitor_client_series_capacity" "", [],
        "How many series may be known: MAX_SERIES, and room for these metrics' own where they are pushed.",
        |f, to| count(to, f.max_series as u64)),

    // Finished batches.
    family!(Gauge "monitor_client_kept_batches" "", [],
        "Finished batches that wait in memory.",
        |f, to| count(to, f.kept.batches)),
    family!(Gauge "monitor_client_kept_capacity_batches" "", [],
        "How many may wait in memory (MAX_RETRY_BATCHES).",
        |f, to| count(to, f.kept.bounds.max_batches as u64)),
    family!(Gauge "monitor_client_kept_bytes" BYTES, [],
        "What they take, compressed.",
        |f, to| count(to, f.kept.bytes)),
    family!(Gauge "monitor_client_kept_capacity_bytes" BYTES, [],
        "What they may take (MAX_RETRY_BYTES).",
        |f, to| count(to, f.kept.bounds.max_bytes as u64)),
    family!(Gauge "monitor_client_spool_batches" "", [],
        "Batches in the spool, the one in flight aside. Only with SPOOL_DIR, as the next two.",
        |f, to| if let Some(spool) = f.kept.spool { count(to, spool.batches) }),
    family!(Gauge "monitor_client_spool_bytes" BYTES, [],
        "What the spool takes of the disk; 0 while it can't be used.",
        |f, to| if let Some(spool) = f.kept.spool { count(to, spool.disk_bytes) }),
    family!(Gauge "monitor_client_spool_capacity_bytes" BYTES, [],
        "What the spool may take (SPOOL_MAX_BYTES).",
        |f, to| if let Some(spool) = f.kept.spool { count(to, spool.max_bytes) }),
    family!(Gauge "monitor_client_oldest_pending_age_seconds" SECONDS, [],
        "The age of the oldest sample in a finished batch that is not delivered; 0 when there is none.",
        |f, to| number(to, f.oldest_pending_age().map_or(0.0, |age| age.as_secs_f64()))),

    // Delivery.
    family!(Counter "monitor_client_pushes_total" "", ["result"],
        "Requests to the receiver, by result: delivered, refused for good, failed and to be tried again, given up at the end \
         of the run. In a dry run, batches that were printed.",
        |f, to| f.pushes.endings.iter().for_each(|(ending, requests)| to(&[ending.name()], Value::Count(*requests)))),
    family!(Counter "monitor_client_push_retries_total" "", [],
        "Requests with a batch that was sent before.",
        |f, to| count(to, f.pushes.retries)),
    family!(Counter "monitor_client_push_message_bytes_total" BYTES, [],
        "The size of all requests' messages before compression.",
        |f, to| count(to, f.pushes.message_bytes)),
    family!(Counter "monitor_client_push_body_bytes_total" BYTES, [],
        "The size of all requests' bodies, compressed, as they went over the network.",
        |f, to| count(to, f.pushes.body_bytes)),
    family!(Histogram "monitor_client_push_duration_seconds" SECONDS, [],
        "How long requests took, from the connection to the end of the answer.",
        |f, to| to(&[], Value::Histogram(&f.pushes.durations, f.pushes.duration.as_secs_f64()))),
    family!(Gauge "monitor_client_last_delivery_timestamp_seconds" SECONDS, [],
        "When the receiver took a batch last; 0 before the first.",
        |f, to| number(to, f.pushes.last_delivery.map_or(0.0, |delivery| seconds(delivery.wall_ms)))),
    family!(Gauge "monitor_client_remote_write_version" "", [],
        "The version of remote write that the next batch is written in: 1 or 2.",
        |f, to| count(to, f.remote_write_version)),
    family!(Counter "monitor_client_push_deadlines_missed_total" "", [],
        "Points of the push grid at which no batch could be cut, because the machine was too busy.",
        |f, to| count(to, f.missed_deadlines)),

    // The process, without that of an isolated plugin.
    family!(Counter "monitor_client_process_cpu_seconds_total" SECONDS, [],
        "User and system CPU time of the host's process, the plugin's included unless it is isolated.",
        |f, to| if let Some(process) = f.process { number(to, process.cpu.as_secs_f64()) }),
    family!(Gauge "monitor_client_process_resident_memory_bytes" BYTES, [],
        "Resident memory of that process.",
        |f, to| if let Some(process) = f.process { count(to, process.resident_bytes) }),
    family!(Gauge "monitor_client_process_virtual_memory_bytes" BYTES, [],
        "Virtual memory of that process.",
        |f, to| if let Some(process) = f.process { count(to, process.virtual_bytes) }),
    family!(Gauge "monitor_client_process_threads" "", [],
        "Threads of that process.",
        |f, to| if let Some(process) = f.process { count(to, process.threads) }),
    family!(Gauge "monitor_client_process_open_fds" "", [],
        "File descriptors that are open in that process.",
        |f, to| if let Some(process) = f.process { count(to, process.open_fds) }),
    family!(Gauge "monitor_client_process_max_fds" "", [],
        "How many may be open.",
        |f, to| if let Some(process) = f.process { count(to, process.max_fds) }),
    family!(Gauge "monitor_client_process_start_time_seconds" SECONDS, [],
        "When the run began.",
        |f, to| number(to, seconds(f.began_ms))),

    // The admin page itself.
    family!(Counter "monitor_client_admin_connections_total" "", ["result"],
        "Connections to the admin page, by result: answered, broken (left early, or no HTTP), cut_off (too slow, or too many \
         at once).",
        |f, to| f.admin.iter().for_each(|(result, connections)| to(&[result.name()], Value::Count(*connections)))),
];

#[cfg(test)]
pub(crate) mod tests;
