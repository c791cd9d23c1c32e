//! What the log says besides the receiver's words, which are shown and never interpreted. Pure.
//!
//! Enters: what is known of a batch. Leaves: what its refusal may mean, and what to do about it.
//!
//! Never: claims; a hint says what may be.

use crate::batch::Batch;

/// A Prometheus without an out-of-order window refuses what is so far behind its newest sample.
const LATE_MS: i64 = 3_600_000;
const LATE: &str = "a Prometheus refuses samples that are an hour behind its newest one, \
    unless its out_of_order_time_window is longer";

const STORED: &str = "an earlier attempt may have been stored, its answer was lost: a receiver refuses what it has already, \
    and nothing is missing then";

/// Failures say nothing for sure about the version.
pub(super) const FAILURES: &str = "three failures (5xx, 429, a timeout, a broken connection and the like) before 2.0 was confirmed \
    count as not knowing it: a receiver that was only starting or out of order gets 2.0 again after the next start, \
    or always with REMOTE_WRITE_PROTOCOL=2.0";

/// What the refusal of this batch may mean.
pub(super) fn of_refusal(batch: &Batch, now_ms: i64) -> Option<String> {
    let is_late = now_ms.saturating_sub(batch.time_range_ms.0) > LATE_MS;
    let hints = [(batch.may_be_stored, STORED), (is_late, LATE)];
    let hints: Vec<_> = hints.into_iter().filter_map(|(applies, hint)| applies.then_some(hint)).collect();
    (!hints.is_empty()).then(|| hints.join("; or: "))
}
