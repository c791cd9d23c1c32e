//! From what the counters showed to samples.
//!
//! Enters: sweeps, in order. Leaves: for each domain a counter of joules that never wraps, on request the power of the interval,
//! and the original's record: the microjoules of the interval. A counter begins at zero with its first reading, and says so
//! by its start timestamp.
//!
//! Never: a sample for an interval whose energy is not known.

use std::time::Duration;

use monitor_plugin_api::{Error, RecordSender, Sample, Series, SeriesSpec, tracing};

use crate::Sweep;
use crate::counter::{Counter, Step};
use crate::health::{Event, Health};
use crate::sweep::errno;
use crate::zones::{Family, Zone};

/// Under which names energy is sent (RAPL_NAMES).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names {
    /// `monitor_energy_joules_total` and its like.
    pub(crate) conventional: bool,
    /// METRIC_DEFAULT: the microjoules of each interval.
    pub(crate) original: bool,
}

/// One domain on its way out.
struct Domain {
    zone: Zone,
    counter: Counter,
    /// All energy since the first reading. Microjoules in 64 bits last for 500,000 years at a megawatt.
    spent_uj: u64,
    last: Option<Duration>,
    series: Option<Registered>,
}

struct Registered {
    energy: Option<Series>,
    power: Option<Series>,
    original: Option<Series>,
}

/// Makes samples of sweeps.
pub(crate) struct Output {
    domains: Vec<Domain>,
    names: Names,
    with_power: bool,
    service: String,
    out: RecordSender,
    health: Health,
    samples: Vec<Sample>,
    last: Option<crate::Moment>,
}

impl Output {
    /// For these domains, in the order of the sweeps' readings.
    pub(crate) fn new(zones: &[Zone], names: Names, with_power: bool, service: &str, out: RecordSender) -> Self {
        let domain = |zone: &Zone| Domain {
            zone: zone.clone(),
            counter: Counter::new(zone.range_uj),
            spent_uj: 0,
            last: None,
            series: None,
        };
        let domains = zones.iter().map(domain).collect();
        let (service, health, samples) = (service.to_owned(), Health::new(), Vec::new());
        Output { domains, names, with_power, service, out, health, samples, last: None }
    }

    /// Sends what one sweep tells.
    ///
    /// # Errors
    /// A series can't be registered.
    pub(crate) fn take(&mut self, sweep: &Sweep) -> Result<(), Error> {
        self.health.late(sweep.late);
        self.health.count(Event::Missed, sweep.missed);
        for (domain, reading) in self.domains.iter_mut().zip(&sweep.readings) {
            match *reading {
                Ok(uj) => {
                    if domain.series.is_none() {
                        let started = sweep.moment.timestamp_ms;
                        domain.series = Some(register(
                            &domain.zone,
                            self.names,
                            self.with_power,
                            &self.service,
                            started,
                            &self.out,
                        )?);
                    }
                    domain.take(uj, sweep.moment, &mut self.health, &mut self.samples);
                }
                Err(number) => {
                    if self.health.count(Event::ReadError(number), 1) {
                        let path = domain.zone.counter.display();
                        tracing::warn!("{path} can't be read: {}; it is tried again every few seconds", errno(number));
                    }
                }
            }
        }
        self.last = Some(sweep.moment);
        self.health.report(sweep.moment, false, &self.out, &mut self.samples)?;
        self.send();
        Ok(())
    }

    /// Sends what is still to be told.
    pub(crate) fn finish(&mut self) {
        if let Some(last) = self.last
            && self.health.report(last, true, &self.out, &mut self.samples).is_ok()
        {
            self.send();
        }
    }

    fn send(&mut self) {
        // Not taken within a second: the host counts it, and the energy is in the next value of the counter.
        let _ = self.out.send(&self.samples[..]);
        self.samples.clear();
    }
}

impl Domain {
    fn take(&mut self, uj: u64, moment: crate::Moment, health: &mut Health, samples: &mut Vec<Sample>) {
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
        let Some(series) = &self.series else { return };
        let mut sample = |series: &Option<Series>, value: f64| {
            samples.extend(series.as_ref().map(|series| series.sample(value, moment.timestamp_ms)));
        };
        sample(&series.energy, joules(self.spent_uj));
        if let (Some(uj), Some(since)) = (spent, since) {
            sample(&series.original, uj as f64);
            if !since.is_zero() {
                sample(&series.power, joules(uj) / since.as_secs_f64());
            }
        }
    }
}

/// Doubles hold microjoules exactly up to 2^53, which is 9 gigajoules.
fn joules(uj: u64) -> f64 {
    uj as f64 / 1e6
}

fn register(
    zone: &Zone,
    names: Names,
    with_power: bool,
    service: &str,
    started_ms: i64,
    out: &RecordSender,
) -> Result<Registered, Error> {
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
    let energy = labelled(energy.unit("joules").started_at(started_ms));
    let power = labelled(SeriesSpec::gauge("monitor_power_watts").unit("watts"))
        .label("method", "derived")
        .help("Energy of an interval between two readings, by its length.");
    // No name: the host's METRIC_DEFAULT.
    let original = SeriesSpec::gauge("").label("component", zone.original_name()).label("source", service);
    let wanted = |yes: bool, spec: SeriesSpec| yes.then(|| out.register(spec)).transpose();
    Ok(Registered {
        energy: wanted(names.conventional, energy)?,
        power: wanted(with_power, power)?,
        original: wanted(names.original, original)?,
    })
}
