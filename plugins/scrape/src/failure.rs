//! Why a scrape gave nothing: what an operator reads, and by what it is told once and not at each scrape.

use std::fmt;

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Nobody was reached, or the answer broke off.
    Connection,
    /// The answer was not there in time.
    Timeout,
    /// The answer was another one than 200.
    Status,
    /// The body is of a kind that is not read here.
    ContentType,
    /// The body can't be unpacked.
    Encoding,
    /// The body breaks the format's rules.
    Malformed,
    /// One of the SCRAPE_…_LIMITs is exceeded.
    Limit,
    /// A setting that is read anew for each scrape can't be read.
    Setting,
}

/// Why a scrape gave nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) class: Class,
    text: String,
}

impl Failure {
    pub(crate) fn new(class: Class, text: impl Into<String>) -> Self {
        Failure { class, text: text.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
