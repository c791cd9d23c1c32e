//! `cargo xtask long`: what takes too long for every change.
//!
//! Runs [`PARTS`], one after the other: the kill campaign on the spool with KILLS kills, the oracle campaign with ROUNDS rounds
//! (each prints its seed; FAULTS_SEED repeats it), and plugins of every version, kind of build and installed compiler. A word
//! after `long` runs only the part with that name.

use std::env;
use std::io::Result;
use std::process::{Command, ExitCode};

/// A name, the test, and the variable that says how much of it, unless it is set already.
const PARTS: [(&str, &str, (&str, &str)); 3] = [
    ("kills", "spool::kill::what_had_reached_the_spool_survives_every_kill", ("KILLS", "2000")),
    ("oracle", "campaign::every_sample_is_accounted_for_whatever_happens", ("ROUNDS", "120")),
    ("compat", "compat::a_plugin_runs_and_fails_alike_whatever_it_was_built_with", ("COMPAT", "all")),
];

/// Runs them; fails if one of them does.
pub(crate) fn run() -> Result<ExitCode> {
    let wanted = env::args().nth(2);
    let mut well = true;
    for (name, test, (variable, default)) in PARTS {
        if wanted.as_deref().is_none_or(|wanted| wanted == name) {
            let amount = env::var_os(variable).filter(|amount| !amount.is_empty()).unwrap_or_else(|| default.into());
            eprintln!("long: {name}, {variable}={}", amount.display());
            let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let mut command = Command::new(cargo);
            command.args(["test", "--package", "monitor-host", "--test", "it", "--", "--nocapture", "--exact", test]);
            well &= command.env(variable, amount).status()?.success();
        }
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
