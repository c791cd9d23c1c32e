//! The parser: from the first byte to the last, each line once.
//!
//! Text 0.0.4 takes spaces and tabs nearly everywhere, comments, empty lines and a last line without its end; OpenMetrics takes
//! one space where one has to be, none elsewhere, and ends with `# EOF`.

use std::borrow::Cow;

use monitor_plugin_api::Kind;

use super::cursor::Cursor;
use super::label::{self, Escapes, Label, Text};
use super::malformed::Wrong;
use super::{Entry, Exemplar, Family, Format, Malformed, Sample, number};

/// Reads a body, entry by entry.
pub struct Parser<'a> {
    cursor: Cursor<'a>,
    format: Format,
    is_over: bool,
    /// Of the last HELP, TYPE or UNIT.
    family: Option<Family<'a>>,
    /// Of the last TYPE, whatever it was about: how labels are written below it.
    kind: Kind,
    /// Of the sample that was read last; kept for their memory.
    labels: Vec<Label<'a>>,
    exemplar_labels: Vec<Label<'a>>,
}

/// An entry without what it borrows from the parser.
enum Line<'a> {
    Help { family: Cow<'a, str>, text: Cow<'a, str> },
    Type { family: Cow<'a, str>, kind: Kind },
    Unit { family: Cow<'a, str>, unit: &'a str },
    Sample { raw: &'a [u8], name: Text<'a>, value: f64, timestamp_ms: Option<i64>, exemplar: Option<Observed> },
}

/// An exemplar without its labels.
struct Observed {
    value: f64,
    timestamp_ms: Option<i64>,
}

/// The keywords of OpenMetrics and, but for UNIT, of the text format.
#[derive(Clone, Copy)]
enum Word {
    Help,
    Type,
    Unit,
}

impl<'a> Parser<'a> {
    /// A parser at the first line.
    pub fn new(body: &'a [u8], format: Format) -> Self {
        Parser {
            cursor: Cursor { body, at: 0 },
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
            None => self.cursor.wrong("OpenMetrics without # EOF: it has been cut off"),
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
        self.cursor.take_while(|byte| byte != b'\n');
        None
    }

    /// The rest of a line of HELP, TYPE or UNIT.
    fn metadata(&mut self, word: Word) -> Result<Line<'a>, Wrong> {
        let family = match self.cursor.peek() {
            Some(b'"') => self.cursor.quoted(true, false)?,
            _ => match self.cursor.metric_name() {
                Some(name) => Text::plain(name),
                None => return self.cursor.wrong("HELP, TYPE or UNIT without the name of a metric"),
            },
        };
        let is_text = self.format == Format::Text;
        let is_apart = self.cursor.take(b' ') || is_text && self.cursor.take(b'\t');
        if !is_apart && !is_text {
            return self.cursor.wrong("no space after the name of the metric");
        }
        let start = self.cursor.at;
        let mut text = self.cursor.take_while(|byte| byte != b'\n');
        if is_text && text.iter().all(|byte| matches!(byte, b' ' | b'\t')) {
            text = b"";
        }
        if !self.cursor.take(b'\n') && !is_text {
            return self.cursor.wrong("OpenMetrics without # EOF: it has been cut off");
        }
        self.enter(family);
        let name = family.unescaped();
        Ok(match word {
            Word::Help => {
                let escapes = if is_text { Escapes::Help } else { Escapes::Quoted };
                let text = utf8(text, start)?;
                Line::Help { family: name, text: Text::new(text, escapes).unescaped() }
            }
            Word::Type => {
                let kind = kind(text, self.format).ok_or(Wrong { at: start, why: "no such type" })?;
                self.kind = kind;
                self.family = self.family.map(|family| Family { kind, ..family });
                Line::Type { family: name, kind }
            }
            Word::Unit => {
                let unit = utf8(text, start)?;
                let before = name.strip_suffix(unit);
                if !unit.is_empty() && !before.is_some_and(|before| before.ends_with('_')) {
                    return Err(Wrong { at: start, why: "the name of the metric does not end with its unit" });
                }
                Line::Unit { family: name, unit }
            }
        })
    }

    /// The samples that follow are taken for samples of this family.
    fn enter(&mut self, name: Text<'a>) {
        if self.family.is_none_or(|family| family.name.unescaped() != name.unescaped()) {
            let has_created = self.format == Format::OpenMetrics;
            self.family = Some(Family { name, kind: Kind::Unknown, has_created });
        }
    }

    /// A line with a value; the cursor is at its first byte.
    fn sample(&mut self) -> Result<Line<'a>, Wrong> {
        let start = self.cursor.at;
        self.labels.clear();
        let mut name = self.cursor.metric_name().map(Text::plain);
        if name.is_none() && self.cursor.peek() != Some(b'{') {
            return self.cursor.wrong("a line that begins with neither a name, { nor #");
        }
        let mut end = self.cursor.at;
        self.take_blanks();
        if self.cursor.take(b'{') {
            self.labels(Some(&mut name))?;
            end = self.cursor.at;
        }
        let Some(name) = name.filter(|name| !name.written.is_empty()) else {
            return Err(Wrong { at: start, why: "a sample without the name of a metric" });
        };
        let raw = &self.cursor.body[start..end];
        let value = self.value()?;
        let (timestamp_ms, exemplar) = match self.format {
            Format::Text => (self.text_end()?, None),
            Format::OpenMetrics => self.openmetrics_end()?,
        };
        Ok(Line::Sample { raw, name, value, timestamp_ms, exemplar })
    }

    /// Spaces and tabs, where the format takes them.
    fn take_blanks(&mut self) {
        if self.format == Format::Text {
            self.cursor.take_blanks();
        }
    }

    /// The labels behind `{`, up to and with `}`: a sample's, among which the name of the metric may be, or an exemplar's.
    fn labels(&mut self, mut metric: Option<&mut Option<Text<'a>>>) -> Result<(), Wrong> {
        let is_text = self.format == Format::Text;
        loop {
            self.take_blanks();
            let start = self.cursor.at;
            let (name, is_quoted) = match self.cursor.peek() {
                Some(b'}') => break,
                Some(b'"') => (self.cursor.quoted(metric.is_some(), false)?, true),
                _ => match self.cursor.label_name() {
                    Some(name) => (Text::plain(name), false),
                    None => return self.cursor.wrong("no label where one has to be"),
                },
            };
            self.take_blanks();
            match (self.cursor.peek(), &mut metric) {
                (Some(b'='), _) => self.cursor.at += 1,
                (Some(b',' | b'}'), Some(metric)) if is_quoted => {
                    if metric.replace(name).is_some() {
                        return Err(Wrong { at: start, why: "a second name of the metric" });
                    }
                    self.cursor.take(b',');
                    continue;
                }
                _ => return self.cursor.wrong("no = after the name of a label"),
            }
            if name.written.is_empty() {
                return Err(Wrong { at: start, why: "a label without a name" });
            }
            self.take_blanks();
            if self.cursor.peek() != Some(b'"') {
                return self.cursor.wrong("the value of a label is not in double quotes");
            }
            let value = self.cursor.quoted(is_text, metric.is_some())?;
            match metric {
                Some(_) => self.labels.push(Label { name, value }),
                None => self.exemplar_labels.push(Label { name, value }),
            }
            self.take_blanks();
            // The text format takes labels without a comma between them.
            if !self.cursor.take(b',') && self.cursor.peek() != Some(b'}') && !is_text {
                return self.cursor.wrong("neither a comma nor } after a label");
            }
        }
        let end = self.cursor.at;
        self.cursor.at += 1;
        if metric.is_some() {
            if label::repeated(&self.labels).is_some() {
                return Err(Wrong { at: end, why: "a label that is there twice" });
            }
            if self.labels.iter().any(|label| label.name.unescaped() == "__name__") {
                return Err(Wrong { at: end, why: "a label __name__ beside the name of the metric" });
            }
        }
        Ok(())
    }

    /// The number that a sample or an exemplar has.
    fn value(&mut self) -> Result<f64, Wrong> {
        match self.format {
            Format::Text => self.take_blanks(),
            Format::OpenMetrics if self.cursor.take(b' ') => {}
            Format::OpenMetrics => return self.cursor.wrong("no space and value after the series"),
        }
        self.number("no value after the series", "the value is not a decimal number within a double's range")
    }

    /// What stands up to the next space or end of the line, as a number.
    fn number(&mut self, none: &'static str, wrong: &'static str) -> Result<f64, Wrong> {
        let at = self.cursor.at;
        let tab = if self.format == Format::Text { b'\t' } else { b' ' };
        let text = self.cursor.take_while(|byte| !matches!(byte, b' ' | b'\n') && byte != tab);
        if text.is_empty() {
            return self.cursor.wrong(none);
        }
        number::float(text).ok_or(Wrong { at, why: wrong })
    }

    /// What may follow a value in the text format: milliseconds, and the end of the line.
    fn text_end(&mut self) -> Result<Option<i64>, Wrong> {
        self.cursor.take_blanks();
        let at = self.cursor.at;
        let digits = self.cursor.take_while(|byte| byte.is_ascii_digit());
        let timestamp = match digits {
            [] => None,
            _ => Some(number::integer(digits).ok_or(Wrong { at, why: "the timestamp is too large" })?),
        };
        self.cursor.take_blanks();
        if !self.cursor.take_line_end() {
            return self.cursor.wrong("neither a timestamp in milliseconds nor the end of the line after the value");
        }
        Ok(timestamp)
    }

    /// What may follow a value in OpenMetrics: seconds, an exemplar, and the end of the line.
    fn openmetrics_end(&mut self) -> Result<(Option<i64>, Option<Observed>), Wrong> {
        let has_exemplar = |cursor: &mut Cursor<'a>| cursor.take_text(" # {");
        let mut timestamp = None;
        let mut exemplar = None;
        let mut is_exemplar = has_exemplar(&mut self.cursor);
        if !is_exemplar && self.cursor.take(b' ') {
            timestamp = Some(self.seconds()?);
            is_exemplar = has_exemplar(&mut self.cursor);
        }
        if is_exemplar {
            self.exemplar_labels.clear();
            self.labels(None)?;
            let value = self.value()?;
            let timestamp_ms = if self.cursor.take(b' ') { Some(self.seconds()?) } else { None };
            exemplar = Some(Observed { value, timestamp_ms });
        }
        match self.cursor.take(b'\n') {
            true => Ok((timestamp, exemplar)),
            false if self.cursor.peek().is_none() => {
                self.cursor.wrong("OpenMetrics without # EOF: it has been cut off")
            }
            false => self.cursor.wrong("more text after the sample"),
        }
    }

    /// A timestamp of OpenMetrics, in milliseconds.
    fn seconds(&mut self) -> Result<i64, Wrong> {
        let at = self.cursor.at;
        let seconds =
            self.number("no timestamp after the space", "the timestamp is not a decimal number of seconds")?;
        number::milliseconds(seconds).ok_or(Wrong { at, why: "the timestamp is no moment" })
    }
}

fn utf8(text: &[u8], start: usize) -> Result<&str, Wrong> {
    let why = "a text that is not UTF-8";
    str::from_utf8(text).map_err(|error| Wrong { at: start + error.valid_up_to(), why })
}

/// The kinds that each format has.
fn kind(text: &[u8], format: Format) -> Option<Kind> {
    Some(match (text, format) {
        (b"counter", _) => Kind::Counter,
        (b"gauge", _) => Kind::Gauge,
        (b"histogram", _) => Kind::Histogram,
        (b"summary", _) => Kind::Summary,
        (b"untyped", Format::Text) | (b"unknown", Format::OpenMetrics) => Kind::Unknown,
        (b"gaugehistogram", Format::OpenMetrics) => Kind::GaugeHistogram,
        (b"info", Format::OpenMetrics) => Kind::Info,
        (b"stateset", Format::OpenMetrics) => Kind::StateSet,
        _ => return None,
    })
}
