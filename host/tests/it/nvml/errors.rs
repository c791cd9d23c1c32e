//! What GPUs and drivers fail with: every code, a GPU lost and found, a driver that goes and comes, instances, no library.

use std::path::Path;

use super::rig::{MODEL, Rig, add, player, set, uuid};
use super::values::{finish, newest, of, wait_for_energy, wait_for_joules};
use crate::faults::{LONG, NOWHERE, lines, wait_for_text};
use crate::host::{Host, Line, Running};
use crate::sink::{Sample, Sink};

/// How often something was counted, as it stood at the end.
fn counted(samples: &[Sample], metric: &str, labels: &[(&str, &str)]) -> f64 {
    let wanted = |sample: &&Sample| {
        sample.metric == metric
            && labels.iter().all(|(name, value)| sample.labels.get(*name).is_some_and(|own| own == value))
    };
    samples.iter().rfind(wanted).map_or(0.0, |sample| sample.value)
}

fn markers<'a>(samples: &'a [Sample], uuid: &'a str) -> Vec<&'a Sample> {
    samples.iter().filter(|s| s.is_marker() && s.labels.get("uuid").is_some_and(|own| own == uuid)).collect()
}

/// Those that pass cost what was asked for, and nothing else.
#[test]
fn each_error_is_counted_by_its_name_and_spoils_nothing_else() {
    const PASSING: [(u32, &str); 20] = [
        (2, "INVALID_ARGUMENT"),
        (4, "NO_PERMISSION"),
        (5, "ALREADY_INITIALIZED"),
        (6, "NOT_FOUND"),
        (7, "INSUFFICIENT_SIZE"),
        (8, "INSUFFICIENT_POWER"),
        (10, "TIMEOUT"),
        (11, "IRQ_ISSUE"),
        (12, "LIBRARY_NOT_FOUND"),
        (14, "CORRUPTED_INFOROM"),
        (17, "OPERATING_SYSTEM"),
        (19, "IN_USE"),
        (20, "MEMORY"),
        (21, "NO_DATA"),
        (22, "VGPU_ECC_NOT_SUPPORTED"),
        (23, "INSUFFICIENT_RESOURCES"),
        (24, "FREQ_NOT_SUPPORTED"),
        (27, "NOT_READY"),
        (29, "INVALID_STATE"),
        (999, "UNKNOWN"),
    ];
    let (rig, sink) = (Rig::new(2), Sink::start());
    let running = rig.host(sink.url()).spawn();
    (0..2).for_each(|gpu| wait_for_energy(&sink, gpu));
    for (code, name) in PASSING {
        rig.set("0.nvmlDeviceGetTotalEnergyConsumption.error", code);
        wait_for_text(&running, &format!("energy can't be read: {name};"));
    }
    rig.unset("0.nvmlDeviceGetTotalEnergyConsumption.error");
    wait_for_text(&running, "energy can be read again");
    // Nothing of what was spent meanwhile is missing.
    rig.set("0.energy", 7_000_004_321_u64);
    wait_for_joules(&sink, 0, 4.321);
    // Each function fails on its own.
    for (symbol, field) in [
        ("nvmlDeviceGetFieldValues", "power_instant"),
        ("nvmlDeviceGetSamples", "power_samples"),
        ("nvmlDeviceGetUtilizationRates", "utilization"),
        ("nvmlDeviceGetMemoryInfo_v2", "memory"),
        ("nvmlDeviceGetTemperature", "temperature"),
        ("nvmlDeviceGetClockInfo", "clock_video"),
        ("nvmlDeviceGetCurrentClocksThrottleReasons", "throttle_reasons"),
        ("nvmlDeviceGetMigMode", "mig_instances"),
        ("nvmlDeviceGetHandleByIndex_v2", "GPU 1 can't be reached"),
        ("nvmlDeviceGetCount_v2", "GPUs can't be counted"),
    ] {
        let key =
            if symbol == "nvmlDeviceGetCount_v2" { format!("{symbol}.error") } else { format!("1.{symbol}.error") };
        rig.set(&key, 10);
        let told =
            if field.contains(' ') { format!("{field}: TIMEOUT") } else { format!("{field} can't be read: TIMEOUT") };
        wait_for_text(&running, &told);
        rig.unset(&key);
    }
    let (_, samples) = finish(&running, &sink);
    for (_, code) in PASSING {
        let times = counted(&samples, "monitor_nvml_errors_total", &[("field", "energy"), ("code", code)]);
        let told = lines_with(&running, &format!("energy can't be read: {code};"));
        assert!(times >= 1.0 && told == 1, "{code}: {times} {told}");
    }
    assert!(counted(&samples, "monitor_nvml_errors_total", &[("field", "discovery"), ("code", "TIMEOUT")]) >= 2.0);
    assert_eq!(counted(&samples, "monitor_nvml_lost_gpus_total", &[]), 0.0);
    assert_eq!((markers(&samples, &uuid(0)).len(), markers(&samples, &uuid(1)).len()), (0, 0));
    assert_eq!(rig.calls("nvmlInit_v2", None), 1);
}

fn lines_with(running: &Running, text: &str) -> usize {
    running.log().iter().filter(|line| line.text.contains(text)).count()
}

/// A field that is offered no more ends its series, and is not asked for again.
#[test]
fn what_is_not_supported_any_more_ends() {
    for (code, name) in
        [(3, "NOT_SUPPORTED"), (13, "FUNCTION_NOT_FOUND"), (25, "ARGUMENT_VERSION_MISMATCH"), (26, "DEPRECATED")]
    {
        let (rig, sink) = (Rig::new(1), Sink::start());
        let running = rig.host(sink.url()).spawn();
        let known = |sample: &Sample| of(sample, "monitor_gpu_utilization_ratio", &uuid(0));
        sink.wait_for(LONG, "utilization", |samples| samples.iter().any(known));
        rig.set("0.nvmlDeviceGetUtilizationRates.error", code);
        sink.wait_for(LONG, "markers", |samples| markers(samples, &uuid(0)).len() == 2);
        let asked = rig.calls("nvmlDeviceGetUtilizationRates", None);
        let before = sink.samples().len();
        sink.wait_samples(before + 100, LONG);
        assert_eq!(rig.calls("nvmlDeviceGetUtilizationRates", None), asked);
        let (_, samples) = finish(&running, &sink);
        let mut ended: Vec<_> = markers(&samples, &uuid(0)).iter().map(|marker| marker.metric.clone()).collect();
        ended.sort();
        assert_eq!(ended, ["monitor_gpu_memory_utilization_ratio", "monitor_gpu_utilization_ratio"], "{name}");
        assert_eq!(lines_with(&running, &format!("does not offer utilization: {name}")), 1);
    }
}

#[test]
fn a_gpu_is_lost_and_found_by_its_uuid() {
    for code in [15, 16, 28] {
        let (rig, sink) = (Rig::new(2), Sink::start());
        let running = rig.host(sink.url()).spawn();
        (0..2).for_each(|gpu| wait_for_energy(&sink, gpu));
        rig.set("1.energy", 7_000_000_001_u64 + 5_000);
        wait_for_joules(&sink, 1, 5.0);

        rig.set("1.error", code);
        wait_for_text(&running, "is lost: ");
        let ended = |sample: &Sample| sample.is_marker() && of(sample, "monitor_energy_joules_total", &uuid(1));
        sink.wait_for(LONG, "the end of its series", |samples| samples.iter().any(ended));
        rig.set("0.energy", 7_000_000_000_u64 + 600);
        wait_for_joules(&sink, 0, 0.6);

        // It went on counting.
        rig.change(|shown| {
            shown.remove("1.error");
            set(shown, "1.energy", 7_000_000_001_u64 + 9_000);
        });
        wait_for_text(&running, "is back");
        wait_for_joules(&sink, 1, 9.0);
        let (_, samples) = finish(&running, &sink);
        assert_eq!(markers(&samples, &uuid(0)).len(), 0);
        assert_eq!(counted(&samples, "monitor_nvml_lost_gpus_total", &[]), 1.0);
        assert_eq!(counted(&samples, "monitor_nvml_found_gpus_total", &[]), 1.0);
        // While it is gone, it is not asked all the time.
        let (init, shutdown) = (rig.calls("nvmlInit_v2", None), rig.calls("nvmlShutdown", None));
        assert!((2..10).contains(&init) && init == shutdown, "{init} {shutdown}");
    }
}

/// Until it is looked for again, nobody asks it, and the others are read on.
#[test]
fn a_lost_gpu_is_left_alone() {
    let (rig, sink) = (Rig::new(2), Sink::start());
    let running = rig.host(sink.url()).env("NVML_RESCAN_S", "3600").spawn();
    (0..2).for_each(|gpu| wait_for_energy(&sink, gpu));
    rig.set("1.nvmlDeviceGetTemperature.error", 15);
    wait_for_text(&running, "is lost: GPU_IS_LOST; it is looked for every 3600 s");
    let asked = rig.calls("nvmlDeviceGetTotalEnergyConsumption", Some("1"));
    let before = sink.samples().len();
    sink.wait_samples(before + 200, LONG);
    assert_eq!(rig.calls("nvmlDeviceGetTotalEnergyConsumption", Some("1")), asked);
    let (_, samples) = finish(&running, &sink);
    assert_eq!(counted(&samples, "monitor_nvml_gpus", &[]), 1.0);
    assert_eq!((markers(&samples, &uuid(0)).len(), rig.calls("nvmlInit_v2", None)), (0, 1));
}

/// The driver goes, and a new one counts from zero: what both have counted is there, and the series are the same.
#[test]
fn a_driver_is_loaded_anew() {
    for code in [1, 9, 18] {
        let (rig, sink) = (Rig::new(2), Sink::start());
        let running = rig.host(sink.url()).spawn();
        (0..2).for_each(|gpu| wait_for_energy(&sink, gpu));
        rig.set("0.energy", 7_000_000_000_u64 + 2_500);
        wait_for_joules(&sink, 0, 2.5);

        rig.change(|shown| {
            set(shown, "error", code);
            set(shown, "nvmlInit_v2.error", 9);
        });
        wait_for_text(&running, "the driver is gone: ");
        wait_for_text(&running, "can't be initialised: DRIVER_NOT_LOADED; load NVIDIA's kernel module");
        let ended = |sample: &Sample| sample.is_marker() && of(sample, "monitor_energy_joules_total", &uuid(0));
        sink.wait_for(LONG, "the end of the series", |samples| samples.iter().any(ended));

        rig.change(|shown| {
            shown.remove("error");
            shown.remove("nvmlInit_v2.error");
            // Which numbers its GPUs in another order.
            set(shown, "0.uuid", uuid(1));
            set(shown, "1.uuid", uuid(0));
            set(shown, "1.energy", 750);
        });
        wait_for_text(&running, "NVML could be initialised again");
        wait_for_joules(&sink, 0, 3.25);
        rig.set("1.energy", 1_000);
        wait_for_joules(&sink, 0, 3.5);
        let (_, samples) = finish(&running, &sink);
        assert_eq!(newest(&samples, "monitor_energy_joules_total", 0, ("gpu", "0")), 2.5);
        assert_eq!(newest(&samples, "monitor_energy_joules_total", 0, ("gpu", "1")), 3.5);
        assert!(counted(&samples, "monitor_nvml_restarts_total", &[]) >= 1.0);
        let blind = counted(&samples, "monitor_nvml_init_errors_total", &[("code", "DRIVER_NOT_LOADED")]);
        assert!(blind >= 1.0 && rig.calls("nvmlInit_v2", None) as f64 >= blind + 2.0, "{blind}");
        assert_eq!(lines_with(&running, "can't be initialised"), 1);
        assert_eq!(lines_with(&running, "its energy counter began again"), 1);
    }
}

/// One that is there again at once is not even noticed by those who look at the series.
#[test]
fn a_short_interruption_ends_no_series_and_a_jump_is_left_out() {
    let (rig, sink) = (Rig::new(1), Sink::start());
    let running = rig.host(sink.url()).spawn();
    wait_for_energy(&sink, 0);
    rig.set("0.nvmlDeviceGetTotalEnergyConsumption.error", 1);
    wait_for_text(&running, "the driver is gone: UNINITIALIZED");
    rig.unset("0.nvmlDeviceGetTotalEnergyConsumption.error");
    rig.set("0.energy", 7_000_000_000_u64 + 100);
    wait_for_joules(&sink, 0, 0.1);
    // Twenty megajoules in a hundredth of a second are none.
    rig.set("0.energy", 27_000_000_000_u64);
    wait_for_text(&running, "jumped to 27000000000 mJ");
    rig.set("0.energy", 27_000_000_000_u64 + 50);
    wait_for_joules(&sink, 0, 0.15);
    let (_, samples) = finish(&running, &sink);
    assert_eq!(counted(&samples, "monitor_nvml_energy_left_out_total", &[]), 1.0);
    assert!(samples.iter().all(|sample| sample.is_marker() || sample.value >= 0.0));
}

/// The driver does not give them again.
#[test]
fn the_driver_s_samples_that_go_with_it_are_counted() {
    let (rig, sink) = (Rig::new(2), Sink::start());
    let running = rig.host(sink.url()).spawn();
    (0..2).for_each(|gpu| wait_for_energy(&sink, gpu));
    let now_us = monitor_plugin_api::now_ms() * 1000;
    rig.change(|shown| {
        let buffer = shown.get_mut("0.sample").unwrap();
        buffer.extend((0..3).map(|i| format!("{} {}", now_us + 1000 * i, 1000 + i)));
        // Asked behind the first.
        set(shown, "1.nvmlDeviceGetSamples.error", 1);
    });
    // The first time, the first GPU may have been asked before.
    let mut times = 0;
    let gone_twice = |line: &Line| {
        times += u32::from(line.text.contains("the driver is gone: UNINITIALIZED"));
        times == 2
    };
    running.wait_for_log(gone_twice, LONG);
    rig.unset("1.nvmlDeviceGetSamples.error");
    let (_, samples) = finish(&running, &sink);
    assert_eq!(counted(&samples, "monitor_nvml_dropped_samples_total", &[("reason", "driver_gone")]), 3.0);
    assert!(samples.iter().all(|sample| sample.labels.get("method").is_none_or(|method| method != "buffered")));
}

#[test]
fn instances_come_and_go() {
    let (rig, sink) = (Rig::new(2), Sink::start());
    let instance = |shown: &mut super::rig::Shown, place: u32, gi: u32, bytes: u64| {
        set(shown, &format!("0/{place}.uuid"), format!("MIG-{place}"));
        set(shown, &format!("0/{place}.name"), format!("{MODEL} MIG 1g.10gb"));
        set(shown, &format!("0/{place}.gpu_instance"), gi);
        set(shown, &format!("0/{place}.compute_instance"), 0);
        set(shown, &format!("0/{place}.memory_used"), bytes);
        set(shown, &format!("0/{place}.memory_total"), 10_000_000_000_u64);
    };
    rig.change(|shown| {
        set(shown, "0.mig", 1);
        set(shown, "0.places", 7);
        // As on a GPU that is divided.
        shown.remove("0.utilization");
        instance(shown, 0, 9, 1_000);
        instance(shown, 3, 11, 4_000);
    });
    let running = rig.host(sink.url()).spawn();
    let used = "monitor_gpu_instance_memory_used_bytes";
    let there = |place: u32| move |samples: &[Sample]| samples.iter().any(|s| of(s, used, &format!("MIG-{place}")));
    for place in [0, 3] {
        sink.wait_for(LONG, "an instance", there(place));
    }
    rig.change(|shown| instance(shown, 5, 13, 6_000));
    sink.wait_for(LONG, "a new instance", there(5));
    rig.change(|shown| shown.retain(|key, _| !key.starts_with("0/3.")));
    sink.wait_for(LONG, "its end", |samples| markers(samples, "MIG-3").len() == 2);
    // With their GPU, all of them go.
    rig.set("0.error", 15);
    sink.wait_for(LONG, "their end", |samples| {
        markers(samples, "MIG-0").len() == 2 && markers(samples, "MIG-5").len() == 2
    });
    let (_, samples) = finish(&running, &sink);

    let one = samples.iter().find(|sample| of(sample, used, "MIG-3")).unwrap();
    let labels: Vec<_> = one.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let model = format!("{MODEL} MIG 1g.10gb");
    assert_eq!(
        labels,
        [
            ("compute_instance", "0"),
            ("gpu", "0"),
            ("gpu_instance", "11"),
            ("model", &model),
            ("parent", &uuid(0)),
            ("source", "nvml"),
            ("uuid", "MIG-3")
        ]
    );
    assert_eq!(one.value, 4000.0);
    // An instance has no power, and no energy, and nobody asks for it.
    for symbol in ["nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetFieldValues", "nvmlDeviceGetPowerUsage"] {
        assert_eq!(rig.calls(symbol, Some("0/0")), 0, "{symbol}");
    }
    assert!(samples.iter().all(|sample| !of(sample, "monitor_gpu_utilization_ratio", &uuid(0))));
    assert!(samples.iter().any(|sample| of(sample, "monitor_energy_joules_total", &uuid(0))));
    assert_eq!(counted(&samples, "monitor_nvml_lost_gpus_total", &[]), 1.0);
    assert_eq!(markers(&samples, &uuid(1)).len(), 0);
}

#[test]
fn without_nvml_it_says_what_was_looked_for_and_what_to_do() {
    let said = |host: Host| {
        let running = host.spawn();
        assert_eq!(running.wait(LONG).code(), Some(3), "{}", running.log_text());
        let errors = lines(&running, "ERROR");
        assert_eq!(errors.len(), 1, "{}", running.log_text());
        errors[0].message().to_owned()
    };
    let none = Rig::new(0);
    for (library, parts) in [
        (
            "libnvidia-ml.so.nonexistent",
            ["libnvidia-ml.so.nonexistent", "NVML_LIBRARY", "driver", "toolkit", "--gpus all"],
        ),
        ("libc.so.6", ["libc.so.6 is no NVML", "nvmlInit_v2", "libnvidia-ml.so.1", "NVML_LIBRARY", "driver"]),
        (player().to_str().unwrap(), ["knows no GPU", "nvidia-smi", "toolkit", "--gpus all", "libplayer.so"]),
    ] {
        let line = said(none.host(NOWHERE).env("NVML_LIBRARY", Path::new(library)));
        assert!(parts.iter().all(|part| line.contains(part)), "{line}");
    }
    let rig = Rig::new(1);
    for (code, parts) in [
        (9, ["DRIVER_NOT_LOADED", "load NVIDIA's kernel module", "--gpus all"]),
        (4, ["NO_PERMISSION", "/dev/nvidiactl", "read and write"]),
        (18, ["LIB_RM_VERSION_MISMATCH", "another version", "restart"]),
        (999, ["UNKNOWN", "nvidia-smi", "can't be initialised"]),
    ] {
        rig.set("nvmlInit_v2.error", code);
        let line = said(rig.host(NOWHERE));
        assert!(parts.iter().all(|part| line.contains(part)), "{line}");
    }
    rig.unset("nvmlInit_v2.error");
    rig.set("nvmlDeviceGetCount_v2.error", 9);
    assert!(said(rig.host(NOWHERE)).contains("GPUs can't be counted: DRIVER_NOT_LOADED"));
    let line = said(rig.host(NOWHERE).env("NVML_SLOW_INTERVAL_S", "soon"));
    assert!(line.contains("NVML_SLOW_INTERVAL_S=\"soon\": not understood"), "{line}");
}

/// A GPU that is lost before the first reading is found when it comes.
#[test]
fn a_gpu_that_is_lost_at_the_start_is_looked_for() {
    let (rig, sink) = (Rig::new(1), Sink::start());
    rig.change(|shown| {
        add(shown, 1);
        set(shown, "gpus", 2);
        set(shown, "1.error", 15);
    });
    let running = rig.host(sink.url()).spawn();
    wait_for_text(&running, "GPU 1 can't be reached: GPU_IS_LOST");
    wait_for_energy(&sink, 0);
    rig.unset("1.error");
    wait_for_energy(&sink, 1);
    let (_, samples) = finish(&running, &sink);
    assert_eq!(markers(&samples, &uuid(0)).len(), 0);
    assert_eq!(lines_with(&running, "GPU 1 can't be reached"), 1);
}

/// Who waits for a driver is as quick to stop as who has one.
#[test]
fn without_a_driver_it_stops_at_once_too() {
    let (rig, sink) = (Rig::new(1), Sink::start());
    let running = rig.host(sink.url()).env("NVML_RESCAN_S", "3600").env("SHUTDOWN_TIMEOUT_S", "60").spawn();
    wait_for_energy(&sink, 0);
    rig.set("error", 1);
    wait_for_text(&running, "is lost: there is no NVML; it is looked for every 3600 s");
    let ended = |sample: &Sample| sample.is_marker();
    sink.wait_for(LONG, "the end of the series", |samples| samples.iter().any(ended));
    let asked = std::time::Instant::now();
    finish(&running, &sink);
    assert!(asked.elapsed() < std::time::Duration::from_secs(10), "{:?}", asked.elapsed());
    assert_eq!(rig.calls("nvmlInit_v2", None), 1);
}
