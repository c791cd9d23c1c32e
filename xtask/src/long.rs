//! `cargo xtask long`: what takes too long for every change.
//!
//! Runs the kill campaign on the spool with KILLS kills, 2000 unless it is set, which prints its seed (FAULTS_SEED repeats
//! it); then `compat`, plugins of every version, kind of build and installed compiler.

use std::env;
use std::io::Result;
use std::process::{Command, ExitCode};

const KILLS: &str = "2000";

const CAMPAIGN: &str = "spool::kill::what_had_reached_the_spool_survives_every_kill";

const COMPAT: &str = "compat::a_plugin_runs_and_fails_alike_whatever_it_was_built_with";

/// Runs it; fails if a part does.
pub(crate) fn run() -> Result<ExitCode> {
    let kills = env::var_os("KILLS").filter(|kills| !kills.is_empty()).unwrap_or_else(|| KILLS.into());
    let well =
        test(CAMPAIGN).env("KILLS", kills).status()?.success() & test(COMPAT).env("COMPAT", "all").status()?.success();
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn test(name: &str) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["test", "--package", "monitor-host", "--test", "it", "--", "--nocapture", "--exact", name]);
    command
}
