//! Samples put together by series.
//!
//! Enters: samples in the order in which they were sent, often one of each series, again and again. Leaves: a way through
//! them, by series, in the order of their first samples, and of each series in its own order. So a series that is in a
//! full batch is in it with all its samples, and its labels go once instead of once a batch.
//!
//! Never: moves a sample; costs more for series that sent nothing; allocates once its buffers have grown.

use monitor_plugin_api::Sample;

use crate::series::SeriesId;

/// Its buffers, kept for the next time.
#[derive(Debug, Default)]
pub struct Grouping {
    /// By a series' place in the table: which group it has, or [`NONE`].
    group_of: Vec<u32>,
    groups: Vec<Group>,
    /// For each sample the next one of its group; for the last one, itself.
    next: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    place: u32,
    first: u32,
    last: u32,
}

const NONE: u32 = u32::MAX;

impl Grouping {
    /// Looks through `samples`. `places` is how many the table has: what lies beyond is no series, and is one group.
    pub fn look_through(&mut self, samples: &[Sample], places: usize) {
        let Grouping { group_of, groups, next } = self;
        for group in groups.drain(..) {
            group_of[group.place as usize] = NONE;
        }
        next.clear();
        if group_of.len() <= places {
            group_of.resize(places + 1, NONE);
        }
        // The queue holds far fewer than 2^32 samples.
        for (i, sample) in (0..).zip(samples) {
            let place = (SeriesId::from_number(sample.series()).index).min(places as u32);
            let group = &mut group_of[place as usize];
            if *group == NONE {
                *group = groups.len() as u32;
                groups.push(Group { place, first: i, last: i });
            } else {
                let last = &mut groups[*group as usize].last;
                next[*last as usize] = i;
                *last = i;
            }
            next.push(i);
        }
    }

    /// The way through them: for each sample its number.
    pub fn way(&self) -> impl Iterator<Item = usize> {
        self.groups.iter().flat_map(|group| {
            let follow = |&i: &u32| Some(self.next[i as usize]).filter(|&next| next != i);
            std::iter::successors(Some(group.first), follow).map(|i| i as usize)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn series_stand_together_each_in_its_order(numbers in proptest::collection::vec(0u64..12, 0..100)) {
            let mut grouping = Grouping::default();
            // A number that no table gave, and another tenant of the place 3.
            let series = |n: u64| match n { 10 => 1 << 31, 11 => 3 | 1 << 32, n => n };
            for end in [numbers.len(), numbers.len() / 2] {
                let samples: Vec<_> = numbers[..end].iter().map(|&n| Sample::from_parts(series(n), 0.0, 0)).collect();
                grouping.look_through(&samples, 10);
                let way: Vec<usize> = grouping.way().collect();
                let places: Vec<_> = way.iter().map(|&i| samples[i].series() as u32).collect();
                let runs: Vec<&[u32]> = places.chunk_by(|a, b| a == b).collect();
                prop_assert_eq!(runs.iter().map(|run| run[0]).collect::<BTreeSet<_>>().len(), runs.len());
                let mut ways = way.as_slice();
                for run in runs {
                    let (own, rest) = ways.split_at(run.len());
                    prop_assert!(own.is_sorted());
                    ways = rest;
                }
                prop_assert!(way.iter().copied().collect::<BTreeSet<_>>().into_iter().eq(0..end) && way.len() == end);
            }
        }
    }
}
