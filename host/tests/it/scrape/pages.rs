//! A web server of pages that are there to be scraped.
//!
//! Enters: pages. Leaves: each under its number, as often as it is asked for. Never: keeps a connection, packs anything.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A peer that says nothing for this long is given up.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What is served.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    /// The header; none is sent without.
    pub(crate) content_type: Option<String>,
    /// The body.
    pub(crate) body: Vec<u8>,
}

/// A running server; gone when dropped.
pub(crate) struct Pages {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pages {
    /// Serves them under `/0`, `/1` and so on.
    pub(crate) fn serve(pages: Vec<Page>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&over);
        let serve = move || {
            for stream in listener.incoming().flatten().take_while(|_| !ends.load(Ordering::SeqCst)) {
                // One that breaks off is the scraper's business.
                let _ = answer(stream, &pages);
            }
        };
        Self { address, over, thread: Some(thread::spawn(serve)) }
    }

    /// Host and port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // It waits for a connection: here is one.
        if TcpStream::connect(self.address).is_ok() {
            let _ = self.thread.take().map(JoinHandle::join);
        }
    }
}

fn answer(stream: TcpStream, pages: &[Page]) -> io::Result<()> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let number = first.split(' ').nth(1).and_then(|path| path.strip_prefix('/')?.parse::<usize>().ok());
    let mut stream = reader.into_inner();
    let Some(page) = number.and_then(|number| pages.get(number)) else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let declared = page.content_type.iter().map(|declared| format!("Content-Type: {declared}\r\n")).collect::<String>();
    let length = page.body.len();
    let head = format!("HTTP/1.1 200 OK\r\n{declared}Content-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(&[head.as_bytes(), &page.body].concat())
}
