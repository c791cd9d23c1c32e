//! Libraries that no plugin's macro makes, from a few lines of Rust by the compiler alone.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs when the library is opened: leaves a file at MARK.
const CONSTRUCTOR: &str = r#"
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = {
    extern "C" fn constructor() {
        if let Some(mark) = std::env::var_os("MARK") {
            std::fs::write(mark, "opened").unwrap();
        }
    }
    constructor
};
"#;

/// Looks like a plugin from outside: a manifest, and a loader that is none.
const SYMBOLS: &str = r#"
#[unsafe(export_name = "MONITOR_PLUGIN_MANIFEST")]
static MANIFEST: [u8; 256] = {
    let text = b"monitor-plugin-manifest 1\napi=API\nname=made\n";
    let mut bytes = [0; 256];
    let mut i = 0;
    while i < text.len() {
        bytes[i] = text[i];
        i += 1;
    }
    bytes
};

#[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
static LOADER: [u64; 512] = [0; 512];
"#;

/// Calls what no library has.
const UNRESOLVED: &str = r#"
unsafe extern "C" {
    fn sensor_that_nobody_has() -> i32;
}

#[unsafe(no_mangle)]
extern "C" fn call() -> i32 {
    unsafe { sensor_that_nobody_has() }
}
"#;

/// A library with a constructor and nothing that a plugin has.
pub(super) fn foreign(folder: &Path) -> PathBuf {
    compile(folder, "foreign", CONSTRUCTOR, "cdylib", "libforeign.so")
}

/// The same with the symbols of a plugin.
pub(super) fn pretender(folder: &Path) -> PathBuf {
    compile(folder, "pretender", &with_symbols(CONSTRUCTOR), "cdylib", "libpretender.so")
}

/// With the symbols of a plugin, and one that is missing.
pub(super) fn unresolved(folder: &Path) -> PathBuf {
    compile(folder, "unresolved", &with_symbols(UNRESOLVED), "cdylib", "libunresolved.so")
}

/// An archive, as authors get who forget their crate-type.
pub(super) fn archive(folder: &Path) -> PathBuf {
    compile(folder, "archive", "pub fn f() {}", "rlib", "libarchive.rlib")
}

/// An object file.
pub(super) fn object(folder: &Path) -> PathBuf {
    compile(folder, "object", "pub fn f() {}", "object", "object.o")
}

fn with_symbols(source: &str) -> String {
    format!("{source}{}", SYMBOLS.replace("=API", &format!("={}", monitor_plugin_api::API_VERSION)))
}

fn compile(folder: &Path, name: &str, source: &str, kind: &str, file: &str) -> PathBuf {
    let input = folder.join(format!("{name}.rs"));
    std::fs::write(&input, source).expect("a temporary file can be written");
    // Beside the cargo that runs this test, if that is known, else the one in PATH.
    let beside = env::var_os("CARGO").map(PathBuf::from).map(|cargo| cargo.with_file_name("rustc"));
    let rustc = env::var_os("RUSTC").map(PathBuf::from).or(beside.filter(|rustc| rustc.is_file()));
    let mut command = Command::new(rustc.unwrap_or_else(|| "rustc".into()));
    command.args(["--edition=2024", "--crate-name", name]).arg(&input).arg("-o").arg(folder.join(file));
    command.args(if kind == "object" { ["--crate-type=lib", "--emit=obj"] } else { ["--emit=link", "-Cdebuginfo=0"] });
    if kind != "object" {
        command.arg(format!("--crate-type={kind}"));
    }
    let output = command.output().expect("the compiler can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder.join(file)
}
