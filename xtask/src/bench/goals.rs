//! The goals that the program is held to, each as a line with what was measured.
//!
//! Enters: what floor and host cost, in the same runs. Leaves: rows of Markdown, of the goals whose load was measured.
//!
//! Never: makes a command fail: what a busy machine misses, an idle one may reach.

use super::Measured;
use super::sender::Start;
use super::table::{BYTES, CORE, CPU, Column, DROPPED, EACH_REQUEST, FIRST, PEAK, RATE, Spread, WAKEUPS, show};

/// What is asked of the median.
enum Asked {
    AtMost(f64),
    AtLeast(f64),
    /// Of the worst run.
    Never(f64),
    /// The floor's, but for what two senders differ in whose samples are of other moments: 1 %.
    AsFloor,
}

use Asked::{AsFloor, AtLeast, AtMost, Never};

/// The first sample is there within a push interval and this.
const FIRST_S: f64 = 4.1;

/// By load, in the order of the loads.
const GOALS: [(&str, Column, Asked); 18] = [
    ("few", CORE, AtMost(0.12)),
    ("few", WAKEUPS, AtMost(25.0)),
    ("few", PEAK, AtMost(10.0)),
    ("few", FIRST, Never(FIRST_S)),
    ("few", BYTES, AsFloor),
    ("some", BYTES, AsFloor),
    ("many", CPU, AtMost(0.10)),
    ("many", PEAK, AtMost(16.0)),
    ("many", BYTES, AsFloor),
    ("records", CPU, AtMost(1.2)),
    ("records", BYTES, AsFloor),
    ("json", CPU, AtMost(2.5)),
    ("json", BYTES, AsFloor),
    ("flood", RATE, AtLeast(3e6)),
    ("flood", CPU, AtMost(0.12)),
    ("flood", PEAK, AtMost(32.0)),
    ("flood", DROPPED, Never(0.0)),
    ("flood", BYTES, AsFloor),
];

/// What was measured apart from the loads, where it was.
pub(super) struct Apart {
    /// Of a million series, beyond the bytes of their labels.
    pub(super) bytes_a_series: Option<f64>,
    pub(super) starts: Vec<Start>,
    pub(super) binary_mib: f64,
    /// What the runtime image adds to its base.
    pub(super) image_mib: f64,
    pub(super) allocations_counted: bool,
}

/// Shows them all; `counted` are the runs in which was counted: bytes, of the samples alone, and allocations.
pub(super) fn show_all(timed: &[Measured], counted: &[Measured], apart: &Apart) {
    println!("\n| goal | asked | host | floor | reached |\n|---|---|---|---|---|");
    for (name, column, asked) in GOALS {
        let of = if column.0 == BYTES.0 { counted } else { timed };
        let Some(Measured { load, costs }) = of.iter().find(|measured| measured.load.name == name) else {
            continue;
        };
        if let [floor, host, ..] = &costs[..] {
            let [floor, host] = [floor, host].map(|costs| Spread::of(&column, costs));
            line(&format!("{}: {}", load.what, column.0), &asked, column.1, host, Some(floor.median));
        }
    }
    // Records and JSON are strings that the plugin makes.
    let of_series = counted.iter().filter(|measured| measured.load.form == "series" && apart.allocations_counted);
    for Measured { load, costs } in of_series {
        if let [floor, host, ..] = &costs[..] {
            let [floor, host] = [floor, host].map(|costs| Spread::of(&EACH_REQUEST, costs).median);
            let (host, floor) = (show(host, 1), show(floor, 1));
            println!("| {}: {} | a small constant | {host} | {floor} | |", load.what, EACH_REQUEST.0);
        }
    }
    if let Some(bytes) = apart.bytes_a_series {
        let of = Spread::new(vec![bytes]);
        line("a million series: bytes each, beyond its labels", &AtMost(160.0), 0, of, None);
    }
    let of = |what: fn(&Start) -> f64| Spread::new(apart.starts.iter().map(|start| what(start) * 1e3).collect());
    line("from exec to both workers running, ms", &AtMost(50.0), 1, of(|start| start.workers_s), None);
    line("from exec to the first batch, ms", &AtMost(50.0), 1, of(|start| start.batch_s), None);
    line("the stripped binary, MiB", &AtMost(8.0), 1, Spread::new(vec![apart.binary_mib]), None);
    let what = "the runtime image over its base (the binary and the dummy plugin), MiB";
    line(what, &AtMost(40.0), 1, Spread::new(vec![apart.image_mib]), None);
}

fn line(what: &str, asked: &Asked, decimals: usize, host: Spread, floor: Option<f64>) {
    let (words, is_reached) = match *asked {
        AtMost(most) => (format!("at most {most}"), host.median <= most),
        AtLeast(least) => (format!("at least {least}"), host.median >= least),
        Never(most) => (format!("at most {most}, in each run"), host.most <= most),
        AsFloor => ("the floor's, within 1 %".to_owned(), floor.is_some_and(|floor| host.median <= floor * 1.01)),
    };
    let (host, floor) = (host.show(decimals), floor.map(|floor| show(floor, decimals)).unwrap_or_default());
    println!("| {what} | {words} | {host} | {floor} | {} |", if is_reached { "yes" } else { "**no**" });
}
