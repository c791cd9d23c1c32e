//! What the log says of a target: what changes, not what stays.
//!
//! Enters: what came of each scrape. Leaves: a line when it begins to fail, or fails in another way; one when it works again; and
//! one each time that samples begin to be lost.

use monitor_plugin_api::tracing;

use crate::failure::{Class, Failure};

/// What was said last of one target.
#[derive(Debug)]
pub(crate) struct Telling {
    /// What it is called.
    target: String,
    failing: Option<Class>,
    duplicates: bool,
    refused: bool,
    unreported: bool,
    full: bool,
}

impl Telling {
    /// Nothing was said of this target.
    pub(crate) fn new(target: String) -> Self {
        Telling { target, failing: None, duplicates: false, refused: false, unreported: false, full: false }
    }

    /// The scrape failed, or went well.
    pub(crate) fn came(&mut self, failure: Option<&Failure>) {
        let target = &self.target;
        match failure {
            Some(failure) if self.failing != Some(failure.class) => {
                tracing::warn!("{target} is not scraped, its up is 0: {failure}");
            }
            None if self.failing.is_some() => tracing::info!("{target} is scraped again"),
            _ => {}
        }
        self.failing = failure.map(|failure| failure.class);
    }

    /// So many samples were there twice.
    pub(crate) fn duplicates(&mut self, samples: u64) {
        if begins(&mut self.duplicates, samples) {
            tracing::warn!(samples, "{} exposes series twice; the first sample of each is taken", self.target);
        }
    }

    /// So many samples are of series that the host does not take.
    pub(crate) fn refused(&mut self, samples: u64, why: Option<&str>) {
        if begins(&mut self.refused, samples) {
            tracing::warn!(samples, "{}: samples are dropped: {}", self.target, why.unwrap_or_default());
        }
    }

    /// The host does not take one of the series that tell of the scrapes, or takes all of them.
    pub(crate) fn unreported(&mut self, why: Option<&str>) {
        if begins(&mut self.unreported, u64::from(why.is_some())) {
            tracing::warn!("{}: not all is told of its scrapes: {}", self.target, why.unwrap_or_default());
        }
    }

    /// There was no room for so many samples.
    pub(crate) fn full(&mut self, samples: u64) {
        if begins(&mut self.full, samples) {
            tracing::warn!(samples, "{}: a scrape is dropped: the host's queue stayed full for a second", self.target);
        }
    }
}

fn begins(before: &mut bool, samples: u64) -> bool {
    !std::mem::replace(before, samples > 0) && samples > 0
}
