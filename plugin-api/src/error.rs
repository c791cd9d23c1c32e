//! What a plugin's functions return when they fail: one line, made from whatever went wrong.

use std::fmt;

/// Why a plugin could not start or go on. Any `std::error::Error` becomes one by `?`, with its sources.
///
/// The message is what an operator reads in the log: say what is wrong, where, and what to do.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    message: String,
}

impl Error {
    /// An error with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Error { message: message.into() }
    }

    /// Says before the message what was being done: `context: message`.
    #[must_use]
    pub fn context(self, context: impl fmt::Display) -> Self {
        Error::new(format!("{context}: {}", self.message))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

// `Error` itself is no `std::error::Error`: that is what lets this be written for all that are.
impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            // Many errors already print their cause.
            if !message.ends_with(&text) {
                message = format!("{message}: {text}");
            }
            source = cause.source();
        }
        Error { message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let failed = || -> Result<(), Error> {
            std::fs::read("/nonexistent/file")?;
            Ok(())
        };
        let error = failed().unwrap_err().context("/nonexistent/file");
        assert_eq!(error.to_string(), "/nonexistent/file: No such file or directory (os error 2)");
    }
}
