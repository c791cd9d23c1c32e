//! The oracle finds nothing in a round where all is well, and each thing that is wrong in one where it is not.

use super::*;

/// All samples of the readings of a life with these numbers.
fn batch(numbers: std::ops::RangeInclusive<u64>) -> Vec<Sample> {
    let series = 0..SERIES;
    series.flat_map(|series| numbers.clone().map(move |number| sample(series, number))).collect()
}

fn sample(series: usize, number: u64) -> Sample {
    Sample { series, number, timestamp_ms: moment(number) }
}

/// Readings are 10 ms apart.
fn moment(number: u64) -> i64 {
    number as i64 * 10
}

fn record(sequence: u64, samples: Vec<Sample>) -> Record {
    Record { sequence, count: samples.len() as u64, samples, whole: true }
}

fn request(life: usize, samples: Vec<Sample>, real: Option<u16>, told: Told) -> Request {
    let fingerprint = samples.iter().map(|sample| sample.number as u32).sum();
    let stored = match real {
        None => Stored::No,
        Some(status) if status < 300 => Stored::Yes,
        Some(_) => Stored::Perhaps,
    };
    Request { life, version: Version::V1, fingerprint, samples, stored, real, told }
}

fn surely(status: u16) -> Told {
    Told::Surely(Answer { status, written: None })
}

fn books(collected: u64, delivered: u64, reasons: &[(&str, u64)]) -> Ledger {
    let reasons: BTreeMap<String, u64> = reasons.iter().map(|&(reason, count)| (reason.to_owned(), count)).collect();
    Ledger { collected, delivered, pending: 0, dropped: reasons.values().sum(), reasons, refused_sends: 0 }
}

fn life(numbers: std::ops::RangeInclusive<u64>) -> Life {
    let reading = |number| Reading { number, timestamp_ms: moment(number), taken_ms: moment(number) };
    Life {
        choice: Choice::V1,
        flush_ms: 20,
        readings: numbers.map(reading).collect(),
        books: None,
        has_spool: true,
        disk_failed: false,
        gave_up: false,
        recovered: 0,
        was_damaged: false,
        told_damage: false,
        before: Vec::new(),
        after: Vec::new(),
    }
}

/// A run is killed: its first batch was delivered, the answer to the second one was lost, the third one waits, and the
/// last reading was not cut. The next run brings the second one again, which Prometheus refuses because it has it, the
/// third one at the second attempt, and its own.
fn good() -> Round {
    let (second, third) = (record(2, batch(3..=4)), record(3, batch(5..=6)));
    let killed = Life { after: vec![second.clone(), third.clone()], ..life(1..=7) };
    let stopped = Life {
        before: vec![second, third],
        recovered: 12,
        books: Some(books(18, 12, &[("refused", 6)])),
        ..life(101..=102)
    };
    let requests = vec![
        request(0, batch(1..=2), Some(204), surely(204)),
        request(0, batch(3..=4), Some(204), Told::Nothing),
        request(1, batch(3..=4), Some(400), surely(400)),
        request(1, batch(5..=6), None, surely(503)),
        request(1, batch(5..=6), Some(204), surely(204)),
        request(1, batch(101..=102), Some(204), surely(204)),
    ];
    let mut stored = [batch(1..=6), batch(101..=102)].concat();
    stored.sort_by_key(|sample| (sample.series, sample.timestamp_ms));
    Round { lives: vec![killed, stopped], requests, stored }
}

/// The rules that a round breaks which is good but for this.
fn broken(change: impl FnOnce(&mut Round)) -> Vec<Rule> {
    let mut round = good();
    change(&mut round);
    let rules: BTreeSet<Rule> = judge(&round).findings.iter().map(|finding| finding.rule).collect();
    rules.into_iter().collect()
}

#[test]
fn nothing_is_found_where_all_is_well() {
    let judgement = judge(&good());
    assert!(judgement.findings.is_empty(), "{:?}", judgement.findings);
    assert_eq!((judgement.made, judgement.stored, judgement.repeats), (27, 24, 1));
    let gone = BTreeMap::from([("killed before they were cut", 3), ("refused, but Prometheus has them", 6)]);
    assert_eq!((judgement.gone, judgement.lost_ms), (gone, vec![0]));
}

#[test]
fn a_loss_is_found() {
    // A batch that nobody saw again, of a run that was stopped, and of one that was killed.
    assert_eq!(broken(|round| drop(round.requests.pop())), [Rule::NothingVanishes, Rule::Books, Rule::Receiver]);
    assert_eq!(broken(|round| drop(round.requests.remove(0))), [Rule::NothingVanishes, Rule::Receiver]);
    // A record that the next run did not send, and says that it did.
    assert_eq!(broken(|round| drop(round.requests.drain(3..5))), [Rule::NothingVanishes, Rule::Books, Rule::Receiver]);
    // One that was not yet sent, and is not on the disk.
    let gone = |round: &mut Round| {
        round.lives[0].after.pop();
        round.lives[1].before.pop();
        round.requests.drain(3..5);
        round.stored.retain(|sample| ![5, 6].contains(&sample.number));
        (round.lives[1].recovered, round.lives[1].books) = (6, Some(books(12, 6, &[("refused", 6)])));
    };
    assert_eq!(broken(gone), [], "three readings are what a flush may cost");
    let and_before = |round: &mut Round| {
        gone(round);
        round.lives[0].readings[4].taken_ms -= 2 * SLACK_MS;
    };
    assert_eq!(broken(and_before), [Rule::Flush]);
    // One sample of many.
    let one = |round: &mut Round| round.requests[0].samples.truncate(5);
    assert_eq!(broken(one), [Rule::NothingVanishes, Rule::Receiver]);
    assert_eq!(broken(|round| round.stored.truncate(23)), [Rule::Receiver]);
    // What is left at the end.
    let left = |round: &mut Round| round.lives[1].after = vec![record(9, batch(101..=102))];
    assert!(broken(left).contains(&Rule::NothingVanishes));
}

#[test]
fn a_swap_is_found() {
    assert!(broken(|round| round.requests[3..].rotate_right(1)).contains(&Rule::Order));
    assert!(broken(|round| round.requests[0].samples.swap(0, 1)).contains(&Rule::Order));
    // Two batches of one run, the first of which was not done with.
    let overtaken = |round: &mut Round| round.requests.swap(0, 1);
    let rules = broken(overtaken);
    assert!(rules.contains(&Rule::Order) && rules.contains(&Rule::NothingOvertakes), "{rules:?}");
    // A run without a spool goes before what lies there, and is not blamed.
    let mut round = good();
    round.lives[0].has_spool = false;
    assert!(broken(|changed| *changed = round).iter().all(|&rule| rule != Rule::Order));
}

#[test]
fn another_value_is_found() {
    let two = |round: &mut Round| {
        let mut second = round.stored[0];
        second.number += 1;
        round.stored.insert(1, second);
    };
    assert_eq!(broken(two), [Rule::OneValue, Rule::Receiver]);
    assert!(broken(|round| round.requests[0].samples[0].number += 1).contains(&Rule::Made));
    assert!(broken(|round| round.requests[0].samples[0].timestamp_ms += 1).contains(&Rule::Made));
    // A reading whose timestamp is not newer is not to be sent.
    let late = |round: &mut Round| round.lives[1].readings[0].timestamp_ms = moment(102);
    assert!(broken(late).contains(&Rule::Made));
}

#[test]
fn what_is_sent_without_need_is_found() {
    // What was answered, in this run and in an earlier one.
    assert_eq!(broken(|round| round.requests.insert(1, round.requests[0].clone())), [Rule::SentAgain]);
    let old = |round: &mut Round| round.requests.insert(2, Request { life: 1, ..round.requests[0].clone() });
    assert!(broken(old).contains(&Rule::SentAgain));
    // Other bytes.
    assert_eq!(broken(|round| round.requests[3].fingerprint += 1), [Rule::SentAgain]);
    // A second record that was answered lies on the disk after a kill.
    let kept = |round: &mut Round| {
        round.lives.iter_mut().for_each(|life| life.before.insert(0, record(1, batch(1..=2))));
        round.lives[0].after.insert(0, record(1, batch(1..=2)));
    };
    assert!(broken(kept).contains(&Rule::SentAgain));
    // The next batch although this one can be tried again.
    assert!(broken(|round| drop(round.requests.remove(4))).contains(&Rule::NothingOvertakes));
}

#[test]
fn a_disk_that_is_not_as_it_was_left_is_found() {
    let lose = |round: &mut Round| {
        round.lives[1].before.pop();
        round.requests.drain(3..5);
        round.stored.retain(|sample| ![5, 6].contains(&sample.number));
        (round.lives[1].recovered, round.lives[1].books) = (6, Some(books(12, 6, &[("refused", 6)])));
    };
    assert_eq!(broken(lose), [Rule::Disk]);
    let damaged = |told| {
        move |round: &mut Round| {
            lose(round);
            (round.lives[1].was_damaged, round.lives[1].told_damage) = (true, told);
        }
    };
    assert_eq!(broken(damaged(true)), []);
    assert_eq!(broken(damaged(false)), [Rule::Disk]);
    assert_eq!(broken(|round| round.lives[1].told_damage = true), [Rule::Disk]);

    // A body that is damaged is counted by its header.
    let body = |counted: u64| {
        move |round: &mut Round| {
            lose(round);
            let record = Record { whole: false, ..record(3, batch(5..=6)) };
            round.lives[1].before.push(record);
            round.lives[1].was_damaged = true;
            round.lives[1].recovered = 12;
            round.lives[1].books = Some(books(12 + counted, 6, &[("refused", 6), ("spool_damaged", counted)]));
        }
    };
    assert_eq!(broken(body(6)), []);
    assert_eq!(broken(body(5)), [Rule::Books]);
}

#[test]
fn a_wrong_ledger_and_a_refusal_without_reason_are_found() {
    for wrong in [
        books(18, 11, &[("refused", 6)]),
        books(18, 12, &[("refused", 5), ("too_old", 1)]),
        books(17, 12, &[("refused", 5)]),
        books(18, 11, &[("refused", 7)]),
    ] {
        assert_eq!(broken(|round| round.lives[1].books = Some(wrong)), [Rule::Books]);
    }
    let refused = |round: &mut Round| {
        (round.requests[5].real, round.requests[5].told) = (Some(400), surely(400));
        round.lives[1].books = Some(books(18, 6, &[("refused", 12)]));
    };
    assert_eq!(broken(refused), [Rule::Receiver]);
}
