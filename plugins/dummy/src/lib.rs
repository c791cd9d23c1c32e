//! Power-like series that no sensor measured: what runs when no other plugin is given.
//!
//! DUMMY_SERIES (5) says how many series, DUMMY_FORM how they are sent: `series` (registered once, then 24 bytes a
//! sample), `records` (names and labels with each sample) or `json` (the same as text).

use std::time::Duration;

use monitor_plugin_api::{
    Clock, Error, Json, MonitorImpl, RawReceiver, RawSender, Record, RecordSender, Sample, Series, SeriesSpec, Stop,
    export_monitor_impl, setting,
};

const METRIC: &str = "monitor_dummy_power_watts";
const COMPONENTS: [&str; 5] = ["package-0", "core", "uncore", "dram", "gpu-0"];

struct Dummy {
    components: Vec<String>,
    form: &'static str,
}

impl MonitorImpl for Dummy {
    /// The moment of a reading, and the watts of each component.
    type Raw = (i64, Vec<f64>);

    fn new() -> Result<Self, Error> {
        let count = setting("DUMMY_SERIES").unit("series").number(COMPONENTS.len(), 1..=1_000_000)?;
        let form = setting("DUMMY_FORM").choice("series", &["series", "records", "json"])?;
        let name = |i: usize| COMPONENTS.get(i).map_or_else(|| format!("part-{i}"), |name| (*name).to_owned());
        Ok(Dummy { components: (0..count).map(name).collect(), form })
    }

    fn get_power(&self, out: RawSender<Self::Raw>, scrape_interval: Duration, stop: Stop) -> Result<(), Error> {
        let mut clock = Clock::new();
        for _ in stop.every(scrape_interval) {
            let now = clock.around(|| ()).0.timestamp_ms;
            let watts = (0..self.components.len()).map(|i| watts(i, now)).collect();
            // A full queue hands the reading back, and the host counts it: the next one is due.
            let _ = out.send((now, watts));
        }
        Ok(())
    }

    fn process_data(&self, input: RawReceiver<Self::Raw>, out: RecordSender, _stop: Stop) -> Result<(), Error> {
        let register = |name: &String| {
            let spec = SeriesSpec::gauge(METRIC).label("component", name);
            out.register(spec.unit("watts").help("Power that no sensor measured."))
        };
        let series = match self.form {
            "series" => self.components.iter().map(register).collect::<Result<Vec<Series>, Error>>()?,
            _ => Vec::new(),
        };
        let mut samples: Vec<Sample> = Vec::new();
        for (now, watts) in input {
            let named = || self.components.iter().zip(&watts);
            let sent = match self.form {
                "series" => {
                    samples.clear();
                    samples.extend(series.iter().zip(&watts).map(|(series, watts)| series.sample(*watts, now)));
                    out.send(&samples[..]).is_ok()
                }
                "records" => {
                    let record =
                        |(name, watts): (&String, &f64)| Record::new(METRIC, *watts).label("component", name).at(now);
                    out.send(named().map(record).collect::<Vec<_>>()).is_ok()
                }
                _ => {
                    let record = |(name, watts): (&String, &f64)| {
                        format!(
                            r#"{{"metric":"{METRIC}","labels":{{"component":"{name}"}},"value":{watts},"timestamp_ms":{now}}}"#
                        )
                    };
                    out.send(Json(format!("[{}]", named().map(record).collect::<Vec<_>>().join(",")))).is_ok()
                }
            };
            if !sent {
                monitor_plugin_api::tracing::warn!(timestamp_ms = now, "a reading was not taken");
            }
        }
        Ok(())
    }
}

/// A triangle wave of ten seconds, shifted and raised by component: from its timestamp, each value can be checked.
fn watts(component: usize, timestamp_ms: i64) -> f64 {
    let phase = (timestamp_ms / 10 + 37 * component as i64).rem_euclid(1000);
    (20 + 5 * (component % 8)) as f64 + (phase - 500).abs() as f64 / 100.0
}

export_monitor_impl!(Dummy);
