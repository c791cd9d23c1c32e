//! A plugin that does what a test asks of it, by variables that begin with FAULT_.
//!
//! Without any, it numbers its samples: series `fault_number` gets the values 1, 2, 3, … at SCRAPE_INTERVAL_S, each
//! with the moment of its reading, so that a test can tell from what arrived what is missing.
#![allow(unsafe_code, reason = "a segmentation fault is one of the faults")]

use std::fs::OpenOptions;
use std::io::{Write, stdout};
use std::time::Duration;

use monitor_plugin_api::tracing::{debug, error, info, warn};
use monitor_plugin_api::{
    Error, Histogram, Json, MonitorImpl, RawReceiver, RawSender, Record, RecordSender, Series, SeriesSpec, Stop,
    WithExemplars, export_monitor_impl, now_ms, setting,
};

/// How samples are sent. `exemplars`: each with one. `histograms`: three series `fault_histogram` of native histograms,
/// each with an exemplar. `mixed`: both of them. `invalid`: a sample with exemplars that nobody takes, and a histogram of
/// that kind.
const FORMS: [&str; 8] = ["series", "records", "list", "json", "exemplars", "histograms", "mixed", "invalid"];

const BEHAVIOURS: [&str; 16] = [
    "run",
    "error",
    "return",
    "panic",
    "ignore-stop",
    "panic-string",
    "segfault",
    "abort",
    "overflow",
    "exit",
    "exit-0",
    "leak",
    "stall",
    "hang",
    "spin",
    "print",
];

struct Fault {
    /// What `get_power` and `process_data` do after `after` readings.
    get_power: &'static str,
    process_data: &'static str,
    /// What is done when the plugin is taken down.
    drop: &'static str,
    after: u64,
    /// One of [`FORMS`]; `json` is the text of FAULT_JSON.
    form: &'static str,
    /// NUMBER, NOW_MS and NOW_ISO in it become the number of the reading and its moment.
    json: String,
    series: usize,
    /// When the counters behind the registered series were zero, in milliseconds since the Unix epoch; 0 is not known.
    start_ms: i64,
    /// The number of the first reading.
    first: u64,
    /// Added to the value of a sample for each series before its own, so that no two series have the same.
    spread: f64,
    /// Each reading is a line of standard output before its samples are sent: number, timestamp, now; and another one when
    /// they are handed back. It outlives a kill.
    journal: bool,
    /// Added to the moment of each reading, in milliseconds: one number for each of them in turn.
    offsets_ms: Vec<i64>,
    process_delay: Duration,
    /// After so many readings, one sample is sent of a series whose handle was dropped before.
    end_after: u64,
    /// The level of lines that a thread of its own logs as fast as it can; `off` for none.
    flood: &'static str,
    /// After so many readings, the first series gets no more samples; its handle is kept.
    silent_after: u64,
    /// So many threads are started, and neither told to end nor waited for.
    threads: usize,
}

impl MonitorImpl for Fault {
    /// The number of the reading, and its moment.
    type Raw = (u64, i64);

    fn new() -> Result<Self, Error> {
        let instance = count_instance(&setting("FAULT_INSTANCES").text("")?)?;
        // So many instances misbehave, the others don't.
        let is_faulty = instance <= setting("FAULT_FAULTY").number(u64::MAX, 0..=u64::MAX)?;
        let behaviour = |name| setting(name).choice("run", &BEHAVIOURS).map(|how| if is_faulty { how } else { "run" });
        match behaviour(if instance == 1 { "FAULT_NEW" } else { "FAULT_NEW_LATER" })? {
            "error" => return Err(Error::new("FAULT_NEW asked for an error: there is no sensor")),
            "panic" => panic!("FAULT_NEW asked for a panic"),
            "ignore-stop" => ignore_stop(),
            "run" => {}
            how => misbehave(how, &Stop::new())?,
        }
        let series = setting("FAULT_SERIES").number(1, 1..=1_000_000)?;
        let offsets = setting("FAULT_OFFSETS_MS").text("0")?;
        let offsets_ms = offsets.split(',').map(str::parse).collect::<Result<_, _>>();
        Ok(Fault {
            get_power: behaviour("FAULT_GET_POWER")?,
            process_data: behaviour("FAULT_PROCESS_DATA")?,
            drop: behaviour("FAULT_DROP")?,
            after: setting("FAULT_AFTER").number(10, 0..=u64::MAX)?,
            form: setting("FAULT_FORM").choice("series", &FORMS)?,
            json: setting("FAULT_JSON").text("")?,
            series: match instance {
                1 => series,
                _ => setting("FAULT_SERIES_LATER").number(series, 1..=1_000_000)?,
            },
            start_ms: setting("FAULT_START_MS").number(0, 0..=i64::MAX)?,
            first: setting("FAULT_FIRST").number(1, 1..=u64::MAX / 2)?,
            spread: setting("FAULT_SPREAD").text("0")?.parse()?,
            journal: setting("FAULT_JOURNAL").choice("0", &["0", "1"])? == "1",
            offsets_ms: offsets_ms.map_err(|error| Error::from(error).context("FAULT_OFFSETS_MS"))?,
            process_delay: setting("FAULT_PROCESS_DELAY_S")
                .seconds(Duration::ZERO, Duration::ZERO..=Duration::MAX / 2)?,
            flood: setting("FAULT_FLOOD").choice("off", &["off", "debug", "info", "error"])?,
            end_after: setting("FAULT_END_AFTER").number(0, 0..=u64::MAX)?,
            silent_after: setting("FAULT_SILENT_AFTER").number(u64::MAX, 0..=u64::MAX)?,
            threads: setting("FAULT_THREADS").number(0, 0..=100)?,
        })
    }

    fn get_power(&self, out: RawSender<Self::Raw>, scrape_interval: Duration, stop: Stop) -> Result<(), Error> {
        for _ in 0..self.threads {
            std::thread::Builder::new().name("fault-left".into()).spawn(ignore_stop)?;
        }
        if self.flood != "off" {
            let (level, stop) = (self.flood, stop.clone());
            std::thread::spawn(move || flood(level, &stop));
        }
        let mut moment = 0;
        for (count, _) in (0..).zip(stop.every(scrape_interval)) {
            let number = self.first + count;
            let offset = self.offsets_ms[count as usize % self.offsets_ms.len()];
            // A late reading and the next one can fall into one millisecond: only an offset may make a duplicate.
            moment = now_ms().max(moment + 1);
            // Without waiting: a full raw queue is one of the faults, and the host counts what is handed back.
            let _ = out.send_timeout((number, moment + offset), Duration::ZERO);
            if number == self.after {
                misbehave(self.get_power, &stop)?;
                if self.get_power == "return" {
                    return Ok(());
                }
            }
        }
        if self.get_power == "ignore-stop" {
            ignore_stop();
        }
        Ok(())
    }

    fn process_data(&self, input: RawReceiver<Self::Raw>, out: RecordSender, stop: Stop) -> Result<(), Error> {
        info!(answer = 42, "the fault plugin is ready");
        debug!("a detail of the fault plugin");
        warn!("a warning of the fault plugin");
        error!("an error of the fault plugin");
        let started = |spec: SeriesSpec| match self.start_ms {
            0 => spec,
            start_ms => spec.started_at(start_ms),
        };
        let named = |i: usize| started(SeriesSpec::gauge("fault_number").label("series", i.to_string()));
        let mut series = (0..self.series).map(|i| out.register(named(i))).collect::<Result<Vec<Series>, Error>>()?;
        let with_histograms = ["histograms", "mixed", "invalid"].contains(&self.form);
        let spec = |counts| SeriesSpec::histogram("fault_histogram").label("counts", counts);
        let spec = |counts| started(spec(counts).help("Numbers by size.").unit("numbers"));
        let counts = ["integer", "float", "custom"].into_iter().filter(|_| with_histograms);
        let mut histograms = counts.map(|c| out.register(spec(c))).collect::<Result<Vec<Series>, Error>>()?;
        for (number, moment) in input {
            std::thread::sleep(self.process_delay);
            self.send(&series, &histograms, &out, number, moment);
            if number == self.end_after {
                let late = series[0].sample(0.0, moment + 1);
                series.clear();
                histograms.clear();
                series.push(out.register(SeriesSpec::gauge("fault_successor"))?);
                // Batches in between let the host forget the series.
                std::thread::sleep(Duration::from_secs(1));
                let _ = out.send(&[late][..]);
            }
            if number == self.after {
                misbehave(self.process_data, &stop)?;
                if self.process_data == "return" {
                    return Ok(());
                }
            }
        }
        if self.process_data == "ignore-stop" {
            ignore_stop();
        }
        Ok(())
    }
}

impl Fault {
    fn send(&self, series: &[Series], histograms: &[Series], out: &RecordSender, number: u64, moment: i64) {
        if self.journal {
            // Where nobody reads it, it can't be written.
            let _ = writeln!(stdout(), "reading {number} {moment} {}", now_ms());
        }
        let value = number as f64;
        let first = usize::from(number > self.silent_after);
        let record = |i: usize| Record::new("fault_number", value).label("series", i.to_string()).at(moment);
        // What is not taken is counted by the host; a test reads it there.
        let refused = match self.form {
            "series" => {
                let spread = (first..).map(|i| value + i as f64 * self.spread);
                let samples: Vec<_> =
                    series[first..].iter().zip(spread).map(|(series, value)| series.sample(value, moment)).collect();
                out.send(&samples[..]).is_err()
            }
            "records" => (first..self.series).any(|i| out.send(record(i)).is_err()),
            "list" => out.send((first..self.series).map(record).collect::<Vec<_>>()).is_err(),
            "exemplars" => send_exemplars(&series[first..], out, number, moment),
            "histograms" => send_histograms(histograms, out, number, moment),
            "mixed" => {
                let refused = send_exemplars(&series[first..], out, number, moment);
                send_histograms(histograms, out, number, moment) || refused
            }
            "invalid" => send_invalid(series, histograms, out, moment),
            _ => {
                let text = self.json.replace("NOW_ISO", &iso(moment)).replace("NOW_MS", &moment.to_string());
                out.send(Json(text.replace("NUMBER", &number.to_string()))).is_err()
            }
        };
        if self.journal && refused {
            let _ = writeln!(stdout(), "handed back {number} {moment}");
        }
    }
}

/// Whether it was refused.
fn send_exemplars(series: &[Series], out: &RecordSender, number: u64, moment: i64) -> bool {
    let samples: Vec<_> = series.iter().map(|series| series.sample(number as f64, moment)).collect();
    let trace =
        |series: &Series| series.exemplar(number as f64 / 2.0, moment).label("trace_id", format!("{number:08x}"));
    let exemplars: Vec<_> = series.iter().map(trace).collect();
    out.send(WithExemplars(&samples, &exemplars)).is_err()
}

/// Sends, of `number` n: whole numbers, n in bucket -1, 2n in 0 and n in 5, n below zero and n at it; halves of them; and
/// n below 1 and 2n between 2 and 4 or above, by bounds of its own. The sum is 10n. Returns whether it was refused.
fn send_histograms(series: &[Series], out: &RecordSender, number: u64, moment: i64) -> bool {
    // The handles are gone at the end of a series.
    let [integer, float, custom] = series else { return false };
    let (n, sum) = (number, 10.0 * number as f64);
    let whole = Histogram::exponential(0).positive(-1, [n, 2 * n]).positive(5, [n]).negative(0, [n]).zero(0.001, n);
    let half = n as f64 / 2.0;
    let halves = Histogram::exponential(3).positive(-1, [half, 2.0 * half]).negative(2, [half]).zero(0.001, half);
    let bounds = Histogram::custom([1.0, 2.0, 4.0]).positive(0, [n]).positive(2, [n, n]);
    let samples = [
        integer.histogram(&whole.sum(sum), moment),
        float.histogram(&halves.sum(sum), moment),
        custom.histogram(&bounds.sum(sum), moment),
    ];
    let trace = |series: &Series| series.exemplar(3.5, moment).label("trace_id", format!("{number:08x}"));
    let exemplars: Vec<_> = series.iter().map(trace).collect();
    out.send(WithExemplars(&samples, &exemplars)).is_err()
}

/// Sends what the host drops, but for one sample. Returns whether it was refused.
fn send_invalid(series: &[Series], histograms: &[Series], out: &RecordSender, moment: i64) -> bool {
    let sample = [series[0].sample(1.0, moment)];
    let exemplars = [
        series[0].exemplar(1.0, moment).label("trace_id", "x".repeat(200)),
        series[0].exemplar(f64::NAN, moment),
        histograms[0].exemplar(1.0, moment),
    ];
    let refused = out.send(WithExemplars(&sample, &exemplars)).is_err();
    let miscounted = Histogram::exponential(0).positive(0, [1u64]).count(7);
    out.send(histograms[0].histogram(&miscounted, moment)).is_err() || refused
}

/// ISO 8601 in UTC with three decimals and no zone, as in `2025-11-09T08:47:30.123`, so that a Z or more decimals can
/// follow. A moment before 1970 or after 9999 stays a number.
fn iso(moment_ms: i64) -> String {
    if !(0..253_402_300_800_000).contains(&moment_ms) {
        return moment_ms.to_string();
    }
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let (mut year, mut month, mut day) = (1970, 1, moment_ms / 86_400_000);
    while day >= 365 + i64::from(leap(year)) {
        day -= 365 + i64::from(leap(year));
        year += 1;
    }
    for days in [31, 28 + i64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if day < days {
            break;
        }
        day -= days;
        month += 1;
    }
    let (second, ms) = (moment_ms / 1000 % 86_400, moment_ms % 1000);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}", day + 1)
}

/// Adds one to the number that is the length of this file, if there is a name; else there are no others.
fn count_instance(path: &str) -> Result<u64, Error> {
    if path.is_empty() {
        return Ok(1);
    }
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(b".")?;
    Ok(file.metadata()?.len())
}

impl Drop for Fault {
    fn drop(&mut self) {
        let _ = misbehave(self.drop, &Stop::new());
    }
}

fn misbehave(how: &str, stop: &Stop) -> Result<(), Error> {
    match how {
        "error" => return Err(Error::new("the sensor has gone, as the test asked")),
        "panic" => panic!("as the test asked"),
        "panic-string" => panic!("as the test asked, {}", now_ms()),
        // SAFETY: there is none, which is what the test is about: nothing is mapped at the address.
        "segfault" => unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(0) },
        "abort" => {
            eprintln!("the plugin's last words");
            std::process::abort();
        }
        "overflow" => drop(overflow(&[0; 1024])),
        "exit" => std::process::exit(7),
        "exit-0" => std::process::exit(0),
        "leak" => loop {
            // Written to, so that it counts however memory is counted.
            std::mem::forget(std::hint::black_box(vec![1_u8; 1 << 20]));
        },
        "stall" => drop(stop.wait(Duration::MAX)),
        "hang" => ignore_stop(),
        "spin" => loop {
            std::hint::spin_loop();
        },
        "print" => println!("the plugin prints, {}", "x".repeat(100)),
        _ => {}
    }
    Ok(())
}

/// Never ends, but for want of a stack.
#[allow(unconditional_recursion, reason = "that is the fault")]
fn overflow(deeper: &[u8; 1024]) -> u8 {
    let own = std::hint::black_box([deeper[0].wrapping_add(1); 1024]);
    overflow(&own).wrapping_add(own[7])
}

fn flood(level: &str, stop: &Stop) {
    let long = "flood ".repeat(10_000);
    for line in 1.. {
        match level {
            "debug" => debug!(line, "{long}"),
            "info" => info!(line, "{long}"),
            _ => error!(line, "{long}"),
        }
        if stop.is_set() {
            return;
        }
    }
}

/// Longer than any test waits.
fn ignore_stop() {
    std::thread::sleep(Duration::from_secs(3600));
}

export_monitor_impl!(Fault);
