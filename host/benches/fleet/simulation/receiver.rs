//! The model of a receiver.
//!
//! Enters: requests, in the order of their moments. Leaves: an answer to each, and when it comes. It works on one request
//! after the other, and each takes as long as its capacity says. What would wait for longer than it allows is answered 503 at
//! once, which is work too, though less. While it is away connections are refused, or all is answered 503 with the seconds that
//! are left until it is back.

use std::time::Duration;

/// What it can do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Receiver {
    /// Requests a second.
    pub(crate) requests: f64,
    /// Samples a second: whichever of the two takes longer counts.
    pub(crate) samples: f64,
    /// How long a request may wait.
    pub(crate) patience: Duration,
    /// What answering 503 costs, as a share of a request.
    pub(crate) rejection: f64,
    /// The way there and back.
    pub(crate) round_trip: Duration,
}

/// When it is away.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outage {
    /// Since the start.
    pub(crate) from: Duration,
    /// Since the start.
    pub(crate) until: Duration,
    /// It says when it will be back, by Retry-After; else nobody answers.
    pub(crate) announced: bool,
}

/// What a client hears.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reply {
    Status {
        status: u16,
        retry_after: Option<Duration>,
    },
    /// No answer; `stored` says whether the receiver takes the request all the same.
    Silence {
        stored: bool,
    },
}

pub(super) struct Model {
    receiver: Receiver,
    outage: Outage,
    /// Until when it has work.
    busy: Duration,
}

impl Model {
    pub(super) fn new(receiver: Receiver, outage: Outage) -> Self {
        Model { receiver, outage, busy: Duration::ZERO }
    }

    /// A request with so many samples arrives, of a client that waits so long. What it hears, and when.
    pub(super) fn ask(&mut self, now: Duration, samples: u32, timeout: Duration) -> (Reply, Duration) {
        let soon = now + self.receiver.round_trip;
        if now >= self.outage.from && now < self.outage.until {
            // Retry-After has whole seconds.
            let left = Duration::from_secs((self.outage.until - now).as_secs() + 1);
            let busy = Reply::Status { status: 503, retry_after: Some(left) };
            return (if self.outage.announced { busy } else { Reply::Silence { stored: false } }, soon);
        }
        let work = (1.0 / self.receiver.requests).max(f64::from(samples) / self.receiver.samples);
        self.busy = self.busy.max(now);
        if self.busy - now > self.receiver.patience {
            self.busy += Duration::from_secs_f64(work * self.receiver.rejection);
            return (Reply::Status { status: 503, retry_after: None }, soon);
        }
        self.busy += Duration::from_secs_f64(work);
        let answered = self.busy + self.receiver.round_trip;
        if answered - now > timeout {
            return (Reply::Silence { stored: true }, now + timeout);
        }
        (Reply::Status { status: 204, retry_after: None }, answered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn model() -> Model {
        let receiver = Receiver { requests: 100.0, samples: 1000.0, patience: 25 * MS, rejection: 0.1, round_trip: MS };
        Model::new(receiver, Outage { from: 1000 * MS, until: 2000 * MS, announced: true })
    }

    fn heard((reply, at): (Reply, Duration)) -> (u16, u128, Option<u64>) {
        match reply {
            Reply::Status { status, retry_after } => (status, at.as_millis(), retry_after.map(|gap| gap.as_secs())),
            Reply::Silence { stored } => (u16::from(stored), at.as_millis(), None),
        }
    }

    #[test]
    fn requests_queue_up_and_what_would_wait_too_long_is_rejected() {
        let mut model = model();
        let mut ask = |now_ms: u32, samples| heard(model.ask(now_ms * MS, samples, 10_000 * MS));
        assert_eq!([0; 3].map(|now| ask(now, 1)), [(204, 11, None), (204, 21, None), (204, 31, None)]);
        // Ten milliseconds' work of samples; then 40 ms wait, and a rejection is one more.
        assert_eq!(ask(5, 10), (204, 41, None));
        assert_eq!(ask(10, 1), (503, 11, None));
        assert_eq!(ask(20, 1), (204, 52, None));
        assert_eq!(ask(900, 50), (204, 951, None), "as many samples take as long as five requests");
    }

    #[test]
    fn a_client_that_waits_less_hears_nothing_though_it_is_stored() {
        assert_eq!(heard(model().ask(Duration::ZERO, 1, 5 * MS)), (1, 5, None));
    }

    #[test]
    fn an_outage_is_announced_in_whole_seconds() {
        let mut model = model();
        assert_eq!(heard(model.ask(1000 * MS, 1, 10_000 * MS)), (503, 1001, Some(2)));
        assert_eq!(heard(model.ask(1500 * MS, 1, 10_000 * MS)), (503, 1501, Some(1)));
        assert_eq!(heard(model.ask(2000 * MS, 1, 10_000 * MS)), (204, 2011, None));
    }
}
