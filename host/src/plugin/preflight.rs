//! A look at the library's file before it is opened.
//!
//! Opening a library runs its constructors, and a truncated one kills the process: so what can be known from the file
//! is known first. Enters: a path. Leaves: the plugin's manifest, or what is wrong.
//!
//! Never: runs anything of the file; trusts a number in it.

use std::fs;
use std::path::Path;

use monitor_plugin_api::manifest::{self, Manifest};
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader};
use object::{Endianness, Object, ObjectSection, ObjectSymbol, elf};

use super::LoadError;

/// The machine that this host runs on, as ELF numbers it and as people call it.
pub(super) const MACHINE: (u16, &str) =
    if cfg!(target_arch = "aarch64") { (elf::EM_AARCH64.0, "aarch64") } else { (elf::EM_X86_64.0, "x86_64") };

/// Reads what the library at `path` says about itself.
///
/// # Errors
/// It can't be read, is no shared library for this machine, is cut short, or is no plugin of this API's major version.
pub fn inspect(path: &Path) -> Result<Manifest, LoadError> {
    let wrong = |text: &str| LoadError::new(path, text);
    let metadata = fs::metadata(path)
        .map_err(|error| wrong(&format!("{error}; set MONITOR_IMPL_PATH to the plugin's library")))?;
    if !metadata.is_file() {
        let what = if metadata.is_dir() { "a directory" } else { "not a regular file" };
        return Err(wrong(&format!("is {what}; set MONITOR_IMPL_PATH to the library itself")));
    }
    let bytes = fs::read(path).map_err(|error| wrong(&format!("can't be read: {error}")))?;
    inspect_bytes(&bytes).map_err(|text| wrong(&text))
}

pub(super) fn inspect_bytes(bytes: &[u8]) -> Result<Manifest, String> {
    if !bytes.starts_with(&elf::ELFMAG) {
        return Err(format!(
            "is not a shared library but {}; build the plugin with crate-type = [\"cdylib\"]",
            kind_of(bytes)
        ));
    }
    let cut_short = || "is cut short or damaged: copy or build it again".to_owned();
    if bytes.get(4) == Some(&elf::ELFCLASS32.0) {
        return Err(format!("is a 32-bit library; build it for {}", MACHINE.1));
    }
    let header = elf::FileHeader64::<Endianness>::parse(bytes).map_err(|_| cut_short())?;
    let endian = header.endian().map_err(|_| cut_short())?;
    if header.e_machine(endian).0 != MACHINE.0 {
        let machine = header.e_machine(endian).0;
        return Err(format!("is for another machine (ELF machine {machine}); build it for {}", MACHINE.1));
    }
    if header.e_type(endian).0 != elf::ET_DYN.0 {
        return Err(
            "is not a shared library (an object file or a program?); build the plugin with crate-type = [\"cdylib\"]"
                .into(),
        );
    }
    // Every byte that the loader would map must be there: a missing one is a SIGBUS inside dlopen.
    for segment in header.program_headers(endian, bytes).map_err(|_| cut_short())? {
        let end = segment.p_offset(endian).checked_add(segment.p_filesz(endian));
        if end.is_none_or(|end| end > bytes.len() as u64) {
            return Err(cut_short());
        }
    }
    let file = ElfFile64::<Endianness>::parse(bytes).map_err(|_| cut_short())?;
    let symbol = |name: &str| file.dynamic_symbols().find(|s| s.is_definition() && s.name() == Ok(name));
    if symbol(abi_stable::library::ROOT_MODULE_LOADER_NAME).is_none() {
        return Err(
            "is a library but no plugin (it exports no plugin loader); export one with export_monitor_impl!".into()
        );
    }
    let manifest = symbol(manifest::SYMBOL).and_then(|symbol| {
        let section = file.section_by_index(symbol.section_index()?).ok()?;
        let data = section.data().ok()?;
        let start = usize::try_from(symbol.address().checked_sub(section.address())?).ok()?;
        Manifest::parse(data.get(start..)?)
    });
    let manifest = manifest
        .ok_or("exports a plugin loader but no readable manifest; export the plugin with export_monitor_impl!")?;
    let major = |version: &str| version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    let ours = monitor_plugin_api::API_VERSION;
    if major(&manifest.api) != major(ours) {
        return Err(format!(
            "was built with monitor-plugin-api {}, this host takes {ours} and others of that major version; \
             rebuild the plugin, or take the image that fits it",
            manifest.api
        ));
    }
    Ok(manifest)
}

fn kind_of(bytes: &[u8]) -> &'static str {
    match bytes {
        [] => "an empty file",
        [b'!', b'<', b'a', b'r', b'c', b'h', b'>', ..] => "an archive (a static library?)",
        [0, b'a', b's', b'm', ..] => "WebAssembly",
        [b'M', b'Z', ..] => "a Windows library or program",
        [0xcf | 0xce, 0xfa, 0xed, 0xfe, ..] | [0xca, 0xfe, 0xba, 0xbe, ..] => "a macOS library or program",
        [b'#', b'!', ..] => "a script",
        _ if std::str::from_utf8(&bytes[..bytes.len().min(256)]).is_ok() => "text",
        _ => "something else",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_library_is_named() {
        for (bytes, says) in [
            (&b""[..], "an empty file"),
            (b"!<arch>\n", "an archive"),
            (b"\0asm\x01", "WebAssembly"),
            (b"MZ\x90", "Windows"),
            (b"\xcf\xfa\xed\xfe", "macOS"),
            (b"#!/bin/sh", "a script"),
            (b"hello", "text"),
            (b"\x7fELF", "cut short"),
            (b"\x7fELF\x01", "32-bit"),
        ] {
            let error = inspect_bytes(bytes).unwrap_err();
            assert!(error.contains(says) && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_library_cut_anywhere_is_an_error() {
        let whole = fs::read(std::env::current_exe().unwrap()).unwrap();
        for length in (4..whole.len()).step_by(whole.len() / 50) {
            assert!(inspect_bytes(&whole[..length]).is_err());
        }
        // The test program itself is whole, but no plugin.
        assert!(inspect_bytes(&whole).unwrap_err().contains("no plugin"));
    }

    #[test]
    fn paths_that_are_no_file_are_named() {
        for (path, says) in
            [("/nonexistent/x.so", "No such file"), ("/", "a directory"), ("/dev/null", "not a regular")]
        {
            let error = inspect(Path::new(path)).unwrap_err().to_string();
            assert!(error.starts_with(path) && error.contains(says), "{error}");
        }
    }
}
