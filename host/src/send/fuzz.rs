//! Fuzzes what becomes of an answer: its status, its headers and its words.
//!
//! Promises: a gap within its bounds, whatever Retry-After says; nothing delivered but by a 2xx; words on one short line
//! that give no secret away, although the receiver repeats it anywhere in its answer.

use std::ffi::OsString;
use std::sync::LazyLock;
use std::time::SystemTime;

use reqwest::header::{HeaderName, HeaderValue};
use tokio::runtime::{Builder, Runtime};

use super::http::{Outcome, answered};
use super::*;
use crate::cli::{self, Action};
use crate::config::Config;
use crate::fuzz::{Choices, Target, bytes};

/// What the receiver was given, and gives back wherever an input says `$S`.
const SECRET: &str = "Tr0ub4dor&3-is-secret";

/// A receiver's answers.
pub static ANSWERS: Target = Target {
    name: "answers",
    run: |input| {
        let mut choices = Choices(input);
        let (protocol, now_s) = (choices.byte(), choices.long() >> 24);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now_s);
        let text = String::from_utf8_lossy(choices.0);
        // A fuzzer that sees comparisons comes to know the secret; what it writes itself is not given away.
        if holds_secret(&text) {
            return;
        }
        assert!(retry::retry_after(&text, now).is_none_or(|asked| asked <= retry::LONGEST_RETRY_AFTER));
        answer(protocol, &text);
    },
    seeds: || {
        bytes([
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "204\nX-Prometheus-Remote-Write-Samples-Written: 5\nX-Prometheus-Remote-Write-Histograms-Written: 2\n\n",
            "200\nx-prometheus-remote-write-exemplars-written: 18446744073709551616\nRetry-After: 7\n\nstored",
            "429\nRetry-After: Sun, 06 Nov 2094 08:49:37 GMT\n\ntoo many requests",
            "503\nretry-after: 120\nretry-after: -1\n\n<html>\r\n<b>no  backend</b> \u{1b}[2J $S",
            "307\nLocation: https://elsewhere/?token=$S\n\n",
            "415\ncontent-type: text/plain\n\nunknown $S$S and $S",
            "400\n\nout of order sample\u{85}for {a=\"b\"}",
        ])
        .into_iter()
        // Where the words break off.
        .chain((495..=512).step_by(4).map(|len| [b"503\n\n", vec![b'x'; len].as_slice(), b"$S"].concat()))
        .map(|text| [b"\x02\0\0\0\0\x21\x53\xbb\x2e", text.as_slice()].concat())
        .collect()
    },
    words: || {
        bytes([
            "$S",
            "Retry-After: ",
            "Location: ",
            "X-Prometheus-Remote-Write-Samples-Written: ",
            "GMT",
            "-0700",
            "Sun, ",
            " Nov ",
            "\n\n",
            "200",
            "307",
            "400",
            "415",
            "429",
            "503",
            "\u{2028}",
            "\u{1b}",
            "\u{7f}",
            "                                                                                                ",
        ])
    },
};

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().build().expect("a runtime without anything"));

static ACCESS: LazyLock<Access> = LazyLock::new(|| {
    let Ok(Action::Run(flags)) = cli::parse(["monitor-host"]) else { unreachable!("no flags are no mistake") };
    let env = |name: &str| (name == "REMOTE_WRITE_BEARER_TOKEN").then(|| OsString::from(SECRET));
    Access::new(&Config::load(&flags, env).expect("a token alone is a configuration")).expect("no file is named")
});

/// Whether the text holds the secret or a telling part of it.
fn holds_secret(text: &str) -> bool {
    let mut parts = SECRET.as_bytes().windows(6).filter_map(|part| std::str::from_utf8(part).ok());
    parts.any(|part| text.contains(part))
}

/// A status, lines of headers, an empty line, a body.
fn answer(protocol: u8, text: &str) {
    let text = text.replace("$S", SECRET);
    let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.trim().parse().ok()).unwrap_or(500);
    let mut response = hyper::Response::new(body.to_owned());
    let Ok(status) = hyper::StatusCode::from_u16(status) else { return };
    *response.status_mut() = status;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let name = HeaderName::from_bytes(name.as_bytes());
        let value = HeaderValue::from_bytes(value.trim().as_bytes());
        if let (Ok(name), Ok(value)) = (name, value) {
            response.headers_mut().append(name, value);
        }
    }
    let says = response.headers().keys().any(|name| name.as_str().ends_with("-written") && name.as_str().len() > 40);

    let outcome = RUNTIME.block_on(answered(&ACCESS, response.into()));
    let Outcome::Answered { status: seen, asked, written, words } = outcome else { panic!("an answer is an answer") };
    assert_eq!(seen, status);
    assert!(says || written == Written::Unsaid, "{written:?}");
    // Control characters are the log's to escape.
    assert!(!words.is_empty() && words.len() <= 4096 && !words.contains('\n'), "{words:?}");
    assert!(!holds_secret(&words), "a secret is shown: {words:?}");

    let judged = retry::judge(status.as_u16(), &[401]);
    assert_eq!(judged == Verdict::Delivered, status.is_success());
    let gap = retry::Backoff::default().failed(asked, 0.5);
    assert!(gap >= retry::FIRST_GAP && gap <= retry::LONGEST_RETRY_AFTER && asked.is_none_or(|asked| gap >= asked));
    let sent = if protocol.is_multiple_of(2) { Protocol::V2 } else { Protocol::V1 };
    let mut negotiation = Negotiation::new(Choice::Auto);
    let verdict = negotiation.answered(sent, Answer::Status(status.as_u16(), written));
    // 2.0 is never taken for delivered before the receiver has said what it wrote.
    let confirmed = sent == Protocol::V1 || written != Written::Unsaid || !status.is_success();
    assert!(confirmed || verdict == negotiate::Verdict::AgainAsV1, "{verdict:?}");
}
