//! The repository's own chores.
//!
//! `cargo demo` builds the host and the dummy plugin and shows samples arriving. `cargo xtask` lists the chores.

mod demo;

use std::process::ExitCode;

fn main() -> ExitCode {
    let chore = std::env::args().nth(1);
    let done = match chore.as_deref() {
        Some("demo") => demo::run(),
        _ => {
            eprintln!(
                "chores:\n  demo    build the host and the dummy plugin, and show samples arriving (Ctrl-C ends it)"
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
