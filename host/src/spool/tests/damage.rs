//! Files that were torn, changed, or never were a spool's.

use super::*;
use proptest::prelude::*;

/// Three records of ten bytes in one segment, the file of which is then changed.
fn three_with(change: impl FnOnce(&mut Vec<u8>)) -> (TempDir, Spool, Recovered) {
    let dir = TempDir::new().unwrap();
    drop(filled(dir.path(), ROOMY, 1..=3, 10));
    let path = &segments(dir.path())[0];
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
    let (spool, recovered) = open(dir.path(), ROOMY);
    (dir, spool, recovered)
}

#[test]
fn a_torn_tail_is_passed_over_wherever_it_was_torn() {
    for torn in 1..58 {
        let (dir, mut spool, recovered) = three_with(|bytes| bytes.truncate(3 * 58 - torn));
        let torn_bytes = 58 - torn as u64;
        assert_eq!(recovered, Recovered { waiting: tally(2, 3, 10), torn_bytes, ..Recovered::default() });
        spool.append(&record(4, 10)).unwrap();
        assert_eq!((drain(&mut spool), spool.take_losses()), (vec![1, 2, 4], Losses::default()), "{torn}");
        assert_eq!(segments(dir.path()).len(), 1);
    }
}

#[test]
fn a_changed_byte_costs_one_record() {
    for at in 0..58 {
        let (_dir, mut spool, recovered) = three_with(|bytes| bytes[58 + at] ^= 0x10);
        let in_header = at < 44;
        assert_eq!(recovered.damaged_places, u64::from(in_header), "{at}");
        assert_eq!(recovered.damaged_bytes, if in_header { 58 } else { 0 });
        assert_eq!(recovered.waiting.records, if in_header { 2 } else { 3 });
        assert_eq!(drain(&mut spool), [1, 3]);
        let damaged = if in_header { Tally::default() } else { tally(1, 2, 10) };
        assert_eq!(spool.take_losses(), Losses { damaged, ..Losses::default() });
    }
}

#[test]
fn what_is_damaged_while_it_waits_is_counted_to_the_sample() {
    for at in 0..58 {
        let dir = TempDir::new().unwrap();
        let mut spool = filled(dir.path(), ROOMY, 1..=3, 10);
        let path = &segments(dir.path())[0];
        let mut bytes = fs::read(path).unwrap();
        bytes[58 + at] ^= 0x10;
        fs::write(path, bytes).unwrap();
        assert_eq!(drain(&mut spool), [1, 3]);
        assert_eq!(spool.take_losses(), Losses { damaged: tally(1, 2, 10), ..Losses::default() }, "{at}");
        spool.append(&record(4, 10)).unwrap();
        assert_eq!(drain(&mut spool), [4]);
    }
}

#[test]
fn what_was_cut_off_below_the_cursor_hides_nothing_new() {
    let dir = TempDir::new().unwrap();
    let mut spool = filled(dir.path(), ROOMY, 1..=3, 10);
    assert_eq!(drain(&mut spool), [1, 2, 3]);
    drop(spool);
    fs::write(&segments(dir.path())[0], "").unwrap();
    drop(filled(dir.path(), ROOMY, 4..=5, 10));
    assert_eq!(drain(&mut open(dir.path(), ROOMY).0), [4, 5]);
}

#[test]
fn without_its_segments_the_cursor_hides_nothing_new() {
    let dir = TempDir::new().unwrap();
    let mut spool = filled(dir.path(), Bounds { max_bytes: 16, ..ROOMY }, [], 0);
    assert!(spool.append(&record(1, 0)).is_err());
    drop(spool);
    let mut spool = filled(dir.path(), Bounds { max_bytes: 1600, ..ROOMY }, 1..=9, 10);
    assert_eq!(drain(&mut spool).len(), 9);
    drop(spool);
    segments(dir.path()).iter().for_each(|path| fs::remove_file(path).unwrap());
    drop(filled(dir.path(), ROOMY, 10..=11, 10));
    let mut spool = open(dir.path(), ROOMY).0;
    assert_eq!((drain(&mut spool), spool.last_sequence()), (vec![10, 11], 11));
}

#[test]
fn without_its_cursor_a_segment_is_sent_again_and_it_says_so() {
    let dir = TempDir::new().unwrap();
    let mut spool = filled(dir.path(), ROOMY, 1..=3, 10);
    assert_eq!(spool.oldest().unwrap().unwrap().sequence, 1);
    spool.remove_oldest().unwrap();
    drop(spool);
    fs::write(dir.path().join("cursor"), "what?").unwrap();
    let (mut spool, recovered) = open(dir.path(), ROOMY);
    assert_eq!(recovered, Recovered { waiting: tally(3, 6, 10), cursor_lost: true, ..Recovered::default() });
    assert_eq!((drain(&mut spool), spool.last_sequence()), (vec![1, 2, 3], 3));
}

#[test]
fn a_name_that_is_taken_is_passed_over() {
    let dir = TempDir::new().unwrap();
    let mut spool = open(dir.path(), ROOMY).0;
    fs::create_dir(segment::path(dir.path(), 1)).unwrap();
    assert!(spool.append(&record(1, 0)).is_err());
    spool.append(&record(1, 0)).unwrap();
    drop(spool);
    assert_eq!(drain(&mut open(dir.path(), ROOMY).0), [1]);
}

#[test]
fn space_that_cannot_be_got_back_costs_no_records() {
    let dir = TempDir::new().unwrap();
    let mut spool = filled(dir.path(), Bounds { max_bytes: 200, ..ROOMY }, 1..=2, 52);
    // What can't be unlinked even by root: a directory.
    let path = &segments(dir.path())[0];
    let bytes = fs::read(path).unwrap();
    fs::remove_file(path).unwrap();
    fs::create_dir(path).unwrap();
    let error = spool.append(&record(3, 52)).unwrap_err();
    assert!(matches!(error, SpoolError::Io { action: "delete", .. }), "{error}");
    assert_eq!((spool.take_losses(), spool.waiting()), (Losses::default(), tally(2, 3, 52)));
    fs::remove_dir(path).unwrap();
    fs::write(path, bytes).unwrap();
    spool.append(&record(3, 52)).unwrap();
    assert_eq!((spool.take_losses().overflow, drain(&mut spool)), (tally(1, 1, 52), vec![2, 3]));
}

/// Bytes that come close to a spool's own.
fn file() -> impl Strategy<Value = Vec<u8>> {
    let encoded = (0..9u64, 0..60usize).prop_map(|(sequence, len)| {
        let mut bytes = Vec::new();
        record(sequence, len).encode(&mut bytes);
        bytes
    });
    let part = prop_oneof![
        encoded.clone(),
        (encoded, any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut bytes, at, value)| {
            let at = at.index(bytes.len());
            bytes[at] = value;
            bytes.truncate(at + usize::from(value));
            bytes
        }),
        prop::collection::vec(any::<u8>(), 0..60),
    ];
    prop::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn a_directory_may_hold_anything(
        files in prop::collection::btree_map(0..5u64, file(), 0..4),
        cursor in prop::option::of(prop_oneof![
            file(),
            (0..6u64, 0..300u64).prop_map(|(segment, offset)| {
                let place = cursor::Place { segment, offset };
                cursor::State { place, last_sequence: 3 }.encode().to_vec()
            }),
        ]),
    ) {
        let dir = TempDir::new().unwrap();
        for (number, bytes) in files {
            fs::write(segment::path(dir.path(), number), bytes).unwrap();
        }
        if let Some(bytes) = cursor {
            fs::write(dir.path().join("cursor"), bytes).unwrap();
        }
        let (mut spool, recovered) = open(dir.path(), ROOMY);
        prop_assert_eq!(spool.waiting(), recovered.waiting);
        spool.append(&record(100, 9)).unwrap();
        let mut out = drain(&mut spool);
        prop_assert_eq!(out.pop(), Some(100));
        let damaged = spool.take_losses().damaged.records;
        prop_assert_eq!(out.len() as u64 + damaged, recovered.waiting.records);
        drop(spool);
        let (spool, recovered) = open(dir.path(), ROOMY);
        prop_assert_eq!((recovered, spool.last_sequence()), (Recovered::default(), 100));
    }
}
