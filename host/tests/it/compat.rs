//! Plugins that were built with another version of the plugin API.
//!
//! Enters: copies of plugin-api, changed by text as a later or an earlier version of it would be, each in a folder of
//! its own. Leaves: the fault plugin, built against each. Never: changes a file of the repository.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::faults::{LONG, NOWHERE, assert_all_arrived, books, lines, numbers, raw, stop, wait_for_text};
use crate::host::{Host, Running};
use crate::plugins;
use crate::sink::Sink;

/// A copy of plugin-api: its name, and each change as the file, what stands there, and what replaces it.
type Edition = (&'static str, &'static [(&'static str, &'static str, &'static str)]);

const VERSION: &str = "\nversion = \"1.0.0\"\n";

/// Both traits have grown at their end, and the plugin's side calls what an older host has not.
const NEWER: Edition = (
    "newer",
    &[
        ("Cargo.toml", VERSION, "\nversion = \"1.1.0\"\n"),
        (
            "src/abi.rs",
            "    fn release_series(&self, series: u64);\n",
            "    fn release_series(&self, series: u64);\n\n    fn added_to_the_host(&self) -> u64 {\n        11\n    }\n",
        ),
        (
            "src/abi.rs",
            "        RawQueueStats::default()\n    }\n",
            "        RawQueueStats::default()\n    }\n\n    fn added_to_the_plugin(&self, number: u64) -> u64 {\n        number\n    }\n",
        ),
        (
            "src/glue.rs",
            "log::connect(&host);\n",
            "log::connect(&host);\n        tracing::info!(got = host.added_to_the_host(), \"the newer plugin asked\");\n",
        ),
    ],
);

/// The plugin's trait has not grown yet: the method that stands behind its last field is not there.
const OLDER: Edition = (
    "older",
    &[
        (
            "src/abi.rs",
            "\n    /// The raw queue's books.\n    fn raw_queue(&self) -> RawQueueStats {\n        RawQueueStats::default()\n    }\n",
            "",
        ),
        ("src/glue.rs", " RawQueueStats, failure,", " failure,"),
        ("src/glue.rs", "\n    fn raw_queue(&self) -> RawQueueStats {\n        self.raw.stats()\n    }\n", ""),
    ],
);

/// Another major version.
const FOREIGN: Edition = ("foreign", &[("Cargo.toml", VERSION, "\nversion = \"2.0.0\"\n")]);

/// The fault plugin, built with this edition.
fn so(name: &str) -> &'static Path {
    static BUILT: OnceLock<BTreeMap<&str, PathBuf>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let all = [&NEWER, &OLDER, &FOREIGN];
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compat");
        all.iter().for_each(|edition| write_edition(&root, edition));
        let folders = |kind: &str| all.map(|(name, _)| format!("\"{kind}-{name}\"")).join(", ");
        // A workspace takes no two packages of one name as members.
        let manifest = format!(
            "[workspace]\nresolver = \"3\"\nmembers = [{}]\nexclude = [{}]\n\n{}\n{}",
            folders("plugin"),
            folders("api"),
            section("Cargo.toml", "workspace.dependencies"),
            section("Cargo.toml", "profile.dev"),
        );
        write(&root.join("Cargo.toml"), &manifest);
        // The same versions of everything else, which are on this machine: the host was built with them.
        let lock = fs::read_to_string(repository().join("Cargo.lock")).expect("the workspace has a lock file");
        write(&root.join("Cargo.lock"), &lock);
        let packages = all.map(|(name, _)| format!("plugin-{name}"));
        let names = packages.each_ref().map(String::as_str);
        let mut found = plugins::build(&root.join("Cargo.toml"), &names, &["--offline"]);
        all.iter().map(|(name, _)| (*name, found.remove(&format!("plugin-{name}")).expect("a library"))).collect()
    });
    &built[name]
}

/// Writes `api-NAME` and `plugin-NAME` into `root`.
fn write_edition(root: &Path, (name, changes): &Edition) {
    let mut files: BTreeMap<PathBuf, String> = BTreeMap::new();
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
    for (file, old, new) in *changes {
        let text = files.get_mut(Path::new(file)).unwrap_or_else(|| panic!("plugin-api has no {file} any more"));
        assert_eq!(text.matches(old).count(), 1, "this test knows another {file}: {old}");
        *text = text.replace(old, new);
    }
    for (file, text) in files {
        write(&root.join(format!("api-{name}")).join(file), &text);
    }
    let source = repository().join("host/tests/fault/src/lib.rs");
    let ours = "monitor-plugin-api.workspace = true";
    let dependencies = section("host/tests/fault/Cargo.toml", "dependencies");
    assert_eq!(dependencies.matches(ours).count(), 1, "{dependencies}");
    let manifest = format!(
        "[package]\nname = \"plugin-{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
         [lib]\npath = {source:?}\ncrate-type = [\"cdylib\"]\n\n{}",
        dependencies.replace(ours, &format!("monitor-plugin-api = {{ path = \"../api-{name}\" }}")),
    );
    write(&root.join(format!("plugin-{name}")).join("Cargo.toml"), &manifest);
}

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

fn host(edition: &str, url: &str) -> Host {
    let host = Host::new().env("MONITOR_IMPL_PATH", so(edition)).env("REMOTE_WRITE_URL", url);
    host.env("SCRAPE_INTERVAL_S", "0.02").env("PUSH_INTERVAL_S", "0.2")
}

/// The run's line about its plugin has this version of the API.
#[track_caller]
fn assert_api(running: &Running, version: &str) {
    let plugin = running.wait_for_log(|line| line.message() == "plugin", LONG);
    assert_eq!(plugin.field("api"), version, "{}", plugin.text);
}

#[test]
fn a_newer_plugin_runs_and_gets_defaults_for_what_this_host_lacks() {
    let sink = Sink::start();
    let running = host("newer", sink.url()).spawn();
    sink.wait_samples(20, LONG);
    stop(&running);
    assert_api(&running, "1.1.0");
    assert_all_arrived(&running, &sink);
    assert_eq!(wait_for_text(&running, "the newer plugin asked").field("fields"), "got=11");
}

#[test]
fn an_older_plugin_runs_and_the_host_does_without_what_it_lacks() {
    let sink = Sink::start();
    let running = host("older", sink.url()).spawn();
    sink.wait_samples(20, LONG);
    let ledger = stop(&running);
    assert_api(&running, "1.0.0");
    assert_eq!((ledger.dropped, ledger.refused_sends), (0, 0), "{ledger:?}");
    assert_eq!(numbers(&sink, &ledger), (1..=ledger.collected).collect::<Vec<_>>());
    assert_eq!(raw(&running, "raw_sent"), 0, "it can't tell");
    assert_eq!(sink.violations(), []);
}

#[test]
fn an_older_plugins_failures_are_told_as_ever() {
    for (how, says) in [("error", "the sensor has gone"), ("panic", "lib.rs:")] {
        let sink = Sink::start();
        let running = host("older", sink.url()).env("FAULT_PROCESS_DATA", how).spawn();
        assert_eq!(running.wait(LONG).code(), Some(1), "{}", running.log_text());
        assert_eq!(numbers(&sink, &books(&running)), (1..=10).collect::<Vec<_>>());
        assert!(lines(&running, "ERROR").iter().any(|line| line.message().contains(says)), "{}", running.log_text());
    }
}

#[test]
fn a_plugin_of_another_major_version_is_refused_in_one_line() {
    let running = host("foreign", NOWHERE).spawn();
    assert_eq!(running.wait(LONG).code(), Some(3), "{}", running.log_text());
    let log = running.log();
    assert_eq!(log.len(), 1, "{}", running.log_text());
    let message = log[0].message();
    assert!(log[0].level() == "ERROR" && message.contains("2.0.0") && message.contains("1.0.0"), "{message}");
    assert!(message.starts_with(&so("foreign").display().to_string()) && message.contains("rebuild"), "{message}");
}
