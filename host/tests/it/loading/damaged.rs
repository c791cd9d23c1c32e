//! Real plugins, cut short or changed in a few bytes: each is refused by its file alone, and none kills the host.

use std::fs;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::{Files, assert_refused, refused};
use crate::faults::lines;
use crate::plugins;

/// Numbers that are the same in every run.
struct Seeded(TestRunner);

impl Seeded {
    fn new(seed: u8) -> Self {
        Self(TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32])))
    }

    fn below(&mut self, end: usize) -> usize {
        (0..end).new_tree(&mut self.0).expect("a number").current()
    }
}

/// The same bytes with another text of that length in all places where `from` is.
fn patched(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    let mut places = 0;
    let mut at = 0;
    while let Some(found) = find(&bytes[at..], from.as_bytes()) {
        at += found;
        bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
        places += 1;
    }
    assert!(places > 0, "no {from} in it");
    bytes
}

fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text)
}

fn number(bytes: &[u8], at: usize, size: usize) -> usize {
    bytes[at..at + size].iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte))
}

#[test]
fn a_plugin_that_is_cut_short() {
    let files = Files::new();
    let whole = fs::read(plugins::so("monitor-fault")).unwrap();
    let length = whole.len();
    let mut seeded = Seeded::new(1);
    let some = [5, 16, 63, 64, 65, 4096, length - 4096, length - 64, length - 1];
    let chance: Vec<usize> = (0..30).map(|_| 5 + seeded.below(length - 5)).collect();
    for length in some.into_iter().chain(chance) {
        let path = files.file("short.so", &whole[..length]);
        assert_refused(&path, "is cut short or damaged: copy or build it again");
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_plugin_for_another_machine() {
    let files = Files::new();
    let whole = fs::read(plugins::so("monitor-fault")).unwrap();
    let other = |at: usize, value: u8| {
        let mut bytes = whole.clone();
        bytes[at] = value;
        files.file("other.so", &bytes)
    };
    // The ELF header has the class at 4, the byte order at 5, the type at 16 and the machine at 18.
    assert_refused(&other(18, 243), "is for another machine (RISC-V); build it for");
    assert_refused(&other(18, 40), "is for another machine (32-bit Arm)");
    assert_refused(&other(18, 99), "is for another machine (ELF machine 99)");
    assert_refused(&other(4, 1), "is a 32-bit library");
    assert_refused(&other(5, 2), "is for another machine (a big-endian one)");
    assert_refused(&other(16, 1), "is not a shared library but an object file");
    assert_refused(&other(16, 2), "is not a shared library but a program");
    assert_refused(&other(16, 4), "a memory image of a crash");
}

#[test]
fn a_plugin_whose_symbols_or_manifest_are_missing() {
    let files = Files::new();
    let whole = fs::read(plugins::so("monitor-fault")).unwrap();
    let refuse = |from: &str, to: &str, says: &str| {
        let path = files.file("changed.so", &patched(&whole, from, to));
        assert_refused(&path, says);
    };
    refuse("_1as_0lib_1header_0root", "_1as_0lib_1header_0rook", "is a library but no plugin");
    refuse("MONITOR_PLUGIN_MANIFEST", "MONITOR_PLUGIN_MANIFES_", "no readable manifest");
    refuse("monitor-plugin-manifest 1\n", "monitor-plugin-manifest 9\n", "no readable manifest");
    let api = format!("\napi={}\n", monitor_plugin_api::API_VERSION);
    refuse(&api, &api.replace("=1.", "=0."), "take an older image of the host");
    refuse(&api, &api.replace("=1.", "=2."), "take a newer image of the host");
    refuse(&api, &api.replace("=1.", "=x."), "its version can't be understood");
    refuse("-unknown-linux-gnu\n", "-noone-linux-musl\n\n", "runs with GNU's C library");
}

#[test]
fn a_plugin_that_needs_a_newer_c_library() {
    let files = Files::new();
    let whole = fs::read(plugins::so("monitor-fault")).unwrap();
    let text = String::from_utf8_lossy(&whole);
    let version = text.match_indices("GLIBC_2.").map(|(at, _)| text[at..].split('\0').next().unwrap().to_owned());
    let version = version.filter(|version| version.len() == "GLIBC_2.xx".len()).max().expect("such a version");
    let path = files.file("newer.so", &patched(&whole, &format!("{version}\0"), "GLIBC_2.99\0"));
    assert_refused(&path, "needs GLIBC 2.99, this host runs with GLIBC 2.");
    assert_refused(&path, "build it in the sdk image");
}

#[test]
fn a_file_of_debug_information_is_told_apart() {
    let files = Files::new();
    let mut bytes = fs::read(plugins::so("monitor-fault")).unwrap();
    // As `objcopy --only-keep-debug` does: sections that are mapped are no longer in the file.
    let (table, entry, count) = (number(&bytes, 40, 8), number(&bytes, 58, 2), number(&bytes, 60, 2));
    for section in (0..count).map(|i| table + i * entry) {
        let (kind, flags) = (number(&bytes, section + 4, 4), number(&bytes, section + 8, 8));
        // SHF_ALLOC, and not a note.
        if flags & 2 != 0 && kind != 7 {
            bytes[section + 4..section + 8].copy_from_slice(&8u32.to_le_bytes());
        }
    }
    assert_refused(&files.file("plugin.debug", &bytes), "holds debug information alone");
}

#[test]
fn no_flipped_byte_of_a_header_kills_the_host() {
    let files = Files::new();
    let whole = fs::read(plugins::so("monitor-fault")).unwrap();
    let program_headers = number(&whole, 56, 2) * 56;
    let mut seeded = Seeded::new(2);
    // Each byte of the header once, and some of the program headers behind it.
    let in_header = (0..64).map(|at| (at, None));
    let behind = (0..64).map(|_| (64, Some(program_headers)));
    let mut told = 0;
    for (at, among) in in_header.chain(behind) {
        let at = at + among.map_or(0, |count| seeded.below(count));
        let bit = seeded.below(8);
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << bit;
        // A file of its own each time: one that is mapped must not change.
        let path = files.file(&format!("flipped-{at}-{bit}.so"), &bytes);
        let running = refused(&path);
        let log = lines(&running, "ERROR");
        assert_eq!(log.len(), 1, "byte {at}, bit {bit}: {}", running.log_text());
        // Some bits mean nothing, and the plugin gets as far as its own refusal.
        told += usize::from(!log[0].message().contains("FAULT_NEW"));
        fs::remove_file(path).unwrap();
    }
    assert!(told > 64, "{told} of 128 were told");
}

/// The look at a file alone, many times: whatever stands in its tables, it ends, and soon.
#[test]
fn no_bytes_in_any_table_make_the_look_at_a_file_fail() {
    let whole = fs::read(plugins::so("monitor-fault")).unwrap();
    let sections = number(&whole, 40, 8)..whole.len();
    let mut seeded = Seeded::new(3);
    // The header and what the loader reads lie at the front, the sections at the end.
    let mut refused = 0;
    for round in 0..600 {
        let mut bytes = whole.clone();
        for _ in 0..=seeded.below(4) {
            let at = match round % 3 {
                0 => seeded.below(64 + 20 * 56),
                1 => seeded.below(16 << 10),
                _ => sections.start + seeded.below(sections.len()),
            };
            let value = [0, 0xff, 0x80, seeded.below(256) as u8][seeded.below(4)];
            bytes[at] = value;
        }
        if let Err(line) = monitor_host::plugin::inspect_bytes(&bytes) {
            assert!(!line.is_empty() && line.len() < 400 && !line.contains('\n'), "{line}");
            refused += 1;
        }
    }
    assert!(refused > 200, "{refused} of 600");
}
