//! The one table of series, where records and registered series meet by their canonical labels.
//!
//! Enters: canonical label bytes ([`crate::labels`]), from any thread. Leaves: a [`SeriesId`] to travel with each
//! sample, and the bytes again when a batch is encoded. A series that is known costs a lookup under a shared lock.
//!
//! Never: forgets a series while a sample or a handle of it may be on its way: an id is used again only after
//! [`SeriesTable::remove`], and then with another generation.

mod naming;

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

use hashbrown::HashTable;

pub use self::naming::Naming;
use self::naming::Namings;
use crate::labels;

/// A series as samples carry it: a place in the table, and which of its successive tenants is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SeriesId {
    /// The place in the table.
    pub index: u32,
    /// How many tenants the place had before.
    pub generation: u32,
}

impl SeriesId {
    /// As one number, for the plugin boundary.
    pub fn to_number(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// From the number that [`to_number`](Self::to_number) gave.
    pub fn from_number(number: u64) -> Self {
        SeriesId { index: number as u32, generation: (number >> 32) as u32 }
    }
}

/// What a metric is, as its plugin declared it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Metadata {
    /// With the numbers of remote write's `MetricMetadata.MetricType`.
    pub kind: i32,
    /// One sentence; empty when not known.
    pub help: String,
    /// In the plural; empty when not known.
    pub unit: String,
}

/// When so many distinct metadata are held, those that no series has any more are let go.
const MAX_SHARED_METADATA: usize = 1024;

#[derive(Debug)]
struct Entry {
    labels: Box<[u8]>,
    metadata: Option<Arc<Metadata>>,
    start_ms: i64,
    handles: AtomicU32,
    generation: u32,
    /// How many pairs the labels are: each batch asks.
    pairs: u16,
    /// Whether anything was heard of it since the last sweep.
    used: AtomicBool,
}

#[derive(Debug, Default)]
struct Inner {
    by_labels: HashTable<u32>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// Each distinct metadata once: thousands of series share a few.
    metadata: HashSet<Arc<Metadata>>,
    hasher: foldhash::fast::RandomState,
}

/// All series of this run.
#[derive(Debug)]
pub struct SeriesTable {
    inner: RwLock<Inner>,
    /// How many it has, for those who must not wait for the table.
    len: AtomicUsize,
    max_series: usize,
    /// A series was refused since the last look.
    crowded: AtomicBool,
    namings: Namings,
}

impl SeriesTable {
    /// A table for so many series (MAX_SERIES).
    pub fn new(max_series: usize) -> Self {
        SeriesTable {
            inner: RwLock::default(),
            len: AtomicUsize::new(0),
            max_series,
            crowded: AtomicBool::new(false),
            namings: Namings::default(),
        }
    }

    /// A send begins that will [`intern`](Self::intern) series; it is over, its samples in the processed queue or refused,
    /// when what this returns is dropped.
    pub fn begin_naming(&self) -> Naming<'_> {
        self.namings.begin()
    }

    /// A moment to remember, as a number, for series that are expected to be heard of no more: a send that begins later
    /// and names one of them keeps it in the table.
    pub fn moment(&self) -> u64 {
        self.namings.next()
    }

    /// Up to which moment all sends that had begun have ended: what they sent is in the processed queue.
    pub fn settled(&self) -> u64 {
        self.namings.ended_before()
    }

    /// The series with these canonical labels; a new one if there is none yet, or `None` if there are too many.
    pub fn intern(&self, labels: &[u8]) -> Option<SeriesId> {
        {
            let inner = self.read();
            if let Some(id) = inner.find(labels) {
                inner.entries[id.index as usize].touch();
                return Some(id);
            }
        }
        self.make_room_for_one(&mut self.write(), labels)
    }

    fn make_room_for_one(&self, inner: &mut Inner, labels: &[u8]) -> Option<SeriesId> {
        if inner.by_labels.len() >= self.max_series && inner.find(labels).is_none() {
            self.crowded.store(true, Relaxed);
            return None;
        }
        let id = inner.intern(labels);
        self.len.store(inner.by_labels.len(), Relaxed);
        Some(id)
    }

    /// As [`intern`](Self::intern), and counts one handle. Metadata replaces what was declared before.
    pub fn register(&self, labels: &[u8], metadata: Metadata) -> Option<SeriesId> {
        let mut inner = self.write();
        let id = self.make_room_for_one(&mut inner, labels)?;
        let metadata = (metadata != Metadata::default()).then(|| inner.share(metadata));
        let entry = &mut inner.entries[id.index as usize];
        entry.handles.fetch_add(1, Relaxed);
        if metadata.is_some() {
            entry.metadata = metadata;
        }
        Some(id)
    }

    /// Notes when the counter behind a series was last zero, in milliseconds since the Unix epoch; 0 is not known.
    pub fn set_start(&self, id: SeriesId, start_ms: i64) {
        let mut inner = self.write();
        let entry = inner.entries.get_mut(id.index as usize).filter(|entry| entry.generation == id.generation);
        if let Some(entry) = entry {
            entry.start_ms = start_ms;
        }
    }

    /// Takes back one handle. Returns whether it was the last one: the series has ended.
    pub fn release(&self, id: SeriesId) -> bool {
        let inner = self.read();
        let entry = inner.entries.get(id.index as usize).filter(|entry| entry.generation == id.generation);
        let one_less = |handles: u32| handles.checked_sub(1);
        entry.is_some_and(|entry| entry.handles.fetch_update(Relaxed, Relaxed, one_less) == Ok(1))
    }

    /// Forgets a series that has ended, unless somebody registered it again or a record named it meanwhile (see
    /// [`View::expect_nothing`]). Its id means nothing any more: a send that named it before has to be
    /// [`settled`](Self::settled), and what it sent taken out of the queue.
    pub fn remove(&self, id: SeriesId) -> bool {
        let mut inner = self.write();
        let inner = &mut *inner;
        let Some(entry) = inner.entries.get_mut(id.index as usize) else {
            return false;
        };
        if entry.generation != id.generation || entry.handles.load(Relaxed) > 0 || entry.used.load(Relaxed) {
            return false;
        }
        let hash = inner.hasher.hash_one(&*entry.labels);
        if let Ok(found) = inner.by_labels.find_entry(hash, |&index| index == id.index) {
            found.remove();
        }
        entry.labels = Box::default();
        entry.metadata = None;
        entry.start_ms = 0;
        entry.generation = entry.generation.wrapping_add(1);
        inner.free.push(id.index);
        self.len.store(inner.by_labels.len(), Relaxed);
        true
    }

    /// Whether a series was refused since this was last asked.
    pub fn was_crowded(&self) -> bool {
        self.crowded.swap(false, Relaxed)
    }

    /// The series of which nothing was heard since the last sweep. With `without_handle`, only those that nobody holds.
    pub fn sweep(&self, without_handle: bool) -> Vec<SeriesId> {
        let inner = self.read();
        let mut idle = Vec::new();
        for (index, entry) in inner.entries.iter().enumerate() {
            if without_handle && entry.handles.load(Relaxed) > 0 {
                continue;
            }
            // A place without labels has no tenant.
            if !entry.used.swap(false, Relaxed) && !entry.labels.is_empty() {
                // As `intern`, which gave it.
                idle.push(SeriesId { index: index as u32, generation: entry.generation });
            }
        }
        idle
    }

    /// How many series there are. Waits for nobody: the table may be held while a disk takes its time.
    pub fn len(&self) -> usize {
        self.len.load(Relaxed)
    }

    /// How many series there may be.
    pub fn max_len(&self) -> usize {
        self.max_series
    }

    /// Whether there is no series yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The table for looking up many series at once; nobody can add one meanwhile.
    pub fn view(&self) -> View<'_> {
        View(self.read())
    }

    /// The same, unless somebody waits to change the table or does: who only looks holds nobody up.
    pub fn try_view(&self) -> Option<View<'_>> {
        match self.inner.try_read() {
            Ok(inner) => Some(View(inner)),
            Err(TryLockError::Poisoned(poisoned)) => Some(View(poisoned.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    // No code of others runs under the lock, so its content is whole even after a panic elsewhere.
    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn touch(&self) {
        // Reading first keeps the line shared between the threads.
        if !self.used.load(Relaxed) {
            self.used.store(true, Relaxed);
        }
    }
}

impl Inner {
    fn share(&mut self, metadata: Metadata) -> Arc<Metadata> {
        if let Some(shared) = self.metadata.get(&metadata) {
            return Arc::clone(shared);
        }
        let shared = Arc::new(metadata);
        // A plugin that declares something new all the time is not to fill the memory with it.
        if self.metadata.len() >= MAX_SHARED_METADATA {
            self.metadata.retain(|shared| Arc::strong_count(shared) > 1);
        }
        self.metadata.insert(Arc::clone(&shared));
        shared
    }

    fn find(&self, labels: &[u8]) -> Option<SeriesId> {
        let hash = self.hasher.hash_one(labels);
        let same = |&index: &u32| *self.entries[index as usize].labels == *labels;
        let index = *self.by_labels.find(hash, same)?;
        Some(SeriesId { index, generation: self.entries[index as usize].generation })
    }

    fn intern(&mut self, labels: &[u8]) -> SeriesId {
        if let Some(id) = self.find(labels) {
            return id;
        }
        let index = self.free.pop().unwrap_or_else(|| {
            let entry = Entry {
                labels: Box::default(),
                metadata: None,
                start_ms: 0,
                handles: AtomicU32::new(0),
                generation: 0,
                pairs: 0,
                used: AtomicBool::new(true),
            };
            self.entries.push(entry);
            // 2^32 series of one byte would not fit into memory.
            (self.entries.len() - 1) as u32
        });
        let entry = &mut self.entries[index as usize];
        entry.labels = labels.into();
        // MAX_LABELS at most.
        entry.pairs = labels::byte_pairs(labels).count() as u16;
        entry.touch();
        let generation = entry.generation;
        let (entries, hasher) = (&self.entries, &self.hasher);
        let hash = |&index: &u32| hasher.hash_one(&*entries[index as usize].labels);
        self.by_labels.insert_unique(hasher.hash_one(labels), index, hash);
        SeriesId { index, generation }
    }
}

/// A look at the table.
#[derive(Debug)]
pub struct View<'a>(RwLockReadGuard<'a, Inner>);

impl View<'_> {
    /// The canonical labels of a series, or `None` if it has ended or never was.
    pub fn labels(&self, id: SeriesId) -> Option<&[u8]> {
        self.get(id).map(|known| known.labels)
    }

    /// How many places the table has, with or without a tenant.
    pub fn places(&self) -> usize {
        self.0.entries.len()
    }

    /// The series at this place, if it has a tenant, and its canonical labels.
    pub fn tenant(&self, place: usize) -> Option<(SeriesId, &[u8])> {
        let entry = self.0.entries.get(place).filter(|entry| !entry.labels.is_empty())?;
        // As `intern`, which gave it.
        Some((SeriesId { index: place as u32, generation: entry.generation }, &entry.labels))
    }

    /// A sample of the series was seen: it is alive.
    pub fn touch(&self, id: SeriesId) {
        if let Some(entry) = self.0.entries.get(id.index as usize) {
            entry.touch();
        }
    }

    /// The series is about to be removed, unless it is seen again before.
    pub fn expect_nothing(&self, id: SeriesId) {
        if let Some(entry) = self.0.entries.get(id.index as usize) {
            entry.used.store(false, Relaxed);
        }
    }

    /// All that is known of a series, or `None` if it has ended or never was.
    pub fn get(&self, id: SeriesId) -> Option<Known<'_>> {
        let entry = self.0.entries.get(id.index as usize).filter(|entry| entry.generation == id.generation)?;
        Some(Known {
            labels: &entry.labels,
            pairs: entry.pairs,
            metadata: entry.metadata.as_deref(),
            start_ms: entry.start_ms,
        })
    }
}

/// What the table knows of a series.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Its canonical labels.
    pub labels: &'a [u8],
    /// How many pairs they are.
    pub pairs: u16,
    /// What its plugin declared, if anything.
    pub metadata: Option<&'a Metadata>,
    /// When its counter was last zero, in milliseconds since the Unix epoch; 0 is not known.
    pub start_ms: i64,
}

#[cfg(test)]
impl<'a> Known<'a> {
    /// A series that is in no table.
    pub(crate) fn of(labels: &'a [u8], metadata: Option<&'a Metadata>) -> Self {
        let pairs = labels::byte_pairs(labels).count() as u16;
        Known { labels, pairs, metadata, start_ms: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_labels_are_the_same_series() {
        let table = SeriesTable::new(100);
        let one = table.intern(b"one").unwrap();
        assert_ne!(Some(one), table.intern(b"two"));
        assert_eq!(Some(one), table.register(b"one", Metadata::default()));
        assert_eq!(SeriesId::from_number(one.to_number()), one);
        assert_eq!(table.view().labels(one), Some(&b"one"[..]));
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn the_last_handle_ends_a_series() {
        let table = SeriesTable::new(100);
        let help = Metadata { help: "h".into(), ..Metadata::default() };
        let id = table.register(b"s", help.clone()).unwrap();
        assert_eq!(table.register(b"s", Metadata::default()), Some(id));
        assert_eq!(table.view().get(id).unwrap().metadata, Some(&help));
        assert!(!table.release(id));
        assert!(table.release(id));
        assert!(!table.release(id), "no handle is left to give back");
        assert!(!table.remove(id), "a record of it may be on its way");
        table.view().expect_nothing(id);
        assert!(table.remove(id));
        assert_eq!(table.view().labels(id), None);
        let next = table.intern(b"t").unwrap();
        assert_eq!((next.index, next.generation), (id.index, id.generation + 1));
        assert!(!table.remove(id));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_series_registered_again_in_time_stays() {
        let table = SeriesTable::new(100);
        let id = table.register(b"s", Metadata::default()).unwrap();
        assert!(table.release(id));
        table.view().expect_nothing(id);
        table.register(b"s", Metadata::default());
        assert!(!table.remove(id));
        assert_eq!(table.view().labels(id), Some(&b"s"[..]));
    }

    #[test]
    fn the_bound_holds_and_idle_series_make_room() {
        let table = SeriesTable::new(2);
        let held = table.register(b"held", Metadata::default()).unwrap();
        let idle = table.intern(b"idle").unwrap();
        assert!(!table.was_crowded());
        assert_eq!(table.intern(b"third"), None);
        assert_eq!(table.intern(b"idle"), Some(idle));
        assert!(table.was_crowded() && !table.was_crowded());
        assert_eq!(table.sweep(true), []);
        assert_eq!(table.sweep(true), [idle]);
        assert_eq!(table.sweep(false), [idle], "the held one was not looked at before");
        assert_eq!(table.sweep(false), [held, idle]);
        table.view().expect_nothing(idle);
        assert!(table.remove(idle));
        assert!(table.intern(b"third").is_some());
        assert_eq!(table.register(b"fourth", Metadata::default()), None);
    }
}
