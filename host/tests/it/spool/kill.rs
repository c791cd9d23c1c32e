//! SIGKILL at any moment, again and again, on one spool: what had reached it arrives, in order, once.
//!
//! FAULTS_SEED repeats a campaign, KILLS says how many kills it has.

use std::collections::BTreeSet;
use std::env;
use std::path::Path;
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use serde_json::json;
use signal_hook::consts::{SIGKILL, SIGTERM};

use super::{folder, spooling};
use crate::drive::now_ms;
use crate::faults::{LONG, wait_for_text};
use crate::host::Running;
use crate::sink::{Sample, Sink};

const FLUSH_MS: i64 = 100;

/// Readings of one moment, one for each.
const SERIES: usize = 2;

/// When a run began to sample and when it was dead, in Unix milliseconds.
struct Life {
    started_ms: i64,
    sampling_ms: i64,
    dead_ms: i64,
}

/// A seed that is told, and that FAULTS_SEED gives again.
pub(super) fn seeded() -> Rng {
    let given = env::var("FAULTS_SEED").ok().map(|seed| seed.parse().expect("FAULTS_SEED is a number"));
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("FAULTS_SEED={seed}");
    Rng::with_seed(seed)
}

#[test]
fn what_had_reached_the_spool_survives_every_kill() {
    let kills: usize = env::var("KILLS").map_or(30, |kills| kills.parse().expect("KILLS is a number"));
    let mut random = seeded();
    let (sink, dir) = (Sink::start(), folder());
    let mut lives = Vec::new();
    for _ in 0..kills {
        make_trouble(&sink, &mut random);
        let started_ms = now_ms();
        let running = start(&sink, dir.path(), &mut random);
        wait_for_text(&running, "the fault plugin is ready");
        let sampling_ms = now_ms();
        // The moment of the kill is what is tried here.
        thread::sleep(Duration::from_millis(random.u64(100..900)));
        running.signal(SIGKILL);
        running.wait(LONG);
        lives.push(Life { started_ms, sampling_ms, dead_ms: now_ms() });
    }
    sink.answer_as_usual();
    let started_ms = now_ms();
    let last = start(&sink, dir.path(), &mut random);
    wait_for_text(&last, "the fault plugin is ready");
    let sampling_ms = now_ms();
    last.signal(SIGTERM);
    assert_eq!(last.wait(LONG * 2).code(), Some(0), "{}", last.log_text());
    lives.push(Life { started_ms, sampling_ms, dead_ms: now_ms() });
    let ledger = last.ledger();
    ledger.assert_balanced();
    assert_eq!((ledger.pending, ledger.dropped), (0, 0), "{ledger:?}");

    // What the sink prints comes behind what it answers.
    let stored = sink.stats()["samples"].as_u64().expect("a number of samples");
    let samples = sink.wait_samples(stored as usize, LONG);
    let (once, repeated) = without_repeats(&samples);
    assert!(repeated <= kills, "{repeated} batches came twice");
    let lost_ms = assert_complete_and_in_order(&once, &lives);
    let violations: BTreeSet<String> = sink.violations().into_iter().map(|one| one.violation).collect();
    let of_repeats: BTreeSet<String> = ["duplicate", "out_of_order"].map(String::from).into();
    assert!(if repeated == 0 { violations.is_empty() } else { violations.is_subset(&of_repeats) }, "{violations:?}");
    let mean_ms = lost_ms.iter().sum::<i64>() / lost_ms.len() as i64;
    eprintln!(
        "{kills} kills, {repeated} batches twice, lost {mean_ms} ms on average, {:?} at most",
        lost_ms.iter().max()
    );
    // A run lasts half a second on average: without a spool, that would be lost.
    assert!(mean_ms <= FLUSH_MS * 5 / 2, "{lost_ms:?}");
}

fn start(sink: &Sink, dir: &Path, random: &mut Rng) -> Running {
    spooling(sink.url(), dir)
        .env("SCRAPE_INTERVAL_S", format!("0.{:03}", random.u8(5..=20)))
        .env("REMOTE_WRITE_PROTOCOL", if random.bool() { "1.0" } else { "auto" })
        .env("REMOTE_WRITE_TIMEOUT_S", "0.3")
        .env("SHUTDOWN_TIMEOUT_S", "60")
        .env("FAULT_SERIES", SERIES.to_string())
        .spawn()
}

/// Lets the sink refuse, drop or hang for a while, or not. Nothing of that is stored: only a kill makes a repeat.
fn make_trouble(sink: &Sink, random: &mut Rng) {
    sink.answer_as_usual();
    let seconds = f64::from(random.u8(1..=8)) / 10.0;
    match random.u8(0..8) {
        0 => sink.answer(json!({"status": 503, "for_s": seconds})),
        1 => sink.answer(json!({"status": 503, "count": 2})),
        2 => sink.answer(json!({"drop": true, "for_s": seconds})),
        3 => sink.answer(json!([{"count": 1}, {"drop": true, "count": 2}])),
        4 => sink.answer(json!([{"count": 2}, {"hang": true, "count": 1}])),
        _ => {}
    }
}

/// The samples, request by request, without the requests that repeat the one before; and how many did.
fn without_repeats(samples: &[Sample]) -> (Vec<&Sample>, usize) {
    let told = |request: &[Sample]| -> Vec<_> {
        request.iter().map(|one| (one.labels.clone(), one.timestamp_ms, one.value.to_bits())).collect()
    };
    let (mut once, mut repeated, mut before) = (Vec::new(), 0, Vec::new());
    for request in samples.chunk_by(|a, b| a.request == b.request) {
        let this = told(request);
        if this == before {
            repeated += 1;
        } else {
            once.extend(request);
            before = this;
        }
    }
    (once, repeated)
}

/// Each series has the numbers of each run from 1 on without a hole, and rising moments. Returns how long before its
/// death each killed run's last sample was taken.
fn assert_complete_and_in_order(samples: &[&Sample], lives: &[Life]) -> Vec<i64> {
    let mut lost_ms = Vec::new();
    for series in 0..SERIES {
        let name = series.to_string();
        let own: Vec<&Sample> = samples.iter().copied().filter(|one| one.labels["series"] == name).collect();
        for pair in own.windows(2) {
            assert!(pair[0].timestamp_ms < pair[1].timestamp_ms, "{:?} then {:?}", pair[0], pair[1]);
        }
        let mut rest = &own[..];
        for (run, life) in lives.iter().enumerate() {
            let end_ms = lives.get(run + 1).map_or(i64::MAX, |next| next.started_ms);
            let (of_run, later) = rest.split_at(rest.partition_point(|one| one.timestamp_ms < end_ms));
            rest = later;
            let numbers: Vec<u64> = of_run.iter().map(|one| one.value as u64).collect();
            assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "run {run}");
            let last_ms = of_run.last().map_or(life.sampling_ms, |one| one.timestamp_ms);
            if run + 1 < lives.len() {
                lost_ms.push(life.dead_ms - last_ms);
            }
        }
        assert!(rest.is_empty());
    }
    lost_ms
}

#[test]
fn the_oracle_sees_what_is_wrong() {
    let sample = |request, number: f64, timestamp_ms| Sample {
        request,
        metric: "m".to_owned(),
        labels: [("series".to_owned(), "0".to_owned())].into(),
        value: number,
        timestamp_ms,
        start_timestamp_ms: 0,
        received_ms: 0,
    };
    let both = |samples: &[Sample]| -> Vec<Sample> {
        let other = samples.iter().cloned().map(|mut one| {
            one.labels.insert("series".to_owned(), "1".to_owned());
            one
        });
        samples.iter().cloned().chain(other).collect()
    };
    let lives =
        || [(0, 100), (200, 300)].map(|(started_ms, dead_ms)| Life { started_ms, sampling_ms: started_ms, dead_ms });
    let judge = |samples: Vec<Sample>| {
        std::panic::catch_unwind(|| assert_complete_and_in_order(&samples.iter().collect::<Vec<_>>(), &lives())).ok()
    };
    let good = [sample(1, 1.0, 10), sample(1, 2.0, 60), sample(2, 1.0, 210)];
    assert_eq!(judge(both(&good)), Some(vec![40, 40]));
    assert_eq!(judge(both(&[good[0].clone(), good[2].clone()])), Some(vec![90, 90]));
    assert_eq!(judge(both(&good[1..])), None, "a hole");
    assert_eq!(judge(both(&[good[1].clone(), good[0].clone()])), None, "out of order");
    assert_eq!(judge(both(&[good[0].clone(), sample(1, 2.0, 10)])), None, "two values");

    let mut again = good.to_vec();
    again.insert(2, sample(2, 1.0, 10));
    again.insert(3, sample(2, 2.0, 60));
    again[4].request = 3;
    assert_eq!((without_repeats(&again).0.len(), without_repeats(&again).1), (3, 1));
    again[3].value = 3.0;
    assert_eq!(without_repeats(&again).1, 0);
}
