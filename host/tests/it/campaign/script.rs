//! What a round does to the host, drawn from a seed.
//!
//! Enters: a random generator. Leaves: lives of the host, each with what happens to its disk, its clock, its requests and
//! itself; as one line each, to be read when a round fails. Never: does any of it.

use std::fmt;
use std::time::{Duration, SystemTime};

use fastrand::Rng;
use jiff::Timestamp;

use super::disk::Damage;

/// No SPOOL_FLUSH_S is longer.
pub(super) const LONGEST_FLUSH_MS: u64 = 300;

/// REMOTE_WRITE_PROTOCOL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Auto,
    V1,
    V2,
}

/// One run of the host, from its start to its death.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// What happens to the spool before it.
    pub(super) damage: Vec<Damage>,
    pub(super) disk: Media,
    pub(super) choice: Choice,
    /// SPOOL_FLUSH_S and SCRAPE_INTERVAL_S.
    pub(super) flush_ms: u64,
    pub(super) scrape_ms: u64,
    /// How far the plugin's clock is off, reading by reading.
    pub(super) clock_ms: Vec<i64>,
    /// What the requests meet, in turn; those that follow meet nothing.
    pub(super) faults: Vec<Fault>,
    /// From the moment that the plugin is ready.
    pub(super) run_ms: u64,
    pub(super) killed: bool,
}

/// What the disk is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    Fine,
    /// No file grows beyond so many blocks of 512 bytes.
    Full {
        blocks: u32,
    },
    /// Nothing can be written from the start on.
    ReadOnly,
    /// For a while nothing can be made or removed in the directory.
    Closed {
        after_ms: u64,
        for_ms: u64,
    },
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Close,
    Reset,
}

/// What a receiver asks for by Retry-After.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Seconds(u64),
    /// A date so far ahead, or back.
    Date(i64),
    Nonsense,
}

impl Asked {
    pub(super) fn header(self) -> String {
        match self {
            Asked::Seconds(seconds) => seconds.to_string(),
            Asked::Nonsense => "soon".to_owned(),
            Asked::Date(seconds) => {
                let now = SystemTime::now();
                let span = Duration::from_secs(seconds.unsigned_abs());
                let date = if seconds < 0 { now - span } else { now + span };
                let date = Timestamp::try_from(date).expect("a moment of these years");
                date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
            }
        }
    }
}

/// What a request meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Prometheus, and nothing else.
    Pass,
    /// Nobody listens for so long.
    Refuse { ms: u64 },
    /// The connection ends when so many bytes of the request have been read.
    Cut { at: usize, then: Then },
    /// No answer, whether Prometheus got it or not.
    Hang { stored: bool },
    /// It is read slowly.
    SlowRead { ms: u64 },
    /// Prometheus' answer comes slowly.
    SlowAnswer { ms: u64 },
    /// An answer that is not Prometheus', which may have got the request all the same.
    Status { status: u16, stored: bool, retry_after: Option<Asked> },
    /// 204 of one that does not know remote write 2.0, which stores nothing of it.
    Silent,
    /// The connection ends after so many bytes of Prometheus' answer.
    CutAnswer { at: usize, then: Then },
    /// Prometheus' answer with a header of a mebibyte.
    HugeHead,
    /// Prometheus' answer with a body of 16 MiB.
    HugeBody,
    /// No HTTP.
    Garbage,
}

/// A round: some lives among faults, and one without, which delivers what is left. `read_only`: whether a directory can
/// be kept from the host.
pub(super) fn draw(random: &mut Rng, read_only: bool) -> Vec<Plan> {
    let mut plans: Vec<Plan> = (0..random.usize(2..=4)).map(|_| life(random, read_only)).collect();
    // There is nothing to damage before the first one.
    plans[0].damage.clear();
    let mut last = life(random, false);
    (last.disk, last.faults, last.killed, last.run_ms) = (Media::Fine, Vec::new(), false, 400);
    plans.push(last);
    plans
}

fn life(random: &mut Rng, read_only: bool) -> Plan {
    let one_in = |random: &mut Rng, n: u32| random.u32(..n) == 0;
    let mut damage = Vec::new();
    if one_in(random, 3) {
        damage = (0..random.usize(1..=2)).map(|_| draw_damage(random)).collect();
    }
    let disk = match random.u8(..10) {
        0 => Media::Full { blocks: random.u32(10..60) },
        1 if read_only => Media::ReadOnly,
        2 if read_only => Media::Closed { after_ms: random.u64(..800), for_ms: random.u64(100..1000) },
        _ => Media::Fine,
    };
    let mut faults = Vec::new();
    while faults.len() < random.usize(..20) {
        let fault = draw_fault(random);
        // What comes in bursts: a receiver that is overloaded or restarting. What is refused for good comes alone.
        let burst = match fault {
            Fault::Status { status: 429 | 500.., .. } | Fault::Cut { .. } => random.usize(1..=4),
            _ => 1,
        };
        faults.extend(std::iter::repeat_n(fault, burst));
        faults.extend(std::iter::repeat_n(Fault::Pass, random.usize(..4)));
    }
    Plan {
        damage,
        disk,
        choice: [Choice::Auto, Choice::Auto, Choice::V1, Choice::V2][random.usize(..4)],
        flush_ms: random.u64(100..=LONGEST_FLUSH_MS),
        scrape_ms: random.u64(8..=25),
        clock_ms: if one_in(random, 4) { draw_clock(random) } else { vec![0] },
        faults,
        run_ms: random.u64(300..2500),
        killed: one_in(random, 2),
    }
}

fn draw_damage(random: &mut Rng) -> Damage {
    match random.u8(..6) {
        0 => Damage::Zero,
        1 => Damage::Tail,
        2 => Damage::Cursor,
        3 => Damage::NoCursor,
        _ => Damage::Flip(random.usize(1..=4)),
    }
}

/// Steps of seconds, back and forth.
fn draw_clock(random: &mut Rng) -> Vec<i64> {
    let steps = random.usize(1..=4);
    (0..steps).flat_map(|_| std::iter::repeat_n(random.i64(-1500..1500), random.usize(1..40))).collect()
}

fn draw_fault(random: &mut Rng) -> Fault {
    let then = if random.bool() { Then::Reset } else { Then::Close };
    let stored = random.bool();
    match random.u8(..24) {
        0 | 1 => Fault::Refuse { ms: random.u64(20..900) },
        2 | 3 => Fault::Cut { at: random.usize(..2500), then },
        4 => Fault::Hang { stored },
        5 => Fault::SlowRead { ms: random.u64(50..700) },
        6 => Fault::SlowAnswer { ms: random.u64(50..3000) },
        7..=9 => Fault::Status { status: 429, stored: false, retry_after: draw_asked(random) },
        10..=12 => {
            let status = [500, 502, 503, 504, 599][random.usize(..5)];
            Fault::Status { status, stored, retry_after: draw_asked(random) }
        }
        13 => Fault::Status { status: 415, stored: false, retry_after: None },
        14 => Fault::Status { status: [400, 404, 413][random.usize(..3)], stored: false, retry_after: None },
        15 => Fault::Silent,
        16 | 17 => Fault::CutAnswer { at: random.usize(..200), then },
        18 | 19 => [Fault::HugeHead, Fault::HugeBody][random.usize(..2)].clone(),
        20 => Fault::Garbage,
        _ => Fault::CutAnswer { at: usize::MAX, then },
    }
}

fn draw_asked(random: &mut Rng) -> Option<Asked> {
    match random.u8(..8) {
        0 => Some(Asked::Seconds(1)),
        1 => Some(Asked::Seconds(0)),
        2 => Some(Asked::Date(random.i64(1..=2))),
        3 => Some(Asked::Date(-60)),
        4 => Some(Asked::Nonsense),
        _ => None,
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { damage, disk, choice, flush_ms, scrape_ms, clock_ms, faults, run_ms, killed } = self;
        let end = if *killed { "SIGKILL" } else { "SIGTERM" };
        write!(f, "{end} after {run_ms} ms; {choice:?}, flush {flush_ms} ms, scrape {scrape_ms} ms; disk {disk:?}")?;
        if !damage.is_empty() {
            write!(f, "; damage {damage:?}")?;
        }
        if clock_ms != &[0] {
            let steps: Vec<_> = clock_ms.chunk_by(|a, b| a == b).map(|step| (step.len(), step[0])).collect();
            write!(f, "; clock {steps:?}")?;
        }
        write!(f, "; faults {faults:?}")
    }
}
