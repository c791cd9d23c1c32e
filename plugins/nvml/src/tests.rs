//! What can be tried without a driver. The rest, with a library that plays NVML, is among the host's black-box tests.

use std::sync::Arc;
use std::time::Duration;

use monitor_plugin_api::testing::Harness;
use monitor_plugin_api::{Error, Kind, MonitorImpl, RawReceiver, RawSender, RecordSender, Stop};

use crate::field::{Field, Fields, Key, Method};
use crate::gpu::{Identity, Reading};
use crate::output::Output;
use crate::{Gpus, Sweep};

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

/// Sends sweeps that were made by hand.
struct Played;

const BEGAN_MS: i64 = 1_760_000_000_000;

fn sweep(step: i64, is_there: bool, unsupported: Fields) -> Sweep {
    let identity = Identity { gpu: 0, uuid: "GPU-7".into(), model: "Player".into(), instance: None };
    let at = BEGAN_MS + step;
    let power = Key::Power(Method::Instant, Field::PowerInstant);
    let mut values = vec![(Key::Energy, step as f64, at)];
    if !unsupported.contains(Field::PowerInstant) {
        values.push((power, 250.0, at));
    }
    let reading = Reading { identity: Arc::new(identity), unsupported, began_ms: Some(BEGAN_MS), values };
    Sweep { readings: if is_there { vec![reading] } else { Vec::new() }, report: None }
}

impl MonitorImpl for Played {
    type Raw = Sweep;

    fn new() -> Result<Self, Error> {
        Ok(Played)
    }

    fn get_power(&self, out: RawSender<Sweep>, _: Duration, stop: Stop) -> Result<(), Error> {
        let mut without_power = Fields::default();
        without_power.insert(Field::PowerInstant);
        let all = Fields::default();
        for (step, is_there, unsupported) in
            [(0, true, all), (1, true, without_power), (2, true, all), (3, false, all), (4, true, all)]
        {
            out.send(sweep(step, is_there, unsupported)).map_err(|_| Error::new("the raw queue stayed full"))?;
        }
        stop.wait(Duration::MAX);
        Ok(())
    }

    fn process_data(&self, input: RawReceiver<Sweep>, out: RecordSender, _: Stop) -> Result<(), Error> {
        let mut output = Output::new(out);
        input.into_iter().try_for_each(|sweep| output.take(&sweep))
    }
}

#[test]
fn series_end_with_their_gpu_and_with_their_field() {
    let run = Harness::new::<Played>().run_until_samples(7, Duration::from_secs(60));
    run.assert_ok();
    let series: Vec<_> =
        run.series().iter().map(|series| (series.metric.as_str(), series.kind, series.ended)).collect();
    let (energy, power) = (("monitor_energy_joules_total", Kind::Counter), ("monitor_power_watts", Kind::Gauge));
    let with = |(metric, kind), ended| (metric, kind, ended);
    // The first power ends with its field, the second with its GPU, as does the first energy.
    assert_eq!(
        series,
        [with(energy, true), with(power, true), with(power, true), with(energy, false), with(power, false)]
    );
    for series in run.series() {
        let counts_from = (series.kind == Kind::Counter).then_some(BEGAN_MS);
        assert_eq!((series.start_ms, series.help.is_empty()), (counts_from, false), "{series}");
        let labels = ["component", "gpu", "model", "source", "uuid"].map(|name| series.label(name).unwrap_or_default());
        assert_eq!(labels, ["gpu", "0", "Player", "nvml", "GPU-7"]);
    }
    let joules: Vec<_> = run.samples_of("monitor_energy_joules_total").map(|sample| sample.value).collect();
    assert_eq!(joules, [0.0, 1.0, 2.0, 4.0]);
}
