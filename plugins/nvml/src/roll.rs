//! Who is there, who was, and who is looked for.
//!
//! Enters: an initialised NVML, and what readings found out. Leaves: a handle for each GPU and each instance that is there; in
//! the log, whoever comes and goes. What is known of a GPU is kept by its uuid, so that it goes on when the GPU comes back.
//!
//! Never: initialises NVML; waits.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use monitor_plugin_api::{now_ms, tracing};
use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;

use crate::code::{Code, Fate};
use crate::field::Field;
use crate::gpu::{Gpu, Identity};
use crate::health::{Event, Health};
use crate::history::{Broken, History};
use crate::mig;

/// The roll of GPUs.
pub(crate) struct Roll {
    pub(crate) health: Health,
    /// By uuid, of every GPU that was ever seen, and of the instances that are there.
    pub(crate) histories: BTreeMap<String, History>,
    /// The GPUs that were seen and are gone.
    pub(crate) lost: BTreeSet<String>,
    /// By number, why a GPU can't be reached; without a number, why they can't be counted.
    unreached: BTreeMap<Option<u32>, Code>,
    /// Looks that did not find what is gone.
    fruitless: u32,
    /// The time between two looks, for the log.
    pace: Duration,
}

impl Roll {
    pub(crate) fn new(pace: Duration) -> Self {
        let (histories, lost, unreached) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Roll { health: Health::new(), histories, lost, unreached, fruitless: 0, pace }
    }

    /// Looks for GPUs that are not among `gpus`, and for instances that have come and gone.
    ///
    /// # Errors
    /// The driver is gone.
    pub(crate) fn look<'nvml>(&mut self, nvml: &'nvml Nvml, gpus: &mut Vec<Gpu<'nvml>>) -> Result<(), Code> {
        let Some(count) = self.reach(None, nvml.device_count())? else { return Ok(()) };
        self.unreached.retain(|number, _| number.is_none_or(|number| number < count));
        for number in 0..count {
            let found = nvml.device_by_index(number).and_then(|device| Ok((device.uuid()?, device)));
            let Some((uuid, device)) = self.reach(Some(number), found)? else { continue };
            if !gpus.iter().any(|gpu| gpu.identity.uuid == uuid && gpu.identity.gpu == number) {
                let Some(model) = self.reach(Some(number), device.name())? else { continue };
                gpus.retain(|gpu| gpu.identity.uuid != uuid);
                let identity = Identity { gpu: number, uuid: uuid.clone(), model, instance: None };
                self.welcome(&identity);
                gpus.push(Gpu::new(identity, device));
            }
            match self.look_inside(&uuid, gpus) {
                // The next reading finds out that it is gone.
                Ok(()) | Err(Broken::Gpu(_)) => {}
                Err(Broken::Driver(code)) => return Err(code),
            }
        }
        Ok(())
    }

    /// Some GPUs come back only to an NVML that is initialised anew, which costs the others a moment: at the first look that
    /// does not find what is gone, the second, the fourth and so on, and at each 64th.
    pub(crate) fn is_worth_another_init(&mut self) -> bool {
        if self.lost.is_empty() && self.unreached.values().all(|code| code.fate() != Fate::Lost) {
            self.fruitless = 0;
            return false;
        }
        self.fruitless = self.fruitless.saturating_add(1);
        self.fruitless.is_power_of_two() || self.fruitless.is_multiple_of(64)
    }

    /// NVML is to be initialised again: whatever comes back may be another driver's.
    pub(crate) fn interrupted(&mut self) {
        self.health.count(Event::Restart, 1);
        self.histories.values_mut().for_each(History::interrupted);
    }

    /// Takes it for gone.
    pub(crate) fn lose(&mut self, uuid: &str, why: impl fmt::Display) {
        let Some(history) = self.histories.get_mut(uuid) else { return };
        history.interrupted();
        let name = &history.name;
        if history.parent.is_some() {
            tracing::info!("{name} is gone: {why}");
            self.histories.remove(uuid);
        } else if self.lost.insert(uuid.to_owned()) {
            let pace = self.pace.as_secs_f64();
            tracing::warn!("{name} is lost: {why}; it is looked for every {pace} s");
            self.health.count(Event::Lost, 1);
        }
    }

    /// Whatever was there and is not among `gpus` is gone.
    pub(crate) fn miss(&mut self, gpus: &[Gpu<'_>], why: &str) {
        let is_there = |uuid: &str| gpus.iter().any(|gpu| gpu.identity.uuid == uuid);
        let gone: Vec<_> = self.histories.keys().filter(|uuid| !is_there(uuid)).cloned().collect();
        gone.iter().for_each(|uuid| self.lose(uuid, why));
    }

    /// The instances of one GPU.
    fn look_inside(&mut self, uuid: &str, gpus: &mut Vec<Gpu<'_>>) -> Result<(), Broken> {
        let gpu = gpus.iter().find(|gpu| gpu.identity.uuid == uuid);
        let (Some(gpu), Some(history)) = (gpu, self.histories.get_mut(uuid)) else { return Ok(()) };
        let parts = mig::instances(gpu, history, &mut self.health)?;
        gpus.retain(|gpu| {
            let is_part = gpu.identity.instance.as_ref().is_some_and(|instance| instance.parent == uuid);
            let is_gone = is_part && parts.iter().all(|(part, _)| *part != *gpu.identity);
            if is_gone {
                tracing::info!("{} is gone", gpu.identity.name());
                self.histories.remove(&gpu.identity.uuid);
            }
            !is_gone
        });
        for (identity, device) in parts {
            if gpus.iter().all(|gpu| gpu.identity.uuid != identity.uuid) {
                self.welcome(&identity);
                gpus.push(Gpu::new(identity, device));
            }
        }
        Ok(())
    }

    fn welcome(&mut self, identity: &Identity) {
        let before = self.histories.len();
        let history = self.histories.entry(identity.uuid.clone()).or_insert_with(|| History::new(identity, now_ms()));
        history.name = identity.name();
        if self.lost.remove(&identity.uuid) {
            self.health.count(Event::Found, 1);
            tracing::info!("{} is back", identity.name());
        } else if self.histories.len() > before {
            tracing::info!("{} is read", identity.name());
        }
    }

    /// Notes whether a GPU can be reached.
    fn reach<T>(&mut self, number: Option<u32>, answer: Result<T, NvmlError>) -> Result<Option<T>, Code> {
        let code = match answer {
            Ok(value) => {
                self.unreached.remove(&number);
                return Ok(Some(value));
            }
            Err(error) => Code::of(error),
        };
        self.health.count(Event::Error(Field::Discovery, code), 1);
        if code.fate() == Fate::Restart {
            return Err(code);
        }
        if self.unreached.insert(number, code) != Some(code) {
            match number {
                Some(number) => tracing::warn!("GPU {number} can't be reached: {code}; it is tried again"),
                None => tracing::warn!("GPUs can't be counted: {code}; it is tried again"),
            }
        }
        Ok(None)
    }
}
