//! A fixed number of mutated inputs for each target, the same ones every time.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

/// In a build without optimisation, a second or two for each target.
const INPUTS: u64 = 4_000;

#[track_caller]
fn assert_holds(target: &Target, input: &[u8], which: &str) {
    if catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_err() {
        panic!("{}, {which}: see the panic above; the input is b\"{}\"", target.name, input.escape_ascii());
    }
}

/// As libFuzzer mutates, but blindly.
fn mutate(input: &mut Vec<u8>, others: &[Vec<u8>], words: &[Vec<u8>], rng: &mut fastrand::Rng) {
    let at = rng.usize(..=input.len());
    let end = rng.usize(at..=input.len().min(at + 16));
    let pick = |from: &[Vec<u8>], rng: &mut fastrand::Rng| rng.choice(from).cloned().unwrap_or_default();
    match rng.u8(..8) {
        0 | 1 if at < input.len() => input[at] ^= 1 << rng.u8(..8),
        2 if at < input.len() => input[at] = *rng.choice(&[0, 1, 0x7f, 0x80, 0xff, b'0', b'"']).unwrap_or(&0),
        3 => drop(input.drain(at..end)),
        4 => input.insert(at, rng.u8(..)),
        5 => input.extend_from_within(at..end),
        6 => drop(input.splice(at..end, pick(words, rng))),
        _ => {
            let other = pick(others, rng);
            input.truncate(at);
            input.extend_from_slice(&other[rng.usize(..=other.len())..]);
        }
    }
}

fn holds(target: &Target) {
    let (seeds, words) = ((target.seeds)(), (target.words)());
    assert_holds(target, b"", "nothing at all");
    for (number, seed) in seeds.iter().enumerate() {
        assert_holds(target, seed, &format!("seed {number}"));
    }
    for number in 0..INPUTS {
        let mut rng = fastrand::Rng::with_seed(number);
        let mut input = rng.choice(&seeds).cloned().unwrap_or_default();
        for _ in 0..rng.u8(1..6) {
            mutate(&mut input, &seeds, &words, &mut rng);
        }
        assert_holds(target, &input, &format!("input {number}"));
    }
}

#[test]
fn records_hold() {
    holds(&RECORDS);
}

#[test]
fn a_spool_holds() {
    holds(&SPOOL);
}

#[test]
fn answers_hold() {
    holds(&ANSWERS);
}

#[test]
fn the_receiver_holds() {
    holds(&RECEIVE);
}

#[test]
fn the_preflight_holds() {
    holds(&PREFLIGHT);
}

#[test]
fn transcoding_holds() {
    holds(&TRANSCODE);
}

#[test]
fn settings_hold() {
    holds(&SETTINGS);
}

#[test]
fn each_target_has_its_name_and_seeds() {
    let names: std::collections::BTreeSet<_> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names.len(), TARGETS.len());
    assert!(TARGETS.iter().all(|target| !(target.seeds)().is_empty()));
}

#[test]
fn a_broken_promise_is_seen() {
    (PLANTED.run)(b"\xd5mr\x01lat");
    assert!(catch_unwind(|| (PLANTED.run)(b"\xd5mr\x01late!")).is_err());
}
