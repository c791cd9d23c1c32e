//! Whether the threads of the path that are ours still move.
//!
//! Enters: the word of a stage, before it waits, by when it will move again. Leaves: the stage that has not kept it. Pure,
//! but for one atomic number.
//!
//! Alive means that batching comes back at its next deadline and the sender by the end of its request. Not that anything
//! is delivered: an outage must restart nothing, for a restart loses what waits in memory. Nor that the plugin
//! speaks, which is PLUGIN_STALL_S's to say. A stage that panics ends the run, which needs no watchdog.
//!
//! Never: wakes anybody; costs a stage more than a store each time it waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// It waits for work, and nobody knows when that comes.
const AT_REST: u64 = u64::MAX;

/// The word of one stage. At first it rests.
#[derive(Debug)]
pub struct Pulse {
    origin: Instant,
    moves_by_ns: AtomicU64,
}

impl Pulse {
    /// It moves again by this moment.
    pub fn moves_by(&self, moment: Instant) {
        // Centuries fit.
        let ns = moment.saturating_duration_since(self.origin).as_nanos();
        self.moves_by_ns.store(u64::try_from(ns).unwrap_or(AT_REST), Relaxed);
    }

    /// It waits for work.
    pub fn rests(&self) {
        self.moves_by_ns.store(AT_REST, Relaxed);
    }

    /// How long ago it should have moved; zero if it keeps its word.
    pub fn late(&self, now: Instant) -> Duration {
        match self.moves_by_ns.load(Relaxed) {
            AT_REST => Duration::ZERO,
            ns => now.saturating_duration_since(self.origin).saturating_sub(Duration::from_nanos(ns)),
        }
    }
}

impl Default for Pulse {
    fn default() -> Self {
        Pulse { origin: Instant::now(), moves_by_ns: AtomicU64::new(AT_REST) }
    }
}

/// A stage and its word.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Its thread's name.
    pub name: &'static str,
    /// Its word.
    pub pulse: Arc<Pulse>,
}

/// The stage that is the latest, if it is later than `grace`, and how late it is.
pub fn latest(stages: &[Stage], grace: Duration, now: Instant) -> Option<(&'static str, Duration)> {
    let late = stages.iter().map(|stage| (stage.name, stage.pulse.late(now)));
    late.max_by_key(|(_, late)| *late).filter(|(_, late)| *late > grace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_not_kept_its_word_is_late_and_the_latest_is_named() {
        let stages = ["batching", "sender"].map(|name| Stage { name, pulse: Arc::default() });
        let [batching, sender] = &stages;
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let latest =
            |after: Duration| latest(&stages, second, start + after).map(|(name, late)| (name, late.as_secs()));

        // Both rest, for however long.
        assert_eq!(latest(1_000_000 * second), None);
        batching.pulse.moves_by(start + 10 * second);
        assert_eq!(latest(Duration::ZERO), None);
        assert_eq!(latest(11 * second), None);
        assert_eq!(latest(13 * second), Some(("batching", 3)));
        sender.pulse.moves_by(start + 5 * second);
        assert_eq!(latest(13 * second), Some(("sender", 8)));
        // Whoever moves again is no more late.
        sender.pulse.rests();
        assert_eq!(latest(13 * second), Some(("batching", 3)));
        batching.pulse.moves_by(start + 14 * second);
        assert_eq!(latest(13 * second), None);
    }

    #[test]
    fn the_past_and_the_far_future_are_moments_too() {
        let pulse = Pulse::default();
        let now = Instant::now();
        pulse.moves_by(now.checked_sub(Duration::from_secs(60)).unwrap_or(now));
        assert!(pulse.late(now + Duration::from_secs(1)) >= Duration::from_millis(900));
        pulse.moves_by(now + Duration::from_secs(86_400 * 365));
        assert_eq!(pulse.late(now), Duration::ZERO);
    }
}
