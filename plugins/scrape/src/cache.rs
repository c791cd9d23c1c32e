//! The series of one target, by their text in the exposition.
//!
//! Enters: the text of a series, and where it is unknown, the series that was registered for it. Leaves: the series; which are
//! to be marked as ended; and those that are gone, which are let go. A series that is known costs one lookup.
//!
//! Never: parses; sends. A scrape is a proposal until [`Cache::settle`] is told what came of it.

use hashbrown::HashMap;
use monitor_plugin_api::{Exemplar, Sample, Series};

use crate::exposition;
use crate::starts::Starts;

/// So long a vanished series with timestamps of its own is kept: Prometheus shows its last sample for five minutes, and
/// letting go of it would end it at that sample.
const KEPT_MS: i64 = 5 * 60 * 1000;

/// A series.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) series: Series,
    /// In which scrape it came last.
    seen: u64,
    seen_ms: i64,
    /// In which scrape it came first.
    added: u64,
    /// Its sample in that scrape had the scrape's timestamp.
    tracked: bool,
    /// The receiver has a sample of it, and no marker behind.
    live: bool,
    /// Its last sample with a timestamp of its own: timestamp, bits.
    pub(crate) own: Option<(i64, u64)>,
    /// The last exemplar that was sent with it.
    exemplar: Option<Box<LastExemplar>>,
    /// What it began together with.
    pub(crate) group: Option<u32>,
    /// It tells when they began.
    pub(crate) is_created: bool,
    /// When it began, as the host knows it.
    pub(crate) start_ms: Option<i64>,
}

/// An exemplar, to know it again.
#[derive(Debug)]
struct LastExemplar {
    labels: Vec<(String, String)>,
    value: f64,
    /// The one that it came with, if it did.
    own_ms: Option<i64>,
    timestamp_ms: i64,
    /// In which scrape it came first.
    added: u64,
}

impl Known {
    /// The exemplar of its sample, which was [seen](Cache::see), unless it was sent before, or is older than one that was.
    pub(crate) fn exemplar(&mut self, now: &exposition::Exemplar<'_, '_>, sample_ms: i64) -> Option<Exemplar> {
        let timestamp_ms = now.timestamp_ms.unwrap_or(sample_ms);
        let is_known = self.exemplar.as_ref().is_some_and(|last| {
            let labels = last.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let same = last.value.to_bits() == now.value.to_bits() && last.own_ms == now.timestamp_ms;
            let mut these = now.labels.iter();
            let same_labels =
                labels.clone().all(|(name, value)| these.next().is_some_and(|(n, v)| n == name && v == value));
            timestamp_ms < last.timestamp_ms || same && same_labels && these.next().is_none()
        });
        if is_known {
            return None;
        }
        let labels: Vec<_> = now.labels.iter().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        let exemplar = self.series.exemplar(now.value, timestamp_ms);
        let exemplar = labels.iter().fold(exemplar, |exemplar, (name, value)| exemplar.label(name, value));
        let own_ms = now.timestamp_ms;
        self.exemplar =
            Some(Box::new(LastExemplar { labels, value: now.value, own_ms, timestamp_ms, added: self.seen }));
        Some(exemplar)
    }
}

/// A text that stands for a series.
#[derive(Debug)]
struct Text {
    slot: u32,
    seen: u64,
    added: u64,
    /// The metadata above it.
    context: u64,
}

/// What a scrape came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// To an exposition: what is not in it is gone.
    Whole,
    /// To nothing, and all series have been marked; but they are expected to come back.
    Nothing,
}

/// All series of one target.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    texts: HashMap<Box<[u8]>, Text, foldhash::fast::RandomState>,
    known: Vec<Option<Known>>,
    by_number: HashMap<u64, u32, foldhash::fast::RandomState>,
    free: Vec<u32>,
    scrape: u64,
    now_ms: i64,
    /// Texts of this scrape.
    texts_seen: usize,
}

impl Cache {
    /// A scrape begins.
    pub(crate) fn begin(&mut self, now_ms: i64) {
        self.scrape += 1;
        self.now_ms = now_ms;
        self.texts_seen = 0;
    }

    /// The series with this text below this metadata.
    pub(crate) fn find(&mut self, text: &[u8], context: u64) -> Option<u32> {
        let found = self.texts.get_mut(text).filter(|found| found.context == context)?;
        if found.seen != self.scrape {
            found.seen = self.scrape;
            self.texts_seen += 1;
        }
        Some(found.slot)
    }

    /// From now on the text stands for this series. Returns also whether the text is new, whatever the metadata above it.
    pub(crate) fn insert(&mut self, text: &[u8], context: u64, series: Series) -> (u32, bool) {
        let number = series.sample(0.0, 0).series();
        let slot = self.by_number.get(&number).copied().unwrap_or_else(|| {
            let slot = self.free.pop().unwrap_or_else(|| {
                self.known.push(None);
                // Their texts are in memory: fewer than 2^32.
                (self.known.len() - 1) as u32
            });
            self.by_number.insert(number, slot);
            slot
        });
        match &mut self.known[slot as usize] {
            // The handle that came with the newest metadata.
            Some(known) => known.series = series,
            place => {
                *place = Some(Known {
                    series,
                    seen: 0,
                    seen_ms: self.now_ms,
                    added: self.scrape,
                    tracked: false,
                    live: false,
                    own: None,
                    exemplar: None,
                    group: None,
                    is_created: false,
                    start_ms: None,
                });
            }
        }
        let mut now = Text { slot, seen: self.scrape, added: self.scrape, context };
        let before = self.texts.get_mut(text);
        self.texts_seen += usize::from(before.as_ref().is_none_or(|before| before.seen != self.scrape));
        match before {
            Some(before) => {
                now.added = before.added;
                *before = now;
                (slot, false)
            }
            None => {
                self.texts.insert(text.into(), now);
                (slot, true)
            }
        }
    }

    /// A series by the number that [`find`](Self::find) and [`insert`](Self::insert) give.
    pub(crate) fn get(&mut self, slot: u32) -> Option<&mut Known> {
        self.known.get_mut(slot as usize)?.as_mut()
    }

    /// A sample of the series is in this scrape. Returns whether there was one already.
    pub(crate) fn see(&mut self, slot: u32, tracked: bool) -> bool {
        let (scrape, now_ms) = (self.scrape, self.now_ms);
        let Some(known) = self.get(slot) else { return false };
        let again = known.seen == scrape;
        known.tracked = tracked || again && known.tracked;
        known.seen = scrape;
        known.seen_ms = now_ms;
        again
    }

    /// Puts a stale marker into `samples` for each series that the receiver takes for alive and that this scrape has not; or
    /// for all of them, where it came to nothing.
    pub(crate) fn mark(&self, came: Came, samples: &mut Vec<Sample>) {
        let ended = |known: &&Known| known.live && (came == Came::Nothing || !self.is_here(known));
        samples.extend(self.known.iter().flatten().filter(ended).map(|known| known.series.stale(self.now_ms)));
    }

    /// What was proposed is on its way to the receiver, markers included.
    pub(crate) fn settle(&mut self, came: Came, starts: &mut Starts) {
        if came == Came::Nothing {
            self.forget_moments();
        }
        let mut gone = false;
        for slot in 0..self.known.len() {
            let Some(known) = &self.known[slot] else { continue };
            let here = self.is_here(known);
            let stays = match came {
                Came::Whole => known.seen == self.scrape || self.is_kept(known),
                // Of an exposition that was refused: it may never be seen again.
                Came::Nothing => known.added != self.scrape,
            };
            if stays {
                if let Some(known) = &mut self.known[slot] {
                    known.live = came == Came::Whole && here;
                }
            } else {
                self.remove(slot, starts);
                gone = true;
            }
        }
        match came {
            Came::Whole if self.texts_seen < self.texts.len() => self.texts.retain(|_, text| text.seen == self.scrape),
            Came::Nothing if gone || self.texts_seen > 0 => self.texts.retain(|_, text| text.added != self.scrape),
            _ => {}
        }
    }

    /// The samples of this scrape are lost: what they said of their own moments is to be said again, and their exemplars.
    pub(crate) fn forget_moments(&mut self) {
        let scrape = self.scrape;
        self.known.iter_mut().flatten().filter(|known| known.seen == scrape).for_each(|known| {
            known.own = None;
            // One of an earlier scrape was sent.
            known.exemplar.take_if(|last| last.added == scrape);
        });
    }

    fn is_here(&self, known: &Known) -> bool {
        known.seen == self.scrape && known.tracked
    }

    fn is_kept(&self, known: &Known) -> bool {
        known.own.is_some() && !known.live && self.now_ms - known.seen_ms < KEPT_MS
    }

    fn remove(&mut self, slot: usize, starts: &mut Starts) {
        let Some(known) = self.known[slot].take() else { return };
        self.by_number.remove(&known.series.sample(0.0, 0).series());
        if let Some(group) = known.group {
            starts.leave(group);
        }
        // As `insert`, which gave it.
        self.free.push(slot as u32);
    }
}
