//! Where every sample is, and what became of it.
//!
//! Enters: transfers, each of which takes from one place and gives to the next. Leaves: a [`Snapshot`] to print,
//! expose or assert on. What is pending is the sum of the places, never computed as a difference. A native histogram is
//! one sample. Exemplars are none: they have small books of their own, and go where their samples go.
//!
//! Never: lets a sample vanish; counts one twice. `collected = delivered + pending + dropped` holds whenever nobody is
//! in the middle of a transfer, and at exit.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counted_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vmeta])* $variant,)+ }

        impl $name {
            /// All of them, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name under which it is logged and exposed.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(self.name()) }
        }
    };
}

counted_enum! {
    /// Who made a sample.
    Origin {
        /// The plugin sent it.
        Plugin = "plugin",
        /// An earlier run left it in the spool.
        Recovered = "recovered",
        /// A stale marker of ours, which ends a series.
        Marker = "marker",
        /// The host's own metrics.
        Own = "self",
    }
}

counted_enum! {
    /// Where a collected sample waits.
    Place {
        /// In the processed queue.
        Queued = "queued",
        /// In the batch that is being filled.
        Batched = "batched",
        /// In a finished batch that waits to be sent (again).
        Kept = "kept",
        /// In a request that has not been answered.
        InFlight = "in_flight",
    }
}

counted_enum! {
    /// Why a collected sample will never be delivered.
    Reason {
        /// The document was not JSON (or not UTF-8).
        InvalidJson = "invalid_json",
        /// A document of more than 64 MiB, counted as one.
        DocumentTooLarge = "document_too_large",
        /// The document, or an item of its list, is not a dictionary.
        NotADictionary = "not_a_dictionary",
        /// A record without `value`, or a dictionary without any component.
        NoValue = "no_value",
        /// The value is not a number.
        ValueNotANumber = "value_not_a_number",
        /// The timestamp can't be read, or lies outside the years 2000 to 2099.
        InvalidTimestamp = "invalid_timestamp",
        /// The metric's name is not one that remote write 1.0 takes.
        InvalidMetricName = "invalid_metric_name",
        /// A label's name is empty, illegal, or reserved (`__…`).
        InvalidLabelName = "invalid_label_name",
        /// A label's value is a list or a dictionary, or `labels` is not a dictionary.
        InvalidLabelValue = "invalid_label_value",
        /// The same label twice.
        RepeatedLabel = "repeated_label",
        /// A label's name is longer than 64 KiB, or its value longer than MAX_LABEL_VALUE_BYTES.
        LabelTooLong = "label_too_long",
        /// More than 256 labels.
        TooManyLabels = "too_many_labels",
        /// A native histogram that receivers would refuse.
        InvalidHistogram = "invalid_histogram",
        /// An exemplar that receivers would refuse.
        InvalidExemplar = "invalid_exemplar",
        /// An exemplar without a sample or a histogram that goes the same way.
        LoneExemplar = "lone_exemplar",
        /// An exemplar for which its batch had no room.
        TooManyExemplars = "too_many_exemplars",
        /// A sample of a new series while MAX_SERIES are known.
        TooManySeries = "too_many_series",
        /// A sample of a series that was never registered or has ended.
        UnknownSeries = "unknown_series",
        /// A second sample of the same series and millisecond.
        Duplicate = "duplicate",
        /// Older than what was already batched for its series.
        OutOfOrder = "out_of_order",
        /// Pushed out of the retry queue by MAX_RETRY_BATCHES or MAX_RETRY_BYTES.
        RetryOverflow = "retry_overflow",
        /// Older than MAX_SAMPLE_AGE_S before it could be delivered.
        TooOld = "too_old",
        /// Pushed out of the spool by SPOOL_MAX_BYTES.
        SpoolOverflow = "spool_overflow",
        /// Older than SPOOL_MAX_AGE_S before it could be delivered.
        SpoolExpired = "spool_expired",
        /// Lost with a damaged part of the spool.
        SpoolDamaged = "spool_damaged",
        /// The receiver refused it for good.
        Refused = "refused",
        /// A receiver of 2.0 accepted the request and said that it wrote less than was in it.
        PartialWrite = "partial_write",
        /// Still undelivered when the program had to end.
        Shutdown = "shutdown",
    }
}

/// The books. Shared by all stages; every method may be called from any thread.
#[derive(Debug, Default)]
pub struct Ledger {
    collected: [AtomicU64; Origin::ALL.len()],
    places: [AtomicU64; Place::ALL.len()],
    delivered: AtomicU64,
    dropped: [AtomicU64; Reason::ALL.len()],
    refused_sends: AtomicU64,
    exemplars_collected: AtomicU64,
    exemplars_delivered: AtomicU64,
    exemplars_dropped: [AtomicU64; Reason::ALL.len()],
    left_out_starts: AtomicU64,
}

impl Ledger {
    /// `samples` came into being, in this place.
    pub fn collect(&self, origin: Origin, place: Place, samples: u64) {
        self.collected[origin as usize].fetch_add(samples, Relaxed);
        self.places[place as usize].fetch_add(samples, Relaxed);
    }

    /// `samples` came into being and could not be used.
    pub fn collect_dropped(&self, origin: Origin, reason: Reason, samples: u64) {
        self.collected[origin as usize].fetch_add(samples, Relaxed);
        self.dropped[reason as usize].fetch_add(samples, Relaxed);
    }

    /// `samples` go from one place to another.
    pub fn transfer(&self, from: Place, to: Place, samples: u64) {
        self.take(from, samples);
        self.places[to as usize].fetch_add(samples, Relaxed);
    }

    /// `samples` reached the receiver.
    pub fn deliver(&self, from: Place, samples: u64) {
        self.take(from, samples);
        self.delivered.fetch_add(samples, Relaxed);
    }

    /// `samples` are given up.
    pub fn discard(&self, from: Place, reason: Reason, samples: u64) {
        self.take(from, samples);
        self.dropped[reason as usize].fetch_add(samples, Relaxed);
    }

    /// The processed queue was full (or closed): the plugin got its item back.
    pub fn refuse_send(&self) {
        self.refuse_sends(1);
    }

    /// As [`refuse_send`](Self::refuse_send), for so many items.
    pub fn refuse_sends(&self, items: u64) {
        self.refused_sends.fetch_add(items, Relaxed);
    }

    /// So many exemplars came into being.
    pub fn collect_exemplars(&self, exemplars: u64) {
        self.exemplars_collected.fetch_add(exemplars, Relaxed);
    }

    /// So many exemplars reached the receiver.
    pub fn deliver_exemplars(&self, exemplars: u64) {
        self.exemplars_delivered.fetch_add(exemplars, Relaxed);
    }

    /// So many exemplars are given up.
    pub fn discard_exemplars(&self, reason: Reason, exemplars: u64) {
        self.exemplars_dropped[reason as usize].fetch_add(exemplars, Relaxed);
    }

    /// So many samples go without the start timestamp that they have: 1.0 has no place for it.
    pub fn leave_out_starts(&self, samples: u64) {
        self.left_out_starts.fetch_add(samples, Relaxed);
    }

    fn take(&self, from: Place, samples: u64) {
        let before = self.places[from as usize].fetch_sub(samples, Relaxed);
        debug_assert!(before >= samples, "{from} held {before} samples, {samples} were taken");
    }

    /// The books as they stand.
    pub fn snapshot(&self) -> Snapshot {
        let read = |a: &AtomicU64| a.load(Relaxed);
        Snapshot {
            collected: Origin::ALL.iter().map(|&o| (o, read(&self.collected[o as usize]))).collect(),
            places: Place::ALL.iter().map(|&p| (p, read(&self.places[p as usize]))).collect(),
            delivered: read(&self.delivered),
            dropped: Reason::ALL.iter().map(|&r| (r, read(&self.dropped[r as usize]))).collect(),
            refused_sends: read(&self.refused_sends),
            exemplars: Exemplars {
                collected: read(&self.exemplars_collected),
                delivered: read(&self.exemplars_delivered),
                dropped: Reason::ALL.iter().map(|&r| (r, read(&self.exemplars_dropped[r as usize]))).collect(),
            },
            left_out_starts: read(&self.left_out_starts),
        }
    }
}

/// The books at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Samples that came into being, by origin.
    pub collected: Vec<(Origin, u64)>,
    /// Samples that wait, by place.
    pub places: Vec<(Place, u64)>,
    /// Samples that the receiver has.
    pub delivered: u64,
    /// Samples given up, by reason.
    pub dropped: Vec<(Reason, u64)>,
    /// Sends that were refused because the processed queue was full or closed (items, not samples).
    pub refused_sends: u64,
    /// The books of exemplars.
    pub exemplars: Exemplars,
    /// Samples that went without the start timestamp that they have.
    pub left_out_starts: u64,
}

/// The books of exemplars at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exemplars {
    /// Exemplars that came into being.
    pub collected: u64,
    /// Exemplars that the receiver has.
    pub delivered: u64,
    /// Exemplars given up, by reason.
    pub dropped: Vec<(Reason, u64)>,
}

impl Exemplars {
    /// All exemplars given up.
    pub fn dropped(&self) -> u64 {
        self.dropped.iter().map(|(_, n)| n).sum()
    }

    /// All exemplars that wait with their samples.
    pub fn pending(&self) -> u64 {
        self.collected.saturating_sub(self.delivered + self.dropped())
    }

    /// As [`Snapshot::reasons`].
    pub fn reasons(&self) -> String {
        occurred(&self.dropped)
    }
}

fn occurred(dropped: &[(Reason, u64)]) -> String {
    let occurred = dropped.iter().filter(|(_, n)| *n > 0);
    occurred.map(|(reason, n)| format!("{reason}={n}")).collect::<Vec<_>>().join(",")
}

impl Snapshot {
    /// All samples that came into being.
    pub fn collected(&self) -> u64 {
        self.collected.iter().map(|(_, n)| n).sum()
    }

    /// All samples that wait somewhere.
    pub fn pending(&self) -> u64 {
        self.places.iter().map(|(_, n)| n).sum()
    }

    /// All samples given up.
    pub fn dropped(&self) -> u64 {
        self.dropped.iter().map(|(_, n)| n).sum()
    }

    /// The reasons that occurred, as `refused=12,duplicate=3`; empty when nothing was dropped.
    pub fn reasons(&self) -> String {
        occurred(&self.dropped)
    }

    /// Whether collected = delivered + pending + dropped.
    pub fn balances(&self) -> bool {
        self.collected() == self.delivered + self.pending() + self.dropped()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_in_one_place_at_a_time() {
        let ledger = Ledger::default();
        ledger.collect(Origin::Plugin, Place::Queued, 10);
        ledger.collect_dropped(Origin::Plugin, Reason::NoValue, 1);
        ledger.transfer(Place::Queued, Place::Batched, 10);
        ledger.discard(Place::Batched, Reason::Duplicate, 2);
        ledger.transfer(Place::Batched, Place::Kept, 8);
        ledger.transfer(Place::Kept, Place::InFlight, 8);
        assert_eq!(ledger.snapshot().pending(), 8);
        assert!(ledger.snapshot().balances());
        ledger.deliver(Place::InFlight, 8);
        let end = ledger.snapshot();
        assert_eq!((end.collected(), end.delivered, end.pending(), end.dropped()), (11, 8, 0, 3));
        assert_eq!(end.reasons(), "no_value=1,duplicate=2");
        assert!(end.balances());
    }

    #[test]
    fn exemplars_have_books_of_their_own() {
        let ledger = Ledger::default();
        ledger.collect_exemplars(5);
        ledger.discard_exemplars(Reason::LoneExemplar, 1);
        ledger.deliver_exemplars(2);
        let books = ledger.snapshot();
        assert_eq!((books.collected(), books.exemplars.pending()), (0, 2));
        assert_eq!(books.exemplars.reasons(), "lone_exemplar=1");
    }

    #[test]
    fn the_documentation_says_what_every_reason_means() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/delivery.md");
        let text = std::fs::read_to_string(file).unwrap();
        let rows = text.split_once("## Why samples are dropped").unwrap().1.lines();
        let named: Vec<_> = rows.filter_map(|row| row.strip_prefix("| `")?.split('`').next()).collect();
        assert_eq!(named, Reason::ALL.iter().map(|reason| reason.name()).collect::<Vec<_>>());
    }

    #[test]
    fn every_reason_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|r| r.name()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
    }
}
