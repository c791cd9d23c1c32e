//! The sender: the oldest batch to the receiver, until the receiver has it or will never take it.
//!
//! Enters: kept batches, oldest first. Leaves: each one delivered, refused for good, or put back for another attempt
//! after a gap; and, in [`books`], what was sent. One request at a time, over one connection that is kept alive. Beside the admin
//! page, this is the only place of `run` that opens a socket; its runtime has no thread of its own.
//!
//! Never: changes a batch; logs what stands in the URL beside host and path; reads more than a bounded part of an answer.

pub mod books;
mod hints;
mod http;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;

use std::sync::Arc;
use std::time::{Duration, Instant};

use monitor_plugin_api::now_ms;
use reqwest::{Client, Url};
use tokio::sync::watch;

use self::books::{Ending, Pushes};
use self::http::Outcome;
use crate::access::Access;
use crate::batch::Batch;
use crate::encode::{Protocol, transcode};
use crate::keep::{Kept, Taken};
use crate::ledger::{Ledger, Place, Reason};
use crate::log::Limit;
use crate::negotiate::{self, Answer, Choice, Current, Negotiation, Written};
use crate::notify::pulse::Pulse;
use crate::pace::Pace;
use crate::retry::{self, Verdict};

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
    /// REMOTE_WRITE_PROTOCOL.
    pub protocol: Choice,
    /// RETRY_ON_HTTP.
    pub retry_on: Vec<u16>,
    /// MAX_SAMPLE_AGE_S.
    pub max_age: Option<Duration>,
    /// How often a batch is cut.
    pub interval: Duration,
    /// When the first one is: what an earlier run left goes out no sooner.
    pub first_push: Duration,
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
    pushes: Arc<Pushes>,
    negotiation: Negotiation,
    /// What the batching stage reads of it.
    protocol: Arc<Current>,
    finish_by: watch::Receiver<Option<Instant>>,
    pulse: Arc<Pulse>,
    pace: Pace,
    failure_limit: Limit,
    age_limit: Limit,
    delivered_any: bool,
    told_exemplars: bool,
}

/// What is to be done next.
enum Next {
    /// Whatever is the oldest then.
    Oldest { not_before: Option<Instant> },
    /// This batch again, at once: the receiver did not understand it.
    Again(Batch),
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
        pushes: Arc<Pushes>,
        protocol: Arc<Current>,
        finish_by: watch::Receiver<Option<Instant>>,
    ) -> Result<Self, SetupError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| SetupError(error.to_string()))?;
        let client = http::client(&target).map_err(|error| SetupError(http::chain(&error.without_url())))?;
        let (pace, failure_limit) = (Pace::new(target.interval), Limit::default());
        let negotiation = Negotiation::new(target.protocol);
        Ok(Sender {
            client,
            runtime,
            target,
            kept,
            ledger,
            pushes,
            negotiation,
            protocol,
            finish_by,
            pulse: Arc::default(),
            pace,
            failure_limit,
            age_limit: Limit::default(),
            delivered_any: false,
            told_exemplars: false,
        })
    }

    /// Says in `pulse` by when it moves again.
    pub fn pulsing(mut self, pulse: Arc<Pulse>) -> Self {
        self.pulse = pulse;
        self
    }

    /// Sends until nothing is kept any more and nothing will come, or until time is up.
    pub fn run(mut self) {
        // Machines that get their power back at once find a backlog at once.
        let has_backlog = self.kept.waiting().0 > 0;
        if has_backlog {
            self.pace.found_backlog();
        }
        let mut not_before = has_backlog.then(|| Instant::now() + self.target.first_push);
        while let Taken::Batch(mut batch) = self.take(not_before) {
            if self.is_too_old(&batch) {
                continue;
            }
            let mut again = batch.attempts > 0;
            not_before = loop {
                // Cut before the receiver was found out, perhaps.
                if batch.protocol == Protocol::V2 && self.negotiation.current() == Protocol::V1 {
                    match self.transcoded(batch) {
                        Some(transcoded) => batch = transcoded,
                        None => break None,
                    }
                }
                self.pulse.moves_by(Instant::now() + self.target.timeout);
                self.renew();
                let began = Instant::now();
                let outcome = self.runtime.block_on(self.attempt(&batch));
                self.pushes.sent(&batch, began.elapsed(), again);
                match self.settle(batch, outcome) {
                    Next::Oldest { not_before } => break not_before,
                    Next::Again(same) => (batch, again) = (same, true),
                }
            };
        }
    }

    /// The next batch. Whoever waits for one has no word to keep: with nothing to send it may be long.
    fn take(&self, not_before: Option<Instant>) -> Taken {
        self.pulse.rests();
        self.kept.take(not_before)
    }

    /// Drops a batch that has outlived MAX_SAMPLE_AGE_S.
    fn is_too_old(&mut self, batch: &Batch) -> bool {
        let Some(max_age) = self.target.max_age else { return false };
        let age_ms = now_ms().saturating_sub(batch.time_range_ms.1);
        if age_ms <= i64::try_from(max_age.as_millis()).unwrap_or(i64::MAX) {
            return false;
        }
        self.ledger.discard(Place::InFlight, Reason::TooOld, batch.samples);
        self.ledger.discard_exemplars(Reason::TooOld, batch.exemplars);
        self.kept.settled();
        if let Some(suppressed) = self.age_limit.allow(Instant::now()) {
            tracing::warn!(
                reason = %Reason::TooOld,
                samples = batch.samples,
                age_s = age_ms / 1000,
                suppressed,
                "a batch was dropped: its newest sample is older than MAX_SAMPLE_AGE_S"
            );
        }
        true
    }

    /// The same samples as 1.0; none, and then they are in the ledger, if our own bytes can't be read.
    fn transcoded(&self, mut batch: Batch) -> Option<Batch> {
        match transcode::to_v1(&batch.body) {
            Ok(transcoded) => {
                batch.body = transcoded.body.into();
                batch.message_len = transcoded.message_len;
                batch.left_out_starts = transcoded.left_out_starts;
                batch.protocol = Protocol::V1;
                Some(batch)
            }
            Err(error) => {
                self.ledger.discard(Place::InFlight, Reason::Refused, batch.samples);
                self.ledger.discard_exemplars(Reason::Refused, batch.exemplars);
                self.kept.settled();
                tracing::error!(samples = batch.samples, "a batch can't be made into remote write 1.0: {error}");
                None
            }
        }
    }

    /// Takes over certificates that have changed, with a new connection.
    fn renew(&mut self) {
        if self.target.access.refresh() {
            match http::client(&self.target) {
                Ok(client) => self.client = client,
                Err(error) => {
                    tracing::error!("the old certificates stay in use: {}", http::chain(&error.without_url()))
                }
            }
        }
    }

    async fn attempt(&self, batch: &Batch) -> Outcome {
        let mut finish_by = self.finish_by.clone();
        tokio::select! {
            outcome = http::post(&self.client, &self.target, batch) => outcome,
            () = time_is_up(&mut finish_by) => Outcome::TimeIsUp,
        }
    }

    /// Books the outcome.
    fn settle(&mut self, mut batch: Batch, outcome: Outcome) -> Next {
        if self.finish_by.borrow().is_some() {
            self.pace.ends();
        }
        let (answer, asked, why) = match outcome {
            Outcome::TimeIsUp => {
                let lost = self.kept.abandon(&batch);
                self.pushes.ended(Ending::GivenUp);
                tracing::warn!(
                    samples = batch.samples,
                    lost,
                    "the last request was given up: SHUTDOWN_TIMEOUT_S is over"
                );
                return Next::Oldest { not_before: None };
            }
            Outcome::Failed { why, reached } => (if reached { Answer::Broken } else { Answer::Unreachable }, None, why),
            Outcome::Answered { status, asked, written, words } => {
                (Answer::Status(status.as_u16(), written), asked, format!("HTTP {status}: {words}"))
            }
        };
        // A proxy says by these that it got no answer.
        batch.may_be_stored |= matches!(answer, Answer::Broken | Answer::Status(502 | 504, _));
        // Some of a receiver's replicas had it, perhaps, when it said that too few did.
        batch.may_be_stored |= batch.attempts > 0 && matches!(answer, Answer::Status(409, _));
        let not_understood = match self.negotiation.answered(batch.protocol, answer) {
            negotiate::Verdict::AgainAsV1 => {
                self.protocol.set(Protocol::V1);
                let was_said = matches!(answer, Answer::Status(200..=299 | 400 | 415, _));
                tracing::info!(
                    url = %self.target.shown_url,
                    answer = why,
                    hint = (!was_said).then_some(hints::FAILURES),
                    "the receiver does not confirm remote write 2.0: it gets 1.0 until this program starts again"
                );
                if was_said {
                    self.pushes.ended(Ending::Refused);
                    return Next::Again(batch);
                }
                // It may be no more than out of order: it gets the time that it asked for.
                let gap = self.failed(batch, asked, &why);
                return Next::Oldest { not_before: Some(Instant::now() + gap) };
            }
            negotiate::Verdict::NotUnderstood => true,
            negotiate::Verdict::Stands => false,
        };
        let verdict = match answer {
            _ if not_understood => Verdict::Refused,
            Answer::Status(status, _) => retry::judge(status, &self.target.retry_on),
            Answer::Broken | Answer::Unreachable => Verdict::Retry,
        };
        let written = match answer {
            Answer::Status(_, written) if batch.protocol == Protocol::V2 => written,
            _ => Written::Unsaid,
        };
        match verdict {
            Verdict::Delivered => self.delivered(&batch, written),
            Verdict::Refused if not_understood => {
                let why = format!("{why}; it does not know remote write 2.0, set REMOTE_WRITE_PROTOCOL=auto");
                self.refused(&batch, Written::Unsaid, &why);
            }
            Verdict::Refused => self.refused(&batch, written, &why),
            Verdict::Retry => {
                let gap = self.failed(batch, asked, &why);
                return Next::Oldest { not_before: Some(Instant::now() + gap) };
            }
        }
        Next::Oldest { not_before: self.gap().map(|gap| Instant::now() + gap) }
    }

    /// The gap after an answer while there is a backlog.
    fn gap(&mut self) -> Option<Duration> {
        if self.kept.disk_was_opened() {
            self.pace.found_backlog();
        }
        self.pace.answered(self.kept.waiting().0, fastrand::f64())
    }

    fn delivered(&mut self, batch: &Batch, written: Written) {
        let (written, exemplars) = match written {
            Written::Counts { samples, exemplars } => (samples.min(batch.samples), exemplars.min(batch.exemplars)),
            Written::Unsaid => (batch.samples, batch.exemplars),
        };
        let (missing, missing_exemplars) = (batch.samples - written, batch.exemplars - exemplars);
        self.ledger.deliver(Place::InFlight, written);
        self.ledger.deliver_exemplars(exemplars);
        self.ledger.leave_out_starts(batch.left_out_starts);
        self.kept.settled();
        self.pushes.delivered(Instant::now(), now_ms());
        if missing > 0 {
            self.ledger.discard(Place::InFlight, Reason::PartialWrite, missing);
            tracing::error!(
                reason = %Reason::PartialWrite,
                samples = missing,
                written,
                "the receiver accepted a batch but wrote only a part of it: the rest is lost"
            );
        }
        if missing_exemplars > 0 {
            self.ledger.discard_exemplars(Reason::PartialWrite, missing_exemplars);
            // Many receivers keep none, and all is well with the samples: once is enough.
            if !std::mem::replace(&mut self.told_exemplars, true) {
                tracing::info!(
                    exemplars = missing_exemplars,
                    written = exemplars,
                    "the receiver does not write all exemplars; the ledger counts them, this is told once"
                );
            }
        }
        if self.pace.failures() > 0 {
            let (waiting, _) = self.kept.waiting();
            tracing::info!(failures = self.pace.failures(), waiting, "the receiver takes samples again");
        } else if !self.delivered_any {
            let (url, protocol) = (&self.target.shown_url, batch.protocol.name());
            tracing::info!(%url, protocol, samples = batch.samples, "the first batch is delivered");
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
    }

    fn refused(&mut self, batch: &Batch, written: Written, why: &str) {
        // A receiver of 2.0 may have kept the valid part.
        let (written, exemplars) = match written {
            Written::Counts { samples, exemplars } => (samples.min(batch.samples), exemplars.min(batch.exemplars)),
            Written::Unsaid => (0, 0),
        };
        let lost = batch.samples - written;
        self.ledger.deliver(Place::InFlight, written);
        self.ledger.discard(Place::InFlight, Reason::Refused, lost);
        self.ledger.deliver_exemplars(exemplars);
        self.ledger.discard_exemplars(Reason::Refused, batch.exemplars - exemplars);
        self.kept.settled();
        self.pushes.failed(Ending::Refused, Instant::now(), why);
        let (from_ms, to_ms) = batch.time_range_ms;
        tracing::error!(
            reason = %Reason::Refused,
            samples = lost,
            written,
            from_ms,
            to_ms,
            hint = hints::of_refusal(batch, now_ms()),
            url = %self.target.shown_url,
            "the receiver refused a batch for good, its samples are lost: {why}"
        );
    }

    fn failed(&mut self, mut batch: Batch, asked: Option<Duration>, why: &str) -> Duration {
        batch.attempts = batch.attempts.saturating_add(1);
        self.pushes.failed(Ending::Failed, Instant::now(), why);
        let gap = self.pace.failed(asked, fastrand::f64());
        let overflow = self.kept.put_back(batch);
        if let Some(suppressed) = self.failure_limit.allow(Instant::now()) {
            let (batches, samples) = self.kept.waiting();
            tracing::warn!(
                url = %self.target.shown_url,
                retry_in_s = gap.as_secs_f64(),
                failures = self.pace.failures(),
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
                from_ms = overflow.from_ms(),
                to_ms = overflow.to_ms(),
                "a batch that could not be delivered was dropped: MAX_RETRY_BATCHES or MAX_RETRY_BYTES is reached"
            );
        }
        gap
    }
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
