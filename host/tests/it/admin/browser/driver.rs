//! A browser, driven by the W3C's WebDriver protocol, and by the browser's own where that has no word for something.
//!
//! Enters: commands, scripts. Leaves: what they return; what the browser logged and asked for. Never: leaves a process or a
//! file behind, however the test ends; sleeps between a question and its answer.
//!
//! The protocol is a few POSTs of JSON to `chromedriver`, which the tests' own HTTP client speaks: a client library would bring
//! more code than it spares here.

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::fetch::Chromium;
use crate::faults::LONG;
use crate::http;
use crate::watch::Watch;

/// How long killed processes may take to be gone.
const KILL_TIMEOUT: Duration = Duration::from_secs(20);

/// Kills its process group, the driver and the browser with all its processes, when its standard input ends: with the
/// [`Browser`], or with the process of the tests, whatever ends that.
const KEEPER: &str = r#""$@" </dev/null & read -r nothing; kill -KILL 0"#;

/// How often the driver may find no port. It takes one of IPv6 that is free, and ends if somebody has the same of IPv4.
const STARTS: usize = 10;

const NO_PORT: &str = "chromedriver finds no port that is free in IPv4 and in IPv6";

/// What keeps a browser from being more than the engine that shows one page. No sandbox: root has none, and in a container
/// there may be none for others either; all that it ever opens is our own page. The driver makes an empty profile, in our
/// folder; a browser that is told of one opens no first window.
const ARGUMENTS: [&str; 12] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-sync",
    "--disable-breakpad",
    "--disable-extensions",
    "--disable-component-update",
    "--disable-background-networking",
    "--no-default-browser-check",
    "--no-first-run",
];

/// The name of an element's identifier in the protocol.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A running browser with one window and a profile of its own; gone when dropped.
pub(super) struct Browser {
    session: String,
    // Before the folder, so that no process writes into it when it goes.
    _group: Group,
    profile: TempDir,
    said: Watch<Vec<String>>,
}

impl Browser {
    /// Starts one. None, with one line that says so, where there is none; in CI that is a failure.
    #[track_caller]
    pub(super) fn start() -> Option<Self> {
        let chromium = Chromium::get()?;
        let profile = tempfile::tempdir().expect("a temporary folder");
        let (group, said, port) =
            (1..=STARTS).find_map(|_| Group::listening(&chromium, profile.path())).expect(NO_PORT);
        let mut browser = Self { session: format!("http://127.0.0.1:{port}/session"), _group: group, profile, said };

        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"binary": chromium.browser, "args": ARGUMENTS},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }}});
        let session = browser.call("", &wanted);
        browser.session = format!("{}/{}", browser.session, session["sessionId"].as_str().expect("a session"));
        browser.call("/timeouts", &json!({"script": LONG.as_millis() as u64}));
        Some(browser)
    }

    /// Opens a page and waits until it is loaded.
    #[track_caller]
    pub(super) fn open(&self, url: &str) {
        self.call("/url", &json!({"url": url}));
    }

    /// What a function with this body returns in the page, called with these arguments.
    #[track_caller]
    pub(super) fn eval<T: DeserializeOwned>(&self, body: &str, arguments: &[Value]) -> T {
        self.script("/execute/sync", body, arguments)
    }

    /// The same of a function that calls the last of its arguments with what it has to say.
    #[track_caller]
    pub(super) fn eval_later<T: DeserializeOwned>(&self, body: &str, arguments: &[Value]) -> T {
        self.script("/execute/async", body, arguments)
    }

    #[track_caller]
    fn script<T: DeserializeOwned>(&self, how: &str, body: &str, arguments: &[Value]) -> T {
        let value = self.call(how, &json!({"script": body, "args": arguments}));
        serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error}: {value} of {body}"))
    }

    /// Clicks where the element is that a function with this body returns, scrolled into view: what lies above it gets
    /// the click. Looks again when the page has put another one in its place meanwhile.
    #[track_caller]
    pub(super) fn click(&self, body: &str, arguments: &[Value]) {
        let deadline = Instant::now() + LONG;
        loop {
            let element: Value = self.eval(body, arguments);
            let id = element[ELEMENT].as_str().unwrap_or_else(|| panic!("no element: {element} of {body}"));
            match self.try_call(&format!("/element/{id}/click"), &json!({})) {
                Ok(_) => return,
                Err(error) if error.starts_with("stale element") && Instant::now() < deadline => {}
                Err(error) => panic!("{error}: {body}"),
            }
        }
    }

    /// Presses and releases keys, one after the other; those without a character are in the private use area, as
    /// `\u{e004}` for Tab.
    #[track_caller]
    pub(super) fn press(&self, keys: &str) {
        let strokes = keys.chars().flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": key})));
        let actions = json!([{"type": "key", "id": "keyboard", "actions": strokes.collect::<Vec<_>>()}]);
        self.call("/actions", &json!({"actions": actions}));
    }

    /// A command of the browser's own protocol.
    #[track_caller]
    pub(super) fn command(&self, name: &str, parameters: Value) -> Value {
        self.call("/goog/cdp/execute", &json!({"cmd": name, "params": parameters}))
    }

    /// What the console has said since this was asked last: errors, violations of the page's policy, failed requests.
    #[track_caller]
    pub(super) fn console(&self) -> Vec<String> {
        let entries = self.call("/se/log", &json!({"type": "browser"}));
        let entries = entries.as_array().into_iter().flatten();
        entries.map(|entry| format!("{}: {}", entry["level"], entry["message"])).collect()
    }

    /// The addresses that were asked for since this was asked last.
    #[track_caller]
    pub(super) fn asked_for(&self) -> Vec<String> {
        let entries = self.call("/se/log", &json!({"type": "performance"}));
        let events = entries.as_array().into_iter().flatten().filter_map(|entry| entry["message"].as_str());
        let events = events.filter_map(|event| serde_json::from_str::<Value>(event).ok());
        let events = events.map(|mut event| event["message"].take());
        let requests = events.filter(|event| event["method"] == "Network.requestWillBeSent");
        requests.filter_map(|event| event["params"]["request"]["url"].as_str().map(str::to_owned)).collect()
    }

    #[track_caller]
    fn call(&self, path: &str, body: &Value) -> Value {
        self.try_call(path, body)
            .unwrap_or_else(|error| panic!("{path}: {error}; the driver said {:?}", self.said.get(Vec::clone)))
    }

    /// The answer's value; else its kind of error, and a message.
    fn try_call(&self, path: &str, body: &Value) -> Result<Value, String> {
        let headers = [("Content-Type", "application/json; charset=utf-8")];
        let url = format!("{}{path}", self.session);
        let answer = http::request_of_1_1("POST", &url, &headers, body.to_string().as_bytes());
        let answer = answer.map_err(|error| error.to_string())?;
        let mut json: Value = serde_json::from_str(&answer.body).map_err(|error| format!("{error}: {answer:?}"))?;
        let value = json["value"].take();
        match answer.status {
            200 => Ok(value),
            _ => Err(format!("{}: {}", value["error"].as_str().unwrap_or_default(), value["message"])),
        }
    }
}

/// What the driver says of its port, in one of its lines: that it listens there, or that it has none and ends.
fn start(line: &str) -> Option<Option<u16>> {
    if line.contains("port not available") { Some(None) } else { port(line).map(Some) }
}

/// The port in the driver's line `ChromeDriver was started successfully on port 12345.`
fn port(line: &str) -> Option<u16> {
    line.strip_prefix("ChromeDriver was started successfully on port ")?.trim_end_matches('.').parse().ok()
}

/// The driver, the browser and all of its processes, under a keeper; killed when dropped.
struct Group(Child);

impl Group {
    /// Starts the driver. Also: what it says, and the port that it listens on. None when it found none.
    #[track_caller]
    fn listening(chromium: &Chromium, home: &Path) -> Option<(Self, Watch<Vec<String>>, u16)> {
        let (group, said) = Self::spawn(chromium, home);
        let port = said.wait(LONG, |lines: &Vec<String>| lines.iter().find_map(|line| start(line)));
        let port =
            port.unwrap_or_else(|why| panic!("chromedriver does not listen ({why:?}): {:?}", said.get(Vec::clone)));
        port.map(|port| (group, said, port))
    }

    /// Starts the driver on a port that it finds free. Also: what it says.
    fn spawn(chromium: &Chromium, home: &Path) -> (Self, Watch<Vec<String>>) {
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "keeper"]).arg(&chromium.driver).arg("--port=0");
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.envs(chromium.variables.clone()).env("HOME", home).env("TMPDIR", home);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut keeper = command.spawn().expect("a shell can be started");
        let (stdout, stderr) = (keeper.stdout.take().expect("it is piped"), keeper.stderr.take().expect("it is piped"));
        let said = Watch::lines(Vec::new(), stdout, |lines: &mut Vec<String>, line| lines.push(line.to_owned()));
        // Nobody waits for it: it is read so that it can't fill up.
        thread::spawn(move || { stderr }.read_to_end(&mut Vec::new()));
        (Self(keeper), said)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
        let deadline = Instant::now() + KILL_TIMEOUT;
        // Grandchildren can be looked for, not awaited.
        while !members(self.0.id()).is_empty() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The processes of a group that have not ended, as the kernel tells them: `pid (name) state ppid group …`.
fn members(group: u32) -> Vec<String> {
    processes("stat", |stat| {
        // A name can hold anything, and ends with the last parenthesis.
        let fields: Vec<&str> =
            stat.rsplit_once(") ").map_or(Vec::new(), |(_, rest)| rest.split(' ').take(3).collect());
        matches!(fields[..], [state, _, its] if state != "Z" && its == group.to_string())
    })
}

/// This file of each process for which it is as wanted.
fn processes(file: &str, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let all = fs::read_dir("/proc").expect("a /proc").flatten();
    let texts = all.filter_map(|entry| fs::read(entry.path().join(file)).ok());
    texts.map(|text| String::from_utf8_lossy(&text).into_owned()).filter(|text| wanted(text)).collect()
}

#[test]
fn a_driver_says_where_it_listens_or_that_it_ends() {
    assert_eq!(start("ChromeDriver was started successfully on port 12345."), Some(Some(12345)));
    assert_eq!(start("IPv4 port not available. Exiting..."), Some(None));
    assert_eq!(start("Starting ChromeDriver 1.2.3 on port 0"), None);
}

#[test]
fn nothing_of_a_browser_outlives_it() {
    let Some(browser) = Browser::start() else { return };
    let profile = browser.profile.path().to_owned();
    let of_this = || processes("environ", |all| all.contains(profile.to_str().expect("a path of text")));
    browser.open("data:text/html,<title>here</title>");
    assert_eq!(browser.eval::<String>("return document.title", &[]), "here");
    assert!(of_this().len() > 1, "a browser is several processes: {:?}", of_this());
    let fails = std::panic::AssertUnwindSafe(move || {
        let _browser = browser;
        panic!("a test that fails");
    });
    assert!(std::panic::catch_unwind(fails).is_err());
    assert_eq!((of_this(), profile.exists()), (Vec::new(), false));
}
