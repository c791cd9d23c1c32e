//! DRY_RUN: what stands in the sender's place and prints instead of pushing.
//!
//! Enters: kept batches, oldest first. Leaves: a line for each sample, decoded from the bytes that would have been
//! pushed; a batch that is printed is delivered, because the terminal is the receiver. When nobody reads standard output
//! any more, what is left is dropped as `shutdown`, and whoever runs this is told.
//!
//! A reader that is there and does not read holds the run, at its end too, as it holds any program that prints: the second
//! signal ends it.
//!
//! Never: opens a socket; changes a batch.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::time::Instant;

use monitor_plugin_api::now_ms;

use crate::batch::Batch;
use crate::keep::{Kept, Taken};
use crate::ledger::{Ledger, Place, Reason};
use crate::receive::decode::{DecodeError, Protocol, decode};
use crate::receive::lines::Text;
use crate::send::books::Pushes;

/// Prints what is kept; see [`Printer::run`].
#[derive(Debug)]
pub struct Printer<W: Write> {
    kept: Arc<Kept>,
    ledger: Arc<Ledger>,
    pushes: Arc<Pushes>,
    out: BufWriter<W>,
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Output(#[from] io::Error),
    #[error("a batch can't be read again: {0}")]
    Unreadable(#[from] DecodeError),
}

impl<W: Write> Printer<W> {
    /// A printer to `out`, which gets each batch at once.
    pub fn new(kept: Arc<Kept>, ledger: Arc<Ledger>, pushes: Arc<Pushes>, out: W) -> Self {
        Printer { kept, ledger, pushes, out: BufWriter::new(out) }
    }

    /// Prints until nothing is kept any more and nothing will come. Calls `ended` once when `out` takes nothing any more,
    /// with the error; what comes after that is dropped.
    pub fn run(mut self, ended: impl FnOnce(&io::Error)) {
        let mut ended = Some(ended);
        while let Taken::Batch(batch) = self.kept.take(None) {
            // Nothing that can't be printed is tried twice.
            let printed = if ended.is_some() {
                self.print(&batch)
            } else {
                Err(io::Error::from(io::ErrorKind::BrokenPipe).into())
            };
            match &printed {
                Ok(()) => {
                    self.ledger.deliver(Place::InFlight, batch.samples);
                    self.pushes.delivered(Instant::now(), now_ms());
                }
                Err(Failed::Output(error)) => {
                    self.ledger.discard(Place::InFlight, Reason::Shutdown, batch.samples);
                    if let Some(tell) = ended.take() {
                        tell(error);
                    }
                }
                Err(unreadable) => {
                    self.ledger.discard(Place::InFlight, Reason::Refused, batch.samples);
                    tracing::error!(samples = batch.samples, "{unreadable}");
                }
            }
            self.kept.settled();
        }
    }

    fn print(&mut self, batch: &Batch) -> Result<(), Failed> {
        let request = decode(Protocol::from(batch.protocol), &batch.body)?;
        for series in &request.series {
            let key = series.key();
            for reading in series.readings() {
                writeln!(self.out, "{}", Text(&key, &reading))?;
            }
        }
        self.out.flush()?;
        tracing::debug!(
            sequence = batch.sequence,
            protocol = batch.protocol.name(),
            samples = batch.samples,
            bytes = batch.body.len(),
            message_bytes = batch.message_len,
            "printed"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use monitor_plugin_api::Sample;

    use super::*;
    use crate::batch::{Batcher, Limits, Pushed};
    use crate::encode;
    use crate::keep::Bounds;
    use crate::labels::LabelSet;
    use crate::ledger::Origin;
    use crate::series::SeriesTable;

    const NOW: i64 = 1_760_000_000_000;

    /// Takes so many lines, then is closed.
    #[derive(Clone)]
    struct Pipe(Arc<Mutex<(String, usize)>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut pipe = self.0.lock().unwrap();
            let lines = bytes.iter().filter(|&&byte| byte == b'\n').count();
            pipe.1 = pipe.1.checked_sub(lines).ok_or(io::ErrorKind::BrokenPipe)?;
            pipe.0.push_str(std::str::from_utf8(bytes).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Batches of two samples each, through a printer to a pipe that takes so many lines.
    fn printed(protocol: encode::Protocol, batches: i64, takes: usize) -> (String, usize, Arc<Ledger>) {
        let (ledger, table) = (Arc::new(Ledger::default()), SeriesTable::new(10));
        let kept = Arc::new(Kept::new(Bounds { max_batches: 9, max_bytes: 1 << 20 }, None, Arc::clone(&ledger)));
        let mut labels = LabelSet::default();
        labels.start("m").unwrap();
        labels.label("a", "b").unwrap();
        let series = table.intern(labels.encode().unwrap()).unwrap().to_number();
        let limits = Limits { max_samples: 10, max_bytes: 1 << 20, allow_out_of_order: false };
        let mut batcher = Batcher::new(limits);
        for batch in 0..batches {
            ledger.collect(Origin::Plugin, Place::Batched, 2);
            for i in 0..2 {
                let sample = Sample::from_parts(series, 1.5, NOW + 2 * batch + i);
                assert_eq!(batcher.push(&sample, &table.view()), Pushed::Taken);
            }
            kept.push(batcher.cut(protocol, &table.view()).0.unwrap());
        }
        kept.close();
        let (pipe, mut told) = (Pipe(Arc::new(Mutex::new((String::new(), takes)))), 0);
        Printer::new(kept, Arc::clone(&ledger), Arc::default(), pipe.clone()).run(|_| told += 1);
        let text = pipe.0.lock().unwrap().0.clone();
        (text, told, ledger)
    }

    #[test]
    fn every_sample_is_a_line_and_delivered() {
        for protocol in [encode::Protocol::V1, encode::Protocol::V2] {
            let (text, told, ledger) = printed(protocol, 1, 100);
            let lines = "2025-10-09T08:53:20.000Z  m{a=\"b\"} 1.5\n2025-10-09T08:53:20.001Z  m{a=\"b\"} 1.5\n";
            assert_eq!((text.as_str(), told), (lines, 0));
            assert_eq!((ledger.snapshot().delivered, ledger.snapshot().pending()), (2, 0));
        }
    }

    #[test]
    fn a_reader_that_goes_ends_the_printing_once() {
        let started = std::time::Instant::now();
        let (text, told, ledger) = printed(encode::Protocol::V2, 4, 3);
        assert_eq!((text.lines().count(), told), (2, 1));
        let books = ledger.snapshot();
        assert_eq!((books.delivered, books.reasons().as_str(), books.pending()), (2, "shutdown=6", 0));
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}
