//! Each fault has its finding, and a good plugin has none.

use std::collections::BTreeMap;

use monitor_plugin_api::abi::RawQueueStats;

use super::*;
use crate::check::facts::{OfSeries, Seen, Threads};
use crate::ledger::{Ledger, Origin, Place};
use crate::receive::decode::Metadata;

const MS: fn(u64) -> Duration = Duration::from_millis;

/// What a fault does to the facts of a good plugin.
type Fault<'a> = (&'a str, &'a dyn Fn(&mut Facts));

/// Of a plugin with which nothing is wrong.
fn good() -> Facts {
    let ledger = Ledger::default();
    ledger.collect(Origin::Plugin, Place::Batched, 30);
    ledger.deliver(Place::Batched, 30);
    let of_series = OfSeries { samples: 30, first_ms: 0, last_ms: 2900, longest_gap_ms: 100 };
    let [kind, help, unit] = ["gauge", "A help.", ""].map(str::to_owned);
    let metadata = Metadata { metric: "m".into(), kind, help, unit };
    Facts {
        start: MS(1),
        ran: MS(3000),
        interrupted: false,
        get_power: Worker::Stopped(MS(1)),
        process_data: Worker::Stopped(MS(1)),
        drop: Dropped::After(MS(1)),
        threads: Some(Threads { before: 3, after: 3, left: vec![], may_stay: false }),
        raw: RawQueueStats { sent: 30, received: 30, refused: 0, capacity: 1000 },
        books: ledger.snapshot(),
        sends: 30,
        firsts: BTreeMap::new(),
        seen: Seen {
            samples: 30,
            series: 1,
            busiest: Some(("m".into(), of_series)),
            metadata: [("m".into(), Some(metadata))].into(),
            ..Seen::default()
        },
    }
}

fn kinds(all: &[Finding]) -> Vec<&'static str> {
    all.iter().map(|finding| finding.kind).collect()
}

#[test]
fn of_a_good_one_there_is_nothing_to_say() {
    assert_eq!(problems(&good()), []);
    assert_eq!(hints(&good(), MS(100), false), []);
}

#[test]
fn threads_may_stay_where_the_manifest_says_so() {
    let mut facts = good();
    let threads = facts.threads.as_mut().unwrap();
    (threads.left, threads.may_stay) = (vec!["worker".into()], true);
    assert_eq!((kinds(&problems(&facts)), kinds(&hints(&facts, MS(100), false))), (vec![], vec!["threads_stay"]));
}

#[test]
fn every_fault_is_a_problem_with_its_own_name() {
    let late = |facts: &mut Facts| facts.get_power = Worker::Late(MS(4000));
    let lost = |facts: &mut Facts, reason: Reason| facts.books.dropped[reason as usize].1 = 2;
    let faults: [Fault<'_>; 17] = [
        ("returned", &|facts| facts.get_power = Worker::Returned),
        ("failed", &|facts| facts.get_power = Worker::Failed("no sensor".into())),
        ("panicked", &|facts| facts.process_data = Worker::Panicked("panicked at x".into())),
        ("ignored_stop", &late),
        ("hung_at_end", &|facts| facts.drop = Dropped::Late(MS(4000))),
        ("leaked_threads", &|facts| facts.threads.as_mut().unwrap().left = vec!["poll".into()]),
        ("nothing_sent", &|facts| facts.books.collected.clear()),
        ("dropped", &|facts| lost(facts, Reason::InvalidJson)),
        ("dropped", &|facts| lost(facts, Reason::Duplicate)),
        ("refused_sends", &|facts| facts.books.refused_sends = 1),
        ("refused_readings", &|facts| facts.raw.refused = 1),
        ("readings_left", &|facts| facts.raw.received = 29),
        ("unreadable", &|facts| facts.seen.unreadable = Some("x".into())),
        // One that has followed another has done nothing.
        ("returned", &|facts| (facts.get_power, facts.process_data) = (Worker::Returned, Worker::Followed)),
        // And one that has failed leaves its input behind.
        ("failed", &|facts| {
            (facts.process_data, facts.raw.received) = (Worker::Failed("x".into()), 3);
        }),
        ("panicked", &|facts| {
            facts.get_power = Worker::Panicked("x".into());
            facts.books.collected.clear();
        }),
        // One that does not stop makes the other leave.
        ("ignored_stop", &|facts| {
            facts.get_power = Worker::Late(MS(4000));
            facts.raw.received = 29;
        }),
    ];
    for (kind, fault) in faults {
        let mut facts = good();
        fault(&mut facts);
        let found = problems(&facts);
        assert_eq!(kinds(&found), [kind]);
        assert!(!found[0].what.contains('\n') && !found[0].todo.is_empty(), "{found:?}");
    }
}

#[test]
fn a_dropped_sample_is_told_with_the_first_of_its_kind() {
    let mut facts = good();
    facts.books.dropped[Reason::InvalidJson as usize].1 = 2;
    facts.firsts.insert(Reason::InvalidJson, "unexpected end".into());
    assert_eq!(problems(&facts)[0].what, "2 samples can't be used: invalid_json; the first: unexpected end");
}

#[test]
fn every_reason_of_a_plugin_says_what_to_do() {
    // The others come after the batch, where a check does not go.
    for &reason in Reason::ALL.iter().filter(|&&reason| reason <= Reason::OutOfOrder) {
        assert_ne!(to_do(reason), "see docs/delivery.md", "{reason}");
    }
}

#[test]
fn what_is_only_odd_is_a_hint() {
    let faults: [Fault<'_>; 5] = [
        ("interrupted", &|facts| facts.interrupted = true),
        ("slow_stop", &|facts| facts.get_power = Worker::Stopped(MS(1500))),
        ("series_ended", &|facts| facts.seen.markers = 1),
        ("no_metadata", &|facts| facts.seen.metadata.values_mut().for_each(|known| *known = None)),
        ("no_metadata", &|facts| {
            facts.seen.metadata.values_mut().flatten().for_each(|known| known.kind = "unknown".into());
        }),
    ];
    for (kind, fault) in faults {
        let mut facts = good();
        fault(&mut facts);
        assert_eq!((kinds(&problems(&facts)), kinds(&hints(&facts, MS(100), false))), (vec![], vec![kind]));
    }
    for (interval, kind) in [(50, "slow_sampling"), (200, "fast_sampling")] {
        assert_eq!(kinds(&hints(&good(), MS(interval), false)), [kind]);
    }
    assert_eq!(kinds(&hints(&good(), MS(100), true)), ["dummy"]);
}

#[test]
fn the_documentation_names_every_kind() {
    let source = include_str!("../findings.rs");
    let calls = source.split("finding(").skip(1).filter_map(|call| call.trim_start().strip_prefix('"'));
    let mut made: Vec<&str> = calls.filter_map(|rest| rest.split('"').next()).collect();
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/check.md")).unwrap();
    let tables = page.split_once("## Problems").unwrap().1.split_once("## The report").unwrap().0;
    let rows = tables.lines().filter_map(|row| row.strip_prefix("| `")?.split(" |").next());
    let mut told: Vec<&str> = rows.flat_map(|row| row.split(", ")).map(|kind| kind.trim_matches('`')).collect();
    made.sort_unstable();
    told.sort_unstable();
    assert_eq!(made, told);
}
