//! A way to an output that may stop taking anything, such as a pipe that nobody reads.
//!
//! Enters: lines, from any thread. Leaves: the same, written by a thread of its own, one write each. Whoever logs waits
//! until its line is out, so that a crash loses none; but not long, and not again before the output moves. Meanwhile lines
//! wait in a bounded buffer, and what does not fit is counted, and told in its place as soon as something is taken again.
//!
//! Never: keeps a thread that logs for longer than a moment; grows beyond its bound, one line aside.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How long a line may take to get out, before those who log wait no more.
const PATIENCE: Duration = Duration::from_millis(100);

/// How much waits for an output that takes nothing: some thousand lines.
const MAX_BYTES: usize = 256 * 1024;

/// The near end: whatever is written to it is one line.
#[derive(Debug)]
pub(super) struct Unblocked(Arc<Shared>);

/// Waits for what is on its way.
#[derive(Clone, Debug)]
pub(super) struct Rest(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    entered: Condvar,
    left: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<u8>,
    /// Lines that did not fit behind these.
    lost: u64,
    /// How many lines were taken, and how many of them are out.
    taken: u64,
    out: u64,
    /// A line has waited for longer than it may.
    is_stuck: bool,
    /// Lines are being written; where some wait and none are, it is the thread that has not come to it.
    is_writing: bool,
    closed: bool,
}

impl Unblocked {
    /// Starts the thread that writes to `out`; `told` makes the line that says how many were lost.
    ///
    /// # Errors
    /// The system gave no thread.
    pub(super) fn start(
        mut out: impl Write + Send + 'static,
        told: impl Fn(u64) -> String + Send + 'static,
    ) -> io::Result<(Self, Rest)> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let write = move || {
            let mut lines = Vec::new();
            while let Some((lost, taken)) = of_thread.next(&mut lines) {
                // An output that is closed is no concern of the run.
                lines.split_inclusive(|&byte| byte == b'\n').for_each(|line| drop(out.write_all(line)));
                if lost > 0 {
                    let _ = out.write_all(told(lost).as_bytes());
                }
                let mut state = of_thread.lock();
                (state.out, state.is_stuck, state.is_writing) = (taken, false, false);
                of_thread.left.notify_all();
            }
        };
        thread::Builder::new().name("log".to_owned()).spawn(write)?;
        Ok((Unblocked(Arc::clone(&shared)), Rest(shared)))
    }
}

impl Write for Unblocked {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock();
        let is_full = state.lost > 0 || state.lines.len() + line.len() > MAX_BYTES;
        if is_full && !(state.lines.is_empty() && state.lost == 0) {
            state.lost += 1;
            return Ok(line.len());
        }
        state.lines.extend_from_slice(line);
        state.taken += 1;
        self.0.entered.notify_one();
        let mine = state.taken;
        if !state.is_stuck {
            state = self.0.wait(state, PATIENCE, |state| state.out < mine);
            state.is_stuck = state.out < mine;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Unblocked {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.entered.notify_one();
    }
}

impl Rest {
    /// Waits until all is out that was logged so far, but no longer than this; on a starved machine up to ten times as long
    /// until the thread comes to it.
    pub(super) fn wait(&self, timeout: Duration) {
        let state = self.0.lock();
        let mine = state.taken;
        let is_left = move |state: &State| state.out < mine || state.lost > 0;
        let state = self.0.wait(state, timeout * 10, |state| is_left(state) && !state.is_writing);
        drop(self.0.wait(state, timeout, is_left));
    }
}

impl Shared {
    /// Waits for lines, and exchanges them for the buffer; how many were lost behind them, and the number of the last one.
    fn next(&self, lines: &mut Vec<u8>) -> Option<(u64, u64)> {
        lines.clear();
        let mut state = self.lock();
        while state.lines.is_empty() && state.lost == 0 {
            if state.closed {
                return None;
            }
            state = self.entered.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(&mut state.lines, lines);
        state.is_writing = true;
        self.left.notify_all();
        Some((std::mem::take(&mut state.lost), state.taken))
    }

    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        timeout: Duration,
        condition: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        self.left.wait_timeout_while(state, timeout, |state| condition(state)).unwrap_or_else(PoisonError::into_inner).0
    }

    // The state is whole at every point where a panic could happen.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{self, Receiver, SyncSender};
    use std::time::Instant;

    /// An output that takes a write only when somebody asks for it.
    struct Blocked(SyncSender<String>);

    impl Write for Blocked {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let text = String::from_utf8_lossy(bytes).into_owned();
            self.0.send(text).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn blocked() -> (Unblocked, Rest, Receiver<String>) {
        let (out, taken) = mpsc::sync_channel(0);
        let (log, rest) = Unblocked::start(Blocked(out), |lost| format!("{lost} lost\n")).unwrap();
        (log, rest, taken)
    }

    #[test]
    fn a_line_is_out_when_its_write_returns() {
        let (mut log, _, taken) = {
            let (out, taken) = mpsc::sync_channel(10);
            let (log, rest) = Unblocked::start(Blocked(out), |_| String::new()).unwrap();
            (log, rest, taken)
        };
        // A starved machine may take longer than the patience, and then says so by `is_stuck`.
        for i in 0..10 {
            log.write_all(format!("{i}\n").as_bytes()).unwrap();
            let state = log.0.lock();
            assert!(state.out == i + 1 || state.is_stuck);
        }
        drop(log);
        assert_eq!(taken.iter().collect::<String>(), "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n");
    }

    #[test]
    fn a_blocked_output_costs_a_moment_once_and_lines_that_are_counted() {
        let (mut log, rest, taken) = blocked();
        let start = Instant::now();
        let line = |i: usize| format!("{i:0>99}\n");
        let lines = 3 * MAX_BYTES / 100;
        (0..lines).for_each(|i| log.write_all(line(i).as_bytes()).unwrap());
        assert!(start.elapsed() < PATIENCE * lines as u32 / 10, "{:?}", start.elapsed());
        assert!(log.0.lock().lines.len() <= MAX_BYTES);
        rest.wait(Duration::ZERO);

        // It moves again: what was kept comes in order, then the number of the others, then what is new.
        let reader = thread::spawn(move || taken.iter().collect::<Vec<_>>());
        rest.wait(Duration::from_secs(60));
        log.write_all(b"new\n").unwrap();
        drop(log);
        let read = reader.join().unwrap();
        let kept = read.len() - 2;
        assert!(kept >= MAX_BYTES / 100 && (0..kept).all(|i| read[i] == line(i)), "{kept}");
        assert_eq!(read[kept..], [format!("{} lost\n", lines - kept), "new\n".to_owned()]);
    }

    #[test]
    fn a_line_longer_than_the_bound_passes_alone() {
        let (mut log, _, taken) = blocked();
        let long = format!("{}\n", "x".repeat(2 * MAX_BYTES));
        let reader = thread::spawn(move || taken.iter().collect::<Vec<_>>());
        log.write_all(long.as_bytes()).unwrap();
        drop(log);
        assert_eq!(reader.join().unwrap(), [long]);
    }
}
