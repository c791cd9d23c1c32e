//! A place in the body, and the pieces that both formats are made of.

use super::label::{Escapes, Text};
use super::malformed::Wrong;

/// Letters and `_`.
const LETTER: u8 = 1;
const DIGIT: u8 = 2;
const COLON: u8 = 4;
/// Spaces and tabs.
const BLANK: u8 = 8;
/// All but the end of a line.
const INLINE: u8 = 16;
/// All but what the end of quotes, an escape, or what not all quotes may hold begins with.
const PLAIN: u8 = 32;
/// All but spaces and ends of lines.
const WORD: u8 = 64;

/// What each byte is.
const CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        class[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => LETTER | INLINE | PLAIN | WORD,
            b'0'..=b'9' => DIGIT | INLINE | PLAIN | WORD,
            b':' => COLON | INLINE | PLAIN | WORD,
            b' ' => BLANK | INLINE | PLAIN,
            b'\t' => BLANK | INLINE | PLAIN | WORD,
            b'\n' => 0,
            b'"' | b'\\' | 0 => INLINE | WORD,
            _ => INLINE | PLAIN | WORD,
        };
        byte += 1;
    }
    class
};

/// Where the parser is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    pub(super) body: &'a [u8],
    /// The body as a text, if all of it is one: to look at it once costs less than to look at each piece.
    text: Option<&'a str>,
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Cursor { body, text: str::from_utf8(body).ok(), at: 0 }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    /// What is wrong here.
    pub(super) fn wrong<T>(&self, why: &'static str) -> Result<T, Wrong> {
        Err(Wrong { at: self.at, why })
    }

    /// Where a piece of the body begins in it.
    pub(super) fn place_of(&self, piece: &str) -> usize {
        piece.as_ptr().addr().saturating_sub(self.body.as_ptr().addr())
    }

    /// Steps over this byte, if it is next.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// Steps over this text, if it is next.
    pub(super) fn take_text(&mut self, text: &str) -> bool {
        let is_next = self.body.get(self.at..).is_some_and(|rest| rest.starts_with(text.as_bytes()));
        self.at += if is_next { text.len() } else { 0 };
        is_next
    }

    /// Steps over spaces and tabs; whether there are any.
    pub(super) fn take_blanks(&mut self) -> bool {
        self.take_while(BLANK) < self.at
    }

    /// Steps over what is left of the line, and not over its end.
    pub(super) fn take_line(&mut self) -> &'a [u8] {
        let start = self.take_while(INLINE);
        &self.body[start..self.at]
    }

    /// Steps over the end of the line; whether there was one. The end of the body is the end of its last line.
    pub(super) fn take_line_end(&mut self) -> bool {
        self.take(b'\n') || self.at >= self.body.len()
    }

    pub(super) fn digits(&mut self) -> &'a [u8] {
        let start = self.take_while(DIGIT);
        &self.body[start..self.at]
    }

    /// What goes up to the next space or end of a line, or to the next tab as well.
    pub(super) fn word(&mut self, to_tab: bool) -> &'a [u8] {
        let start = self.take_while(WORD);
        let word = &self.body[start..self.at];
        let Some(tab) = word.iter().position(|&byte| to_tab && byte == b'\t') else { return word };
        self.at = start + tab;
        &word[..tab]
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
        if CLASS[usize::from(self.peek()?)] & letters == 0 {
            return None;
        }
        let start = self.take_while(letters | DIGIT);
        self.text(start, self.at).ok()
    }

    /// A text in quotes, of which the first is next. Quotes of some kinds hold no line break, of some no zero.
    pub(super) fn quoted(&mut self, can_break: bool, can_hold_zero: bool) -> Result<Text<'a>, Wrong> {
        let (open, start) = (self.at, self.at + 1);
        let mut escapes = Escapes::None;
        self.at = start;
        loop {
            self.take_while(PLAIN);
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
        let written = self.text(start, self.at)?;
        self.at += 1;
        Ok(Text { written, escapes })
    }

    /// A piece of the body as a text.
    pub(super) fn text(&self, start: usize, end: usize) -> Result<&'a str, Wrong> {
        if let Some(text) = self.text.and_then(|text| text.get(start..end)) {
            return Ok(text);
        }
        let why = "bytes that are not UTF-8";
        str::from_utf8(&self.body[start..end]).map_err(|error| Wrong { at: start + error.valid_up_to(), why })
    }

    /// Steps over all bytes of these classes; where the first was.
    fn take_while(&mut self, classes: u8) -> usize {
        let start = self.at;
        let mut at = start;
        while at < self.body.len() && CLASS[usize::from(self.body[at])] & classes != 0 {
            at += 1;
        }
        self.at = at;
        start
    }
}
