//! The oracle campaign: a plugin that numbers its samples, the host with a spool, a gate that does what a script says, and a
//! real Prometheus behind it; rounds of random faults, each judged by an oracle that knows every sample.
//!
//! FAULTS_SEED repeats a campaign, or with ROUNDS=1 one round of it; ROUNDS says how many rounds it has. Moments are those of
//! a real machine: a seed repeats the script, not each byte.
//!
//! The host's own clock is not set, for no process can have that to itself: it is the plugin's clock that steps. So what
//! depends on the host's idea of today (SPOOL_MAX_AGE_S, MAX_SAMPLE_AGE_S, Retry-After as a date) meets no step here.

mod disk;
mod gate;
mod oracle;
mod script;
mod wire;

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use signal_hook::consts::{SIGKILL, SIGTERM};
use tempfile::TempDir;

use self::disk::Disk;
use self::gate::{Gate, LIFE_HEADER, TIMEOUT};
use self::oracle::{Judgement, Life, Reading, Round};
use self::script::{Choice, Media, Plan};
use self::wire::{SERIES, SPREAD, Sample};
use crate::faults::{LONG, aimed, wait_for_text};
use crate::host::{Host, Running};
use crate::receivers::{Kind, Receiver};

const ROUNDS: u64 = 6;

/// So that no number of a round comes twice: what a life's readings are numbered after.
const NUMBERS_A_LIFE: u64 = 1_000_000;

/// What stops root from writing where permissions don't allow it.
const AS_ANYBODY: &str =
    "setpriv --inh-caps=-dac_override,-dac_read_search --bounding-set=-dac_override,-dac_read_search";

#[test]
fn every_sample_is_accounted_for_whatever_happens() {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: {text}")));
    let rounds = number("ROUNDS").unwrap_or(ROUNDS);
    let seed: u64 = number("FAULTS_SEED").unwrap_or_else(|| fastrand::u64(..1 << 48));
    let Some(prometheus) = Receiver::start(Kind::Prometheus3) else { return };
    let gate = Gate::start(prometheus.write_url());
    let rights = rights();
    if rights.is_none() {
        eprintln!("no round has a read-only disk: whoever runs this may write everywhere");
    }
    let mut sums: BTreeMap<&str, usize> = BTreeMap::new();
    let mut lost_ms = Vec::new();
    for round in 0..rounds {
        // Each round has a seed of its own, so that one of them can be repeated alone.
        let seed = seed.wrapping_add(round);
        let mut random = Rng::with_seed(seed);
        let plans = script::draw(&mut random, rights.is_some());
        let script: String = plans.iter().zip(0..).map(|(plan, life)| format!("\n  run {life}: {plan}")).collect();
        eprintln!("round {round}, FAULTS_SEED={seed} ROUNDS=1 repeats it:{script}");
        let (evidence, told) = play(&plans, &gate, &prometheus, round, rights.unwrap_or_default(), &mut random);
        let judgement = oracle::judge(&evidence);
        eprintln!("  {}", summary(&evidence, &judgement));
        if !judgement.findings.is_empty() {
            let log: String = told.concat();
            let table = evidence.requests.iter().enumerate().map(shown).collect::<String>();
            let findings: String = judgement.findings.iter().take(30).map(|one| format!("\n  {one}")).collect();
            panic!("round {round}, FAULTS_SEED={seed}:{script}{log}\nrequests:{table}\nwhat is wrong:{findings}");
        }
        *sums.entry("samples made").or_default() += judgement.made;
        *sums.entry("stored").or_default() += judgement.stored;
        *sums.entry("requests").or_default() += evidence.requests.len();
        *sums.entry("requests stored twice").or_default() += judgement.repeats;
        *sums.entry("SIGKILLs").or_default() += evidence.lives.iter().filter(|life| life.books.is_none()).count();
        judgement.gone.iter().for_each(|(why, samples)| *sums.entry(why).or_default() += samples);
        lost_ms.extend(judgement.lost_ms);
    }
    lost_ms.sort_unstable();
    let (middle, most) = (lost_ms.get(lost_ms.len() / 2), lost_ms.last());
    eprintln!(
        "{rounds} rounds: {sums:?}; a SIGKILL with a spool cost {middle:?} ms in the middle, {most:?} ms at most"
    );
    // One kill may come when the machine is busy elsewhere; not most of them.
    let enough = lost_ms.len() >= 5;
    assert!(!enough || middle.is_some_and(|&middle| middle <= 2 * script::LONGEST_FLUSH_MS as i64), "{lost_ms:?}");
}

/// What has to stand before the host's command so that permissions hold for it; none where nothing makes them hold.
fn rights() -> Option<&'static str> {
    let dir = folder();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o555)).expect("a folder of ours");
    let can_write = |prefix: &str| {
        let script = format!("{prefix} sh -c 'exec 2>&-; : > \"$0\"' \"$0\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script]).arg(dir.path().join("file"));
        let _ = fs::remove_file(dir.path().join("file"));
        command.status().expect("a shell").success()
    };
    let found = ["", AS_ANYBODY].into_iter().find(|prefix| {
        let runs = Command::new("sh").args(["-c", &format!("{prefix} true")]).output();
        runs.is_ok_and(|ran| ran.status.success()) && !can_write(prefix)
    });
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("a folder of ours");
    found
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Plays a round. Returns the evidence, and what the host logged, life by life.
fn play(
    plans: &[Plan],
    gate: &Gate,
    prometheus: &Receiver,
    round: u64,
    rights: &str,
    random: &mut Rng,
) -> (Round, Vec<String>) {
    let dir = folder();
    let mut disk = Disk::new(dir.path());
    let (mut evidence, mut told) = (Round::default(), Vec::new());
    for (number, plan) in plans.iter().enumerate() {
        let damage: Vec<String> = plan.damage.iter().filter_map(|&how| disk.damage(how, random)).collect();
        let before = disk.waiting().expect("records of ours");
        gate.expect(&plan.faults);
        if plan.disk == Media::ReadOnly {
            permit(dir.path(), false);
        }
        let running = host(plan, gate, dir.path(), rights, round, number).spawn();
        wait_for_text(&running, "the fault plugin is ready");
        live(&running, plan, dir.path());
        running.signal(if plan.killed { SIGKILL } else { SIGTERM });
        let status = running.wait(LONG);
        if plan.disk == Media::ReadOnly {
            permit(dir.path(), true);
        }
        let expected = (!plan.killed).then_some(i32::from(is_late(&running)));
        assert_eq!(status.code(), expected, "run {number}: {}", running.log_text());
        gate.wait_idle();
        let after = disk.waiting().expect("records of ours");
        told.push(format!("\nrun {number}, damage {damage:?}:\n{}", running.log_text()));
        let mut life = witness(&running, plan);
        (life.before, life.after, life.was_damaged) = (before, after, !damage.is_empty());
        evidence.lives.push(life);
    }
    let (requests, complaints) = gate.take();
    assert!(complaints.is_empty(), "not what the plugin made: {complaints:?}");
    evidence.requests = requests;
    for series in prometheus.range(&format!(r#"fault_number{{round="{round}"}}"#)) {
        let labels = || series.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let read = series.samples.iter().map(|&sample| Sample::read(labels(), sample));
        evidence.stored.extend(read.collect::<Result<Vec<_>, _>>().expect("samples of ours"));
    }
    (evidence, told)
}

fn host(plan: &Plan, gate: &Gate, dir: &Path, rights: &str, round: u64, life: usize) -> Host {
    let limit = match plan.disk {
        Media::Full { blocks } => format!(r#"trap "" XFSZ; ulimit -f {blocks};"#),
        _ => String::new(),
    };
    let choice = match plan.choice {
        Choice::Auto => "auto",
        Choice::V1 => "1.0",
        Choice::V2 => "2.0",
    };
    let seconds = |ms: u64| format!("{}", Duration::from_millis(ms).as_secs_f64());
    let clock: Vec<String> = plan.clock_ms.iter().map(i64::to_string).collect();
    aimed(Host::by_shell(&format!("{limit} exec {rights} \"$0\"")), &gate.url())
        .env("SPOOL_DIR", dir)
        // The smallest there is: segments of 64 KiB, so that they come and go.
        .env("SPOOL_MAX_BYTES", "1MiB")
        // Batches are cut for the spool's sake alone.
        .env("PUSH_INTERVAL_S", "60")
        .env("SPOOL_FLUSH_S", seconds(plan.flush_ms))
        .env("SCRAPE_INTERVAL_S", seconds(plan.scrape_ms))
        .env("REMOTE_WRITE_PROTOCOL", choice)
        .env("REMOTE_WRITE_TIMEOUT_S", seconds(TIMEOUT.as_millis() as u64))
        // The last run delivers what is left; another one is not to wait for a receiver that hangs.
        .env("SHUTDOWN_TIMEOUT_S", if plan.faults.is_empty() { "50" } else { "4" })
        .env("REMOTE_WRITE_HEADERS", format!("{LIFE_HEADER}={life}"))
        .env("EXTERNAL_LABELS", format!("round={round},filler={}", filler()))
        .env("FAULT_SERIES", SERIES.to_string())
        .env("FAULT_SPREAD", SPREAD.to_string())
        .env("FAULT_FIRST", (life as u64 * NUMBERS_A_LIFE + 1).to_string())
        .env("FAULT_OFFSETS_MS", clock.join(","))
        .env("FAULT_JOURNAL", "1")
}

/// So much without a pattern that a compressor could use that a record takes more than a kilobyte.
fn filler() -> String {
    let mut random = Rng::with_seed(1);
    (0..1500).map(|_| random.alphanumeric()).collect()
}

/// Lets the host run, while its disk does what the script says. The moment of its end is what is tried here.
fn live(running: &Running, plan: &Plan, dir: &Path) {
    let sleep = |ms| thread::sleep(Duration::from_millis(ms));
    let Media::Closed { after_ms, for_ms } = plan.disk else { return sleep(plan.run_ms) };
    let (from, to) = (after_ms.min(plan.run_ms), (after_ms + for_ms).min(plan.run_ms));
    sleep(from);
    fs::set_permissions(dir, Permissions::from_mode(0o555)).expect("a folder of ours");
    sleep(to - from);
    fs::set_permissions(dir, Permissions::from_mode(0o755)).expect("a folder of ours");
    assert!(running.ended().is_none(), "{}", running.log_text());
    sleep(plan.run_ms - to);
}

/// Whether the spool and its files may be written.
fn permit(dir: &Path, allowed: bool) {
    let (of_files, of_dir) = if allowed { (0o644, 0o755) } else { (0o444, 0o555) };
    for file in fs::read_dir(dir).expect("the spool").flatten() {
        fs::set_permissions(file.path(), Permissions::from_mode(of_files)).expect("a file of ours");
    }
    fs::set_permissions(dir, Permissions::from_mode(of_dir)).expect("a folder of ours");
}

/// What the host itself said of a life that is over.
fn witness(running: &Running, plan: &Plan) -> Life {
    let log = running.log();
    let said = |text: &str| log.iter().any(|line| line.message().contains(text));
    let recovered = log.iter().find(|line| line.message().starts_with("an earlier run left these in the spool"));
    let recovered = recovered.and_then(|line| line.json["samples"].as_u64()).unwrap_or(0);
    let mut readings: Vec<Reading> = running.output().iter().filter_map(|line| reading(line)).collect();
    let books = (!plan.killed).then(|| {
        let mut ledger = running.ledger();
        let line = log.iter().rfind(|line| line.message() == "ledger").expect("it was read before");
        let [sent, received, refused] = ["raw_sent", "raw_received", "raw_refused"].map(|name| &line.json[name]);
        if is_late(running) {
            // The last readings came when nobody took them any more.
            readings.truncate((ledger.collected - recovered) as usize / SERIES);
            ledger.refused_sends = 0;
        } else {
            assert!(sent == received && refused == 0, "readings were lost within the plugin: {}", line.text);
        }
        ledger
    });
    Life {
        choice: plan.choice,
        flush_ms: plan.flush_ms as i64,
        readings,
        books,
        has_spool: said("batches wait on disk"),
        disk_failed: said("batches wait in memory until the spool can be written"),
        gave_up: said("the last request was given up"),
        recovered,
        was_damaged: false,
        told_damage: said("the spool is damaged") || said("was ended while it wrote"),
        before: Vec::new(),
        after: Vec::new(),
    }
}

/// Whether the plugin did not stop in time: on a machine that is busy elsewhere it may not get to it.
fn is_late(running: &Running) -> bool {
    running.log().iter().any(|line| line.message().starts_with("the worker did not end although it was asked to"))
}

/// A line of the plugin's journal; one that a kill cut short is none.
fn reading(line: &str) -> Option<Reading> {
    let mut numbers = line.strip_prefix("reading ")?.split(' ');
    let mut next = || numbers.next()?.parse::<i64>().ok();
    Some(Reading { number: u64::try_from(next()?).ok()?, timestamp_ms: next()?, taken_ms: next()? })
}

fn summary(evidence: &Round, judgement: &Judgement) -> String {
    let Judgement { made, stored, repeats, gone, lost_ms, findings } = judgement;
    format!(
        "{} runs, {} requests, {repeats} stored twice; {made} samples made, {stored} stored, gone: {gone:?}; \
         killed: {lost_ms:?} ms lost; {} findings",
        evidence.lives.len(),
        evidence.requests.len(),
        findings.len(),
    )
}

/// One request as a line.
fn shown((index, request): (usize, &oracle::Request)) -> String {
    let numbers: Vec<u64> = request.samples.iter().map(|sample| sample.number).collect();
    let (first, last) = (numbers.iter().min(), numbers.iter().max());
    format!(
        "\n  {index}: run {}, {:?}, {} samples {first:?} to {last:?}, {:?} {:?}, {:?}",
        request.life,
        request.version,
        request.samples.len(),
        request.stored,
        request.real,
        request.told
    )
}
