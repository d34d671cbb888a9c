//! The driver of one unfinished job: a task that waits for events and does what the state asks for.
//!
//! ```text
//! pending, running   wait for the kind, the back-off, a slot -> attempt -> settle its end
//! pause-requested    wait until the worker is gone -> paused
//! paused             wait
//! cancel-requested   close the fence -> wait for the worker, 10 s at most -> reverting  (see `revert`)
//! reverting          undo -> wait until the worker is gone -> canceled or failed        (see `revert`)
//! terminal           wait until the worker is gone, forget the job
//! ```
//!
//! Each turn looks at the durable state first, so it does not matter who changed it, nor when. A
//! worker is *gone* when no clone of its context is left, on any thread; only then is `paused`,
//! `canceled` or `failed` said. What the driver itself cannot write (a full disk, say) it tries again.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use cairn_engine::Epoch;
use cairn_engine::blocking::{Op, panic_text};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::attempt::{AttemptCore, AttemptParts, put_unstored};
use crate::clock::Sleep;
use crate::context::run;
use crate::edge::{ATTEMPT, Change, FAIL, PAUSE, RETRY, SUCCEED, Step, UNDO};
use crate::error::{Failure, JobError, Result, Stop, Verdict, code};
use crate::job::Job;
use crate::kind::{ErasedKind, Running};
use crate::metrics::Gauge;
use crate::migrate;
use crate::record::{Control, PayloadRecord};
use crate::registry::Inner;
use crate::retry::Backoff;
use crate::slots::Slot;
use crate::state::{Event, State};
use crate::stop::StopFlag;

/// How long a worker may take to stop before it is given up (and, if async, aborted).
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(10);

/// Time between two writes of progress, which are what watchers see.
const SHOW_EVERY: Duration = Duration::from_millis(100);

/// Wait before the driver tries again what it could not write.
const TRY_AGAIN: Duration = Duration::from_secs(1);

pub(crate) const UNRESPONSIVE: &str = "worker unresponsive";

/// What comes after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    On,
    End,
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    Ready,
    Changed,
    Shutdown,
}

/// What is left of an attempt. Dropping it stops the attempt.
pub(crate) struct Worker {
    task: JoinHandle<Result<()>>,
    tracker: TaskTracker,
    stop: Arc<StopFlag>,
    epoch: Epoch,
    /// It undoes the job; a cancel may come while it still does the work.
    undoes: bool,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.set(Stop::Shutdown);
        self.task.abort();
    }
}

pub(crate) struct Driver {
    pub(crate) inner: Arc<Inner>,
    pub(crate) job: Arc<Job>,
    changes: watch::Receiver<Arc<Control>>,
    /// The attempt that is under way.
    worker: Option<Worker>,
    /// Attempts that ended or were given up, until they are gone.
    lingering: Vec<Worker>,
    /// Undo is done; only the end is missing.
    pub(crate) undone: bool,
    /// Until then, watchers are left alone.
    quiet: Option<Sleep>,
    /// Then progress is written.
    flush: Option<Sleep>,
}

/// Runs a job to its end, or until shutdown.
pub(crate) async fn drive(inner: Arc<Inner>, job: Arc<Job>) {
    let changes = job.changes();
    let mut driver = Driver {
        inner,
        job,
        changes,
        worker: None,
        lingering: Vec::new(),
        undone: false,
        quiet: None,
        flush: None,
    };
    loop {
        match driver.turn().await {
            Ok(Flow::On) => {}
            Ok(Flow::End) => return,
            Err(error) => match driver.could_not(error).await {
                Flow::On => {}
                Flow::End => return,
            },
        }
    }
}

/// What the driver keeps of an attempt that began.
struct Started {
    number: u32,
    epoch: Epoch,
    stop: Arc<StopFlag>,
    undoes: bool,
}

/// How beginning an attempt ended.
enum Begun {
    /// The state has changed meanwhile.
    Not,
    /// The job is of a newer version; this is what it waits for.
    TooNew(String),
    /// It runs, or failed at once.
    Attempt { core: Started, running: Result<Running> },
}

impl Driver {
    async fn turn(&mut self) -> Result<Flow> {
        if self.inner.shutdown.is_cancelled() {
            return self.shut_down().await;
        }
        let control = Arc::clone(&self.changes.borrow_and_update());
        match control.standing.state {
            State::Pending | State::Running => self.work(&control).await,
            State::PauseRequested => self.pause().await,
            State::Paused => {
                self.note("");
                self.wait(std::future::pending()).await;
                Ok(Flow::On)
            }
            State::CancelRequested => self.begin_undo(&control).await,
            State::Reverting => self.revert(&control).await,
            State::Succeeded | State::Failed | State::Canceled | State::RevertFailed => {
                self.end(&control).await;
                Ok(Flow::End)
            }
        }
    }

    /// The driver's own writing failed.
    async fn could_not(&mut self, error: JobError) -> Flow {
        let text = error.to_string();
        if error.verdict() == Verdict::Dead {
            return Flow::End;
        }
        tracing::error!(error = text, "the state of a job could not be written; it is tried again");
        self.note(&format!("the store does not take changes: {text}"));
        let pause = self.inner.clock.sleep(TRY_AGAIN);
        self.wait(pause).await;
        Flow::On
    }

    /// Waits for `ready`, for a change of the job, or for shutdown.
    pub(crate) async fn wait(&mut self, ready: impl Future<Output = ()>) -> Woken {
        tokio::select! {
            biased;
            () = self.inner.shutdown.cancelled() => Woken::Shutdown,
            _ = self.changes.changed() => Woken::Changed,
            () = ready => Woken::Ready,
        }
    }

    /// Says what the job waits for, as far as only this process knows.
    pub(crate) fn note(&self, note: &str) {
        if self.job.set_note(note) {
            self.inner.show(&self.job);
        }
    }

    /// The kind of the job, as soon as it is there; `None` if something else comes first.
    pub(crate) async fn kind(&mut self, control: &Control) -> Option<Arc<dyn ErasedKind>> {
        let mut kinds = self.inner.kinds();
        loop {
            kinds.borrow_and_update();
            if let Some(kind) = self.inner.kind(&control.kind) {
                return Some(kind);
            }
            self.note(&format!("waiting for job kind {} to be registered", control.kind));
            let registered = async { drop(kinds.changed().await) };
            if self.wait(registered).await != Woken::Ready {
                return None;
            }
        }
    }

    /// Whether the time of the next attempt came before anything else.
    pub(crate) async fn is_due(&mut self, control: &Control) -> bool {
        let now = self.inner.clock.now();
        let Some(next) = control.next_run.filter(|next| *next > now) else { return true };
        let _waiting = Gauge::waiting();
        self.note("");
        let sleep = self.inner.clock.sleep_until(next);
        self.wait(sleep).await == Woken::Ready
    }

    async fn work(&mut self, control: &Control) -> Result<Flow> {
        if self.worker.is_some() {
            return self.attend().await;
        }
        // No two attempts at a time, not even the rest of one.
        if !self.lingering.is_empty() && self.until_gone(false).await != Woken::Ready {
            return Ok(Flow::On);
        }
        let Some(kind) = self.kind(control).await else { return Ok(Flow::On) };
        if !self.is_due(control).await {
            return Ok(Flow::On);
        }
        let Some(slot) = self.slot().await else { return Ok(Flow::On) };
        self.begin(kind, Some(slot)).await
    }

    async fn slot(&mut self) -> Option<Slot> {
        let slots = self.inner.slots.clone();
        if let Some(slot) = slots.try_take() {
            return Some(slot);
        }
        let _waiting = Gauge::waiting();
        self.note("waiting for a free slot");
        let mut slot = None;
        let woken = self.wait(async { slot = Some(slots.take().await) }).await;
        slot.filter(|_| woken == Woken::Ready)
    }

    /// Begins an attempt: of the work, or of its undo.
    pub(crate) async fn begin(
        &mut self,
        kind: Arc<dyn ErasedKind>,
        slot: Option<Slot>,
    ) -> Result<Flow> {
        let tracker = TaskTracker::new();
        tracker.close();
        let alive = tracker.token();
        let (inner, job) = (Arc::clone(&self.inner), Arc::clone(&self.job));
        let name = kind.name();
        let begun = run(Op::Control, move || inner.begin(&job, kind.as_ref(), alive, slot)).await?;
        match begun {
            Begun::Not => Ok(Flow::On),
            Begun::TooNew(text) => {
                self.note(&text);
                let mut kinds = self.inner.kinds();
                self.wait(async { drop(kinds.changed().await) }).await;
                Ok(Flow::On)
            }
            Begun::Attempt { core: Started { number, epoch, stop, undoes }, running } => {
                self.note("");
                let span = tracing::info_span!(
                    parent: &self.job.span, "attempt", number, %epoch, kind = name
                );
                let task = tokio::spawn(async move { running?.await }.instrument(span));
                self.worker = Some(Worker { task, tracker, stop, epoch, undoes });
                Ok(Flow::On)
            }
        }
    }

    /// Waits for the end of the attempt, and shows and writes its progress meanwhile.
    pub(crate) async fn attend(&mut self) -> Result<Flow> {
        loop {
            let Some(worker) = &mut self.worker else { return Ok(Flow::On) };
            let epoch = worker.epoch;
            let quiet = self.quiet.is_some();
            tokio::select! {
                biased;
                ended = &mut worker.task => return self.settle(ended).await,
                () = self.inner.shutdown.cancelled() => return Ok(Flow::On),
                _ = self.changes.changed() => return Ok(Flow::On),
                () = due(&mut self.flush) => {
                    self.flush = None;
                    self.write(move |inner, job| inner.write_checkpoint(job, epoch)).await?;
                }
                () = due(&mut self.quiet) => self.quiet = None,
                () = self.job.reported.notified(), if !quiet => {
                    self.write(Inner::write_progress).await?;
                    self.inner.show(&self.job);
                    // Nothing but display depends on it, so by tokio's timer: progress is seen in
                    // a test with a clock that stands still, too.
                    self.quiet = Some(Box::pin(tokio::time::sleep(SHOW_EVERY)));
                    if self.flush.is_none() {
                        let interval = self.inner.settings.get_duration("jobs.checkpoint.interval");
                        self.flush = Some(self.inner.clock.sleep(interval));
                    }
                }
                () = self.inner.ownership.lost() => {
                    worker.stop.set(Stop::Fenced);
                }
            }
        }
    }

    /// Writes what a job reported. What fails is tried again at the next report.
    async fn write(
        &mut self,
        write: impl FnOnce(&Inner, &Job) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let (inner, job) = (Arc::clone(&self.inner), Arc::clone(&self.job));
        let written = run(Op::Commit, move || write(&inner, &job)).await;
        match written.map_err(|error| (error.to_string(), error.verdict())) {
            // Fenced: the job has moved on, and what was not written is not wanted any more.
            Ok(()) | Err((_, Verdict::Stopped)) => Ok(()),
            Err((point, Verdict::Dead)) => {
                Err(JobError::Engine(cairn_engine::EngineError::Crashed { point }))
            }
            Err((error, Verdict::Retry(_) | Verdict::Failed(_) | Verdict::Broken(_))) => {
                tracing::warn!(error, "progress could not be written; it is tried again");
                Ok(())
            }
        }
    }

    /// The attempt has ended: what that means for the job.
    async fn settle(&mut self, ended: Result<Result<()>, JoinError>) -> Result<Flow> {
        let undoing = self.worker.as_ref().is_some_and(|worker| worker.undoes);
        self.lingering.extend(self.worker.take());
        (self.quiet, self.flush) = (None, None);
        let verdict = match ended {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.verdict()),
            Err(error) => Some(match error.try_into_panic() {
                Ok(payload) => {
                    let message = format!("the job's code panicked: {}", panic_text(&*payload));
                    let hint = "This is a bug of the job kind; the log has the place.";
                    Verdict::Broken(Failure::new(code::INTERNAL, message).with_hint(hint))
                }
                Err(_) => Verdict::Stopped,
            }),
        };
        let control = self.job.shown();
        match verdict {
            Some(Verdict::Dead) => return Ok(Flow::End),
            None if undoing => self.undone = true,
            None => self.succeed().await?,
            Some(Verdict::Stopped) => {
                let asked = !matches!(control.standing.state, State::Running | State::Reverting);
                if !asked && !self.inner.shutdown.is_cancelled() {
                    self.retry("the attempt stopped without being asked to".to_owned()).await?;
                }
            }
            Some(Verdict::Retry(text)) => self.retry(text).await?,
            // Undo never gives up; a job that cannot be cancelled any more cannot be undone either.
            Some(Verdict::Failed(failure)) if undoing => self.retry(failure.message).await?,
            Some(Verdict::Broken(failure)) if undoing || !control.cancellable => {
                self.retry(failure.message).await?;
            }
            Some(Verdict::Failed(failure) | Verdict::Broken(failure)) => self.fail(failure).await?,
        }
        Ok(Flow::On)
    }

    /// Makes the change of an event on a thread that may block. If the job has moved on meanwhile,
    /// nothing happens.
    pub(crate) async fn step(
        &mut self,
        step: Step,
        event: Event,
        fill: impl FnOnce(&Inner, &Job, &mut Change) -> Result<()> + Send + 'static,
    ) -> Result<bool> {
        let (inner, job) = (Arc::clone(&self.inner), Arc::clone(&self.job));
        run(Op::Control, move || inner.step(&job, step, event, |change| fill(&inner, &job, change)))
            .await
    }

    /// Without publishing anything: what was claimed is given back.
    async fn succeed(&mut self) -> Result<()> {
        self.step(SUCCEED, Event::Succeed, |inner, job, change| {
            job.progress().complete(inner.clock.now());
            inner.condemn(change)
        })
        .await
        .map(drop)
    }

    async fn fail(&mut self, failure: Failure) -> Result<()> {
        tracing::warn!(error = %failure, "job failed; it is being undone");
        self.step(FAIL, Event::Fail, move |inner, _, change| {
            change.message.clone_from(&failure.message);
            change.next.error = Some(failure);
            inner.condemn(change)
        })
        .await
        .map(drop)
    }

    async fn retry(&mut self, text: String) -> Result<()> {
        tracing::warn!(error = text, "an attempt failed; it is tried again");
        let kind = self.job.shown().kind.clone();
        metrics::counter!(cairn_engine::metrics::JOB_RETRIES_TOTAL, "kind" => kind).increment(1);
        let settings = &self.inner.settings;
        let backoff = Backoff {
            initial: settings.get_duration("jobs.retry.initial_delay"),
            max: settings.get_duration("jobs.retry.max_delay"),
            seed: self.inner.seed,
        };
        self.step_with_checkpoint(RETRY, Event::Retry, move |change| {
            let delay = backoff.delay(change.next.id, change.next.retries);
            change.next.next_run = Some(change.next.modified.plus(delay));
            change.message.clone_from(&text);
            change.next.message = text;
        })
        .await
    }

    /// A change that takes along a checkpoint that was kept for later.
    async fn step_with_checkpoint(
        &mut self,
        step: Step,
        event: Event,
        fill: impl FnOnce(&mut Change) + Send + 'static,
    ) -> Result<()> {
        let made = self
            .step(step, event, move |_, job, change| {
                fill(change);
                put_unstored(&job.checkpoint(), job, &mut change.batch);
                Ok(())
            })
            .await?;
        if made {
            // The attempt is over, so nothing was kept since.
            let mut book = self.job.checkpoint();
            book.stored = book.latest.as_ref().map_or(0, |latest| latest.sequence);
        }
        Ok(())
    }

    async fn pause(&mut self) -> Result<Flow> {
        if self.until_gone(false).await != Woken::Ready {
            return Ok(Flow::On);
        }
        self.step_with_checkpoint(PAUSE, Event::Pause, |_| {}).await?;
        Ok(Flow::On)
    }

    /// Waits until all workers are gone. After 10 s they are aborted as far as they are async, and
    /// called unresponsive; with `give_up` that ends the wait.
    pub(crate) async fn until_gone(&mut self, give_up: bool) -> Woken {
        self.lingering.extend(self.worker.take());
        let mut grace = Some(self.inner.clock.sleep(STOP_GRACE));
        loop {
            tokio::select! {
                biased;
                () = gone(&self.lingering) => {
                    self.lingering.clear();
                    self.note("");
                    return Woken::Ready;
                }
                () = self.inner.shutdown.cancelled() => return Woken::Shutdown,
                _ = self.changes.changed() => return Woken::Changed,
                () = due(&mut grace) => {
                    grace = None;
                    for worker in &self.lingering {
                        worker.task.abort();
                    }
                    tracing::warn!("the worker did not stop in time; it is fenced");
                    self.note(UNRESPONSIVE);
                    if give_up {
                        return Woken::Ready;
                    }
                }
            }
        }
    }

    /// Whether an attempt is under way.
    pub(crate) fn is_at_work(&self) -> bool {
        self.worker.is_some()
    }

    /// Whether something of an attempt is still there.
    pub(crate) fn lingers(&mut self) -> bool {
        self.lingering.retain(|worker| !worker.tracker.is_empty());
        !self.lingering.is_empty()
    }

    /// The job has ended.
    async fn end(&mut self, control: &Control) {
        self.lingering.extend(self.worker.take());
        self.inner.forget(self.job.id, control.finished.unwrap_or_default());
        tokio::select! {
            biased;
            // Whoever still has a context is fenced by the latch, so it is forgotten after that.
            () = gone(&self.lingering) => self.inner.engine.forget_latch(self.job.id.owner()),
            () = self.inner.shutdown.cancelled() => {}
        }
    }

    async fn shut_down(&mut self) -> Result<Flow> {
        self.lingering.extend(self.worker.take());
        let Some(last) = self.lingering.last() else { return Ok(Flow::End) };
        let epoch = last.epoch;
        for worker in &self.lingering {
            worker.stop.set(Stop::Shutdown);
        }
        tokio::select! {
            biased;
            () = gone(&self.lingering) => {}
            () = self.inner.clock.sleep(STOP_GRACE) => {
                tracing::warn!("a worker did not stop in time; it is left behind");
            }
        }
        self.write(move |inner, job| inner.write_checkpoint(job, epoch)).await?;
        Ok(Flow::End)
    }
}

/// Ends when no clone of any context is left.
async fn gone(workers: &[Worker]) {
    for worker in workers {
        worker.tracker.wait().await;
    }
}

/// Ends with the sleep; never without one.
async fn due(sleep: &mut Option<Sleep>) {
    match sleep {
        Some(sleep) => sleep.as_mut().await,
        None => std::future::pending().await,
    }
}

impl Inner {
    /// The durable beginning of an attempt. Blocks.
    fn begin(
        self: &Arc<Self>,
        job: &Arc<Job>,
        kind: &dyn ErasedKind,
        alive: tokio_util::task::task_tracker::TaskTrackerToken,
        slot: Option<Slot>,
    ) -> Result<Begun> {
        let version =
            PayloadRecord::load(&self.engine, job.id).map_or(0, |payload| payload.version);
        if let Some(text) = migrate::too_new(kind.name(), version, kind.version()) {
            return Ok(Begun::TooNew(text));
        }
        let mut control = job.lock();
        let now = self.clock.now();
        let (step, mut change) = match control.standing.state {
            State::Pending => match Change::by(&control, Event::Start, now) {
                Ok(change) => (ATTEMPT, change),
                Err(_) => return Ok(Begun::Not),
            },
            State::Running => (ATTEMPT, Change::touch(&control, "attempt", now)),
            State::Reverting => (UNDO, Change::touch(&control, "undo", now)),
            State::PauseRequested
            | State::Paused
            | State::CancelRequested
            | State::Succeeded
            | State::Failed
            | State::Canceled
            | State::RevertFailed => return Ok(Begun::Not),
        };
        let Some(epoch) = self.ownership.acquire(&control) else { return Ok(Begun::Not) };
        let cause = control.standing.cause;
        let next = &mut change.next;
        next.epoch = epoch;
        next.next_run = None;
        next.message.clear();
        if cause.is_none() {
            next.attempts = next.attempts.saturating_add(1);
            next.started.get_or_insert(now);
        }
        let number = next.attempts;
        self.make(step, job, &mut control, change)?;
        debug_assert!(self.ownership.renew(&control, epoch));
        // Before the mutex is free: a request that comes next finds the flag.
        let stop = job.begin();
        drop(control);
        let parts = AttemptParts {
            number,
            epoch,
            cause,
            stop: Arc::clone(&stop),
            version: kind.version(),
            alive,
            slot,
        };
        let running = AttemptCore::open(self, job, parts).and_then(|core| match cause {
            None => kind.run(core),
            Some(_) => kind.undo(core),
        });
        let undoes = cause.is_some();
        Ok(Begun::Attempt { core: Started { number, epoch, stop, undoes }, running })
    }
}
