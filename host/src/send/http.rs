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
use crate::access::{self, Access};
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
    answered(&target.access, response).await
}

/// What the receiver said, in words that give no secret of `access` away.
pub(super) async fn answered(access: &Access, response: Response) -> Outcome {
    let status = response.status();
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let asked = header(RETRY_AFTER).and_then(|value| retry::retry_after(value, SystemTime::now()));
    let written = written(response.headers());
    let elsewhere = header(LOCATION).filter(|_| status.is_redirection());
    let elsewhere = elsewhere.map(|place| format!("redirected to {}: ", shown(place.as_bytes(), access)));
    let words = shown(&read(response).await, access);
    let words = if words.is_empty() { "(no explanation)".to_owned() } else { words };
    Outcome::Answered { status, asked, written, words: elsewhere.unwrap_or_default() + &words }
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

/// Reads an answer, within bounds, so that the connection can be used again; returns its beginning, one byte more than
/// is shown.
async fn read(mut response: Response) -> Vec<u8> {
    let (mut beginning, mut length) = (Vec::new(), 0);
    // An answer that breaks off has said what it said: the status decides.
    while let Ok(Some(chunk)) = response.chunk().await {
        length += chunk.len();
        beginning.extend_from_slice(&chunk[..chunk.len().min(SHOWN_BYTES + 1 - beginning.len())]);
        if length > READ_BYTES {
            break;
        }
    }
    beginning
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

/// The beginning of the receiver's words on one line, without secrets.
fn shown(words: &[u8], access: &Access) -> String {
    let beginning = &words[..words.len().min(SHOWN_BYTES)];
    access.scrub(&String::from_utf8_lossy(beginning), beginning.len() < words.len())
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
