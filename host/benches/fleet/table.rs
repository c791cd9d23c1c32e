//! The table.
//!
//! Enters: runs of the simulation. Leaves: Markdown, a row each. All figures are of the time behind the outage: the most
//! requests in a second, also as a multiple of what the fleet needs; the share of requests that were answered 503, or stored
//! though the client heard nothing of it; when clients had caught up; how old batches were when they were delivered.

use std::fmt::Write;
use std::time::Duration;

use crate::scenarios::Named;
use crate::simulation::Seen;

/// A row for each run.
pub(crate) fn of(all: &[(Named, Seen)]) -> String {
    let mut table =
        "| | peak, requests/s | of the need | in vain | half has caught up | all have | p99 age | dropped |\n\
        |---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for (named, seen) in all {
        let _ = writeln!(
            table,
            "| {} | {} | × {:.1} | {:.1} % | {} | {} | {} | {} |",
            named.name,
            thousands(seen.peak()),
            seen.peak() as f64 / named.need(),
            seen.in_vain() * 100.0,
            moment(seen.caught_up_by(0.5)),
            moment(seen.caught_up_by(1.0)),
            moment(Some(seen.age(0.99))),
            thousands(seen.dropped),
        );
    }
    table
}

/// 1234567 as 1,234,567.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn moment(moment: Option<Duration>) -> String {
    moment.map_or_else(|| "not within 2 h".to_owned(), |moment| format!("{:.0} s", moment.as_secs_f64()))
}
