//! Tests of `cargo test` that run longer here: one of them each, told by a variable how much of it.

use super::{Outcome, setting};
use crate::cargo::cargo;

/// The kill campaign on the spool; it prints its seed, and FAULTS_SEED repeats it.
pub(super) fn kills() -> Outcome {
    run("spool::kill::what_had_reached_the_spool_survives_every_kill", "KILLS", "2000")
}

/// Rounds of random faults, judged by an oracle; each prints its seed, and FAULTS_SEED repeats it.
pub(super) fn oracle() -> Outcome {
    run("campaign::every_sample_is_accounted_for_whatever_happens", "ROUNDS", "120")
}

/// Plugins of every version of the API, kind of build and installed compiler.
pub(super) fn compat() -> Outcome {
    run("compat::a_plugin_runs_and_fails_alike_whatever_it_was_built_with", "COMPAT", "all")
}

/// All plugins, in both modes, for so many seconds.
pub(super) fn flat() -> Outcome {
    run("alike::flat::memory_descriptors_and_threads_stay_flat", "FLAT_SECONDS", "600")
}

fn run(test: &str, variable: &str, default: &str) -> Outcome {
    let amount = setting(variable).unwrap_or_else(|| default.into());
    let mut command = cargo();
    command.args(["test", "--package", "monitor-host", "--test", "it", "--", "--nocapture", "--exact", test]);
    let status = command.env(variable, &amount).status()?;
    match status.success() {
        true => Ok(format!("{variable}={}", amount.display())),
        false => Err(format!("the test ended with {status}").into()),
    }
}
