//! The reclaimer: one thread that works tombstones off, one step at a time, taking turns.
//!
//! What to do is decided by [`crate::reclaim::next_step`], what a step does is in `steps`. The thread holds only a
//! weak handle between steps, so an open store can be dropped at any moment. It is woken by new
//! tombstones, by views that close and by settings; a tombstone that cannot go on (busy files, trash that
//! is still being cut) is looked at again after a back-off of 10 ms to 1 s.

mod steps;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::batch::{Batch, Sync};
use crate::error::{EngineError, Result};
use crate::ffi::CompactionStop;
use crate::id::SpanId;
use crate::open::{Engine, WeakEngine};
use crate::reclaim::{Pass, Step, next_step};
use crate::tombstone::Tombstone;
use steps::{
    Done, compact, delete_range, drop_files, leftover_trash, look, on_disk, remove_staging,
};

const BACKOFF_MIN: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// How far one tombstone is.
#[derive(Clone, Debug)]
pub struct TombstoneStatus {
    /// What is being removed, and why.
    pub tombstone: Tombstone,
    /// `waiting`, `staging`, `files`, `ranges`, `compaction` or `trash`.
    pub phase: &'static str,
    /// Bytes on disk that are not given back yet.
    pub bytes_left: u64,
    /// Bytes given back per second since this process began with it.
    pub rate: f64,
    /// What it waits for, if it does.
    pub waiting_for: Option<String>,
    /// Compactions of leftovers so far; 0 in the usual case.
    pub compactions: u64,
    /// Range deletions so far; 0 in the usual case.
    pub range_deletions: u64,
}

impl TombstoneStatus {
    /// Time until the bytes are back at the current rate; `None` while that cannot be told.
    #[must_use]
    pub fn eta(&self) -> Option<Duration> {
        if self.bytes_left == 0 || self.rate < 1.0 {
            return None;
        }
        Some(Duration::from_secs_f64((self.bytes_left as f64 / self.rate).min(1e9)))
    }
}

/// What the reclaimer did since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReclaimCounts {
    /// Tombstones worked off.
    pub finished: u64,
    /// Files dropped whole.
    pub files_dropped: u64,
    /// Range deletions written.
    pub range_deletions: u64,
    /// Compactions of leftovers.
    pub compactions: u64,
    /// Staging folders removed.
    pub folders_removed: u64,
}

struct Work {
    tombstone: Tombstone,
    /// Views opened before this sequence number may still read the span.
    condemned_sequence: u64,
    pass: Pass,
    /// A range deletion was written by this process.
    range_written: bool,
    /// Dropped files, until they are gone from the disk.
    dropped: Vec<PathBuf>,
    phase: &'static str,
    bytes_left: u64,
    bytes_at_start: u64,
    started: Instant,
    waiting_for: Option<String>,
    compactions: u64,
    range_deletions: u64,
    backoff: Duration,
    next_try: Instant,
    /// Changed by [`ReclaimHandle::add`]: a step that began before must not finish the tombstone.
    generation: u64,
}

impl Work {
    fn new(tombstone: Tombstone, condemned_sequence: u64, generation: u64) -> Self {
        let now = Instant::now();
        Self {
            bytes_left: tombstone.bytes,
            bytes_at_start: tombstone.bytes,
            tombstone,
            condemned_sequence,
            pass: Pass::default(),
            range_written: false,
            dropped: Vec::new(),
            phase: "waiting",
            started: now,
            waiting_for: None,
            compactions: 0,
            range_deletions: 0,
            backoff: BACKOFF_MIN,
            next_try: now,
            generation,
        }
    }

    fn status(&self) -> TombstoneStatus {
        let freed = self.bytes_at_start.saturating_sub(self.bytes_left);
        let seconds = self.started.elapsed().as_secs_f64().max(0.001);
        TombstoneStatus {
            tombstone: self.tombstone.clone(),
            phase: self.phase,
            bytes_left: self.bytes_left,
            rate: freed as f64 / seconds,
            waiting_for: self.waiting_for.clone(),
            compactions: self.compactions,
            range_deletions: self.range_deletions,
        }
    }
}

#[derive(Default)]
struct State {
    works: BTreeMap<SpanId, Work>,
    /// The tombstone that had the last turn.
    turn: Option<SpanId>,
    paused: bool,
    stopped: bool,
    generation: u64,
    counts: ReclaimCounts,
}

struct Common {
    // Guards the list of work; never held during a step.
    state: Mutex<State>,
    wake: Condvar,
    /// Counts finished tombstones, for those who wait.
    finished: watch::Sender<u64>,
    /// Ends a running compaction at shutdown.
    compaction_stop: CompactionStop,
}

/// The part that the thread, the handle and the views share.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Common>);

impl Shared {
    /// Work for every tombstone that the store holds.
    pub(crate) fn new(engine: &Engine, paused: bool) -> Result<Self> {
        let mut state = State { paused, ..State::default() };
        for tombstone in engine.tombstones()? {
            match tombstone {
                Ok(tombstone) => {
                    let mut work = Work::new(tombstone, 0, 0);
                    // What an earlier process dropped may still be in its trash.
                    work.dropped = leftover_trash(engine);
                    state.works.insert(work.tombstone.id, work);
                }
                // Quarantined: the doctor names it, and nothing of it is touched.
                Err(error) => tracing::error!(%error, "a tombstone is damaged and left alone"),
            }
        }
        Ok(Self(Arc::new(Common {
            state: Mutex::new(state),
            wake: Condvar::new(),
            finished: watch::Sender::new(0),
            compaction_stop: CompactionStop::new(),
        })))
    }

    /// Tells the metrics what is left.
    fn measure(state: &State) {
        let left: u64 = state.works.values().map(|work| work.bytes_left).sum();
        metrics::gauge!(crate::metrics::RECLAIM_LEFT_BYTES).set(left as f64);
        metrics::gauge!(crate::metrics::TOMBSTONES).set(state.works.len() as f64);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets everything that waits be looked at again now.
    pub(crate) fn wake(&self) {
        let now = Instant::now();
        for work in self.lock().works.values_mut() {
            work.next_try = now;
            work.backoff = BACKOFF_MIN;
        }
        self.0.wake.notify_all();
    }
}

/// The reclaimer as seen from outside.
pub struct ReclaimHandle {
    shared: Shared,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for ReclaimHandle {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("ReclaimHandle").finish_non_exhaustive()
    }
}

impl ReclaimHandle {
    /// Starts the thread.
    pub(crate) fn start(shared: Shared, engine: WeakEngine) -> Result<Self> {
        let thread = std::thread::Builder::new()
            .name("cairn-reclaim".to_owned())
            .spawn({
                let shared = shared.clone();
                move || run(&shared, &engine)
            })
            .map_err(|error| EngineError::Storage(format!("cannot start a thread: {error}")))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// A handle without a thread: nothing is reclaimed (a store opened for reading only).
    pub(crate) fn idle(shared: Shared) -> Self {
        Self { shared, thread: Mutex::new(None) }
    }

    pub(crate) fn add(&self, engine: &Engine, ids: &[SpanId], sequence: u64) {
        for &id in ids {
            match engine.tombstone(id) {
                Ok(Some(tombstone)) => {
                    let mut state = self.shared.lock();
                    state.generation += 1;
                    let work = Work::new(tombstone, sequence, state.generation);
                    state.works.insert(id, work);
                }
                Ok(None) => {}
                Err(error) => tracing::error!(%id, %error, "a tombstone cannot be read"),
            }
        }
        self.shared.0.wake.notify_all();
    }

    /// Pauses or resumes all reclaim. A step that is under way ends first.
    pub fn pause(&self, paused: bool) {
        self.shared.lock().paused = paused;
        self.shared.wake();
    }

    /// Lets everything that waits be looked at again now.
    pub fn wake(&self) {
        self.shared.wake();
    }

    /// How far each tombstone is, by id.
    #[must_use]
    pub fn status(&self) -> Vec<TombstoneStatus> {
        self.shared.lock().works.values().map(Work::status).collect()
    }

    /// What was done since the store was opened.
    #[must_use]
    pub fn counts(&self) -> ReclaimCounts {
        self.shared.lock().counts
    }

    /// Changes whenever a tombstone is worked off.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.shared.0.finished.subscribe()
    }

    /// Waits until none of the tombstones is left: their bytes are back. Returns at once for ids
    /// that are not condemned; waits for ever while reclaim is paused.
    pub async fn wait_gone(&self, ids: &[SpanId]) {
        let mut finished = self.subscribe();
        while ids.iter().any(|id| self.shared.lock().works.contains_key(id)) {
            if finished.changed().await.is_err() {
                return;
            }
        }
    }

    /// Stops the thread and waits for it, unless called from it.
    pub(crate) fn stop(&self) {
        self.shared.lock().stopped = true;
        self.shared.0.compaction_stop.set();
        self.shared.0.wake.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            // A panic of the thread was reported by it; there is nothing to add.
            let _ = thread.join();
        }
    }
}

/// The loop of the thread.
fn run(shared: &Shared, engine: &WeakEngine) {
    while let Some(id) = next_turn(shared) {
        let Some(engine) = engine.upgrade() else { return };
        if let Err(error) = take_turn(shared, &engine, id) {
            let mut state = shared.lock();
            if state.stopped {
                return;
            }
            if let Some(work) = state.works.get_mut(&id) {
                tracing::warn!(tombstone = %id, %error, "reclaim could not go on; it tries again");
                wait(work, error.to_string());
            }
            if matches!(error, EngineError::Crashed { .. }) {
                return;
            }
        }
    }
}

/// Waits for a tombstone whose time has come and returns it; `None` at the end.
fn next_turn(shared: &Shared) -> Option<SpanId> {
    let mut state = shared.lock();
    loop {
        if state.stopped {
            return None;
        }
        let now = Instant::now();
        let ready = |work: &&Work| work.next_try <= now;
        let turn = state.turn.unwrap_or(SpanId::from_raw(0));
        let after = (std::ops::Bound::Excluded(turn), std::ops::Bound::Unbounded);
        let next = state.works.range(after).map(|(_, work)| work).find(ready);
        let next = next.or_else(|| state.works.values().find(ready)).map(|work| work.tombstone.id);
        if let (Some(id), false) = (next, state.paused) {
            state.turn = Some(id);
            return Some(id);
        }
        let soonest = state.works.values().map(|work| work.next_try).min();
        let wake = &shared.0.wake;
        state = match soonest {
            Some(soonest) if !state.paused => {
                let timeout = soonest.saturating_duration_since(now);
                wake.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner).0
            }
            _ => wake.wait(state).unwrap_or_else(PoisonError::into_inner),
        };
    }
}

/// Puts a tombstone off, with a reason.
fn wait(work: &mut Work, reason: String) {
    work.waiting_for = Some(reason);
    work.next_try = Instant::now() + work.backoff;
    work.backoff = (work.backoff * 2).min(BACKOFF_MAX);
}

/// One step for one tombstone.
fn take_turn(shared: &Shared, engine: &Engine, id: SpanId) -> Result<()> {
    let (tombstone, sequence, pass, dropped, generation) = {
        let state = shared.lock();
        let Some(work) = state.works.get(&id) else { return Ok(()) };
        let dropped = work.dropped.clone();
        (work.tombstone.clone(), work.condemned_sequence, work.pass, dropped, work.generation)
    };
    let dropped: Vec<PathBuf> = dropped.into_iter().filter(|path| on_disk(path)).collect();
    let look = look(engine, &tombstone, sequence, &dropped)?;
    let step = next_step(look.survey, pass);
    {
        let mut state = shared.lock();
        let Some(work) = state.works.get_mut(&id) else { return Ok(()) };
        work.bytes_at_start = work.bytes_at_start.max(look.bytes_left);
        work.bytes_left = look.bytes_left;
        work.dropped = dropped;
        work.phase = phase_name(step);
    }
    let stopped = || shared.lock().stopped;
    let mut done = Done::default();
    match step {
        Step::WaitForViews => done.wait_for = Some("a statement that still reads it".to_owned()),
        Step::RemoveStaging => remove_staging(&stopped, engine, id, &mut done)?,
        Step::DropFiles => drop_files(engine, &tombstone, &look.residue, &mut done)?,
        Step::DeleteRange => delete_range(engine, &tombstone, &mut done)?,
        Step::Compact => {
            let stop = &shared.0.compaction_stop;
            compact(&stopped, stop, engine, &tombstone, &look.residue, &mut done)?;
        }
        Step::WaitForTrash => done.wait_for = Some("the disk to free its blocks".to_owned()),
        Step::Finish => return finish(shared, engine, id, generation),
    }
    note(shared, id, generation, step, done);
    Ok(())
}

fn note(shared: &Shared, id: SpanId, generation: u64, step: Step, done: Done) {
    let mut state = shared.lock();
    state.counts.files_dropped += done.dropped.len() as u64;
    state.counts.range_deletions += u64::from(done.range_deleted);
    state.counts.compactions += u64::from(done.compacted);
    state.counts.folders_removed += u64::from(done.folder_removed);
    Shared::measure(&state);
    let Some(work) = state.works.get_mut(&id).filter(|work| work.generation == generation) else {
        return;
    };
    if step == Step::DropFiles {
        work.pass = Pass {
            files_dropped: true,
            range_deleted: false,
            dropped_after_range: work.range_written && !done.dropped.is_empty(),
        };
    }
    if done.range_deleted {
        work.range_written = true;
        work.range_deletions += 1;
        work.pass.range_deleted = true;
    }
    work.compactions += u64::from(done.compacted);
    work.dropped.extend(done.dropped);
    match done.wait_for {
        Some(reason) => wait(work, reason),
        None => {
            work.waiting_for = None;
            work.backoff = BACKOFF_MIN;
        }
    }
}

fn phase_name(step: Step) -> &'static str {
    match step {
        Step::WaitForViews => "waiting",
        Step::RemoveStaging => "staging",
        Step::DropFiles => "files",
        Step::DeleteRange => "ranges",
        Step::Compact => "compaction",
        Step::WaitForTrash | Step::Finish => "trash",
    }
}

fn finish(shared: &Shared, engine: &Engine, id: SpanId, generation: u64) -> Result<()> {
    engine.crash().point("reclaim.before_finish")?;
    let mut state = shared.lock();
    if state.works.get(&id).is_none_or(|work| work.generation != generation) {
        return Ok(());
    }
    let mut batch = Batch::new();
    Tombstone::remove(&mut batch, id);
    // Not synced: losing it repeats a reclaim of nothing.
    engine.commit(batch, Sync::No)?;
    state.works.remove(&id);
    state.counts.finished += 1;
    Shared::measure(&state);
    drop(state);
    shared.0.finished.send_modify(|count| *count += 1);
    engine.crash().point("reclaim.after_finish")
}
