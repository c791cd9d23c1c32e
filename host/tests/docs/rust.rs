//! Just enough of Rust to find the texts in it.
//!
//! Enters: a source file. Leaves: its words, signs and texts with their lines, comments and test code left out.
//!
//! Never: understands more than how a text begins and ends, and which brackets belong together.

/// A piece of a source file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Word(String),
    Sign(char),
    Text(String),
}

/// A piece and the line where it begins.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) piece: Piece,
    pub(crate) line: usize,
}

impl Placed {
    pub(crate) fn is_word(&self, word: &str) -> bool {
        matches!(&self.piece, Piece::Word(found) if found == word)
    }

    pub(crate) fn is_sign(&self, sign: char) -> bool {
        self.piece == Piece::Sign(sign)
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.piece {
            Piece::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Where the bracket that opens at `at` is closed: the index behind it.
pub(crate) fn behind(pieces: &[Placed], at: usize) -> usize {
    let mut depth = 0_usize;
    for (i, placed) in pieces.iter().enumerate().skip(at) {
        match placed.piece {
            Piece::Sign('(' | '[' | '{') => depth += 1,
            Piece::Sign(')' | ']' | '}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return i + 1;
        }
    }
    pieces.len()
}

/// The pieces of a file, without what is compiled for tests alone.
pub(crate) fn pieces(source: &str) -> Vec<Placed> {
    let all = Reader { rest: source, line: 1 }.read();
    let (mut kept, mut at) = (Vec::new(), 0);
    while at < all.len() {
        if !is_for_tests(&all[at..]) {
            kept.push(all[at].clone());
            at += 1;
            continue;
        }
        // The attribute, then an item: up to its semicolon or its last brace.
        at = behind(&all, at + 1);
        while at < all.len() && !all[at].is_sign(';') {
            let is_body = all[at].is_sign('{');
            at = if matches!(all[at].piece, Piece::Sign('(' | '[' | '{')) { behind(&all, at) } else { at + 1 };
            if is_body {
                break;
            }
        }
    }
    kept
}

/// Whether `#[cfg(test)]`, or a `cfg` that names tests among others, stands here.
fn is_for_tests(pieces: &[Placed]) -> bool {
    let [hash, open, cfg, ..] = pieces else { return false };
    hash.is_sign('#')
        && open.is_sign('[')
        && cfg.is_word("cfg")
        && pieces[..behind(pieces, 1)].iter().any(|placed| placed.is_word("test"))
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl Reader<'_> {
    fn read(mut self) -> Vec<Placed> {
        let mut pieces = Vec::new();
        while let Some(c) = self.rest.chars().next() {
            let line = self.line;
            let piece = match c {
                _ if self.rest.starts_with("//") => {
                    self.skip(self.rest.find('\n').unwrap_or(self.rest.len()));
                    continue;
                }
                _ if self.rest.starts_with("/*") => {
                    self.skip(self.rest.find("*/").map_or(self.rest.len(), |end| end + 2));
                    continue;
                }
                '"' => self.text(),
                '\'' => {
                    self.quote();
                    continue;
                }
                _ if c.is_alphanumeric() || c == '_' => {
                    let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
                    match self.raw(end) {
                        Some(text) => text,
                        None => Piece::Word(self.skip(end).to_owned()),
                    }
                }
                _ => {
                    self.skip(c.len_utf8());
                    match c.is_whitespace() {
                        true => continue,
                        false => Piece::Sign(c),
                    }
                }
            };
            pieces.push(Placed { piece, line });
        }
        pieces
    }

    fn skip(&mut self, bytes: usize) -> &str {
        let (passed, rest) = self.rest.split_at(bytes);
        self.line += passed.matches('\n').count();
        self.rest = rest;
        passed
    }

    /// A text between quotes, its escapes resolved as far as they matter here.
    fn text(&mut self) -> Piece {
        self.skip(1);
        let mut text = String::new();
        while let Some(c) = self.rest.chars().next() {
            self.skip(c.len_utf8());
            match c {
                '"' => break,
                '\\' if self.rest.starts_with('\n') => {
                    let blank = self.rest.len() - self.rest.trim_start().len();
                    self.skip(blank);
                }
                '\\' => {
                    let escaped = self.rest.chars().next().unwrap_or_default();
                    self.skip(escaped.len_utf8().min(self.rest.len()));
                    text.push(match escaped {
                        'n' => '\n',
                        'r' => '\r',
                        escaped => escaped,
                    });
                }
                c => text.push(c),
            }
        }
        Piece::Text(text)
    }

    /// A raw text, if the word that ends here is what it begins with.
    fn raw(&mut self, word: usize) -> Option<Piece> {
        if !matches!(&self.rest[..word], "r" | "br" | "b" | "c" | "cr") {
            return None;
        }
        let behind = &self.rest[word..];
        let marks = behind.len() - behind.trim_start_matches('#').len();
        if !behind[marks..].starts_with('"') {
            return None;
        }
        if !self.rest[..word].contains('r') {
            self.skip(word);
            return Some(self.text());
        }
        self.skip(word + marks + 1);
        let end = format!("\"{}", "#".repeat(marks));
        let length = self.rest.find(&end).unwrap_or(self.rest.len());
        let text = self.skip(length).to_owned();
        self.skip(end.len().min(self.rest.len()));
        Some(Piece::Text(text))
    }

    /// A character between quotes, or a lifetime's quote.
    fn quote(&mut self) {
        let mut after = self.rest.chars().skip(1);
        let (first, second) = (after.next(), after.next());
        let length = match (first, second) {
            (Some('\\'), Some(escaped)) => {
                let from = 2 + escaped.len_utf8();
                self.rest.get(from..).and_then(|rest| rest.find('\'')).map_or(1, |end| from + end + 1)
            }
            (Some(first), Some('\'')) => 2 + first.len_utf8(),
            _ => 1,
        };
        self.skip(length);
    }
}

#[test]
fn texts_are_found_and_those_of_tests_are_not() {
    let source = r##"
        // "a comment"
        fn f<'a>(c: char) -> &'a str { /* "another" */ match c { '"' => "one \"x\" \
            two", '\'' => r#"raw "y""#, _ => b"bytes" } }
        #[cfg(test)]
        mod tests { fn g() { "not me"; } }
        #[cfg(any(test, feature = "x"))] use a::{b, c};
        const LAST: &str = "last";
    "##;
    let pieces = pieces(source);
    let texts: Vec<(usize, &str)> = pieces.iter().filter_map(|placed| Some((placed.line, placed.text()?))).collect();
    assert_eq!(texts, [(3, "one \"x\" two"), (4, "raw \"y\""), (4, "bytes"), (8, "last")]);
}
