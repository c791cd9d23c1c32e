//! The plugin that scrapes: beside a real Prometheus that scrapes the same; whatever targets answer; and how it ends. And its
//! parser beside Prometheus's own.

mod answers;
mod beside;
pub(crate) mod exporter;
pub(crate) mod exposer;
mod expositions;
mod pages;
mod running;
mod series;

use crate::host::Host;
use crate::plugins;
use crate::sink::{Sample, Sink};

/// What all these series have.
const JOB: &str = "test";

/// Five scrapes a second of these targets, pushed five times a second.
fn host(url: &str, targets: &str) -> Host {
    let host = Host::new().env("MONITOR_IMPL_PATH", plugins::so("monitor-scrape")).env("REMOTE_WRITE_URL", url);
    let host = host.env("SCRAPE_TARGETS", targets).env("SCRAPE_JOB", JOB);
    host.env("SCRAPE_INTERVAL_S", "0.2").env("PUSH_INTERVAL_S", "0.2").env("REMOTE_WRITE_PROTOCOL", "2.0")
}

/// All samples of a metric so far, in the order of arrival.
fn of(sink: &Sink, metric: &str) -> Vec<Sample> {
    sink.samples().into_iter().filter(|sample| sample.metric == metric).collect()
}

/// Waits until so many samples of this metric have arrived with this value; the last of them.
#[track_caller]
fn wait_value(sink: &Sink, metric: &str, value: f64, at_least: usize) -> Sample {
    let is_it = |sample: &&Sample| sample.metric == metric && sample.value == value;
    let what = format!("{at_least} samples {metric} of {value}");
    sink.wait_for(crate::faults::LONG, &what, |samples| samples.iter().filter(is_it).count() >= at_least);
    of(sink, metric).into_iter().filter(|sample| sample.value == value).nth(at_least - 1).expect("it was waited for")
}
