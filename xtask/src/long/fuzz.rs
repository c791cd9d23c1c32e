//! The fuzz targets of `host/fuzz`, by libFuzzer, with stable Rust and a C++ compiler.
//!
//! Enters: FUZZ_SECONDS for each, FUZZ_TARGETS if not all. Leaves: a line for each target, and below `target/fuzz` its
//! corpus (which the next run begins with), its log, and in `crashes` the inputs that broke something.
//!
//! Never: instruments what only runs while things are built; takes a fuzzer for one that sees before it found the bug that
//! is planted for it.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, PoisonError};
use std::{io, process, thread};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::{Outcome, setting};
use crate::cargo::cargo;

const SECONDS: u64 = 600;

/// For the planted bug; it takes about one.
const PLANTED_SECONDS: u64 = 120;

/// More than any target may take of memory, asked for or used.
const MEMORY_MIB: u64 = 2048;

/// An input that takes so long hangs, on a busy machine too.
const TIMEOUT_SECONDS: u64 = 30;

/// Coverage as libFuzzer reads it, which is what cargo-fuzz sets, too; and comparisons of bytes with constants left as calls,
/// because libFuzzer sees those, and not what they would become.
const FLAGS: [&str; 8] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    "-Cllvm-args=-max-loads-per-memcmp=0",
];

/// Fuzzes each target; as many at once as there are processors.
pub(super) fn run() -> Outcome {
    let seconds = match setting("FUZZ_SECONDS") {
        Some(text) => {
            text.to_str().and_then(|text| text.parse().ok()).ok_or("FUZZ_SECONDS is not a number of seconds")?
        }
        None => SECONDS,
    };
    let targets = targets()?;
    let folder = root().join("target/fuzz");
    let programs = build(&folder.join("build"))?;
    let program =
        |name: &str| Fuzzer { name: name.to_owned(), program: programs.join(name), folder: folder.join(name) };

    let planted = program("planted").fuzz(PLANTED_SECONDS)?;
    if planted.status.success() || !planted.log.contains("the planted bug") {
        return Err(
            format!("the planted bug was not found ({}): see {}", planted.status, planted.path.display()).into()
        );
    }
    println!("planted: found after {} inputs, as it should be", planted.inputs());

    let queue = Mutex::new(targets.iter().map(|name| program(name)).collect::<VecDeque<_>>());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let work = || -> io::Result<Vec<String>> {
        let mut failed = Vec::new();
        while let Some(fuzzer) = next() {
            let run = fuzzer.fuzz(seconds)?;
            println!("{}", run.line(&fuzzer.name));
            if !run.status.success() {
                failed.push(fuzzer.name);
            }
        }
        Ok(failed)
    };
    let failed = thread::scope(|scope| {
        let at_once = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..at_once).map(|_| scope.spawn(work)).collect();
        let ended = workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|_| Err(io::Error::other("a worker panicked"))));
        ended.collect::<io::Result<Vec<_>>>()
    })?;
    let failed = failed.concat();
    match failed.is_empty() {
        true => Ok(format!("{} targets, {seconds} s each, nothing found", targets.len())),
        false => Err(format!("{} of {} targets: {}", failed.len(), targets.len(), failed.join(", ")).into()),
    }
}

/// The top of the repository.
fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// The names of the targets that are wanted. Each is a program of its own.
fn targets() -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root().join("host/fuzz/src/bin"))? {
        let name = entry?.path().file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if name != "planted" {
            names.push(name);
        }
    }
    names.sort_unstable();
    let Some(wanted) = setting("FUZZ_TARGETS") else { return Ok(names) };
    let wanted: Vec<_> = wanted.to_string_lossy().split(',').map(|name| name.trim().to_owned()).collect();
    match wanted.iter().find(|name| !names.contains(name)) {
        Some(name) => Err(format!("FUZZ_TARGETS: there is no {name:?}; there are {}", names.join(", ")).into()),
        None => Ok(wanted),
    }
}

/// Builds all programs; returns the folder that they are in.
fn build(folder: &Path) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let version = Command::new("rustc").arg("-vV").output()?.stdout;
    let version = String::from_utf8_lossy(&version);
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("rustc does not say its host")?;
    // With a target, the flags are for what is fuzzed alone, not for what runs while it is built.
    let mut command = cargo();
    command.args(["build", "--package", "monitor-host-fuzz", "--bins", "--profile", "fuzz", "--target", host]);
    command.arg("--target-dir").arg(folder).env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"));
    match command.status()? {
        status if status.success() => Ok(folder.join(host).join("fuzz")),
        status => Err(format!("the fuzz targets can't be built ({status}); is a C++ compiler there?").into()),
    }
}

struct Fuzzer {
    name: String,
    program: PathBuf,
    /// Its own.
    folder: PathBuf,
}

/// A fuzzer that has ended.
struct Run {
    status: ExitStatus,
    path: PathBuf,
    log: String,
}

impl Fuzzer {
    fn fuzz(&self, seconds: u64) -> io::Result<Run> {
        let below = |part: &str| self.folder.join(part);
        let (corpus, crashes) = (below("corpus"), below("crashes"));
        let (words, path) = (below("words"), below("log"));
        // Files are written and thrown away thousands of times a second: in memory, where there is such a folder.
        let memory = Path::new("/dev/shm");
        let temporary = match memory.is_dir() {
            true => memory.join(format!("monitor-host-fuzz-{}-{}", self.name, process::id())),
            false => below("tmp"),
        };
        for folder in [&corpus, &crashes, &temporary] {
            fs::create_dir_all(folder)?;
        }
        let log = File::create(&path)?;
        let mut command = Command::new(&self.program);
        command.arg(&corpus);
        command.args([
            format!("-max_total_time={seconds}"),
            format!("-artifact_prefix={}/", crashes.display()),
            format!("-dict={}", words.display()),
            format!("-rss_limit_mb={MEMORY_MIB}"),
            format!("-timeout={TIMEOUT_SECONDS}"),
            "-max_len=16384".into(),
            "-print_final_stats=1".into(),
        ]);
        command.env("FUZZ_CORPUS", &corpus).env("FUZZ_WORDS", &words).env("TMPDIR", &temporary);
        let mut child = command.stdout(log.try_clone()?).stderr(log).spawn()?;
        limit(&child)?;
        let status = child.wait()?;
        // An input that broke something leaves its own there.
        let _ = fs::remove_dir_all(&temporary);
        let log = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
        Ok(Run { status, path, log })
    }
}

/// Memory that is only asked for counts too.
fn limit(child: &Child) -> io::Result<()> {
    let limit = Some(MEMORY_MIB << 20);
    prlimit(Some(Pid::from_child(child)), Resource::As, Rlimit { current: limit, maximum: limit })?;
    Ok(())
}

impl Run {
    fn inputs(&self) -> &str {
        self.number("stat::number_of_executed_units:")
    }

    /// What follows the last such word in the log.
    fn number(&self, word: &str) -> &str {
        let last = self.log.rsplit_once(word);
        last.and_then(|(_, rest)| rest.split_whitespace().next()).unwrap_or("?")
    }

    fn line(&self, name: &str) -> String {
        let (inputs, edges, corpus) = (self.inputs(), self.number(" cov: "), self.number(" corp: "));
        let memory = self.number("stat::peak_rss_mb:");
        let numbers = format!("{inputs} inputs, {edges} edges, corpus {corpus}, at most {memory} MiB");
        if self.status.success() {
            return format!("{name}: {numbers}: nothing found");
        }
        let input = self.log.rsplit_once("Test unit written to ").and_then(|(_, rest)| rest.lines().next());
        let again = match input {
            Some(input) => format!("cargo run -p monitor-host-fuzz --bin {name} -- {input}"),
            None => format!("it ended with {}", self.status),
        };
        format!("{name}: {numbers}: FAILED: {again} (log: {})", self.path.display())
    }
}
