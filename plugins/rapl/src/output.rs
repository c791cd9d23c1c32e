//! From what the counters showed to samples.
//!
//! Enters: sweeps, in order. Leaves: the samples of each domain and those of the sensor's own health, a send for each sweep.
//!
//! Never: waits for room longer than a send does; holds a sample back for the next sweep.

use std::sync::Arc;

use monitor_plugin_api::{Error, Moment, RecordSender, Sample, tracing};

use crate::Sweep;
use crate::domain::Domain;
use crate::health::{Event, Health};
use crate::zones::Zone;

/// What is sent, and under which names.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    /// `monitor_energy_joules_total` and its like.
    pub(crate) conventional: bool,
    /// METRIC_DEFAULT: the microjoules of each interval.
    pub(crate) original: bool,
    /// The power of each interval.
    pub(crate) power: bool,
    /// The `source` of the original's records.
    pub(crate) service: String,
}

/// Makes samples of sweeps.
pub(crate) struct Output {
    zones: Arc<[Zone]>,
    /// By zone.
    domains: Vec<Domain>,
    form: Form,
    out: RecordSender,
    health: Health,
    samples: Vec<Sample>,
    last: Option<Moment>,
}

impl Output {
    /// For sweeps whose domains are not known yet.
    pub(crate) fn new(form: Form, out: RecordSender) -> Self {
        Output {
            zones: Arc::new([]),
            domains: Vec::new(),
            form,
            out,
            health: Health::new(),
            samples: Vec::new(),
            last: None,
        }
    }

    /// Sends what one sweep tells.
    ///
    /// # Errors
    /// A series can't be registered.
    pub(crate) fn take(&mut self, sweep: &Sweep) -> Result<(), Error> {
        self.health.sweep(sweep.late);
        self.health.count(Event::Missed, sweep.missed);
        if !Arc::ptr_eq(&self.zones, &sweep.zones) {
            self.adopt(&sweep.zones);
        }
        for (domain, reading) in self.domains.iter_mut().zip(&sweep.readings) {
            if let Some(uj) = domain.note(*reading, sweep.moment, &mut self.health) {
                domain.show(&self.form, sweep.moment, &self.out)?;
                domain.take(uj, sweep.moment, &mut self.health, &mut self.samples);
            }
        }
        self.last = Some(sweep.moment);
        self.health.report(sweep.moment, self.read_now(), false, &self.out, &mut self.samples)?;
        self.send();
        Ok(())
    }

    /// Sends what is still to be told.
    pub(crate) fn finish(&mut self) {
        if let Some(last) = self.last
            && self.health.report(last, self.read_now(), true, &self.out, &mut self.samples).is_ok()
        {
            self.domains.iter_mut().for_each(|domain| domain.offer_the_rest(last, &mut self.samples));
            self.send();
        }
        self.health.conclude();
    }

    /// The table of domains has grown, or a domain lies elsewhere now.
    fn adopt(&mut self, zones: &Arc<[Zone]>) {
        for (domain, zone) in self.domains.iter_mut().zip(&**zones) {
            domain.lies_at(zone, &mut self.health);
        }
        for zone in zones.iter().skip(self.domains.len()) {
            if !self.zones.is_empty() {
                tracing::info!(domain = zone.domain, "an energy counter has appeared and is read from now on");
            }
            self.domains.push(Domain::new(zone.clone()));
        }
        self.zones = Arc::clone(zones);
    }

    fn read_now(&self) -> usize {
        self.domains.iter().filter(|domain| domain.is_read()).count()
    }

    fn send(&mut self) {
        // Not taken within a second: the host counts it, and the energy is in the next value of the counter, and in the next of
        // the original's records.
        let taken = self.out.send(&self.samples[..]).is_ok();
        self.domains.iter_mut().for_each(|domain| domain.were_sent(taken));
        self.samples.clear();
    }
}
