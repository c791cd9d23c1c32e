//! What is remembered of a GPU or an instance, whether it is there or not.
//!
//! Enters: its answers. Leaves: values, or the news that GPU or driver are gone. What it does not offer is told once, and not
//! asked for again; any other error is counted, and told when it changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use monitor_plugin_api::{Clock, tracing};
use nvml_wrapper::error::NvmlError;

use crate::buffer::Buffer;
use crate::code::{Code, Fate};
use crate::energy::Counter;
use crate::field::{Field, Fields};
use crate::gpu::{Gpu, Identity, Reading};
use crate::health::{Event, Health};

/// Nothing more can be read of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The GPU or the instance is gone.
    Gpu(Code),
    /// The driver is gone.
    Driver(Code),
}

/// What stays of a GPU, whether it is there or not.
#[derive(Debug)]
pub(crate) struct History {
    /// As the log calls it.
    pub(crate) name: String,
    /// Of an instance, the GPU's uuid.
    pub(crate) parent: Option<String>,
    pub(crate) energy: Counter,
    /// When its energy was zero.
    pub(crate) began_ms: Option<i64>,
    pub(crate) buffer: Buffer,
    pub(crate) fast: Clock,
    pub(crate) slow: Clock,
    pub(crate) books: Books,
}

/// What it has answered so far.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) unsupported: Fields,
    told: Fields,
    /// The last error of those fields that can't be read.
    trouble: BTreeMap<Field, Code>,
}

impl History {
    /// Of one that is seen for the first time, at `now_ms` milliseconds since the Unix epoch.
    pub(crate) fn new(identity: &Identity, now_ms: i64) -> Self {
        History {
            name: identity.name(),
            parent: identity.instance.as_ref().map(|instance| instance.parent.clone()),
            energy: Counter::default(),
            began_ms: None,
            buffer: Buffer::new(now_ms),
            fast: Clock::new(),
            slow: Clock::new(),
            books: Books::default(),
        }
    }

    /// The GPU or its driver is gone: what comes back may count from zero, and offer something else.
    pub(crate) fn interrupted(&mut self) {
        self.energy.interrupted();
        self.buffer.interrupted();
        self.books.unsupported = Fields::default();
    }

    /// A reading with nothing in it.
    pub(crate) fn reading(&self, gpu: &Gpu<'_>) -> Reading {
        let (unsupported, began_ms) = (self.books.unsupported, self.began_ms);
        Reading { identity: Arc::clone(&gpu.identity), unsupported, began_ms, values: Vec::new() }
    }

    /// Puts into a reading what was learnt while it was taken.
    pub(crate) fn complete(&self, reading: &mut Reading) {
        (reading.unsupported, reading.began_ms) = (self.books.unsupported, self.began_ms);
    }

    /// Notes the answer to a question that is no reading's.
    ///
    /// # Errors
    /// It is gone.
    pub(crate) fn note<T>(
        &mut self,
        who: &Identity,
        health: &mut Health,
        field: Field,
        answer: Result<T, NvmlError>,
    ) -> Result<Option<T>, Broken> {
        Ask { who, books: &mut self.books, health }.note(field, answer.map_err(Code::of))
    }

    /// Whether it is known not to offer this.
    pub(crate) fn lacks(&self, field: Field) -> bool {
        self.books.unsupported.contains(field)
    }
}

/// Asks one GPU, and keeps the books.
pub(crate) struct Ask<'a> {
    pub(crate) who: &'a Identity,
    pub(crate) books: &'a mut Books,
    pub(crate) health: &'a mut Health,
}

impl Ask<'_> {
    /// Asks for a field, unless it is known not to be offered.
    ///
    /// # Errors
    /// It is gone.
    pub(crate) fn once<T>(
        &mut self,
        field: Field,
        call: impl FnOnce() -> Result<T, NvmlError>,
    ) -> Result<Option<T>, Broken> {
        if self.books.unsupported.contains(field) {
            return Ok(None);
        }
        self.note(field, call().map_err(Code::of))
    }

    /// Notes what it answered.
    ///
    /// # Errors
    /// It is gone.
    pub(crate) fn note<T>(&mut self, field: Field, answer: Result<T, Code>) -> Result<Option<T>, Broken> {
        let code = match answer {
            Ok(value) => {
                if self.books.trouble.remove(&field).is_some() {
                    tracing::info!("{}: {} can be read again", self.who.name(), field.name());
                }
                return Ok(Some(value));
            }
            Err(code) => code,
        };
        match code.fate() {
            Fate::Unsupported => {
                self.books.unsupported.insert(field);
                self.books.trouble.remove(&field);
                if !self.books.told.contains(field) {
                    self.books.told.insert(field);
                    tracing::info!("{} does not offer {}: {code}", self.who.name(), field.name());
                }
                return Ok(None);
            }
            fate => {
                self.health.count(Event::Error(field, code), 1);
                // An instance that is taken down leaves a handle that is none.
                let is_taken_down = self.who.instance.is_some() && code == Code::INVALID_ARGUMENT;
                match fate {
                    Fate::Restart => return Err(Broken::Driver(code)),
                    Fate::Lost => return Err(Broken::Gpu(code)),
                    _ if is_taken_down => return Err(Broken::Gpu(code)),
                    _ => {}
                }
            }
        }
        if self.books.trouble.insert(field, code) != Some(code) {
            tracing::warn!("{}: {} can't be read: {code}; it is tried again", self.who.name(), field.name());
        }
        Ok(None)
    }
}
