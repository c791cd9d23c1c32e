//! Lines of HELP, TYPE and UNIT, behind the word.

use monitor_plugin_api::Kind;

use super::label::{Escapes, Text};
use super::malformed::Wrong;
use super::parser::{CUT_OFF, Line, Parser, Word};
use super::{Family, Format};

impl<'a> Parser<'a> {
    /// The rest of a line of HELP, TYPE or UNIT.
    pub(super) fn metadata(&mut self, word: Word) -> Result<Line<'a>, Wrong> {
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
        let line = self.cursor.take_line();
        let end = match is_text && line.iter().all(|byte| matches!(byte, b' ' | b'\t')) {
            true => start,
            false => self.cursor.at,
        };
        if !self.cursor.take(b'\n') && !is_text {
            return self.cursor.wrong(CUT_OFF);
        }
        self.enter(family);
        let name = family.unescaped();
        Ok(match word {
            Word::Help => {
                let escapes = if is_text { Escapes::Help } else { Escapes::Quoted };
                let text = self.cursor.text(start, end)?;
                Line::Help { family: name, text: Text::new(text, escapes).unescaped() }
            }
            Word::Type => {
                let kind = kind(line, self.format).ok_or(Wrong { at: start, why: "no such type" })?;
                self.kind = kind;
                self.family = self.family.map(|family| Family { kind, ..family });
                Line::Type { family: name, kind }
            }
            Word::Unit => {
                let unit = self.cursor.text(start, end)?;
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
}

/// The kinds that each format has.
fn kind(word: &[u8], format: Format) -> Option<Kind> {
    Some(match (word, format) {
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
