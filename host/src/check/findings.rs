//! What is wrong with a plugin, and what to do about it. Pure.
//!
//! Enters: [`Facts`] and the settings that they were measured under. Leaves: problems, each of which fails the check, and
//! hints, which do not.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use serde::Serialize;
use signal_hook::consts::signal::{SIGABRT, SIGKILL};

use super::apart::End;
use super::facts::{Dropped, Facts, Worker};
use super::text::{count, seconds};
use crate::ledger::Reason;

/// A worker that takes longer to end is worth a hint: the run's last push waits for it.
const SLOW_STOP: Duration = Duration::from_secs(1);
/// Names that are listed before the rest is only counted.
const MAX_NAMES: usize = 5;

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// Which kind of thing, by a name that stays.
    pub(super) kind: &'static str,
    /// What was found, in a sentence.
    pub(super) what: String,
    /// What its author can do.
    pub(super) todo: String,
}

fn finding(kind: &'static str, what: impl Into<String>, todo: impl Into<String>) -> Finding {
    Finding { kind, what: what.into(), todo: todo.into() }
}

/// A plugin whose library, or whose `new()`, has not returned.
pub(super) fn hung(what: &str, limit: Duration) -> Finding {
    let limit = seconds(limit);
    let todo = "give every wait in new(), and in the library's constructors, a bound, and say what is missing";
    finding("hung_at_start", format!("{what} has not returned within {limit}"), todo)
}

/// A plugin that took its process with it.
pub(super) fn died(end: &End) -> Finding {
    let todo = match end.status.signal() {
        _ if end.late => "let no destructor or exit handler of a library wait for something",
        None => "call no exit, and let no library do so: return an error; what waits in memory would be lost",
        Some(SIGABRT) => {
            "read what it wrote last, above: a failed assertion of a C library, a stack that is too deep, \
                          or a panic with panic = \"abort\""
        }
        Some(SIGKILL) => "look at the memory that it takes, and at the bounds of this user or container",
        Some(_) => "look at its unsafe code and at the C libraries that it calls; a debugger shows where it was",
    };
    finding("crashed", format!("the plugin's process {}", end.words()), todo)
}

/// The machine gave no thread, or no process.
pub(super) fn system(error: &std::io::Error) -> Finding {
    finding(
        "no_thread",
        format!("no thread or process can be started: {error}"),
        "look at the limits of this user or container",
    )
}

/// What fails the check.
pub(super) fn problems(facts: &Facts) -> Vec<Finding> {
    let mut all = Vec::new();
    for (name, worker) in [("get_power", &facts.get_power), ("process_data", &facts.process_data)] {
        all.extend(of_worker(name, worker));
    }
    if let Dropped::Late(limit) = facts.drop {
        all.push(finding(
            "hung_at_end",
            format!("the plugin's drop has not returned within {}", seconds(limit)),
            "a Drop that joins a thread has to tell that thread to end first",
        ));
    }
    if let Some(left) = left_threads(facts, false) {
        all.push(finding(
            "leaked_threads",
            format!("{} still ran after the plugin's end: {}", count(left.len(), "thread"), names(left)),
            "end and join in get_power and process_data, or in Drop, what they start; a thread without a name has \
             that of the one that started it",
        ));
    }
    // One that has failed, or ended, was heard of above.
    let lasted = |worker: &Worker| matches!(worker, Worker::Stopped(_) | Worker::Late(_));
    if facts.books.collected() == 0 && lasted(&facts.get_power) && lasted(&facts.process_data) {
        all.push(finding(
            "nothing_sent",
            format!("nothing was sent in {}", seconds(facts.ran)),
            "look at what get_power reads and process_data sends; a sensor that speaks seldom needs --seconds, or a \
             shorter SCRAPE_INTERVAL_S",
        ));
    }
    for &(reason, samples) in facts.books.dropped.iter().filter(|(_, samples)| *samples > 0) {
        let first = facts.firsts.get(&reason).or_else(|| facts.seen.firsts.get(&reason));
        let first = first.map(|first| format!("; the first: {first}")).unwrap_or_default();
        let what = format!("{} can't be used: {reason}{first}", count(samples, "sample"));
        all.push(finding("dropped", what, to_do(reason)));
    }
    for &(reason, exemplars) in facts.books.exemplars.dropped.iter().filter(|(_, exemplars)| *exemplars > 0) {
        let first = facts.firsts.get(&reason).map(|first| format!("; the first: {first}")).unwrap_or_default();
        let what = format!("{} can't be used: {reason}{first}", count(exemplars, "exemplar"));
        all.push(finding("dropped_exemplars", what, to_do(reason)));
    }
    if facts.books.refused_sends > 0 {
        all.push(finding(
            "refused_sends",
            format!("{} came back: the processed queue was full, or closed", count(facts.books.refused_sends, "send")),
            "send lists rather than single records, or raise PROC_QUEUE_SIZE; send nothing after the stop",
        ));
    }
    // A process_data that has failed leaves readings behind: that is no fault of its own.
    let well = matches!(facts.process_data, Worker::Stopped(_) | Worker::Followed);
    if well && facts.raw.refused > 0 {
        all.push(finding(
            "refused_readings",
            format!(
                "{} came back to get_power: the raw queue held {}, or was closed",
                count(facts.raw.refused, "reading"),
                facts.raw.capacity
            ),
            "process_data is slower than get_power: do less there, read less often, or raise RAW_QUEUE_SIZE",
        ));
    }
    let left = facts.raw.sent.saturating_sub(facts.raw.received);
    // Behind a get_power that goes on, process_data was asked to leave.
    if well && left > 0 && !matches!(facts.get_power, Worker::Late(_)) {
        all.push(finding(
            "readings_left",
            format!("{} were left in the raw queue", count(left, "reading")),
            "let process_data run until its input ends: for reading in input { … }",
        ));
    }
    if let Some(why) = &facts.seen.unreadable {
        all.push(finding("unreadable", format!("a batch can't be read again: {why}"), "please report this"));
    }
    all
}

fn of_worker(name: &str, worker: &Worker) -> Option<Finding> {
    Some(match worker {
        Worker::Stopped(_) | Worker::Followed => return None,
        Worker::Returned => finding(
            "returned",
            format!("{name} ended by itself, which ends a run"),
            match name {
                "get_power" => "read until stop is set: for _ in stop.every(scrape_interval) { … }",
                _ => "run until the input ends: for reading in input { … }",
            },
        ),
        Worker::Failed(why) => finding(
            "failed",
            format!("{name} failed, which ends a run: {why}"),
            "mend what it says; return an error only for what can't pass",
        ),
        Worker::Panicked(why) => finding(
            "panicked",
            format!("{name} {why}"),
            "return an error instead; RUST_BACKTRACE=1 shows where it came from",
        ),
        Worker::Late(limit) => finding(
            "ignored_stop",
            format!("{name} did not end within {} after it was asked to", seconds(*limit)),
            "wait with stop.wait(…) or stop.every(…), and give every other wait a bound",
        ),
    })
}

/// What is worth a look.
pub(super) fn hints(facts: &Facts, scrape_interval: Duration, is_dummy: bool) -> Vec<Finding> {
    let mut all = Vec::new();
    if is_dummy {
        let todo = "name the plugin: monitor-host check PATH";
        all.push(finding("dummy", "no plugin was named: this is the dummy, its readings are not real", todo));
    }
    if facts.interrupted {
        all.push(finding("interrupted", "the check was ended before its time", "let it run to the end"));
    }
    for (name, worker) in [("get_power", &facts.get_power), ("process_data", &facts.process_data)] {
        if let Worker::Stopped(took) = worker
            && *took > SLOW_STOP
        {
            let todo = "wait with stop.wait(…), which a stop ends at once";
            all.push(finding("slow_stop", format!("{name} took {} to stop", seconds(*took)), todo));
        }
    }
    if let Some(left) = left_threads(facts, true) {
        let what = format!(
            "{} still ran after the plugin's end, which its manifest allows: {}",
            count(left.len(), "thread"),
            names(left)
        );
        let todo =
            "where PLUGIN_RESTART is set, set PLUGIN_ISOLATION=process too: each restart would leave more of them";
        all.push(finding("threads_stay", what, todo));
    }
    all.extend(interval(facts, scrape_interval));
    // A plugin that ends by itself ends its series.
    let well = |worker: &Worker| matches!(worker, Worker::Stopped(_));
    if facts.seen.markers > 0 && well(&facts.get_power) && well(&facts.process_data) {
        all.push(finding(
            "series_ended",
            format!("{} ended meanwhile: the last handle was dropped", count(facts.seen.markers, "series")),
            "keep the handle as long as the series lives, unless it was meant to end",
        ));
    }
    all.extend(metadata(facts));
    all
}

/// The threads that were left behind by a plugin that says, or does not say, that some stay.
fn left_threads(facts: &Facts, may_stay: bool) -> Option<&[String]> {
    let threads = facts.threads.as_ref().filter(|threads| threads.may_stay == may_stay && !threads.left.is_empty());
    threads.map(|threads| threads.left.as_slice())
}

/// A plugin whose panics nobody can catch.
pub(super) fn panics_abort() -> Finding {
    let todo = "leave out panic = \"abort\" in [profile.release], unless that is meant";
    finding("panic_abort", "a panic in it would end the host at once, and what waits in memory be lost", todo)
}

fn interval(facts: &Facts, wanted: Duration) -> Option<Finding> {
    let (_, busiest) = facts.seen.busiest.as_ref()?;
    let is = busiest.interval().filter(|_| busiest.samples >= 4)?;
    let ratio = is.as_secs_f64() / wanted.as_secs_f64();
    let (is, wanted) = (seconds(is), seconds(wanted));
    let what = format!("the busiest series has a sample every {is}, SCRAPE_INTERVAL_S is {wanted}");
    match ratio {
        1.2.. => {
            Some(finding("slow_sampling", what, "a reading takes longer than the interval, or waits for something"))
        }
        ..0.8 => Some(finding("fast_sampling", what, "wait with stop.every(scrape_interval) between two readings")),
        _ => None,
    }
}

fn metadata(facts: &Facts) -> Option<Finding> {
    let without = |what: &str, missing: &dyn Fn(&crate::receive::decode::Metadata) -> bool| {
        let metrics = facts.seen.metadata.iter().filter(|(_, known)| known.as_ref().is_none_or(missing));
        let metrics: Vec<_> = metrics.map(|(metric, _)| metric.clone()).collect();
        (!metrics.is_empty()).then(|| format!("without a {what}: {}", names(&metrics)))
    };
    let parts =
        [without("type", &|known| known.kind == "unknown"), without("help text", &|known| known.help.is_empty())];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    let todo = "register series: SeriesSpec::gauge(…) or counter(…), with .help(…) and .unit(…); records carry none";
    (!parts.is_empty()).then(|| finding("no_metadata", format!("metrics {}", parts.join("; ")), todo))
}

/// The first few names, and how many there are more.
fn names(all: &[String]) -> String {
    let mut text = all.iter().take(MAX_NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
    if all.len() > MAX_NAMES {
        text += &format!(" and {} more", all.len() - MAX_NAMES);
    }
    text
}

/// What an author can do so that no sample is dropped for this reason.
fn to_do(reason: Reason) -> &'static str {
    match reason {
        Reason::InvalidJson => "send a JSON dictionary or a list of them, as UTF-8",
        Reason::DocumentTooLarge => "send less at once",
        Reason::NotADictionary => "send a dictionary or a list of dictionaries (docs/records.md)",
        Reason::NoValue => "give each record a value, or a dictionary at least one component",
        Reason::ValueNotANumber => "send the value as a number",
        Reason::InvalidTimestamp => "send milliseconds since 1970, UTC",
        Reason::InvalidMetricName => "use letters, digits, _ and : in a metric's name, no digit first",
        Reason::InvalidLabelName => "use letters, digits and _ in a label's name, no digit first, and no __",
        Reason::InvalidLabelValue => "send labels as a dictionary of texts or numbers",
        Reason::RepeatedLabel => "give each label once",
        Reason::LabelTooLong => "shorten the label, or raise MAX_LABEL_VALUE_BYTES",
        Reason::TooManyLabels => "send fewer labels",
        Reason::InvalidHistogram => "count with Histogram, or see to it that count, buckets and bounds agree",
        Reason::InvalidExemplar => "give an exemplar a number, and labels of 128 characters at most",
        Reason::LoneExemplar => "send an exemplar with a sample of its series: WithExemplars(&samples, &exemplars)",
        Reason::TooManyExemplars => "send an exemplar with few of the samples",
        Reason::TooManySeries => "look for a label whose value never comes again, or raise MAX_SERIES",
        Reason::UnknownSeries => "keep the series' handle as long as samples of it are sent",
        Reason::Duplicate => "one sample a series and millisecond: tell two apart by a label, or read less often",
        Reason::OutOfOrder => "send each series in the order of its timestamps, or set ALLOW_OUT_OF_ORDER=1",
        _ => "see docs/delivery.md",
    }
}

#[cfg(test)]
mod tests;
