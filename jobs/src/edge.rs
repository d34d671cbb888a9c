//! One change of a job: everything it writes in one synced batch, with a crash point on either side.
//!
//! [`Change`] is planned from the current record, filled by whoever makes it, and committed while
//! the job's mutex is held. Only then does memory follow. A change that fails leaves memory as it was.
//!
//! # Epochs
//!
//! The epoch grows with every change of who may write: when an attempt begins, and when the right of
//! an attempt to write ends (pause, cancel, failure, success). The new one is in the batch, so it
//! is durable before the latch is raised to it. Publishing is the exception: it raises first, so that no
//! write of the job can land in a span that is no longer its own.

use std::sync::MutexGuard;

use cairn_engine::{Batch, SpanId, Sync};

use crate::clock::UnixMillis;
use crate::error::{Failure, Result, code};
use crate::history;
use crate::job::Job;
use crate::list::JobView;
use crate::record::Control;
use crate::registry::Inner;
use crate::state::{Cause, Event, Refused, apply};
use crate::watch::JobEvent;

/// A durable step, named by its crash points.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) before: &'static str,
    pub(crate) after: &'static str,
}

macro_rules! steps {
    ($($name:ident = $before:literal, $after:literal;)*) => {
        $(pub(crate) const $name: Step = Step { before: $before, after: $after };)*

        /// Every crash point of this crate, for tests that go through them all.
        pub const CRASH_POINTS: &[&str] = &[$($before, $after),*];
    };
}

steps! {
    SUBMIT = "jobs.submit.before", "jobs.submit.after";
    ATTEMPT = "jobs.attempt.before", "jobs.attempt.after";
    COMMIT = "jobs.commit.before", "jobs.commit.after";
    INGEST = "jobs.ingest.before", "jobs.ingest.after";
    SAVE = "jobs.save.before", "jobs.save.after";
    PAUSE_REQUEST = "jobs.pause_request.before", "jobs.pause_request.after";
    PAUSE = "jobs.pause.before", "jobs.pause.after";
    RESUME = "jobs.resume.before", "jobs.resume.after";
    CANCEL = "jobs.cancel.before", "jobs.cancel.after";
    REVERT = "jobs.revert.before", "jobs.revert.after";
    UNDO = "jobs.undo.before", "jobs.undo.after";
    RETRY = "jobs.retry.before", "jobs.retry.after";
    FAIL = "jobs.fail.before", "jobs.fail.after";
    SUCCEED = "jobs.succeed.before", "jobs.succeed.after";
    PUBLISH = "jobs.publish.before", "jobs.publish.after";
    FINISH = "jobs.finish.before", "jobs.finish.after";
    CANCELLABLE = "jobs.cancellable.before", "jobs.cancellable.after";
    RETENTION = "jobs.retention.before", "jobs.retention.after";
}

/// A change of one job that is being put together.
pub(crate) struct Change {
    pub(crate) next: Control,
    pub(crate) batch: Batch,
    /// Claims that the batch condemns.
    pub(crate) condemned: Vec<SpanId>,
    /// For the history: more about it, and who asked.
    pub(crate) message: String,
    pub(crate) user: String,
    name: &'static str,
}

impl Change {
    /// The change that `event` makes to a job at `current`.
    pub(crate) fn by(current: &Control, event: Event, now: UnixMillis) -> Result<Self, Refused> {
        let standing = apply(current.standing, event)?;
        let mut change = Self::touch(current, event.as_str(), now);
        let next = &mut change.next;
        next.standing = standing;
        match event {
            Event::Start | Event::RequestPause => {}
            Event::Retry => next.retries = next.retries.saturating_add(1),
            Event::Resume | Event::Revert => {
                calm(next);
                next.message.clear();
                next.pause_point.clear();
            }
            Event::Pause => {
                calm(next);
                next.epoch = next.epoch.next();
            }
            Event::RequestCancel | Event::Fail => {
                calm(next);
                next.message.clear();
                next.pause_point.clear();
                next.epoch = next.epoch.next();
            }
            Event::Succeed | Event::Finish => {
                calm(next);
                next.message.clear();
                next.finished = Some(now);
                next.epoch = next.epoch.next();
            }
        }
        Ok(change)
    }

    /// A change that leaves the state as it is.
    pub(crate) fn touch(current: &Control, name: &'static str, now: UnixMillis) -> Self {
        let mut next = current.clone();
        next.modified = now.max(current.modified);
        Self {
            next,
            batch: Batch::new(),
            condemned: Vec::new(),
            message: String::new(),
            user: String::new(),
            name,
        }
    }

    /// Adds the history entry and the control record: the change is complete.
    pub(crate) fn complete(&mut self) {
        history::note(&mut self.batch, &mut self.next, self.name, &self.message, &self.user);
        self.next.put(&mut self.batch);
    }
}

/// Whatever comes next starts without the back-off of what was before.
fn calm(next: &mut Control) {
    next.retries = 0;
    next.next_run = None;
}

/// The error that a cancelled job ends with.
pub(crate) fn canceled(reason: Option<&str>) -> Failure {
    let failure = Failure::new(code::QUERY_CANCELED, "job canceled by user");
    match reason {
        Some(reason) => failure.with_detail(format!("reason: {reason}")),
        None => failure,
    }
}

impl Inner {
    /// Commits a complete batch between its crash points.
    pub(crate) fn commit_step(&self, step: Step, batch: Batch) -> Result<()> {
        self.engine.crash().point(step.before)?;
        self.engine.commit(batch, Sync::Yes)?;
        self.engine.crash().point(step.after)?;
        Ok(())
    }

    /// Commits a change, closes the fence behind it, and lets memory follow. The caller holds the job's
    /// mutex. When watchers see the change, everything that could write under an earlier epoch has
    /// ended, and what was condemned is with the reclaimer.
    pub(crate) fn make(
        &self,
        step: Step,
        job: &Job,
        control: &mut Control,
        mut change: Change,
    ) -> Result<()> {
        let progress = job.put_progress(&mut change.batch);
        change.complete();
        self.commit_step(step, change.batch)?;
        // Before the latch is waited for: a write under it may want to write progress too.
        progress.written();
        if change.next.epoch != control.epoch {
            self.engine.latch(job.id.owner(), change.next.epoch).raise(change.next.epoch);
        }
        self.engine.condemned(&change.condemned);
        self.follow(job, control, change.next);
        Ok(())
    }

    /// Memory follows a durable change, and whoever watches is told.
    pub(crate) fn follow(&self, job: &Job, control: &mut Control, next: Control) {
        let news = control.standing != next.standing;
        job.install(control, next);
        if news {
            tracing::info!(parent: &job.span, state = %control.standing.state, "job changed its state");
            let event = JobEvent {
                id: job.id,
                kind: control.kind.clone(),
                state: control.standing.state,
                at: control.modified,
            };
            // Without a listener there is nobody to tell.
            let _ = self.events.send(event);
        }
        if news && control.standing.state.is_terminal() {
            let (kind, state) = (control.kind.clone(), control.standing.state.as_str());
            metrics::counter!(cairn_engine::metrics::JOBS_FINISHED_TOTAL, "kind" => kind, "state" => state)
                .increment(1);
        }
        self.show(job);
    }

    /// Refreshes what watchers of a job see. Built under the channel's own lock, so that of two
    /// refreshes the later one wins.
    pub(crate) fn show(&self, job: &Job) {
        job.view.send_modify(|view| *view = JobView::of_live(self, job, &job.shown()));
    }

    /// Makes the change of `event`, if the job still stands where that is possible; `fill` adds to
    /// it. Answers whether it was made. Blocks.
    pub(crate) fn step(
        &self,
        job: &Job,
        step: Step,
        event: Event,
        fill: impl FnOnce(&mut Change) -> Result<()>,
    ) -> Result<bool> {
        let mut control: MutexGuard<'_, Control> = job.lock();
        let Ok(mut change) = Change::by(&control, event, self.clock.now()) else {
            return Ok(false);
        };
        fill(&mut change)?;
        self.make(step, job, &mut control, change)?;
        Ok(true)
    }

    /// Adds tombstones for all claims of the job to a change.
    pub(crate) fn condemn(&self, change: &mut Change) -> Result<()> {
        let reason = match change.next.standing.cause {
            Some(Cause::Cancel) => format!("job {} was canceled", change.next.id),
            Some(Cause::Failure) => format!("job {} failed", change.next.id),
            None => format!("job {} left it over", change.next.id),
        };
        let (owner, now) = (change.next.id.owner(), change.next.modified.raw());
        let ids = self.engine.condemn(&mut change.batch, owner, &reason, now)?;
        change.condemned.extend(ids);
        Ok(())
    }
}
