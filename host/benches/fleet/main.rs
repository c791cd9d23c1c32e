//! `cargo xtask fleet`: what a fleet does to its receiver after an outage, by the host's own rules, as a table and a plot.
//!
//! Enters: `--clients N` (100,000), `--seed N` (1), `--svg FILE`, `--only NAME`. Leaves: a table in Markdown on standard
//! output, and the plot in that file. The same seed gives the same figures on every machine.
//!
//! Never: opens a socket, or sleeps.

#![cfg_attr(
    test,
    allow(
        dead_code,
        unused_imports,
        reason = "a bench has no harness: the tests of its modules run in tests/fleet.rs"
    )
)]

mod plot;
mod scenarios;
mod simulation;
mod table;

use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use scenarios::Named;
use simulation::Seen;

/// What was asked for.
struct Options {
    clients: u32,
    seed: u64,
    svg: Option<String>,
    only: Option<String>,
}

fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("fleet: {error}");
            return ExitCode::from(2);
        }
    };
    let Options { clients, seed, svg, only } = options;
    println!("{} clients, seed {seed}", table::thousands(clients.into()));
    let wanted = |named: &Named| only.as_deref().is_none_or(|only| named.name.contains(only));
    // Each by itself, so that more of them at once change nothing.
    let run = |all: Vec<Named>| -> Vec<(Named, Seen)> {
        let run = |named: Named| {
            let began = Instant::now();
            let seen = simulation::run(&named.scenario);
            eprintln!("{}: {} s", named.name, began.elapsed().as_secs());
            (named, seen)
        };
        thread::scope(|scope| {
            let threads: Vec<_> = all.into_iter().filter(wanted).map(|named| scope.spawn(move || run(named))).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
        })
    };
    let without = run(scenarios::without(clients, seed));
    println!("\n{}", table::of(&without));
    let elsewhere = run(scenarios::elsewhere(clients, seed));
    println!("\n{}", table::of(&elsewhere));
    let Some(path) = svg else { return ExitCode::SUCCESS };
    match std::fs::write(&path, plot::of(&without)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fleet: {path}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options { clients: 100_000, seed: 1, svg: None, only: None };
    while let Some(name) = arguments.next() {
        // Cargo says that this is a bench.
        if name == "--bench" {
            continue;
        }
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|error| format!("{name} {value}: {error}"));
        match name.as_str() {
            "--clients" => {
                let clients = number()?.clamp(1, 10_000_000);
                options.clients = u32::try_from(clients).unwrap_or(u32::MAX);
            }
            "--seed" => options.seed = number()?,
            "--svg" => options.svg = Some(value),
            "--only" => options.only = Some(value),
            _ => {
                return Err(format!("there is no {name}; there are --clients N, --seed N, --svg FILE and --only NAME"));
            }
        }
    }
    Ok(options)
}
