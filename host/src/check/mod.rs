//! `monitor-host check`: whether a plugin is fit to run, and what is wrong with it if not.
//!
//! Enters: a plugin's path and the few settings that a plugin can notice. Leaves: a report on standard output, for people
//! or as JSON, and the exit status: 0 all is well, 1 something is wrong, 2 the command line or a setting is, 3 the plugin
//! can't be loaded.
//!
//! The plugin runs in a child, the same program once more, whose report is passed on (`apart`).
//!
//! Never: opens a socket, writes a file, needs a privilege; heeds a setting that says where samples go.

// A plugin passes these.
mod apart;
mod run;
mod tap;
mod threads;

mod facts;

// What is said of it.
mod findings;
mod report;
mod text;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use crossbeam_channel::Receiver;

use self::apart::Teller;
use self::report::{Report, Subject};
use self::run::NotRun;
use self::text::People;
use crate::config::{self, Config, Mistakes, Var, plugin_path, vars};
use crate::plugin;

/// Something is wrong.
const PROBLEMS: u8 = 1;

/// The settings that apply to a check, each with its flag.
static FLAGS: &[&Var] = &[
    &vars::SCRAPE_INTERVAL_S,
    &vars::RAW_QUEUE_SIZE,
    &vars::PROC_QUEUE_SIZE,
    &vars::METRIC_DEFAULT,
    &vars::SERVICE_LABEL,
    &vars::EXTERNAL_LABELS,
    &vars::MAX_LABEL_VALUE_BYTES,
    &vars::MAX_SERIES,
    &vars::ALLOW_OUT_OF_ORDER,
    &vars::SHUTDOWN_TIMEOUT_S,
    &vars::LOG_LEVEL,
    &vars::LOG_FORMAT,
];

/// The subcommand's arguments.
pub fn command() -> Command {
    Command::new("check")
        .about("Load a plugin, run it for a moment without pushing, and say what is wrong with it")
        .after_help(
            "Only these settings are heeded, by flag or variable; a plugin reads its own.\n\n\
             Exit status: 0 all is well; 1 something is wrong; 2 the command line or a setting is;\n\
             3 the plugin can't be loaded.",
        )
        .next_line_help(true)
        .arg(Arg::new("path").value_name("PATH").value_parser(value_parser!(OsString)).help(
            "The plugin, a shared library; without it, MONITOR_IMPL_PATH or what lies beside the binary, as for run",
        ))
        .arg(
            Arg::new("seconds")
                .long("seconds")
                .value_name("SECONDS")
                .value_parser(length)
                .allow_negative_numbers(true)
                .default_value("3")
                .help("How long it runs, from 0.1 to 3600; Ctrl-C ends it sooner"),
        )
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print the report as one JSON document"))
        .arg(Arg::new(apart::FLAG).long(apart::FLAG).value_parser(value_parser!(i32)).hide(true))
        .args(config::flags(FLAGS))
}

fn length(text: &str) -> Result<Duration, &'static str> {
    let seconds: f64 = text.trim().parse().map_err(|_| "not a number of seconds")?;
    match seconds {
        0.1..=3600.0 => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("give a number from 0.1 to 3600"),
    }
}

/// What a check was told.
#[derive(Clone, Debug)]
pub struct Options {
    /// The settings; those that a check does not heed have their defaults.
    pub config: Config,
    /// How long the plugin runs.
    pub length: Duration,
    /// JSON rather than text.
    pub json: bool,
    /// The process that started this one to run the plugin; none for the one that a user starts.
    pub child_of: Option<i32>,
}

/// What the arguments and the environment mean.
///
/// # Errors
/// Every mistake in a setting that a check heeds.
pub fn options(flags: &ArgMatches, env: impl Fn(&str) -> Option<OsString>) -> Result<Options, Mistakes> {
    let heeded: Vec<&Var> = FLAGS.iter().copied().chain([&vars::MONITOR_IMPL_PATH]).collect();
    let mut config = Config::load_only(&heeded, flags, env)?;
    let path = flags.get_one::<OsString>("path").filter(|path| !path.is_empty());
    config.monitor_impl_path = path.map(PathBuf::from).or(config.monitor_impl_path);
    let length = flags.get_one("seconds").copied().unwrap_or(Duration::from_secs(3));
    let child_of = flags.get_one(apart::FLAG).copied();
    Ok(Options { config, length, json: flags.get_flag("json"), child_of })
}

/// Checks a plugin and prints the report.
pub fn run(options: &Options) -> ExitCode {
    crate::run::log_panics();
    let signals = match crate::run::signals() {
        Ok(signals) => signals,
        Err(error) => {
            tracing::error!("signals can't be awaited: {error}");
            return PROBLEMS.into();
        }
    };
    let config = &options.config;
    let exe = std::env::current_exe().unwrap_or_default();
    let chosen = plugin_path(config.monitor_impl_path.clone(), exe.parent().unwrap_or(Path::new(".")), Path::is_file);
    let subject = Subject {
        path: &chosen.path,
        is_dummy: chosen.is_dummy,
        scrape_interval: config.scrape_interval,
        manifest: None,
    };
    let done = match options.child_of {
        Some(parent) => Teller::claim(parent).and_then(|teller| measured(options, subject, &signals, &teller)),
        None => watched(options, subject, &signals),
    };
    done.unwrap_or_else(|error| {
        tracing::error!("the report can't be given: {error}");
        PROBLEMS
    })
    .into()
}

/// In the parent: the child's report is printed, or how it died. Returns the exit status.
fn watched(options: &Options, mut subject: Subject<'_>, signals: &Receiver<i32>) -> io::Result<u8> {
    let why = match apart::watch(signals) {
        Ok(end) => match end.sound_report() {
            Some((report, status)) => return print(report).map(|()| status),
            None => NotRun::Died(end),
        },
        Err(error) => NotRun::System(error),
    };
    // Read from its file: the library is never opened here.
    subject.manifest = plugin::inspect(subject.path).ok();
    let report = Report::of_none(&subject, &why);
    print(render(&report, options.json)?.as_bytes())?;
    Ok(report.exit_status)
}

/// In the child: runs the plugin and tells the parent. Returns the exit status.
fn measured(options: &Options, mut subject: Subject<'_>, signals: &Receiver<i32>, teller: &Teller) -> io::Result<u8> {
    teller.stage("while the library was opened");
    let measured = run::open(subject.path).and_then(|library| {
        subject.manifest = Some(library.manifest.clone());
        let stage = |what: &str| teller.stage(what);
        run::measure(library, subject.path, &options.config, options.length, signals, stage)
    });
    let report = match &measured {
        Ok(facts) => Report::of_run(&subject, facts),
        Err(why) => {
            if let NotRun::Refused(error) = why
                && !error.detail.is_empty()
            {
                tracing::debug!("{}", error.detail);
            }
            Report::of_none(&subject, why)
        }
    };
    teller.report(&render(&report, options.json)?, report.exit_status)?;
    Ok(report.exit_status)
}

fn render(report: &Report<'_>, json: bool) -> io::Result<String> {
    Ok(if json { serde_json::to_string_pretty(report)? + "\n" } else { People(report).to_string() })
}

fn print(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        // Whoever has seen enough still gets the status.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}
