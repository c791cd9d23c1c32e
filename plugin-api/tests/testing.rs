//! Plugins, good and bad, on the host in memory: what it collects is what they did.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use monitor_plugin_api::testing::{FailureKind, Harness, Part, run_for};
use monitor_plugin_api::tracing::{Level, debug, warn};
use monitor_plugin_api::{
    Error, Histogram, Json, Kind, MonitorImpl, MonitorSource, RawReceiver, RawSender, Record, RecordSender, SendError,
    SeriesSpec, Stop, WithExemplars, setting,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Sends the numbers 1, 2, 3, … and does what PROBE asks for.
struct Probe {
    mode: String,
}

impl MonitorImpl for Probe {
    type Raw = i32;

    fn new() -> Result<Self, Error> {
        let mode = setting("PROBE").text("run")?;
        match mode.as_str() {
            "new-error" => Err(Error::new("there is no sensor")),
            "new-panic" => panic!("no sensor at all"),
            _ => Ok(Probe { mode }),
        }
    }

    fn get_power(&self, out: RawSender<i32>, scrape_interval: Duration, stop: Stop) -> Result<(), Error> {
        for (number, _) in (1..).zip(stop.every(scrape_interval)) {
            match self.mode.as_str() {
                "get-error" => return Err(Error::new("the sensor has gone")),
                "get-return" => return Ok(()),
                _ => _ = out.send_timeout(number, Duration::ZERO),
            }
        }
        Ok(())
    }

    fn process_data(&self, input: RawReceiver<i32>, out: RecordSender, stop: Stop) -> Result<(), Error> {
        let spec = |n: i32| SeriesSpec::counter("probe_total").label("b", n.to_string()).label("a", "").label("A", "x");
        let mut series = out.register(spec(0).unit("joules").help("For tests.").started_at(7))?;
        for number in input {
            let value = f64::from(number);
            match self.mode.as_str() {
                "panic" => panic!("as asked, {number}"),
                "return" => return Ok(()),
                "slow" => _ = stop.wait(Duration::from_millis(50)),
                "deaf" => std::thread::sleep(Duration::from_secs(3)),
                "log" => warn!(number, name = self.mode, "a warning"),
                // It has another handle still.
                "end" if number == 1 => drop(series.clone()),
                "end" if number == 2 => {
                    let late = series.sample(value, 0);
                    drop(series);
                    let _ = out.send(&[late][..]);
                    series = out.register(spec(0))?;
                }
                "many" => {
                    let _ = out.send(Record::new("other", value));
                    assert!(out.register(spec(1)).unwrap_err().to_string().contains("too_many_series"));
                }
                "eager" => {
                    let mut offered = out.send_timeout(Record::new("eager", value), Duration::from_millis(1));
                    while let Err(SendError::Full(record)) = offered {
                        offered = out.send_timeout(record, Duration::from_millis(1));
                    }
                    continue;
                }
                _ => debug!("a detail"),
            }
            let _ = out.send_timeout(&[series.sample(value, i64::from(number))][..], Duration::ZERO);
        }
        Ok(())
    }
}

fn probe(mode: &str) -> Harness {
    Harness::new::<Probe>().setting("PROBE", mode).scrape_interval(Duration::from_millis(1))
}

#[test]
fn registered_series_are_collected_with_all_that_was_told_of_them() {
    let run = probe("run").run_until_samples(5, PATIENCE);
    run.assert_ok();
    run.assert_stops_within(PATIENCE);
    let values: Vec<_> = run.samples_of("probe_total").map(|sample| (sample.value, sample.timestamp_ms)).collect();
    assert!(values.len() >= 5);
    assert!((1..).zip(&values).all(|(number, &value)| value == (f64::from(number), i64::from(number))), "{values:?}");
    assert_eq!((run.raw_queue().sent, run.raw_queue().received), (values.len() as u64, values.len() as u64));

    let [series] = run.series() else { panic!("{:?}", run.series()) };
    assert_eq!(series.to_string(), r#"probe_total{A="x",b="0"}"#);
    assert_eq!((series.kind, &*series.unit, &*series.help), (Kind::Counter, "joules", "For tests."));
    assert_eq!((series.start_ms, series.registered, series.ended), (Some(7), true, false));
    assert_eq!((run.samples()[0].label("b"), run.samples()[0].label("a")), (Some("0"), None));
}

#[test]
fn a_series_that_ends_is_another_when_it_comes_back() {
    let run = probe("end").run_until_samples(3, PATIENCE);
    run.assert_ok();
    assert_eq!(run.series().iter().map(|series| series.ended).collect::<Vec<_>>(), [true, false]);
    assert_eq!(run.dropped_samples(), 1);
    let ended: Vec<_> = run.samples()[..3].iter().map(|sample| sample.series.ended).collect();
    assert_eq!(ended, [true, false, false]);
}

#[test]
fn failures_are_values() {
    let failure = |mode: &str| {
        let run = probe(mode).stop_timeout(Duration::from_millis(400)).run_for(Duration::from_millis(200));
        let [failure] = run.failures() else { panic!("{mode}: {:?}", run.failures()) };
        (failure.part, failure.kind, failure.message.clone())
    };
    let is = |mode: &str, part, kind, message: &str| {
        let (own_part, own_kind, own_message) = failure(mode);
        assert_eq!((own_part, own_kind), (part, kind), "{mode}");
        assert!(own_message.ends_with(message), "{mode}: {own_message}");
    };
    is("new-error", Part::New, FailureKind::Error, "there is no sensor");
    is("new-panic", Part::New, FailureKind::Panic, "no sensor at all");
    is("get-error", Part::GetPower, FailureKind::Error, "the sensor has gone");
    is("get-return", Part::GetPower, FailureKind::EarlyReturn, "before it was asked to stop");
    is("panic", Part::ProcessData, FailureKind::Panic, "as asked, 1");
    is("return", Part::ProcessData, FailureKind::EarlyReturn, "before it was asked to stop");
    is("deaf", Part::ProcessData, FailureKind::IgnoredStop, "left behind");
}

#[test]
fn failed_assertions_say_why() {
    let said = |assertion: fn()| {
        let payload = std::panic::catch_unwind(assertion).unwrap_err();
        *payload.downcast::<String>().unwrap()
    };
    assert_eq!(
        said(|| probe("new-error").run_for(Duration::ZERO).assert_ok()),
        "the plugin failed: new: there is no sensor"
    );
    let left = said(|| {
        let run = probe("deaf").stop_timeout(Duration::from_millis(40)).run_for(Duration::from_millis(500));
        run.assert_stops_within(Duration::from_secs(9));
    });
    assert_eq!(left, "the plugin did not stop: process_data: did not end in time, and is left behind");
    let late = said(|| probe("slow").run_until_samples(1, PATIENCE).assert_stops_within(Duration::ZERO));
    assert!(late.starts_with("the plugin took "), "{late}");
}

#[test]
fn a_full_queue_refuses() {
    let run = probe("run").proc_queue_size(3).run_for(Duration::from_millis(300));
    run.assert_ok();
    assert_eq!(run.samples().len(), 3);
    assert_eq!(run.refused_sends() + 3, run.raw_queue().received);
}

#[test]
fn a_queue_that_is_emptied_has_room_again() {
    let run = probe("eager").proc_queue_size(1).drained_every(Duration::from_millis(20));
    let run = run.run_until_samples(4, PATIENCE);
    run.assert_ok();
    assert!(run.refused_sends() > 0, "nothing was refused");
    let values: Vec<_> = run.samples().iter().map(|sample| sample.value).collect();
    assert_eq!(values[..4], [1.0, 2.0, 3.0, 4.0]);
}

#[test]
fn a_full_raw_queue_hands_readings_back() {
    let run = probe("slow").raw_queue_size(2).run_until_samples(3, PATIENCE);
    assert!(run.raw_queue().refused > 0, "{:?}", run.raw_queue());
    assert_eq!(run.raw_queue().capacity, 2);
    assert!(run.log().iter().any(|event| event.message.contains("the raw queue stayed full")));
}

#[test]
fn there_can_be_too_many_series() {
    let run = probe("many").max_series(1).run_until_samples(2, PATIENCE);
    run.assert_ok();
    assert!(run.dropped_samples() >= 2);
    assert_eq!(run.series().len(), 1);
}

#[test]
fn events_and_panics_go_to_their_own_run() {
    let runs: Vec<_> = ["log", "panic", "log", "run"]
        .map(|mode| std::thread::spawn(move || probe(mode).run_until_samples(3, PATIENCE)))
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .collect();
    let logged = |run: usize| {
        runs[run]
            .log()
            .iter()
            .map(|event| (event.level, event.message.as_str(), event.fields.as_str()))
            .collect::<Vec<_>>()
    };
    for run in [0, 2] {
        assert_eq!(logged(run)[0], (Level::WARN, "a warning", r#"number=1 name="log""#));
        assert!(logged(run).iter().all(|event| event.1 == "a warning"));
        assert_eq!(runs[run].log()[0].target, "testing");
    }
    assert!(
        logged(1).iter().any(|event| event.0 == Level::ERROR && event.1.ends_with("as asked, 1")),
        "{:?}",
        logged(1)
    );
    assert!(logged(3).iter().all(|event| event.1 == "a detail"));
}

/// Sends what ITEM says.
struct Source {
    item: &'static str,
    key: Option<String>,
    given: bool,
}

impl MonitorSource for Source {
    type Item = Vec<Record>;

    fn new() -> Result<Self, Error> {
        let given = setting("PATH").text("unset")? != "unset";
        let item = setting("ITEM").choice("records", &["records", "none"])?;
        Ok(Source { item, key: setting("KEY").secret()?, given })
    }

    fn get_power(&self, out: RawSender<Vec<Record>>, scrape_interval: Duration, stop: Stop) -> Result<(), Error> {
        for _ in stop.every(scrape_interval) {
            let record = |name: &str| Record::new(name, 1.0).label("key", self.key.clone().unwrap_or_default());
            let _ = out.send(match self.item {
                "records" => vec![record("stamped").at(5), record(if self.given { "given" } else { "arrived" })],
                _ => Vec::new(),
            });
        }
        Ok(())
    }
}

#[test]
fn settings_come_from_the_test_alone() {
    let file = std::env::temp_dir().join(format!("monitor-plugin-api-{}", std::process::id()));
    std::fs::write(&file, "secret\n").unwrap();
    let run = Harness::source::<Source>().setting("KEY_FILE", file.to_str().unwrap()).run_until_samples(2, PATIENCE);
    std::fs::remove_file(&file).unwrap();
    run.assert_ok();
    assert_eq!(run.samples()[0].label("key"), Some("secret"));
    // PATH is set wherever tests run.
    assert_eq!(run.samples()[1].metric(), "arrived");

    let wrong = Harness::source::<Source>().setting("ITEM", "x").run_for(PATIENCE);
    assert_eq!(wrong.failures()[0].message, r#"ITEM="x": not understood; give one of records, none (default records)"#);
}

#[test]
fn records_keep_their_moment_or_get_that_of_their_arrival() {
    let before = monitor_plugin_api::now_ms();
    let run = Harness::source::<Source>().run_until_samples(2, PATIENCE);
    assert_eq!((run.samples()[0].metric(), run.samples()[0].timestamp_ms), ("stamped", 5));
    assert!((before..=monitor_plugin_api::now_ms()).contains(&run.samples()[1].timestamp_ms));
    assert!(!run.series()[0].registered);
}

/// Counts its readings in a histogram.
struct Reads;

impl MonitorImpl for Reads {
    type Raw = f64;

    fn new() -> Result<Self, Error> {
        Ok(Reads)
    }

    fn get_power(&self, out: RawSender<f64>, scrape_interval: Duration, stop: Stop) -> Result<(), Error> {
        stop.every(scrape_interval).for_each(|_| _ = out.send(3.0));
        Ok(())
    }

    fn process_data(&self, input: RawReceiver<f64>, out: RecordSender, _: Stop) -> Result<(), Error> {
        let series = out.register(SeriesSpec::histogram("read_seconds"))?;
        let mut reads = Histogram::exponential(0);
        for (value, now) in input.zip(1..) {
            reads.observe(value);
            let exemplar = series.exemplar(value, now).label("trace_id", "t");
            let _ = out.send(WithExemplars(&[series.histogram(&reads, now)], &[exemplar]));
        }
        Ok(())
    }
}

#[test]
fn histograms_and_exemplars_are_collected() {
    let run = Harness::new::<Reads>().run_until_samples(2, PATIENCE);
    run.assert_ok();
    let second = &run.histograms()[1];
    assert_eq!((second.series.metric.as_str(), second.series.kind), ("read_seconds", Kind::Histogram));
    // 3 lies above 2^1 and up to 2^2.
    assert_eq!((second.count, second.sum, &*second.positive), (2.0, 6.0, &[(2, 2.0)][..]));
    assert_eq!(run.exemplars()[1].labels, [("trace_id".to_owned(), "t".to_owned())]);
    assert_eq!((run.exemplars()[1].value, run.exemplars()[1].timestamp_ms), (3.0, 2));
}

/// Offers JSON without a pause.
struct Flood;

static FLOODED: AtomicBool = AtomicBool::new(false);

impl MonitorSource for Flood {
    type Item = Json;

    fn new() -> Result<Self, Error> {
        Ok(Flood)
    }

    fn get_power(&self, out: RawSender<Json>, _: Duration, stop: Stop) -> Result<(), Error> {
        while !stop.is_set() {
            let _ = out.send_timeout(Json(" ".repeat(1 << 20)), Duration::ZERO);
            FLOODED.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[test]
fn json_is_collected_as_it_is_and_never_without_a_bound() {
    let run = Harness::source::<Flood>().raw_queue_size(1).run_for(Duration::from_millis(500));
    run.assert_ok();
    assert!(FLOODED.load(Ordering::Relaxed));
    assert_eq!(run.documents()[0].len(), 1 << 20);
    assert!(run.documents().len() <= 24, "{}", run.documents().len());
}

#[test]
fn a_run_for_a_time_takes_that_time() {
    let began = std::time::Instant::now();
    let run = run_for::<Probe>(Duration::from_millis(100));
    assert!(began.elapsed() >= Duration::from_millis(100));
    run.assert_ok();
}
