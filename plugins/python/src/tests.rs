//! The plugin on a host in memory, as far as it goes without a Python: what a module would do is done here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use monitor_plugin_api::testing::{FailureKind, Harness};
use monitor_plugin_api::{Error, MonitorImpl, RawReceiver, RawSender, RecordSender, Stop};
use monitor_python_table::{Item, worker};

use crate::Python;
use crate::item::Owned;
use crate::run::{Refused, Run};

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(20);

#[test]
fn what_is_missing_is_told_before_any_python_is_looked_for() {
    let run = Harness::new::<Python>().setting("MONITOR_IMPL_PY", "/nonexistent/sensor.py").run_for(LONG);
    let message = &run.failures()[0].message;
    assert!(message.starts_with("no module: /nonexistent/sensor.py: No such file or directory"), "{message}");
    assert!(message.ends_with("put a monitor_impl.py beside the plugin, or name it in MONITOR_IMPL_PY"), "{message}");
}

/// How many items were given back.
static GIVEN_BACK: AtomicUsize = AtomicUsize::new(0);

extern "C" fn give_back(_: Item) {
    GIVEN_BACK.fetch_add(1, Ordering::AcqRel);
}

fn item(number: usize) -> Owned {
    Owned::new(Item(std::ptr::without_provenance_mut(number)), give_back)
}

fn number(item: Result<Owned, Refused>) -> usize {
    item.map(|item| item.into_item().0 as usize).unwrap_or_default()
}

fn refusal(put: Result<(), (Refused, Owned)>) -> Option<Refused> {
    put.err().map(|(refused, _)| refused)
}

/// A module, as `Run` sees one.
struct Module(Arc<Run>);

impl MonitorImpl for Module {
    type Raw = Owned;

    fn new() -> Result<Self, Error> {
        Ok(Module(Arc::new(Run::new(7))))
    }

    fn get_power(&self, out: RawSender<Owned>, _: Duration, stop: Stop) -> Result<(), Error> {
        let run = &self.0;
        run.begin_get_power(out, stop);
        assert_eq!((run.capacity(), run.waiting(), run.output_capacity), (2, 0, 7));
        assert!(run.try_put(item(1)).is_ok() && run.put(item(2), Some(Duration::ZERO)).is_ok());
        assert_eq!(refusal(run.try_put(item(3))), Some(Refused::TimedOut));
        assert_eq!(refusal(run.put(item(3), Some(SHORT))), Some(Refused::TimedOut));
        assert_eq!((run.waiting(), GIVEN_BACK.load(Ordering::Acquire)), (2, 2));
        assert_eq!(refusal(run.put(item(3), None)), None);
        run.end_get_power();
        Ok(())
    }

    fn process_data(&self, input: RawReceiver<Owned>, out: RecordSender, stop: Stop) -> Result<(), Error> {
        let run = &self.0;
        // Nothing is taken before the queue was full.
        while GIVEN_BACK.load(Ordering::Acquire) < 2 {
            std::thread::yield_now();
        }
        run.begin_process_data(input, out, stop);
        assert_eq!(number(run.try_get()), 1);
        assert_eq!([number(run.get(None)), number(run.get(Some(LONG)))], [2, 3]);
        // The event is set without any wait for an item.
        assert!(run.wait_stopped(worker::PROCESS_DATA, Some(LONG)));
        assert_eq!(run.get(None).map(drop), Err(Refused::Over));
        let asked = Instant::now();
        assert_eq!(run.get(Some(SHORT)).map(drop), Err(Refused::Over));
        assert!(asked.elapsed() >= SHORT, "a loop that looks at no event must not spin");
        run.end_process_data();
        assert_eq!(refusal(run.put(item(4), None)), Some(Refused::Over));
        Ok(())
    }
}

#[test]
fn a_run_keeps_the_books_of_the_raw_queue() {
    let run = Harness::new::<Module>().raw_queue_size(2).run_for(LONG);
    // It ended by itself, and nothing panicked.
    assert!(run.failures().iter().all(|failure| failure.kind == FailureKind::EarlyReturn), "{:?}", run.failures());
    let books = run.raw_queue();
    assert_eq!((books.sent, books.received, books.refused), (3, 3, 2), "{books:?}");
    assert_eq!(GIVEN_BACK.load(Ordering::Acquire), 3, "those that were taken out are Python's");
}

/// A module whose threads all wait for an item when the run ends.
struct Crowd(Run, AtomicUsize);

impl MonitorImpl for Crowd {
    type Raw = Owned;

    fn new() -> Result<Self, Error> {
        Ok(Crowd(Run::new(1), AtomicUsize::new(0)))
    }

    fn get_power(&self, out: RawSender<Owned>, _: Duration, stop: Stop) -> Result<(), Error> {
        self.0.begin_get_power(out, stop);
        while self.1.load(Ordering::Acquire) < 4 {
            std::thread::yield_now();
        }
        self.0.end_get_power();
        Ok(())
    }

    fn process_data(&self, input: RawReceiver<Owned>, out: RecordSender, stop: Stop) -> Result<(), Error> {
        let Crowd(run, waiters) = self;
        run.begin_process_data(input, out, stop);
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    waiters.fetch_add(1, Ordering::AcqRel);
                    assert_eq!(run.get(Some(LONG)).map(drop), Err(Refused::Over));
                });
            }
        });
        assert!(begun.elapsed() < LONG, "each of them is to hear of the end");
        run.end_process_data();
        Ok(())
    }
}

#[test]
fn the_end_is_heard_by_every_thread_that_waits() {
    let run = Harness::new::<Crowd>().stop_timeout(2 * LONG).run_for(2 * LONG);
    assert!(run.failures().iter().all(|failure| failure.kind == FailureKind::EarlyReturn), "{:?}", run.failures());
}

/// A module whose threads put and take without a pause, where there is one place.
struct Hurry(Run);

const HURRIED: u64 = 4 * 50_000;

impl MonitorImpl for Hurry {
    type Raw = Owned;

    fn new() -> Result<Self, Error> {
        Ok(Hurry(Run::new(1)))
    }

    fn get_power(&self, out: RawSender<Owned>, _: Duration, stop: Stop) -> Result<(), Error> {
        let run = &self.0;
        run.begin_get_power(out, stop);
        let put = || (0..HURRIED / 4).for_each(|_| run.put(item(1), Some(Duration::ZERO)).unwrap_or_else(forget));
        std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(put))));
        run.end_get_power();
        Ok(())
    }

    fn process_data(&self, input: RawReceiver<Owned>, out: RecordSender, stop: Stop) -> Result<(), Error> {
        let run = &self.0;
        run.begin_process_data(input, out, stop);
        // The event alone ends it, and is set when no place is taken any more.
        let take = || {
            while !run.is_stopped(worker::PROCESS_DATA) {
                number(run.try_get());
            }
        };
        std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(take))));
        assert_eq!(run.waiting(), 0);
        run.end_process_data();
        Ok(())
    }
}

fn forget((_, item): (Refused, Owned)) {
    let _ = item.into_item();
}

#[test]
fn no_place_is_lost() {
    let run = Harness::new::<Hurry>().raw_queue_size(1).run_for(LONG);
    assert!(run.failures().iter().all(|failure| failure.kind == FailureKind::EarlyReturn), "{:?}", run.failures());
    let books = run.raw_queue();
    assert_eq!((books.sent, books.sent + books.refused), (books.received, HURRIED), "{books:?}");
}
