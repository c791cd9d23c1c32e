//! The processed queue: samples that the plugin has sent, on their way to the batch.
//!
//! Enters: items (one send each), as samples of known series, and what is rarer than they: histograms, exemplars, the
//! end of a series. Leaves: everything at once, into the reader's own buffer, in order. Bounded by PROC_QUEUE_SIZE
//! items, by [`MAX_SAMPLES`], [`MAX_BYTES`] and [`MAX_ENDS`]; a sender waits for room up to its timeout. The reader is
//! woken when the queue is half full, not for each item. While somebody looks at a series, what is taken of it goes to the
//! [`History`] too.
//!
//! Never: takes a part of an item; allocates for a sample once its buffers have grown; refuses the end of a series.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use monitor_plugin_api::Sample;

use crate::exemplar::Exemplar;
use crate::histogram::Histogram;
use crate::history::History;
use crate::ledger::{Ledger, Origin, Place, Reason};
use crate::series::SeriesId;

/// However few items they came in, the queue holds no more samples than this (3 MiB), one item aside.
pub const MAX_SAMPLES: usize = 1 << 17;

/// The histograms and exemplars in the queue take no more than this, one item aside.
pub const MAX_BYTES: usize = 32 << 20;

/// So many ends of series wait: one series can end as often as it is registered.
pub const MAX_ENDS: usize = 1 << 15;

/// An end is never refused: where there is no room it waits for the reader, who waits for nobody, or so long.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// What travels beside the samples.
#[derive(Debug, PartialEq)]
pub enum Aside {
    /// A sample that is a histogram.
    Histogram(Histogram),
    /// It belongs to the sample or the histogram of its series before it.
    Exemplar(Exemplar),
    /// The series has ended.
    End(SeriesId),
}

impl Aside {
    fn bytes(&self) -> usize {
        size_of::<(usize, Self)>()
            + match self {
                Aside::Histogram(histogram) => histogram.body.len(),
                Aside::Exemplar(exemplar) => exemplar.labels.len(),
                Aside::End(_) => 0,
            }
    }
}

/// What an item holds besides its samples.
#[derive(Debug, Default)]
pub struct Extras {
    /// Histograms and exemplars, each with the number of the item's samples that come before it, in that order.
    pub asides: Vec<(usize, Aside)>,
    /// What came with the item and can't be used, in samples.
    pub rejected: Vec<(Reason, u64)>,
    /// The same, in exemplars.
    pub rejected_exemplars: Vec<(Reason, u64)>,
}

/// What the reader finds, in the order in which it was sent.
#[derive(Debug, Default)]
pub struct Drained {
    /// The samples.
    pub samples: Vec<Sample>,
    /// What came between them, each with the number of samples before it, in that order.
    pub asides: Vec<(usize, Aside)>,
}

impl Drained {
    /// How many samples it holds, histograms included.
    pub fn len(&self) -> usize {
        self.samples.len() + self.asides.iter().filter(|(_, aside)| matches!(aside, Aside::Histogram(_))).count()
    }

    /// Whether it holds no sample.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn clear(&mut self) {
        self.samples.clear();
        self.asides.clear();
    }
}

/// How full the queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Items that wait.
    pub items: usize,
    /// Items that may wait.
    pub capacity: usize,
}

/// Why nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There was no room until the timeout.
    Full,
    /// The queue is closed.
    Closed,
}

/// Why the reader woke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// The moment that it waited for has come.
    Deadline,
    /// Half of the room is taken.
    HalfFull,
    /// Nothing will come any more.
    Closed,
}

#[derive(Debug, Default)]
struct State {
    waiting: Drained,
    items: usize,
    /// Of the histograms and exemplars that wait.
    bytes: usize,
    ends: usize,
    closed: bool,
}

/// The queue.
#[derive(Debug)]
pub struct ProcessedQueue {
    state: Mutex<State>,
    room: Condvar,
    reader: Condvar,
    capacity: usize,
    ledger: Arc<Ledger>,
    history: History,
}

impl ProcessedQueue {
    /// A queue for `capacity` items (at least one).
    pub fn new(capacity: usize, ledger: Arc<Ledger>) -> Self {
        let (room, reader) = (Condvar::new(), Condvar::new());
        ProcessedQueue {
            state: Mutex::default(),
            room,
            reader,
            capacity: capacity.max(1),
            ledger,
            history: History::default(),
        }
    }

    /// Takes one item: all of these samples, with `rejected` samples that came with it and can't be used.
    ///
    /// # Errors
    /// [`Refused`], and then nothing was taken or counted but the refusal itself.
    pub fn send(&self, samples: &[Sample], rejected: &[(Reason, u64)], timeout: Duration) -> Result<(), Refused> {
        self.take(samples, Vec::new(), rejected, &[], timeout)
    }

    /// As [`send`](Self::send), with what comes beside the samples.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_with(&self, samples: &[Sample], extras: Extras, timeout: Duration) -> Result<(), Refused> {
        let Extras { asides, rejected, rejected_exemplars } = extras;
        self.take(samples, asides, &rejected, &rejected_exemplars, timeout)
    }

    fn take(
        &self,
        samples: &[Sample],
        asides: Vec<(usize, Aside)>,
        rejected: &[(Reason, u64)],
        rejected_exemplars: &[(Reason, u64)],
        timeout: Duration,
    ) -> Result<(), Refused> {
        let bytes: usize = asides.iter().map(|(_, aside)| aside.bytes()).sum();
        let nothing = samples.is_empty() && asides.is_empty();
        let mut state = self.lock();
        let mut deadline = None;
        loop {
            if state.closed {
                self.ledger.refuse_send();
                return Err(Refused::Closed);
            }
            if nothing || self.has_room(&state, samples.len(), bytes) {
                break;
            }
            // A long timeout must not overflow the clock.
            let now = Instant::now();
            let end = *deadline.get_or_insert_with(|| now + timeout.min(Duration::from_secs(86_400)));
            let Some(left) = end.checked_duration_since(now).filter(|left| !left.is_zero()) else {
                self.ledger.refuse_send();
                return Err(Refused::Full);
            };
            state = self.room.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        for &(reason, count) in rejected {
            self.ledger.collect_dropped(Origin::Plugin, reason, count);
        }
        for &(reason, count) in rejected_exemplars {
            self.ledger.collect_exemplars(count);
            self.ledger.discard_exemplars(reason, count);
        }
        if nothing {
            return Ok(());
        }
        let was_half_full = self.is_half_full(&state);
        let histograms = self.history.is_watched().then(|| histograms_in(&asides));
        self.ledger.collect(Origin::Plugin, Place::Queued, samples.len() as u64);
        if !asides.is_empty() {
            self.put_asides(&mut state, asides, bytes);
        }
        state.waiting.samples.extend_from_slice(samples);
        state.items += 1;
        let is_reason_to_read = !was_half_full && self.is_half_full(&state);
        drop(state);
        if is_reason_to_read {
            self.reader.notify_one();
        }
        if let Some(histograms) = histograms {
            self.history.note(samples, &histograms);
        }
        Ok(())
    }

    /// What passes here of the series that somebody looks at.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The books of what passes here.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn put_asides(&self, state: &mut State, asides: Vec<(usize, Aside)>, bytes: usize) {
        let histograms = asides.iter().filter(|(_, aside)| matches!(aside, Aside::Histogram(_))).count();
        self.ledger.collect(Origin::Plugin, Place::Queued, histograms as u64);
        self.ledger.collect_exemplars((asides.len() - histograms) as u64);
        let before = state.waiting.samples.len();
        state.waiting.asides.extend(asides.into_iter().map(|(own, aside)| (before + own, aside)));
        state.bytes += bytes;
    }

    /// Notes that a series has ended, behind everything that was sent of it.
    pub fn end(&self, series: SeriesId) {
        let mut state = self.lock();
        let deadline = Instant::now() + END_TIMEOUT;
        while state.ends >= MAX_ENDS && !state.closed {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.room.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let before = state.waiting.samples.len();
        state.waiting.asides.push((before, Aside::End(series)));
        state.ends += 1;
        let is_reason_to_read = state.ends == MAX_ENDS / 2;
        drop(state);
        if is_reason_to_read {
            self.reader.notify_one();
        }
        if self.history.is_watched() {
            self.history.end(series);
        }
    }

    /// Waits until `deadline`, or until there is reason to read sooner.
    pub fn wait(&self, deadline: Instant) -> Wake {
        let mut state = self.lock();
        loop {
            if state.closed {
                return Wake::Closed;
            }
            // First, or a flood would put the deadline off for ever.
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Wake::Deadline;
            }
            if self.is_half_full(&state) {
                return Wake::HalfFull;
            }
            state = self.reader.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Takes everything that waits, in exchange for the buffers that `into` held before.
    pub fn drain(&self, into: &mut Drained) {
        into.clear();
        let mut state = self.lock();
        std::mem::swap(&mut state.waiting, into);
        (state.items, state.bytes, state.ends) = (0, 0, 0);
        drop(state);
        self.room.notify_all();
    }

    /// Nothing enters any more; what waits can still be drained.
    pub fn close(&self) {
        self.lock().closed = true;
        self.room.notify_all();
        self.reader.notify_all();
    }

    /// How many samples wait.
    pub fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Whether no sample waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How full it is.
    pub fn depth(&self) -> Depth {
        Depth { items: self.lock().items, capacity: self.capacity }
    }

    fn has_room(&self, state: &State, samples: usize, bytes: usize) -> bool {
        // An item larger than a whole bound is taken when it is alone: it would never fit otherwise.
        let fits = state.waiting.samples.len() + samples <= MAX_SAMPLES && state.bytes + bytes <= MAX_BYTES;
        state.items == 0 || (state.items < self.capacity && fits)
    }

    fn is_half_full(&self, state: &State) -> bool {
        let much = state.waiting.samples.len() >= MAX_SAMPLES / 2 || state.bytes >= MAX_BYTES / 2;
        state.ends >= MAX_ENDS / 2 || (state.items > 0 && (state.items >= self.capacity.div_ceil(2) || much))
    }

    // The state is whole at every point where a panic could happen.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The series of the histograms among these.
fn histograms_in(asides: &[(usize, Aside)]) -> Vec<SeriesId> {
    let of = |aside: &Aside| if let Aside::Histogram(histogram) = aside { Some(histogram.series) } else { None };
    asides.iter().filter_map(|(_, aside)| of(aside)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERIES: SeriesId = SeriesId { index: 0, generation: 0 };

    fn sample(timestamp_ms: i64) -> Sample {
        Sample::from_parts(SERIES.to_number(), 1.0, timestamp_ms)
    }

    fn queue(capacity: usize) -> (ProcessedQueue, Arc<Ledger>) {
        let ledger = Arc::new(Ledger::default());
        (ProcessedQueue::new(capacity, Arc::clone(&ledger)), ledger)
    }

    #[test]
    fn order_and_ends_are_kept() {
        let (queue, ledger) = queue(8);
        queue.send(&[sample(1), sample(2)], &[], Duration::ZERO).unwrap();
        queue.end(SERIES);
        queue.send(&[sample(3)], &[(Reason::NoValue, 2)], Duration::ZERO).unwrap();
        let mut drained = Drained::default();
        queue.drain(&mut drained);
        assert_eq!(drained.samples.iter().map(|s| s.timestamp_ms).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(drained.asides, [(2, Aside::End(SERIES))]);
        let books = ledger.snapshot();
        assert_eq!((books.collected(), books.pending(), books.dropped()), (5, 3, 2));
        queue.drain(&mut drained);
        assert!(drained.samples.is_empty() && drained.asides.is_empty());
    }

    #[test]
    fn a_full_queue_takes_nothing_and_says_so() {
        let (queue, ledger) = queue(2);
        queue.send(&[sample(1)], &[], Duration::ZERO).unwrap();
        queue.send(&[sample(2)], &[], Duration::ZERO).unwrap();
        let refused = queue.send(&[sample(3)], &[(Reason::NoValue, 1)], Duration::from_millis(1));
        assert_eq!(refused, Err(Refused::Full));
        let books = ledger.snapshot();
        assert_eq!((books.collected(), books.refused_sends, queue.len()), (2, 1, 2));
        queue.close();
        assert_eq!(queue.send(&[sample(3)], &[], Duration::ZERO), Err(Refused::Closed));
        assert_eq!(queue.wait(Instant::now()), Wake::Closed);
    }

    #[test]
    fn what_is_taken_is_seen_by_who_looks() {
        let (queue, _) = queue(1);
        let now = Instant::now();
        let at_ms = 1_760_000_000_000;
        queue.history().look(SERIES, 0, now);
        queue.send(&[sample(at_ms)], &[], Duration::ZERO).unwrap();
        assert_eq!(queue.send(&[sample(at_ms + 1000)], &[], Duration::ZERO), Err(Refused::Full));
        queue.end(SERIES);
        let points = queue.history().look(SERIES, 0, now).unwrap().points;
        assert_eq!((points.len(), points[0].at_ms, points[0].max), (1, at_ms + 1, 1.0));
        assert!(crate::sample::is_marker(points[0].last));
    }

    #[test]
    fn half_full_wakes_the_reader() {
        let (queue, _) = queue(4);
        queue.send(&[sample(1)], &[], Duration::ZERO).unwrap();
        assert_eq!(queue.wait(Instant::now()), Wake::Deadline);
        let far = Instant::now() + Duration::from_secs(3600);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| queue.wait(far));
            queue.send(&[sample(2)], &[], Duration::ZERO).unwrap();
            assert_eq!(reader.join().unwrap(), Wake::HalfFull);
        });
        assert_eq!(queue.wait(Instant::now()), Wake::Deadline, "which a full queue does not put off");
    }

    #[test]
    fn a_drain_makes_room_for_a_waiting_sender() {
        let (queue, _) = queue(1);
        queue.send(&[sample(1)], &[], Duration::ZERO).unwrap();
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| queue.send(&[sample(2)], &[], Duration::from_secs(3600)));
            let mut all = Drained::default();
            let mut seen = 0;
            while seen < 2 {
                queue.drain(&mut all);
                seen += all.samples.len();
                std::thread::yield_now();
            }
            sender.join().unwrap().unwrap();
        });
    }

    #[test]
    fn ends_without_end_are_bounded_and_none_is_lost() {
        let (queue, _) = queue(1000);
        let sent = 5 * MAX_ENDS;
        let far = Instant::now() + Duration::from_secs(3600);
        std::thread::scope(|scope| {
            let plugin = scope.spawn(|| (0..sent).for_each(|_| queue.end(SERIES)));
            let (mut all, mut seen) = (Drained::default(), 0);
            while seen <= sent - MAX_ENDS {
                assert_eq!(queue.wait(far), Wake::HalfFull);
                queue.drain(&mut all);
                // A starved reader may let one through a second.
                assert!(all.asides.len() <= MAX_ENDS + 10, "{}", all.asides.len());
                seen += all.asides.len();
            }
            plugin.join().unwrap();
            queue.drain(&mut all);
            assert_eq!(seen + all.asides.len(), sent);
        });
    }

    #[test]
    fn a_huge_item_passes_alone() {
        let (queue, _) = queue(10);
        let huge = vec![sample(1); MAX_SAMPLES + 1];
        queue.send(&huge, &[], Duration::ZERO).unwrap();
        assert_eq!(queue.send(&[sample(2)], &[], Duration::ZERO), Err(Refused::Full));
    }

    #[test]
    fn histograms_are_samples_and_bounded_in_bytes() {
        let (queue, ledger) = queue(1000);
        let extras = |bytes: usize| {
            let histogram = Histogram {
                series: SERIES,
                timestamp_ms: 1,
                shape: crate::histogram::Shape::FloatHistogram,
                body: vec![0; bytes].into(),
            };
            let exemplar = Exemplar { series: SERIES, value: 1.0, timestamp_ms: 1, labels: Box::default() };
            Extras {
                asides: vec![(0, Aside::Histogram(histogram)), (0, Aside::Exemplar(exemplar))],
                rejected: vec![(Reason::InvalidHistogram, 2)],
                rejected_exemplars: vec![(Reason::LoneExemplar, 3)],
            }
        };
        queue.send(&[sample(1)], &[], Duration::ZERO).unwrap();
        queue.send_with(&[], extras(MAX_BYTES / 2), Duration::ZERO).unwrap();
        assert_eq!(queue.wait(Instant::now() + Duration::from_secs(3600)), Wake::HalfFull);
        assert_eq!(queue.send_with(&[], extras(MAX_BYTES / 2), Duration::ZERO), Err(Refused::Full));
        let books = ledger.snapshot();
        assert_eq!((books.collected(), books.pending(), books.dropped(), queue.len()), (4, 2, 2, 2));
        assert_eq!((books.exemplars.collected, books.exemplars.pending(), books.refused_sends), (4, 1, 1));
        let mut drained = Drained::default();
        queue.drain(&mut drained);
        assert_eq!(drained.asides.iter().map(|(before, _)| *before).collect::<Vec<_>>(), [1, 1]);
        // Alone, an item may be as large as it is.
        queue.send_with(&[], extras(MAX_BYTES * 2), Duration::ZERO).unwrap();
    }
}
