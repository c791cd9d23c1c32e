//! What went wrong while a library was opened, in one line with what to do.
//!
//! Enters: the words of the system's linker; the reports of abi_stable, which have hundreds of lines. Leaves: one line
//! each. Pure.

use std::path::Path;

use abi_stable::abi_stability::abi_checking::{AbiInstability, AbiInstabilityErrors};
use abi_stable::library::{LibraryError, RootModuleError};
use abi_stable::type_layout::TLFieldOrFunction;
use monitor_plugin_api::API_VERSION;

/// Why the library at `path` could not be opened, from what the system's linker said.
pub(super) fn opening(said: &str, path: &Path) -> String {
    let shown = path.display();
    if let Some((_, symbol)) = said.split_once("undefined symbol: ") {
        // `NAME, version VERSION (…)`, or the name alone.
        let symbol = symbol.split([' ', ',']).next().unwrap_or(symbol);
        return format!(
            "needs the symbol {symbol}, which no library that it is linked with has: `ldd -r {shown}` shows all of them; \
             link the missing library, or take a version of it that has the symbol"
        );
    }
    if let Some((library, why)) = said.split_once(": cannot open shared object file: ") {
        return format!(
            "needs {library}, which can't be opened here ({why}): `ldd {shown}` shows all that is missing; \
             add it to the image, or link it statically"
        );
    }
    if let Some((version, by)) =
        said.split_once("version `").and_then(|(_, rest)| rest.split_once("' not found (required by "))
    {
        let by = by.trim_end_matches(')');
        return format!("needs {version} (through {by}), which this system has not; build it in the sdk image");
    }
    let said = said.strip_prefix(&format!("{shown}: ")).unwrap_or(said);
    format!("can't be opened: {said}; build it again in the sdk image")
}

/// Why its loader is of no use, types aside.
pub(super) fn loader(error: &LibraryError) -> String {
    match error {
        LibraryError::RootModule { err: RootModuleError::Unwound, .. } => {
            "its loader panicked; export the plugin with export_monitor_impl!, which can't".into()
        }
        LibraryError::RootModule { err: RootModuleError::Returned(error), .. } => {
            format!("its loader failed: {}", first_line(&error.to_string()))
        }
        LibraryError::InvalidAbiHeader(_) => {
            format!(
                "has a loader of another abi_stable; rebuild it with the monitor-plugin-api {API_VERSION} of this host"
            )
        }
        other => format!("can't be loaded: {}; {}", first_line(&other.to_string()), rebuild()),
    }
}

/// The innermost type that differs: where it is, what this host has, and what the plugin has. `swapped` when the plugin's
/// side was the one that expected.
pub(super) fn layout(errors: &AbiInstabilityErrors, swapped: bool) -> String {
    let found = errors.errors.iter().filter(|error| !error.errs.is_empty());
    let Some(error) = found.max_by_key(|error| error.stack_trace.len()) else {
        return format!("its types do not fit this host's; {}", rebuild());
    };
    let steps: Vec<&TLFieldOrFunction> = error.stack_trace.iter().map(|step| &step.expected).collect();
    let place = place(&errors.interface.full_type().to_string(), &steps);
    let (what, expected, found) = difference(&error.errs[0]);
    let (ours, theirs) = if swapped { (found, expected) } else { (expected, found) };
    format!("its types do not fit this host's: at {place}, {what} is {ours} here and {theirs} there; {}", rebuild())
}

/// The innermost type with its field, and the function that leads there; the way to it can have twenty steps.
fn place(outermost: &str, steps: &[&TLFieldOrFunction]) -> String {
    let of = |step: &TLFieldOrFunction| match step {
        TLFieldOrFunction::Field(field) => first_line(&field.layout().full_type().to_string()),
        TLFieldOrFunction::Function(function) => function.name.to_string(),
    };
    let [.., last] = steps else { return first_line(outermost) };
    let owner = steps.len().checked_sub(2).map_or_else(|| first_line(outermost), |before| of(steps[before]));
    let name = match last {
        TLFieldOrFunction::Field(field) => field.name(),
        TLFieldOrFunction::Function(function) => function.name.as_str(),
    };
    let through = steps[..steps.len() - 1].iter().rev().find_map(|step| match step {
        TLFieldOrFunction::Function(function) => Some(function.name.as_str()),
        TLFieldOrFunction::Field(_) => None,
    });
    let through = through.filter(|through| *through != owner).map(|through| format!(" (in {through})"));
    format!("{owner}.{name}{}", through.unwrap_or_default())
}

fn rebuild() -> String {
    format!("rebuild it with the monitor-plugin-api {API_VERSION} of this host")
}

/// What differs, what was expected, what was found.
fn difference(one: &AbiInstability) -> (&'static str, String, String) {
    use AbiInstability as Ai;
    macro_rules! both {
        ($what:literal, $pair:expr) => {
            ($what, first_line(&$pair.expected.to_string()), first_line(&$pair.found.to_string()))
        };
    }
    match one {
        Ai::Size(pair) => both!("the size in bytes", pair),
        Ai::Alignment(pair) => both!("the alignment in bytes", pair),
        Ai::Name(pair) => both!("the type", pair),
        Ai::Package(pair) => both!("the type's crate", pair),
        Ai::PackageVersion(pair) => both!("the version of the type's crate", pair),
        Ai::MismatchedPrefixSize(pair) => both!("the number of fields that all versions have", pair),
        Ai::FieldCountMismatch(pair) => both!("the number of fields", pair),
        Ai::TooManyVariants(pair) => both!("the number of variants", pair),
        Ai::UnexpectedVariant(pair) => both!("a variant", pair),
        Ai::NonZeroness(pair) => both!("whether it is never zero", pair),
        Ai::GenericParamCount(pair) => both!("the type's parameters", pair),
        Ai::UnexpectedField(pair) => ("the field", pair.expected.name().into(), pair.found.name().into()),
        Ai::FieldLifetimeMismatch(pair) => {
            ("the lifetime of the field", pair.expected.name().into(), pair.found.name().into())
        }
        Ai::FnLifetimeMismatch(pair) => both!("the function's lifetimes", pair),
        Ai::FnQualifierMismatch(pair) => both!("the kind of function", pair),
        Ai::MismatchedPrimitive(pair) => ("the type", format!("{:?}", pair.expected), format!("{:?}", pair.found)),
        Ai::TLDataDiscriminant(pair) => {
            ("the kind of type", format!("{:?}", pair.expected), format!("{:?}", pair.found))
        }
        _ => ("its definition", "one".into(), "another".into()),
    }
}

fn first_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    line.chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linkers_words_become_advice() {
        let path = Path::new("/opt/x.so");
        for (said, says) in [
            (
                "libgone.so.3: cannot open shared object file: No such file or directory",
                "needs libgone.so.3, which can't be opened here (No such file or directory): `ldd /opt/x.so`",
            ),
            ("/opt/x.so: undefined symbol: sensor_open", "needs the symbol sensor_open, which"),
            ("/opt/x.so: undefined symbol: a, version V_1 (no version)", "needs the symbol a, which"),
            (
                "/lib/libm.so.6: version `GLIBC_2.99' not found (required by /opt/y.so)",
                "needs GLIBC_2.99 (through /opt/y.so), which this system has not",
            ),
            ("/opt/x.so: invalid ELF header", "can't be opened: invalid ELF header;"),
        ] {
            let line = opening(said, path);
            assert!(line.starts_with(says) && !line.contains('\n'), "{line}");
        }
    }
}
