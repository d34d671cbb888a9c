//! The end of a job's records: some time after its own end, everything of it goes in one batch.
//!
//! A job that still has bytes on the disk is kept until they are given back. The task sleeps until the
//! next job is due; it is woken by jobs that end and by settings.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cairn_engine::blocking::Op;
use cairn_engine::{Batch, Family};

use crate::clock::UnixMillis;
use crate::context::run;
use crate::edge::RETENTION;
use crate::error::Result;
use crate::history;
use crate::id::JobId;
use crate::record::{Control, FIRST, SECOND, key};
use crate::registry::Inner;

/// Wait after an error, and the longest wait without looking: the clock may step.
const LOOK_EVERY: Duration = Duration::from_hours(24);

/// What a look at the finished jobs told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    /// When the next job is due.
    next: Option<UnixMillis>,
    /// A job is due, but its bytes are not given back yet.
    blocked: bool,
}

/// The first of the ends of jobs that the task has not heard of. It counts from the end itself, however late it hears.
#[derive(Debug)]
pub(crate) struct FirstEnd(AtomicU64);

impl FirstEnd {
    /// A job has ended, at that moment.
    pub(crate) fn note(&self, finished: UnixMillis) {
        self.0.fetch_min(finished.raw(), Ordering::SeqCst);
    }

    /// When the first of the jobs ended that ended since this was last asked.
    fn take(&self) -> Option<UnixMillis> {
        let first = self.0.swap(u64::MAX, Ordering::SeqCst);
        (first != u64::MAX).then(|| UnixMillis::from_raw(first))
    }
}

impl Default for FirstEnd {
    fn default() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }
}

/// Runs until shutdown.
pub(crate) async fn keep(inner: Arc<Inner>) {
    let mut settings = inner.settings.subscribe();
    let mut reclaimed = inner.engine.reclaimer().subscribe();
    loop {
        settings.borrow_and_update();
        reclaimed.borrow_and_update();
        let work = Arc::clone(&inner);
        let outcome = run(Op::Control, move || run_once(&work, work.clock.now())).await;
        let mut due = outcome.unwrap_or_else(|error| {
            tracing::warn!(%error, "finished jobs could not be removed; it is tried again");
            Due::default()
        });
        // Jobs that end meanwhile are not looked for: when the first of them is due is known.
        loop {
            let now = inner.clock.now();
            let latest = now.plus(LOOK_EVERY);
            let until = due.next.map_or(latest, |next| next.min(latest));
            tokio::select! {
                biased;
                () = inner.shutdown.cancelled() => return,
                () = inner.ended.notified() => {
                    let kept_for = inner.settings.get_duration("jobs.retention_time");
                    let next = inner.first_end.take().map(|finished| finished.plus(kept_for));
                    due.next = [due.next, next].into_iter().flatten().min();
                }
                _ = settings.changed() => break,
                _ = reclaimed.changed(), if due.blocked => break,
                () = inner.clock.sleep_until(until) => break,
            }
        }
    }
}

/// Removes what is due.
pub(crate) fn run_once(inner: &Inner, now: UnixMillis) -> Result<Due> {
    let kept_for = inner.settings.get_duration("jobs.retention_time");
    let mut found = Due::default();
    for control in Control::load_all(&inner.engine)?.into_iter().flatten() {
        let Some(finished) = control.finished.filter(|_| control.standing.state.is_terminal())
        else {
            continue;
        };
        let due = finished.plus(kept_for);
        if due > now {
            found.next = Some(found.next.map_or(due, |next| next.min(due)));
        } else if has_tombstones(inner, control.id) {
            found.blocked = true;
        } else if inner.live_job(control.id).is_none() {
            remove(inner, control.id)?;
            tracing::info!(job = %control.id, "job removed after its retention time");
        }
    }
    Ok(found)
}

fn has_tombstones(inner: &Inner, id: JobId) -> bool {
    let owner = id.owner();
    inner.engine.reclaimer().status().iter().any(|status| status.tombstone.owner == owner)
}

fn remove(inner: &Inner, id: JobId) -> Result<()> {
    let mut batch = Batch::new();
    for which in [FIRST, SECOND] {
        batch.delete(Family::Jobs, &key(which, id));
        batch.delete(Family::Progress, &key(which, id));
    }
    for entry in inner.engine.records(Family::History, &id.to_be_bytes())? {
        batch.delete(Family::History, &entry.0);
    }
    // Keys of history outside of the known form stay for the doctor.
    debug_assert!(history::split_key(&history::key(id, 0)).is_some());
    inner.commit_step(RETENTION, batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_ends_that_were_not_heard_of_the_first_counts() {
        let ends = FirstEnd::default();
        assert_eq!(ends.take(), None);
        for finished in [5, 3, 9] {
            ends.note(UnixMillis::from_raw(finished));
        }
        assert_eq!(ends.take(), Some(UnixMillis::from_raw(3)));
        assert_eq!(ends.take(), None, "it was heard of");
        ends.note(UnixMillis::from_raw(11));
        assert_eq!(ends.take(), Some(UnixMillis::from_raw(11)));
    }
}
