//! What is known of every job that was submitted, and what its listing may therefore say.
//!
//! A job is known by the marker in its statement from before the statement is sent, so one whose
//! submission was never answered is recognised when it turns up.
//!
//! A listing is judged by two states of knowledge. What *must* hold follows from what was acknowledged before
//! the listing was asked for; what *may* be follows from what was sent before its answer was read.

use std::collections::{BTreeMap, BTreeSet};

use cairn_jobs::State;

use crate::kill::fault::Fault;
use crate::kill::source::{SOURCES, Source};

/// The number of a statement that submits a job; part of the statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Marker(pub(crate) u64);

impl Marker {
    /// As a comment in a statement.
    pub(crate) fn comment(self) -> String {
        format!("/* op {} */", self.0)
    }

    /// From the text of a statement.
    pub(crate) fn find(statement: &str) -> Option<Self> {
        let (_, rest) = statement.split_once("/* op ")?;
        rest.split_once(' ')?.0.parse().ok().map(Self)
    }
}

/// Counts how often a table was made or emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Generation(pub(crate) u64);

/// Whether a job was asked to pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// It was not, or was resumed.
    Free,
    /// Something was asked, and the answer never came.
    Unknown,
    /// It was.
    Held,
}

/// One line of a listing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    /// `None` if the listing does not show statements.
    pub(crate) marker: Option<Marker>,
    pub(crate) id: i64,
    pub(crate) state: State,
    pub(crate) fraction: f64,
    /// `None` if the listing does not show them.
    pub(crate) bytes: Option<i64>,
}

/// What is known of a job.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    table: usize,
    generation: Generation,
    source: usize,
    id: Option<i64>,
    /// The highest id that was known when it was submitted: its own is above.
    above: i64,
    /// Its submission was answered, or it has been listed: it exists for good.
    exists: bool,
    /// Statements that would cancel it and are not answered.
    cancels_open: u32,
    /// A statement may have cancelled it.
    may_be_canceled: bool,
    /// A cancel of it was acknowledged.
    canceled: bool,
    hold: Hold,
    /// Counts PAUSE and RESUME.
    controls: u32,
    /// It may meet a row of its keys.
    may_collide: bool,
    /// Its table was made empty, so it has ended.
    must_have_ended: bool,
    /// It was seen in a state after `pending`.
    begun: bool,
    /// It was seen on its way to an end by undo.
    undone: bool,
    end: Option<State>,
    /// Its record was removed some time after its end.
    gone: bool,
    fraction: f64,
    bytes: i64,
}

impl Job {
    pub(crate) fn source(&self) -> usize {
        self.source
    }

    pub(crate) fn generation(&self) -> Generation {
        self.generation
    }

    pub(crate) fn id(&self) -> Option<i64> {
        self.id
    }

    /// The terminal state, once that is known.
    pub(crate) fn end(&self) -> Option<State> {
        self.end
    }

    pub(crate) fn hold(&self) -> Hold {
        self.hold
    }

    fn may_cancel(&self) -> bool {
        self.cancels_open > 0 || self.may_be_canceled || self.canceled
    }

    fn may_fail(&self) -> bool {
        !SOURCES[self.source].is_good() || self.may_collide
    }

    /// Whether it has published its rows, as far as that can be known.
    pub(crate) fn may_have_succeeded(&self) -> bool {
        match self.end {
            Some(end) => end == State::Succeeded,
            None => SOURCES[self.source].is_good() && !self.canceled,
        }
    }

    fn name(&self, marker: Marker) -> String {
        let source = SOURCES[self.source].name();
        let id = self.id.map_or_else(|| "?".to_owned(), |id| id.to_string());
        format!(
            "job {id} (op {}, {source} into t{}, generation {})",
            marker.0, self.table, self.generation.0
        )
    }

    /// What must be in view of what was acknowledged: each rule that is broken, and by what.
    fn broken(before: &Self, now: &Self, seen: &Seen) -> Vec<(String, String)> {
        use State as S;
        let state = seen.state;
        let mut wrong = Vec::new();
        let mut must = |holds: bool, rule: &str, found: String| {
            if !holds {
                wrong.push((rule.to_owned(), found));
            }
        };
        let ending = matches!(state, S::CancelRequested | S::Reverting | S::Canceled);
        let resting = matches!(state, S::PauseRequested | S::Paused);
        if let Some(end) = before.end {
            must(state == end, &format!("{end} for good"), state.to_string());
        }
        if before.canceled {
            must(
                ending || resting,
                "on its way to canceled: that was acknowledged",
                state.to_string(),
            );
        }
        if before.hold == Hold::Held && now.controls == before.controls {
            let canceled = ending && now.may_cancel();
            must(resting || canceled, "paused: that was acknowledged", state.to_string());
        }
        if before.must_have_ended {
            must(state.is_terminal(), "ended: its table was emptied or dropped", state.to_string());
        }
        if before.undone {
            let forward = matches!(state, S::Pending | S::Running | S::Succeeded);
            must(!forward, "on its way to an end by undo, as it was before", state.to_string());
        }
        if before.begun {
            must(state != S::Pending, "begun, as it was before", state.to_string());
        }
        let (fraction, at_least) = (seen.fraction, before.fraction);
        must(
            fraction >= at_least,
            &format!("a fraction of {at_least} or more"),
            fraction.to_string(),
        );
        if state == S::Succeeded {
            must(fraction >= 1.0, "complete: it succeeded", fraction.to_string());
        }
        if let Some(bytes) = seen.bytes {
            let at_least = before.bytes;
            must(
                bytes >= at_least,
                &format!("{at_least} bytes written or more"),
                bytes.to_string(),
            );
        }
        wrong
    }

    /// Whether the state may be in view of what was sent. `before` is `None` for a job that was not known then.
    fn permits(before: Option<&Self>, now: &Self, state: State) -> bool {
        let (hold, controls) = before.map_or((Hold::Free, 0), |job| (job.hold, job.controls));
        let held = hold == Hold::Held && controls == now.controls;
        let may_rest = [hold, now.hold] != [Hold::Free; 2] || controls != now.controls;
        match state {
            State::Pending | State::Running => true,
            State::PauseRequested | State::Paused => may_rest,
            State::CancelRequested | State::Canceled => now.may_cancel(),
            State::Reverting => now.may_cancel() || now.may_fail(),
            State::Succeeded => SOURCES[now.source].is_good() && !now.canceled && !held,
            State::Failed => now.may_fail(),
            State::RevertFailed => false,
        }
    }

    fn note(&mut self, seen: &Seen) {
        let undone = [State::CancelRequested, State::Reverting, State::Canceled, State::Failed];
        self.begun |= seen.state != State::Pending;
        self.undone |= undone.contains(&seen.state);
        if seen.state.is_terminal() && self.end.is_none() {
            self.end = Some(seen.state);
        }
        self.fraction = self.fraction.max(seen.fraction);
        self.bytes = self.bytes.max(seen.bytes.unwrap_or(0));
    }
}

/// What was known of all jobs at some moment.
#[derive(Clone, Debug)]
pub(crate) struct Earlier {
    jobs: BTreeMap<Marker, Job>,
}

impl Earlier {
    pub(crate) fn get(&self, marker: Marker) -> Option<&Job> {
        self.jobs.get(&marker)
    }
}

/// What is known of all jobs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Jobs {
    jobs: BTreeMap<Marker, Job>,
    by_id: BTreeMap<i64, Marker>,
    /// Statements that cancel whatever runs and are not answered.
    sweeps_open: u32,
    /// Records of ended jobs go away after a time.
    forgets: bool,
    /// Jobs that are forgotten here, by how they ended.
    pruned: BTreeMap<State, u64>,
}

impl Jobs {
    /// Records of ended jobs may go away.
    pub(crate) fn forget_ended(&mut self) {
        self.forgets = true;
    }

    /// Whether they may.
    pub(crate) fn forgets(&self) -> bool {
        self.forgets
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Marker, &Job)> {
        self.jobs.iter().map(|(marker, job)| (*marker, job))
    }

    /// What is known now, to judge by it what is read later.
    pub(crate) fn known(&self) -> Earlier {
        Earlier { jobs: self.jobs.clone() }
    }

    fn get_mut(&mut self, marker: Marker) -> Option<&mut Job> {
        self.jobs.get_mut(&marker)
    }

    /// Jobs of a table as it is since `generation`.
    pub(crate) fn of(
        &self,
        table: usize,
        generation: Generation,
    ) -> impl Iterator<Item = (Marker, &Job)> {
        self.iter().filter(move |(_, job)| job.table == table && job.generation == generation)
    }

    /// Jobs of a table that may not have ended.
    pub(crate) fn live_on(&self, table: usize) -> Vec<Marker> {
        let live = self.iter().filter(|(_, job)| job.table == table && job.end.is_none());
        live.map(|(marker, _)| marker).collect()
    }

    /// A statement that submits a job is about to be sent. `may_collide` if rows of its keys may be there.
    pub(crate) fn submit(
        &mut self,
        marker: Marker,
        table: usize,
        generation: Generation,
        source: &Source,
        may_collide: bool,
    ) {
        let source = SOURCES.iter().position(|known| known == source).expect("a known source");
        let job = Job {
            table,
            generation,
            source,
            id: None,
            above: self.by_id.keys().next_back().copied().unwrap_or(0),
            exists: false,
            cancels_open: 0,
            may_be_canceled: self.sweeps_open > 0,
            canceled: false,
            hold: Hold::Free,
            controls: 0,
            may_collide,
            must_have_ended: false,
            begun: false,
            undone: false,
            end: None,
            gone: false,
            fraction: 0.0,
            bytes: 0,
        };
        self.jobs.insert(marker, job);
    }

    /// The submission was refused: there is no job, and never will be.
    pub(crate) fn refused(&mut self, marker: Marker) {
        self.jobs.remove(&marker);
    }

    /// The job is there, with this id.
    pub(crate) fn accepted(&mut self, marker: Marker, id: i64) -> Result<(), Fault> {
        let holder = self.by_id.get(&id).copied();
        let Some(job) = self.jobs.get_mut(&marker) else {
            let what = format!("op {} in the statement of job {id}", marker.0);
            return Err(Fault::new(
                what,
                "no such job: it was refused, or never asked for",
                "a job",
            ));
        };
        if let Some(known) = job.id {
            return if known == id {
                Ok(())
            } else {
                Err(Fault::new(format!("the id of {}", job.name(marker)), known, id))
            };
        }
        job.id = Some(id);
        job.exists = true;
        let (name, above) = (job.name(marker), job.above);
        if let Some(holder) = holder {
            let what = format!("the id of {name}");
            return Err(Fault::new(what, "an id of its own", format!("that of op {}", holder.0)));
        }
        if id <= above {
            let what = format!("the id of {name}");
            return Err(Fault::new(what, format!("above {above}, which was known before"), id));
        }
        self.by_id.insert(id, marker);
        Ok(())
    }

    /// The client that waited for a job heard how it ended.
    pub(crate) fn heard_end(&mut self, marker: Marker, end: State) -> Result<(), Fault> {
        let Some(job) = self.jobs.get_mut(&marker) else { return Ok(()) };
        let what = format!("the end of {}, as its client heard it", job.name(marker));
        if let Some(known) = job.end.filter(|known| *known != end) {
            return Err(Fault::new(what, format!("{known} for good"), end));
        }
        if !Job::permits(Some(job), job, end) {
            return Err(Fault::new(what, "another: nothing would have led to this one", end));
        }
        job.end = Some(end);
        (job.begun, job.exists) = (true, true);
        job.undone |= end != State::Succeeded;
        Ok(())
    }

    /// A statement that cancels these jobs is about to be sent.
    pub(crate) fn begin_cancel(&mut self, markers: &[Marker]) {
        for marker in markers {
            if let Some(job) = self.get_mut(*marker) {
                job.cancels_open += 1;
            }
        }
    }

    /// The statement was answered; `may_have` if it is not known which of them it has cancelled.
    pub(crate) fn end_cancel(&mut self, markers: &[Marker], may_have: bool) {
        for marker in markers {
            if let Some(job) = self.get_mut(*marker) {
                job.cancels_open = job.cancels_open.saturating_sub(1);
                job.may_be_canceled |= may_have;
            }
        }
    }

    /// CANCEL of this very job was acknowledged.
    pub(crate) fn cancel_acknowledged(&mut self, marker: Marker) -> Result<(), Fault> {
        self.end_cancel(&[marker], false);
        let Some(job) = self.get_mut(marker) else { return Ok(()) };
        job.canceled = true;
        match job.end {
            Some(end) if end != State::Canceled => Err(Fault::new(
                format!("CANCEL of {}", job.name(marker)),
                format!("refused: it is {end}"),
                "accepted",
            )),
            _ => Ok(()),
        }
    }

    /// A statement that cancels whatever runs is about to be sent. Returns what may be running.
    pub(crate) fn begin_sweep(&mut self) -> Vec<Marker> {
        self.sweeps_open += 1;
        let running: Vec<Marker> =
            self.iter().filter(|(_, job)| job.end.is_none()).map(|(marker, _)| marker).collect();
        self.begin_cancel(&running);
        running
    }

    /// It was answered.
    pub(crate) fn end_sweep(&mut self, running: &[Marker], refused: bool) {
        self.sweeps_open -= 1;
        self.end_cancel(running, !refused);
    }

    /// The table was made empty, or dropped: its jobs have ended.
    pub(crate) fn cleared(&mut self, markers: &[Marker]) {
        self.end_cancel(markers, true);
        for marker in markers {
            if let Some(job) = self.get_mut(*marker) {
                job.must_have_ended = true;
            }
        }
    }

    /// A row of the keys of these jobs is about to be inserted.
    pub(crate) fn collide(&mut self, markers: &[Marker]) {
        for marker in markers {
            if let Some(job) = self.get_mut(*marker) {
                job.may_collide = true;
            }
        }
    }

    /// PAUSE is about to be sent. Returns what to go back to if it is refused.
    pub(crate) fn begin_pause(&mut self, marker: Marker) -> Hold {
        let Some(job) = self.get_mut(marker) else { return Hold::Free };
        job.controls += 1;
        let before = job.hold;
        if before == Hold::Free {
            job.hold = Hold::Unknown;
        }
        before
    }

    /// RESUME is about to be sent. Returns what to go back to if it is refused.
    pub(crate) fn begin_resume(&mut self, marker: Marker) -> Hold {
        let Some(job) = self.get_mut(marker) else { return Hold::Free };
        job.controls += 1;
        let before = job.hold;
        if before == Hold::Held {
            job.hold = Hold::Unknown;
        }
        before
    }

    /// PAUSE or RESUME was answered.
    pub(crate) fn end_control(&mut self, marker: Marker, hold: Hold) {
        if let Some(job) = self.get_mut(marker) {
            job.hold = hold;
        }
    }

    /// A listing was read; `before` is what was known when it was asked for, and `whole` says that it lists all
    /// jobs with their statements. Learns from it, and answers what is wrong.
    pub(crate) fn listed(&mut self, before: &Earlier, seen: &[Seen], whole: bool) -> Vec<Fault> {
        let mut faults = Vec::new();
        for line in seen {
            let Some(marker) = line.marker.or_else(|| self.by_id.get(&line.id).copied()) else {
                continue;
            };
            if let Err(fault) = self.accepted(marker, line.id) {
                faults.push(fault);
                continue;
            }
            let Some(now) = self.jobs.get_mut(&marker) else { continue };
            let name = now.name(marker);
            let then = before.get(marker);
            let broken = then.map_or_else(Vec::new, |then| Job::broken(then, now, line));
            for (rule, found) in broken {
                faults.push(Fault::new(name.clone(), rule, found));
            }
            if !Job::permits(then, now, line.state) {
                faults.push(Fault::new(
                    name,
                    "another state: nothing would have led to it",
                    line.state,
                ));
            }
            now.note(line);
        }
        if whole {
            faults.extend(self.check_missing(before, seen));
        }
        faults
    }

    fn check_missing(&mut self, before: &Earlier, seen: &[Seen]) -> Vec<Fault> {
        let listed: BTreeSet<Marker> = seen.iter().filter_map(|line| line.marker).collect();
        let missing =
            before.jobs.iter().filter(|(marker, job)| job.exists && !listed.contains(marker));
        let mut faults = Vec::new();
        for (&marker, _) in missing {
            let Some(job) = self.jobs.get_mut(&marker) else { continue };
            if self.forgets && job.end.is_some() {
                job.gone = true;
            } else {
                faults.push(Fault::new(job.name(marker), "listed: it was accepted", "not listed"));
            }
        }
        faults
    }

    /// The server was started again and nobody has asked it for anything yet: settles what was open. `seen` is a
    /// whole listing. `forgetful`: the power was cut, and progress is not synced.
    pub(crate) fn restarted(&mut self, seen: &[Seen], forgetful: bool) -> Vec<Fault> {
        self.sweeps_open = 0;
        for job in self.jobs.values_mut() {
            job.may_be_canceled |= job.cancels_open > 0;
            job.cancels_open = 0;
            if forgetful {
                (job.fraction, job.bytes) = (0.0, 0);
            }
        }
        let before = self.known();
        let faults = self.listed(&before, seen, true);
        // A submission that was not answered and has left nothing never happened.
        self.jobs.retain(|_, job| job.exists);
        for line in seen {
            let job = line.marker.and_then(|marker| self.jobs.get_mut(&marker));
            if let Some(job) = job {
                let resting = matches!(line.state, State::PauseRequested | State::Paused);
                job.hold = if resting { Hold::Held } else { Hold::Free };
            }
        }
        faults
    }

    /// Lets go of jobs whose records are gone, of tables as they were before `generations`.
    pub(crate) fn prune(&mut self, generations: &[Generation]) {
        let pruned = &mut self.pruned;
        self.jobs.retain(|_, job| {
            let old = generations.get(job.table).is_some_and(|now| job.generation < *now);
            let ended = job.end.filter(|_| old && job.gone);
            if let Some(end) = ended {
                *pruned.entry(end).or_default() += 1;
            }
            ended.is_none()
        });
    }

    /// How many jobs ended so.
    pub(crate) fn ended(&self, end: State) -> u64 {
        let kept = self.jobs.values().filter(|job| job.end == Some(end)).count() as u64;
        kept + self.pruned.get(&end).copied().unwrap_or(0)
    }
}
