//! A report for people: aligned, at most [`WIDTH`] columns wide, each problem with what to do. Pure.

use std::fmt::{self, Write};
use std::time::Duration;

use super::findings::Finding;
use super::report::{Report, Run, Verdict, WorkerEnd};
use crate::receive::lines::Text;

/// Columns of a line, where it can be broken.
const WIDTH: usize = 80;
/// Columns before the text of a field.
const INDENT: usize = 12;
/// Series whose disorder is listed.
const MAX_SERIES: usize = 5;

/// Displays a report.
pub(super) struct People<'a>(pub(super) &'a Report<'a>);

impl fmt::Display for People<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        field(f, "file", &report.file)?;
        if let Some(plugin) = &report.plugin {
            field(f, "plugin", &format!("{} {}", plugin.name, plugin.version))?;
            let built = format!("monitor-plugin-api {}, {}, {}", plugin.api, plugin.rustc, plugin.target);
            field(f, "built with", &built)?;
        }
        if let Some(error) = &report.error {
            field(f, "error", error)?;
        }
        if let Some(run) = &report.run {
            measured(f, run)?;
        }
        findings(f, "Problems", &report.problems)?;
        findings(f, "Hints", &report.hints)?;
        f.write_char('\n')?;
        match report.verdict {
            Verdict::Ok => f.write_str("OK: a run would push every sample of this plugin\n"),
            Verdict::Problems => writeln!(f, "NOT OK: {}", count(report.problems.len(), "problem")),
            Verdict::NotLoaded => f.write_str("NOT LOADED\n"),
        }
    }
}

fn measured(f: &mut fmt::Formatter<'_>, run: &Run<'_>) -> fmt::Result {
    let ran = seconds(Duration::from_secs_f64(run.ran_s));
    let sooner = if run.interrupted { ", ended sooner as asked" } else { "" };
    field(f, "ran", &format!("{ran} at SCRAPE_INTERVAL_S={}{sooner}", run.scrape_interval_s))?;
    let samples = &run.samples;
    let good = format!("{} good, {} dropped: {:.1} a second", samples.good, samples.dropped, samples.per_s);
    field(f, "samples", &good)?;
    field(f, "sends", &format!("{} taken, {} refused", run.sends.taken, run.sends.refused))?;
    let readings = &run.readings;
    let (sent, received) = (readings.sent, readings.received);
    field(f, "readings", &format!("{sent} by get_power, {received} to process_data, {} refused", readings.refused))?;
    let mut series = run.series.to_string();
    if let Some(busiest) = &run.busiest
        && let Some(interval) = busiest.interval_s
    {
        let (interval, gap) = (seconds(Duration::from_secs_f64(interval)), busiest.longest_gap_s.max(0.0));
        let gap = seconds(Duration::from_secs_f64(gap));
        series += &format!("; the busiest has a sample every {interval}, the longest gap is {gap}");
    }
    field(f, "series", &series)?;
    let ends = run.workers.iter().map(|(name, end)| format!("{name} {}", ending(end)));
    field(f, "end", &ends.collect::<Vec<_>>().join("; "))?;
    let threads = match &run.threads {
        None => "not looked at".to_owned(),
        Some(threads) if threads.leaked.is_empty() => "none left behind".to_owned(),
        Some(threads) => format!("{} left behind", threads.leaked.len()),
    };
    field(f, "threads", &threads)?;

    if !run.examples.is_empty() {
        f.write_str("\nSome of what a run would push:\n")?;
    }
    for example in &run.examples {
        let (key, sample) = example.of;
        writeln!(f, "  {}", cut_before_value(&Text(key, sample).to_string()))?;
    }
    if !run.disorder.is_empty() {
        f.write_str("\nDropped by series:\n")?;
    }
    for disorder in run.disorder.iter().take(MAX_SERIES) {
        let line = format!("{:>6} {:<17} {}", disorder.samples, disorder.reason.name(), disorder.series);
        writeln!(f, "  {}", cut(&line, WIDTH - 2))?;
    }
    if let Some(more) = run.disorder.len().checked_sub(MAX_SERIES).filter(|&more| more > 0) {
        writeln!(f, "  and of {more} more")?;
    }
    Ok(())
}

fn ending(end: &WorkerEnd<'_>) -> String {
    match (end.end, end.stop_s) {
        (_, Some(stop)) => format!("stopped in {}", seconds(Duration::from_secs_f64(stop))),
        ("followed", _) => "followed".to_owned(),
        ("returned", _) => "ended by itself".to_owned(),
        ("late", _) => "did not stop".to_owned(),
        (other, _) => other.to_owned(),
    }
}

fn findings(f: &mut fmt::Formatter<'_>, title: &str, findings: &[Finding]) -> fmt::Result {
    if findings.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n{title}:")?;
    for finding in findings {
        wrapped(f, "  - ", 4, &finding.what)?;
        wrapped(f, "    to do: ", 11, &finding.todo)?;
    }
    Ok(())
}

fn field(f: &mut fmt::Formatter<'_>, name: &str, text: &str) -> fmt::Result {
    wrapped(f, &format!("{name:<INDENT$}"), INDENT, text)
}

/// Words in lines of [`WIDTH`]; what has no space in it is not broken.
fn wrapped(f: &mut fmt::Formatter<'_>, head: &str, indent: usize, text: &str) -> fmt::Result {
    let mut column = head.chars().count();
    f.write_str(head)?;
    for (i, word) in text.split(' ').enumerate() {
        let width = word.chars().count();
        if i > 0 && column + 1 + width > WIDTH {
            write!(f, "\n{:indent$}", "")?;
            column = indent;
        } else if i > 0 {
            f.write_char(' ')?;
            column += 1;
        }
        // A plugin's own words go to a terminal.
        for c in word.chars() {
            if c.is_control() { write!(f, "{}", c.escape_debug())? } else { f.write_char(c)? }
        }
        column += width;
    }
    f.write_char('\n')
}

/// What is too long is cut where the labels are: the value is what is looked for.
fn cut_before_value(text: &str) -> String {
    let room = WIDTH - 2;
    match text.rsplit_once(' ') {
        Some((series, value)) if value.len() < room / 2 => format!("{} {value}", cut(series, room - value.len() - 1)),
        _ => cut(text, room),
    }
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}

/// `1 sample`, `2 samples`, `1 series`, `2 series`.
pub(super) fn count(number: impl TryInto<u64>, what: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    let plural = if number == 1 || what.ends_with('s') { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// Three digits or so: `0.2 ms`, `99 ms`, `0.1 s`, `3 s`, `12.5 s`.
pub(super) fn seconds(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1000.0;
    let (number, unit) = if ms < 99.5 { (ms, "ms") } else { (ms / 1000.0, "s") };
    let text = if number < 10.0 && unit == "s" { format!("{number:.2}") } else { format!("{number:.1}") };
    let text = text.trim_end_matches('0').trim_end_matches('.');
    match text {
        "" | "0" => "under 0.1 ms".to_owned(),
        text => format!("{text} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        for (us, text) in [
            (30, "under 0.1 ms"),
            (200, "0.2 ms"),
            (99_000, "99 ms"),
            (100_000, "0.1 s"),
            (104_400, "0.1 s"),
            (106_000, "0.11 s"),
            (3_000_000, "3 s"),
            (12_540_000, "12.5 s"),
            (30_000_000, "30 s"),
            (100_000_000, "100 s"),
        ] {
            assert_eq!(seconds(Duration::from_micros(us)), text);
        }
        assert_eq!((count(1u64, "sample"), count(2usize, "sample")), ("1 sample".into(), "2 samples".into()));
        assert_eq!((count(1u64, "series"), count(2u64, "series")), ("1 series".into(), "2 series".into()));
    }

    #[test]
    fn long_texts_are_wrapped_and_tame() {
        struct Wrapped<'a>(&'a str);
        impl fmt::Display for Wrapped<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                wrapped(f, "  - ", 4, self.0)
            }
        }
        let text = Wrapped(&"words of some length ".repeat(20)).to_string();
        assert!(text.lines().count() > 3 && text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(text.lines().skip(1).all(|line| line.starts_with("    ")), "{text}");
        assert_eq!(Wrapped("a\x1b[2J\nb").to_string(), "  - a\\u{1b}[2J\\nb\n");
        assert_eq!(cut("äöü", 2), "ä…");
        let long = cut_before_value(&format!("m{{a=\"{}\"}} 1.25", "x".repeat(200)));
        assert!(long.chars().count() == WIDTH - 2 && long.ends_with("xx… 1.25"), "{long}");
    }
}
