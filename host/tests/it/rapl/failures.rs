//! What fails: each failure is told in a line and counted, and spoils nothing else.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::machine::{Machine, Zone, zone};
use super::{health, microjoules, of_domain};
use crate::faults::{LONG, NOWHERE, lines, stop, wait_for_text};
use crate::host::{Host, Line, Running};
use crate::plugins;
use crate::sink::{Sample, Sink};

const ZONES: &[Zone] = &[
    zone("intel-rapl:0", "package-0", 0, "package-0"),
    zone("intel-rapl:1", "package-1", 0, "package-1"),
    zone("intel-rapl:1:0", "dram", 0, "package-1/dram"),
];

const RANGE_UJ: u64 = 262_143_328_850;

fn machine() -> Machine {
    Machine::new(ZONES, RANGE_UJ, 5_000_000)
}

/// Makes reads fail as the kernel's do: a library that stands before libc's `pread`.
struct Faults {
    dir: tempfile::TempDir,
}

impl Faults {
    fn new() -> Self {
        let faults = Faults { dir: tempfile::tempdir().unwrap() };
        let (source, library) = (faults.dir.path().join("pread.c"), faults.library());
        fs::write(&source, include_str!("pread.c")).unwrap();
        faults.set("");
        // What links Rust's programs compiles C, too.
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).args([&library, &source]);
        let output = compiler.output().expect("a C compiler, as Rust needs one to link");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        faults
    }

    fn library(&self) -> PathBuf {
        self.dir.path().join("pread.so")
    }

    fn list(&self) -> PathBuf {
        self.dir.path().join("faults")
    }

    /// From now on these reads fail: lines of an error's number, a blank, and the end of a path.
    fn set(&self, faults: &str) {
        // At once, so that nobody reads half of it.
        let new = self.dir.path().join("new");
        fs::write(&new, faults).unwrap();
        fs::rename(&new, self.list()).unwrap();
    }

    fn start(&self, machine: &Machine, sink: &Sink) -> Running {
        let host = machine.host(sink.url()).env("SCRAPE_INTERVAL_S", "0.01");
        let host = host.env("LD_PRELOAD", self.library()).env("READ_FAULTS", self.list()).spawn();
        sink.wait_samples(1, LONG);
        host
    }
}

/// Ends the run; all that has arrived.
#[track_caller]
fn ended(host: &Running, sink: &Sink) -> Vec<Sample> {
    let ledger = stop(host);
    assert_eq!((ledger.dropped, ledger.refused_sends), (0, 0), "{ledger:?}");
    assert_eq!(sink.violations(), []);
    sink.wait_samples(ledger.delivered as usize, LONG)
}

/// How many lines of the log hold this text.
fn told(host: &Running, text: &str) -> usize {
    host.log().iter().filter(|line| line.text.contains(text)).count()
}

/// The energy of a domain at the end, in microjoules.
#[track_caller]
fn energy(samples: &[Sample], domain: &str) -> u64 {
    let of_domain = of_domain(samples, domain);
    let real = || of_domain.iter().filter(|sample| !sample.is_marker());
    let mut rising = real().zip(real().skip(1));
    assert!(rising.all(|(a, b)| a.value <= b.value && a.timestamp_ms < b.timestamp_ms), "{domain}");
    microjoules(real().next_back().unwrap_or_else(|| panic!("nothing of {domain}")).value)
}

#[test]
fn reads_that_fail_for_a_while_lose_no_energy() {
    let (mut machine, sink, faults) = (machine(), Sink::start(), Faults::new());
    let host = faults.start(&machine, &sink);
    machine.spend("intel-rapl:1", 1_000_000);
    // Both at once: each is told.
    faults.set("5 /intel-rapl:1/energy_uj\n61 /intel-rapl:1:0/energy_uj\n");
    wait_for_text(&host, "intel-rapl:1/energy_uj can't be read: EIO");
    wait_for_text(&host, "intel-rapl:1:0/energy_uj can't be read: ENODATA");
    for id in ["intel-rapl:0", "intel-rapl:1", "intel-rapl:1:0"] {
        machine.spend(id, 2_000_000);
    }
    sink.wait_for(LONG, "what others spend meanwhile", |samples| {
        of_domain(samples, "package-0").last().is_some_and(|sample| sample.value == 2.0)
    });
    faults.set("");
    host.wait_for_log(|line| is_read_again(line, "package-1"), LONG);
    host.wait_for_log(|line| is_read_again(line, "package-1/dram"), LONG);
    let samples = ended(&host, &sink);
    let spent = ["package-0", "package-1", "package-1/dram"].map(|domain| energy(&samples, domain));
    assert_eq!(spent, [2_000_000, 3_000_000, 2_000_000]);
    for errno in ["EIO", "ENODATA"] {
        assert!(health(&samples, "read_errors_total", Some(errno)) >= Some(1.0), "{errno}");
    }
    assert_eq!((told(&host, "can't be read"), told(&host, "is read again")), (2, 2), "{}", host.log_text());
    assert_eq!(
        (health(&samples, "lost_domains_total", None), health(&samples, "resets_total", None)),
        (Some(0.0), Some(0.0))
    );
}

/// Whether this line of the plugin's tells this of this domain.
fn is_of(line: &Line, text: &str, domain: &str) -> bool {
    line.message().contains(text) && line.field("fields") == format!("domain=\"{domain}\"")
}

fn is_read_again(line: &Line, domain: &str) -> bool {
    is_of(line, "is read again", domain)
}

#[test]
fn a_package_that_goes_offline_comes_back_by_its_name() {
    let (mut machine, sink, faults) = (machine(), Sink::start(), Faults::new());
    let host = faults.start(&machine, &sink);
    machine.spend("intel-rapl:1", 1_000_000);
    sink.wait_for(LONG, "the first joule", |samples| energy_is(samples, "package-1", 1.0));
    // What the library makes of a descriptor whose file is gone, as the kernel does: ENODEV.
    machine.vanishes("intel-rapl:1");
    wait_for_text(&host, "intel-rapl:1/energy_uj can't be read: ENODEV");
    host.wait_for_log(|line| is_of(line, "gone from powercap", "package-1"), LONG);
    sink.wait_for(LONG, "the end of its series", |samples| {
        ["package-1", "package-1/dram"].iter().all(|domain| of_domain(samples, domain).last().unwrap().is_marker())
    });
    // Another package lies now where it lay.
    machine.appears("intel-rapl:1", &zone("intel-rapl:1", "package-2", 0, "package-2"), 0);
    machine.appears("intel-rapl:4", &zone("intel-rapl:4", "package-1", 0, "package-1"), 77_000_000);
    host.wait_for_log(|line| is_read_again(line, "package-1"), LONG);
    sink.wait_for(LONG, "its series again", |samples| energy_is(samples, "package-1", 1.0));
    machine.spend("intel-rapl:4", 3_000_000);
    machine.spend("intel-rapl:1", 9_000_000);
    sink.wait_for(LONG, "what both spend", |samples| {
        energy_is(samples, "package-1", 4.0) && energy_is(samples, "package-2", 9.0)
    });
    let samples = ended(&host, &sink);
    assert_eq!((energy(&samples, "package-1"), energy(&samples, "package-2")), (4_000_000, 9_000_000));
    assert_eq!((energy(&samples, "package-0"), energy(&samples, "package-1/dram")), (0, 0));
    assert!(health(&samples, "read_errors_total", Some("ENODEV")) >= Some(2.0));
    assert_eq!(health(&samples, "lost_domains_total", None), Some(2.0));
    assert_eq!(health(&samples, "domains", None), Some(3.0));
    assert_eq!(told(&host, "gone from powercap"), 2, "{}", host.log_text());
}

fn energy_is(samples: &[Sample], domain: &str, joules: f64) -> bool {
    of_domain(samples, domain).last().is_some_and(|sample| sample.value == joules)
}

#[test]
fn a_counter_that_is_set_anew_is_no_wrap() {
    let (mut machine, sink) = (machine(), Sink::start());
    let host = machine.host(sink.url()).env("SCRAPE_INTERVAL_S", "0.01").spawn();
    sink.wait_samples(1, LONG);
    machine.spend("intel-rapl:0", 2_000_000);
    sink.wait_for(LONG, "two joules", |samples| energy_is(samples, "package-0", 2.0));
    // As after a sleep: from seven joules to one. A wrap would be 262 kJ.
    fs::write(machine.file("intel-rapl:0", "energy_uj"), format!("{:020}\n", 1_000_000)).unwrap();
    wait_for_text(&host, "was set anew");
    fs::write(machine.file("intel-rapl:0", "energy_uj"), format!("{:020}\n", 1_500_000)).unwrap();
    sink.wait_for(LONG, "half a joule more", |samples| energy_is(samples, "package-0", 2.5));
    let samples = ended(&host, &sink);
    assert_eq!(energy(&samples, "package-0"), 2_500_000);
    assert_eq!((health(&samples, "resets_total", None), health(&samples, "wraps_total", None)), (Some(1.0), Some(0.0)));
}

#[test]
fn counters_for_root_alone_are_told_with_what_to_do() {
    let (machine, copy) = (machine(), tempfile::tempdir().unwrap());
    // Root reads whatever its mode is: the host runs as somebody else then, who may not reach where the tests were built.
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let mode = if is_root { 0o400 } else { 0 };
    for zone in ZONES {
        fs::set_permissions(machine.file(zone.id, "energy_uj"), Permissions::from_mode(mode)).unwrap();
    }
    fs::set_permissions(copy.path(), Permissions::from_mode(0o755)).unwrap();
    let copied = |from: &Path, name: &str| {
        let to = copy.path().join(name);
        fs::copy(from, &to).unwrap();
        to
    };
    let binary = copied(Path::new(env!("CARGO_BIN_EXE_monitor-host")), "monitor-host");
    let library = copied(plugins::so("monitor-rapl"), "libmonitor_rapl.so");
    let host = Host::at(binary).env("MONITOR_IMPL_PATH", library).env("REMOTE_WRITE_URL", NOWHERE);
    let host = host.env("SYSFS_ROOT", machine.root());
    let host = if is_root { host.of_user(65534) } else { host };
    let running = host.spawn();
    assert_eq!(running.wait(LONG).code(), Some(3), "{}", running.log_text());
    let errors = lines(&running, "ERROR");
    assert_eq!(errors.len(), 1, "{}", running.log_text());
    let uid = if is_root { "65534".to_owned() } else { fs::metadata("/proc/self").unwrap().uid().to_string() };
    for says in [
        "class/powercap/intel-rapl:0/energy_uj can't be opened: EACCES".to_owned(),
        format!("its mode is {mode:04o} and this process runs as uid {uid}; run it as root"),
    ] {
        assert!(errors[0].text.contains(&says), "{}", errors[0].text);
    }
}

#[test]
fn a_machine_without_rapl_is_told_what_to_do() {
    let (empty, machine) = (tempfile::tempdir().unwrap(), machine());
    fs::create_dir_all(empty.path().join("zones/class/powercap/dtpm:0")).unwrap();
    for (root, says) in [
        (Path::new("/nonexistent").to_owned(), "no RAPL: /nonexistent/class/powercap: No such file"),
        (empty.path().join("zones"), "shows no zone intel-rapl:*; load the kernel module"),
    ] {
        let host = machine.host(NOWHERE).env("SYSFS_ROOT", &root).spawn();
        assert_eq!(host.wait(LONG).code(), Some(3));
        let errors = lines(&host, "ERROR");
        assert_eq!(errors.len(), 1, "{}", host.log_text());
        assert!(errors[0].text.contains(says), "{}", errors[0].text);
    }
}
