//! A child process that does not outlive its test.
//!
//! Enters: a command. Leaves: its streams, its exit status. Never: leaves the child running or unreaped when dropped.

use std::io;
use std::process::{ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use signal_hook::consts::SIGKILL;

use crate::watch::Watch;

/// How long a killed process may take to be gone.
const KILL_TIMEOUT: Duration = Duration::from_secs(20);

/// A running or ended child.
pub(crate) struct Process {
    pid: u32,
    exit: Watch<Option<ExitStatus>>,
    /// The child's standard output, where the command said that it is piped.
    pub(crate) stdout: Option<ChildStdout>,
    /// The child's standard error, where the command said that it is piped.
    pub(crate) stderr: Option<ChildStderr>,
}

impl Process {
    /// Starts the child. It reads nothing.
    pub(crate) fn spawn(command: &mut Command) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::null()).spawn()?;
        let (pid, stdout, stderr) = (child.id(), child.stdout.take(), child.stderr.take());
        let exit = Watch::new(None);
        let reaper = exit.clone();
        // Waiting in a thread gives a wait with a timeout, which the standard library has not.
        thread::spawn(move || {
            let status = child.wait().expect("a child of this process can be waited for");
            reaper.update(|exit| *exit = Some(status));
        });
        Ok(Self { pid, exit, stdout, stderr })
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// The exit status, once there is one.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        self.exit.get(|exit| *exit)
    }

    /// Waits for the exit status; none when the time runs out.
    pub(crate) fn wait(&self, timeout: Duration) -> Option<ExitStatus> {
        self.exit.wait(timeout, |exit| *exit).ok()
    }

    /// Sends a signal (a `SIG…` constant of `signal_hook::consts`); nothing when the child has ended.
    pub(crate) fn signal(&self, signal: i32) {
        if self.ended().is_none() {
            // The shell's own `kill`: the program of that name is not on every machine.
            let sent = Command::new("sh").arg("-c").arg(format!("kill -{signal} {}", self.pid)).output();
            let sent = sent.expect("a shell can be started");
            assert!(sent.status.success() || self.ended().is_some(), "kill: {sent:?}");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // No `signal`: a panic here, in a test that is failing already, would end all tests.
        if self.ended().is_none() {
            let _ = Command::new("sh").arg("-c").arg(format!("kill -{SIGKILL} {}", self.pid)).output();
            let _ = self.wait(KILL_TIMEOUT);
        }
    }
}
