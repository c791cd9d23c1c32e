//! Fuzzes the look at a plugin's file: any bytes, and a real library with a few of its bytes changed.
//!
//! Promises: it ends, runs nothing, and says what is wrong on one line.

use super::preflight::elf::MACHINE;
use super::preflight::inspect_bytes;
use crate::fuzz::{Choices, Target, assert_is_a_line, bytes};

/// A plugin's file.
pub static PREFLIGHT: Target = Target {
    name: "preflight",
    run: |input| match input.strip_prefix(b"edit") {
        Some(edits) => inspect(&edited(edits)),
        None => inspect(input),
    },
    seeds: || {
        let library = library();
        let mut seeds =
            bytes(["!<arch>\n", "\0asm\x01\0\0\0", "MZ\u{90}", "#!/bin/sh\n", "text", "edit", "\x7fELF\x01"]);
        seeds.extend([library.clone(), library[..library.len() - 1].to_vec(), library[..64].to_vec()]);
        // Each field of the header in turn, and the first entries of the tables.
        seeds.extend((4..64u16).step_by(4).map(|at| [b"edit\x02", &at.to_le_bytes()[..], &[0xff; 8]].concat()));
        seeds
    },
    words: || {
        let symbols = [abi_stable::library::ROOT_MODULE_LOADER_NAME, monitor_plugin_api::manifest::SYMBOL];
        let mut words = symbols.map(|name| name.as_bytes().to_vec()).to_vec();
        words.extend(bytes([
            "api=",
            "name=",
            "\n",
            "monitor-plugin-manifest 1\n",
            "GLIBC_2.99",
            "\x7fELF\x02\x01\x01",
            "edit",
        ]));
        words.extend([vec![0xff; 8], vec![0; 8], vec![0xff, 0xff, 0xff, 0x7f]]);
        words
    },
};

/// A small library with all that is looked at, as if for this machine; its source lies beside it.
fn library() -> Vec<u8> {
    let mut file = include_bytes!("fuzz/library.so").to_vec();
    file[18..20].copy_from_slice(&MACHINE.0.to_le_bytes());
    file
}

fn inspect(file: &[u8]) {
    match inspect_bytes(file) {
        Ok(manifest) => {
            for text in [&manifest.api, &manifest.name, &manifest.version, &manifest.rustc, &manifest.target] {
                assert!(!text.chars().any(char::is_control), "{text:?}");
            }
        }
        Err(wrong) => assert_is_a_line(&wrong, 8192),
    }
}

/// The library, some of its numbers replaced: how many bytes, where, by what.
fn edited(edits: &[u8]) -> Vec<u8> {
    let (mut file, mut edits) = (library(), Choices(edits));
    while !edits.is_empty() {
        let len = 1 << (edits.byte() % 4);
        let at = usize::from(edits.short()) % file.len();
        let end = (at + len).min(file.len());
        let by = edits.bytes(end - at);
        file[at..at + by.len()].copy_from_slice(by);
    }
    file
}

#[cfg(test)]
#[test]
fn the_library_is_a_plugin() {
    let manifest = inspect_bytes(&library()).unwrap();
    assert_eq!(manifest.name, "seed");
}
