//! The end of the process, while threads of the module's own may still run: the interpreter is never ended, and neither are
//! the libraries that it opened.
//!
//! Enters: the exit status, when the host calls `exit`. Leaves: the process ends with it, before a library's destructor pulls
//! down what a thread is using: a numerical library that waits there for its workers, beside threads that still compute,
//! waits for ever.
//!
//! A Python that can't start calls `exit` itself; then that is told.
//!
//! Never: ends the process itself; cuts off what the host does before it calls `exit`.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::host;

/// The interpreter is being started: one that can't ends the process.
pub(crate) static STARTING: AtomicBool = AtomicBool::new(false);

/// The host's status for a plugin that can't be loaded.
const NO_PLUGIN: c_int = 3;

unsafe extern "C" {
    // Of the GNU C library: as `atexit`, but the function learns the status.
    fn on_exit(function: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
}

/// From now on the process ends as said above. To be called again when more libraries may have been opened: what was
/// registered last runs first.
pub(crate) fn register() {
    // SAFETY: the function is in a library that is never closed. Where there is no memory for it, the end is as it was.
    let _ = unsafe { on_exit(end, std::ptr::null_mut()) };
}

extern "C" fn end(mut status: c_int, _: *mut c_void) {
    if STARTING.load(Ordering::Relaxed) {
        let why = "Python can't start: what it says of that stands above; its standard library is to be installed where it looks \
                   (Debian: libpython3.11-stdlib), and PYTHONHOME and PYTHONPATH may be wrong";
        host::log(1, "python", why);
        status = NO_PLUGIN;
    }
    // SAFETY: what C's streams hold is written as `exit` would do next, and then nothing of this process runs any more.
    unsafe {
        libc::fflush(std::ptr::null_mut());
        libc::_exit(status)
    }
}
