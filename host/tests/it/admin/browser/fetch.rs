//! Chromium and its driver: the installed ones, else Debian's packages, unpacked under `target/browser/`.
//!
//! Enters: the running system's own apt configuration, which names the mirror. Leaves: two programs, and the environment
//! that they need. Never: needs root, installs anything, mixes libraries of its own into an installed browser.
//!
//! Of the packages the headless shell is taken: it is the same engine without a desktop's libraries. What it links with comes
//! along, whatever the machine has, so that it is the same everywhere; the C library alone is the system's. One font family is
//! all that it sees, so that a page is as wide on each machine. Whoever comes first fetches all of it, under a file lock;
//! it appears by a rename, complete or not at all.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::receivers::fetch::{Apt, run};
use crate::receivers::{had, say};

const INSTALLED: [&str; 2] = ["/usr/bin/chromium", "/usr/bin/chromedriver"];

/// The browser, its data, its driver.
const PACKAGES: [&str; 3] = ["chromium-headless-shell", "chromium-common", "chromium-driver"];

/// Sans, serif and monospace, with the widths that most pages are made for.
const FONTS: &str = "fonts-liberation";

/// What those packages depend on and nobody runs here: it would bring a graphics stack along.
const LEFT_OUT: [&str; 4] = ["chromium", "chromium-common", "x11-utils", "xdg-utils"];

/// Another version's C library beside the system's loader ends every program at once.
const OF_THE_SYSTEM: [&str; 1] = ["libc6"];

/// A browser that can be started.
#[derive(Clone, Debug)]
pub(super) struct Chromium {
    /// The browser.
    pub(super) browser: PathBuf,
    /// The program that serves WebDriver for it.
    pub(super) driver: PathBuf,
    /// The environment that both need beside PATH and HOME.
    pub(super) variables: Vec<(&'static str, OsString)>,
}

impl Chromium {
    /// Fetched first if need be, asked once a process. Where it can't be had: none, and a line that says so; in CI a failure.
    #[track_caller]
    pub(super) fn get() -> Option<Self> {
        static FETCHED: OnceLock<Result<Chromium, String>> = OnceLock::new();
        had(FETCHED.get_or_init(find).clone(), "browser")
    }

    /// Below the root of unpacked packages.
    fn unpacked(root: &Path) -> Self {
        let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
        let libraries = ["usr/lib", "lib"].map(|folder| root.join(folder).join(&triplet));
        // Debian's libpulse looks for a part of its own there by an absolute path.
        let libraries = [&libraries[0], &libraries[1], &libraries[0].join("pulseaudio")];
        let libraries = std::env::join_paths(libraries).expect("a target folder without a colon");
        let fonts = root.join("fonts.conf").into_os_string();
        Self {
            browser: root.join("usr/lib/chromium/chromium-headless-shell"),
            driver: root.join("usr/bin/chromedriver"),
            variables: vec![("LD_LIBRARY_PATH", libraries), ("FONTCONFIG_FILE", fonts)],
        }
    }
}

fn find() -> Result<Chromium, String> {
    let [browser, driver] = INSTALLED.map(PathBuf::from);
    if browser.is_file() && driver.is_file() {
        return Ok(Chromium { browser, driver, variables: Vec::new() });
    }
    // Cargo's folder for test files lies directly in the target folder.
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("browser");
    let root = home.join("chromium");
    let failed = |error| format!("{}: {error}", root.display());
    fs::create_dir_all(&home).map_err(failed)?;
    let lock = File::create(home.join(".lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    if !root.is_dir() {
        say(&format!("fetching Chromium into {}", root.display()));
        let work = home.join(".work");
        // What an interrupted fetch left. That there mostly is nothing is no error.
        let _ = fs::remove_dir_all(&work);
        let fetched = fetch(&work, &root).and_then(|tree| fs::rename(tree, &root).map_err(failed));
        let _ = fs::remove_dir_all(&work);
        fetched?;
    }
    Ok(Chromium::unpacked(&root))
}

/// The unpacked tree of what will lie at `root`.
fn fetch(work: &Path, root: &Path) -> Result<PathBuf, String> {
    let failed = |error| format!("{}: {error}", work.display());
    let tree = work.join("tree");
    fs::create_dir_all(&tree).map_err(failed)?;
    let apt = Apt::new(work, None)?;

    download(&apt, &PACKAGES)?;
    let mut links_with = Vec::new();
    for package in packages_in(work)? {
        links_with.extend(dependencies(&run(Command::new("dpkg-deb").arg("--field").arg(&package).arg("Depends"))?));
    }
    links_with.sort();
    links_with.dedup();
    // To the resolver nothing is installed: it names all that they need in turn. `Inst NAME (VERSION …)`, a line each.
    let simulate = ["install", "--simulate", "--no-install-recommends", FONTS];
    let simulate: Vec<&str> = simulate.into_iter().chain(links_with.iter().map(String::as_str)).collect();
    let resolved = apt.ask(&simulate)?;
    let needed = resolved.lines().filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next());
    download(&apt, &needed.filter(|name| !OF_THE_SYSTEM.contains(name)).collect::<Vec<_>>())?;

    for package in packages_in(work)? {
        run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&tree))?;
    }
    fs::write(tree.join("fonts.conf"), fonts_conf(root)).map_err(failed)?;
    let unpacked = Chromium::unpacked(&tree);
    for program in [&unpacked.browser, &unpacked.driver] {
        // What can't run here, for a missing library say, must not take the place of what could.
        let version = run(Command::new(program).arg("--version").envs(unpacked.variables.clone()))?;
        say(&format!("fetched {}", version.trim()));
    }
    Ok(tree)
}

fn download(apt: &Apt, packages: &[&str]) -> Result<(), String> {
    apt.run(&[&["download"], packages].concat())
}

fn packages_in(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let files = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let files = files.flatten().map(|entry| entry.path());
    Ok(files.filter(|path| path.extension().is_some_and(|end| end == "deb")).collect())
}

/// The names in a field such as `libc6 (>= 2.35), libgtk-3-0 | xdg-desktop-portal-backend`, the first of each choice.
fn dependencies(field: &str) -> impl Iterator<Item = String> {
    let names = field.split(',').filter_map(|choice| choice.split_whitespace().next());
    names.filter(|name| !LEFT_OUT.contains(name)).map(str::to_owned)
}

fn fonts_conf(root: &Path) -> String {
    let alias = |(family, font): (&str, &str)| {
        format!("<alias binding=\"same\"><family>{family}</family><prefer><family>{font}</family></prefer></alias>\n")
    };
    let named = [("serif", "Liberation Serif"), ("monospace", "Liberation Mono"), ("Arial", "Liberation Sans")];
    // Whatever else is asked for, `system-ui` among it.
    let others = "<match><edit name=\"family\" mode=\"append_last\"><string>Liberation Sans</string></edit></match>\n";
    format!(
        "<?xml version=\"1.0\"?>\n<!DOCTYPE fontconfig SYSTEM \"fonts.dtd\">\n<fontconfig>\n<dir>{0}/usr/share/fonts</dir>\n\
         <cachedir>{0}/fonts-cache</cachedir>\n{1}{others}</fontconfig>\n",
        root.display(),
        named.map(alias).concat()
    )
}

#[test]
fn what_a_package_depends_on_is_read() {
    let field =
        "libc6 (>= 2.35), libgtk-3-0 | xdg-desktop-portal-backend, chromium-common (= 1.2), zlib1g (>= 1:1.2)\n";
    assert_eq!(dependencies(field).collect::<Vec<_>>(), ["libc6", "libgtk-3-0", "zlib1g"]);
}
