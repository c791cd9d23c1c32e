//! Beside a real Prometheus that scrapes the same targets at the same time: the same series, types and values.
//!
//! What both scrape live moves between two scrapes, so that there names, labels and types are compared. For values, each of
//! both gets the same answers in the same order: recorded from real targets, and with the faults that end series.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use super::exporter::NodeExporter;
use super::exposer::{Answer, Asked, Exposer, OPENMETRICS};
use super::{JOB, host, of};
use serde_json::Value;

use crate::faults::{LONG, stop};
use crate::http;
use crate::receivers::{Kind, Labels, Receiver, by_labels};
use crate::sink::Sink;

type BySeries = BTreeMap<Labels, Vec<(i64, f64)>>;

/// Scrapes these targets as the plugin does, and forwards what it stores.
fn configuration(targets: &[String], interval: &str, forward_to: &str) -> String {
    format!(
        "global: {{scrape_interval: {interval}, scrape_timeout: {interval}}}\n\
         scrape_configs:\n- job_name: {JOB}\n  static_configs: [{{targets: [{}]}}]\n\
         remote_write:\n- url: {forward_to}\n  metadata_config: {{send: false}}\n  queue_config: {{batch_send_deadline: 100ms}}\n",
        targets.iter().map(|target| format!("'{target}'")).collect::<Vec<_>>().join(",")
    )
}

/// A receiver that only forwards what it is sent.
fn forwarding(forward_to: &str) -> String {
    format!(
        "remote_write:\n- url: {forward_to}\n  metadata_config: {{send: false}}\n  queue_config: {{batch_send_deadline: 100ms}}\n"
    )
}

/// Written by hand: what real targets have seldom.
const BY_HAND: &str = "# HELP odd A \\\\ and\\nmore\n# TYPE odd gauge\nodd{a=\"\\\"\\\\\\n\",b=\"\u{fc}\",c=\"\"} NaN\n\
    odd{a=\"inf\"} +Inf\nodd{a=\"-inf\"} -Inf\nodd{a=\"small\"} 5e-324\nodd{a=\"zero\"} -0\n\
    odd{job=\"own\",instance=\"own\"} 1\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"2.50\"} 2\n\
    h_bucket{le=\"+Inf\"} 3\nh_sum 4.5\nh_count 3\n# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 2\ns_count 3\n\
    untyped_one 1\ntwice 1\ntwice 1\n";

/// The same in the other format.
const IN_OPENMETRICS: &str = "# TYPE c counter\n# UNIT c_seconds seconds\nc_seconds_total 1 # {id=\"x\"} 1\nc_seconds_created 2\n\
    # TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_sum 4.5\nh_count 3\nh_created 1.5\n\
    # TYPE i info\ni_info{v=\"1\"} 1\n# TYPE e stateset\ne{e=\"on\"} 1\n# EOF\n";

fn get(url: &str) -> String {
    let answer = http::request("GET", url, &[], &[]).unwrap_or_else(|error| panic!("{url}: {error}"));
    assert_eq!(answer.status, 200, "{url}");
    answer.body
}

/// The lines that are about the first half of the metrics.
fn half(body: &str) -> String {
    let mut half: Vec<_> = body.lines().collect();
    half.truncate(half.len() / 2);
    half.iter().map(|line| format!("{line}\n")).collect()
}

/// Gives these answers to each of both scrapers in turn, once it is told to, and the last one ever after.
struct Replay {
    exposer: Exposer,
    /// How many of them each has had.
    given: Arc<[AtomicUsize; 2]>,
}

impl Replay {
    fn new(answers: Vec<Answer>, begins: &Arc<AtomicBool>) -> Self {
        let given = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let (counts, begins) = (Arc::clone(&given), Arc::clone(begins));
        let exposer = Exposer::start(move |asked: &Asked| {
            if !begins.load(Ordering::SeqCst) {
                return Answer::with("503 Service Unavailable", "", "");
            }
            let agent = asked.header("user-agent").unwrap_or_default();
            let number = counts[usize::from(agent.starts_with("Prometheus/"))].fetch_add(1, Ordering::SeqCst);
            answers[number.min(answers.len() - 1)].clone()
        });
        Self { exposer, given }
    }
}

/// Each sample by the number of its scrape since the targets began to answer: its bits.
type Aligned = BTreeMap<Labels, Vec<(usize, u64)>>;

/// Every sample has the timestamp of its scrape's `up`; the first `scrapes` count.
#[track_caller]
fn aligned(all: &BySeries, scrapes: usize) -> Aligned {
    let up = |instance: &str| {
        let of_target = |labels: &&Labels| labels["__name__"] == "up" && labels["instance"] == instance;
        let samples = &all[all.keys().find(of_target).unwrap_or_else(|| panic!("no up of {instance}"))];
        let samples = samples.iter().skip_while(|(_, value)| *value == 0.0);
        samples.map(|(moment, _)| *moment).collect::<Vec<_>>()
    };
    let mut aligned = Aligned::new();
    for (labels, samples) in all.iter().filter(|(labels, _)| !labels["__name__"].starts_with("monitor_scrape_")) {
        let moments = up(&labels["instance"]);
        // Of the newest scrape, not all may have arrived.
        let (first, newest) = (moments[0], moments[moments.len() - 1]);
        for (moment, value) in samples.iter().filter(|(moment, _)| (first..=newest).contains(moment)) {
            let number = moments.iter().position(|one| one == moment);
            let number = number.unwrap_or_else(|| panic!("no scrape at {moment} of {labels:?}"));
            // How long a scrape took is not the same.
            let bits = if labels["__name__"] == "scrape_duration_seconds" { 0 } else { value.to_bits() };
            if number < scrapes {
                aligned.entry(labels.clone()).or_default().push((number, bits));
            }
        }
    }
    aligned
}

#[track_caller]
fn assert_same(ours: &Aligned, theirs: &Aligned) {
    for (labels, samples) in theirs {
        assert_eq!(ours.get(labels), Some(samples), "{labels:?}");
    }
    let more: Vec<_> = ours.keys().filter(|labels| !theirs.contains_key(*labels)).collect();
    assert!(more.is_empty(), "a Prometheus has none of {more:?}");
}

#[test]
fn a_prometheus_stores_the_same_values_and_ends() {
    // A scrape that a starved machine gives up takes an answer with it, which then one side lacks.
    let compared = (0..3).any(|_| replay_to_both() != Some(Compared::NotAllAnswered));
    assert!(compared, "each time a scrape failed that should not have, or the other way round");
}

/// What came of one comparison; none where a counterpart is missing.
#[derive(PartialEq)]
enum Compared {
    Same,
    /// The answers that failed on one side are not those that are to fail.
    NotAllAnswered,
}

/// Whether the first scrapes of each target, since it began to answer, went as they are to go.
fn went(sink: &Sink, targets: &[String], expected: &[[f64; 8]; 3]) -> bool {
    targets.iter().zip(expected).all(|(target, expected)| {
        let mut ups = of(sink, "up");
        ups.retain(|up| up.labels["instance"] == *target);
        let values = ups.iter().map(|up| up.value).skip_while(|value| *value == 0.0);
        values.take(expected.len()).eq(expected.iter().copied())
    })
}

fn replay_to_both() -> Option<Compared> {
    let node = NodeExporter::start()?;
    let (our_sink, their_sink) = (Sink::start(), Sink::start());
    let ours = Receiver::configured(Kind::Prometheus3, &forwarding(our_sink.url()))?;
    let own = ours.write_url().replace("/api/v1/write", "/metrics");

    let begins = Arc::new(AtomicBool::new(false));
    let fails = || Answer::with("503 Service Unavailable", "", "");
    let malformed = || Answer::text("malformed{\n");
    let recorded = |url: &str| {
        let [first, second, third] = [(); 3].map(|()| get(url));
        let less = half(&third);
        vec![
            Answer::text(&first),
            Answer::text(&second),
            fails(),
            Answer::text(&second),
            Answer::text(less),
            malformed(),
            Answer::text(&third),
            Answer::text(half(&first)),
        ]
    };
    let by_hand = vec![
        Answer::text(BY_HAND),
        Answer::of(OPENMETRICS, IN_OPENMETRICS),
        Answer::text(BY_HAND),
        Answer::text(""),
        Answer::text(BY_HAND),
        Answer::text(BY_HAND.replace("h_sum 4.5", "h_sum 5.5")),
        Answer::text(BY_HAND).without_last(5),
        Answer::text(half(BY_HAND)),
    ];
    let scrapes = by_hand.len();
    let replays = [recorded(&node.url()), recorded(&own), by_hand].map(|answers| Replay::new(answers, &begins));
    let targets: Vec<String> = replays.iter().map(|replay| replay.exposer.instance()).collect();

    let theirs = Receiver::configured(Kind::Prometheus3, &configuration(&targets, "500ms", their_sink.url()))?;
    let running = host(&ours.write_url(), &targets.join(",")).env("SCRAPE_INTERVAL_S", "0.5").spawn();
    for sink in [&our_sink, &their_sink] {
        sink.wait_for(LONG, "an up of each target", |samples| {
            let has = |target: &String| samples.iter().any(|s| s.metric == "up" && s.labels["instance"] == *target);
            targets.iter().all(has)
        });
    }
    begins.store(true, Ordering::SeqCst);
    for sink in [&our_sink, &their_sink] {
        sink.wait_for(LONG, "all scrapes", |samples| {
            let ups = |target: &String| {
                let of_target = |s: &&crate::sink::Sample| s.metric == "up" && s.labels["instance"] == *target;
                samples.iter().filter(of_target).skip_while(|up| up.value == 0.0).count()
            };
            targets.iter().all(|target| ups(target) > scrapes)
        });
    }
    assert!(replays.iter().all(|replay| replay.given.iter().all(|given| given.load(Ordering::SeqCst) > scrapes)));
    let of_recorded = [1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0];
    let expected = [of_recorded, of_recorded, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0]];
    if ![&our_sink, &their_sink].into_iter().all(|sink| went(sink, &targets, &expected)) {
        return Some(Compared::NotAllAnswered);
    }

    // With the markers of what ended, and their moments.
    let (our_samples, their_samples) = (aligned(&our_sink.series(), scrapes), aligned(&their_sink.series(), scrapes));
    assert_same(&our_samples, &their_samples);
    let stale = |(_, bits): &&(usize, u64)| *bits == monitor_proto::STALE_NAN;
    let markers = our_samples.values().flatten().filter(stale).count();
    assert!(our_samples.len() > 1000 && markers > 2000, "{} series, {markers} markers", our_samples.len());

    // What both have stored, and what they show.
    let selector = format!("{{job=\"{JOB}\"}}");
    let stored = [&ours, &theirs].map(|receiver| aligned(&by_labels(receiver.range(&selector)), scrapes));
    assert_same(&stored[0], &stored[1]);
    let shown = [&ours, &theirs].map(|receiver| {
        let shown = receiver.instant(&selector);
        shown.into_iter().filter(|labels| !labels["__name__"].starts_with("monitor_scrape_")).collect::<Vec<_>>()
    });
    assert_eq!(shown[0], shown[1]);
    assert!(shown[0].len() < stored[0].len(), "what has ended is not shown");
    assert_eq!(stop(&running).dropped, 0);
    Some(Compared::Same)
}

#[test]
fn live_targets_give_the_same_names_labels_and_types() {
    let Some(node) = NodeExporter::start() else { return };
    let sink = Sink::start();
    let Some(ours) = Receiver::start(Kind::Prometheus3) else { return };
    let own = ours.write_url().replace("http://", "").replace("/api/v1/write", "");
    let targets = [node.address().to_string(), own];
    let Some(theirs) = Receiver::configured(Kind::Prometheus3, &configuration(&targets, "2s", sink.url())) else {
        return;
    };
    let told = Sink::start();
    let into_database = host(&ours.write_url(), &targets.join(",")).env("SCRAPE_INTERVAL_S", "2").spawn();
    let into_sink = host(told.url(), &targets.join(",")).env("SCRAPE_INTERVAL_S", "2").spawn();

    let names = |receiver: &Receiver| {
        let shown = receiver.instant(&format!("{{job=\"{JOB}\"}}"));
        shown.into_iter().filter(|labels| !labels["__name__"].starts_with("monitor_scrape_")).collect::<Vec<_>>()
    };
    let start = Instant::now();
    loop {
        let (ours, theirs) = (names(&ours), names(&theirs));
        let moves = |labels: &Labels| {
            // The receivers count what they are asked here, and by whom they are scraped.
            labels["__name__"].starts_with("prometheus_http_") || labels["__name__"].starts_with("net_conntrack_")
        };
        let difference: Vec<_> = ours.iter().filter(|labels| !theirs.contains(labels) && !moves(labels)).collect();
        let missing: Vec<_> = theirs.iter().filter(|labels| !ours.contains(labels) && !moves(labels)).collect();
        let has = |target: &String| theirs.iter().filter(|labels| labels["instance"] == *target).count() > 100;
        if targets.iter().all(has) && difference.is_empty() && missing.is_empty() {
            break;
        }
        assert!(start.elapsed() < LONG, "{} and {}: {difference:?}, {missing:?}", ours.len(), theirs.len());
        // A scrape can be asked for, not awaited.
        std::thread::sleep(std::time::Duration::from_millis(300));
    }

    // Prometheus tells types by family, which is what most series are called.
    let types = theirs.ask("targets/metadata", &[]);
    let mut by_family: BTreeMap<&str, Vec<(&Value, &Value)>> = BTreeMap::new();
    for one in types.as_array().expect("a list") {
        by_family.entry(one["metric"].as_str().expect("a name")).or_default().push((&one["type"], &one["help"]));
    }
    let told_types = told.others().into_iter().filter(|one| one.get("metadata").is_some());
    let mut compared = 0;
    for one in told_types {
        let metric = one["metadata"].as_str().expect("a name");
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| by_family.get(metric.strip_suffix(end)?));
        let Some(of_targets) = by_family.get(metric).or(family) else { continue };
        assert!(of_targets.contains(&(&one["type"], &one["help"])), "{one}: {of_targets:?}");
        compared += 1;
    }
    assert!(compared > 300, "{compared}");
    stop(&into_sink);
    assert_eq!(stop(&into_database).dropped, 0);
}
