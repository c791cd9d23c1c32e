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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::batch::Batch;
    use crate::encode::Protocol;
    use crate::keep::Taken;
    use crate::ledger::{Ledger, Origin, Place};
    use crate::spool;

    /// A batch of ten bytes and a sample, of this moment.
    fn batch(ledger: &Ledger, sequence: u64, timestamp_ms: i64) -> Batch {
        ledger.collect(Origin::Plugin, Place::Batched, 1);
        Batch {
            body: Bytes::from_static(&[0; 10]),
            protocol: Protocol::V1,
            message_len: 10,
            samples: 1,
            exemplars: 0,
            left_out_starts: 0,
            time_range_ms: (timestamp_ms, timestamp_ms + 5),
            sequence,
            attempts: 0,
            may_be_stored: false,
        }
    }

    const NOW_MS: i64 = 1_760_000_000_000;

    /// The oldest moment, as two batches come, fail, and go.
    fn oldest_of(kept: &Kept, ledger: &Ledger) {
        let oldest = || kept.look().map(|look| look.oldest_ms.map(|oldest_ms| oldest_ms - NOW_MS));
        assert_eq!(oldest(), Some(None));
        (1..=2).for_each(|n| _ = kept.push(batch(ledger, n, NOW_MS + 10 * n as i64)));
        assert_eq!(oldest(), Some(Some(10)));
        let Taken::Batch(first) = kept.take(None) else { panic!("no batch") };
        assert_eq!(oldest(), Some(Some(10)), "it is in flight");
        kept.put_back(first);
        assert_eq!(oldest(), Some(Some(10)));
        for next in [20, 0] {
            let Taken::Batch(_) = kept.take(None) else { panic!("no batch") };
            kept.settled();
            // On disk the next one is known once it is read, which is at once.
            let seen = oldest().flatten();
            assert!(seen == (next > 0).then_some(next) || (seen == Some(10) && next > 0), "{seen:?}");
        }
        assert_eq!(oldest(), Some(None));
        kept.push(batch(ledger, 3, NOW_MS + 30));
        assert_eq!(oldest(), Some(Some(30)));
    }

    #[test]
    fn the_oldest_is_seen_wherever_it_is() {
        let ledger = Arc::new(Ledger::default());
        let bounds = Bounds { max_batches: 10, max_bytes: 1000 };
        oldest_of(&Kept::new(bounds, None, Arc::clone(&ledger)), &ledger);

        let dir = tempfile::tempdir().unwrap();
        let spool_bounds = spool::Bounds { max_bytes: 1 << 20, max_age: std::time::Duration::MAX };
        let disk = Disk::open(dir.path(), spool_bounds, false, &ledger).unwrap();
        let kept = Kept::new(bounds, Some(disk), Arc::clone(&ledger));
        oldest_of(&kept, &ledger);
        let spool = kept.look_now().spool.unwrap();
        assert!(spool.batches == 1 && spool.disk_bytes > 10 && spool.max_bytes == 1 << 20, "{spool:?}");
    }

    #[test]
    fn a_queue_in_use_holds_nobody_up() {
        let ledger = Arc::new(Ledger::default());
        let kept = Kept::new(Bounds { max_batches: 10, max_bytes: 1000 }, None, Arc::clone(&ledger));
        kept.push(batch(&ledger, 1, NOW_MS));
        assert_eq!(kept.look(), Some(kept.look_now()));
        assert_eq!((kept.look_now().batches, kept.look_now().bytes), (1, 10));
        let _used = kept.lock();
        assert_eq!(kept.look(), None);
    }
}
