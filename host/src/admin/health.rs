//! `monitor-host health`: asks the admin page of the run beside it.
//!
//! Enters: ADMIN_ADDR, as the run has it. Leaves: what the page said, in one line, and the exit status: 0 it is well, 1 it
//! is not, or nobody answers.
//!
//! Never: reads another setting; waits longer than a few seconds for the next byte; reads more than 16 KiB.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::config::{self, Config, Mistakes, Var, vars};

/// The settings that it heeds.
static FLAGS: &[&Var] = &[&vars::ADMIN_ADDR];

/// How long the page may say nothing.
const TIMEOUT: Duration = Duration::from_secs(3);

/// How much of an answer is read, in bytes.
const MAX_ANSWER: u64 = 16 << 10;

/// How much of it is shown, in characters.
const MAX_SHOWN: usize = 500;

/// The subcommand's arguments.
pub fn command() -> Command {
    Command::new("health")
        .about("Ask the run on this machine whether it delivers: exit status 0 if so, 1 if not")
        .next_line_help(true)
        .arg(
            Arg::new("live")
                .long("live")
                .action(ArgAction::SetTrue)
                .help("Only whether it is alive; not whether the plugin runs and samples arrive"),
        )
        .args(config::flags(FLAGS))
}

/// What to ask, and where.
#[derive(Debug)]
pub struct Options {
    address: Option<SocketAddr>,
    path: &'static str,
}

/// Reads the arguments and ADMIN_ADDR.
///
/// # Errors
/// ADMIN_ADDR can't be used.
pub fn options(flags: &ArgMatches, env: impl Fn(&str) -> Option<OsString>) -> Result<Options, Mistakes> {
    let config = Config::load_only(FLAGS, flags, env)?;
    let path = if flags.get_flag("live") { "/live" } else { "/ready" };
    Ok(Options { address: config.admin_addr, path })
}

/// Asks, prints a line, and ends with 0 or 1.
pub fn run(options: &Options) -> ExitCode {
    let (line, is_well) = match options.address {
        None => ("ADMIN_ADDR is off: there is nobody to ask".to_owned(), false),
        Some(address) if address.port() == 0 => {
            ("ADMIN_ADDR has port 0: give the one that the run's log tells".to_owned(), false)
        }
        Some(address) => match ask(reachable(address), options.path) {
            Ok((status, line)) => (line, status == 200),
            Err(error) => (format!("http://{}{}: {error}", reachable(address), options.path), false),
        },
    };
    // Whoever closed the output wants the status alone.
    let _ = writeln!(io::stdout(), "{line}");
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Who listens on all addresses is reached on this machine's own.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn ask(address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    let read = stream.take(MAX_ANSWER).read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    match parse(&answer) {
        Some(parsed) => Ok(parsed),
        None => Err(read.err().unwrap_or_else(|| io::Error::other("what answers there is no monitor-host"))),
    }
}

/// Status and first line of an answer, fit to be shown.
fn parse(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let line = body.lines().next().unwrap_or_default().chars().take(MAX_SHOWN);
    Some((status, line.map(|c| if c.is_control() { '?' } else { c }).collect()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_answer_is_a_status_and_a_line() {
        let parsed = |answer: &str| parse(answer).map(|(status, line)| format!("{status} {line}"));
        assert_eq!(parsed("HTTP/1.0 200 OK\r\na: b\r\n\r\nready: x\nmore").as_deref(), Some("200 ready: x"));
        assert_eq!(parsed("HTTP/1.1 503 Not\r\n\r\nnot \x1b[2Jready\n").as_deref(), Some("503 not ?[2Jready"));
        assert_eq!(parsed("HTTP/1.1 204 \r\n\r\n").as_deref(), Some("204 "));
        assert_eq!(parsed(&format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(9000))).map(|line| line.len()), Some(504));
        for other in ["", "HTTP/1.1 200 OK", "SSH-2.0-x\r\n\r\n", "HTTP/1.1\r\n\r\n", "HTTP/1.1 99999999 x\r\n\r\n"] {
            assert_eq!(parsed(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_answer_is_a_short_line_or_none(head in "HTTP/1[.]1 [0-9]{1,6} .*", body: String) {
            if let Some((_, line)) = parse(&format!("{head}\r\n\r\n{body}")) {
                prop_assert!(line.chars().count() <= MAX_SHOWN && !line.contains(char::is_control));
            }
            prop_assert!(parse(&body).is_none_or(|(_, line)| !line.contains('\n')));
        }
    }

    #[test]
    fn who_listens_everywhere_is_asked_here() {
        for (bound, asked) in [
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:2", "[::1]:2"),
            ("10.0.0.1:3", "10.0.0.1:3"),
            ("127.0.0.1:4", "127.0.0.1:4"),
        ] {
            assert_eq!(reachable(bound.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
