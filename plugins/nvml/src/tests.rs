//! What can be tried without a driver. The rest, with a library that plays NVML, is among the host's black-box tests.

use std::time::Duration;

use monitor_plugin_api::testing::Harness;

use crate::Gpus;

fn told(variables: &[(&str, &str)]) -> String {
    let harness =
        variables.iter().fold(Harness::new::<Gpus>(), |harness, (name, value)| harness.setting(*name, *value));
    harness.run_for(Duration::ZERO).failures().first().map(ToString::to_string).unwrap_or_default()
}

#[test]
fn without_a_library_it_says_what_it_looked_for() {
    let line = told(&[("NVML_LIBRARY", "/nonexistent/libnvidia-ml.so.1")]);
    for part in [
        "new: no NVML: /nonexistent/libnvidia-ml.so.1: ",
        "(NVML_LIBRARY=/nonexistent/",
        "install NVIDIA's driver",
        "--gpus all",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    // A library, but not that one.
    let line = told(&[("NVML_LIBRARY", "libc.so.6")]);
    assert!(line.contains("libc.so.6 is no NVML"), "{line}");
}

#[test]
fn settings_are_held_to_their_bounds() {
    for (name, value) in [("NVML_SLOW_INTERVAL_S", "0"), ("NVML_RESCAN_S", "never"), ("NVML_SAMPLES", "1")] {
        let line = told(&[(name, value)]);
        assert!(line.starts_with(&format!("new: {name}={value:?}: not understood")), "{line}");
    }
}
