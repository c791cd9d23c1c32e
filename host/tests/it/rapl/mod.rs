//! The RAPL plugin beside a model of what a kernel shows: what was spent is what arrives, whatever the counters do meanwhile.

mod failures;
pub(crate) mod machine;
mod trees;

use crate::sink::Sample;

/// All samples of one series of energy: the domain names it.
fn of_domain<'a>(samples: &'a [Sample], domain: &str) -> Vec<&'a Sample> {
    let metrics = ["monitor_energy_joules_total", "monitor_subdomain_energy_joules_total", PLATFORM];
    let wanted = |sample: &&Sample| {
        metrics.contains(&sample.metric.as_str()) && sample.labels.get("domain").is_some_and(|d| d == domain)
    };
    samples.iter().filter(wanted).collect()
}

const PLATFORM: &str = "monitor_platform_energy_joules_total";

/// The last value of a metric of the sensor's own health, all its labels together; none where it never came.
fn health(samples: &[Sample], name: &str, errno: Option<&str>) -> Option<f64> {
    let metric = format!("monitor_rapl_{name}");
    let wanted = |sample: &&Sample| {
        sample.metric == metric && sample.labels.get("errno").map(String::as_str) == errno && !sample.is_marker()
    };
    samples.iter().rfind(wanted).map(|sample| sample.value)
}

fn microjoules(joules: f64) -> u64 {
    (joules * 1e6).round() as u64
}
