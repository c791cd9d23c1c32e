//! Getting in: TLS, credentials, headers and proxies, as a receiver sees them; and no secret in the log.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use signal_hook::consts::SIGTERM;

use crate::host::{Host, Running};
use crate::plugins;

pub(crate) mod authority;
pub(crate) mod front;

use self::authority::Authority;
use self::front::{Front, TAKEN};

const TIMEOUT: Duration = Duration::from_secs(20);

/// The variables whose effect the tests here show.
pub(crate) const SHOWN: &[&str] = &[
    "REMOTE_WRITE_USERNAME",
    "REMOTE_WRITE_PASSWORD",
    "REMOTE_WRITE_PASSWORD_FILE",
    "REMOTE_WRITE_BEARER_TOKEN",
    "REMOTE_WRITE_BEARER_TOKEN_FILE",
    "REMOTE_WRITE_HEADERS",
    "REMOTE_WRITE_HEADERS_FILE",
    "TLS_CA_FILE",
    "TLS_CERT_FILE",
    "TLS_KEY_FILE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
];

/// A host that pushes to `url` five times a second and logs all that it can.
fn host(url: &str) -> Host {
    Host::new()
        .env("MONITOR_IMPL_PATH", plugins::so("monitor-dummy"))
        .env("PUSH_INTERVAL_S", "0.2")
        .env("SHUTDOWN_TIMEOUT_S", "1")
        .env("LOG_LEVEL", "TRACE")
        .env("REMOTE_WRITE_PROTOCOL", "1.0")
        .env("REMOTE_WRITE_URL", url)
}

/// Ends a host, whose log and output must hold none of these.
#[track_caller]
fn end(running: &Running, secrets: &[&str]) {
    running.signal(SIGTERM);
    running.wait(TIMEOUT);
    let said = running.log_text() + &running.output().join("\n");
    for secret in secrets {
        assert!(!said.contains(secret), "{secret} in the log:\n{said}");
    }
}

#[track_caller]
fn wait_for_words(running: &Running, level: &str, words: &str) {
    running.wait_for_log(|line| line.level() == level && line.message().contains(words), TIMEOUT);
}

fn replace(path: &Path, content: &str) {
    let new = path.with_extension("new");
    fs::write(&new, content).unwrap();
    fs::rename(new, path).unwrap();
}

#[test]
fn a_private_authority_is_believed_only_when_it_is_named_and_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let (system, named) = (dir.path().join("system.pem"), dir.path().join("ca.pem"));
    other.write(&system);
    other.write(&named);
    let front = Front::receiver(Some(Authority::server(&ours.sign("localhost"), None)));
    let host = || host(&front.url("https://localhost")).env("SSL_CERT_FILE", &system);

    let without = host().spawn();
    wait_for_words(&without, "WARNING", "give that authority's certificate as TLS_CA_FILE");
    let with_other = host().env("TLS_CA_FILE", &named).spawn();
    wait_for_words(&with_other, "WARNING", "TLS_CA_FILE");
    assert_eq!(front.count(), 0, "a receiver that is not believed hears nothing");
    ours.write(&named);
    assert!(front.wait(|_| true).line.starts_with("POST /api/v1/write "));
    end(&with_other, &[]);
    end(&without, &[]);

    let with = host().env("TLS_CA_FILE", &named).spawn();
    wait_for_words(&with, "INFO", "the first batch is delivered");
    end(&with, &[]);
    with.ledger().assert_balanced();
}

#[test]
fn a_certificate_of_another_name_or_time_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, named) = (Authority::new("ours"), dir.path().join("ca.pem"));
    ours.write(&named);
    let told = |signed, words| {
        let front = Front::receiver(Some(Authority::server(&signed, None)));
        let running = host(&front.url("https://localhost")).env("TLS_CA_FILE", &named).spawn();
        wait_for_words(&running, "WARNING", words);
        end(&running, &[]);
        assert_eq!(front.count(), 0);
    };
    told(ours.sign("receiver.test"), "for other names: use one of those in REMOTE_WRITE_URL");
    told(ours.sign_until("localhost", 2020), "has expired");
    let plain = Front::receiver(None);
    let running = host(&plain.url("https://localhost")).env("TLS_CA_FILE", &named).spawn();
    wait_for_words(&running, "WARNING", "speaks no TLS");
}

#[test]
fn a_client_certificate_is_shown_when_it_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, clients) = (Authority::new("ours"), Authority::new("clients"));
    let named = dir.path().join("ca.pem");
    ours.write(&named);
    let (certificate, key) = clients.sign("client").write(dir.path());
    let front = Front::receiver(Some(Authority::server(&ours.sign("localhost"), Some(&clients))));
    let host = || host(&front.url("https://localhost")).env("TLS_CA_FILE", &named);

    let without = host().spawn();
    wait_for_words(&without, "WARNING", "look at TLS_CERT_FILE and TLS_KEY_FILE");
    assert_eq!(front.count(), 0);
    let with = host().env("TLS_CERT_FILE", &certificate).env("TLS_KEY_FILE", &key).spawn();
    front.wait(|_| true);
    let key = fs::read_to_string(&key).unwrap();
    end(&with, &[key.lines().nth(1).unwrap()]);
}

#[test]
fn files_that_can_not_be_used_end_the_start_with_2() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, clients) = (Authority::new("ours"), Authority::new("clients"));
    let (certificate, _) = ours.sign("client").write(dir.path());
    let other = tempfile::tempdir().unwrap();
    let (_, key) = clients.sign("client").write(other.path());
    let missing = dir.path().join("missing.pem");
    let https = || host("https://localhost:1/");

    let running = https().env("TLS_CA_FILE", &missing).env("REMOTE_WRITE_PASSWORD_FILE", &certificate);
    let running = running.env("REMOTE_WRITE_USERNAME", "me").spawn();
    assert_eq!(running.wait(TIMEOUT).code(), Some(2));
    wait_for_words(&running, "ERROR", &format!("TLS_CA_FILE={missing:?}: can't be read"));
    wait_for_words(
        &running,
        "ERROR",
        &format!("REMOTE_WRITE_PASSWORD_FILE={certificate:?}: holds a control character"),
    );

    let running = https().env("TLS_CERT_FILE", &certificate).env("TLS_KEY_FILE", &key).spawn();
    assert_eq!(running.wait(TIMEOUT).code(), Some(2));
    wait_for_words(&running, "ERROR", &format!("TLS_KEY_FILE={key:?}: holds the key of another certificate"));

    let running = https().env("SSL_CERT_FILE", &missing).env("SSL_CERT_DIR", &missing).spawn();
    assert_eq!(running.wait(TIMEOUT).code(), Some(2));
    wait_for_words(&running, "ERROR", "give TLS_CA_FILE, or install the system's certificates");
}

#[test]
fn a_user_and_a_password_arrive() {
    let front = Front::receiver(None);
    // "me:pass-word" in base64.
    let (password, encoded) = ("pass-word", "bWU6cGFzcy13b3Jk");
    let by_variables = host(&front.url("http://localhost"));
    let by_variables = by_variables.env("REMOTE_WRITE_USERNAME", "me").env("REMOTE_WRITE_PASSWORD", password).spawn();
    let heard = front.wait(|_| true);
    assert_eq!(heard.all("authorization"), [format!("Basic {encoded}")]);
    end(&by_variables, &[password, encoded]);
    assert!(!by_variables.log_text().contains("unencrypted"), "nobody else hears it");

    let by_url = host(&front.url("http://me:pass%2Dword@localhost")).spawn();
    let heard = front.wait_after(front.count(), |_| true);
    assert_eq!(heard.all("authorization"), [format!("Basic {encoded}")]);
    assert_eq!(heard.all("host"), [front.address.to_string().replace("127.0.0.1", "localhost")]);
    end(&by_url, &[password, "pass%2Dword", encoded]);
}

#[test]
fn a_token_that_is_rotated_is_used_from_the_next_request_on() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    fs::write(&token, "first-token\n").unwrap();
    let front = Front::receiver(None);
    let running = host(&front.url("http://localhost")).env("REMOTE_WRITE_BEARER_TOKEN_FILE", &token).spawn();
    front.wait(|heard| heard.all("authorization") == ["Bearer first-token"]);

    replace(&token, "other-token");
    front.wait(|heard| heard.all("authorization") == ["Bearer other-token"]);
    fs::remove_file(&token).unwrap();
    wait_for_words(&running, "WARNING", "REMOTE_WRITE_BEARER_TOKEN_FILE");
    let heard = front.wait_after(front.count(), |_| true);
    assert_eq!(heard.all("authorization"), ["Bearer other-token"]);
    fs::write(&token, "third-token").unwrap();
    front.wait(|heard| heard.all("authorization") == ["Bearer third-token"]);

    end(&running, &["first-token", "other-token", "third-token"]);
    let warnings = running.log().iter().filter(|line| line.message().contains("can't be read")).count();
    assert_eq!(warnings, 1, "{}", running.log_text());
}

#[test]
fn custom_headers_arrive_and_reserved_ones_are_refused() {
    let front = Front::receiver(None);
    let running = host(&front.url("http://localhost"));
    let running = running.env("REMOTE_WRITE_HEADERS", "X-Scope-OrgID=team-seven,X-Api-Key=a%2Cb").spawn();
    let heard = front.wait(|_| true);
    assert_eq!((heard.all("x-scope-orgid"), heard.all("x-api-key")), (vec!["team-seven"], vec!["a,b"]));
    assert_eq!(heard.all("content-encoding"), ["snappy"]);
    end(&running, &["team-seven", "a%2Cb", "a,b"]);

    let refused = host(&front.url("http://localhost")).env("REMOTE_WRITE_HEADERS", "Content-Type=s3cret").spawn();
    assert_eq!(refused.wait(TIMEOUT).code(), Some(2));
    assert!(refused.log_text().contains("content-type") && !refused.log_text().contains("s3cret"));
}

#[test]
fn headers_come_from_a_file_too() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("headers");
    fs::write(&file, "X-Scope-OrgID=team-seven\nX-Api-Key=first-key\n").unwrap();
    let front = Front::receiver(None);
    let running = host(&front.url("http://localhost")).env("REMOTE_WRITE_HEADERS_FILE", &file).spawn();
    front.wait(|heard| heard.all("x-scope-orgid") == ["team-seven"] && heard.all("x-api-key") == ["first-key"]);
    replace(&file, "X-Api-Key=other-key");
    front.wait(|heard| heard.all("x-scope-orgid").is_empty() && heard.all("x-api-key") == ["other-key"]);
    end(&running, &["first-key", "other-key"]);
}

#[test]
fn a_host_that_is_excluded_is_asked_without_the_proxy() {
    let proxy = Front::proxy(None);
    let address = format!("http://{}", proxy.address);
    let running = host("http://receiver.invalid:9090/w").env("HTTP_PROXY", &address).env("NO_PROXY", "invalid").spawn();
    wait_for_words(&running, "WARNING", "a push failed and will be tried again");
    end(&running, &[]);
    assert_eq!(proxy.count(), 0);
}

#[test]
fn requests_take_the_proxy() {
    let proxy = Front::proxy(None);
    let address = format!("http://proxy-user:proxy-pass@{}", proxy.address);
    let running = host("http://me:pass-word@receiver.invalid:9090/w?q=query-token").env("http_proxy", &address).spawn();
    let heard = proxy.wait(|_| true);
    assert_eq!(heard.line, "POST http://receiver.invalid:9090/w?q=query-token HTTP/1.1");
    // "proxy-user:proxy-pass" in base64.
    assert_eq!(heard.all("proxy-authorization"), ["Basic cHJveHktdXNlcjpwcm94eS1wYXNz"]);
    assert_eq!(heard.all("authorization"), ["Basic bWU6cGFzcy13b3Jk"]);
    wait_for_words(&running, "WARNING", "credentials are sent unencrypted");
    end(&running, &["pass-word", "query-token", "proxy-pass", "cHJveHk", "bWU6"]);

    // Excluded, this machine's own receiver is asked itself.
    let front = Front::receiver(None);
    let direct = host(&front.url("http://localhost")).env("HTTP_PROXY", &address).spawn();
    front.wait(|_| true);
    end(&direct, &["proxy-pass"]);
}

#[test]
fn tls_goes_through_a_proxy() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, named) = (Authority::new("ours"), dir.path().join("ca.pem"));
    ours.write(&named);
    let front = Front::receiver(Some(Authority::server(&ours.sign("receiver.invalid"), None)));
    let proxy = Front::proxy(Some(front.address));
    let running = host("https://receiver.invalid/w").env("TLS_CA_FILE", &named);
    let running = running.env("HTTPS_PROXY", format!("me:proxy-pass@{}", proxy.address));
    let running = running.env("REMOTE_WRITE_BEARER_TOKEN", "the-token").spawn();
    assert_eq!(front.wait(|_| true).all("authorization"), ["Bearer the-token"]);
    let asked = proxy.wait(|_| true);
    assert_eq!(asked.line, "CONNECT receiver.invalid:443 HTTP/1.1");
    // "me:proxy-pass" in base64.
    assert_eq!(asked.all("proxy-authorization"), ["Basic bWU6cHJveHktcGFzcw=="]);
    assert_eq!(asked.all("authorization"), [""; 0], "the proxy gets no token");
    end(&running, &["the-token", "proxy-pass", "bWU6"]);
}

#[test]
fn no_secret_is_logged_whatever_the_receiver_repeats_and_wherever_it_sends() {
    let elsewhere = Front::receiver(None);
    let address = elsewhere.address;
    let asked = AtomicUsize::new(0);
    let front = Front::answering(move |heard| {
        let all = format!("{heard:?} pass-word");
        let length = all.len();
        match asked.fetch_add(1, Ordering::SeqCst) % 4 {
            0 => format!("HTTP/1.1 401 Unauthorized\r\nContent-Length: {length}\r\n\r\n{all}"),
            1 => format!(
                "HTTP/1.1 307 Elsewhere\r\nLocation: http://{address}/?q=query-token\r\nContent-Length: 0\r\n\r\n"
            ),
            2 => "nonsense pass-word query-token\r\n\r\n".to_owned(),
            _ => TAKEN.to_owned(),
        }
    });
    let running = host(&front.url("http://me:pass-word@localhost").replace("/write", "/write?q=query-token"));
    let running = running.env("REMOTE_WRITE_HEADERS", "X-Api-Key=header-key").spawn();
    wait_for_words(&running, "ERROR", "HTTP 401");
    wait_for_words(&running, "ERROR", "redirected to");
    wait_for_words(&running, "INFO", "takes samples again");
    end(&running, &["pass-word", "query-token", "header-key", "bWU6cGFzcy13b3Jk"]);
    assert_eq!(elsewhere.count(), 0, "credentials and headers are for one host");
    running.ledger().assert_balanced();
}
