//! Which version of the C library a plugin needs.
//!
//! Enters: a library's table of needed versions. Leaves: the highest `GLIBC_2.x` in it. Never: opens anything.

use object::elf;

use super::elf::Library;
use super::source::{Source, number};

/// No library needs more names of versions.
const MAX_NAMES: usize = 10_000;

/// A version of the C library, as in 2.36.
pub(super) type Version = (u32, u32);

/// The highest version that the library can't do without.
pub(super) fn needed<S: Source + ?Sized>(library: &Library<'_, S>) -> Option<Version> {
    let table = library.sections.iter().find(|section| section.kind == elf::SHT_GNU_VERNEED.0)?;
    let names = library.content(library.sections.get(table.link as usize)?)?;
    let entries = library.content(table)?;
    let name = |at: u64| {
        let rest = names.get(usize::try_from(at).ok()?..)?;
        std::str::from_utf8(&rest[..rest.iter().position(|&byte| byte == 0)?]).ok()
    };
    weak_left_out(&entries).filter_map(|at| parse(name(at)?.strip_prefix("GLIBC_")?)).max()
}

/// `2.36`, also with a third number that doesn't matter.
pub(super) fn parse(text: &str) -> Option<Version> {
    let mut numbers = text.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Where in the table of names the needed ones are.
fn weak_left_out(entries: &[u8]) -> impl Iterator<Item = u64> {
    // Each file has a list of its own; `next` of a list's last entry is 0.
    let follow = |at: usize, next: u64| (next != 0).then(|| at.checked_add(usize::try_from(next).ok()?)).flatten();
    let present = |at: &usize| *at < entries.len();
    let files = std::iter::successors(Some(0), move |&at| follow(at, number::<4>(entries, at + 12)).filter(present));
    let names = files.flat_map(move |file| {
        let first = follow(file, number::<4>(entries, file + 8)).filter(present);
        std::iter::successors(first, move |&at| follow(at, number::<4>(entries, at + 12)).filter(present))
    });
    let needed = |&at: &usize| number::<2>(entries, at + 4) & u64::from(elf::VER_FLG_WEAK.0) == 0;
    names.take(MAX_NAMES).filter(needed).map(|at| number::<4>(entries, at + 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared_as_numbers() {
        assert_eq!(parse("2.36"), Some((2, 36)));
        assert_eq!(parse("2.2.5"), Some((2, 2)));
        assert!(parse("2.9") < parse("2.10"));
        for text in ["", "2", "PRIVATE", "ABI_DT_RELR", "2.x"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_table_that_runs_in_circles_ends() {
        // A file whose list begins at its own start, and goes on there.
        let mut entries = [0; 16];
        entries[12] = 0;
        entries[8] = 16;
        assert_eq!(weak_left_out(&entries).count(), 0);
        let mut many = vec![0; 64 * 1024];
        for file in many.chunks_exact_mut(16) {
            file[8] = 16;
            file[12] = 16;
        }
        assert_eq!(weak_left_out(&many).count(), MAX_NAMES);
    }
}
