//! A fleet of clients before one receiver, in virtual time, event by event.
//!
//! Enters: how many clients, what they do, the receiver, an outage, a seed. Leaves: what happened, second by second. What a
//! client decides is decided by the host's own functions: when it pushes (`batching::grid`), what an answer means (`retry::judge`)
//! and when it goes on (`pace::Pace`, `retry::Backoff`). The rest is a model: batches are counted and not made, and of the
//! receiver there is what receiver.rs says.
//!
//! Never: sleeps, looks at a clock (but for one `Instant` to count from), or draws a number that does not come from the seed.

mod client;
mod events;
mod receiver;
mod seen;

use std::time::{Duration, Instant};

use monitor_host::batching::grid;

use self::client::Client;
use self::events::Events;
use self::receiver::Model;
pub(crate) use self::receiver::{Outage, Receiver};
pub(crate) use self::seen::Seen;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    /// How many clients. All of them start at the same moment.
    pub(crate) clients: u32,
    /// How they are set, and what is taken from them.
    pub(crate) client: Settings,
    /// What takes their batches.
    pub(crate) receiver: Receiver,
    /// When it takes none.
    pub(crate) outage: Outage,
    /// It ends when all have caught up and half a minute has passed, or at this moment.
    pub(crate) until: Duration,
    /// Where all chance comes from.
    pub(crate) seed: u64,
}

/// A client's settings; each switch that is off takes something of the real one away.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// PUSH_INTERVAL_S, or SPOOL_FLUSH_S where there is a spool.
    pub(crate) interval: Duration,
    /// REMOTE_WRITE_TIMEOUT_S.
    pub(crate) timeout: Duration,
    /// MAX_RETRY_BATCHES.
    pub(crate) max_batches: u64,
    /// Off: all first pushes come half an interval after the start.
    pub(crate) spread: bool,
    /// Off: every random number is 0.
    pub(crate) jitter: bool,
    /// Off: a backlog goes out as fast as it is taken; only attempts have gaps.
    pub(crate) catch_up: bool,
}

/// Of a client: five series at 10 Hz, as the default plugin's.
pub(crate) const SAMPLES_A_SECOND: f64 = 50.0;

/// How long the fleet is watched after the last client has caught up.
const AFTERWARDS: Duration = Duration::from_secs(30);

/// Runs it.
pub(crate) fn run(scenario: &Scenario) -> Seen {
    let Scenario { clients, client: settings, receiver, outage, until, seed } = *scenario;
    let mut random = fastrand::Rng::with_seed(seed);
    let start = Instant::now();
    let (mut events, mut model, mut seen) = (Events::new(), Model::new(receiver, outage), Seen::new(outage));
    let mut all: Vec<Client> = Vec::new();
    for number in 0..clients {
        let phase = if settings.spread { random.f64() } else { 0.5 };
        let first = grid::first_push(settings.interval, phase);
        all.push(Client::new(settings, start, first));
        events.add(first, number);
    }
    let (mut catching_up, mut end) = (u64::from(clients), until);
    while let Some((now, number)) = events.next().filter(|&(now, _)| now < end) {
        let client = &mut all[number as usize];
        let was_behind = client.is_behind;
        let next = client.turn(now, &mut model, &mut seen, &mut random);
        if was_behind && !client.is_behind {
            seen.caught_up(now);
            catching_up -= 1;
            if catching_up == 0 {
                end = end.min(now + AFTERWARDS);
            }
        }
        events.add(next, number);
    }
    seen.dropped = all.iter().map(|client| client.dropped).sum();
    seen.behind = catching_up;
    seen
}
