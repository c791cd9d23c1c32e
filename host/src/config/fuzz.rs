//! Fuzzes the configuration: lines of `NAME=value` as the environment.
//!
//! Promises: a configuration, or mistakes of one short line each; no secret in either; what is taken is within its rules.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::LazyLock;

use super::vars::TABLE;
use super::*;
use crate::cli::{self, Action};
use crate::fuzz::{Target, assert_is_a_line, bytes};
use crate::labels::is_label_name;

/// Stands in values that must not be shown. No escape of a control character ends as it begins.
const SECRET: &str = "Kw3zub4dor";

/// Environment variables.
pub static SETTINGS: Target = Target {
    name: "settings",
    run: settings,
    seeds: || {
        bytes([
            "REMOTE_WRITE_URL=https://user:Kw3zub4dor@host:9090/api/v1/write?token=Kw3zub4dor\nPUSH_INTERVAL_S=0.5",
            "REMOTE_WRITE_URL=http://[::1]:80/#f\nSCRAPE_INTERVAL_S=1e-3\nREMOTE_WRITE_TIMEOUT_S=inf",
            "REMOTE_WRITE_URL=http://user:12/Kw3zub4dor@host/#\nBATCH_MAX_BYTES=2GiB\nDRY_RUN=1",
            "EXTERNAL_LABELS=site=berlin,host=${HOSTNAME}-${SITE},c=\nHOSTNAME=h1\nSITE=x${HOSTNAME}}",
            "REMOTE_WRITE_HEADERS=X-Scope-OrgID=Kw3zub4dor%2Cb, x-key=a=b\nREMOTE_WRITE_USERNAME=u\nREMOTE_WRITE_PASSWORD=p",
            "RETRY_ON_HTTP=401,403,\nMAX_RETRY_BYTES=64 MiB\nSPOOL_MAX_BYTES=1gib\nMAX_RETRY_BATCHES=-1",
            "HTTP_PROXY=user:Kw3zub4dor@proxy:3128\nhttps_proxy=https://Kw3zub4dor@p\nNO_PROXY=*,10.0.0.0/8",
            "LOG_LEVEL=warn\nLOG_FORMAT=Json\nSPOOL_FSYNC=yes\nREMOTE_WRITE_PROTOCOL=auto\nMETRIC_DEFAULT=a:b_1",
            "MAX_SAMPLE_AGE_S=1e300\nSERIES_IDLE_S=NaN\nSHUTDOWN_TIMEOUT_S= 8 \nRAW_QUEUE_SIZE=0x10\nPROC_QUEUE_SIZE=+5",
            "REMOTE_WRITE_BEARER_TOKEN=Kw3zub4dor\nTLS_CERT_FILE=/c.pem\nMONITOR_IMPL_PATH=\u{fffd}\nSERVICE_LABEL=\u{1b}[2J",
        ])
    },
    words: || {
        let mut words: Vec<_> = TABLE.iter().map(|var| format!("\n{}=", var.name).into_bytes()).collect();
        words.extend(bytes([
            "${", "}", "HOSTNAME", "http://", "https://", "//", "@", "?", "#", "%2C", "KiB", "e308", "nan",
        ]));
        words.push(SECRET.into());
        words
    },
};

static FLAGS: LazyLock<clap::ArgMatches> = LazyLock::new(|| match cli::parse(["monitor-host"]) {
    Ok(Action::Run(flags)) => flags,
    _ => unreachable!("no flags are no mistake"),
});

fn settings(input: &[u8]) {
    let (mut env, mut plain) = (BTreeMap::new(), true);
    for line in input.split(|byte| *byte == b'\n') {
        let Some(equals) = line.iter().position(|byte| *byte == b'=') else { continue };
        let (Ok(name), value) = (std::str::from_utf8(&line[..equals]), &line[equals + 1..]) else { continue };
        // What a real environment can't hold either.
        let value: Vec<u8> = value.iter().copied().filter(|byte| *byte != 0).collect();
        // In a host, other bytes come to be the secret's: escaped, full width, or with a tab between them.
        plain &= !is_url(name) || value.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'%');
        env.insert(name, guarded(name, value));
    }
    match Config::load(&FLAGS, |name| env.get(name).map(|value| OsStr::from_bytes(value).to_owned())) {
        Err(mistakes) => {
            assert!(!mistakes.lines().is_empty());
            for line in mistakes.lines() {
                assert_is_a_line(line, 2048);
                assert!(!plain || !holds_secret(line), "a secret is shown: {line}");
            }
        }
        Ok(config) => {
            let shown = format!("{config:?} {}", config.url_for_log());
            assert!(!plain || !holds_secret(&shown), "a secret is shown: {shown}");
            taken(&config);
        }
    }
}

fn is_url(name: &str) -> bool {
    ["REMOTE_WRITE_URL", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"].contains(&name)
}

/// The value, without SECRET where it may be shown.
fn guarded(name: &str, mut value: Vec<u8>) -> Vec<u8> {
    let var = TABLE.iter().find(|var| var.name == name || var.also.contains(&name));
    let is_hidden: fn(&[u8], &[u8]) -> bool = match name {
        // The credentials of a URL, or its query.
        _ if is_url(name) => |before, rest| before.contains(&b'?') || before.contains(&b':') && rest.contains(&b'@'),
        // The name of a header is none.
        "REMOTE_WRITE_HEADERS" => {
            |before, _| before.split(|byte| *byte == b',').next_back().is_some_and(|pair| pair.contains(&b'='))
        }
        _ if var.is_some_and(|var| var.secret) => |_, _| true,
        _ => |_, _| false,
    };
    while let Some(at) = position(&value, SECRET.as_bytes()) {
        let (before, rest) = value.split_at(at);
        if is_hidden(before, rest) && position(&rest[1..], SECRET.as_bytes()).is_none() {
            return value;
        }
        value[at] = b'*';
    }
    value
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window.eq_ignore_ascii_case(wanted))
}

fn holds_secret(text: &str) -> bool {
    position(text.as_bytes(), SECRET.as_bytes()).is_some()
}

fn taken(config: &Config) {
    assert_is_a_line(&config.url_for_log(), 1 << 16);
    let url = config.remote_write_url.url();
    assert!(matches!(url.scheme(), "http" | "https") && url.has_host() && url.fragment().is_none(), "{url}");
    assert!(config.remote_write_url.without_credentials().password().is_none());
    for (name, _) in &config.external_labels {
        assert!(is_label_name(name) && !name.starts_with("__"), "{name:?}");
        assert_eq!(config.external_labels.iter().filter(|(other, _)| other == name).count(), 1, "{name:?}");
    }
    for reserved in ["host", "content-length", "content-encoding", "transfer-encoding", "retry-attempt"] {
        assert!(!config.remote_write_headers.contains_key(reserved), "{reserved}");
    }
    assert!(config.retry_on_http.iter().all(|status| (300..500).contains(status)));
    assert!(!config.push_interval.is_zero() && !config.scrape_interval.is_zero());
    assert!(crate::labels::is_metric_name(&config.metric_default), "{:?}", config.metric_default);
}
