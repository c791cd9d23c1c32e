//! The course of a run: NVML is initialised, GPUs are looked for and read, and all of it again where the driver goes.
//!
//! Enters: the ticks of the grid. Leaves: sweeps, each with all the GPUs that are there, so that one that is not in it is gone.
//!
//! Never: ends but by the stop; initialises NVML, or looks for GPUs, more often than once in [`Plan::pace`].

use std::time::{Duration, Instant};

use monitor_plugin_api::{Error, Every, RawSender, tracing};
use nvml_wrapper::Nvml;

use crate::Sweep;
use crate::code::Code;
use crate::gpu::{Gpu, Reading};
use crate::health::{Event, Health};
use crate::history::{Broken, History};
use crate::library::{Library, Missing};
use crate::roll::Roll;

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
    roll: Roll,
    /// Why NVML could not be initialised.
    blind: Option<Code>,
    next_init: Instant,
    next_look: Instant,
    next_slow: Option<Instant>,
}

impl Watch {
    pub(crate) fn new(plan: Plan, ticks: Every, out: RawSender<Sweep>) -> Self {
        let now = Instant::now();
        Watch {
            roll: Roll::new(plan.pace),
            plan,
            ticks,
            out,
            blind: None,
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
        self.roll.miss(&gpus, "NVML does not show it any more");
        while let Some(due) = self.tick() {
            if due >= self.next_look {
                if let Err(code) = self.look(nvml, &mut gpus) {
                    return self.is_interrupted(code);
                }
                if self.roll.is_worth_another_init() {
                    tracing::info!("GPUs are missing: NVML is initialised again, to look for them");
                    self.roll.interrupted();
                    return End::Init;
                }
            }
            match self.read(&mut gpus, due) {
                Ok(readings) => self.send(readings, false),
                Err(code) => return self.is_interrupted(code),
            }
        }
        let empty = gpus.iter().filter_map(|gpu| Some(self.roll.histories.get(&gpu.identity.uuid)?.reading(gpu)));
        let empty = empty.collect();
        self.send(empty, true);
        End::Stop
    }

    /// Without NVML, until it may be initialised; when that is at once, nobody notices.
    fn wait_for_init(&mut self) -> End {
        if Instant::now() >= self.next_init {
            return End::Init;
        }
        self.roll.miss(&[], "there is no NVML");
        while let Some(due) = self.tick() {
            self.send(Vec::new(), false);
            if due >= self.next_init {
                return End::Init;
            }
        }
        self.send(Vec::new(), true);
        End::Stop
    }

    fn look<'nvml>(&mut self, nvml: &'nvml Nvml, gpus: &mut Vec<Gpu<'nvml>>) -> Result<(), Code> {
        self.next_look = Instant::now() + self.plan.pace;
        self.roll.look(nvml, gpus)
    }

    fn tick(&mut self) -> Option<Instant> {
        let tick = self.ticks.next()?;
        self.roll.health.late(tick.due.elapsed());
        self.roll.health.count(Event::Missed, tick.missed);
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
            gpus.iter().map(|gpu| Some(self.roll.histories.get(&gpu.identity.uuid)?.reading(gpu))).collect();
        for step in steps {
            for (gpu, slot) in gpus.iter().zip(&mut readings) {
                let (Some(reading), Some(history)) = (&mut *slot, self.roll.histories.get_mut(&gpu.identity.uuid))
                else {
                    continue;
                };
                match step(gpu, history, &mut self.roll.health, reading) {
                    Ok(()) => history.complete(reading),
                    Err(Broken::Driver(code)) => {
                        let lost = readings.iter().flatten().map(Reading::buffered).sum();
                        self.roll.health.count(Event::SampleInterrupted, lost);
                        return Err(code);
                    }
                    Err(Broken::Gpu(code)) => {
                        *slot = None;
                        self.roll.lose(&gpu.identity.uuid, code);
                    }
                }
            }
        }
        // An instance goes with its GPU.
        self.roll
            .histories
            .retain(|_, history| history.parent.as_ref().is_none_or(|parent| !self.roll.lost.contains(parent)));
        gpus.retain(|gpu| {
            self.roll.histories.contains_key(&gpu.identity.uuid) && !self.roll.lost.contains(&gpu.identity.uuid)
        });
        let is_there = |reading: &Reading| gpus.iter().any(|gpu| gpu.identity == reading.identity);
        Ok(readings.into_iter().flatten().filter(is_there).collect())
    }

    /// The driver has gone under an NVML that was initialised.
    fn is_interrupted(&mut self, code: Code) -> End {
        tracing::warn!("the driver is gone: {code}; NVML is initialised again");
        self.roll.interrupted();
        End::Init
    }

    fn is_blind(&mut self, missing: Missing) {
        self.roll.health.count(Event::Blind(missing.code), 1);
        if self.blind.replace(missing.code) != Some(missing.code) {
            let pace = self.plan.pace.as_secs_f64();
            tracing::warn!("{}; it is tried every {pace} s", Error::from(missing));
        }
    }

    /// A full queue hands a sweep back: no energy and no count is lost with it, the next one has them. The host counts it, and
    /// the driver's own samples are counted here.
    fn send(&mut self, readings: Vec<Reading>, last: bool) {
        let gpus = readings.iter().filter(|reading| reading.identity.instance.is_none()).count();
        let report = self.roll.health.report(gpus, last);
        if let Err(refused) = self.out.send_timeout(Sweep { readings, report }, Duration::ZERO) {
            let lost = refused.into_inner().readings.iter().map(Reading::buffered).sum();
            self.roll.health.count(Event::SampleRefused, lost);
        }
    }
}

/// The first point of the grid `from, from + period, …` behind `now`.
fn next_point(from: Instant, period: Duration, now: Instant) -> Instant {
    let gone = now.saturating_duration_since(from).as_nanos() / period.as_nanos().max(1);
    from + period * u32::try_from(gone + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use monitor_plugin_api::testing::Harness;
    use monitor_plugin_api::{MonitorImpl, RawReceiver, RecordSender, Stop};

    use super::*;
    use crate::field::{Field, Fields, Key, Method};
    use crate::gpu::Identity;

    /// A raw queue with room for one sweep, and nobody who takes it.
    struct Stuck;

    impl MonitorImpl for Stuck {
        type Raw = Sweep;

        fn new() -> Result<Self, Error> {
            Ok(Stuck)
        }

        fn get_power(&self, out: RawSender<Sweep>, interval: Duration, stop: Stop) -> Result<(), Error> {
            let (slow, pace, library) = (interval, interval, Library(String::new()));
            let mut watch = Watch::new(Plan { library, slow, pace, buffered: true }, stop.every(interval), out);
            let reading = || {
                let identity = Identity { gpu: 0, uuid: "GPU-7".into(), model: "Player".into(), instance: None };
                let buffered = Key::Power(Method::Buffered, Field::PowerSamples);
                let values = vec![(Key::Energy, 1.0, 9), (buffered, 2.0, 5), (buffered, 3.0, 8)];
                Reading { identity: Arc::new(identity), unsupported: Fields::default(), began_ms: None, values }
            };
            (0..3).for_each(|_| watch.send(vec![reading(), reading()], false));
            let counted = watch.roll.health.report(0, true).map(|report| report.counts).unwrap_or_default();
            // The first sweep has found room.
            assert!(counted.contains(&(Event::SampleRefused, 8)), "{counted:?}");
            stop.wait(Duration::MAX);
            Ok(())
        }

        fn process_data(&self, _: RawReceiver<Sweep>, _: RecordSender, stop: Stop) -> Result<(), Error> {
            stop.wait(Duration::MAX);
            Ok(())
        }
    }

    #[test]
    fn the_driver_s_samples_in_a_sweep_that_is_refused_are_counted() {
        Harness::new::<Stuck>().raw_queue_size(1).run_for(Duration::from_millis(100)).assert_ok();
    }

    #[test]
    fn a_late_tick_moves_no_grid() {
        let (start, s) = (Instant::now(), Duration::from_secs(1));
        for (ms, next) in [(0, 1), (999, 1), (1000, 2), (1001, 2), (7500, 8)] {
            assert_eq!(next_point(start, s, start + Duration::from_millis(ms)), start + s * next);
        }
    }
}
