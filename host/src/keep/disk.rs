//! The spool as the queue of finished batches sees it: batches instead of records, the ledger instead of losses, and
//! errors that are told and survived.
//!
//! Never: fails for good. What can't be written now stays in memory, and is tried again with the next batch; a spool that
//! can't be opened is tried again too, and told when it can.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use monitor_plugin_api::now_ms;

use super::{SpoolLook, Unreadable};
use crate::batch::Batch;
use crate::encode;
use crate::ledger::{Ledger, Origin, Place, Reason};
use crate::log::Limit;
use crate::spool::{Bounds, LastRun, Protocol, Record, Recovered, Spool, SpoolError, Tally};

/// How soon a spool that can't be opened is tried again; later than so only when no batch comes.
const OPEN_AGAIN: Duration = Duration::from_secs(1);

/// The spool, open or to be opened.
#[derive(Debug)]
pub struct Disk {
    dir: PathBuf,
    bounds: Bounds,
    fsync: bool,
    state: State,
    /// The run is under way: a spool that is opened now is marked as in use.
    has_begun: bool,
    /// The batch that failed last.
    failed: Failed,
    /// The next batch to be given out is the first of those that an earlier run left: it may have been in flight then.
    is_inherited: bool,
    /// A failure to write was told, and no write has succeeded since.
    told_failing: bool,
    failure_limit: Limit,
    loss_limit: Limit,
}

/// What the spool does not keep of a batch: it is the oldest, so one is enough.
#[derive(Clone, Copy, Debug, Default)]
struct Failed {
    sequence: u64,
    attempts: u32,
    may_be_stored: bool,
}

#[derive(Debug)]
enum State {
    /// `base_sequence` is what the batches of this run are numbered after.
    Open { spool: Box<Spool>, base_sequence: u64 },
    /// It can't be used so far.
    Closed { tried: Instant },
}

impl Disk {
    /// The spool in `dir`. What waits there is collected into the ledger, and told. If the directory can't be used, which
    /// is told too, that is tried again as batches come.
    ///
    /// # Errors
    /// Another process uses the directory.
    pub fn open(dir: &Path, bounds: Bounds, fsync: bool, ledger: &Ledger) -> Result<Self, SpoolError> {
        let mut disk = Disk {
            dir: dir.to_owned(),
            bounds,
            fsync,
            state: State::Closed { tried: Instant::now() },
            has_begun: false,
            failed: Failed::default(),
            is_inherited: false,
            told_failing: false,
            failure_limit: Limit::default(),
            loss_limit: Limit::default(),
        };
        match disk.try_to_open(ledger) {
            Err(error @ SpoolError::Held { .. }) => Err(error),
            Err(error) => {
                tracing::error!(
                    "SPOOL_DIR: {error}; batches wait in memory until it can be used, a crash would lose them"
                );
                Ok(disk)
            }
            Ok(()) => Ok(disk),
        }
    }

    fn try_to_open(&mut self, ledger: &Ledger) -> Result<(), SpoolError> {
        let (spool, recovered) = Spool::open(&self.dir, self.bounds, self.fsync)?;
        ledger.collect(Origin::Recovered, Place::Kept, recovered.waiting.samples);
        ledger.collect_exemplars(recovered.waiting.exemplars);
        tell(&self.dir, &recovered);
        self.is_inherited = recovered.waiting.records > 0;
        let base_sequence = spool.last_sequence();
        self.state = State::Open { spool: Box::new(spool), base_sequence };
        if self.has_begun {
            self.begin();
        }
        Ok(())
    }

    /// Whether batches are written to the disk now.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Opens a spool that could not be opened so far, if it can be by now and was not tried a moment ago. Returns whether
    /// it was opened.
    pub(super) fn open_again(&mut self, ledger: &Ledger) -> bool {
        let State::Closed { tried } = &mut self.state else { return false };
        let now = Instant::now();
        if now.saturating_duration_since(*tried) < OPEN_AGAIN {
            return false;
        }
        *tried = now;
        match self.try_to_open(ledger) {
            Ok(()) => tracing::info!(dir = %self.dir.display(), "the spool can be used now: batches wait on disk"),
            Err(error) => tracing::debug!("SPOOL_DIR: {error}; it is tried again"),
        }
        self.is_open()
    }

    /// The run has begun: the next one will know if it does not come to its end.
    pub(super) fn begin(&mut self) {
        self.has_begun = true;
        if let State::Open { spool, .. } = &self.state {
            spool.begin(LastRun { pid: std::process::id(), since_ms: now_ms() });
        }
    }

    /// The run has come to its end.
    pub(super) fn end(&self) {
        if let State::Open { spool, .. } = &self.state {
            spool.end();
        }
    }

    /// Writes a batch behind all others. Returns whether it is on disk now.
    pub(super) fn append(&mut self, batch: &Batch, ledger: &Ledger) -> bool {
        let State::Open { spool, base_sequence } = &mut self.state else { return false };
        let record = Record {
            sequence: *base_sequence + batch.sequence,
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
        let written = spool.append(&record);
        self.settle_losses(ledger);
        match written {
            Ok(()) => {
                // The record doesn't say it.
                ledger.leave_out_starts(batch.left_out_starts);
                if batch.attempts > 0 {
                    self.remember(record.sequence, batch);
                }
                if std::mem::take(&mut self.told_failing) {
                    tracing::info!("the spool can be written again");
                }
                true
            }
            Err(error) => {
                self.told_failing |= self.tell_failure(&error, "batches wait in memory until the spool can be written");
                false
            }
        }
    }

    /// The oldest batch, which stays on disk until it is removed or put back.
    pub(super) fn oldest(&mut self, ledger: &Ledger) -> Result<Option<Batch>, Unreadable> {
        let State::Open { spool, .. } = &mut self.state else { return Ok(None) };
        let record = spool.expire(now_ms()).and_then(|()| spool.oldest());
        self.settle_losses(ledger);
        match record {
            Ok(record) => Ok(record.map(|record| self.batch(record))),
            Err(error) => {
                self.tell_failure(&error, "nothing is sent until the spool can be read");
                Err(Unreadable)
            }
        }
    }

    fn batch(&mut self, record: Record) -> Batch {
        let unknown = Failed { may_be_stored: std::mem::take(&mut self.is_inherited), ..Failed::default() };
        let known = if self.failed.sequence == record.sequence { self.failed } else { unknown };
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
            attempts: known.attempts,
            may_be_stored: known.may_be_stored,
        }
    }

    pub(super) fn put_back(&mut self, batch: &Batch, ledger: &Ledger) {
        self.remember(batch.sequence, batch);
        if let State::Open { spool, .. } = &mut self.state {
            spool.put_back();
        }
        self.settle_losses(ledger);
    }

    fn remember(&mut self, sequence: u64, batch: &Batch) {
        self.failed = Failed { sequence, attempts: batch.attempts, may_be_stored: batch.may_be_stored };
    }

    pub(super) fn remove(&mut self) {
        if let State::Open { spool, .. } = &mut self.state
            && let Err(error) = spool.remove_oldest()
        {
            self.tell_failure(&error, "a batch that was answered may be sent again by the next run");
        }
    }

    pub(super) fn waiting(&self) -> Tally {
        match &self.state {
            State::Open { spool, .. } => spool.waiting(),
            State::Closed { .. } => Tally::default(),
        }
    }

    /// For whoever only looks.
    pub(super) fn look(&self) -> SpoolLook {
        let max_bytes = self.bounds.max_bytes;
        match &self.state {
            State::Open { spool, .. } => {
                SpoolLook { batches: spool.waiting().records, disk_bytes: spool.disk_bytes(), max_bytes }
            }
            State::Closed { .. } => SpoolLook { max_bytes, ..SpoolLook::default() },
        }
    }

    fn settle_losses(&mut self, ledger: &Ledger) {
        let State::Open { spool, .. } = &mut self.state else { return };
        let losses = spool.take_losses();
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

    /// Returns whether it was told, or is one of many of late.
    fn tell_failure(&mut self, error: &SpoolError, what_follows: &str) -> bool {
        let told = self.failure_limit.allow(Instant::now());
        if let Some(suppressed) = told {
            tracing::error!(suppressed, "the spool: {error}; {what_follows}");
        }
        told.is_some()
    }
}

fn tell(dir: &Path, recovered: &Recovered) {
    if let Some(LastRun { pid, since_ms }) = recovered.unfinished {
        let since =
            jiff::Timestamp::from_millisecond(since_ms).map_or_else(|_| "?".to_owned(), |since| since.to_string());
        tracing::warn!(
            dir = %dir.display(),
            pid,
            since,
            "the last run did not come to its end: it was killed, crashed, or lost its machine; what it had not written yet is lost"
        );
    }
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
