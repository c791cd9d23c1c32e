//! What the order of samples, the ends of series and full queues do to them.

use std::collections::{BTreeMap, BTreeSet};

use crate::faults::{LONG, assert_all_arrived, books, host, lines, numbers, raw, stop};
use crate::sink::Sink;

#[test]
fn what_is_older_than_its_series_is_dropped_and_told() {
    let sink = Sink::start();
    // Every second reading is five seconds old.
    let running = host(sink.url()).env("FAULT_OFFSETS_MS", "0,-5000").spawn();
    sink.wait_samples(20, LONG);
    let ledger = stop(&running);
    let read = raw(&running, "raw_sent");
    assert_eq!((ledger.dropped_as("out_of_order"), ledger.dropped), (read / 2, read / 2), "{ledger:?}");
    assert_eq!(numbers(&sink, &ledger), (1..=read).step_by(2).collect::<Vec<_>>());
    assert_eq!(sink.violations(), []);
    let told = lines(&running, "WARNING");
    assert!(!told.is_empty() && told.len() < 5, "thinned out: {}", running.log_text());
    assert_eq!(told[0].field("reason"), "out_of_order");
    assert!(told[0].message().contains("ALLOW_OUT_OF_ORDER=1"), "{}", told[0].text);
}

#[test]
fn out_of_order_is_sent_where_it_is_allowed() {
    let sink = Sink::start();
    let running = host(sink.url()).env("FAULT_OFFSETS_MS", "0,-5000").env("ALLOW_OUT_OF_ORDER", "1").spawn();
    sink.wait_requests(5, LONG);
    let ledger = stop(&running);
    assert_eq!((ledger.dropped, ledger.delivered), (0, raw(&running, "raw_sent")), "{ledger:?}");
    let arrived: BTreeSet<u64> = numbers(&sink, &ledger).into_iter().collect();
    assert_eq!(arrived, (1..=ledger.delivered).collect(), "each of them, once");

    // Within a request they are sorted; from one to the next they can't be.
    let mut requests: BTreeMap<u64, Vec<i64>> = BTreeMap::new();
    for sample in sink.samples() {
        requests.entry(sample.request).or_default().push(sample.timestamp_ms);
    }
    assert!(requests.values().all(|moments| moments.is_sorted()), "{requests:?}");
    let violations: BTreeSet<_> = sink.violations().into_iter().map(|seen| seen.violation).collect();
    assert_eq!(violations, BTreeSet::from(["out_of_order".to_owned()]));
}

#[test]
fn one_sample_a_series_and_millisecond() {
    for allowed in ["0", "1"] {
        let sink = Sink::start();
        // A reading each millisecond, every second of which is a millisecond old: the moment of the one before it.
        let running = host(sink.url())
            .env("SCRAPE_INTERVAL_S", "0.001")
            .env("FAULT_OFFSETS_MS", "0,-1")
            .env("ALLOW_OUT_OF_ORDER", allowed)
            .spawn();
        sink.wait_samples(200, LONG);
        let ledger = stop(&running);
        let (read, refused) = (raw(&running, "raw_sent"), raw(&running, "raw_refused"));
        assert!(ledger.dropped_as("duplicate") > 0, "{ledger:?}");
        assert_eq!((ledger.collected, ledger.dropped_as("duplicate")), (read, ledger.dropped), "{ledger:?}");
        let arrived: BTreeSet<u64> = numbers(&sink, &ledger).into_iter().collect();
        if refused == 0 && allowed == "0" {
            // The first one stays; what is missing is of the others.
            assert!((1..=read).step_by(2).all(|number| arrived.contains(&number)), "{arrived:?}");
        }
        // Where order is the receiver's business, a pair that two batches share is its business too.
        let unexpected = sink.violations().into_iter().find(|seen| allowed == "0" || seen.violation != "conflict");
        assert!(unexpected.is_none(), "{unexpected:?}");
    }
}

#[test]
fn a_series_that_has_ended_takes_nothing_more() {
    let sink = Sink::start();
    let running = host(sink.url()).env("FAULT_END_AFTER", "5").spawn();
    let late = running.wait_for_log(|line| line.field("reason") == "unknown_series", LONG);
    assert!(late.level() == "WARNING" && late.message().contains("ended"), "{}", late.text);
    let before = sink.samples().len();
    sink.wait_samples(before + 5, LONG);
    let ledger = stop(&running);
    assert_eq!((ledger.dropped_as("unknown_series"), ledger.dropped), (1, 1), "{ledger:?}");
    // The late one, and the marker.
    let read = raw(&running, "raw_sent");
    assert_eq!(ledger.collected, read + 2);
    assert_eq!(numbers(&sink, &ledger), (1..=read).collect::<Vec<_>>());
    // The series that may have taken the place of the one that ended is not mistaken for it.
    let names: Vec<_> = sink.samples().into_iter().map(|sample| sample.metric).collect();
    let successor = names.iter().position(|name| name == "fault_successor");
    assert_eq!(successor, Some(6));
    assert!(names[6..].iter().all(|name| name == "fault_successor"), "{names:?}");
    assert_eq!(sink.violations(), []);
}

#[test]
fn a_full_raw_queue_gives_readings_back_and_the_run_goes_on() {
    let sink = Sink::start();
    let running = host(sink.url()).env("RAW_QUEUE_SIZE", "2").env("FAULT_PROCESS_DELAY_S", "0.3").spawn();
    sink.wait_samples(5, LONG);
    let ledger = stop(&running);
    let [sent, received, refused] = ["raw_sent", "raw_received", "raw_refused"].map(|name| raw(&running, name));
    assert!(refused > 0);
    assert_eq!((sent, ledger.delivered, ledger.dropped), (received, received, 0), "{ledger:?}");
    let arrived = numbers(&sink, &ledger);
    assert!(arrived.is_sorted() && arrived.last() <= Some(&(sent + refused)), "{arrived:?}");
    assert_eq!(sink.violations(), []);
}

#[test]
fn the_smallest_processed_queue_loses_nothing() {
    let sink = Sink::start();
    let running = host(sink.url())
        .env("PROC_QUEUE_SIZE", "1")
        .env("BATCH_MAX_SAMPLES", "7")
        .env("FAULT_FORM", "records")
        .env("FAULT_GET_POWER", "return")
        .env("FAULT_AFTER", "40")
        .spawn();
    assert_eq!(running.wait(LONG).code(), Some(1), "{}", running.log_text());
    // The plugin ended by itself, and its series with it.
    assert_eq!(books(&running).delivered, 40 + 1);
    assert_all_arrived(&running, &sink);
    assert!(sink.requests().iter().all(|request| request.samples <= 7), "{:?}", sink.requests());
}
