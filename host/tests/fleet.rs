//! What a fleet does to its receiver after an outage: the simulation of `cargo xtask fleet`, with fewer clients. All figures of
//! the receiver are multiples of what the fleet needs, so that a thousand clients behave as a hundred thousand do.

#[path = "../benches/fleet/plot.rs"]
mod plot;
#[path = "../benches/fleet/scenarios.rs"]
mod scenarios;
#[path = "../benches/fleet/simulation/mod.rs"]
mod simulation;
#[path = "../benches/fleet/table.rs"]
mod table;

use std::time::Duration;

use scenarios::Named;
use simulation::Seen;

const CLIENTS: u32 = 1000;
const SEED: u64 = 1;

fn run(all: fn(u32, u64) -> Vec<Named>, name: &str) -> (Named, Seen) {
    let named = all(CLIENTS, SEED).into_iter().find(|named| named.name == name).expect("a scenario of that name");
    let seen = simulation::run(&named.scenario);
    let run = [(named, seen)];
    // Shown when an assertion fails.
    println!("{}", table::of(&run));
    let [run] = run;
    run
}

fn caught_up(seen: &Seen) -> Duration {
    seen.caught_up_by(1.0).expect("all clients catch up")
}

#[test]
fn a_fleet_catches_up_nearly_as_fast_as_its_receiver_can() {
    let (named, seen) = run(scenarios::without, "as it is");
    // Twice what is needed: ten minutes' batches take ten minutes more.
    let least = Duration::from_secs(600);
    assert!(caught_up(&seen) >= least && caught_up(&seen) < least.mul_f64(1.15));
    assert!(seen.in_vain() < 0.1 && (seen.peak() as f64) < 4.0 * named.need());
    assert_eq!((seen.dropped, seen.behind), (0, 0));
    // Every batch of the outage came, but for those that were on their way when it began.
    let late: u64 = seen.seconds.iter().map(|second| second.delivered_late).sum();
    let cut = u64::from(CLIENTS) * 150;
    assert!(late.abs_diff(cut) <= u64::from(CLIENTS), "{late} of {cut}");
    // Nothing is left that would make a wave: the last half minute is as any other.
    let last = &seen.seconds[seen.seconds.len() - 20..seen.seconds.len() - 1];
    assert!(last.iter().all(|second| second.rejected == 0 && (second.requests as f64) < 1.2 * named.need()));
}

#[test]
fn without_catch_up_limits_most_requests_are_in_vain() {
    let (_, limited) = run(scenarios::without, "as it is");
    let (_, unlimited) = run(scenarios::without, "without catch-up limits");
    assert!(unlimited.in_vain() > 0.5 && limited.in_vain() < unlimited.in_vain() / 5.0);
    assert!((limited.peak() as f64) < 0.7 * unlimited.peak() as f64);
    assert!(caught_up(&limited) < caught_up(&unlimited).mul_f64(0.8));
}

#[test]
fn without_phases_a_fleet_is_too_much_all_the_time() {
    let (named, seen) = run(scenarios::without, "without jitter and phases");
    let last = &seen.seconds[seen.seconds.len() - 20..seen.seconds.len() - 1];
    let most = last.iter().map(|second| second.requests).max().unwrap_or(0);
    assert!(most as f64 > 3.0 * named.need(), "{most} requests in a second, long after the outage");
}

#[test]
fn jitter_keeps_apart_who_was_told_one_moment() {
    let (_, with) = run(scenarios::elsewhere, "announced by Retry-After");
    let (_, without) = run(scenarios::elsewhere, "announced, without jitter");
    let first = |seen: &Seen| seen.afterwards()[..3].iter().map(|second| second.requests).max().unwrap_or(0);
    assert!(first(&without) >= u64::from(CLIENTS) / 2, "{} come in one second", first(&without));
    assert!(first(&with) < first(&without) / 2, "{} and {}", first(&with), first(&without));
}

#[test]
fn a_receiver_that_lets_requests_wait_rejects_none() {
    // A client asks once at a time: two seconds' work is all that a fleet can have under way here.
    let (_, seen) = run(scenarios::elsewhere, "receiver that queues for 30 s");
    assert_eq!((seen.rejected, seen.stored_again, seen.behind), (0, 0, 0));
}

#[test]
fn a_seed_gives_the_same_figures_again() {
    let seen = |seed| {
        let seen = simulation::run(&scenarios::as_it_is(200, seed).scenario);
        (seen.requests, seen.rejected, seen.peak(), seen.caught_up)
    };
    assert_eq!(seen(7), seen(7));
    assert_ne!(seen(7), seen(8));
}

#[test]
fn the_plot_has_all_its_curves_and_closes_what_it_opens() {
    let run = |named: Named| {
        let seen = simulation::run(&named.scenario);
        (named, seen)
    };
    let svg = plot::of(&scenarios::without(100, SEED).into_iter().map(run).collect::<Vec<_>>());
    for curve in ["a", "b", "c"] {
        // One in the legend, one in each panel.
        assert_eq!(svg.matches(&format!("class=\"curve {curve}\"")).count(), 3, "{svg}");
    }
    for element in ["svg", "text", "style", "title"] {
        let opened = svg.matches(&format!("<{element}>")).count() + svg.matches(&format!("<{element} ")).count();
        assert_eq!(opened, svg.matches(&format!("</{element}>")).count(), "{element}");
    }
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
}
