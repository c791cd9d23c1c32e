//! What can go wrong with the spool, in words for whoever runs the host.

use std::io;
use std::path::{Path, PathBuf};

/// Why the spool could not do what it was asked. What it holds is as it was, and it may be asked again.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Somebody else has locked the directory. A process that is being started holds its parent's locks for a moment.
    #[error("the spool {} is in use by another process: give each process a SPOOL_DIR of its own", dir.display())]
    Held {
        /// SPOOL_DIR.
        dir: PathBuf,
    },
    /// The operating system said no.
    #[error("can't {action} {}: {error}{}", path.display(), advice(error))]
    Io {
        /// What was tried: `open`, `write` and the like.
        action: &'static str,
        /// The file or directory it was tried on.
        path: PathBuf,
        /// What came of it.
        error: io::Error,
    },
    /// The record alone exceeds the bound.
    #[error(
        "a batch takes {bytes} bytes, more than the spool may hold: raise SPOOL_MAX_BYTES or lower BATCH_MAX_BYTES"
    )]
    TooLarge {
        /// How many bytes it takes on disk.
        bytes: u64,
    },
}

impl SpoolError {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SpoolError {
        move |error| SpoolError::Io { action, path: path.to_owned(), error }
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; free space or lower SPOOL_MAX_BYTES",
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            "; SPOOL_DIR must be a directory that this user may write to"
        }
        _ => "",
    }
}
