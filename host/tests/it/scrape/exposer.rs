//! A target that answers as a test says.
//!
//! Enters: connections on a port of its own. Leaves: requests, in the order of arrival; the answers that the test makes up, byte by
//! byte. Never: keeps a connection, knows what an exposition is.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::faults::LONG;
use crate::watch::Watch;

/// A peer that takes nothing for this long is given up.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The usual content type.
pub(crate) const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// That of the other format.
pub(crate) const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A request's head.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The path and the query.
    pub(crate) path: String,
    head: String,
}

impl Asked {
    /// The value of a header, its name in small letters.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut pairs = self.head.lines().filter_map(|line| line.split_once(": "));
        pairs.find_map(|(this, value)| this.eq_ignore_ascii_case(name).then_some(value))
    }
}

/// What is written, and whether the connection stays open behind it, silent.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    bytes: Arc<Vec<u8>>,
    holds: bool,
}

impl Answer {
    /// An exposition.
    pub(crate) fn of(content_type: &str, body: impl AsRef<[u8]>) -> Self {
        Self::with("200 OK", &format!("Content-Type: {content_type}\r\n"), body)
    }

    /// An exposition in the text format.
    pub(crate) fn text(body: impl AsRef<[u8]>) -> Self {
        Self::of(TEXT, body)
    }

    /// This status, these headers, and a body of the length that is told.
    pub(crate) fn with(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n");
        Self { bytes: Arc::new([head.as_bytes(), body].concat()), holds: false }
    }

    /// The same, but for its last bytes: the connection is closed in the place of these.
    pub(crate) fn without_last(mut self, bytes: usize) -> Self {
        let all = Arc::make_mut(&mut self.bytes);
        all.truncate(all.len().saturating_sub(bytes));
        self
    }

    /// The same, but silence in the place of the last bytes.
    pub(crate) fn hanging_before_last(self, bytes: usize) -> Self {
        Self { holds: true, ..self.without_last(bytes) }
    }
}

type Answering = dyn Fn(&Asked) -> Answer + Send + Sync;

/// A running target; gone when dropped.
pub(crate) struct Exposer {
    address: SocketAddr,
    asked: Watch<Vec<Asked>>,
    answering: Watch<Arc<Answering>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Exposer {
    /// Answers each request as this says, on a thread of its own.
    pub(crate) fn start(answering: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let (asked, over) = (Watch::new(Vec::new()), Arc::new(AtomicBool::new(false)));
        let answering: Watch<Arc<Answering>> = Watch::new(Arc::new(answering));
        let (told, how, ends) = (asked.clone(), answering.clone(), Arc::clone(&over));
        let serve = move || {
            for stream in listener.incoming().flatten().take_while(|_| !ends.load(Ordering::SeqCst)) {
                let (told, how, ends) = (told.clone(), how.clone(), Arc::clone(&ends));
                // One that breaks off is the peer's business.
                thread::spawn(move || serve_one(stream, &told, &how, &ends));
            }
        };
        Self { address, asked, answering, over, thread: Some(thread::spawn(serve)) }
    }

    /// Answers each request with the same.
    pub(crate) fn always(answer: Answer) -> Self {
        Self::start(move |_| answer.clone())
    }

    /// From the next request on, answers otherwise.
    pub(crate) fn change(&self, answering: impl Fn(&Asked) -> Answer + Send + Sync + 'static) {
        self.answering.update(|how| *how = Arc::new(answering));
    }

    /// From the next request on, answers with this.
    pub(crate) fn change_to(&self, answer: Answer) {
        self.change(move |_| answer.clone());
    }

    /// Its address, which is its `instance`.
    pub(crate) fn instance(&self) -> String {
        self.address.to_string()
    }

    /// An address on it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Waits until it was asked so often, and returns all requests.
    #[track_caller]
    pub(crate) fn wait_asked(&self, at_least: usize) -> Vec<Asked> {
        let found = self.asked.wait(LONG, |asked| (asked.len() >= at_least).then(|| asked.clone()));
        found.unwrap_or_else(|why| panic!("not asked {at_least} times ({why:?}): {:?}", self.asked()))
    }

    /// Waits until it was asked so often from now on.
    #[track_caller]
    pub(crate) fn wait_asked_again(&self, times: usize) {
        self.wait_asked(self.asked().len() + times);
    }

    /// All requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.get(Vec::clone)
    }
}

impl Drop for Exposer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // It waits for a connection: here is one.
        if TcpStream::connect(self.address).is_ok() {
            let _ = self.thread.take().map(JoinHandle::join);
        }
    }
}

fn serve_one(
    mut stream: TcpStream,
    told: &Watch<Vec<Asked>>,
    how: &Watch<Arc<Answering>>,
    over: &AtomicBool,
) -> io::Result<()> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = String::new();
    loop {
        let before = head.len();
        if reader.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if head[before..].trim_end().is_empty() {
            break;
        }
    }
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let asked = Asked { path, head };
    let answering = how.get(Arc::clone);
    let answer = answering(&asked);
    told.update(|all| all.push(asked));
    stream.write_all(&answer.bytes)?;
    if answer.holds && !over.load(Ordering::SeqCst) {
        // Until the peer has had enough.
        let _ = reader.read_line(&mut String::new());
    }
    Ok(())
}
