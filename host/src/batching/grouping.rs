//! Samples put together by series.
//!
//! Enters: samples in the order in which they were sent, often one of each series, again and again. Leaves: runs, one a
//! series, in the order of their first samples, and of each series in its own order. So a series that is in a full batch
//! is in it with all its samples, its labels go once instead of once a batch, and what is known of it is looked up once.
//!
//! Most plugins send the same series in the same order at each reading: then all samples of a series are equally far
//! apart, and nothing has to be noted of any.
//!
//! Never: moves a sample; costs more for series that sent nothing; allocates once its buffers have grown.

use monitor_plugin_api::Sample;

use crate::series::SeriesId;

/// Its buffers, kept for the next time.
#[derive(Debug, Default)]
pub struct Grouping {
    /// By a series' place in the table: the number of its last sample so far, or [`NONE`].
    last_of: Vec<u32>,
    groups: Vec<Group>,
    /// For each sample the next one of its group; for the last one, itself. Not filled where there is a `period`.
    next: Vec<u32>,
    /// The first so many samples are of as many series, and each of the others is of the series of the one so far before it.
    period: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    place: u32,
    first: u32,
}

const NONE: u32 = u32::MAX;

impl Grouping {
    /// Looks through `samples`. `places` is how many the table has: what lies beyond is no series, and is one group.
    pub fn look_through(&mut self, samples: &[Sample], places: usize) {
        for group in self.groups.drain(..) {
            self.last_of[group.place as usize] = NONE;
        }
        if self.last_of.len() <= places {
            self.last_of.resize(places + 1, NONE);
        }
        self.next.clear();
        self.period = None;
        // Up to the first sample of a series that was there before.
        let repeated = samples.iter().position(|sample| !self.note(sample, places));
        let Some(period) = repeated else { return self.period = Some(samples.len()) };
        let is_same = |(one, other): (&Sample, &Sample)| one.series() == other.series();
        if samples[period..].iter().zip(samples).all(is_same) {
            self.period = Some(period);
            return;
        }
        // The queue holds far fewer than 2^32 samples.
        self.next.extend(0..samples.len() as u32);
        for (i, sample) in (0..).zip(samples).skip(period) {
            let place = place_of(sample, places);
            match std::mem::replace(&mut self.last_of[place as usize], i) {
                NONE => self.groups.push(Group { place, first: i }),
                last => self.next[last as usize] = i,
            }
        }
    }

    /// A group for this sample, which is the next one, unless its series has one.
    fn note(&mut self, sample: &Sample, places: usize) -> bool {
        let place = place_of(sample, places);
        let last = &mut self.last_of[place as usize];
        if *last != NONE {
            return false;
        }
        let first = self.groups.len() as u32;
        *last = first;
        self.groups.push(Group { place, first });
        true
    }

    /// The samples that were looked through, by series.
    pub fn runs<'a>(&'a self, samples: &'a [Sample]) -> impl Iterator<Item = Run<'a>> {
        let run = |group: &Group| Run { at: group.first as usize, next: &self.next, period: self.period, samples };
        self.groups.iter().map(run)
    }
}

fn place_of(sample: &Sample, places: usize) -> u32 {
    (SeriesId::from_number(sample.series()).index).min(places as u32)
}

/// The samples of one series.
#[derive(Clone, Debug)]
pub struct Run<'a> {
    /// Beyond the samples: there is none any more.
    at: usize,
    next: &'a [u32],
    period: Option<usize>,
    samples: &'a [Sample],
}

impl<'a> Iterator for Run<'a> {
    type Item = &'a Sample;

    #[inline]
    fn next(&mut self) -> Option<&'a Sample> {
        let sample = self.samples.get(self.at)?;
        self.at = match self.period {
            Some(period) => self.at + period,
            None => Some(self.next[self.at] as usize).filter(|&next| next != self.at).unwrap_or(usize::MAX),
        };
        Some(sample)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn series_stand_together_each_in_its_order(
            numbers in prop_oneof![
                vec(0u64..12, 0..100),
                (vec(0u64..12, 1..9), 1..9usize).prop_map(|(reading, times)| reading.repeat(times)),
                (1..12u64, 1..90usize).prop_map(|(series, samples)| (0..series).cycle().take(samples).collect()),
            ],
        ) {
            let mut grouping = Grouping::default();
            // A number that no table gave, and another tenant of the place 3.
            let series = |n: u64| match n { 10 => 1 << 31, 11 => 3 | 1 << 32, n => n };
            for end in [numbers.len(), numbers.len() / 2] {
                let sample = |(i, &n)| Sample::from_parts(series(n), 0.0, i);
                let samples: Vec<_> = (0..).zip(&numbers[..end]).map(sample).collect();
                grouping.look_through(&samples, 10);
                let way: Vec<usize> = grouping.runs(&samples).flatten().map(|s| s.timestamp_ms as usize).collect();
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
