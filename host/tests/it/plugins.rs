//! The plugins that tests load.
//!
//! Enters: a package's name. Leaves: the path of its shared library, built as the tests themselves were. Never: builds
//! more than once a run.
//!
//! `cargo test` does not build other packages' shared libraries, so this asks cargo for them.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// All that are ever asked for, so that one build makes them.
const PACKAGES: [&str; 7] = [
    "monitor-dummy",
    "monitor-fault",
    "monitor-nvml",
    "monitor-python",
    "monitor-python-bridge",
    "monitor-rapl",
    "monitor-scrape",
];

/// The shared library of one of these packages.
pub(crate) fn so(package: &str) -> &'static Path {
    static BUILT: OnceLock<BTreeMap<String, PathBuf>> = OnceLock::new();
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("Cargo.toml");
    // Beside the host's library, they and all that they stand on are what `cargo build` and `cargo demo` need: built once.
    let built = BUILT.get_or_init(|| build(&workspace, &PACKAGES, &["--lib", "--package", "monitor-host"]));
    built.get(package).unwrap_or_else(|| panic!("{package} built no shared library; built: {built:?}"))
}

/// Builds packages of the workspace with this manifest; their shared libraries.
pub(crate) fn build(manifest: &Path, packages: &[&str], options: &[&str]) -> BTreeMap<String, PathBuf> {
    // Cargo names itself to what it runs; a test run by hand has the cargo that built it.
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()));
    command.args(["build", "--message-format=json-render-diagnostics", "--manifest-path"]).arg(manifest);
    // What cargo tells this test of its own package. A build script that looks at such (ring's does) would run again, and all
    // that needs it be compiled again, by this cargo and then by the next one that builds the tests.
    let is_of_package = |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|start| name.starts_with(start));
    env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_of_package)).for_each(|(name, _)| {
        command.env_remove(name);
    });
    command.args(options).args(same_build()).args(packages.iter().flat_map(|package| ["--package", package]));
    let output = command.stderr(Stdio::inherit()).output().expect("cargo can be run");
    assert!(output.status.success(), "the plugins don't build: {command:?}");

    let messages = output.stdout.split(|&byte| byte == b'\n');
    messages.filter_map(|line| library(&serde_json::from_slice(line).ok()?)).collect()
}

/// The package and the path in a message about a shared library.
fn library(message: &Value) -> Option<(String, PathBuf)> {
    let is_library = message["target"]["crate_types"].as_array()?.iter().any(|kind| kind == "cdylib");
    let mut files = message["filenames"].as_array()?.iter().filter_map(Value::as_str);
    let file = files.find(|file| Path::new(file).extension().is_some_and(|end| end == "so"))?;
    // A library is named after its package, with underscores.
    let package = message["target"]["name"].as_str()?.replace('_', "-");
    is_library.then(|| (package, PathBuf::from(file)))
}

/// The arguments that give the target folder, the target and the profile of the running test, which lies in
/// `TARGET_DIR/[TRIPLE/]PROFILE/deps/`.
fn same_build() -> Vec<String> {
    let target_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a folder in the target folder");
    let test = env::current_exe().expect("a test knows where it lies");
    let within = test.strip_prefix(target_dir).expect("a test lies in the target folder");
    let folders: Vec<&str> = within.iter().filter_map(|folder| folder.to_str()).collect();
    let (triple, profile) = match folders[..] {
        [profile, "deps", _] => (None, profile),
        [triple, profile, "deps", _] => (Some(triple), profile),
        _ => panic!("{}: not where cargo puts tests", test.display()),
    };
    // The one profile whose folder has another name.
    let profile = if profile == "debug" { "dev" } else { profile };
    let mut arguments = vec![format!("--target-dir={}", target_dir.display()), format!("--profile={profile}")];
    arguments.extend(triple.map(|triple| format!("--target={triple}")));
    arguments
}

#[test]
fn each_plugin_package_gives_a_library() {
    for package in PACKAGES {
        let library = so(package);
        assert!(library.is_file(), "{}", library.display());
        assert!(library.ends_with(format!("lib{}.so", package.replace('-', "_"))), "{}", library.display());
    }
}
