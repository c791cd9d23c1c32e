//! Enters: connections. Leaves: an answer to each, which is one GET or HEAD.
//!
//! Never: reads a body; holds more than [`MAX_CONNECTIONS`], each for no longer than [`CONNECTION_TIMEOUT`]; takes more
//! than [`PER_SECOND`] a second, beyond a burst of as many. Who comes when all places are taken gets that of whoever
//! holds his for the longest: slow clients keep nobody out.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{Page, answer};
use crate::metrics::facts::Connection;

/// Connections at once.
const MAX_CONNECTIONS: usize = 64;

/// Connections a second, in the long run and at once.
const PER_SECOND: u32 = 200;

/// What the line and the headers of a request may take together, in bytes.
const MAX_HEAD: usize = 16 << 10;

/// How many headers a request may have.
const MAX_HEADERS: usize = 64;

/// How long a client may take to say what it wants.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may last in all.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// When a connection can't be accepted, which is for want of descriptors or of memory.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stopped` is told, or whoever would tell it is gone.
pub(super) async fn serve(listener: TcpListener, page: Arc<Page>, stopped: oneshot::Receiver<()>) {
    tokio::select! {
        () = accept(listener, &page) => {}
        () = forget(&page) => {}
        _ = stopped => {}
    }
}

/// Lets go of the series that nobody looks at any more; sleeps while none is looked at.
async fn forget(page: &Page) {
    loop {
        page.looked.notified().await;
        let history = page.observer.get().map(|observer| observer.processed.history());
        while let Some(next) = history.and_then(|history| history.forget(std::time::Instant::now())) {
            sleep_until(next.into()).await;
        }
    }
}

async fn accept(listener: TcpListener, page: &Arc<Page>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("the admin page can't be served: {error}"),
    };
    let mut pace = Pace::default();
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        if let Some(moment) = pace.next(Instant::now()) {
            sleep_until(moment).await;
        }
        let Ok((stream, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        open.retain(|connection| !connection.is_finished());
        if open.len() >= MAX_CONNECTIONS
            && let Some(longest) = open.pop_front()
        {
            longest.abort();
            page.connections.count(Connection::CutOff);
        }
        let connection = tokio::spawn(connection(stream, Arc::clone(page)));
        open.push_back(connection.abort_handle());
    }
}

/// Spreads what comes at once: a connection costs so much of a clock, which may run ahead by a burst.
#[derive(Debug, Default)]
struct Pace {
    spent_until: Option<Instant>,
}

impl Pace {
    /// When the next connection may be taken; none for now.
    fn next(&mut self, now: Instant) -> Option<Instant> {
        let cost = Duration::from_secs(1) / PER_SECOND;
        let spent = self.spent_until.map_or(now, |spent| spent.max(now)) + cost;
        self.spent_until = Some(spent);
        spent.checked_sub(cost * PER_SECOND).filter(|&moment| moment > now)
    }
}

async fn connection(stream: TcpStream, page: Arc<Page>) {
    let is_answered = AtomicBool::new(false);
    let (of_page, done) = (&page, &is_answered);
    let service = service_fn(async |request: Request<Incoming>| {
        let answer = answer::answer(&request, of_page).await;
        done.store(true, Relaxed);
        Ok::<_, Infallible>(answer)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD).max_headers(MAX_HEADERS);
    let served = http.keep_alive(false).serve_connection(TokioIo::new(stream), service);
    let ended = match timeout(CONNECTION_TIMEOUT, served).await {
        Err(_) => Connection::CutOff,
        Ok(Err(error)) if error.is_timeout() => Connection::CutOff,
        Ok(Ok(())) if is_answered.load(Relaxed) => Connection::Answered,
        Ok(_) => Connection::Broken,
    };
    page.connections.count(ended);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_so_many_a_second() {
        let start = Instant::now();
        let mut pace = Pace::default();
        assert!((0..PER_SECOND).all(|_| pace.next(start).is_none()));
        let waits = [pace.next(start), pace.next(start)].map(|moment| moment.map(|moment| moment - start));
        assert_eq!(waits, [1, 2].map(|n| Some(n * Duration::from_secs(1) / PER_SECOND)));
        // A long silence gives a burst, no more.
        let later = start + Duration::from_secs(3600);
        assert_eq!((0..2 * PER_SECOND).filter(|_| pace.next(later).is_none()).count(), PER_SECOND as usize);
    }
}
