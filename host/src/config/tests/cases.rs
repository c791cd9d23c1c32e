//! What each variable does and what each refuses, as data.

use crate::config::{Config, Secret};

/// Good texts and the look of the field that each sets; bad texts.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) field: fn(&Config) -> String,
    pub(super) good: &'static [(&'static str, &'static str)],
    pub(super) bad: &'static [&'static str],
}

const NOT_SECONDS: &[&str] = &["abc", "-1", "0", "-0", "1e9", "1e999", "NaN", "inf", "-inf", "4s", "1,5", "0x10"];
const NOT_POSITIVE: &[&str] = &["abc", "-1", "0", "1.5", "1e3", "99999999999999999999999", "NaN", "inf", "1_000"];
const NOT_COUNT: &[&str] = &["abc", "-1", "1.5", "1e3", "99999999999999999999999", "NaN", "inf"];
/// Longer than any text may be.
const LONG: &str = match std::str::from_utf8(&[b'a'; 4096]) {
    Ok(text) => text,
    Err(_) => "",
};

/// Longer than a request's head may be.
const LONGEST: &str = match std::str::from_utf8(&[b'a'; 20_000]) {
    Ok(text) => text,
    Err(_) => "",
};
const PATHS: &[(&str, &str)] = &[("/run/x", "Some(\"/run/x\")"), (" rel/x ", "Some(\"rel/x\")")];

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "MONITOR_IMPL_PATH",
            field: |c| format!("{:?}", c.monitor_impl_path),
            good: &[("/opt/x.so", "Some(\"/opt/x.so\")"), (" rel/x.so ", "Some(\"rel/x.so\")")],
            bad: &["a\0b"],
        },
        Case {
            name: "SCRAPE_INTERVAL_S",
            field: |c| format!("{:?}", c.scrape_interval),
            good: &[("0.25", "250ms"), ("1e-3", "1ms"), ("86400", "86400s"), (" 2 ", "2s"), (".5", "500ms")],
            bad: NOT_SECONDS,
        },
        Case {
            name: "RAW_QUEUE_SIZE",
            field: |c| c.raw_queue_size.to_string(),
            good: &[("1", "1"), ("5000", "5000")],
            bad: NOT_POSITIVE,
        },
        Case {
            name: "PROC_QUEUE_SIZE",
            field: |c| c.proc_queue_size.to_string(),
            good: &[("1", "1"), ("5000", "5000")],
            bad: NOT_POSITIVE,
        },
        Case {
            name: "METRIC_DEFAULT",
            field: |c| c.metric_default.clone(),
            good: &[("a", "a"), ("ns:power_9", "ns:power_9"), ("_x", "_x")],
            bad: &["9a", "-1", "0", "a-b", "a b", "é", "a{b=\"c\"}", LONG],
        },
        Case {
            name: "SERVICE_LABEL",
            field: |c| c.service_label.clone(),
            good: &[("my service", "my service"), (" é ", "é"), ("0", "0")],
            bad: &["a\nb", "a\0b", LONG],
        },
        Case {
            name: "PUSH_INTERVAL_S",
            field: |c| format!("{:?}", c.push_interval),
            good: &[("0.1", "100ms"), ("15", "15s")],
            bad: NOT_SECONDS,
        },
        Case {
            name: "BATCH_MAX_SAMPLES",
            field: |c| c.batch_max_samples.to_string(),
            good: &[("1", "1"), ("1000000", "1000000")],
            bad: NOT_POSITIVE,
        },
        Case {
            name: "BATCH_MAX_BYTES",
            field: |c| c.batch_max_bytes.to_string(),
            good: &[("1024", "1024"), ("2MiB", "2097152"), ("3 kib", "3072"), ("1GiB", "1073741824")],
            bad: &["abc", "-1", "0", "1023", "1KB", "1.5MiB", "MiB", "2GiB", "99999999999999999GiB", "NaN", "inf"],
        },
        Case {
            name: "ALLOW_OUT_OF_ORDER",
            field: |c| c.allow_out_of_order.to_string(),
            good: &[("1", "true"), ("0", "false"), ("True", "true"), ("no", "false")],
            bad: &["abc", "-1", "2", "NaN", "99999999999999999999999", LONG],
        },
        Case {
            name: "REMOTE_WRITE_PROTOCOL",
            field: |c| format!("{:?}", c.remote_write_protocol),
            good: &[("auto", "Auto"), ("1.0", "Only(V1)"), ("2.0", "Only(V2)")],
            bad: &["abc", "-1", "0", "NaN", "1", "3.0", LONG],
        },
        Case {
            name: "REMOTE_WRITE_URL",
            field: |c| c.remote_write_url.url().to_string(),
            good: &[
                ("https://h/w", "https://h/w"),
                ("http://u:p@[::1]:9/w?k=v", "http://u:p@[::1]:9/w?k=v"),
                ("HTTP://H", "http://h/"),
            ],
            bad: &[
                "abc",
                "-1",
                "0",
                "NaN",
                "h:9090/w",
                "ftp://h/w",
                "http://",
                "http:///w",
                "http:h/w",
                "http://h:0/w",
                "http://h:99999/w",
                "http://h /w",
                "http://h/w#f",
                "/api/v1/write",
                "file:///w",
            ],
        },
        Case {
            name: "REMOTE_WRITE_TIMEOUT_S",
            field: |c| format!("{:?}", c.remote_write_timeout),
            good: &[("0.5", "500ms"), ("60", "60s")],
            bad: NOT_SECONDS,
        },
        Case {
            name: "MAX_RETRY_BATCHES",
            field: |c| c.max_retry_batches.to_string(),
            good: &[("0", "0"), ("2", "2"), ("+3", "3")],
            bad: NOT_COUNT,
        },
        Case {
            name: "MAX_RETRY_BYTES",
            field: |c| c.max_retry_bytes.to_string(),
            good: &[("0", "0"), ("100", "100"), ("1gib", "1073741824")],
            bad: NOT_COUNT,
        },
        Case {
            name: "REMOTE_WRITE_USERNAME",
            field: |c| format!("{:?}", c.remote_write_username),
            good: &[("me", "Some(\"me\")"), (" müller@x ", "Some(\"müller@x\")")],
            bad: &["a:b", "a\nb", "a\0b", LONGEST],
        },
        Case {
            name: "REMOTE_WRITE_PASSWORD",
            field: |c| format!("{:?}", c.remote_write_password.as_ref().map(Secret::expose)),
            good: &[("p:w d", "Some(\"p:w d\")"), ("é", "Some(\"é\")")],
            bad: &["a\nb", "a\0b", LONGEST],
        },
        Case {
            name: "REMOTE_WRITE_PASSWORD_FILE",
            field: |c| format!("{:?}", c.remote_write_password_file),
            good: PATHS,
            bad: &["a\0b"],
        },
        Case {
            name: "REMOTE_WRITE_BEARER_TOKEN",
            field: |c| format!("{:?}", c.remote_write_bearer_token.as_ref().map(Secret::expose)),
            good: &[("eyJ.a-b_c~/+=", "Some(\"eyJ.a-b_c~/+=\")")],
            bad: &["Bearer abc", "a\nb", "a\0b", "é", LONGEST],
        },
        Case {
            name: "REMOTE_WRITE_BEARER_TOKEN_FILE",
            field: |c| format!("{:?}", c.remote_write_bearer_token_file),
            good: PATHS,
            bad: &["a\0b"],
        },
        Case {
            name: "REMOTE_WRITE_HEADERS",
            field: |c| {
                let pairs = c.remote_write_headers.iter();
                pairs.map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect::<Vec<_>>().join(" ")
            },
            good: &[("X-Scope-OrgID=a", "x-scope-orgid=a"), ("A=1, b = x=%2C%25,", "a=1 b=x=,%")],
            bad: &["abc", "-1", "a b=1", "=1", "a=%", "a=%0a", "a=1,A=2", "Host=h", "user-agent=x", "Te=x", LONGEST],
        },
        Case {
            name: "REMOTE_WRITE_HEADERS_FILE",
            field: |c| format!("{:?}", c.remote_write_headers_file),
            good: PATHS,
            bad: &["a\0b"],
        },
        Case { name: "TLS_CA_FILE", field: |c| format!("{:?}", c.tls_ca_file), good: PATHS, bad: &["a\0b"] },
        Case { name: "TLS_CERT_FILE", field: |c| format!("{:?}", c.tls_cert_file), good: PATHS, bad: &["a\0b"] },
        Case { name: "TLS_KEY_FILE", field: |c| format!("{:?}", c.tls_key_file), good: PATHS, bad: &["a\0b"] },
        Case {
            name: "HTTP_PROXY",
            field: |c| c.http_proxy.as_ref().map(|url| url.url().to_string()).unwrap_or_default(),
            good: &[
                ("http://u:p@h:3128", "http://u:p@h:3128/"),
                ("h:3128", "http://h:3128/"),
                ("https://h", "https://h/"),
            ],
            bad: &["socks5://h:1", "http://", "h:0", "h:99999", "a b"],
        },
        Case {
            name: "HTTPS_PROXY",
            field: |c| c.https_proxy.as_ref().map(|url| url.url().to_string()).unwrap_or_default(),
            good: &[
                ("http://u:p@h:3128", "http://u:p@h:3128/"),
                ("h:3128", "http://h:3128/"),
                ("https://h", "https://h/"),
            ],
            bad: &["socks5://h:1", "http://", "h:0", "h:99999", "a b"],
        },
        Case {
            name: "NO_PROXY",
            field: |c| c.no_proxy.clone(),
            good: &[("*", "*"), ("a.example, 10.0.0.0/8", "a.example, 10.0.0.0/8")],
            bad: &["a\nb", "a\0b", LONGEST],
        },
        Case {
            name: "ADMIN_ADDR",
            field: |c| format!("{:?}", c.admin_addr),
            good: &[("off", "None"), ("OFF", "None"), ("0.0.0.0:1", "Some(0.0.0.0:1)"), (" [::1]:0 ", "Some([::1]:0)")],
            bad: &[
                "abc",
                "-1",
                "0",
                "9464",
                ":9464",
                "127.0.0.1",
                "localhost:9464",
                "127.0.0.1:65536",
                "::1:80x",
                LONG,
            ],
        },
        Case {
            name: "READY_MAX_AGE_S",
            field: |c| format!("{:?}", c.ready_max_age),
            good: &[("90", "Some(90s)"), ("0.1", "Some(100ms)")],
            bad: NOT_SECONDS,
        },
        Case {
            name: "SELF_METRICS",
            field: |c| format!("{:?}", c.self_metrics),
            good: &[("off", "Off"), ("Admin", "Admin"), ("push", "Push"), ("both", "Both")],
            bad: &["abc", "-1", "0", "1", "NaN", "admin,push", LONG],
        },
        Case {
            name: "JOB",
            field: |c| c.job.clone(),
            good: &[("power", "power"), (" a b ", "a b")],
            bad: &["a\nb", "a\0b", LONG],
        },
        Case {
            name: "INSTANCE",
            field: |c| c.instance.clone(),
            good: &[("rack-7:1", "rack-7:1"), ("é", "é")],
            bad: &["a\nb", "a\0b", LONG],
        },
        Case {
            name: "SHUTDOWN_TIMEOUT_S",
            field: |c| format!("{:?}", c.shutdown_timeout),
            good: &[("25", "25s")],
            bad: NOT_SECONDS,
        },
        Case {
            name: "LOG_LEVEL",
            field: |c| format!("{:?}", c.log_level),
            good: &[
                ("DEBUG", "Debug"),
                ("info", "Info"),
                ("WARNING", "Warning"),
                ("Warn", "Warning"),
                ("ERROR", "Error"),
                ("CRITICAL", "Error"),
                ("trace", "Trace"),
            ],
            bad: &["abc", "-1", "0", "10", "NaN", "INFO,DEBUG", LONG],
        },
        Case {
            name: "LOG_FORMAT",
            field: |c| format!("{:?}", c.log_format),
            good: &[("json", "Json"), ("HUMAN", "Human"), ("auto", "Auto")],
            bad: &["abc", "-1", "0", "NaN", "yaml", LONG],
        },
        Case {
            name: "EXTERNAL_LABELS",
            field: |c| format!("{:?}", c.external_labels),
            good: &[("a=b, c = d", r#"[("a", "b"), ("c", "d")]"#)],
            bad: &["abc", "-1", "0", "NaN", "__a=b", "a=1,a=2", "9=1", "a=${X", "a=${X_UNSET}"],
        },
        Case {
            name: "MAX_LABEL_VALUE_BYTES",
            field: |c| c.max_label_value_bytes.to_string(),
            good: &[("2048", "2048")],
            bad: &["abc", "-1", "0", "NaN", "1048577", LONG],
        },
        Case {
            name: "MAX_SERIES",
            field: |c| c.max_series.to_string(),
            good: &[("1", "1")],
            bad: &["abc", "-1", "0", "NaN", "10000001", LONG],
        },
        Case {
            name: "SERIES_IDLE_S",
            field: |c| format!("{:?}", c.series_idle),
            good: &[("300", "Some(300s)")],
            bad: &["abc", "-1", "0", "NaN", "1e9", LONG],
        },
        Case {
            name: "PLUGIN_ISOLATION",
            field: |c| format!("{:?}", c.plugin_isolation),
            good: &[("off", "Off"), ("Process", "Process")],
            bad: &["abc", "-1", "0", "1", "NaN", "thread", LONG],
        },
        Case {
            name: "PLUGIN_MEMORY_MAX",
            field: |c| format!("{:?}", c.plugin_memory_max),
            good: &[("32MiB", "Some(33554432)"), ("2 gib", "Some(2147483648)")],
            bad: &["abc", "-1", "0", "NaN", "31MiB", "1GB", LONG],
        },
        Case {
            name: "PLUGIN_RESTART",
            field: |c| format!("{:?}", c.plugin_restart),
            good: &[("never", "Never"), ("on-failure", "OnFailure"), ("ALWAYS", "Always")],
            bad: &["abc", "-1", "0", "1", "NaN", "on_failure", LONG],
        },
        Case {
            name: "PLUGIN_RESTART_MAX",
            field: |c| c.plugin_restart_max.to_string(),
            good: &[("1", "1"), ("1000000", "1000000")],
            bad: NOT_POSITIVE,
        },
        Case {
            name: "PLUGIN_STALL_S",
            field: |c| format!("{:?}", c.plugin_stall),
            good: &[("0.5", "Some(500ms)")],
            bad: &["abc", "-1", "0", "NaN", "1e9", LONG],
        },
        Case {
            name: "RETRY_ON_HTTP",
            field: |c| format!("{:?}", c.retry_on_http),
            good: &[("401, 403", "[401, 403]")],
            bad: &["abc", "-1", "0", "NaN", "200", "500", LONG],
        },
        Case {
            name: "MAX_SAMPLE_AGE_S",
            field: |c| format!("{:?}", c.max_sample_age),
            good: &[("3600", "Some(3600s)")],
            bad: &["abc", "-1", "0", "NaN", "1e9", LONG],
        },
        Case {
            name: "DRY_RUN",
            field: |c| c.dry_run.to_string(),
            good: &[("1", "true"), ("0", "false")],
            bad: &["abc", "-1", "NaN", "2", LONG],
        },
        Case {
            name: "SPOOL_DIR",
            field: |c| format!("{:?}", c.spool_dir),
            good: &[("/var/spool/x", r#"Some("/var/spool/x")"#)],
            bad: &["a\0b"],
        },
        Case {
            name: "SPOOL_MAX_BYTES",
            field: |c| c.spool_max_bytes.to_string(),
            good: &[("2MiB", "2097152")],
            bad: &["abc", "-1", "0", "NaN", "1", LONG],
        },
        Case {
            name: "SPOOL_MAX_AGE_S",
            field: |c| format!("{:?}", c.spool_max_age),
            good: &[("3600", "3600s")],
            bad: &["abc", "-1", "0", "NaN", "1e12", LONG],
        },
        Case {
            name: "SPOOL_FLUSH_S",
            field: |c| format!("{:?}", c.spool_flush),
            good: &[("0.5", "500ms")],
            bad: &["abc", "-1", "0", "NaN", "1e9", LONG],
        },
        Case {
            name: "SPOOL_FSYNC",
            field: |c| c.spool_fsync.to_string(),
            good: &[("1", "true"), ("0", "false")],
            bad: &["abc", "-1", "NaN", "2", LONG],
        },
    ]
}
