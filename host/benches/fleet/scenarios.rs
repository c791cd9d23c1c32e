//! What is compared: the clients as they are, with something taken away, and other outages and receivers.
//!
//! Enters: how many clients, a seed. Leaves: scenarios with a name. All figures of the receiver are multiples of what the fleet
//! needs, so that a small fleet behaves as a large one.

use std::time::Duration;

use crate::simulation::{Outage, Receiver, SAMPLES_A_SECOND, Scenario, Settings};

/// A scenario, and what it is called.
pub(crate) struct Named {
    /// For the table.
    pub(crate) name: &'static str,
    /// What is asked.
    pub(crate) scenario: Scenario,
    /// How often the receiver can do what the fleet needs.
    pub(crate) headroom: f64,
}

/// PUSH_INTERVAL_S.
const INTERVAL: Duration = Duration::from_secs(4);

/// How long all is well before the outage.
const BEFORE: Duration = Duration::from_secs(60);

const MINUTE: Duration = Duration::from_secs(60);

/// The clients as they are, before a receiver of twice what they need that is away for ten minutes.
pub(crate) fn as_it_is(clients: u32, seed: u64) -> Named {
    let client = Settings {
        interval: INTERVAL,
        timeout: Duration::from_secs(10),
        max_batches: 900,
        spread: true,
        jitter: true,
        catch_up: true,
    };
    let receiver = Receiver {
        requests: 0.0,
        samples: 0.0,
        patience: Duration::from_secs(1),
        rejection: 0.1,
        round_trip: Duration::from_millis(20),
    };
    let outage = Outage { from: BEFORE, until: BEFORE + 10 * MINUTE, announced: false };
    let scenario = Scenario { clients, client, receiver, outage, until: BEFORE + 10 * MINUTE + HORIZON, seed };
    Named { name: "as it is", scenario, headroom: 2.0 }.sized()
}

/// How long is waited for the last client.
const HORIZON: Duration = Duration::from_secs(2 * 3600);

/// What is taken away from the clients; the first is what they are.
pub(crate) fn without(clients: u32, seed: u64) -> Vec<Named> {
    let but = |name, change: fn(&mut Settings)| {
        let mut named = Named { name, ..as_it_is(clients, seed) };
        change(&mut named.scenario.client);
        named
    };
    vec![
        as_it_is(clients, seed),
        but("without jitter", |client| client.jitter = false),
        but("without phases", |client| client.spread = false),
        but("without jitter and phases", |client| (client.jitter, client.spread) = (false, false)),
        but("without catch-up limits", |client| client.catch_up = false),
        but("without all three", |client| {
            (client.jitter, client.spread, client.catch_up) = (false, false, false);
        }),
    ]
}

/// The clients as they are, in other circumstances.
pub(crate) fn elsewhere(clients: u32, seed: u64) -> Vec<Named> {
    let when = |name, change: fn(&mut Named)| {
        let mut named = Named { name, ..as_it_is(clients, seed) };
        change(&mut named);
        named.sized()
    };
    vec![
        when("outage of 30 s", |named| named.lasts(Duration::from_secs(30))),
        when("outage of 1 h", |named| named.lasts(60 * MINUTE)),
        when("announced by Retry-After", |named| named.scenario.outage.announced = true),
        when("announced, without jitter", |named| {
            (named.scenario.outage.announced, named.scenario.client.jitter) = (true, false);
        }),
        when("receiver of 1.25 times the need", |named| named.headroom = 1.25),
        when("receiver of 10 times the need", |named| named.headroom = 10.0),
        when("receiver that queues for 30 s", |named| named.scenario.receiver.patience = Duration::from_secs(30)),
        when("with a spool: a batch each second", |named| {
            (named.scenario.client.interval, named.scenario.client.max_batches) = (Duration::from_secs(1), u64::MAX);
        }),
        when("PUSH_INTERVAL_S=60", |named| {
            named.scenario.client.interval = MINUTE;
            named.begins_at(4 * MINUTE);
        }),
    ]
}

impl Named {
    /// The requests a second that its fleet makes when all is well.
    pub(crate) fn need(&self) -> f64 {
        f64::from(self.scenario.clients) / self.scenario.client.interval.as_secs_f64()
    }

    fn lasts(&mut self, length: Duration) {
        let outage = &mut self.scenario.outage;
        outage.until = outage.from + length;
        self.scenario.until = outage.until + HORIZON;
    }

    fn begins_at(&mut self, from: Duration) {
        let length = self.scenario.outage.until - self.scenario.outage.from;
        self.scenario.outage.from = from;
        self.lasts(length);
    }

    /// With a receiver of that headroom.
    fn sized(mut self) -> Self {
        let requests = self.need() * self.headroom;
        let Scenario { clients, receiver, .. } = &mut self.scenario;
        (receiver.requests, receiver.samples) = (requests, f64::from(*clients) * SAMPLES_A_SECOND * self.headroom);
        self
    }
}
