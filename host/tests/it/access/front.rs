//! What stands before a receiver: a small HTTP/1.1 server, with TLS or without, that hears requests as they come; and a
//! proxy.
//!
//! Enters: connections on a port of its own. Leaves: heads of requests, in the order of arrival; the answers that the
//! test gives. Never: looks into a body.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::watch::Watch;

/// A peer that says nothing for this long has been forgotten.
const IDLE: Duration = Duration::from_secs(30);

/// The answer of a receiver that is content.
pub(crate) const TAKEN: &str = "HTTP/1.1 204 No Content\r\n\r\n";

/// A request's head.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    /// Method, target and version.
    pub(crate) line: String,
    headers: Vec<(String, String)>,
}

impl Heard {
    /// All headers of that name, which is in lower case.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str()).collect()
    }
}

type Answer = dyn Fn(&Heard) -> String + Send + Sync;

/// A running server; gone when dropped.
pub(crate) struct Front {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    heard: Watch<Vec<Heard>>,
    connections: Arc<AtomicUsize>,
    closed: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

impl Front {
    /// A receiver that takes all, by TLS if there are settings for it.
    pub(crate) fn receiver(tls: Option<Arc<ServerConfig>>) -> Self {
        Self::start(tls, None, |_| TAKEN.to_owned())
    }

    /// A receiver that answers as told, whole answers with their heads.
    pub(crate) fn answering(answer: impl Fn(&Heard) -> String + Send + Sync + 'static) -> Self {
        Self::start(None, None, answer)
    }

    /// The same by TLS.
    pub(crate) fn answering_by(
        tls: Arc<ServerConfig>,
        answer: impl Fn(&Heard) -> String + Send + Sync + 'static,
    ) -> Self {
        Self::start(Some(tls), None, answer)
    }

    /// A proxy that answers requests itself, and connects every tunnel with `upstream`.
    pub(crate) fn proxy(upstream: Option<SocketAddr>) -> Self {
        Self::start(None, upstream, |_| TAKEN.to_owned())
    }

    fn start(
        tls: Option<Arc<ServerConfig>>,
        upstream: Option<SocketAddr>,
        answer: impl Fn(&Heard) -> String + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (heard, closed) = (Watch::new(Vec::new()), Arc::new(AtomicBool::new(false)));
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let (told, end, answer): (_, _, Arc<Answer>) = (heard.clone(), Arc::clone(&closed), Arc::new(answer));
        let serve = move || {
            for stream in listener.incoming() {
                let Some(stream) = stream.ok().filter(|_| !end.load(Ordering::SeqCst)) else {
                    return;
                };
                counted.fetch_add(1, Ordering::SeqCst);
                let (tls, told, answer) = (tls.clone(), told.clone(), Arc::clone(&answer));
                // A connection ends with its peer, whatever the error; what matters has been heard.
                thread::spawn(move || connection(stream, tls, upstream, &told, &*answer));
            }
        };
        Self { address, heard, connections, closed, listener: Some(thread::spawn(serve)) }
    }

    /// `http://localhost:PORT/api/v1/write`, or another scheme and host.
    pub(crate) fn url(&self, scheme_and_host: &str) -> String {
        format!("{scheme_and_host}:{}/api/v1/write", self.address.port())
    }

    /// Waits for a request that `wanted` holds for, past ones included.
    #[track_caller]
    pub(crate) fn wait(&self, wanted: impl Fn(&Heard) -> bool) -> Heard {
        self.wait_after(0, wanted)
    }

    /// The same, but not among the first ones.
    #[track_caller]
    pub(crate) fn wait_after(&self, first: usize, wanted: impl Fn(&Heard) -> bool) -> Heard {
        let find = |heard: &Vec<Heard>| heard.iter().skip(first).find(|heard| wanted(heard)).cloned();
        let found = self.heard.wait(Duration::from_secs(20), find);
        found.unwrap_or_else(|why| panic!("no such request ({why:?}): {:?}", self.heard.get(|heard| heard.len())))
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// How many requests there were.
    pub(crate) fn count(&self) -> usize {
        self.heard.get(Vec::len)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
        // Wakes the listener, so that it sees its end.
        if TcpStream::connect(self.address).is_ok() {
            let _ = self.listener.take().map(JoinHandle::join);
        }
    }
}

fn connection(
    stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    upstream: Option<SocketAddr>,
    told: &Watch<Vec<Heard>>,
    answer: &Answer,
) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_write_timeout(Some(IDLE))?;
    if let Some(settings) = tls {
        let session = ServerConnection::new(settings).map_err(io::Error::other)?;
        return requests(&mut BufReader::new(StreamOwned::new(session, stream)), told, answer).map(drop);
    }
    let tunnel = requests(&mut BufReader::new(stream.try_clone()?), told, answer)?;
    match upstream.filter(|_| tunnel) {
        Some(upstream) => through(&stream, upstream),
        None => Ok(()),
    }
}

/// Answers requests until the peer goes, or asks for a tunnel.
fn requests<S: Read + Write>(stream: &mut BufReader<S>, told: &Watch<Vec<Heard>>, answer: &Answer) -> io::Result<bool> {
    loop {
        let mut line = String::new();
        match stream.read_line(&mut line) {
            Ok(0) => return Ok(false),
            Ok(_) => {}
            Err(error) => {
                stream.get_mut().write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")?;
                return Err(error);
            }
        }
        let mut heard = Heard { line: line.trim_end().to_owned(), headers: Vec::new() };
        loop {
            let mut header = String::new();
            stream.read_line(&mut header)?;
            match header.trim_end().split_once(": ") {
                Some((name, value)) => heard.headers.push((name.to_ascii_lowercase(), value.to_owned())),
                None => break,
            }
        }
        let length = heard.all("content-length").first().and_then(|length| length.parse().ok()).unwrap_or(0);
        io::copy(&mut stream.take(length), &mut io::sink())?;
        let tunnel = heard.line.starts_with("CONNECT ");
        let answer = if tunnel { "HTTP/1.1 200 OK\r\n\r\n".to_owned() } else { answer(&heard) };
        told.update(|all| all.push(heard));
        stream.get_mut().write_all(answer.as_bytes())?;
        stream.get_mut().flush()?;
        if tunnel {
            return Ok(true);
        }
    }
}

fn through(near: &TcpStream, upstream: SocketAddr) -> io::Result<()> {
    let far = TcpStream::connect(upstream)?;
    let (mut back_from, mut back_to) = (far.try_clone()?, near.try_clone()?);
    let back = thread::spawn(move || {
        let _ = io::copy(&mut back_from, &mut back_to);
        back_to.shutdown(Shutdown::Both)
    });
    let _ = io::copy(&mut &*near, &mut &far);
    let _ = far.shutdown(Shutdown::Both);
    let _ = back.join();
    Ok(())
}
