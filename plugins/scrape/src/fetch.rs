//! One request for one exposition.
//!
//! Enters: a target. Leaves: the body of its answer and what it says that this is, or why there is none, within the timeout.
//!
//! Never: takes an answer other than 200; takes a part of a body; goes through a proxy; shows a secret.

use std::fs;
use std::time::Duration;

use monitor_plugin_api::Error;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, ClientBuilder, Identity, RequestBuilder, StatusCode};

use crate::body::Incoming;
use crate::failure::{Class, Failure};
use crate::settings::{Access, Settings, bearer_token, password};
use crate::target::Target;

/// As Prometheus asks, but for names in UTF-8: remote write 1.0 has none, so the target is asked to escape them.
const WANTED: &str = "application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.6,\
    application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=underscores;q=0.4,\
    text/plain;version=0.0.4;q=0.3,*/*;q=0.2";

/// Tells the target how long it has, as Prometheus does.
const TIMEOUT_HEADER: HeaderName = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");

/// As many as Prometheus follows.
const MAX_REDIRECTS: usize = 10;

/// An exposition.
#[derive(Debug, Default)]
pub(crate) struct Body {
    pub(crate) bytes: Vec<u8>,
    pub(crate) content_type: Option<String>,
}

/// Asks targets, over connections that are kept.
#[derive(Debug)]
pub(crate) struct Fetcher {
    client: Client,
    access: Access,
    body_limit: usize,
}

impl Fetcher {
    /// What the settings say.
    ///
    /// # Errors
    /// A certificate or a key can't be used.
    pub(crate) fn new(settings: &Settings) -> Result<Self, Error> {
        // Fails where a provider is installed already: then there is one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let access = settings.access.clone();
        let plain = settings.targets.iter().all(|target| target.url.scheme() == "http");
        let client = match client(&access)?.build() {
            // A machine without authorities of its own, as an image may be, has all that it takes for these targets.
            Err(_) if plain => client(&access)?.tls_certs_only([]).build(),
            built => built,
        };
        let client = client.map_err(|error| {
            let what = "the HTTP client can't be made; are the system's certificates installed (ca-certificates)?";
            Error::from(error).context(what)
        })?;
        Ok(Fetcher { client, access, body_limit: settings.body_limit })
    }

    /// Asks a target once. `expected` is a guess at the length of its answer.
    ///
    /// # Errors
    /// Why there is no exposition.
    pub(crate) async fn fetch(&self, target: &Target, timeout: Duration, expected: usize) -> Result<Body, Failure> {
        let request = self
            .client
            .get(target.url.clone())
            .header(ACCEPT, WANTED)
            .header(ACCEPT_ENCODING, "gzip")
            .header(TIMEOUT_HEADER, timeout.as_secs_f64().to_string());
        let request = self.authorize(request).map_err(|error| Failure::new(Class::Setting, error.to_string()))?;
        let answer = async {
            let mut response = request.send().await.map_err(|error| failed(error, "no answer"))?;
            if response.status() != StatusCode::OK {
                let text = format!("it answers with HTTP status {}", response.status());
                return Err(Failure::new(Class::Status, text));
            }
            let header = |name| text_of(response.headers(), name);
            let content_type = header(CONTENT_TYPE);
            let encoding = header(CONTENT_ENCODING).unwrap_or_default();
            let mut incoming = Incoming::new(encoding.trim(), self.body_limit, expected)?;
            while let Some(chunk) = response.chunk().await.map_err(|error| failed(error, "the answer broke off"))? {
                incoming.push(&chunk)?;
            }
            Ok(Body { bytes: incoming.finish()?, content_type })
        };
        tokio::time::timeout(timeout, answer).await.unwrap_or_else(|_| {
            let text = format!("no whole answer within {} s (SCRAPE_TIMEOUT_S)", timeout.as_secs_f64());
            Err(Failure::new(Class::Timeout, text))
        })
    }

    /// Secrets are read each time: their files may have changed.
    fn authorize(&self, request: RequestBuilder) -> Result<RequestBuilder, Error> {
        if !self.access.username.is_empty() {
            return Ok(request.basic_auth(&self.access.username, password()?));
        }
        Ok(match bearer_token()? {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
    }
}

fn client(access: &Access) -> Result<ClientBuilder, Error> {
    let mut builder = Client::builder()
        .user_agent(concat!("monitor-scrape/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::limited(MAX_REDIRECTS))
        // Else whoever a target redirects to is told its query.
        .referer(false)
        .pool_max_idle_per_host(1)
        .http1_only()
        .no_proxy()
        .tcp_nodelay(true);
    if !access.ca_file.is_empty() {
        builder = builder.tls_certs_only(authorities(&access.ca_file)?);
    }
    if !access.verify {
        builder = builder.tls_danger_accept_invalid_certs(true).tls_danger_accept_invalid_hostnames(true);
    }
    if !access.cert_file.is_empty() {
        builder = builder.identity(identity(access)?);
    }
    Ok(builder)
}

fn text_of(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// What an error of the client's says, without the address: its query may be secret.
fn failed(error: reqwest::Error, what: &str) -> Failure {
    let class = if error.is_redirect() { Class::Status } else { Class::Connection };
    let text = Error::from(error.without_url()).to_string();
    let advice = match text.contains("UnknownIssuer") {
        true => "; give the authority that its certificate comes from as SCRAPE_TLS_CA_FILE",
        false => "",
    };
    Failure::new(class, format!("{what}: {text}{advice}"))
}

fn authorities(file: &str) -> Result<Vec<Certificate>, Error> {
    let wrong = |error: Error| error.context(format!("SCRAPE_TLS_CA_FILE={file}"));
    let pem = fs::read(file).map_err(|error| wrong(error.into()))?;
    let found = Certificate::from_pem_bundle(&pem).map_err(|error| wrong(error.into()))?;
    if found.is_empty() { Err(wrong(Error::new("holds no certificate in PEM"))) } else { Ok(found) }
}

fn identity(access: &Access) -> Result<Identity, Error> {
    let read = |name: &str, file: &str| fs::read(file).map_err(|e| Error::from(e).context(format!("{name}={file}")));
    let mut pem = read("SCRAPE_TLS_CERT_FILE", &access.cert_file)?;
    pem.push(b'\n');
    pem.extend(read("SCRAPE_TLS_KEY_FILE", &access.key_file)?);
    let both = || format!("SCRAPE_TLS_CERT_FILE={}, SCRAPE_TLS_KEY_FILE={}", access.cert_file, access.key_file);
    Identity::from_pem(&pem).map_err(|error| Error::from(error).context(both()))
}
