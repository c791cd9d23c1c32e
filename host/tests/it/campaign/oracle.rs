//! Judges a round. Pure: it knows every sample that the plugin made, what lay on the disk between two runs, every request
//! that came whole with its answer, and what Prometheus has in the end.
//!
//! Enters: that evidence. Leaves: what is wrong, each with the rule that it breaks; nothing where all is well.
//!
//! The reasoning goes run by run. A run holds what it found on the disk and what its plugin sent. At its end each of these
//! samples is settled by an answer that allows it, or lies on the disk, or has an excuse: its timestamp, a damaged record,
//! the last moments before a SIGKILL, a disk that took no more. Where a run was stopped, its ledger has to say the same.
//!
//! Never: excuses a sample because it is old, or because something else went wrong.

mod books;
mod run;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use super::disk::Record;
use super::script::Choice;
use super::wire::{SERIES, Sample, Version};
use crate::host::Ledger;

/// All that a round has shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Round {
    pub(super) lives: Vec<Life>,
    /// In the order in which they came.
    pub(super) requests: Vec<Request>,
    /// What Prometheus has, by series and timestamp.
    pub(super) stored: Vec<Sample>,
}

/// A reading of the plugin: a sample of each series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) number: u64,
    pub(super) timestamp_ms: i64,
    /// Unix milliseconds, whatever the timestamp says.
    pub(super) taken_ms: i64,
}

/// One run of the host.
#[derive(Clone, Debug)]
pub(super) struct Life {
    pub(super) choice: Choice,
    /// SPOOL_FLUSH_S.
    pub(super) flush_ms: i64,
    /// In the order in which they were sent.
    pub(super) readings: Vec<Reading>,
    /// The ledger of a run that was stopped; none of one that was killed.
    pub(super) books: Option<Ledger>,
    /// It said that the spool is in use.
    pub(super) has_spool: bool,
    /// It said that something can't be written to the spool.
    pub(super) disk_failed: bool,
    /// It said that the last request was given up at the end.
    pub(super) gave_up: bool,
    /// How many samples it said it found in the spool.
    pub(super) recovered: u64,
    /// The script damaged the spool before it.
    pub(super) was_damaged: bool,
    /// It said that the spool is damaged, or that a record is torn.
    pub(super) told_damage: bool,
    /// What waited on the disk when it began, and when it had ended.
    pub(super) before: Vec<Record>,
    pub(super) after: Vec<Record>,
}

/// A request that came whole.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// Of which life it is, counted from 0.
    pub(super) life: usize,
    pub(super) version: Version,
    /// Tells one body from another.
    pub(super) fingerprint: u32,
    pub(super) samples: Vec<Sample>,
    pub(super) stored: Stored,
    /// What Prometheus said of it.
    pub(super) real: Option<u16>,
    pub(super) told: Told,
}

/// Whether Prometheus has a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    No,
    Yes,
    Perhaps,
}

/// What the host was told of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing that it could use.
    Nothing,
    /// This, but perhaps it never came.
    Unsure(Answer),
    /// This, as long as the host lived.
    Surely(Answer),
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// How many samples it says were written.
    pub(super) written: Option<u64>,
}

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rule {
    /// What arrives is what the plugin made, and what the order of timestamps allows.
    Made,
    /// Within a series, what arrives first was made first.
    Order,
    /// No timestamp of a series has two values.
    OneValue,
    /// The next batch is sent when the one before is done with.
    NothingOvertakes,
    /// A batch is sent again only if its answer allows that, and unchanged.
    SentAgain,
    /// No sample is gone without an answer, damage or death that took it.
    NothingVanishes,
    /// A SIGKILL takes what was made in the last SPOOL_FLUSH_S, and no more.
    Flush,
    /// What is on the disk changes only by the run that uses it, and damage is told.
    Disk,
    /// The ledger says what happened.
    Books,
    /// Prometheus has what it took, all of it and nothing else, and refuses only what it had or what came too late.
    Receiver,
}

/// A rule that was broken.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) rule: Rule,
    pub(super) what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.what)
    }
}

/// What a round came to.
#[derive(Debug, Default)]
pub(super) struct Judgement {
    pub(super) findings: Vec<Finding>,
    /// How many samples were made, and how many of them Prometheus has.
    pub(super) made: usize,
    pub(super) stored: usize,
    /// How many requests brought again what Prometheus had.
    pub(super) repeats: usize,
    /// Samples that have gone, by what took them.
    pub(super) gone: BTreeMap<&'static str, usize>,
    /// For each SIGKILL, how long before the last reading the first one was taken that it cost; 0 where it cost none.
    pub(super) lost_ms: Vec<i64>,
}

impl Judgement {
    fn find(&mut self, rule: Rule, what: String) {
        self.findings.push(Finding { rule, what });
    }

    fn gone(&mut self, why: &'static str, samples: usize) {
        if samples > 0 {
            *self.gone.entry(why).or_default() += samples;
        }
    }
}

/// How much later than SPOOL_FLUSH_S a starved machine may cut a batch.
const SLACK_MS: i64 = 1000;

/// Judges.
pub(super) fn judge(round: &Round) -> Judgement {
    let mut judgement = Judgement::default();
    let made = Made::new(round);
    judgement.made = made.samples.len();
    arrivals(round, &made, &mut judgement);
    for index in 0..round.lives.len() {
        run::judge(round, index, &made, &mut judgement);
    }
    for (index, pair) in round.lives.windows(2).enumerate() {
        between(index + 1, pair, &mut judgement);
    }
    // What is damaged is told by every run until it is deleted; a disk that is full may leave the beginning of a record.
    let innocent = round.lives.iter().take_while(|life| !life.was_damaged && !life.disk_failed);
    for index in innocent.enumerate().filter(|(_, life)| life.told_damage).map(|(index, _)| index) {
        judgement.find(Rule::Disk, format!("run {index} tells of damage that nobody did"));
    }
    if let Some(last) = round.lives.last().filter(|last| last.books.is_none() || !last.after.is_empty()) {
        let left = last.after.len();
        judgement.find(Rule::NothingVanishes, format!("the last run left {left} records, or was killed"));
    }
    receiver(round, &made.stored, &mut judgement);
    judgement
}

/// Every sample that the plugin made.
struct Made {
    /// With its life, and the ledger's reason for those that are never sent.
    samples: HashMap<Sample, (usize, Option<&'static str>)>,
    /// What Prometheus has in the end.
    stored: BTreeSet<Sample>,
}

impl Made {
    fn new(round: &Round) -> Self {
        let mut samples = HashMap::new();
        for (life, of_life) in round.lives.iter().enumerate() {
            let mut newest_ms = i64::MIN;
            for &Reading { number, timestamp_ms, .. } in &of_life.readings {
                let dropped = match timestamp_ms.cmp(&newest_ms) {
                    std::cmp::Ordering::Less => Some("out_of_order"),
                    std::cmp::Ordering::Equal => Some("duplicate"),
                    std::cmp::Ordering::Greater => None,
                };
                newest_ms = newest_ms.max(timestamp_ms);
                for series in 0..SERIES {
                    samples.insert(Sample { series, number, timestamp_ms }, (life, dropped));
                }
            }
        }
        Self { samples, stored: round.stored.iter().copied().collect() }
    }
}

/// What the requests brought, in the order of their first arrival.
fn arrivals(round: &Round, made: &Made, judgement: &mut Judgement) {
    let (mut seen, mut had) = (BTreeSet::new(), BTreeSet::<Sample>::new());
    // Of each series, the newest sample so far and its life.
    let mut newest: HashMap<usize, (Sample, usize)> = HashMap::new();
    for (index, request) in round.requests.iter().enumerate() {
        if request.stored != Stored::No {
            judgement.repeats += usize::from(request.samples.iter().all(|sample| had.contains(sample)));
            had.extend(&request.samples);
        }
        let mut within: HashMap<usize, i64> = HashMap::new();
        for &sample in &request.samples {
            if let Some(before) =
                within.insert(sample.series, sample.timestamp_ms).filter(|&t| t >= sample.timestamp_ms)
            {
                judgement.find(Rule::Order, format!("request {index} has {sample:?} after one of {before}"));
            }
            let life = match made.samples.get(&sample) {
                Some(&(life, None)) if life <= request.life => life,
                other => {
                    judgement.find(Rule::Made, format!("request {index} brought {sample:?}, made as {other:?}"));
                    continue;
                }
            };
            if !seen.insert(sample) {
                continue;
            }
            let Some((before, its_life)) = newest.insert(sample.series, (sample, life)) else { continue };
            // A run that could not use the spool overtook what lies there, and can't do otherwise.
            let excused = its_life > life && !round.lives[its_life].has_spool;
            if before.number > sample.number && !excused {
                judgement.find(Rule::Order, format!("request {index} brought {sample:?} after {before:?}"));
            } else if its_life == life && before.timestamp_ms >= sample.timestamp_ms {
                judgement.find(Rule::Order, format!("request {index} brought {sample:?} after {before:?} of its run"));
            }
            if before.number > sample.number {
                newest.insert(sample.series, (before, its_life));
            }
        }
    }
}

/// The disk between two runs: what one left is what the next one found, but for damage.
fn between(index: usize, pair: &[Life], judgement: &mut Judgement) {
    let sequences = |records: &[Record]| records.iter().map(|record| record.sequence).collect::<BTreeSet<_>>();
    let (left, found) = (sequences(&pair[0].after), sequences(&pair[1].before));
    if !pair[1].was_damaged && pair[0].after != pair[1].before {
        judgement.find(Rule::Disk, format!("run {index} found other records than were left: {left:?}, {found:?}"));
    }
    let destroyed: BTreeSet<u64> = left.difference(&found).copied().collect();
    if !destroyed.is_empty() && pair[1].has_spool && !pair[1].told_damage {
        judgement.find(Rule::Disk, format!("run {index} did not tell that records {destroyed:?} were destroyed"));
    }
    let destroyed = pair[0].after.iter().filter(|record| destroyed.contains(&record.sequence));
    judgement.gone("destroyed on disk", destroyed.map(|record| record.samples.len()).sum());
}

/// What Prometheus has, and what it refused.
fn receiver(round: &Round, stored: &BTreeSet<Sample>, judgement: &mut Judgement) {
    let (mut sure, mut possible) = (BTreeSet::new(), BTreeSet::new());
    let mut newest_ms: HashMap<usize, i64> = HashMap::new();
    for (index, request) in round.requests.iter().enumerate() {
        let late = |sample: &Sample| newest_ms.get(&sample.series).is_some_and(|&newest| sample.timestamp_ms <= newest);
        if request.real.is_some_and(|status| status >= 300) && !request.samples.iter().any(late) {
            let said = format!("Prometheus refused request {index}, in which nothing is late: {request:?}");
            judgement.find(Rule::Receiver, said);
        }
        if request.stored != Stored::No {
            possible.extend(&request.samples);
            for sample in &request.samples {
                let newest = newest_ms.entry(sample.series).or_insert(i64::MIN);
                *newest = sample.timestamp_ms.max(*newest);
            }
        }
        if request.stored == Stored::Yes {
            sure.extend(&request.samples);
        }
    }
    judgement.stored = round.stored.len();
    let moments: BTreeSet<_> = stored.iter().map(|sample| (sample.series, sample.timestamp_ms)).collect();
    if moments.len() != round.stored.len() {
        judgement.find(Rule::OneValue, "Prometheus has two samples of one series and moment".to_owned());
    }
    for sample in sure.difference(stored).take(5) {
        judgement.find(Rule::Receiver, format!("Prometheus took {sample:?} and has it not"));
    }
    for sample in stored.difference(&possible).take(5) {
        judgement.find(Rule::Receiver, format!("Prometheus has {sample:?}, which it never got"));
    }
}
