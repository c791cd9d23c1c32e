//! The command line: arguments enter, what to do leaves. Values are not checked here (the configuration does that), but
//! names are: an unknown flag is clap's error, exit status 2.

use std::ffi::OsString;

use clap::{ArgMatches, Command};

use crate::admin::health;
use crate::config::{self, vars};
use crate::plugin::process::worker;

/// What the command line asks for.
#[derive(Debug)]
pub enum Action {
    /// Run a plugin and push: `run`, or no subcommand. Holds the flags for [`config::Config::load`].
    Run(ArgMatches),
    /// Look at a plugin: `check`, with the arguments for [`crate::check::options`].
    Check(ArgMatches),
    /// Ask a run how it is: `health`, with the arguments for [`health::options`].
    Health(ArgMatches),
    /// Receive and show: `receive`, with that subcommand's own arguments.
    Receive(ArgMatches),
    /// Be the process of a plugin: what `run` starts, and nobody else.
    PluginWorker(ArgMatches),
    /// Print [`version`].
    Version,
}

/// Reads a command line, its program name first. An `Err` is a mistake, or a request for help:
/// [`clap::Error::exit`] prints either and ends with the right status (2 or 0).
pub fn parse(args: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Action, clap::Error> {
    let mut matches = command().try_get_matches_from(args)?;
    Ok(match matches.remove_subcommand() {
        Some((name, flags)) if name == "check" => Action::Check(flags),
        Some((name, flags)) if name == "health" => Action::Health(flags),
        Some((name, flags)) if name == "receive" => Action::Receive(flags),
        Some((name, arguments)) if name == worker::NAME => Action::PluginWorker(arguments),
        Some((name, _)) if name == "version" => Action::Version,
        Some((_, flags)) => Action::Run(flags),
        None => Action::Run(matches),
    })
}

/// The whole command line. The flags of `run` stand at the top too, because no subcommand means `run`.
pub fn command() -> Command {
    Command::new("monitor-host")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Runs a sensor plugin and pushes its samples by Prometheus remote write.\nNo command means run.")
        .after_help(after_help())
        .next_line_help(true)
        .disable_help_subcommand(true)
        .args_conflicts_with_subcommands(true)
        .args(config::flags(vars::TABLE))
        .subcommand(
            Command::new("run")
                .about("Run the plugin and push its samples")
                .after_help(after_help())
                .next_line_help(true)
                .args(config::flags(vars::TABLE)),
        )
        .subcommand(crate::check::command())
        .subcommand(health::command())
        .subcommand(crate::receive::command())
        .subcommand(worker::command())
        .subcommand(Command::new("version").about("Print the version"))
}

/// Name and version: `monitor-host 0.1.0`.
pub fn version() -> &'static str {
    concat!("monitor-host ", env!("CARGO_PKG_VERSION"))
}

/// Secrets have no flags, because other users of the machine can see those.
fn after_help() -> String {
    let secrets = vars::TABLE.iter().filter(|var| var.secret);
    let secrets: Vec<String> = secrets.map(|var| format!("  {:<26} {}", var.name, var.help)).collect();
    format!(
        "\
A value is the flag's, else the environment variable's, else the default; empty is unset.

Variables without a flag, because they may hold secrets:
{}

Exit status: 0 asked to stop; 1 a worker ended the run; 2 the configuration is wrong;
3 the plugin can't be loaded.",
        secrets.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_flags(args: &[&str]) -> ArgMatches {
        match parse(args) {
            Ok(Action::Run(flags)) => flags,
            other => panic!("{args:?}: {other:?}"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn no_subcommand_means_run() {
        for args in [
            &["monitor-host", "--push-interval-s", "1"][..],
            &["monitor-host", "run", "--push-interval-s", "1"],
            &["monitor-host", "run", "--push-interval-s=1"],
        ] {
            let flags = run_flags(args);
            let given = flags.get_one::<OsString>(vars::PUSH_INTERVAL_S.name);
            assert_eq!(given, Some(&OsString::from("1")), "{args:?}");
        }
        run_flags(&["monitor-host"]);
        run_flags(&["monitor-host", "run"]);
        assert!(matches!(parse(["monitor-host", "version"]), Ok(Action::Version)));
    }

    #[test]
    fn a_switch_needs_no_value() {
        let given = |args: &[&str]| run_flags(args).get_one::<OsString>(vars::DRY_RUN.name).cloned();
        for (args, value) in [
            (&["monitor-host", "run", "--dry-run"][..], "1"),
            (&["monitor-host", "--dry-run", "--push-interval-s", "1"], "1"),
            (&["monitor-host", "run", "--dry-run", "0"], "0"),
            (&["monitor-host", "run", "--dry-run=0"], "0"),
            (&["monitor-host", "run", "--dry-run="], ""),
        ] {
            assert_eq!(given(args), Some(OsString::from(value)), "{args:?}");
        }
    }

    #[test]
    fn mistakes_exit_2_and_help_exits_0() {
        let status = |args: &[&str]| parse(args).err().map(|error| error.exit_code());
        assert_eq!(status(&["monitor-host", "--push-intervall-s", "1"]), Some(2));
        assert_eq!(status(&["monitor-host", "--push-interval-s"]), Some(2));
        assert_eq!(status(&["monitor-host", "stray"]), Some(2));
        assert_eq!(status(&["monitor-host", "--push-interval-s", "1", "run"]), Some(2));
        assert_eq!(status(&["monitor-host", "--help"]), Some(0));
        assert_eq!(status(&["monitor-host", "run", "--help"]), Some(0));
        assert_eq!(status(&["monitor-host", "--version"]), Some(0));
    }

    #[test]
    fn help_shows_flag_variable_default_unit_and_meaning_of_each() {
        for args in [&["monitor-host", "--help"][..], &["monitor-host", "run", "--help"]] {
            let help = parse(args).unwrap_err().to_string();
            for var in vars::TABLE {
                let value = if var.kind.alone().is_some() { "[<" } else { "<" };
                let shown = help.contains(&format!("--{} {value}", var.flag.as_str()))
                    && help.contains(&format!("[env: {}]", var.name))
                    && help.contains(&format!("[default: {}]", var.default_text()))
                    && help.contains(var.help);
                assert_eq!(shown, !var.secret, "{} in\n{help}", var.name);
            }
            assert!(help.contains("[default: 4 s]"), "{help}");
            let longest = help.lines().map(str::len).max();
            assert!(longest <= Some(120), "{longest:?}\n{help}");
        }
    }
}
