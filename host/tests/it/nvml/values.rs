//! What GPUs show: every value, every joule, every sample of the driver's own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::rig::{MODEL, Rig, add, set, uuid};
use crate::faults::{LONG, stop, wait_for_text};
use crate::host::{Host, Ledger, Running};
use crate::receivers::Labels;
use crate::sink::{Sample, Sink};

/// Whether a sample is of this GPU's series.
pub(super) fn of(sample: &Sample, metric: &str, uuid: &str) -> bool {
    sample.metric == metric && sample.labels.get("uuid").is_some_and(|own| **own == *uuid)
}

/// The newest value of a GPU's series; among several, those with this label.
#[track_caller]
pub(super) fn newest(samples: &[Sample], metric: &str, gpu: u32, label: (&str, &str)) -> f64 {
    let wanted = |sample: &&Sample| {
        of(sample, metric, &uuid(gpu))
            && !sample.is_marker()
            && (label.0.is_empty() || sample.labels.get(label.0).is_some_and(|v| **v == *label.1))
    };
    let found = samples.iter().rfind(wanted).unwrap_or_else(|| panic!("no {metric} of {gpu} with {label:?}"));
    found.value
}

/// Waits until a GPU's energy is so many joules.
#[track_caller]
pub(super) fn wait_for_joules(sink: &Sink, gpu: u32, joules: f64) {
    let wanted = |sample: &Sample| of(sample, "monitor_energy_joules_total", &uuid(gpu)) && sample.value == joules;
    sink.wait_for(LONG, &format!("{joules} J of GPU {gpu}"), |samples| samples.iter().any(wanted));
}

/// Waits until a GPU's energy has arrived for the first time.
#[track_caller]
pub(super) fn wait_for_energy(sink: &Sink, gpu: u32) {
    let wanted = |sample: &Sample| of(sample, "monitor_energy_joules_total", &uuid(gpu));
    sink.wait_for(LONG, &format!("energy of GPU {gpu}"), |samples| samples.iter().any(wanted));
}

/// Asks a run to stop: all was delivered, in order, and all has arrived.
#[track_caller]
pub(super) fn finish(running: &Running, sink: &Sink) -> (Ledger, Vec<Sample>) {
    let ledger = stop(running);
    assert_eq!((ledger.dropped, ledger.refused_sends), (0, 0), "{ledger:?}");
    let samples = sink.wait_samples(ledger.delivered as usize, LONG);
    assert_eq!(sink.violations(), []);
    (ledger, samples)
}

#[test]
fn every_field_is_what_the_driver_shows() {
    let (rig, sink) = (Rig::new(2), Sink::reading("2.0"));
    let running = rig.host(sink.url()).spawn();
    let slow = |sample: &Sample| of(sample, "monitor_gpu_throttle_reason", &uuid(1));
    sink.wait_for(LONG, "what changes slowly", |samples| samples.iter().any(slow));
    let (_, samples) = finish(&running, &sink);

    let mut expected: BTreeMap<Labels, f64> = BTreeMap::new();
    for gpu in 0..2 {
        let mut series = |metric: &str, labels: &[(&str, &str)], value: f64| {
            let own = [("__name__", metric), ("source", "nvml"), ("gpu", &gpu.to_string()), ("uuid", &uuid(gpu))];
            let all = own.iter().chain(&[("model", MODEL)]).chain(labels);
            expected.insert(all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(), value);
        };
        let own = f64::from(gpu);
        let component = ("component", "gpu");
        // It stands still from the first reading on.
        series("monitor_energy_joules_total", &[component], 0.0);
        series("monitor_power_watts", &[component, ("method", "instant")], 251.0 + own / 1000.0);
        series("monitor_power_watts", &[component, ("method", "avg")], 240.5 + own / 1000.0);
        series("monitor_gpu_utilization_ratio", &[], (37.0 + own) / 100.0);
        series("monitor_gpu_memory_utilization_ratio", &[], (12.0 + own) / 100.0);
        series("monitor_gpu_memory_used_bytes", &[], 3e9 + own);
        series("monitor_gpu_memory_total_bytes", &[], 80e9);
        series("monitor_gpu_temperature_celsius", &[], 61.0 + own);
        for (clock, mhz) in [("graphics", 1410.0), ("sm", 1420.0), ("memory", 1593.0), ("video", 1275.0)] {
            series("monitor_gpu_clock_hertz", &[("clock", clock)], (mhz + own) * 1e6);
        }
        for reason in [
            "gpu_idle",
            "applications_clocks_setting",
            "sw_power_cap",
            "hw_slowdown",
            "sync_boost",
            "sw_thermal_slowdown",
            "hw_thermal_slowdown",
            "hw_power_brake_slowdown",
            "display_clock_setting",
        ] {
            let held = f64::from(["sw_power_cap", "sw_thermal_slowdown"].contains(&reason));
            series("monitor_gpu_throttle_reason", &[("reason", reason)], held);
        }
    }
    let found: BTreeMap<Labels, f64> = sink
        .series()
        .into_iter()
        .filter(|(labels, _)| !labels["__name__"].starts_with("monitor_nvml_"))
        .map(|(labels, samples)| {
            // Constant, and no two in one millisecond.
            assert!(samples.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 == pair[1].1), "{labels:?}");
            (labels, samples[0].1)
        })
        .collect();
    assert_eq!(found, expected);

    // The plain figure is not asked for where the fields say more, nor the slow ones each time.
    let times = || samples.iter().filter(|s| of(s, "monitor_energy_joules_total", &uuid(0))).map(|s| s.timestamp_ms);
    let span_ms = times().max().unwrap() - times().min().unwrap();
    let energy = rig.calls("nvmlDeviceGetTotalEnergyConsumption", Some("0"));
    let temperature = rig.calls("nvmlDeviceGetTemperature", Some("0")) as i64;
    assert!(
        energy == times().count() && (1..=span_ms / 20 + 2).contains(&temperature),
        "{energy} {temperature} {span_ms}"
    );
    assert_eq!(rig.calls("nvmlDeviceGetPowerUsage", None), 0);
    assert_eq!(rig.calls("nvmlInit_v2", None), 1);
    assert_eq!(rig.calls("nvmlShutdown", None), 1);

    let others = sink.others();
    let metadata = |metric: &str| -> (Value, Value) {
        let one = others.iter().find(|one| one["metadata"] == metric || one["metric"] == metric);
        let one = one.unwrap_or_else(|| panic!("no metadata of {metric}: {others:?}"));
        (one["type"].clone(), one["unit"].clone())
    };
    for (metric, kind, unit) in [
        ("monitor_energy_joules_total", "counter", "joules"),
        ("monitor_power_watts", "gauge", "watts"),
        ("monitor_gpu_clock_hertz", "gauge", "hertz"),
        ("monitor_gpu_utilization_ratio", "gauge", "ratio"),
        ("monitor_nvml_missed_deadlines_total", "counter", ""),
    ] {
        assert_eq!(metadata(metric), (kind.into(), unit.into()), "{metric}");
    }
    let health = |metric: &str| samples.iter().rfind(|sample| sample.metric == metric).map(|sample| sample.value);
    assert_eq!(health("monitor_nvml_gpus"), Some(2.0));
    assert_eq!((health("monitor_nvml_lost_gpus_total"), health("monitor_nvml_restarts_total")), (Some(0.0), Some(0.0)));
    assert!(health("monitor_nvml_lateness_seconds").is_some());
    assert!(samples.iter().all(|sample| sample.metric != "monitor_nvml_errors_total"));
}

/// Three GPUs that draw power by a plan; the driver's counter follows it in steps, as the real one does.
#[test]
fn the_joules_that_arrive_are_those_that_were_spent() {
    const WATTS: [u64; 3] = [75, 300, 1200];
    const REFRESH: Duration = Duration::from_millis(20);
    let (rig, sink) = (Arc::new(Rig::new(3)), Sink::start());
    let running = rig.host(sink.url()).spawn();
    // The counters stand still until the first readings have arrived: none of what is spent comes before them.
    (0..3).for_each(|gpu| wait_for_energy(&sink, gpu));
    let stopped = Arc::new(AtomicBool::new(false));
    let spending = thread::spawn({
        let (rig, stopped) = (Arc::clone(&rig), Arc::clone(&stopped));
        move || {
            let start = Instant::now();
            let mut spent = [0; 3];
            while !stopped.load(Ordering::Acquire) {
                // Millijoules.
                spent = WATTS.map(|watts| watts * start.elapsed().as_millis() as u64);
                rig.change(|shown| {
                    for (gpu, mj) in (0u32..).zip(spent) {
                        set(shown, &format!("{gpu}.energy"), 7_000_000_000 + u64::from(gpu) + mj);
                    }
                });
                thread::sleep(REFRESH);
            }
            spent
        }
    });
    let before = sink.samples().len();
    sink.wait_samples(before + 1500, LONG);
    stopped.store(true, Ordering::Release);
    let spent = spending.join().unwrap();
    for (gpu, mj) in (0u32..).zip(spent) {
        wait_for_joules(&sink, gpu, mj as f64 / 1000.0);
    }
    let (_, samples) = finish(&running, &sink);
    for (gpu, mj) in (0u32..).zip(spent) {
        assert!(mj > 1000, "{mj}");
        let values: Vec<_> =
            samples.iter().filter(|sample| of(sample, "monitor_energy_joules_total", &uuid(gpu))).collect();
        assert_eq!((values[0].value, values[values.len() - 1].value), (0.0, mj as f64 / 1000.0), "GPU {gpu}");
        assert!(
            values
                .windows(2)
                .all(|pair| { pair[0].value <= pair[1].value && pair[0].timestamp_ms < pair[1].timestamp_ms })
        );
        let steps: BTreeSet<u64> = values.iter().map(|sample| (sample.value * 1000.0).round() as u64).collect();
        assert!(steps.len() > 3, "{steps:?}");
    }
}

/// Power is called by what it is: GPUs before Ampere, and GA100, have a momentary figure; later ones the average of a second.
#[test]
fn one_plain_figure_is_called_by_its_meaning() {
    let (rig, sink) = (Rig::new(4), Sink::start());
    rig.change(|shown| {
        for (gpu, capability) in [(0, 75), (1, 80), (2, 86)] {
            set(shown, &format!("{gpu}.capability"), capability);
        }
        shown.remove("3.capability");
        for gpu in 0..4 {
            // As a driver that is older than those fields.
            set(shown, &format!("{gpu}.field185.error"), 2);
            shown.remove(&format!("{gpu}.field186"));
        }
        shown.remove("0.energy");
        shown.remove("0.sample");
    });
    let running = rig.host(sink.url()).spawn();
    sink.wait_samples(400, LONG);
    let (_, samples) = finish(&running, &sink);
    for (gpu, method) in [(0, "instant"), (1, "instant"), (2, "avg"), (3, "unspecified")] {
        let methods: BTreeSet<_> = samples
            .iter()
            .filter(|sample| of(sample, "monitor_power_watts", &uuid(gpu)))
            .map(|sample| (sample.labels["method"].clone(), sample.value.to_string()))
            .collect();
        let expected = (method.to_owned(), format!("{}", 239.0 + f64::from(gpu) / 1000.0));
        assert_eq!(methods.into_iter().collect::<Vec<_>>(), [expected], "GPU {gpu}");
    }
    // Each is asked once for what it does not offer, and it is said once; no error is counted.
    assert_eq!(rig.calls("nvmlDeviceGetTotalEnergyConsumption", Some("0")), 1);
    assert_eq!(rig.calls("nvmlDeviceGetSamples", Some("0")), 1);
    assert_eq!(rig.calls("nvmlDeviceGetFieldValues", None), 4);
    let told = |text: &str| running.log().iter().filter(|line| line.text.contains(text)).count();
    assert_eq!(told("GPU 0 (NVIDIA Player 100, GPU-00000000-1111-2222-3333-444444444444) does not offer energy"), 1);
    assert_eq!((told("does not offer power_instant"), told("does not offer power_average")), (4, 4));
    assert!(samples.iter().all(|sample| sample.metric != "monitor_nvml_errors_total"));
    assert!(samples.iter().all(|sample| !of(sample, "monitor_energy_joules_total", &uuid(0))));
}

fn epoch_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64
}

fn boot_us() -> u64 {
    let text = std::fs::read_to_string("/proc/uptime").unwrap();
    (text.split(' ').next().unwrap().parse::<f64>().unwrap() * 1e6) as u64
}

/// The driver of the first GPU counts from 1970, that of the second from the boot; the third one's clock is no clock.
#[test]
fn the_driver_s_own_samples_come_once_and_at_their_time() {
    let (rig, sink) = (Rig::new(3), Sink::start());
    let before = [(epoch_us(), boot_us()), (epoch_us() + 5000, boot_us() + 5000)];
    let put = |shown: &mut super::rig::Shown, real: u64, boot: u64, mw: u64| {
        for (gpu, us) in [(0, real), (1, boot), (2, 77_000_000 + mw)] {
            shown.get_mut(&format!("{gpu}.sample")).unwrap().push(format!("{us} {mw}"));
        }
    };
    // What lies in the buffer when the run begins belongs to whoever ran before.
    rig.change(|shown| (1..).zip(before).for_each(|(mw, (real, boot))| put(shown, real, boot, mw)));
    let running = rig.host(sink.url()).spawn();
    (0..3).for_each(|gpu| wait_for_energy(&sink, gpu));
    let mut times = Vec::new();
    for burst in 0..5 {
        // The newest first, and three of them within a millisecond.
        let (real, boot) = (epoch_us(), boot_us());
        let offsets = [(0, 30_000), (1, 20_000), (2, 5_300), (3, 5_200), (4, 5_100)];
        rig.change(|shown| {
            for (place, earlier) in offsets {
                put(shown, real - earlier, boot - earlier, 1000 * (10 * burst + place + 1));
            }
        });
        times.extend(offsets.map(|(place, earlier)| (real - earlier, (10 * burst + place + 1) as f64)));
        let last = (10 * burst + 5) as f64;
        let wanted = |gpu: u32| {
            move |s: &Sample| {
                of(s, "monitor_power_watts", &uuid(gpu)) && s.labels["method"] == "buffered" && s.value == last
            }
        };
        sink.wait_for(LONG, "a burst", |all| all.iter().any(wanted(0)) && all.iter().any(wanted(1)));
    }
    let (_, samples) = finish(&running, &sink);
    let buffered = |gpu: u32| -> Vec<(i64, f64)> {
        let of_gpu = |s: &&Sample| of(s, "monitor_power_watts", &uuid(gpu)) && s.labels["method"] == "buffered";
        samples.iter().filter(of_gpu).map(|sample| (sample.timestamp_ms, sample.value)).collect()
    };
    let (first, second) = (buffered(0), buffered(1));
    assert_eq!(first.len(), times.len());
    for ((ms, watts), (us, expected)) in first.iter().zip(&times) {
        let ahead = ms - (us / 1000) as i64;
        assert!((0..3).contains(&ahead) && watts == expected, "{ms} {us} {watts} {expected}");
    }
    // The boot is known to a hundredth of a second.
    assert_eq!(second.len(), times.len());
    for ((ms, watts), (us, expected)) in second.iter().zip(&times) {
        assert!((ms - (us / 1000) as i64).abs() < 100 && watts == expected, "{ms} {us} {watts} {expected}");
    }
    assert_eq!(buffered(2), []);
    let dropped: Vec<_> = samples.iter().filter(|s| s.metric == "monitor_nvml_dropped_samples_total").collect();
    let last = dropped.last().unwrap();
    assert_eq!((&*last.labels["reason"], last.value), ("unknown_clock", (times.len() + before.len()) as f64));
    wait_for_text(&running, "timestamps of no clock of this machine");
}

#[test]
fn gpus_that_appear_are_read() {
    let (rig, sink) = (Rig::new(1), Sink::start());
    let running = rig.host(sink.url()).env("NVML_SAMPLES", "off").spawn();
    wait_for_energy(&sink, 0);
    rig.change(|shown| {
        add(shown, 1);
        set(shown, "gpus", 2);
    });
    wait_for_energy(&sink, 1);
    let (_, samples) = finish(&running, &sink);
    assert_eq!(newest(&samples, "monitor_power_watts", 1, ("method", "avg")), 240.501);
    assert_eq!(rig.calls("nvmlInit_v2", None), 1);
    assert_eq!(rig.calls("nvmlDeviceGetSamples", None), 0);
}

/// By `check` as by an image's build; in a process of its own as in the host's.
#[test]
fn it_passes_the_check_stops_at_once_and_can_be_isolated() {
    let rig = Rig::new(2);
    let stopped_at_once = || {
        let running = rig.seen_by(Host::new().arg("check")).arg("--json").arg("--seconds").arg("0.5").spawn();
        assert_eq!(running.wait(LONG).code(), Some(0), "{:?}", running.output());
        let report: Value = serde_json::from_str(&running.output().join("\n")).unwrap();
        assert_eq!((&report["verdict"], &report["problems"]), (&"ok".into(), &Value::Array(vec![])), "{report}");
        assert_eq!(report["plugin"]["name"], "monitor-nvml");
        ["get_power", "process_data"].iter().all(|worker| {
            let stop_s = report["run"]["workers"][worker]["stop_s"].as_f64().unwrap_or_else(|| panic!("{report}"));
            stop_s < 0.1
        })
    };
    // Only a machine that stands still makes it wait.
    assert!((0..5).any(|_| stopped_at_once()));

    let sink = Sink::start();
    let running = rig.host(sink.url()).env("PLUGIN_ISOLATION", "process").spawn();
    (0..2).for_each(|gpu| wait_for_energy(&sink, gpu));
    rig.set("0.energy", 7_000_000_000_u64 + 1_234);
    wait_for_joules(&sink, 0, 1.234);
    finish(&running, &sink);
}
