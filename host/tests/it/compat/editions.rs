//! Copies of plugin-api as other versions of it would be.
//!
//! Enters: the sources of plugin-api, and which edition is wanted. Leaves: changed sources. Never: knows more of the API
//! than the names of its two traits, of what each must have, and the few lines that an edition is about.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The files of a package, by their paths within it.
pub(super) type Files = BTreeMap<PathBuf, String>;

/// Another version of plugin-api.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Edition {
    /// As it is.
    Same,
    /// Both traits have grown at their end, and the plugin's side calls what an older host has not.
    Newer,
    /// No trait has grown yet: all that stands behind the last field of 1.0 is not there.
    Older,
    /// Another major version.
    Foreign,
    /// The same version with another type in it, as between two states of a branch.
    Altered,
    /// A loader that panics.
    Panicking,
}

impl Edition {
    /// A word for names of packages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Edition::Same => "same",
            Edition::Newer => "newer",
            Edition::Older => "older",
            Edition::Foreign => "foreign",
            Edition::Altered => "altered",
            Edition::Panicking => "panicking",
        }
    }

    /// The version that its manifest has.
    pub(crate) fn version(self) -> &'static str {
        match self {
            Edition::Newer => "1.99.0",
            Edition::Foreign => "2.0.0",
            _ => monitor_plugin_api::API_VERSION,
        }
    }

    /// Makes it of the sources as they are.
    pub(super) fn apply(self, files: &mut Files) {
        if self.version() != Edition::Same.version() {
            let from = format!("\nversion = \"{}\"\n", Edition::Same.version());
            replace(files, "Cargo.toml", &from, &format!("\nversion = \"{}\"\n", self.version()));
        }
        match self {
            Edition::Same | Edition::Foreign => {}
            Edition::Newer => {
                let host = "\n    fn added_to_the_host(&self) -> u64 {\n        11\n    }\n";
                add_to_trait(files, "HostAbi", host);
                let plugin = "\n    fn added_to_the_plugin(&self, number: u64) -> u64 {\n        number\n    }\n";
                add_to_trait(files, "MonitorAbi", plugin);
                let field = "    pub create: extern \"C\" fn(host: HostBox) -> RResult<MonitorBox, AbiError>,\n";
                replace(files, "src/abi.rs", field, &format!("{field}    pub added_to_the_module: u64,\n"));
                replace(files, "src/glue.rs", "create: create::<T> }", "create: create::<T>, added_to_the_module: 7 }");
                let connect = "log::connect(&host);\n";
                let asked = "tracing::info!(got = host.added_to_the_host(), \"the newer plugin asked\");\n";
                replace(files, "src/glue.rs", connect, &format!("{connect}        {asked}"));
            }
            Edition::Older => {
                for name in cut_trait(files, "HostAbi") {
                    absent(files, &name);
                }
                for name in cut_trait(files, "MonitorAbi") {
                    remove_method(files, "src/glue.rs", &name);
                }
                replace(files, "src/glue.rs", "use crate::abi::{", "#[allow(unused_imports)]\nuse crate::abi::{");
            }
            Edition::Altered => {
                let failure = "pub struct AbiError {\n    pub failure: i32,";
                replace(files, "src/abi.rs", failure, "pub struct AbiError {\n    pub failure: i64,");
                for (name, value) in [("ERROR", 0), ("PANIC", 1)] {
                    let from = format!("pub const {name}: i32 = {value};");
                    let to = format!("pub const {name}: i64 = {value};");
                    // The level of that name has another number.
                    replace(files, "src/abi.rs", &from, &to);
                }
            }
            Edition::Panicking => {
                let from = "|| PluginModule { create: create::<T> }.leak_into_prefix()";
                replace(
                    files,
                    "src/glue.rs",
                    from,
                    "|| match std::env::args().count() {\n        0 => PluginModule { create: create::<T> }.leak_into_prefix(),\n        _ => panic!(\"as the test asked\"),\n    }",
                );
            }
        }
    }
}

fn file<'a>(files: &'a mut Files, name: &str) -> &'a mut String {
    files.get_mut(&PathBuf::from(name)).unwrap_or_else(|| panic!("plugin-api has no {name} any more"))
}

fn replace(files: &mut Files, name: &str, from: &str, to: &str) {
    let text = file(files, name);
    assert_eq!(text.matches(from).count(), 1, "this test knows another {name}: {from}");
    *text = text.replace(from, to);
}

/// Where the trait's methods are.
fn body(text: &str, name: &str) -> std::ops::Range<usize> {
    let head = format!("pub trait {name}:");
    let start = text.find(&head).unwrap_or_else(|| panic!("src/abi.rs has no {head} any more"));
    start..start + text[start..].find("\n}\n").expect("a trait ends") + 1
}

fn add_to_trait(files: &mut Files, name: &str, method: &str) {
    let text = file(files, "src/abi.rs");
    let end = body(text, name).end;
    text.insert_str(end, method);
}

/// Takes away what stands behind the trait's last field of 1.0; the names of those methods.
fn cut_trait(files: &mut Files, name: &str) -> Vec<String> {
    let text = file(files, "src/abi.rs");
    let range = body(text, name);
    let last = range.start + text[range.clone()].find("#[sabi(last_prefix_field)]").expect("a trait has a last field");
    let behind = last + text[last..range.end].find(";\n").expect("that field has no default") + 2;
    let cut: String = text.drain(behind..range.end).collect();
    let methods = cut.lines().filter_map(|line| line.strip_prefix("    fn "));
    methods.map(|line| line.split(['(', '<']).next().unwrap_or(line).to_owned()).collect()
}

/// Removes a method that an `impl` block has.
fn remove_method(files: &mut Files, name: &str, method: &str) {
    let text = file(files, name);
    let start = text.find(&format!("\n    fn {method}(")).unwrap_or_else(|| panic!("{name} has no {method}"));
    let end = start + text[start..].find("\n    }\n").expect("a method ends") + "\n    }\n".len();
    text.replace_range(start..end, "\n");
}

/// Makes all that calls a method of the host get STOPPED instead.
fn absent(files: &mut Files, method: &str) {
    let call = format!(".{method}(");
    for (name, text) in files.iter_mut().filter(|(name, _)| !name.ends_with("abi.rs")) {
        while let Some(dot) = text.find(&call) {
            let mut start = dot;
            loop {
                let before = text[..start].trim_end();
                let path = before.trim_end_matches(|c: char| c.is_alphanumeric() || c == '_');
                start = path.len();
                match path.trim_end().strip_suffix('.') {
                    Some(before) => start = before.len(),
                    None => break,
                }
            }
            assert!(text[start..dot].contains("host"), "{}: {}", name.display(), &text[start..dot + call.len()]);
            text.replace_range(start..dot + call.len(), "crate::absent!(");
        }
    }
    let root = file(files, "src/lib.rs");
    if !root.contains("macro_rules! absent") {
        let at = root.find("\npub mod abi;").expect("src/lib.rs has the module abi");
        root.insert_str(
            at,
            "\n#[macro_export]\n#[doc(hidden)]\nmacro_rules! absent { ($($any:tt)*) => { $crate::abi::code::STOPPED }; }\n",
        );
    }
}

#[test]
fn a_call_of_an_absent_method_is_found_whole() {
    let mut files = Files::new();
    files.insert("src/lib.rs".into(), "//! x\n\npub mod abi;\n".into());
    let source = "fn f() {\n    match self.0\n        .host\n        .send_more(a, b) { _ => host.send_more(c) }\n}\n";
    files.insert("src/sender.rs".into(), source.into());
    absent(&mut files, "send_more");
    let changed = &files[&PathBuf::from("src/sender.rs")];
    assert_eq!(changed, "fn f() {\n    match crate::absent!(a, b) { _ => crate::absent!(c) }\n}\n");
}
