//! A look at the library's file before it is opened.
//!
//! Opening a library runs its constructors, and a damaged one kills the process: so what can be known from the file
//! is known first. Enters: a path. Leaves: the plugin's manifest, or one line that says what is wrong and what to do.
//!
//! Never: runs anything of the file; trusts a number in it; holds more of it than a few tables. The file can still change
//! before it is opened.

mod agree;
pub(super) mod elf;
mod glibc;
mod kind;
mod source;

use std::fs::{self, File};
use std::io;
use std::path::Path;

use monitor_plugin_api::API_VERSION;
use monitor_plugin_api::manifest::{self, Manifest};

use self::elf::Library;
use self::source::{OnDisk, Source};
use super::{LoadError, load};

/// Reads what the library at `path` says about itself.
///
/// # Errors
/// It can't be read, is no shared library for this machine, is cut short or damaged, is no plugin of this API's major
/// version, or needs a newer C library than the one that runs.
pub fn inspect(path: &Path) -> Result<Manifest, LoadError> {
    open(path).and_then(|file| inspect_source(&file)).map_err(|wrong| LoadError::new(path, wrong))
}

/// As [`inspect`], of a file with these bytes.
///
/// # Errors
/// As [`inspect`].
pub fn inspect_bytes(bytes: &[u8]) -> Result<Manifest, String> {
    inspect_source(bytes)
}

fn open(path: &Path) -> Result<OnDisk, String> {
    // Opening what is no file can wait for ever.
    let metadata = fs::metadata(path).map_err(|error| unreadable(&error))?;
    if !metadata.is_file() {
        let what = if metadata.is_dir() { "a directory" } else { "not a regular file" };
        return Err(format!("is {what}; name the library itself (MONITOR_IMPL_PATH, or the PATH of a check)"));
    }
    let file = File::open(path).map_err(|error| unreadable(&error))?;
    let size = file.metadata().map_err(|error| unreadable(&error))?.len();
    Ok(OnDisk { file, size })
}

fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            format!("can't be read: {error}; let the user that runs monitor-host read it and enter its folders")
        }
        _ => format!("can't be read: {error}; name the plugin's library (MONITOR_IMPL_PATH, or the PATH of a check)"),
    }
}

fn inspect_source<S: Source + ?Sized>(source: &S) -> Result<Manifest, String> {
    let beginning = source.bytes(0, source.size().min(512)).ok_or("can't be read")?;
    if !beginning.starts_with(&object::elf::ELFMAG) {
        let kind = kind::of(&beginning);
        return Err(format!("is not a shared library but {kind}; build the plugin with crate-type = [\"cdylib\"]"));
    }
    let library = Library::read(source)?;
    if library.exported(abi_stable::library::ROOT_MODULE_LOADER_NAME, 0).is_none() {
        return Err(
            "is a library but no plugin (it exports no plugin loader); export one with export_monitor_impl!".into()
        );
    }
    let manifest = library.exported(manifest::SYMBOL, manifest::MAX_BYTES as u64);
    let manifest = manifest.and_then(|bytes| Manifest::parse(&bytes)).ok_or(
        "exports a plugin loader but no readable manifest; build it again with this host's monitor-plugin-api, \
         and export the plugin with export_monitor_impl!",
    )?;
    check_version(&manifest.api)?;
    if let (Some(needed), Some(running)) = (glibc::needed(&library), load::glibc_version().and_then(glibc::parse)) {
        check_glibc(needed, running)?;
    }
    if cfg!(target_env = "gnu") && manifest.target.contains("-musl") {
        return Err(format!(
            "was built for {}, this host runs with GNU's C library; build it for the target that ends in -gnu",
            manifest.target
        ));
    }
    Ok(manifest)
}

fn check_version(theirs: &str) -> Result<(), String> {
    let major = |version: &str| version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    let built = format!("was built with monitor-plugin-api {theirs}, this host takes {API_VERSION}");
    match (major(theirs), major(API_VERSION)) {
        (Some(plugin), Some(host)) if plugin == host => Ok(()),
        (Some(plugin), Some(host)) if plugin < host => Err(format!(
            "{built} and others of that major version; rebuild the plugin with a monitor-plugin-api {host}.x, \
             or take an older image of the host"
        )),
        (Some(_), Some(host)) => Err(format!(
            "{built} and others of that major version; take a newer image of the host, \
             or rebuild the plugin with a monitor-plugin-api {host}.x"
        )),
        _ => Err(format!("{built}, and its version can't be understood; build the plugin again")),
    }
}

fn check_glibc(needed: glibc::Version, running: glibc::Version) -> Result<(), String> {
    if needed <= running {
        return Ok(());
    }
    Err(format!(
        "needs GLIBC {}.{}, this host runs with GLIBC {}.{}; build it in the sdk image, \
         or on a system that is no newer than the host's",
        needed.0, needed.1, running.0, running.1
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_cut_anywhere_is_an_error() {
        let whole = fs::read(std::env::current_exe().unwrap()).unwrap();
        for length in (4..whole.len()).step_by(whole.len() / 50) {
            assert!(inspect_bytes(&whole[..length]).is_err());
        }
        // The test program itself is whole, but a program.
        assert!(inspect_bytes(&whole).unwrap_err().contains("a program"));
        for (bytes, says) in [(&b"\x7fELF"[..], "cut short"), (b"\x7fELF\x01", "32-bit"), (b"", "an empty file")] {
            let error = inspect_bytes(bytes).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn paths_that_are_no_file_are_named() {
        for (path, says) in
            [("/nonexistent/x.so", "No such file"), ("/", "a directory"), ("/dev/null", "not a regular")]
        {
            let error = inspect(Path::new(path)).unwrap_err().to_string();
            assert!(error.starts_with(path) && error.contains(says), "{error}");
        }
        let denied = unreadable(&io::ErrorKind::PermissionDenied.into());
        assert!(denied.contains("permission denied") && denied.contains("the user that runs"), "{denied}");
    }

    #[test]
    fn another_major_version_is_refused_by_both_names() {
        for same in ["1.0.0", "1.7.3"] {
            assert_eq!(check_version(same), Ok(()));
        }
        for (other, says) in
            [("0.9.0", "an older image"), ("2.0.0", "a newer image"), ("x", "can't be understood"), ("", "build")]
        {
            let error = check_version(other).unwrap_err();
            assert!(error.contains(says) && error.contains(other) && error.contains(API_VERSION), "{error}");
        }
    }

    #[test]
    fn an_older_c_library_is_refused_by_both_names() {
        assert_eq!(check_glibc((2, 36), (2, 36)), Ok(()));
        assert_eq!(check_glibc((2, 9), (2, 36)), Ok(()));
        let error = check_glibc((2, 41), (2, 36)).unwrap_err();
        assert!(error.starts_with("needs GLIBC 2.41, this host runs with GLIBC 2.36;"), "{error}");
    }
}
