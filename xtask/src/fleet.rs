//! `cargo xtask fleet [CLIENTS [SEED]]`: what a fleet does to its receiver after an outage, simulated with the host's own code.
//!
//! Enters: how many clients (100,000), a seed (1). Leaves: tables on standard output and docs/fleet.svg, or with another
//! number of clients target/fleet.svg. It takes some minutes, and some more to build.

use std::env;
use std::io::{Error, Result};
use std::path::Path;
use std::process::{Command, ExitCode};

/// What docs/fleet.md tells of.
const CLIENTS: &str = "100000";

/// Runs the simulation, which is a bench of the host's.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    let clients = arguments.first().map_or(CLIENTS, String::as_str);
    let seed = arguments.get(1).map_or("1", String::as_str);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or_else(|| Error::other("no folder above xtask"))?;
    let plot = root.join(if (clients, seed) == (CLIENTS, "1") { "docs/fleet.svg" } else { "target/fleet.svg" });
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["bench", "--quiet", "--package", "monitor-host", "--bench", "fleet", "--"]);
    cargo.args(["--clients", clients, "--seed", seed, "--svg"]).arg(&plot).current_dir(root);
    if !cargo.status()?.success() {
        return Ok(ExitCode::FAILURE);
    }
    println!("plot: {}", plot.display());
    Ok(ExitCode::SUCCESS)
}
