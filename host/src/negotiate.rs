//! Which message the receiver is sent: 1.0 or 2.0. Pure.
//!
//! Enters: the operator's choice (REMOTE_WRITE_PROTOCOL), and what became of each request. Leaves: the message for the
//! next batch, and whether the batch that was just answered has to go again in the other one.
//!
//! With `auto`, 2.0 comes first. Receivers that don't know it answer 400 or 415, or, in wide use, 204 without having
//! stored anything; only one that confirms what it wrote has understood. Until one did, three failures of any other
//! kind in a row make us try 1.0 too. The choice holds until the process ends; 2.0 is tried again after that.
//!
//! Never: takes a receiver that can't be reached for one that doesn't know 2.0.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::encode::Protocol;

/// REMOTE_WRITE_PROTOCOL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// 2.0 where the receiver knows it, else 1.0.
    Auto,
    /// Always this one.
    Only(Protocol),
}

/// So many failures in a row, before 2.0 was confirmed, make us try 1.0.
pub const PATIENCE: u32 = 3;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A status, and whether headers said what was written.
    Status(u16, Written),
    /// The receiver was reached, but gave no answer.
    Broken,
    /// The receiver was not reached.
    Unreachable,
}

/// What a receiver of 2.0 says that it has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Nothing was said.
    Unsaid,
    /// So many.
    Counts {
        /// Samples and histograms.
        samples: u64,
        /// Exemplars.
        exemplars: u64,
    },
}

/// What follows for the batch that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The answer means what it says.
    Stands,
    /// The receiver understood nothing: the same samples again, as 1.0.
    AgainAsV1,
    /// The receiver understood nothing, and nothing else may be tried.
    NotUnderstood,
}

/// What is known of the receiver.
#[derive(Clone, Copy, Debug)]
pub struct Negotiation {
    choice: Choice,
    current: Protocol,
    confirmed: bool,
    failures: u32,
}

impl Negotiation {
    /// Nothing is known yet.
    pub fn new(choice: Choice) -> Self {
        let current = match choice {
            Choice::Auto => Protocol::V2,
            Choice::Only(protocol) => protocol,
        };
        Negotiation { choice, current, confirmed: false, failures: 0 }
    }

    /// The message for the next batch.
    pub fn current(&self) -> Protocol {
        self.current
    }

    /// Takes note of what became of a request that was sent as `sent`.
    pub fn answered(&mut self, sent: Protocol, answer: Answer) -> Verdict {
        if sent == Protocol::V1 {
            return Verdict::Stands;
        }
        match answer {
            Answer::Status(_, Written::Counts { .. }) => {
                (self.confirmed, self.failures) = (true, 0);
                return Verdict::Stands;
            }
            Answer::Status(200..=299 | 415, Written::Unsaid) => {}
            Answer::Status(400, Written::Unsaid) if !self.confirmed && self.choice == Choice::Auto => {}
            Answer::Unreachable => return Verdict::Stands,
            Answer::Status(..) | Answer::Broken => {
                self.failures += 1;
                if self.confirmed || self.failures < PATIENCE {
                    return Verdict::Stands;
                }
                if self.choice != Choice::Auto {
                    return Verdict::Stands;
                }
            }
        }
        if self.choice != Choice::Auto {
            return Verdict::NotUnderstood;
        }
        self.current = Protocol::V1;
        Verdict::AgainAsV1
    }
}

/// The message for the next batch, as the batching stage reads it and the sender knows it.
#[derive(Debug)]
pub struct Current(AtomicBool);

impl Current {
    /// What is current at the start.
    pub fn new(protocol: Protocol) -> Self {
        Current(AtomicBool::new(protocol == Protocol::V2))
    }

    /// What is current now.
    pub fn get(&self) -> Protocol {
        if self.0.load(Relaxed) { Protocol::V2 } else { Protocol::V1 }
    }

    /// Makes this one current.
    pub fn set(&self, protocol: Protocol) {
        self.0.store(protocol == Protocol::V2, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Protocol::{V1, V2};
    use Verdict::{AgainAsV1, NotUnderstood, Stands};
    use Written::{Counts, Unsaid};

    fn after(choice: Choice, answers: &[Answer]) -> (Verdict, Protocol) {
        let mut negotiation = Negotiation::new(choice);
        let mut last = Stands;
        for &answer in answers {
            last = negotiation.answered(negotiation.current(), answer);
        }
        (last, negotiation.current())
    }

    const OK: Answer = Answer::Status(204, Counts { samples: 5, exemplars: 0 });
    const SILENT: Answer = Answer::Status(204, Unsaid);

    fn status(status: u16) -> Answer {
        Answer::Status(status, Unsaid)
    }

    #[test]
    fn auto_finds_out() {
        for (answers, verdict, protocol) in [
            (&[OK][..], Stands, V2),
            (&[SILENT], AgainAsV1, V1),
            (&[status(400)], AgainAsV1, V1),
            (&[status(415)], AgainAsV1, V1),
            (&[status(500)], Stands, V2),
            (&[status(500), status(404)], Stands, V2),
            (&[status(500), status(404), Answer::Broken], AgainAsV1, V1),
            (&[status(500), OK, status(500), status(500), status(500)], Stands, V2),
            (&[Answer::Unreachable; 20], Stands, V2),
            // Once confirmed, a refusal is about the batch, unless it says that the message is unknown.
            (&[OK, status(400)], Stands, V2),
            (&[OK, Answer::Status(400, Counts { samples: 3, exemplars: 1 })], Stands, V2),
            (&[OK, status(415)], AgainAsV1, V1),
            (&[OK, SILENT], AgainAsV1, V1),
            // 1.0 is final.
            (&[SILENT, status(400), status(204)], Stands, V1),
        ] {
            assert_eq!(after(Choice::Auto, answers), (verdict, protocol), "{answers:?}");
        }
    }

    #[test]
    fn a_fixed_choice_holds() {
        assert_eq!(after(Choice::Only(V1), &[status(415), status(400), SILENT]), (Stands, V1));
        assert_eq!(after(Choice::Only(V2), &[SILENT]), (NotUnderstood, V2));
        assert_eq!(after(Choice::Only(V2), &[status(415)]), (NotUnderstood, V2));
        assert_eq!(after(Choice::Only(V2), &[status(500); 9]), (Stands, V2));
        assert_eq!(after(Choice::Only(V2), &[status(400)]), (Stands, V2));
    }
}
