//! The least HTTP that asks a local process something.
//!
//! Enters: a method, an `http://` address, headers, a body. Leaves: status and body. Never: keeps a connection, follows
//! a redirect, knows TLS.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// One that says nothing for this long hangs. A browser's start on a starved machine is what takes longest.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// The status line and the headers.
    pub(crate) head: String,
    /// The body.
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header, whose name is looked for in any case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut pairs = self.head.lines().filter_map(|line| line.split_once(':'));
        pairs.find_map(|(this, value)| this.eq_ignore_ascii_case(name).then_some(value.trim()))
    }
}

/// One request over a connection of its own.
pub(crate) fn request(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Answer> {
    // 1.0, because the answer then ends with the connection and is never chunked.
    let mut answer = String::new();
    send("HTTP/1.0", method, url, headers, body)?.read_to_string(&mut answer)?;
    read(&answer)
}

/// The same of a server that knows nothing older than 1.1, says how long its answers are, and keeps the connection.
pub(crate) fn request_of_1_1(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Answer> {
    let mut stream = BufReader::new(send("HTTP/1.1", method, url, headers, body)?);
    let mut answer = String::new();
    while !answer.ends_with("\r\n\r\n") {
        if stream.read_line(&mut answer)? == 0 {
            return Err(unreadable(&answer));
        }
    }
    let length = read(&answer)?.header("content-length").and_then(|length| length.parse().ok());
    stream.take(length.ok_or_else(|| unreadable(&answer))?).read_to_string(&mut answer)?;
    read(&answer)
}

fn send(version: &str, method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<TcpStream> {
    let rest = url.strip_prefix("http://").ok_or_else(|| unreadable(url))?;
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let path = if path.is_empty() { "/" } else { path };

    let mut head = format!("{method} {path} {version}\r\nHost: {host}\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");

    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(&[head.as_bytes(), body].concat())?;
    Ok(stream)
}

fn read(answer: &str) -> io::Result<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| unreadable(answer))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(|| unreadable(head))?;
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

/// A form post.
pub(crate) fn post_form(url: &str, fields: &[(&str, &str)]) -> io::Result<Answer> {
    let body: Vec<String> = fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    request("POST", url, &[("Content-Type", "application/x-www-form-urlencoded")], body.join("&").as_bytes())
}

fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn unreadable(text: &str) -> io::Error {
    let start: String = text.chars().take(200).collect();
    io::Error::new(io::ErrorKind::InvalidData, format!("no HTTP: {start:?}"))
}
