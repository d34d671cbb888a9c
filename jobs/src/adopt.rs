//! At open: every unfinished job is found, and gets a driver at start.
//!
//! A job goes on where its record says. One that was `running` begins a new attempt from its last
//! checkpoint, `pause-requested` becomes `paused` (there is no worker to wait for), `cancel-requested`
//! goes on to its undo, `reverting` repeats it. Latches are made from the stored epochs, before anybody
//! could write under them.

use std::collections::BTreeMap;
use std::sync::Arc;

use cairn_engine::Engine;

use crate::error::Result;
use crate::id::JobId;
use crate::job::Job;
use crate::list::{JobView, Reclaim};
use crate::progress::Progress;
use crate::record::{Control, ProgressRecord};

/// What the store holds.
pub(crate) struct Found {
    /// Unfinished jobs.
    pub(crate) live: BTreeMap<JobId, Arc<Job>>,
    /// The highest id of all jobs.
    pub(crate) highest: Option<JobId>,
}

/// Reads the jobs of a store. A damaged record is logged and left alone: the doctor names it.
pub(crate) fn find(engine: &Engine) -> Result<Found> {
    let mut found = Found { live: BTreeMap::new(), highest: None };
    for control in Control::load_all(engine)? {
        match control {
            Ok(control) => {
                found.highest = found.highest.max(Some(control.id));
                if !control.standing.state.is_terminal() {
                    found.live.insert(control.id, adopt(engine, control));
                }
            }
            Err(error) => {
                tracing::error!(%error, "a job's record is damaged; the job is left alone");
                let id = crate::record::split_key(&error.key).map(|(_, id)| id);
                found.highest = found.highest.max(id);
            }
        }
    }
    Ok(found)
}

fn adopt(engine: &Engine, control: Control) -> Arc<Job> {
    let progress: Progress = match ProgressRecord::load(engine, control.id) {
        Ok(record) => record.unwrap_or_default().into(),
        Err(error) => {
            tracing::error!(%error, job = %control.id, "the progress of a job cannot be read");
            Progress::default()
        }
    };
    drop(engine.latch(control.id.owner(), control.epoch));
    tracing::info!(job = %control.id, kind = control.kind, state = %control.standing.state, "job adopted");
    let view = JobView::of_stored(&control, progress.clone(), &Reclaim::default());
    Job::new(control, progress, view)
}
