//! Plugins that were built with another version of the plugin API, in another way, by another compiler.
//!
//! Enters: cells of the matrix of versions, kinds of build and compilers. Leaves: whether each runs, delivers, and fails as
//! it should. A few telling cells run always; COMPAT=all takes every one.

mod cells;
mod editions;

use std::env;
use std::os::unix::process::ExitStatusExt;

use signal_hook::consts::SIGABRT;

pub(crate) use self::cells::{Cell, Kind, so};
use self::cells::{KINDS, other_toolchains};
pub(crate) use self::editions::Edition;
use crate::faults::{LONG, assert_all_arrived, books, lines, numbers, raw, stop, wait_for_text};
use crate::host::{Host, Running};
use crate::sink::Sink;

fn host(cell: &Cell, url: &str) -> Host {
    let host = Host::new().env("MONITOR_IMPL_PATH", so(cell)).env("REMOTE_WRITE_URL", url);
    host.env("SCRAPE_INTERVAL_S", "0.02").env("PUSH_INTERVAL_S", "0.2")
}

/// The cells that tell most, or with COMPAT=all every one.
fn chosen() -> Vec<Cell> {
    if env::var("COMPAT").is_ok_and(|cells| cells == "all") {
        let compilers: Vec<_> = std::iter::once(None).chain(other_toolchains().into_iter().map(Some)).collect();
        let all = [Edition::Older, Edition::Same, Edition::Newer].into_iter().flat_map(|edition| {
            let kinds = KINDS.into_iter().map(move |kind| (edition, kind));
            kinds.collect::<Vec<_>>()
        });
        let with = |(edition, kind)| compilers.iter().map(move |toolchain: &Option<String>| (edition, kind, toolchain));
        return all.flat_map(with).map(|(edition, kind, one)| Cell { edition, kind, toolchain: one.clone() }).collect();
    }
    vec![
        Cell::new(Edition::Older, Kind::LtoStrip),
        Cell::new(Edition::Newer, Kind::Plain),
        Cell::new(Edition::Same, Kind::Abort),
        Cell::new(Edition::Same, Kind::Allocator),
    ]
}

/// The run's line about its plugin has this version of the API.
#[track_caller]
fn assert_api(running: &Running, cell: &Cell) {
    let plugin = running.wait_for_log(|line| line.message() == "plugin", LONG);
    assert_eq!(plugin.field("api"), cell.edition.version(), "{}", plugin.text);
    // `1.95.0-x86_64-…` is rustc 1.95.0, `nightly-…` is rustc 1.97.0-nightly.
    let toolchain = cell.toolchain.as_deref().and_then(|name| name.split('-').next()).unwrap_or_default();
    let rustc = plugin.field("rustc");
    assert!(toolchain == "stable" || toolchain == "beta" || rustc.contains(toolchain), "{cell:?}: {rustc}");
}

fn runs_and_delivers(cell: &Cell) {
    let sink = Sink::start();
    let running = host(cell, sink.url()).spawn();
    sink.wait_samples(20, LONG);
    let ledger = stop(&running);
    assert_api(&running, cell);
    if cell.edition == Edition::Older {
        assert_eq!((ledger.dropped, ledger.refused_sends), (0, 0), "{ledger:?}");
        assert_eq!(numbers(&sink, &ledger), (1..=ledger.collected).collect::<Vec<_>>());
        assert_eq!(raw(&running, "raw_sent"), 0, "it can't tell");
        assert_eq!(sink.violations(), []);
    } else {
        assert_all_arrived(&running, &sink);
    }
    let warned = lines(&running, "WARNING").iter().any(|line| line.message().contains("built with panic = \"abort\""));
    assert_eq!(warned, cell.kind == Kind::Abort, "{}", running.log_text());
    if cell.edition == Edition::Newer {
        assert_eq!(wait_for_text(&running, "the newer plugin asked").field("fields"), "got=11");
    }
}

fn fails_as_it_should(cell: &Cell) {
    for (how, says) in [("error", "the sensor has gone"), ("panic", "lib.rs:")] {
        let sink = Sink::start();
        let running = host(cell, sink.url()).env("FAULT_PROCESS_DATA", how).spawn();
        let status = running.wait(LONG);
        if how == "panic" && cell.kind == Kind::Abort {
            // Nothing can catch it: the process ends at once, but what panicked is in the log.
            assert_eq!(status.signal(), Some(SIGABRT), "{cell:?}: {}", running.log_text());
            let line = wait_for_text(&running, "as the test asked");
            assert!(line.level() == "ERROR" && line.message().contains(says), "{}", line.text);
            continue;
        }
        assert_eq!(status.code(), Some(1), "{cell:?}: {}", running.log_text());
        assert_eq!(numbers(&sink, &books(&running)), (1..=10).collect::<Vec<_>>());
        assert!(lines(&running, "ERROR").iter().any(|line| line.message().contains(says)), "{}", running.log_text());
    }
}

#[test]
fn a_plugin_runs_and_fails_alike_whatever_it_was_built_with() {
    for cell in chosen() {
        eprintln!("{cell:?}");
        runs_and_delivers(&cell);
        fails_as_it_should(&cell);
    }
}
