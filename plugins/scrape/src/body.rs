//! The body of an answer, as it comes.
//!
//! Enters: chunks, compressed or not. Leaves: the text, or why there is none. Never: holds more than SCRAPE_BODY_SIZE_LIMIT,
//! whatever a few compressed bytes would grow to.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;

use crate::failure::{Class, Failure};

/// A body that is still coming.
pub(crate) struct Incoming {
    coding: Coding,
    limit: usize,
}

enum Coding {
    Plain(Bounded),
    // Large, and there is one a scrape.
    Gzip(Box<MultiGzDecoder<Bounded>>),
}

impl Incoming {
    /// A body with this Content-Encoding, of at most `limit` bytes when unpacked. `expected` is a guess at its length.
    ///
    /// # Errors
    /// It is packed in another way than was asked for.
    pub(crate) fn new(encoding: &str, limit: usize, expected: usize) -> Result<Self, Failure> {
        let bytes = Vec::with_capacity(expected.min(limit));
        let bounded = Bounded { bytes, limit, exceeded: false };
        let coding = match encoding.to_ascii_lowercase().as_str() {
            "" | "identity" => Coding::Plain(bounded),
            "gzip" | "x-gzip" => Coding::Gzip(Box::new(MultiGzDecoder::new(bounded))),
            other => {
                let text = format!("Content-Encoding {other:?} was not asked for, and is not read");
                return Err(Failure::new(Class::Encoding, text));
            }
        };
        Ok(Incoming { coding, limit })
    }

    /// Takes a chunk.
    ///
    /// # Errors
    /// It is too much, or can't be unpacked.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<(), Failure> {
        let taken = match &mut self.coding {
            Coding::Plain(bounded) => bounded.write_all(chunk),
            Coding::Gzip(decoder) => decoder.write_all(chunk),
        };
        taken.map_err(|error| self.failure(&error))
    }

    /// The whole text.
    ///
    /// # Errors
    /// What was packed breaks off, or its checksum is another.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>, Failure> {
        if let Coding::Gzip(decoder) = &mut self.coding
            && let Err(error) = decoder.try_finish()
        {
            return Err(self.failure(&error));
        }
        Ok(match self.coding {
            Coding::Plain(bounded) => bounded.bytes,
            Coding::Gzip(mut decoder) => std::mem::take(&mut decoder.get_mut().bytes),
        })
    }

    fn failure(&self, error: &io::Error) -> Failure {
        let bounded = match &self.coding {
            Coding::Plain(bounded) => bounded,
            Coding::Gzip(decoder) => decoder.get_ref(),
        };
        if bounded.exceeded {
            let text = format!("the body is longer than SCRAPE_BODY_SIZE_LIMIT ({} bytes)", self.limit);
            return Failure::new(Class::Limit, text);
        }
        Failure::new(Class::Encoding, format!("the gzip of the body is damaged or breaks off: {error}"))
    }
}

struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
    exceeded: bool,
}

impl Write for Bounded {
    fn write(&mut self, chunk: &[u8]) -> io::Result<usize> {
        if chunk.len() > self.limit - self.bytes.len() {
            self.exceeded = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(chunk);
        Ok(chunk.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn read(encoding: &str, body: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
        let mut incoming = Incoming::new(encoding, limit, 0)?;
        for chunk in body.chunks(7) {
            incoming.push(chunk)?;
        }
        incoming.finish()
    }

    #[test]
    fn whole_bodies_are_read() {
        let text = b"a 1\nb 2\n".repeat(1000);
        assert_eq!(read("", &text, text.len()).unwrap(), text);
        assert_eq!(read("GZIP", &gzip(&text), text.len()).unwrap(), text);
        let two = [gzip(b"a 1\n"), gzip(b"b 2\n")].concat();
        assert_eq!(read("gzip", &two, 100).unwrap(), b"a 1\nb 2\n");
        assert_eq!(read("gzip", &gzip(b""), 100).unwrap(), b"");
    }

    #[test]
    fn the_limit_holds_for_what_is_unpacked() {
        let text = vec![b'a'; 10_000_000];
        for (encoding, body) in [("", text.clone()), ("gzip", gzip(&text))] {
            let failure = read(encoding, &body, text.len() - 1).unwrap_err();
            assert_eq!(failure.class, Class::Limit, "{failure}");
            assert!(failure.to_string().contains("SCRAPE_BODY_SIZE_LIMIT (9999999 bytes)"));
        }
    }

    #[test]
    fn what_is_damaged_or_breaks_off_is_no_body() {
        let whole = gzip(&b"a 1\nb 2\n".repeat(1000));
        for cut in [1, 5, 12, whole.len() / 2, whole.len() - 9, whole.len() - 1] {
            assert_eq!(read("gzip", &whole[..cut], 100_000).unwrap_err().class, Class::Encoding, "{cut}");
        }
        let mut damaged = whole.clone();
        let end = damaged.len() - 6;
        damaged[end] ^= 1;
        assert_eq!(read("gzip", &damaged, 100_000).unwrap_err().class, Class::Encoding);
        assert_eq!(read("gzip", b"a 1\n", 100).unwrap_err().class, Class::Encoding);
        assert!(read("br", b"", 100).unwrap_err().to_string().contains("\"br\""));
    }
}
