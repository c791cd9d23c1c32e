//! Tells the service manager that started this process how the run is: systemd, or whoever else speaks sd_notify(3).
//!
//! Enters: NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, which the manager sets, and how the run is. Leaves: datagrams, that
//! it runs (READY=1), that it ends (STOPPING=1), and, where a watchdog waits for it, that it is alive (WATCHDOG=1) and in
//! a sentence whether it delivers (STATUS=). What alive means is [`pulse`]'s to say.
//!
//! Where nobody asks, nothing: no socket, no wake-up. A crate for it (sd-notify) would read the environment by itself and
//! open a socket for each word, for what the standard library does in a line.
//!
//! Never: has a thread of its own; waits for the manager longer than a second; keeps a run from starting, going on or
//! ending.

pub mod pulse;

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, never, tick};

use crate::log::Limit;

/// The manager's variables. They are for the process that it started, and for none that this one starts.
pub const VARIABLES: [&str; 3] = [NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID];

const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";
const WATCHDOG_USEC: &str = "WATCHDOG_USEC";
const WATCHDOG_PID: &str = "WATCHDOG_PID";

/// How long the manager may leave a datagram lying.
const PATIENCE: Duration = Duration::from_secs(1);

/// However impatient the watchdog is, this often is enough.
const SHORTEST: Duration = Duration::from_millis(10);

/// What the end of a run may take beyond SHUTDOWN_TIMEOUT_S.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How much of a sentence is sent, in characters.
const MAX_STATUS: usize = 500;

/// The manager, if there is one.
#[derive(Debug, Default)]
pub struct Manager {
    link: Option<Link>,
    watchdog: Option<Duration>,
    limit: Limit,
}

#[derive(Debug)]
struct Link {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl Manager {
    /// The one that this environment names to the process with this id. What is wrong with it is one warning, and the run
    /// goes on without.
    pub fn of(env: impl Fn(&str) -> Option<OsString>, pid: u32) -> Self {
        let set = |name: &str| env(name).filter(|value| !value.is_empty());
        let Some(name) = set(NOTIFY_SOCKET) else { return Manager::default() };
        let link = match Link::to(&name) {
            Ok(link) => link,
            Err(error) => {
                tracing::warn!(
                    "{NOTIFY_SOCKET}={name:?}: {error}; the service manager is not told how this run is, which goes on"
                );
                return Manager::default();
            }
        };
        let watchdog = set(WATCHDOG_USEC).and_then(|text| match watchdog(&text, set(WATCHDOG_PID).as_deref(), pid) {
            Ok(watchdog) => watchdog,
            Err(wrong) => {
                tracing::warn!("{WATCHDOG_USEC}={text:?}: {wrong}; the watchdog is not told that this run is alive");
                None
            }
        });
        Manager { link: Some(link), watchdog, limit: Limit::default() }
    }

    /// When to look whether the run is alive: at half of the watchdog's time; never where there is none.
    pub fn looks(&self) -> Receiver<Instant> {
        self.watchdog.map_or_else(never, |_| tick(self.half()))
    }

    /// How late a stage may be: as long as it is between two looks.
    pub fn half(&self) -> Duration {
        self.watchdog.map_or(Duration::MAX, |watchdog| (watchdog / 2).max(SHORTEST))
    }

    /// Both workers run.
    pub fn ready(&mut self) {
        self.say("READY=1\nSTATUS=running");
    }

    /// The run is alive; this is how it is.
    pub fn alive(&mut self, status: &str) {
        self.say(&format!("WATCHDOG=1\nSTATUS={}", one_line(status)));
    }

    /// The run may not be alive: the watchdog is not told that it is.
    pub fn not_alive(&mut self, status: &str) {
        self.say(&format!("STATUS={}", one_line(status)));
    }

    /// The run ends, within this time.
    pub fn stopping(&mut self, within: Duration) {
        let usec = (within + LAST_WORDS).as_micros();
        // A SHUTDOWN_TIMEOUT_S that is longer than the unit's TimeoutStopSec holds.
        self.say(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={usec}\nSTATUS=ending: what waits is delivered"));
    }

    fn say(&mut self, words: &str) {
        let Some(Link { socket, address }) = &self.link else { return };
        if let Err(error) = socket.send_to_addr(words.as_bytes(), address)
            && let Some(suppressed) = self.limit.allow(Instant::now())
        {
            tracing::warn!(suppressed, "the service manager can't be told how this run is ({NOTIFY_SOCKET}): {error}");
        }
    }
}

impl Link {
    /// A path, or `@` and the name of an abstract socket.
    fn to(name: &OsStr) -> io::Result<Self> {
        let address = match name.as_bytes() {
            [b'@', abstract_name @ ..] => SocketAddr::from_abstract_name(abstract_name),
            [b'/', ..] => SocketAddr::from_pathname(name),
            _ => Err(io::Error::other("neither a path from the root nor @ and a name")),
        }?;
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Link { socket, address })
    }
}

/// The watchdog's time, if it waits for this process.
fn watchdog(usec: &OsStr, of: Option<&OsStr>, pid: u32) -> Result<Option<Duration>, &'static str> {
    let number = |text: &OsStr| text.to_str()?.parse::<u64>().ok();
    if let Some(of) = of {
        match number(of) {
            None => return Err("WATCHDOG_PID beside it is no number"),
            Some(of) if of != u64::from(pid) => return Ok(None),
            Some(_) => {}
        }
    }
    match number(usec) {
        None | Some(0 | u64::MAX) => Err("not a number of microseconds"),
        Some(usec) => Ok(Some(Duration::from_micros(usec))),
    }
}

/// A newline would begin another word.
fn one_line(text: &str) -> String {
    text.chars().take(MAX_STATUS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests;
