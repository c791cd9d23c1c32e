//! What is fuzzed: for each target its entry, its seeds and its words. For tests and for the programs in `host/fuzz`;
//! no build that ships has any of it.
//!
//! Enters: any bytes. Leaves: nothing, or a panic that says which promise was broken. The entries stand beside the code
//! that they are for. Never keeps anything from one input to the next, so that each failure can be repeated alone.

pub use crate::config::fuzz::SETTINGS;
pub use crate::encode::fuzz::TRANSCODE;
pub use crate::normalise::fuzz::RECORDS;
pub use crate::plugin::fuzz::PREFLIGHT;
pub use crate::receive::fuzz::RECEIVE;
pub use crate::send::fuzz::ANSWERS;
pub use crate::spool::fuzz::SPOOL;

/// One thing to fuzz.
#[derive(Debug)]
pub struct Target {
    /// As its program is called.
    pub name: &'static str,
    /// Takes any bytes; panics where the code under it breaks a promise.
    pub run: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// What is worth putting into an input.
    pub words: fn() -> Vec<Vec<u8>>,
}

/// All of them but [`PLANTED`].
pub static TARGETS: [&Target; 7] = [&RECORDS, &SPOOL, &ANSWERS, &RECEIVE, &PREFLIGHT, &TRANSCODE, &SETTINGS];

/// A bug that only whoever sees comparisons and coverage finds within seconds: it proves that the fuzzer does.
pub static PLANTED: Target = Target {
    name: "planted",
    run: |input| {
        let found = input.strip_prefix(b"\xd5mr\x01").is_some_and(|rest| rest.first_chunk() == Some(b"late"));
        assert!(!found, "the planted bug");
    },
    seeds: || vec![b"nothing".to_vec()],
    words: Vec::new,
};

/// An input that is read as a row of choices; where it ends, all that is missing is zero.
#[derive(Debug)]
pub(crate) struct Choices<'a>(pub(crate) &'a [u8]);

impl<'a> Choices<'a> {
    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub(crate) fn byte(&mut self) -> u8 {
        self.number::<1>() as u8
    }

    /// The next two bytes.
    pub(crate) fn short(&mut self) -> u16 {
        self.number::<2>() as u16
    }

    /// The next eight bytes.
    pub(crate) fn long(&mut self) -> u64 {
        self.number::<8>()
    }

    /// The next so many bytes, or what is left.
    pub(crate) fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn number<const LEN: usize>(&mut self) -> u64 {
        self.bytes(LEN).iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

/// Texts as bytes.
pub(crate) fn bytes<const N: usize>(texts: [&str; N]) -> Vec<Vec<u8>> {
    texts.map(|text| text.as_bytes().to_vec()).into()
}

/// Fails unless it is one line that can be shown to people: not empty, no control character, not endless.
#[track_caller]
pub(crate) fn assert_is_a_line(text: &str, max_bytes: usize) {
    assert!(!text.is_empty() && text.len() <= max_bytes, "{} bytes: {text:?}", text.len());
    assert!(!text.chars().any(char::is_control), "a control character: {text:?}");
}

#[cfg(test)]
mod tests;
