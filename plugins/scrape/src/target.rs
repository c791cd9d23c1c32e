//! SCRAPE_TARGETS: from text to addresses.
//!
//! Enters: a list of URLs. Leaves: what is asked, and the `instance` that it goes by; or what is wrong with which of them.
//! Never: shows a URL's query or its password, which may be secret.

use std::collections::BTreeMap;

use monitor_plugin_api::Error;
use reqwest::Url;

/// The path of a target that is given without one, as Prometheus has it.
const DEFAULT_PATH: &str = "/metrics";

/// What is scraped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) url: Url,
    /// The host and the port, as they were given.
    pub(crate) instance: String,
}

impl Target {
    /// For the log: without its query.
    pub(crate) fn shown(&self) -> String {
        format!("{}://{}{}", self.url.scheme(), self.instance, self.url.path())
    }

    /// The same for the same target in every run: what spreads targets over the interval.
    pub(crate) fn seed(&self, job: &str) -> u64 {
        // FNV-1a, 64 bits.
        let bytes = job.bytes().chain([0]).chain(self.url.as_str().bytes());
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }
}

/// The targets in a list whose items stand apart by commas or white space.
///
/// # Errors
/// One is no address, or two would give the same series, or there is none.
pub(crate) fn parse(list: &str) -> Result<Vec<Target>, Error> {
    let items = list.split(|c: char| c == ',' || c.is_whitespace()).filter(|item| !item.is_empty());
    let targets = items.enumerate().map(|(number, item)| {
        let shown = if may_be_secret(list, item) {
            format!("target {} (not shown, as it may hold a password)", number + 1)
        } else {
            cut(item)
        };
        one(item).map_err(|what| Error::new(format!("SCRAPE_TARGETS: {shown}: {what}")))
    });
    let targets = targets.collect::<Result<Vec<_>, _>>()?;
    if targets.is_empty() {
        let what = "what to scrape is not known: give URLs, such as http://localhost:9100/metrics or localhost:9100";
        return Err(Error::new(format!("SCRAPE_TARGETS is empty: {what}")));
    }
    let mut by_instance = BTreeMap::new();
    for target in &targets {
        if let Some(other) = by_instance.insert(&target.instance, target) {
            return Err(Error::new(format!(
                "SCRAPE_TARGETS: {} and {} are both instance {:?}, and would mix their series; scrape one of them by another \
                 host, with another SCRAPE_JOB",
                other.shown(),
                target.shown(),
                target.instance
            )));
        }
    }
    Ok(targets)
}

/// Whether what is wrong may be a password, whole or in part. Where there is an `@`, any item may: a comma in a password makes
/// two of it. And where there is none, what stands in the place of a port and is none may be one whose `@` was forgotten.
fn may_be_secret(list: &str, item: &str) -> bool {
    let rest = item.split_once("://").map_or(item, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let has_port = authority.starts_with('[') || authority.split_once(':').is_none_or(|(_, port)| is_port(port));
    list.contains('@') || !has_port
}

/// The beginning of an item, without its query.
fn cut(item: &str) -> String {
    let shown: String = item.split(['?', '#']).next().unwrap_or_default().chars().take(80).collect();
    format!("{shown:?}")
}

/// One item, or what is wrong with it, of which nothing is shown.
fn one(item: &str) -> Result<Target, String> {
    let full = if item.contains("://") { item.to_owned() } else { format!("http://{item}") };
    let mut url = Url::parse(&full).map_err(|error| format!("{error}; give host:port or a URL"))?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err("neither http nor https".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL with credentials; give them as SCRAPE_USERNAME and SCRAPE_PASSWORD".to_owned());
    }
    let rest = full.split_once("://").map_or("", |(_, rest)| rest);
    let instance = rest.split(['/', '?', '#']).next().unwrap_or_default().to_owned();
    if !rest.split(['?', '#']).next().unwrap_or_default().contains('/') {
        url.set_path(DEFAULT_PATH);
    }
    Ok(Target { url, instance })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_prometheus_reads_them() {
        for (item, url, instance) in [
            ("localhost:9100", "http://localhost:9100/metrics", "localhost:9100"),
            ("http://db/", "http://db/", "db"),
            ("https://[::1]:1/m?x=1", "https://[::1]:1/m?x=1", "[::1]:1"),
            ("https://h:443?target=a/b", "https://h/metrics?target=a/b", "h:443"),
            ("10.0.0.1", "http://10.0.0.1/metrics", "10.0.0.1"),
        ] {
            let targets = parse(item).unwrap();
            assert_eq!((targets[0].url.as_str(), targets[0].instance.as_str()), (url, instance), "{item}");
        }
        let both = parse(" a:1,\n b:2 ,").unwrap();
        assert_eq!(both.len(), 2);
        assert_ne!(both[0].seed("j"), both[1].seed("j"));
        assert_ne!(both[0].seed("j"), both[0].seed("k"));
        assert_eq!(parse("http://a:1/m?token=x").unwrap()[0].shown(), "http://a:1/m");
    }

    #[test]
    fn what_is_no_address_is_told() {
        let long = format!("http://user:{}@host:1/", "secret".repeat(15));
        for (list, says) in [
            (" , ", "SCRAPE_TARGETS is empty"),
            ("ftp://a:1/", r#""ftp://a:1/": neither http nor https"#),
            ("http://me:secret@a:1/", "SCRAPE_USERNAME"),
            (&long, "target 1 (not shown, as it may hold a password): a URL with credentials"),
            ("http://me:secret?x@a:1/", "target 1 (not shown, as it may hold a password): invalid port number"),
            ("b:1,http://me:secret,x@a:1/", "target 2 (not shown, as it may hold a password): invalid port number"),
            ("http://secret:99999,x@a:1/", "target 1 (not shown, as it may hold a password): "),
            ("http://me:1,x@secret,x@a:1/", "target 2 (not shown, as it may hold a password): a URL with credentials"),
            ("me:secret", "target 1 (not shown, as it may hold a password): "),
            ("[::1", r#""[::1": "#),
            ("a:1/x,a:1/y", "http://a:1/x and http://a:1/y are both instance"),
            ("http://:80", r#""http://:80": "#),
            ("a:99999", r#""a:99999": "#),
        ] {
            let error = parse(list).unwrap_err().to_string();
            assert!(error.starts_with("SCRAPE_TARGETS") && error.contains(says), "{list}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
