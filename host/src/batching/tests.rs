use super::*;
use crate::encode::Protocol;
use crate::exemplar::Exemplar;
use crate::intake::Intake;
use crate::keep::{Bounds, Taken};
use crate::labels::Rules;
use crate::metrics::Observer;
use crate::metrics::facts::About;
use crate::queue::{Aside, Extras};
use crate::series::Metadata;
use prost::Message;
use std::ops::ControlFlow;

struct Stage {
    batching: Batching,
    drained: Drained,
    moment_ms: i64,
}

impl Stage {
    /// A stage that looks for idle series at each deadline.
    fn new() -> Stage {
        Self::with_series(10)
    }

    /// The same, with room for so many series.
    fn with_series(max_series: usize) -> Stage {
        let limits = Limits { max_samples: 100, max_bytes: 10_000, allow_out_of_order: false };
        let second = Duration::from_secs(1);
        let settings =
            Settings { limits, push_interval: second, spool_interval: second, series_idle: Some(Duration::ZERO) };
        let ledger = Arc::new(Ledger::default());
        let bounds = Bounds { max_batches: 100, max_bytes: 100_000 };
        let batching = Batching::new(
            settings,
            Arc::new(ProcessedQueue::new(10, Arc::clone(&ledger))),
            Arc::new(SeriesTable::new(max_series)),
            Arc::new(Kept::new(bounds, None, Arc::clone(&ledger))),
            ledger,
            Arc::new(Current::new(Protocol::V1)),
        );
        Stage { batching, drained: Drained::default(), moment_ms: 1_760_000_000_000 }
    }

    fn deadline(&mut self) {
        self.batching.turn(Wake::Deadline, &mut self.drained);
    }

    fn enqueue(&mut self, series: SeriesId) {
        self.moment_ms += 100;
        let sample = Sample::from_parts(series.to_number(), 1.0, self.moment_ms);
        self.batching.queue.send(&[sample], &[], Duration::ZERO).unwrap();
    }

    fn reasons(&self) -> String {
        self.batching.ledger.snapshot().reasons()
    }
}

#[test]
fn a_series_stays_known_until_the_sends_that_named_it_have_ended() {
    // Wherever the send stalls between naming its series and the queue, and however long.
    for (before, between) in [(0, 0), (0, 1), (0, 2), (0, 9), (1, 9), (3, 9)] {
        let mut stage = Stage::new();
        let table = Arc::clone(&stage.batching.table);
        stage.enqueue(table.intern(b"stalled").unwrap());
        (0..before).for_each(|_| stage.deadline());
        let naming = table.begin_naming();
        let series = table.intern(b"stalled").unwrap();
        for _ in 0..between {
            // Others go on, and end.
            drop(table.begin_naming());
            stage.deadline();
        }
        stage.enqueue(series);
        drop(naming);
        stage.deadline();
        assert_eq!(stage.reasons(), "", "{before}, {between}");
        assert_eq!(table.view().labels(series), Some(&b"stalled"[..]));
        // Nothing is heard of it any more.
        (0..4).for_each(|_| stage.deadline());
        assert!(table.is_empty(), "{before}, {between}");
    }
}

#[test]
fn what_is_sent_after_a_series_was_forgotten_is_told() {
    let mut stage = Stage::new();
    let table = Arc::clone(&stage.batching.table);
    // Nobody says that this send is under way: what the test above would see if nothing was waited for.
    let series = table.intern(b"stalled").unwrap();
    let forgotten = (0..9).try_for_each(|_| {
        stage.deadline();
        if table.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(forgotten.is_break());
    stage.enqueue(series);
    stage.deadline();
    assert_eq!(stage.reasons(), "unknown_series=1");
}

#[test]
fn a_handle_that_goes_while_a_record_is_on_its_way_costs_it_nothing() {
    let mut stage = Stage::new();
    stage.batching.next_sweep = None;
    let table = Arc::clone(&stage.batching.table);
    let series = table.register(b"s", Default::default()).unwrap();
    stage.enqueue(series);
    let naming = table.begin_naming();
    assert_eq!(table.intern(b"s"), Some(series));
    let end = |stage: &Stage| {
        assert!(table.release(series));
        stage.batching.queue.end(series);
    };
    end(&stage);
    stage.deadline();
    // Nor does a second handle, which comes and goes while another record is on its way.
    let later = table.begin_naming();
    assert_eq!(table.register(b"s", Default::default()), Some(series));
    assert_eq!(table.intern(b"s"), Some(series));
    end(&stage);
    stage.deadline();
    drop(naming);
    (0..3).for_each(|_| stage.deadline());
    stage.enqueue(series);
    drop(later);
    stage.deadline();
    assert_eq!(stage.reasons(), "");
    assert_eq!(table.len(), 1, "its record was the last that was heard");
}

#[test]
fn ends_under_constant_traffic_leave_the_table() {
    let mut stage = Stage::new();
    stage.batching.next_sweep = None;
    let table = Arc::clone(&stage.batching.table);
    let mut open = table.begin_naming();
    for i in 0..20_u8 {
        let series = table.register(&[i + 1], Default::default()).unwrap();
        stage.enqueue(series);
        assert!(table.release(series));
        stage.batching.queue.end(series);
        stage.deadline();
        // There is always a send under way, but not always the same.
        let next = table.begin_naming();
        drop(std::mem::replace(&mut open, next));
    }
    assert_eq!(stage.reasons(), "");
    assert!(table.len() <= 4, "{}", table.len());
}

#[test]
fn deadlines_stay_on_their_grid() {
    let (start, s) = (Instant::now(), Duration::from_secs(4));
    assert_eq!(next_deadline(start, s, start), start + s);
    assert_eq!(next_deadline(start, s, start + s / 2), start + s);
    assert_eq!(next_deadline(start, s, start + s), start + s * 2);
    assert_eq!(next_deadline(start, s, start + s * 5 / 2), start + s * 3);
    assert_eq!(next_deadline(start + s, s, start), start + s * 2);
}

/// The host's own metrics, for a stage.
fn own(stage: &Stage) -> Own {
    let Batching { queue, table, kept, ledger, protocol, cuts, .. } = &stage.batching;
    let observer = Observer {
        about: About { name: "p".into(), version: "1".into(), api: "1".into(), isolation: "off" },
        ledger: Arc::clone(ledger),
        plugin: Arc::default(),
        processed: Arc::clone(queue),
        table: Arc::clone(table),
        cuts: Arc::clone(cuts),
        last_look: kept.look_now().into(),
        kept: Arc::clone(kept),
        pushes: Arc::default(),
        protocol: Arc::clone(protocol),
        admin: Arc::default(),
        began_ms: 0,
        is_ending: false.into(),
    };
    let intake = Intake::new(Arc::clone(queue), Arc::clone(table), "m", "s", Rules::default());
    Own::new(Arc::new(observer), &intake, "j", "i")
}

#[test]
fn the_host_s_own_metrics_come_every_fifteen_seconds_and_at_the_end() {
    let stage = Stage::with_series(10 + OWN_SERIES);
    let mut own = own(&stage);
    let (start, second) = (Instant::now(), Duration::from_secs(1));
    let mut due = |is_last, seconds| own.due(is_last, start + seconds * second).is_some();
    // Nothing in between, and no more than one for those that a sleeping machine has missed.
    let seen = [0, 1, 14, 16, 17, 29, 31, 100, 101, 104, 106].map(|seconds| due(false, seconds));
    assert_eq!(seen, [true, false, false, true, false, false, true, true, false, false, true]);
    assert!(due(true, 107), "the run ends");
}

#[test]
fn the_host_s_own_metrics_are_no_readings_and_never_idle() {
    let mut stage = Stage::with_series(10 + OWN_SERIES);
    stage.batching.own = Some(own(&stage));
    let newest_ms = |stage: &Stage| stage.batching.cuts.newest_ms();
    stage.deadline();
    let books = stage.batching.ledger.snapshot();
    assert!(books.collected() > 80 && books.collected[Origin::Own as usize].1 == books.collected(), "{books:?}");
    assert!(newest_ms(&stage) == 0 && stage.batching.kept.waiting().0 >= 2, "cut where the batch was full");
    // Whatever is idle ends at each deadline.
    (0..5).for_each(|_| stage.deadline());
    assert_eq!(stage.batching.ledger.snapshot().collected(), books.collected(), "not one has ended");

    let series = stage.batching.table.intern(b"reading").unwrap();
    stage.enqueue(series);
    stage.deadline();
    assert_eq!(newest_ms(&stage), stage.moment_ms);
    // In one batch with a reading, and cut in the middle.
    stage.batching.own = Some(own(&stage));
    stage.enqueue(series);
    stage.deadline();
    assert_eq!(newest_ms(&stage), stage.moment_ms);
    assert!(stage.batching.ledger.snapshot().balances());
}

#[test]
fn points_that_are_passed_over_are_counted() {
    let (start, second) = (Instant::now(), Duration::from_secs(1));
    for (late_ms, missed) in [(0, 0), (999, 0), (1000, 1), (3500, 3)] {
        let next = next_deadline(start, second, start + Duration::from_millis(late_ms));
        assert_eq!(passed_over(start, next, second), missed, "{late_ms}");
    }
}

#[test]
fn what_fills_several_batches_is_merged_by_series() {
    let mut stage = Stage::new();
    let table = Arc::clone(&stage.batching.table);
    let series: Vec<_> = (0..10u8).map(|i| table.intern(&[0x0a, 3, 0x0a, 1, b'a' + i]).unwrap()).collect();
    let trace = |series, timestamp_ms| Exemplar { series, labels: Box::default(), value: 1.0, timestamp_ms };
    for round in 0..40 {
        let now = 1_760_000_000_000 + round;
        let samples: Vec<_> = series.iter().map(|series| Sample::from_parts(series.to_number(), 1.0, now)).collect();
        let asides = vec![(samples.len(), Aside::Exemplar(trace(series[9], now)))];
        let extras = if round % 4 == 3 { Extras { asides, ..Extras::default() } } else { Extras::default() };
        stage.batching.queue.send_with(&samples, extras, Duration::ZERO).unwrap();
        if round % 4 == 3 {
            // The stage takes what waits; the last deadline ends the last batch.
            stage.batching.turn(if round == 39 { Wake::Deadline } else { Wake::HalfFull }, &mut stage.drained);
        }
    }
    stage.batching.kept.close();
    let (mut samples, mut entries, mut exemplars) = (0, 0, 0);
    while let Taken::Batch(batch) = stage.batching.kept.take(None) {
        let message = snap::raw::Decoder::new().decompress_vec(&batch.body).unwrap();
        let request = monitor_proto::v1::WriteRequest::decode(message.as_slice()).unwrap();
        samples += batch.samples;
        exemplars += batch.exemplars;
        entries += request.timeseries.len();
    }
    // Four batches of a hundred samples, each of all series, but for those that a cut divides; no exemplar lost its sample.
    assert_eq!((samples, exemplars), (400, 10));
    assert!(entries <= 4 * 10, "{entries}");
}

#[test]
fn nothing_is_allocated_for_a_sample() {
    const SERIES: usize = 2000;
    let ledger = Arc::new(Ledger::default());
    let queue = Arc::new(ProcessedQueue::new(100, Arc::clone(&ledger)));
    let table = Arc::new(SeriesTable::new(SERIES));
    let intake = Intake::new(Arc::clone(&queue), Arc::clone(&table), "m", "s", Rules::default());
    let register = |i: usize| {
        let name = i.to_string();
        let metadata = Metadata { kind: 1, help: format!("Of kind {}.", i % 3), unit: "joules".into() };
        intake.register("m", [("name", &*name)].into_iter(), metadata).unwrap()
    };
    let series: Vec<_> = (0..SERIES).map(register).collect();
    for protocol in [Protocol::V1, Protocol::V2] {
        let second = Duration::from_secs(1);
        let limits = Limits { max_samples: 3000, max_bytes: 1 << 20, allow_out_of_order: false };
        let settings = Settings { limits, push_interval: second, spool_interval: second, series_idle: None };
        let bounds = Bounds { max_batches: 100, max_bytes: 1 << 20 };
        let kept = Arc::new(Kept::new(bounds, None, Arc::clone(&ledger)));
        let (queue, table) = (Arc::clone(&queue), Arc::clone(&table));
        let protocol = Arc::new(Current::new(protocol));
        let mut batching = Batching::new(settings, queue, table, Arc::clone(&kept), Arc::clone(&ledger), protocol);
        let (mut drained, mut now) = (Drained::default(), 1_760_000_000_000);
        let mut push = || {
            let (mut of_sends, mut batches) = (0, 0);
            for _ in 0..4 {
                now += 1000;
                let samples: Vec<_> = series.iter().map(|s| Sample::from_parts(s.to_number(), 1.5, now)).collect();
                let sent = allocation_counter::measure(|| intake.samples(&samples, Duration::ZERO).unwrap());
                of_sends += sent.count_total;
            }
            let of_push = allocation_counter::measure(|| batching.turn(Wake::Deadline, &mut drained)).count_total;
            while kept.waiting().0 > 0 {
                assert!(matches!(kept.take(None), Taken::Batch(batch) if batch.samples <= 3000));
                kept.settled();
                batches += 1;
            }
            (of_sends, of_push, batches)
        };
        for _ in 0..4 {
            push();
        }
        // What is kept of a batch is its bytes, and how they are shared.
        let (of_sends, of_push, batches) = push();
        assert_eq!((of_sends, batches), (0, 3));
        assert!(of_push <= 2 * batches, "{of_push} allocations for {batches} batches");
    }
}
