//! Every message of the host that asks something of an operator stands in docs/operating.md with what to do, and no other
//! does.
//!
//! A page has the messages in tables whose first column is called `Message`, each between backticks, several of one row
//! apart by `<br>`. What differs from one time to the next is an ellipsis there; a message may be cut off by one at its end.

use std::collections::BTreeSet;

use crate::pages::rows;
use crate::rust::{Piece, Placed, behind, pieces};
use crate::{assert_none, files, read};

const PAGE: &str = "docs/operating.md";

/// What speaks to others than the operator of a run: an author (docs/check.md has its findings), and who sends to the
/// receiver for trials; fuzz targets.
const OTHERS: &[&str] = &["host/src/check/", "host/src/receive/", "host/src/fuzz"];

/// Where texts become messages on other ways than by a macro of the log or an error's attribute: every text there of at
/// least so many words is one.
const SPOKEN: &[(&str, usize)] = &[
    ("host/src/access/mod.rs", 2),
    ("host/src/access/tls.rs", 2),
    ("host/src/access/watched.rs", 2),
    ("host/src/admin/health.rs", 3),
    ("host/src/admin/ready.rs", 3),
    ("host/src/admin/answer.rs", 3),
    ("host/src/batching.rs", 3),
    ("host/src/config/access.rs", 2),
    ("host/src/config/kind.rs", 2),
    ("host/src/config/mod.rs", 2),
    ("host/src/config/together.rs", 2),
    ("host/src/config/url.rs", 2),
    ("host/src/intake.rs", 3),
    ("host/src/keep/disk.rs", 3),
    ("host/src/log/line.rs", 3),
    ("host/src/plugin/explain.rs", 4),
    ("host/src/plugin/load.rs", 3),
    ("host/src/plugin/preflight/agree.rs", 4),
    ("host/src/plugin/preflight/elf.rs", 4),
    ("host/src/plugin/preflight/mod.rs", 4),
    ("host/src/plugin/process/fate.rs", 3),
    ("host/src/plugin/process/inbox.rs", 3),
    ("host/src/plugin/process/worker.rs", 3),
    ("host/src/plugin/source.rs", 3),
    ("host/src/send/hints.rs", 3),
    ("host/src/supervise/shell.rs", 3),
];

/// Functions in those files whose texts are none: what a variable accepts (docs/configuration.md has it), the help of the
/// command line, and the words by which two layouts differ, which complete a sentence that is one.
const SILENT: &[&str] = &["accepts", "command", "difference"];

/// Texts in those files that are none: the halves of a sentence, what a file should hold, the words of others that are
/// looked for, a list of paths.
const NO_MESSAGE: &[&str] = &[
    "or leave it out",
    "rebuild it with the monitor-plugin-api … of this host",
    "…=…: …; give a file with …",
    "the password alone",
    "the token alone",
    "Name=value pairs, one a line",
    "certificates of authorities in PEM",
    "a certificate in PEM, its chain behind it",
    "the certificate's private key in PEM",
    ": cannot open shared object file:",
    "' not found (required by",
    "has overflowed its stack",
    "monitor-host: / (the status page), /live, /ready, /metrics",
    "memory allocation of",
];

/// A text with what it is filled with replaced, on one line, without backticks.
fn fixed(text: &str) -> String {
    let (mut fixed, mut depth) = (String::new(), 0);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let is_double = depth == 0 && matches!(c, '{' | '}') && chars.peek() == Some(&c);
        match c {
            _ if is_double => {
                chars.next();
                fixed.push(c);
            }
            '{' if chars.peek().is_some_and(|next| next.is_whitespace()) => fixed.push(c),
            '{' => depth += 1,
            '}' if depth > 0 => {
                depth -= 1;
                // Two of them with nothing between are one.
                if !fixed.ends_with('…') {
                    fixed.push('…');
                }
            }
            '`' => {}
            c if depth == 0 => fixed.push(c),
            _ => {}
        }
    }
    fixed.split_whitespace().collect::<Vec<_>>().join(" ").replace("… …", "…")
}

/// Whether it reads as prose: two words in lower case beside each other, and so many in all.
fn is_prose(text: &str, words: usize) -> bool {
    let is_low = |c: u8| c.is_ascii_lowercase();
    let beside = text.as_bytes().windows(3).any(|three| is_low(three[0]) && three[1] == b' ' && is_low(three[2]));
    let count = text.split(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '\'')).filter(|word| !word.is_empty());
    beside && count.count() >= words
}

/// The messages of a file, with their lines. `words`: whether other texts are messages too, and how long they are at least.
fn messages(source: &str, words: Option<usize>) -> Vec<(usize, String)> {
    let pieces = pieces(source);
    let mut found = Vec::new();
    let mut at = 0;
    while at < pieces.len() {
        let here = &pieces[at..];
        if let Some(level) = log_macro(here) {
            if matches!(level, "error" | "warn") {
                found.extend(message_of(&here[2..behind(here, 2)]));
            }
            at += behind(here, 2);
        } else if let [hash, open, error, _, text, ..] = here
            && hash.is_sign('#')
            && open.is_sign('[')
            && error.is_word("error")
        {
            found.extend(text.text().map(|message| (text.line, message.to_owned())));
            at += behind(here, 1);
        } else if here[0].is_sign('#') && here.len() > 2 {
            // Another attribute, of an item or (behind a `!`) of the file.
            at += behind(here, if here[1].is_sign('!') { 2 } else { 1 });
        } else if let [function, Placed { piece: Piece::Word(name), .. }, ..] = here
            && function.is_word("fn")
            && SILENT.contains(&name.as_str())
        {
            let body = here.iter().position(|placed| placed.is_sign('{') || placed.is_sign(';')).unwrap_or(0);
            at += behind(here, body);
        } else {
            // What ends its lines as HTTP does is said to a machine.
            let to_people = here[0].text().filter(|text| !text.contains('\r'));
            let spoken = to_people.zip(words).filter(|(text, words)| is_prose(&fixed(text), *words));
            found.extend(spoken.map(|(text, _)| (here[0].line, text.to_owned())));
            at += 1;
        }
    }
    let told = found.into_iter().map(|(line, text)| (line, fixed(&text)));
    // Of what has no words of its own, others have told the words.
    told.filter(|(_, text)| text.contains(char::is_alphabetic) && !NO_MESSAGE.contains(&text.as_str())).collect()
}

/// The level of the log's macro that begins here.
fn log_macro(pieces: &[Placed]) -> Option<&'static str> {
    let [level, mark, open, ..] = pieces else { return None };
    let level = ["error", "warn", "info", "debug", "trace"].into_iter().find(|name| level.is_word(name))?;
    (mark.is_sign('!') && open.is_sign('(')).then_some(level)
}

/// Among the arguments of the log's macros, the message is the first text that no name stands before.
fn message_of(arguments: &[Placed]) -> Option<(usize, String)> {
    let mut at = 1;
    let mut begins = true;
    while at < arguments.len() {
        if let Some(text) = arguments[at].text().filter(|_| begins) {
            return Some((arguments[at].line, text.to_owned()));
        }
        begins = arguments[at].is_sign(',');
        let opens = matches!(arguments[at].piece, Piece::Sign('(' | '[' | '{'));
        at = if opens { behind(arguments, at) } else { at + 1 };
    }
    None
}

/// The page's entry for a message: all of it, or its beginning with an ellipsis.
fn covers(entry: &str, message: &str) -> bool {
    entry == message || entry.strip_suffix('…').is_some_and(|begins| begins.len() > 8 && message.starts_with(begins))
}

/// The page's entries, with their lines.
fn entries(page: &str) -> Vec<(usize, String)> {
    let cells = rows(page, "Message").into_iter().map(|(line, cells)| (line, cells[0].to_owned()));
    let each = |(line, cell): (usize, String)| {
        let entries: Vec<_> = cell.split("<br>").map(|entry| (line, fixed_entry(entry))).collect();
        entries
    };
    cells.flat_map(each).collect()
}

fn fixed_entry(entry: &str) -> String {
    entry.trim().trim_matches('`').trim().replace("\\|", "|")
}

#[test]
fn every_message_is_explained_and_no_other() {
    let page = read(PAGE);
    let entries = entries(&page);
    let mut all = BTreeSet::new();
    let mut missing = Vec::new();
    for file in files("host/src", ".rs") {
        let is_test = file.ends_with("/tests.rs") || file.ends_with("_tests.rs") || file.contains("/tests/");
        if is_test || file.ends_with("/fuzz.rs") || OTHERS.iter().any(|other| file.starts_with(other)) {
            continue;
        }
        let words = SPOKEN.iter().find(|(path, _)| *path == file).map(|(_, words)| *words);
        for (line, message) in messages(&read(&file), words) {
            if !entries.iter().any(|(_, entry)| covers(entry, &message)) {
                missing.push(format!("{file}:{line}: {message}"));
            }
            all.insert(message);
        }
    }
    let of_no_message = |(_, entry): &&(usize, String)| !all.iter().any(|message| covers(entry, message));
    let stale: Vec<_> =
        entries.iter().filter(of_no_message).map(|(line, entry)| format!("{PAGE}:{line}: {entry}")).collect();
    let (missing, stale) = (
        missing.into_iter().map(|line| format!("not explained: {line}")),
        stale.into_iter().map(|line| format!("said by nothing: {line}")),
    );
    assert_none(
        &missing.chain(stale).collect::<Vec<_>>(),
        "docs/operating.md (the column `Message` of its tables) and the sources differ",
    );
    assert!(all.len() > 150, "{all:?}");
    let gone: Vec<_> = SPOKEN
        .iter()
        .filter(|(path, _)| !crate::root().join(path).is_file())
        .map(|(path, _)| (*path).to_owned())
        .collect();
    assert_none(&gone, "files that are looked through for messages, and that are no more");
}

#[test]
fn every_message_says_what_to_do() {
    let page = read(PAGE);
    let empty = |(_, cells): &(usize, Vec<&str>)| cells.len() < 2 || cells.iter().any(|cell| cell.is_empty());
    let rows = rows(&page, "Message").into_iter().filter(empty);
    assert_none(&rows.map(|(line, _)| format!("{PAGE}:{line}")).collect::<Vec<_>>(), "rows with an empty cell");
}

#[test]
fn messages_are_found() {
    let source = r#"
        #![allow(x, reason = "not this one")]
        #[error("a {x} fails{}", why(y))]
        struct E;
        fn accepts() { "not this one either" }
        fn f() {
            tracing::warn!(samples = f(1, 2), name = "no message", "it was `lost`: {why}");
            tracing::info!("all is well");
            error!(%reason, "{whole}");
            Err("too long")
        }
    "#;
    let found =
        |words| messages(source, words).into_iter().map(|(line, text)| format!("{line} {text}")).collect::<Vec<_>>();
    assert_eq!(found(None), ["3 a … fails…", "7 it was lost: …"]);
    assert_eq!(found(Some(2)), ["3 a … fails…", "7 it was lost: …", "10 too long"]);
    assert_eq!(fixed("a {{b}} {c:?}{d} {e}"), "a {b} …");
    assert_eq!(fixed("a ${ without its }"), "a ${ without its }");
    assert!(covers("it was lost: …", "it was lost: …") && covers("it was lost…", "it was lost: …"));
    assert!(!covers("it …", "it was lost: …") && !covers("it was lost", "it was lost: …"));
}
