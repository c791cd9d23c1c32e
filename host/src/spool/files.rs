//! How the spool makes and opens what lies in its directory.
//!
//! Enters: a path in the directory, and how it is to be opened. Leaves: a regular file. What is made is for this user
//! alone, since it holds samples; the mode of what is there already is whoever's made it.
//!
//! Never: follows a link in the directory, which could lead a write anywhere; waits for a pipe that lies there.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// Makes the directory, and those above it, where they are missing.
pub(super) fn make_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Opens a file of the directory.
pub(super) fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    // These bits lie far below the sign.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let file = options.mode(0o600).custom_flags(flags).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("not a regular file")),
    }
}
