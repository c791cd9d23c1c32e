//! What the samples of an exposition become: labels, moments, ends, limits, and what is known beside them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::exposer::{Answer, Exposer, OPENMETRICS, TEXT};
use super::{JOB, host, of, wait_value};
use crate::faults::{LONG, stop, wait_for_text};
use crate::sink::{Sample, Sink};

/// A running host, its one target, and what arrives.
fn scraping(answer: Answer, variables: &[(&str, &str)]) -> (crate::host::Running, Exposer, Sink) {
    let (exposer, sink) = (Exposer::always(answer), Sink::start());
    let host = host(sink.url(), &exposer.url("/metrics"));
    let running = variables.iter().fold(host, |host, (name, value)| host.env(name, value)).spawn();
    (running, exposer, sink)
}

/// The timestamps of scrapes that went so.
fn scrapes(samples: &[Sample], up: f64) -> Vec<i64> {
    let ups = samples.iter().filter(|sample| sample.metric == "up" && sample.value == up);
    ups.map(|sample| sample.timestamp_ms).collect()
}

/// Of one metric: timestamps of samples, timestamps of markers.
fn moments(samples: &[Sample], metric: &str) -> (Vec<i64>, Vec<i64>) {
    let of_metric = samples.iter().filter(|sample| sample.metric == metric);
    let (markers, samples): (Vec<&Sample>, Vec<&Sample>) = of_metric.partition(|sample| sample.is_marker());
    let at = |samples: Vec<&Sample>| samples.iter().map(|sample| sample.timestamp_ms).collect();
    (at(samples), at(markers))
}

#[test]
fn what_vanishes_is_marked_at_the_very_scrape() {
    let (running, exposer, sink) = scraping(Answer::text("a 1\nb 1\n"), &[]);
    wait_value(&sink, "b", 1.0, 2);
    exposer.change_to(Answer::text("a 2\n"));
    wait_value(&sink, "a", 2.0, 2);
    // A starved machine's scrapes fail at any time: some may have before.
    let failed = of(&sink, "up").iter().filter(|up| up.value == 0.0).count();
    exposer.change_to(Answer::with("503 Service Unavailable", "", ""));
    wait_value(&sink, "up", 0.0, failed + 3);
    exposer.change_to(Answer::text("a 3\nb 3\n"));
    wait_value(&sink, "b", 3.0, 2);
    exposer.change_to(Answer::text("a 4\nb"));
    exposer.wait_asked_again(2);
    exposer.change_to(Answer::text("a 6\n"));
    wait_value(&sink, "a", 6.0, 1);
    exposer.change_to(Answer::text(""));
    // An exposition of nothing is one: the target is up.
    sink.wait_for(LONG, "a scrape of nothing", |samples| {
        let up = scrapes(samples, 1.0);
        let is_nothing = |one: &&Sample| one.metric == "scrape_samples_scraped" && one.value == 0.0;
        samples.iter().filter(is_nothing).any(|one| up.contains(&one.timestamp_ms))
    });
    exposer.change_to(Answer::text("a 5\n"));
    wait_value(&sink, "a", 5.0, 2);
    let ledger = stop(&running);
    assert_eq!((ledger.dropped, ledger.delivered), (0, ledger.collected), "{ledger:?}");
    let samples = sink.wait_samples(ledger.delivered as usize, LONG);
    assert_eq!(sink.violations(), []);

    let mut all = [scrapes(&samples, 1.0), scrapes(&samples, 0.0)].concat();
    all.sort_unstable();
    for (metric, at_least) in [("a", 3), ("b", 2)] {
        let (here, markers) = moments(&samples, metric);
        assert!(here.iter().all(|moment| all.contains(moment)), "every sample has the moment of its scrape");
        // Wherever a scrape has none and the one before had one.
        let ends = all.windows(2).filter(|pair| here.contains(&pair[0]) && !here.contains(&pair[1]));
        assert_eq!(markers, ends.map(|pair| pair[1]).collect::<Vec<_>>(), "{metric}");
        assert!(markers.len() >= at_least, "{metric}: {markers:?}");
    }
    assert!(!samples.iter().any(|sample| sample.value == 4.0), "malformed");
    // Two at first; none after a failure, as Prometheus remembers what was there; and none for one that goes on.
    let up = scrapes(&samples, 1.0);
    let mut added = of(&sink, "scrape_series_added");
    added.retain(|one| up.contains(&one.timestamp_ms));
    assert_eq!((added[0].value, added.last().unwrap().value), (2.0, 0.0));
    let told = |text: &str| running.log().iter().filter(|line| line.text.contains(text)).count();
    let failed = scrapes(&samples, 0.0).len();
    assert!(told("is not scraped") < failed && told("is scraped again") >= 2, "{}", running.log_text());
}

#[test]
fn labels_and_moments_are_as_prometheus_has_them() {
    const BODY: &str = "own{job=\"j\",instance=\"i\",exported_job=\"e\",empty=\"\"} 1\n\
        twice 1\ntwice 2\norder{a=\"1\",b=\"2\"} 1\norder{b=\"2\",a=\"1\"} 2\nold 5 OLD\nbad{__reserved=\"1\"} 1\n";
    // A minute ago, in whole seconds.
    let old = (crate::drive::now_ms() / 1000 - 60) * 1000;
    let body = BODY.replace("OLD", &old.to_string());
    for honor in [false, true] {
        let switches = if honor { ["on", "off"] } else { ["off", "on"] };
        let [labels, timestamps] = switches;
        let variables = [("SCRAPE_HONOR_LABELS", labels), ("SCRAPE_HONOR_TIMESTAMPS", timestamps)];
        let (running, exposer, sink) = scraping(Answer::text(&body), &variables);
        wait_value(&sink, "up", 1.0, 3);
        let ledger = stop(&running);
        let samples = sink.wait_samples(ledger.delivered as usize, LONG);
        assert_eq!(ledger.dropped, 0, "what is not sent is counted here: {ledger:?}");
        let up = scrapes(&samples, 1.0);
        // A scrape may fail on a starved machine, which leaves markers.
        let is_of = |sample: &&Sample, metric: &str| sample.metric == metric && !sample.is_marker();
        let all = |metric: &str| samples.iter().filter(|sample| is_of(sample, metric)).collect::<Vec<_>>();

        let own = &all("own")[0].labels;
        let pairs: BTreeMap<&str, &str> = own.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let instance = exposer.instance();
        let expected: [(&str, &str); 4] =
            [("exported_exported_job", "j"), ("exported_instance", "i"), ("exported_job", "e"), ("job", JOB)];
        let expected: BTreeMap<&str, &str> = match honor {
            true => [("job", "j"), ("instance", "i"), ("exported_job", "e")].into(),
            false => expected.into_iter().chain([("instance", instance.as_str())]).collect(),
        };
        assert_eq!(pairs, expected);

        assert!(all("twice").iter().chain(&all("order")).all(|sample| sample.value == 1.0), "the first of each");
        let moments: Vec<_> = all("old").iter().map(|sample| sample.timestamp_ms).collect();
        assert_eq!(moments, if honor { up.clone() } else { vec![old] }, "its own moment is said once");
        let lost = |reason: &str| {
            let samples = all("monitor_scrape_dropped_samples_total").into_iter();
            samples.filter(|sample| sample.labels["reason"] == reason).map(|sample| sample.value).next_back().unwrap()
        };
        let times = up.len() as f64;
        assert_eq!((lost("duplicate"), lost("refused"), lost("queue_full")), (2.0 * times, times, 0.0));
        for told in ["scrape_samples_scraped", "scrape_samples_post_metric_relabeling"] {
            let told = all(told).into_iter().filter(|one| up.contains(&one.timestamp_ms));
            assert_eq!(told.map(|one| one.value).collect::<Vec<_>>(), vec![7.0; up.len()]);
        }
        let text = running.log_text();
        assert!(text.contains("exposes series twice") && text.contains("__reserved"), "{text}");
    }
}

#[test]
fn a_series_with_moments_of_its_own_just_stops() {
    for track in ["off", "on"] {
        let now = crate::drive::now_ms() - 5000;
        let body = move |n: i64| Answer::text(format!("own {n} {}\nplain {n}\n", now + n));
        let (running, exposer, sink) = scraping(body(1), &[("SCRAPE_TRACK_TIMESTAMPS_STALENESS", track)]);
        wait_value(&sink, "own", 1.0, 1);
        exposer.change_to(body(2));
        wait_value(&sink, "own", 2.0, 1);
        exposer.change_to(Answer::text("plain 3\n"));
        wait_value(&sink, "plain", 3.0, 2);
        let ledger = stop(&running);
        let samples = sink.wait_samples(ledger.delivered as usize, LONG);
        let (own, markers) = moments(&samples, "own");
        assert_eq!(own, [now + 1, now + 2]);
        let marked =
            samples.iter().find(|sample| sample.metric == "plain" && sample.value == 3.0).unwrap().timestamp_ms;
        // A scrape that failed before marks as well.
        let failed = scrapes(&samples, 0.0);
        assert_eq!(markers.is_empty(), track == "off", "{markers:?}");
        assert!(markers.iter().all(|moment| *moment == marked || failed.contains(moment)), "{markers:?}, {marked}");
        assert_eq!(ledger.dropped, 0, "{ledger:?}");
    }
}

#[test]
fn limits_refuse_a_scrape_as_a_whole() {
    for (variable, limit, body, says) in [
        ("SCRAPE_SAMPLE_LIMIT", "2", "a 1\nb 1\nc 1\n", "3 samples are more than SCRAPE_SAMPLE_LIMIT (2)"),
        ("SCRAPE_LABEL_LIMIT", "4", "a 1\nb{x=\"1\",y=\"2\"} 1\n", "5 labels: more than SCRAPE_LABEL_LIMIT (4)"),
        ("SCRAPE_LABEL_NAME_LENGTH_LIMIT", "8", "a 1\nb{long_name=\"1\"} 1\n", "long_name of 9 bytes: more than"),
        (
            "SCRAPE_LABEL_VALUE_LENGTH_LIMIT",
            "30",
            "b{x=\"1234567890123456789012345678901\"} 1\n",
            "31 bytes in the label x",
        ),
        ("SCRAPE_BODY_SIZE_LIMIT", "7", "a 1\nb 1\n", "longer than SCRAPE_BODY_SIZE_LIMIT (7 bytes)"),
    ] {
        let (running, exposer, sink) = scraping(Answer::text(body), &[(variable, limit)]);
        wait_for_text(&running, says);
        wait_value(&sink, "up", 0.0, 2);
        // At the limit all is well, with what is there twice.
        exposer.change_to(Answer::of(
            TEXT,
            if variable.ends_with("BODY_SIZE_LIMIT") { "a 1\n" } else { "a 1\na 1\nc 1\n" },
        ));
        wait_value(&sink, "a", 1.0, 2);
        assert!(of(&sink, "b").is_empty(), "{variable}");
        stop(&running);
    }
}

#[test]
fn what_openmetrics_knows_travels_along() {
    const BODY: &str = "# TYPE jobs counter\n# HELP jobs Done.\njobs_total{q=\"x\"} 17 # {trace_id=\"4bf9\"} 0.5 1700000000.125\n\
        jobs_created{q=\"x\"} 1700000001.5\n# TYPE wait_seconds histogram\n# UNIT wait_seconds seconds\n\
        wait_seconds_bucket{le=\"0.5\"} 1\nwait_seconds_bucket{le=\"+Inf\"} 2 # {} 7\nwait_seconds_sum 8\n\
        wait_seconds_count 2\nwait_seconds_created 1700000002\n# TYPE version info\nversion_info{v=\"1\"} 1\n# EOF\n";
    let (running, exposer, sink) = scraping(Answer::of(OPENMETRICS, BODY), &[]);
    wait_value(&sink, "jobs_total", 17.0, 3);
    // It begins anew.
    let again = BODY.replace("17 #", "1 #").replace("1700000001.5", "1700000005.25");
    exposer.change_to(Answer::of(OPENMETRICS, again));
    wait_value(&sink, "jobs_total", 1.0, 2);
    let ledger = stop(&running);
    let samples = sink.wait_samples(ledger.delivered as usize, LONG);
    assert_eq!((ledger.dropped, sink.violations()), (0, vec![]), "{ledger:?}");

    let starts = |metric: &str, value: f64| {
        let all = samples.iter().filter(|sample| sample.metric == metric && sample.value == value);
        let mut all: Vec<_> = all.map(|sample| sample.start_timestamp_ms).collect();
        all.dedup();
        all
    };
    assert_eq!(starts("jobs_total", 1.0), [1_700_000_005_250]);
    assert!(starts("jobs_total", 17.0).contains(&1_700_000_001_500));
    assert_eq!(starts("wait_seconds_bucket", 1.0), [1_700_000_002_000]);
    assert_eq!(starts("wait_seconds_sum", 8.0), [1_700_000_002_000]);
    assert_eq!(starts("jobs_created", 1_700_000_001.5), [0], "a series as others are");
    assert_eq!(starts("version_info", 1.0), [0]);
    let les: std::collections::BTreeSet<_> = samples.iter().filter_map(|sample| sample.labels.get("le")).collect();
    assert_eq!(les.into_iter().collect::<Vec<_>>(), ["+Inf", "0.5"]);

    let others = sink.others();
    let metadata = |metric: &str| {
        let of_metric = |one: &&Value| one["metadata"] == metric;
        let one = others.iter().find(of_metric).unwrap_or_else(|| panic!("no metadata of {metric}"));
        json!([one["type"], one["help"], one["unit"]])
    };
    assert_eq!(metadata("jobs_total"), json!(["counter", "Done.", ""]));
    assert_eq!(metadata("wait_seconds_bucket"), json!(["histogram", "", "seconds"]));
    assert_eq!(metadata("version_info"), json!(["info", "", ""]));
    let exemplars: Vec<_> = others.iter().filter(|one| one.get("exemplar").is_some()).collect();
    let of_jobs: Vec<_> = exemplars.iter().filter(|one| one["metric"] == "jobs_total").collect();
    assert_eq!(of_jobs.len(), 1, "it is sent once: {of_jobs:?}");
    assert_eq!(
        (&of_jobs[0]["exemplar"], &of_jobs[0]["value"], &of_jobs[0]["timestamp_ms"]),
        (&json!({"trace_id": "4bf9"}), &json!(0.5), &json!(1_700_000_000_125_i64))
    );
    let of_wait: Vec<_> = exemplars.iter().filter(|one| one["metric"] == "wait_seconds_bucket").collect();
    assert_eq!((of_wait.len(), &of_wait[0]["value"]), (1, &json!(7.0)), "{of_wait:?}");
}
