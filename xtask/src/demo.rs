//! `cargo demo`: the main job, visibly working.
//!
//! Builds the host and the dummy plugin; starts `monitor-host receive` on a free port, unless REMOTE_WRITE_URL names a
//! receiver; runs the host against it with its defaults, and says where its status page is: at the usual address, or at a free
//! port where that is taken. Ctrl-C ends the host first, so that its last push arrives.
//!
//! Never: leaves a process running.

use std::env;
use std::io::{BufRead, BufReader, Error, Result};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// ADMIN_ADDR's default.
const USUAL_PAGE: &str = "127.0.0.1:9464";

/// Builds and runs; returns when Ctrl-C, SIGTERM or the end of the host ends it.
pub(crate) fn run() -> Result<ExitCode> {
    let binary = build()?;
    // Only now: a Ctrl-C during the build ends both as usual.
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let (receiver, url) = match env::var("REMOTE_WRITE_URL").ok().filter(|url| !url.is_empty()) {
        Some(url) => (None, url),
        None => {
            let (receiver, url) = receive(&binary)?;
            (Some(receiver), url)
        }
    };
    // A group of its own: the terminal's Ctrl-C must reach the host by us, before the receiver ends.
    let mut command = Command::new(&binary);
    // The sensor's series are what is to be seen: the host's own would bury them.
    if env::var_os("SELF_METRICS").is_none() {
        command.env("SELF_METRICS", "admin");
    }
    if let Some(address) = status_page()? {
        eprintln!("status page: http://{address}");
        command.env("ADMIN_ADDR", address);
    }
    let mut host = Ended(command.env("REMOTE_WRITE_URL", &url).process_group(0).spawn()?);
    let pid = pid_of(&host.0);
    thread::spawn(move || {
        for signal in signals.forever() {
            // The terminal has just shown ^C behind the table.
            eprintln!();
            // Twice asks the host to end at once; one that has ended needs nothing.
            let _ = kill_process(pid, if signal == SIGINT { Signal::INT } else { Signal::TERM });
        }
    });
    let status = host.0.wait()?;
    drop(receiver);
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds the host and the dummy plugin; returns the host's path.
fn build() -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status =
        Command::new(cargo).args(["build", "--package", "monitor-host", "--package", "monitor-dummy"]).status()?;
    if !status.success() {
        return Err(Error::other("the build failed"));
    }
    // Cargo put this program beside those that it has just built.
    Ok(env::current_exe()?.with_file_name("monitor-host"))
}

/// Starts the receiver on a free port; returns it and where to push.
fn receive(binary: &PathBuf) -> Result<(Ended, String)> {
    let mut command = Command::new(binary);
    command.args(["receive", "--listen", "127.0.0.1:0"]).process_group(0).stderr(Stdio::piped());
    let mut receiver = Ended(command.spawn()?);
    let stderr = receiver.0.stderr.take().ok_or_else(|| Error::other("the receiver has no stderr"))?;
    let (sender, first) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            eprintln!("receive: {line}");
            // Only the first line is waited for.
            let _ = sender.send(line);
        }
    });
    let line = first.recv().map_err(|_| Error::other("the receiver ended before it listened"))?;
    let url = line.split_whitespace().find(|word| word.starts_with("http://"));
    let url = url.ok_or_else(|| Error::other(format!("the receiver says no address: {line}")))?.to_owned();
    Ok((receiver, url))
}

/// Where the host is to serve its status page; none where ADMIN_ADDR says so, or leaves it to the host's log to tell.
fn status_page() -> Result<Option<String>> {
    if let Some(given) = env::var("ADMIN_ADDR").ok().filter(|given| !given.is_empty()) {
        let is_told = given.eq_ignore_ascii_case("off") || given.ends_with(":0");
        return Ok((!is_told).then_some(given));
    }
    // Let go of at once, for the host: another demo, or a run, may have the usual one.
    let listener = TcpListener::bind(USUAL_PAGE).or_else(|_| TcpListener::bind("127.0.0.1:0"))?;
    Ok(Some(listener.local_addr()?.to_string()))
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// A child that is asked to end, and awaited, when this is dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            let _ = kill_process(pid_of(&self.0), Signal::TERM);
            let _ = self.0.wait();
        }
    }
}
