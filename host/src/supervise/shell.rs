//! The thread that holds the plugin: it waits for what happens, and does what follows.
//!
//! Enters: commands, the ends of workers, time. Leaves: instances made, stopped and replaced; ends that end the run.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, never, select, unbounded};

use super::policy::{Found, Policy, Stall, Verdict};
use super::status::State;
use super::{Command, LAST_MOMENT, PLUGIN, Settings, Status};
use crate::intake::Intake;
use crate::plugin::{Ended, Handles, LoadError, PROCESS, Presence, Running, Source, WORKERS, Worker, WorkerError};
use crate::series::SeriesId;

/// An instance, and what the host notes of it.
pub(super) struct One {
    running: Running,
    presence: Arc<Presence>,
    since: Instant,
}

/// The thread.
pub(super) struct Shell {
    source: Source,
    intake: Arc<Intake>,
    settings: Settings,
    policy: Policy,
    commands: Receiver<Command>,
    endings: Option<Sender<Ended>>,
    events: (Sender<Ended>, Receiver<Ended>),
    status: Arc<Status>,
    /// A handle each of series that earlier instances held, until the present one had time to take them up.
    left: HashSet<SeriesId>,
    release_left_at: Option<Instant>,
    /// Something of the present instance has ended: what it gives back now is no end of a series.
    failing: bool,
    /// The run is ending.
    stopping: bool,
    /// By when nothing more is wanted.
    end_by: Option<Instant>,
    /// Which workers of the last instance have ended.
    passed_on: [bool; 2],
}

/// What the thread wakes for.
enum Event {
    Ended(Ended),
    Command(Command),
    Time,
}

/// How the watch over an instance ended.
enum Watched {
    /// It is over, as it ended so.
    Over(Vec<Ended>),
    /// The run is ending, whatever ended already.
    Stopping(Vec<Ended>),
}

impl Shell {
    pub(super) fn new(
        source: Source,
        intake: Arc<Intake>,
        settings: Settings,
        commands: Receiver<Command>,
        status: Arc<Status>,
    ) -> Self {
        Shell {
            policy: Policy::new(settings.restart, settings.max_restarts),
            source,
            intake,
            settings,
            commands,
            endings: None,
            events: unbounded(),
            status,
            left: HashSet::new(),
            release_left_at: None,
            failing: false,
            stopping: false,
            end_by: None,
            passed_on: [false; 2],
        }
    }

    fn make(&self) -> Result<One, LoadError> {
        let handles = match (self.policy.restarts(), self.source.is_isolated()) {
            (true, _) => Handles::Held,
            (false, true) => Handles::Noted,
            (false, false) => Handles::Own,
        };
        let presence = Arc::new(Presence::new(handles));
        let running = self.source.make(&self.intake, self.settings.host, &presence)?;
        Ok(One { running, presence, since: Instant::now() })
    }

    /// The first instance, or why there is none; none without a reason when nobody wants one any more.
    pub(super) fn make_first(&self) -> Result<Option<One>, LoadError> {
        let made = self.make().and_then(|one| {
            select! {
                recv(one.running.made()) -> made => {
                    made.unwrap_or_else(|_| Err(LoadError::defect())).map(|()| Some(one))
                }
                recv(self.commands) -> _ => {
                    one.running.kill();
                    one.running.wait_gone(Instant::now() + LAST_MOMENT);
                    Ok(None)
                }
            }
        });
        made.inspect_err(|_| self.source.finish_log())
    }

    /// From the first instance to the end of the last.
    pub(super) fn run(mut self, first: One, over: Sender<()>) {
        let Ok(Command::Run(endings, starting)) = self.commands.recv() else { return };
        self.endings = Some(endings);
        let mut starting = Some(starting);
        let mut one = Some(first);
        while let Some(mut present) = one.take() {
            present.since = Instant::now();
            present.running.start(&self.events.0);
            self.status.begins(present.running.meter());
            drop(starting.take());
            self.release_left_at = Some(present.since + self.settings.grace);
            self.failing = false;
            let watched = self.watch(&present);
            self.status.set(State::Down);
            match watched {
                Watched::Over(ended) => one = self.follow(present, ended),
                Watched::Stopping(ended) => {
                    ended.into_iter().for_each(|ended| self.pass_on(ended));
                    return self.see_out(Some(present), over);
                }
            }
            if one.is_none() {
                return self.see_out(None, over);
            }
        }
    }

    /// Watches an instance until it is over or the run is ending.
    fn watch(&mut self, one: &One) -> Watched {
        let mut stall = self.settings.stall.map(|after| Stall::new(after, one.since));
        loop {
            let look = stall.map(|stall| Instant::now() + stall.look_every());
            let held = self.policy.restarts().then(|| Instant::now() + self.settings.grace / 2);
            match self.next([look, held, self.release_left_at].into_iter().flatten().min()) {
                Event::Ended(ended) if self.policy.restarts() => return self.wind_down(one, vec![ended]),
                Event::Ended(ended) => return Watched::Stopping(vec![ended]),
                Event::Command(command) => {
                    self.obey(command, Some(one));
                    if self.stopping {
                        return Watched::Stopping(Vec::new());
                    }
                }
                Event::Time => self.release_what_is_due(one),
            }
            let found = stall.as_mut().map(|stall| stall.look(one.presence.has_called(), Instant::now()));
            match found {
                Some(Found::Stalled(silent)) => {
                    self.status.stalled();
                    tracing::warn!(
                        silent_s = silent.as_secs_f64(),
                        "the plugin stalls: no record and no other sign of life (PLUGIN_STALL_S)"
                    );
                    if self.policy.restarts() {
                        let why = format!("it stalled: no sign of life for {:.1} s", silent.as_secs_f64());
                        let ended = Ended { name: PLUGIN, result: Err(WorkerError::new(why, false, "")) };
                        return self.wind_down(one, vec![ended]);
                    }
                }
                Some(Found::Revived(silent)) => {
                    self.status.set(State::Running);
                    tracing::info!(silent_s = silent.as_secs_f64(), "the plugin gives signs of life again");
                }
                Some(Found::Nothing) | None => {}
            }
        }
    }

    /// Ends the rest of an instance of which something has ended.
    fn wind_down(&mut self, one: &One, mut ended: Vec<Ended>) -> Watched {
        self.failing = true;
        self.status.set(State::Down);
        let start = Instant::now();
        one.running.stop(Worker::GetPower);
        let (half, end) = (start + self.settings.patience / 2, start + self.settings.patience);
        self.collect(one, &mut ended, half);
        one.running.stop(Worker::ProcessData);
        self.collect(one, &mut ended, end);
        if !self.stopping && !one.running.wait_gone(end) {
            one.running.kill();
            // A kill is not refused, but reading what was sent may take a moment.
            one.running.wait_gone(end + self.settings.patience);
            ended.extend(self.events.1.try_iter());
        }
        if self.stopping || !both_ended(&ended) { Watched::Stopping(ended) } else { Watched::Over(ended) }
    }

    fn collect(&mut self, one: &One, ended: &mut Vec<Ended>, until: Instant) {
        while !both_ended(ended) && !self.stopping {
            match self.next(Some(until)) {
                Event::Ended(one) => ended.push(one),
                Event::Command(command) => self.obey(command, Some(one)),
                Event::Time => return,
            }
        }
    }

    /// What follows an instance that is over: the next one, or none.
    fn follow(&mut self, over: One, ended: Vec<Ended>) -> Option<One> {
        let mut ran = over.since.elapsed();
        let mut cause = cause(&ended);
        let mut failed = ended.iter().any(|ended| ended.result.is_err());
        let taken_down = self.retire(over);
        let mut ended = Some(ended);
        loop {
            let verdict = if taken_down { self.policy.judge(failed, ran) } else { Verdict::End };
            let (restart, delay) = match verdict {
                Verdict::Again { restart, delay } => (restart, delay),
                end => {
                    if !taken_down {
                        tracing::error!("the plugin can't be restarted: its own code did not let go of it");
                    }
                    if let Verdict::GiveUp { restarts } = end {
                        tracing::error!(restarts, "the plugin is not restarted any more (PLUGIN_RESTART_MAX): {cause}");
                    }
                    self.release_left();
                    ended.take().into_iter().flatten().for_each(|ended| self.pass_on(ended));
                    return None;
                }
            };
            tracing::warn!(restart, delay_s = delay.as_secs_f64(), "the plugin is restarted: {cause}");
            let until = Instant::now() + delay;
            loop {
                match self.next(Some(until)) {
                    Event::Time => break,
                    Event::Ended(_) => {}
                    Event::Command(command) => self.obey(command, None),
                }
                if self.stopping {
                    return None;
                }
            }
            self.status.restarted();
            match self.make_again() {
                Ok(Some(next)) => return Some(next),
                Ok(None) => return None,
                Err(error) => {
                    cause = format!("it can't be made again: {error}");
                    (failed, ran) = (true, Duration::ZERO);
                    let why = WorkerError::new(cause.clone(), false, error.detail);
                    ended = Some(self.gone_already(Some(Ended { name: PLUGIN, result: Err(why) })));
                }
            }
        }
    }

    /// An instance after the first; none when the run ends before it is made.
    fn make_again(&mut self) -> Result<Option<One>, LoadError> {
        let one = self.make()?;
        loop {
            let made = select! {
                recv(one.running.made()) -> made => Some(made),
                recv(self.commands) -> command => {
                    self.obey(command.unwrap_or_else(|_| Command::End(Instant::now())), None);
                    None
                }
            };
            match made {
                _ if self.stopping => return Ok(None),
                Some(made) => return made.unwrap_or_else(|_| Err(LoadError::defect())).map(|()| Some(one)),
                None => {}
            }
        }
    }

    /// The run is ending: whatever ends is told to it, until nothing is wanted any more.
    fn see_out(mut self, one: Option<One>, over: Sender<()>) {
        if one.is_none() && self.stopping {
            self.gone_already(None).into_iter().for_each(|ended| self.pass_on(ended));
        }
        let until = loop {
            if let Some(until) = self.end_by {
                break until;
            }
            match self.next(None) {
                Event::Ended(ended) => self.pass_on(ended),
                Event::Command(command) => self.obey(command, one.as_ref()),
                Event::Time => {}
            }
        };
        if let Some(one) = &one {
            // Workers had their time. Where both have ended, the author's `drop` gets some.
            let left = until.saturating_duration_since(Instant::now());
            let patience = if self.passed_on == [true; 2] { left / 2 } else { Duration::ZERO };
            if !one.running.wait_gone(Instant::now() + patience) {
                one.running.kill();
                one.running.wait_gone(until);
            }
            self.status.is_over();
            one.presence.end().into_iter().for_each(|series| self.intake.release(series));
        }
        self.release_left();
        while let Ok(ended) = self.events.1.try_recv() {
            self.pass_on(ended);
        }
        self.source.finish_log();
        drop(over);
        // Then the plugin is taken down: what its author's `drop` takes is nobody's time but its own.
        while self.commands.recv().is_ok() {}
    }

    fn obey(&mut self, command: Command, one: Option<&One>) {
        match command {
            Command::Stop(worker) => {
                self.stopping = true;
                if let Some(one) = one {
                    one.running.stop(worker);
                }
            }
            Command::GoOnLater => {
                // What a running instance gave back before has ended.
                if let Some(one) = one.filter(|_| !self.failing) {
                    let left = one.presence.left_by(Instant::now());
                    left.into_iter().for_each(|series| self.intake.release(series));
                }
                self.intake.end_of_run();
            }
            Command::End(until) => (self.stopping, self.end_by) = (true, Some(until)),
            Command::Run(..) => {}
        }
    }

    /// An instance is over: its series wait for the next one. Returns whether it could be taken down.
    fn retire(&mut self, one: One) -> bool {
        self.status.is_over();
        let One { running, presence, .. } = one;
        let taken_down = running.take_down(Instant::now() + self.settings.patience);
        for series in presence.end() {
            // One handle is enough to keep a series.
            if !self.left.insert(series) {
                self.intake.release(series);
            }
        }
        self.release_left_at = None;
        // Whatever it still said is not its successor's.
        self.events.1.try_iter().for_each(drop);
        taken_down
    }

    fn release_what_is_due(&mut self, one: &One) {
        let now = Instant::now();
        if self.release_left_at.is_some_and(|due| now >= due) {
            self.release_left();
        }
        if let Some(before) = now.checked_sub(self.settings.grace) {
            one.presence.left_by(before).into_iter().for_each(|series| self.intake.release(series));
        }
    }

    fn release_left(&mut self) {
        self.release_left_at = None;
        std::mem::take(&mut self.left).into_iter().for_each(|series| self.intake.release(series));
    }

    /// Where there is no instance, both workers have ended.
    fn gone_already(&self, cause: Option<Ended>) -> Vec<Ended> {
        cause.into_iter().chain(WORKERS.map(|worker| Ended { name: worker.name(), result: Ok(()) })).collect()
    }

    fn pass_on(&mut self, ended: Ended) {
        for (worker, passed_on) in WORKERS.iter().zip(&mut self.passed_on) {
            *passed_on |= worker.name() == ended.name;
        }
        if let Some(endings) = &self.endings {
            let _ = endings.send(ended);
        }
    }

    /// Waits for something to happen, but not beyond `until`.
    fn next(&self, until: Option<Instant>) -> Event {
        let time = until.map_or_else(never, crossbeam_channel::at);
        select! {
            recv(self.events.1) -> ended => ended.map_or(Event::Time, Event::Ended),
            // The run is dropped where it could not be started.
            recv(self.commands) -> command => Event::Command(command.unwrap_or_else(|_| Command::End(Instant::now()))),
            recv(time) -> _ => Event::Time,
        }
    }
}

fn both_ended(ended: &[Ended]) -> bool {
    WORKERS.iter().all(|worker| ended.iter().any(|ended| ended.name == worker.name()))
}

/// Why an instance is over, in a line: what failed first, or what returned first.
fn cause(ended: &[Ended]) -> String {
    let failed = ended.iter().find_map(|ended| Some((ended.name, ended.result.as_ref().err()?)));
    match (failed, ended.first()) {
        (Some((PROCESS | PLUGIN, error)), _) => error.to_string(),
        (Some((name, error)), _) => format!("{name} failed: {error}"),
        (None, Some(first)) => format!("{} ended by itself", first.name),
        (None, None) => "nothing of it has ended".to_owned(),
    }
}
