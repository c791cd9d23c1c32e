//! What chores that weigh one thing against another share: the programs as they are shipped, and a receiver that costs next to
//! nothing.

use std::env;
use std::io::{BufRead, BufReader, Error, Read, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::cargo::cargo;

/// By then a host has pushed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// COST_SECONDS (30): for how long something is measured.
pub(crate) fn seconds() -> Result<u64> {
    match env::var("COST_SECONDS") {
        Ok(text) if !text.is_empty() => text.parse().map_err(|_| Error::other("COST_SECONDS is a number of seconds")),
        _ => Ok(30),
    }
}

/// Builds these packages as they are shipped; returns their folder.
pub(crate) fn build(packages: &[&str]) -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--release"]).args(packages.iter().flat_map(|package| ["--package", package]));
    if !command.status()?.success() {
        return Err(Error::other("the build failed"));
    }
    // This program lies in the folder of another profile, beside that one.
    Ok(env::current_exe()?.with_file_name("..").join("release"))
}

/// A receiver that takes everything; returns where to push, and what tells of the first request.
pub(crate) fn receive() -> Result<(String, Receiver<Instant>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/api/v1/write", listener.local_addr()?);
    let (arrived, first) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let arrived = arrived.clone();
            thread::spawn(move || answer(&stream, &arrived));
        }
    });
    Ok((url, first))
}

/// Reads requests to the end of the connection.
fn answer(stream: &TcpStream, arrived: &Sender<Instant>) -> Result<()> {
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    stream.set_nodelay(true)?;
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(number) = line.strip_prefix("content-length:") {
                length = number.trim().parse().map_err(Error::other)?;
            }
        }
        std::io::copy(&mut (&mut reader).take(length), &mut std::io::sink())?;
        // Nobody may wait for it any more.
        let _ = arrived.send(Instant::now());
        writer.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
    }
}
