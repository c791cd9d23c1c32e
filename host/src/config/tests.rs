//! The table, tested by the table: what each variable does, what each refuses, and what the mistakes say.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::cases::cases;
use super::vars::TABLE;
use super::*;
use crate::cli::{self, Action};
use crate::generated;
use crate::log::{Format, Level};

mod cases;

fn load(args: &[&str], env: &[(&str, &str)]) -> Result<Config, Mistakes> {
    let flags = match cli::parse([&["monitor-host"], args].concat()) {
        Ok(Action::Run(flags)) => flags,
        other => panic!("{args:?}: {other:?}"),
    };
    let env: BTreeMap<&str, &str> = env.iter().copied().collect();
    Config::load(&flags, |name| env.get(name).map(OsString::from))
}

fn mistakes(args: &[&str], env: &[(&str, &str)]) -> Vec<String> {
    match load(args, env) {
        Ok(config) => panic!("{args:?} {env:?}: {config:?}"),
        Err(mistakes) => mistakes.lines().to_vec(),
    }
}

#[test]
fn every_variable_has_a_case() {
    let cases: BTreeSet<&str> = cases().iter().map(|case| case.name).collect();
    let table: BTreeSet<&str> = TABLE.iter().map(|var| var.name).collect();
    assert_eq!(cases, table);
    assert_eq!(table.len(), TABLE.len());
}

#[test]
fn the_defaults_are_these() {
    let c = load(&[], &[]).unwrap();
    assert_eq!(c.remote_write_url.url().as_str(), "http://prometheus:9090/api/v1/write");
    assert_eq!(c.scrape_interval, Duration::from_millis(100));
    assert_eq!(c.push_interval, Duration::from_secs(4));
    assert_eq!(c.max_retry_batches, 900);
    assert_eq!(c.max_retry_bytes, 64 << 20);
    assert_eq!(c.raw_queue_size.get(), 1000);
    assert_eq!(c.proc_queue_size.get(), 1000);
    assert_eq!(c.log_level, Level::Info);
    assert_eq!(c.log_format, Format::Auto);
    assert_eq!(c.service_label, "monitor");
    assert_eq!(c.metric_default, "pyjoules_remote_write_energy_uj");
    assert_eq!(c.monitor_impl_path, None);
    assert_eq!(c.remote_write_timeout, Duration::from_secs(10));
    assert_eq!(c.batch_max_samples.get(), 10_000);
    assert_eq!(c.batch_max_bytes, 1 << 20);
    assert!(!c.allow_out_of_order);
    assert_eq!(c.shutdown_timeout, Duration::from_secs(8));
    assert!(c.admin_addr.is_some_and(|address| address.ip().is_loopback()), "nobody else's to read");
}

#[test]
fn what_is_not_heeded_is_unset() {
    let Ok(Action::Run(flags)) = cli::parse(["monitor-host", "--push-interval-s", "7"]) else { panic!("no flags") };
    let env = |name: &str| match name {
        "SCRAPE_INTERVAL_S" => Some("5".into()),
        "EXTERNAL_LABELS" => Some("a=${REMOTE_WRITE_USERNAME}".into()),
        // Wrong, and at odds with each other.
        "REMOTE_WRITE_URL" | "REMOTE_WRITE_USERNAME" | "TLS_KEY_FILE" | "BATCH_MAX_BYTES" => Some("x".into()),
        _ => None,
    };
    let c = Config::load_only(&[&vars::SCRAPE_INTERVAL_S, &vars::EXTERNAL_LABELS], &flags, env).unwrap();
    assert_eq!((c.scrape_interval.as_secs(), c.push_interval.as_secs(), c.tls_key_file), (5, 4, None));
    // A variable of that name is there all the same.
    assert_eq!(c.external_labels, [("a".to_owned(), "x".to_owned())]);
    assert!(Config::load(&flags, env).is_err());
}

/// What a variable needs beside it.
fn with(name: &str) -> Option<(&'static str, &'static str)> {
    match name {
        "REMOTE_WRITE_USERNAME" => Some(("REMOTE_WRITE_PASSWORD", "pw")),
        "REMOTE_WRITE_PASSWORD" | "REMOTE_WRITE_PASSWORD_FILE" => Some(("REMOTE_WRITE_USERNAME", "user")),
        "TLS_CERT_FILE" => Some(("TLS_KEY_FILE", "key.pem")),
        "TLS_KEY_FILE" => Some(("TLS_CERT_FILE", "cert.pem")),
        "PLUGIN_MEMORY_MAX" => Some(("PLUGIN_ISOLATION", "process")),
        _ => None,
    }
}

fn load_with(name: &str, text: &str) -> Result<Config, Mistakes> {
    load(&[], &with(name).into_iter().chain([(name, text)]).collect::<Vec<_>>())
}

#[test]
fn a_good_value_sets_its_field_by_variable_and_by_flag() {
    for case in cases() {
        for (text, shown) in case.good {
            let by_env = load_with(case.name, text).unwrap();
            assert_eq!((case.field)(&by_env), *shown, "{}={text:?}", case.name);
            if TABLE.iter().any(|var| var.name == case.name && var.secret) {
                continue;
            }
            let flag = format!("--{}", table::kebab(case.name));
            let by_flag = load(&[&flag, text], &with(case.name).into_iter().collect::<Vec<_>>()).unwrap();
            assert_eq!((case.field)(&by_flag), *shown, "{flag} {text:?}");
        }
        let default = (case.field)(&load(&[], &[]).unwrap());
        assert!(case.good.iter().any(|(_, shown)| *shown != default), "{}: no effect shown", case.name);
    }
}

#[test]
fn a_bad_value_is_one_line_that_names_its_variable() {
    for case in cases() {
        for text in case.bad {
            let lines = load_with(case.name, text).unwrap_err().lines().to_vec();
            assert_eq!(lines.len(), 1, "{lines:?}");
            assert!(lines[0].starts_with(&format!("{}=\"", case.name)), "{}", lines[0]);
            assert!(lines[0].contains("; give "), "{}", lines[0]);
            assert!(!lines[0].contains('\n') && lines[0].len() < 400, "{}", lines[0]);
        }
    }
}

#[test]
fn empty_and_blank_are_unset() {
    for var in TABLE {
        let field = cases().into_iter().find(|case| case.name == var.name).unwrap().field;
        let default = field(&load(&[], &[]).unwrap());
        for text in ["", " ", "\t\n"] {
            assert_eq!(field(&load(&[], &[(var.name, text)]).unwrap()), default, "{}", var.name);
            if var.secret {
                continue;
            }
            let flag = format!("--{}={text}", var.flag.as_str());
            assert_eq!(field(&load(&[&flag], &[]).unwrap()), default, "{flag}");
        }
    }
}

#[test]
fn not_utf_8_is_a_mistake_of_any_variable() {
    for var in TABLE {
        let Ok(Action::Run(flags)) = cli::parse(["monitor-host"]) else {
            panic!("no flags");
        };
        let env = |name: &str| match name == var.name {
            true => Some(OsString::from_vec(b"a\xffb".into())),
            false => with(var.name).filter(|(other, _)| *other == name).map(|(_, text)| text.into()),
        };
        let mistakes = Config::load(&flags, env).unwrap_err();
        assert_eq!(mistakes.lines().len(), 1);
        let shown = if var.secret { "***" } else { "a\u{fffd}b" };
        let start = format!("{}={shown:?}: not valid UTF-8; give ", var.name);
        assert!(mistakes.lines()[0].starts_with(&start), "{mistakes}");
    }
}

#[test]
fn mistakes_say_what_is_wrong_and_what_to_give() {
    assert_eq!(
        mistakes(
            &["--raw-queue-size", "-1"],
            &[
                ("PUSH_INTERVAL_S", "abc"),
                ("RAW_QUEUE_SIZE", "5"),
                ("MAX_RETRY_BATCHES", "99999999999999999999"),
                ("MONITOR_IMPL_PATH", "\0"),
                ("LOG_LEVEL", "loud"),
            ]
        ),
        [
            "MONITOR_IMPL_PATH=\"\\0\": holds a NUL byte; give the path of a file or leave it out",
            "--raw-queue-size \"-1\" (RAW_QUEUE_SIZE): too small; give a whole number from 1 to 1000000 \
             (default 1000 items)",
            "PUSH_INTERVAL_S=\"abc\": not a number of seconds; give a number from 0.1 to 86400 (default 4 s)",
            "MAX_RETRY_BATCHES=\"99999999999999999999\": too large; give a whole number from 0 to 1000000 \
             (default 900 batches)",
            "LOG_LEVEL=\"loud\": not a known name; give one of TRACE, DEBUG, INFO, WARNING, WARN, ERROR, CRITICAL \
             (default INFO)",
        ]
    );
}

#[test]
fn a_flag_beats_the_environment_unless_it_is_empty() {
    let env = &[("PUSH_INTERVAL_S", "7")];
    let push = |args: &[&str]| load(args, env).unwrap().push_interval.as_secs();
    assert_eq!(push(&["--push-interval-s", "2"]), 2);
    assert_eq!(push(&["--push-interval-s", ""]), 7);
    // What is not used is not judged.
    assert!(load(&["--push-interval-s", "2"], &[("PUSH_INTERVAL_S", "abc")]).is_ok());
}

#[test]
fn credentials_and_queries_are_never_shown() {
    let shown = |text: &str| load(&[], &[("REMOTE_WRITE_URL", text)]).unwrap().url_for_log();
    assert_eq!(shown("https://u:pw@h:8/w?token=pw"), "https://h:8/w?***");
    assert_eq!(shown("http://h/w"), "http://h/w");
    assert_eq!(shown("http://u:9/pw@h/w"), "http://***");
    for text in [
        "http://u:pw@h/w#f",
        "ftp://u:pw@h/w",
        "u:pw@h/w",
        "http://u:pw/x@h/#f",
        "http://u:9?pw@h#f",
        "http://u:pw @h/w",
        "https://h?token=pw#f",
    ] {
        let lines = mistakes(&[], &[("REMOTE_WRITE_URL", text)]).concat();
        assert!(!lines.contains("pw"), "{text}: {lines}");
    }
    let config = load(&[], &[("REMOTE_WRITE_URL", "http://u:pw@h/?token=pw")]).unwrap();
    assert!(!format!("{config:?}").contains("pw"), "{config:?}");
}

#[test]
fn what_does_not_go_together_is_told_with_all_other_mistakes() {
    let lines = |env: &[(&str, &str)]| mistakes(&[], env);
    let one = |env: &[(&str, &str)], words: &[&str]| {
        let lines = lines(env);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(words.iter().all(|word| lines[0].contains(word)) && !lines[0].contains("pw"), "{}", lines[0]);
    };
    let (url, user, password) = ("REMOTE_WRITE_URL", "REMOTE_WRITE_USERNAME", "REMOTE_WRITE_PASSWORD");
    let (token, file) = ("REMOTE_WRITE_BEARER_TOKEN", "REMOTE_WRITE_BEARER_TOKEN_FILE");
    one(&[(token, "pw"), (file, "/f")], &[token, file]);
    one(&[(user, "u"), (password, "pw"), ("REMOTE_WRITE_PASSWORD_FILE", "/f")], &[password, "_FILE"]);
    one(&[("REMOTE_WRITE_HEADERS", "A=pw"), ("REMOTE_WRITE_HEADERS_FILE", "/f")], &["_HEADERS_FILE"]);
    one(&[(user, "u"), (password, "pw"), (file, "/f")], &[user, file]);
    one(&[(user, "u")], &[user, password]);
    one(&[(password, "pw")], &[user, password]);
    one(&[(url, "http://u:pw@h/"), (token, "pw")], &[url, token]);
    one(&[(url, "http://u:pw@h/"), (password, "pw")], &[url, password]);
    one(&[("REMOTE_WRITE_HEADERS", "Authorization=pw"), (token, "pw")], &["REMOTE_WRITE_HEADERS", token]);
    one(&[("REMOTE_WRITE_HEADERS", "A=1,Content-Type=pw")], &["REMOTE_WRITE_HEADERS=\"***\"", "content-type"]);
    one(&[("TLS_CERT_FILE", "/f")], &["TLS_CERT_FILE", "TLS_KEY_FILE"]);
    one(&[("TLS_KEY_FILE", "/f")], &["TLS_CERT_FILE", "TLS_KEY_FILE"]);
    one(&[("PLUGIN_MEMORY_MAX", "1GiB")], &["PLUGIN_MEMORY_MAX", "PLUGIN_ISOLATION=process"]);
    one(&[("PLUGIN_MEMORY_MAX", "1GiB"), ("PLUGIN_ISOLATION", "OFF")], &["PLUGIN_MEMORY_MAX"]);
    assert_eq!(lines(&[(token, "pw"), (file, "/f"), (user, "u"), ("PUSH_INTERVAL_S", "abc")]).len(), 4);

    assert!(load(&[], &[(url, "http://u@h/"), (password, "pw")]).is_ok());
}

#[test]
fn a_plugin_s_process_is_told_no_secret() {
    let withheld: Vec<_> = secrets().collect();
    assert_eq!(
        withheld,
        ["REMOTE_WRITE_URL", "REMOTE_WRITE_PASSWORD", "REMOTE_WRITE_BEARER_TOKEN", "REMOTE_WRITE_HEADERS"]
    );
}

#[test]
fn a_proxy_s_variable_may_be_in_lower_case() {
    let proxy = |env: &[(&str, &str)]| load(&[], env).unwrap().http_proxy.map(|url| url.url().to_string());
    assert_eq!(proxy(&[("http_proxy", "lower:1")]).as_deref(), Some("http://lower:1/"));
    assert_eq!(proxy(&[("HTTP_PROXY", "upper:1"), ("http_proxy", "lower:1")]).as_deref(), Some("http://upper:1/"));
    assert_eq!(proxy(&[("HTTP_PROXY", " "), ("http_proxy", "lower:1")]).as_deref(), Some("http://lower:1/"));
    let lines = mistakes(&[], &[("http_proxy", "socks5://u:pw@h:1")]);
    assert!(lines[0].starts_with("http_proxy=\"***\": neither http:// nor https://"), "{lines:?}");
}

/// In a table of its own, so that a secret and a value beside it are all that there is.
#[expect(unreachable_pub, reason = "the real table is public, and both come from one macro")]
mod secrets {
    use super::*;
    use crate::config::kind::{MetricName, Seconds};

    settings! {
        ["Test"]
        HIDDEN {
            field: hidden: String,
            kind: MetricName,
            default: "",
            unit: "",
            help: "h",
            why: "w",
            secret: true,
        }
        OPEN_S {
            field: open: Duration,
            kind: Seconds { min: 1.0, max: 2.0 },
            default: "1",
            unit: "s",
            help: "h",
            why: "w",
        }
    }

    #[test]
    fn a_secret_has_no_flag_and_its_value_is_not_shown() {
        let names: Vec<String> = flags(TABLE).map(|arg| arg.get_id().to_string()).collect();
        assert_eq!(names, ["OPEN_S"]);

        let flags = clap::Command::new("x").args(flags(TABLE)).get_matches_from(["x"]);
        let hidden = |name: &str| (name == "HIDDEN").then(|| "9pw".into());
        let mut reader = Reader { heeded: TABLE, flags: &flags, env: &hidden, mistakes: Vec::new(), shown: Vec::new() };
        assert!(Config::read(&mut reader).is_none());
        assert_eq!(reader.mistakes.len(), 1);
        assert!(reader.mistakes[0].starts_with("HIDDEN=\"***\": "), "{:?}", reader.mistakes);

        reader.env = &|name| (name == "HIDDEN").then(|| "good".into());
        let config = Config::read(&mut reader).unwrap();
        assert_eq!((config.hidden.as_str(), config.open), ("good", Duration::from_secs(1)));
        assert!(config.shown.iter().any(|shown| shown.name == "HIDDEN" && shown.is_hidden && shown.value.is_none()));
    }
}

#[test]
fn the_plugin_is_the_one_given_else_the_one_beside_the_binary_else_the_dummy() {
    let dir = Path::new("/opt/monitor");
    let found = |explicit: Option<&str>, there: bool| {
        let chosen =
            plugin_path(explicit.map(PathBuf::from), dir, |path| there && path == dir.join("libmonitor_impl.so"));
        (chosen.path.display().to_string(), chosen.is_dummy)
    };
    assert_eq!(found(Some("/x.so"), true), ("/x.so".into(), false));
    assert_eq!(found(Some("/x.so"), false), ("/x.so".into(), false));
    assert_eq!(found(None, true), ("/opt/monitor/libmonitor_impl.so".into(), false));
    assert_eq!(found(None, false), ("/opt/monitor/libmonitor_dummy.so".into(), true));
}

#[test]
fn no_color_counts_unless_it_is_empty() {
    assert!(colour_allowed(|_| None));
    assert!(colour_allowed(|_| Some("".into())));
    assert!(!colour_allowed(|name| (name == "NO_COLOR").then(|| "0".into())));
}

/// `UPDATE_GENERATED=1` writes both anew.
#[test]
fn the_references_are_generated_from_the_table() {
    generated::holds("docs/configuration.md", "host/src/config/vars.rs", &reference());
    generated::holds("deploy/.env.example", "host/src/config/vars.rs", &example());
}

/// Every variable as a line that is commented out, below a line that says what it does.
fn example() -> String {
    let mut file = String::new();
    let mut group = "";
    for var in TABLE {
        if var.group != group {
            group = var.group;
            file += &format!("\n## {group}\n");
        }
        let unit = if var.unit.is_empty() { String::new() } else { format!(" ({})", var.unit) };
        let unset = if var.default.is_empty() { " Unset by default." } else { "" };
        file += &format!("\n# {}{unit}{unset}\n# {}={}\n", var.help, var.name, var.default);
    }
    file + "\n"
}

fn reference() -> String {
    let cell = |text: &str| text.replace('|', "\\|").replace('<', "&lt;");
    let mut page = String::new();
    let mut group = "";
    for var in TABLE {
        if var.group != group {
            group = var.group;
            page += &format!(
                "\n### {group}\n\n| Variable | Flag | Default | Accepts | What it does | Why that default |\n\
                 |---|---|---|---|---|---|\n"
            );
        }
        let flag = match var.secret {
            true => "none: a secret".to_owned(),
            false => format!("`--{}`", var.flag.as_str()),
        };
        let default = match var.default {
            "" => "unset".to_owned(),
            default => format!("`{default}` {}", var.unit).trim_end().to_owned(),
        };
        page += &format!(
            "| `{}` | {flag} | {default} | {} | {} | {} |\n",
            var.name,
            cell(&var.kind.accepts()),
            cell(var.help),
            cell(var.why),
        );
    }
    page + "\n"
}

#[test]
fn external_labels_take_variables() {
    let env = [
        ("EXTERNAL_LABELS", "host=${HOSTNAME}, where=${SITE}-${ROOM}x"),
        ("HOSTNAME", "h1"),
        ("SITE", "b"),
        ("ROOM", "7"),
    ];
    let labels = load(&[], &env).unwrap().external_labels;
    assert_eq!(labels, [("host".to_owned(), "h1".to_owned()), ("where".to_owned(), "b-7x".to_owned())]);
    let wrong = mistakes(&[], &env[..1]);
    assert_eq!(wrong.len(), 1);
    assert!(wrong[0].contains("EXTERNAL_LABELS") && wrong[0].contains("not set"), "{wrong:?}");
}

#[test]
fn no_secret_becomes_a_label() {
    let hidden =
        ["REMOTE_WRITE_BEARER_TOKEN", "REMOTE_WRITE_HEADERS", "REMOTE_WRITE_URL", "HTTPS_PROXY", "https_proxy"];
    for name in hidden {
        let value = if name.ends_with("HEADERS") { "A=s3cret" } else { "http://s3cret" };
        let wrong = mistakes(&[], &[("EXTERNAL_LABELS", &format!("a=${{{name}}}")), (name, value)]);
        assert_eq!(wrong.len(), 1, "{name}: {wrong:?}");
        assert!(wrong[0].contains("may hold a secret") && !wrong[0].contains("s3cret"), "{wrong:?}");
    }
    // The path of a secret's file is none.
    let env = [
        ("EXTERNAL_LABELS", "a=${REMOTE_WRITE_PASSWORD_FILE}"),
        ("REMOTE_WRITE_PASSWORD_FILE", "/f"),
        ("REMOTE_WRITE_USERNAME", "u"),
    ];
    assert_eq!(load(&[], &env).unwrap().external_labels[0].1, "/f");
}
