//! The plot.
//!
//! Enters: runs of the simulation. Leaves: an SVG of two panels over one axis of time: requests a second, and the
//! batches that wait. It has colours for light and for dark, and tells curves apart by dashes too.

use std::fmt::Write;

use crate::scenarios::Named;
use crate::simulation::Seen;
use crate::table::thousands;

/// Whose curves are drawn, by their names, each with a class.
const CURVES: [(&str, &str); 3] =
    [("as it is", "a"), ("without jitter and phases", "b"), ("without catch-up limits", "c")];

/// The size of the whole, and of a panel within.
const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 640.0;
const LEFT: f64 = 96.0;
const RIGHT: f64 = 876.0;
const TOPS: [f64; 2] = [96.0, 390.0];
const PANEL: f64 = 200.0;

/// Seconds before the receiver is back, and behind that.
const BEFORE_S: f64 = 60.0;

/// A point of a curve is the most of so many seconds: a push interval, in which a client pushes once.
const STEP_S: usize = 4;

const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#1f2328}\
.back{fill:#fff}.title{font-size:16px;font-weight:600}.grid{stroke:#d1d9e0;stroke-width:1}\
.limit{stroke:#59636e;stroke-width:1.5;stroke-dasharray:2 4}.away{fill:#818b98;opacity:.16}\
.curve{fill:none;stroke-width:2;stroke-linejoin:round}\
.a{stroke:#0b57c4}.b{stroke:#b3420a;stroke-dasharray:8 4}.c{stroke:#7a2fb8;stroke-dasharray:2 3}\
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.back{fill:#0d1117}.grid{stroke:#3d444d}.limit{stroke:#9198a1}\
.a{stroke:#79b8ff}.b{stroke:#ffa657}.c{stroke:#d2a8ff}}";

/// The plot of those runs that it is about.
pub(crate) fn of(all: &[(Named, Seen)]) -> String {
    let find = |name| all.iter().find(|(named, _)| named.name == name);
    let curves: Vec<_> = CURVES.iter().filter_map(|&(name, class)| find(name).map(|run| (class, run))).collect();
    let Some((_, (first, _))) = curves.first() else { return String::new() };
    let clients = thousands(first.scenario.clients.into());
    let back_s = first.scenario.outage.until.as_secs_f64();
    let minutes = (first.scenario.outage.until - first.scenario.outage.from).as_secs() / 60;
    let able = first.scenario.receiver.requests;

    // The axis ends where the last curve does, within a bound.
    let ends = curves.iter().map(|(_, (_, seen))| seen.seconds.len() as f64 - back_s);
    let last_s = (ends.fold(0.0, f64::max) / 120.0).ceil().clamp(2.0, 15.0) * 120.0;
    let x = |since_s: f64| LEFT + (since_s + BEFORE_S) / (last_s + BEFORE_S) * (RIGHT - LEFT);

    let points: Vec<_> =
        curves.iter().map(|(class, (named, seen))| (*class, points(named, seen, back_s, last_s))).collect();
    let most = |value: fn(&Point) -> f64| points.iter().flat_map(|(_, all)| all).map(value).fold(1.0, f64::max);
    let (decades, batches) = (most(|point| point.requests).max(able).log10().ceil(), most(|point| point.waiting));
    let lowest = (able.log10() - 1.5).floor().max(0.0);
    let requests_y = |value: f64| {
        let share = (value.max(1.0).log10() - lowest) / (decades - lowest);
        TOPS[0] + PANEL * (1.0 - share.max(0.0))
    };
    let step = nice(batches / 4.0);
    let full = (batches / step).ceil() * step;
    let waiting_y = |value: f64| TOPS[1] + PANEL * (1.0 - value / full);

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n\
         <title>{clients} clients, whose receiver was away for {minutes} minutes</title>\n<style>{STYLE}</style>\n\
         <rect class=\"back\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n"
    );
    let _ = writeln!(
        svg,
        "<text class=\"title\" x=\"{LEFT}\" y=\"28\">{clients} clients, whose receiver was away for {minutes} minutes</text>"
    );
    for (index, (class, (named, _))) in curves.iter().enumerate() {
        let from = LEFT + 250.0 * index as f64;
        let _ = writeln!(svg, "<path class=\"curve {class}\" d=\"M{from} 50h36\"/>");
        text(&mut svg, from + 44.0, 54.0, "start", named.name);
    }
    for (top, title) in TOPS
        .into_iter()
        .zip([format!("requests a second (the most of {STEP_S} seconds)"), "batches that wait, in millions".to_owned()])
    {
        text(&mut svg, LEFT, top - 12.0, "start", &title);
        let _ = writeln!(
            svg,
            "<rect class=\"away\" x=\"{LEFT}\" y=\"{top}\" width=\"{:.1}\" height=\"{PANEL}\"/>",
            x(0.0) - LEFT
        );
        let bottom = top + PANEL;
        let mut at = -BEFORE_S;
        while at <= last_s {
            let _ = writeln!(svg, "<path class=\"grid\" d=\"M{0:.1} {top}V{bottom}\"/>", x(at));
            text(&mut svg, x(at), bottom + 18.0, "middle", &format!("{at:.0}"));
            at += if at < 0.0 { BEFORE_S } else { nice(last_s / 9.0) };
        }
    }
    for decade in lowest as i32..=decades as i32 {
        level(&mut svg, requests_y(10f64.powi(decade)), &thousands(10u64.pow(decade.max(0) as u32)));
    }
    let mut value = 0.0;
    while value <= full {
        let digits = if step < 1e6 { 3 } else { 0 };
        level(&mut svg, waiting_y(value), &format!("{:.digits$}", value / 1e6));
        value += step;
    }
    let _ = writeln!(svg, "<path class=\"limit\" d=\"M{LEFT} {0:.1}H{RIGHT}\"/>", requests_y(able));
    text(&mut svg, RIGHT - 4.0, requests_y(able) - 5.0, "end", &format!("what it can do: {}", thousands(able as u64)));
    text(
        &mut svg,
        (LEFT + RIGHT) / 2.0,
        HEIGHT - 10.0,
        "middle",
        "seconds since the receiver is back (grey: it is away)",
    );

    for (class, points) in &points {
        for (value, y) in [
            ((|point: &Point| point.requests) as fn(&Point) -> f64, &requests_y as &dyn Fn(f64) -> f64),
            (|point| point.waiting, &waiting_y),
        ] {
            let line: Vec<_> =
                points.iter().map(|point| format!("{:.1} {:.1}", x(point.at_s), y(value(point)))).collect();
            let _ = writeln!(svg, "<path class=\"curve {class}\" d=\"M{}\"/>", line.join("L"));
        }
    }
    svg + "</svg>\n"
}

struct Point {
    /// Since the receiver is back.
    at_s: f64,
    requests: f64,
    waiting: f64,
}

fn points(named: &Named, seen: &Seen, back_s: f64, last_s: f64) -> Vec<Point> {
    let (mut delivered, mut points) = (0, Vec::new());
    for (index, seconds) in seen.seconds.chunks_exact(STEP_S).enumerate() {
        let began_s = (index * STEP_S) as f64;
        // As many are cut as are needed, whenever that is.
        let waiting = (named.need() * began_s - delivered as f64).max(0.0);
        let requests = seconds.iter().map(|second| second.requests).max().unwrap_or(0) as f64;
        delivered += seconds.iter().map(|second| second.delivered).sum::<u64>();
        let at_s = began_s - back_s;
        if (-BEFORE_S..=last_s).contains(&at_s) {
            points.push(Point { at_s, requests, waiting });
        }
    }
    points
}

/// The next of 1, 2, 5, 10, 20, ….
fn nice(least: f64) -> f64 {
    let decade = 10f64.powf(least.max(1e-9).log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * decade).find(|&step| step >= least).unwrap_or(least)
}

fn level(svg: &mut String, y: f64, label: &str) {
    let _ = writeln!(svg, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>");
    text(svg, LEFT - 8.0, y + 4.0, "end", label);
}

/// `anchor` is where in the text its `x` lies.
fn text(svg: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>");
}
