//! The spool against a queue in memory, with crashes and damage as actions.

use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::os::unix::fs::FileExt;

#[derive(Clone, Debug)]
enum Action {
    Append {
        body_len: usize,
    },
    Take,
    Remove,
    PutBack,
    /// Everything up to so many milliseconds before the newest record's is too old.
    Expire {
        keep_ms: i64,
    },
    /// The process dies and starts again.
    Crash,
    /// A byte of a segment changes.
    Damage {
        segment: prop::sample::Index,
        at: prop::sample::Index,
        flip: u8,
    },
    /// A segment loses its tail.
    Truncate {
        segment: prop::sample::Index,
        bytes: u64,
    },
    /// The process dies, and a byte of the cursor changes before it starts again.
    DamageCursor {
        copy: usize,
        at: usize,
        flip: u8,
    },
}

fn quiet() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (0..200usize).prop_map(|body_len| Action::Append { body_len }),
        3 => Just(Action::Take),
        3 => Just(Action::Remove),
        1 => Just(Action::PutBack),
        1 => (0..20i64).prop_map(|keep_ms| Action::Expire { keep_ms }),
        1 => Just(Action::Crash),
        1 => (0..2usize, 0..cursor::COPY_LEN, 1..=255u8)
            .prop_map(|(copy, at, flip)| Action::DamageCursor { copy, at, flip }),
    ]
}

fn harmful() -> impl Strategy<Value = Action> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        12 => quiet(),
        1 => (index(), index(), 1..=255u8).prop_map(|(segment, at, flip)| Action::Damage { segment, at, flip }),
        1 => (index(), 1..300u64).prop_map(|(segment, bytes)| Action::Truncate { segment, bytes }),
    ]
}

struct Model {
    dir: TempDir,
    bounds: Bounds,
    spool: Spool,
    waiting: VecDeque<Record>,
    held: Option<Record>,
    sequence: u64,
    /// How many records the damage so far can have cost at most.
    costs: u64,
    /// There was damage at all.
    harmed: bool,
    /// What the spool itself has accounted for in this run, put together anew from the outside.
    books: i128,
}

impl Model {
    fn new(max_bytes: u64) -> Model {
        let dir = TempDir::new().unwrap();
        let bounds = Bounds { max_bytes, max_age: Duration::from_millis(0) };
        let spool = open(dir.path(), bounds).0;
        Model {
            dir,
            bounds,
            spool,
            waiting: VecDeque::new(),
            held: None,
            sequence: 0,
            costs: 0,
            harmed: false,
            books: 0,
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Append { body_len } => {
                self.sequence += 1;
                let record = record(self.sequence, body_len);
                self.spool.append(&record).unwrap();
                self.books += i128::from(record.samples);
                self.waiting.push_back(record);
            }
            Action::Take => self.take(),
            Action::Remove => {
                self.spool.remove_oldest().unwrap();
                self.held = None;
            }
            Action::PutBack => self.put_back(),
            Action::Expire { keep_ms } => self.spool.expire(self.sequence as i64 - keep_ms).unwrap(),
            Action::Crash => self.restart(|_| ()),
            Action::DamageCursor { copy, at, flip } => self.restart(|dir| {
                change(&dir.join("cursor"), cursor::COPIES[copy] + at as u64, flip);
            }),
            Action::Damage { segment, at, flip } => {
                let paths = segments(self.dir.path());
                if paths.is_empty() {
                    return;
                }
                let path = segment.get(&paths);
                let len = path.metadata().unwrap().len();
                if len > 0 {
                    change(path, at.index(len as usize) as u64, flip);
                    self.harm(1);
                }
            }
            Action::Truncate { segment, bytes } => {
                let paths = segments(self.dir.path());
                if paths.is_empty() {
                    return;
                }
                let file = fs::OpenOptions::new().write(true).open(segment.get(&paths)).unwrap();
                let len = file.metadata().unwrap().len();
                file.set_len(len.saturating_sub(bytes)).unwrap();
                self.harm(1 + bytes / HEADER_LEN as u64);
            }
        }
        self.lose();
        self.check();
    }

    fn take(&mut self) {
        self.put_back();
        let Some(record) = self.spool.oldest().unwrap() else {
            self.lose();
            assert_eq!(self.spool.waiting(), Tally::default());
            self.cost(self.waiting.len());
            self.waiting.clear();
            return;
        };
        self.books -= i128::from(record.samples);
        self.lose();
        let place = self.waiting.iter().position(|waits| *waits == record);
        let place = place.unwrap_or_else(|| panic!("{} was never appended, or given out before", record.sequence));
        self.cost(place);
        self.waiting.drain(..=place);
        self.held = Some(record);
    }

    fn put_back(&mut self) {
        self.spool.put_back();
        if let Some(record) = self.held.take() {
            self.books += i128::from(record.samples);
            self.waiting.push_front(record);
        }
    }

    /// Takes from the model what the spool says that it dropped.
    fn lose(&mut self) {
        let losses = self.spool.take_losses();
        for dropped in [losses.overflow, losses.expired] {
            for _ in 0..dropped.records {
                let oldest = self.waiting.pop_front().expect("no more is dropped than waits");
                if !self.harmed {
                    assert!(oldest.samples as u64 <= dropped.samples);
                }
            }
            self.books -= i128::from(dropped.samples);
        }
        self.books -= i128::from(losses.damaged.samples);
        assert!(self.harmed || losses.damaged == Tally::default());
    }

    fn check(&self) {
        assert_eq!(i128::from(self.spool.waiting().samples), self.books, "every sample is in one place");
        if !self.harmed {
            assert_eq!(self.spool.waiting().records, self.waiting.len() as u64);
            assert_eq!(self.spool.last_sequence(), self.sequence);
        }
        assert!(self.spool.disk_bytes() <= self.bounds.max_bytes);
    }

    fn restart(&mut self, meanwhile: impl FnOnce(&Path)) {
        // Two spools can't have one directory, so the old one has to go first.
        let elsewhere = TempDir::new().unwrap();
        self.spool = open(elsewhere.path(), self.bounds).0;
        meanwhile(self.dir.path());
        let (spool, recovered) = open(self.dir.path(), self.bounds);
        self.spool = spool;
        assert!(!recovered.cursor_lost);
        assert!(self.harmed || recovered.damaged_bytes + recovered.torn_bytes == 0);
        self.books = recovered.waiting.samples.into();
        // What was held and still on disk waits again; only the bound can have taken it.
        if let Some(record) = self.held.take() {
            let waiting = self.waiting.len() as u64;
            if recovered.waiting.records > waiting || self.harmed {
                self.waiting.push_front(record);
                self.costs += u64::from(recovered.waiting.records <= waiting);
            }
        }
    }

    fn harm(&mut self, records: u64) {
        self.costs += records;
        self.harmed = true;
    }

    fn cost(&mut self, records: usize) {
        let records = records as u64;
        assert!(records <= self.costs, "{records} records are missing, {} may be", self.costs);
        self.costs -= records;
    }
}

fn change(path: &Path, at: u64, flip: u8) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ flip], at).unwrap();
}

/// Small enough to overflow now and then, or not at all.
fn max_bytes() -> impl Strategy<Value = u64> {
    prop_oneof![Just(1000), Just(6000), Just(1 << 20)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_is_lost_and_nothing_comes_twice(
        max_bytes in max_bytes(),
        actions in prop::collection::vec(quiet(), 0..150),
    ) {
        let mut model = Model::new(max_bytes);
        actions.into_iter().for_each(|action| model.act(action));
        while !model.waiting.is_empty() {
            model.act(Action::Take);
            model.act(Action::Remove);
        }
        prop_assert_eq!(model.costs, 0);
    }

    #[test]
    fn damage_costs_no_more_than_what_it_hits(
        max_bytes in max_bytes(),
        actions in prop::collection::vec(harmful(), 0..150),
    ) {
        let mut model = Model::new(max_bytes);
        actions.into_iter().for_each(|action| model.act(action));
        while !model.waiting.is_empty() {
            model.act(Action::Take);
            model.act(Action::Remove);
        }
    }
}
