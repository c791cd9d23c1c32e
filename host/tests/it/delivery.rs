//! Every sample of a quiet run arrives: in each form that a plugin can send, at each of the real receivers, with the
//! value, the millisecond and the labels that it was sent with, and none twice.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use crate::drive::{self, LONGEST_GAP_MS, now_ms};
use crate::host::Running;
use crate::receivers::{Kind, Labels, Receiver, by_labels};

/// How long the plugins sample.
const RUN: Duration = Duration::from_secs(20);

/// At SCRAPE_INTERVAL_S of 0.1, half of what is due: a starved machine takes fewer readings, not none.
const FEWEST_READINGS: u64 = 100;

/// A plugin that sends in one form.
struct Case {
    plugin: &'static str,
    settings: &'static [(&'static str, &'static str)],
    metric: &'static str,
    /// The other labels of each series.
    labels: &'static [&'static [(&'static str, &'static str)]],
    /// The value of a series' reading, by its number and moment.
    value: fn(&Labels, u64, i64) -> f64,
}

const WATTS: &str = "monitor_dummy_power_watts";
const COMPONENTS: [&str; 5] = ["package-0", "core", "uncore", "dram", "gpu-0"];
const COMPONENT_LABELS: &[&[(&str, &str)]] = &[
    &[("component", "package-0")],
    &[("component", "core")],
    &[("component", "uncore")],
    &[("component", "dram")],
    &[("component", "gpu-0")],
];
const NUMBERED_LABELS: &[&[(&str, &str)]] = &[&[("series", "0")], &[("series", "1")], &[("series", "2")]];

/// Cases whose metrics differ share a receiver.
const CASES: [&[Case]; 3] = [
    &[
        Case {
            plugin: "monitor-dummy",
            settings: &[("DUMMY_FORM", "series")],
            metric: WATTS,
            labels: COMPONENT_LABELS,
            value: watts,
        },
        // As pyJoules-like programs write it: six decimals, no zone.
        Case {
            plugin: "monitor-fault",
            settings: &[
                ("FAULT_FORM", "json"),
                (
                    "FAULT_JSON",
                    r#"{"timestamp":"NOW_ISO456","tag":"run","duration":0.1,"package-0":NUMBER,"core":NUMBER.25,"moment":NOW_MS}"#,
                ),
            ],
            metric: "pyjoules_remote_write_energy_uj",
            labels: &[
                &[("component", "package-0"), ("source", "monitor")],
                &[("component", "core"), ("source", "monitor")],
                &[("component", "moment"), ("source", "monitor")],
            ],
            value: numbered,
        },
        Case {
            plugin: "monitor-fault",
            settings: &[("FAULT_FORM", "records"), ("FAULT_SERIES", "3"), ("PUSH_INTERVAL_S", "1")],
            metric: "fault_number",
            labels: NUMBERED_LABELS,
            value: numbered,
        },
    ],
    &[
        Case {
            plugin: "monitor-dummy",
            settings: &[("DUMMY_FORM", "records"), ("PUSH_INTERVAL_S", "1")],
            metric: WATTS,
            labels: COMPONENT_LABELS,
            value: watts,
        },
        Case {
            plugin: "monitor-fault",
            settings: &[
                ("FAULT_FORM", "json"),
                (
                    "FAULT_JSON",
                    r#"[{"timestamp":"NOW_ISOZ","package-0":NUMBER},{"timestamp":"NOW_ISO000+00:00","moment":NOW_MS}]"#,
                ),
                ("METRIC_DEFAULT", "list_of_dictionaries"),
                ("SERVICE_LABEL", "bench"),
                ("PUSH_INTERVAL_S", "2.5"),
            ],
            metric: "list_of_dictionaries",
            labels: &[
                &[("component", "package-0"), ("source", "bench")],
                &[("component", "moment"), ("source", "bench")],
            ],
            value: numbered,
        },
        Case {
            plugin: "monitor-fault",
            settings: &[("FAULT_FORM", "list"), ("FAULT_SERIES", "3"), ("PUSH_INTERVAL_S", "0.3")],
            metric: "fault_number",
            labels: NUMBERED_LABELS,
            value: numbered,
        },
    ],
    &[
        Case {
            plugin: "monitor-dummy",
            settings: &[("DUMMY_FORM", "json"), ("PUSH_INTERVAL_S", "2")],
            metric: WATTS,
            labels: COMPONENT_LABELS,
            value: watts,
        },
        Case {
            plugin: "monitor-fault",
            settings: &[
                ("FAULT_FORM", "json"),
                (
                    "FAULT_JSON",
                    r#"[{"metric":"list_of_records","labels":{"component":"core"},"value":NUMBER.25,"timestamp_ms":NOW_MS},
                        {"labels":{"component":"moment"},"value":NOW_MS,"timestamp_ms":NOW_MS}]"#,
                ),
                ("METRIC_DEFAULT", "list_of_records"),
                ("PUSH_INTERVAL_S", "1"),
            ],
            metric: "list_of_records",
            labels: &[&[("component", "core")], &[("component", "moment")]],
            value: numbered,
        },
    ],
];

#[test]
fn every_receiver_gets_every_sample_of_every_form() {
    let both = |kind| CASES.iter().enumerate().map(move |(group, _)| (kind, group));
    drive::in_parallel(Kind::ALL.into_iter().flat_map(both), |(kind, group)| {
        let Some(receiver) = Receiver::start(kind) else {
            return;
        };
        let started_ms = now_ms();
        let hosts: Vec<(Running, &Case)> = CASES[group].iter().map(|case| (case.start(&receiver), case)).collect();
        thread::sleep(RUN);
        for (host, case) in &hosts {
            let asked_ms = now_ms();
            let (ledger, readings) = drive::stop(host);
            drive::assert_all_delivered(&ledger);
            assert!(readings >= FEWEST_READINGS, "{readings} readings in {RUN:?}");
            assert_eq!(ledger.collected, readings * case.labels.len() as u64, "{ledger:?}");
            case.assert_arrived(kind, by_labels(receiver.range(case.metric)), readings, (started_ms, asked_ms));
        }
    });
}

impl Case {
    fn start(&self, receiver: &Receiver) -> Running {
        let host = drive::host(self.plugin, &receiver.write_url());
        self.settings.iter().fold(host, |host, (name, value)| host.env(name, value)).spawn()
    }

    /// Each series has each reading, once, as it was sent, from soon after the start until the stop was asked for.
    #[track_caller]
    fn assert_arrived(
        &self,
        kind: Kind,
        arrived: BTreeMap<Labels, Vec<(i64, f64)>>,
        readings: u64,
        (started_ms, asked_ms): (i64, i64),
    ) {
        let with_name = |labels: &&[(&str, &str)]| -> Labels {
            let name = [("__name__", self.metric)];
            name.iter().chain(*labels).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let mut expected: Vec<Labels> = self.labels.iter().map(with_name).collect();
        expected.sort();
        assert_eq!(arrived.keys().cloned().collect::<Vec<_>>(), expected);
        for (labels, samples) in &arrived {
            assert_eq!(samples.len() as u64, readings, "{labels:?}");
            drive::assert_evenly_spaced(samples);
            let (first, last) = (samples[0].0, samples[samples.len() - 1].0);
            assert!(first >= started_ms && last >= asked_ms - LONGEST_GAP_MS, "{first}, {last}: not within the run");
            for (number, &(moment, value)) in (1..).zip(samples) {
                let sent = (self.value)(labels, number, moment);
                // VictoriaMetrics keeps decimals, so that the last bits of a sum of halves and hundredths are lost.
                let tolerance = if kind == Kind::VictoriaMetrics { 1e-9 } else { 0.0 };
                assert!((value - sent).abs() <= tolerance, "{labels:?} at {moment}: {value}, not {sent}");
            }
        }
    }
}

/// The dummy's triangle wave, which its documentation gives for exactly this.
fn watts(labels: &Labels, _number: u64, moment_ms: i64) -> f64 {
    let component = COMPONENTS.iter().position(|name| *name == labels["component"]).expect("one of the dummy's own");
    let phase = (moment_ms / 10 + 37 * component as i64).rem_euclid(1000);
    (20 + 5 * (component % 8)) as f64 + (phase - 500).abs() as f64 / 100.0
}

/// What the fault plugin was told to send: the reading's number, or its moment, so that the timestamp is checked by what
/// the value says.
fn numbered(labels: &Labels, number: u64, moment_ms: i64) -> f64 {
    match labels.get("component").map(String::as_str) {
        Some("moment") => moment_ms as f64,
        Some("core") => number as f64 + 0.25,
        _ => number as f64,
    }
}
