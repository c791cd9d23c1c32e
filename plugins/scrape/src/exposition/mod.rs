//! The text of a scrape, read: Prometheus's text format 0.0.4 and OpenMetrics 1.0.
//!
//! Enters: the body of an answer and its content type. Leaves: help, types, units and samples in the order in which they are
//! written, or the line that is malformed. What Prometheus's own parsers take is taken, and what they refuse is refused.
//!
//! Never: copies the body, allocates for a usual sample, or panics, whatever the bytes; looks at the clock; knows of
//! targets, limits or series that were there before.

mod cursor;
mod family;
mod format;
mod label;
mod malformed;
mod metadata;
mod number;
mod parser;
mod sample;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use monitor_plugin_api::Kind;

pub use family::{Family, Part};
pub use format::Format;
pub use label::{Labels, Text};
pub use malformed::Malformed;
pub use parser::Parser;

/// What one line says.
#[derive(Clone, Debug)]
pub enum Entry<'p, 'a> {
    /// What a family means, for people.
    Help {
        /// The family's name.
        family: Cow<'a, str>,
        /// Without its escapes.
        text: Cow<'a, str>,
    },
    /// What kind of metric a family is.
    Type {
        /// The family's name.
        family: Cow<'a, str>,
        /// `untyped` is [`Kind::Unknown`].
        kind: Kind,
    },
    /// What a family is measured in. OpenMetrics alone has it.
    Unit {
        /// The family's name.
        family: Cow<'a, str>,
        /// Empty where there is none.
        unit: &'a str,
    },
    /// A reading.
    Sample(Sample<'p, 'a>),
}

/// A line that carries a value. What borrows the body (`'a`) outlives the next call of the parser.
#[derive(Clone, Debug)]
pub struct Sample<'p, 'a> {
    /// Name and labels as they are written. The same bytes below the same TYPE are the same series, so that who has seen
    /// them before needs to look at neither name nor labels; other bytes may be that series, too.
    pub raw: &'a [u8],
    /// The metric's name; it is not empty.
    pub name: Text<'a>,
    /// Each name is there once, none is empty, and none is `__name__`.
    pub labels: Labels<'p, 'a>,
    /// Every NaN is the same one, and it is no stale marker.
    pub value: f64,
    /// Where the line has one. It may be any number: whoever sends it has to look whether it is absurd.
    pub timestamp_ms: Option<i64>,
    /// OpenMetrics alone has them; on any sample, as in Prometheus.
    pub exemplar: Option<Exemplar<'p, 'a>>,
    /// What the last HELP, TYPE and UNIT were about, whether or not the sample is of it: [`Sample::part`].
    pub family: Option<Family<'a>>,
}

impl Sample<'_, '_> {
    /// Which part of the family above it the sample is; none if it is of another one, of which nothing is known then.
    pub fn part(&self) -> Option<Part> {
        self.family.as_ref()?.part(&self.name.unescaped())
    }

    /// If the line is a `_created` of a counter, histogram or summary above it: when these series began to count.
    /// It is a sample as well, because Prometheus stores it as one.
    ///
    /// Whose series they are says [`Sample::group`], which is the same for all lines that belong together.
    pub fn created_ms(&self) -> Option<i64> {
        match self.part()? {
            Part::Created => number::milliseconds(self.value),
            _ => None,
        }
    }

    /// Writes into `key` what all samples of one counter, histogram or summary have in common: the family's name, and the
    /// labels by name without the `le` of a histogram and the `quantile` of a summary. False, and nothing written, for a
    /// sample that is not of the family above it.
    pub fn group(&self, key: &mut Vec<u8>) -> bool {
        key.clear();
        let Some(family) = self.family.as_ref().filter(|_| self.part().is_some()) else { return false };
        let mut labels: Vec<_> = self.labels.iter().filter(|(name, _)| family.bucketed_by() != Some(name)).collect();
        labels.sort_unstable();
        let name = family.name.unescaped();
        let texts = labels.iter().flat_map(|(name, value)| [name.as_ref(), value.as_ref()]);
        for text in [family.stem(&name)].into_iter().chain(texts) {
            key.extend_from_slice(text.as_bytes());
            // No text in UTF-8 has this byte.
            key.push(0xff);
        }
        true
    }
}

/// One observation that the sample beside it counts.
#[derive(Clone, Debug)]
pub struct Exemplar<'p, 'a> {
    /// As written: how long they may be, the receiver decides.
    pub labels: Labels<'p, 'a>,
    /// What was observed.
    pub value: f64,
    /// When, where that is told.
    pub timestamp_ms: Option<i64>,
}
