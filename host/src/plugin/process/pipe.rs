//! The writing end of the pipe to the host, which the plugin's threads share.
//!
//! Enters: messages, each with the moment until which it may wait for room. Leaves: frames, one after the other.
//!
//! Never: leaves a frame half written while this process lives; writes anything of an item that it hands back. An item is
//! begun when the pipe has room for its first frame (or is empty, for one that never fits), and finished without regard to
//! its moment. That wait has an end: the host always reads, and what it reads goes into a queue that is emptied at once
//! when it is half full.

use std::os::fd::OwnedFd;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio, ioctl_fionread, retry_on_intr, write};
use rustix::pipe::{PIPE_BUF, fcntl_getpipe_size, fcntl_setpipe_size};

use super::frame;

/// Why an item was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotSent {
    /// There was no room in time.
    Full,
    /// Nobody reads any more.
    Broken,
}

/// The end of the pipe.
#[derive(Debug)]
pub(super) struct Outgoing {
    pipe: OwnedFd,
    /// In bytes.
    capacity: usize,
    turn: Mutex<Turn>,
    free: Condvar,
}

/// Whoever writes has the buffer.
#[derive(Debug)]
enum Turn {
    Free(Vec<u8>),
    Taken,
    Broken,
}

/// Ends a turn.
struct Ticket<'a> {
    out: &'a Outgoing,
    then: Turn,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        *self.out.lock() = std::mem::replace(&mut self.then, Turn::Broken);
        self.out.free.notify_one();
    }
}

/// Some hundred sends of a hundred samples, which the host takes over some milliseconds late at no loss.
const CAPACITY: usize = 256 << 10;

/// How soon a pipe is looked at again that has room, but not enough: the system tells only when there is some.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// A buffer that grew beyond this is not kept.
const KEPT: usize = 1 << 20;

impl Outgoing {
    /// Writes to this end of a pipe.
    ///
    /// # Errors
    /// The system refuses to make it non-blocking.
    pub(super) fn new(pipe: OwnedFd) -> std::io::Result<Self> {
        ioctl_fionbio(&pipe, true)?;
        // Where the system gives no more, the usual size does.
        let _ = fcntl_setpipe_size(&pipe, CAPACITY);
        let capacity = fcntl_getpipe_size(&pipe)?;
        Ok(Outgoing { pipe, capacity, turn: Mutex::new(Turn::Free(Vec::new())), free: Condvar::new() })
    }

    /// Sends one message, waiting as long as it takes.
    ///
    /// # Errors
    /// The pipe is broken.
    pub(super) fn send(&self, message: impl FnOnce(&mut Vec<u8>)) -> Result<(), NotSent> {
        let mut message = Some(message);
        self.send_item(None, |out| {
            if let Some(message) = message.take() {
                message(out);
            }
            false
        })
    }

    /// Sends an item of one or more messages: `next` writes one and says whether there is another. Waits until `deadline`
    /// for room to begin, none: as long as it takes.
    ///
    /// # Errors
    /// [`NotSent`]; nothing was written where the pipe was full.
    pub(super) fn send_item(
        &self,
        deadline: Option<Instant>,
        mut next: impl FnMut(&mut Vec<u8>) -> bool,
    ) -> Result<(), NotSent> {
        let mut buffer = self.take_turn(deadline)?;
        // Whoever panics in here leaves a pipe that nobody can trust.
        let mut ticket = Ticket { out: self, then: Turn::Broken };
        let mut deadline = deadline;
        let mut sent = Ok(());
        let mut more = true;
        while more && sent.is_ok() {
            buffer.clear();
            frame::append(&mut buffer, |out| more = next(out));
            sent = self.write(&buffer, deadline);
            deadline = None;
        }
        buffer.clear();
        buffer.shrink_to(KEPT);
        if sent != Err(NotSent::Broken) {
            ticket.then = Turn::Free(buffer);
        }
        sent
    }

    fn take_turn(&self, deadline: Option<Instant>) -> Result<Vec<u8>, NotSent> {
        let mut turn = self.lock();
        loop {
            match std::mem::replace(&mut *turn, Turn::Taken) {
                Turn::Free(buffer) => return Ok(buffer),
                Turn::Broken => {
                    *turn = Turn::Broken;
                    // The next one who waits has to learn it too.
                    self.free.notify_one();
                    return Err(NotSent::Broken);
                }
                Turn::Taken => {}
            }
            turn = match deadline {
                None => self.free.wait(turn).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(NotSent::Full);
                    }
                    self.free.wait_timeout(turn, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// All of these bytes, or none of them when there is no room until the deadline.
    fn write(&self, mut bytes: &[u8], mut deadline: Option<Instant>) -> Result<(), NotSent> {
        // The system writes as much all at once, or nothing.
        if deadline.is_some() && bytes.len() > PIPE_BUF {
            while !self.has_room_for(bytes.len()) {
                self.wait_for_room(deadline)?;
                std::thread::sleep(LOOK_AGAIN);
            }
        }
        while !bytes.is_empty() {
            match retry_on_intr(|| write(&self.pipe, bytes)) {
                Ok(written) => {
                    bytes = &bytes[written..];
                    deadline = None;
                }
                Err(Errno::AGAIN) => self.wait_for_room(deadline)?,
                Err(_) => return Err(NotSent::Broken),
            }
        }
        Ok(())
    }

    fn has_room_for(&self, bytes: usize) -> bool {
        // Whoever can't say how much waits gets no more than is sure.
        let Ok(waiting) = ioctl_fionread(&self.pipe) else { return true };
        // A page takes several writes only as far as each fits as a whole, so what waits may take twice its length.
        waiting == 0 || bytes as u64 + 2 * waiting + 2 * PIPE_BUF as u64 <= self.capacity as u64
    }

    fn wait_for_room(&self, deadline: Option<Instant>) -> Result<(), NotSent> {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(NotSent::Full);
        }
        // A wait that is too long for the system's clock is one without an end.
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut [PollFd::new(&self.pipe, PollFlags::OUT)], timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(_) => Err(NotSent::Broken),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::time::Duration;

    use super::super::frame::Incoming;
    use super::*;

    fn pipe() -> (std::io::PipeReader, Outgoing) {
        let (reader, writer) = std::io::pipe().unwrap();
        (reader, Outgoing::new(writer.into()).unwrap())
    }

    /// As a host that stands still: nothing is half written, and each wait ends in time.
    #[test]
    fn a_long_item_is_not_begun_where_it_does_not_fit() {
        for length in [5_000, 30_000, 100_000] {
            let (reader, out) = pipe();
            let item = |buffer: &mut Vec<u8>| {
                buffer.resize(length + buffer.len(), 7);
                false
            };
            let mut sent = 0;
            while out.send_item(soon(), item) == Ok(()) {
                sent += 1;
            }
            assert!(sent > 0, "{length}");
            let reader = std::thread::spawn(|| drain(reader));
            drop(out);
            assert_eq!(reader.join().unwrap(), vec![vec![7; length]; sent]);
        }
    }

    fn soon() -> Option<Instant> {
        Some(Instant::now() + Duration::from_millis(20))
    }

    /// Reads to the end; the messages.
    fn drain(mut reader: std::io::PipeReader) -> Vec<Vec<u8>> {
        let (mut incoming, mut all) = (Incoming::default(), Vec::new());
        while incoming.read(|into| reader.read(into)).unwrap() > 0 {
            while let Some(message) = incoming.next().unwrap() {
                all.push(message.to_vec());
            }
        }
        assert_eq!(incoming.rest(), 0);
        all
    }

    #[test]
    fn a_full_pipe_takes_nothing_and_says_so() {
        let (reader, out) = pipe();
        let mut sent = 0_u8;
        let one = |n: u8| {
            move |buffer: &mut Vec<u8>| {
                buffer.extend_from_slice(&[n; 3000]);
                false
            }
        };
        while out.send_item(soon(), one(sent)) == Ok(()) {
            sent += 1;
        }
        assert_eq!(out.send_item(soon(), one(99)), Err(NotSent::Full));
        let reader = std::thread::spawn(|| drain(reader));
        out.send_item(None, one(100)).unwrap();
        drop(out);
        let numbers: Vec<u8> = reader.join().unwrap().iter().map(|message| message[0]).collect();
        assert_eq!(numbers, (0..sent).chain([100]).collect::<Vec<_>>());
    }

    #[test]
    fn what_was_begun_is_finished_although_time_is_up() {
        let (reader, out) = pipe();
        let large = vec![7_u8; 1 << 20];
        let reader = std::thread::spawn(|| {
            std::thread::sleep(Duration::from_millis(100));
            drain(reader)
        });
        let mut left = 3;
        let sent = out.send_item(soon(), |buffer| {
            buffer.extend_from_slice(&large);
            left -= 1;
            left > 0
        });
        assert_eq!(sent, Ok(()));
        drop(out);
        assert_eq!(reader.join().unwrap(), vec![large; 3]);
    }

    #[test]
    fn a_broken_pipe_is_told_to_everybody() {
        let (reader, out) = pipe();
        drop(reader);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert_eq!(out.send(|buffer| buffer.push(1)), Err(NotSent::Broken)));
            }
        });
    }
}
