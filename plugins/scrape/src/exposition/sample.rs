//! Lines that carry a value: series, number, timestamp, exemplar.

use super::label::{self, Label, Text};
use super::malformed::Wrong;
use super::parser::{CUT_OFF, Line, Observed, Parser};
use super::{Format, number};

/// More labels than any series has; without an end, one line could take many times its own size of memory.
const MAX_LABELS: usize = 1 << 16;

impl<'a> Parser<'a> {
    /// A line with a value; the cursor is at its first byte.
    pub(super) fn sample(&mut self) -> Result<Line<'a>, Wrong> {
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
            let labels = match metric {
                Some(_) => &mut self.labels,
                None => &mut self.exemplar_labels,
            };
            if labels.len() == MAX_LABELS {
                return Err(Wrong { at: start, why: "more than 65536 labels" });
            }
            labels.push(Label { name, value });
            self.take_blanks();
            // The text format takes labels without a comma between them.
            if !self.cursor.take(b',') && self.cursor.peek() != Some(b'}') && !is_text {
                return self.cursor.wrong("neither a comma nor } after a label");
            }
        }
        self.cursor.at += 1;
        match metric {
            Some(_) => self.unique(),
            None => Ok(()),
        }
    }

    /// Refuses a sample's labels if two have one name, or one has the name that stands for that of the metric.
    fn unique(&self) -> Result<(), Wrong> {
        let wrong = |label: &Label<'_>, why| Err(Wrong { at: self.cursor.place_of(label.name.written), why });
        if let Some(number) = label::repeated(&self.labels) {
            return wrong(&self.labels[number], "a label that is there twice");
        }
        // No escape stands for one of its letters.
        match self.labels.iter().find(|label| label.name.written == "__name__") {
            Some(label) => wrong(label, "a label __name__ beside the name of the metric"),
            None => Ok(()),
        }
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
        let word = self.cursor.word(self.format == Format::Text);
        if word.is_empty() {
            return self.cursor.wrong(none);
        }
        number::float(word).ok_or(Wrong { at, why: wrong })
    }

    /// What may follow a value in the text format: milliseconds, and the end of the line.
    fn text_end(&mut self) -> Result<Option<i64>, Wrong> {
        self.cursor.take_blanks();
        let at = self.cursor.at;
        let digits = self.cursor.digits();
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
        const EXEMPLAR: &str = " # {";
        let (mut timestamp, mut exemplar) = (None, None);
        let mut has_exemplar = self.cursor.take_text(EXEMPLAR);
        if !has_exemplar && self.cursor.take(b' ') {
            timestamp = Some(self.seconds()?);
            has_exemplar = self.cursor.take_text(EXEMPLAR);
        }
        if has_exemplar {
            self.exemplar_labels.clear();
            self.labels(None)?;
            let value = self.value()?;
            let timestamp_ms = if self.cursor.take(b' ') { Some(self.seconds()?) } else { None };
            exemplar = Some(Observed { value, timestamp_ms });
        }
        match self.cursor.take(b'\n') {
            true => Ok((timestamp, exemplar)),
            false if self.cursor.peek().is_none() => self.cursor.wrong(CUT_OFF),
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
