//! One GPU, or one MIG instance of one, and how it is asked.
//!
//! Enters: a handle of NVML's. Leaves: values with the moment of their reading, or the news that GPU or driver are gone. Never:
//! asks for what is known not to be offered.

use std::sync::Arc;

use monitor_plugin_api::tracing;
use nvml_wrapper::Device;
use nvml_wrapper::enum_wrappers::device::{Sampling, TemperatureSensor};
use nvml_wrapper::enums::device::SampleValue;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id::{NVML_FI_DEV_POWER_AVERAGE, NVML_FI_DEV_POWER_INSTANT};
use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::buffer::Clocks;
use crate::code::Code;
use crate::energy::Step;
use crate::field::{CLOCKS, Field, Fields, Key, Method, REASONS};
use crate::health::{Event, Health};
use crate::history::{Ask, Broken, History};

/// Whose series they are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// NVML's number of the GPU, or of the one that the instance is a part of.
    pub(crate) gpu: u32,
    pub(crate) uuid: String,
    pub(crate) model: String,
    pub(crate) instance: Option<Instance>,
}

/// A part of a GPU.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Instance {
    /// The GPU's uuid.
    pub(crate) parent: String,
    pub(crate) gpu_instance: String,
    pub(crate) compute_instance: String,
}

impl Identity {
    /// As the log calls it.
    pub(crate) fn name(&self) -> String {
        let kind = if self.instance.is_some() { "an instance of GPU" } else { "GPU" };
        format!("{kind} {} ({}, {})", self.gpu, self.model, self.uuid)
    }
}

/// What was read.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) identity: Arc<Identity>,
    /// What it does not offer: such series end.
    pub(crate) unsupported: Fields,
    /// When its energy counter was zero.
    pub(crate) began_ms: Option<i64>,
    /// Series, value, and milliseconds since the Unix epoch.
    pub(crate) values: Vec<(Key, f64, i64)>,
}

impl Reading {
    /// How many of them the driver won't give again: the power samples of its own.
    pub(crate) fn buffered(&self) -> u64 {
        self.values.iter().filter(|(key, ..)| matches!(key, Key::Power(Method::Buffered, _))).count() as u64
    }
}

/// A GPU that can be asked.
#[derive(Debug)]
pub(crate) struct Gpu<'nvml> {
    pub(crate) identity: Arc<Identity>,
    pub(crate) device: Device<'nvml>,
    /// What the driver's one plain figure for power means here.
    usage: Method,
}

impl<'nvml> Gpu<'nvml> {
    pub(crate) fn new(identity: Identity, device: Device<'nvml>) -> Self {
        let usage = match device.cuda_compute_capability() {
            _ if identity.instance.is_some() => Method::Unspecified,
            // Ampere's and later ones, but for GA100, whose capability is 8.0: the driver gives the average of a second.
            Ok(capability) if (capability.major, capability.minor) > (8, 0) => Method::Average,
            Ok(_) => Method::Instant,
            Err(_) => Method::Unspecified,
        };
        Gpu { identity: Arc::new(identity), device, usage }
    }

    /// Energy and power.
    ///
    /// # Errors
    /// It is gone.
    pub(crate) fn read_fast(
        &self,
        history: &mut History,
        health: &mut Health,
        reading: &mut Reading,
    ) -> Result<(), Broken> {
        if self.identity.instance.is_some() {
            // NVML knows neither energy nor power of an instance.
            return Ok(());
        }
        let History { energy, began_ms, fast, books, .. } = history;
        let mut ask = Ask { who: &self.identity, books, health };
        let (moment, read) = fast.around(|| {
            let energy = ask.once(Field::Energy, || self.device.total_energy_consumption())?;
            let mut power = self.power_fields(&mut ask)?;
            if self.usage_is_wanted(ask.books.unsupported)
                && let Some(mw) = ask.once(Field::PowerUsage, || self.device.power_usage())?
            {
                power.push((Key::Power(self.usage, Field::PowerUsage), f64::from(mw) / 1000.0));
            }
            Ok((energy, power))
        });
        let (mj, power) = read?;
        let spent = mj.and_then(|mj| match energy.step(mj, moment.at) {
            Step::Spent(mj) => Some(mj),
            Step::Restarted(mj) => {
                tracing::info!("{}: its energy counter began again", self.identity.name());
                Some(mj)
            }
            Step::LeftOut => {
                ask.health.count(Event::EnergyLeftOut, 1);
                let who = self.identity.name();
                tracing::warn!("{who}: its energy counter jumped to {mj} mJ; this interval is left out");
                None
            }
        });
        if let Some(mj) = spent {
            began_ms.get_or_insert(moment.timestamp_ms);
            // Doubles hold millijoules exactly up to 2^53, which is 9 terajoules.
            reading.values.push((Key::Energy, mj as f64 / 1000.0, moment.timestamp_ms));
        }
        reading.values.extend(power.into_iter().map(|(key, watts)| (key, watts, moment.timestamp_ms)));
        Ok(())
    }

    /// The two figures that say what they are, by one call.
    fn power_fields(&self, ask: &mut Ask<'_>) -> Result<Vec<(Key, f64)>, Broken> {
        let mut values = Vec::with_capacity(3);
        let all = [
            (Field::PowerInstant, NVML_FI_DEV_POWER_INSTANT, Method::Instant),
            (Field::PowerAverage, NVML_FI_DEV_POWER_AVERAGE, Method::Average),
        ];
        let wanted: Vec<_> = all.into_iter().filter(|(field, ..)| !ask.books.unsupported.contains(*field)).collect();
        if wanted.is_empty() {
            return Ok(values);
        }
        let ids: Vec<_> = wanted.iter().map(|(_, id, _)| FieldId(*id)).collect();
        let mut answers = self.device.field_values_for(&ids).map(Vec::into_iter).map_err(Code::of);
        for (field, _, method) in wanted {
            let answer = match &mut answers {
                Ok(answers) => answers.next().unwrap_or(Err(NvmlError::NoData)).and_then(|sample| sample.value),
                Err(code) => {
                    ask.note(field, Err::<(), _>(*code))?;
                    continue;
                }
            };
            let answer = answer.map(|value| number(&value)).map_err(|error| match Code::of(error) {
                // A driver that is older than the field.
                Code::INVALID_ARGUMENT => Code::NOT_SUPPORTED,
                code => code,
            });
            values.extend(ask.note(field, answer)?.map(|mw| (Key::Power(method, field), mw / 1000.0)));
        }
        Ok(values)
    }

    /// The plain figure is asked for only where it tells what no field does.
    fn usage_is_wanted(&self, unsupported: Fields) -> bool {
        let lacks = |field| unsupported.contains(field);
        match self.usage {
            Method::Instant => lacks(Field::PowerInstant),
            Method::Average => lacks(Field::PowerAverage),
            _ => lacks(Field::PowerInstant) && lacks(Field::PowerAverage),
        }
    }

    /// What changes slowly.
    ///
    /// # Errors
    /// It is gone.
    pub(crate) fn read_slow(
        &self,
        history: &mut History,
        health: &mut Health,
        reading: &mut Reading,
    ) -> Result<(), Broken> {
        let mut ask = Ask { who: &self.identity, books: &mut history.books, health };
        let (moment, read) = history.slow.around(|| {
            let mut values = Vec::with_capacity(18);
            if let Some(memory) = ask.once(Field::Memory, || self.device.memory_info())? {
                values.push((Key::MemoryUsed, memory.used as f64));
                values.push((Key::MemoryTotal, memory.total as f64));
            }
            if self.identity.instance.is_none() {
                self.state(&mut ask, &mut values)?;
            }
            Ok(values)
        });
        reading.values.extend(read?.into_iter().map(|(key, value)| (key, value, moment.timestamp_ms)));
        Ok(())
    }

    /// What instances have no figures of their own for.
    fn state(&self, ask: &mut Ask<'_>, values: &mut Vec<(Key, f64)>) -> Result<(), Broken> {
        let device = &self.device;
        if let Some(rates) = ask.once(Field::Utilization, || device.utilization_rates())? {
            values.push((Key::Utilization, f64::from(rates.gpu) / 100.0));
            values.push((Key::MemoryUtilization, f64::from(rates.memory) / 100.0));
        }
        let celsius = ask.once(Field::Temperature, || device.temperature(TemperatureSensor::Gpu))?;
        values.extend(celsius.map(|celsius| (Key::Temperature, f64::from(celsius))));
        for (place, (field, clock, _)) in CLOCKS.into_iter().enumerate() {
            let mhz = ask.once(field, || device.clock_info(clock))?;
            values.extend(mhz.map(|mhz| (Key::Clock(place), f64::from(mhz) * 1e6)));
        }
        if let Some(held) = ask.once(Field::ThrottleReasons, || device.current_throttle_reasons())? {
            let reasons = REASONS.iter().enumerate();
            values.extend(reasons.map(|(place, (bit, _))| (Key::Reason(place), f64::from(held.contains(*bit)))));
        }
        Ok(())
    }

    /// The power samples that the driver has taken since the last time.
    ///
    /// # Errors
    /// It is gone.
    pub(crate) fn read_buffer(
        &self,
        history: &mut History,
        health: &mut Health,
        reading: &mut Reading,
    ) -> Result<(), Broken> {
        if self.identity.instance.is_some() {
            return Ok(());
        }
        let History { buffer, books, .. } = history;
        let mut ask = Ask { who: &self.identity, books, health };
        let polled =
            ask.once(Field::PowerSamples, || match self.device.samples(Sampling::Power, buffer.seen_us()) {
                // Nothing is newer.
                Err(NvmlError::NotFound) => Ok(Vec::new()),
                other => other,
            })?;
        let polled = polled.unwrap_or_default().iter().map(|s| (s.timestamp, number(&s.value) / 1000.0)).collect();
        let taken = buffer.take(polled, clocks());
        let key = Key::Power(Method::Buffered, Field::PowerSamples);
        reading.values.extend(taken.samples.into_iter().map(|(ms, watts)| (key, watts, ms)));
        health.count(Event::SampleCrowded, taken.crowded);
        if health.count(Event::SampleUnplaced, taken.unplaced) {
            let who = self.identity.name();
            tracing::warn!("{who}: the driver's power samples have timestamps of no clock of this machine: left out");
        }
        Ok(())
    }
}

fn number(value: &SampleValue) -> f64 {
    match *value {
        SampleValue::F64(value) => value,
        SampleValue::U32(value) => f64::from(value),
        SampleValue::U64(value) => value as f64,
        SampleValue::I64(value) => value as f64,
    }
}

fn clocks() -> Clocks {
    let us = |id| {
        let Timespec { tv_sec, tv_nsec } = clock_gettime(id);
        tv_sec.saturating_mul(1_000_000).saturating_add(tv_nsec / 1000)
    };
    Clocks { real: us(ClockId::Realtime), boot: us(ClockId::Boottime), monotonic: us(ClockId::Monotonic) }
}
