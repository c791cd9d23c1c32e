//! What an operator sets: SCRAPE_… variables, each with its default and its bounds.
//!
//! Enters: the environment. Leaves: [`Settings`], or every mistake in one line, each with its variable's name. Never: keeps a
//! secret; those are read when they are used, so that a file may change.

use std::time::Duration;

use monitor_plugin_api::{Error, setting};

use crate::target::{self, Target};

/// How long a scrape may take at most, whatever is set: a day.
const LONGEST: Duration = Duration::from_secs(86_400);

/// What is asked of each target, and what its answer may be.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) targets: Vec<Target>,
    pub(crate) job: String,
    pub(crate) timeout: Duration,
    pub(crate) body_limit: usize,
    pub(crate) rules: Rules,
    pub(crate) access: Access,
}

/// What becomes of the samples in an answer.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// A label of the target's own wins over `job` and `instance`.
    pub(crate) honor_labels: bool,
    /// A sample's own timestamp is taken.
    pub(crate) honor_timestamps: bool,
    /// A series whose samples have timestamps of their own ends as others do.
    pub(crate) track_timestamps: bool,
    pub(crate) sample_limit: u64,
    /// 0 in these is no limit but the host's.
    pub(crate) label_limit: usize,
    pub(crate) name_length_limit: usize,
    pub(crate) value_length_limit: usize,
}

/// How targets are reached.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub(crate) username: String,
    pub(crate) ca_file: String,
    pub(crate) cert_file: String,
    pub(crate) key_file: String,
    pub(crate) verify: bool,
}

impl Settings {
    /// Reads all of them.
    ///
    /// # Errors
    /// All that is wrong.
    pub(crate) fn read() -> Result<Self, Error> {
        let mut mistakes = Mistakes(Vec::new());
        let targets = setting("SCRAPE_TARGETS").text("").and_then(|list| target::parse(&list));
        let settings = Settings {
            targets: mistakes.or(targets, Vec::new()),
            job: mistakes.or(setting("SCRAPE_JOB").text("scrape"), String::new()),
            timeout: mistakes.or(
                setting("SCRAPE_TIMEOUT_S").seconds(Duration::from_secs(10), Duration::from_millis(1)..=LONGEST),
                LONGEST,
            ),
            body_limit: mistakes
                .or(setting("SCRAPE_BODY_SIZE_LIMIT").unit("bytes").number(32 << 20, 1..=4_usize << 30), 0),
            rules: Rules {
                honor_labels: mistakes.or(switch("SCRAPE_HONOR_LABELS", "off"), false),
                honor_timestamps: mistakes.or(switch("SCRAPE_HONOR_TIMESTAMPS", "on"), false),
                track_timestamps: mistakes.or(switch("SCRAPE_TRACK_TIMESTAMPS_STALENESS", "off"), false),
                sample_limit: mistakes
                    .or(setting("SCRAPE_SAMPLE_LIMIT").unit("samples").number(200_000, 1..=10_000_000), 0),
                label_limit: mistakes.or(setting("SCRAPE_LABEL_LIMIT").unit("labels").number(0, 0..=10_000), 0),
                name_length_limit: mistakes
                    .or(setting("SCRAPE_LABEL_NAME_LENGTH_LIMIT").unit("bytes").number(0, 0..=1 << 20), 0),
                value_length_limit: mistakes
                    .or(setting("SCRAPE_LABEL_VALUE_LENGTH_LIMIT").unit("bytes").number(0, 0..=1 << 20), 0),
            },
            access: Access {
                username: mistakes.or(setting("SCRAPE_USERNAME").text(""), String::new()),
                ca_file: mistakes.or(setting("SCRAPE_TLS_CA_FILE").text(""), String::new()),
                cert_file: mistakes.or(setting("SCRAPE_TLS_CERT_FILE").text(""), String::new()),
                key_file: mistakes.or(setting("SCRAPE_TLS_KEY_FILE").text(""), String::new()),
                verify: mistakes.or(switch("SCRAPE_TLS_VERIFY", "on"), true),
            },
        };
        settings.access.check(&mut mistakes);
        mistakes.none().map(|()| settings)
    }
}

impl Access {
    /// What belongs together, and what can't be together.
    fn check(&self, mistakes: &mut Mistakes) {
        let password = mistakes.or(password(), None);
        let token = mistakes.or(bearer_token(), None);
        if password.is_some() && self.username.is_empty() {
            mistakes.add("SCRAPE_PASSWORD is set and SCRAPE_USERNAME is not: set both, or neither");
        }
        if token.is_some() && !self.username.is_empty() {
            mistakes.add("SCRAPE_BEARER_TOKEN and SCRAPE_USERNAME are both set: unset one of them");
        }
        if self.cert_file.is_empty() != self.key_file.is_empty() {
            let (set, other) = match self.key_file.is_empty() {
                true => ("SCRAPE_TLS_CERT_FILE", "SCRAPE_TLS_KEY_FILE"),
                false => ("SCRAPE_TLS_KEY_FILE", "SCRAPE_TLS_CERT_FILE"),
            };
            mistakes.add(&format!("{set} is set and {other} is not: set both, or neither"));
        }
        if !self.verify && !self.ca_file.is_empty() {
            mistakes.add("SCRAPE_TLS_VERIFY is off, and SCRAPE_TLS_CA_FILE is of no use then: unset one of them");
        }
    }
}

/// SCRAPE_PASSWORD, as it is now.
pub(crate) fn password() -> Result<Option<String>, Error> {
    setting("SCRAPE_PASSWORD").secret()
}

/// SCRAPE_BEARER_TOKEN, as it is now.
pub(crate) fn bearer_token() -> Result<Option<String>, Error> {
    setting("SCRAPE_BEARER_TOKEN").secret()
}

fn switch(name: &'static str, default: &'static str) -> Result<bool, Error> {
    Ok(setting(name).choice(default, &["off", "on"])? == "on")
}

/// All that is wrong is told at once.
struct Mistakes(Vec<String>);

impl Mistakes {
    fn or<T>(&mut self, read: Result<T, Error>, instead: T) -> T {
        read.unwrap_or_else(|error| {
            self.add(&error.to_string());
            instead
        })
    }

    fn add(&mut self, what: &str) {
        self.0.push(what.to_owned());
    }

    fn none(self) -> Result<(), Error> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::new(self.0.join("; and "))) }
    }
}
