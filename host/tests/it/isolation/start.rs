//! A plugin whose `new()` takes its time: nothing runs yet, and a stop need not wait for it.

use signal_hook::consts::{SIGINT, SIGTERM};

use super::{MODES, children, in_mode, wait_until_gone};
use crate::faults::{LONG, wait_for_text};
use crate::sink::Sink;
use crate::spool::{folder, wait_until};

#[test]
fn a_stop_while_the_plugin_is_made_ends_the_run() {
    for mode in MODES {
        for (how, signal) in [("hang", SIGTERM), ("spin", SIGINT)] {
            let (sink, dir) = (Sink::start(), folder());
            let instances = dir.path().join("instances");
            let host = in_mode(mode, &sink).env("FAULT_NEW", how).env("FAULT_INSTANCES", &instances);
            let running = host.env("SPOOL_DIR", dir.path().join("spool")).spawn();
            // Written by `new()`.
            wait_until(&running, || instances.exists());
            let plugin = children(running.pid());
            assert_eq!(plugin.len(), usize::from(mode == "process"), "{}", running.log_text());
            running.signal(signal);
            assert_eq!(running.wait(LONG).code(), Some(0), "{mode} {how}: {}", running.log_text());
            wait_for_text(&running, "asked to stop before the plugin was made");
            plugin.into_iter().for_each(wait_until_gone);
            assert_eq!(sink.requests().len(), 0, "{mode} {how}");
        }
    }
}
