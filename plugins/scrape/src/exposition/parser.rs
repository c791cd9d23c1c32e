//! The parser: from the first byte to the last, each line once.
//!
//! Text 0.0.4 takes spaces and tabs nearly everywhere, comments, empty lines and a last line without its end; OpenMetrics takes
//! one space where one has to be, none elsewhere, and ends with `# EOF`.

use std::borrow::Cow;

use monitor_plugin_api::Kind;

use super::cursor::Cursor;
use super::label::{self, Label, Text};
use super::malformed::Wrong;
use super::{Entry, Exemplar, Family, Format, Malformed, Sample};

/// A body that does not end as OpenMetrics has to.
pub(super) const CUT_OFF: &str = "OpenMetrics without # EOF: it has been cut off";

/// Reads a body, entry by entry.
pub struct Parser<'a> {
    pub(super) cursor: Cursor<'a>,
    pub(super) format: Format,
    is_over: bool,
    /// Of the last HELP, TYPE or UNIT.
    pub(super) family: Option<Family<'a>>,
    /// Of the last TYPE, whatever it was about: how labels are written below it.
    pub(super) kind: Kind,
    /// Of the sample that was read last; kept for their memory.
    pub(super) labels: Vec<Label<'a>>,
    pub(super) exemplar_labels: Vec<Label<'a>>,
}

/// An entry without what it borrows from the parser.
pub(super) enum Line<'a> {
    Help { family: Cow<'a, str>, text: Cow<'a, str> },
    Type { family: Cow<'a, str>, kind: Kind },
    Unit { family: Cow<'a, str>, unit: &'a str },
    Sample { raw: &'a [u8], name: Text<'a>, value: f64, timestamp_ms: Option<i64>, exemplar: Option<Observed> },
}

/// An exemplar without its labels.
pub(super) struct Observed {
    pub(super) value: f64,
    pub(super) timestamp_ms: Option<i64>,
}

/// The keywords of OpenMetrics and, but for UNIT, of the text format.
#[derive(Clone, Copy)]
pub(super) enum Word {
    Help,
    Type,
    Unit,
}

impl<'a> Parser<'a> {
    /// A parser at the first line.
    pub fn new(body: &'a [u8], format: Format) -> Self {
        Parser {
            cursor: Cursor::new(body),
            format,
            is_over: false,
            family: None,
            kind: Kind::Unknown,
            labels: Vec::new(),
            exemplar_labels: Vec::new(),
        }
    }

    /// The next entry; none at the end, and none after an error.
    ///
    /// # Errors
    ///
    /// The line that can't be read. What came before it is not to be relied upon, either.
    #[expect(clippy::should_implement_trait, reason = "what it returns borrows from the parser")]
    pub fn next(&mut self) -> Result<Option<Entry<'_, 'a>>, Malformed> {
        if self.is_over {
            return Ok(None);
        }
        let mut start = self.cursor.at;
        let line = match self.format {
            Format::Text => self.text(&mut start),
            Format::OpenMetrics => self.openmetrics(&mut start),
        };
        match line {
            Ok(Some(line)) => Ok(Some(self.entry(line))),
            Ok(None) => {
                self.is_over = true;
                Ok(None)
            }
            Err(wrong) => {
                self.is_over = true;
                Err(wrong.told(self.cursor.body, start))
            }
        }
    }

    /// A line with what it borrows from the parser.
    fn entry(&self, line: Line<'a>) -> Entry<'_, 'a> {
        match line {
            Line::Help { family, text } => Entry::Help { family, text },
            Line::Type { family, kind } => Entry::Type { family, kind },
            Line::Unit { family, unit } => Entry::Unit { family, unit },
            Line::Sample { raw, name, value, timestamp_ms, exemplar } => {
                let labels = label::labels(&self.labels, self.kind);
                let exemplar = exemplar.map(|Observed { value, timestamp_ms }| Exemplar {
                    labels: label::labels(&self.exemplar_labels, Kind::Unknown),
                    value,
                    timestamp_ms,
                });
                Entry::Sample(Sample { raw, name, labels, value, timestamp_ms, exemplar, family: self.family })
            }
        }
    }

    /// The next entry of the text format, which begins at `start`.
    fn text(&mut self, start: &mut usize) -> Result<Option<Line<'a>>, Wrong> {
        loop {
            self.cursor.take_blanks();
            *start = self.cursor.at;
            match self.cursor.peek() {
                None => return Ok(None),
                Some(b'\n') => self.cursor.at += 1,
                Some(b'#') => {
                    if let Some(word) = self.comment() {
                        return self.metadata(word).map(Some);
                    }
                }
                Some(_) => return self.sample().map(Some),
            }
        }
    }

    /// The next entry of OpenMetrics, which begins at `start`.
    fn openmetrics(&mut self, start: &mut usize) -> Result<Option<Line<'a>>, Wrong> {
        *start = self.cursor.at;
        match self.cursor.peek() {
            // A body of nothing is a scrape of nothing to Prometheus, in this format, too.
            None if self.cursor.body.is_empty() => Ok(None),
            None => self.cursor.wrong(CUT_OFF),
            Some(b'\n') => self.cursor.wrong("an empty line, which OpenMetrics does not have"),
            Some(b'#') if self.cursor.take_text("# HELP ") => self.metadata(Word::Help).map(Some),
            Some(b'#') if self.cursor.take_text("# TYPE ") => self.metadata(Word::Type).map(Some),
            Some(b'#') if self.cursor.take_text("# UNIT ") => self.metadata(Word::Unit).map(Some),
            Some(b'#') if self.cursor.take_text("# EOF") => {
                self.cursor.take(b'\n');
                if self.cursor.at < self.cursor.body.len() {
                    return self.cursor.wrong("more text after # EOF");
                }
                Ok(None)
            }
            Some(b'#') => self.cursor.wrong("neither # HELP, # TYPE, # UNIT nor # EOF: OpenMetrics has no comments"),
            Some(_) => self.sample().map(Some),
        }
    }

    /// What a line of the text format that begins with `#` is; the cursor is behind the word, or behind a mere comment.
    fn comment(&mut self) -> Option<Word> {
        self.cursor.at += 1;
        if self.cursor.take_blanks() {
            for (text, word) in [("HELP", Word::Help), ("TYPE", Word::Type)] {
                let before = self.cursor.at;
                if self.cursor.take_text(text) && self.cursor.take_blanks() {
                    return Some(word);
                }
                self.cursor.at = before;
            }
        }
        self.cursor.take_line();
        None
    }
}
