//! Ten thousand series, one of which is wanted.

use serde_json::{Value, json};

use super::View;
use crate::admin::shown;
use crate::drive;
use crate::sink::Sink;

/// Processor time of the page's thread, in seconds, from nothing to the list and charts. None of it can be longer at one go.
const TO_SHOW_S: f64 = 1.0;

/// So much of one processor may the page take while it shows what changes.
const SHARE: f64 = 0.3;

/// Elements that a page without any series has, and a screenful of entries.
const ELEMENTS: usize = 3000;

#[test]
fn ten_thousand_series_do_not_choke_it() {
    let sink = Sink::start();
    let running = shown(drive::host("monitor-dummy", sink.url()))
        .env("LOG_LEVEL", "INFO")
        .env("DUMMY_SERIES", "10000")
        .env("SCRAPE_INTERVAL_S", "1")
        .env("PUSH_INTERVAL_S", "1")
        .spawn();
    let Some(view) = View::of(&running) else { return };
    // By the thread's own clock, so that what else the machine does is not in it.
    view.browser.command("Performance.enable", json!({"timeDomain": "threadTicks"}));
    let busy = || {
        let metrics = view.browser.command("Performance.getMetrics", json!({}));
        let all = metrics["metrics"].as_array().into_iter().flatten();
        let mut task = all.filter(|metric| metric["name"] == "TaskDuration");
        task.next().and_then(|metric| metric["value"].as_f64()).unwrap_or_else(|| panic!("no time: {metrics}"))
    };
    view.until::<bool>("/^10,000 /.test(text('#series-total'))");
    let before = busy();
    view.browser.open(&format!("{}/", view.url));
    view.run::<Value>(
        "window.busy = [];
        const note = (list) => list.getEntries().forEach((task) => window.busy.push(task.duration));
        new PerformanceObserver(note).observe({ type: 'longtask', buffered: true });",
    );
    view.until::<bool>(
        "/^10,000 /.test(text('#series-total')) && all('#charts figure').every((one) => one.dataset.points > 1)",
    );
    let to_show = busy() - before;

    let elements = || view.see::<usize>("all('*').length");
    assert!(elements() < ELEMENTS, "{} elements", elements());

    view.click("one('#search')");
    view.browser.press("part-9876");
    let only = "all('#series button[data-series]').filter(isShown).map((button) => button.dataset.series)";
    let found: Vec<String> =
        view.until(&format!("({only}).length === 1 && ({only})[0].includes('part-9876') && {only}"));
    view.click(&format!("entry({})", json!(found[0])));
    view.until::<bool>(&format!("points({}) >= 2", json!(found[0])));
    // Everything again, and still no more of them than somebody would scroll through.
    view.click("one('#search')");
    view.browser.press(&"\u{e003}".repeat("part-9876".len()));
    view.until::<bool>(&format!("({only}).length > 1"));
    assert!(elements() < ELEMENTS, "{} elements", elements());

    // What it costs to look on.
    let clock = || view.see::<f64>("performance.now() / 1000");
    let points: u64 = view.see(&format!("points({})", json!(found[0])));
    let (before, began) = (busy(), clock());
    view.until::<bool>(&format!("points({}) >= {points} + 3", json!(found[0])));
    let share = (busy() - before) / (clock() - began);
    // By a clock that runs on while others have the processor: for people alone.
    let longest: f64 = view.see("Math.max(0, ...window.busy)");
    eprintln!(
        "{to_show:.2} s to show, then {share:.3} of a processor; {longest:.0} ms at one go; {} elements",
        elements()
    );
    assert!(to_show > 0.0 && to_show < TO_SHOW_S, "{to_show} s");
    assert!(share > 0.0 && share < SHARE, "{share}");
    view.assert_clean();
}
