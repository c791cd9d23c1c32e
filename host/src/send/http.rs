//! One request and its answer, by reqwest.
//!
//! Enters: a batch and where it goes. Leaves: what the receiver answered, or why there was no answer, in words that hold
//! no secret.
//!
//! Never: follows a redirect that would lose the body or leave the receiver; reads more than a bounded part of an answer.

use std::time::{Duration, SystemTime};

use monitor_proto::{
    CONTENT_ENCODING, EXEMPLARS_WRITTEN_HEADER, HISTOGRAMS_WRITTEN_HEADER, SAMPLES_WRITTEN_HEADER, VERSION_HEADER,
};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Response, StatusCode};

use super::Target;
use crate::access;
use crate::batch::Batch;
use crate::negotiate::Written;
use crate::retry;

/// How much of an error answer is shown in the log, in bytes.
const SHOWN_BYTES: usize = 512;

/// How much of an answer is read, so that the connection can be used again; what sends more is cut off.
const READ_BYTES: usize = 64 * 1024;

/// How an attempt ended.
pub(super) enum Outcome {
    Answered { status: StatusCode, asked: Option<Duration>, written: Written, words: String },
    Failed { why: String, reached: bool },
    TimeIsUp,
}

/// Sends a batch once.
pub(super) async fn post(client: &Client, target: &Target, batch: &Batch) -> Outcome {
    let mut request = client
        .post(target.url.clone())
        .header(CONTENT_TYPE, batch.protocol.content_type())
        .header(reqwest::header::CONTENT_ENCODING, CONTENT_ENCODING)
        .header(VERSION_HEADER, batch.protocol.version())
        .body(batch.body.clone());
    if batch.attempts > 0 {
        request = request.header(HeaderName::from_static("retry-attempt"), batch.attempts);
    }
    let response = match target.access.authorize(request).send().await {
        Ok(response) => response,
        Err(error) => {
            let reached = !error.is_connect();
            return Outcome::Failed { why: chain(&error.without_url()), reached };
        }
    };
    let status = response.status();
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let asked = header(RETRY_AFTER).and_then(|value| retry::retry_after(value, SystemTime::now()));
    let written = written(response.headers());
    let elsewhere = header(LOCATION).filter(|_| status.is_redirection());
    let elsewhere = elsewhere.map(|place| format!("redirected to {place}: "));
    let words = target.access.scrub(elsewhere.unwrap_or_default() + &read(response).await);
    Outcome::Answered { status, asked, written, words: shown(&words) }
}

/// The client for this receiver.
pub(super) fn client(target: &Target) -> reqwest::Result<Client> {
    // Fails where a provider is installed already: then there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let one_host = target.access.is_for_one_host();
    let builder = Client::builder()
        .user_agent(concat!("monitor-host/", env!("CARGO_PKG_VERSION")))
        .timeout(target.timeout)
        .connect_timeout(target.timeout)
        .pool_max_idle_per_host(1)
        .http1_only()
        .tcp_nodelay(true)
        .redirect(Policy::custom(move |attempt| redirect(attempt, one_host)));
    target.access.client(builder).build()
}

/// Follows only what keeps the method and the body, and never to another scheme: certificates or the lack of them were
/// chosen for this one. Nor to another host or port what was meant for `one_host`.
fn redirect(attempt: Attempt<'_>, one_host: bool) -> reqwest::redirect::Action {
    let keeps_body = [307, 308].contains(&attempt.status().as_u16());
    let same_place = attempt.previous().last().is_some_and(|from| match one_host {
        true => from.origin() == attempt.url().origin(),
        false => from.scheme() == attempt.url().scheme(),
    });
    if keeps_body && same_place && attempt.previous().len() <= 5 { attempt.follow() } else { attempt.stop() }
}

/// Reads an answer, within bounds, so that the connection can be used again; returns its beginning.
async fn read(mut response: Response) -> String {
    let (mut beginning, mut length) = (Vec::new(), 0);
    // An answer that breaks off has said what it said: the status decides.
    while let Ok(Some(chunk)) = response.chunk().await {
        length += chunk.len();
        beginning.extend_from_slice(&chunk[..chunk.len().min(SHOWN_BYTES - beginning.len())]);
        if length > READ_BYTES {
            break;
        }
    }
    String::from_utf8_lossy(&beginning).into_owned()
}

/// What a receiver of 2.0 says that it wrote.
fn written(headers: &HeaderMap) -> Written {
    let count = |value: &HeaderValue| value.to_str().ok().and_then(|count| count.trim().parse::<u64>().ok());
    // A header that can't be read confirms that 2.0 was understood, but nothing else.
    let said = |name| headers.get(name).map(|value| count(value).unwrap_or(0));
    let [samples, histograms, exemplars] =
        [SAMPLES_WRITTEN_HEADER, HISTOGRAMS_WRITTEN_HEADER, EXEMPLARS_WRITTEN_HEADER].map(said);
    match (samples, histograms, exemplars) {
        (None, None, None) => Written::Unsaid,
        _ => Written::Counts {
            samples: samples.unwrap_or(0).saturating_add(histograms.unwrap_or(0)),
            exemplars: exemplars.unwrap_or(0),
        },
    }
}

/// The receiver's words on one line.
fn shown(words: &str) -> String {
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.is_empty() { "(no explanation)".to_owned() } else { words }
}

/// An error with its causes, each told once, and what to do if it is one of TLS.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text + access::advice(error)
}
