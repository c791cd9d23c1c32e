//! The variables of `monitor-host run`, seen from outside: what each does, and what becomes of a mistake in it.

/// One test each, under the variable's name.
macro_rules! effects {
    ($($variable:ident: $effect:ident,)*) => {
        pub(super) const SHOWN: &[&str] = &[$(stringify!($variable)),*];

        #[allow(non_snake_case, reason = "named after the variables")]
        mod effect_of {
            $(#[test] fn $variable() { super::$effect() })*
        }
    };
}

mod effects;
mod limits;
mod mistakes;
mod plugin;
mod sources;
mod spool;
mod watching;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use monitor_host::config::Var;
use monitor_host::config::vars::TABLE;
use signal_hook::consts::SIGTERM;
use tempfile::TempDir;

use crate::host::{Host, Ledger, Running};
use crate::plugins;
use crate::sink::Sink;

/// What a busy machine may take for something that is due at once.
const SOON: Duration = Duration::from_secs(30);

/// A host that pushes the fault plugin's samples to this sink, quickly.
fn pushing_to(sink: &Sink) -> Host {
    let host = Host::new().env("REMOTE_WRITE_URL", sink.url()).env("MONITOR_IMPL_PATH", plugins::so("monitor-fault"));
    host.env("SCRAPE_INTERVAL_S", "0.05").env("PUSH_INTERVAL_S", "0.2")
}

/// Asks the host to stop, which it has to do well and with balanced books.
#[track_caller]
pub(crate) fn stop(host: &Running) -> Ledger {
    host.signal(SIGTERM);
    let status = host.wait(SOON);
    assert_eq!(status.code(), Some(0), "{}", host.log_text());
    let ledger = host.ledger();
    ledger.assert_balanced();
    ledger
}

/// The binary in a folder of its own, with these plugin packages' libraries under these names beside it.
fn installed(plugins: &[(&str, &str)]) -> (TempDir, PathBuf) {
    // Links rather than copies: a file that was just written can't always be executed while other tests start processes.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder in the target folder");
    let binary = folder.path().join("monitor-host");
    fs::hard_link(env!("CARGO_BIN_EXE_monitor-host"), &binary).expect("a link to the binary");
    for (package, name) in plugins {
        fs::hard_link(plugins::so(package), folder.path().join(name)).expect("a link to a plugin");
    }
    (folder, binary)
}

/// The flag of a variable, with its dashes.
fn flag(var: &Var) -> String {
    format!("--{}", var.flag.as_str())
}

/// The names of all variables, in the order of the table.
fn names() -> Vec<&'static str> {
    TABLE.iter().map(|var| var.name).collect()
}

#[test]
fn no_variable_is_without_a_test_of_its_effect() {
    let mut shown: Vec<&str> =
        [effects::SHOWN, limits::SHOWN, plugin::SHOWN, spool::SHOWN, watching::SHOWN, crate::access::SHOWN].concat();
    shown.retain(|name| !name.starts_with("DUMMY_"));
    shown.sort_unstable();
    let mut all = names();
    all.sort_unstable();
    assert_eq!(shown, all);
}
