//! The boundary, written down: `abi.txt` changes with it, and with it the version must.
//!
//! Enters: abi_stable's description of all types that cross, and the codes in `src/abi.rs`. Leaves: a text without
//! addresses or numbers of a compiler, the same on every target of 64 bits. UPDATE_GENERATED=1 writes it anew, where the
//! version allows. `frozen=no` in it says that no host has been released with this version yet: anything may change then.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use abi_stable::StableAbi;
use abi_stable::library::ROOT_MODULE_LOADER_NAME;
use abi_stable::std_types::UTypeId;
use abi_stable::type_layout::{TLData, TLField, TLFunction, TypeLayout};
use monitor_plugin_api::abi::{HostBox, MonitorBox, PluginModuleRef};
use monitor_plugin_api::{API_VERSION, manifest};

const HEAD: &str = "\
# The boundary between host and plugins, made by `UPDATE_GENERATED=1 cargo test -p monitor-plugin-api --test abi`.
# What may change in it under which version: COMPATIBILITY.md.
";

/// A definition's first line, and the lines within it.
type Definitions = BTreeMap<String, Vec<String>>;

/// What a change asks of the version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    None,
    Minor,
    Major,
}

#[derive(Default)]
struct Walk {
    seen: Vec<UTypeId>,
    definitions: Definitions,
}

impl Walk {
    fn go(&mut self, layout: &'static TypeLayout) {
        let id = layout.get_utypeid();
        if self.seen.contains(&id) {
            return;
        }
        self.seen.push(id);
        if is_ours(layout) {
            let lines = fields(layout).iter().filter(|field| !is_empty(field.layout())).map(line).collect();
            self.definitions.insert(head(layout), lines);
        } else if !matches!(layout.data(), TLData::Primitive(_)) && layout.size() > 0 {
            // What abi_stable makes its own types of is its own concern: its version is fixed.
            self.definitions.insert(head(layout), Vec::new());
        }
        for field in fields(layout).iter().chain(&layout.phantom_fields().to_vec()) {
            self.go(field.layout());
            for function in field.function_range().iter() {
                signature(&function).into_iter().for_each(|layout| self.go(layout));
            }
        }
    }
}

fn is_ours(layout: &TypeLayout) -> bool {
    layout.package() == "monitor-plugin-api"
}

/// Markers for the compiler alone. What has no size but ours is of use too: a trait's list of properties.
fn is_empty(layout: &TypeLayout) -> bool {
    layout.size() == 0 && !is_ours(layout)
}

fn fields(layout: &'static TypeLayout) -> Vec<TLField> {
    match layout.data() {
        TLData::Struct { fields } | TLData::Union { fields } => fields.to_vec(),
        TLData::PrefixType(prefix) => prefix.fields.to_vec(),
        TLData::Enum(variants) => variants.fields.to_vec(),
        TLData::Primitive(_) | TLData::Opaque => Vec::new(),
    }
}

/// A definition's first line. What may grow has no fixed size.
fn head(layout: &'static TypeLayout) -> String {
    let (name, size) = (name(layout), format!("size {} align {}", layout.size(), layout.alignment()));
    match layout.data() {
        TLData::Struct { .. } => format!("struct {name}, {size}"),
        TLData::Union { .. } => format!("union {name}, {size}"),
        TLData::PrefixType(prefix) => {
            format!("grows {name}, the first {} fields always there", prefix.first_suffix_field)
        }
        TLData::Enum(variants) => {
            let names: Vec<_> = variants.variant_names_iter().collect();
            format!("enum {name} of {}, {size}", names.join(" "))
        }
        TLData::Primitive(_) | TLData::Opaque => format!("opaque {name}, {size}"),
    }
}

/// Our types by their path; others with the types that they are about, which abi_stable does not keep as parameters.
fn name(layout: &'static TypeLayout) -> String {
    if is_ours(layout) {
        let path = layout.mod_path().to_string();
        return format!("{}::{}", path.trim_start_matches("monitor_plugin_api::"), layout.name());
    }
    let (mut about, mut seen) = (Vec::new(), Vec::new());
    leaves(layout, &mut seen, &mut about);
    if about.is_empty() { layout.name().to_owned() } else { format!("{}<{}>", layout.name(), about.join(", ")) }
}

fn leaves(layout: &'static TypeLayout, seen: &mut Vec<UTypeId>, about: &mut Vec<String>) {
    for field in fields(layout).iter().chain(&layout.phantom_fields().to_vec()) {
        let layout = field.layout();
        let id = layout.get_utypeid();
        if seen.contains(&id) {
            continue;
        }
        seen.push(id);
        let plain = matches!(layout.data(), TLData::Primitive(_)) && layout.phantom_fields().is_empty();
        if is_ours(layout) || plain || layout.name() == "()" {
            let name = if plain { layout.name().to_owned() } else { name(layout) };
            if !about.contains(&name) {
                about.push(name);
            }
        } else if !layout.is_prefix_kind() {
            leaves(layout, seen, about);
        }
    }
}

fn line(field: &TLField) -> String {
    let functions: Vec<String> = field.function_range().iter().map(|function| function_text(&function)).collect();
    match &functions[..] {
        [] => format!("{}: {}", field.name(), name(field.layout())),
        _ => format!("{}: {}", field.name(), functions.join("; ")),
    }
}

fn function_text(function: &TLFunction) -> String {
    let parameters: Vec<String> = function.param_type_layouts.iter().map(|of| name(of())).collect();
    let returns = function.return_type_layout().map(|of| format!(" -> {}", name(of()))).unwrap_or_default();
    let kind = if function.fn_qualifs.is_unsafe() { "unsafe fn" } else { "fn" };
    // Which of them borrow from whom: a change of that is a change of the type.
    let lifetimes = format!("{:?}", function.paramret_lifetime_indices).replace(", [NONE, NONE]", "");
    let lifetimes = lifetimes.split_once("array: ").map_or(lifetimes.as_str(), |(_, rest)| rest);
    format!("{kind}({}){returns}, lifetimes {}", parameters.join(", "), lifetimes.trim_end_matches([' ', '}', ')']))
}

/// Its parameters, then what it returns.
fn signature(function: &TLFunction) -> Vec<&'static TypeLayout> {
    let mut all: Vec<_> = function.param_type_layouts.iter().map(|of| of()).collect();
    all.extend(function.return_type_layout().map(|of| of()));
    all
}

/// Everything that both sides must agree on.
fn boundary() -> Definitions {
    let mut walk = Walk::default();
    for root in [PluginModuleRef::LAYOUT, HostBox::LAYOUT, MonitorBox::LAYOUT] {
        walk.go(root);
    }
    let mut symbols = vec![format!("loader: {ROOT_MODULE_LOADER_NAME}"), format!("manifest: {}", manifest::SYMBOL)];
    symbols.push(format!("manifest's first line: {}", manifest::FIRST_LINE));
    walk.definitions.insert("symbols".into(), symbols);
    let mut module = "abi";
    for text in include_str!("../src/abi.rs").lines() {
        if let Some(name) = text.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(" {")) {
            module = name;
        } else if text == "}" {
            module = "abi";
        } else if let Some(constant) = text.trim().strip_prefix("pub const ") {
            walk.definitions.entry(format!("codes {module}")).or_default().push(constant.into());
        }
    }
    walk.definitions
}

fn render(definitions: &Definitions, frozen: &str) -> String {
    let mut text = format!("{HEAD}version={API_VERSION}\nfrozen={frozen}\n");
    for (head, lines) in definitions {
        let _ = write!(text, "\n{head}\n");
        lines.iter().for_each(|line| text.push_str(&format!("    {line}\n")));
    }
    text
}

fn parse(text: &str) -> Definitions {
    let mut definitions = Definitions::new();
    let mut head = String::new();
    for line in text.lines().skip_while(|line| !line.starts_with("frozen=")).skip(1).filter(|line| !line.is_empty()) {
        match line.strip_prefix("    ") {
            Some(line) => definitions.get_mut(&head).expect("a definition has a first line").push(line.into()),
            None => {
                head = line.into();
                definitions.insert(head.clone(), Vec::new());
            }
        }
    }
    definitions
}

fn change(old: &Definitions, new: &Definitions) -> Change {
    let of_each = old.iter().map(|(head, lines)| match new.get(head) {
        Some(now) if now == lines => Change::None,
        // What may grow may do so at its end.
        Some(now) if (head.starts_with("grows ") || head.starts_with("codes ")) && now.starts_with(lines) => {
            Change::Minor
        }
        _ => Change::Major,
    });
    let added = if new.keys().any(|head| !old.contains_key(head)) { Change::Minor } else { Change::None };
    of_each.max().unwrap_or(Change::None).max(added)
}

/// Whether going from one version to the other is enough for such a change.
fn allowed(change: Change, from: &str, to: &str) -> bool {
    let numbers = |version: &str| -> Vec<u64> { version.split('.').filter_map(|number| number.parse().ok()).collect() };
    let (from, to) = (numbers(from), numbers(to));
    match change {
        Change::None => true,
        Change::Minor => to[..2] > from[..2],
        Change::Major => to[0] > from[0],
    }
}

#[test]
fn the_boundary_changes_with_the_version_only() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("abi.txt");
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let value = |key: &str| committed.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    let (version, frozen) = (value("version="), value("frozen="));
    let now = boundary();
    let change = change(&parse(&committed), &now);
    assert!(
        frozen != "yes" || allowed(change, version, API_VERSION),
        "the boundary of {version} was changed, and this is {API_VERSION}: such a change needs a higher version \
         ({change:?}); see plugin-api/COMPATIBILITY.md"
    );
    // A version that has risen has not been released yet.
    let frozen = if frozen == "yes" && version == API_VERSION { "yes" } else { "no" };
    let text = render(&now, frozen);
    if std::env::var_os("UPDATE_GENERATED").is_some_and(|update| update == "1") {
        std::fs::write(&path, &text).expect("abi.txt can be written");
    } else {
        assert!(
            committed == text,
            "the boundary is not what plugin-api/abi.txt says ({change:?} change): if that is meant, run \
             UPDATE_GENERATED=1 cargo test -p monitor-plugin-api --test abi, and say so in CHANGELOG.md"
        );
    }
}

#[test]
fn the_text_is_what_it_was_made_from() {
    let now = boundary();
    assert_eq!(parse(&render(&now, "no")), now);
    let text = render(&now, "no");
    for part in ["send_samples", "raw_queue", "SENT: i32 = 0;", "Sample, size 24 align 8", "AbiLogEvent", "AbiError"] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
    assert!(!text.contains("0x"), "an address:\n{text}");
}

#[test]
fn changes_are_told_apart() {
    let old = parse("frozen=no\n\nstruct S, size 8\n    a: u64\n\ngrows V\n    f: fn()\n\ncodes c\n    A: i32 = 1;\n");
    let edit = |from: &str, to: &str| {
        let text = render(&old, "no");
        assert!(text.contains(from));
        change(&old, &parse(&text.replace(from, to)))
    };
    assert_eq!(edit("frozen=no", "frozen=no"), Change::None);
    assert_eq!(edit("    f: fn()\n", "    f: fn()\n    g: fn()\n"), Change::Minor);
    assert_eq!(edit("\nstruct S", "\nstruct R, size 1\n\nstruct S"), Change::Minor);
    assert_eq!(edit("    A: i32 = 1;\n", "    A: i32 = 1;\n    B: i32 = 2;\n"), Change::Minor);
    assert_eq!(edit("    f: fn()\n", "    g: fn()\n    f: fn()\n"), Change::Major);
    assert_eq!(edit("    a: u64\n", "    a: u64\n    b: u64\n"), Change::Major);
    assert_eq!(edit("size 8", "size 16"), Change::Major);
    assert_eq!(edit("A: i32 = 1;", "A: i32 = 2;"), Change::Major);
    assert_eq!(edit("struct S, size 8\n    a: u64\n", ""), Change::Major);

    for (change, from, to, enough) in [
        (Change::None, "1.0.0", "1.0.0", true),
        (Change::Minor, "1.0.0", "1.0.1", false),
        (Change::Minor, "1.0.9", "1.1.0", true),
        (Change::Minor, "1.9.0", "1.10.0", true),
        (Change::Major, "1.0.0", "1.1.0", false),
        (Change::Major, "1.9.0", "2.0.0", true),
    ] {
        assert_eq!(allowed(change, from, to), enough, "{change:?} {from} {to}");
    }
}
