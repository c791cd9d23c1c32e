//! `cargo xtask bench [LOAD...] [--vs COMMAND]`: what the whole process costs under load, beside the floor.
//!
//! Enters: a release build of the host, of the plugin that makes the load, and of this program; BENCH_RUNS (5),
//! BENCH_PUSHES (3), BENCH_PROTOCOL (1.0). Leaves: a table, medians with the least and the most of all runs. A steady load
//! runs on all senders at the same time, so that what else the machine does meets all of them; the flood on one after the
//! other. Each sender has a receiver of its own, which reads every sample.
//!
//! Never: leaves a process running; judges.

pub(crate) mod floor;
mod receive;
mod sender;

use std::env;
use std::io::{Error, Result};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread;

use self::sender::{Cost, Who};

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

/// A column: its name, with how many decimals, and what is shown of a run.
type Column = (&'static str, usize, fn(&Cost) -> f64);

const COLUMNS: [Column; 8] = [
    ("CPU s per million", 3, |cost| cost.process.cpu_s / cost.samples * 1e6),
    ("% of a core", 2, |cost| cost.process.cpu_s / cost.seconds * 100.0),
    ("samples/s", 0, |cost| cost.samples / cost.seconds),
    ("bytes a sample", 2, |cost| cost.bytes / cost.samples),
    ("wakeups/s", 1, |cost| cost.process.wakeups / cost.seconds),
    ("peak RSS, MiB", 1, |cost| cost.process.peak_kib / 1024.0),
    ("PSS, MiB", 1, |cost| cost.process.share_kib / 1024.0),
    ("first push, s", 1, |cost| cost.first_s),
];

/// Builds everything as it is shipped, this program too, and lets that one measure.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let packages = ["monitor-host", "monitor-load", "xtask"].map(|name| ["--package", name]);
    if !cargo.args(["build", "--release"]).args(packages.as_flattened()).status()?.success() {
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
            name if LOADS.iter().any(|load| load.name == name) => names.push(name),
            name => {
                return Err(Error::other(format!("there is no load {name:?}: {}", LOADS.map(|l| l.name).join(", "))));
            }
        }
    }
    let (runs, pushes) = (number("BENCH_RUNS", 5)?, number("BENCH_PUSHES", 3)?);
    let protocol = env::var("BENCH_PROTOCOL").unwrap_or_else(|_| "1.0".into());
    let program = env::current_exe()?;
    let folder = program.parent().unwrap_or(Path::new("."));
    println!("remote write {protocol}, {runs} runs of {pushes} pushes: median (least to most)\n");
    println!("| load | sender | {} |", COLUMNS.map(|(name, ..)| name).join(" | "));
    println!("|---|---|{}", "---|".repeat(COLUMNS.len()));
    for load in LOADS.iter().filter(|load| names.is_empty() || names.contains(&load.name)) {
        let mut costs: Vec<Vec<Cost>> = senders.iter().map(|_| Vec::new()).collect();
        for _ in 0..runs {
            let one = |who: &Who| sender::run(who, folder, load, &protocol, pushes);
            let all: Vec<Result<Cost>> = if load.is_flood() {
                senders.iter().map(one).collect()
            } else {
                thread::scope(|scope| {
                    let all: Vec<_> = senders.iter().map(|who| scope.spawn(|| one(who))).collect();
                    let panicked = |_| Err(Error::other("a measuring thread panicked"));
                    all.into_iter().map(|one| one.join().unwrap_or_else(panicked)).collect()
                })
            };
            for (costs, cost) in costs.iter_mut().zip(all) {
                costs.push(cost?);
            }
        }
        show(load, &senders, &costs);
    }
    if names.is_empty() {
        show_idle(folder, pushes)?;
    }
    let mut starts = (0..4 * runs).map(|_| sender::start(folder)).collect::<Result<Vec<_>>>()?;
    let (least, median, most) = spread(&mut starts);
    println!("\nfrom exec to the first batch: {:.1} ms ({:.1} to {:.1})", median * 1e3, least * 1e3, most * 1e3);
    Ok(ExitCode::SUCCESS)
}

fn show(load: &Load, senders: &[Who], costs: &[Vec<Cost>]) {
    let mut floor = [0.0; COLUMNS.len()];
    for (who, costs) in senders.iter().zip(costs) {
        let mut medians = [0.0; COLUMNS.len()];
        let cells = COLUMNS.iter().zip(&mut medians).map(|((_, decimals, of), place)| {
            let (least, median, most) = spread(&mut costs.iter().map(of).collect::<Vec<_>>());
            *place = median;
            format!("{median:.decimals$} ({least:.decimals$} to {most:.decimals$})")
        });
        println!("| {} | {} | {} |", load.what, who.name(), cells.collect::<Vec<_>>().join(" | "));
        if matches!(who, Who::Floor) {
            floor = medians;
        } else {
            let ratios = medians.iter().zip(floor).map(|(own, floor)| format!("× {:.2}", own / floor));
            println!("| | beside the floor | {} |", ratios.collect::<Vec<_>>().join(" | "));
        }
        let dropped: f64 = costs.iter().map(|cost| cost.dropped).sum();
        if dropped > 0.0 {
            println!("| | **dropped** | {dropped} samples in all runs |");
        }
    }
}

/// What series cost that are registered and get no samples.
fn show_idle(folder: &Path, pushes: u32) -> Result<()> {
    println!(
        "\n| registered series, one with samples | peak RSS, MiB | bytes a series | of them its labels | CPU ms a push |"
    );
    println!("|---|---|---|---|---|");
    let mut one = 0.0;
    for series in [1, 1000, 10_000, 100_000, 1_000_000] {
        let (mib, ms) = sender::idle(folder, series, pushes)?;
        if series == 1 {
            one = mib;
            println!("| {series} | {mib:.1} | | | {ms:.2} |");
        } else {
            let each = (mib - one) * f64::from(1 << 20) / f64::from(series);
            println!("| {series} | {mib:.1} | {each:.0} | {} | {ms:.2} |", floor::label_bytes(series as usize - 1));
        }
    }
    Ok(())
}

fn spread(values: &mut [f64]) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[0], values[values.len() / 2], values[values.len() - 1])
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
