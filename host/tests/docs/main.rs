//! Whether the documentation is true: what it names is held against the sources and the other way round.
//!
//! Enters: the repository's files, as text. Leaves: what is missing from a page, and what a page has that is no more. The
//! generated parts of `docs/configuration.md` and `docs/metrics.md` are tested where they are made, so these two count as
//! true here.
//!
//! Never: runs anything; looks outside the repository.

mod links;
mod names;
mod pages;
mod rust;
mod told;

use std::path::{Path, PathBuf};

/// The repository's folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A file of the repository.
fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All files below a folder whose name ends so, by their paths in the repository. What is built or hidden is passed over.
fn files(folder: &str, ending: &str) -> Vec<String> {
    let (mut found, mut left) = (Vec::new(), vec![root().join(folder)]);
    while let Some(folder) = left.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') || name == "target" {
                continue;
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => left.push(entry.path()),
                Ok(kind) if kind.is_file() && name.ends_with(ending) => found.push(entry.path()),
                _ => {}
            }
        }
    }
    let in_repository = |path: PathBuf| Some(path.strip_prefix(root()).ok()?.to_string_lossy().into_owned());
    let mut found: Vec<String> = found.into_iter().filter_map(in_repository).collect();
    found.sort();
    found
}

/// Fails with all that is wrong, one line each.
#[track_caller]
fn assert_none(wrong: &[String], what: &str) {
    assert!(wrong.is_empty(), "{what}:\n  {}", wrong.join("\n  "));
}
