//! The sender: the oldest batch to the receiver, until the receiver has it or will never take it.
//!
//! Enters: kept batches, oldest first. Leaves: each one delivered, refused for good, or put back for another attempt
//! after a gap. One request at a time, over one connection that is kept alive. This is the only place of `run` that
//! opens a socket; its runtime has no thread of its own.
//!
//! Never: changes a batch; logs what stands in the URL beside host and path; reads more than a bounded part of an answer.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use monitor_proto::{CONTENT_ENCODING, CONTENT_TYPE_V1, VERSION_HEADER, VERSION_V1};
use reqwest::header::{CONTENT_TYPE, HeaderName, LOCATION, RETRY_AFTER};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Response, StatusCode, Url};
use tokio::sync::watch;

use crate::access::{self, Access};
use crate::batch::Batch;
use crate::keep::{Kept, Taken};
use crate::ledger::{Ledger, Place, Reason};
use crate::log::Limit;
use crate::retry::{self, Backoff, Verdict};

/// How much of an error answer is shown in the log, in bytes.
const SHOWN_BYTES: usize = 512;

/// How much of an answer is read, so that the connection can be used again; what sends more is cut off.
const READ_BYTES: usize = 64 * 1024;

/// Where batches go, and how long an answer may take.
#[derive(Clone, Debug)]
pub struct Target {
    /// REMOTE_WRITE_URL without credentials, which are the access's.
    pub url: Url,
    /// How to get in there.
    pub access: Access,
    /// The same, fit to be shown.
    pub shown_url: String,
    /// REMOTE_WRITE_TIMEOUT_S, for a whole request.
    pub timeout: Duration,
}

/// Why there can be no sender.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client can't be set up: {0}")]
pub struct SetupError(String);

/// Sends what is kept; see [`Sender::run`].
#[derive(Debug)]
pub struct Sender {
    client: Client,
    runtime: tokio::runtime::Runtime,
    target: Target,
    kept: Arc<Kept>,
    ledger: Arc<Ledger>,
    finish_by: watch::Receiver<Option<Instant>>,
    backoff: Backoff,
    failure_limit: Limit,
    delivered_any: bool,
}

/// How an attempt ended.
enum Outcome {
    Answered { status: StatusCode, asked: Option<Duration>, words: String },
    Failed(String),
    TimeIsUp,
}

impl Sender {
    /// A sender that gives up at the moment that `finish_by` comes to hold.
    ///
    /// # Errors
    /// The TLS settings or the system's certificates can't be used.
    pub fn new(
        target: Target,
        kept: Arc<Kept>,
        ledger: Arc<Ledger>,
        finish_by: watch::Receiver<Option<Instant>>,
    ) -> Result<Self, SetupError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| SetupError(error.to_string()))?;
        let client = client(&target).map_err(|error| SetupError(chain(&error.without_url())))?;
        let (backoff, failure_limit) = (Backoff::default(), Limit::default());
        Ok(Sender { client, runtime, target, kept, ledger, finish_by, backoff, failure_limit, delivered_any: false })
    }

    /// Sends until nothing is kept any more and nothing will come, or until time is up.
    pub fn run(mut self) {
        let mut not_before = None;
        while let Taken::Batch(batch) = self.kept.take(not_before) {
            self.renew();
            let outcome = self.runtime.block_on(self.attempt(&batch));
            not_before = self.settle(batch, outcome).map(|gap| Instant::now() + gap);
        }
    }

    /// Takes over certificates that have changed, with a new connection.
    fn renew(&mut self) {
        if self.target.access.refresh() {
            match client(&self.target) {
                Ok(client) => self.client = client,
                Err(error) => tracing::error!("the old certificates stay in use: {}", chain(&error.without_url())),
            }
        }
    }

    async fn attempt(&self, batch: &Batch) -> Outcome {
        let mut finish_by = self.finish_by.clone();
        tokio::select! {
            outcome = self.post(batch) => outcome,
            () = time_is_up(&mut finish_by) => Outcome::TimeIsUp,
        }
    }

    async fn post(&self, batch: &Batch) -> Outcome {
        let mut request = self
            .client
            .post(self.target.url.clone())
            .header(CONTENT_TYPE, CONTENT_TYPE_V1)
            .header(reqwest::header::CONTENT_ENCODING, CONTENT_ENCODING)
            .header(VERSION_HEADER, VERSION_V1)
            .body(batch.body.clone());
        if batch.attempts > 0 {
            request = request.header(HeaderName::from_static("retry-attempt"), batch.attempts);
        }
        let response = match self.target.access.authorize(request).send().await {
            Ok(response) => response,
            Err(error) => return Outcome::Failed(chain(&error.without_url())),
        };
        let status = response.status();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let asked = header(RETRY_AFTER).and_then(|value| retry::retry_after(value, SystemTime::now()));
        let elsewhere = header(LOCATION).filter(|_| status.is_redirection());
        let elsewhere = elsewhere.map(|place| format!("redirected to {place}: "));
        let words = self.target.access.scrub(elsewhere.unwrap_or_default() + &read(response).await);
        Outcome::Answered { status, asked, words: shown(&words) }
    }

    /// Books the outcome. Returns the gap before the next attempt, if this one has to be repeated.
    fn settle(&mut self, batch: Batch, outcome: Outcome) -> Option<Duration> {
        let (verdict, asked, why) = match outcome {
            Outcome::TimeIsUp => {
                self.ledger.discard(Place::InFlight, Reason::Shutdown, batch.samples);
                tracing::warn!(samples = batch.samples, "the last request was given up: SHUTDOWN_TIMEOUT_S is over");
                return None;
            }
            Outcome::Failed(why) => (Verdict::Retry, None, why),
            Outcome::Answered { status, asked, words } => {
                (retry::judge(status.as_u16()), asked, format!("HTTP {status}: {words}"))
            }
        };
        match verdict {
            Verdict::Delivered => self.delivered(&batch),
            Verdict::Refused => self.refused(&batch, &why),
            Verdict::Retry => return Some(self.failed(batch, asked, &why)),
        }
        None
    }

    fn delivered(&mut self, batch: &Batch) {
        self.ledger.deliver(Place::InFlight, batch.samples);
        if self.backoff.failures() > 0 {
            let (waiting, _) = self.kept.waiting();
            tracing::info!(failures = self.backoff.failures(), waiting, "the receiver takes samples again");
        } else if !self.delivered_any {
            tracing::info!(url = %self.target.shown_url, samples = batch.samples, "the first batch is delivered");
        }
        tracing::debug!(
            sequence = batch.sequence,
            samples = batch.samples,
            bytes = batch.body.len(),
            message_bytes = batch.message_len,
            attempts = batch.attempts + 1,
            "delivered"
        );
        self.delivered_any = true;
        self.backoff.succeeded();
    }

    fn refused(&mut self, batch: &Batch, why: &str) {
        self.ledger.discard(Place::InFlight, Reason::Refused, batch.samples);
        // The receiver is there and answers: the next batch need not wait.
        self.backoff.succeeded();
        let (from_ms, to_ms) = batch.time_range_ms;
        tracing::error!(
            reason = %Reason::Refused,
            samples = batch.samples,
            from_ms,
            to_ms,
            url = %self.target.shown_url,
            "the receiver refused a batch for good, its samples are lost: {why}"
        );
    }

    fn failed(&mut self, mut batch: Batch, asked: Option<Duration>, why: &str) -> Duration {
        batch.attempts = batch.attempts.saturating_add(1);
        let gap = self.backoff.failed(asked, fastrand::f64());
        let overflow = self.kept.put_back(batch);
        if let Some(suppressed) = self.failure_limit.allow(Instant::now()) {
            let (batches, samples) = self.kept.waiting();
            tracing::warn!(
                url = %self.target.shown_url,
                retry_in_s = gap.as_secs_f64(),
                failures = self.backoff.failures(),
                waiting_batches = batches,
                waiting_samples = samples,
                suppressed,
                "a push failed and will be tried again: {why}"
            );
        }
        if overflow.batches > 0 {
            tracing::warn!(
                reason = %Reason::RetryOverflow,
                samples = overflow.samples,
                "a batch that could not be delivered was dropped: MAX_RETRY_BATCHES or MAX_RETRY_BYTES is reached"
            );
        }
        gap
    }
}

fn client(target: &Target) -> reqwest::Result<Client> {
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

async fn time_is_up(finish_by: &mut watch::Receiver<Option<Instant>>) {
    loop {
        let moment = *finish_by.borrow_and_update();
        if let Some(moment) = moment {
            return tokio::time::sleep_until(moment.into()).await;
        }
        if finish_by.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
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

/// The receiver's words on one line.
fn shown(words: &str) -> String {
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.is_empty() { "(no explanation)".to_owned() } else { words }
}

/// An error with its causes, each told once, and what to do if it is one of TLS.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
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
