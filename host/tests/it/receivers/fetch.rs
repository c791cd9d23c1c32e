//! The binaries of receivers, and of what else is real in these tests, out of Debian's packages, under `target/receivers/`.
//!
//! Enters: the running system's own apt configuration, which names the mirror. Leaves: one path a package. Never: needs
//! root, installs anything, touches the system's package lists or cache, names a host.
//!
//! apt and dpkg-deb do the work: apt with sources, lists and cache of its own in the target folder, so that the
//! packages are verified against Debian's keyring. Whoever comes first fetches all of them, under a file lock; each
//! appears under its name by a rename, complete or not at all.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::Kind;

/// Debian's rolling release: the newest packages, whose binaries still run on its stable release.
const UNSTABLE: &str = "sid";

/// Where Debian keeps its keys: the first name is the older one.
const KEYRINGS: [&str; 2] =
    ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"];

/// A package of Debian's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    /// Its name, which is that of its binary too.
    program: &'static str,
    /// Of the rolling release, not of the running one.
    newest: bool,
    folder: &'static str,
    /// Other binaries of it that are kept.
    tools: &'static [&'static str],
}

/// What machines are watched with.
pub(crate) const NODE_EXPORTER: Package =
    Package { program: "prometheus-node-exporter", newest: false, folder: "node-exporter-debian", tools: &[] };

const ALL: [Package; 4] =
    [package(Kind::PrometheusDebian), package(Kind::Prometheus3), package(Kind::VictoriaMetrics), NODE_EXPORTER];

/// The package of a receiver.
pub(super) const fn package(kind: Kind) -> Package {
    let (program, newest, folder) = match kind {
        Kind::PrometheusDebian => ("prometheus", false, "prometheus-debian"),
        Kind::Prometheus3 => ("prometheus", true, "prometheus-sid"),
        Kind::VictoriaMetrics => ("victoria-metrics", true, "victoria-metrics-sid"),
    };
    // The newer Prometheus' package has no promtool.
    let tools: &[_] = if matches!(kind, Kind::PrometheusDebian) { &["promtool"] } else { &[] };
    Package { program, newest, folder, tools }
}

/// The binary of a package, fetched first if need be. None, with one line that says so, where it can't be had; in CI that is
/// a failure.
pub(crate) fn binary(package: Package) -> Option<PathBuf> {
    // Asked once a process.
    static FETCHED: OnceLock<Result<(), String>> = OnceLock::new();
    let fetched = FETCHED.get_or_init(fetch_missing).clone();
    super::had(fetched.map(|()| home(package).join(package.program)), package.folder)
}

/// The package's version, such as `2.42.0+ds-5+b5`.
pub(super) fn version(package: Package) -> String {
    fs::read_to_string(home(package).join("version")).unwrap_or_else(|error| format!("unknown ({error})"))
}

/// The tool that comes with the Prometheus of the running release, as [`binary`].
pub(crate) fn promtool() -> Option<PathBuf> {
    binary(package(Kind::PrometheusDebian)).map(|prometheus| prometheus.with_file_name("promtool"))
}

/// The binaries that are kept of a package.
fn programs(package: Package) -> impl Iterator<Item = &'static str> {
    [package.program].into_iter().chain(package.tools.iter().copied())
}

/// A package's folder. Cargo's folder for test files lies directly in the target folder.
fn home(package: Package) -> PathBuf {
    root().join(package.folder)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("receivers")
}

fn fetch_missing() -> Result<(), String> {
    let failed = |error| format!("{}: {error}", root().display());
    fs::create_dir_all(root()).map_err(failed)?;
    let lock = File::create(root().join(".lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;

    let is_whole = |package: &Package| programs(*package).all(|program| home(*package).join(program).is_file());
    let missing: Vec<Package> = ALL.into_iter().filter(|package| !is_whole(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let work = root().join(".work");
    // What an interrupted fetch left. That there mostly is nothing is no error.
    let _ = fs::remove_dir_all(&work);
    let done = fetch(&work, &missing);
    let _ = fs::remove_dir_all(&work);
    done
}

fn fetch(work: &Path, missing: &[Package]) -> Result<(), String> {
    super::say(&format!("fetching receivers into {}", root().display()));
    let apt = Apt::new(work, Some(UNSTABLE))?;
    for &package in missing {
        let release = if package.newest { UNSTABLE } else { &apt.release };
        apt.run(&["download", &format!("{}/{release}", package.program)])?;
        unpack(work, package)?;
        super::say(&format!("fetched {} {}", home(package).display(), version(package)));
    }
    Ok(())
}

/// Takes the one package that lies in `work` apart and keeps its binaries and its version.
fn unpack(work: &Path, named: Package) -> Result<(), String> {
    let failed = |error| format!("unpacking {}: {error}", named.program);
    let is_package = |path: &PathBuf| path.extension() == Some(OsStr::new("deb"));
    let mut files = fs::read_dir(work).map_err(failed)?.flatten().map(|entry| entry.path());
    let package = files.find(is_package).ok_or_else(|| format!("apt-get downloaded no package {}", named.program))?;

    let (tree, kept) = (work.join("tree"), work.join("kept"));
    run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&tree))?;
    let version = run(Command::new("dpkg-deb").arg("--field").arg(&package).arg("Version"))?;

    fs::create_dir(&kept).map_err(failed)?;
    for program in programs(named) {
        fs::rename(tree.join("usr/bin").join(program), kept.join(program)).map_err(failed)?;
    }
    fs::write(kept.join("version"), version.trim()).map_err(failed)?;
    // What an earlier version of these tests kept less of. That there mostly is nothing is no error.
    let _ = fs::remove_dir_all(home(named));
    fs::rename(&kept, home(named)).map_err(failed)?;
    fs::remove_dir_all(&tree).map_err(failed)?;
    fs::remove_file(&package).map_err(failed)
}

/// An apt whose state lies in a folder of ours.
pub(crate) struct Apt {
    work: PathBuf,
    /// The running release, as apt's sources name it.
    release: String,
}

impl Apt {
    /// With the lists of the running release, and of another one; `download`s go into the folder.
    pub(crate) fn new(work: &Path, other: Option<&str>) -> Result<Self, String> {
        let failed = |error| format!("{}: {error}", work.display());
        for folder in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(work.join(folder)).map_err(failed)?;
        }
        fs::write(work.join("status"), "").map_err(failed)?;

        let (site, release) = mirror(work)?;
        let keyring = KEYRINGS.into_iter().find(|keyring| Path::new(keyring).exists());
        let keyring = keyring.ok_or("Debian's keyring (package debian-archive-keyring) is not there")?;
        let line = |release: &str| format!("deb [signed-by={keyring} target=Packages] {site} {release} main\n");
        let mut sources = line(&release);
        if let Some(other) = other.filter(|other| *other != release) {
            sources = line(other) + &sources;
        }
        fs::write(work.join("sources.list"), sources).map_err(failed)?;
        // The system's own settings stay (a proxy, say), but not what it runs after an update.
        let settings = format!(
            r#"Dir::Etc::SourceList "{0}/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State::Lists "{0}/lists";
Dir::State::status "{0}/status";
Dir::Cache "{0}/cache";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Acquire::Retries "2";
Acquire::http::Timeout "30";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"#,
            work.display()
        );
        fs::write(work.join("apt.conf"), settings).map_err(failed)?;
        let apt = Self { work: work.to_owned(), release };
        apt.run(&["update"])?;
        Ok(apt)
    }

    /// An `apt-get` with these arguments, to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<(), String> {
        self.ask(arguments).map(drop)
    }

    /// The same; what it printed.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new("apt-get");
        command.arg("-c").arg(self.work.join("apt.conf")).arg("-qq").args(arguments);
        run(command.current_dir(&self.work))
    }
}

/// The mirror that the system uses for the running release, and how its sources name that release. Asked of `update
/// --print-uris`, which fetches nothing and answers on a machine whose lists were never fetched too.
fn mirror(work: &Path) -> Result<(String, String), String> {
    let os = fs::read_to_string("/etc/os-release").unwrap_or_default();
    if !os.lines().any(|line| line == "ID=debian") {
        return Err("it would come out of Debian's packages, and this is no Debian".to_owned());
    }
    let codename = os.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).unwrap_or(UNSTABLE);

    let lists = format!("Dir::State::Lists={}", work.join("lists").display());
    let listed = run(Command::new("apt-get").args(["-o", &lists, "update", "--print-uris"]))?;
    // 'SITE/dists/RELEASE/InRelease' …, a line for each source. Updates and backports have a dash in the name.
    let source = |line: &str| {
        let uri = line.strip_prefix('\'')?.split('\'').next()?;
        let (site, release) = uri.strip_suffix("/InRelease")?.split_once("/dists/")?;
        Some((site.to_owned(), release.to_owned()))
    };
    let sources: Vec<_> = listed.lines().filter_map(source).collect();
    let by_codename = sources.iter().find(|(_, release)| release == codename);
    let by_suite = sources.iter().find(|(_, release)| ["stable", "testing", "unstable"].contains(&release.as_str()));
    by_codename.or(by_suite).cloned().ok_or_else(|| format!("apt's sources have no Debian mirror for {codename}"))
}

/// Runs a command to its end; its standard output, or one line that says what it said.
pub(crate) fn run(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.env("LC_ALL", "C").output().map_err(|error| format!("{name} can't be run: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{name}: {}: {}", output.status, said.lines().collect::<Vec<_>>().join("; ")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
