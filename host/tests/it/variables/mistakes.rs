//! Bad values, by the real binary: one line each on standard error that names the variable, and exit status 2.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use monitor_host::config::Var;
use monitor_host::config::vars::TABLE;

use super::{SOON, flag, names, pushing_to};
use crate::host::{Host, Running};
use crate::plugins;
use crate::sink::Sink;

const HUGE: &[u8] = b"99999999999999999999999999";
const SECONDS: &[&[u8]] = &[b"abc", b"-1", b"0", b"1e300", HUGE, b"NaN", b"inf", b"1s", b"\xff"];
const OPTIONAL_SECONDS: &[&[u8]] = &[b"abc", b"-1", b"0", b"0.5", b"1e300", HUGE, b"NaN", b"inf", b"1s", b"\xff"];
const POSITIVE: &[&[u8]] = &[b"abc", b"-1", b"0", HUGE, b"NaN", b"1.5", b"\xff"];
const COUNT: &[&[u8]] = &[b"abc", b"-1", HUGE, b"NaN", b"1.5", b"\xff"];
const CHOICE: &[&[u8]] = &[b"abc", b"-1", b"2", HUGE, b"NaN", b"\xff"];

/// Any text may be a path.
const PATH: &[&[u8]] = &[b"\xff"];

/// Longer than any name, label or number may be.
const LONG: &[u8] = &[b'x'; 5000];

/// What each variable refuses.
const BAD: &[(&str, &[&[u8]])] = &[
    // See below for what is no plugin.
    ("MONITOR_IMPL_PATH", PATH),
    ("SCRAPE_INTERVAL_S", SECONDS),
    ("RAW_QUEUE_SIZE", POSITIVE),
    ("PROC_QUEUE_SIZE", POSITIVE),
    ("METRIC_DEFAULT", &[b"a-b", b"-1", b"0", HUGE, b"a b", b"\xc3\xa9", b"\xff", LONG]),
    ("SERVICE_LABEL", &[b"a\nb", b"\x1b[2J", b"\xff", LONG]),
    ("EXTERNAL_LABELS", &[b"abc", b"=1", b"a-b=1", b"__a=b", b"a=1,a=2", b"a=${X", b"a=${NOT_SET}", b"a=\xff"]),
    ("MAX_LABEL_VALUE_BYTES", &[b"abc", b"-1", b"0", b"1048577", HUGE, b"1KiB", b"\xff"]),
    ("MAX_SERIES", POSITIVE),
    ("SERIES_IDLE_S", OPTIONAL_SECONDS),
    ("PLUGIN_ISOLATION", CHOICE),
    ("PLUGIN_MEMORY_MAX", &[b"abc", b"-1", b"0", b"31MiB", b"1GB", HUGE, b"NaN", b"\xff"]),
    ("PLUGIN_RESTART", CHOICE),
    ("PLUGIN_RESTART_MAX", POSITIVE),
    ("PLUGIN_STALL_S", &[b"abc", b"-1", b"0", b"0.05", b"1e300", HUGE, b"NaN", b"inf", b"1s", b"\xff"]),
    ("PUSH_INTERVAL_S", SECONDS),
    ("BATCH_MAX_SAMPLES", POSITIVE),
    ("BATCH_MAX_BYTES", &[b"abc", b"-1", b"0", HUGE, b"NaN", b"1KB", b"\xff"]),
    ("ALLOW_OUT_OF_ORDER", CHOICE),
    ("REMOTE_WRITE_URL", &[b"abc", b"-1", b"0", HUGE, b"NaN", b"h:9090", b"ftp://h/w", b"http://", b"\xff"]),
    ("REMOTE_WRITE_PROTOCOL", &[b"abc", b"1", b"2", b"3.0", b"v2", b"\xff"]),
    ("RETRY_ON_HTTP", &[b"abc", b"-1", b"200", b"503", b"401;403", b"4xx", HUGE, b"\xff"]),
    ("MAX_SAMPLE_AGE_S", OPTIONAL_SECONDS),
    ("REMOTE_WRITE_TIMEOUT_S", SECONDS),
    ("MAX_RETRY_BATCHES", COUNT),
    ("MAX_RETRY_BYTES", COUNT),
    ("DRY_RUN", CHOICE),
    ("SPOOL_DIR", PATH),
    ("SPOOL_MAX_BYTES", &[b"abc", b"-1", b"0", b"1048575", b"1KiB", b"1GB", HUGE, b"NaN", b"\xff"]),
    ("SPOOL_MAX_AGE_S", SECONDS),
    ("SPOOL_FLUSH_S", SECONDS),
    ("SPOOL_FSYNC", CHOICE),
    ("REMOTE_WRITE_USERNAME", &[b"a:b", b"a\x01b", b"\xff"]),
    ("REMOTE_WRITE_PASSWORD", &[b"a\x01b", b"\xff"]),
    ("REMOTE_WRITE_PASSWORD_FILE", PATH),
    ("REMOTE_WRITE_BEARER_TOKEN", &[b"a b", b"\xc3\xa9", b"\xff"]),
    ("REMOTE_WRITE_BEARER_TOKEN_FILE", PATH),
    ("REMOTE_WRITE_HEADERS", &[b"abc", b"=v", b"a b=v", b"\xff"]),
    ("REMOTE_WRITE_HEADERS_FILE", PATH),
    ("TLS_CA_FILE", PATH),
    ("TLS_CERT_FILE", PATH),
    ("TLS_KEY_FILE", PATH),
    ("HTTP_PROXY", &[b"socks5://p:1", b"http://", b"\xff"]),
    ("HTTPS_PROXY", &[b"socks5://p:1", b"http://", b"\xff"]),
    ("NO_PROXY", &[b"\xff"]),
    ("ADMIN_ADDR", &[b"abc", b"-1", b"9464", b":9464", b"localhost:9464", b"127.0.0.1:65536", HUGE, b"\xff"]),
    ("READY_MAX_AGE_S", &[b"abc", b"-1", b"0", b"0.05", b"1e300", HUGE, b"NaN", b"inf", b"1s", b"\xff"]),
    ("SELF_METRICS", CHOICE),
    ("JOB", &[b"a\nb", b"\x1b[2J", b"\xff", LONG]),
    ("INSTANCE", &[b"a\nb", b"\x1b[2J", b"\xff", LONG]),
    ("SHUTDOWN_TIMEOUT_S", SECONDS),
    ("LOG_LEVEL", CHOICE),
    ("LOG_FORMAT", CHOICE),
];

/// Waits for a host that can't use its configuration; returns what it wrote.
#[track_caller]
fn refused(host: &Running) -> Vec<String> {
    let status = host.wait(SOON);
    assert_eq!((status.code(), host.output()), (Some(2), Vec::new()), "{}", host.log_text());
    host.log().into_iter().map(|line| line.text).collect()
}

/// A user without a password, a certificate without its key, a bound of nothing: that the other one is missing is a line of
/// its own.
fn needs_another(var: &Var) -> bool {
    var.group == "Access" || var.name == "PLUGIN_MEMORY_MAX"
}

#[test]
fn a_bad_value_is_one_line_that_names_its_variable() {
    assert_eq!(BAD.iter().map(|(name, _)| *name).collect::<Vec<_>>(), names());
    for ((name, values), var) in BAD.iter().zip(TABLE) {
        for value in *values {
            let lines = refused(&Host::new().env(name, OsStr::from_bytes(value)).spawn());
            let [line, others @ ..] = &lines[..] else { panic!("{name}={value:?}: nothing was said") };
            assert!(others.is_empty() || needs_another(var), "{name}={value:?}: {lines:?}");
            let otherwise = match var.default {
                "" => "or leave it out".to_owned(),
                _ => format!("(default {})", var.default_text()),
            };
            let ends = format!("give {} {otherwise}", var.kind.accepts());
            let told = line.starts_with(&format!("{name}=\"")) && line.ends_with(&ends);
            assert!(told && line.len() < 300 && !line.chars().any(char::is_control), "{name}={value:?}: {line:?}");
        }
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let host = BAD.iter().fold(Host::new(), |host, (name, values)| host.env(name, OsStr::from_bytes(values[0])));
    let lines = refused(&host.spawn());
    let told: Vec<&str> = lines.iter().filter_map(|line| line.split('=').next()).collect();
    // Behind them stands what excludes each other.
    assert_eq!(told[..names().len()], names());
}

#[test]
fn a_bad_flag_is_told_rather_than_a_good_variable() {
    for ((name, values), var) in BAD.iter().zip(TABLE).filter(|(_, var)| !var.secret) {
        let mut argument = OsString::from(format!("{}=", flag(var)));
        argument.push(OsStr::from_bytes(values[0]));
        let lines = refused(&Host::new().env(name, var.default).arg(argument).spawn());
        let [line, others @ ..] = &lines[..] else { panic!("{name}: nothing was said") };
        assert!(others.is_empty() || needs_another(var), "{name}: {lines:?}");
        assert!(line.starts_with(&flag(var)) && line.contains(&format!("({name})")), "{line}");
    }
}

#[test]
fn what_is_no_plugin_is_told_in_one_line() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let sink = Sink::start();
    for (path, says) in [
        ("/nonexistent/libmonitor_impl.so", "MONITOR_IMPL_PATH"),
        (env!("CARGO_MANIFEST_DIR"), "MONITOR_IMPL_PATH"),
        (manifest, "not a shared library but text"),
        (env!("CARGO_BIN_EXE_monitor-host"), "not a shared library but a program"),
    ] {
        let host = pushing_to(&sink).env("MONITOR_IMPL_PATH", path).spawn();
        assert_eq!(host.wait(SOON).code(), Some(3), "{path}");
        let log = host.log();
        let [line] = &log[..] else { panic!("{path}: {}", host.log_text()) };
        assert!(
            line.level() == "ERROR" && line.message().starts_with(path) && line.message().contains(says),
            "{line:?}"
        );
    }
}

#[test]
fn a_plugins_own_bad_variable_is_named() {
    let sink = Sink::start();
    for (name, values) in [
        ("DUMMY_SERIES", &["abc", "-1", "0", "99999999999999999999", "NaN"]),
        ("DUMMY_FORM", &["abc", "-1", "0", "9", "NaN"]),
    ] {
        for value in values {
            let host = pushing_to(&sink).env("MONITOR_IMPL_PATH", plugins::so("monitor-dummy"));
            let host = host.env(name, value).env("LOG_LEVEL", "ERROR").spawn();
            assert_eq!(host.wait(SOON).code(), Some(3), "{name}={value}");
            let log = host.log();
            let [line] = &log[..] else { panic!("{name}={value}: {}", host.log_text()) };
            assert!(line.message().contains(&format!("{name}={value:?}")), "{line:?}");
        }
    }
}
