//! What the plugin's process writes on stderr.
//!
//! Enters: its bytes. Leaves: the same on our own stderr, line by line so that nothing mixes (the log writes there under the
//! same lock), and the last lines for the report of its death.
//!
//! Never: keeps more than [`LINES`] lines of [`LINE`] bytes; ends before the pipe does, but nobody has to wait for that: a
//! program that the plugin started may hold it.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ChildStderr;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{ioctl_fionread, retry_on_intr};

/// How many lines are kept.
const LINES: usize = 20;

/// A longer line is passed on in pieces.
const LINE: usize = 4096;

/// How often it is looked at whether all is passed on, where the pipe stays open.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The last lines so far.
#[derive(Debug)]
pub(super) struct LastLines {
    lines: Arc<Mutex<VecDeque<String>>>,
    progress: Arc<Progress>,
    /// The pipe that is read elsewhere: here it is only asked how much is in it.
    pipe: OwnedFd,
    /// Disconnected when nothing can come any more.
    end: Receiver<()>,
}

/// How far the thread is that passes on.
#[derive(Debug, Default)]
struct Progress {
    /// Lines that were passed on.
    passed: AtomicU64,
    /// Set before anything is taken from the pipe, until all of that is passed on.
    is_busy: AtomicBool,
}

impl LastLines {
    /// Passes on what comes from this pipe, on a thread of its own.
    pub(super) fn of(mut pipe: ChildStderr) -> std::io::Result<Self> {
        let asked = pipe.as_fd().try_clone_to_owned()?;
        let lines = Arc::new(Mutex::default());
        let (ended, end) = bounded(0);
        let progress = Arc::<Progress>::default();
        let mut all = Lines { kept: Arc::clone(&lines), progress: Arc::clone(&progress), line: Vec::new() };
        let run = move || {
            let mut buffer = [0; LINE];
            loop {
                // Where nothing can be awaited, reading waits.
                let _ = retry_on_intr(|| poll(&mut [PollFd::new(&pipe, PollFlags::IN)], None));
                all.progress.is_busy.store(true, SeqCst);
                let Ok(read @ 1..) = pipe.read(&mut buffer) else { break };
                buffer[..read].iter().for_each(|&byte| all.take(byte));
                all.progress.is_busy.store(!all.line.is_empty(), SeqCst);
            }
            all.end_line();
            drop(ended);
        };
        std::thread::Builder::new().name("plugin-stderr".to_owned()).spawn(run)?;
        Ok(LastLines { lines, progress, pipe: asked, end })
    }

    /// The last lines of a process that has ended; waits until all that it wrote is passed on, as long as another line is
    /// within this time, and at most three times that: our own stderr may take nothing, and a program that the plugin
    /// started may write on.
    pub(super) fn wait(&self, timeout: Duration) -> Vec<String> {
        let began = Instant::now();
        let (mut seen, mut moved) = (self.progress.passed.load(SeqCst), began);
        while !self.all_is_passed() && moved.elapsed() < timeout && began.elapsed() < 3 * timeout {
            if self.end.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Disconnected) {
                break;
            }
            let passed = self.progress.passed.load(SeqCst);
            if passed != seen {
                (seen, moved) = (passed, Instant::now());
            }
        }
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Whether the pipe is empty and nothing that was in it is still on its way. In this order: what has left the pipe was
    /// taken by a thread that was busy already. A line without an end has one when the pipe has.
    fn all_is_passed(&self) -> bool {
        ioctl_fionread(&self.pipe).is_ok_and(|bytes| bytes == 0) && !self.progress.is_busy.load(SeqCst)
    }
}

struct Lines {
    kept: Arc<Mutex<VecDeque<String>>>,
    progress: Arc<Progress>,
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
        self.progress.passed.fetch_add(1, SeqCst);
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// Far more than a line takes.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> (Child, LastLines) {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let last_lines = LastLines::of(child.stderr.take().unwrap()).unwrap();
        (child, last_lines)
    }

    #[test]
    fn all_that_a_process_wrote_is_waited_for() {
        let script = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo line $i >&2; done; printf 'no end' >&2";
        let (mut child, last_lines) = shell(script);
        child.wait().unwrap();
        let lines = last_lines.wait(PATIENCE);
        assert_eq!((lines.len(), &lines[LINES - 2..]), (LINES, &["line 3000".to_owned(), "no end".to_owned()][..]));
    }

    #[test]
    fn nobody_waits_for_a_program_that_holds_the_pipe_and_says_nothing() {
        let (mut child, last_lines) = shell("exec 3<&0; cat <&3 >&2 & echo held >&2");
        let holds = child.stdin.take();
        child.wait().unwrap();
        let began = Instant::now();
        assert_eq!(last_lines.wait(PATIENCE), ["held"]);
        assert!(began.elapsed() < PATIENCE);
        assert_eq!(last_lines.end.try_recv(), Err(crossbeam_channel::TryRecvError::Empty), "it does hold it");
        drop(holds);
        assert!(last_lines.end.recv().is_err());
    }
}
