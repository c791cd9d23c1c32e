//! A place in the body, and the pieces that both formats are made of.

use super::label::{Escapes, Text};
use super::malformed::Wrong;

/// Bits of [`CLASS`].
const LETTER: u8 = 1;
const DIGIT: u8 = 2;
const COLON: u8 = 4;

/// What each byte may be in a name.
const CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        class[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => LETTER,
            b'0'..=b'9' => DIGIT,
            b':' => COLON,
            _ => 0,
        };
        byte += 1;
    }
    class
};

/// Where the parser is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    pub(super) body: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.body.get(self.at..).unwrap_or_default()
    }

    /// What is wrong here.
    pub(super) fn wrong<T>(&self, why: &'static str) -> Result<T, Wrong> {
        Err(Wrong { at: self.at, why })
    }

    /// Steps over this byte, if it is next.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// Steps over this text, if it is next.
    pub(super) fn take_text(&mut self, text: &str) -> bool {
        let is_next = self.rest().starts_with(text.as_bytes());
        self.at += if is_next { text.len() } else { 0 };
        is_next
    }

    /// All bytes from here on that are such.
    pub(super) fn take_while(&mut self, is_such: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let length = rest.iter().position(|&byte| !is_such(byte)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// Steps over spaces and tabs; whether there are any.
    pub(super) fn take_blanks(&mut self) -> bool {
        !self.take_while(|byte| byte == b' ' || byte == b'\t').is_empty()
    }

    /// Steps over the end of the line; whether there was one. The end of the body is the end of its last line.
    pub(super) fn take_line_end(&mut self) -> bool {
        self.take(b'\n') || self.at >= self.body.len()
    }

    /// A metric's name without quotes.
    pub(super) fn metric_name(&mut self) -> Option<&'a str> {
        self.name(LETTER | COLON)
    }

    /// A label's name without quotes.
    pub(super) fn label_name(&mut self) -> Option<&'a str> {
        self.name(LETTER)
    }

    /// A name that begins with one of these, and goes on with these or with digits.
    fn name(&mut self, letters: u8) -> Option<&'a str> {
        let is = |byte: u8, classes: u8| CLASS[usize::from(byte)] & classes != 0;
        if !is(self.peek()?, letters) {
            return None;
        }
        let name = self.take_while(|byte| is(byte, letters | DIGIT));
        // Letters, digits, `_` and `:` are ASCII.
        str::from_utf8(name).ok()
    }

    /// A text in quotes, of which the first is next. Quotes of some kinds hold no line break, of some no zero.
    pub(super) fn quoted(&mut self, can_break: bool, can_hold_zero: bool) -> Result<Text<'a>, Wrong> {
        let (open, start) = (self.at, self.at + 1);
        let mut escapes = Escapes::None;
        self.at = start;
        loop {
            self.take_while(|byte| !matches!(byte, b'"' | b'\\' | b'\n' | 0));
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') if !matches!(self.body.get(self.at + 1), None | Some(b'\n')) => {
                    escapes = Escapes::Quoted;
                    self.at += 2;
                }
                Some(b'\n') if can_break => self.at += 1,
                Some(0) if can_hold_zero => self.at += 1,
                Some(0) => return self.wrong("a zero byte where none may be"),
                _ => return Err(Wrong { at: open, why: "the quotes are not closed" }),
            }
        }
        let written = &self.body[start..self.at];
        self.at += 1;
        match str::from_utf8(written) {
            Ok(written) => Ok(Text { written, escapes }),
            Err(error) => {
                Err(Wrong { at: start + error.valid_up_to(), why: "the quotes hold bytes that are not UTF-8" })
            }
        }
    }
}
