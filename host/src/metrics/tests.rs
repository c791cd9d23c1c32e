//! The table, and what is made of it.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::exposition::{self, Format};
use super::facts::{About, Connection, Facts};
use super::*;
use crate::batching::OWN_SERIES;
use crate::generated;
use crate::keep::{Bounds, Look, SpoolLook};
use crate::ledger::Ledger;
use crate::queue::Depth;
use crate::send::books::Pushes;

/// A run that has just begun, with a spool.
pub(crate) fn facts() -> Facts {
    Facts {
        now_ms: 1_760_000_000_000,
        now: std::time::Instant::now(),
        about: About { name: "monitor-\"x\\\n".into(), version: "1.2.3".into(), api: "1.0.0".into(), isolation: "off" },
        ledger: Ledger::default().snapshot(),
        plugin: Default::default(),
        plugin_since_ms: None,
        processed: Depth { items: 3, capacity: 1000 },
        series: 5,
        max_series: 100,
        newest_ms: 1_759_999_999_500,
        missed_deadlines: 0,
        kept: Look {
            batches: 2,
            bytes: 700,
            bounds: Bounds { max_batches: 900, max_bytes: 64 << 20 },
            spool: Some(SpoolLook { batches: 1, disk_bytes: 4096, max_bytes: 1 << 30 }),
            oldest_ms: Some(1_759_999_998_000),
        },
        pushes: Pushes::default().snapshot(),
        remote_write_version: 2,
        process: Some(Default::default()),
        admin: Connection::ALL.map(|connection| (connection, 0)),
        began_ms: 1_759_999_990_000,
        is_ending: false,
    }
}

#[test]
fn names_are_as_the_conventions_want_them() {
    let mut names = BTreeSet::new();
    for family in FAMILIES {
        let name = family.name;
        assert!(name.starts_with("monitor_client_") && crate::labels::is_label_name(name), "{name}");
        assert!(names.insert(name), "{name} twice");
        assert_eq!(name.ends_with("_total"), family.kind == Kind::Counter, "{name}");
        assert_eq!(name.ends_with("_info"), family.kind == Kind::Info, "{name}");
        let stem = name.strip_suffix("_total").unwrap_or(name);
        for unit in ["seconds", "bytes"] {
            assert_eq!(stem.ends_with(&format!("_{unit}")), family.unit == unit, "{name}");
        }
        assert!(family.help.ends_with('.') && !family.help.contains(['\n', '\\', '"', '|']), "{name}");
    }
}

#[test]
fn there_is_room_for_all_series() {
    let mut series = BTreeSet::new();
    for family in FAMILIES {
        family.series(&facts(), |name, labels, _| {
            assert!(series.insert(format!("{name}{labels:?}")), "{name}{labels:?} twice");
        });
    }
    assert!((OWN_SERIES - 20..=OWN_SERIES).contains(&series.len()), "{} series", series.len());
}

#[test]
fn what_a_run_does_not_have_is_not_shown() {
    let mut facts = facts();
    (facts.kept.spool, facts.process) = (None, None);
    for format in [Format::Text, Format::OpenMetrics] {
        let text = exposition::encode(format, facts.clone());
        assert!(!text.contains("spool_bytes") && !text.contains("process_cpu"), "{text}");
    }
}

#[test]
fn both_formats_say_the_same() {
    let mut facts = facts();
    facts.pushes.durations[2] = 4;
    facts.pushes.durations[11] = 1;
    facts.pushes.duration = Duration::from_millis(1500);
    let text = exposition::encode(Format::Text, facts.clone());
    let open = exposition::encode(Format::OpenMetrics, facts);
    for line in [
        "# TYPE monitor_client_up gauge",
        "monitor_client_processed_queue_items 3",
        r#"monitor_client_plugin_info{name="monitor-\"x\\\n",version="1.2.3",api="1.0.0",isolation="off"} 1"#,
        "monitor_client_newest_sample_timestamp_seconds 1759999999.5",
        "monitor_client_oldest_pending_age_seconds 2",
        r#"monitor_client_push_duration_seconds_bucket{le="0.025"} 4"#,
        r#"monitor_client_push_duration_seconds_bucket{le="10.0"} 4"#,
        r#"monitor_client_push_duration_seconds_bucket{le="+Inf"} 5"#,
        "monitor_client_push_duration_seconds_sum 1.5",
        "monitor_client_push_duration_seconds_count 5",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        let number = line.rsplit_once(' ').unwrap().1;
        // Whole numbers of gauges have a point there.
        let with_point = line.strip_suffix(number).unwrap().to_owned() + number + ".0";
        assert!(open.lines().any(|other| other == line || other == with_point), "{line}\n{open}");
    }
    assert!(text.contains("\n# TYPE monitor_client_samples_delivered_total counter\n"), "{text}");
    assert!(text.contains("\n# TYPE monitor_client_build_info gauge\n"), "{text}");
    assert!(open.contains("\n# TYPE monitor_client_samples_delivered counter\n"), "{open}");
    assert!(open.contains("\n# TYPE monitor_client_build info\n"), "{open}");
    assert!(open.contains("\n# UNIT monitor_client_push_duration_seconds seconds\n"), "{open}");
    assert!(open.ends_with("\n# EOF\n"), "{open}");
    let values = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(values(&text), values(&open));
}

#[test]
fn the_format_is_the_one_that_the_client_prefers() {
    for (accept, format) in [
        ("", Format::Text),
        ("*/*", Format::Text),
        ("text/html,application/xhtml+xml,*/*;q=0.8", Format::Text),
        ("application/openmetrics-text", Format::OpenMetrics),
        ("application/openmetrics-text; version=1.0.0,text/plain;q=0.5", Format::OpenMetrics),
        ("text/plain, application/openmetrics-text;q=0.5", Format::Text),
        ("application/openmetrics-text;q=0,*/*", Format::Text),
        // Prometheus 2.42 and 3.5.
        (
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            Format::OpenMetrics,
        ),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;\
             version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            Format::OpenMetrics,
        ),
        (";;;,,q=1,application/openmetrics-text;q=x;q=", Format::OpenMetrics),
    ] {
        assert_eq!(Format::accepted(accept), format, "{accept}");
    }
}

proptest! {
    #[test]
    fn any_header_is_read(header: String, quality: String) {
        prop_assert_eq!(Format::accepted(&header), Format::Text);
        let _ = Format::accepted(&format!("application/openmetrics-text;q={quality},{header};q={quality}"));
    }
}

/// `UPDATE_GENERATED=1` writes it anew.
#[test]
fn the_reference_is_generated_from_the_table() {
    generated::holds("docs/metrics.md", "host/src/metrics.rs", &reference());
}

fn reference() -> String {
    let mut page = "\n| Metric | Type | Unit | Labels | What it says |\n|---|---|---|---|---|\n".to_owned();
    for family in FAMILIES {
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let (kind, unit) = (family.kind.name(), family.unit);
        page += &format!("| `{}` | {kind} | {unit} | {} | {} |\n", family.name, labels.join(", "), family.help);
    }
    page + "\n"
}
