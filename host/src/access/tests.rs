//! What is sent, by configuration.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::*;
use crate::cli::{self, Action};

fn access(env: &[(&str, &str)]) -> Result<Access, Refused> {
    let env: BTreeMap<&str, &str> = env.iter().copied().collect();
    let Ok(Action::Run(flags)) = cli::parse(["monitor-host"]) else {
        panic!("no flags");
    };
    Access::new(&Config::load(&flags, |name| env.get(name).map(OsString::from)).unwrap())
}

fn headers(access: &Access) -> HeaderMap {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = access.client(reqwest::Client::builder()).build().unwrap();
    let request = access.authorize(client.post("http://h/").header("user-agent", "ours")).build().unwrap();
    request.headers().clone()
}

#[test]
fn credentials_come_from_the_url_the_variables_or_both() {
    let authorization = |env: &[(&str, &str)]| {
        let headers = headers(&access(env).unwrap());
        headers.get_all(AUTHORIZATION).iter().map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // "user:pass/" in base64.
    let basic = ["Basic dXNlcjpwYXNzLw=="];
    assert_eq!(authorization(&[]), [""; 0]);
    assert_eq!(authorization(&[("REMOTE_WRITE_URL", "http://user:pass%2f@h/")]), basic);
    assert_eq!(authorization(&[("REMOTE_WRITE_USERNAME", "user"), ("REMOTE_WRITE_PASSWORD", "pass/")]), basic);
    assert_eq!(authorization(&[("REMOTE_WRITE_URL", "http://user@h/"), ("REMOTE_WRITE_PASSWORD", "pass/")]), basic);
    assert_eq!(authorization(&[("REMOTE_WRITE_BEARER_TOKEN", "abc")]), ["Bearer abc"]);
    assert_eq!(authorization(&[("REMOTE_WRITE_HEADERS", "authorization=ApiKey k")]), ["ApiKey k"]);
}

#[test]
fn custom_headers_are_added_and_none_is_shown() {
    let access =
        access(&[("REMOTE_WRITE_HEADERS", "X-Scope-OrgID=team-a"), ("HTTP_PROXY", "u:secret-pw@p:1")]).unwrap();
    let headers = headers(&access);
    assert_eq!(
        (headers["x-scope-orgid"].to_str().unwrap(), &headers["user-agent"]),
        ("team-a", &"ours".parse().unwrap())
    );
    let shown = format!("{access:?} {headers:?}");
    assert!(!shown.contains("team-a") && !shown.contains("secret-pw"), "{shown}");
    assert!(access.is_for_one_host());
}

#[test]
fn words_that_repeat_a_secret_are_scrubbed() {
    let access = access(&[
        ("REMOTE_WRITE_URL", "http://user@h/?token=query%2Dtoken"),
        ("REMOTE_WRITE_PASSWORD", "pass-word"),
        ("REMOTE_WRITE_HEADERS", "X-Key=key-123,X-Tenant=1"),
    ])
    .unwrap();
    let words = "1: pass-word dXNlcjpwYXNzLXdvcmQ= key-123 query%2Dtoken query-token";
    assert_eq!(access.scrub(words, false), "1: *** *** *** *** ***");
}

#[test]
fn secrets_are_scrubbed_whatever_the_words_did_to_them() {
    let access = access(&[
        ("REMOTE_WRITE_USERNAME", "user"),
        ("REMOTE_WRITE_PASSWORD", "pass  word\u{e9}-x"),
        ("REMOTE_WRITE_HEADERS", "X-Key=pass  word%C3%A9-x-and-more"),
    ])
    .unwrap();
    // On one line, its white space is not what it was.
    assert_eq!(access.scrub("a pass \n word\u{e9}-x b", false), "a *** b");
    // One secret holds the other.
    assert_eq!(access.scrub("pass  word\u{e9}-x-and-more", false), "***");
    // Where the words break off, a secret may have begun; in the middle of a character too.
    for words in
        ["a p", "a pass", "a pass ", "a pass word\u{fffd}", "a pass  word\u{e9}", "a pass word\u{e9}-x-and-mor"]
    {
        assert_eq!(access.scrub(words, true), "a ***", "{words}");
    }
    // Both the end of one and the beginning of another.
    assert_eq!(access.scrub("pass word\u{e9}-x-and-morepass", true), "******");
    assert_eq!(access.scrub("a pass", false), "a pass");
    assert_eq!(access.scrub("nothing", true), "nothing");
}

#[test]
fn every_file_that_is_wrong_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str, content: &str| {
        std::fs::write(dir.path().join(name), content).unwrap();
        dir.path().join(name).to_str().unwrap().to_owned()
    };
    let refused = access(&[
        ("REMOTE_WRITE_BEARER_TOKEN_FILE", &path("token", "Bearer s3cret\n")),
        ("REMOTE_WRITE_HEADERS_FILE", &path("headers", "A=1\nAuthorization=s3cret\n")),
        ("TLS_CA_FILE", "/nowhere/ca.pem"),
        ("TLS_CERT_FILE", &path("cert", "s3cret")),
        ("TLS_KEY_FILE", &path("key", "")),
    ])
    .unwrap_err();
    let starts: Vec<_> = refused.lines().iter().map(|line| line.split('=').next().unwrap()).collect();
    assert_eq!(starts, ["REMOTE_WRITE_BEARER_TOKEN_FILE", "TLS_CA_FILE", "TLS_CERT_FILE"]);
    assert!(refused.lines()[1].contains("/nowhere/ca.pem\": can't be read"), "{refused}");
    assert!(!refused.to_string().contains("s3cret"), "{refused}");

    let refused = access(&[
        ("REMOTE_WRITE_BEARER_TOKEN", "t"),
        ("REMOTE_WRITE_HEADERS_FILE", &path("headers", "A=1\nAuthorization=s3cret\n")),
    ]);
    assert!(refused.unwrap_err().to_string().contains("sets authorization"));
    let headers = headers(&access(&[("REMOTE_WRITE_HEADERS_FILE", &path("headers", "A=1\nB = 2\n\n"))]).unwrap());
    assert_eq!((&headers["a"], &headers["b"]), (&"1".parse().unwrap(), &"2".parse().unwrap()));
}

#[test]
fn this_machine_is_asked_without_a_proxy() {
    for (url, by_proxy) in [
        ("http://h/", true),
        ("https://h/", false),
        ("http://localhost:9090/", false),
        ("http://a.localhost/", false),
        ("http://127.1.2.3/", false),
        ("http://[::1]/", false),
        ("http://[::ffff:127.0.0.1]/", false),
        ("http://128.0.0.1/", true),
    ] {
        let access = access(&[("REMOTE_WRITE_URL", url), ("http_proxy", "p:3128")]).unwrap();
        assert_eq!(access.route.is_some(), by_proxy, "{url}");
    }
}
