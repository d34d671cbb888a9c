//! One attempt of a job: what its contexts share, without the types of its kind.
//!
//! An attempt has an epoch of its own, so nothing that lingers from an earlier one can write. It is gone
//! when the last clone of its context is dropped: the tracker's token and the slot are in here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use cairn_engine::{
    Batch, Claim, ClaimKind, EngineError, Epoch, Recovered, SpanId, StagedBatch, Sync,
};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::edge::{CANCELLABLE, COMMIT, Change, INGEST, PAUSE_REQUEST, PUBLISH, SAVE};
use crate::error::{JobError, Result, Stop, code};
use crate::job::{CheckpointBook, Job};
use crate::metrics::Gauge;
use crate::progress::Progress;
use crate::record::{CheckpointRecord, Control, PayloadRecord};
use crate::registry::Inner;
use crate::slots::Slot;
use crate::state::{Cause, Event, State};
use crate::stop::StopFlag;

pub(crate) struct AttemptCore {
    pub(crate) inner: Arc<Inner>,
    pub(crate) job: Arc<Job>,
    pub(crate) number: u32,
    pub(crate) epoch: Epoch,
    /// Why it is being undone; `None` for an attempt to do the work.
    pub(crate) cause: Option<Cause>,
    pub(crate) stop: Arc<StopFlag>,
    payload: PayloadRecord,
    /// The version of the kind that runs: checkpoints are stored with it.
    version: u32,
    /// Guards the map; never held during a write.
    claims: Mutex<BTreeMap<SpanId, Claim>>,
    _running: Gauge,
    // Last: whoever waits for the attempt's end may open the store again.
    _slot: Option<Slot>,
    _alive: TaskTrackerToken,
}

/// What an attempt is made of.
pub(crate) struct AttemptParts {
    pub(crate) number: u32,
    pub(crate) epoch: Epoch,
    pub(crate) cause: Option<Cause>,
    pub(crate) stop: Arc<StopFlag>,
    pub(crate) version: u32,
    pub(crate) alive: TaskTrackerToken,
    pub(crate) slot: Option<Slot>,
}

impl AttemptCore {
    /// Reads the payload, settles what a crash left open in the claimed spans, and finds the latest
    /// checkpoint: of all that are stored, the one with the highest number. Blocks.
    pub(crate) fn open(
        inner: &Arc<Inner>,
        job: &Arc<Job>,
        parts: AttemptParts,
    ) -> Result<Arc<Self>> {
        let payload = PayloadRecord::load(&inner.engine, job.id)?;
        let core = Self {
            inner: Arc::clone(inner),
            job: Arc::clone(job),
            number: parts.number,
            epoch: parts.epoch,
            cause: parts.cause,
            stop: parts.stop,
            payload,
            version: parts.version,
            claims: Mutex::default(),
            _running: Gauge::running(),
            _slot: parts.slot,
            _alive: parts.alive,
        };
        core.recover_all()?;
        Ok(Arc::new(core))
    }

    fn recover_all(&self) -> Result<()> {
        if let Some(record) = CheckpointRecord::load(&self.inner.engine, self.job.id)? {
            self.job.checkpoint().restore(record);
        }
        for claim in self.inner.engine.claims_of(self.job.id.owner())? {
            let claim = claim.at(self.epoch);
            if let ClaimKind::Span(cairn_engine::SpanFamily::Bulk) = claim.what {
                self.recover(&claim)?;
            }
            self.claim_map().insert(claim.id, claim);
        }
        self.job.progress().restart(self.inner.clock.now());
        Ok(())
    }

    pub(crate) fn payload(&self) -> &PayloadRecord {
        &self.payload
    }

    pub(crate) fn stored_checkpoint(&self) -> Option<CheckpointRecord> {
        self.job.checkpoint().latest.clone()
    }

    #[inline]
    pub(crate) fn tick(&self) -> Result<()> {
        match self.stop.get() {
            None => Ok(()),
            Some(stop) => Err(JobError::Stopped(stop)),
        }
    }

    /// A call that the fence refused was stopped for a reason.
    fn stopped(&self, error: EngineError) -> JobError {
        match error {
            EngineError::Stopped | EngineError::Fenced { .. } => {
                JobError::Stopped(self.stop.get().unwrap_or(Stop::Fenced))
            }
            other => JobError::Engine(other),
        }
    }

    /// Whether the job still belongs to this attempt, with its mutex held.
    fn still_mine(&self, control: &Control) -> Result<()> {
        let stop = match control.standing.state {
            _ if control.epoch != self.epoch => match control.standing.cause {
                Some(Cause::Cancel) => Stop::Cancelled,
                Some(Cause::Failure) | None => Stop::Fenced,
            },
            State::Running if self.cause.is_none() => return Ok(()),
            State::Reverting if self.cause.is_some() => return Ok(()),
            State::PauseRequested | State::Paused => Stop::Paused,
            State::CancelRequested => Stop::Cancelled,
            State::Pending
            | State::Running
            | State::Reverting
            | State::Succeeded
            | State::Failed
            | State::Canceled
            | State::RevertFailed => Stop::Fenced,
        };
        Err(JobError::Stopped(stop))
    }

    fn claim_map(&self) -> MutexGuard<'_, BTreeMap<SpanId, Claim>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn claims(&self) -> Vec<Claim> {
        self.claim_map().values().copied().collect()
    }

    pub(crate) fn claim(&self, what: ClaimKind) -> Result<Claim> {
        self.tick()?;
        let control = self.job.lock();
        self.still_mine(&control)?;
        let claim = self.inner.engine.claim(self.job.id.owner(), self.epoch, what);
        let claim = claim.map_err(|error| self.stopped(error))?;
        self.claim_map().insert(claim.id, claim);
        Ok(claim)
    }

    /// Data and checkpoint in one synced batch.
    pub(crate) fn commit(&self, mut batch: Batch, body: Bytes) -> Result<()> {
        self.tick()?;
        // Undo has no claims any more; what it writes is its own business.
        let claims = self.claim_map();
        let stranger = batch.spans().into_iter().find(|span| !claims.contains_key(span));
        if let (Some(span), None) = (stranger, self.cause) {
            let message = format!("job {} writes into span {span} without a claim", self.job.id);
            return Err(JobError::failed(code::INTERNAL, message));
        }
        drop(claims);
        let mut book = self.job.checkpoint();
        let record = book.issue(self.version, body);
        record.put(&mut batch, self.job.id);
        let progress = self.job.put_progress(&mut batch);
        self.inner.engine.crash().point(COMMIT.before)?;
        self.inner
            .engine
            .commit_fenced(self.job.id.owner(), self.epoch, batch, Sync::Yes)
            .map_err(|error| self.stopped(error))?;
        progress.written();
        let sequence = record.sequence;
        book.restore(record);
        drop(book);
        self.inner.engine.crash().point(COMMIT.after)?;
        self.checkpoint_point(sequence)
    }

    /// Keeps a checkpoint to be written soon.
    pub(crate) fn save(&self, body: Bytes) -> Result<()> {
        self.tick()?;
        let mut book = self.job.checkpoint();
        let record = book.issue(self.version, body);
        let sequence = record.sequence;
        book.latest = Some(record);
        drop(book);
        self.job.reported.notify_one();
        self.checkpoint_point(sequence)
    }

    /// A staged batch and a checkpoint become part of the span together.
    pub(crate) fn ingest(
        &self,
        claim: &Claim,
        staged: &StagedBatch,
        body: Bytes,
    ) -> Result<Recovered> {
        use prost::Message as _;
        self.tick()?;
        let mut book = self.job.checkpoint();
        let record = book.issue(self.version, body);
        self.inner.engine.crash().point(INGEST.before)?;
        let mut progress = None;
        let recovered = self
            .inner
            .engine
            .ingest(&claim.at(self.epoch), staged, &record.encode_to_vec(), |batch| {
                record.put(batch, self.job.id);
                progress = Some(self.job.put_progress(batch));
            })
            .map_err(|error| self.stopped(error))?;
        if let Some(progress) = progress {
            progress.written();
        }
        let sequence = record.sequence;
        book.restore(record);
        drop(book);
        self.inner.engine.crash().point(INGEST.after)?;
        self.checkpoint_point(sequence)?;
        Ok(recovered)
    }

    /// Settles a claimed span. A checkpoint that came in with its last batch becomes the latest if it is.
    pub(crate) fn recover(&self, claim: &Claim) -> Result<(Recovered, Option<CheckpointRecord>)> {
        let engine = &self.inner.engine;
        let recovered = engine.recover_span(&claim.at(self.epoch));
        let recovered = recovered.map_err(|error| self.stopped(error))?;
        let Some(body) = recovered.checkpoint.clone() else { return Ok((recovered, None)) };
        let record = CheckpointRecord::from_body(&self.job.id.to_be_bytes(), body)?;
        self.job.checkpoint().restore(record.clone());
        Ok((recovered, Some(record)))
    }

    pub(crate) fn make_staging_dir(&self, claim: &Claim) -> Result<PathBuf> {
        let made = self.inner.engine.make_staging_dir(&claim.at(self.epoch));
        made.map_err(|error| self.stopped(error))
    }

    pub(crate) fn progress(&self, report: impl FnOnce(&mut Progress)) {
        if self.job.progress().update(self.inner.clock.now(), report) {
            self.job.reported.notify_one();
        }
    }

    /// Pauses the job if `point` is named in `jobs.debug.pausepoints`.
    pub(crate) fn pause_point(&self, point: &str) -> Result<()> {
        self.tick()?;
        if self.inner.settings.has_pause_point(point) { self.pause_at(point) } else { Ok(()) }
    }

    /// `jobs.checkpoint.<n>` is a pause point that every job has: after its nth checkpoint.
    fn checkpoint_point(&self, sequence: u64) -> Result<()> {
        if self.inner.settings.has_pause_points() {
            return self.pause_point(&format!("jobs.checkpoint.{sequence}"));
        }
        Ok(())
    }

    fn pause_at(&self, point: &str) -> Result<()> {
        let mut control = self.job.lock();
        self.still_mine(&control)?;
        let change = Change::by(&control, Event::RequestPause, self.inner.clock.now());
        let Ok(mut change) = change else { return Err(JobError::Stopped(Stop::Fenced)) };
        point.clone_into(&mut change.next.pause_point);
        change.message = format!("pause point {point}");
        self.inner.make(PAUSE_REQUEST, &self.job, &mut control, change)?;
        self.job.stop(Stop::Paused);
        Err(JobError::Stopped(Stop::Paused))
    }

    pub(crate) fn set_cancellable(&self, cancellable: bool) -> Result<()> {
        self.tick()?;
        let mut control = self.job.lock();
        self.still_mine(&control)?;
        if control.cancellable != cancellable {
            let name = if cancellable { "cancellable" } else { "not-cancellable" };
            let mut change = Change::touch(&control, name, self.inner.clock.now());
            change.next.cancellable = cancellable;
            self.inner.make(CANCELLABLE, &self.job, &mut control, change)?;
        }
        Ok(())
    }

    /// Lets `publish` build the publishing batch with the job's mutex held.
    pub(crate) fn publish(&self, publish: impl FnOnce(Publisher<'_>) -> Result<()>) -> Result<()> {
        self.tick()?;
        let mut control = self.job.lock();
        self.still_mine(&control)?;
        let mut done = false;
        publish(Publisher { core: self, control: &mut control, done: &mut done })?;
        if done {
            return Ok(());
        }
        Err(JobError::failed(code::INTERNAL, "publish ended without a commit"))
    }
}

/// The right to publish, while the job's mutex is held: nobody can cancel the job meanwhile.
///
/// The closure that gets it takes the locks of what it changes (table latch, then catalog lock), builds
/// the batch that makes the job's spans visible, and commits it here.
pub struct Publisher<'a> {
    core: &'a AttemptCore,
    control: &'a mut Control,
    done: &'a mut bool,
}

impl std::fmt::Debug for Publisher<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Publisher").field("job", &self.core.job.id).finish_non_exhaustive()
    }
}

impl Publisher<'_> {
    /// *The* commit point: one synced batch publishes `keep` by whatever `batch` says, makes the job
    /// `succeeded`, ends its claims, and condemns those that are not kept. Waits for writes of the
    /// job that are still under way, and closes the fence behind them.
    ///
    /// # Errors
    /// A claim that is not the job's, or a storage error: the batch was applied fully or not at all.
    pub fn commit(self, mut batch: Batch, keep: &[SpanId]) -> Result<()> {
        let Self { core, control, done } = self;
        let (inner, job) = (&core.inner, &core.job);
        let change = Change::by(control, Event::Succeed, inner.clock.now());
        let Ok(mut change) = change else { return Err(JobError::Stopped(Stop::Fenced)) };
        let (owner, now) = (job.id.owner(), change.next.modified);
        change.condemned = inner.engine.release_claims(&mut batch, owner, keep, now.raw())?;
        batch.append(std::mem::take(&mut change.batch));
        change.batch = batch;
        job.progress().complete(now);
        inner.engine.latch(owner, core.epoch).raise(change.next.epoch);
        inner.make(PUBLISH, job, control, change)?;
        *done = true;
        Ok(())
    }
}

impl Inner {
    /// Writes progress. Not synced; written by the job's own driver, which ends with the job, so it
    /// needs no fence. Blocks.
    pub(crate) fn write_progress(&self, job: &Job) -> Result<()> {
        let mut batch = Batch::new();
        let progress = job.put_progress(&mut batch);
        if !batch.is_empty() {
            self.engine.commit(batch, Sync::No)?;
            progress.written();
        }
        Ok(())
    }

    /// Writes a checkpoint that was kept for later, and progress. Not synced: after a loss of power the
    /// job goes on from the one before. Blocks.
    pub(crate) fn write_checkpoint(&self, job: &Job, epoch: Epoch) -> Result<()> {
        let mut book = job.checkpoint();
        let mut batch = Batch::new();
        let sequence = put_unstored(&book, job, &mut batch);
        let progress = job.put_progress(&mut batch);
        if batch.is_empty() {
            return Ok(());
        }
        self.engine.crash().point(SAVE.before)?;
        self.engine.commit_fenced(job.id.owner(), epoch, batch, Sync::No)?;
        progress.written();
        book.stored = book.stored.max(sequence);
        self.engine.crash().point(SAVE.after)?;
        Ok(())
    }
}

/// Adds a checkpoint that was kept for later; answers its number, or 0.
pub(crate) fn put_unstored(book: &CheckpointBook, job: &Job, batch: &mut Batch) -> u64 {
    let Some(record) = book.unstored() else { return 0 };
    record.put(batch, job.id);
    record.sequence
}
