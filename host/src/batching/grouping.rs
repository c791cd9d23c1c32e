//! Samples put together by series.
//!
//! Enters: samples in the order in which they were sent, often one of each series, again and again. Leaves: the same, those
//! of one series side by side and in their own order, series in the order of their first samples. So a series that is in a
//! full batch is in it with all its samples, and its labels go once instead of once a batch.
//!
//! Never: costs more for series that sent nothing; allocates once its buffers have grown.

use monitor_plugin_api::Sample;

use crate::series::SeriesId;

/// Its buffers, kept for the next time.
#[derive(Debug, Default)]
pub(crate) struct Grouping {
    /// By a series' place in the table: which group it has, or [`NONE`].
    group_of: Vec<u32>,
    /// Of each group its series' place, and where its next sample goes; at first, how many it has.
    groups: Vec<(u32, u32)>,
    sorted: Vec<Sample>,
}

const NONE: u32 = u32::MAX;

impl Grouping {
    /// Puts `samples` together by series. `places` is how many the table has: what lies beyond is no series, and stays
    /// together as well.
    pub(crate) fn group(&mut self, samples: &mut [Sample], places: usize) {
        let place = |sample: &Sample| (SeriesId::from_number(sample.series()).index as usize).min(places) as u32;
        if samples.is_sorted_by_key(place) {
            return;
        }
        let Grouping { group_of, groups, sorted } = self;
        group_of.resize(group_of.len().max(places + 1), NONE);
        for sample in samples.iter() {
            let place = place(sample);
            let group = &mut group_of[place as usize];
            if *group == NONE {
                *group = groups.len() as u32;
                groups.push((place, 0));
            }
            groups[*group as usize].1 += 1;
        }
        let mut next = 0;
        for (_, count) in groups.iter_mut() {
            next += std::mem::replace(count, next);
        }
        sorted.clear();
        sorted.extend_from_slice(samples);
        for sample in sorted.iter() {
            let (_, next) = &mut groups[group_of[place(sample) as usize] as usize];
            samples[*next as usize] = *sample;
            *next += 1;
        }
        for (place, _) in groups.drain(..) {
            group_of[place as usize] = NONE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn series_stand_together_each_in_its_order(numbers in proptest::collection::vec(0u64..12, 0..100)) {
            let mut grouping = Grouping::default();
            // A number that no table gave, and another tenant of the place 3.
            let series = |n: u64| match n { 10 => 3 | 1 << 32, 11 => 1 << 31, n => n };
            let sent: Vec<_> =
                (0..).zip(&numbers).map(|(at, &n)| Sample::from_parts(series(n), 0.0, at)).collect();
            for _ in 0..2 {
                let mut samples = sent.clone();
                grouping.group(&mut samples, 10);
                let places: Vec<_> = samples.iter().map(|sample| sample.series() as u32).collect();
                let mut seen = places.clone();
                seen.dedup();
                let distinct: std::collections::BTreeSet<_> = seen.iter().copied().collect();
                prop_assert_eq!(seen.len(), distinct.len(), "{:?}", places);
                prop_assert!(samples.is_sorted_by_key(|s| (places.iter().position(|p| *p == s.series() as u32), s.timestamp_ms)));
                samples.sort_by_key(|sample| sample.timestamp_ms);
                prop_assert_eq!(&samples, &sent);
            }
        }
    }
}
