//! The repository's own chores.
//!
//! `cargo demo` builds the host and the dummy plugin and shows samples arriving. `cargo xtask long` runs the tests
//! that take too long for every change. `cargo xtask` lists the chores.

mod demo;
mod long;

use std::process::ExitCode;

fn main() -> ExitCode {
    let chore = std::env::args().nth(1);
    let done = match chore.as_deref() {
        Some("demo") => demo::run(),
        Some("long") => long::run(),
        _ => {
            eprintln!(
                "chores:\n  demo    build the host and the dummy plugin, and show samples arriving (Ctrl-C ends it)\n  \
                 long    kill the host 2000 times on one spool, then 120 rounds of faults with an oracle \
                 (KILLS, ROUNDS, FAULTS_SEED: how often, how many, and which; `long kills` or `long oracle`: only that)"
            );
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
