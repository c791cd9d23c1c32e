//! Histograms and exemplars of one send, judged and put in their places. Pure.
//!
//! Enters: what a plugin sent. Leaves: what goes into the queue beside the samples, in order: each exemplar right behind
//! the last sample or histogram of its series in this send, so that no batch can end between the two; and what can't be
//! used.

use std::collections::HashMap;
use std::fmt::{self, Write};

use monitor_plugin_api::Sample;
use monitor_plugin_api::abi::{AbiExemplar, AbiHistogram};

use super::Rejected;
use crate::exemplar::Exemplar;
use crate::histogram::Histogram;
use crate::labels;
use crate::ledger::Reason;
use crate::queue::Aside;
use crate::series::{SeriesId, SeriesTable};

#[derive(Debug, Default)]
pub(super) struct Judged {
    /// As [`Extras`](crate::queue::Extras) has them.
    pub(super) asides: Vec<(usize, Aside)>,
    pub(super) rejected: Rejected,
    pub(super) rejected_exemplars: Rejected,
}

/// A series for people, looked up when it is shown.
struct Named<'a>(u64, &'a SeriesTable);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1.view().labels(SeriesId::from_number(self.0)) {
            Some(labels) => labels::display(labels).chars().take(150).try_for_each(|c| f.write_char(c)),
            None => f.write_str("a series that has ended"),
        }
    }
}

/// Judges what came with `samples`, or instead of them: there are samples or histograms, not both.
/// `names` is asked for those that can't be used.
pub(super) fn judge(
    samples: &[Sample],
    histograms: &[AbiHistogram<'_>],
    exemplars: &[AbiExemplar<'_>],
    names: &SeriesTable,
) -> Judged {
    let mut judged = Judged::default();
    // Behind which of the samples, or of the histograms that are taken, those of a series go.
    let mut behind: HashMap<u64, Option<usize>> = exemplars.iter().map(|exemplar| (exemplar.series, None)).collect();
    let mut stands_at = |series: u64, place: usize| {
        if let Some(last) = behind.get_mut(&series) {
            *last = Some(place);
        }
    };
    let mut taken = Vec::with_capacity(histograms.len());
    for histogram in histograms {
        match Histogram::new(histogram) {
            Ok(good) => {
                stands_at(histogram.series, taken.len());
                taken.push(good);
            }
            Err(why) => {
                judged
                    .rejected
                    .add(Reason::InvalidHistogram, format_args!("{}: {why}", Named(histogram.series, names)));
            }
        }
    }
    if !exemplars.is_empty() {
        samples.iter().enumerate().for_each(|(place, sample)| stands_at(sample.series(), place));
    }

    let mut placed = Vec::with_capacity(exemplars.len());
    for exemplar in exemplars {
        match (Exemplar::new(exemplar), behind.get(&exemplar.series).copied().flatten()) {
            (Err((reason, why)), _) => {
                judged.rejected_exemplars.add(reason, format_args!("{}: {why}", Named(exemplar.series, names)))
            }
            (Ok(_), None) => judged.rejected_exemplars.add(
                Reason::LoneExemplar,
                format_args!("{}: no sample of this series is in the same send", Named(exemplar.series, names)),
            ),
            (Ok(exemplar), Some(place)) => placed.push((place, exemplar)),
        }
    }
    // As receivers want them: by time, and by value within a millisecond.
    let order = |(place, exemplar): &(usize, Exemplar)| (*place, exemplar.timestamp_ms);
    placed.sort_by(|a, b| order(a).cmp(&order(b)).then(a.1.value.total_cmp(&b.1.value)));

    let mut placed = placed.into_iter().peekable();
    for (place, histogram) in taken.into_iter().enumerate() {
        judged.asides.push((0, Aside::Histogram(histogram)));
        while let Some((_, exemplar)) = placed.next_if(|(of, _)| *of == place) {
            judged.asides.push((0, Aside::Exemplar(exemplar)));
        }
    }
    judged.asides.extend(placed.map(|(place, exemplar)| (place + 1, Aside::Exemplar(exemplar))));
    judged
}
