//! Instructions for each read, as valgrind's callgrind counts them: those of the program, not of the kernel.
//!
//! Enters: the host and the Python reader. Leaves: a table. The plugin's reading thread is the one that calls `pread` most, and all
//! that it does is counted: reading, waiting for the next deadline, handing over. Of Python what a second thousand of sweeps takes
//! more than the first, so that neither its start nor any waiting is counted.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Error, Result};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::{Tree, WAYS, ZONES};
use crate::cost::receive;
use crate::measure::Ended;

/// How long the host runs under valgrind, which is some fifty times slower.
const TIME: Duration = Duration::from_secs(10);

/// Valgrind's own start may take this long.
const PATIENCE: Duration = Duration::from_secs(120);

/// Sweeps of the Python reader.
const SWEEPS: u64 = 1000;

/// Counts and prints.
pub(super) fn run(folder: &Path, tree: &Tree) -> Result<()> {
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("\ninstructions are not counted: there is no valgrind here");
        return Ok(());
    }
    println!("\n| | instructions for each counter | beside it |\n|---|---|---|");
    let ours = of_host(folder, tree)?;
    println!("| the plugin's reading thread | {ours:.0} | × 1.0 |");
    for (way, what) in WAYS {
        let each = of_python(tree, way)?;
        println!("| {what} | {each:.0} | × {:.1} |", each / ours);
    }
    Ok(())
}

fn valgrind(out: &Path) -> Command {
    let mut command = Command::new("valgrind");
    command.args(["--quiet", "--tool=callgrind", "--separate-threads=yes"]);
    command.arg(format!("--callgrind-out-file={}", out.display()));
    command
}

fn of_host(folder: &Path, tree: &Tree) -> Result<f64> {
    let out = tree.0.join("host.callgrind");
    let (url, first) = receive()?;
    let mut program = valgrind(&out);
    program.arg(folder.join("monitor-host"));
    let mut command = tree.host_command(folder, program, &url);
    command.env("SCRAPE_INTERVAL_S", "0.02").env("SHUTDOWN_TIMEOUT_S", "60");
    let mut host = Ended(command.spawn()?);
    let log = host.0.stderr.take().ok_or_else(|| Error::other("the host has no stderr"))?;
    // Read to its end, so that nothing waits for it.
    let log = thread::spawn(move || BufReader::new(log).lines().count());
    first.recv_timeout(PATIENCE).map_err(|_| Error::other("under valgrind the host pushed nothing"))?;
    thread::sleep(TIME);
    host.stop()?;
    let _ = log.join();
    // Others read a few bytes of the library's file.
    let reading = profiles(&out)?.into_iter().max_by_key(|profile| profile.preads).filter(|profile| profile.preads > 0);
    let reading = reading.ok_or_else(|| Error::other("no thread of the host calls pread"))?;
    Ok(reading.instructions as f64 / reading.preads as f64)
}

fn of_python(tree: &Tree, way: &str) -> Result<f64> {
    let mut instructions = [0; 2];
    for (total, sweeps) in instructions.iter_mut().zip([SWEEPS, 2 * SWEEPS]) {
        let out = tree.0.join(format!("{way}-{sweeps}.callgrind"));
        let mut command = valgrind(&out);
        let python = tree.python_command(way, 0.0, sweeps);
        command.arg(interpreter()?).args(python.get_args());
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        if !status.success() {
            return Err(Error::other(format!("the Python reader ended with {status} under valgrind")));
        }
        *total = profiles(&out)?.iter().map(|profile| profile.instructions).sum::<u64>();
    }
    Ok((instructions[1] - instructions[0]) as f64 / (SWEEPS * ZONES.len() as u64) as f64)
}

/// Python itself: `python3` may be a script that looks for it.
fn interpreter() -> Result<String> {
    let output = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// What callgrind wrote of one thread.
struct Profile {
    instructions: u64,
    preads: u64,
}

/// All threads of a run: the files whose names begin with that of `out`.
fn profiles(out: &Path) -> Result<Vec<Profile>> {
    let (folder, name) = (out.parent().unwrap_or(Path::new(".")), out.file_name().unwrap_or_default());
    let mut files: Vec<PathBuf> = fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| {
        path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&*name.to_string_lossy()))
    });
    files.iter().map(|path| Ok(profile(&fs::read_to_string(path)?))).collect()
}

/// Reads the form that valgrind documents: a function is named once, `(7) pread`, and is `(7)` from then on.
fn profile(text: &str) -> Profile {
    let (mut names, mut called, mut found) = (HashMap::new(), "", Profile { instructions: 0, preads: 0 });
    for line in text.lines() {
        let number = |text: &str| text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0);
        if let Some(function) = line.strip_prefix("fn=").or_else(|| line.strip_prefix("cfn=")) {
            let (id, name) = function.split_once(' ').unwrap_or((function, ""));
            let known = names.entry(id).or_insert(name);
            called = if line.starts_with('c') { known } else { called };
        } else if let Some(calls) = line.strip_prefix("calls=") {
            found.preads += if called.contains("pread") { number(calls) } else { 0 };
        } else if let Some(total) = line.strip_prefix("totals: ").or_else(|| line.strip_prefix("summary: ")) {
            found.instructions = number(total);
        }
    }
    found
}
