//! The repository's own chores.
//!
//! `cargo demo` builds what `cargo build` builds and shows samples arriving. `cargo xtask long` runs the tests
//! that take too long for every change. `cargo xtask fleet` simulates a fleet. `cargo xtask bench`, `isolation-cost` and
//! `rapl-cost` measure. `cargo xtask` lists the chores.

mod bench;
mod cargo;
mod cost;
mod demo;
mod fleet;
mod isolation_cost;
mod long;
mod measure;
mod rapl_cost;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let chore = arguments.next();
    let done = match chore.as_deref() {
        Some("bench") => bench::run(&arguments.collect::<Vec<_>>()),
        // Its own parts, in a release build.
        Some("bench-run") => bench::measure(&arguments.collect::<Vec<_>>()),
        Some("bench-floor") => bench::floor::run().map(|()| ExitCode::SUCCESS),
        Some("demo") => demo::run(),
        Some("fleet") => fleet::run(&arguments.collect::<Vec<_>>()),
        Some("isolation-cost") => isolation_cost::run(),
        Some("rapl-cost") => rapl_cost::run(),
        Some("long") => long::run(&arguments.collect::<Vec<_>>()),
        _ => {
            eprintln!(
                "chores:\n  bench [LOAD...] [--vs COMMAND]    measure the whole process under load, beside a floor (docs/performance.md)\n  \
                 demo    build the workspace, and show the dummy plugin's samples arriving (Ctrl-C ends it)\n  \
                 fleet [CLIENTS [SEED]]    simulate a fleet's return after an outage, as tables and a plot (docs/fleet.md)\n  \
                 isolation-cost    measure what PLUGIN_ISOLATION=process costs, for COST_SECONDS (30) each load\n  \
                 rapl-cost    measure the RAPL plugin at 1 kHz beside Python, for COST_SECONDS (30)\n  \
                 long [PART...]    run the tests that take too long for every change, or some of them (docs/long.md)"
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
