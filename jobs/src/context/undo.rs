//! The context of undo.

use cairn_engine::blocking::Op;
use cairn_engine::{Batch, Engine};

use super::{ThreadContext, run};
use crate::error::Result;
use crate::id::JobId;
use crate::kind::JobKind;
use crate::progress::Progress;
use crate::state::Cause;

/// What undo may do. The job's claims are condemned already, whatever they hold: undo is about
/// effects beyond them. It stops for a pause and at shutdown, and cannot be cancelled.
pub struct UndoContext<K: JobKind> {
    thread: ThreadContext<K>,
}

impl<K: JobKind> Clone for UndoContext<K> {
    fn clone(&self) -> Self {
        Self { thread: self.thread.clone() }
    }
}

impl<K: JobKind> std::fmt::Debug for UndoContext<K> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.thread.fmt(out)
    }
}

impl<K: JobKind> UndoContext<K> {
    pub(crate) fn new(thread: ThreadContext<K>) -> Self {
        Self { thread }
    }

    /// The job's id.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.thread.id()
    }

    /// What the job was to do.
    #[must_use]
    pub fn args(&self) -> &K::Args {
        self.thread.args()
    }

    /// Why it is being undone.
    #[must_use]
    pub fn cause(&self) -> Cause {
        self.thread.cause().unwrap_or(Cause::Failure)
    }

    /// The latest checkpoint, of the work or of undo itself.
    #[must_use]
    pub fn checkpoint(&self) -> K::Checkpoint {
        self.thread.checkpoint()
    }

    /// The store.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        self.thread.engine()
    }

    /// Looks whether to stop: one relaxed load.
    ///
    /// # Errors
    /// [`JobError::Stopped`](crate::JobError) for a pause or at shutdown.
    pub fn tick(&self) -> Result<()> {
        self.thread.tick()
    }

    /// Commits what undoes something together with how far undo is: one atomic, synced batch, refused
    /// if a later attempt took over.
    ///
    /// # Errors
    /// [`JobError::Stopped`](crate::JobError), or a storage error.
    pub async fn commit(&self, batch: Batch, checkpoint: &K::Checkpoint) -> Result<()> {
        let checkpoint = checkpoint.clone();
        self.on_thread(move |cx| cx.commit(batch, &checkpoint)).await
    }

    /// Reports what undo does: the phase and the message; numbers never go backwards.
    pub fn progress(&self, report: impl FnOnce(&mut Progress)) {
        self.thread.progress(report);
    }

    /// A place at which the job pauses itself if `jobs.debug.pausepoints` names it.
    ///
    /// # Errors
    /// [`JobError::Stopped`](crate::JobError).
    pub async fn pause_point(&self, point: &'static str) -> Result<()> {
        self.on_thread(move |cx| cx.pause_point(point)).await
    }

    /// Runs code that blocks or computes on a thread of its own.
    ///
    /// # Errors
    /// Those of `work`; a panic in it becomes an error.
    pub async fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ThreadContext<K>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let thread = self.thread.clone();
        run(Op::Job, move || work(&thread)).await
    }
}
