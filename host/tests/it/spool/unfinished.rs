//! A run that did not come to its end is told by the next one, where a spool can tell.

use signal_hook::consts::SIGKILL;

use super::{folder, spooling};
use crate::drive::number;
use crate::faults::{LONG, lines, stop};
use crate::host::{Host, Running};
use crate::sink::Sink;

const TOLD: &str = "the last run did not come to its end";

/// The process id that this run says of the last one.
pub(crate) fn told(running: &Running) -> Option<u64> {
    let found = lines(running, "WARNING").into_iter().find(|line| line.message().starts_with(TOLD));
    found.map(|line| number(&line, "pid"))
}

#[test]
fn the_next_start_says_that_the_last_run_ended_badly() {
    type End = fn(Host) -> Host;
    let ways: [(&str, bool, End); 5] = [
        ("a kill", true, |host| host),
        ("a segmentation fault", true, |host| host.env("FAULT_PROCESS_DATA", "segfault")),
        ("an exit of the plugin's", true, |host| host.env("FAULT_PROCESS_DATA", "exit")),
        ("a panic of the plugin's", false, |host| host.env("FAULT_PROCESS_DATA", "panic")),
        ("a segmentation fault elsewhere", false, |host| {
            host.env("FAULT_PROCESS_DATA", "segfault").env("PLUGIN_ISOLATION", "process")
        }),
    ];
    for (way, badly, end) in ways {
        let (sink, dir) = (Sink::start(), folder());
        let first = end(spooling(sink.url(), dir.path())).spawn();
        if way == "a kill" {
            sink.wait_samples(10, LONG);
            first.signal(SIGKILL);
        }
        first.wait(LONG);
        assert_eq!(told(&first), None, "{way}");
        let second = spooling(sink.url(), dir.path()).spawn();
        let before = sink.samples().len();
        sink.wait_samples(before + 10, LONG);
        stop(&second);
        assert_eq!(told(&second), badly.then_some(first.pid().into()), "{way}: {}", second.log_text());
        let third = spooling(sink.url(), dir.path()).spawn();
        let before = sink.samples().len();
        sink.wait_samples(before + 10, LONG);
        stop(&third);
        assert_eq!(told(&third), None, "{way}");
    }
}
