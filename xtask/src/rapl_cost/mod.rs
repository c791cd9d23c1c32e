//! `cargo xtask rapl-cost`: what it costs to read ten energy counters a thousand times a second, beside Python.
//!
//! Enters: a release build of the host and the RAPL plugin, a `python3`, and `valgrind` where instructions are to be counted;
//! COST_SECONDS (30). Leaves: tables on standard output. All readers run at the same time, on the same files, so that what
//! else the machine does meets all of them. The files are ordinary ones: what the kernel does to answer is not
//! RAPL's own work, but the same for each reader.
//!
//! Never: leaves a process or a file behind; judges.

mod instructions;

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Error, Result};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio, id};
use std::thread;
use std::time::{Duration, Instant};

use crate::cost::{PATIENCE, build, receive, seconds};
use crate::measure::Ended;

/// Two sockets with two dies each, cores and memory in some of them, and a platform.
const ZONES: [(&str, &str); 10] = [
    ("intel-rapl:0", "package-0-die-0"),
    ("intel-rapl:0:0", "core"),
    ("intel-rapl:0:1", "dram"),
    ("intel-rapl:1", "package-0-die-1"),
    ("intel-rapl:1:0", "core"),
    ("intel-rapl:2", "package-1-die-0"),
    ("intel-rapl:2:0", "core"),
    ("intel-rapl:2:1", "dram"),
    ("intel-rapl:3", "package-1-die-1"),
    ("intel-rapl:4", "psys"),
];

const INTERVAL_S: f64 = 0.001;

/// How the Python reader treats its files, and what to call that.
const WAYS: [(&str, &str); 2] =
    [("kept", "Python, files kept open, as pyJoules"), ("opened", "Python, files opened each time")];

const READER: &str = include_str!("reader.py");

/// Builds, measures and prints.
pub(crate) fn run() -> Result<ExitCode> {
    let folder = build(&["monitor-host", "monitor-rapl"])?;
    let (tree, seconds) = (Tree::new()?, seconds()?);
    let load = || fs::read_to_string("/proc/loadavg").map(|text| text.trim().to_owned());
    println!(
        "{} counters every {INTERVAL_S} s for {seconds} s, all readers at once; /proc/loadavg before: {}",
        ZONES.len(),
        load()?
    );
    let time = Duration::from_secs(seconds);
    let pythons = WAYS.map(|(way, what)| (what, tree.python(way, INTERVAL_S, seconds)));
    let host = tree.watch_host(&folder, time)?;
    let mut rows = vec![host.reading, host.whole];
    for (what, python) in pythons {
        rows.push(tell_python(what, python?)?);
    }
    println!("while they ran: {}\n", load()?);
    println!(
        "| | readings of all counters | missed deadlines | greatest lateness, ms | share of a processor | µs for each counter | beside it |"
    );
    println!("|---|---|---|---|---|---|---|");
    let each_us = |row: &Row| row.cpu_s * 1e6 / (row.sweeps * ZONES.len() as u64) as f64;
    let first_us = each_us(&rows[0]);
    for row in &rows {
        println!(
            "| {} | {} | {} | {:.2} | {:.2} % | {:.2} | × {:.1} |",
            row.what,
            row.sweeps,
            row.missed,
            row.latest_s * 1e3,
            row.cpu_s / seconds as f64 * 100.0,
            each_us(row),
            each_us(row) / first_us
        );
    }
    instructions::run(&folder, &tree)?;
    Ok(ExitCode::SUCCESS)
}

/// What one reader did.
struct Row {
    what: &'static str,
    sweeps: u64,
    missed: u64,
    latest_s: f64,
    cpu_s: f64,
}

/// The plugin's reading thread, and all of the host.
struct Host {
    reading: Row,
    whole: Row,
}

/// The files, which are removed in the end.
struct Tree(PathBuf);

impl Tree {
    fn new() -> Result<Self> {
        let tree = Tree(env::temp_dir().join(format!("rapl-cost-{}", id())));
        for (zone, name) in ZONES {
            let folder = tree.0.join("class/powercap").join(zone);
            fs::create_dir_all(&folder)?;
            fs::write(folder.join("name"), format!("{name}\n"))?;
            fs::write(folder.join("max_energy_range_uj"), "262143328850\n")?;
            fs::write(folder.join("energy_uj"), "123456789012\n")?;
        }
        fs::write(tree.0.join("reader.py"), READER)?;
        Ok(tree)
    }

    /// Starts the Python reader. It ends by itself.
    fn python(&self, way: &str, interval_s: f64, amount: u64) -> Result<Child> {
        let mut command = self.python_command(way, interval_s, amount);
        let child = command.stdout(Stdio::piped()).spawn();
        child.map_err(|error| Error::other(format!("python3 can't be run: {error}")))
    }

    fn python_command(&self, way: &str, interval_s: f64, amount: u64) -> Command {
        let mut command = Command::new("python3");
        command.arg(self.0.join("reader.py")).arg(&self.0).args([way, &interval_s.to_string(), &amount.to_string()]);
        command
    }

    fn host_command(&self, folder: &Path, program: Command, url: &str) -> Command {
        let mut command = program;
        command.env_clear().envs(env::var_os("PATH").map(|path| ("PATH", path)));
        command.env("MONITOR_IMPL_PATH", folder.join("libmonitor_rapl.so")).env("SYSFS_ROOT", &self.0);
        command.env("REMOTE_WRITE_URL", url).env("SCRAPE_INTERVAL_S", INTERVAL_S.to_string());
        command.env("PROC_QUEUE_SIZE", "100000").env("LOG_FORMAT", "json").stderr(Stdio::piped());
        command
    }

    /// Runs the host for so long.
    fn watch_host(&self, folder: &Path, time: Duration) -> Result<Host> {
        let (url, first) = receive()?;
        let began = Instant::now();
        let mut host = Ended(self.host_command(folder, Command::new(folder.join("monitor-host")), &url).spawn()?);
        let log = host.0.stderr.take().ok_or_else(|| Error::other("the host has no stderr"))?;
        let log = thread::spawn(move || BufReader::new(log).lines().map_while(Result::ok).collect::<Vec<_>>());
        first.recv_timeout(PATIENCE).map_err(|_| Error::other("the host pushed nothing"))?;
        thread::sleep(time.saturating_sub(began.elapsed()));
        let (reading_s, whole_s) = cpu_s(host.0.id())?;
        host.stop()?;
        let log = log.join().map_err(|_| Error::other("the log's thread panicked"))?;
        let told = log.iter().rfind(|line| line.contains("RAPL was read"));
        let told = told.ok_or_else(|| Error::other("the plugin did not say how it went"))?;
        let row = |what, cpu_s| {
            let number = |name| field(told, name).ok_or_else(|| Error::other(format!("no {name} in {told}")));
            Ok::<_, Error>(Row {
                what,
                sweeps: number("sweeps")? as u64,
                missed: number("missed_deadlines")? as u64,
                latest_s: number("greatest_lateness_s")?,
                cpu_s,
            })
        };
        Ok(Host {
            reading: row("the plugin's reading thread", reading_s)?,
            whole: row("all of the host, which sends them too", whole_s)?,
        })
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // What was made here and nothing else lies there.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A number of a log line, by its name.
fn field(line: &str, name: &str) -> Option<f64> {
    let (_, rest) = line.split_once(&format!("{name}="))?;
    rest.split(|c: char| !c.is_ascii_digit() && c != '.' && c != 'e' && c != '-').next()?.parse().ok()
}

fn tell_python(what: &'static str, python: Child) -> Result<Row> {
    let output = python.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    let [sweeps, missed, latest_s, cpu_s] = numbers[..] else {
        return Err(Error::other(format!("the Python reader ended with {}: {text}", output.status)));
    };
    Ok(Row { what, sweeps: sweeps as u64, missed: missed as u64, latest_s, cpu_s })
}

/// The processor seconds of the thread `get_power`, and of all threads.
fn cpu_s(pid: u32) -> Result<(f64, f64)> {
    let (mut reading_s, mut whole_s) = (0.0, 0.0);
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread = thread?.path();
        let schedstat = fs::read_to_string(thread.join("schedstat"))?;
        let first = schedstat.split(' ').next().and_then(|ns| ns.parse::<u64>().ok());
        let seconds = first.ok_or_else(|| Error::other("schedstat is not as expected"))? as f64 / 1e9;
        whole_s += seconds;
        if fs::read_to_string(thread.join("comm"))?.trim() == "get_power" {
            reading_s += seconds;
        }
    }
    Ok((reading_s, whole_s))
}
