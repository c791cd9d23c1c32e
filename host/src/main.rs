//! `monitor-host`: reads the command line and the environment, then does one thing and says how it went.

use std::process::ExitCode;

use monitor_host::cli::{self, Action};
use monitor_host::config::{self, Config, environment};
use monitor_host::plugin::process::worker;
use monitor_host::{log, receive, run};

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
        Action::PluginWorker(arguments) => worker::run(&arguments),
        Action::Version => {
            println!("{}", cli::version());
            ExitCode::SUCCESS
        }
        Action::Run(flags) => match Config::load(&flags, environment) {
            Ok(config) => {
                log::init(config.log_level, config.log_format, config::colour_allowed(environment));
                run::run(&config)
            }
            Err(mistakes) => {
                eprintln!("{mistakes}");
                BAD_CONFIGURATION.into()
            }
        },
    }
}
