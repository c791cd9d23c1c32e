//! Frames: how bytes on a pipe become messages again, or are known to be none.
//!
//! | bytes | what |
//! |---|---|
//! | 0-3 | length of the message |
//! | 4-7 | checksum of the message |
//! | 8-11 | checksum of the bytes 0-7 |
//! | 12- | the message |
//!
//! Numbers are little-endian, checksums CRC-32 as in zlib. The header has its own, so that a damaged length is seen at
//! once rather than waited for.
//!
//! Enters: messages, or bytes as they come. Leaves: frames, or the messages that have come whole. What a dying writer
//! left of its last frame stays behind and is counted.
//!
//! Never: hands out a message that is not as it was written; allocates for a length that nobody has sent.

use std::io;

/// What stands before each message, in bytes.
pub(super) const HEADER: usize = 12;

/// No message is longer: the longest one is a record with as many and as long labels as may be (`labels.rs`).
pub(super) const MAX_MESSAGE: usize = 320 << 20;

/// A buffer that grew beyond this is given back once it is read.
const KEPT: usize = 1 << 20;
const READ_SIZE: usize = 64 << 10;

/// Makes a frame of the message that `write` appends to the buffer, behind whatever it holds.
pub(super) fn append(buffer: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; HEADER]);
    write(buffer);
    let (header, message) = buffer[start..].split_at_mut(HEADER);
    // Writers keep to MAX_MESSAGE.
    header[..4].copy_from_slice(&(message.len() as u32).to_le_bytes());
    header[4..8].copy_from_slice(&crc32fast::hash(message).to_le_bytes());
    let own = crc32fast::hash(&header[..8]);
    header[8..].copy_from_slice(&own.to_le_bytes());
}

/// The bytes are no frames: whoever wrote them is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what came through the pipe is no frame")]
pub(super) struct NoFrame;

/// The reading end's buffer.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    /// Longer than what has come: so it is cleared once, not for each read.
    buffer: Vec<u8>,
    /// From where on messages were not handed out yet.
    start: usize,
    /// Up to where bytes have come.
    end: usize,
}

impl Incoming {
    /// Takes what one read brings; 0 is the end.
    pub(super) fn read(&mut self, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
        if self.start == self.end && self.buffer.len() > KEPT {
            *self = Incoming::default();
        }
        if self.buffer.len() - self.end < READ_SIZE {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            // Grows by doubling, and only with what has really come.
            let wanted = self.end + READ_SIZE;
            self.buffer.resize(wanted.max(self.buffer.len()).next_power_of_two(), 0);
        }
        let got = read(&mut self.buffer[self.end..])?;
        self.end += got;
        Ok(got)
    }

    /// The next message that has come whole.
    ///
    /// # Errors
    /// There is no frame where one should begin; nothing behind it can be trusted.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, NoFrame> {
        let bytes = &self.buffer[self.start..self.end];
        let Some((header, rest)) = bytes.split_at_checked(HEADER) else { return Ok(None) };
        let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let length = number(0) as usize;
        if crc32fast::hash(&header[..8]) != number(8) || length > MAX_MESSAGE {
            return Err(NoFrame);
        }
        let Some(message) = rest.get(..length) else { return Ok(None) };
        if crc32fast::hash(message) != number(4) {
            return Err(NoFrame);
        }
        self.start += HEADER + length;
        Ok(Some(message))
    }

    /// How many bytes there are that are no whole frame (yet).
    pub(super) fn rest(&self) -> usize {
        self.end - self.start
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
        let mut stream = Vec::new();
        messages.iter().for_each(|message| append(&mut stream, |buffer| buffer.extend_from_slice(message)));
        stream
    }

    /// What comes out when the stream arrives in pieces of these lengths, and what is left.
    fn read_in(stream: &[u8], pieces: &[usize]) -> Result<(Vec<Vec<u8>>, usize), NoFrame> {
        let (mut incoming, mut rest, mut got) = (Incoming::default(), stream, Vec::new());
        for piece in pieces.iter().copied().chain(std::iter::repeat(READ_SIZE)) {
            let (now, later) = rest.split_at(piece.clamp(1, READ_SIZE).min(rest.len()));
            rest = later;
            let read = |into: &mut [u8]| {
                into[..now.len()].copy_from_slice(now);
                Ok(now.len())
            };
            let read = incoming.read(read).unwrap();
            while let Some(message) = incoming.next()? {
                got.push(message.to_vec());
            }
            if read == 0 {
                break;
            }
        }
        Ok((got, incoming.rest()))
    }

    fn messages() -> impl Strategy<Value = Vec<Vec<u8>>> {
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20)
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in(
            messages in messages(),
            pieces in prop::collection::vec(1_usize..300, 0..50),
        ) {
            prop_assert_eq!(read_in(&framed(&messages), &pieces), Ok((messages, 0)));
        }

        #[test]
        fn a_torn_end_costs_the_last_message_alone(messages in messages(), cut in any::<prop::sample::Index>()) {
            let stream = framed(&messages);
            let cut = cut.index(stream.len() + 1);
            let (mut whole, mut end) = (0, 0);
            while whole < messages.len() && end + HEADER + messages[whole].len() <= cut {
                end += HEADER + messages[whole].len();
                whole += 1;
            }
            prop_assert_eq!(read_in(&stream[..cut], &[]), Ok((messages[..whole].to_vec(), cut - end)));
        }

        #[test]
        fn a_flipped_bit_is_seen(messages in messages(), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            prop_assume!(!messages.is_empty());
            let mut stream = framed(&messages);
            let at = at.index(stream.len());
            stream[at] ^= 1_u8 << bit;
            prop_assert_eq!(read_in(&stream, &[]), Err(NoFrame));
        }

        #[test]
        fn rubbish_never_becomes_a_message(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            if let Ok((messages, _)) = read_in(&bytes, &[]) {
                prop_assert!(messages.is_empty());
            }
        }
    }

    #[test]
    fn a_large_message_does_not_stay_in_memory() {
        let mut incoming = Incoming::default();
        let stream = framed(&[vec![7; 3 * KEPT]]);
        for piece in stream.chunks(READ_SIZE) {
            assert_eq!(incoming.next(), Ok(None));
            let read = |into: &mut [u8]| {
                into[..piece.len()].copy_from_slice(piece);
                Ok(piece.len())
            };
            incoming.read(read).unwrap();
        }
        assert_eq!(incoming.next().unwrap().map(<[u8]>::len), Some(3 * KEPT));
        incoming.read(|_| Ok(0)).unwrap();
        assert!(incoming.buffer.len() <= KEPT);
    }
}
