//! The modules of `modules/`, unchanged, under plain CPython and under the bridge: what is sent is the same.
//!
//! Enters: a file name and the host's variables. Leaves: what differs, for all rows at once. Never: knows what a module
//! sends; the reference says that, and `reference.py` is itself held against docs/records.md.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::cpython::CPython;
use super::row::{End, Row};
use crate::receivers::fetch::run;
use crate::sink::Sink;

/// So many rows at a time: they mostly wait.
const LANES: usize = 6;

const ISOLATED: &[(&str, &str)] = &[("PLUGIN_ISOLATION", "process")];

/// By the name of its module.
const ROWS: [Row; 39] = [
    // What may be handed over.
    Row::of("lists"),
    Row::of("numbers"),
    Row::of("numpy_values"),
    Row::of("texts"),
    Row::of("pyjoules_like"),
    Row::of("generated"),
    Row::of("generated").with(&[("SEED", "2")]),
    // What a module may do with the two queues and the event.
    Row::of("unpicklable"),
    Row::of("queue_api").with(&[("RAW_QUEUE_SIZE", "2")]),
    Row::of("event_api").with(&[("SCRAPE_INTERVAL_S", "0.25")]),
    Row::of("full_queue").with(&[("RAW_QUEUE_SIZE", "10")]),
    Row::of("many").with(&[("RAW_QUEUE_SIZE", "3"), ("PROC_QUEUE_SIZE", "7")]),
    Row::of("own_threads").shows(&["ValueError: a thread of its own may fail alone"]),
    Row::of("tools"),
    Row::of("children"),
    Row::of("beside"),
    Row::of("backlog"),
    // The same in a process of its own.
    Row::of("lists").with(ISOLATED),
    Row::of("numpy_values").with(ISOLATED),
    Row::of("backlog").with(ISOLATED),
    Row::of("children").with(ISOLATED),
    // What it may say.
    Row::of("logs").with(&[("LOG_LEVEL", "DEBUG")]),
    Row::of("prints").shows(&[
        "printed words 1.5",
        "printed unflushed and on",
        "printed to stderr",
        "written to stdout",
        "written to stderr: é 😀",
    ]),
    // How it may end.
    Row::of("sets_the_event"),
    Row::of("raises_while_reading").says(&[
        "SensorGone: hwmon3 does not answer: \u{fffd}",
        "monitor_impl.py:14 in read",
        "monitor_impl.py:20 in get_power",
        "KeyError: 'hwmon3'",
    ]),
    Row::of("raises_while_processing")
        .says(&["ValueError: could not convert string to float: '3 W'", "monitor_impl.py:12 in process_data"]),
    Row::of("returns_while_reading").says(&["get_power"]),
    Row::of("returns_while_processing").says(&["process_data"]),
    Row::of("exits_while_reading").says(&["get_power", "sys.exit()", "monitor_impl.py:7"]),
    Row::of("exits_while_processing").says(&["process_data", "sys.exit(7)", "monitor_impl.py:12"]),
    Row::of("exits_with_words").says(&["sys.exit('no sensor at /dev/hwmon3')", "monitor_impl.py:6 in open_sensor"]),
    Row::of("interrupts").says(&["KeyboardInterrupt"]),
    Row::of("sleeps").with(&[("SHUTDOWN_TIMEOUT_S", "1")]).ends(End::LeftBehind),
    Row::of("exits_with_words").with(ISOLATED).says(&["sys.exit('no sensor at /dev/hwmon3')", "monitor_impl.py:6"]),
    // Why it may not start.
    Row::of("syntax_error").says(&["monitor_impl.py:5", "SyntaxError: expected ':'"]),
    Row::of("missing_package").says(&["No module named 'sensors_that_nobody_has'", "monitor_impl.py:4"]),
    Row::of("missing_function").says(&["process_data"]),
    Row::of("raises_on_import").says(&["KeyError: 'SENSOR_LIMIT_W'", "monitor_impl.py:4"]),
    Row::of("exits_on_import").says(&["this machine has no sensor"]),
];

#[test]
fn each_module_sends_the_same_under_plain_python_and_under_the_bridge() {
    let Some(python) = CPython::get() else { return };
    let sink = Sink::start();
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(row) = ROWS.get(number) else { break };
                    let compared = catch_unwind(AssertUnwindSafe(|| row.compare(number, &python, &sink)));
                    if let Err(why) = compared.unwrap_or_else(|_| Err("it panicked, see above".to_owned())) {
                        failed.lock().unwrap().push(format!("{}: {why}", row.name));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} rows differ:\n\n{}", failed.len(), failed.join("\n\n"));
    assert_eq!(sink.violations(), []);
}

#[test]
fn no_module_is_forgotten() {
    let files = std::fs::read_dir(super::MODULES).unwrap().flatten().map(|entry| entry.path());
    let modules = files.filter(|file| file.extension().is_some_and(|end| end == "py"));
    let mut named: Vec<_> = modules.map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    named.retain(|name| !ROWS.iter().any(|row| row.name == name));
    assert_eq!(named, ["pyjoules_client"], "has a test of its own");
}

#[test]
fn the_reference_is_as_the_documentation() {
    let Some(python) = CPython::get() else { return };
    let documentation = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/records.md");
    let said = run(python.command().args([super::REFERENCE, "--check", documentation])).unwrap();
    let cases: u32 = said.trim().strip_suffix(" cases").unwrap().parse().unwrap();
    assert!(cases >= 50, "{cases}");
}
