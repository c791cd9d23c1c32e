//! How well the sensor itself does, as series of its own.
//!
//! Enters: what happened. Leaves: counts since the start, every [`EVERY`] and at the end. They are kept where readings are
//! taken, so that a reading that finds no room takes none of them with it.

use std::collections::BTreeMap;
use std::time::Duration;

use monitor_plugin_api::{Clock, Moment, SeriesSpec};

use crate::code::Code;
use crate::field::Field;

/// How often they are sent.
const EVERY: Duration = Duration::from_secs(15);

/// What is counted, and how it is called: `monitor_nvml_…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// NVML gave an error in place of a value.
    Error(Field, Code),
    /// NVML could not be initialised.
    Blind(Code),
    /// A GPU was lost.
    Lost,
    /// A GPU that was lost was found again.
    Found,
    /// NVML was initialised again.
    Restart,
    /// The energy of an interval is not known.
    EnergyLeftOut,
    /// The driver gave power samples of a clock that is none of the machine's.
    SampleUnplaced,
    /// The driver gave power samples that lie too close together.
    SampleCrowded,
    /// Power samples of the driver's went with a sweep that the full raw queue handed back.
    SampleRefused,
    /// Power samples of the driver's went with a sweep in which the driver went.
    SampleInterrupted,
    /// A deadline was left out because the reading before came late.
    Missed,
}

impl Event {
    /// The series that counts it.
    pub(crate) fn spec(self) -> SeriesSpec {
        let counter = |name: &str, help: &str| SeriesSpec::counter(format!("monitor_nvml_{name}_total")).help(help);
        let dropped = || counter("dropped_samples", "Power samples of the driver's that were not sent on.");
        match self {
            Event::Error(field, code) => counter("errors", "Errors that NVML gave in place of a value.")
                .label("field", field.name())
                .label("code", code.to_string()),
            Event::Blind(code) => {
                counter("init_errors", "Times that NVML could not be initialised.").label("code", code.to_string())
            }
            Event::Lost => counter("lost_gpus", "Times that a GPU was lost; instances go with theirs."),
            Event::Found => counter("found_gpus", "Times that a GPU was found again."),
            Event::Restart => counter("restarts", "Times that NVML was initialised again."),
            Event::EnergyLeftOut => {
                counter("energy_left_out", "Intervals whose energy is not known: the counter was set anew.")
            }
            Event::SampleUnplaced => dropped().label("reason", "unknown_clock"),
            Event::SampleCrowded => dropped().label("reason", "crowded"),
            Event::SampleRefused => dropped().label("reason", "queue_full"),
            Event::SampleInterrupted => dropped().label("reason", "driver_gone"),
            Event::Missed => counter("missed_deadlines", "Readings left out because one came too late."),
        }
    }
}

/// What is sent.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) timestamp_ms: i64,
    /// When the counts were zero.
    pub(crate) began_ms: i64,
    pub(crate) counts: Vec<(Event, u64)>,
    /// The greatest delay of a reading since the last report.
    pub(crate) latest: Duration,
    /// How many GPUs are read.
    pub(crate) gpus: usize,
}

/// The books.
#[derive(Debug)]
pub(crate) struct Health {
    counted: BTreeMap<Event, u64>,
    latest: Duration,
    clock: Clock,
    began: Moment,
    next: Duration,
}

impl Health {
    /// Books with a zero for each event that has no further label.
    pub(crate) fn new() -> Self {
        let zeroes = [Event::Lost, Event::Found, Event::Restart, Event::EnergyLeftOut, Event::Missed];
        let mut clock = Clock::new();
        let began = clock.around(|| ()).0;
        let counted = zeroes.map(|event| (event, 0)).into();
        Health { counted, latest: Duration::ZERO, clock, began, next: Duration::ZERO }
    }

    /// Counts so many of an event. Returns whether they are the first of their kind.
    pub(crate) fn count(&mut self, event: Event, times: u64) -> bool {
        if times == 0 {
            return false;
        }
        let counted = self.counted.entry(event).or_default();
        *counted += times;
        *counted == times
    }

    /// Notes how late a reading began.
    pub(crate) fn late(&mut self, by: Duration) {
        self.latest = self.latest.max(by);
    }

    /// What is to be sent, when it is due.
    pub(crate) fn report(&mut self, gpus: usize, last: bool) -> Option<Report> {
        let now = self.clock.around(|| ()).0;
        if now.at < self.next && !last {
            return None;
        }
        self.next = now.at + EVERY;
        let counts = self.counted.iter().map(|(event, count)| (*event, *count)).collect();
        let (timestamp_ms, began_ms) = (now.timestamp_ms, self.began.timestamp_ms);
        Some(Report { timestamp_ms, began_ms, counts, latest: std::mem::take(&mut self.latest), gpus })
    }
}
