//! `monitor-host`: reads the command line and the environment, then does one thing and says how it went.

use std::process::ExitCode;

use monitor_host::admin::health;
use monitor_host::cli::{self, Action};
use monitor_host::config::{self, Config, Mistakes, environment};
use monitor_host::notify::Manager;
use monitor_host::plugin::process::worker;
use monitor_host::{check, log, receive, run};

/// The configuration can't be used.
const BAD_CONFIGURATION: u8 = 2;

fn main() -> ExitCode {
    let action = cli::parse(std::env::args_os()).unwrap_or_else(|error| error.exit());
    match action {
        Action::Receive(flags) => match receive::options(&flags) {
            Ok(options) => receive::run(options),
            Err(mistake) => {
                eprintln!("{mistake}");
                BAD_CONFIGURATION.into()
            }
        },
        Action::Check(flags) => match check::options(&flags, environment) {
            Ok(options) => {
                start_log(&options.config);
                let status = check::run(&options);
                log::finish();
                status
            }
            Err(mistakes) => refuse(&mistakes),
        },
        Action::Health(flags) => match health::options(&flags, environment) {
            Ok(options) => health::run(&options),
            // Docker knows no other status of a health check.
            Err(mistakes) => {
                eprintln!("{mistakes}");
                ExitCode::FAILURE
            }
        },
        Action::PluginWorker(arguments) => worker::run(&arguments),
        Action::Version => {
            println!("{}", cli::version());
            ExitCode::SUCCESS
        }
        Action::Run(flags) => match Config::load(&flags, environment) {
            Ok(config) => {
                start_log(&config);
                let status = run::run(&config, Manager::of(environment, std::process::id()));
                log::finish();
                status
            }
            Err(mistakes) => refuse(&mistakes),
        },
    }
}

fn start_log(config: &Config) {
    log::init(config.log_level, config.log_format, config::colour_allowed(environment));
}

fn refuse(mistakes: &Mistakes) -> ExitCode {
    eprintln!("{mistakes}");
    BAD_CONFIGURATION.into()
}
