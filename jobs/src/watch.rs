//! Waiting for jobs, and hearing of them: events, never polls.

use tokio::sync::watch;

use crate::clock::UnixMillis;
use crate::context::run;
use crate::control::not_found;
use crate::error::{JobError, Result, Stop};
use crate::id::JobId;
use crate::list::JobView;
use crate::registry::{Inner, Jobs};
use crate::state::State;
use cairn_engine::blocking::Op;

/// Events kept for a listener that is slow; beyond that it loses the oldest and is told so.
pub(crate) const EVENTS_KEPT: usize = 1024;

/// A job was accepted, or changed its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobEvent {
    /// The job.
    pub id: JobId,
    /// The name of its kind.
    pub kind: String,
    /// Its state now.
    pub state: State,
    /// When that became so.
    pub at: UnixMillis,
}

impl Jobs {
    /// What becomes of a job, from now on. After its end the receiver keeps the last view, and
    /// `changed` answers an error.
    ///
    /// # Errors
    /// 42704 if there is no such job, a storage error.
    pub async fn subscribe(&self, id: JobId) -> Result<watch::Receiver<JobView>> {
        if let Some(job) = self.inner.live_job(id) {
            return Ok(job.view.subscribe());
        }
        let view = self.get(id).await?.ok_or_else(|| not_found(id))?;
        Ok(watch::Sender::new(view).subscribe())
    }

    /// Waits until the job has ended or is paused. Dropping the future changes nothing for the job.
    ///
    /// # Errors
    /// 42704 if there is no such job; [`JobError::Stopped`] at shutdown; a storage error.
    pub async fn wait(&self, id: JobId) -> Result<JobView> {
        self.wait_until(id, |view| view.state.is_terminal() || view.state == State::Paused).await
    }

    /// Waits until `enough` says so, or the job has ended.
    ///
    /// # Errors
    /// As [`Jobs::wait`].
    pub async fn wait_until(
        &self,
        id: JobId,
        mut enough: impl FnMut(&JobView) -> bool,
    ) -> Result<JobView> {
        let mut views = self.subscribe(id).await?;
        let waited = tokio::select! {
            // What has happened is the answer, also of a store that takes no writes any more.
            biased;
            waited = views.wait_for(|view| enough(view) || view.state.is_terminal()) => {
                waited.map(|_| ())
            }
            () = self.inner.shutdown.cancelled() => return Err(JobError::Stopped(Stop::Shutdown)),
            // The job goes on when the store is opened again; nothing of it can change before.
            error = self.inner.engine.until_broken() => return Err(error.into()),
        };
        if waited.is_err() {
            // The last view was not enough and there will be no other: the job went on without us.
            return self.get(id).await?.ok_or_else(|| not_found(id).into());
        }
        let view = views.borrow().clone();
        Ok(view)
    }

    /// Waits until everything that the job left on the disk is given back. Waits for as long as reclaim
    /// is paused.
    ///
    /// # Errors
    /// [`JobError::Stopped`] at shutdown.
    pub async fn wait_reclaimed(&self, id: JobId) -> Result<()> {
        let engine = &self.inner.engine;
        let mut worked_off = engine.reclaimer().subscribe();
        loop {
            worked_off.borrow_and_update();
            let owner = id.owner();
            let left: Vec<_> = engine
                .reclaimer()
                .status()
                .into_iter()
                .filter(|status| status.tombstone.owner == owner)
                .map(|status| status.tombstone.id)
                .collect();
            if left.is_empty() {
                return Ok(());
            }
            tokio::select! {
                biased;
                () = engine.reclaimer().wait_gone(&left) => {}
                () = self.inner.shutdown.cancelled() => {
                    return Err(JobError::Stopped(Stop::Shutdown));
                }
                error = engine.until_broken() => return Err(error.into()),
            }
        }
    }

    /// Every change of every job from now on. A listener that falls behind by 1024 events loses the
    /// oldest and is told how many.
    #[must_use]
    pub fn events(&self) -> tokio::sync::broadcast::Receiver<JobEvent> {
        self.inner.events.subscribe()
    }

    /// One job; `None` if there is no such job.
    ///
    /// # Errors
    /// A storage error or a damaged record.
    pub async fn get(&self, id: JobId) -> Result<Option<JobView>> {
        let inner = std::sync::Arc::clone(&self.inner);
        run(Op::Read, move || Inner::get(&inner, id)).await
    }
}
