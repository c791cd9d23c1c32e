//! Text of unknown length and content, made fit for a line of a log.

use std::fmt;

/// At most this many characters are shown between the quotes.
const MAX_CHARS: usize = 40;

/// Displays text quoted, escaped and cut short.
pub(super) struct Shown<'a>(pub(super) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut room = MAX_CHARS;
        f.write_str("\"")?;
        for c in self.0.chars() {
            let escaped = c.escape_debug();
            match room.checked_sub(escaped.len()) {
                Some(left) => room = left,
                None => return write!(f, "…\" ({} bytes)", self.0.len()),
            }
            write!(f, "{escaped}")?;
        }
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_wild_text_stays_short_and_tame() {
        assert_eq!(Shown("a\"b\n").to_string(), r#""a\"b\n""#);
        let long = "x".repeat(1 << 20);
        let cut = format!("\"{}…\" (1048576 bytes)", "x".repeat(MAX_CHARS));
        assert_eq!(Shown(&long).to_string(), cut);
        let wild = "\u{10ffff}".repeat(1000);
        assert!(Shown(&wild).to_string().chars().count() < 70);
    }
}
