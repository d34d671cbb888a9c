//! CANCEL, PAUSE and RESUME of several jobs at once.
//!
//! All jobs of one call are locked in the order of their ids, judged by the matrix, and changed in one
//! synced batch. What a cancel does, step by step:
//!
//! 1. Here: one batch with the state `cancel-requested`, an epoch one higher, and tombstones for all
//!    claims. The call returns when it is durable. Then the worker's flag is set.
//! 2. The job's driver raises the latch, which waits for a write of the job that is under way. From
//!    then on nothing of the job can be written, whatever its threads still do.
//! 3. It waits for the worker, 10 s at most, and goes on to `reverting` (see `worker` and `revert`).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use cairn_engine::blocking::Op;
use cairn_engine::{Batch, metrics as names};

use crate::context::run;
use crate::control::{self, CancelOutcome, ControlOptions, PauseOutcome, ResumeOutcome};
use crate::edge::{CANCEL, Change, PAUSE_REQUEST, RESUME, Step, canceled};
use crate::error::{Result, Stop};
use crate::id::JobId;
use crate::job::{Job, ProgressWrite};
use crate::record::Control;
use crate::registry::{Inner, Jobs};
use crate::state::Event;

/// One of the three verbs: how it judges and what it changes.
struct Verb<O> {
    step: Step,
    event: Event,
    /// How it stops the worker.
    stop: Option<Stop>,
    judge: fn(&Control) -> O,
    requested: fn(&O) -> bool,
    success: fn(&O) -> bool,
    not_found: O,
    fill: fn(&Inner, &mut Change, &ControlOptions) -> Result<()>,
}

impl Jobs {
    /// Cancels jobs. Returns when the cancels are durable and fenced; the jobs end soon after, which
    /// [`Jobs::wait`] waits for. Outcomes come in the order of `ids`; a state that does not allow it
    /// is an outcome, not an error.
    ///
    /// # Errors
    /// A storage error: no job was changed, or it cannot be told.
    pub async fn cancel(
        &self,
        ids: &[JobId],
        options: ControlOptions,
    ) -> Result<Vec<CancelOutcome>> {
        let began = Instant::now();
        let verb = Verb {
            step: CANCEL,
            event: Event::RequestCancel,
            stop: Some(Stop::Cancelled),
            judge: |control| control::cancel(control.standing, control.cancellable),
            requested: |outcome| *outcome == CancelOutcome::Requested,
            success: CancelOutcome::is_success,
            not_found: CancelOutcome::NotFound,
            fill: |inner, change, options| {
                change.next.error = Some(canceled(options.reason.as_deref()));
                inner.condemn(change)
            },
        };
        let outcomes = self.control(ids, options, verb).await;
        metrics::histogram!(names::CANCEL_REQUEST_SECONDS).record(began.elapsed().as_secs_f64());
        outcomes
    }

    /// Asks jobs to pause. Returns when the requests are durable; a job is `paused` once its worker has
    /// stopped.
    ///
    /// # Errors
    /// As [`Jobs::cancel`].
    pub async fn pause(&self, ids: &[JobId], options: ControlOptions) -> Result<Vec<PauseOutcome>> {
        let verb = Verb {
            step: PAUSE_REQUEST,
            event: Event::RequestPause,
            stop: Some(Stop::Paused),
            judge: |control| control::pause(control.standing),
            requested: |outcome| *outcome == PauseOutcome::Requested,
            success: PauseOutcome::is_success,
            not_found: PauseOutcome::NotFound,
            fill: |_, change, options| {
                change.next.message = options.reason.clone().unwrap_or_default();
                Ok(())
            },
        };
        self.control(ids, options, verb).await
    }

    /// Lets paused jobs go on, with the work or with their undo.
    ///
    /// # Errors
    /// As [`Jobs::cancel`].
    pub async fn resume(
        &self,
        ids: &[JobId],
        options: ControlOptions,
    ) -> Result<Vec<ResumeOutcome>> {
        let verb = Verb {
            step: RESUME,
            event: Event::Resume,
            stop: None,
            judge: |control| control::resume(control.standing),
            requested: |outcome| *outcome == ResumeOutcome::Resumed,
            success: ResumeOutcome::is_success,
            not_found: ResumeOutcome::NotFound,
            fill: |_, _, _| Ok(()),
        };
        self.control(ids, options, verb).await
    }

    async fn control<O: Clone + Send + 'static>(
        &self,
        ids: &[JobId],
        options: ControlOptions,
        verb: Verb<O>,
    ) -> Result<Vec<O>> {
        let inner = Arc::clone(&self.inner);
        let ids = ids.to_vec();
        run(Op::Control, move || inner.control(&ids, &options, &verb)).await
    }
}

/// A job that is going to be changed, with its mutex held.
struct Held<'a> {
    job: &'a Job,
    control: MutexGuard<'a, Control>,
    change: Option<Change>,
}

impl Inner {
    fn control<O: Clone>(
        &self,
        ids: &[JobId],
        options: &ControlOptions,
        verb: &Verb<O>,
    ) -> Result<Vec<O>> {
        // A map: each job once, in the order in which mutexes are taken.
        let live: BTreeMap<JobId, Arc<Job>> =
            ids.iter().filter_map(|&id| Some((id, self.live_job(id)?))).collect();
        let mut held: Vec<Held<'_>> =
            live.values().map(|job| Held { job, control: job.lock(), change: None }).collect();
        let mut judged: BTreeMap<JobId, O> = BTreeMap::new();
        for held in &held {
            judged.insert(held.job.id, (verb.judge)(&held.control));
        }
        for &id in ids {
            if let Entry::Vacant(ended) = judged.entry(id) {
                ended.insert(match Control::load(&self.engine, id)? {
                    None => verb.not_found.clone(),
                    Some(control) => (verb.judge)(&control),
                });
            }
        }
        let outcomes: Vec<O> = ids.iter().filter_map(|id| judged.get(id).cloned()).collect();
        if options.all_or_nothing && !outcomes.iter().all(|outcome| (verb.success)(outcome)) {
            return Ok(outcomes);
        }
        held.retain(|held| {
            judged.get(&held.job.id).is_some_and(|outcome| (verb.requested)(outcome))
        });
        self.request(&mut held, options, verb)?;
        Ok(outcomes)
    }

    /// Changes the held jobs in one batch.
    fn request<O>(
        &self,
        held: &mut Vec<Held<'_>>,
        options: &ControlOptions,
        verb: &Verb<O>,
    ) -> Result<()> {
        let now = self.clock.now();
        let mut batch = Batch::new();
        let mut writes = Vec::new();
        for held in held.iter_mut() {
            // The matrix and the chart agree (there is a test), so no requested job is skipped.
            let Ok(mut change) = Change::by(&held.control, verb.event, now) else { continue };
            change.user.clone_from(&options.user);
            change.message = options.reason.clone().unwrap_or_default();
            (verb.fill)(self, &mut change, options)?;
            writes.push(held.job.put_progress(&mut change.batch));
            change.complete();
            batch.append(std::mem::take(&mut change.batch));
            held.change = Some(change);
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.commit_step(verb.step, batch)?;
        writes.into_iter().for_each(ProgressWrite::written);
        for held in held.drain(..) {
            let Held { job, mut control, change } = held;
            let Some(change) = change else { continue };
            job.add_condemned(change.condemned);
            if let Some(stop) = verb.stop {
                job.stop(stop);
            }
            self.follow(job, &mut control, change.next);
        }
        Ok(())
    }
}
