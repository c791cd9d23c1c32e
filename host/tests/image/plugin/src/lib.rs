//! Counts: 1, 2, 3, and so on, one sample every scrape interval, so that what arrives shows whether something is missing.
//! Goes the long way, through a raw type of its own and `process_data`.

use std::time::Duration;

use monitor_plugin_api::{
    Error, MonitorImpl, RawReceiver, RawSender, Record, RecordSender, Stop, export_monitor_impl, now_ms,
};

struct Counting;

struct Reading {
    count: u32,
    timestamp_ms: i64,
}

impl MonitorImpl for Counting {
    type Raw = Reading;

    fn new() -> Result<Self, Error> {
        Ok(Counting)
    }

    fn get_power(&self, out: RawSender<Reading>, scrape_interval: Duration, stop: Stop) -> Result<(), Error> {
        for (count, _) in (1..).zip(stop.every(scrape_interval)) {
            let timestamp_ms = now_ms();
            let _ = out.send(Reading { count, timestamp_ms });
        }
        Ok(())
    }

    fn process_data(&self, input: RawReceiver<Reading>, out: RecordSender, _stop: Stop) -> Result<(), Error> {
        for Reading { count, timestamp_ms } in input {
            let record = Record::new("image_check_value", f64::from(count)).label("built_in", "sdk").at(timestamp_ms);
            let _ = out.send(record);
        }
        Ok(())
    }
}

export_monitor_impl!(Counting);
