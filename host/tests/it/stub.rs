//! A web server for what `monitor-host receive` does not do: bytes kept as they came, answers that depend on them.
//!
//! Enters: requests, one after the other. Leaves: the same, and the answers that the test made up. Never: knows what a
//! request means; keeps a connection.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::watch::Watch;

/// A peer that says nothing for this long is given up.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    /// Method, path and headers: a line each, in small letters.
    pub(crate) head: String,
    /// The body, compressed as it was sent.
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The value of a header, its name in small letters.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut pairs = self.head.lines().filter_map(|line| line.split_once(": "));
        pairs.find_map(|(this, value)| (this == name).then_some(value))
    }
}

/// A running server; gone when dropped.
pub(crate) struct Stub {
    address: SocketAddr,
    requests: Watch<Vec<Request>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stub {
    /// Answers the requests, which are counted from 0, with a status line's end and further headers: `204 No Content`, or
    /// `307 Temporary Redirect\r\nLocation: …`.
    pub(crate) fn start(mut answer: impl FnMut(usize) -> String + Send + 'static) -> Self {
        Self::hearing(move |count, _| answer(count))
    }

    /// The same, of what is in them, too.
    pub(crate) fn hearing(mut answer: impl FnMut(usize, &Request) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let (requests, over) = (Watch::new(Vec::new()), Arc::new(AtomicBool::new(false)));
        let (seen, ends) = (requests.clone(), Arc::clone(&over));
        let serve = move || {
            for stream in listener.incoming().flatten().take_while(|_| !ends.load(Ordering::SeqCst)) {
                // One that breaks off is the sender's business.
                let _ = serve_one(stream, |request| {
                    let count = seen.get(Vec::len);
                    seen.update(|requests| requests.push(request.clone()));
                    answer(count, &request)
                });
            }
        };
        Self { address, requests, over, thread: Some(thread::spawn(serve)) }
    }

    /// Where to push.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/api/v1/write", self.address)
    }

    /// Waits until at least so many requests have come, and returns all that have.
    #[track_caller]
    pub(crate) fn wait_requests(&self, at_least: usize, timeout: Duration) -> Vec<Request> {
        let found = self.requests.wait(timeout, |requests| (requests.len() >= at_least).then(|| requests.clone()));
        found.unwrap_or_else(|why| panic!("no {at_least} requests within {timeout:?} ({why:?})"))
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // It waits for a connection: here is one.
        if TcpStream::connect(self.address).is_ok() {
            let _ = self.thread.take().map(JoinHandle::join);
        }
    }
}

fn serve_one(stream: TcpStream, answer: impl FnOnce(Request) -> String) -> io::Result<()> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut reader = BufReader::new(stream);
    let mut request = Request::default();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line.trim_end().is_empty() {
            break;
        }
        request.head.push_str(&line.to_ascii_lowercase());
    }
    let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    request.body.resize(length, 0);
    reader.read_exact(&mut request.body)?;
    let answer = answer(request);
    reader
        .into_inner()
        .write_all(format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes())
}
