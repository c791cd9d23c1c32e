//! Where batches are sent: a URL's text enters, a checked URL leaves, and a text of it that may be shown.
//! The credentials and the query of a URL are never shown, not by `Debug` either.

use std::fmt;
use std::net::IpAddr;

use reqwest::Url;

/// An `http` or `https` URL with a host and no fragment. Its `Display` and `Debug` are fit for a log.
#[derive(Clone, PartialEq, Eq)]
pub struct TargetUrl(Url);

impl TargetUrl {
    /// The URL, or what is wrong with the text.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        // The parser of the web's URLs would take a space or a tab and mend it; here that is a mistake.
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err("holds white space");
        }
        let Ok(url) = Url::parse(text) else {
            return Err("not a URL");
        };
        match url.scheme() {
            "http" | "https" => {}
            _ => return Err("neither http:// nor https://"),
        }
        // Without "//" the web's parser would make a host of what follows.
        let after_scheme = text.split_once(':').map_or("", |(_, rest)| rest);
        if !after_scheme.starts_with("//") || after_scheme.starts_with("///") || !url.has_host() {
            return Err("names no host");
        }
        if url.port() == Some(0) {
            return Err("port 0 is no port to send to");
        }
        if url.fragment().is_some() {
            return Err("has a fragment (#...), which is never sent");
        }
        Ok(TargetUrl(url))
    }

    /// The whole URL, with its credentials and its query: for requests only, never for a log.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// The URL without its credentials: for requests only, because of its query.
    pub fn without_credentials(&self) -> Url {
        let mut url = self.0.clone();
        // Both can only fail where there is no host.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url
    }

    /// Whether its host is this machine.
    pub fn is_loopback(&self) -> bool {
        let host = self.0.host_str().unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        match address {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => host == "localhost" || host.ends_with(".localhost"),
        }
    }
}

impl fmt::Display for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.0))
    }
}

impl fmt::Debug for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", shown(&self.0))
    }
}

/// A value as a mistake may show it: as given, unless it may be a URL that holds a secret.
pub(crate) fn redacted(value: &str) -> String {
    if !value.contains(['@', '?']) {
        return value.to_owned();
    }
    match Url::parse(value) {
        Ok(url) if url.has_host() => shown(&url),
        _ => "***".to_owned(),
    }
}

fn shown(url: &Url) -> String {
    // A password with a '/' or '?' that was not escaped ends the host early and leaves its '@' behind it.
    let behind_host = [Some(url.path()), url.query(), url.fragment()];
    if behind_host.iter().flatten().any(|part| part.contains('@')) {
        return format!("{}://***", url.scheme());
    }
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map_or(String::new(), |port| format!(":{port}"));
    let query = if url.query().is_some() { "?***" } else { "" };
    format!("{}://{host}{port}{}{query}", url.scheme(), url.path())
}
