//! Where a value comes from: the flag, else the variable unless it is empty, else the default; and where one reads of it.

use std::time::Duration;

use monitor_host::config::vars::TABLE;

use super::{SOON, flag, installed, pushing_to, stop};
use crate::host::{Host, Line};
use crate::plugins;
use crate::sink::Sink;

fn is_running(line: &Line) -> bool {
    line.message().starts_with("running")
}

#[test]
fn a_flag_beats_the_variable() {
    // The dummy's library, because the default of its variable is no path.
    let plugin = plugins::so("monitor-dummy").to_str().expect("a path in UTF-8");
    let spool = tempfile::tempdir().expect("a folder");
    let mut host = Host::new().arg("run");
    // Files and secrets exclude each other and have to exist; access.rs is about them.
    for var in TABLE.iter().filter(|var| var.group != "Access") {
        let good = match var.name {
            "MONITOR_IMPL_PATH" => plugin,
            "EXTERNAL_LABELS" => "a=b",
            "SERIES_IDLE_S" | "MAX_SAMPLE_AGE_S" | "PLUGIN_STALL_S" | "READY_MAX_AGE_S" => "60",
            "ADMIN_ADDR" => "127.0.0.1:0",
            "JOB" | "INSTANCE" => "a name",
            "PLUGIN_ISOLATION" => "process",
            "PLUGIN_MEMORY_MAX" => "1GiB",
            "RETRY_ON_HTTP" => "401",
            "SPOOL_DIR" => spool.path().to_str().expect("a path in UTF-8"),
            _ => var.default,
        };
        // Wrong for every kind of value but a path and a label.
        host = host.env(var.name, "a-b/\u{1}").arg(flag(var)).arg(good);
    }
    host.spawn().wait_for_log(is_running, SOON);
}

#[test]
fn an_empty_flag_leaves_the_variable_in_force() {
    let sink = Sink::start();
    let host = pushing_to(&sink).env("PUSH_INTERVAL_S", "0.5").arg("--push-interval-s").arg(" ").spawn();
    let line = host.wait_for_log(is_running, SOON);
    assert_eq!(line.json["push_interval_s"], 0.5);
}

#[test]
fn what_is_empty_or_blank_is_unset() {
    for blank in ["", " \t"] {
        let (_folder, binary) = installed(&[("monitor-dummy", "libmonitor_dummy.so")]);
        let host = TABLE.iter().fold(Host::at(&binary), |host, var| host.env(var.name, blank)).spawn();
        let line = host.wait_for_log(is_running, SOON);
        let shown = (line.field("url"), &line.json["scrape_interval_s"], &line.json["push_interval_s"]);
        assert_eq!(shown, ("http://prometheus:9090/api/v1/write", &0.1.into(), &4.0.into()));
        host.wait_for_log(|line| line.message().contains("at most 900 of them or 67108864 bytes"), SOON);
        assert!(host.log().iter().any(|line| line.message().contains("the dummy plugin runs")), "{}", host.log_text());
    }
}

#[test]
fn white_space_around_a_value_is_cut_off() {
    let sink = Sink::start();
    let host = pushing_to(&sink).env("REMOTE_WRITE_URL", format!(" {}\n", sink.url())).spawn();
    sink.wait_samples(1, SOON);
    stop(&host);
}

#[test]
fn help_names_every_variable_with_flag_default_and_unit() {
    for arguments in [&["--help"][..], &["run", "--help"]] {
        let host = arguments.iter().fold(Host::new(), Host::arg).spawn();
        assert_eq!(host.wait(Duration::from_secs(10)).code(), Some(0));
        let help = host.output().join("\n");
        for var in TABLE {
            let flag = if var.secret { String::new() } else { flag(var) };
            for part in [var.name, &flag, &format!("[default: {}]", var.default_text()), var.help] {
                assert!(help.contains(part), "{arguments:?}: no {part:?} in\n{help}");
            }
        }
        assert!(help.contains("[default: 0.1 s]") && help.contains("[default: 1000 items]"), "{help}");
    }
}
