//! The spool as the queue of finished batches sees it: batches instead of records, the ledger instead of losses, and
//! errors that are told and survived.
//!
//! Never: fails for good. What can't be written now stays in memory, and is tried again with the next batch.

use std::path::Path;
use std::time::Instant;

use monitor_plugin_api::now_ms;

use super::Unreadable;
use crate::batch::Batch;
use crate::encode;
use crate::ledger::{Ledger, Origin, Place, Reason};
use crate::log::Limit;
use crate::spool::{Bounds, Protocol, Record, Recovered, Spool, SpoolError, Tally};

/// The spool, open.
#[derive(Debug)]
pub struct Disk {
    spool: Spool,
    /// What the batches of this run are numbered after.
    base_sequence: u64,
    /// The batch that failed last, and how often.
    attempts: (u64, u32),
    is_failing: bool,
    failure_limit: Limit,
    loss_limit: Limit,
}

impl Disk {
    /// Opens the spool in `dir`. What waits there is collected into the ledger, and told.
    ///
    /// # Errors
    /// The directory can't be used, or another process uses it.
    pub fn open(dir: &Path, bounds: Bounds, fsync: bool, ledger: &Ledger) -> Result<Self, SpoolError> {
        let (spool, recovered) = Spool::open(dir, bounds, fsync)?;
        ledger.collect(Origin::Recovered, Place::Kept, recovered.waiting.samples);
        ledger.collect_exemplars(recovered.waiting.exemplars);
        tell(dir, &recovered);
        Ok(Disk {
            base_sequence: spool.last_sequence(),
            spool,
            attempts: (0, 0),
            is_failing: false,
            failure_limit: Limit::default(),
            loss_limit: Limit::default(),
        })
    }

    /// Writes a batch behind all others. Returns whether it is on disk now.
    pub(super) fn append(&mut self, batch: &Batch, ledger: &Ledger) -> bool {
        let record = Record {
            sequence: self.base_sequence + batch.sequence,
            protocol: match batch.protocol {
                encode::Protocol::V1 => Protocol::V1,
                encode::Protocol::V2 => Protocol::V2,
            },
            // A batch holds far fewer samples than 2^32, and exemplars than 2^16.
            samples: batch.samples as u32,
            exemplars: batch.exemplars as u16,
            time_range_ms: batch.time_range_ms,
            body: batch.body.clone(),
        };
        let written = self.spool.append(&record);
        self.settle_losses(ledger);
        match written {
            Ok(()) => {
                // The record doesn't say it.
                ledger.leave_out_starts(batch.left_out_starts);
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!("the spool can be written again");
                }
                true
            }
            Err(error) => {
                self.is_failing = true;
                self.tell_failure(&error, "batches wait in memory until the spool can be written");
                false
            }
        }
    }

    /// The oldest batch, which stays on disk until it is removed or put back.
    pub(super) fn oldest(&mut self, ledger: &Ledger) -> Result<Option<Batch>, Unreadable> {
        let record = self.spool.expire(now_ms()).and_then(|()| self.spool.oldest());
        self.settle_losses(ledger);
        match record {
            Ok(record) => Ok(record.map(|record| self.batch(record))),
            Err(error) => {
                self.tell_failure(&error, "nothing is sent until the spool can be read");
                Err(Unreadable)
            }
        }
    }

    fn batch(&self, record: Record) -> Batch {
        let (failed, attempts) = self.attempts;
        Batch {
            protocol: match record.protocol {
                Protocol::V1 => encode::Protocol::V1,
                Protocol::V2 => encode::Protocol::V2,
            },
            message_len: snap::raw::decompress_len(&record.body).unwrap_or_default(),
            body: record.body,
            samples: record.samples.into(),
            exemplars: record.exemplars.into(),
            left_out_starts: 0,
            time_range_ms: record.time_range_ms,
            sequence: record.sequence,
            attempts: if failed == record.sequence { attempts } else { 0 },
        }
    }

    pub(super) fn put_back(&mut self, batch: &Batch, ledger: &Ledger) {
        self.attempts = (batch.sequence, batch.attempts);
        self.spool.put_back();
        self.settle_losses(ledger);
    }

    pub(super) fn remove(&mut self) {
        if let Err(error) = self.spool.remove_oldest() {
            self.tell_failure(&error, "a batch that was answered may be sent again by the next run");
        }
    }

    pub(super) fn waiting(&self) -> Tally {
        self.spool.waiting()
    }

    fn settle_losses(&mut self, ledger: &Ledger) {
        let losses = self.spool.take_losses();
        for (reason, lost, why) in [
            (Reason::SpoolOverflow, losses.overflow, "SPOOL_MAX_BYTES is reached, the oldest batches make room"),
            (Reason::SpoolExpired, losses.expired, "their newest sample is older than SPOOL_MAX_AGE_S"),
            (Reason::SpoolDamaged, losses.damaged, "they can't be read any more: the file was damaged"),
        ] {
            ledger.discard(Place::Kept, reason, lost.samples);
            ledger.discard_exemplars(reason, lost.exemplars);
            if lost.records > 0
                && let Some(suppressed) = self.loss_limit.allow(Instant::now())
            {
                let (batches, samples) = (lost.records, lost.samples);
                tracing::warn!(%reason, batches, samples, suppressed, "batches of the spool were dropped: {why}");
            }
        }
    }

    fn tell_failure(&mut self, error: &SpoolError, what_follows: &str) {
        if let Some(suppressed) = self.failure_limit.allow(Instant::now()) {
            tracing::error!(suppressed, "the spool: {error}; {what_follows}");
        }
    }
}

fn tell(dir: &Path, recovered: &Recovered) {
    let Tally { records, samples, bytes, .. } = recovered.waiting;
    if records > 0 {
        tracing::info!(dir = %dir.display(), batches = records, samples, bytes, "an earlier run left these in the spool: they go first");
    }
    if recovered.damaged_places > 0 || recovered.cursor_lost {
        tracing::warn!(
            dir = %dir.display(),
            damaged_places = recovered.damaged_places,
            damaged_bytes = recovered.damaged_bytes,
            cursor_lost = recovered.cursor_lost,
            "the spool is damaged: what can be read is sent"
        );
    }
    if recovered.torn_bytes > 0 {
        tracing::warn!(
            dir = %dir.display(),
            torn_bytes = recovered.torn_bytes,
            "an earlier run was ended while it wrote to the spool: that batch is lost"
        );
    }
}
