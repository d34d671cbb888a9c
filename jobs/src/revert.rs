//! From a cancel, or a failure, to the end.
//!
//! The claims are condemned by the batch that began this, without any code of the kind. What is left
//! is the kind's own undo, if it has one. It is retried until it works: there is no state in which a job
//! has given up and something of it is left. At the end claims are condemned once more, for one that was
//! made while the process died.

use std::sync::Arc;

use cairn_engine::blocking::Op;
use cairn_engine::metrics as names;

use crate::context::run;
use crate::edge::{FINISH, REVERT};
use crate::error::Result;
use crate::record::Control;
use crate::state::{Cause, Event};
use crate::worker::{Driver, Flow, UNRESPONSIVE, Woken};

impl Driver {
    /// `cancel-requested`: closes the fence, then waits for the worker for a while.
    pub(crate) async fn begin_undo(&mut self, control: &Arc<Control>) -> Result<Flow> {
        let (inner, job, epoch) = (Arc::clone(&self.inner), Arc::clone(&self.job), control.epoch);
        run(Op::Control, move || {
            // When this returns, every write of the job has ended and no other can begin.
            inner.engine.latch(job.id.owner(), epoch).raise(epoch);
            inner.engine.condemned(&job.take_condemned());
            Ok(())
        })
        .await?;
        let since = self.inner.clock.now().since(control.modified);
        metrics::histogram!(names::CANCEL_LAST_WRITE_SECONDS).record(since.as_secs_f64());
        if self.until_gone(true).await == Woken::Shutdown {
            return Ok(Flow::On);
        }
        self.step(REVERT, Event::Revert, |_, _, _| Ok(())).await?;
        Ok(Flow::On)
    }

    /// `reverting`: undo, until it works; then the end, as soon as no worker is left.
    pub(crate) async fn revert(&mut self, control: &Arc<Control>) -> Result<Flow> {
        if self.is_at_work() {
            return self.attend().await;
        }
        if control.has_undo && !self.undone {
            let Some(kind) = self.kind(control).await else { return Ok(Flow::On) };
            if !self.is_due(control).await {
                return Ok(Flow::On);
            }
            return self.begin(kind, None).await;
        }
        if self.lingers() {
            self.note_lingering();
            return Ok(match self.until_gone(false).await {
                Woken::Ready | Woken::Changed | Woken::Shutdown => Flow::On,
            });
        }
        self.finish(control).await?;
        Ok(Flow::On)
    }

    fn note_lingering(&self) {
        // A worker that was waited for already is unresponsive; any other gets its time first.
        if self.job.note() != UNRESPONSIVE {
            self.note("waiting for the worker to stop");
        }
    }

    async fn finish(&mut self, control: &Arc<Control>) -> Result<()> {
        let ended =
            self.step(FINISH, Event::Finish, |inner, _, change| inner.condemn(change)).await?;
        if ended && control.standing.cause == Some(Cause::Cancel) {
            let since = self.inner.clock.now().since(control.modified);
            metrics::histogram!(names::CANCEL_SECONDS).record(since.as_secs_f64());
        }
        Ok(())
    }
}
