//! The governor as background work sees it: it asks for its bytes here, and waits.
//!
//! [`Governor::take`] is a thin loop around the [`crate::budget`]. How fast the budget is refilled is
//! decided ten times a second by [`crate::governor`], from what the thread in `feedback` sees. Without that
//! thread (a governor made by itself) the limit of a person is all there is.

pub(crate) mod feedback;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::baseline::Comparison;
use crate::budget::{Budget, Class};
use crate::error::{EngineError, Result};
use crate::governor::{DELETION_UNLIMITED, Decision, GovernorLimits, Steps};

/// The longest time for which a waiting thread does not look at its stop flag and at the rate.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The budget that all background work of an engine shares. Clones share it too.
#[derive(Clone, Debug)]
pub struct Governor(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Bytes per second; 0 for no limit. The budget takes it over when somebody asks next.
    rate: AtomicU64,
    reclaim_first: AtomicBool,
    /// Bytes per second at which each of those who free files may, and for how many times a step's length it rests.
    deletion_rate: AtomicU64,
    rest: AtomicU32,
    /// Dropped files are cut in steps for a disk that is shared.
    shared: AtomicBool,
    /// Bytes of our own trash that were freed since the last tick, and that are still to be freed.
    freed: AtomicU64,
    trash: AtomicU64,
    /// Jobs that remove a file of their own.
    removing: AtomicU32,
    reclaim_paused: AtomicBool,
    taken: [AtomicU64; Class::ALL.len()],
    /// Threads that wait in [`Governor::take`].
    waiting: AtomicUsize,
    budget: Mutex<Budget>,
    limits: Mutex<GovernorLimits>,
    status: Mutex<GovernorStatus>,
    start: Instant,
    /// What the feedback thread is told; guarded for moments.
    bell: Mutex<Bell>,
    rung: Condvar,
}

#[derive(Debug, Default)]
struct Bell {
    rung: bool,
    stopped: bool,
    /// The thread sleeps long, because nothing happens.
    dozing: bool,
}

/// How things stand, as of the last tick.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GovernorStatus {
    /// Bytes per second that background work may take; 0 for no limit.
    pub rate: u64,
    /// Bytes per second at which dropped files are freed; 0 while reclaim is paused.
    pub deletion_rate: u64,
    /// Bytes per second at which RocksDB flushes and compacts by itself; `None` for no limit, and in a database that a host opened.
    pub compaction_rate: Option<u64>,
    /// Why background work goes as fast as it does, for people: `foreground read p99 1.31x of baseline, above 1.10x`.
    pub reason: String,
    /// Free space is short: what gives space back does not wait.
    pub reclaim_first: bool,
    /// The disk is nearly full: rows and files are refused.
    pub rows_refused: bool,
    /// The foreground operations that are slowest by their own measure; `None` if there are too few.
    pub foreground: Option<Comparison>,
    /// Foreground operations per second.
    pub operations: f64,
    /// Bytes per second that background work took.
    pub background: f64,
    /// The most files that a family has in level 0.
    pub level0_files: u64,
    /// The most bytes that a family has to compact.
    pub pending_compaction_bytes: u64,
    /// RocksDB slows writers down, or has stopped them.
    pub writes_held: bool,
    /// Bytes of dropped files that RocksDB is still to free.
    pub trash_bytes: u64,
    /// Free bytes on the disk, as far as known.
    pub free_bytes: Option<u64>,
    /// Age of the oldest reader (view, snapshot or checkpoint on disk) that keeps files from going.
    pub oldest_reader: Option<Duration>,
}

impl Governor {
    /// A budget under these limits.
    #[must_use]
    pub fn new(limits: GovernorLimits) -> Self {
        Self(Arc::new(Shared {
            rate: AtomicU64::new(limits.rate_max),
            reclaim_first: AtomicBool::new(false),
            deletion_rate: AtomicU64::new(DELETION_UNLIMITED),
            rest: AtomicU32::new(Steps::Alone.rest()),
            shared: AtomicBool::new(false),
            freed: AtomicU64::new(0),
            trash: AtomicU64::new(0),
            removing: AtomicU32::new(0),
            reclaim_paused: AtomicBool::new(false),
            taken: [const { AtomicU64::new(0) }; Class::ALL.len()],
            waiting: AtomicUsize::new(0),
            budget: Mutex::new(Budget::new(limits.rate_max)),
            limits: Mutex::new(limits),
            status: Mutex::default(),
            start: Instant::now(),
            bell: Mutex::default(),
            rung: Condvar::new(),
        }))
    }

    /// Changes the limits. Who waits now notices within 50 ms.
    pub fn set_limits(&self, limits: GovernorLimits) {
        let mut current = lock(&self.0.limits);
        if *current != limits {
            *current = limits;
            self.0.rate.store(limits.rate_max, Ordering::Relaxed);
            drop(current);
            self.ring();
        }
    }

    /// The limits now.
    #[must_use]
    pub fn limits(&self) -> GovernorLimits {
        *lock(&self.0.limits)
    }

    /// How things stand, as of a moment ago.
    #[must_use]
    pub fn status(&self) -> GovernorStatus {
        lock(&self.0.status).clone()
    }

    /// Bytes that the class has taken since the engine was opened.
    #[must_use]
    pub fn taken(&self, class: Class) -> u64 {
        self.0.taken.get(class.index()).map_or(0, |taken| taken.load(Ordering::Relaxed))
    }

    /// Takes `bytes` for the work that the caller is about to do. Blocks while the class owes more than
    /// the rate allows, and looks at `stop` at least every 50 ms. Never call it with a lock held that
    /// somebody in the foreground waits for.
    ///
    /// # Errors
    /// [`EngineError::Stopped`] once `stop` answers true: nothing was taken.
    pub fn take(&self, class: Class, bytes: u64, stop: &dyn Fn() -> bool) -> Result<()> {
        self.wake();
        let mut waited = None;
        loop {
            if stop() {
                return Err(EngineError::Stopped);
            }
            let wait = self.try_take(class, bytes);
            if wait.is_zero() {
                break;
            }
            waited.get_or_insert_with(|| Waiting::begin(&self.0.waiting));
            std::thread::sleep(wait.min(LOOK_EVERY));
        }
        self.count(class, bytes);
        if let Some(waited) = waited {
            metrics::histogram!(crate::metrics::BACKGROUND_WAIT_SECONDS, "class" => class.name())
                .record(waited.since.elapsed().as_secs_f64());
        }
        Ok(())
    }

    /// How files of our own are cut now.
    pub(crate) fn steps(&self) -> Steps {
        if self.0.shared.load(Ordering::Relaxed) { Steps::Shared } else { Steps::Alone }
    }

    /// Waits after a step that freed `bytes` of our own files and took so long: as long as the rate of
    /// deletion and [`Steps::rest`] ask for. The budget is charged at the next tick. While reclaim is paused only jobs come here, for
    /// files that they are done with; the reclaimer's `stop` answers true.
    pub(crate) fn pace(&self, bytes: u64, took: Duration, stop: &dyn Fn() -> bool) -> Result<()> {
        self.wake();
        self.0.freed.fetch_add(bytes, Ordering::Relaxed);
        let began = Instant::now();
        loop {
            let rate = self.0.deletion_rate.load(Ordering::Relaxed).max(1);
            let due = Duration::from_secs_f64(bytes as f64 / rate as f64).saturating_sub(took);
            let wait = due.max(took * self.0.rest.load(Ordering::Relaxed));
            let left = wait.saturating_sub(began.elapsed());
            if stop() {
                return Err(EngineError::Stopped);
            }
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(LOOK_EVERY));
        }
    }

    /// A job removes a file of its own until what this answers is dropped.
    pub(crate) fn removing(&self) -> Removing<'_> {
        self.0.removing.fetch_add(1, Ordering::Relaxed);
        Removing(&self.0.removing)
    }

    /// Says how many bytes of our own files are to be freed.
    pub(crate) fn set_own_trash(&self, bytes: u64) {
        self.0.trash.store(bytes, Ordering::Relaxed);
    }

    /// Lets RocksDB free no dropped files any more, or as fast as it may again.
    pub(crate) fn set_reclaim_paused(&self, paused: bool) {
        self.0.reclaim_paused.store(paused, Ordering::Relaxed);
        self.ring();
    }

    /// Charges the bytes and answers zero, or says how long to wait before asking again.
    fn try_take(&self, class: Class, bytes: u64) -> Duration {
        let mut budget = lock(&self.0.budget);
        let now = self.refresh(&mut budget);
        let wait = budget.wait(class, now);
        if wait.is_zero() {
            budget.charge(class, bytes, now);
        }
        wait
    }

    /// Charges what somebody who cannot wait here has done. Answers how many classes share the rate.
    pub(crate) fn charge(&self, class: Class, bytes: u64) -> usize {
        let mut budget = lock(&self.0.budget);
        let now = self.refresh(&mut budget);
        budget.charge(class, bytes, now);
        let sharers = budget.sharers(class);
        drop(budget);
        if bytes > 0 {
            self.count(class, bytes);
        }
        sharers
    }

    /// Lets the budget know the rate. Read under its lock, or a thread that was held up could bring an
    /// old rate back.
    fn refresh(&self, budget: &mut Budget) -> Duration {
        let now = self.0.start.elapsed();
        budget.set_rate(self.0.rate.load(Ordering::Relaxed), now);
        budget.put_reclaim_first(self.0.reclaim_first.load(Ordering::Relaxed));
        now
    }

    fn count(&self, class: Class, bytes: u64) {
        if let Some(taken) = self.0.taken.get(class.index()) {
            taken.fetch_add(bytes, Ordering::Relaxed);
        }
        metrics::counter!(crate::metrics::BACKGROUND_BYTES_TOTAL, "class" => class.name())
            .increment(bytes);
    }

    /// What was decided counts from now on.
    fn obey(&self, decision: &Decision) {
        self.0.rate.store(decision.rate, Ordering::Relaxed);
        self.0.deletion_rate.store(decision.deletion_rate_of_each(), Ordering::Relaxed);
        self.0.rest.store(decision.rest_of_each(), Ordering::Relaxed);
        self.0.shared.store(decision.steps == Steps::Shared, Ordering::Relaxed);
        self.0.reclaim_first.store(decision.reclaim_first, Ordering::Relaxed);
    }

    /// Lets the feedback thread look now if it dozes.
    fn wake(&self) {
        let mut bell = lock(&self.0.bell);
        if bell.dozing {
            bell.rung = true;
            self.0.rung.notify_one();
        }
    }

    /// Lets the feedback thread look now.
    pub(crate) fn ring(&self) {
        lock(&self.0.bell).rung = true;
        self.0.rung.notify_one();
    }
}

/// A job that removes a file of its own.
pub(crate) struct Removing<'a>(&'a AtomicU32);

impl Drop for Removing<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A thread that waits, and since when.
struct Waiting<'a> {
    count: &'a AtomicUsize,
    since: Instant,
}

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self { count, since: Instant::now() }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: &dyn Fn() -> bool = &|| false;

    fn limited(rate_max: u64) -> Governor {
        Governor::new(GovernorLimits { rate_max, ..GovernorLimits::default() })
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        let governor = limited(0);
        for _ in 0..1000 {
            governor.take(Class::Ingest, 1 << 30, NEVER).unwrap();
        }
        assert_eq!(governor.taken(Class::Ingest), 1000 << 30);
        assert_eq!(governor.taken(Class::Trash), 0);
    }

    #[test]
    fn a_stop_ends_the_wait_and_takes_nothing() {
        let governor = limited(1);
        governor.take(Class::Sort, 1000, NEVER).unwrap();
        let asked = AtomicU64::new(0);
        let stop = || asked.fetch_add(1, Ordering::Relaxed) == 2;
        let error = governor.take(Class::Sort, 1000, &stop).unwrap_err();
        assert!(matches!(error, EngineError::Stopped), "{error}");
        assert_eq!(governor.taken(Class::Sort), 1000);
        assert_eq!(governor.0.waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_waiting_thread_notices_a_new_rate() {
        let governor = limited(1);
        governor.take(Class::Sort, 1_000_000, NEVER).unwrap();
        let waiting = governor.clone();
        let thread = std::thread::spawn(move || waiting.take(Class::Sort, 5, NEVER));
        governor.set_limits(GovernorLimits::default());
        thread.join().unwrap().unwrap();
        assert_eq!(governor.taken(Class::Sort), 1_000_005);
        assert_eq!(governor.limits().rate_max, 0);
    }

    #[test]
    fn a_slow_step_is_followed_by_a_longer_wait() {
        let governor = limited(0);
        let slow = || {
            let began = Instant::now();
            governor.pace(8 << 20, Duration::from_millis(12), NEVER).unwrap();
            began.elapsed()
        };
        governor.0.rest.store(Steps::Shared.rest(), Ordering::Relaxed);
        assert!(slow() >= Duration::from_millis(228), "a twentieth of the time is ours");
        governor.0.rest.store(Steps::Alone.rest(), Ordering::Relaxed);
        slow();
        assert_eq!(governor.0.freed.load(Ordering::Relaxed), 16 << 20);
        let stopped = governor.pace(1, Duration::from_secs(3600), &|| true);
        assert!(matches!(stopped, Err(EngineError::Stopped)));
    }

    #[test]
    fn what_was_done_without_asking_is_paid_by_the_class_and_shared_by_all() {
        let governor = limited(1000);
        assert_eq!(governor.charge(Class::Trash, 1_000_000), 1);
        assert_eq!(governor.taken(Class::Trash), 1_000_000);
        governor.take(Class::Ingest, 500_000, NEVER).unwrap();
        assert_eq!(governor.charge(Class::Trash, 0), 2);
    }
}
