//! The fault plugin, built with other versions of plugin-api, in other ways, by other compilers.
//!
//! Enters: cells of the matrix. Leaves: the libraries, built once a run. Never: changes a file of the repository.
//!
//! All of them are packages of one workspace in the target folder, and share the target folder with the host.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use super::editions::{Edition, Files};
use crate::plugins;

/// How a plugin is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// As the tests are.
    Plain,
    /// Optimised.
    Release,
    /// Optimised as a whole, without symbols.
    LtoStrip,
    /// A panic ends the process.
    Abort,
    /// With an allocator that can't free the host's memory, nor the host its.
    Allocator,
}

pub(crate) const KINDS: [Kind; 5] = [Kind::Plain, Kind::Release, Kind::LtoStrip, Kind::Abort, Kind::Allocator];

/// One of the matrix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cell {
    pub(crate) edition: Edition,
    pub(crate) kind: Kind,
    /// A toolchain's name, for another compiler than the host's.
    pub(crate) toolchain: Option<String>,
}

impl Cell {
    pub(crate) fn new(edition: Edition, kind: Kind) -> Self {
        Cell { edition, kind, toolchain: None }
    }

    fn package(&self) -> String {
        // `1.95.0-x86_64-…` becomes `1-95-0`: a library is named after its package, with underscores.
        let version = self.toolchain.as_deref().and_then(|name| name.split('-').next());
        let toolchain = version.map(|version| format!("-{}", version.replace('.', "-")));
        format!("plugin-{}-{:?}{}", self.edition.name(), self.kind, toolchain.unwrap_or_default()).to_lowercase()
    }

    /// What cargo is told beyond how the tests are built.
    fn options(&self) -> Vec<String> {
        let own = match self.kind {
            Kind::Plain | Kind::Allocator => &[][..],
            // Nothing that holds for build scripts and macros too: they would be built again.
            Kind::Release => &["opt-level=3"],
            Kind::LtoStrip => &["opt-level=3", "lto=\"fat\"", "codegen-units=1", "strip=\"symbols\""],
            Kind::Abort => &["panic=\"abort\""],
        };
        let mut options: Vec<String> =
            own.iter().flat_map(|one| ["--config".into(), format!("profile.dev.{one}")]).collect();
        if let Some(toolchain) = &self.toolchain {
            let rustc = rustup(&["which", "rustc", "--toolchain", toolchain]).expect("it was listed");
            options.extend(["--config".to_owned(), format!("build.rustc={:?}", rustc.trim())]);
        }
        options
    }
}

/// Toolchains that are installed beside the one that runs.
pub(crate) fn other_toolchains() -> Vec<String> {
    let list = rustup(&["toolchain", "list"]).unwrap_or_default();
    let others = list.lines().filter(|line| !line.contains("active") && !line.contains("default"));
    others.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// What `rustup` prints; nothing where it is not installed.
fn rustup(arguments: &[&str]) -> Option<String> {
    let output = Command::new("rustup").args(arguments).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The library of a cell.
pub(crate) fn so(cell: &Cell) -> PathBuf {
    static BUILT: Mutex<BTreeMap<Cell, PathBuf>> = Mutex::new(BTreeMap::new());
    // One after the other: cargo would wait for itself anyway.
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = built.get(cell) {
        return path.clone();
    }
    let root = workspace(cell.edition);
    let package = cell.package();
    let options = cell.options();
    let options: Vec<&str> = std::iter::once("--offline").chain(options.iter().map(String::as_str)).collect();
    let path = plugins::build(&root.join("Cargo.toml"), &[&package], &options).remove(&package);
    let path = path.unwrap_or_else(|| panic!("{package} built no library"));
    built.insert(cell.clone(), path.clone());
    path
}

/// The folder of an edition, with all its cells in it. A workspace of its own: none takes two packages of one name.
fn workspace(edition: Edition) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compat").join(edition.name());
    write_api(&root, edition);
    let toolchains: Vec<_> = std::iter::once(None).chain(other_toolchains().into_iter().map(Some)).collect();
    let mut members = Vec::new();
    for (kind, toolchain) in KINDS.into_iter().flat_map(|kind| toolchains.iter().map(move |one| (kind, one))) {
        let cell = Cell { edition, kind, toolchain: toolchain.clone() };
        write_plugin(&root, &cell);
        members.push(format!("{:?}", cell.package()));
    }
    let manifest = format!(
        "[workspace]\nresolver = \"3\"\nmembers = [{}]\nexclude = [{:?}]\n\n{}\n{}",
        members.join(", "),
        api_folder(edition),
        section("Cargo.toml", "workspace.dependencies"),
        section("Cargo.toml", "profile.dev"),
    );
    write(&root.join("Cargo.toml"), &manifest);
    // The same versions of everything else, which are on this machine: the host was built with them.
    let lock = fs::read_to_string(repository().join("Cargo.lock")).expect("the workspace has a lock file");
    write(&root.join("Cargo.lock"), &lock);
    root
}

/// Named after the edition: cargo tells packages of one name and version apart by their path within the workspace.
fn api_folder(edition: Edition) -> String {
    format!("api-{}", edition.name())
}

fn write_api(root: &Path, edition: Edition) {
    let mut files = Files::new();
    let api = repository().join("plugin-api");
    for folder in ["", "src"] {
        for entry in fs::read_dir(api.join(folder)).expect("plugin-api is there") {
            let path = entry.expect("a readable folder").path();
            if path.is_file() {
                let name = path.strip_prefix(&api).expect("a path within").to_owned();
                files.insert(name, fs::read_to_string(&path).expect("a text file"));
            }
        }
    }
    edition.apply(&mut files);
    for (file, text) in files {
        write(&root.join(api_folder(edition)).join(file), &text);
    }
}

fn write_plugin(root: &Path, cell: &Cell) {
    let source = repository().join("host/tests/fault/src/lib.rs");
    let ours = "monitor-plugin-api.workspace = true";
    let dependencies = section("host/tests/fault/Cargo.toml", "dependencies");
    assert_eq!(dependencies.matches(ours).count(), 1, "{dependencies}");
    let folder = root.join(cell.package());
    let manifest = format!(
        "[package]\nname = {:?}\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[lib]\npath = {}\n\
         crate-type = [\"cdylib\"]\n\n{}",
        cell.package(),
        if cell.kind == Kind::Allocator { "\"lib.rs\"".to_owned() } else { format!("{source:?}") },
        dependencies.replace(ours, &format!("monitor-plugin-api = {{ path = \"../{}\" }}", api_folder(cell.edition))),
    );
    write(&folder.join("Cargo.toml"), &manifest);
    if cell.kind == Kind::Allocator {
        write(&folder.join("lib.rs"), &format!("{ALLOCATOR}\n#[path = {source:?}]\nmod fault;\n"));
    }
}

/// Each block begins 64 bytes behind what the system gave, and says so in front of it: whoever frees a block of the other
/// side's is found out at once.
const ALLOCATOR: &str = r#"
use std::alloc::{GlobalAlloc, Layout, System, handle_alloc_error};

struct Marked;

const MARK: u64 = 0x6d61_726b_6564_2121;

fn wider(layout: Layout) -> Layout {
    let room = layout.align().max(64);
    Layout::from_size_align(layout.size() + room, room).unwrap_or_else(|_| handle_alloc_error(layout))
}

unsafe impl GlobalAlloc for Marked {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let wider = wider(layout);
        unsafe {
            let start = System.alloc(wider);
            if start.is_null() {
                return start;
            }
            let block = start.add(wider.align());
            block.sub(8).cast::<u64>().write(MARK);
            block
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let wider = wider(layout);
        unsafe {
            let mark = block.sub(8).cast::<u64>();
            if mark.read() != MARK {
                eprintln!("freed what this library has not allocated");
                std::process::abort();
            }
            mark.write(0);
            System.dealloc(block.sub(wider.align()), wider);
        }
    }
}

#[global_allocator]
static ALLOCATOR: Marked = Marked;
"#;

/// A section of one of the repository's manifests, as it is written.
fn section(manifest: &str, name: &str) -> String {
    let text = fs::read_to_string(repository().join(manifest)).expect("a manifest");
    let start = text.find(&format!("[{name}]\n")).unwrap_or_else(|| panic!("{manifest} has no [{name}]"));
    let end = text[start..].find("\n[").map_or(text.len(), |length| start + length + 1);
    text[start..end].to_owned()
}

/// Writes a file, unless it is so already: cargo builds again what is newer than its result.
fn write(path: &Path, text: &str) {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return;
    }
    fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("a folder can be made");
    fs::write(path, text).expect("a file can be written");
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the host lies in the repository")
}
