//! Finds Python, and opens it so that everything that is opened later finds its symbols: the bridge, and the C extensions
//! that a module imports.
//!
//! Enters: PYTHON_LIBRARY, or nothing. Leaves: the version that was opened, or one line that says what was looked for and
//! what to do. Never: closes the library; starts the interpreter.

#![allow(unsafe_code, reason = "opening a library, and calling what it exports, can't be checked by the compiler")]

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use monitor_plugin_api::Error;

/// The oldest minor version of Python 3 whose interface the bridge is built for.
const OLDEST: u32 = 11;

/// The newest one that is looked for; a newer one can be named in PYTHON_LIBRARY.
const NEWEST: u32 = 16;

/// What was opened.
#[derive(Debug)]
pub(crate) struct Python {
    /// `3.11.2`
    pub(crate) version: String,
    /// Where it lies.
    pub(crate) path: PathBuf,
}

/// Opens the library that PYTHON_LIBRARY names; if it names none, the oldest that will do which the system finds.
pub(crate) fn open(named: &str) -> Result<Python, Error> {
    if !named.is_empty() {
        return open_first(&[named.to_owned()], named);
    }
    let names: Vec<_> = (OLDEST..=NEWEST).map(|minor| format!("libpython3.{minor}.so.1.0")).collect();
    open_first(&names, named)
}

fn open_first(names: &[String], named: &str) -> Result<Python, Error> {
    let mut refused = Vec::new();
    for name in names {
        // SAFETY: a libpython has no constructors to speak of; what an operator names instead is trusted as a plugin is.
        match unsafe { Library::open(Some(name), RTLD_NOW | RTLD_GLOBAL) } {
            Ok(library) => return look_at(library, named),
            Err(error) => {
                refused.push(std::error::Error::source(&error).map_or(error.to_string(), ToString::to_string))
            }
        }
    }
    let first = refused.into_iter().next().unwrap_or_default();
    Err(Error::new(if named.is_empty() {
        format!(
            "no Python: none of {} was found ({first}); install Python 3.{OLDEST} or newer with its shared library \
             (Debian: apt-get install libpython3.{OLDEST}), or name the library in PYTHON_LIBRARY",
            names.join(", ")
        )
    } else {
        format!("no Python: PYTHON_LIBRARY={named}: {first}; name the shared library of Python 3.{OLDEST} or newer")
    }))
}

/// Whether it is a Python that will do. It stays open either way: it may have started threads.
fn look_at(library: Library, named: &str) -> Result<Python, Error> {
    let library = std::mem::ManuallyDrop::new(library);
    // SAFETY: `Py_GetVersion` has this type in every Python there is, and may be called before anything else.
    let get_version = unsafe { library.get::<extern "C" fn() -> *const c_char>(b"Py_GetVersion\0") };
    let get_version = get_version
        .map_err(|_| Error::new(format!("PYTHON_LIBRARY={named}: this is no Python: it has no Py_GetVersion")))?;
    // SAFETY: Python promises static text that ends with a NUL.
    let text = unsafe { CStr::from_ptr(get_version()) }.to_string_lossy().into_owned();
    let path = lies_at(*get_version as *const c_void).unwrap_or_else(|| PathBuf::from(named));
    let python = Python { version: text.split(' ').next().unwrap_or_default().to_owned(), path };
    let shown = python.path.display();
    let minor = minor_version(&text).ok_or_else(|| Error::new(format!("{shown}: of no known version: {text:?}")))?;
    if minor < OLDEST {
        return Err(Error::new(format!(
            "{shown} is Python {}: 3.{OLDEST} or newer is needed; install it, or name another library in PYTHON_LIBRARY",
            python.version
        )));
    }
    if text.contains("free-threading") {
        return Err(Error::new(format!(
            "{shown} is a free-threaded build of Python {}: name an ordinary one in PYTHON_LIBRARY",
            python.version
        )));
    }
    use_utf8(&library);
    if let Some(program) = program_beside(&python.path, minor) {
        set_program_name(&library, &program);
    }
    Ok(python)
}

/// The minor version in `3.11.2 (main, …)`.
fn minor_version(text: &str) -> Option<u32> {
    let minor = text.strip_prefix("3.")?;
    minor.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Python looks for its own modules beside its program, by default the first `python3` in PATH. That is right for a virtual
/// environment; else the program that belongs to the library is, as several Pythons may be installed.
fn program_beside(library: &Path, minor: u32) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let first = std::env::split_paths(&path).map(|dir| dir.join("python3")).find(|program| program.is_file());
    let is_virtual =
        |program: &Path| program.parent().and_then(Path::parent).is_some_and(|at| at.join("pyvenv.cfg").is_file());
    if first.is_some_and(|program| is_virtual(&program)) {
        return None;
    }
    let name = format!("bin/python3.{minor}");
    library.canonicalize().ok()?.ancestors().skip(1).map(|dir| dir.join(&name)).find(|program| program.is_file())
}

/// As `python3` does by itself where no locale is set, which is usual in a container: a program that embeds Python has to ask
/// for it, and without it texts and files would be ASCII.
fn use_utf8(library: &Library) {
    // SAFETY: the type that this variable has as long as it exists (later Pythons need no asking); it is read when the
    // interpreter starts.
    if let Ok(mode) = unsafe { library.get::<*mut c_int>(b"Py_UTF8Mode\0") } {
        // SAFETY: the address of that variable, which nobody else uses before the start.
        unsafe { **mode = 1 };
    }
}

fn set_program_name(library: &Library, program: &Path) {
    // SAFETY: the type that this function has as long as it exists; it may be called before the interpreter starts.
    let set = unsafe { library.get::<extern "C" fn(*const libc::wchar_t)>(b"Py_SetProgramName\0") };
    if let (Ok(set), Some(program)) = (set, program.to_str()) {
        let wide: Vec<libc::wchar_t> = program.chars().map(|c| c as libc::wchar_t).chain([0]).collect();
        // Python keeps the pointer.
        set(wide.leak().as_ptr());
    }
}

/// The file that an address of a function or a static was loaded from.
pub(crate) fn lies_at(address: *const c_void) -> Option<PathBuf> {
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: `info` is of the type that is filled, and zeroes are valid in all of its fields.
    let (found, info): (c_int, _) = unsafe { (libc::dladdr(address, info.as_mut_ptr()), info.assume_init()) };
    if found == 0 || info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: the loader's own text of a library that is never closed.
    let name = unsafe { CStr::from_ptr(info.dli_fname) };
    Some(PathBuf::from(OsStr::from_bytes(name.to_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(minor_version("3.11.2 (main, Nov 30 2024, 21:22:50) [GCC 12.2.0]"), Some(11));
        assert_eq!(minor_version("3.14.0rc1+ free-threading build (main)"), Some(14));
        assert_eq!(minor_version("3.9"), Some(9));
        for odd in ["2.7.18 (default)", "", "3.", "4.0"] {
            assert_eq!(minor_version(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_program_is_looked_for_above_the_library() {
        let root = tempfile::tempdir().unwrap();
        let make = |file: &str| {
            let file = root.path().join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, "").unwrap();
            file.canonicalize().unwrap()
        };
        let (library, program) = (make("usr/lib/triple/libpython3.11.so.1.0"), make("usr/bin/python3.11"));
        assert_eq!(program_beside(&library, 11), Some(program));
        assert_eq!(program_beside(&library, 77), None);
    }

    #[test]
    fn what_is_missing_is_named() {
        let names = ["libpython3.97.so.1.0", "libpython3.98.so.1.0"].map(str::to_owned);
        let error = open_first(&names, "").unwrap_err().to_string();
        let looked_for =
            "no Python: none of libpython3.97.so.1.0, libpython3.98.so.1.0 was found (libpython3.97.so.1.0: ";
        assert!(error.starts_with(looked_for), "{error}");
        assert!(error.contains("apt-get install libpython3.11") && error.contains("PYTHON_LIBRARY"), "{error}");
        let error = open("/nonexistent/libpython3.11.so").unwrap_err().to_string();
        assert!(error.starts_with("no Python: PYTHON_LIBRARY=/nonexistent/libpython3.11.so: "), "{error}");
        assert!(error.contains("cannot open shared object file"), "{error}");
        let error = open("libc.so.6").unwrap_err().to_string();
        assert_eq!(error, "PYTHON_LIBRARY=libc.so.6: this is no Python: it has no Py_GetVersion");
    }
}
