//! A value that is read from files, and read again when they change.
//!
//! Enters: paths, and how to make a value of what the files hold. Leaves: the value of the moment. Whether a file has
//! changed is seen by its metadata, so that looking costs one system call. Never shows what a file holds.

use std::fmt;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::log::Limit;

/// More than any of these files needs; the system's own bundle of authorities is a quarter of it.
const MAX_BYTES: u64 = 1 << 20;

/// A file that stays unreadable is told this often.
const TOLD_EVERY: Duration = Duration::from_secs(600);

/// A file and where it was named.
#[derive(Clone, Debug)]
pub(super) struct File {
    /// The variable that names it.
    pub(super) variable: &'static str,
    /// Where it lies.
    pub(super) path: PathBuf,
    /// What it should hold; ends a sentence that begins with "give a file with".
    pub(super) wanted: &'static str,
}

/// A value, or which of the files is wrong and why.
pub(super) type Parsed<T> = Result<T, (usize, &'static str)>;

type Parse<T> = dyn Fn(&[Vec<u8>]) -> Parsed<T> + Send + Sync;

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// A value and the files that it comes from, if it comes from files.
#[derive(Clone)]
pub(super) struct Watched<T> {
    value: T,
    files: Vec<File>,
    stamps: Vec<Stamp>,
    parse: Option<Arc<Parse<T>>>,
    limit: Limit,
}

impl<T> Watched<T> {
    /// A value that never changes.
    pub(super) fn fixed(value: T) -> Self {
        Watched { value, files: Vec::new(), stamps: Vec::new(), parse: None, limit: Limit::new(TOLD_EVERY) }
    }

    /// A value that `parse` makes of the files' contents, which it gets in the files' order.
    ///
    /// # Errors
    /// A line that names the file that is wrong.
    pub(super) fn open(
        files: Vec<File>,
        parse: impl Fn(&[Vec<u8>]) -> Parsed<T> + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let (stamps, value) = load(&files, &parse)?;
        let parse: Option<Arc<Parse<T>>> = Some(Arc::new(parse));
        Ok(Watched { files, stamps, parse, ..Watched::fixed(value) })
    }

    /// The last good value.
    pub(super) fn value(&self) -> &T {
        &self.value
    }

    /// Reads the files again if one of them has changed. Returns whether the value is a new one.
    pub(super) fn refresh(&mut self, now: Instant) -> bool {
        let Some(parse) = &self.parse else {
            return false;
        };
        let unchanged = |(file, seen): (&File, &Stamp)| stamp(&file.path).is_ok_and(|stamp| stamp == *seen);
        if self.files.iter().zip(&self.stamps).all(unchanged) {
            return false;
        }
        match load(&self.files, parse.as_ref()) {
            Ok((stamps, value)) => {
                (self.stamps, self.value, self.limit) = (stamps, value, Limit::new(TOLD_EVERY));
                let variables: Vec<&str> = self.files.iter().map(|file| file.variable).collect();
                tracing::info!("read again, because it has changed: {}", variables.join(", "));
                true
            }
            Err(wrong) => {
                if let Some(suppressed) = self.limit.allow(now) {
                    tracing::warn!(suppressed, "{wrong}; what it held before stays in use");
                }
                false
            }
        }
    }
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("files", &self.files).finish_non_exhaustive()
    }
}

fn load<T>(files: &[File], parse: &Parse<T>) -> Result<(Vec<Stamp>, T), String> {
    let mut stamps = Vec::new();
    let mut contents = Vec::new();
    for file in files {
        // The stamp comes first: what changes after it is seen the next time.
        let content = stamp(&file.path).and_then(|stamp| {
            stamps.push(stamp);
            read(&file.path)
        });
        contents.push(content.map_err(|error| line(file, &format!("can't be read ({error})")))?);
    }
    let value = parse(&contents).map_err(|(i, wrong)| line(&files[i], wrong))?;
    Ok((stamps, value))
}

fn line(file: &File, wrong: &str) -> String {
    format!("{}={:?}: {wrong}; give a file with {}", file.variable, file.path, file.wanted)
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let data = std::fs::metadata(path)?;
    // Opening a pipe would wait for its writer.
    if !data.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(Stamp {
        device: data.dev(),
        inode: data.ino(),
        size: data.size(),
        modified: (data.mtime(), data.mtime_nsec()),
        changed: (data.ctime(), data.ctime_nsec()),
    })
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    std::fs::File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("larger than 1 MiB"));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn watch(path: &Path) -> Result<Watched<String>, String> {
        let file = File { variable: "TOKEN_FILE", path: path.to_owned(), wanted: "a token" };
        Watched::open(vec![file], |contents| match contents[0].as_slice() {
            b"" => Err((0, "empty")),
            content => Ok(String::from_utf8_lossy(content).into_owned()),
        })
    }

    #[test]
    fn a_value_follows_its_file_and_outlives_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let start = Instant::now();
        let error = watch(&path).unwrap_err();
        assert!(error.starts_with("TOKEN_FILE=\"") && error.ends_with("; give a file with a token"), "{error}");

        fs::write(&path, "one").unwrap();
        let mut watched = watch(&path).unwrap();
        assert!(!watched.refresh(start));
        // Another file of the same size in its place, as secrets are rotated.
        fs::write(dir.path().join("new"), "two").unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        assert!(watched.refresh(start));
        assert_eq!((watched.refresh(start), watched.value().as_str()), (false, "two"));

        fs::write(&path, "").unwrap();
        assert_eq!((watched.refresh(start), watched.value().as_str()), (false, "two"));
        fs::remove_file(&path).unwrap();
        assert_eq!((watched.refresh(start), watched.value().as_str()), (false, "two"));
        // Told once.
        assert_eq!(watched.limit.allow(start + TOLD_EVERY), Some(1));
        fs::write(&path, "three").unwrap();
        assert_eq!((watched.refresh(start), watched.value().as_str()), (true, "three"));
        // A new fault is told at once.
        assert_eq!(watched.limit.allow(start), Some(0));
    }

    #[test]
    fn what_is_no_file_or_too_large_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(watch(dir.path()).unwrap_err().contains("not a regular file"));
        assert!(watch(Path::new("/dev/zero")).unwrap_err().contains("not a regular file"));
        let path = dir.path().join("large");
        fs::write(&path, vec![b'x'; MAX_BYTES as usize + 1]).unwrap();
        assert!(watch(&path).unwrap_err().contains("larger than 1 MiB"));
    }

    #[test]
    fn a_value_is_not_shown() {
        let shown = format!("{:?}", Watched::fixed("pw"));
        assert!(!shown.contains("pw"), "{shown}");
    }
}
