//! What is written is read again, and nothing that is longer than it has to be.

use proptest::prelude::*;

use super::super::codec::clip;
use super::*;
use crate::labels::MAX_LABELS;

fn label<'a>(name: &'a str, value: &'a str) -> AbiLabel<'a> {
    AbiLabel { name: name.into(), value: value.into() }
}

fn record<'a>(labels: &'a [AbiLabel<'a>], value: f64) -> AbiRecord<'a> {
    AbiRecord { metric: "m".into(), labels: labels.into(), value, timestamp_ms: -7 }
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

#[test]
fn records_come_out_as_they_went_in() {
    let one = [label("a", "1"), label("ü", "\u{1f980}")];
    let all = [record(&one, f64::NAN), record(&[], -0.0), record(&one[..1], 1.5)];
    let bytes = written(|out| assert_eq!(records(out, &all, 100, 1 << 20), 3));
    let Ok(Said::Records(read)) = Said::read(&bytes) else { panic!("{bytes:?}") };
    let read = read.to_abi();
    assert_eq!(read.len(), all.len());
    for (read, sent) in read.iter().zip(&all) {
        let labels = |record: &AbiRecord<'_>| {
            let pairs = record.labels.iter();
            pairs.map(|pair| (pair.name.to_string(), pair.value.to_string())).collect::<Vec<_>>()
        };
        assert_eq!((read.metric, labels(read), read.timestamp_ms), (sent.metric, labels(sent), sent.timestamp_ms));
        assert_eq!(read.value.to_bits(), sent.value.to_bits());
    }
}

#[test]
fn a_long_list_goes_in_parts() {
    let all = vec![record(&[], 1.0); 100];
    let (mut rest, mut parts) = (&all[..], 0);
    while !rest.is_empty() {
        let bytes = written(|out| rest = &rest[records(out, rest, 100, 200)..]);
        assert!(bytes.len() < 300, "{}", bytes.len());
        parts += 1;
    }
    assert!((5..50).contains(&parts), "{parts}");
}

#[test]
fn what_is_too_long_stays_too_long_and_no_more() {
    let long = "\u{e9}".repeat(MAX_NAME_BYTES);
    assert_eq!(clip(&long, 100).len(), 102);
    assert_eq!(clip(&long, 101).len(), 102);
    assert_eq!(clip("abc", 3), "abc");
    let labels = vec![label(&long, &long); 1000];
    let absent = vec![label("a", ""); 1000];
    let bytes = written(|out| assert_eq!(records(out, &[record(&labels, 1.0), record(&absent, 1.0)], 100, 1), 1));
    assert!(bytes.len() < (MAX_LABELS + 1) * (MAX_NAME_BYTES + 200), "{}", bytes.len());
    let Ok(Said::Records(read)) = Said::read(&bytes) else { panic!("no records") };
    assert_eq!(read.to_abi()[0].labels.len(), MAX_LABELS + 1);
    let bytes = written(|out| assert_eq!(records(out, &[record(&absent, 1.0)], 100, 1), 1));
    let Ok(Said::Records(read)) = Said::read(&bytes) else { panic!("no records") };
    assert_eq!(read.to_abi()[0].labels.len(), 0);
    assert_eq!(written(|out| json(out, &[7; 100], 9)).len(), 1 + 10);
}

#[test]
fn samples_and_the_rest_come_out_as_they_went_in() {
    let sent = [Sample::from_parts(1 << 40, -0.5, 7), Sample::from_parts(2, f64::INFINITY, i64::MIN)];
    let bytes = written(|out| samples(out, &sent));
    assert!(matches!(Said::read(&bytes), Ok(Said::Samples(read)) if read == sent));
    let counted =
        Counters { raw: RawQueueStats { sent: 1, received: 2, refused: 3, capacity: 4 }, refused: 5, calls: 6 };
    let bytes = written(|out| counters(out, &counted));
    assert!(matches!(Said::read(&bytes), Ok(Said::Counters(read)) if read == counted));
    let bytes = written(|out| ended(out, Worker::ProcessData, Some((1, "what", "where"))));
    let Ok(Said::Ended { worker: Worker::ProcessData, failure: Some(error) }) = Said::read(&bytes) else {
        panic!("{bytes:?}")
    };
    assert_eq!((error.failure, &*error.message, &*error.detail), (1, "what", "where"));
    let settings =
        Settings { scrape_interval_ns: 1, raw_queue_size: 2, log_level: 3, max_label_value_bytes: 4, memory_max: 5 };
    for told in [
        Told::Settings(settings),
        Told::Run,
        Told::Stop(Worker::GetPower),
        Told::Registered { request: 9, answer: Ok(u64::MAX) },
        Told::Registered { request: 9, answer: Err("no") },
    ] {
        let bytes = written(|out| told.write(out));
        assert_eq!(Told::read(&bytes), Ok(told));
    }
}

proptest! {
    #[test]
    fn bytes_that_make_no_sense_are_told(mut bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0_u8..70) {
        let _ = (Said::read(&bytes).is_ok(), Told::read(&bytes).is_ok());
        bytes.insert(0, kind);
        let _ = (Said::read(&bytes).is_ok(), Told::read(&bytes).is_ok());
    }
}
