//! What is the bridge's own, beside what modules send: what it needs, its lock, its queue's books, and how a run ends.
//!
//! Enters: modules that are written here. Leaves: judgements. Never: compares with plain CPython; `table` does that.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use signal_hook::consts::SIGTERM;
use tempfile::TempDir;

use super::cpython::CPython;
use crate::faults::{LONG, NOWHERE, books, lines, raw, stop, wait_for_text};
use crate::host::{Host, Running};
use crate::plugins;
use crate::receivers::fetch::run;
use crate::sink::Sink;

/// Reads until it is stopped, and hands everything on. Stamped when it is read: on a starved machine two may arrive at once.
const GOOD: &str = "
import time


def get_power(output_queue, scrape_interval_s, stop_event):
    number = 0
    while not stop_event.is_set():
        number += 1
        output_queue.put({'metric': 'number', 'value': number, 'timestamp_ms': time.time() * 1000})
        stop_event.wait(scrape_interval_s)


def process_data(input_queue, output_queue, stop_event):
    while True:
        output_queue.put(input_queue.get())
";

/// A folder with this module in it, and a host that runs it.
fn of_module(python: &CPython, text: &str, url: &str) -> (TempDir, Host) {
    let folder = tempfile::tempdir().unwrap();
    let module = folder.path().join("monitor_impl.py");
    fs::write(&module, text).unwrap();
    let host = super::host(python, &module).env("REMOTE_WRITE_URL", url);
    (folder, host.env("SCRAPE_INTERVAL_S", "0.02").env("PUSH_INTERVAL_S", "0.2"))
}

/// The value of the newest sample of this metric, once there is one.
#[track_caller]
fn value(sink: &Sink, metric: &str) -> f64 {
    sink.wait_for(LONG, metric, |samples| samples.iter().any(|sample| sample.metric == metric));
    sink.samples().iter().rfind(|sample| sample.metric == metric).unwrap().value
}

/// The plugin alone in a folder, with these files beside it.
fn plugin_with(beside: &[(&str, &Path)]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("libmonitor_impl.so");
    fs::copy(plugins::so("monitor-python"), &plugin).unwrap();
    for (name, file) in beside {
        fs::copy(file, folder.path().join(name)).unwrap();
    }
    (folder, plugin)
}

#[track_caller]
fn assert_refused(host: Host, says: &[&str]) {
    let host = host.env("REMOTE_WRITE_URL", NOWHERE).spawn();
    assert_eq!(host.wait(LONG).code(), Some(3), "{}", host.log_text());
    let errors = lines(&host, "ERROR");
    assert_eq!(errors.len(), 1, "{}", host.log_text());
    for part in says {
        assert!(errors[0].message().contains(part), "{part}: {}", errors[0].message());
    }
}

#[test]
fn what_is_missing_is_told_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let module = folder.path().join("sensor.py");
    fs::write(&module, GOOD).unwrap();
    let (_alone, plugin) = plugin_with(&[]);
    let host = |plugin: &Path| Host::new().env("MONITOR_IMPL_PATH", plugin);
    let with_module = |plugin: &Path| host(plugin).env("MONITOR_IMPL_PY", &module);

    assert_refused(host(&plugin), &["monitor_impl.py: No such file", "put a monitor_impl.py beside the plugin"]);
    assert_refused(host(&plugin).env("MONITOR_IMPL_PY", folder.path()), &["this is no file", "MONITOR_IMPL_PY"]);
    let nowhere = with_module(&plugin).env("PYTHON_LIBRARY", "/nonexistent/libpython3.11.so");
    assert_refused(
        nowhere,
        &["no Python: PYTHON_LIBRARY=/nonexistent/libpython3.11.so: ", "cannot open shared object"],
    );
    let another = with_module(&plugin).env("PYTHON_LIBRARY", "libc.so.6");
    assert_refused(another, &["PYTHON_LIBRARY=libc.so.6: this is no Python"]);

    // A library that says what a Python says of itself, and has nothing else.
    let pretends = |version: &str| {
        let (source, library) = (folder.path().join("python.rs"), folder.path().join("libpython.so"));
        let text = format!(
            "#[unsafe(no_mangle)] pub extern \"C\" fn Py_GetVersion() -> *const std::ffi::c_char {{ c\"{version}\".as_ptr() }}"
        );
        fs::write(&source, text).unwrap();
        let arguments = ["--edition=2024", "--crate-type=cdylib", "-Cpanic=abort", "-o"];
        run(Command::new("rustc").args(arguments).arg(&library).arg(&source)).unwrap();
        library
    };
    let old = with_module(&plugin).env("PYTHON_LIBRARY", pretends("3.9.2 (default, Mar 20 2025) [GCC 10.2.1]"));
    assert_refused(old, &["libpython.so is Python 3.9.2: 3.11 or newer is needed"]);
    let threaded = with_module(&plugin).env("PYTHON_LIBRARY", pretends("3.14.0 free-threading build (main)"));
    assert_refused(threaded, &["libpython.so is a free-threaded build of Python 3.14.0: name an ordinary one"]);

    let python = pretends("3.11.2 (main, Nov 30 2024)");
    let without = with_module(&plugin).env("PYTHON_LIBRARY", &python);
    assert_refused(without, &["libmonitor_python_bridge.so is missing", "copy both of them, from one build"]);
    let (_wrong, plugin) = plugin_with(&[("libmonitor_python_bridge.so", &python)]);
    let wrong = with_module(&plugin).env("PYTHON_LIBRARY", &python);
    assert_refused(wrong, &["libmonitor_python_bridge.so is another library"]);
    // Its symbols are not there, and it does not come to a crash.
    let (_whole, plugin) = plugin_with(&[("libmonitor_python_bridge.so", plugins::so("monitor-python-bridge"))]);
    let empty = with_module(&plugin).env("PYTHON_LIBRARY", &python);
    assert_refused(empty, &["libmonitor_python_bridge.so can't be opened", "undefined symbol: "]);
}

#[test]
fn a_python_without_its_library_is_told() {
    let Some(python) = CPython::get() else { return };
    for isolation in ["off", "process"] {
        let (_folder, host) = of_module(&python, GOOD, NOWHERE);
        let host = host.env("PYTHONHOME", "/nonexistent").env("PLUGIN_ISOLATION", isolation).spawn();
        assert_eq!(host.wait(LONG).code(), Some(3), "{}", host.log_text());
        assert!(
            host.log_text().contains("Python can't start: what it says of that stands above"),
            "{}",
            host.log_text()
        );
    }
}

#[test]
fn the_module_lies_beside_the_plugin_by_default() {
    let Some(python) = CPython::get() else { return };
    let sink = Sink::start();
    let (folder, plugin) = plugin_with(&[("libmonitor_python_bridge.so", plugins::so("monitor-python-bridge"))]);
    fs::write(folder.path().join("monitor_impl.py"), GOOD).unwrap();
    let host = super::host(&python, Path::new("")).env("MONITOR_IMPL_PATH", plugin).env("PUSH_INTERVAL_S", "0.2");
    let host = host.env("REMOTE_WRITE_URL", sink.url()).spawn();
    value(&sink, "number");
    let ledger = stop(&host);
    assert_eq!((ledger.dropped, ledger.refused_sends, raw(&host, "raw_refused")), (0, 0, 0), "{ledger:?}");
}

/// While one thread waits, another one counts.
const WAITS: &str = "
import queue, threading, time

beats = 0


def beat():
    global beats
    while True:
        time.sleep(0.001)
        beats += 1


def during(wait):
    before = beats
    try:
        wait()
    except (queue.Full, queue.Empty):
        return beats - before
    return beats - before


def get_power(output_queue, scrape_interval_s, stop_event):
    threading.Thread(target=beat, daemon=True).start()
    output_queue.put(('event', during(lambda: stop_event.wait(0.5))))
    begun = threading.Event()
    for number in range(output_queue.maxsize):
        output_queue.put(('fills', number))
    refused.append(during(lambda: output_queue.put(('too_many', 0), timeout=0.5)))
    filled.set()
    stop_event.wait()


refused, filled = [], threading.Event()


def process_data(input_queue, output_queue, stop_event):
    name, value = input_queue.get()
    output_queue.put({'metric': name, 'value': value})
    filled.wait()
    for _ in range(input_queue.maxsize):
        input_queue.get()
    output_queue.put({'metric': 'put', 'value': refused[0]})
    output_queue.put({'metric': 'get', 'value': during(lambda: input_queue.get(timeout=0.5))})
    output_queue.put({'metric': 'last', 'value': 1})
    stop_event.wait()
";

#[test]
fn the_lock_is_given_away_in_every_wait() {
    let Some(python) = CPython::get() else { return };
    let sink = Sink::start();
    let (_folder, host) = of_module(&python, WAITS, sink.url());
    let host = host.env("RAW_QUEUE_SIZE", "5").spawn();
    value(&sink, "last");
    for metric in ["event", "put", "get"] {
        let beats = value(&sink, metric);
        // 500 on a machine that has nothing else to do; one, when the lock is held.
        assert!((20.0..=510.0).contains(&beats), "{metric}: {beats}");
    }
    stop(&host);
    // Of the queue's places none was lost or won: five were put, and one was refused and counted.
    assert_eq!((raw(&host, "raw_sent"), raw(&host, "raw_received"), raw(&host, "raw_refused")), (6, 6, 1));
}

/// Nothing that was handed over lives longer than it is needed, wherever it was refused.
const LIVES: &str = "
import queue

alive = 0


class Reading:
    def __init__(self, number):
        global alive
        alive += 1
        self.number = number

    def __del__(self):
        global alive
        alive -= 1


def get_power(output_queue, scrape_interval_s, stop_event):
    refused = 0
    for number in range(20000):
        try:
            output_queue.put(Reading(number), timeout=0.0001 if number % 7 else None)
        except queue.Full:
            refused += 1
    output_queue.put(None)
    stop_event.wait()


def process_data(input_queue, output_queue, stop_event):
    for reading in iter(input_queue.get, None):
        if reading.number % 100 == 0:
            output_queue.put([{'metric': 'reading', 'value': reading.number, 'labels': {'a': 'b'}}, reading])
    reading = None
    output_queue.put({'metric': 'alive', 'value': alive})
    stop_event.wait()
";

#[test]
fn nothing_lives_longer_than_it_is_needed() {
    let Some(python) = CPython::get() else { return };
    let sink = Sink::start();
    let (_folder, host) = of_module(&python, LIVES, sink.url());
    let host = host.env("RAW_QUEUE_SIZE", "3").spawn();
    assert_eq!(value(&sink, "alive"), 0.0);
    host.signal(SIGTERM);
    assert_eq!(host.wait(LONG).code(), Some(0), "{}", host.log_text());
    let (sent, received, refused) = (raw(&host, "raw_sent"), raw(&host, "raw_received"), raw(&host, "raw_refused"));
    assert_eq!((sent, sent + refused), (received, 20001), "{}", host.log_text());
}

/// Small in memory, and without an end as text.
const HOLDS_ITSELF: &str = "
def get_power(output_queue, scrape_interval_s, stop_event):
    holds = ['x' * (1 << 20)]
    holds += [holds, holds]
    shared = {'text': 'x' * (1 << 20)}
    for _ in range(100):
        shared = {'a': shared, 'b': shared}
    for what in (holds, shared):
        output_queue.put({'metric': 'number', 'value': 1, 'what': what})
    output_queue.put({'metric': 'last', 'value': 1})
    stop_event.wait()


def process_data(input_queue, output_queue, stop_event):
    while True:
        output_queue.put(input_queue.get())
";

#[test]
fn an_object_without_an_end_is_dropped_and_counted() {
    let Some(python) = CPython::get() else { return };
    let sink = Sink::start();
    let (_folder, host) = of_module(&python, HOLDS_ITSELF, sink.url());
    let host = host.spawn();
    value(&sink, "last");
    let ledger = stop(&host);
    assert_eq!((ledger.dropped, ledger.dropped_as("document_too_large")), (2, 2), "{ledger:?}");
}

/// Both queues' waits without an end, and who ended first.
const WAITS_FOR_EVER: &str = "
def get_power(output_queue, scrape_interval_s, stop_event):
    try:
        while True:
            output_queue.put({'metric': 'number', 'value': 1})
    finally:
        print('get_power is over', flush=True)


def process_data(input_queue, output_queue, stop_event):
    for _ in range(10):
        output_queue.put(input_queue.get())
";

#[test]
fn a_put_ends_when_nobody_takes_and_the_cause_is_named() {
    let Some(python) = CPython::get() else { return };
    let (_folder, host) = of_module(&python, WAITS_FOR_EVER, NOWHERE);
    let host = host.env("RAW_QUEUE_SIZE", "2").env("SHUTDOWN_TIMEOUT_S", "30").spawn();
    assert_eq!(host.wait(LONG).code(), Some(1), "{}", host.log_text());
    let errors = lines(&host, "ERROR");
    assert_eq!(errors.len(), 1, "{}", host.log_text());
    assert_eq!(
        (errors[0].field("worker"), errors[0].message()),
        ("process_data", "the worker ended by itself, which ends the run")
    );
    wait_for_text(&host, "get_power is over");
}

/// Threads that compute with the lock and without it, in Python and in a library that waits for its own workers when it is
/// taken down; one that is no daemon; and one that waits in a read of a C stream, whose lock it holds.
const BUSY: &str = "
import atexit, ctypes, os, signal, threading
import numpy

signal.signal(signal.SIGTERM, signal.SIG_IGN)
atexit.register(lambda: print('atexit ran'))


def multiply():
    matrix = numpy.ones((300, 300))
    while True:
        matrix @ matrix


def count():
    number = 0
    while True:
        number += 1


def read():
    libc = ctypes.CDLL(None)
    libc.fdopen.restype = ctypes.c_void_p
    libc.fgetc(ctypes.c_void_p(libc.fdopen(never[0], b'r')))


never = os.pipe()
for target in (multiply, multiply, count, read):
    threading.Thread(target=target, daemon=True).start()
threading.Thread(target=count).start()


def get_power(output_queue, scrape_interval_s, stop_event):
    while not stop_event.wait(scrape_interval_s):
        output_queue.put({'metric': 'number', 'value': numpy.float32(1)})


def process_data(input_queue, output_queue, stop_event):
    while True:
        output_queue.put(input_queue.get())
";

#[test]
fn threads_of_the_modules_own_hold_no_end_up() {
    let Some(python) = CPython::get() else { return };
    let sink = Sink::start();
    for isolation in ["off", "process"] {
        let (_folder, host) = of_module(&python, BUSY, sink.url());
        let seen = sink.samples().len();
        let host = host.env("PLUGIN_ISOLATION", isolation).spawn();
        sink.wait_samples(seen + 1, LONG);
        stop(&host);
        let text = host.log_text();
        assert!(text.contains("atexit ran"), "{text}");
        assert!(text.contains("is left out: the host handles signals"), "{text}");
    }
}

/// Fails in the way that a file beside it asks for, once.
const FAILS_ONCE: &str = "
import ctypes, os, pathlib

marker = pathlib.Path(__file__).with_name('failed')
started = []


def get_power(output_queue, scrape_interval_s, stop_event):
    started.append(1)
    output_queue.put({'metric': 'number', 'value': len(started)})
    if not marker.exists():
        marker.touch()
        stop_event.wait(0.3)
        if os.environ['FAILURE'] == 'crash':
            ctypes.string_at(0)
        raise OSError('the sensor has gone')
    output_queue.put({'metric': 'again', 'value': len(started)})
    stop_event.wait()


def process_data(input_queue, output_queue, stop_event):
    while True:
        output_queue.put(input_queue.get())
";

#[test]
fn a_module_that_failed_is_loaded_anew() {
    let Some(python) = CPython::get() else { return };
    for (isolation, failure, says) in [
        ("off", "exception", "OSError: the sensor has gone"),
        ("process", "exception", "OSError: the sensor has gone"),
        ("process", "crash", "SIGSEGV"),
    ] {
        let sink = Sink::start();
        let (_folder, host) = of_module(&python, FAILS_ONCE, sink.url());
        let host = host.env("PLUGIN_ISOLATION", isolation).env("PLUGIN_RESTART", "on-failure");
        let host = host.env("FAILURE", failure).spawn();
        wait_for_text(&host, says);
        assert_eq!(value(&sink, "again"), 1.0, "nothing is left of the first one");
        stop(&host);
    }
}

/// At a quarter of it a process_data that heard nothing is asked again: whoever has heard is done before, on a starved
/// machine as well.
const SHUTDOWN_TIMEOUT_S: &str = "60";
const HEARD_WITHIN: Duration = Duration::from_secs(14);

/// The report of a check of this module.
#[track_caller]
fn checked(python: &CPython, text: &str, status: i32) -> Value {
    let (_folder, host) = of_module(python, text, NOWHERE);
    let host = host.env("SHUTDOWN_TIMEOUT_S", SHUTDOWN_TIMEOUT_S);
    let running: Running = host.arg("check").arg("--json").arg("--seconds").arg("1").spawn();
    assert_eq!(running.wait(LONG).code(), Some(status), "{}\n{:?}", running.log_text(), running.output());
    serde_json::from_str(&running.output().join("\n")).unwrap()
}

#[test]
fn a_check_judges_modules() {
    let Some(python) = CPython::get() else { return };
    let report = checked(&python, GOOD, 0);
    assert_eq!((&report["verdict"], &report["run"]["threads"]["leaked"]), (&"ok".into(), &Value::Array(vec![])));
    for worker in ["get_power", "process_data"] {
        let took = report["run"]["workers"][worker]["stop_s"].as_f64().unwrap();
        assert!(took < HEARD_WITHIN.as_secs_f64(), "{worker}: {report:#}");
    }
    // A library's own threads, and a module's, are no fault of it.
    let leaves = format!("import threading\nthreading.Thread(target=threading.Event().wait).start()\n{GOOD}");
    assert!(checked(&python, &leaves, 0)["hints"].to_string().contains("threads_stay"));
    let fails = GOOD.replace("output_queue.put(input_queue.get())", "output_queue.put(1 / len(input_queue.get()[:0]))");
    for (text, kind, says) in [
        (fails, "failed", "process_data failed, which ends a run: TypeError: unhashable type: 'slice' ("),
        (GOOD.replace("stop_event.wait(", "return ("), "returned", "get_power ended by itself"),
        (GOOD.replace("'value': number", "'value': None"), "dropped", "value_not_a_number"),
        (GOOD.replace("def process_data", "def process"), "", "monitor_impl.py has no function process_data"),
    ] {
        let report = checked(&python, &text, if kind.is_empty() { 3 } else { 1 });
        let problem = &report["problems"][0];
        let said = if kind.is_empty() { report.to_string() } else { problem["what"].to_string() };
        assert!(said.contains(says) && (kind.is_empty() || problem["kind"] == kind), "{report:#}");
    }
}

#[test]
fn a_stop_is_heard_at_once() {
    let Some(python) = CPython::get() else { return };
    let sink = Sink::start();
    // Waits far longer than the test does, everywhere.
    let waits = GOOD.replace("stop_event.wait(scrape_interval_s)", "stop_event.wait(3600)");
    for text in [waits.clone(), waits.replace("input_queue.get()", "input_queue.get(timeout=3600)")] {
        let catches = text.replace(
            "    while True:\n        output_queue",
            "    while not stop_event.is_set():\n        output_queue",
        );
        let (_folder, host) = of_module(&python, &catches, sink.url());
        let seen = sink.samples().len();
        let host = host.env("SHUTDOWN_TIMEOUT_S", SHUTDOWN_TIMEOUT_S).spawn();
        sink.wait_samples(seen + 1, LONG);
        let asked = Instant::now();
        host.signal(SIGTERM);
        host.wait(LONG);
        assert!(asked.elapsed() < HEARD_WITHIN, "{:?}\n{}", asked.elapsed(), host.log_text());
        books(&host);
    }
}
