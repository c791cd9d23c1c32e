//! The kill campaign on the spool, KILLS times rather than as often as in `cargo test`.

use super::{Outcome, cargo, setting};

const KILLS: &str = "2000";

const CAMPAIGN: &str = "spool::kill::what_had_reached_the_spool_survives_every_kill";

/// Runs it; it prints its seed, and FAULTS_SEED repeats it.
pub(super) fn run() -> Outcome {
    let kills = setting("KILLS").unwrap_or_else(|| KILLS.into());
    let mut command = cargo();
    command.args(["test", "--package", "monitor-host", "--test", "it", "--", "--nocapture", "--exact", CAMPAIGN]);
    let status = command.env("KILLS", &kills).status()?;
    match status.success() {
        true => Ok(format!("{} kills", kills.display())),
        false => Err(format!("the campaign ended with {status}").into()),
    }
}
