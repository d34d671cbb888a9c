//! Jobs as people see them.
//!
//! A list is built from control and progress records, with what only this process knows on top (rate,
//! what a job waits for). No payload is read for it, and no job is waited for.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use cairn_engine::{Engine, OwnerId};

use crate::clock::UnixMillis;
use crate::error::{Failure, Result};
use crate::id::JobId;
use crate::job::Job;
use crate::progress::{Progress, ProgressBook};
use crate::record::{Control, ProgressRecord};
use crate::registry::Inner;
use crate::state::{Cause, Standing, State};

/// A job as people see it.
#[derive(Clone, Debug, PartialEq)]
pub struct JobView {
    /// The id.
    pub id: JobId,
    /// The name of its kind.
    pub kind: String,
    /// What it does, in one line.
    pub description: String,
    /// The statement that made it; empty if there was none.
    pub statement: String,
    /// Who submitted it.
    pub user: String,
    /// Its state.
    pub state: State,
    /// Why it is being undone, or was; `None` if it can succeed or did.
    pub cause: Option<Cause>,
    /// What it does or waits for now, in one line; empty if the state says it all.
    pub running_status: String,
    /// What it is doing, in one word.
    pub phase: String,
    /// Part of the work that is done, from 0 to 1.
    pub fraction: f64,
    /// Rows written.
    pub rows: u64,
    /// Index entries written, beyond those of the primary index.
    pub index_entries: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Bytes that there will be; 0 if that is not known.
    pub bytes_total: u64,
    /// Bytes per second, averaged over some seconds: written, or given back once it has ended; 0 if neither goes on.
    pub rate: f64,
    /// Time until the end, or until its bytes are back, at the present speed; `None` if that cannot be told.
    pub eta: Option<Duration>,
    /// It runs, but reported no progress for 30 s.
    pub stalled: bool,
    /// Bytes that it left on the disk and that are not given back yet.
    pub bytes_to_reclaim: u64,
    /// Attempts that began.
    pub attempts: u32,
    /// Errors in a row before the next attempt.
    pub retries: u32,
    /// More: the error before a retry, the reason of a pause, the file at hand.
    pub message: String,
    /// Whether CANCEL is accepted.
    pub cancellable: bool,
    /// When it was submitted.
    pub created: UnixMillis,
    /// When its first attempt began.
    pub started: Option<UnixMillis>,
    /// When it reached its terminal state.
    pub finished: Option<UnixMillis>,
    /// When its state last changed.
    pub modified: UnixMillis,
    /// Why it failed or was cancelled. Set before the end, as soon as that is decided.
    pub error: Option<Failure>,
    /// What it works on.
    pub subject: Option<u64>,
    /// When the next attempt begins, if it waits for that.
    pub next_run: Option<UnixMillis>,
}

impl JobView {
    /// The state, but `retry-running` or `retry-reverting` while the job waits for its next attempt.
    #[must_use]
    pub fn display_status(&self, now: UnixMillis) -> &'static str {
        let waits = self.next_run.is_some_and(|next| next > now);
        match self.state {
            State::Running if waits => "retry-running",
            State::Reverting if waits => "retry-reverting",
            state => state.as_str(),
        }
    }

    /// A job that is not live: all that is known is stored.
    pub(crate) fn of_stored(control: &Control, progress: Progress, reclaim: &Reclaim) -> Self {
        let book = ProgressBook::restored(progress);
        Self::build(control, &book, "", reclaim, None)
    }

    /// An unfinished job of this process.
    pub(crate) fn of_live(inner: &Inner, job: &Job, control: &Control) -> Self {
        let undone = control.standing.cause.is_some() || control.standing.state.is_terminal();
        let reclaim = if undone { Reclaim::of(&inner.engine, job.id) } else { Reclaim::default() };
        let note = job.note();
        Self::build(control, &job.progress(), &note, &reclaim, Some(inner.clock.now()))
    }

    /// `now` is given for a job of this process, whose rate means something.
    fn build(
        control: &Control,
        book: &ProgressBook,
        note: &str,
        reclaim: &Reclaim,
        now: Option<UnixMillis>,
    ) -> Self {
        let Standing { state, cause } = control.standing;
        let progress = book.shown();
        let waits = control.next_run.is_some_and(|next| now.is_none_or(|now| next > now));
        let works = state == State::Running && !waits && note.is_empty();
        let works_now = works.then_some(now).flatten();
        let (rate, eta) = speed(state, works_now.map(|_| book), reclaim);
        Self {
            id: control.id,
            kind: control.kind.clone(),
            description: control.description.clone(),
            statement: control.statement.clone(),
            user: control.user.clone(),
            state,
            cause,
            running_status: running_status(control, progress, note, waits, reclaim),
            phase: progress.phase.clone(),
            fraction: progress.fraction,
            rows: progress.rows,
            index_entries: progress.index_entries,
            bytes: progress.bytes,
            bytes_total: progress.bytes_total,
            rate,
            eta,
            stalled: works_now.is_some_and(|now| book.is_stalled(now)),
            bytes_to_reclaim: reclaim.bytes,
            attempts: control.attempts,
            retries: control.retries,
            message: first_of(&[&control.message, note, &progress.message]).to_owned(),
            cancellable: control.cancellable,
            created: control.created,
            started: control.started,
            finished: control.finished,
            modified: control.modified,
            error: control.error.clone(),
            subject: control.subject,
            next_run: control.next_run,
        }
    }
}

fn first_of<'a>(texts: &[&'a str]) -> &'a str {
    texts.iter().find(|text| !text.is_empty()).copied().unwrap_or_default()
}

fn running_status(
    control: &Control,
    progress: &Progress,
    note: &str,
    waits: bool,
    reclaim: &Reclaim,
) -> String {
    let point = &control.pause_point;
    match control.standing.state {
        State::Pending => first_of(&[note, "waiting for a free slot"]).to_owned(),
        State::Running | State::Reverting if waits => {
            format!("waiting to try again after error {}: {}", control.retries, control.message)
        }
        State::Running | State::Reverting if !note.is_empty() => note.to_owned(),
        State::Running => progress.phase.clone(),
        State::Reverting => "undoing".to_owned(),
        State::PauseRequested | State::Paused if !point.is_empty() => {
            format!("pause point {point}")
        }
        State::PauseRequested | State::CancelRequested => note.to_owned(),
        State::Paused => control.message.clone(),
        // The job is over; its bytes may not be back yet.
        State::Succeeded | State::Failed | State::Canceled | State::RevertFailed => {
            reclaim.describe()
        }
    }
}

/// How fast it works and when it will be done, or the same of giving back what it left.
fn speed(state: State, works: Option<&ProgressBook>, reclaim: &Reclaim) -> (f64, Option<Duration>) {
    match works {
        Some(book) => (book.rate(), book.eta()),
        None if state.is_terminal() => (reclaim.rate, reclaim.eta),
        None => (0.0, None),
    }
}

/// What a job left on the disk that is still to be given back.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Reclaim {
    bytes: u64,
    /// Those that somebody holds.
    held: u64,
    rate: f64,
    eta: Option<Duration>,
    waiting_for: Option<String>,
}

impl Reclaim {
    pub(crate) fn of(engine: &Engine, id: JobId) -> Self {
        Self::by_owner(engine).remove(&id.owner()).unwrap_or_default()
    }

    fn by_owner(engine: &Engine) -> BTreeMap<OwnerId, Self> {
        let mut owners: BTreeMap<OwnerId, Self> = BTreeMap::new();
        for status in engine.reclaimer().status() {
            let of = owners.entry(status.tombstone.owner).or_default();
            of.bytes += status.bytes_left;
            of.held += status.bytes_held;
            of.rate += status.rate;
            of.eta = of.eta.max(status.eta());
            of.waiting_for = of.waiting_for.take().or(status.waiting_for);
        }
        owners
    }

    /// For people: `giving back 310 MB, 150 MB/s, 3 s left`, and what is waited for if nothing moves or some of it is held.
    fn describe(&self) -> String {
        let mut text = match (self.bytes, &self.waiting_for) {
            (0, None) => return String::new(),
            (0, Some(_)) => "giving back".to_owned(),
            (bytes, _) => format!("giving back {}", amount(bytes as f64)),
        };
        if let Some(eta) = self.eta {
            let seconds = eta.as_secs_f64().ceil();
            let _ = write!(text, ", {}/s, {seconds:.0} s left", amount(self.rate));
        }
        if let Some(cause) =
            self.waiting_for.as_ref().filter(|_| self.eta.is_none() || self.held > 0)
        {
            let _ = write!(text, ", waiting for {cause}");
        }
        text
    }
}

/// Bytes for people: `310 MB`.
fn amount(mut bytes: f64) -> String {
    for unit in ["B", "kB", "MB"] {
        if bytes < 1000.0 {
            return format!("{bytes:.0} {unit}");
        }
        bytes /= 1000.0;
    }
    format!("{bytes:.1} GB")
}

impl Inner {
    /// All jobs in order of submission, live and ended. A damaged record is logged and left out.
    pub(crate) fn list(&self) -> Result<Vec<JobView>> {
        let reclaim = Reclaim::by_owner(&self.engine);
        let mut views = Vec::new();
        for control in Control::load_all(&self.engine)? {
            match control {
                Ok(control) => views.extend(self.view_of(&control, &reclaim)?),
                Err(error) => {
                    tracing::error!(%error, "a job's record is damaged; it is not listed");
                }
            }
        }
        Ok(views)
    }

    /// `None` if the job was removed since `control` was read.
    fn view_of(
        &self,
        control: &Control,
        reclaim: &BTreeMap<OwnerId, Reclaim>,
    ) -> Result<Option<JobView>> {
        if let Some(job) = self.live_job(control.id) {
            return Ok(Some(JobView::of_live(self, &job, &job.shown())));
        }
        let reclaim = reclaim.get(&control.id.owner()).cloned().unwrap_or_default();
        self.stored_view(control, &reclaim)
    }

    /// One job.
    pub(crate) fn get(&self, id: JobId) -> Result<Option<JobView>> {
        if let Some(job) = self.live_job(id) {
            return Ok(Some(JobView::of_live(self, &job, &job.shown())));
        }
        let Some(control) = Control::load(&self.engine, id)? else { return Ok(None) };
        self.stored_view(&control, &Reclaim::of(&self.engine, id))
    }

    /// A job that is not live; `None` if it was removed since `control` was read. Control and progress of a job go in
    /// one batch, but are read one after the other: one without progress is gone, or never had any.
    pub(crate) fn stored_view(
        &self,
        control: &Control,
        reclaim: &Reclaim,
    ) -> Result<Option<JobView>> {
        let id = control.id;
        let progress = self.known_progress(id);
        if progress.is_none() && Control::load(&self.engine, id)?.is_none() {
            return Ok(None);
        }
        Ok(Some(JobView::of_stored(control, progress.unwrap_or_default(), reclaim)))
    }

    /// `None` if there is no record. Progress is for people: damage is logged, and shown as no progress.
    fn known_progress(&self, id: JobId) -> Option<Progress> {
        match ProgressRecord::load(&self.engine, id) {
            Ok(record) => record.map(Into::into),
            Err(error) => {
                tracing::error!(%error, job = %id, "the progress of a job cannot be read");
                Some(Progress::default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_reads_as_a_sentence() {
        let mut reclaim = Reclaim::default();
        assert_eq!(reclaim.describe(), "");
        reclaim.bytes = 310_000_000;
        assert_eq!(reclaim.describe(), "giving back 310 MB");
        reclaim.waiting_for = Some("reclaim.paused to be false".to_owned());
        let waits = "giving back 310 MB, waiting for reclaim.paused to be false";
        assert_eq!(reclaim.describe(), waits);
        (reclaim.rate, reclaim.eta) = (1.5e9, Some(Duration::from_millis(200)));
        assert_eq!(reclaim.describe(), "giving back 310 MB, 1.5 GB/s, 1 s left");
        assert_eq!(speed(State::Canceled, None, &reclaim), (1.5e9, reclaim.eta));
        assert_eq!(speed(State::Paused, None, &reclaim), (0.0, None));
        (reclaim.held, reclaim.waiting_for) = (10, Some("a reader".to_owned()));
        let both = "giving back 310 MB, 1.5 GB/s, 1 s left, waiting for a reader";
        assert_eq!(reclaim.describe(), both, "a part of it has no end in sight");
        reclaim = Reclaim { waiting_for: reclaim.waiting_for, ..Reclaim::default() };
        assert_eq!(reclaim.describe(), "giving back, waiting for a reader");
    }
}
