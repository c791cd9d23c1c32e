//! The queue of finished batches against what it promises, in memory and on disk, whatever is done with it.

use super::*;
use crate::batch::Batch;
use crate::encode::Protocol;
use crate::ledger::Origin;
use crate::spool;
use bytes::Bytes;
use proptest::prelude::*;
use tempfile::TempDir;

#[derive(Clone, Copy, Debug)]
enum Action {
    Push,
    /// The oldest, if none is in flight.
    Take,
    /// The attempt failed.
    PutBack,
    /// It was answered.
    Settle,
    /// The process dies and starts again.
    Crash,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => Just(Action::Push),
        6 => Just(Action::Take),
        3 => Just(Action::PutBack),
        3 => Just(Action::Settle),
        1 => Just(Action::Crash),
    ]
}

struct Model {
    bounds: Bounds,
    /// The spool's folder, if there is one.
    dir: Option<TempDir>,
    kept: Option<Kept>,
    ledger: Arc<Ledger>,
    in_flight: Option<Batch>,
    /// Batches are told apart by how many samples they have: as many as were pushed by then.
    pushed: u64,
    pushed_in_run: u64,
    attempted: u64,
    settled: u64,
}

impl Model {
    fn new(bounds: Bounds, has_disk: bool) -> Self {
        let mut model = Model {
            bounds,
            dir: has_disk.then(|| TempDir::new().unwrap()),
            kept: None,
            ledger: Arc::default(),
            in_flight: None,
            pushed: 0,
            pushed_in_run: 0,
            attempted: 0,
            settled: 0,
        };
        model.start();
        model
    }

    fn start(&mut self) {
        // Two can't have one spool.
        self.kept = None;
        (self.ledger, self.in_flight, self.pushed_in_run) = (Arc::default(), None, 0);
        let bounds = spool::Bounds { max_bytes: 1 << 20, max_age: Duration::MAX };
        // A test beside this one that starts a process has all open files, locks included, twice for a moment.
        let end = Instant::now() + Duration::from_secs(20);
        let open = |dir: &TempDir| loop {
            match Disk::open(dir.path(), bounds, false, &self.ledger) {
                Err(spool::SpoolError::Held { .. }) if Instant::now() < end => std::thread::yield_now(),
                opened => return opened.unwrap(),
            }
        };
        let disk = self.dir.as_ref().map(open);
        self.kept = Some(Kept::new(self.bounds, disk, Arc::clone(&self.ledger)));
    }

    fn kept(&self) -> &Kept {
        self.kept.as_ref().expect("a run is under way")
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Push => {
                self.pushed += 1;
                self.pushed_in_run += 1;
                self.ledger.collect(Origin::Plugin, Place::Batched, self.pushed);
                self.kept().push(Batch {
                    body: Bytes::from(vec![1; 10]),
                    protocol: Protocol::V1,
                    message_len: 10,
                    samples: self.pushed,
                    exemplars: 0,
                    left_out_starts: 0,
                    time_range_ms: (0, i64::MAX / 2),
                    sequence: self.pushed_in_run,
                    attempts: 0,
                    may_be_stored: false,
                });
            }
            Action::Take => self.take(),
            Action::PutBack => {
                if let Some(mut batch) = self.in_flight.take() {
                    batch.attempts += 1;
                    self.kept().put_back(batch);
                }
            }
            Action::Settle => {
                if let Some(batch) = self.in_flight.take() {
                    self.settled = batch.samples;
                    self.ledger.deliver(Place::InFlight, batch.samples);
                    self.kept().settled();
                }
            }
            Action::Crash => self.start(),
        }
        self.check();
    }

    fn take(&mut self) {
        if self.in_flight.is_some() || self.kept().waiting().0 == 0 {
            return;
        }
        let Taken::Batch(batch) = self.kept().take(None) else { panic!("one waits") };
        assert!(batch.samples > self.settled && batch.samples >= self.attempted, "{} overtakes", batch.samples);
        if self.dir.is_some() {
            assert_eq!(batch.samples, self.settled + 1, "one was left out");
        }
        // A crash forgets it.
        assert!(batch.attempts == 0 || batch.samples == self.attempted);
        self.attempted = batch.samples;
        self.in_flight = Some(batch);
    }

    fn check(&self) {
        let (books, (batches, samples)) = (self.ledger.snapshot(), self.kept().waiting());
        assert!(books.balances());
        assert_eq!(books.pending(), samples + self.in_flight.as_ref().map_or(0, |batch| batch.samples));
        // One that was never sent is let in beyond the bound.
        let most = self.bounds.max_batches.max(1) as u64;
        assert!(self.dir.is_some() || batches <= most, "{batches} wait");
        assert!(self.dir.is_none() || books.dropped() == 0, "a disk with room loses nothing");
    }
}

proptest! {
    #[test]
    fn nothing_overtakes_and_every_sample_is_in_one_place(
        max_batches in 0..4usize,
        has_disk: bool,
        actions in prop::collection::vec(action(), 0..80),
    ) {
        let mut model = Model::new(Bounds { max_batches, max_bytes: 1000 }, has_disk);
        actions.into_iter().for_each(|action| model.act(action));
        while model.in_flight.is_some() || model.kept().waiting().0 > 0 {
            model.act(Action::Take);
            model.act(Action::Settle);
        }
        prop_assert!(!has_disk || model.settled == model.pushed);
    }
}
