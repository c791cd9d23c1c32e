//! The ledger of a run that was stopped, against what was seen of it.

use super::run::Ends;
use super::{Judgement, Ledger, Life, Made, Record, Rule};
use crate::campaign::wire::SERIES;

/// What the ledger has to show, beside what the life says itself.
pub(super) struct Sums {
    pub(super) ends: Ends,
    /// The samples of the last request, where nobody can know whether its answer came.
    pub(super) unknown: u64,
    /// Neither settled nor on the disk; those of the last request are among them.
    pub(super) missing: u64,
}

pub(super) fn judge(index: usize, life: &Life, books: &Ledger, sums: &Sums, made: &Made, judgement: &mut Judgement) {
    let count = |records: &[Record], damaged: bool| -> u64 {
        records.iter().filter(|record| !(damaged && record.whole)).map(|record| record.count).sum()
    };
    let on_disk = |records, damaged| if life.has_spool { count(records, damaged) } else { 0 };
    let by_timestamp = |reason: &str| {
        let reasons = made.samples.values().filter(|&&(life, _)| life == index);
        reasons.filter(|(_, dropped)| *dropped == Some(reason)).count() as u64
    };
    let mut expect = |what: &str, said: u64, seen: u64, unknown: u64| {
        if said.abs_diff(seen) > unknown {
            let what = format!("run {index}: {what} is {said}, and {seen} was seen ({unknown} unknown): {books:?}");
            judgement.find(Rule::Books, what);
        }
    };
    let recovered = on_disk(&life.before, false);
    expect("recovered, in the log,", life.recovered, recovered, 0);
    expect("collected", books.collected, recovered + (life.readings.len() * SERIES) as u64, 0);
    expect("delivered, pending and dropped", books.delivered + books.pending + books.dropped, books.collected, 0);
    expect("the sum of the reasons", books.reasons.values().sum(), books.dropped, 0);
    expect("delivered", books.delivered, sums.ends.delivered, sums.unknown);
    expect("pending", books.pending, on_disk(&life.after, false), 0);
    expect("refused sends", books.refused_sends, 0, 0);
    for reason in ["duplicate", "out_of_order"] {
        expect(reason, books.dropped_as(reason), by_timestamp(reason), 0);
    }
    expect("refused", books.dropped_as("refused"), sums.ends.refused, sums.unknown);
    let damaged = on_disk(&life.before, true).saturating_sub(on_disk(&life.after, true));
    expect("spool_damaged", books.dropped_as("spool_damaged"), damaged, 0);
    // What is missing was given up for want of time, unless the last request ended it.
    expect("shutdown", books.dropped_as("shutdown"), sums.missing, sums.unknown);
    let known = ["duplicate", "out_of_order", "refused", "spool_damaged", "shutdown"];
    let others: u64 = known.iter().map(|reason| books.dropped_as(reason)).sum();
    expect("dropped for other reasons", books.dropped - others.min(books.dropped), 0, 0);
}
