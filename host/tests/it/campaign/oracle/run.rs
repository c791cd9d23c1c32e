//! One run: what it held, and what became of each sample.
//!
//! Enters: a life with its requests. Leaves: findings, and the sums that its ledger has to show.

use std::collections::{BTreeMap, BTreeSet};

use super::{Answer, Choice, Judgement, Life, Made, Request, Round, Rule, SLACK_MS, Sample, Told, Version, books};
use crate::campaign::wire::SERIES;

/// What may follow after a request.
struct May {
    /// The same batch again.
    repeat: bool,
    /// It is done with: so many samples delivered, the others refused.
    settle: Option<Ends>,
}

/// How many samples of a batch ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) delivered: u64,
    pub(super) refused: u64,
}

fn may(request: &Request, choice: Choice) -> May {
    let (answer, sure) = match request.told {
        Told::Nothing => return May { repeat: true, settle: None },
        Told::Unsure(answer) => (answer, false),
        Told::Surely(answer) => (answer, true),
    };
    let all = request.samples.len() as u64;
    let delivered = |count: u64| Some(Ends { delivered: count.min(all), refused: all.saturating_sub(count) });
    let Answer { status, written } = answer;
    let (repeat, settle) = match (request.version, status, written) {
        (_, 429 | 500.., _) => (true, None),
        (Version::V1, 200..=299, _) | (Version::V2, 200..=299, Some(_)) => (false, delivered(written.unwrap_or(all))),
        (Version::V1, ..) => (false, delivered(0)),
        (Version::V2, _, Some(written)) => (false, delivered(written)),
        // The receiver understood nothing.
        (Version::V2, 200..=299 | 415, None) if choice == Choice::Auto => (true, None),
        // It may be about the message, or the batch: what is known of the receiver decides.
        (Version::V2, _, None) => (choice == Choice::Auto, delivered(0)),
    };
    May { repeat: repeat || !sure, settle }
}

/// The requests of one batch, one after the other.
struct Group<'a> {
    samples: BTreeSet<Sample>,
    requests: Vec<(usize, &'a Request)>,
}

fn groups<'a>(round: &'a Round, life: usize) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for (index, request) in round.requests.iter().enumerate().filter(|(_, request)| request.life == life) {
        let samples = request.samples.iter().copied().collect();
        match groups.last_mut().filter(|group| group.samples == samples) {
            Some(group) => group.requests.push((index, request)),
            None => groups.push(Group { samples, requests: vec![(index, request)] }),
        }
    }
    groups
}

pub(super) fn judge(round: &Round, index: usize, made: &Made, judgement: &mut Judgement) {
    let life = &round.lives[index];
    let on_disk: &[_] = if life.has_spool { &life.after } else { &[] };
    let after: BTreeSet<Sample> = on_disk.iter().flat_map(|record| &record.samples).copied().collect();
    let found: &[_] = if life.has_spool { &life.before } else { &[] };
    let (mut settled, mut ends) = (BTreeSet::new(), Ends::default());
    // What the last request came to may be known to nobody.
    let mut unknown = 0;
    let groups = groups(round, index);
    for (position, group) in groups.iter().enumerate() {
        let last = position + 1 == groups.len();
        let (number, request) = group.requests[group.requests.len() - 1];
        sent_again(group, life, judgement);
        if !settled.is_disjoint(&group.samples) {
            judgement.find(Rule::SentAgain, format!("run {index}: request {number} brought what was done with"));
        }
        let may = may(request, life.choice);
        let waits = last && !after.is_disjoint(&group.samples);
        match may.settle {
            None if last => {}
            None => judgement.find(
                Rule::NothingOvertakes,
                format!("run {index}: after request {number}, {:?}, came another batch", request.told),
            ),
            Some(_) if waits && (may.repeat || life.gave_up || life.books.is_none()) => {}
            Some(_) if waits => judgement.find(
                Rule::SentAgain,
                format!("run {index}: request {number} was answered, {:?}, and is still on the disk", request.told),
            ),
            Some(how) => {
                if last && (may.repeat || life.gave_up) && !life.keeps_all() {
                    unknown = group.samples.len() as u64;
                }
                if how.refused > 0 {
                    let stored = group.samples.iter().filter(|sample| made.stored.contains(*sample)).count();
                    judgement.gone("refused", group.samples.len() - stored);
                    judgement.gone("refused, but Prometheus has them", stored);
                }
                ends.delivered += how.delivered;
                ends.refused += how.refused;
                settled.extend(&group.samples);
            }
        }
    }
    let unsettled_again = after.intersection(&settled).count();
    if unsettled_again > 0 {
        judgement
            .find(Rule::SentAgain, format!("run {index}: {unsettled_again} samples are done with, and on the disk"));
    }

    let damaged: BTreeSet<Sample> =
        found.iter().filter(|record| !record.whole).flat_map(|record| &record.samples).copied().collect();
    for sample in found.iter().flat_map(|record| &record.samples) {
        if !settled.contains(sample) && !after.contains(sample) && !damaged.contains(sample) {
            judgement.find(Rule::NothingVanishes, format!("run {index}: {sample:?} was on the disk, and is gone"));
        }
    }
    strangers(&groups, found, index, made, judgement);
    if !life.has_spool && life.before != life.after {
        judgement.find(Rule::Disk, format!("run {index} had no spool, and changed it"));
    }
    let missing = own(life, index, &settled, &after, made, judgement);
    judgement.gone("damaged on disk", damaged.len() - damaged.intersection(&after).count());
    if let Some(books) = &life.books {
        books::judge(index, life, books, &books::Sums { ends, unknown, missing }, made, judgement);
    }
}

impl Life {
    /// Whether all that waits is on the disk, from its cut to its answer.
    fn keeps_all(&self) -> bool {
        self.has_spool && !self.disk_failed
    }
}

/// The requests of a batch, but for the last one, were answered so that it may come again; and it came unchanged.
fn sent_again(group: &Group<'_>, life: &Life, judgement: &mut Judgement) {
    for pair in group.requests.windows(2) {
        let ((number, request), (_, next)) = (pair[0], pair[1]);
        let (same_version, same_bytes) = (request.version == next.version, request.fingerprint == next.fingerprint);
        let to_v1 = life.choice == Choice::Auto && next.version == Version::V1;
        if !may(request, life.choice).repeat {
            let told = request.told;
            judgement.find(Rule::SentAgain, format!("request {number} was answered, {told:?}, and came again"));
        }
        if same_version != same_bytes || !(same_version || to_v1) {
            judgement.find(Rule::SentAgain, format!("request {number} came again with other bytes"));
        }
    }
}

/// What a run sends is its own, or was on the disk.
fn strangers(groups: &[Group<'_>], found: &[super::Record], index: usize, made: &Made, judgement: &mut Judgement) {
    let found: BTreeSet<Sample> = found.iter().flat_map(|record| &record.samples).copied().collect();
    for group in groups {
        let strange = group.samples.iter().filter(|sample| {
            let own = made.samples.get(*sample).is_none_or(|&(life, _)| life == index);
            !own && !found.contains(sample)
        });
        if let Some(sample) = { strange }.next() {
            let number = group.requests[0].0;
            judgement
                .find(Rule::SentAgain, format!("run {index}: request {number} has {sample:?}, which was done with"));
        }
    }
}

/// What the plugin made in this run. Returns how many samples are missing that the ledger has to count as given up.
fn own(
    life: &Life,
    index: usize,
    settled: &BTreeSet<Sample>,
    after: &BTreeSet<Sample>,
    made: &Made,
    judgement: &mut Judgement,
) -> u64 {
    let mut missing: BTreeMap<u64, Vec<Sample>> = BTreeMap::new();
    let mut newest_known = 0;
    for &super::Reading { number, timestamp_ms, .. } in &life.readings {
        for sample in (0..SERIES).map(|series| Sample { series, number, timestamp_ms }) {
            if made.samples[&sample].1.is_some() {
                judgement.gone("dropped by timestamp", 1);
            } else if settled.contains(&sample) || after.contains(&sample) {
                newest_known = newest_known.max(number);
            } else {
                missing.entry(number).or_default().push(sample);
            }
        }
    }
    let count: usize = missing.values().map(Vec::len).sum();
    let holes: Vec<&Sample> = missing.range(..=newest_known).flat_map(|(_, samples)| samples).collect();
    if let Some(first) = holes.first() {
        let what = format!("run {index}: {first:?} and {} more are gone from the middle", holes.len() - 1);
        judgement.find(Rule::NothingVanishes, what);
    }
    let taken_ms = |number: u64| life.readings.iter().find(|one| one.number == number).map_or(0, |one| one.taken_ms);
    let last_ms = life.readings.last().map_or(0, |reading| reading.taken_ms);
    let lost_ms = missing.keys().next().map_or(0, |&number| last_ms - taken_ms(number));
    match (&life.books, life.keeps_all()) {
        (None, true) => {
            judgement.gone("killed before they were cut", count);
            judgement.lost_ms.push(lost_ms);
            if lost_ms > life.flush_ms + SLACK_MS {
                let what =
                    format!("run {index}: a kill cost {lost_ms} ms of samples, flushed every {} ms", life.flush_ms);
                judgement.find(Rule::Flush, what);
            }
        }
        (None, false) => judgement.gone("killed in memory", count),
        (Some(_), true) if count > 0 => {
            let what = format!("run {index}: {count} samples are gone although it was stopped in good order");
            judgement.find(Rule::NothingVanishes, what);
        }
        (Some(_), true) => {}
        (Some(_), false) => judgement.gone("given up at the stop", count),
    }
    count as u64
}
