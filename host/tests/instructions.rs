//! What fixed pieces of work cost, in instructions a sample, counted by callgrind: a cost that comes back is seen whatever
//! else the machine does.
//!
//! The counts are of the build that tests are, without optimisation; instructions.txt has them, with the compiler that
//! they were counted with. A change that costs less, or costs more for a reason, and a new compiler are written down by
//!
//!     UPDATE_GENERATED=1 cargo test -p monitor-host --test instructions

use std::env;
use std::fmt::Write;
use std::fs;
use std::process::{Command, Stdio};

#[path = "../benches/fixed.rs"]
mod fixed;

use fixed::Fixed;
use monitor_host::encode::Protocol;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/instructions.txt");

/// Tells a process that it is counted.
const COUNTED: &str = "INSTRUCTIONS_COUNTED";

const STAGES: [&str; 6] = ["normalise", "json", "batch", "cut 1.0", "encode 1.0", "encode 2.0"];

const SERIES: usize = 500;
const TIMES: i64 = 4;

/// So much may a count differ, as hash tables are seeded anew in each run.
const TOLERANCE: f64 = 0.05;

#[test]
fn no_stage_costs_more_instructions_than_before() {
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_err() {
        assert!(env::var_os("CI").is_none(), "valgrind is needed in CI");
        eprintln!("SKIPPED: no valgrind to count instructions with");
        return;
    }
    // Another compiler, or an optimised build, has other counts; in CI that is to be written down.
    let is_other = cfg!(not(debug_assertions)) || !fs::read_to_string(FILE).unwrap().starts_with(&rustc());
    if is_other && env::var_os("CI").is_none() && env::var_os("UPDATE_GENERATED").is_none() {
        eprintln!("SKIPPED: the instructions were counted with another compiler or profile: {FILE}");
        return;
    }
    let counted = count();
    let mut text = format!("{}\n", rustc());
    STAGES.iter().zip(counted).for_each(|(stage, count)| writeln!(text, "{stage}: {count:.0}").unwrap());
    if env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(FILE, &text).unwrap();
    }
    let written = fs::read_to_string(FILE).unwrap();
    let number = |stage: &str| {
        let line = written.lines().find_map(|line| line.strip_prefix(stage)?.strip_prefix(": ")?.parse::<f64>().ok());
        line.unwrap_or_else(|| panic!("{FILE} has no {stage}"))
    };
    let off: Vec<_> =
        STAGES.into_iter().zip(counted).filter(|(stage, n)| (n / number(stage) - 1.0).abs() > TOLERANCE).collect();
    assert!(off.is_empty(), "instructions a sample: {off:?}; {FILE} says:\n{written}and counted was:\n{text}");
}

/// Instructions a sample of each stage, without those that prepare the work.
fn count() -> [f64; STAGES.len()] {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--toggle-collect=*instructions::counted*"]);
    // A file for each stage, numbered from 1.
    valgrind.args(["--dump-after=*instructions::stage*", &format!("--callgrind-out-file={}", out.display())]);
    valgrind.arg(env::current_exe().unwrap()).args(["--exact", "all_stages"]).env(COUNTED, "1");
    let done = valgrind.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    std::array::from_fn(|i| {
        let text = fs::read_to_string(out.with_extension((i + 1).to_string())).unwrap();
        let total = text.lines().find_map(|line| line.strip_prefix("totals: ")?.parse::<f64>().ok());
        total.expect("callgrind writes a total") / (SERIES as f64 * TIMES as f64)
    })
}

/// The work of the process that is counted, in the order of [`STAGES`]; elsewhere nothing.
#[test]
fn all_stages() {
    if env::var_os(COUNTED).is_none() {
        return;
    }
    let mut fixed = Fixed::new(SERIES, TIMES);
    let document = fixed.document();
    // Once before, so that no buffer has to grow.
    fixed.batch(0);
    fixed.cut(Protocol::V1);
    fixed.encode(Protocol::V1);
    fixed.encode(Protocol::V2);
    // As many records and items as the others have samples.
    stage(|| (0..TIMES).for_each(|_| assert_eq!(fixed.normalise().len(), SERIES)));
    stage(|| (0..TIMES).for_each(|_| assert_eq!(fixed.normalise_json(document.as_bytes()), SERIES)));
    stage(|| fixed.batch(100_000));
    stage(|| assert!(fixed.cut(Protocol::V1).is_some()));
    stage(|| fixed.encode(Protocol::V1));
    stage(|| fixed.encode(Protocol::V2));
}

/// What is counted is written down when this ends.
#[inline(never)]
fn stage(work: impl FnMut()) {
    counted(work);
    std::hint::black_box(());
}

#[inline(never)]
fn counted(mut work: impl FnMut()) {
    work();
}

fn rustc() -> String {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().unwrap();
    String::from_utf8_lossy(&version.stdout).trim().to_owned()
}
