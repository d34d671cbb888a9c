//! What a job may do: the only way from a job's code to the store.
//!
//! Every call that writes answers [`JobError::Stopped`](crate::JobError) once the job is cancelled,
//! paused or fenced, so `?` is all that a kind needs to end in time. Work between such calls looks at
//! [`ThreadContext::tick`], which costs about a nanosecond, at least every 10 ms.
//!
//! [`Context`] is for async code, [`ThreadContext`] the same for code that blocks, [`UndoContext`] for
//! undo. All are cheap to clone. A job counts as stopped when the last clone is dropped: do not keep
//! one in a static.

mod thread;
mod undo;

use std::future::Future;
use std::time::Duration;

use cairn_engine::blocking::{self, Op};
use cairn_engine::{Batch, Claim, ClaimKind, Engine, Epoch, SpanFamily, SpanId};

pub use crate::attempt::Publisher;
use crate::clock::UnixMillis;
use crate::error::{JobError, Result, Stop};
use crate::id::JobId;
use crate::kind::JobKind;
use crate::progress::Progress;
use crate::settings::Settings;
pub use thread::{RecoveredSpan, ThreadContext};
pub use undo::UndoContext;

/// What an attempt to do the work may do, from async code.
pub struct Context<K: JobKind> {
    thread: ThreadContext<K>,
}

impl<K: JobKind> Clone for Context<K> {
    fn clone(&self) -> Self {
        Self { thread: self.thread.clone() }
    }
}

impl<K: JobKind> std::fmt::Debug for Context<K> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.thread.fmt(out)
    }
}

impl<K: JobKind> Context<K> {
    pub(crate) fn new(thread: ThreadContext<K>) -> Self {
        Self { thread }
    }

    /// The job's id.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.thread.id()
    }

    /// The kind itself, with whatever it was registered with.
    #[must_use]
    pub fn kind(&self) -> &K {
        self.thread.kind()
    }

    /// What the job is to do.
    #[must_use]
    pub fn args(&self) -> &K::Args {
        self.thread.args()
    }

    /// Counts the attempts of the job, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.thread.attempt()
    }

    /// The epoch under which this attempt writes.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.thread.epoch()
    }

    /// The latest checkpoint, of this attempt or of an earlier one; the default before the first.
    #[must_use]
    pub fn checkpoint(&self) -> K::Checkpoint {
        self.thread.checkpoint()
    }

    /// The store, for reading.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        self.thread.engine()
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        self.thread.settings()
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        self.thread.now()
    }

    /// Looks whether to stop: one relaxed load.
    ///
    /// # Errors
    /// [`JobError::Stopped`] once the job has to.
    #[inline]
    pub fn tick(&self) -> Result<()> {
        self.thread.tick()
    }

    /// Ends when the job has to stop, and says why.
    pub async fn stopped(&self) -> Stop {
        self.thread.core().stop.stopped().await
    }

    /// Waits, unless the job has to stop.
    ///
    /// # Errors
    /// [`JobError::Stopped`].
    pub async fn sleep(&self, duration: Duration) -> Result<()> {
        tokio::select! {
            biased;
            stop = self.stopped() => Err(stop.into()),
            () = self.thread.core().inner.clock.sleep(duration) => self.tick(),
        }
    }

    /// Claims a new span, durably: what is written into it is invisible until it is published, and goes
    /// away with the job otherwise.
    ///
    /// # Errors
    /// [`JobError::Stopped`], or a storage error: nothing is claimed then.
    pub async fn claim_span(&self, family: SpanFamily) -> Result<Claim> {
        self.blocking(Op::Claim, move |cx| cx.claim(ClaimKind::Span(family))).await
    }

    /// Claims a folder for temporary files: [`Engine::staging_dir`] of the claim's id.
    ///
    /// # Errors
    /// As [`Context::claim_span`].
    pub async fn claim_scratch(&self) -> Result<Claim> {
        self.blocking(Op::Claim, |cx| cx.claim(ClaimKind::Scratch)).await
    }

    /// All claims of the job by id, those of earlier attempts included.
    #[must_use]
    pub fn claims(&self) -> Vec<Claim> {
        self.thread.claims()
    }

    /// Commits rows of claimed spans together with the checkpoint that is true once they are in: one
    /// atomic, synced batch.
    ///
    /// # Errors
    /// [`JobError::Stopped`]: nothing was written. A storage error.
    pub async fn commit(&self, batch: Batch, checkpoint: &K::Checkpoint) -> Result<()> {
        let checkpoint = checkpoint.clone();
        self.blocking(Op::Commit, move |cx| cx.commit(batch, &checkpoint)).await
    }

    /// Keeps a checkpoint. It is written within `jobs.checkpoint.interval`, and whenever the job stops,
    /// so calling this often is cheap.
    ///
    /// # Errors
    /// [`JobError::Stopped`].
    pub async fn save(&self, checkpoint: &K::Checkpoint) -> Result<()> {
        let checkpoint = checkpoint.clone();
        self.blocking(Op::Commit, move |cx| cx.save(&checkpoint)).await
    }

    /// Reports how far the job is. Cheap: kept in memory, written at intervals. Numbers never go
    /// backwards.
    pub fn progress(&self, report: impl FnOnce(&mut Progress)) {
        self.thread.progress(report);
    }

    /// A place at which the job pauses itself if `jobs.debug.pausepoints` names it.
    ///
    /// # Errors
    /// [`JobError::Stopped`].
    pub async fn pause_point(&self, point: &'static str) -> Result<()> {
        self.tick()?;
        if !self.settings().has_pause_point(point) {
            return Ok(());
        }
        self.blocking(Op::Control, move |cx| cx.pause_point(point)).await
    }

    /// Says whether CANCEL is accepted from now on. Durable.
    ///
    /// # Errors
    /// [`JobError::Stopped`]: too late. A storage error.
    pub async fn set_cancellable(&self, cancellable: bool) -> Result<()> {
        self.blocking(Op::Control, move |cx| cx.set_cancellable(cancellable)).await
    }

    /// Runs code that blocks or computes on a thread of its own. Dropping the future does not stop it:
    /// the code looks at [`ThreadContext::tick`].
    ///
    /// # Errors
    /// Those of `work`; a panic in it becomes an error.
    pub async fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ThreadContext<K>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.blocking(Op::Job, work).await
    }

    /// Publishes `keep` by what `batch` says, and ends the job: see [`Publisher::commit`]. For a batch
    /// that needs no lock; otherwise use [`ThreadContext::publish`].
    ///
    /// # Errors
    /// [`JobError::Stopped`]: the job did not publish. A storage error.
    pub async fn publish(&self, batch: Batch, keep: &[SpanId]) -> Result<()> {
        let keep = keep.to_vec();
        self.blocking(Op::Commit, move |cx| cx.publish(|publisher| publisher.commit(batch, &keep)))
            .await
    }

    fn blocking<T, F>(
        &self,
        op: Op,
        work: F,
    ) -> impl Future<Output = Result<T>> + Send + use<T, F, K>
    where
        T: Send + 'static,
        F: FnOnce(&ThreadContext<K>) -> Result<T> + Send + 'static,
    {
        let thread = self.thread.clone();
        run(op, move || work(&thread))
    }
}

/// Crosses to a thread that may block; a panic there becomes an error.
pub(crate) async fn run<T: Send + 'static>(
    op: Op,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    blocking::run(op, work).await.map_err(JobError::from)?
}
