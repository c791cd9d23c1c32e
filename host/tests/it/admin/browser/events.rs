//! What happens to a run is seen on its page: samples that arrive, an outage, a plugin that dies, the end.

use serde_json::json;
use signal_hook::consts::SIGKILL;

use super::View;
use super::driver::Browser;
use crate::admin::shown;
use crate::faults::{LONG, host};
use crate::receivers::port::Port;
use crate::sink::Sink;

#[test]
fn samples_are_seen_arriving() {
    let sink = Sink::start();
    // Slow enough that what the page shows has arrived a few readings ago at most.
    let running = shown(host(sink.url())).env("SCRAPE_INTERVAL_S", "0.5").spawn();
    let Some(view) = View::of(&running) else { return };
    view.until::<bool>("delivers() === 'yes'");
    for (stage, enough) in [("get_power", 1), ("process_data", 1), ("receiver", 1), ("dropped", 0)] {
        view.until::<bool>(&format!("count('{stage}') >= {enough}"));
    }
    let before: u64 = view.see("count('receiver')");
    view.until::<bool>(&format!("count('get_power') > {before} && count('receiver') > {before}"));

    let runs: String = view.see("text('#runs')");
    assert!(runs.contains("monitor-fault") && runs.contains(env!("CARGO_PKG_VERSION")), "{runs}");

    let name = view.look_at("fault_number");
    assert!(name.contains("series") && name.contains('0'), "{name}: its labels stand there");
    let name = json!(name);
    let points: u64 = view.until(&format!("points({name}) >= 2 && points({name})"));
    view.until::<bool>(&format!("points({name}) > {points}"));
    assert!(view.see::<bool>(&format!("one('svg', chart({name})).getBoundingClientRect().height > 10")));

    // The value that is shown is one of those that have arrived last. The page may have it before the receiver.
    let deadline = std::time::Instant::now() + LONG;
    loop {
        let seen: f64 = view.see(&format!("last({name})"));
        let arrived: Vec<f64> = sink.samples().iter().rev().take(4).map(|sample| sample.value).collect();
        if arrived.contains(&seen) {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "the page shows {seen}, the receiver has {arrived:?}");
    }

    view.click(&format!("entry({name})"));
    view.until::<bool>(&format!("entry({name}).ariaPressed === 'false' && !chart({name})"));
    view.click(&format!("entry({name})"));
    view.until::<bool>(&format!("entry({name}).ariaPressed === 'true' && points({name}) > 0"));
    view.assert_clean();
}

#[test]
fn an_outage_is_seen_and_so_is_its_end() {
    let port = Port::reserve().expect("a free port");
    let url = format!("http://{}/api/v1/write", port.address());
    let running = shown(host(&url)).env("READY_MAX_AGE_S", "1").spawn();
    let Some(view) = View::of(&running) else { return };
    let grows = |stage: &str| {
        let before: u64 = view.see(&format!("count('{stage}')"));
        view.until::<bool>(&format!("count('{stage}') > {before} + 10"));
    };

    // Nobody is there.
    view.until::<bool>("delivers() === 'no' && errors().some((told) => /refused/i.test(told))");
    let told: String = view.see("text('#delivery')");
    assert!(told.contains("nothing was delivered yet") || told.to_lowercase().contains("refused"), "{told}");
    grows("kept");
    assert_eq!(view.see::<u64>("count('receiver')"), 0);

    let sink = Sink::start_at(&port.address().to_string());
    view.until::<bool>("delivers() === 'yes' && count('kept') < 20");
    grows("receiver");

    // Somebody is, and says no in words of its own.
    let words = "my disk is full, says the receiver";
    sink.answer(json!({"status": 503, "body": words}));
    view.until::<bool>(&format!("delivers() === 'no' && errors().some((told) => told.includes('{words}'))"));
    let newest: String = view.see("errors()[0]");
    assert!(newest.contains(words) && newest.contains("503"), "the newest comes first: {newest}");
    grows("kept");
    let kept: u64 = view.see("count('kept')");
    sink.answer_as_usual();
    view.until::<bool>(&format!("delivers() === 'yes' && count('kept') < Math.min(20, {kept})"));
    assert_eq!(view.see::<u64>("count('dropped')"), 0);
    view.assert_clean();
}

#[test]
fn a_dead_plugin_is_seen_and_so_is_a_host_that_ended() {
    let sink = Sink::start();
    let dir = tempfile::tempdir().expect("a folder");
    // Six die, each after ten readings; the gaps are up to eight seconds long.
    let Some(browser) = Browser::start() else { return };
    let running = shown(host(sink.url()))
        .env("PLUGIN_ISOLATION", "process")
        .env("PLUGIN_RESTART", "on-failure")
        .env("FAULT_PROCESS_DATA", "segfault")
        .env("FAULT_FAULTY", "6")
        .env("FAULT_INSTANCES", dir.path().join("instances"))
        .spawn();
    let view = View::within(browser, &running);
    view.until::<bool>("delivers() === 'no' && /plugin/.test(text('#delivery'))");
    view.until::<bool>("errors().some((told) => told.includes('SIGSEGV'))");
    view.until::<bool>("delivers() === 'yes'");
    let before: u64 = view.see("count('receiver')");
    view.until::<bool>(&format!("count('receiver') > {before}"));
    view.assert_clean();

    running.signal(SIGKILL);
    view.until::<bool>("delivers() === 'unreachable'");
}
