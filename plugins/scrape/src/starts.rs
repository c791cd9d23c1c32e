//! `_created` of OpenMetrics: since when the series of one counter, histogram or summary count.
//!
//! Enters: what belongs together, by a key ([`crate::exposition::Sample::group`]), and when it began. Leaves: the moment, by a
//! number that a series keeps. Never: keeps a group of which no series is left.

use hashbrown::HashMap;

/// Series that began together.
#[derive(Debug)]
struct Group {
    key: Box<[u8]>,
    start_ms: Option<i64>,
    /// In which scrape that was told last.
    told: u64,
    members: usize,
}

/// All groups of a target.
#[derive(Debug, Default)]
pub(crate) struct Starts {
    by_key: HashMap<Box<[u8]>, u32, foldhash::fast::RandomState>,
    groups: Vec<Option<Group>>,
    free: Vec<u32>,
    scrape: u64,
}

impl Starts {
    /// A scrape begins.
    pub(crate) fn next(&mut self) {
        self.scrape += 1;
    }

    /// The scrape was whole: what it did not tell is not known any more, as another process may count by now. Returns whether
    /// there is such a group.
    pub(crate) fn forget_untold(&mut self) -> bool {
        let scrape = self.scrape;
        let untold = self.groups.iter_mut().flatten().filter(|group| group.told != scrape);
        untold.filter_map(|group| group.start_ms.take()).count() > 0
    }

    /// One more series of the group with this key; its number.
    pub(crate) fn join(&mut self, key: &[u8]) -> u32 {
        let number = self.by_key.get(key).copied().unwrap_or_else(|| {
            let group = Group { key: key.into(), start_ms: None, told: 0, members: 0 };
            let number = self.free.pop().unwrap_or_else(|| {
                self.groups.push(None);
                // Fewer than there are series, whose text is in memory.
                (self.groups.len() - 1) as u32
            });
            self.groups[number as usize] = Some(group);
            self.by_key.insert(key.into(), number);
            number
        });
        if let Some(group) = &mut self.groups[number as usize] {
            group.members += 1;
        }
        number
    }

    /// One series less.
    pub(crate) fn leave(&mut self, number: u32) {
        let place = &mut self.groups[number as usize];
        let Some(group) = place else { return };
        group.members -= 1;
        if group.members == 0 {
            self.by_key.remove(&group.key);
            *place = None;
            self.free.push(number);
        }
    }

    /// When the group began, in milliseconds since the Unix epoch. Returns whether that is new.
    pub(crate) fn begin(&mut self, number: u32, start_ms: i64) -> bool {
        let scrape = self.scrape;
        self.groups[number as usize].as_mut().is_some_and(|group| {
            group.told = scrape;
            group.start_ms.replace(start_ms) != Some(start_ms)
        })
    }

    /// When the group began, if that is known.
    pub(crate) fn start_ms(&self, number: u32) -> Option<i64> {
        self.groups[number as usize].as_ref()?.start_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_lives_as_long_as_a_series_of_it() {
        let mut starts = Starts::default();
        starts.next();
        let a = starts.join(b"a");
        assert_eq!(starts.join(b"a"), a);
        let b = starts.join(b"b");
        assert_ne!(a, b);
        assert!(starts.begin(a, 5) && !starts.begin(a, 5) && starts.begin(a, 6));
        assert_eq!((starts.start_ms(a), starts.start_ms(b)), (Some(6), None));
        assert!(!starts.forget_untold());
        starts.leave(a);
        assert_eq!(starts.start_ms(a), Some(6));
        starts.leave(a);
        assert_eq!(starts.start_ms(a), None);
        let c = starts.join(b"c");
        assert_eq!((c, starts.start_ms(c)), (a, None), "its place, and nothing else of it");
    }
}
