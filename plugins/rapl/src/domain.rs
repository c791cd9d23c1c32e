//! One domain on its way out.
//!
//! Enters: its readings, in order, and whether its samples were taken. Leaves: a counter of joules that never wraps, on request
//! the power of the interval, and the original's record: the microjoules since the last one that was taken. The counter begins
//! at zero with the first reading, and says so by its start timestamp; it goes on from where it was when the domain comes back.
//! A failure is told when it begins and when it ends.
//!
//! Never: a sample for an interval whose energy is not known.

use std::time::Duration;

use monitor_plugin_api::{Error, Moment, RecordSender, Sample, Series, SeriesSpec, tracing};

use crate::counter::{Counter, Step};
use crate::health::{Event, Health};
use crate::output::Form;
use crate::sweep::{Reading, errno};
use crate::zones::{Family, Zone};

/// How long after one failure was told the next one may be: one that comes and goes must not fill the log.
const TELL_AGAIN_AFTER: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Read,
    Failing(i32),
    Gone,
}

/// One domain.
pub(crate) struct Domain {
    zone: Zone,
    counter: Counter,
    /// All energy since the first reading. Microjoules in 64 bits last for 500,000 years at a megawatt.
    spent_uj: u64,
    began_ms: Option<i64>,
    /// The microjoules that the original's records have still to tell, and how many of them are among the samples to be sent.
    owed_uj: u64,
    offered_uj: u64,
    last: Option<Duration>,
    state: State,
    /// When a failure was told last, and whether its end is still to be told.
    told: Option<Duration>,
    tell_end: bool,
    series: Option<Registered>,
}

struct Registered {
    energy: Option<Series>,
    power: Option<Series>,
    original: Option<Series>,
}

impl Domain {
    /// One that was not read yet.
    pub(crate) fn new(zone: Zone) -> Self {
        let counter = Counter::new(zone.range_uj, zone.most_watts());
        Domain {
            zone,
            counter,
            spent_uj: 0,
            began_ms: None,
            owed_uj: 0,
            offered_uj: 0,
            last: None,
            state: State::Read,
            told: None,
            tell_end: false,
            series: None,
        }
    }

    /// It may lie elsewhere now. Another file's counter has nothing to do with what the old one showed.
    pub(crate) fn lies_at(&mut self, zone: &Zone, health: &mut Health) {
        if self.zone == *zone {
            return;
        }
        if self.zone.counter != zone.counter && self.counter.forget() {
            health.count(Event::Reset, 1);
            let path = zone.counter.display();
            tracing::warn!(domain = zone.domain, "the energy counter is {path} now; one interval is left out");
        }
        self.counter.has_range(zone.range_uj);
        self.zone = zone.clone();
    }

    /// Whether the last reading was good.
    pub(crate) fn is_read(&self) -> bool {
        self.state == State::Read
    }

    /// Takes notice of a reading; the microjoules that it shows, if it does.
    pub(crate) fn note(&mut self, reading: Reading, moment: Moment, health: &mut Health) -> Option<u64> {
        match reading {
            Reading::Uj(uj) => {
                if self.state != State::Read && std::mem::take(&mut self.tell_end) {
                    tracing::info!(domain = self.zone.domain, "the energy counter is read again");
                }
                self.state = State::Read;
                Some(uj)
            }
            Reading::Failed(number) => {
                health.count(Event::ReadError(number), 1);
                if self.state != State::Failing(number) {
                    self.state = State::Failing(number);
                    self.tell_failure(number, moment.at);
                }
                None
            }
            Reading::Gone => {
                if self.state != State::Gone {
                    self.state = State::Gone;
                    health.count(Event::Lost, 1);
                    self.lose();
                }
                None
            }
        }
    }

    fn tell_failure(&mut self, number: i32, now: Duration) {
        if self.told.is_some_and(|told| now.saturating_sub(told) < TELL_AGAIN_AFTER) {
            return;
        }
        (self.told, self.tell_end) = (Some(now), true);
        let path = self.zone.counter.display();
        tracing::warn!("{path} can't be read: {}; it goes on being tried", errno(number));
    }

    /// Its series end, and what it spends meanwhile is not known.
    fn lose(&mut self) {
        (self.series, self.last, self.tell_end) = (None, None, true);
        self.counter.forget();
        tracing::warn!(
            domain = self.zone.domain,
            "the energy counter is gone from powercap (a package offline, a driver unloaded); it is looked for every few seconds"
        );
    }

    /// Registers its series, unless they are.
    ///
    /// # Errors
    /// A series can't be registered.
    pub(crate) fn show(&mut self, form: &Form, moment: Moment, out: &RecordSender) -> Result<(), Error> {
        if self.series.is_none() {
            let began_ms = *self.began_ms.get_or_insert(moment.timestamp_ms);
            self.series = Some(register(&self.zone, form, began_ms, out)?);
        }
        Ok(())
    }

    /// Makes samples of what the counter shows.
    pub(crate) fn take(&mut self, uj: u64, moment: Moment, health: &mut Health, samples: &mut Vec<Sample>) {
        let since = self.last.replace(moment.at).map(|last| moment.at.saturating_sub(last));
        let spent = match self.counter.step(uj, moment.at) {
            Step::First => None,
            Step::Spent { uj, wrapped } => {
                health.count(Event::Wrap, u64::from(wrapped));
                Some(uj)
            }
            Step::Reset => {
                health.count(Event::Reset, 1);
                tracing::warn!(domain = self.zone.domain, "the energy counter was set anew; one interval is left out");
                return;
            }
            Step::NoRange => {
                if health.count(Event::NoRange, 1) {
                    let domain = &self.zone.domain;
                    tracing::warn!(
                        domain,
                        "the counter wraps and max_energy_range_uj can't be read; such intervals are left out"
                    );
                }
                return;
            }
        };
        self.spent_uj += spent.unwrap_or_default();
        self.owed_uj += spent.unwrap_or_default();
        let Some(series) = &self.series else { return };
        let mut sample = |series: &Option<Series>, value: f64| {
            samples.extend(series.as_ref().map(|series| series.sample(value, moment.timestamp_ms)));
        };
        sample(&series.energy, joules(self.spent_uj));
        if let (Some(uj), Some(since)) = (spent, since) {
            if !since.is_zero() {
                sample(&series.power, joules(uj) / since.as_secs_f64());
            }
            self.offer(moment, samples);
        }
    }

    /// Makes a record of the original's of all that is owed.
    fn offer(&mut self, moment: Moment, samples: &mut Vec<Sample>) {
        if let Some(original) = self.series.as_ref().and_then(|series| series.original.as_ref()) {
            samples.push(original.sample(self.owed_uj as f64, moment.timestamp_ms));
            self.offered_uj = self.owed_uj;
        }
    }

    /// At the end of a run, offers what was refused; `last` is the moment of the last sweep, for which no record was taken then.
    pub(crate) fn offer_the_rest(&mut self, last: Moment, samples: &mut Vec<Sample>) {
        if self.owed_uj > 0 {
            self.offer(last, samples);
        }
    }

    /// Learns whether its samples were taken. The next record tells what a refused one would have.
    pub(crate) fn were_sent(&mut self, taken: bool) {
        let offered_uj = std::mem::take(&mut self.offered_uj);
        if taken {
            self.owed_uj -= offered_uj;
        }
    }
}

/// Doubles hold microjoules exactly up to 2^53, which is 9 gigajoules.
fn joules(uj: u64) -> f64 {
    uj as f64 / 1e6
}

fn register(zone: &Zone, form: &Form, began_ms: i64, out: &RecordSender) -> Result<Registered, Error> {
    let labelled = |spec: SeriesSpec| {
        spec.label("source", "rapl")
            .label("component", &zone.component)
            .label("domain", &zone.domain)
            .label("socket", &zone.socket)
    };
    let energy = match zone.family {
        Family::Disjoint => SeriesSpec::counter("monitor_energy_joules_total")
            .help("Energy spent, by parts that do not overlap: packages and memory."),
        Family::Inside => SeriesSpec::counter("monitor_subdomain_energy_joules_total")
            .help("Energy spent by parts of another domain, which counts it too.")
            .label("parent", &zone.parent),
        Family::Platform => SeriesSpec::counter("monitor_platform_energy_joules_total")
            .help("Energy spent by the whole platform, its processors among others."),
    };
    let energy = labelled(energy.unit("joules").started_at(began_ms));
    let power = labelled(SeriesSpec::gauge("monitor_power_watts").unit("watts"))
        .label("method", "derived")
        .help("Energy of an interval between two readings, by its length.");
    // No name: the host's METRIC_DEFAULT.
    let original = zone
        .original_name()
        .map(|component| SeriesSpec::gauge("").label("component", component).label("source", &form.service));
    let wanted = |yes: bool, spec: Option<SeriesSpec>| spec.filter(|_| yes).map(|spec| out.register(spec)).transpose();
    Ok(Registered {
        energy: wanted(form.conventional, Some(energy))?,
        power: wanted(form.power, Some(power))?,
        original: wanted(form.original, original)?,
    })
}
