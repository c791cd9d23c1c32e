//! The flags: the table of variables enters, clap's arguments leave. Values are checked later, with the environment's.

use std::ffi::OsString;

use clap::{Arg, value_parser};

use super::Var;

/// A flag for each variable that is not a secret; each one's id is the variable's name.
pub(crate) fn flags(table: &'static [&'static Var]) -> impl Iterator<Item = Arg> {
    table.iter().filter(|var| !var.secret).map(|var| flag(var))
}

fn flag(var: &'static Var) -> Arg {
    let about = format!(
        "{}
Takes {}.
[env: {}] [default: {}]",
        var.help,
        var.kind.accepts(),
        var.name,
        var.default_text(),
    );
    let arg = Arg::new(var.name)
        .long(var.flag.as_str())
        .value_name(var.kind.placeholder())
        .value_parser(value_parser!(OsString))
        // "-1" is a wrong value that deserves our words, not an unknown flag.
        .allow_negative_numbers(true)
        .help_heading(var.group)
        .help(about);
    match var.kind.alone() {
        Some(meant) => arg.num_args(0..=1).default_missing_value(meant),
        None => arg,
    }
}
