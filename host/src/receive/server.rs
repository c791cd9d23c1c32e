//! Enters: connections. Leaves: answers, and a word to whoever ends the program when output fails.
//!
//! The only module here that opens sockets and sleeps. Bounded in connections and in bytes of a body.

use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};

use super::answer::{Answer, Fault};
use super::decode::MAX_BYTES;
use super::receiver::{Now, Receiver};
use super::verdict::Reply;

/// Connections at once; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 64;
/// Largest body of a control request.
const MAX_CONTROL_BYTES: usize = 64 << 10;
const HELLO: &str = "monitor-host receive: POST remote write to any path, POST or DELETE /-/answer, GET /-/stats\n";

/// Why the receiver ends.
#[derive(Debug)]
pub(super) enum End {
    Signal,
    Output(io::Error),
}

/// A handle on the receiver that connections share.
#[derive(Clone)]
pub(super) struct Shared {
    receiver: Arc<Mutex<Receiver>>,
    end: mpsc::UnboundedSender<End>,
}

impl Shared {
    pub(super) fn new(receiver: Receiver, end: mpsc::UnboundedSender<End>) -> Self {
        Self { receiver: Arc::new(Mutex::new(receiver)), end }
    }

    fn lock(&self) -> MutexGuard<'_, Receiver> {
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the receiver, and passes on that output failed, if it did.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Receiver) -> T) -> T {
        let mut receiver = self.lock();
        let done = act(&mut receiver);
        if let Some(error) = receiver.take_failure() {
            // Nobody listens any more when the program already ends.
            let _ = self.end.send(End::Output(error));
        }
        done
    }
}

/// Opens the port, or says in one line why not and what to do.
pub(super) fn bind(address: &str) -> Result<TcpListener, String> {
    let fail = |error: io::Error| {
        let advice = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "end what listens there, or choose another with --listen (port 0: any free one)"
            }
            io::ErrorKind::PermissionDenied => "choose a port above 1023 with --listen",
            _ => "give an address of this machine as --listen HOST:PORT",
        };
        format!("can't listen on {address}: {error}: {advice}")
    };
    let listener = TcpListener::bind(address).map_err(fail)?;
    listener.set_nonblocking(true).map_err(fail)?;
    Ok(listener)
}

/// Both clocks.
pub(super) fn now() -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { instant: Instant::now(), wall_ms: wall.as_millis() as i64 }
}

/// Serves until it is dropped.
pub(super) async fn serve(listener: tokio::net::TcpListener, shared: Shared) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, or the peer left early: neither ends the receiver.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let shared = shared.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| route(request, &shared));
            // An error is a peer that left or a connection that was told to drop.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            drop(place);
        });
    }
}

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("closed without an answer")]
struct Dropped;

async fn route(request: Request<Incoming>, shared: &Shared) -> Result<Response<Full<Bytes>>, Dropped> {
    let path = request.uri().path().to_owned();
    match (request.method().clone(), path.as_str()) {
        (Method::POST, "/-/answer") => {
            let body = match read(request.into_body(), MAX_CONTROL_BYTES).await? {
                Ok(body) => body,
                Err(answer) => return Ok(response(answer)),
            };
            Ok(queue(&body, shared))
        }
        (Method::GET, "/-/answer") => {
            let waiting = shared.with(|receiver| receiver.plan.waiting(Instant::now()));
            Ok(json_response(StatusCode::OK, &json!({ "queued": waiting })))
        }
        (Method::DELETE, "/-/answer") => {
            let cleared = shared.with(|receiver| receiver.plan.clear(Instant::now()));
            Ok(json_response(StatusCode::OK, &json!({ "cleared": cleared })))
        }
        (Method::GET, "/-/stats") => {
            let stats = shared.with(|receiver| receiver.stats());
            Ok(json_response(StatusCode::OK, &stats))
        }
        (Method::GET | Method::HEAD, "/") => Ok(response(Answer::text(StatusCode::OK, HELLO))),
        (Method::POST, path) if !path.starts_with("/-/") => write(request, shared).await,
        (_, path) => {
            let status = match path {
                "/-/answer" | "/-/stats" | "/" => StatusCode::METHOD_NOT_ALLOWED,
                _ => StatusCode::NOT_FOUND,
            };
            Ok(response(Answer::text(status, HELLO)))
        }
    }
}

/// One push, from its body to its answer.
async fn write(request: Request<Incoming>, shared: &Shared) -> Result<Response<Full<Bytes>>, Dropped> {
    let (head, body) = request.into_parts();
    let body = match read(body, MAX_BYTES).await? {
        Ok(body) => body,
        Err(answer) => return Ok(response(answer)),
    };
    let planned = shared.with(|receiver| receiver.plan.next(Instant::now()));
    let handle = || shared.with(|receiver| receiver.handle(&head.headers, &body, &planned, now()));
    // A sender that gives up during the delay has sent nothing, unless the fault says that it was stored.
    let reply = if planned.store {
        let reply = handle();
        tokio::time::sleep(planned.delay).await;
        reply
    } else {
        tokio::time::sleep(planned.delay).await;
        handle()
    };
    match reply {
        Reply::Answer(answer) => Ok(response(answer)),
        Reply::Drop => Err(Dropped),
        Reply::Hang => std::future::pending().await,
    }
}

fn queue(body: &[u8], shared: &Shared) -> Response<Full<Bytes>> {
    let queued = std::str::from_utf8(body)
        .map_err(|error| error.to_string())
        .and_then(|text| Fault::parse(text).map_err(|error| error.to_string()))
        .and_then(|faults| {
            shared.with(|receiver| receiver.plan.push(faults, Instant::now())).map_err(|error| error.to_string())
        });
    match queued {
        Ok(queued) => json_response(StatusCode::OK, &json!({ "queued": queued })),
        Err(error) => json_response(StatusCode::BAD_REQUEST, &json!({ "error": error })),
    }
}

/// The whole body, or the answer to one that is too large.
async fn read(body: Incoming, limit: usize) -> Result<Result<Bytes, Answer>, Dropped> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(Ok(collected.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Ok(Err(Answer::text(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is larger than {limit} bytes: send less at once"),
        ))),
        Err(_) => Err(Dropped),
    }
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(answer.body));
    *response.status_mut() = answer.status;
    response.headers_mut().extend(answer.headers);
    response
}

fn json_response(status: StatusCode, value: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = response(Answer::text(status, format!("{value}\n")));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
