//! What is shown of a run, and how: columns, medians, ratios.
//!
//! Enters: what senders cost. Leaves: rows of Markdown.
//!
//! Never: shows a number that is none.

use super::Load;
use super::sender::{Cost, Who};

/// A column: its name, with how many decimals, and what is shown of a run.
pub(super) type Column = (&'static str, usize, fn(&Cost) -> f64);

pub(super) const CPU: Column = ("CPU s per million", 3, |cost| cost.process.cpu_s / cost.samples * 1e6);
pub(super) const CORE: Column = ("% of a core", 2, |cost| cost.process.cpu_s / cost.seconds * 100.0);
pub(super) const RATE: Column = ("samples/s", 0, |cost| cost.samples / cost.seconds);
pub(super) const BYTES: Column = ("bytes a sample", 2, |cost| cost.bytes / cost.samples);
pub(super) const WAKEUPS: Column = ("wakeups/s", 1, |cost| cost.process.wakeups / cost.seconds);
pub(super) const PEAK: Column = ("peak RSS, MiB", 1, |cost| cost.process.peak_kib / 1024.0);
const SHARE: Column = ("PSS, MiB", 1, |cost| cost.process.share_kib / 1024.0);
pub(super) const FIRST: Column = ("first push, s", 1, |cost| cost.first_s);
pub(super) const DROPPED: Column = ("samples dropped", 0, |cost| cost.dropped);

/// Of a run that is timed.
pub(super) const TIMED: [Column; 8] = [CPU, CORE, RATE, BYTES, WAKEUPS, PEAK, SHARE, FIRST];

pub(super) const EACH_REQUEST: Column = ("allocations a request", 1, |cost| cost.allocations / cost.requests);

/// How many of [`COUNTED`] are of what was sent.
pub(super) const SENT: usize = 2;

/// Of a run in which is counted: what was sent, then allocations.
pub(super) const COUNTED: [Column; 4] = [
    ("requests", 0, |cost| cost.requests),
    BYTES,
    EACH_REQUEST,
    ("allocations per million samples", 0, |cost| cost.allocations / cost.samples * 1e6),
];

/// The first lines of a table.
pub(super) fn head(columns: &[Column]) {
    println!("\n| load | sender | {} |", columns.iter().map(|(name, ..)| *name).collect::<Vec<_>>().join(" | "));
    println!("|---|---|{}", "---|".repeat(columns.len()));
}

/// A row for each sender; all but the floor, which is the first one, beside it.
pub(super) fn rows(columns: &[Column], load: &Load, senders: &[Who], costs: &[Vec<Cost>]) {
    let mut floor = Vec::new();
    for (who, costs) in senders.iter().zip(costs) {
        let spreads: Vec<Spread> = columns.iter().map(|column| Spread::of(column, costs)).collect();
        let cells = spreads.iter().zip(columns).map(|(spread, (_, decimals, _))| spread.show(*decimals));
        println!("| {} | {} | {} |", load.what, who.name(), cells.collect::<Vec<_>>().join(" | "));
        if matches!(who, Who::Floor) {
            floor = spreads;
        } else {
            let ratio = |(own, floor): (&Spread, &Spread)| match own.median / floor.median {
                ratio if ratio.is_finite() => format!("× {ratio:.2}"),
                _ => "none".to_owned(),
            };
            println!(
                "| | beside the floor | {} |",
                spreads.iter().zip(&floor).map(ratio).collect::<Vec<_>>().join(" | ")
            );
        }
        let dropped: f64 = costs.iter().map(|cost| cost.dropped).sum();
        if dropped > 0.0 {
            println!("| | **dropped** | {dropped} samples in all runs |");
        }
    }
}

/// The least, the middle and the most of all runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spread {
    pub(super) least: f64,
    pub(super) median: f64,
    pub(super) most: f64,
}

impl Spread {
    /// Of a number that was measured once or oftener.
    pub(super) fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |i: usize| values.get(i).copied().unwrap_or(f64::NAN);
        Spread { least: at(0), median: at(values.len() / 2), most: at(values.len().saturating_sub(1)) }
    }

    pub(super) fn of(column: &Column, costs: &[Cost]) -> Self {
        Spread::new(costs.iter().map(column.2).collect())
    }

    /// `median (least to most)`.
    pub(super) fn show(&self, decimals: usize) -> String {
        let [least, median, most] = [self.least, self.median, self.most].map(|value| show(value, decimals));
        if least == most { median } else { format!("{median} ({least} to {most})") }
    }
}

/// A number, or `none` where there is none: the cost of each sample of a sender that sent nothing.
pub(super) fn show(value: f64, decimals: usize) -> String {
    if value.is_finite() { format!("{value:.decimals$}") } else { "none".to_owned() }
}
