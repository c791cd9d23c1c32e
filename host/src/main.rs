//! The program.

use std::process::ExitCode;

use monitor_host::receive;

fn main() -> ExitCode {
    let matches = clap::Command::new("monitor-host")
        .subcommand(receive::command())
        .get_matches();
    match matches.subcommand() {
        Some(("receive", matches)) => match receive::options(matches) {
            Ok(options) => receive::run(options),
            Err(error) => {
                eprintln!("monitor-host receive: {error}");
                ExitCode::from(2)
            }
        },
        _ => ExitCode::from(2),
    }
}
