//! Enters: what was stored. Leaves: for each series its counts, its last value and its rate.
//!
//! Bounded in series and in bytes of labels; what lies beyond is only counted. Never prints and never reads a clock.

use std::collections::BTreeMap;
use std::fmt;

/// Bytes of labels that are remembered.
const MAX_LABEL_BYTES: usize = 64 << 20;
/// Rates are taken over one to two spans of this many milliseconds.
const RATE_SPAN_MS: i64 = 10_000;

/// A series: ordered by metric first, so that a table lists together what belongs together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) metric: String,
    /// Sorted, without `__name__` and without empty values.
    pub(crate) labels: Vec<(String, String)>,
}

impl Key {
    fn bytes(&self) -> usize {
        let labels = self.labels.iter().map(|(name, value)| name.len() + value.len());
        self.metric.len() + labels.sum::<usize>()
    }
}

impl fmt::Display for Key {
    /// `metric{name="value"}`, control characters escaped: this goes to terminals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.metric.escape_debug())?;
        for (index, (name, value)) in self.labels.iter().enumerate() {
            write!(f, "{}{}={value:?}", if index == 0 { "{" } else { "," }, name.escape_debug())?;
        }
        if self.labels.is_empty() { Ok(()) } else { f.write_str("}") }
    }
}

/// The newest point of a series.
#[derive(Debug, Clone, Copy)]
pub(super) struct Last {
    pub(super) timestamp_ms: i64,
    pub(super) value: f64,
}

/// Events per second, by the events' own times: batches that arrive every few seconds give a steady rate.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rate {
    before: Option<Span>,
    current: Option<Span>,
    last_ms: i64,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    start_ms: i64,
    events: u64,
}

impl Rate {
    pub(super) fn add(&mut self, at_ms: i64, events: u64) {
        self.last_ms = self.last_ms.max(at_ms);
        match &mut self.current {
            Some(span) if at_ms.saturating_sub(span.start_ms) < RATE_SPAN_MS => span.events += events,
            _ => {
                self.before = self.current;
                self.current = Some(Span { start_ms: at_ms, events });
                if self.before.is_none() {
                    self.last_ms = at_ms;
                }
            }
        }
    }

    /// The rate, once two events at different times are known.
    pub(super) fn per_second(&self) -> Option<f64> {
        let current = self.current?;
        let first = self.before.unwrap_or(current);
        let events = current.events + self.before.map_or(0, |span| span.events);
        let span_ms = self.last_ms.saturating_sub(first.start_ms);
        // n events lie n - 1 intervals apart.
        (span_ms > 0 && events > 1).then(|| (events - 1) as f64 * 1000.0 / span_ms as f64)
    }
}

/// What is known of one series.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) samples: u64,
    pub(super) last: Option<Last>,
    pub(super) rate: Rate,
}

/// All series that are remembered.
#[derive(Debug)]
pub(super) struct Table {
    series: BTreeMap<Key, Entry>,
    max_series: usize,
    label_bytes: usize,
    /// Samples stored for series that are not remembered.
    untracked: u64,
}

impl Table {
    pub(super) fn new(max_series: usize) -> Self {
        Self { series: BTreeMap::new(), max_series, label_bytes: 0, untracked: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.series.len()
    }

    pub(super) fn untracked(&self) -> u64 {
        self.untracked
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        self.series.iter()
    }

    pub(super) fn last(&self, key: &Key) -> Option<Last> {
        self.series.get(key)?.last
    }

    /// Takes the points of one series; `false` if there is no room to remember it.
    pub(super) fn store(&mut self, key: Key, points: impl Iterator<Item = (i64, f64)>) -> bool {
        let bytes = key.bytes();
        let known = self.series.contains_key(&key);
        if !known && (self.series.len() >= self.max_series || self.label_bytes + bytes > MAX_LABEL_BYTES) {
            self.untracked += points.count() as u64;
            return false;
        }
        if !known {
            self.label_bytes += bytes;
        }
        let entry = self.series.entry(key).or_default();
        for (timestamp_ms, value) in points {
            entry.samples += 1;
            entry.rate.add(timestamp_ms, 1);
            // The newest in time, so that one sample out of order does not make all that follow look wrong.
            if entry.last.is_none_or(|last| timestamp_ms >= last.timestamp_ms) {
                entry.last = Some(Last { timestamp_ms, value });
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(metric: &str) -> Key {
        Key { metric: metric.into(), labels: Vec::new() }
    }

    #[test]
    fn a_key_is_shown_as_selectors_are_written_and_can_not_move_the_cursor() {
        let mut key = key("power");
        assert_eq!(key.to_string(), "power");
        key.labels = vec![("a".into(), "x\"\u{1b}[2J\n".into()), ("b".into(), "y".into())];
        assert_eq!(key.to_string(), r#"power{a="x\"\u{1b}[2J\n",b="y"}"#);
    }

    #[test]
    fn a_rate_is_steady_although_batches_come_in_lumps() {
        let mut rate = Rate::default();
        rate.add(1_000_000, 1);
        assert_eq!(rate.per_second(), None);
        for step in 1..1000 {
            rate.add(1_000_000 + step * 100, 1);
            assert!((rate.per_second().unwrap() - 10.0).abs() < 1e-9, "after {step}");
        }
    }

    #[test]
    fn absurd_timestamps_do_no_harm() {
        let mut rate = Rate::default();
        for at in [i64::MAX, i64::MIN, 0, i64::MAX] {
            rate.add(at, 1);
            rate.per_second();
        }
    }

    #[test]
    fn series_beyond_the_bound_are_counted_and_not_kept() {
        let mut table = Table::new(1);
        assert!(table.store(key("a"), [(1, 1.0)].into_iter()));
        assert!(!table.store(key("b"), [(1, 1.0), (2, 1.0)].into_iter()));
        assert!(table.store(key("a"), [(2, 5.0)].into_iter()));
        assert_eq!((table.len(), table.untracked()), (1, 2));
        assert_eq!(table.last(&key("a")).unwrap().value, 5.0);
    }

    #[test]
    fn label_bytes_are_bounded_too() {
        let mut table = Table::new(usize::MAX);
        assert!(!table.store(key(&"x".repeat(MAX_LABEL_BYTES + 1)), [(1, 1.0)].into_iter()));
        assert_eq!((table.len(), table.untracked()), (0, 1));
    }

    #[test]
    fn a_late_sample_does_not_become_the_last() {
        let mut table = Table::new(9);
        table.store(key("a"), [(5, 5.0), (3, 3.0)].into_iter());
        assert_eq!(table.last(&key("a")).unwrap().timestamp_ms, 5);
    }
}
