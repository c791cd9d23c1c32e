//! A host in memory, to test a plugin with: `features = ["testing"]`, under `[dev-dependencies]`.
//!
//! Enters: a [`MonitorImpl`] or [`MonitorSource`], its settings, how long to run it. Leaves: a [`Run`], which holds what the
//! plugin sent, logged and failed with, as values. The plugin runs on two threads, behind the same boundary as in the
//! host. Never: opens a socket, reads the environment, judges names and values (`monitor-host check` does).
//!
//! ```
//! # use std::time::Duration;
//! # use monitor_plugin_api::{now_ms, Error, MonitorImpl, RawReceiver, RawSender, RecordSender, SeriesSpec, Stop};
//! # struct Load;
//! # impl MonitorImpl for Load {
//! #     type Raw = (i64, f64);
//! #     fn new() -> Result<Self, Error> {
//! #         Ok(Load)
//! #     }
//! #     fn get_power(&self, out: RawSender<Self::Raw>, scrape_interval: Duration, stop: Stop) -> Result<(), Error> {
//! #         for _ in stop.every(scrape_interval) {
//! #             let _ = out.send((now_ms(), 0.5));
//! #         }
//! #         Ok(())
//! #     }
//! #     fn process_data(&self, input: RawReceiver<Self::Raw>, out: RecordSender, _stop: Stop) -> Result<(), Error> {
//! #         let load = out.register(SeriesSpec::gauge("node_load1"))?;
//! #         for (timestamp_ms, value) in input {
//! #             let _ = out.send(&[load.sample(value, timestamp_ms)][..]);
//! #         }
//! #         Ok(())
//! #     }
//! # }
//! use monitor_plugin_api::testing;
//!
//! let run = testing::run_for::<Load>(Duration::from_millis(300));
//! run.assert_ok();
//! run.assert_stops_within(Duration::from_secs(1));
//! assert!(run.samples().len() > 2);
//! assert_eq!(run.samples()[0].metric(), "node_load1");
//! ```
//!
//! [`Harness`] sets what a run is given: settings, the scrape interval, the sizes of the queues. What the plugin logs is
//! printed too, so that a test that fails shows it.

mod collected;
mod drive;
mod histogram;
mod host;
mod state;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

pub use collected::{CollectedSample, CollectedSeries, Failure, FailureKind, LogEvent, Part, Run};
pub use histogram::{CollectedExemplar, CollectedHistogram};

use crate::{FromSource, MonitorImpl, MonitorSource, glue};

/// Runs the plugin `M` for this long, then asks it to stop. For a [`MonitorSource`], see [`Harness::source`].
pub fn run_for<M: MonitorImpl>(duration: Duration) -> Run {
    Harness::new::<M>().run_for(duration)
}

/// What a test gives to a plugin, and the way to run it.
///
/// ```
/// # use std::time::Duration;
/// # use monitor_plugin_api::{setting, testing::Harness, Error, MonitorSource, RawSender, Record, Stop};
/// # struct Fan(u32);
/// # impl MonitorSource for Fan {
/// #     type Item = Record;
/// #     fn new() -> Result<Self, Error> {
/// #         setting("FANS").number(1, 1..=8).map(Fan)
/// #     }
/// #     fn get_power(&self, out: RawSender<Record>, scrape_interval: Duration, stop: Stop) -> Result<(), Error> {
/// #         for _ in stop.every(scrape_interval) {
/// #             let _ = out.send(Record::new("fan_speed_rpm", 900.0).label("fan", self.0.to_string()));
/// #         }
/// #         Ok(())
/// #     }
/// # }
/// let run = Harness::source::<Fan>().setting("FANS", "2").run_until_samples(3, Duration::from_secs(10));
/// assert_eq!(run.samples()[0].label("fan"), Some("2"));
///
/// let refused = Harness::source::<Fan>().setting("FANS", "many").run_for(Duration::ZERO);
/// assert!(refused.failures()[0].message.starts_with("FANS=\"many\": not understood"));
/// ```
#[derive(Clone)]
#[must_use = "nothing runs before one of the `run_` methods is called"]
pub struct Harness {
    create: drive::Create,
    settings: BTreeMap<String, String>,
    stop_timeout: Duration,
    limits: state::Limits,
}

impl Harness {
    /// For a [`MonitorImpl`].
    pub fn new<M: MonitorImpl>() -> Self {
        Harness {
            create: glue::create::<M>,
            settings: BTreeMap::new(),
            stop_timeout: Duration::from_secs(8),
            limits: state::Limits::default(),
        }
    }

    /// For a [`MonitorSource`].
    pub fn source<S: MonitorSource>() -> Self {
        Harness::new::<FromSource<S>>()
    }

    /// Gives the variable `name` to [`setting`](crate::setting) on the plugin's threads, `new` included. All other
    /// variables are unset there, whatever the environment holds.
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.insert(name.into(), value.into());
        self
    }

    /// The time between two readings, SCRAPE_INTERVAL_S: 10 ms unless set.
    pub fn scrape_interval(mut self, interval: Duration) -> Self {
        self.limits.scrape_interval = interval;
        self
    }

    /// How many readings wait for `process_data`, RAW_QUEUE_SIZE: 1000 unless set.
    pub fn raw_queue_size(mut self, items: usize) -> Self {
        self.limits.raw_queue_size = items;
        self
    }

    /// Bounds the queue behind `RecordSender`, PROC_QUEUE_SIZE, to so many sends. Nothing empties it unless
    /// [`drained_every`](Self::drained_every) says so: from then on sends are refused.
    pub fn proc_queue_size(mut self, items: usize) -> Self {
        self.limits.proc_queue_size = Some(items);
        self
    }

    /// Empties the queue of [`proc_queue_size`](Self::proc_queue_size) at this interval, as a host that keeps up does.
    pub fn drained_every(mut self, interval: Duration) -> Self {
        self.limits.drained_every = Some(interval);
        self
    }

    /// How many series the host knows at most, MAX_SERIES: to register one more fails, records of one more are dropped.
    pub fn max_series(mut self, series: usize) -> Self {
        self.limits.max_series = series;
        self
    }

    /// How long the plugin may take to stop before it is left behind, SHUTDOWN_TIMEOUT_S: 8 s unless set. At a quarter of
    /// it, or at half of it where `get_power` has ended, `process_data` is asked as well.
    pub fn stop_timeout(mut self, timeout: Duration) -> Self {
        // A day is for ever, and can be added to any moment.
        self.stop_timeout = timeout.min(Duration::from_secs(86_400));
        self
    }

    /// Runs the plugin for this long, or until it ends by itself, then asks it to stop.
    pub fn run_for(self, duration: Duration) -> Run {
        drive::run(self, usize::MAX, duration)
    }

    /// Runs the plugin until it has sent so many samples (a JSON document counts as one), at most for `timeout`, then
    /// asks it to stop: quick where the machine is, patient where it is not.
    pub fn run_until_samples(self, samples: usize, timeout: Duration) -> Run {
        drive::run(self, samples, timeout)
    }
}

impl fmt::Debug for Harness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.settings.keys().collect();
        f.debug_struct("Harness").field("settings", &names).field("limits", &self.limits).finish_non_exhaustive()
    }
}
