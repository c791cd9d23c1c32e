//! The settings in force, as they may be shown to whoever can reach the admin page.
//!
//! Enters: what was given of each variable, and the configuration that was made of all. Leaves: a text for each, and where it
//! came from.
//!
//! Never: holds a secret, or a part of one: who asks in is hidden as what lets him in is.

use serde::Serialize;

use super::url::TargetUrl;
use super::{Config, Var, vars};

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// The variable.
    pub name: &'static str,
    /// The heading that it stands under.
    pub group: &'static str,
    /// What is in force, with its unit; none where it is unset.
    pub value: Option<String>,
    /// Who said so.
    pub from: GivenBy,
    /// It is given, and not shown.
    pub is_hidden: bool,
}

/// Who said what is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GivenBy {
    /// Nobody.
    Default,
    /// The environment.
    Environment,
    /// The command line.
    Flag,
}

impl Shown {
    /// A variable of which this was given: where it was found (see `Reader::given`), and the text.
    pub(super) fn of(var: &Var, given: Option<(&str, &str)>) -> Self {
        let from = match given {
            None => GivenBy::Default,
            Some((source, _)) if source.starts_with("--") => GivenBy::Flag,
            Some(_) => GivenBy::Environment,
        };
        let is_hidden = given.is_some() && (var.secret || var.name == vars::REMOTE_WRITE_USERNAME.name);
        let text = given.map_or(var.default, |(_, text)| text);
        let value = match var.name {
            _ if is_hidden || text.is_empty() => None,
            name if name == vars::REMOTE_WRITE_URL.name => TargetUrl::parse(text).ok().map(|url| url.to_string()),
            _ if var.unit.is_empty() => Some(text.to_owned()),
            _ => Some(format!("{text} {}", var.unit)),
        };
        Shown { name: var.name, group: var.group, value, from, is_hidden }
    }
}

/// Puts in what only the whole configuration knows: what the names of variables in labels stand for, and the instance.
pub(super) fn complete(config: &mut Config) {
    let labels: Vec<String> = config.external_labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let in_force = [(&vars::EXTERNAL_LABELS, labels.join(",")), (&vars::INSTANCE, config.instance.clone())];
    for (var, text) in in_force {
        if let Some(shown) = config.shown.iter_mut().find(|shown| shown.name == var.name) {
            shown.value = Some(text).filter(|text| !text.is_empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ffi::OsString;

    use super::*;
    use crate::cli::{self, Action};
    use crate::config::vars::TABLE;

    fn shown(args: &[&str], env: &[(&str, &str)]) -> BTreeMap<&'static str, Shown> {
        let Ok(Action::Run(flags)) = cli::parse([&["monitor-host"], args].concat()) else { panic!("{args:?}") };
        let env: BTreeMap<&str, &str> = env.iter().copied().collect();
        let config = Config::load(&flags, |name| env.get(name).map(OsString::from)).unwrap();
        assert!(config.shown.iter().map(|shown| shown.name).eq(TABLE.iter().map(|var| var.name)));
        config.shown.into_iter().map(|shown| (shown.name, shown)).collect()
    }

    fn value<'a>(all: &'a BTreeMap<&str, Shown>, name: &str) -> Option<&'a str> {
        all[name].value.as_deref()
    }

    #[test]
    fn what_is_in_force_is_shown_and_who_said_so() {
        let env = [("HOSTNAME", "h1"), ("EXTERNAL_LABELS", "host=${HOSTNAME},site=x"), ("SCRAPE_INTERVAL_S", " 0.5 ")];
        let all = shown(&["--push-interval-s", "2"], &env);
        for (name, text, from) in [
            ("PUSH_INTERVAL_S", Some("2 s"), GivenBy::Flag),
            ("SCRAPE_INTERVAL_S", Some("0.5 s"), GivenBy::Environment),
            ("MAX_RETRY_BYTES", Some("64MiB"), GivenBy::Default),
            ("REMOTE_WRITE_URL", Some("http://prometheus:9090/api/v1/write"), GivenBy::Default),
            ("EXTERNAL_LABELS", Some("host=h1,site=x"), GivenBy::Environment),
            ("INSTANCE", Some("h1"), GivenBy::Default),
            ("SPOOL_DIR", None, GivenBy::Default),
            ("REMOTE_WRITE_PASSWORD", None, GivenBy::Default),
        ] {
            assert_eq!((value(&all, name), all[name].from), (text, from), "{name}");
        }
        assert!(all.values().all(|shown| !shown.is_hidden));
    }

    #[test]
    fn no_secret_is_shown() {
        let all = shown(
            &[],
            &[
                ("REMOTE_WRITE_URL", "https://h:1/w?token=s3cret"),
                ("REMOTE_WRITE_USERNAME", "s3cret"),
                ("REMOTE_WRITE_PASSWORD", "s3cret"),
                ("REMOTE_WRITE_HEADERS", "X-Key=s3cret"),
                ("TLS_CERT_FILE", "/run/cert.pem"),
                ("TLS_KEY_FILE", "/run/key.pem"),
                ("https_proxy", "http://me:s3cret@h:2"),
            ],
        );
        assert!(!format!("{all:?}").contains("s3cret"), "{all:?}");
        assert_eq!(value(&all, "REMOTE_WRITE_URL"), Some("https://h:1/w?***"));
        for name in ["REMOTE_WRITE_USERNAME", "REMOTE_WRITE_PASSWORD", "REMOTE_WRITE_HEADERS", "HTTPS_PROXY"] {
            assert!(all[name].is_hidden && all[name].from == GivenBy::Environment, "{name}");
        }
        // Where a secret lies is no secret.
        assert_eq!(value(&all, "TLS_KEY_FILE"), Some("/run/key.pem"));
        let all = shown(&[], &[("REMOTE_WRITE_URL", "http://me:s3cret@h/w"), ("REMOTE_WRITE_HEADERS_FILE", "/run/h")]);
        assert_eq!(value(&all, "REMOTE_WRITE_URL"), Some("http://h/w"));
        assert_eq!(value(&all, "REMOTE_WRITE_HEADERS_FILE"), Some("/run/h"));
    }
}
