//! How well the sensor itself does, as series of its own.
//!
//! Enters: what happened in each sweep. Leaves: counters and the greatest lateness, every [`EVERY`] and at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use monitor_plugin_api::{Error, RecordSender, Sample, Series, SeriesSpec};

use crate::clock::Moment;
use crate::sweep::errno;

/// How often they are sent.
const EVERY: Duration = Duration::from_secs(15);

/// What is counted, and how it is called: `monitor_rapl_…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// A counter went over its end.
    Wrap,
    /// A counter was set anew; the energy of that interval is not known.
    Reset,
    /// A counter fell and its range is not known; the energy of that interval is left out.
    NoRange,
    /// A counter could not be read, with the error's number.
    ReadError(i32),
    /// A deadline was left out because the sweep before came late.
    Missed,
}

impl Event {
    fn spec(self) -> SeriesSpec {
        let (metric, help) = match self {
            Event::Wrap => ("monitor_rapl_wraps_total", "Times that an energy counter went over its end."),
            Event::Reset => {
                ("monitor_rapl_resets_total", "Times that an energy counter was set anew: that interval is left out.")
            }
            Event::NoRange => (
                "monitor_rapl_unknown_range_total",
                "Times that an energy counter of unknown range wrapped: that interval is left out.",
            ),
            Event::ReadError(_) => ("monitor_rapl_read_errors_total", "Energy counters that could not be read."),
            Event::Missed => ("monitor_rapl_missed_deadlines_total", "Readings left out because one came too late."),
        };
        let spec = SeriesSpec::counter(metric).help(help);
        match self {
            Event::ReadError(number) => spec.label("errno", errno(number)),
            _ => spec,
        }
    }
}

/// The books.
pub(crate) struct Health {
    counted: BTreeMap<Event, (u64, Option<Series>)>,
    latest: Duration,
    lateness: Option<Series>,
    began: Option<Moment>,
    next: Duration,
}

impl Health {
    /// Books with a zero for each event that has no further label.
    pub(crate) fn new() -> Self {
        let counted = [Event::Wrap, Event::Reset, Event::NoRange, Event::Missed].map(|event| (event, (0, None)));
        Health { counted: counted.into(), latest: Duration::ZERO, lateness: None, began: None, next: Duration::ZERO }
    }

    /// Counts so many of an event. Returns whether it is the first of its kind.
    pub(crate) fn count(&mut self, event: Event, times: u64) -> bool {
        let counted = &mut self.counted.entry(event).or_default().0;
        *counted += times;
        times > 0 && *counted == times
    }

    /// Notes how late a sweep began.
    pub(crate) fn late(&mut self, by: Duration) {
        self.latest = self.latest.max(by);
    }

    /// Puts the series into `samples` when they are due.
    ///
    /// # Errors
    /// A series can't be registered.
    pub(crate) fn report(
        &mut self,
        now: Moment,
        last: bool,
        out: &RecordSender,
        samples: &mut Vec<Sample>,
    ) -> Result<(), Error> {
        if now.at < self.next && !last {
            return Ok(());
        }
        self.next = now.at + EVERY;
        let began = *self.began.get_or_insert(now);
        for (event, (count, series)) in &mut self.counted {
            if series.is_none() {
                *series = Some(out.register(event.spec().started_at(began.timestamp_ms))?);
            }
            // Counts stay far below 2^53, where doubles end to be exact.
            samples.extend(series.as_ref().map(|series| series.sample(*count as f64, now.timestamp_ms)));
        }
        if self.lateness.is_none() {
            let spec = SeriesSpec::gauge("monitor_rapl_lateness_seconds").unit("seconds");
            self.lateness = Some(out.register(spec.help("The greatest delay of a reading since the last report."))?);
        }
        samples.extend(self.lateness.as_ref().map(|s| s.sample(self.latest.as_secs_f64(), now.timestamp_ms)));
        self.latest = Duration::ZERO;
        Ok(())
    }
}
