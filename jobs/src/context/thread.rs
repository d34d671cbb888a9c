//! The context for code that blocks or computes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use cairn_engine::{
    Batch, Claim, ClaimKind, Class, Engine, EngineError, Epoch, SpanFamily, StagedBatch,
};
use prost::Message as _;

use crate::attempt::{AttemptCore, Publisher};
use crate::clock::UnixMillis;
use crate::error::{JobError, Result, Stop};
use crate::id::JobId;
use crate::kind::JobKind;
use crate::migrate;
use crate::progress::Progress;
use crate::settings::Settings;
use crate::state::Cause;

/// What a claimed span holds, and where its writer goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveredSpan<C> {
    /// Number of the next batch.
    pub next_batch: u64,
    /// The checkpoint that came in with the last batch; `None` before the first.
    pub checkpoint: Option<C>,
    /// Smallest and largest key-encoded primary key in the span.
    pub bounds: Option<(Bytes, Bytes)>,
    /// Rows in the span.
    pub rows: u64,
    /// Bytes of the ingested files.
    pub bytes: u64,
}

struct Typed<K: JobKind> {
    kind: Arc<K>,
    core: Arc<AttemptCore>,
    args: K::Args,
    /// The latest checkpoint; held for moments only.
    checkpoint: Mutex<K::Checkpoint>,
}

/// What an attempt may do, from a thread that may block. Handed out by
/// [`Context::on_thread`](crate::Context::on_thread).
pub struct ThreadContext<K: JobKind>(Arc<Typed<K>>);

impl<K: JobKind> Clone for ThreadContext<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: JobKind> std::fmt::Debug for ThreadContext<K> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Context")
            .field("job", &self.id())
            .field("attempt", &self.attempt())
            .finish_non_exhaustive()
    }
}

impl<K: JobKind> ThreadContext<K> {
    pub(crate) fn new(
        kind: Arc<K>,
        core: Arc<AttemptCore>,
        args: K::Args,
        checkpoint: K::Checkpoint,
    ) -> Self {
        Self(Arc::new(Typed { kind, core, args, checkpoint: Mutex::new(checkpoint) }))
    }

    pub(crate) fn core(&self) -> &AttemptCore {
        &self.0.core
    }

    pub(crate) fn cause(&self) -> Option<Cause> {
        self.core().cause
    }

    /// The job's id.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.core().job.id
    }

    /// The kind itself, with whatever it was registered with.
    #[must_use]
    pub fn kind(&self) -> &K {
        &self.0.kind
    }

    /// What the job is to do.
    #[must_use]
    pub fn args(&self) -> &K::Args {
        &self.0.args
    }

    /// Counts the attempts of the job, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.core().number
    }

    /// The epoch under which this attempt writes.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.core().epoch
    }

    /// The latest checkpoint, of this attempt or of an earlier one; the default before the first.
    #[must_use]
    pub fn checkpoint(&self) -> K::Checkpoint {
        self.0.checkpoint.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_checkpoint(&self, checkpoint: K::Checkpoint) {
        *self.0.checkpoint.lock().unwrap_or_else(PoisonError::into_inner) = checkpoint;
    }

    /// The store, for reading.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.core().inner.engine
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.core().inner.settings
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        self.core().inner.clock.now()
    }

    /// Looks whether to stop: one relaxed load. Call it at least every 10 ms of computing.
    ///
    /// # Errors
    /// [`JobError::Stopped`] once the job has to.
    #[inline]
    pub fn tick(&self) -> Result<()> {
        self.core().tick()
    }

    /// Claims a span or a folder, durably. See [`crate::Context::claim_span`].
    ///
    /// # Errors
    /// [`JobError::Stopped`], or a storage error: nothing is claimed then.
    pub fn claim(&self, what: ClaimKind) -> Result<Claim> {
        self.core().claim(what)
    }

    /// Claims a new span.
    ///
    /// # Errors
    /// As [`ThreadContext::claim`].
    pub fn claim_span(&self, family: SpanFamily) -> Result<Claim> {
        self.claim(ClaimKind::Span(family))
    }

    /// Claims a folder for temporary files.
    ///
    /// # Errors
    /// As [`ThreadContext::claim`].
    pub fn claim_scratch(&self) -> Result<Claim> {
        self.claim(ClaimKind::Scratch)
    }

    /// All claims of the job by id, those of earlier attempts included.
    #[must_use]
    pub fn claims(&self) -> Vec<Claim> {
        self.core().claims()
    }

    /// Commits rows of claimed spans together with the checkpoint that is true once they are in: one
    /// atomic, synced batch.
    ///
    /// # Errors
    /// [`JobError::Stopped`]: nothing was written. A storage error.
    pub fn commit(&self, batch: Batch, checkpoint: &K::Checkpoint) -> Result<()> {
        let written = self.core().commit(batch, checkpoint.encode_to_vec().into());
        self.stored(written, checkpoint)
    }

    /// Keeps a checkpoint to be written soon. See [`crate::Context::save`].
    ///
    /// # Errors
    /// [`JobError::Stopped`].
    pub fn save(&self, checkpoint: &K::Checkpoint) -> Result<()> {
        let kept = self.core().save(checkpoint.encode_to_vec().into());
        self.stored(kept, checkpoint)
    }

    /// Lets a staged batch become part of its span, together with the checkpoint that is true once it
    /// is in. Both survive a crash, or neither.
    ///
    /// # Errors
    /// [`JobError::Stopped`]: nothing was ingested, unless the job stops itself at a pause point after
    /// this checkpoint. A storage error.
    pub fn ingest(
        &self,
        claim: &Claim,
        staged: &StagedBatch,
        checkpoint: &K::Checkpoint,
    ) -> Result<RecoveredSpan<K::Checkpoint>> {
        let ingested = self.core().ingest(claim, staged, checkpoint.encode_to_vec().into());
        let recovered = self.stored(ingested, checkpoint)?;
        Ok(RecoveredSpan {
            next_batch: recovered.next_batch,
            checkpoint: Some(checkpoint.clone()),
            bounds: recovered.bounds,
            rows: recovered.rows,
            bytes: recovered.bytes,
        })
    }

    fn stored<T>(&self, result: Result<T>, checkpoint: &K::Checkpoint) -> Result<T> {
        if result.is_ok() {
            self.set_checkpoint(checkpoint.clone());
        }
        result
    }

    /// Makes the staging folder of a claim, if a crash came before that. Answers where it is.
    ///
    /// What is kept there by [`Engine::disk`](cairn_engine::Engine::disk) can be lost by a test: a file that a checkpoint
    /// names has to be synced before it, and so has its folder.
    ///
    /// # Errors
    /// [`JobError::Stopped`], or the folder cannot be made or synced.
    pub fn make_staging_dir(&self, claim: &Claim) -> Result<PathBuf> {
        self.core().make_staging_dir(claim)
    }

    /// What a claimed span holds, after settling what a crash left open. The framework does this for
    /// every claimed span before an attempt, so [`ThreadContext::checkpoint`] counts it in.
    ///
    /// # Errors
    /// [`JobError::Stopped`], a storage error, or damaged records. Harmless to repeat.
    pub fn recover(&self, claim: &Claim) -> Result<RecoveredSpan<K::Checkpoint>> {
        let (recovered, record) = self.core().recover(claim)?;
        let checkpoint = match record {
            None => None,
            Some(record) if record.version < K::VERSION => {
                Some(self.kind().migrate_checkpoint(record.version, &record.body)?)
            }
            Some(record) => Some(migrate::decode(&record.body)?),
        };
        Ok(RecoveredSpan {
            next_batch: recovered.next_batch,
            checkpoint,
            bounds: recovered.bounds,
            rows: recovered.rows,
            bytes: recovered.bytes,
        })
    }

    /// Takes bytes from the background budget, waiting if it is used up. Before the work, without locks.
    ///
    /// # Errors
    /// [`JobError::Stopped`].
    pub fn take_budget(&self, class: Class, bytes: u64) -> Result<()> {
        let stop = || self.core().stop.get().is_some();
        self.unless_stopped(self.engine().governor().take(class, bytes, &stop))
    }

    /// Removes a file that the job is done with, a sorted run say, so gently that nobody notices: see
    /// [`Engine::remove_file`](cairn_engine::Engine::remove_file). May take seconds while somebody works.
    ///
    /// # Errors
    /// [`JobError::Stopped`]: a part of the file may be left. An I/O error.
    pub fn remove_file(&self, file: &Path) -> Result<()> {
        let stop = || self.core().stop.get().is_some();
        self.unless_stopped(self.engine().remove_file(file, &stop))
    }

    /// Why the job has to stop, if that is what ended something early.
    fn unless_stopped(&self, done: cairn_engine::Result<()>) -> Result<()> {
        done.map_err(|error| match error {
            EngineError::Stopped => self.core().stop.get().unwrap_or(Stop::Fenced).into(),
            error => JobError::Engine(error),
        })
    }

    /// Reports how far the job is. Cheap: kept in memory, written at intervals. Numbers never go
    /// backwards.
    pub fn progress(&self, report: impl FnOnce(&mut Progress)) {
        self.core().progress(report);
    }

    /// A place at which the job pauses itself if `jobs.debug.pausepoints` names it.
    ///
    /// # Errors
    /// [`JobError::Stopped`].
    pub fn pause_point(&self, point: &str) -> Result<()> {
        self.core().pause_point(point)
    }

    /// Says whether CANCEL is accepted from now on. Durable.
    ///
    /// # Errors
    /// [`JobError::Stopped`]: too late. A storage error.
    pub fn set_cancellable(&self, cancellable: bool) -> Result<()> {
        self.core().set_cancellable(cancellable)
    }

    /// Publishes: runs `publish` with the job's mutex held, after looking again at its state and its
    /// epoch. It takes the locks of what it changes, builds a batch, and commits it by
    /// [`Publisher::commit`]. Afterwards the job is `succeeded`; there is no way back.
    ///
    /// # Errors
    /// [`JobError::Stopped`]: `publish` did not run. Otherwise what `publish` answered.
    pub fn publish(&self, publish: impl FnOnce(Publisher<'_>) -> Result<()>) -> Result<()> {
        self.core().publish(publish)
    }
}
