//! Drives the real binary.
//!
//! Enters: variables and arguments; nothing of the test's own environment but PATH. Leaves: log lines, output, exit
//! status, ledger. Never: leaves the program running; lets a test pass whose host gave a secret away.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use signal_hook::consts::{SIGKILL, SIGTERM};

use crate::process::Process;
use crate::secrets::Secrets;
use crate::watch::{Missed, Watch};

/// How long an ended program's output may take to end too.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(5);

/// A host that is still to be started.
pub(crate) struct Host(Command);

impl Host {
    /// The binary that cargo built for this test, logging JSON, without its admin page and without metrics of its own.
    pub(crate) fn new() -> Self {
        Self::at(env!("CARGO_BIN_EXE_monitor-host"))
    }

    /// The same binary, by another path.
    pub(crate) fn at(binary: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(binary);
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.env("LOG_FORMAT", "json");
        // Many run at once, and a test that counts samples means its plugin's.
        command.env("ADMIN_ADDR", "off").env("SELF_METRICS", "off");
        Self(command)
    }

    /// The binary that cargo built for this test, by a shell's script, which has it as `$0`.
    pub(crate) fn by_shell(script: &str) -> Self {
        Self::at("sh").arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_monitor-host"))
    }

    /// Sets a variable.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// Adds an argument.
    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.0.arg(argument);
        self
    }

    /// Starts it in this folder.
    pub(crate) fn within(mut self, folder: &Path) -> Self {
        self.0.current_dir(folder);
        self
    }

    /// As this user and group; only root can.
    pub(crate) fn of_user(mut self, id: u32) -> Self {
        self.0.uid(id).gid(id);
        self
    }

    /// Starts it.
    pub(crate) fn spawn(self) -> Running {
        self.spawn_unread().read()
    }

    /// Starts it, and reads nothing of what it says.
    pub(crate) fn spawn_unread(mut self) -> Unread {
        self.0.stdout(Stdio::piped()).stderr(Stdio::piped());
        let secrets = Secrets::of(&self.0);
        Unread(Process::spawn(&mut self.0).expect("the host can be executed"), secrets)
    }
}

/// A host that was started and whose output nobody reads; killed when dropped.
pub(crate) struct Unread(Process, Secrets);

impl Unread {
    /// Sends a signal, one of `signal_hook::consts`.
    pub(crate) fn signal(&self, signal: i32) {
        self.0.signal(signal);
    }

    /// Waits for the end; none when the time runs out.
    pub(crate) fn wait(&self, timeout: Duration) -> Option<ExitStatus> {
        self.0.wait(timeout)
    }

    /// From now on it is read.
    pub(crate) fn read(self) -> Running {
        let Self(mut process, secrets) = self;
        let stdout = process.stdout.take().expect("stdout is piped");
        let stderr = process.stderr.take().expect("stderr is piped");
        let output = Watch::lines(Vec::new(), stdout, |lines: &mut Vec<String>, line| lines.push(line.to_owned()));
        let log = Watch::lines(Vec::new(), stderr, |lines: &mut Vec<Line>, line| lines.push(Line::parse(line)));
        Running { process, output, log, secrets: Mutex::new(Some(secrets)) }
    }
}

/// A host that was started; killed when dropped.
pub(crate) struct Running {
    process: Process,
    output: Watch<Vec<String>>,
    log: Watch<Vec<Line>>,
    /// Until it has been looked for in all that the host said.
    secrets: Mutex<Option<Secrets>>,
}

impl Running {
    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Waits for the first log line that `wanted` holds for, past ones included.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, mut wanted: impl FnMut(&Line) -> bool, timeout: Duration) -> Line {
        let mut seen = 0;
        let found = self.log.wait(timeout, |lines| {
            let new = &lines[seen..];
            seen = lines.len();
            new.iter().find(|line| wanted(line)).cloned()
        });
        match found {
            Ok(line) => line,
            Err(Missed::TimedOut) => {
                panic!("no such log line within {timeout:?}:\n{}", self.log_text())
            }
            Err(Missed::Ended) => panic!("the host ended without such a log line:\n{}", self.log_text()),
        }
    }

    /// The log so far.
    pub(crate) fn log(&self) -> Vec<Line> {
        self.log.get(Vec::clone)
    }

    /// The log so far, as it was written.
    pub(crate) fn log_text(&self) -> String {
        self.log.get(|lines| lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>().join("\n"))
    }

    /// The lines of standard output so far.
    pub(crate) fn output(&self) -> Vec<String> {
        self.output.get(Vec::clone)
    }

    /// Waits for the first line of standard output that `wanted` holds for, past ones included.
    #[track_caller]
    pub(crate) fn wait_for_output(&self, mut wanted: impl FnMut(&str) -> bool, timeout: Duration) -> String {
        let found = self.output.wait(timeout, |lines| lines.iter().find(|line| wanted(line)).cloned());
        found.unwrap_or_else(|why| panic!("no such output within {timeout:?} ({why:?}): {:?}", self.output()))
    }

    /// Sends a signal, one of `signal_hook::consts`.
    pub(crate) fn signal(&self, signal: i32) {
        self.process.signal(signal);
    }

    /// The exit status, if the host has ended.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        self.process.ended()
    }

    /// Waits for the end; the log and the output are complete then.
    #[track_caller]
    pub(crate) fn wait(&self, timeout: Duration) -> ExitStatus {
        let status = self.process.wait(timeout);
        let status = status.unwrap_or_else(|| panic!("still running after {timeout:?}:\n{}", self.log_text()));
        let complete = self.log.wait_end(OUTPUT_TIMEOUT) && self.output.wait_end(OUTPUT_TIMEOUT);
        assert!(complete, "a process that the host started holds its output after its end");
        self.assert_no_secret_was_said();
        status
    }

    /// Looks through something else that the host said.
    #[track_caller]
    pub(crate) fn assert_no_secret_in(&self, said: &str) {
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        let found = secrets.as_mut().map(|secrets| secrets.found_in(said)).unwrap_or_default();
        assert!(found.is_empty(), "the host said what it must not: {found:?}");
    }

    /// Looks through all that was said, once.
    #[track_caller]
    fn assert_no_secret_was_said(&self) {
        let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner).take();
        let said = self.log_text() + "\n" + &self.output().join("\n");
        let found = secrets.map(|mut secrets| secrets.found_in(&said)).unwrap_or_default();
        assert!(found.is_empty(), "the host said what it must not: {found:?}");
    }

    /// The ledger that the host printed at its end. Call it after [`Running::wait`].
    #[track_caller]
    pub(crate) fn ledger(&self) -> Ledger {
        let line = self.log().into_iter().rfind(|line| line.message() == "ledger");
        let line = line.unwrap_or_else(|| panic!("no ledger in the log:\n{}", self.log_text()));
        Ledger::parse(&line).unwrap_or_else(|error| panic!("{error}: {}", line.text))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the host's log:\n{}", self.log_text());
            return;
        }
        // A test may leave it running, but not unread.
        self.process.signal(SIGKILL);
        let _ = self.process.wait(OUTPUT_TIMEOUT);
        let _ = self.log.wait_end(OUTPUT_TIMEOUT) && self.output.wait_end(OUTPUT_TIMEOUT);
        self.assert_no_secret_was_said();
    }
}

/// A line of the log.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// As it was written.
    pub(crate) text: String,
    /// As JSON; null when it is none, as a line of a library's own.
    pub(crate) json: Value,
}

impl Line {
    fn parse(text: &str) -> Self {
        Self { text: text.to_owned(), json: serde_json::from_str(text).unwrap_or_default() }
    }

    /// The message, empty without one.
    pub(crate) fn message(&self) -> &str {
        self.field("message")
    }

    /// `ERROR`, `WARN`, `INFO`, `DEBUG` or `TRACE`; empty without one.
    pub(crate) fn level(&self) -> &str {
        self.field("level")
    }

    /// A field that is a string; empty when there is no such.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.json[name].as_str().unwrap_or_default()
    }
}

/// What became of the samples, as the host printed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ledger {
    /// Samples that came into being.
    pub(crate) collected: u64,
    /// Samples that the receiver confirmed.
    pub(crate) delivered: u64,
    /// Samples that still were somewhere.
    pub(crate) pending: u64,
    /// Samples given up.
    pub(crate) dropped: u64,
    /// The same, by reason; only reasons that occurred.
    pub(crate) reasons: BTreeMap<String, u64>,
    /// Items that the plugin got back.
    pub(crate) refused_sends: u64,
}

impl Ledger {
    fn parse(line: &Line) -> Result<Self, Box<dyn std::error::Error>> {
        #[derive(Deserialize)]
        struct Fields {
            collected: u64,
            delivered: u64,
            pending: u64,
            dropped: u64,
            reasons: String,
            refused_sends: u64,
        }
        let Fields { collected, delivered, pending, dropped, reasons, refused_sends } =
            Fields::deserialize(&line.json)?;
        let mut by_reason = BTreeMap::new();
        for reason in reasons.split(',').filter(|reason| !reason.is_empty()) {
            let (reason, samples) = reason.split_once('=').ok_or("a reason without a number")?;
            by_reason.insert(reason.to_owned(), samples.parse()?);
        }
        Ok(Self { collected, delivered, pending, dropped, reasons: by_reason, refused_sends })
    }

    /// Samples dropped for a reason.
    pub(crate) fn dropped_as(&self, reason: &str) -> u64 {
        self.reasons.get(reason).copied().unwrap_or(0)
    }

    /// Collected is delivered and pending and dropped, and each dropped sample has its reason.
    #[track_caller]
    pub(crate) fn assert_balanced(&self) {
        assert_eq!(self.collected, self.delivered + self.pending + self.dropped, "{self:?}");
        assert_eq!(self.dropped, self.reasons.values().sum::<u64>(), "{self:?}");
    }
}

#[test]
fn the_ledger_is_read_from_its_log_line() {
    let line = r#"{"level":"INFO","message":"ledger","collected":20,"delivered":5,"pending":1,"dropped":14,"reasons":"refused=12,duplicate=2","refused_sends":3}"#;
    let ledger = Ledger::parse(&Line::parse(line)).unwrap();
    ledger.assert_balanced();
    let read = (ledger.dropped_as("refused"), ledger.dropped_as("shutdown"), ledger.refused_sends);
    assert_eq!(read, (12, 0, 3));

    let unbalanced = Ledger { delivered: 4, ..ledger };
    assert!(std::panic::catch_unwind(|| unbalanced.assert_balanced()).is_err());
}

#[test]
fn a_signal_reaches_the_program_and_its_end_is_seen() {
    let timeout = Duration::from_secs(20);
    let receive = ["receive", "--json", "--listen", "127.0.0.1:0"];
    let running = receive.into_iter().fold(Host::new(), Host::arg).spawn();
    running.wait_for_output(|line| line.contains("listening"), timeout);
    assert_eq!(running.ended(), None);
    running.signal(SIGTERM);
    assert_eq!(running.wait(timeout).code(), Some(0), "{}", running.log_text());

    let nonsense = Host::new().arg("--no-such-flag").spawn();
    nonsense.wait_for_log(|line| line.text.contains("--no-such-flag"), timeout);
    assert_eq!(nonsense.wait(timeout).code(), Some(2));
}

#[test]
fn a_host_that_says_a_secret_fails_its_test() {
    let say = |script: &str| {
        let run = || {
            let host = Host::by_shell(script).env("REMOTE_WRITE_PASSWORD", "pass-word").spawn();
            host.wait(Duration::from_secs(20))
        };
        std::panic::catch_unwind(run).is_ok()
    };
    assert!(say("echo nothing >&2"));
    assert!(!say("echo Basic bWU6cGFzcy13b3Jk >&2"));
    assert!(!say("echo $REMOTE_WRITE_PASSWORD"));
    // Without a wait, and still running.
    let left =
        Host::by_shell("echo $REMOTE_WRITE_PASSWORD >&2; exec sleep 60").env("REMOTE_WRITE_PASSWORD", "pass-word");
    let left = left.spawn();
    left.wait_for_log(|line| line.text.contains("pass-word"), Duration::from_secs(20));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(left))).is_err());
}
