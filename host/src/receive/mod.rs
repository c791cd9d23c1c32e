//! `monitor-host receive`: a small remote-write receiver for demos, debugging and tests.
//!
//! Enters: remote write 1.0 and 2.0 over HTTP. Leaves: a live table, or a line of JSON a sample, and objections to
//! whatever a receiver may object to. It can be told to answer otherwise than it would. Never keeps more than the last
//! point of each series, and never forwards anything.

mod options;

// A request passes these from top to bottom.
mod server;

mod receiver;

pub(crate) mod decode;

mod check;

mod answer;

mod verdict;

pub(crate) mod table;

// What is seen of it.
pub(crate) mod lines;
mod view;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;

use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::sync::mpsc;

pub use answer::{Fault, FaultError};
pub use options::{Options, Protocols, command, options};
use receiver::{Receiver, Sinks};
use server::{End, Shared};

/// Between two tables on a terminal.
const REDRAW: Duration = Duration::from_secs(1);
/// Between two tables elsewhere; left out when nothing has come since.
const REPRINT: Duration = Duration::from_secs(3);

/// Receives until SIGINT or SIGTERM. Exit status: 0 asked to stop (or nobody reads standard output any more), 1 output
/// or runtime failed, 2 the address can't be listened on.
pub fn run(options: Options) -> ExitCode {
    let listener = match server::bind(&options.listen) {
        Ok(listener) => listener,
        Err(error) => return fail(2, &error),
    };
    let ended =
        listener.local_addr().and_then(|address| receive(options, listener, &format!("http://{address}/api/v1/write")));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &error.to_string()),
    }
}

fn fail(status: u8, error: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "monitor-host receive: {error}");
    ExitCode::from(status)
}

fn receive(options: Options, listener: std::net::TcpListener, url: &str) -> io::Result<()> {
    let json = options.json;
    let live = !json && io::stdout().is_terminal();
    // On a terminal the table would wipe the warnings away, so it shows them itself.
    let wiped = live && io::stderr().is_terminal();
    let sinks = Sinks {
        out: Box::new(BufWriter::new(io::stdout())),
        warnings: if wiped { Box::new(io::sink()) } else { Box::new(io::stderr()) },
    };
    let (end, mut ends) = mpsc::unbounded_channel();
    listen_to_signals(end.clone())?;
    let shared = Shared::new(Receiver::new(options, sinks, server::now().instant), end);

    let _ = writeln!(io::stderr(), "listening on {url}");
    if json {
        let mut line = Vec::new();
        lines::listening(&mut line, url)?;
        shared.with(|receiver| receiver.print(&String::from_utf8_lossy(&line)));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let end = runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        tokio::spawn(server::serve(listener, shared.clone()));
        if !json {
            tokio::spawn(show(shared.clone(), live, url.to_owned()));
        }
        Ok::<_, io::Error>(ends.recv().await)
    })?;
    drop(runtime);
    let total = shared.with(|receiver| receiver.total(server::now().wall_ms));
    match end {
        Some(End::Output(error)) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(io::Error::new(error.kind(), format!("can't write to standard output: {error}")));
        }
        Some(End::Signal) if !json => {
            let gap = if live { "\n" } else { "" };
            shared.with(|receiver| receiver.print(&format!("{gap}{total}\n")));
        }
        _ => drop(writeln!(io::stderr(), "{total}")),
    }
    Ok(())
}

fn listen_to_signals(end: mpsc::UnboundedSender<End>) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for _ in signals.forever() {
            if end.send(End::Signal).is_err() {
                break;
            }
        }
    })?;
    Ok(())
}

/// Prints the table again and again.
async fn show(shared: Shared, live: bool, url: String) {
    let mut shown = 0;
    if live {
        shared.with(|receiver| receiver.print("\x1b[2J"));
    }
    loop {
        tokio::time::sleep(if live { REDRAW } else { REPRINT }).await;
        shared.with(|receiver| {
            if live {
                let table = receiver.screen(server::now().wall_ms);
                receiver.print(&screen(&format!("listening on {url}\n{table}")));
            } else if receiver.requests() != shown {
                shown = receiver.requests();
                let text = receiver.view(server::now().wall_ms);
                receiver.print(&text);
            }
        });
    }
}

/// Text as a whole screen: drawn over the last one without flicker, long lines cut at the edge instead of wrapped. The
/// cursor stays in the last line, because a line more could scroll the screen.
fn screen(text: &str) -> String {
    format!("\x1b[H\x1b[?7l{}\x1b[J\x1b[?7h", text.trim_end().replace('\n', "\x1b[K\n"))
}
