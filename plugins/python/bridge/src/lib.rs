//! The part of the Python plugin that is written against Python. It is opened by `libmonitor_python.so` once a libpython is
//! there, and links with none.
//!
//! Enters: the plugin's calls, by the table. Leaves: a module that runs, between objects that behave as Python's own
//! queues and events. A panic ends here and becomes the call's failure.

#![allow(unsafe_code, reason = "the table is C's, and objects travel through it as pointers")]

mod arguments;
mod ending;
mod event;
mod host;
mod interpreter;
mod json;
mod module;
mod queues;

use std::panic::{AssertUnwindSafe, catch_unwind};

use monitor_python_table::{Answer, Bridge, Bytes, Host, Item, Module as Name, Run, VERSION};
use pyo3::prelude::*;

use host::Kept;
use module::Module;

/// The table.
static BRIDGE: Bridge = Bridge { version: VERSION, load, work, unload, drop_item };

/// Tells the table.
// SAFETY: the name is no other library's.
#[unsafe(no_mangle)]
pub extern "C" fn monitor_python_bridge() -> *const Bridge {
    &raw const BRIDGE
}

extern "C" fn load(host: &'static Host, run: Run, path: Bytes<'_>, answer: Answer) -> Name {
    host::connect(host);
    let loaded = guarded(|| Module::load(Kept::new(host, run), &path.text()));
    match loaded {
        Ok(module) => Name(Box::into_raw(Box::new(module)).cast()),
        Err(why) => {
            answer.say(&why);
            Name(std::ptr::null_mut())
        }
    }
}

extern "C" fn work(module: Name, worker: i32, scrape_interval_s: f64, answer: Answer) -> bool {
    // SAFETY: `load` made it, and the plugin unloads it when both workers have ended.
    let module = unsafe { &*module.0.cast::<Module>() };
    let ended = guarded(|| module.work(worker, scrape_interval_s));
    ended.inspect_err(|why| answer.say(why)).is_ok()
}

extern "C" fn unload(module: Name) {
    // SAFETY: `load` made it with `Box::into_raw`, and nobody calls with it any more.
    let module = unsafe { Box::from_raw(module.0.cast::<Module>()) };
    let _ = guarded(|| {
        drop(module);
        Ok(())
    });
}

/// Needs no lock: without it, Python takes the reference back when a thread has it next.
extern "C" fn drop_item(item: Item) {
    let _ = guarded(|| {
        drop(object(item));
        Ok(())
    });
}

/// The object of an item, whose reference the item owned.
fn object(item: Item) -> Py<PyAny> {
    // SAFETY: `Kept::put` made it with `Py::into_ptr`, which gave up its reference; a `Py` is that pointer and nothing else
    // (it is `repr(transparent)`), and unlike the way back that takes the lock, this one needs none.
    unsafe { std::mem::transmute::<*mut std::ffi::c_void, Py<PyAny>>(item.0) }
}

fn guarded<R>(run: impl FnOnce() -> Result<R, String>) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
        std::mem::forget(payload);
        Err(format!("the bridge panicked: {text}: this is a defect of the Python plugin, please report it"))
    })
}
