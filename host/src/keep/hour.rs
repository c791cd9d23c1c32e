//! An hour without a receiver, and what follows, in virtual time: everything behind the processed queue but the request.
//!
//! Enters: ten samples a second, a receiver that is dead for so long. Leaves: what waited, what was tried when, and what
//! arrived. Never: sleeps.

use super::*;
use crate::batch::{Batcher, Limits, Pushed};
use crate::encode::Protocol;
use crate::labels::put_label;
use crate::ledger::Origin;
use crate::pace::{CATCH_UP_GAP, Pace};
use crate::retry::{FIRST_GAP, JITTER, LONGEST_GAP};
use crate::series::SeriesTable;
use crate::spool;
use monitor_plugin_api::{Sample, now_ms};
use monitor_proto::v1;
use prost::Message;
use std::path::Path;

const HOUR_MS: u64 = 3_600_000;
const SAMPLE_EVERY_MS: u64 = 100;

/// What an outage was like.
#[derive(Default)]
struct Seen {
    cut_every_ms: u64,
    /// The gaps between attempts while the receiver was dead.
    gaps: Vec<Duration>,
    most_waiting: u64,
    most_on_disk: u64,
    /// How many batches waited when the receiver was back.
    backlog: u64,
    /// When each batch arrived, in milliseconds after that.
    arrivals_ms: Vec<u64>,
    /// The samples' moments, in the order of arrival, from 0.
    moments_ms: Vec<u64>,
    books: Option<crate::ledger::Snapshot>,
}

/// A receiver that is dead from the start on for so long, and lives for a minute more; batches are cut so often.
fn outage(dead_ms: u64, cut_every_ms: u64, bounds: Bounds, disk: Option<(&Path, u64)>) -> Seen {
    let ledger = Arc::new(Ledger::default());
    let opened = disk.map(|(dir, max_bytes)| {
        let bounds = spool::Bounds { max_bytes, max_age: Duration::MAX };
        Disk::open(dir, bounds, false, &ledger).unwrap()
    });
    let kept = Kept::new(bounds, opened, Arc::clone(&ledger));
    let table = SeriesTable::new(1);
    let mut labels = Vec::new();
    put_label(&mut labels, "__name__", "m");
    let series = table.intern(&labels).unwrap();
    let mut batcher = Batcher::new(Limits { max_samples: 10_000, max_bytes: 1 << 20, allow_out_of_order: false });
    let mut pace = Pace::new(Duration::from_millis(cut_every_ms));
    let mut random = fastrand::Rng::with_seed(1);
    let (start_ms, end_ms) = (now_ms(), dead_ms + 60_000);
    let (mut seen, mut not_before_ms, mut now_ms) = (Seen { cut_every_ms, ..Seen::default() }, 0, 0);
    while now_ms < end_ms || kept.waiting().0 > 0 {
        now_ms += 1;
        if now_ms % SAMPLE_EVERY_MS == 0 && now_ms <= end_ms {
            let sample = Sample::from_parts(series.to_number(), 1.0, start_ms + now_ms as i64);
            assert_eq!(batcher.push(&sample, &table.view()), Pushed::Taken);
            ledger.collect(Origin::Plugin, Place::Batched, 1);
        }
        if now_ms % cut_every_ms == 0
            && let (Some(batch), _) = batcher.cut(Protocol::V1, &table.view())
        {
            kept.push(batch);
            seen.most_waiting = seen.most_waiting.max(kept.waiting().0);
            if let Some((dir, _)) = disk.filter(|_| now_ms % 10_000 == 0) {
                seen.most_on_disk = seen.most_on_disk.max(bytes_in(dir));
            }
        }
        if now_ms == dead_ms {
            seen.backlog = kept.waiting().0;
        }
        if now_ms < not_before_ms || kept.waiting().0 == 0 {
            continue;
        }
        let Taken::Batch(mut batch) = kept.take(None) else { panic!("a batch waits") };
        let gap = if now_ms <= dead_ms {
            let gap = pace.failed(None, random.f64());
            seen.gaps.push(gap);
            batch.attempts += 1;
            kept.put_back(batch);
            Some(gap)
        } else {
            seen.arrivals_ms.push(now_ms - dead_ms);
            seen.moments_ms.extend(moments(&batch).iter().map(|moment| (moment - start_ms) as u64));
            ledger.deliver(Place::InFlight, batch.samples);
            kept.settled();
            pace.answered(kept.waiting().0, random.f64())
        };
        not_before_ms = now_ms + gap.unwrap_or_default().as_millis() as u64;
    }
    seen.books = Some(ledger.snapshot());
    seen
}

fn moments(batch: &Batch) -> Vec<i64> {
    let message = snap::raw::Decoder::new().decompress_vec(&batch.body).unwrap();
    let request = v1::WriteRequest::decode(message.as_slice()).unwrap();
    request.timeseries.iter().flat_map(|series| &series.samples).map(|sample| sample.timestamp).collect()
}

fn bytes_in(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap());
    files
        .filter(|file| file.path().extension().is_some_and(|end| end == "seg"))
        .map(|f| f.metadata().unwrap().len())
        .sum()
}

/// What holds after every outage. Returns how many of the oldest samples are missing.
#[track_caller]
fn judge(seen: &Seen, dead_ms: u64) -> u64 {
    // Gaps double up to their cap, and never shrink.
    assert!(seen.gaps.is_sorted() && seen.gaps[0] >= FIRST_GAP, "{:?}", &seen.gaps[..10]);
    assert!(seen.gaps.windows(2).all(|pair| pair[1] <= pair[0] * 2 + Duration::from_millis(1)));
    let longest = LONGEST_GAP.mul_f64(1.0 + JITTER);
    assert!(*seen.gaps.last().unwrap() >= LONGEST_GAP && *seen.gaps.last().unwrap() <= longest);
    let attempts = seen.gaps.len() as u64;
    let (fewest, most) = (dead_ms / longest.as_millis() as u64, dead_ms / LONGEST_GAP.as_millis() as u64 + 10);
    assert!((fewest..=most).contains(&attempts), "{attempts} attempts");

    // Batches of a backlog keep their distance, but for one of them for each that is cut meanwhile, and the last.
    let backlog = &seen.arrivals_ms[..seen.backlog as usize];
    let took_ms = backlog[backlog.len() - 1] - backlog[0];
    let close = backlog.windows(2).filter(|pair| pair[1] - pair[0] < CATCH_UP_GAP.as_millis() as u64).count() as u64;
    assert!(close <= took_ms / seen.cut_every_ms + 2, "{close} of {} were close", seen.backlog);
    assert!(took_ms >= (seen.backlog - close - 1) * 10 && took_ms < 60_000, "{took_ms} ms for {}", seen.backlog);

    // All of one piece, up to the newest.
    let (first, last) = (seen.moments_ms[0], dead_ms + 60_000);
    assert!(seen.moments_ms.iter().copied().eq((first..=last).step_by(SAMPLE_EVERY_MS as usize)));
    let missing = first / SAMPLE_EVERY_MS - 1;
    let books = seen.books.as_ref().unwrap();
    assert!(books.balances() && books.pending() == 0);
    assert_eq!((books.collected(), books.dropped()), (last / SAMPLE_EVERY_MS, missing));
    missing
}

#[test]
fn an_hour_without_a_receiver_fits_into_memory() {
    // The defaults: four seconds, an hour of batches, 64 MiB.
    let bounds = Bounds { max_batches: 900, max_bytes: 64 << 20 };
    let seen = outage(HOUR_MS, 4000, bounds, None);
    assert_eq!((judge(&seen, HOUR_MS), seen.most_waiting, seen.backlog), (0, 900, 900));
    assert_eq!(seen.books.unwrap().reasons(), "");
}

#[test]
fn of_two_hours_memory_keeps_the_newer_one() {
    let bounds = Bounds { max_batches: 900, max_bytes: 64 << 20 };
    let seen = outage(2 * HOUR_MS, 4000, bounds, None);
    let missing = judge(&seen, 2 * HOUR_MS);
    // In the last gap, which is longer than an interval, two more may go.
    assert!((900..=902).contains(&(missing / 40)) && seen.most_waiting == 900, "{missing}, {}", seen.most_waiting);
    assert_eq!(seen.books.unwrap().reasons(), format!("retry_overflow={missing}"));

    // Bounded by bytes it is the same, of fewer: none of these batches takes less than 60.
    let bounds = Bounds { max_batches: 900, max_bytes: 30_000 };
    let seen = outage(2 * HOUR_MS, 4000, bounds, None);
    assert!(seen.most_waiting <= 30_000 / 60 && seen.backlog > 50, "{}", seen.most_waiting);
    assert_eq!(seen.books.as_ref().unwrap().reasons(), format!("retry_overflow={}", judge(&seen, 2 * HOUR_MS)));
}

#[test]
fn an_hour_without_a_receiver_waits_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let bounds = Bounds { max_batches: 0, max_bytes: 0 };
    let seen = outage(HOUR_MS, 1000, bounds, Some((dir.path(), 1 << 30)));
    assert_eq!((judge(&seen, HOUR_MS), seen.backlog), (0, 3600));
    assert!((200_000..1 << 20).contains(&seen.most_on_disk), "{} bytes", seen.most_on_disk);
    assert_eq!(seen.books.unwrap().reasons(), "");
}

#[test]
fn a_spool_that_is_too_small_for_an_hour_keeps_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let bounds = Bounds { max_batches: 0, max_bytes: 0 };
    let seen = outage(HOUR_MS, 1000, bounds, Some((dir.path(), 100_000)));
    let missing = judge(&seen, HOUR_MS);
    assert!(seen.most_on_disk <= 100_000 && seen.most_on_disk > 90_000, "{} bytes", seen.most_on_disk);
    assert!(missing > 0 && seen.backlog > 500, "{missing} missing, {} waited", seen.backlog);
    assert_eq!(seen.books.unwrap().reasons(), format!("spool_overflow={missing}"));
}
