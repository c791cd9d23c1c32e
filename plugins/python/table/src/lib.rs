//! What crosses between the two libraries of the Python plugin, in C's terms: the plugin (which knows no Python) offers a
//! [`Host`], the bridge (which is opened beside it once Python is there) a [`Bridge`].
//!
//! Enters and leaves: tables of functions, opaque pointers, bytes borrowed for one call. Never: a panic, each side catches
//! its own; a type of Rust's whose layout another compiler could choose otherwise.

#![allow(unsafe_code, reason = "this is the foreign interface: what came as a pointer is taken at its word here")]

use std::borrow::Cow;
use std::ffi::{CStr, c_void};
use std::marker::PhantomData;

/// Changes with anything in this crate. It is the first field of [`Bridge`], for ever.
pub const VERSION: u32 = 1;

/// The function that the bridge exports, a [`Entry`].
pub const ENTRY: &CStr = c"monitor_python_bridge";

/// What [`ENTRY`] names.
pub type Entry = extern "C" fn() -> *const Bridge;

/// A wait without an end.
pub const FOREVER: u64 = u64::MAX;

/// What a call that moves an item answers.
pub mod code {
    /// It was moved.
    pub const DONE: i32 = 0;
    /// There was no room, or nothing to take, until the timeout.
    pub const TIMED_OUT: i32 = 1;
    /// There will never be room, or anything to take, again: the run is over.
    pub const OVER: i32 = 2;
}

/// The two functions of a module.
pub mod worker {
    /// `get_power`
    pub const GET_POWER: i32 = 0;
    /// `process_data`
    pub const PROCESS_DATA: i32 = 1;
}

/// Bytes that are borrowed for one call.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a> {
    start: *const u8,
    length: usize,
    lifetime: PhantomData<&'a [u8]>,
}

impl<'a> Bytes<'a> {
    /// These bytes.
    pub fn of(bytes: &'a [u8]) -> Self {
        Bytes { start: bytes.as_ptr(), length: bytes.len(), lifetime: PhantomData }
    }

    /// The bytes.
    pub fn get(self) -> &'a [u8] {
        // SAFETY: only `of` makes one, from a slice that lives as long.
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }

    /// The bytes as text.
    pub fn text(self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.get())
    }
}

/// One instance of the plugin, as the bridge names it in its calls of [`Host`].
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run(pub *const c_void);

// SAFETY: it is a name; what it names is shared by threads.
unsafe impl Send for Run {}
// SAFETY: as above.
unsafe impl Sync for Run {}

/// A reference to a Python object on its way through the raw queue; whoever holds it owns it, and gives it to
/// [`Bridge::drop_item`] at last, if not to Python.
#[repr(transparent)]
#[derive(Debug)]
pub struct Item(pub *mut c_void);

// SAFETY: it is only handed on; the bridge looks at it with the interpreter's lock held, on any thread.
unsafe impl Send for Item {}
// SAFETY: as above.
unsafe impl Sync for Item {}

/// A module that is loaded, as the plugin names it in its calls of [`Bridge`]; null: there is none.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub struct Module(pub *mut c_void);

// SAFETY: it is a name; the bridge takes it on any thread, and on two at once.
unsafe impl Send for Module {}
// SAFETY: as above.
unsafe impl Sync for Module {}

/// Where a call puts what it has to say.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// A `String` of the plugin's.
    to: *mut c_void,
    say: extern "C" fn(*mut c_void, Bytes<'_>),
}

impl Answer {
    /// Runs `call` with an answer; what it returned, and what it said.
    pub fn of<R>(call: impl FnOnce(Answer) -> R) -> (R, String) {
        extern "C" fn say(to: *mut c_void, text: Bytes<'_>) {
            // SAFETY: `to` is the string of `of`, which waits for the call that was given it.
            unsafe { &mut *to.cast::<String>() }.push_str(&text.text());
        }
        let mut text = String::new();
        let returned = call(Answer { to: (&raw mut text).cast(), say });
        (returned, text)
    }

    /// Adds to what was said.
    pub fn say(self, text: &str) {
        (self.say)(self.to, Bytes::of(text.as_bytes()));
    }
}

/// What the plugin offers to the bridge. Each may be called from any thread; those with a timeout (in nanoseconds, or
/// [`FOREVER`]) and `log` may wait, and are not to be called with the interpreter's lock held.
#[repr(C)]
#[derive(Debug)]
pub struct Host {
    /// The highest level that the log shows: 1 (ERROR) to 5 (TRACE).
    pub log_level: extern "C" fn() -> i32,
    /// Writes into the log: a level, who says it, what is said.
    pub log: extern "C" fn(i32, Bytes<'_>, Bytes<'_>),
    /// One holder more of the run.
    pub keep: extern "C" fn(Run),
    /// One holder less.
    pub release: extern "C" fn(Run),
    /// Puts an item into the raw queue if there is room just now: a [`code`]. It is taken only with [`code::DONE`], and
    /// nothing is counted otherwise.
    pub try_put: extern "C" fn(Run, &Item) -> i32,
    /// Puts an item into the raw queue: a [`code`]. It is taken only with [`code::DONE`], and counted as refused otherwise.
    pub put: extern "C" fn(Run, &Item, u64) -> i32,
    /// Takes an item out of the raw queue if there is one just now: a [`code`].
    pub try_get: extern "C" fn(Run, &mut Item) -> i32,
    /// Takes an item out of the raw queue: a [`code`]. There is one only with [`code::DONE`].
    pub get: extern "C" fn(Run, &mut Item, u64) -> i32,
    /// How many items the raw queue holds.
    pub waiting: extern "C" fn(Run) -> u64,
    /// How many items the raw queue holds at most.
    pub capacity: extern "C" fn(Run) -> u64,
    /// How many items the host's own queue holds at most, as far as the plugin can know.
    pub output_capacity: extern "C" fn(Run) -> u64,
    /// Sends a JSON document: a [`code`].
    pub send: extern "C" fn(Run, Bytes<'_>, u64) -> i32,
    /// Whether a [`worker`] was asked to stop.
    pub is_stopped: extern "C" fn(Run, i32) -> bool,
    /// Waits until a [`worker`] is asked to stop; whether it was.
    pub wait_stopped: extern "C" fn(Run, i32, u64) -> bool,
    /// Asks both to stop.
    pub stop: extern "C" fn(Run),
}

/// What the bridge offers to the plugin.
#[repr(C)]
#[derive(Debug)]
pub struct Bridge {
    /// [`VERSION`]
    pub version: u32,
    /// Starts the interpreter unless it runs, and loads the module of this path; where there is none, the answer says why.
    pub load: extern "C" fn(&'static Host, Run, Bytes<'_>, Answer) -> Module,
    /// Runs a [`worker`] of the module until it ends, with this scrape interval in seconds; whether it ended well. Else
    /// the answer says why.
    pub work: extern "C" fn(Module, i32, f64, Answer) -> bool,
    /// The module is not wanted any more.
    pub unload: extern "C" fn(Module),
    /// The item is not wanted any more. Needs no lock, and never waits.
    pub drop_item: extern "C" fn(Item),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_what_was_said() {
        let (returned, said) = Answer::of(|answer| {
            answer.say("a");
            answer.say("é");
            7
        });
        assert_eq!((returned, said.as_str()), (7, "aé"));
        assert_eq!(Bytes::of(b"").get(), b"");
        assert_eq!(Bytes::of(b"x\xff").text(), "x\u{fffd}");
    }
}
