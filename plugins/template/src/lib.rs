//! The load averages of Linux, as three series: a small sensor to start from.

use std::time::Duration;

use monitor_plugin_api::{
    Error, MonitorImpl, RawReceiver, RawSender, RecordSender, SeriesSpec, Stop, export_monitor_impl, now_ms, setting,
};

#[cfg(test)]
mod tests;

struct LoadAverage {
    file: String,
}

impl MonitorImpl for LoadAverage {
    /// The moment of a reading, and what was read. Any type will do: the host never sees it.
    type Raw = (i64, String);

    fn new() -> Result<Self, Error> {
        Ok(LoadAverage { file: setting("LOADAVG_FILE").text("/proc/loadavg")? })
    }

    fn get_power(&self, out: RawSender<Self::Raw>, scrape_interval: Duration, stop: Stop) -> Result<(), Error> {
        for _ in stop.every(scrape_interval) {
            let text = std::fs::read_to_string(&self.file).map_err(|error| Error::from(error).context(&self.file))?;
            // A full queue hands the reading back, and the host counts it: the next one is due.
            let _ = out.send((now_ms(), text));
        }
        Ok(())
    }

    fn process_data(&self, input: RawReceiver<Self::Raw>, out: RecordSender, _stop: Stop) -> Result<(), Error> {
        let spec = |m| SeriesSpec::gauge("load_average").label("minutes", m).help("Tasks that run or wait to run.");
        let series = [out.register(spec("1"))?, out.register(spec("5"))?, out.register(spec("15"))?];
        for (timestamp_ms, text) in input {
            let mut samples = Vec::new();
            for (series, number) in series.iter().zip(text.split(' ')) {
                let number = number.parse().map_err(|error| Error::from(error).context(&self.file))?;
                samples.push(series.sample(number, timestamp_ms));
            }
            let _ = out.send(&samples[..]);
        }
        Ok(())
    }
}

export_monitor_impl!(LoadAverage);
