//! From readings to samples.
//!
//! Enters: sweeps, in order: each names the GPUs that are there. Leaves: samples of registered series. A series begins with its
//! first value, and ends when its GPU is gone or does not offer it any more.

use std::collections::BTreeMap;
use std::sync::Arc;

use monitor_plugin_api::{Error, RecordSender, Sample, Series, SeriesSpec};

use crate::Sweep;
use crate::field::Key;
use crate::gpu::{Identity, Reading};
use crate::health::{Event, Report};

/// The series of one GPU or instance.
struct Known {
    identity: Arc<Identity>,
    series: BTreeMap<Key, Series>,
}

/// Makes samples of sweeps.
pub(crate) struct Output {
    known: BTreeMap<String, Known>,
    counters: BTreeMap<Event, Series>,
    gauges: Option<(Series, Series)>,
    samples: Vec<Sample>,
    out: RecordSender,
}

impl Output {
    pub(crate) fn new(out: RecordSender) -> Self {
        Output { known: BTreeMap::new(), counters: BTreeMap::new(), gauges: None, samples: Vec::new(), out }
    }

    /// Sends what one sweep tells.
    ///
    /// # Errors
    /// A series can't be registered.
    pub(crate) fn take(&mut self, sweep: &Sweep) -> Result<(), Error> {
        // Those that are gone, and those that are not what they were.
        self.known.retain(|_, known| sweep.readings.iter().any(|reading| reading.identity == known.identity));
        for reading in &sweep.readings {
            self.reading(reading)?;
        }
        if let Some(report) = &sweep.report {
            self.report(report)?;
        }
        // Not taken within a second: the host counts it, and the energy is in the next value of the counter.
        let _ = self.out.send(&self.samples[..]);
        self.samples.clear();
        Ok(())
    }

    fn reading(&mut self, reading: &Reading) -> Result<(), Error> {
        let identity = &reading.identity;
        let known = self
            .known
            .entry(identity.uuid.clone())
            .or_insert_with(|| Known { identity: Arc::clone(identity), series: BTreeMap::new() });
        known.series.retain(|key, _| !reading.unsupported.contains(key.field()));
        for (key, value, timestamp_ms) in &reading.values {
            if !known.series.contains_key(key) {
                let spec = labelled(key.spec(identity.instance.is_some()), *key, identity);
                let spec = match (key, reading.began_ms) {
                    (Key::Energy, Some(began_ms)) => spec.started_at(began_ms),
                    _ => spec,
                };
                known.series.insert(*key, self.out.register(spec)?);
            }
            self.samples.extend(known.series.get(key).map(|series| series.sample(*value, *timestamp_ms)));
        }
        Ok(())
    }

    fn report(&mut self, report: &Report) -> Result<(), Error> {
        for (event, count) in &report.counts {
            if !self.counters.contains_key(event) {
                let series = self.out.register(event.spec().started_at(report.began_ms))?;
                self.counters.insert(*event, series);
            }
            // Counts stay far below 2^53, where doubles end to be exact.
            let counter = self.counters.get(event);
            self.samples.extend(counter.map(|series| series.sample(*count as f64, report.timestamp_ms)));
        }
        if self.gauges.is_none() {
            let lateness = SeriesSpec::gauge("monitor_nvml_lateness_seconds").unit("seconds");
            let lateness = lateness.help("The greatest delay of a reading since the last report.");
            let gpus = SeriesSpec::gauge("monitor_nvml_gpus").help("GPUs that are read.");
            self.gauges = Some((self.out.register(lateness)?, self.out.register(gpus)?));
        }
        if let Some((lateness, gpus)) = &self.gauges {
            self.samples.push(lateness.sample(report.latest.as_secs_f64(), report.timestamp_ms));
            self.samples.push(gpus.sample(report.gpus as f64, report.timestamp_ms));
        }
        Ok(())
    }
}

/// Says whose series it is.
fn labelled(spec: SeriesSpec, key: Key, identity: &Identity) -> SeriesSpec {
    let spec = match key {
        Key::Energy | Key::Power(..) => spec.label("component", "gpu"),
        _ => spec,
    };
    let spec = spec
        .label("source", "nvml")
        .label("gpu", identity.gpu.to_string())
        .label("uuid", &identity.uuid)
        .label("model", &identity.model);
    match &identity.instance {
        None => spec,
        Some(instance) => spec
            .label("parent", &instance.parent)
            .label("gpu_instance", &instance.gpu_instance)
            .label("compute_instance", &instance.compute_instance),
    }
}
