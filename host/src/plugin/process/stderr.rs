//! What the plugin's process writes on stderr.
//!
//! Enters: its bytes. Leaves: the same on our own stderr, line by line so that nothing mixes, and the last lines for the
//! report of its death.
//!
//! Never: keeps more than [`LINES`] lines of [`LINE`] bytes; ends before the pipe does, but nobody has to wait for that: a
//! program that the plugin started may hold it.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::process::ChildStderr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

/// How many lines are kept.
const LINES: usize = 20;

/// A longer line is passed on in pieces.
const LINE: usize = 4096;

/// The last lines so far.
#[derive(Debug)]
pub(super) struct LastLines {
    lines: Arc<Mutex<VecDeque<String>>>,
    /// How many were passed on.
    passed: Arc<AtomicU64>,
    /// Disconnected when nothing can come any more.
    end: Receiver<()>,
}

impl LastLines {
    /// Passes on what comes from this pipe, on a thread of its own.
    pub(super) fn of(mut pipe: ChildStderr) -> std::io::Result<Self> {
        let lines = Arc::new(Mutex::default());
        let (ended, end) = bounded(0);
        let passed = Arc::default();
        let mut all = Lines { kept: Arc::clone(&lines), passed: Arc::clone(&passed), line: Vec::new() };
        let run = move || {
            let mut buffer = [0; LINE];
            while let Ok(read @ 1..) = pipe.read(&mut buffer) {
                buffer[..read].iter().for_each(|&byte| all.take(byte));
            }
            all.end_line();
            drop(ended);
        };
        std::thread::Builder::new().name("plugin-stderr".to_owned()).spawn(run)?;
        Ok(LastLines { lines, passed, end })
    }

    /// The last lines of a process that has ended; waits for the rest of them, as long as there is another one within this
    /// time, and at most ten times that.
    pub(super) fn wait(&self, timeout: Duration) -> Vec<String> {
        let mut seen = self.passed.load(Relaxed);
        for _ in 0..10 {
            let is_at_end = self.end.recv_timeout(timeout) == Err(RecvTimeoutError::Disconnected);
            if is_at_end || seen == self.passed.load(Relaxed) {
                break;
            }
            seen = self.passed.load(Relaxed);
        }
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

struct Lines {
    kept: Arc<Mutex<VecDeque<String>>>,
    passed: Arc<AtomicU64>,
    line: Vec<u8>,
}

impl Lines {
    fn take(&mut self, byte: u8) {
        self.line.push(byte);
        if byte == b'\n' || self.line.len() >= LINE {
            self.end_line();
        }
    }

    fn end_line(&mut self) {
        if self.line.is_empty() {
            return;
        }
        // A stderr that is closed is no concern of the run.
        let _ = std::io::stderr().write_all(&self.line);
        let text = String::from_utf8_lossy(&self.line);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == LINES {
            kept.pop_front();
        }
        kept.push_back(text.trim_end().to_owned());
        drop(kept);
        self.passed.fetch_add(1, Relaxed);
        self.line.clear();
    }
}
