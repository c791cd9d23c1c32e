//! Targets' answers made into samples on a host in memory: what depends on that host, and on nothing else.

use std::marker::PhantomData;
use std::time::Duration;

use monitor_plugin_api::testing::{Harness, Run};
use monitor_plugin_api::{Error, MonitorImpl, RawReceiver, RawSender, RecordSender, Stop};

use crate::fetch::Body;
use crate::rounds::Scraped;
use crate::scrape::Scrape;
use crate::settings::Rules;

const START_MS: i64 = 1_760_000_000_000;
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// What the target answers, one scrape a second after the other.
trait Play: Send + Sync + 'static {
    const BODIES: &[&str];
    const CONTENT_TYPE: Option<&str> = None;
    const SAMPLE_LIMIT: u64 = 1000;
}

/// A plugin that reads them without a network.
struct Played<P>(PhantomData<P>);

impl<P: Play> MonitorImpl for Played<P> {
    type Raw = ();

    fn new() -> Result<Self, Error> {
        Ok(Played(PhantomData))
    }

    fn get_power(&self, _out: RawSender<()>, _scrape_interval: Duration, stop: Stop) -> Result<(), Error> {
        stop.wait(Duration::MAX);
        Ok(())
    }

    fn process_data(&self, input: RawReceiver<()>, out: RecordSender, _stop: Stop) -> Result<(), Error> {
        let rules = Rules {
            honor_labels: false,
            honor_timestamps: true,
            track_timestamps: false,
            sample_limit: P::SAMPLE_LIMIT,
            label_limit: 0,
            name_length_limit: 0,
            value_length_limit: 0,
        };
        let labels = vec![("job".to_owned(), "j".to_owned())];
        let mut scrape = Scrape::new("target".to_owned(), labels, rules, out);
        for (at_ms, body) in (START_MS..).step_by(1000).zip(P::BODIES) {
            let body = Body { bytes: body.as_bytes().to_vec(), content_type: P::CONTENT_TYPE.map(str::to_owned) };
            scrape.take(&Scraped::of(at_ms, Ok(body)));
        }
        input.pull();
        Ok(())
    }
}

fn play<P: Play>(harness: impl FnOnce(Harness) -> Harness) -> Run {
    let run = harness(Harness::new::<Played<P>>()).run_until_samples(usize::MAX, Duration::from_millis(500));
    run.assert_ok();
    run
}

/// Seconds and values of a metric; none is a marker.
fn of(run: &Run, metric: &str) -> Vec<(i64, Option<f64>)> {
    let samples = run.samples_of(metric);
    let value = |value: f64| Some(value).filter(|value| value.to_bits() != STALE);
    samples.map(|sample| ((sample.timestamp_ms - START_MS) / 1000, value(sample.value))).collect()
}

struct Comings;

impl Play for Comings {
    const BODIES: &[&str] = &["a 1\nb 1\n", "a 2\n", "a 3\nb{", "a 4\nb 4\nc 4\n", "", "c 6\n"];
}

#[test]
fn series_come_and_go() {
    let run = play::<Comings>(|harness| harness);
    assert_eq!(of(&run, "a"), [(0, Some(1.0)), (1, Some(2.0)), (2, None), (3, Some(4.0)), (4, None)]);
    assert_eq!(of(&run, "b"), [(0, Some(1.0)), (1, None), (3, Some(4.0)), (4, None)]);
    assert_eq!(of(&run, "c"), [(3, Some(4.0)), (4, None), (5, Some(6.0))]);
    let told = |metric: &str| run.samples_of(metric).map(|sample| sample.value).collect::<Vec<_>>();
    assert_eq!(told("up"), [1.0, 1.0, 0.0, 1.0, 1.0, 1.0]);
    assert_eq!(told("scrape_samples_scraped"), [2.0, 1.0, 1.0, 3.0, 0.0, 1.0]);
    assert_eq!(told("scrape_series_added"), [2.0, 0.0, 0.0, 2.0, 0.0, 0.0]);
    let ended: Vec<_> = run.series().iter().filter(|series| series.ended).map(|series| series.metric.clone()).collect();
    assert_eq!(ended, ["a", "b", "b"], "what is gone is let go");
}

struct Crowd;

impl Play for Crowd {
    const BODIES: &[&str] = &["a 1\nb 1\nc 1\nd 1\n", "a 2\nb 2\nc 2\nd 2\n", "d 3\n", "d 4\n"];
}

#[test]
fn what_the_host_refuses_costs_nothing_else() {
    // Nine tell of the scrapes.
    let run = play::<Crowd>(|harness| harness.max_series(9 + 1));
    assert_eq!(of(&run, "a"), [(0, Some(1.0)), (1, Some(2.0)), (2, None)]);
    assert_eq!(of(&run, "up").iter().map(|(_, value)| *value).collect::<Vec<_>>(), [Some(1.0); 4]);
    let refused = run.samples_of("monitor_scrape_dropped_samples_total").collect::<Vec<_>>();
    let refused = refused.iter().filter(|sample| sample.label("reason") == Some("refused")).map(|sample| sample.value);
    assert_eq!(refused.take(3).collect::<Vec<_>>(), [3.0, 6.0, 7.0]);
    let told: Vec<_> = run.log().iter().filter(|event| event.message.contains("samples are dropped")).collect();
    assert_eq!(told.len(), 1, "when it begins: {told:?}");
}

struct Slow;

impl Play for Slow {
    const BODIES: &[&str] = &["a 1\nb 1\n", "a 2\n", "a 3\n", "a 4\n", "a 5\n", "a 6\n"];
}

#[test]
fn a_marker_that_found_no_room_comes_with_a_later_scrape() {
    let harness = Harness::new::<Played<Slow>>().proc_queue_size(1).drained_every(Duration::from_millis(2500));
    // One scrape is 2 or 3 series, or its marker, and 9 that tell of it: the first, and one more.
    let run = harness.run_until_samples(11 + 11, Duration::from_secs(30));
    run.assert_ok();
    let (a, b) = (of(&run, "a"), of(&run, "b"));
    assert!(a[1].0 > 1, "the queue had no room for the second: {a:?}");
    assert_eq!(b, [(0, Some(1.0)), (a[1].0, None)]);
    let lost: Vec<_> = run.samples_of("monitor_scrape_dropped_samples_total").collect();
    let lost = lost.iter().rfind(|sample| sample.label("reason") == Some("queue_full")).unwrap().value;
    // Each of those that were lost: one sample, the marker, and nine.
    assert_eq!(lost, 11.0 * (a[1].0 - 1) as f64);
    let told: Vec<_> = run.log().iter().filter(|event| event.message.contains("a scrape is dropped")).collect();
    assert!(!told.is_empty());
}

struct Moments;

impl Play for Moments {
    const BODIES: &[&str] = &[
        "own 1 1760000000000\n",
        "own 1 1760000000000\n",
        "own 2 1760000002000\nbad{",
        "own 2 1760000002000\n",
        "other 1\n",
        "own 3 1760000005000\n",
    ];
}

#[test]
fn moments_of_a_refused_scrape_are_said_by_the_next() {
    let run = play::<Moments>(|harness| harness);
    assert_eq!(of(&run, "own"), [(0, Some(1.0)), (2, Some(2.0)), (5, Some(3.0))]);
    assert!(run.series().iter().all(|series| series.metric != "own" || !series.ended), "kept for a while");
}

const OPENMETRICS: Option<&str> = Some("application/openmetrics-text; version=1.0.0");

struct Exemplars;

impl Play for Exemplars {
    const BODIES: &[&str] = &[
        "a 1 # {x=\"1\"} 1 1760000000\n# EOF\n",
        "a 2 # {x=\"2\"} 2 1760000001\nbad",
        "a 3 # {x=\"2\"} 2 1760000001\n# EOF\n",
        "a 4 # {x=\"2\"} 2 1760000001\nbad",
        "a 5 # {x=\"2\"} 2 1760000001\n# EOF\n",
    ];
    const CONTENT_TYPE: Option<&str> = OPENMETRICS;
}

#[test]
fn exemplars_of_a_refused_scrape_come_with_the_next() {
    let run = play::<Exemplars>(|harness| harness);
    let sent: Vec<_> = run.exemplars().iter().map(|exemplar| (exemplar.value, exemplar.timestamp_ms)).collect();
    assert_eq!(sent, [(1.0, START_MS), (2.0, START_MS + 1000)], "each is sent once");
}

struct Families;

impl Play for Families {
    const BODIES: &[&str] = &[
        "# HELP a One.\na 1\nb 1\n",
        "# HELP a Two.\na 2\nb 2\n",
        "# HELP a Three.\na 3\nb 3\nbad{",
        "# HELP a Three.\na 4\nb 4\nc 4\n",
        "# HELP b Its own.\nb 5\n# HELP c Its own.\na 5\nc 5\n",
    ];
}

#[test]
fn series_are_new_by_their_text_whatever_the_metadata() {
    let run = play::<Families>(|harness| harness);
    let added: Vec<_> = run.samples_of("scrape_series_added").map(|sample| sample.value).collect();
    assert_eq!(added, [2.0, 0.0, 0.0, 1.0, 0.0]);
    let help = |metric: &str| run.series().iter().find(|series| series.metric == metric).unwrap().help.clone();
    assert_eq!((help("b"), help("c")), ("Its own.".into(), "Its own.".into()));
}

struct Restarts<const BODIES: usize>;

impl<const BODIES: usize> Play for Restarts<BODIES> {
    const BODIES: &[&str] = [
        "# TYPE a counter\na_total 1\na_created 5\n# TYPE b counter\nb_total 1\nb_created 5\n# EOF\n",
        "# TYPE a counter\nbad",
        "# TYPE a counter\n# HELP a Anew.\na_total 2\na_created 5\n# TYPE b counter\nb_total 2\nb_created 5\n# EOF\n",
        "# TYPE a counter\n# HELP a Anew.\na_total 1\n# TYPE b counter\nb_total 3\nb_created 6\n# EOF\n",
    ]
    .split_at(BODIES)
    .0;
    const CONTENT_TYPE: Option<&str> = OPENMETRICS;
}

#[test]
fn a_start_that_is_not_told_any_more_is_not_known() {
    fn after<const BODIES: usize>() -> [Option<i64>; 2] {
        let run = play::<Restarts<BODIES>>(|harness| harness);
        let start = |metric: &str| run.series().iter().find(|series| series.metric == metric).unwrap().start_ms;
        [start("a_total"), start("b_total")]
    }
    assert_eq!(after::<1>(), [Some(5000); 2]);
    assert_eq!(after::<2>(), [Some(5000); 2], "a failed scrape tells nothing");
    assert_eq!(after::<3>(), [Some(5000); 2]);
    assert_eq!(after::<4>(), [Some(0), Some(6000)]);
}

struct Many;

impl Play for Many {
    const BODIES: &[&str] = &["a 1\nb 1\nc 1\na 2\n", "a 2\nb 2\na 3\n", "x 1\n"];
    const SAMPLE_LIMIT: u64 = 2;
}

#[test]
fn the_sample_limit_counts_no_sample_twice() {
    let run = play::<Many>(|harness| harness);
    assert_eq!(of(&run, "a"), [(1, Some(2.0)), (2, None)]);
    assert_eq!(of(&run, "x"), [(2, Some(1.0))]);
    let told = |metric: &str| run.samples_of(metric).map(|sample| sample.value).collect::<Vec<_>>();
    assert_eq!((told("up"), told("scrape_samples_scraped")), (vec![0.0, 1.0, 1.0], vec![4.0, 3.0, 1.0]));
}
