//! What is answered to a request.
//!
//! Enters: a GET or a HEAD. Leaves: the status page and what it is made of, health, metrics; or in one line why not.
//!
//! The page and its data are for who opens it here, not for pages of others: a browser may neither frame it nor run anything
//! in it but its own script, and sites of others get no data of it. Where only this machine can reach the address, a name in the `Host`
//! header is one that somebody else's server of names points here (DNS rebinding): the page and its data are refused under it.
//! Where the operator has opened the address to a network, names are what he reaches it by, and any is taken.
//!
//! Never: reads a body; takes a query beyond [`seen::MAX_QUERY`]; waits for a stage of the path.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use monitor_plugin_api::now_ms;
use serde::Serialize;

use super::search::Wanted;
use super::status::Status;
use super::{Page, ready, seen};
use crate::log;
use crate::metrics::exposition::{self, Format};

const PATHS: &str = "monitor-host: / (the status page), /live, /ready, /metrics";

const TEXT: &str = "text/plain; charset=utf-8";

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// What belongs to the page.
const PARTS: [(&str, &str, &[u8]); 8] = [
    ("/", "text/html; charset=utf-8", include_bytes!("page/index.html")),
    ("/style.css", "text/css; charset=utf-8", include_bytes!("page/style.css")),
    ("/script.js", SCRIPT, include_bytes!("page/script.js")),
    ("/text.js", SCRIPT, include_bytes!("page/text.js")),
    ("/path.js", SCRIPT, include_bytes!("page/path.js")),
    ("/series.js", SCRIPT, include_bytes!("page/series.js")),
    ("/chart.js", SCRIPT, include_bytes!("page/chart.js")),
    ("/icon.svg", "image/svg+xml", include_bytes!("page/icon.svg")),
];

/// What the page may do: load its own parts, ask for its data.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// What anything else may do.
const NO_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Answers.
pub(super) async fn answer<B>(request: &Request<B>, page: &Page) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
        answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    let path = request.uri().path();
    match path {
        "/live" => text(StatusCode::OK, "alive"),
        "/ready" => match page.observer.get().map(|observer| ready::line(&observer.facts(), page.known.max_age)) {
            Some(Ok(line)) => text(StatusCode::OK, &line),
            Some(Err(line)) => text(StatusCode::SERVICE_UNAVAILABLE, &line),
            None => text(StatusCode::SERVICE_UNAVAILABLE, "not ready: the plugin is being made"),
        },
        "/metrics" if !page.known.shows_metrics => {
            text(StatusCode::NOT_FOUND, "SELF_METRICS says that the metrics are not shown here")
        }
        "/metrics" => match page.observer.get() {
            Some(observer) => {
                let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
                let format = Format::accepted(accept.unwrap_or_default());
                respond(StatusCode::OK, format.content_type(), exposition::encode(format, observer.facts()))
            }
            None => text(StatusCode::SERVICE_UNAVAILABLE, "the plugin is being made"),
        },
        _ => of_page(path, request.uri().query().unwrap_or_default(), request.headers(), page).await,
    }
}

async fn of_page(path: &str, query: &str, headers: &HeaderMap, page: &Page) -> Response<Full<Bytes>> {
    if page.is_local && !is_this_machine(headers) {
        return text(
            StatusCode::MISDIRECTED_REQUEST,
            "the status page is served to this machine alone: ask for it as localhost or by its address \
             (ADMIN_ADDR on another address takes any name)",
        );
    }
    if let Some((_, content_type, part)) = PARTS.iter().find(|(name, ..)| *name == path) {
        let mut response = respond(StatusCode::OK, content_type, Bytes::from_static(part));
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
        return response;
    }
    if !matches!(path, "/status.json" | "/series.json" | "/history.json") {
        return text(StatusCode::NOT_FOUND, PATHS);
    }
    if headers.get(FETCH_SITE).is_some_and(|site| site == "cross-site") {
        return text(StatusCode::FORBIDDEN, "these are the status page's data, not another site's");
    }
    if query.len() > seen::MAX_QUERY {
        return text(StatusCode::URI_TOO_LONG, "the query is too long");
    }
    let observer = page.observer.get();
    match (path, observer) {
        ("/status.json", _) => {
            let facts = observer.map(|observer| observer.facts());
            json(&Status::of(facts.as_ref(), &page.known, log::troubles(), now_ms()))
        }
        (_, None) => text(StatusCode::SERVICE_UNAVAILABLE, "the plugin is being made"),
        ("/series.json", Some(observer)) => json(&page.search.find(&Wanted::parse(query), &observer.table).await),
        (_, Some(observer)) => match seen::ids(query) {
            Some(ids) => {
                let history = observer.processed.history();
                let answer = json(&seen::look(&ids, history, &observer.table, now_ms()));
                page.looked.notify_one();
                answer
            }
            None => text(StatusCode::BAD_REQUEST, "give id=NUMBER or id=NUMBER:MILLISECONDS, at most 64 times"),
        },
    }
}

/// Whether the `Host` header names this machine as nobody else can: by an address, or as localhost. Who sends none is no browser.
fn is_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let host = host.to_str().unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    address.parse::<std::net::IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost")
}

fn json(value: &impl Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_vec(value) {
        Ok(body) => respond(StatusCode::OK, "application/json", body),
        // Numbers and texts in memory can be written.
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn text(status: StatusCode, line: &str) -> Response<Full<Bytes>> {
    respond(status, TEXT, format!("{line}\n"))
}

fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    for (name, value) in [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::CONTENT_SECURITY_POLICY, NO_POLICY),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_localhost_are_this_machine() {
        let is_here = |host: &'static str| {
            is_this_machine(&HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]))
        };
        for host in ["127.0.0.1:9464", "127.0.0.1", "[::1]:9464", "[::1]", "localhost", "LocalHost:9464", "10.0.0.1:1"]
        {
            assert!(is_here(host), "{host}");
        }
        let others =
            ["evil.example:9464", "localhost.evil.example", "127.0.0.1.evil.example", "", ":9464", "x@127.0.0.1"];
        for host in others {
            assert!(!is_here(host), "{host}");
        }
        assert!(is_this_machine(&HeaderMap::new()));
    }

    #[test]
    fn the_page_is_small_and_whole() {
        let all: usize = PARTS.iter().map(|(_, _, part)| part.len()).sum();
        assert!(all < 60 << 10, "{all} bytes");
        let html = String::from_utf8_lossy(PARTS[0].2);
        // Relative, so that a proxy may serve it below a path of its own.
        for part in ["\"style.css\"", "\"script.js\"", "\"icon.svg\""] {
            assert!(html.contains(part), "{part}");
        }
        for outside in ["http:", "https:", "//", "style=", "onclick"] {
            assert!(!html.contains(outside), "{outside}");
        }
        for (name, _, script) in PARTS.iter().filter(|(_, kind, _)| *kind == SCRIPT) {
            let script = String::from_utf8_lossy(script);
            for sink in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"] {
                assert!(!script.contains(sink), "{name}, {sink}: labels and words of others are only ever text");
            }
        }
    }
}
