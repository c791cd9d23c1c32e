//! Whether a host gives away what it was told in confidence.
//!
//! Enters: the command that starts a host; later, all that the host said. Leaves: which secrets stand there, and in what
//! form: as they are, percent-encoded, or in base64. Never: knows a secret that a test wrote into a file in between.
//!
//! Secrets of fewer than [`SHORTEST`] bytes would be found by chance and are passed over.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// A secret worth looking for, in bytes.
const SHORTEST: usize = 5;

/// So many letters of base64 are no accident.
const SHORTEST_ENCODED: usize = 7;

/// What stands in the environment, the arguments and the files of one host.
#[derive(Default)]
pub(crate) struct Secrets {
    /// Where it was given, and what.
    known: Vec<(String, String)>,
    files: Vec<(String, PathBuf)>,
}

impl Secrets {
    /// Those that this command hands over.
    pub(crate) fn of(command: &Command) -> Self {
        let mut secrets = Self::default();
        let text = |text: &OsStr| text.to_string_lossy().into_owned();
        for (name, value) in command.get_envs() {
            secrets.add(&text(name), &value.map(text).unwrap_or_default());
        }
        let mut arguments = command.get_args().map(text).peekable();
        while let Some(argument) = arguments.next() {
            // `--a-name value` or `--a-name=value`
            let Some(flag) = argument.strip_prefix("--") else { continue };
            let (flag, value) =
                flag.split_once('=').map_or((flag, None), |(flag, value)| (flag, Some(value.to_owned())));
            let value = value.or_else(|| arguments.peek().cloned()).unwrap_or_default();
            secrets.add(&flag.replace('-', "_"), &value);
        }
        secrets.read_files();
        secrets
    }

    fn add(&mut self, name: &str, value: &str) {
        let name = name.to_ascii_uppercase();
        match name.as_str() {
            "REMOTE_WRITE_PASSWORD" | "REMOTE_WRITE_BEARER_TOKEN" => self.know(&name, value),
            "REMOTE_WRITE_HEADERS" => self.headers(&name, value, ','),
            "REMOTE_WRITE_URL" | "HTTP_PROXY" | "HTTPS_PROXY" | "ALL_PROXY" => self.url(&name, value),
            "TLS_KEY_FILE" => self.files.push((name, value.into())),
            _ if name.starts_with("REMOTE_WRITE_") && name.ends_with("_FILE") => self.files.push((name, value.into())),
            _ => {}
        }
    }

    /// As the files are now: their content may have changed since.
    fn read_files(&mut self) {
        for (name, path) in self.files.clone() {
            let content = fs::read_to_string(&path).unwrap_or_default();
            match name.as_str() {
                "REMOTE_WRITE_HEADERS_FILE" => self.headers(&name, &content, '\n'),
                // The lines between BEGIN and END.
                "TLS_KEY_FILE" => {
                    content.lines().filter(|line| !line.contains("---")).for_each(|line| self.know(&name, line))
                }
                _ => self.know(&name, content.trim()),
            }
        }
    }

    fn headers(&mut self, name: &str, all: &str, separator: char) {
        for (_, value) in all.split(separator).filter_map(|one| one.split_once('=')) {
            self.know(name, value.trim());
        }
    }

    fn url(&mut self, name: &str, url: &str) {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        self.know(name, query);
        query.split('&').filter_map(|pair| pair.split_once('=')).for_each(|(_, value)| self.know(name, value));
        let authority = place.split('/').next().unwrap_or_default();
        if let Some((_, password)) = authority.rsplit_once('@').and_then(|(user, _)| user.split_once(':')) {
            self.know(name, password);
        }
    }

    fn know(&mut self, name: &str, secret: &str) {
        for secret in [secret.to_owned(), percent_decoded(secret)] {
            let entry = (name.to_owned(), secret);
            if entry.1.len() >= SHORTEST && !self.known.contains(&entry) {
                self.known.push(entry);
            }
        }
    }

    /// Which of them stand in the text, and how.
    pub(crate) fn found_in(&mut self, text: &str) -> Vec<String> {
        self.read_files();
        let decoded = percent_decoded(text);
        let holds = |what: &str| text.contains(what) || decoded.contains(what);
        let mut found = Vec::new();
        for (name, secret) in &self.known {
            if holds(secret) {
                found.push(format!("{name}: {secret:?}"));
            }
            let encoded = encodings(secret.as_bytes());
            found.extend(encoded.iter().filter(|form| holds(form)).map(|form| format!("{name}: {secret:?} as {form}")));
        }
        found
    }
}

/// How the bytes show in base64, whatever stands before and behind them.
fn encodings(secret: &[u8]) -> Vec<String> {
    let mut forms = Vec::new();
    for alphabet in ["+/", "-_"] {
        for before in 0..3 {
            let bytes = [&[0; 2][..before], secret].concat();
            let letters = base64(&bytes, alphabet);
            // Six bits a letter; those at the ends hold bits of the neighbours.
            let (from, to) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
            if to >= from + SHORTEST_ENCODED {
                forms.push(letters[from..to].to_owned());
            }
        }
    }
    forms.sort();
    forms.dedup();
    forms
}

fn base64(bytes: &[u8], last_two: &str) -> String {
    let alphabet = format!("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789{last_two}");
    let bit = |i: usize| bytes.get(i / 8).map_or(0, |byte| byte >> (7 - i % 8) & 1);
    let letter = |first: usize| (first..first + 6).fold(0, |value, i| value << 1 | bit(i));
    (0..bytes.len() * 8).step_by(6).map(|first| char::from(alphabet.as_bytes()[usize::from(letter(first))])).collect()
}

/// With each `%` and two hexadecimal digits as the byte that they mean.
fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    let (mut decoded, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let byte = (bytes[at] == b'%').then(|| Some(digit(at + 1)? * 16 + digit(at + 2)?)).flatten();
        decoded.push(byte.map_or(bytes[at], |byte| byte as u8));
        at += if byte.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[test]
fn a_secret_is_found_in_every_form_and_wherever_it_was_given() {
    let dir = tempfile::tempdir().unwrap();
    let [token, headers, key] = ["token", "headers", "key"].map(|name| dir.path().join(name));
    fs::write(&token, "token-of-file\n").unwrap();
    fs::write(&headers, "X-Key=header-of-file\nX-Other=x\n").unwrap();
    fs::write(&key, "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMG\n-----END PRIVATE KEY-----\n").unwrap();
    let mut command = Command::new("host");
    command.args(["--remote-write-url", "http://me:by-flag@h/w?a=query-value&b=1", "--push-interval-s=1"]);
    command.env("REMOTE_WRITE_PASSWORD", "pass-word").env("https_proxy", "http://you:proxy%2Dpass@h:1/");
    command.env("REMOTE_WRITE_HEADERS", "X-Key=header%2Cvalue,X-Other=y").env("REMOTE_WRITE_HEADERS_FILE", &headers);
    command.env("REMOTE_WRITE_BEARER_TOKEN_FILE", &token).env("TLS_KEY_FILE", &key);
    let mut secrets = Secrets::of(&command);
    // The forms are written out by hand, or made by other tools.
    for (text, name) in [
        ("by-flag", "REMOTE_WRITE_URL"),
        ("?a=query-value&b=1", "REMOTE_WRITE_URL"),
        ("the value query-value alone", "REMOTE_WRITE_URL"),
        ("query%2Dvalue", "REMOTE_WRITE_URL"),
        ("pass-word", "REMOTE_WRITE_PASSWORD"),
        ("pass%2dword", "REMOTE_WRITE_PASSWORD"),
        ("Basic bWU6cGFzcy13b3Jk", "REMOTE_WRITE_PASSWORD"),
        ("Basic bTpwYXNzLXdvcmQ=", "REMOTE_WRITE_PASSWORD"),
        ("cGFzcy13b3Jk", "REMOTE_WRITE_PASSWORD"),
        ("proxy-pass", "HTTPS_PROXY"),
        ("proxy%2Dpass", "HTTPS_PROXY"),
        ("header%2Cvalue", "REMOTE_WRITE_HEADERS"),
        ("header,value", "REMOTE_WRITE_HEADERS"),
        ("header-of-file", "REMOTE_WRITE_HEADERS_FILE"),
        ("token-of-file", "REMOTE_WRITE_BEARER_TOKEN_FILE"),
        ("MIGHAgEAMBMG", "TLS_KEY_FILE"),
    ] {
        let line = format!(r#"{{"level":"INFO","message":"before {text} behind"}}"#);
        let found = secrets.found_in(&line);
        assert!(!found.is_empty() && found.iter().all(|one| one.starts_with(name)), "{text}: {found:?}");
    }
    assert_eq!(secrets.found_in("http://h/w X-Key pass word query bWU6 you me 1 x y MIGH %"), [""; 0]);

    fs::write(&token, "another-token").unwrap();
    assert_eq!(secrets.found_in("another-token, token-of-file").len(), 2, "both were in the file");
}
