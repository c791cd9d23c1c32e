//! How often a process allocates: counted by a library that is preloaded to it, in runs of their own, since counting takes
//! time as well.
//!
//! Enters: a C compiler (`cc`) and the GNU C library. Leaves: for each sender the allocations between two moments.
//!
//! Never: slows a run whose time is measured.

use std::fs;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// In the library: the file whose first eight bytes are the count.
const FILE: &str = "ALLOCATIONS_FILE";

/// The library, built.
pub(super) struct Counter {
    library: PathBuf,
}

impl Counter {
    /// Builds it in this folder; `None` where there is no C compiler.
    pub(super) fn build(folder: &Path) -> Result<Option<Self>> {
        let (source, library) = (folder.join("bench-allocations.c"), folder.join("bench-allocations.so"));
        fs::write(&source, include_str!("allocations.c"))?;
        match Command::new("cc").args(["-O2", "-shared", "-fPIC", "-o"]).args([&library, &source]).status() {
            Ok(status) if status.success() => Ok(Some(Counter { library })),
            Ok(status) => Err(Error::other(format!("cc ended with {status}"))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lets what this command starts be counted, in a file of its own beside the library.
    pub(super) fn attach(&self, command: &mut Command, load: &str, who: &str) -> Result<Count> {
        let who = who.replace('/', "_");
        let file = self.library.with_file_name(format!("bench-allocations.{load}.{who}"));
        fs::write(&file, 0_u64.to_ne_bytes())?;
        command.env("LD_PRELOAD", &self.library).env(FILE, &file);
        Ok(Count { file })
    }
}

/// The count of one sender.
pub(super) struct Count {
    file: PathBuf,
}

impl Count {
    /// How many there were so far.
    pub(super) fn read(&self) -> Result<f64> {
        let bytes = fs::read(&self.file)?;
        let first = bytes.first_chunk().ok_or_else(|| Error::other("the count of allocations is gone"))?;
        Ok(u64::from_ne_bytes(*first) as f64)
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        // It lies in the folder of a build: one that stays does no harm.
        let _ = fs::remove_file(&self.file);
    }
}
