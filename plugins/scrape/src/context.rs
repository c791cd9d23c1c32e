//! What HELP, TYPE and UNIT said last: the metadata of the samples that follow.
//!
//! Enters: these lines, in order. Leaves: what a series of the family is to be registered with, and a number that is the same
//! as long as all of it is, so that a known series costs one comparison. Never: allocates once its texts have grown.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use monitor_plugin_api::{Kind, SeriesSpec};

/// The last family's metadata.
#[derive(Debug)]
pub(crate) struct Context {
    family: String,
    kind: Kind,
    help: String,
    unit: String,
    print: u64,
}

impl Context {
    /// Nothing is known.
    pub(crate) fn new() -> Self {
        Context { family: String::new(), kind: Kind::Unknown, help: String::new(), unit: String::new(), print: 0 }
    }

    /// Nothing is known any more: another exposition begins.
    pub(crate) fn clear(&mut self) {
        self.enter("");
        self.print();
    }

    /// The text of a HELP.
    pub(crate) fn help(&mut self, family: &str, help: &str) {
        self.enter(family);
        help.clone_into(&mut self.help);
        self.print();
    }

    /// What a TYPE says.
    pub(crate) fn kind(&mut self, family: &str, kind: Kind) {
        self.enter(family);
        self.kind = kind;
        self.print();
    }

    /// What a UNIT says.
    pub(crate) fn unit(&mut self, family: &str, unit: &str) {
        self.enter(family);
        unit.clone_into(&mut self.unit);
        self.print();
    }

    /// Stands for all that is known now.
    pub(crate) fn number(&self) -> u64 {
        self.print
    }

    /// A series of this family.
    pub(crate) fn spec(&self, metric: &str) -> SeriesSpec {
        SeriesSpec::new(metric).kind(self.kind).help(self.help.as_str()).unit(self.unit.as_str())
    }

    fn enter(&mut self, family: &str) {
        if self.family != family {
            family.clone_into(&mut self.family);
            self.kind = Kind::Unknown;
            self.help.clear();
            self.unit.clear();
        }
    }

    fn print(&mut self) {
        let texts = (&self.family, &self.help, &self.unit);
        self.print = FixedState::default().hash_one((texts, std::mem::discriminant(&self.kind)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_that_of_the_content() {
        let mut context = Context::new();
        context.clear();
        let nothing = context.number();
        context.help("a", "text");
        context.kind("a", Kind::Counter);
        let counter = context.number();
        assert_eq!(context.spec("a_total"), SeriesSpec::counter("a_total").help("text"));
        context.kind("b", Kind::Counter);
        assert_eq!(context.spec("b_total"), SeriesSpec::counter("b_total"));
        context.unit("b", "s");
        assert_ne!(context.number(), counter);
        context.kind("a", Kind::Counter);
        assert_ne!(context.number(), counter, "without its help");
        context.help("a", "text");
        assert_eq!(context.number(), counter);
        context.clear();
        assert_eq!(context.number(), nothing);
    }
}
