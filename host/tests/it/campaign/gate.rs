//! What stands between the host and a real Prometheus: it lets requests through, or does to them what the script says.
//!
//! Enters: requests, one fault for each, in turn. Leaves: every request that came whole, whether Prometheus has it, and
//! what the host was told. Never: changes a request; tells the host that Prometheus took what it did not take, but for the
//! empty 204 of one that does not know remote write 2.0.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::net::TcpSocket;

use super::oracle::{Answer, Request, Stored, Told};
use super::script::{Fault, Then};
use super::wire::{self, Version};
use crate::http;
use crate::receivers::port::Port;
use crate::watch::Watch;

/// REMOTE_WRITE_TIMEOUT_S of a host behind a gate.
pub(super) const TIMEOUT: Duration = Duration::from_secs(2);

/// An answer that was given so soon reached the host before its timeout.
const SURE: Duration = Duration::from_secs(1);

/// A peer that says nothing for this long is given up.
const IDLE: Duration = Duration::from_secs(30);

/// The header by which a request says which life of the host it is of.
pub(super) const LIFE_HEADER: &str = "x-life";

#[derive(Default)]
struct State {
    faults: VecDeque<Fault>,
    requests: Vec<Request>,
    /// What is no request of ours.
    complaints: Vec<String>,
    connections: usize,
    /// Nobody listens until then.
    shut_until: Option<Instant>,
    over: bool,
}

/// A running gate; gone when dropped.
pub(super) struct Gate {
    address: SocketAddr,
    state: Watch<State>,
    thread: Option<JoinHandle<()>>,
    _port: Port,
}

impl Gate {
    /// A gate before the receiver with this address.
    pub(super) fn start(upstream: String) -> Self {
        let port = Port::reserve().expect("a free port");
        let (address, state) = (port.address(), Watch::new(State::default()));
        let keeper = Keeper { address, upstream, state: state.clone() };
        Self { address, state, thread: Some(thread::spawn(move || keeper.run())), _port: port }
    }

    /// Where to push.
    pub(super) fn url(&self) -> String {
        format!("http://{}/api/v1/write", self.address)
    }

    /// These faults come next, instead of those that are left.
    pub(super) fn expect(&self, faults: &[Fault]) {
        self.state.update(|state| state.faults = faults.iter().cloned().collect());
        shut_if_due(&self.state, self.address);
    }

    /// Waits until nobody is connected, and the gate is open again: call it when the host is gone.
    pub(super) fn wait_idle(&self) {
        let idle = self.state.wait(IDLE, |state| (state.connections == 0 && state.shut_until.is_none()).then_some(()));
        idle.expect("a connection outlives its host");
    }

    /// All requests since the last time that this was asked, and what was none.
    pub(super) fn take(&self) -> (Vec<Request>, Vec<String>) {
        let mut taken = Default::default();
        self.state.update(|state| taken = (std::mem::take(&mut state.requests), std::mem::take(&mut state.complaints)));
        taken
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.state.update(|state| state.over = true);
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Closes the gate for a while where that is the next fault. Returns whether it did.
fn shut_if_due(state: &Watch<State>, address: SocketAddr) -> bool {
    let mut shut = false;
    state.update(|state| {
        if let Some(&Fault::Refuse { ms }) = state.faults.front() {
            state.faults.pop_front();
            state.shut_until = Some(Instant::now() + Duration::from_millis(ms));
            shut = true;
        }
    });
    if shut {
        // The keeper waits for a connection: here is one.
        let _ = TcpStream::connect(address);
    }
    shut
}

#[derive(Clone)]
struct Keeper {
    address: SocketAddr,
    upstream: String,
    state: Watch<State>,
}

impl Keeper {
    fn run(&self) {
        loop {
            let listener = TcpListener::bind(self.address).expect("the port is reserved");
            self.state.update(|state| state.shut_until = None);
            for stream in listener.incoming().flatten() {
                if self.state.get(|state| state.over) {
                    return;
                }
                if self.state.get(|state| state.shut_until.is_some()) {
                    break;
                }
                self.state.update(|state| state.connections += 1);
                let keeper = self.clone();
                thread::spawn(move || {
                    // What breaks off is the host's business, and a part of the game.
                    let _ = keeper.serve(stream);
                    keeper.state.update(|state| state.connections -= 1);
                });
            }
            drop(listener);
            while let Some(left) = self.state.get(|state| state.shut_until)
                && let Some(left) = left.checked_duration_since(Instant::now())
            {
                thread::sleep(left);
            }
        }
    }

    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(IDLE))?;
        stream.set_write_timeout(Some(IDLE))?;
        stream.set_nodelay(true)?;
        while stream.peek(&mut [0])? > 0 {
            let mut fault = None;
            self.state.update(|state| fault = state.faults.pop_front());
            let kept = self.handle(stream, fault.unwrap_or(Fault::Pass))?;
            let Some(kept) = kept.filter(|_| !shut_if_due(&self.state, self.address)) else { break };
            stream = kept;
        }
        Ok(())
    }

    /// One request; the connection, if it can be used again.
    fn handle(&self, mut stream: TcpStream, fault: Fault) -> io::Result<Option<TcpStream>> {
        let begun = Instant::now();
        let (cut_at, pause) = match fault {
            Fault::Cut { at, .. } => (at, Duration::ZERO),
            Fault::SlowRead { ms } => (usize::MAX, Duration::from_millis(ms) / 10),
            _ => (usize::MAX, Duration::ZERO),
        };
        let Some(raw) = read(&mut stream, cut_at, pause)? else {
            end(stream, matches!(fault, Fault::Cut { then: Then::Reset, .. }))?;
            return Ok(None);
        };
        let Some(index) = self.note(&raw) else { return Ok(None) };
        let version = self.state.get(|state| state.requests[index].version);
        let forward = || {
            self.change(index, |request| request.stored = Stored::Perhaps);
            let answer = raw.forward(&self.upstream)?;
            self.change(index, |request| {
                request.real = Some(answer.status);
                request.stored = if answer.status < 300 { Stored::Yes } else { Stored::Perhaps };
            });
            io::Result::Ok(answer)
        };
        let told = match fault {
            Fault::Cut { then, .. } => {
                end(stream, then == Then::Reset)?;
                return Ok(None);
            }
            Fault::Hang { stored } => {
                if stored {
                    forward()?;
                }
                // Until the host has had enough, or is gone.
                while stream.read(&mut [0; 64])? > 0 {}
                return Ok(None);
            }
            Fault::Status { status, stored, ref retry_after } => {
                if stored {
                    forward()?;
                }
                let asks = retry_after.as_ref().map(|asked| format!("Retry-After: {}\r\n", asked.header()));
                stream.write_all(&answer(status, &asks.unwrap_or_default(), "as the script says"))?;
                Told::Surely(Answer { status, written: None })
            }
            Fault::Silent if version == Version::V2 => {
                stream.write_all(&answer(204, "", ""))?;
                Told::Surely(Answer { status: 204, written: None })
            }
            Fault::Garbage => {
                stream.write_all(b"\x15\x03\x01 this is not HTTP\r\n\r\n")?;
                end(stream, false)?;
                return Ok(None);
            }
            Fault::CutAnswer { at, then } => {
                let (whole, real) = real(&forward()?, "");
                let at = at.min(whole.len());
                let head = whole.windows(4).position(|end| end == b"\r\n\r\n").map_or(whole.len(), |end| end + 4);
                // The host may have it, whether the rest came or not; so it is said before the host knows.
                if at >= head {
                    self.change(index, |request| request.told = Told::Unsure(real));
                }
                stream.write_all(&whole[..at])?;
                end(stream, then == Then::Reset)?;
                return Ok(None);
            }
            Fault::HugeHead => {
                let (whole, real) = real(&forward()?, &format!("X-Filler: {}\r\n", "x".repeat(1 << 20)));
                self.change(index, |request| request.told = Told::Unsure(real));
                stream.write_all(&whole)?;
                return Ok(None);
            }
            Fault::HugeBody => {
                let (_, mut said) = real(&forward()?, "");
                // A 204 has no body.
                said.status = if said.status == 204 { 200 } else { said.status };
                let written = said.written.map(written_header).unwrap_or_default();
                self.change(index, |request| request.told = Told::Unsure(said));
                stream.write_all(
                    format!("HTTP/1.1 {} Much\r\n{written}Content-Length: 16777216\r\n\r\n", said.status).as_bytes(),
                )?;
                (0..256).try_for_each(|_| stream.write_all(&[b'x'; 65_536]))?;
                return Ok(None);
            }
            Fault::SlowAnswer { ms } => {
                let (whole, real) = real(&forward()?, "");
                self.change(index, |request| request.told = Told::Unsure(real));
                for part in whole.chunks(whole.len().div_ceil(10)) {
                    thread::sleep(Duration::from_millis(ms) / 10);
                    stream.write_all(part)?;
                }
                return Ok(Some(stream));
            }
            Fault::Pass | Fault::SlowRead { .. } | Fault::Silent | Fault::Refuse { .. } => {
                let (whole, real) = real(&forward()?, "");
                stream.write_all(&whole)?;
                Told::Surely(real)
            }
        };
        // It is noted after it was said: the host's next request comes on this connection, so it is noted later.
        let told = match told {
            Told::Surely(answer) if begun.elapsed() > SURE => Told::Unsure(answer),
            told => told,
        };
        self.change(index, |request| request.told = told);
        Ok(Some(stream))
    }

    /// Takes note of a request that came whole; its place among them.
    fn note(&self, raw: &Raw) -> Option<usize> {
        let version = if raw.header("content-type").contains("v2") { Version::V2 } else { Version::V1 };
        let life = raw.header(LIFE_HEADER).parse();
        let read = wire::samples(version, &raw.body).and_then(|samples| Ok((samples, life.map_err(|_| "no life")?)));
        let mut index = None;
        self.state.update(|state| match read {
            Ok((samples, life)) => {
                let fingerprint = crc32fast::hash(&raw.body);
                let (stored, real, told) = (Stored::No, None, Told::Nothing);
                state.requests.push(Request { life, version, fingerprint, samples, stored, real, told });
                index = Some(state.requests.len() - 1);
            }
            Err(why) => state.complaints.push(why),
        });
        index
    }

    fn change(&self, index: usize, change: impl FnOnce(&mut Request)) {
        self.state.update(|state| change(&mut state.requests[index]));
    }
}

/// A request as it came.
struct Raw {
    head: String,
    body: Vec<u8>,
}

impl Raw {
    /// The value of a header, whose name is in small letters; empty without it.
    fn header(&self, name: &str) -> &str {
        let mut pairs = self.head.lines().filter_map(|line| line.split_once(':'));
        pairs.find_map(|(this, value)| this.eq_ignore_ascii_case(name).then_some(value.trim())).unwrap_or_default()
    }

    /// Prometheus' answer to it.
    fn forward(&self, upstream: &str) -> io::Result<http::Answer> {
        let names = ["content-type", "content-encoding", monitor_proto::VERSION_HEADER, "user-agent"];
        http::request("POST", upstream, &names.map(|name| (name, self.header(name))), &self.body)
    }
}

/// Reads a request, with a pause after each tenth or so; none where it was to be cut at this byte, and was.
fn read(stream: &mut TcpStream, cut_at: usize, pause: Duration) -> io::Result<Option<Raw>> {
    let step = if pause.is_zero() { 65_536 } else { 256 };
    let (mut bytes, mut part) = (Vec::new(), vec![0; step]);
    loop {
        if bytes.len() >= cut_at {
            return Ok(None);
        }
        let wanted = part.len().min(cut_at - bytes.len());
        let read = stream.read(&mut part[..wanted])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&part[..read]);
        if let Some(head) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            let mut raw = Raw { head: String::from_utf8_lossy(&bytes[..head]).into_owned(), body: Vec::new() };
            let length: usize = raw.header("content-length").parse().unwrap_or(0);
            if bytes.len() >= head + 4 + length {
                raw.body = bytes.split_off(head + 4);
                return Ok(Some(raw));
            }
        }
        thread::sleep(pause);
    }
}

/// Ends a connection: in good order as far as TCP knows, or by a reset.
fn end(stream: TcpStream, reset: bool) -> io::Result<()> {
    if reset {
        // Its close is a reset then, which the standard library has no way to ask for.
        TcpSocket::from_std_stream(stream).set_zero_linger()?;
    }
    Ok(())
}

/// What Prometheus said, as the host gets it.
fn real(said: &http::Answer, more: &str) -> (Vec<u8>, Answer) {
    let written = said.header(monitor_proto::SAMPLES_WRITTEN_HEADER).and_then(|count| count.parse().ok());
    let headers = written.map(written_header).unwrap_or_default() + more;
    (answer(said.status, &headers, &said.body), Answer { status: said.status, written })
}

fn written_header(count: u64) -> String {
    format!("{}: {count}\r\n", monitor_proto::SAMPLES_WRITTEN_HEADER)
}

fn answer(status: u16, headers: &str, body: &str) -> Vec<u8> {
    let length = if status == 204 { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let body = if status == 204 { "" } else { body };
    format!("HTTP/1.1 {status} Said\r\n{headers}{length}\r\n{body}").into_bytes()
}
