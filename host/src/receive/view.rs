//! Enters: the table and the counts. Leaves: text for people. Never prints, never reads a clock.

use std::fmt::Write;

use super::lines::special;
use super::receiver::Counts;
use super::table::{Entry, Key, Table};

/// Characters of a series' name that are shown.
const MAX_NAME: usize = 160;
/// A series that has sent nothing for so long has no rate any more.
const QUIET_MS: i64 = 60_000;

/// The table, at most `rows` of it, and the total.
pub(super) fn table(table: &Table, counts: &Counts, rows: usize, now_ms: i64) -> String {
    let mut text = format!("{:>10} {:>9} {:>15} {:>7}  series\n", "samples", "per s", "last value", "age");
    for (key, entry) in table.iter().take(rows) {
        row(&mut text, key, entry, now_ms);
    }
    let hidden = table.len().saturating_sub(rows);
    if hidden > 0 {
        let _ = writeln!(text, "… and {hidden} more");
    }
    let _ = writeln!(text, "{}", total(table, counts, now_ms));
    text
}

/// All counts in one line.
pub(super) fn total(table: &Table, counts: &Counts, now_ms: i64) -> String {
    let mut text = format!("total: {} samples", counts.samples);
    let rate: f64 = table.iter().filter_map(|(_, entry)| rate(entry, now_ms)).sum();
    if rate > 0.0 {
        let _ = write!(text, " ({rate:.1}/s)");
    }
    let _ = write!(text, " in {} series", table.len());
    for (count, what) in [
        (table.untracked(), "samples of further series"),
        (counts.histograms, "histograms"),
        (counts.exemplars, "exemplars"),
    ] {
        if count > 0 {
            let _ = write!(text, ", {count} {what}");
        }
    }
    let _ = write!(text, ", {} requests", counts.requests);
    let answers: Vec<_> = counts.answers.iter().map(|(answer, count)| format!("{answer}: {count}")).collect();
    if !answers.is_empty() {
        let _ = write!(text, " ({})", answers.join(", "));
    }
    let _ = write!(text, ", {} violations", counts.violations());
    text
}

fn row(text: &mut String, key: &Key, entry: &Entry, now_ms: i64) {
    let (value, age) = match entry.last {
        Some(last) => (number(last.value), Some(now_ms.saturating_sub(last.timestamp_ms))),
        None => ("-".into(), None),
    };
    let rate = rate(entry, now_ms);
    let rate = rate.map_or_else(|| "-".into(), |rate| format!("{rate:.2}"));
    let age = age.map_or_else(|| "-".into(), duration);
    let name = key.to_string();
    let shown: String = name.chars().take(MAX_NAME).collect();
    let cut = if shown.len() < name.len() { "…" } else { "" };
    let _ = writeln!(text, "{:>10} {rate:>9} {value:>15} {age:>7}  {shown}{cut}", entry.samples);
}

/// Samples per second, while they come.
fn rate(entry: &Entry, now_ms: i64) -> Option<f64> {
    let age = now_ms.saturating_sub(entry.last?.timestamp_ms);
    entry.rate.per_second().filter(|_| age < QUIET_MS)
}

/// As short as it goes without losing what matters.
fn number(value: f64) -> String {
    if !value.is_finite() {
        return special(value).into();
    }
    let plain = format!("{value}");
    if plain.len() <= 15 {
        return plain;
    }
    let exponential = format!("{value:.7e}");
    // Where the digits end soon, they need no exponent.
    let rounded = exponential.parse().map_or_else(|_| String::new(), |value: f64| value.to_string());
    if (1..=15).contains(&rounded.len()) { rounded } else { exponential }
}

fn duration(ms: i64) -> String {
    let seconds = ms as f64 / 1000.0;
    match seconds.abs() {
        below if below < 100.0 => format!("{seconds:.1}s"),
        below if below < 6000.0 => format!("{:.0}m", seconds / 60.0),
        below if below < 172_800.0 => format!("{:.0}h", seconds / 3600.0),
        _ => format!("{:.0}d", seconds / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_bounded_and_the_rest_is_told() {
        let mut series = Table::new(100);
        for index in 0..30 {
            let labels = vec![("zone".into(), format!("{index:02}"))];
            series.store(Key { metric: "power".into(), labels }, [(1000, 1.5), (2000, 2.5)].into_iter());
        }
        let counts = Counts { requests: 1, samples: 60, ..Default::default() };
        let text = table(&series, &counts, 20, 4500);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 23);
        assert_eq!(lines[1], "         2      1.00             2.5    2.5s  power{zone=\"00\"}");
        assert_eq!(lines[21], "… and 10 more");
        assert_eq!(lines[22], "total: 60 samples (30.0/s) in 30 series, 1 requests, 0 violations");
    }

    #[test]
    fn a_quiet_series_has_no_rate() {
        let mut series = Table::new(1);
        series.store(Key { metric: "m".into(), labels: vec![] }, [(0, 1.0), (1000, f64::NAN)].into_iter());
        let text = table(&series, &Counts::default(), 5, 600_000);
        assert_eq!(text.lines().nth(1).unwrap(), "         2         -             NaN     10m  m");
    }

    #[test]
    fn numbers_and_names_keep_their_columns() {
        for value in [0.0, 1.0 / 3.0, -1.0 / 3.0, 1e300, -f64::MIN_POSITIVE, 123_456_789_012_345_680.0, f64::NAN] {
            assert!(number(value).len() <= 15, "{}", number(value));
        }
        assert_eq!([23.990000000000002, 1.0 / 3.0].map(number), ["23.99", "0.33333333"]);
        assert_eq!(number(1e300 / 3.0), "3.3333333e299");
        let mut text = String::new();
        row(&mut text, &Key { metric: "x".repeat(9999), labels: vec![] }, &Entry::default(), 0);
        assert!(text.chars().count() < 250 && text.ends_with("…\n"));
    }
}
