//! What is found only when a library is opened; and what must not be opened to find out.

use std::fs;
use std::path::Path;

use super::{Files, assert_refused, assert_refused_after_opening, made, refused};
use crate::compat::{self, Cell, Edition, Kind};
use crate::faults::{LONG, NOWHERE};
use crate::host::Host;
use crate::plugins;

/// Whether the host ran the constructors of this library, which it refuses.
fn was_opened(files: &Files, library: &Path) -> bool {
    let mark = files.0.path().join("mark");
    let host = Host::new().env("MONITOR_IMPL_PATH", library).env("REMOTE_WRITE_URL", NOWHERE).env("MARK", &mark);
    assert_eq!(host.spawn().wait(LONG).code(), Some(3));
    let opened = mark.exists();
    let _ = fs::remove_file(mark);
    opened
}

#[test]
fn no_foreign_constructor_runs_before_the_symbols_are_looked_for() {
    let files = Files::new();
    let foreign = made::foreign(files.0.path());
    assert_refused(&foreign, "is a library but no plugin");
    assert!(!was_opened(&files, &foreign));
    // The same constructor in a library that pretends to be a plugin: it does run, so this test sees it.
    let pretender = made::pretender(files.0.path());
    assert_refused(&pretender, "has a loader of another abi_stable; rebuild it");
    assert!(was_opened(&files, &pretender));
}

#[test]
fn what_the_compiler_makes_of_other_crate_types() {
    let files = Files::new();
    assert_refused(&made::archive(files.0.path()), "an archive (a static library?)");
    assert_refused(&made::object(files.0.path()), "is not a shared library but an object file");
}

#[test]
fn a_missing_symbol_or_library_is_named_with_how_to_see_it() {
    let files = Files::new();
    let unresolved = made::unresolved(files.0.path());
    assert_refused(&unresolved, "needs the symbol sensor_that_nobody_has, which no library");
    assert_refused(&unresolved, &format!("`ldd -r {}`", unresolved.display()));

    let whole = fs::read(plugins::so("monitor-fault")).unwrap();
    let (from, to) = (b"libgcc_s.so.1\0", b"libgone.so.99\0");
    let at = whole.windows(from.len()).position(|window| window == from).expect("a plugin is linked with libgcc_s");
    let bytes = [&whole[..at], to, &whole[at + to.len()..]].concat();
    let missing = files.file("missing.so", &bytes);
    assert_refused(&missing, "needs libgone.so.99, which can't be opened here (No such file or directory)");
    assert_refused(&missing, &format!("`ldd {}`", missing.display()));
}

#[test]
fn another_layout_is_told_in_one_line_and_at_length_where_asked() {
    let altered = compat::so(&Cell::new(Edition::Altered, Kind::Plain));
    assert_refused(&altered, "its types do not fit this host's: at AbiError.failure (in ");
    assert_refused(&altered, "), the type is i32 here and i64 there; rebuild it with the monitor-plugin-api 1.");

    let host = Host::new().env("MONITOR_IMPL_PATH", &altered).env("REMOTE_WRITE_URL", NOWHERE);
    let running = host.env("LOG_LEVEL", "DEBUG").spawn();
    assert_eq!(running.wait(LONG).code(), Some(3));
    let long = running.log().into_iter().filter(|line| line.level() == "DEBUG" && line.message().lines().count() > 100);
    assert_eq!(long.count(), 1, "{}", running.log_text());
}

#[test]
fn a_loader_that_panics_is_an_error() {
    let panicking = compat::so(&Cell::new(Edition::Panicking, Kind::Plain));
    // The panic itself is told by the library's own hook: it has not met the host yet.
    assert_refused_after_opening(&panicking, "its loader panicked");
    assert!(refused(&panicking).log_text().contains("as the test asked"));
}

#[test]
fn another_major_version_is_refused_before_it_is_opened() {
    let foreign = compat::so(&Cell::new(Edition::Foreign, Kind::Plain));
    assert_refused(&foreign, "was built with monitor-plugin-api 2.0.0, this host takes 1.");
}
