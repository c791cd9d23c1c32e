//! A plugin that sends as much as a bench asks for, and costs next to nothing itself.
//!
//! LOAD_SERIES (5) series with two labels each, of which the first LOAD_ACTIVE (all) get samples; sent as LOAD_FORM
//! (`series`, `records`, `json`) says. At LOAD_PACE
//! `interval` all of them get a sample at each SCRAPE_INTERVAL_S; at `flood`, as fast as the host takes samples of
//! registered series, four of a series at a time, `BLOCK` a send.
//!
//! Never: gives up a sample; what was refused is offered again.

use std::fmt::Write;
use std::ops::Range;
use std::time::Duration;

use monitor_plugin_api::{
    Error, Json, MonitorImpl, RawReceiver, RawSender, Record, RecordSender, SendError, SeriesSpec, Stop,
    export_monitor_impl, now_ms, setting,
};

/// As the floor has them (xtask/src/bench/floor.rs).
const METRIC: &str = "load_energy_joules_total";
const SOURCE: &str = "bench";

/// The samples of one send of a flood.
const BLOCK: usize = 1000;

/// Samples of one series that follow each other in a flood.
const GROUP: usize = 4;

struct Load {
    series: usize,
    /// The labels of those that get samples.
    parts: Vec<String>,
    form: &'static str,
    flood: bool,
}

/// What is to be sent at once.
struct Reading {
    at: i64,
    /// How many samples each series has in it, a millisecond apart.
    times: usize,
    parts: Range<usize>,
}

impl MonitorImpl for Load {
    type Raw = Reading;

    fn new() -> Result<Self, Error> {
        let series = setting("LOAD_SERIES").unit("series").number(5, 1..=1_000_000)?;
        let active = setting("LOAD_ACTIVE").unit("series").number(series, 0..=series)?;
        let form = setting("LOAD_FORM").choice("series", &["series", "records", "json"])?;
        let flood = setting("LOAD_PACE").choice("interval", &["interval", "flood"])? == "flood";
        Ok(Load { series, parts: (0..active).map(part).collect(), form, flood })
    }

    fn get_power(&self, out: RawSender<Reading>, scrape_interval: Duration, stop: Stop) -> Result<(), Error> {
        let all = self.parts.len();
        if !self.flood {
            for _ in stop.every(scrape_interval) {
                insist(Reading { at: now_ms(), times: 1, parts: 0..all }, |reading| out.send(reading));
            }
            return Ok(());
        }
        // Its clock is its own: it goes on by a millisecond with each sample of a series.
        for at in (now_ms()..).step_by(GROUP) {
            for first in (0..all).step_by(BLOCK / GROUP) {
                let reading = Reading { at, times: GROUP, parts: first..all.min(first + BLOCK / GROUP) };
                if stop.is_set() || !insist(reading, |reading| out.send(reading)) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn process_data(&self, input: RawReceiver<Reading>, out: RecordSender, _stop: Stop) -> Result<(), Error> {
        let register = |i| out.register(SeriesSpec::new(METRIC).label("part", part(i)).label("source", SOURCE));
        let series = match self.form {
            "series" => (0..self.series).map(register).collect::<Result<Vec<_>, Error>>()?,
            _ => Vec::new(),
        };
        let (mut samples, mut text) = (Vec::new(), String::new());
        for reading in input {
            match self.form {
                "series" => {
                    samples.clear();
                    let (at, parts) = (reading.at, reading.parts);
                    if reading.times == 1 {
                        let of_parts = series[parts.clone()].iter().zip(parts);
                        samples.extend(of_parts.map(|(series, i)| series.sample(value(i, at), at)));
                    } else {
                        for i in parts {
                            let times = (at..).take(reading.times);
                            samples.extend(times.map(|at| series[i].sample(value(i, at), at)));
                        }
                    }
                    insist(&samples[..], |samples| out.send(samples));
                }
                "records" => {
                    let record = |i: usize| Record::new(METRIC, value(i, reading.at)).label("part", &*self.parts[i]);
                    let records = reading.parts.map(|i| record(i).label("source", SOURCE).at(reading.at));
                    insist(records.collect::<Vec<_>>(), |records| out.send(records));
                }
                _ => {
                    self.write(&mut text, &reading);
                    insist(Json(text.as_bytes()), |json| out.send(json));
                }
            }
        }
        Ok(())
    }
}

impl Load {
    fn write(&self, text: &mut String, reading: &Reading) {
        text.clear();
        for i in reading.parts.clone() {
            text.push(if i == 0 { '[' } else { ',' });
            let (part, value, at) = (&self.parts[i], value(i, reading.at), reading.at);
            let labels = format_args!(r#"{{"part":"{part}","source":"{SOURCE}"}}"#);
            // Nothing fails that writes to a string.
            let _ = write!(text, r#"{{"metric":"{METRIC}","labels":{labels},"value":{value},"timestamp_ms":{at}}}"#);
        }
        text.push(']');
    }
}

fn part(i: usize) -> String {
    format!("part-{i}")
}

/// Offers it until it is taken; whether it was, before the run ended.
fn insist<T>(mut item: T, send: impl Fn(T) -> Result<(), SendError<T>>) -> bool {
    loop {
        match send(item) {
            Err(SendError::Full(back)) => item = back,
            taken => return taken.is_ok(),
        }
    }
}

/// A counter in the steps that energy registers have, as the floor has it.
fn value(part: usize, now: i64) -> f64 {
    ((part as i64 * 7919 + now * 13) & 0xff_ffff) as f64 / 16384.0
}

export_monitor_impl!(Load);
