//! The thread that watches: ten times a second it gathers the governor's signals and lets its decision
//! take effect. It knows RocksDB, the disk and the clock; what follows from what it sees is decided in
//! [`crate::governor`], [`crate::baseline`] and [`crate::upkeep`].
//!
//! While nothing happens it dozes for a second at a time; background work that begins wakes it.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Governor, GovernorStatus, lock};
use crate::baseline::{Baseline, Judgement};
use crate::budget::Class;
use crate::disk::free_bytes;
use crate::error::{EngineError, Result};
use crate::family::Family;
use crate::governor::{Calculator, DELETION_LEAST, Decision, Signals};
use crate::latency::{ByOperation, Latencies, latencies};
use crate::memory::MemoryUse;
use crate::open::{Engine, WeakEngine, handle};
use crate::upkeep::{self, Due};

/// Time between two looks while anything happens, and while nothing does.
const TICK: Duration = Duration::from_millis(100);
const DOZE: Duration = Duration::from_secs(1);

/// Time between two looks at what changes slowly: free space, readers.
const SLOW_TICK: Duration = Duration::from_secs(1);

/// Without an operation for so long, there is no foreground that a flush could hold up.
const PRESENT: Duration = Duration::from_secs(1);

/// The numbers at which RocksDB slows writers down; its defaults, which our tuning keeps.
const LEVEL0_LIMIT: u64 = 20;
const PENDING_LIMIT: u64 = 64 << 30;

/// The thread.
pub(crate) struct Feedback {
    governor: Governor,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Feedback {
    /// Starts it.
    pub(crate) fn start(engine: &Engine) -> Result<Self> {
        let governor = engine.governor().clone();
        let (weak, mut watch) = (engine.weak(), Watch::new(engine));
        let thread = std::thread::Builder::new()
            .name("cairn-governor".to_owned())
            .spawn({
                let governor = governor.clone();
                move || run(&governor, &weak, &mut watch)
            })
            .map_err(|error| EngineError::Storage(format!("cannot start a thread: {error}")))?;
        Ok(Self { governor, thread: Mutex::new(Some(thread)) })
    }

    /// Stops it and waits for it, unless called from it.
    pub(crate) fn stop(&self) {
        lock(&self.governor.0.bell).stopped = true;
        self.governor.0.rung.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            // A panic of the thread was reported by it; there is nothing to add.
            let _ = thread.join();
        }
    }
}

fn run(governor: &Governor, engine: &WeakEngine, watch: &mut Watch) {
    // Trash that was left at the last end goes as soon as the store is open: look soon.
    let mut quiet = false;
    while next_tick(governor, quiet) {
        let Some(engine) = engine.upgrade() else { return };
        quiet = watch.run_once(&engine, Instant::now());
    }
}

/// Sleeps until it is time to look, or something rings. False at the end.
fn next_tick(governor: &Governor, quiet: bool) -> bool {
    let shared = &governor.0;
    let mut bell = lock(&shared.bell);
    bell.dozing = quiet;
    let until = Instant::now() + if quiet { DOZE } else { TICK };
    while !bell.stopped && !bell.rung {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        bell = shared.rung.wait_timeout(bell, left).unwrap_or_else(PoisonError::into_inner).0;
    }
    bell.rung = false;
    bell.dozing = false;
    !bell.stopped
}

/// What the thread remembers between two looks.
struct Watch {
    start: Instant,
    looked: Instant,
    looked_slowly: Option<Instant>,
    /// When the foreground last did something.
    seen: Option<Instant>,
    calculator: Calculator,
    baseline: Baseline,
    tick: ByOperation<Latencies>,
    taken: u64,
    trash: u64,
    free_bytes: Option<u64>,
    oldest_reader: Option<(Duration, &'static str)>,
}

impl Watch {
    fn new(engine: &Engine) -> Self {
        let now = Instant::now();
        Self {
            start: now,
            looked: now,
            looked_slowly: None,
            seen: None,
            calculator: Calculator::default(),
            baseline: Baseline::default(),
            tick: std::array::from_fn(|_| latencies()),
            taken: 0,
            trash: engine.tuning().trash_bytes(),
            free_bytes: None,
            oldest_reader: None,
        }
    }

    /// One look and one decision. Answers whether all is quiet.
    fn run_once(&mut self, engine: &Engine, now: Instant) -> bool {
        let governor = engine.governor();
        let elapsed = now.saturating_duration_since(self.looked);
        self.looked = now;
        let limits = governor.limits();
        self.tick.iter_mut().for_each(Latencies::reset);
        engine.foreground().take(elapsed, &mut self.tick);
        let learn = self.calculator.learns();
        let foreground = self.baseline.observe(&self.tick, learn, limits.latency_target);
        let slowly = self.looked_slowly.is_none_or(|then| now - then >= SLOW_TICK);
        if slowly {
            self.looked_slowly = Some(now);
            self.free_bytes = free_bytes(engine.path()).ok();
            if let Some(free) = self.free_bytes {
                engine.ballast().look(free);
            }
            self.oldest_reader = engine.oldest_reader_named();
            let age = self.oldest_reader.map_or(0.0, |(age, _)| age.as_secs_f64());
            metrics::gauge!(crate::metrics::OLDEST_READER_AGE).set(age);
            engine.reclaimer().look_for_stalls();
            report_memory(engine.memory_use());
        }
        let (mut signals, sharers) = self.progress(engine);
        signals.foreground = foreground;
        signals.free_bytes = self.free_bytes;
        signals.oldest_reader = self.oldest_reader.map(|(age, _)| age);
        if foreground.operations > 0 {
            self.seen = Some(now);
        }
        let present =
            limits.latency_target.is_finite() && self.seen.is_some_and(|seen| now - seen < PRESENT);
        let compaction_rate = if present || signals.working() {
            upkeep::rate(&look_at_rocksdb(engine, &mut signals), present)
        } else {
            None
        };
        let compaction_rate = engine.tuning().set_compaction_rate(compaction_rate);
        let mut decision = self.calculator.decide(&limits, &signals, now - self.start);
        if limits.rate_max > 0 && !decision.reclaim_first {
            // RocksDB frees files on a thread of its own, which cannot wait for the budget.
            let share = limits.rate_max / u64::try_from(sharers).unwrap_or(1).max(1);
            decision.deletion_rate = decision.deletion_rate.min(share.max(DELETION_LEAST));
        }
        if decision.report_reader {
            tracing::warn!(
                age = ?self.oldest_reader.map(|(age, _)| age),
                what = self.oldest_reader.map(|(_, what)| what),
                "a reader keeps space from being given back"
            );
        }
        if decision.start_afresh {
            self.baseline.start_afresh();
        }
        Self::take_effect(engine, &decision, signals.paused);
        if signals.paused {
            decision.deletion_rate = 0;
        }
        self.report(engine, &decision, compaction_rate, &signals, &foreground, elapsed);
        !signals.working() && foreground.operations == 0
    }

    /// What background work did since the last look.
    fn progress(&mut self, engine: &Engine) -> (Signals, usize) {
        let governor = engine.governor();
        let trash = engine.tuning().trash_bytes();
        let (own, own_freed) = (&governor.0.trash, &governor.0.freed);
        let freed = self.trash.saturating_sub(trash) + own_freed.swap(0, Relaxed);
        let sharers = governor.charge(Class::Trash, freed);
        let tokens = Class::ALL.iter().map(|class| governor.taken(*class)).sum::<u64>();
        let taken = tokens - self.taken;
        self.taken = tokens;
        let paused = governor.0.reclaim_paused.load(Relaxed);
        let reclaiming = u32::from(trash > 0) + u32::from(own.load(Relaxed) > 0);
        let signals = Signals {
            taken_bytes: taken.saturating_sub(freed),
            waiting: governor.0.waiting.load(Relaxed) > 0,
            freed_bytes: freed,
            trash_bytes: trash + own.load(Relaxed),
            freeing: governor.0.removing.load(Relaxed) + if paused { 0 } else { reclaiming },
            paused,
            ..Signals::default()
        };
        self.trash = trash;
        (signals, sharers)
    }

    fn take_effect(engine: &Engine, decision: &Decision, paused: bool) {
        engine.governor().obey(decision);
        let (rate, rest) = (decision.deletion_rate_of_each(), decision.rest_of_each());
        // Also of what RocksDB has in its trash nothing goes. What a job is done with does.
        let rate = if paused { 0 } else { rate };
        engine.tuning().set_deletion_pace(rate, decision.steps.bytes(), rest);
    }

    fn report(
        &self,
        engine: &Engine,
        decision: &Decision,
        compaction_rate: Option<u64>,
        signals: &Signals,
        foreground: &Judgement,
        elapsed: Duration,
    ) {
        let seconds = elapsed.as_secs_f64().max(1e-3);
        metrics::gauge!(crate::metrics::BACKGROUND_RATE_BYTES).set(decision.rate as f64);
        metrics::gauge!(crate::metrics::DELETION_RATE_BYTES).set(decision.deletion_rate as f64);
        metrics::gauge!(crate::metrics::COMPACTION_RATE_BYTES)
            .set(compaction_rate.unwrap_or_default() as f64);
        let refused = engine.ballast().is_released();
        metrics::gauge!(crate::metrics::ROWS_REFUSED).set(f64::from(u8::from(refused)));
        if let Some(worst) = foreground.worst {
            metrics::gauge!(crate::metrics::FOREGROUND_SLOWDOWN_RATIO).set(worst.ratio);
        }
        let mut status = lock(&engine.governor().0.status);
        let reason = decision.reason.to_string();
        if status.reason != reason {
            tracing::debug!(
                rate = decision.rate,
                deletion = decision.deletion_rate,
                reason,
                "governor"
            );
        }
        *status = GovernorStatus {
            rate: decision.rate,
            deletion_rate: decision.deletion_rate,
            compaction_rate,
            reason,
            reclaim_first: decision.reclaim_first,
            rows_refused: refused,
            foreground: foreground.worst,
            operations: foreground.operations as f64 / seconds,
            background: (signals.taken_bytes + signals.freed_bytes) as f64 / seconds,
            level0_files: signals.level0_files,
            pending_compaction_bytes: signals.pending_bytes,
            writes_held: signals.writes_delayed || signals.writes_stopped,
            trash_bytes: signals.trash_bytes,
            free_bytes: self.free_bytes,
            oldest_reader: self.oldest_reader.map(|(age, _)| age),
        };
    }
}

fn report_memory(memory: MemoryUse) {
    metrics::gauge!(crate::metrics::WRITE_BUFFER_BYTES).set(memory.write_buffer_bytes as f64);
    metrics::gauge!(crate::metrics::BLOCK_CACHE_BYTES).set(memory.block_cache_bytes as f64);
    metrics::gauge!(crate::metrics::TABLE_READER_BYTES).set(memory.table_reader_bytes as f64);
}

/// The signals that RocksDB gives, and what it has to do by itself.
fn look_at_rocksdb(engine: &Engine, signals: &mut Signals) -> Due {
    (signals.level0_limit, signals.pending_limit) = (LEVEL0_LIMIT, PENDING_LIMIT);
    let mut due = Due::default();
    for family in Family::ALL {
        let half = (engine.tuning().buffer_bytes(family) / 2) as u64;
        let rows = matches!(family, Family::Rows | Family::Bulk);
        let Ok(family) = handle(engine.db(), family) else { continue };
        let property = |name: &str| {
            engine.db().property_int_value_cf(&family, name).ok().flatten().unwrap_or_default()
        };
        let buffers = property("rocksdb.num-immutable-mem-table");
        due.buffers = due.buffers.max(buffers);
        due.filling |= buffers > 0 && property("rocksdb.cur-size-active-mem-table") >= half;
        if rows {
            let level0 = property("rocksdb.num-files-at-level0");
            let pending = property("rocksdb.estimate-pending-compaction-bytes");
            signals.level0_files = signals.level0_files.max(level0);
            signals.pending_bytes = signals.pending_bytes.max(pending);
            signals.writes_stopped |= property("rocksdb.is-write-stopped") > 0;
            signals.writes_delayed |= property("rocksdb.actual-delayed-write-rate") > 0;
        }
    }
    due.level0_files = signals.level0_files;
    due.pending_bytes = signals.pending_bytes;
    due.writers_held = signals.writes_delayed || signals.writes_stopped;
    due
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Epoch, OwnerId, SpanFamily};
    use crate::options::Options;
    use crate::record::ClaimKind;
    use crate::upkeep::LEAST;

    #[test]
    fn flushes_and_compactions_go_slowly_as_long_as_somebody_reads() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::open(Options::small(folder.path())).unwrap();
        let what = ClaimKind::Span(SpanFamily::Rows);
        let claim = engine.claim(OwnerId::from_raw(1), Epoch::from_raw(1), what).unwrap();
        let span = claim.span().unwrap();
        let until = |reads: bool, rate: Option<u64>| {
            let deadline = Instant::now() + Duration::from_secs(30);
            while engine.governor().status().compaction_rate != rate {
                assert!(Instant::now() < deadline, "not {rate:?}");
                if reads {
                    engine.get_row(span, b"key").unwrap();
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        until(true, Some(LEAST));
        until(false, None);
    }
}
