//! How well the sensor itself does, as series of its own.
//!
//! Enters: what happened in each sweep. Leaves: counters, the greatest lateness, and how many domains are read, every
//! [`EVERY`] and at the end; a line for the log at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use monitor_plugin_api::{Error, Moment, RecordSender, Sample, Series, SeriesSpec, tracing};

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
    /// A domain vanished: its package was taken offline, or its driver was.
    Lost,
    /// A deadline was left out because the sweep before came late.
    Missed,
}

/// The events that have no further label: each is a series from the beginning.
const PLAIN: [Event; 5] = [Event::Wrap, Event::Reset, Event::NoRange, Event::Lost, Event::Missed];

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
            Event::Lost => ("monitor_rapl_lost_domains_total", "Times that an energy counter vanished from powercap."),
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
    sweeps: u64,
    /// The greatest delay of a reading since the last report, and ever.
    latest: Duration,
    latest_ever: Duration,
    gauges: Option<Gauges>,
    began: Option<Moment>,
    told: Option<Moment>,
    next: Duration,
}

struct Gauges {
    lateness: Series,
    domains: Series,
}

impl Health {
    /// Books with a zero for each event that has no further label.
    pub(crate) fn new() -> Self {
        Health {
            counted: PLAIN.map(|event| (event, (0, None))).into(),
            sweeps: 0,
            latest: Duration::ZERO,
            latest_ever: Duration::ZERO,
            gauges: None,
            began: None,
            told: None,
            next: Duration::ZERO,
        }
    }

    /// Counts so many of an event. Returns whether it is the first of its kind.
    pub(crate) fn count(&mut self, event: Event, times: u64) -> bool {
        let counted = &mut self.counted.entry(event).or_default().0;
        *counted += times;
        times > 0 && *counted == times
    }

    /// Notes a sweep, and how late it began.
    pub(crate) fn sweep(&mut self, late: Duration) {
        self.sweeps += 1;
        self.latest = self.latest.max(late);
        self.latest_ever = self.latest_ever.max(late);
    }

    /// Puts the series into `samples` when they are due; `domains` are read at present.
    ///
    /// # Errors
    /// A series can't be registered.
    pub(crate) fn report(
        &mut self,
        now: Moment,
        domains: usize,
        last: bool,
        out: &RecordSender,
        samples: &mut Vec<Sample>,
    ) -> Result<(), Error> {
        // What is told at the end may have been told just now.
        if now.at < self.next && !(last && self.told != Some(now)) {
            return Ok(());
        }
        (self.next, self.told) = (now.at + EVERY, Some(now));
        let began = *self.began.get_or_insert(now);
        for (event, (count, series)) in &mut self.counted {
            if series.is_none() {
                *series = Some(out.register(event.spec().started_at(began.timestamp_ms))?);
            }
            // Counts stay far below 2^53, where doubles end to be exact.
            samples.extend(series.as_ref().map(|series| series.sample(*count as f64, now.timestamp_ms)));
        }
        let gauges = match &mut self.gauges {
            Some(gauges) => gauges,
            none => none.insert(Gauges::register(out)?),
        };
        samples.push(gauges.lateness.sample(self.latest.as_secs_f64(), now.timestamp_ms));
        samples.push(gauges.domains.sample(domains as f64, now.timestamp_ms));
        self.latest = Duration::ZERO;
        Ok(())
    }

    /// Says how it went, in one line.
    pub(crate) fn conclude(&self) {
        let count = |event| self.counted.get(&event).map_or(0, |(count, _)| *count);
        let read_errors: u64 =
            self.counted.iter().filter(|(event, _)| matches!(event, Event::ReadError(_))).map(|(_, (n, _))| n).sum();
        tracing::info!(
            sweeps = self.sweeps,
            missed_deadlines = count(Event::Missed),
            greatest_lateness_s = self.latest_ever.as_secs_f64(),
            wraps = count(Event::Wrap),
            resets = count(Event::Reset),
            unknown_range = count(Event::NoRange),
            lost_domains = count(Event::Lost),
            read_errors,
            "RAPL was read"
        );
    }
}

impl Gauges {
    fn register(out: &RecordSender) -> Result<Self, Error> {
        let lateness = SeriesSpec::gauge("monitor_rapl_lateness_seconds").unit("seconds");
        let domains = SeriesSpec::gauge("monitor_rapl_domains").help("Energy counters that are read at present.");
        Ok(Gauges {
            lateness: out.register(lateness.help("The greatest delay of a reading since the last report."))?,
            domains: out.register(domains)?,
        })
    }
}
