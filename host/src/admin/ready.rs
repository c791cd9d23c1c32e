//! Whether a run delivers.
//!
//! Enters: [`Facts`], and how old things may be. Leaves: yes or no, in a line that says which condition fails. Pure.

use std::time::Duration;

use crate::metrics::Facts;
use crate::supervise::status::State;

/// READY_MAX_AGE_S where it is unset: three pushes, but a minute at least.
pub fn default_max_age(push_interval: Duration) -> Duration {
    (3 * push_interval).max(Duration::from_secs(60))
}

/// What fails, in words; nothing when the run delivers.
pub fn failing(facts: &Facts, max_age: Duration) -> Vec<String> {
    let mut failing = Vec::new();
    if facts.is_ending {
        failing.push("the run is ending".to_owned());
    }
    match facts.plugin.0 {
        State::Running => {}
        State::Stalled => failing.push("the plugin stalls (PLUGIN_STALL_S)".to_owned()),
        State::Down => failing.push("the plugin does not run".to_owned()),
    }
    let at_most = format!("at most {} s (READY_MAX_AGE_S)", max_age.as_secs_f64());
    match facts.delivery_age() {
        None => failing.push("nothing was delivered yet".to_owned()),
        Some(age) if age > max_age => {
            failing.push(format!("the last delivery was {:.1} s ago, {at_most}", age.as_secs_f64()));
        }
        Some(_) => {}
    }
    if let Some(age) = facts.oldest_pending_age().filter(|age| *age > max_age) {
        failing.push(format!("a sample of {:.1} s ago waits to be delivered, {at_most}", age.as_secs_f64()));
    }
    failing
}

/// The whole judgement, in a line.
pub fn line(facts: &Facts, max_age: Duration) -> Result<String, String> {
    let failing = failing(facts, max_age);
    if failing.is_empty() {
        let age = facts.delivery_age().unwrap_or_default();
        return Ok(format!("ready: the last delivery was {:.1} s ago", age.as_secs_f64()));
    }
    Err(format!("not ready: {}", failing.join("; ")))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::metrics::tests::facts;
    use crate::send::books::Delivery;

    const MAX_AGE: Duration = Duration::from_secs(60);

    fn delivering() -> Facts {
        let mut facts = facts();
        facts.plugin.0 = State::Running;
        facts.pushes.last_delivery = Some(Delivery { at: facts.now, wall_ms: facts.now_ms });
        facts.kept.oldest_ms = Some(facts.now_ms - 1000);
        facts
    }

    #[test]
    fn each_condition_fails_alone() {
        assert_eq!(line(&delivering(), MAX_AGE).unwrap(), "ready: the last delivery was 0.0 s ago");
        let changed = |change: fn(&mut Facts)| {
            let mut facts = delivering();
            change(&mut facts);
            line(&facts, MAX_AGE).unwrap_err()
        };
        assert_eq!(changed(|f| f.is_ending = true), "not ready: the run is ending");
        assert_eq!(changed(|f| f.plugin.0 = State::Down), "not ready: the plugin does not run");
        assert_eq!(changed(|f| f.plugin.0 = State::Stalled), "not ready: the plugin stalls (PLUGIN_STALL_S)");
        assert_eq!(changed(|f| f.pushes.last_delivery = None), "not ready: nothing was delivered yet");
        assert_eq!(
            changed(|f| f.now += Duration::from_millis(60_100)),
            "not ready: the last delivery was 60.1 s ago, at most 60 s (READY_MAX_AGE_S)"
        );
        assert_eq!(
            changed(|f| f.now_ms += 59_200),
            "not ready: a sample of 60.2 s ago waits to be delivered, at most 60 s (READY_MAX_AGE_S)"
        );
        assert!(changed(|f| (f.is_ending, f.pushes.last_delivery) = (true, None)).contains("ending; nothing was"));
    }

    #[test]
    fn what_lies_in_the_future_is_not_old() {
        let mut facts = delivering();
        facts.kept.oldest_ms = Some(facts.now_ms + 3_600_000);
        facts.pushes.last_delivery = Some(Delivery { at: Instant::now() + MAX_AGE, wall_ms: 0 });
        assert!(line(&facts, MAX_AGE).is_ok());
    }

    #[test]
    fn a_minute_at_least() {
        let seconds = |push| default_max_age(Duration::from_secs(push)).as_secs();
        assert_eq!([4, 20, 21, 300].map(seconds), [60, 60, 63, 900]);
    }
}
