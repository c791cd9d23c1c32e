//! What waits, for whoever only looks.
//!
//! Enters: the queue's state. Leaves: plain numbers. Never: waits for a disk that hangs, but at the start of a run.

use std::sync::TryLockError;

use super::{Bounds, Disk, Kept, Source, State};

/// What waits at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Batches in memory.
    pub batches: u64,
    /// What they take, compressed.
    pub bytes: u64,
    /// What may wait in memory.
    pub bounds: Bounds,
    /// The spool, if there is one.
    pub spool: Option<SpoolLook>,
    /// The timestamp of the oldest sample in a batch that is not delivered, in flight or waiting. Of what an earlier run
    /// left on disk it is known once the first batch was read.
    pub oldest_ms: Option<i64>,
}

/// The spool at one moment; empty while it can't be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpoolLook {
    /// Batches on disk that are not in flight.
    pub batches: u64,
    /// What the spool takes of the disk.
    pub disk_bytes: u64,
    /// What it may take.
    pub max_bytes: u64,
}

impl Kept {
    /// What waits, unless the queue is in use just now.
    pub fn look(&self) -> Option<Look> {
        match self.state.try_lock() {
            Ok(state) => Some(self.look_at(&state)),
            Err(TryLockError::Poisoned(poisoned)) => Some(self.look_at(&poisoned.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The same; waits for whoever uses the queue.
    pub fn look_now(&self) -> Look {
        self.look_at(&self.lock())
    }

    fn look_at(&self, state: &State) -> Look {
        let State { batches, bytes, disk, in_flight, in_flight_ms, on_disk_ms, .. } = state;
        let spool = disk.as_ref().map(Disk::look);
        let in_memory_ms = batches.front().map(|batch| batch.time_range_ms.0);
        let oldest = [
            in_flight_ms.filter(|_| *in_flight != Source::None),
            on_disk_ms.filter(|_| spool.is_some_and(|spool| spool.batches > 0)),
            in_memory_ms,
        ];
        Look {
            batches: batches.len() as u64,
            bytes: *bytes as u64,
            bounds: self.bounds,
            spool,
            oldest_ms: oldest.into_iter().flatten().min(),
        }
    }
}
