//! Names and values as they are written: borrowed from the body, with their escapes until somebody asks.

use std::borrow::Cow;
use std::fmt;

use monitor_plugin_api::Kind;

use super::{family, number};

/// A text of the body.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    pub(super) written: &'a str,
    pub(super) escapes: Escapes,
}

/// Which escapes a text has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escapes {
    /// None: it is what is written.
    None,
    /// `\\` and `\n`: help in the text format.
    Help,
    /// These, and `\"`.
    Quoted,
}

impl<'a> Text<'a> {
    /// A text that may have such escapes.
    pub(super) fn new(written: &'a str, escapes: Escapes) -> Self {
        Text { written, escapes: if written.contains('\\') { escapes } else { Escapes::None } }
    }

    /// A text that has none.
    pub(super) fn plain(written: &'a str) -> Self {
        Text { written, escapes: Escapes::None }
    }

    /// What is meant. An escape that is not known stands for itself.
    pub fn unescaped(&self) -> Cow<'a, str> {
        match self.escapes {
            Escapes::None => Cow::Borrowed(self.written),
            Escapes::Help => Cow::Owned(unescape(self.written, false)),
            Escapes::Quoted => Cow::Owned(unescape(self.written, true)),
        }
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.unescaped())
    }
}

fn unescape(written: &str, quotes: bool) -> String {
    let mut text = String::with_capacity(written.len());
    let mut rest = written;
    while let Some((before, after)) = rest.split_once('\\') {
        text += before;
        let (meant, length) = match after.bytes().next() {
            Some(b'n') => ('\n', 1),
            Some(b'\\') => ('\\', 1),
            Some(b'"') if quotes => ('"', 1),
            _ => ('\\', 0),
        };
        text.push(meant);
        rest = &after[length..];
    }
    text + rest
}

/// A label as it is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label<'a> {
    pub(super) name: Text<'a>,
    pub(super) value: Text<'a>,
}

/// The labels of a sample or of an exemplar, in the order in which they are written.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'p, 'a> {
    pub(super) written: &'p [Label<'a>],
    /// Of the last TYPE: the label that is a number there.
    pub(super) numeric: Option<&'static str>,
}

impl<'p, 'a> Labels<'p, 'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.written.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.written.is_empty()
    }

    /// Names and values without their escapes. An empty value is to Prometheus as if the label were not there.
    ///
    /// The `le` of a histogram and the `quantile` of a summary are in OpenMetrics' spelling (`1.0` for `1`), in both formats, as
    /// Prometheus stores them since version 3.
    pub fn iter(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + use<'p, 'a> {
        let numeric = self.numeric;
        self.written.iter().map(move |label| {
            let (name, value) = (label.name.unescaped(), label.value.unescaped());
            let number = (numeric == Some(&name)).then(|| number::float(value.as_bytes())).flatten();
            match number.map(number::canonical) {
                Some(canonical) if canonical != value => (name, Cow::Owned(canonical)),
                _ => (name, value),
            }
        })
    }

    /// The value of the label of this name.
    pub fn get(&self, wanted: &str) -> Option<Cow<'a, str>> {
        self.iter().find(|(name, _)| name == wanted).map(|(_, value)| value)
    }
}

/// The labels below a TYPE of this kind.
pub(super) fn labels<'p, 'a>(written: &'p [Label<'a>], kind: Kind) -> Labels<'p, 'a> {
    Labels { written, numeric: family::numeric_label(kind) }
}

/// The first of the labels whose name an earlier one has.
pub(super) fn repeated(labels: &[Label<'_>]) -> Option<usize> {
    /// So many are compared with each other.
    const FEW: usize = 12;
    let names = labels.iter().map(|label| label.name);
    if labels.len() <= FEW && names.clone().all(|name| name.escapes == Escapes::None) {
        return (1..labels.len())
            .find(|&later| labels[..later].iter().any(|label| label.name.written == labels[later].name.written));
    }
    let mut sorted: Vec<_> = names.map(|name| name.unescaped()).zip(0..).collect();
    sorted.sort_unstable();
    sorted.windows(2).filter(|pair| pair[0].0 == pair[1].0).map(|pair| pair[1].1).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_those_of_prometheus() {
        let quoted = |text| Text::new(text, Escapes::Quoted).to_string();
        assert_eq!(quoted(r#"a\"b\\c\nd"#), "a\"b\\c\nd");
        assert_eq!(quoted(r"\t\\n\x\é"), r"\t\n\x\é");
        assert_eq!(quoted(r"\\\\\"), r"\\\");
        let help = |text| Text::new(text, Escapes::Help).to_string();
        assert_eq!(help(r#"a\"b\\c\nd"#), "a\\\"b\\c\nd");
        assert!(matches!(Text::new("plain", Escapes::Quoted).unescaped(), Cow::Borrowed("plain")));
    }

    #[test]
    fn a_name_that_is_there_twice_is_found_among_few_and_among_many() {
        let label = |name| Label { name: Text::new(name, Escapes::Quoted), value: Text::plain("") };
        assert_eq!(repeated(&[]), None);
        assert_eq!(repeated(&["a", "b", "c"].map(label)), None);
        assert_eq!(repeated(&["a", "b", "a", "b"].map(label)), Some(2));
        assert_eq!(repeated(&[r"a\\", r"b", r"a\\"].map(label)), Some(2));
        let names: Vec<_> = (0..1000).map(|number| format!("n{number}")).collect();
        let mut many: Vec<_> = names.iter().map(|name| label(name)).collect();
        assert_eq!(repeated(&many), None);
        many.push(label("n500"));
        many.push(label("n400"));
        assert_eq!(repeated(&many), Some(1000));
    }
}
