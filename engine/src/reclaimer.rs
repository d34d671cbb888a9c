//! The reclaimer: one thread that works tombstones off, one step at a time, taking turns.
//!
//! What to do is decided by [`crate::reclaim::next_step`], what a step does is in `steps`, what is remembered
//! of a tombstone in `work`. The thread holds only a weak handle between steps, so an open store can be
//! dropped at any moment. It is woken by new tombstones, by views that close and by settings; a tombstone
//! that cannot go on (busy files, trash that is still being cut) is looked at again after a back-off of
//! 10 ms to 1 s, which begins anew with every bit of progress. One that makes none for 30 s is reported,
//! with what it waits for, by the governor's thread: this one may be in the middle of a step.

mod dropped;
mod steps;
mod work;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::{broadcast, watch};

use crate::batch::{Batch, Sync};
use crate::error::{EngineError, Result};
use crate::family::Family;
use crate::ffi::CompactionStop;
use crate::id::SpanId;
use crate::open::{Engine, WeakEngine};
use crate::pacer::Governor;
use crate::reclaim::{Pass, Step, next_step};
use crate::record::Tombstone;
use steps::{Done, Look};
use work::Work;
pub use work::{ReclaimEvent, TombstoneStatus};

/// Events kept for a listener that is slow; beyond that it loses the oldest and is told so.
const EVENTS_KEPT: usize = 256;

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
    events: broadcast::Sender<ReclaimEvent>,
    /// Ends a running compaction at shutdown and when reclaim is paused.
    compaction_stop: CompactionStop,
    /// A tombstone waits for views to close. Without one, a view that closes wakes nobody: thousands do in
    /// a second.
    waits_for_views: AtomicBool,
}

/// The part that the thread, the handle and the views share.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Common>);

impl Shared {
    /// Work for every tombstone that the store holds.
    pub(crate) fn new(engine: &Engine, paused: bool) -> Result<Self> {
        let mut state = State { paused, ..State::default() };
        engine.governor().set_reclaim_paused(paused);
        let leftover = dropped::leftover(engine)?;
        for tombstone in engine.tombstones()? {
            match tombstone {
                Ok(tombstone) => {
                    let mut work = Work::new(tombstone, 0, 0);
                    work.leftover.clone_from(&leftover);
                    work.counts_leftover = state.works.is_empty();
                    state.works.insert(work.tombstone.id, work);
                }
                // Quarantined: the doctor names it, and nothing of it is touched.
                Err(error) => tracing::error!(%error, "a tombstone is damaged and left alone"),
            }
        }
        Self::measure(&state, engine);
        Ok(Self(Arc::new(Common {
            state: Mutex::new(state),
            wake: Condvar::new(),
            finished: watch::Sender::new(0),
            events: broadcast::Sender::new(EVENTS_KEPT),
            compaction_stop: CompactionStop::new(),
            waits_for_views: AtomicBool::new(false),
        })))
    }

    /// Tells the metrics and the governor what is left.
    fn measure(state: &State, engine: &Engine) {
        let sum = |of: fn(&Work) -> u64| state.works.values().map(of).sum::<u64>();
        metrics::gauge!(crate::metrics::RECLAIM_LEFT_BYTES).set(sum(|work| work.bytes_left) as f64);
        metrics::gauge!(crate::metrics::RECLAIM_HELD_BYTES).set(sum(|work| work.bytes_held) as f64);
        let rate = if state.paused { 0.0 } else { state.works.values().map(Work::rate).sum() };
        metrics::gauge!(crate::metrics::RECLAIM_RATE_BYTES).set(rate);
        metrics::gauge!(crate::metrics::TOMBSTONES).set(state.works.len() as f64);
        engine.governor().set_own_trash(sum(|work| work.own_trash));
    }

    /// Tells everybody who listens.
    fn tell(&self, event: ReclaimEvent) {
        match &event {
            ReclaimEvent::Progress(status) => tracing::debug!(
                tombstone = %status.tombstone.id,
                freed = status.bytes_freed(),
                left = status.bytes_left,
                rate = status.rate,
                "giving back"
            ),
            ReclaimEvent::Finished { id, owner, bytes, took } => {
                tracing::info!(tombstone = %id, %owner, bytes, ?took, "given back");
            }
            ReclaimEvent::Stalled { id, owner, waiting_for } => {
                metrics::counter!(crate::metrics::RECLAIM_STALLS_TOTAL).increment(1);
                tracing::warn!(tombstone = %id, %owner, waiting_for, "reclaim makes no progress");
            }
        }
        // Without a listener there is nobody to tell.
        let _ = self.0.events.send(event);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A view was closed: lets tombstones that wait for that be looked at again now.
    pub(crate) fn view_closed(&self) {
        if self.0.waits_for_views.load(Ordering::Relaxed)
            && self.0.waits_for_views.swap(false, Ordering::Relaxed)
        {
            self.wake();
        }
    }

    /// Lets everything that waits be looked at again now.
    pub(crate) fn wake(&self) {
        let now = Instant::now();
        self.lock().works.values_mut().for_each(|work| work.wake(now));
        self.0.wake.notify_all();
    }
}

/// The reclaimer as seen from outside.
pub struct ReclaimHandle {
    shared: Shared,
    /// `None` for a store that is open for reading only.
    governor: Option<Governor>,
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
        let governor = engine.upgrade().map(|engine| engine.governor().clone());
        let thread = std::thread::Builder::new()
            .name("cairn-reclaim".to_owned())
            .spawn({
                let shared = shared.clone();
                move || run(&shared, &engine)
            })
            .map_err(|error| EngineError::Storage(format!("cannot start a thread: {error}")))?;
        Ok(Self { shared, governor, thread: Mutex::new(Some(thread)) })
    }

    /// A handle without a thread: nothing is reclaimed (a store opened for reading only).
    pub(crate) fn idle(shared: Shared) -> Self {
        Self { shared, governor: None, thread: Mutex::new(None) }
    }

    pub(crate) fn add(&self, engine: &Engine, ids: &[SpanId], sequence: u64) {
        for &id in ids {
            match engine.tombstone(id) {
                Ok(Some(tombstone)) => {
                    let mut state = self.shared.lock();
                    state.generation += 1;
                    let work = Work::new(tombstone, sequence, state.generation);
                    state.works.insert(id, work);
                    Shared::measure(&state, engine);
                }
                Ok(None) => {}
                Err(error) => tracing::error!(%id, %error, "a tombstone cannot be read"),
            }
        }
        self.shared.0.wake.notify_all();
    }

    /// Pauses or resumes all reclaim. A compaction that is under way ends early, another step first; what RocksDB has in its trash stands
    /// still too, within a tenth of a second. Without effect if it is so already. Blocks while a compaction ends, mostly for some milliseconds; all
    /// others of the database end with it: those that RocksDB had begun by itself begin again at once (in families of a host's own when their
    /// files change next), and one that the host asked for answers that it was cut short.
    pub fn pause(&self, paused: bool) {
        let mut state = self.shared.lock();
        if state.paused == paused {
            return;
        }
        state.paused = paused;
        self.shared.0.compaction_stop.set(paused || state.stopped);
        // What a pause took is no stall.
        let now = Instant::now();
        state.works.values_mut().for_each(|work| work.progress(now));
        if let Some(governor) = &self.governor {
            governor.set_reclaim_paused(paused);
        }
        drop(state);
        if paused {
            self.shared.0.compaction_stop.end_running(&Family::ALL.map(Family::name));
            metrics::gauge!(crate::metrics::RECLAIM_RATE_BYTES).set(0.0);
        }
        self.shared.wake();
    }

    /// What happens to tombstones, from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<ReclaimEvent> {
        self.shared.0.events.subscribe()
    }

    /// Lets everything that waits be looked at again now.
    pub fn wake(&self) {
        self.shared.wake();
    }

    /// How far each tombstone is, by id.
    #[must_use]
    pub fn status(&self) -> Vec<TombstoneStatus> {
        let state = self.shared.lock();
        state.works.values().map(|work| work.status(state.paused)).collect()
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

    /// Reports tombstones that make no progress. One that somebody has paused is not reported.
    pub(crate) fn look_for_stalls(&self) {
        let mut state = self.shared.lock();
        if state.paused {
            return;
        }
        let turn = state.turn;
        let works = state.works.iter_mut();
        let stalled: Vec<ReclaimEvent> =
            works.filter_map(|(id, work)| work.stalled(turn == Some(*id))).collect();
        drop(state);
        stalled.into_iter().for_each(|event| self.shared.tell(event));
    }

    /// Stops the thread and waits for it, unless called from it.
    pub(crate) fn stop(&self) {
        let mut state = self.shared.lock();
        state.stopped = true;
        self.shared.0.compaction_stop.set(true);
        drop(state);
        self.shared.0.compaction_stop.end_running(&[]);
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
        let Err(error) = take_turn(shared, &engine, id) else { continue };
        let mut state = shared.lock();
        if state.stopped || matches!(error, EngineError::Crashed { .. }) {
            return;
        }
        // A pause ended the step early: it goes on where it was.
        let paused = matches!(error, EngineError::Stopped);
        if let Some(work) = state.works.get_mut(&id).filter(|_| !paused) {
            tracing::warn!(tombstone = %id, %error, "reclaim could not go on; it tries again");
            work.wait(error.to_string());
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

/// One step for one tombstone.
fn take_turn(shared: &Shared, engine: &Engine, id: SpanId) -> Result<()> {
    let (look, step, generation) = {
        let state = shared.lock();
        let Some(work) = state.works.get(&id) else { return Ok(()) };
        let (generation, pass) = (work.generation, work.pass);
        let before = steps::Before::of(work);
        drop(state);
        let look = steps::look(engine, before)?;
        let step = next_step(look.survey, pass);
        (look, step, generation)
    };
    {
        let mut state = shared.lock();
        let work = state.works.get_mut(&id).filter(|work| work.generation == generation);
        let Some(work) = work else { return Ok(()) };
        work.shared_bytes = work.shared_bytes.max(look.shared_bytes);
        let freed = work.saw(step, look.bytes_left, look.bytes_held);
        metrics::counter!(crate::metrics::RECLAIM_BYTES_TOTAL).increment(freed);
        work.own_trash = look.own_trash;
        let told = work.told(Instant::now());
        Shared::measure(&state, engine);
        drop(state);
        told.into_iter().for_each(|event| shared.tell(event));
    }
    let stopped = || {
        let state = shared.lock();
        state.stopped || state.paused
    };
    let mut done = Done::default();
    match step {
        Step::WaitForViews => {
            // A view that closes just before this is noticed after the back-off.
            shared.0.waits_for_views.store(true, Ordering::Relaxed);
            done.wait_for = Some(look.readers());
        }
        Step::RemoveStaging => steps::remove_staging(&stopped, engine, id, &mut done)?,
        Step::DropFiles => steps::drop_files(engine, &look, &mut done)?,
        Step::DeleteRange => steps::delete_range(engine, &look, &mut done)?,
        Step::WaitForSnapshots => done.wait_for = Some(steps::snapshots(engine)),
        Step::Compact => {
            let waits = |cause: Option<&str>| {
                if let Some(work) = shared.lock().works.get_mut(&id) {
                    work.waiting_for = cause.map(str::to_owned);
                }
            };
            let stop = &shared.0.compaction_stop;
            steps::compact(&stopped, &waits, stop, engine, &look, &mut done)?;
        }
        Step::CutTrash => steps::cut_trash(&stopped, engine, &look)?,
        Step::WaitForTrash => steps::let_go(engine, &look, &mut done)?,
        Step::Finish => return finish(shared, engine, id, generation),
    }
    note(shared, engine, generation, &look, step, done);
    Ok(())
}

/// Keeps the books after a step.
fn note(shared: &Shared, engine: &Engine, generation: u64, look: &Look, step: Step, done: Done) {
    let mut state = shared.lock();
    state.counts.files_dropped += done.dropped.len() as u64;
    state.counts.range_deletions += u64::from(done.range_sequence.is_some());
    state.counts.compactions += u64::from(done.compacted);
    state.counts.folders_removed += u64::from(done.folder_removed);
    let id = look.tombstone.id;
    let Some(work) = state.works.get_mut(&id).filter(|work| work.generation == generation) else {
        return;
    };
    if step == Step::DropFiles {
        work.passes += 1;
        metrics::counter!(crate::metrics::RECLAIM_PASSES_TOTAL).increment(1);
        work.pass = Pass {
            drops: work.pass.drops + 1,
            range_deleted: false,
            dropped_after_range: work.range_sequence.is_some() && !done.dropped.is_empty(),
        };
    }
    work.leave(done.bytes_elsewhere);
    if done.range_sequence.is_some() {
        work.range_sequence = done.range_sequence;
        work.range_deletions += 1;
        work.pass.range_deleted = true;
    }
    work.compactions += u64::from(done.compacted);
    let moved = !done.dropped.is_empty() || done.compacted || done.range_sequence.is_some();
    work.dropped.extend(done.dropped);
    work.dropped.extend(done.compacted_files);
    work.rewritten.extend(done.rewritten);
    if moved {
        work.progress(Instant::now());
    }
    match done.wait_for {
        Some(reason) => work.wait(reason),
        None => work.waiting_for = None,
    }
    Shared::measure(&state, engine);
}

fn finish(shared: &Shared, engine: &Engine, id: SpanId, generation: u64) -> Result<()> {
    engine.crash().point("reclaim.before_finish")?;
    steps::remove_trash_folder(engine, id)?;
    let mut state = shared.lock();
    if state.works.get(&id).is_none_or(|work| work.generation != generation) {
        return Ok(());
    }
    let mut batch = Batch::new();
    Tombstone::remove(&mut batch, id);
    // Not synced: losing it repeats a reclaim of nothing.
    engine.commit(batch, Sync::No)?;
    let finished = state.works.remove(&id).map(|work| work.finished());
    state.counts.finished += 1;
    Shared::measure(&state, engine);
    drop(state);
    shared.0.finished.send_modify(|count| *count += 1);
    finished.into_iter().for_each(|event| shared.tell(event));
    engine.crash().point("reclaim.after_finish")
}
