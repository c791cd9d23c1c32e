//! `cargo xtask long`: what takes too long for every change.
//!
//! Runs the kill campaign on the spool with KILLS kills, 2000 unless it is set. It prints its seed; FAULTS_SEED repeats it.

use std::env;
use std::io::Result;
use std::process::{Command, ExitCode};

const KILLS: &str = "2000";

const CAMPAIGN: &str = "spool::kill::what_had_reached_the_spool_survives_every_kill";

/// Runs it; fails if the campaign does.
pub(crate) fn run() -> Result<ExitCode> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let kills = env::var_os("KILLS").filter(|kills| !kills.is_empty()).unwrap_or_else(|| KILLS.into());
    let mut command = Command::new(cargo);
    command.args(["test", "--package", "monitor-host", "--test", "it", "--", "--nocapture", "--exact", CAMPAIGN]);
    let status = command.env("KILLS", kills).status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
