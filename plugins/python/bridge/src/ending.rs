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
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::host;

/// The interpreter is being started: one that can't ends the process.
pub(crate) static STARTING: AtomicBool = AtomicBool::new(false);

/// How long the end waits for what C's streams hold to be written.
const FLUSHED_WITHIN: Duration = Duration::from_millis(500);

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
    flush();
    // SAFETY: ends the process; nothing of it runs any more.
    unsafe { libc::_exit(status) }
}

/// Writes what C's streams hold, as `exit` would do next. A thread that waits in a read holds its stream's lock, perhaps for
/// ever: a thread of its own waits for that, and this one goes on.
fn flush() {
    static FLUSHED: Mutex<bool> = Mutex::new(false);
    static CHANGED: Condvar = Condvar::new();
    let flush = || {
        // SAFETY: null names all streams; each is locked while it is written.
        unsafe { libc::fflush(std::ptr::null_mut()) };
        *FLUSHED.lock().unwrap_or_else(PoisonError::into_inner) = true;
        CHANGED.notify_one();
    };
    // Where there is no thread to be had, the end matters more than the text.
    if thread::Builder::new().spawn(flush).is_ok() {
        let flushed = FLUSHED.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = CHANGED.wait_timeout_while(flushed, FLUSHED_WITHIN, |flushed| !*flushed);
    }
}
