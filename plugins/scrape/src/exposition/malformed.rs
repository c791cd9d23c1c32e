//! Why a text can't be read: one line, for the log.

use std::fmt::{self, Write as _};

/// How much of the text is shown.
const SHOWN_BYTES: usize = 60;

/// The line that is malformed, and why. Nothing of the text is good then: who wrote it may have meant anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The first is 1. Where quotes span several lines, it is the one on which the entry begins.
    pub line: usize,
    /// One line without control characters: what is wrong, and a piece of the text.
    pub reason: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl std::error::Error for Malformed {}

/// What is wrong, and at which byte of the text.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) at: usize,
    pub(super) why: &'static str,
}

impl Wrong {
    /// As it is told: the entry began at `start`.
    #[cold]
    pub(super) fn told(&self, body: &[u8], start: usize) -> Malformed {
        let line = 1 + body[..start.min(body.len())].iter().filter(|&&byte| byte == b'\n').count();
        Malformed { line, reason: format!("{}, {}", self.why, place(body, self.at)) }
    }
}

/// What stands at this byte.
fn place(body: &[u8], at: usize) -> String {
    let rest = body.get(at..).unwrap_or_default();
    let line = rest.split(|&byte| byte == b'\n').next().unwrap_or_default();
    match line {
        [] if rest.is_empty() => "at the end of the text".to_owned(),
        [] => "at the end of the line".to_owned(),
        _ => format!("at `{}`", shown(line)),
    }
}

/// With what can't be shown escaped, and shortened.
pub(super) fn shown(line: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = line;
    while !rest.is_empty() {
        if text.len() >= SHOWN_BYTES {
            return text + "…";
        }
        // No character is longer than four bytes.
        let few = &rest[..rest.len().min(4)];
        let first = few.utf8_chunks().next();
        match first.and_then(|chunk| chunk.valid().chars().next()) {
            Some(character) => {
                match character {
                    '"' | '\'' | '\\' => text.push(character),
                    _ => text.extend(character.escape_debug()),
                }
                rest = &rest[character.len_utf8()..];
            }
            None => {
                // Writing to a string can't fail.
                let _ = write!(text, "\\x{:02x}", rest[0]);
                rest = &rest[1..];
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(body: &[u8], at: usize) -> String {
        Wrong { at, why: "it is wrong" }.told(body, at).to_string()
    }

    #[test]
    fn it_names_the_line_and_shows_what_stands_there() {
        assert_eq!(told(b"a 1\nb 2\nc x\n", 10), "line 3: it is wrong, at `x`");
        assert_eq!(told(b"a 1\n", 3), "line 1: it is wrong, at the end of the line");
        assert_eq!(told(b"a 1\n", 4), "line 2: it is wrong, at the end of the text");
        assert_eq!(told(b"a 1\n", 400), "line 2: it is wrong, at the end of the text");
    }

    #[test]
    fn the_piece_is_short_and_can_be_printed() {
        assert_eq!(told(b"\x1b[2J\0\r\xff\xe2\x82", 0), r"line 1: it is wrong, at `\u{1b}[2J\0\r\xff\xe2\x82`");
        assert_eq!(told("10 € \u{202e}".as_bytes(), 0), r"line 1: it is wrong, at `10 € \u{202e}`");
        let long = told(&vec![b'x'; 1 << 20], 0);
        assert_eq!(long, format!("line 1: it is wrong, at `{}…`", "x".repeat(SHOWN_BYTES)));
    }
}
