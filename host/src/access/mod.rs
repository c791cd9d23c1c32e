//! Getting in: what a request needs besides its batch, so that the receiver lets it in and no one listens.
//!
//! Enters: the configuration, and the files that it names. Leaves: a client that trusts the right authorities, shows the
//! right certificate and takes the right proxy; and on each request the credentials and headers of the moment. Files
//! that change are read again, before the next request; one that can't be read any more leaves the last good value.
//!
//! Never: shows a secret, not in an error or by `Debug` either; reads the environment; opens a socket.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use reqwest::header::{AUTHORIZATION, HeaderMap};
use reqwest::{ClientBuilder, NoProxy, Proxy, RequestBuilder};

mod credentials;
mod tls;
mod watched;

#[cfg(test)]
mod tests;

use self::credentials::Credentials;
pub use self::tls::advice;
use self::watched::{File, Parsed, Watched};
use crate::config::access::{Headers, Password, Token};
use crate::config::{Config, Secret, TargetUrl};

/// Shorter texts are looked for in nobody's words: a tenant called 1 would leave no number readable.
const SCRUBBED_BYTES: usize = 6;

/// How to get in; see the module.
#[derive(Clone, Debug)]
pub struct Access {
    encrypted: bool,
    credentials: Watched<Option<Credentials>>,
    headers: Watched<HeaderMap>,
    authorities: Watched<Option<Vec<reqwest::Certificate>>>,
    identity: Watched<Option<reqwest::Identity>>,
    route: Option<Route>,
    /// What of the URL is a secret.
    in_url: Vec<Secret>,
}

/// The way by a proxy.
#[derive(Clone)]
struct Route(Proxy);

/// Files that the configuration names and that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct Refused(Vec<String>);

impl Refused {
    /// One line each, naming the variable and the file.
    pub fn lines(&self) -> &[String] {
        &self.0
    }
}

impl Access {
    /// Reads all files once, and warns of what is dangerous or has no effect.
    ///
    /// # Errors
    /// Every file that can't be read or does not hold what it should.
    pub fn new(config: &Config) -> Result<Self, Refused> {
        let url = &config.remote_write_url;
        let mut wrong = Vec::new();
        let credentials = note(&mut wrong, credentials(config));
        let has_credentials = credentials.as_ref().is_some_and(|found| found.value().is_some());
        let headers = note(&mut wrong, headers(config, has_credentials));
        let authorities = note(&mut wrong, authorities(config));
        let identity = note(&mut wrong, identity(config));
        let proxy = proxy(config);
        let route = note(&mut wrong, proxy.map(|proxy| Route::new(proxy, &config.no_proxy)).transpose());
        match (credentials, headers, authorities, identity, route) {
            (Some(credentials), Some(headers), Some(authorities), Some(identity), Some(route)) => {
                let encrypted = [Some(url), proxy].into_iter().flatten().any(|url| url.url().scheme() == "https");
                let in_url = credentials::of_query(url.url());
                let access = Access { encrypted, credentials, headers, authorities, identity, route, in_url };
                access.tell(url, proxy);
                Ok(access)
            }
            _ => Err(Refused(wrong)),
        }
    }

    /// Says once what an operator should know of this way in.
    fn tell(&self, url: &TargetUrl, proxy: Option<&TargetUrl>) {
        let plain = url.url().scheme() == "http";
        let trusted = self.credentials.value().is_some() || self.headers.value().contains_key(AUTHORIZATION);
        if plain && trusted && !url.is_loopback() {
            tracing::warn!(%url, "credentials are sent unencrypted: use https, or leave them out");
        }
        let has_tls = self.authorities.value().is_some() || self.identity.value().is_some();
        if !self.encrypted && has_tls {
            tracing::warn!(%url, "TLS_CA_FILE, TLS_CERT_FILE and TLS_KEY_FILE have no effect: REMOTE_WRITE_URL is http");
        }
        if let Some(proxy) = proxy {
            tracing::info!(%proxy, "requests take the proxy, where NO_PROXY does not exclude the receiver");
        }
    }

    /// Sets what belongs to the connection: trust, certificate, proxy. The process's TLS provider has to be there.
    pub fn client(&self, builder: ClientBuilder) -> ClientBuilder {
        // The environment is the configuration's to read; a referrer would tell the URL with its query.
        let builder = builder.no_proxy().referer(false);
        let builder = match &self.route {
            Some(Route(proxy)) => builder.proxy(proxy.clone()),
            None => builder,
        };
        let builder = match self.identity.value() {
            Some(identity) => builder.identity(identity.clone()),
            None => builder,
        };
        match (self.encrypted, self.authorities.value()) {
            (true, Some(authorities)) => builder.tls_certs_only(authorities.clone()),
            (true, None) => builder,
            // The system's certificates cost memory, and may be missing in an image that needs none.
            (false, _) => builder.tls_certs_only([]),
        }
    }

    /// Reads again what has changed. Returns whether the client has to be built anew.
    #[must_use]
    pub fn refresh(&mut self) -> bool {
        let now = Instant::now();
        self.credentials.refresh(now);
        self.headers.refresh(now);
        // Both, even if the first has changed.
        self.authorities.refresh(now) | self.identity.refresh(now)
    }

    /// Sets what belongs to a request: credentials and custom headers.
    pub fn authorize(&self, request: RequestBuilder) -> RequestBuilder {
        let headers = self.headers.value();
        let request = if headers.is_empty() { request } else { request.headers(headers.clone()) };
        match self.credentials.value() {
            Some(credentials) => request.header(AUTHORIZATION, credentials.header.clone()),
            None => request,
        }
    }

    /// Whether requests carry what no other host should see. A query may hold a token.
    pub fn is_for_one_host(&self) -> bool {
        self.credentials.value().is_some() || !self.headers.value().is_empty() || !self.in_url.is_empty()
    }

    /// A receiver's words on one line, without the secrets that it may have repeated. `cut`: the words broke off here, and
    /// their end may be the beginning of a secret.
    pub fn scrub(&self, words: &str, cut: bool) -> String {
        let credentials = self.credentials.value().iter().flat_map(|credentials| &credentials.hidden);
        let hidden = credentials.chain(&self.in_url).map(|secret| one_line(secret.expose()));
        let headers = self.headers.value().values().map(|value| one_line(&String::from_utf8_lossy(value.as_bytes())));
        let long: Vec<_> = hidden.chain(headers).filter(|secret| secret.len() >= SCRUBBED_BYTES).collect();
        let mut words = one_line(words);
        if cut {
            // A character that was cut in two.
            words.truncate(words.trim_end_matches(char::REPLACEMENT_CHARACTER).len());
        }
        // One may hold or overlap another: all are found before any is taken out.
        let mut found: Vec<Range<usize>> = Vec::new();
        for secret in &long {
            found.extend(words.match_indices(secret.as_str()).map(|(at, _)| at..at + secret.len()));
            let ends = |&at: &usize| at > 0 && words.ends_with(&secret[..at]);
            let begun = secret.char_indices().rev().map(|(at, _)| at).find(ends).filter(|_| cut);
            found.extend(begun.map(|begun| words.len() - begun..words.len()));
        }
        found.sort_unstable_by_key(|range| range.start);
        let (mut scrubbed, mut done) = (String::with_capacity(words.len()), 0);
        for range in found {
            if range.start >= done {
                scrubbed.push_str(&words[done..range.start]);
                scrubbed.push_str("***");
            }
            done = done.max(range.end);
        }
        scrubbed + &words[done..]
    }
}

/// The words with one space between them.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Route {
    fn new(proxy: &TargetUrl, exceptions: &str) -> Result<Self, String> {
        let way = Proxy::all(proxy.url().clone());
        let way = way.map_err(|_| format!("HTTP_PROXY or HTTPS_PROXY: {proxy} can't be used"))?;
        Ok(Route(way.no_proxy(NoProxy::from_string(exceptions))))
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Route(***)")
    }
}

fn note<T>(wrong: &mut Vec<String>, result: Result<T, String>) -> Option<T> {
    result.map_err(|line| wrong.push(line)).ok()
}

/// The proxy for the receiver. This machine is in reach of itself, and a proxy's own `localhost` is never meant.
fn proxy(config: &Config) -> Option<&TargetUrl> {
    let url = &config.remote_write_url;
    let proxy = if url.url().scheme() == "https" { &config.https_proxy } else { &config.http_proxy };
    proxy.as_ref().filter(|_| !url.is_loopback())
}

fn credentials(config: &Config) -> Result<Watched<Option<Credentials>>, String> {
    let (url_user, url_password) = credentials::of_url(config.remote_write_url.url());
    let user = config.remote_write_username.clone().map(String::into_bytes).or(url_user);
    let user = Arc::<[u8]>::from(user.unwrap_or_default());
    if let Some(path) = &config.remote_write_password_file {
        let file = File { variable: "REMOTE_WRITE_PASSWORD_FILE", path: path.clone(), wanted: "the password alone" };
        return Watched::open(vec![file], move |contents| {
            let password = text(contents, Password::required)?;
            Ok(Some(Credentials::basic(&user, password.expose().as_bytes())))
        });
    }
    if let Some(path) = &config.remote_write_bearer_token_file {
        let file = File { variable: "REMOTE_WRITE_BEARER_TOKEN_FILE", path: path.clone(), wanted: "the token alone" };
        return Watched::open(vec![file], |contents| Ok(Some(Credentials::bearer(&text(contents, Token::required)?))));
    }
    let password = config.remote_write_password.as_ref().map(|password| password.expose().as_bytes().to_vec());
    let password = password.or(url_password);
    let bearer = config.remote_write_bearer_token.as_ref();
    Ok(Watched::fixed(match (bearer, user.is_empty() && password.is_none()) {
        (Some(token), _) => Some(Credentials::bearer(token)),
        (None, true) => None,
        (None, false) => Some(Credentials::basic(&user, &password.unwrap_or_default())),
    }))
}

fn headers(config: &Config, has_credentials: bool) -> Result<Watched<HeaderMap>, String> {
    let Some(path) = &config.remote_write_headers_file else {
        return Ok(Watched::fixed(config.remote_write_headers.clone()));
    };
    let wanted = "Name=value pairs, one a line";
    let file = File { variable: "REMOTE_WRITE_HEADERS_FILE", path: path.clone(), wanted };
    Watched::open(vec![file], move |contents| {
        let headers = text(contents, Headers::required)?;
        match has_credentials && headers.contains_key(AUTHORIZATION) {
            true => Err((0, "sets authorization, although credentials are set")),
            false => Ok(headers),
        }
    })
}

fn authorities(config: &Config) -> Result<Watched<Option<Vec<reqwest::Certificate>>>, String> {
    let Some(path) = &config.tls_ca_file else {
        return Ok(Watched::fixed(None));
    };
    let file = File { variable: "TLS_CA_FILE", path: path.clone(), wanted: "certificates of authorities in PEM" };
    Watched::open(vec![file], |contents| tls::authorities(&contents[0]).map(Some).map_err(|wrong| (0, wrong)))
}

fn identity(config: &Config) -> Result<Watched<Option<reqwest::Identity>>, String> {
    let (Some(certificate), Some(key)) = (&config.tls_cert_file, &config.tls_key_file) else {
        return Ok(Watched::fixed(None));
    };
    let wanted = "a certificate in PEM, its chain behind it";
    let certificate = File { variable: "TLS_CERT_FILE", path: certificate.clone(), wanted };
    let key = File { variable: "TLS_KEY_FILE", path: key.clone(), wanted: "the certificate's private key in PEM" };
    Watched::open(vec![certificate, key], |contents| tls::identity(&contents[0], &contents[1]).map(Some))
}

/// The only file's text, trimmed as a variable is.
fn text<T>(contents: &[Vec<u8>], parse: impl Fn(&str) -> Result<T, &'static str>) -> Parsed<T> {
    let text = std::str::from_utf8(&contents[0]).map_err(|_| (0, "is not valid UTF-8"))?;
    parse(text.trim()).map_err(|wrong| (0, wrong))
}
