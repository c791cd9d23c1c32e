//! `monitor-host check`: what it finds in good and in bad plugins, what it needs, and how it ends.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::faults::{LONG, lines};
use crate::host::{Host, Running};
use crate::plugins;

/// A check of this plugin that is to print JSON.
fn check(plugin: &Path) -> Host {
    Host::new().arg("check").arg(plugin).arg("--json")
}

/// A check of the fault plugin with these variables: fifty readings a second for half a second.
fn of_fault(variables: &[(&str, &str)]) -> Host {
    let host = check(plugins::so("monitor-fault")).arg("--seconds").arg("0.5").env("SCRAPE_INTERVAL_S", "0.02");
    variables.iter().fold(host, |host, (name, value)| host.env(name, value))
}

/// The report of a check that ends with this status.
#[track_caller]
fn report(host: Host, status: i32) -> Value {
    ended(&host.spawn(), status)
}

#[track_caller]
fn ended(running: &Running, status: i32) -> Value {
    assert_eq!(running.wait(LONG).code(), Some(status), "{}\n{:?}", running.log_text(), running.output());
    let text = running.output().join("\n");
    let report: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(report["exit_status"], status, "{text}");
    report
}

/// The kinds of what was found.
fn kinds(findings: &Value) -> Vec<&str> {
    findings.as_array().into_iter().flatten().filter_map(|finding| finding["kind"].as_str()).collect()
}

#[test]
fn a_good_plugin_passes_with_the_right_numbers() {
    let dummy = plugins::so("monitor-dummy");
    let report = report(check(dummy).arg("--seconds").arg("2").env("DUMMY_SERIES", "7"), 0);
    assert_eq!((&report["verdict"], &report["problems"]), (&"ok".into(), &Value::Array(vec![])), "{report}");
    assert_eq!(report["file"], dummy.to_str().expect("a path in UTF-8"));
    let plugin = &report["plugin"];
    assert_eq!((&plugin["name"], &plugin["version"]), (&"monitor-dummy".into(), &env!("CARGO_PKG_VERSION").into()));
    assert_eq!(plugin["api"], monitor_plugin_api::API_VERSION);
    assert!(plugin["rustc"].as_str().is_some_and(|rustc| rustc.starts_with("rustc ")), "{plugin}");
    assert!(plugin["target"].as_str().is_some_and(|target| target.contains("linux")), "{plugin}");

    let run = &report["run"];
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value} in {run}"));
    let readings = number(&run["readings"]["sent"]);
    // Ten a second, for a machine that is not starved.
    assert!((5.0..=22.0).contains(&readings), "{run}");
    assert_eq!(number(&run["readings"]["received"]), readings);
    assert_eq!(number(&run["sends"]["taken"]), readings);
    assert_eq!(number(&run["samples"]["good"]), 7.0 * readings);
    assert_eq!((&run["samples"]["collected"], number(&run["samples"]["dropped"])), (&run["samples"]["good"], 0.0));
    let per_second = number(&run["samples"]["good"]) / number(&run["ran_s"]);
    assert!((number(&run["samples"]["per_s"]) - per_second).abs() < 0.001, "{run}");
    assert!((2.0..20.0).contains(&number(&run["ran_s"])), "{run}");
    assert_eq!((number(&run["series"]), number(&run["busiest"]["samples"])), (7.0, readings));
    assert!((0.08..0.3).contains(&number(&run["busiest"]["interval_s"])), "{run}");
    let metric = &run["metrics"][0];
    assert_eq!((&metric["type"], &metric["unit"]), (&"gauge".into(), &"watts".into()), "{metric}");

    let examples = run["examples"].as_array().expect("a list");
    assert_eq!(examples.len(), 7);
    for example in examples {
        assert_eq!(example["metric"], "monitor_dummy_power_watts");
        assert!(example["labels"]["component"].is_string() && number(&example["value"]) >= 20.0, "{example}");
        assert!(number(&example["timestamp_ms"]) > 1.7e12, "{example}");
    }
    for worker in ["get_power", "process_data"] {
        let worker = &run["workers"][worker];
        assert!(worker["end"] == "stopped" && number(&worker["stop_s"]) < 5.0, "{worker}");
    }
    let threads = &run["threads"];
    // One of the host's own that has just ended may still be listed at first.
    assert!(number(&threads["after"]) <= number(&threads["before"]), "{threads}");
    assert_eq!(threads["leaked"], Value::Array(vec![]), "{threads}");
}

/// Variables of the fault plugin, the kind of what is found, and words of it.
type Fault<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str);

#[test]
fn each_fault_is_found_and_named() {
    let two = r#"[{"metric":"m","value":1,"timestamp_ms":NOW_MS},{"metric":"m","value":1,"timestamp_ms":NOW_MS}]"#;
    let bad_label = r#"{"metric":"m","labels":{"a-b":"c"},"value":1,"timestamp_ms":NOW_MS}"#;
    let json = |text| [("FAULT_FORM", "json"), ("FAULT_JSON", text)];
    let faults: [Fault<'_>; 14] = [
        (&[("FAULT_GET_POWER", "error"), ("FAULT_AFTER", "1")], "failed", "get_power failed"),
        (&[("FAULT_PROCESS_DATA", "error"), ("FAULT_AFTER", "1")], "failed", "process_data failed"),
        (&[("FAULT_GET_POWER", "panic"), ("FAULT_AFTER", "1")], "panicked", "get_power panicked at "),
        (&[("FAULT_PROCESS_DATA", "panic"), ("FAULT_AFTER", "1")], "panicked", "process_data panicked at "),
        (&[("FAULT_GET_POWER", "return"), ("FAULT_AFTER", "2")], "returned", "get_power ended by itself"),
        (&[("FAULT_PROCESS_DATA", "return"), ("FAULT_AFTER", "2")], "returned", "process_data ended by itself"),
        (&json("{nonsense"), "dropped", "invalid_json"),
        (&json(bad_label), "dropped", "invalid_label_name; the first: \"m\": label \"a-b\""),
        (&json(two), "dropped", "duplicate; the first: m: timestamp "),
        (&[("FAULT_OFFSETS_MS", "0,-5000")], "dropped", "out_of_order; the first: fault_number{series=\"0\"}"),
        (&[("FAULT_SILENT_AFTER", "0")], "nothing_sent", "nothing was sent in 0.5"),
        (
            &[("FAULT_THREADS", "2")],
            "leaked_threads",
            "2 threads still ran after the plugin's end: fault-left, fault-left",
        ),
        (&[("FAULT_PROCESS_DELAY_S", "0.1"), ("RAW_QUEUE_SIZE", "1")], "refused_readings", "the raw queue held 1"),
        (
            &[("FAULT_GET_POWER", "ignore-stop"), ("SHUTDOWN_TIMEOUT_S", "1")],
            "ignored_stop",
            "get_power did not end within 0.5 s",
        ),
    ];
    for (variables, kind, says) in faults {
        let report = report(of_fault(variables), 1);
        assert_eq!((&report["verdict"], kinds(&report["problems"])), (&"problems".into(), vec![kind]), "{report:#}");
        let problem = &report["problems"][0];
        let (what, todo) = (problem["what"].as_str(), problem["todo"].as_str());
        assert!(what.is_some_and(|what| what.contains(says)) && todo.is_some_and(|todo| !todo.is_empty()), "{problem}");
    }
}

#[test]
fn exemplars_and_histograms_that_nobody_takes_are_told() {
    let report = report(of_fault(&[("FAULT_FORM", "invalid")]), 1);
    assert_eq!(kinds(&report["problems"]), ["dropped", "dropped_exemplars", "dropped_exemplars"], "{report:#}");
    let what = |i: usize| report["problems"][i]["what"].as_str().unwrap_or_default();
    assert!(
        what(0).contains("invalid_histogram; the first: fault_histogram{counts=\"integer\"}: its count"),
        "{report:#}"
    );
    assert!(
        what(1).contains("invalid_exemplar; the first: fault_number{series=\"0\"}: its labels")
            && what(2).contains("lone_exemplar"),
        "{report:#}"
    );

    let report = self::report(of_fault(&[("FAULT_FORM", "histograms")]), 0);
    let example = &report["run"]["examples"][0];
    assert_eq!(
        (&example["metric"], &example["count"], &example["value"]),
        (&"fault_histogram".into(), &6.0.into(), &10.0.into())
    );
}

/// Each ends the process in which it runs, some of them as if all were well.
#[test]
fn one_that_takes_its_process_with_it_has_a_report() {
    let segfault = "was ended by a segmentation fault (SIGSEGV";
    for (variable, how, says, stage) in [
        ("FAULT_NEW", "segfault", segfault, "in new()"),
        ("FAULT_NEW", "exit-0", "exited with status 0", "in new()"),
        ("FAULT_GET_POWER", "segfault", segfault, "while get_power and process_data ran"),
        ("FAULT_PROCESS_DATA", "exit-0", "exited with status 0", "while get_power and process_data ran"),
        ("FAULT_PROCESS_DATA", "abort", "was ended by an abort (SIGABRT", "while get_power and process_data ran"),
        ("FAULT_DROP", "exit", "exited with status 7", "while the plugin was taken down"),
    ] {
        let report = report(of_fault(&[(variable, how), ("FAULT_AFTER", "1")]), 1);
        assert_eq!((kinds(&report["problems"]), &report["run"]), (vec!["crashed"], &Value::Null), "{report:#}");
        let what = report["problems"][0]["what"].as_str().expect("a text");
        assert!(what.starts_with(&format!("the plugin's process {says}")) && what.ends_with(stage), "{what}");
        assert_eq!(report["plugin"]["name"], "monitor-fault");
    }
    let host = Host::new().arg("check").arg(plugins::so("monitor-fault")).env("FAULT_NEW", "exit-0").spawn();
    assert_eq!(host.wait(LONG).code(), Some(1));
    assert_eq!(host.output().last().map(String::as_str), Some("NOT OK: 1 problem"));
}

#[test]
fn what_a_plugin_prints_is_no_part_of_the_report() {
    let running = of_fault(&[("FAULT_GET_POWER", "print"), ("FAULT_AFTER", "1")]).spawn();
    ended(&running, 0);
    assert!(running.log_text().contains("the plugin prints, "), "{}", running.log_text());
}

/// The child of a check that is killed goes with it.
#[test]
fn a_check_that_is_killed_leaves_nothing_running() {
    let running = check(plugins::so("monitor-fault")).arg("--seconds").arg("3600").spawn();
    running.wait_for_log(|line| line.message() == "an error of the fault plugin", LONG);
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", running.pid())).expect("children");
    let child: u32 = children.trim().parse().expect("one child");
    running.signal(signal_hook::consts::SIGKILL);
    let began = Instant::now();
    // A zombie has no memory, hence no command line.
    while fs::read(format!("/proc/{child}/cmdline")).is_ok_and(|line| !line.is_empty()) {
        assert!(began.elapsed() < LONG, "the child {child} still runs");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_is_dropped_is_counted_by_reason_and_by_series() {
    let text = r#"[{"metric":"m","labels":{"a":"1"},"value":1,"timestamp_ms":NOW_MS},
        {"metric":"m","labels":{"a":"1"},"value":2,"timestamp_ms":NOW_MS},
        {"metric":"9","value":3}]"#;
    let report = report(of_fault(&[("FAULT_FORM", "json"), ("FAULT_JSON", text)]), 1);
    let run = &report["run"];
    let good = run["samples"]["good"].as_u64().expect("a number");
    assert!(good > 3, "{run}");
    let dropped: Vec<_> =
        run["dropped"].as_array().into_iter().flatten().map(|one| (&one["reason"], &one["samples"])).collect();
    let count = &Value::from(good);
    assert_eq!(dropped, [(&"invalid_metric_name".into(), count), (&"duplicate".into(), count)]);
    let disorder = &run["disorder"][0];
    assert_eq!((&disorder["series"], &disorder["samples"]), (&r#"m{a="1"}"#.into(), count));
    assert_eq!((&run["samples"]["collected"], &run["samples"]["dropped"]), (&(3 * good).into(), &(2 * good).into()));
}

#[test]
fn one_that_ignores_the_stop_does_not_hold_the_check() {
    let began = Instant::now();
    let report = report(of_fault(&[("FAULT_PROCESS_DATA", "ignore-stop"), ("SHUTDOWN_TIMEOUT_S", "1")]), 1);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(kinds(&report["problems"]), ["ignored_stop"]);
    let run = &report["run"];
    assert_eq!((&run["workers"]["process_data"]["end"], &run["threads"]), (&"late".into(), &Value::Null));
    // What it had sent before is judged all the same.
    assert!(run["samples"]["good"].as_u64() > Some(3), "{run}");
}

#[test]
fn one_that_hangs_at_its_start_does_not_hold_the_check_either() {
    let report = report(of_fault(&[("FAULT_NEW", "ignore-stop")]), 1);
    assert_eq!((kinds(&report["problems"]), &report["run"]), (vec!["hung_at_start"], &Value::Null));
    assert_eq!(report["plugin"]["name"], "monitor-fault");
}

#[test]
fn what_can_not_be_loaded_is_3() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = folder.path().join("text.so");
    fs::write(&text, "to be built\n").expect("a file can be written");
    for (path, says) in [(text.as_path(), "text"), (Path::new("/nonexistent.so"), "No such file")] {
        let report = report(check(path), 3);
        let error = report["error"].as_str().expect("an error");
        assert!(error.starts_with(path.to_str().expect("UTF-8")) && error.contains(says), "{error}");
        assert_eq!(
            (&report["verdict"], &report["plugin"], &report["run"]),
            (&"not_loaded".into(), &Value::Null, &Value::Null)
        );
    }
    let report = report(of_fault(&[("FAULT_NEW", "error")]), 3);
    assert!(report["error"].as_str().is_some_and(|error| error.contains("there is no sensor")), "{report}");
    assert_eq!(report["plugin"]["name"], "monitor-fault");
}

#[test]
fn only_the_settings_that_a_plugin_can_notice_are_heeded() {
    let foreign = [
        ("REMOTE_WRITE_URL", "nonsense"),
        ("REMOTE_WRITE_USERNAME", "alone"),
        ("TLS_KEY_FILE", "/nonexistent"),
        ("SPOOL_DIR", "/nonexistent"),
        ("PUSH_INTERVAL_S", "x"),
    ];
    report(of_fault(&foreign), 0);

    let heeded = [("EXTERNAL_LABELS", "site=${SITE}"), ("SITE", "berlin"), ("METRIC_DEFAULT", "own")];
    let text = [("FAULT_FORM", "json"), ("FAULT_JSON", r#"{"value":1,"timestamp_ms":NOW_MS}"#)];
    let report_of = report(of_fault(&[heeded.as_slice(), &text].concat()), 0);
    let example = &report_of["run"]["examples"][0];
    assert_eq!((&example["metric"], &example["labels"]["site"]), (&"own".into(), &"berlin".into()));

    for (name, value) in [("SCRAPE_INTERVAL_S", "x"), ("MAX_SERIES", "0"), ("EXTERNAL_LABELS", "a=${NOT_SET}")] {
        let running = of_fault(&[(name, value)]).spawn();
        assert_eq!((running.wait(LONG).code(), running.output()), (Some(2), vec![]), "{name}");
        assert!(running.log_text().starts_with(&format!("{name}=")), "{}", running.log_text());
    }
    for arguments in [&["check", "--seconds", "0"][..], &["check", "--push-interval-s", "1"], &["check", "a", "b"]] {
        let running = arguments.iter().fold(Host::new(), Host::arg).spawn();
        assert_eq!((running.wait(LONG).code(), running.output()), (Some(2), vec![]), "{arguments:?}");
    }
}

#[test]
fn a_signal_ends_it_sooner_and_the_report_is_there() {
    for signal in [SIGINT, SIGTERM] {
        let running = check(plugins::so("monitor-fault")).arg("--seconds").arg("3600").spawn();
        running.wait_for_log(|line| line.message() == "an error of the fault plugin", LONG);
        running.signal(signal);
        let report = ended(&running, 0);
        assert_eq!((&report["run"]["interrupted"], kinds(&report["hints"])[0]), (&true.into(), "interrupted"));
    }
}

#[test]
fn the_report_for_people_is_narrow_and_ends_with_the_verdict() {
    let people = |host: Host, status: i32| {
        let running = host.arg("--seconds").arg("0.5").spawn();
        assert_eq!(running.wait(LONG).code(), Some(status), "{}", running.log_text());
        running.output()
    };
    let text = people(Host::new().arg("check").arg(plugins::so("monitor-dummy")), 0);
    assert_eq!(text.last().map(String::as_str), Some("OK: a run would push every sample of this plugin"), "{text:#?}");
    let fault = || Host::new().arg("check").arg(plugins::so("monitor-fault")).env("FAULT_AFTER", "1");
    let text = people(fault().env("FAULT_GET_POWER", "error").env("FAULT_OFFSETS_MS", "0,-5000"), 1);
    assert_eq!(text.last().map(String::as_str), Some("NOT OK: 1 problem"), "{text:#?}");
    // A path has no place to be broken.
    let wide: Vec<_> = text.iter().filter(|line| !line.contains(".so") && line.chars().count() > 80).collect();
    assert!(wide.is_empty() && text.iter().any(|line| line == "Problems:"), "{text:#?}");

    let running = Host::new().arg("check").arg("/nonexistent.so").spawn();
    assert_eq!(running.wait(LONG).code(), Some(3));
    assert_eq!(running.output().last().map(String::as_str), Some("NOT LOADED"));
    assert!(running.output().iter().any(|line| line.starts_with("error       /nonexistent.so: ")));
    // Nothing is said twice.
    assert!(lines(&running, "ERROR").is_empty(), "{}", running.log_text());
}

/// As in an image's build: another user, no environment, no network, a folder that can't be written.
#[test]
fn it_needs_no_privilege_no_network_no_environment_and_no_folder() {
    let binary = env!("CARGO_BIN_EXE_monitor-host");
    let plugin = plugins::so("monitor-dummy");
    let folder = tempfile::tempdir().expect("a folder");
    let mut permissions = fs::metadata(folder.path()).expect("it is there").permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o555);
    fs::set_permissions(folder.path(), permissions).expect("it is ours");

    let is_root = fs::metadata("/proc/self").expect("/proc").uid() == 0;
    let other = "setpriv --reuid=65532 --regid=65532 --clear-groups --no-new-privs";
    let possible = |command: &str| {
        let tried = Command::new("sh").arg("-c").arg(command).output();
        let possible = tried.is_ok_and(|tried| tried.status.success());
        if !possible {
            eprintln!("SKIPPED: a part of this test is not possible here: {command}");
        }
        possible
    };
    let mut prefix = String::new();
    if possible("unshare -n true") {
        prefix += "unshare -n ";
    }
    let reach = format!("{other} sh -c 'test -x {binary} && test -r {}'", plugin.display());
    if is_root && possible(&reach) {
        prefix += other;
    }
    // `env -i`: not even PATH is left.
    let script = format!(r#"cd "$1" && exec {prefix} env -i "$0" check "$2" --json --seconds 0.5"#);
    let report = report(Host::by_shell(&script).arg(folder.path()).arg(plugin), 0);
    assert_eq!(report["run"]["series"], 5);
    assert_eq!(fs::read_dir(folder.path()).expect("it is there").count(), 0);
}

#[test]
fn without_a_path_it_is_the_plugin_that_would_run() {
    let (fault, dummy) = (plugins::so("monitor-fault"), plugins::so("monitor-dummy"));
    let name = |host: Host| report(host.arg("--json").arg("--seconds").arg("0.3"), 0)["plugin"]["name"].clone();
    assert_eq!(name(Host::new().arg("check").env("MONITOR_IMPL_PATH", fault)), "monitor-fault");
    assert_eq!(name(Host::new().arg("check").arg(dummy).env("MONITOR_IMPL_PATH", fault)), "monitor-dummy");
}
