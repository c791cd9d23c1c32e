//! Cargo, as somebody would call it.
//!
//! Never: tells a build what this program was told of its own package. Build scripts may look at that (ring's does),
//! and would run again, with all that stands on their crates.

use std::env;
use std::process::Command;

/// The cargo that runs this program.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|begin| name.to_string_lossy().starts_with(begin)) {
            command.env_remove(name);
        }
    }
    command
}
