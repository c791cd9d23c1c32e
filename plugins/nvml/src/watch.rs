//! Which GPUs there are, again and again: NVML is initialised, GPUs are found, read, lost and found again.
//!
//! Enters: the ticks of the grid. Leaves: sweeps, each with all the GPUs that are there, so that one that is not in it is gone.
//!
//! Never: ends but by the stop; initialises NVML, or looks for GPUs, more often than once in [`Plan::pace`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use monitor_plugin_api::{Error, Every, RawSender, now_ms, tracing};
use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;

use crate::Sweep;
use crate::code::{Code, Fate};
use crate::field::Field;
use crate::gpu::{Gpu, Identity, Reading};
use crate::health::{Event, Health};
use crate::history::{Broken, History};
use crate::library::{Library, Missing};
use crate::mig;

/// What the operator has set.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) library: Library,
    /// The time between two readings of what changes slowly.
    pub(crate) slow: Duration,
    /// The time between two looks for GPUs, and between two attempts to initialise NVML.
    pub(crate) pace: Duration,
    /// Whether the driver's own power samples are wanted.
    pub(crate) buffered: bool,
}

/// How a while ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The plugin was asked to stop.
    Stop,
    /// NVML is to be initialised.
    Init,
}

type Step<'nvml> = fn(&Gpu<'nvml>, &mut History, &mut Health, &mut Reading) -> Result<(), Broken>;

/// Keeps GPUs in view.
pub(crate) struct Watch {
    plan: Plan,
    ticks: Every,
    out: RawSender<Sweep>,
    health: Health,
    /// By uuid, of every GPU that was ever seen, and of the instances that are there.
    histories: BTreeMap<String, History>,
    /// The GPUs that were seen and are gone.
    lost: BTreeSet<String>,
    /// By number, why a GPU can't be reached; without a number, why they can't be counted.
    unreached: BTreeMap<Option<u32>, Code>,
    /// Why NVML could not be initialised.
    blind: Option<Code>,
    /// Looks that did not find what is gone.
    fruitless: u32,
    next_init: Instant,
    next_look: Instant,
    next_slow: Option<Instant>,
}

impl Watch {
    pub(crate) fn new(plan: Plan, ticks: Every, out: RawSender<Sweep>) -> Self {
        let now = Instant::now();
        Watch {
            plan,
            ticks,
            out,
            health: Health::new(),
            histories: BTreeMap::new(),
            lost: BTreeSet::new(),
            unreached: BTreeMap::new(),
            blind: None,
            fruitless: 0,
            next_init: now,
            next_look: now,
            next_slow: None,
        }
    }

    /// Until the stop. `nvml` is the one that was initialised already, if any.
    pub(crate) fn run(mut self, mut nvml: Option<Nvml>) {
        loop {
            let nvml = match nvml.take() {
                Some(nvml) => Ok(nvml),
                None if self.wait_for_init() == End::Stop => return,
                None => self.plan.library.init(),
            };
            self.next_init = Instant::now() + self.plan.pace;
            match nvml {
                Ok(nvml) if self.session(&nvml) == End::Stop => return,
                // Shut down, before the next one is initialised: nobody can unload a driver that is in use.
                Ok(nvml) => drop(nvml),
                Err(missing) => self.is_blind(missing),
            }
        }
    }

    /// While NVML stays initialised.
    fn session(&mut self, nvml: &Nvml) -> End {
        if self.blind.take().is_some() {
            tracing::info!("NVML could be initialised again");
        }
        let mut gpus = Vec::new();
        if let Err(code) = self.look(nvml, &mut gpus) {
            return self.is_interrupted(code);
        }
        self.miss(&gpus, "NVML does not show it any more");
        while let Some(due) = self.tick() {
            if due >= self.next_look {
                if let Err(code) = self.look(nvml, &mut gpus) {
                    return self.is_interrupted(code);
                }
                if self.is_worth_another_init() {
                    tracing::info!("GPUs are missing: NVML is initialised again, to look for them");
                    self.health.count(Event::Restart, 1);
                    self.histories.values_mut().for_each(History::interrupted);
                    return End::Init;
                }
            }
            match self.read(&mut gpus, due) {
                Ok(readings) => self.send(readings, false),
                Err(code) => return self.is_interrupted(code),
            }
        }
        let empty = gpus.iter().filter_map(|gpu| Some(self.histories.get(&gpu.identity.uuid)?.reading(gpu)));
        let empty = empty.collect();
        self.send(empty, true);
        End::Stop
    }

    /// Without NVML, until it may be initialised; when that is at once, nobody notices.
    fn wait_for_init(&mut self) -> End {
        if Instant::now() >= self.next_init {
            return End::Init;
        }
        self.miss(&[], "there is no NVML");
        while let Some(due) = self.tick() {
            self.send(Vec::new(), false);
            if due >= self.next_init {
                return End::Init;
            }
        }
        self.send(Vec::new(), true);
        End::Stop
    }

    fn tick(&mut self) -> Option<Instant> {
        let tick = self.ticks.next()?;
        self.health.late(tick.due.elapsed());
        self.health.count(Event::Missed, tick.missed);
        Some(tick.due)
    }

    /// Reads all GPUs: first what is wanted punctually, of each of them.
    ///
    /// # Errors
    /// The driver is gone.
    fn read<'nvml>(&mut self, gpus: &mut Vec<Gpu<'nvml>>, due: Instant) -> Result<Vec<Reading>, Code> {
        let mut steps: Vec<Step<'nvml>> = vec![Gpu::read_fast];
        if self.next_slow.is_none_or(|next| due >= next) {
            self.next_slow = Some(next_point(self.next_slow.unwrap_or(due), self.plan.slow, due));
            steps.push(Gpu::read_slow);
            if self.plan.buffered {
                steps.push(Gpu::read_buffer);
            }
        }
        let mut readings: Vec<_> =
            gpus.iter().map(|gpu| Some(self.histories.get(&gpu.identity.uuid)?.reading(gpu))).collect();
        for step in steps {
            for (gpu, slot) in gpus.iter().zip(&mut readings) {
                let (Some(reading), Some(history)) = (&mut *slot, self.histories.get_mut(&gpu.identity.uuid)) else {
                    continue;
                };
                match step(gpu, history, &mut self.health, reading) {
                    Ok(()) => history.complete(reading),
                    Err(Broken::Driver(code)) => return Err(code),
                    Err(Broken::Gpu(code)) => {
                        *slot = None;
                        self.lose(&gpu.identity.uuid, code);
                    }
                }
            }
        }
        // An instance goes with its GPU.
        self.histories.retain(|_, history| history.parent.as_ref().is_none_or(|parent| !self.lost.contains(parent)));
        gpus.retain(|gpu| self.histories.contains_key(&gpu.identity.uuid) && !self.lost.contains(&gpu.identity.uuid));
        let is_there = |reading: &Reading| gpus.iter().any(|gpu| gpu.identity == reading.identity);
        Ok(readings.into_iter().flatten().filter(is_there).collect())
    }

    fn lose(&mut self, uuid: &str, why: impl fmt::Display) {
        let Some(history) = self.histories.get_mut(uuid) else { return };
        history.interrupted();
        let name = &history.name;
        if history.parent.is_some() {
            tracing::info!("{name} is gone: {why}");
            self.histories.remove(uuid);
        } else if self.lost.insert(uuid.to_owned()) {
            let pace = self.plan.pace.as_secs_f64();
            tracing::warn!("{name} is lost: {why}; it is looked for every {pace} s");
            self.health.count(Event::Lost, 1);
        }
    }

    /// Whatever was there and is not among `gpus` is gone.
    fn miss(&mut self, gpus: &[Gpu<'_>], why: &str) {
        let is_there = |uuid: &str| gpus.iter().any(|gpu| gpu.identity.uuid == uuid);
        let gone: Vec<_> = self.histories.keys().filter(|uuid| !is_there(uuid)).cloned().collect();
        gone.iter().for_each(|uuid| self.lose(uuid, why));
    }

    /// Looks for GPUs that are not among `gpus`, and for instances that have come and gone.
    ///
    /// # Errors
    /// The driver is gone.
    fn look<'nvml>(&mut self, nvml: &'nvml Nvml, gpus: &mut Vec<Gpu<'nvml>>) -> Result<(), Code> {
        self.next_look = Instant::now() + self.plan.pace;
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

    /// Some GPUs come back only to an NVML that is initialised anew, which costs the others a moment: at the first look that
    /// does not find what is gone, the second, the fourth and so on, and at each 64th.
    fn is_worth_another_init(&mut self) -> bool {
        if self.lost.is_empty() && self.unreached.values().all(|code| code.fate() != Fate::Lost) {
            self.fruitless = 0;
            return false;
        }
        self.fruitless = self.fruitless.saturating_add(1);
        self.fruitless.is_power_of_two() || self.fruitless.is_multiple_of(64)
    }

    /// The driver has gone under an NVML that was initialised.
    fn is_interrupted(&mut self, code: Code) -> End {
        tracing::warn!("the driver is gone: {code}; NVML is initialised again");
        self.health.count(Event::Restart, 1);
        self.histories.values_mut().for_each(History::interrupted);
        End::Init
    }

    fn is_blind(&mut self, missing: Missing) {
        self.health.count(Event::Blind(missing.code), 1);
        if self.blind.replace(missing.code) != Some(missing.code) {
            let pace = self.plan.pace.as_secs_f64();
            tracing::warn!("{}; it is tried every {pace} s", Error::from(missing));
        }
    }

    /// A full queue hands a sweep back: no energy and no count is lost with it, the next one has them. The host counts it.
    fn send(&mut self, readings: Vec<Reading>, last: bool) {
        let gpus = readings.iter().filter(|reading| reading.identity.instance.is_none()).count();
        let report = self.health.report(gpus, last);
        let _ = self.out.send_timeout(Sweep { readings, report }, Duration::ZERO);
    }
}

/// The first point of the grid `from, from + period, …` behind `now`.
fn next_point(from: Instant, period: Duration, now: Instant) -> Instant {
    let gone = now.saturating_duration_since(from).as_nanos() / period.as_nanos().max(1);
    from + period * u32::try_from(gone + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_tick_moves_no_grid() {
        let (start, s) = (Instant::now(), Duration::from_secs(1));
        for (ms, next) in [(0, 1), (999, 1), (1000, 2), (1001, 2), (7500, 8)] {
            assert_eq!(next_point(start, s, start + Duration::from_millis(ms)), start + s * next);
        }
    }
}
