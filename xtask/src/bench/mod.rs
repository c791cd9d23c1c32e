//! `cargo xtask bench [LOAD...] [--vs COMMAND]`: what the whole process costs under load, beside the floor.
//!
//! Enters: a release build of the host, of the plugin that makes the load, and of this program; BENCH_RUNS (5),
//! BENCH_PUSHES (3), BENCH_PROTOCOL (1.0). Leaves: tables, medians with the least and the most of all runs; the last one
//! has the goals. A steady load runs on all senders at the same time, so that what else the machine does meets all of them;
//! the flood on one after the other. Each sender has a receiver of its own, which reads every sample. Bytes and allocations
//! are counted apart from time, of hosts that send the load's samples alone.
//!
//! Never: leaves a process running; fails because a goal was missed.

mod allocations;
pub(crate) mod floor;
mod goals;
mod receive;
mod sender;
mod table;

use std::env;
use std::fs;
use std::io::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;

use self::allocations::Counter;
use self::goals::Apart;
use self::sender::{Cost, Who};
use crate::cargo::cargo;

/// Series, readings a second, form, pace.
pub(crate) struct Load {
    name: &'static str,
    what: &'static str,
    series: u32,
    interval_s: &'static str,
    form: &'static str,
    pace: &'static str,
}

const LOADS: [Load; 6] = [
    load("few", "5 series at 10 Hz", 5, "0.1", "series", "interval"),
    load("some", "1,000 series at 1 s", 1000, "1", "series", "interval"),
    load("many", "10,000 series at 1 s", 10_000, "1", "series", "interval"),
    load("records", "the same as records", 10_000, "1", "records", "interval"),
    load("json", "the same as JSON", 10_000, "1", "json", "interval"),
    load("flood", "10,000 series, as fast as they are taken", 10_000, "1", "series", "flood"),
];

const fn load(
    name: &'static str,
    what: &'static str,
    series: u32,
    interval_s: &'static str,
    form: &'static str,
    pace: &'static str,
) -> Load {
    Load { name, what, series, interval_s, form, pace }
}

impl Load {
    fn is_flood(&self) -> bool {
        self.pace == "flood"
    }

    fn variables(&self) -> [(&'static str, String); 4] {
        [
            ("LOAD_SERIES", self.series.to_string()),
            ("LOAD_FORM", self.form.into()),
            ("LOAD_PACE", self.pace.into()),
            ("SCRAPE_INTERVAL_S", self.interval_s.into()),
        ]
    }
}

/// Among the names of loads: what idle series cost.
const IDLE: &str = "idle";

/// How all are run.
pub(crate) struct How {
    /// Where the builds lie.
    folder: PathBuf,
    protocol: String,
    runs: u32,
    pushes: u32,
}

/// What a load cost, of each sender in each run.
struct Measured {
    load: &'static Load,
    costs: Vec<Vec<Cost>>,
}

/// What is looked for in a run.
#[derive(Clone, Copy)]
enum Pass<'a> {
    /// What it takes, as the host is by default.
    Timed,
    /// What is sent, and how often something is allocated for it where that can be counted; without the host's own metrics.
    Counted(Option<&'a Counter>),
}

/// Builds everything as it is shipped, this program too, and lets that one measure.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    let packages = ["monitor-host", "monitor-dummy", "monitor-load", "xtask"].map(|name| ["--package", name]);
    if !cargo().args(["build", "--release"]).args(packages.as_flattened()).status()?.success() {
        return Err(Error::other("the build failed"));
    }
    // This program lies in the folder of another profile, beside that one.
    let program = env::current_exe()?.with_file_name("..").join("release/xtask");
    let status = Command::new(program).arg("bench-run").args(arguments).status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Measures and prints.
pub(crate) fn measure(arguments: &[String]) -> Result<ExitCode> {
    let (mut senders, mut names, mut rest) = (vec![Who::Floor, Who::Host], Vec::new(), arguments.iter());
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--vs" => {
                senders.push(Who::Other(rest.next().ok_or_else(|| Error::other("--vs needs a command"))?.clone()))
            }
            name if name == IDLE || LOADS.iter().any(|load| load.name == name) => names.push(name),
            name => {
                return Err(Error::other(format!(
                    "there is no load {name:?}: {}, {IDLE}",
                    LOADS.map(|l| l.name).join(", ")
                )));
            }
        }
    }
    let program = env::current_exe()?;
    let how = How {
        folder: program.parent().unwrap_or(Path::new(".")).to_owned(),
        protocol: env::var("BENCH_PROTOCOL").unwrap_or_else(|_| "1.0".into()),
        runs: number("BENCH_RUNS", 5)?,
        pushes: number("BENCH_PUSHES", 3)?,
    };
    let busy = fs::read_to_string("/proc/loadavg")?;
    println!(
        "remote write {}, {} runs of {} pushes: median (least to most); {} processors, load {} at the beginning",
        how.protocol,
        how.runs,
        how.pushes,
        thread::available_parallelism()?,
        busy.split(' ').next().unwrap_or_default(),
    );
    let is_asked = |name| names.is_empty() || names.contains(&name);
    let loads: Vec<&Load> = LOADS.iter().filter(|load| is_asked(load.name)).collect();
    let timed = measure_loads(&loads, &senders, &how, Pass::Timed)?;
    let bytes_a_series = if is_asked(IDLE) { show_idle(&how)? } else { None };
    let counter = Counter::build(&how.folder)?;
    if counter.is_none() {
        println!("\nallocations are not counted: there is no C compiler (cc)");
    }
    let counted = measure_loads(&loads, &senders, &how, Pass::Counted(counter.as_ref()))?;
    let starts = (0..4 * how.runs).map(|_| sender::start(&how)).collect::<Result<Vec<_>>>()?;
    let mib = |file: &str| Ok::<_, Error>(fs::metadata(how.folder.join(file))?.len() as f64 / f64::from(1 << 20));
    let binary_mib = mib("monitor-host")?;
    // All that the image's file copies into its base.
    let image_mib = binary_mib + mib("libmonitor_dummy.so")?;
    let allocations_counted = counter.is_some();
    goals::show_all(&timed, &counted, &Apart { bytes_a_series, starts, binary_mib, image_mib, allocations_counted });
    Ok(ExitCode::SUCCESS)
}

/// Times each of these loads as often as asked for, or counts in one run.
fn measure_loads(loads: &[&'static Load], senders: &[Who], how: &How, pass: Pass<'_>) -> Result<Vec<Measured>> {
    let (columns, runs) = match pass {
        Pass::Timed => (&table::TIMED[..], how.runs),
        Pass::Counted(Some(_)) => (&table::COUNTED[..], 1),
        Pass::Counted(None) => (&table::COUNTED[..table::SENT], 1),
    };
    if !loads.is_empty() {
        table::head(columns);
    }
    let measure = |&load: &&'static Load| {
        let mut costs: Vec<Vec<Cost>> = senders.iter().map(|_| Vec::new()).collect();
        for _ in 0..runs {
            for (costs, cost) in costs.iter_mut().zip(run_all(senders, load, how, pass)?) {
                costs.push(cost);
            }
        }
        table::rows(columns, load, senders, &costs);
        Ok(Measured { load, costs })
    };
    loads.iter().map(measure).collect()
}

/// One run of each sender.
fn run_all(senders: &[Who], load: &Load, how: &How, pass: Pass<'_>) -> Result<Vec<Cost>> {
    let one = |who: &Who| sender::run(who, load, how, pass);
    if load.is_flood() {
        return senders.iter().map(one).collect();
    }
    thread::scope(|scope| {
        let all: Vec<_> = senders.iter().map(|who| scope.spawn(|| one(who))).collect();
        let panicked = |_| Err(Error::other("a measuring thread panicked"));
        all.into_iter().map(|one| one.join().unwrap_or_else(panicked)).collect()
    })
}

/// What series cost that are registered and get no samples. Leaves what each of a million takes beyond its labels.
fn show_idle(how: &How) -> Result<Option<f64>> {
    println!(
        "\n| registered series, one with samples | peak RSS, MiB | bytes a series | of them its labels | CPU ms a push |"
    );
    println!("|---|---|---|---|---|");
    let (mut one, mut beyond) = (0.0, None);
    for series in [1, 1000, 10_000, 100_000, 1_000_000] {
        let (mib, ms) = sender::idle(series, how)?;
        if series == 1 {
            one = mib;
            println!("| {series} | {mib:.1} | | | {ms:.2} |");
        } else {
            let each = (mib - one) * f64::from(1 << 20) / f64::from(series);
            let labels = floor::label_bytes(series as usize - 1);
            println!("| {series} | {mib:.1} | {each:.0} | {labels} | {ms:.2} |");
            beyond = Some(each - labels as f64);
        }
    }
    Ok(beyond)
}

fn number(name: &str, default: u32) -> Result<u32> {
    match env::var(name) {
        Ok(text) if !text.is_empty() => match text.parse() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(Error::other(format!("{name} is a number from 1"))),
        },
        _ => Ok(default),
    }
}
