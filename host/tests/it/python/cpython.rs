//! A CPython 3.11 of Debian's, and the packages of PyPI that modules under test import, under `target/python/`.
//!
//! Enters: the running system's own apt and pip configuration, which name the mirrors. Leaves: the root of a tree as an image
//! has it. Never: needs root, installs anything, takes a Python of the system's.
//!
//! Whoever comes first fetches all of it, under a file lock; it appears by a rename, complete or not at all.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::receivers::fetch::{Apt, run};
use crate::receivers::{had, say};

/// The release whose Python is 3.11; its packages run on later ones.
const RELEASE: &str = "bookworm";

/// The interpreter, its standard library, pip, and those of the libraries it needs that not every Debian has.
const PACKAGES: [&str; 12] = [
    "libpython3.11",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "python3.11-minimal",
    "python3-pip-whl",
    "libbz2-1.0",
    "libexpat1",
    "libffi8",
    "liblzma5",
    "libssl3",
    "libuuid1",
    "zlib1g",
];

/// What the modules import, with the hash of each file that may be taken: numpy's for x86-64 and for ARM.
const REQUIREMENTS: &str = "\
numpy==2.2.6 --hash=sha256:ba10f8411898fc418a521833e014a77d3ca01c15b0c6cdcce6a0d2897e6dbbdf \
             --hash=sha256:b64d8d4d17135e00c8e346e0a738deb17e754230d7e0810ac5012750bbd85a5a
pyJoules==0.5.1 --hash=sha256:558505e13b7e24ff2aceb5eab6e497f7cee101ed2605343238f25ff4750909cb
";

/// A Python installation.
#[derive(Clone)]
pub(crate) struct CPython {
    root: PathBuf,
}

impl CPython {
    /// Fetched first if need be, asked once a process. Where it can't be had: none, and a line that says so; in CI a failure.
    #[track_caller]
    pub(crate) fn get() -> Option<Self> {
        static FETCHED: OnceLock<Result<CPython, String>> = OnceLock::new();
        had(FETCHED.get_or_init(fetch_once).clone(), "CPython")
    }

    /// The interpreter, with the environment of [`CPython::variables`] and nothing else but PATH.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(self.root.join("usr/bin/python3.11"));
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.envs(self.variables());
        command
    }

    /// What a process needs that runs this Python: an image has it at the places where it is looked for.
    pub(crate) fn variables(&self) -> [(&'static str, OsString); 2] {
        [("PYTHONHOME", self.root.join("usr").into()), ("LD_LIBRARY_PATH", self.library_path())]
    }

    /// The shared library.
    pub(crate) fn library(&self) -> PathBuf {
        self.root.join("usr/lib").join(triplet()).join("libpython3.11.so.1.0")
    }

    fn library_path(&self) -> OsString {
        let folders = ["usr/lib", "lib"].map(|folder| self.root.join(folder).join(triplet()));
        std::env::join_paths(folders).expect("a target folder without a colon")
    }
}

/// Debian's name for the machine that the tests are built for.
fn triplet() -> String {
    format!("{}-linux-gnu", std::env::consts::ARCH)
}

fn fetch_once() -> Result<CPython, String> {
    // Cargo's folder for test files lies directly in the target folder. The name changes with what is fetched.
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("python");
    let root = home.join(format!("3.11-{:08x}", sum(&format!("{PACKAGES:?}{REQUIREMENTS}"))));
    let failed = |error| format!("{}: {error}", root.display());
    fs::create_dir_all(&home).map_err(failed)?;
    let lock = File::create(home.join(".lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    if !root.is_dir() {
        say(&format!("fetching CPython into {}", root.display()));
        let work = home.join(".work");
        // What an interrupted fetch left. That there mostly is nothing is no error.
        let _ = fs::remove_dir_all(&work);
        let fetched = fetch(&work).and_then(|tree| fs::rename(tree, &root).map_err(failed));
        let _ = fs::remove_dir_all(&work);
        fetched?;
    }
    Ok(CPython { root })
}

/// A name for the content, stable from one build to the next.
fn sum(text: &str) -> u32 {
    text.bytes().fold(0, |sum: u32, byte| sum.rotate_left(5).wrapping_mul(31).wrapping_add(u32::from(byte)))
}

fn fetch(work: &Path) -> Result<PathBuf, String> {
    let failed = |error| format!("{}: {error}", work.display());
    let tree = work.join("tree");
    fs::create_dir_all(&tree).map_err(failed)?;
    let apt = Apt::new(work, Some(RELEASE))?;
    let wanted = PACKAGES.map(|package| format!("{package}/{RELEASE}"));
    let arguments: Vec<&str> = ["download"].into_iter().chain(wanted.iter().map(String::as_str)).collect();
    apt.run(&arguments)?;
    for file in fs::read_dir(work).map_err(failed)?.flatten().map(|entry| entry.path()) {
        if file.extension().is_some_and(|end| end == "deb") {
            run(Command::new("dpkg-deb").arg("--extract").arg(&file).arg(&tree))?;
        }
    }
    install(&CPython { root: tree.clone() }, work)?;
    Ok(tree)
}

/// Lets pip, which Debian has as a wheel, install into the folder where an image's pip does.
fn install(python: &CPython, work: &Path) -> Result<(), String> {
    let failed = |error| format!("{}: {error}", work.display());
    let wheels = python.root.join("usr/share/python-wheels");
    let is_pip = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("pip-"));
    let mut files = fs::read_dir(&wheels).map_err(failed)?.flatten().map(|entry| entry.path());
    let pip = files.find(is_pip).ok_or("python3-pip-whl has no wheel of pip")?;

    let requirements = work.join("requirements.txt");
    fs::write(&requirements, REQUIREMENTS).map_err(failed)?;
    // The environment and pip's own configuration stay: a mirror or a proxy may be named there.
    let mut command = Command::new(python.root.join("usr/bin/python3.11"));
    command.envs(python.variables()).env("PYTHONPATH", pip).env("PIP_USER", "0").env("PIP_REQUIRE_VIRTUALENV", "0");
    command.args(["-m", "pip", "install", "--quiet", "--no-input", "--no-deps", "--only-binary", ":all:"]);
    command.args(["--require-hashes", "--requirement"]).arg(&requirements);
    command.arg("--target").arg(python.root.join("usr/local/lib/python3.11/dist-packages"));
    command.args(["--disable-pip-version-check", "--root-user-action=ignore", "--no-cache-dir"]);
    run(&mut command).map(drop)
}

#[test]
fn it_runs_and_imports_what_was_installed() {
    let Some(python) = CPython::get() else { return };
    assert!(python.library().is_file(), "{}", python.library().display());
    let script = "import ssl, ctypes, numpy, pyJoules, sys; print(*sys.version_info[:2], numpy.__version__)";
    let said = run(python.command().args(["-c", script]));
    assert_eq!(said.as_deref(), Ok("3 11 2.2.6\n"));
}
