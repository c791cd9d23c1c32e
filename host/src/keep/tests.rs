use super::*;
use crate::encode::Protocol;
use crate::ledger::Origin;
use bytes::Bytes;

fn kept(max_batches: usize, max_bytes: usize) -> (Kept, Arc<Ledger>) {
    let ledger = Arc::new(Ledger::default());
    (Kept::new(Bounds { max_batches, max_bytes }, None, Arc::clone(&ledger)), ledger)
}

/// A batch of ten bytes and as many samples as its number.
fn batch(ledger: &Ledger, sequence: u64) -> Batch {
    ledger.collect(Origin::Plugin, Place::Batched, sequence);
    let body = Bytes::from_static(&[0; 10]);
    Batch {
        body,
        protocol: Protocol::V1,
        message_len: 10,
        samples: sequence,
        exemplars: 0,
        left_out_starts: 0,
        time_range_ms: (10 * sequence as i64, 10 * sequence as i64 + 9),
        sequence,
        attempts: 0,
        may_be_stored: false,
    }
}

fn take(kept: &Kept) -> u64 {
    match kept.take(None) {
        Taken::Batch(batch) => batch.sequence,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_oldest_goes_first_and_comes_back_first() {
    let (kept, ledger) = kept(10, 1000);
    (1..=3).for_each(|n| assert_eq!(kept.push(batch(&ledger, n)), Overflow::default()));
    let Taken::Batch(first) = kept.take(None) else { panic!() };
    kept.put_back(first);
    assert_eq!((take(&kept), take(&kept), take(&kept)), (1, 2, 3));
    kept.close();
    assert!(matches!(kept.take(None), Taken::Finished));
}

#[test]
fn the_bounds_drop_the_oldest() {
    for (max_batches, max_bytes) in [(2, 1000), (100, 29)] {
        let (kept, ledger) = kept(max_batches, max_bytes);
        let mut overflow = Overflow::default();
        (1..=5).for_each(|n| overflow.add(kept.push(batch(&ledger, n))));
        assert_eq!(overflow, Overflow { batches: 3, samples: 1 + 2 + 3, time_range_ms: Some((10, 39)) });
        assert_eq!(kept.waiting(), (2, 9));
        let books = ledger.snapshot();
        assert_eq!((books.dropped(), books.pending()), (6, 9));
        assert_eq!(take(&kept), 4);
        assert!(ledger.snapshot().balances());
    }
}

#[test]
fn what_is_in_flight_comes_back_to_a_full_queue_as_the_oldest() {
    let (kept, ledger) = kept(2, 1000);
    kept.push(batch(&ledger, 1));
    let Taken::Batch(first) = kept.take(None) else { panic!() };
    kept.push(batch(&ledger, 2));
    kept.push(batch(&ledger, 3));
    assert_eq!(kept.put_back(first), Overflow { batches: 1, samples: 1, time_range_ms: Some((10, 19)) });
    assert_eq!((take(&kept), take(&kept)), (2, 3));
}

#[test]
fn no_retry_still_sends_once() {
    for (max_batches, max_bytes) in [(0, 0), (0, 1000), (100, 0)] {
        let (kept, ledger) = kept(max_batches, max_bytes);
        kept.push(batch(&ledger, 1));
        let Taken::Batch(first) = kept.take(None) else { panic!() };
        assert_eq!(kept.put_back(first).samples, 1);
        kept.push(batch(&ledger, 2));
        let Taken::Batch(second) = kept.take(None) else { panic!() };
        kept.push(batch(&ledger, 3));
        assert_eq!(kept.put_back(second).samples, 2, "{max_batches}, {max_bytes}");
        assert_eq!(take(&kept), 3);
    }
}

#[test]
fn the_close_ends_a_gap_once() {
    let (kept, ledger) = kept(2, 1000);
    let far = Some(Instant::now() + Duration::from_secs(3600));
    kept.push(batch(&ledger, 1));
    kept.close();
    let Taken::Batch(first) = kept.take(far) else { panic!() };
    kept.put_back(first);
    kept.finish_by(Instant::now());
    assert!(matches!(kept.take(far), Taken::TimeIsUp));
}

#[test]
fn a_gap_is_kept_and_the_end_is_not_missed() {
    let (kept, ledger) = kept(2, 1000);
    kept.push(batch(&ledger, 1));
    let soon = Instant::now() + Duration::from_millis(5);
    assert!(matches!(kept.take(Some(soon)), Taken::Batch(_)));
    assert!(Instant::now() >= soon);
    kept.push(batch(&ledger, 2));
    kept.finish_by(Instant::now());
    assert!(matches!(kept.take(Some(Instant::now() + Duration::from_secs(3600))), Taken::TimeIsUp));
    assert_eq!(kept.give_up(), Overflow { batches: 1, samples: 2, time_range_ms: Some((20, 29)) });
    assert_eq!(ledger.snapshot().reasons(), "shutdown=2");
}

#[test]
fn the_end_cuts_a_backlog_s_gap_short_and_no_failure_s() {
    let (kept, ledger) = kept(10, 1000);
    (1..=3).for_each(|n| _ = kept.push(batch(&ledger, n)));
    let hours = |n: u64| Instant::now() + Duration::from_secs(3600 * n);
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| kept.take(Some(hours(1))));
        kept.finish_by(hours(2));
        let Taken::Batch(first) = sender.join().unwrap() else { panic!() };
        ledger.deliver(Place::InFlight, first.samples);
        kept.settled();
    });
    let Taken::Batch(second) = kept.take(Some(hours(1))) else { panic!() };
    kept.put_back(second);
    kept.finish_by(Instant::now() + Duration::from_millis(20));
    assert!(matches!(kept.take(Some(hours(1))), Taken::TimeIsUp));
}

#[test]
fn a_flood_waits_for_a_receiver_that_takes_and_for_no_other() {
    let (kept, ledger) = kept(100, 40);
    let far = Instant::now() + Duration::from_secs(3600);
    (1..=3).for_each(|n| assert_eq!(kept.push(batch(&ledger, n)).batches, 0));
    // Thirty bytes are more than half of forty.
    std::thread::scope(|scope| {
        let flood = scope.spawn(|| kept.wait_for_room(far));
        assert_eq!(take(&kept), 1);
        flood.join().unwrap();
    });
    kept.wait_for_room(far);
    assert!(!kept.lock().stalled, "there was room");
    kept.push(batch(&ledger, 4));
    kept.wait_for_room(far);
    assert!(kept.lock().stalled, "nobody took any");
    let Taken::Batch(mut second) = kept.take(None) else { panic!() };
    kept.push(batch(&ledger, 5));
    second.attempts = 1;
    kept.put_back(second);
    assert!(!kept.lock().stalled);
    kept.wait_for_room(far);
    assert!(!kept.lock().stalled, "one that fails is not waited for");
}

#[test]
fn a_flood_waits_for_a_slow_receiver_as_long_as_it_takes_and_not_beyond_the_push() {
    let (kept, ledger) = kept(100, 200);
    (1..=15).for_each(|n| assert_eq!(kept.push(batch(&ledger, n)).batches, 0));
    kept.wait_for_room(Instant::now());
    assert!(!kept.lock().stalled, "a push was due, which says nothing of the receiver");
    let far = Instant::now() + Duration::from_secs(3600);
    std::thread::scope(|scope| {
        let flood = scope.spawn(|| kept.wait_for_room(far));
        // Longer in all than it waits for one.
        for n in 1..=5 {
            std::thread::sleep(PATIENCE / 3);
            assert_eq!(take(&kept), n);
            kept.settled();
        }
        flood.join().unwrap();
    });
    let state = kept.lock();
    assert_eq!((state.stalled, state.bytes), (false, 100));
}
