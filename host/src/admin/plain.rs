//! Whether a run delivers, in sentences for people.
//!
//! Enters: [`Facts`], and what the run was told. Leaves: one sentence that stands still as long as nothing changes, so that it can
//! be read out; beside it what changes all the time, and where to look. The judgement is that of [`ready`]. Pure.
//!
//! Never: says that something is lost that is not, or the other way round.

use std::time::Duration;

use serde::Serialize;

use super::Known;
use super::ready;
use crate::keep::Look;
use crate::ledger::Place;
use crate::metrics::Facts;
use crate::send::books::{Ending, Failure};
use crate::supervise::status::State;

/// The judgement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Plain {
    /// As `/ready` has it.
    pub(super) delivers: bool,
    /// It delivers, but the last request failed or was refused.
    pub(super) is_troubled: bool,
    /// Without a number that changes by itself.
    pub(super) sentence: String,
    /// How long ago, how much.
    pub(super) details: String,
    /// What to look at, one after the other.
    pub(super) look_at: Vec<&'static str>,
}

impl Plain {
    /// The plugin's `new()` has not returned yet.
    pub(super) fn being_made() -> Self {
        Plain {
            delivers: false,
            is_troubled: false,
            sentence: "The plugin is being made: nothing is collected yet.".to_owned(),
            details: String::new(),
            look_at: vec!["If this lasts, its new() hangs: the log says what it waits for."],
        }
    }

    /// The judgement of these facts.
    pub(super) fn of(facts: &Facts, known: &Known) -> Self {
        let delivers = ready::failing(facts, known.max_age).is_empty();
        let failure = current_failure(facts);
        let (sentence, look_at) = if delivers { well(facts, known, failure) } else { amiss(facts, known, failure) };
        Plain { delivers, is_troubled: delivers && failure.is_some(), sentence, details: details(facts), look_at }
    }
}

type Told = (String, Vec<&'static str>);

fn well(facts: &Facts, known: &Known, failure: Option<&Failure>) -> Told {
    let failure = failure.map(|failure| (failure.ending, to_the_point(&failure.why)));
    match failure {
        Some((Ending::Refused, why)) => {
            (format!("The receiver refused the last push, its samples are lost: {why}."), advice(why))
        }
        Some((_, why)) => {
            let waits = match facts.kept {
                Look { spool: Some(_), .. } => "Samples wait in the spool.",
                Look { bounds, .. } if bounds.max_batches > 0 && bounds.max_bytes > 0 => "Samples wait in memory.",
                _ => "Samples are lost: MAX_RETRY_BATCHES or MAX_RETRY_BYTES lets none wait.",
            };
            (format!("The last push did not arrive: {why}. {waits}"), advice(why))
        }
        None if known.is_dry_run => {
            ("Samples are printed: this is a dry run, nothing is pushed.".to_owned(), Vec::new())
        }
        None => ("Samples arrive at the receiver.".to_owned(), Vec::new()),
    }
}

/// The first thing that is wrong on the way of a sample is what the rest follows from.
fn amiss(facts: &Facts, known: &Known, failure: Option<&Failure>) -> Told {
    if facts.is_ending {
        return ("The run is ending: what still waits is pushed a last time.".to_owned(), Vec::new());
    }
    match facts.plugin.0 {
        State::Running => {}
        State::Stalled => {
            let look_at = vec![
                "The sensor that the plugin reads: it gave no sign of life for PLUGIN_STALL_S.",
                "PLUGIN_RESTART: on-failure starts such a plugin again.",
            ];
            return ("The plugin hangs: no samples come.".to_owned(), look_at);
        }
        State::Down => {
            let look_at = vec![
                "The last errors below: they say how it ended, and when it is started again.",
                "monitor-host check: it runs the plugin alone and tells what is wrong with it.",
            ];
            return ("The plugin does not run: no samples come.".to_owned(), look_at);
        }
    }
    if let Some(failure) = failure {
        let why = to_the_point(&failure.why);
        return (format!("Samples do not arrive: {why}."), advice(why));
    }
    let nothing_came = facts.ledger.collected() == 0;
    let waits_for = match facts.delivery_age() {
        None if nothing_came => "Nothing was delivered yet: the plugin has sent no samples so far.",
        None => "Nothing was delivered yet: the first push is still to come.",
        Some(_) if facts.oldest_pending_age().is_some_and(|age| age > known.max_age) => {
            return (
                "Samples arrive late: what waits is older than READY_MAX_AGE_S.".to_owned(),
                vec![
                    "Whether less waits from minute to minute: then it catches up by itself.",
                    "The clock of this machine, and the timestamps that the plugin gives.",
                ],
            );
        }
        Some(_) => "Nothing was delivered for longer than READY_MAX_AGE_S: no samples come.",
    };
    let mut look_at = vec!["The plugin's counts below: does get_power take readings, does process_data pass them on?"];
    if facts.delivery_age().is_none() && !nothing_came {
        look_at = vec!["PUSH_INTERVAL_S: so long after the start the first push comes, at most."];
    }
    (waits_for.to_owned(), look_at)
}

/// Why the last request did not deliver, unless one after it did.
fn current_failure(facts: &Facts) -> Option<&Failure> {
    let failure = facts.pushes.last_failure.as_ref()?;
    facts.pushes.last_delivery.is_none_or(|delivery| failure.at > delivery.at).then_some(failure)
}

/// Without what the library for requests says of itself before it comes to the point.
fn to_the_point(why: &str) -> &str {
    let why = why.strip_prefix("error sending request: ").unwrap_or(why);
    why.strip_prefix("client error (Connect): ").unwrap_or(why)
}

/// By the beginning of what the sender said.
fn advice(why: &str) -> Vec<&'static str> {
    let status: Option<u16> = why.strip_prefix("HTTP ").and_then(|rest| rest.get(..3)?.parse().ok());
    let first = match status {
        Some(401 | 403) => "The credentials: REMOTE_WRITE_USERNAME, REMOTE_WRITE_BEARER_TOKEN, REMOTE_WRITE_HEADERS.",
        Some(404 | 405) => "REMOTE_WRITE_URL: is its path the receiver's? Prometheus takes no writes without its flag.",
        Some(413) => "BATCH_MAX_BYTES and BATCH_MAX_SAMPLES: the receiver takes less in one request.",
        Some(429) => "The receiver's limits: it asks for less, and is asked again later.",
        Some(400..=499) => "The receiver's words: it refuses what it got, and would again.",
        Some(500..=599) => "The receiver's own log: it fails. It is asked again until it takes the samples.",
        Some(_) => "REMOTE_WRITE_URL: what answers there is no receiver.",
        None => "REMOTE_WRITE_URL: is that the receiver, does it run, can it be reached from here?",
    };
    let second = match status {
        Some(400..=499) if status != Some(429) => "The dropped samples below: a refused batch is not sent again.",
        _ => "How much waits below, and the bounds of it: MAX_RETRY_BYTES, or SPOOL_MAX_BYTES with SPOOL_DIR.",
    };
    vec![first, second]
}

fn details(facts: &Facts) -> String {
    let mut parts = Vec::new();
    match facts.delivery_age() {
        Some(age) => parts.push(format!("Last delivery {} ago", rough(age))),
        None => parts.push("No delivery so far".to_owned()),
    }
    let samples =
        |place| facts.ledger.places.iter().find(|(same, _)| *same == place).map_or(0, |(_, samples)| *samples);
    let waiting = samples(Place::Kept) + samples(Place::InFlight);
    if let Some(age) = facts.oldest_pending_age().filter(|_| waiting > 0) {
        let waiting = grouped(waiting);
        parts.push(format!("{waiting} samples wait, the oldest is {} old", rough(age)));
    }
    parts.join("; ") + "."
}

/// `12,345`.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn rough(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::facts;
    use crate::send::books::Delivery;

    fn known() -> Known {
        Known { max_age: Duration::from_secs(60), ..Known::default() }
    }

    fn delivering() -> Facts {
        let mut facts = facts();
        facts.plugin.0 = State::Running;
        facts.pushes.last_delivery = Some(Delivery { at: facts.now, wall_ms: facts.now_ms });
        facts.kept.oldest_ms = None;
        facts
    }

    fn failed(facts: &mut Facts, why: &str) {
        let at = facts.now + Duration::from_secs(1);
        facts.pushes.last_failure = Some(Failure { at, ending: Ending::Failed, why: why.into() });
        facts.now = at + Duration::from_secs(1);
    }

    #[test]
    fn each_state_has_its_sentence() {
        let told = |change: fn(&mut Facts)| {
            let mut facts = delivering();
            change(&mut facts);
            let plain = Plain::of(&facts, &known());
            assert_eq!(plain.delivers, ready::failing(&facts, known().max_age).is_empty());
            assert!(plain.delivers || facts.is_ending || !plain.look_at.is_empty(), "{plain:?}");
            (plain.delivers, plain.is_troubled, plain.sentence)
        };
        let no = |sentence: &str| (false, false, sentence.to_owned());
        assert_eq!(told(|_| {}), (true, false, "Samples arrive at the receiver.".to_owned()));
        assert_eq!(
            told(|f| failed(f, "HTTP 503 Service Unavailable: busy")),
            (
                true,
                true,
                "The last push did not arrive: HTTP 503 Service Unavailable: busy. Samples wait in the spool.".into()
            )
        );
        let wait = |sentence: &str| (true, true, format!("The last push did not arrive: refused. {sentence}"));
        let in_memory = |f: &mut Facts| (failed(f, "refused"), f.kept.spool = None).0;
        assert_eq!(told(in_memory), wait("Samples wait in memory."));
        let without_retry = |f: &mut Facts| (failed(f, "refused"), f.kept.spool = None, f.kept.bounds.max_bytes = 0).0;
        let lost = "Samples are lost: MAX_RETRY_BATCHES or MAX_RETRY_BYTES lets none wait.";
        assert_eq!(told(without_retry), wait(lost));
        let refused = |f: &mut Facts| {
            failed(f, "HTTP 400 Bad Request: no");
            f.pushes.last_failure.as_mut().unwrap().ending = Ending::Refused;
        };
        let sentence = "The receiver refused the last push, its samples are lost: HTTP 400 Bad Request: no.";
        assert_eq!(told(refused), (true, true, sentence.to_owned()));
        let outage = |f: &mut Facts| {
            failed(f, "error sending request: client error (Connect): tcp connect error: Connection refused");
            f.now += Duration::from_secs(61);
        };
        assert_eq!(told(outage), no("Samples do not arrive: tcp connect error: Connection refused."));
        assert_eq!(told(|f| f.is_ending = true), no("The run is ending: what still waits is pushed a last time."));
        assert_eq!(told(|f| f.plugin.0 = State::Down), no("The plugin does not run: no samples come."));
        assert_eq!(told(|f| f.plugin.0 = State::Stalled), no("The plugin hangs: no samples come."));
        let first = |f: &mut Facts| f.pushes.last_delivery = None;
        assert_eq!(told(first), no("Nothing was delivered yet: the plugin has sent no samples so far."));
        let late = |f: &mut Facts| f.kept.oldest_ms = Some(f.now_ms - 61_000);
        assert_eq!(told(late), no("Samples arrive late: what waits is older than READY_MAX_AGE_S."));
        let silent = |f: &mut Facts| f.now += Duration::from_secs(61);
        assert_eq!(told(silent), no("Nothing was delivered for longer than READY_MAX_AGE_S: no samples come."));
    }

    #[test]
    fn a_failure_before_the_last_delivery_is_over() {
        let mut facts = delivering();
        failed(&mut facts, "HTTP 503");
        facts.pushes.last_delivery = Some(Delivery { at: facts.now, wall_ms: facts.now_ms });
        assert_eq!(Plain::of(&facts, &known()).sentence, "Samples arrive at the receiver.");
        assert!(Plain::of(&facts, &Known { is_dry_run: true, ..known() }).sentence.contains("dry run"));
    }

    #[test]
    fn the_sentence_stands_still_and_the_details_do_not() {
        let mut facts = delivering();
        let before = Plain::of(&facts, &known());
        facts.now += Duration::from_secs(5);
        let after = Plain::of(&facts, &known());
        assert_eq!(before.sentence, after.sentence);
        assert_eq!((&*before.details, &*after.details), ("Last delivery 0 s ago.", "Last delivery 5 s ago."));
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([119, 120, 7199, 7200].map(|s| rough(Duration::from_secs(s))), ["119 s", "2 min", "119 min", "2 h"]);
    }

    #[test]
    fn advice_is_by_what_was_answered() {
        for (why, word) in [
            ("HTTP 401 Unauthorized: no", "credentials"),
            ("HTTP 404 Not Found: x", "path"),
            ("HTTP 413 Payload Too Large: x", "BATCH_MAX_BYTES"),
            ("HTTP 429 Too Many Requests: x", "limits"),
            ("HTTP 400 Bad Request: x", "refuses"),
            ("HTTP 502 Bad Gateway: x", "asked again"),
            ("HTTP 302 Found: x", "no receiver"),
            ("error sending request: connection refused", "can it be reached"),
            ("HTTP", "can it be reached"),
        ] {
            assert!(advice(why)[0].contains(word), "{why}: {:?}", advice(why));
        }
    }
}
