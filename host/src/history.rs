//! The last minutes of those series that somebody looks at just now.
//!
//! Enters: the samples that the processed queue takes, as long as anybody looks at any series; and who looks at which. Leaves:
//! at most [`MAX_POINTS`] points of each of at most [`MAX_SERIES`] series. A point stands for the samples of half a second: the
//! last of them, the smallest and the largest, so that no peak is lost however fast a series is. A sample that is not newer than
//! the one before it is left out, as a batch leaves it out.
//!
//! Never: keeps anything, or costs a send more than one relaxed load, while nobody looks; looks at a clock; takes the place of a
//! series that is being looked at.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use monitor_plugin_api::Sample;
use monitor_proto::STALE_NAN;

use crate::sample;
use crate::series::SeriesId;

/// Series of which anything is kept.
pub const MAX_SERIES: usize = 64;

/// Points of each: five minutes of them.
pub const MAX_POINTS: usize = 600;

/// What one point stands for.
pub const POINT_MS: i64 = 500;

/// How long a series is kept that nobody asks for any more.
pub const KEPT: Duration = Duration::from_secs(15);

/// Whoever looks asks each second. A series for which nobody asked this long makes room for another one.
const LOOKED_AT: Duration = Duration::from_secs(3);

/// The samples of half a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The moment of the last of them, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// The last one. It may be a stale marker ([`sample::is_marker`]): the series has no value then.
    pub last: f64,
    /// The smallest, markers and NaN aside; NaN where there is no other.
    pub min: f64,
    /// The largest, likewise.
    pub max: f64,
}

/// What is kept of a series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Look {
    /// In the order of their moments.
    pub points: Vec<Point>,
    /// It sends native histograms, of which nothing is kept.
    pub has_histograms: bool,
}

#[derive(Debug)]
struct Track {
    asked: Instant,
    newest_ms: i64,
    points: VecDeque<Point>,
    has_histograms: bool,
}

/// All that is kept.
#[derive(Debug, Default)]
pub struct History {
    /// There is a track.
    is_watched: AtomicBool,
    tracks: Mutex<HashMap<SeriesId, Track, foldhash::fast::RandomState>>,
}

impl History {
    /// Whether anybody looks: all that a send asks while nobody does.
    #[inline]
    pub fn is_watched(&self) -> bool {
        self.is_watched.load(Relaxed)
    }

    /// Samples were sent, and histograms of these series.
    #[cold]
    pub fn note(&self, samples: &[Sample], histograms: &[SeriesId]) {
        let mut tracks = self.lock();
        for sample in samples {
            if let Some(track) = tracks.get_mut(&SeriesId::from_number(sample.series())) {
                track.put(sample.value, sample.timestamp_ms);
            }
        }
        for series in histograms {
            if let Some(track) = tracks.get_mut(series) {
                track.has_histograms = true;
            }
        }
    }

    /// A series has ended: it has no value any more.
    #[cold]
    pub fn end(&self, series: SeriesId) {
        if let Some(track) = self.lock().get_mut(&series)
            && track.newest_ms > i64::MIN
        {
            track.put(f64::from_bits(STALE_NAN), track.newest_ms + 1);
        }
    }

    /// What is kept of a series from the point that `since_ms` lies in on; from now on it is looked at. None where
    /// [`MAX_SERIES`] others are.
    pub fn look(&self, series: SeriesId, since_ms: i64, now: Instant) -> Option<Look> {
        let mut tracks = self.lock();
        if let Some(track) = tracks.get_mut(&series) {
            track.asked = now;
            let known = track.points.partition_point(|point| number(point.at_ms) < number(since_ms));
            let points = track.points.range(known..).copied().collect();
            return Some(Look { points, has_histograms: track.has_histograms });
        }
        if tracks.len() >= MAX_SERIES {
            let longest_ago = tracks.iter().min_by_key(|(_, track)| track.asked);
            let idle = |track: &Track| now.saturating_duration_since(track.asked) > LOOKED_AT;
            let other = longest_ago.filter(|(_, track)| idle(track)).map(|(series, _)| *series)?;
            tracks.remove(&other);
        }
        let track = Track { asked: now, newest_ms: i64::MIN, points: VecDeque::new(), has_histograms: false };
        tracks.insert(series, track);
        self.is_watched.store(true, Relaxed);
        Some(Look::default())
    }

    /// Lets go of what nobody looks at any more. Returns when to do that next, if anything is left.
    pub fn forget(&self, now: Instant) -> Option<Instant> {
        let mut tracks = self.lock();
        tracks.retain(|_, track| now.saturating_duration_since(track.asked) < KEPT);
        if tracks.is_empty() {
            *tracks = HashMap::default();
        }
        self.is_watched.store(!tracks.is_empty(), Relaxed);
        tracks.values().map(|track| track.asked + KEPT).min()
    }

    // A track is whole at every point where a panic could happen.
    fn lock(&self) -> MutexGuard<'_, HashMap<SeriesId, Track, foldhash::fast::RandomState>> {
        self.tracks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Track {
    fn put(&mut self, value: f64, at_ms: i64) {
        if at_ms <= self.newest_ms || !sample::is_plausible(at_ms) {
            return;
        }
        self.newest_ms = at_ms;
        let (last, number_of) =
            (if sample::is_marker(value) { value } else { sample::canonical(value) }, number(at_ms));
        match self.points.back_mut() {
            Some(point) if number(point.at_ms) == number_of => {
                // Of a NaN and a number, the number.
                *point = Point { at_ms, last, min: point.min.min(value), max: point.max.max(value) };
            }
            _ => {
                if self.points.len() == MAX_POINTS {
                    self.points.pop_front();
                }
                self.points.push_back(Point { at_ms, last, min: value, max: value });
            }
        }
    }
}

/// Which point a moment belongs to.
fn number(at_ms: i64) -> i64 {
    at_ms.div_euclid(POINT_MS)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const NOW_MS: i64 = 1_760_000_000_000;

    fn series(index: u32) -> SeriesId {
        SeriesId { index, generation: 1 }
    }

    fn sample(of: u32, value: f64, after_ms: i64) -> Sample {
        Sample::from_parts(series(of).to_number(), value, NOW_MS + after_ms)
    }

    #[test]
    fn nothing_is_kept_of_what_nobody_looks_at() {
        let (history, start) = (History::default(), Instant::now());
        assert!(!history.is_watched());
        history.note(&[sample(1, 1.0, 0)], &[]);
        assert_eq!(history.look(series(1), 0, start), Some(Look::default()));
        assert!(history.is_watched());
        history.note(&[sample(1, 2.0, 0), sample(2, 3.0, 0), sample(1, 4.0, 1000)], &[series(2)]);
        let look = history.look(series(1), 0, start).unwrap();
        assert_eq!(look.points.iter().map(|point| point.last).collect::<Vec<_>>(), [2.0, 4.0]);
        assert_eq!(history.look(series(1), NOW_MS + 600, start).unwrap().points.len(), 1, "what is new");
        assert_eq!(history.look(series(2), 0, start), Some(Look::default()));
        // Another tenant of the same place.
        assert_eq!(history.look(SeriesId { index: 1, generation: 2 }, 0, start), Some(Look::default()));

        let later = start + KEPT - Duration::from_secs(1);
        assert!(history.look(series(1), 0, later).is_some());
        assert_eq!(history.forget(start + KEPT), Some(later + KEPT), "the others are gone");
        assert!(history.is_watched());
        assert_eq!(history.forget(later + KEPT), None);
        assert!(!history.is_watched());
    }

    #[test]
    fn one_that_is_looked_at_keeps_its_place() {
        let (history, start) = (History::default(), Instant::now());
        for index in 0..MAX_SERIES as u32 {
            assert!(history.look(series(index), 0, start).is_some());
        }
        assert_eq!(history.look(series(1000), 0, start + Duration::from_secs(2)), None);
        let later = start + Duration::from_secs(4);
        assert!((1..MAX_SERIES as u32).all(|index| history.look(series(index), 0, later).is_some()));
        assert!(history.look(series(1000), 0, later).is_some(), "nobody asked for the first one any more");
        assert_eq!(history.look(series(0), 0, later), None);
    }

    #[test]
    fn an_end_and_a_histogram_are_seen() {
        let (history, now) = (History::default(), Instant::now());
        history.look(series(1), 0, now);
        history.end(series(1));
        history.note(&[sample(1, f64::NAN, 0), sample(1, 5.0, 1), sample(1, -5.0, 2), sample(1, 1.0, 3)], &[series(1)]);
        history.end(series(1));
        let look = history.look(series(1), 0, now).unwrap();
        assert!(look.has_histograms);
        let [Point { at_ms, last, min, max }] = look.points[..] else { panic!("{look:?}") };
        assert!(sample::is_marker(last), "{last}");
        assert_eq!((at_ms, min, max), (NOW_MS + 4, -5.0, 5.0));
    }

    proptest! {
        #[test]
        fn points_are_few_and_hold_every_peak(steps in proptest::collection::vec((-300i64..2000, -1e9..1e9), 1..3000)) {
            let (history, now) = (History::default(), Instant::now());
            history.look(series(1), 0, now);
            let (mut at_ms, mut newest, mut taken) = (NOW_MS, i64::MIN, BTreeMap::<i64, Vec<f64>>::new());
            for (step, value) in steps {
                at_ms += step;
                history.note(&[Sample::from_parts(series(1).to_number(), value, at_ms)], &[]);
                if at_ms > newest {
                    newest = at_ms;
                    taken.entry(number(at_ms)).or_default().push(value);
                }
            }
            let points = history.look(series(1), 0, now).unwrap().points;
            let last_ones = taken.iter().rev().take(MAX_POINTS).rev();
            prop_assert!(points.iter().map(|point| number(point.at_ms)).eq(last_ones.clone().map(|(number, _)| *number)));
            for (point, (_, values)) in points.iter().zip(last_ones) {
                prop_assert_eq!(Some(&point.last), values.last());
                prop_assert_eq!(point.min, values.iter().copied().fold(f64::INFINITY, f64::min));
                prop_assert_eq!(point.max, values.iter().copied().fold(f64::NEG_INFINITY, f64::max));
            }
        }
    }
}
