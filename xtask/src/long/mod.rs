//! `cargo xtask long [PART...]`: what takes too long for every change, in parts; all of them, or those that are named.
//!
//! Each part says at its end what it did, and the last line is the total. A part that fails does not keep the others from
//! running. docs/long.md says what they are for, and has their last results.

mod campaign;
mod fuzz;

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::io::Result;
use std::process::ExitCode;
use std::time::Instant;

/// What it did, in a few words, or what went wrong.
type Outcome = std::result::Result<String, Box<dyn Error>>;

struct Part {
    name: &'static str,
    /// With the variables that change it.
    what: &'static str,
    run: fn() -> Outcome,
}

/// In the order in which they run.
const PARTS: &[Part] = &[
    Part {
        name: "kills",
        what: "kill the host KILLS (2000) times on one spool; FAULTS_SEED repeats it",
        run: campaign::kills,
    },
    Part {
        name: "oracle",
        what: "run ROUNDS (120) rounds of random faults, judged by an oracle; FAULTS_SEED repeats them",
        run: campaign::oracle,
    },
    Part {
        name: "compat",
        what: "run plugins of every version of the API, kind of build and installed compiler",
        run: campaign::compat,
    },
    Part {
        name: "flat",
        what: "run all plugins for FLAT_SECONDS (600): memory, descriptors and threads stay flat",
        run: campaign::flat,
    },
    Part {
        name: "fuzz",
        what: "fuzz each target for FUZZ_SECONDS (600), or those of FUZZ_TARGETS (spool,records) alone",
        run: fuzz::run,
    },
];

/// Runs the parts with these names, or all; fails if one of them does.
pub(crate) fn run(names: &[String]) -> Result<ExitCode> {
    if let Some(name) = names.iter().find(|name| PARTS.iter().all(|part| part.name != **name)) {
        eprintln!("there is no part {name:?} of `cargo xtask long`; these are:");
        PARTS.iter().for_each(|part| eprintln!("  {:<8}{}", part.name, part.what));
        return Ok(ExitCode::from(2));
    }
    let chosen = || PARTS.iter().filter(|part| names.is_empty() || names.iter().any(|name| name == part.name));
    let (began, mut failed) = (Instant::now(), Vec::new());
    for Part { name, what, run } in chosen() {
        println!("== long {name}: {what}");
        let began = Instant::now();
        let outcome = run();
        let seconds = began.elapsed().as_secs();
        match outcome {
            Ok(words) => println!("== long {name}: passed in {seconds} s: {words}"),
            Err(error) => {
                println!("== long {name}: FAILED after {seconds} s: {error}");
                failed.push(*name);
            }
        }
    }
    let (total, seconds) = (chosen().count(), began.elapsed().as_secs());
    if failed.is_empty() {
        println!("== long: passed, {total} of {total} parts in {seconds} s");
        return Ok(ExitCode::SUCCESS);
    }
    println!("== long: FAILED, {} of {total} parts in {seconds} s: {}", failed.len(), failed.join(", "));
    Ok(ExitCode::FAILURE)
}

/// What the variable says, unless it is unset or empty.
fn setting(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}
