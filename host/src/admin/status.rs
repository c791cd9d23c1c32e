//! `/status.json`: what the status page shows of the run.
//!
//! Enters: [`Facts`], what the run was told, the last errors. Leaves: one JSON object. Counts are totals since the start; who wants
//! rates compares two answers.
//!
//! Never: holds a secret; is longer than some 64 KiB, whatever the plugin and the receiver say.

use serde::Serialize;

use super::Known;
use super::plain::Plain;
use crate::config::Shown;
use crate::ledger::{Place, Reason};
use crate::log::Trouble;
use crate::metrics::Facts;
use crate::supervise::status::State;

/// The longest name and version of a plugin that are shown, in characters.
const MAX_NAME: usize = 200;

/// The whole answer.
#[derive(Debug, Serialize)]
pub(super) struct Status<'a> {
    now_ms: i64,
    host: Host<'a>,
    delivery: Plain,
    /// None until the plugin is made, as what follows.
    plugin: Option<Plugin>,
    path: Option<Path>,
    series: Option<Filled>,
    errors: Vec<Trouble>,
    settings: &'a [Shown],
}

#[derive(Debug, Serialize)]
struct Host<'a> {
    version: &'static str,
    instance: &'a str,
    began_ms: i64,
    receiver_url: &'a str,
    is_dry_run: bool,
    is_ending: bool,
}

#[derive(Debug, Serialize)]
struct Plugin {
    name: String,
    version: String,
    api: String,
    is_isolated: bool,
    /// `running`, `stalled`, or `down`.
    state: &'static str,
    since_ms: Option<i64>,
    restarts: u64,
    stalls: u64,
}

/// The stages in the order of the path.
#[derive(Debug, Serialize)]
struct Path {
    get_power: GetPower,
    raw_queue: Filled,
    process_data: ProcessData,
    processed_queue: Processed,
    batch: Batch,
    kept: Kept,
    receiver: Receiver,
    dropped: Dropped,
}

#[derive(Debug, Serialize)]
struct GetPower {
    /// That the raw queue took.
    readings: u64,
    /// That it did not take, for want of room.
    refused: u64,
}

#[derive(Debug, Serialize)]
struct Filled {
    items: u64,
    capacity: u64,
}

#[derive(Debug, Serialize)]
struct ProcessData {
    readings: u64,
    /// Sends that the processed queue did not take.
    refused_sends: u64,
}

#[derive(Debug, Serialize)]
struct Processed {
    items: u64,
    capacity: u64,
    samples: u64,
}

#[derive(Debug, Serialize)]
struct Batch {
    samples: u64,
}

#[derive(Debug, Serialize)]
struct Kept {
    samples: u64,
    /// In memory.
    batches: u64,
    bytes: u64,
    max_batches: u64,
    max_bytes: u64,
    spool: Option<Spool>,
    oldest_age_ms: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Spool {
    batches: u64,
    bytes: u64,
    max_bytes: u64,
}

#[derive(Debug, Serialize)]
struct Receiver {
    /// Delivered.
    samples: u64,
    in_flight: u64,
    delivered: u64,
    refused: u64,
    failed: u64,
    retries: u64,
    body_bytes: u64,
    last_delivery_ms: Option<i64>,
    remote_write_version: u64,
}

#[derive(Debug, Serialize)]
struct Dropped {
    samples: u64,
    /// Those that occurred.
    reasons: Vec<(&'static str, u64)>,
}

impl<'a> Status<'a> {
    /// The answer; without facts as long as the plugin is being made.
    pub(super) fn of(facts: Option<&Facts>, known: &'a Known, errors: Vec<Trouble>, now_ms: i64) -> Self {
        Status {
            now_ms,
            host: Host {
                version: env!("CARGO_PKG_VERSION"),
                instance: &known.instance,
                began_ms: facts.map_or(known.began_ms, |facts| facts.began_ms),
                receiver_url: &known.receiver_url,
                is_dry_run: known.is_dry_run,
                is_ending: facts.is_some_and(|facts| facts.is_ending),
            },
            delivery: facts.map_or_else(Plain::being_made, |facts| Plain::of(facts, known)),
            plugin: facts.map(plugin),
            path: facts.map(path),
            series: facts.map(|facts| Filled { items: facts.series as u64, capacity: facts.max_series as u64 }),
            errors,
            settings: &known.settings,
        }
    }
}

fn plugin(facts: &Facts) -> Plugin {
    let short = |text: &str| text.chars().take(MAX_NAME).collect();
    let (state, books) = facts.plugin;
    Plugin {
        name: short(&facts.about.name),
        version: short(&facts.about.version),
        api: short(&facts.about.api),
        is_isolated: facts.about.isolation != "off",
        state: match state {
            State::Running => "running",
            State::Stalled => "stalled",
            State::Down => "down",
        },
        since_ms: facts.plugin_since_ms,
        restarts: books.restarts,
        stalls: books.stalls,
    }
}

fn path(facts: &Facts) -> Path {
    let raw = facts.plugin.1.raw;
    let (ledger, kept, pushes) = (&facts.ledger, &facts.kept, &facts.pushes);
    let at = |place| ledger.places.iter().find(|(same, _)| *same == place).map_or(0, |(_, samples)| *samples);
    let [(_, delivered), (_, refused), (_, failed), _] = pushes.endings;
    let reason = |(reason, samples): &(Reason, u64)| (*samples > 0).then_some((reason.name(), *samples));
    Path {
        get_power: GetPower { readings: raw.sent, refused: raw.refused },
        raw_queue: Filled { items: raw.sent.saturating_sub(raw.received), capacity: raw.capacity },
        process_data: ProcessData { readings: raw.received, refused_sends: ledger.refused_sends },
        processed_queue: Processed {
            items: facts.processed.items as u64,
            capacity: facts.processed.capacity as u64,
            samples: at(Place::Queued),
        },
        batch: Batch { samples: at(Place::Batched) },
        kept: Kept {
            samples: at(Place::Kept),
            batches: kept.batches,
            bytes: kept.bytes,
            max_batches: kept.bounds.max_batches as u64,
            max_bytes: kept.bounds.max_bytes as u64,
            spool: kept.spool.map(|spool| Spool {
                batches: spool.batches,
                bytes: spool.disk_bytes,
                max_bytes: spool.max_bytes,
            }),
            oldest_age_ms: facts.oldest_pending_age().map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        },
        receiver: Receiver {
            samples: ledger.delivered,
            in_flight: at(Place::InFlight),
            delivered,
            refused,
            failed,
            retries: pushes.retries,
            body_bytes: pushes.body_bytes,
            last_delivery_ms: pushes.last_delivery.map(|delivery| delivery.wall_ms),
            remote_write_version: facts.remote_write_version,
        },
        dropped: Dropped { samples: ledger.dropped(), reasons: ledger.dropped.iter().filter_map(reason).collect() },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::metrics::tests::facts;
    use crate::send::books::Ending;

    #[test]
    fn every_count_is_that_of_its_stage() {
        let mut facts = facts();
        facts.plugin.1.raw.sent = 9;
        facts.plugin.1.raw.received = 7;
        let numbers =
            |place| [Place::Queued, Place::Batched, Place::Kept, Place::InFlight].iter().position(|p| *p == place);
        facts.ledger.places.iter_mut().for_each(|(place, samples)| *samples = 11 + numbers(*place).unwrap() as u64);
        facts.ledger.dropped[0].1 = 5;
        facts.pushes.endings.iter_mut().for_each(|(ending, count)| *count = 21 + *ending as u64);
        let known = Known { instance: "<b>h1".to_owned(), ..Known::default() };
        let status = serde_json::to_value(Status::of(Some(&facts), &known, Vec::new(), 5)).unwrap();
        let at = |pointer: &str| status.pointer(pointer).cloned().unwrap_or(Value::from("nothing"));
        for (pointer, expected) in [
            ("/now_ms", 5),
            ("/path/get_power/readings", 9),
            ("/path/raw_queue/items", 2),
            ("/path/process_data/readings", 7),
            ("/path/processed_queue/items", 3),
            ("/path/processed_queue/samples", 11),
            ("/path/batch/samples", 12),
            ("/path/kept/samples", 13),
            ("/path/kept/spool/bytes", 4096),
            ("/path/receiver/in_flight", 14),
            ("/path/receiver/delivered", 21 + Ending::Delivered as i64),
            ("/path/receiver/refused", 21 + Ending::Refused as i64),
            ("/path/receiver/failed", 21 + Ending::Failed as i64),
            ("/path/dropped/samples", 5),
            ("/path/dropped/reasons/0/1", 5),
            ("/series/items", 5),
        ] {
            assert_eq!(at(pointer), expected, "{pointer}");
        }
        assert_eq!((at("/host/instance"), at("/plugin/state")), ("<b>h1".into(), "down".into()));
        assert_eq!(at("/path/dropped/reasons/1"), "nothing", "the others did not occur");
    }

    #[test]
    fn without_a_plugin_there_is_an_answer() {
        let known = Known::default();
        let status = serde_json::to_value(Status::of(None, &known, Vec::new(), 5)).unwrap();
        assert_eq!((&status["plugin"], &status["delivery"]["delivers"]), (&Value::Null, &Value::Bool(false)));
    }
}
