//! How long the foreground's own operations take, measured inside the engine.
//!
//! Every public read and write of rows is timed, unless its thread is marked as a background thread
//! (see [`crate::blocking`]): what a job does for itself says nothing about what users feel. A
//! measurement is two looks at the clock and one addition to a histogram of the thread's own shard.
//! A shard that somebody else holds at that moment loses the sample instead of waiting, and beyond
//! [`EVERY_ONE_MAX`] operations per second only every [`SAMPLE_ONE_IN`]th is timed and counts for all
//! of them. The cost is about 100 ns, two thirds of it for the clock
//! (`make bench-reclaim ARGS="--only cost"`), and less where operations are sampled.
//!
//! Reads, beginnings of scans, their rows, writes and synced writes are kept apart: a change in their mix must not look like a
//! change in their speed.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// A kind of foreground operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// A look-up by key.
    Read,
    /// The beginning of a scan, up to its first row.
    Scan,
    /// A further row of a scan; one in 61 is measured.
    ScanRow,
    /// A commit of rows that does not wait for the disk.
    Write,
    /// A commit of rows that does.
    SyncedWrite,
}

impl Operation {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::Read, Self::Scan, Self::ScanRow, Self::Write, Self::SyncedWrite];

    /// The name in views and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Scan => "scan",
            Self::ScanRow => "row of a scan",
            Self::Write => "write",
            Self::SyncedWrite => "synced write",
        }
    }
}

/// Latencies in units of [`UNIT`].
pub(crate) type Latencies = Histogram<u32>;

/// What a histogram counts in.
pub(crate) const UNIT: Duration = Duration::from_nanos(100);

/// The longest latency told apart: 60 s, in units.
const LONGEST: u64 = 600_000_000;

/// Threads that record at the same time rarely share one.
const SHARDS: usize = 8;

/// Operations per second up to which every one is timed.
const EVERY_ONE_MAX: u64 = 50_000;

/// Above that, one in so many is.
const SAMPLE_ONE_IN: u32 = 16;

/// An empty histogram: latencies of 100 ns to 60 s, told apart by one part in a hundred.
pub(crate) fn latencies() -> Latencies {
    Histogram::new_with_bounds(1, LONGEST, 2).expect("the bounds and the precision are valid")
}

/// A recorded value as a duration.
pub(crate) fn duration(value: u64) -> Duration {
    UNIT.saturating_mul(u32::try_from(value).unwrap_or(u32::MAX))
}

/// One histogram for each kind of operation.
pub(crate) type ByOperation<T> = [T; Operation::ALL.len()];

/// The foreground of one store.
#[derive(Debug)]
pub struct Foreground {
    // Each guards the samples of a few threads, for one addition.
    shards: [Mutex<ByOperation<Latencies>>; SHARDS],
    /// Only one operation in [`SAMPLE_ONE_IN`] is timed.
    sampled: AtomicBool,
}

#[derive(Clone, Copy)]
struct Thread {
    /// `usize::MAX` until the thread records for the first time.
    shard: usize,
    /// Counts operations, so that every nth can be told.
    count: u32,
    background: bool,
}

thread_local! {
    static THREAD: Cell<Thread> =
        const { Cell::new(Thread { shard: usize::MAX, count: 0, background: false }) };
}

/// Deals shards out to threads.
static NEXT_SHARD: AtomicUsize = AtomicUsize::new(0);

/// From now on, what this thread does is background work: its operations are not measured.
pub(crate) fn mark_background() {
    THREAD.with(|thread| thread.set(Thread { background: true, ..thread.get() }));
}

/// Whether this thread is marked as a background thread.
pub(crate) fn is_background() -> bool {
    THREAD.with(|thread| thread.get().background)
}

impl Default for Foreground {
    fn default() -> Self {
        let shard = || Mutex::new(std::array::from_fn(|_| latencies()));
        Self { shards: std::array::from_fn(|_| shard()), sampled: AtomicBool::new(false) }
    }
}

impl Foreground {
    /// Begins to time an operation; `None` if this one is not to be measured.
    #[inline]
    pub(crate) fn begin(&self) -> Option<Instant> {
        let measured = THREAD.with(|cell| {
            let thread = cell.get();
            let count = thread.count.wrapping_add(1);
            cell.set(Thread { count, ..thread });
            !thread.background
                && (!self.sampled.load(Ordering::Relaxed) || count.is_multiple_of(SAMPLE_ONE_IN))
        });
        measured.then(Instant::now)
    }

    /// Ends what [`Foreground::begin`] began.
    #[inline]
    pub(crate) fn end(&self, operation: Operation, began: Option<Instant>) {
        if let Some(began) = began {
            self.add(operation, began.elapsed());
        }
    }

    /// Does something and measures it, as the engine measures its own reads and writes.
    #[inline]
    pub fn measure<T>(&self, operation: Operation, work: impl FnOnce() -> T) -> T {
        let began = self.begin();
        let answer = work();
        self.end(operation, began);
        answer
    }

    /// Records an operation that was not done through this engine: a host with a RocksDB of its own
    /// reports its reads and writes here, so that background work gives way to them too.
    pub fn record(&self, operation: Operation, latency: Duration) {
        if self.begin().is_some() {
            self.add(operation, latency);
        }
    }

    fn add(&self, operation: Operation, latency: Duration) {
        let count = if self.sampled.load(Ordering::Relaxed) { SAMPLE_ONE_IN } else { 1 };
        let value = latency.as_nanos() / UNIT.as_nanos();
        let value = u64::try_from(value).unwrap_or(LONGEST).clamp(1, LONGEST);
        let shard = self.shards.get(shard_of_thread() % SHARDS);
        if let Some(Ok(mut shard)) = shard.map(Mutex::try_lock)
            && let Some(latencies) = shard.get_mut(operation as usize)
        {
            latencies.saturating_record_n(value, count);
        }
    }

    /// Takes out what was recorded since the last call, `elapsed` ago, and adds it to `into`.
    pub(crate) fn take(&self, elapsed: Duration, into: &mut ByOperation<Latencies>) {
        let mut count = 0;
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for (recorded, into) in shard.iter_mut().zip(into.iter_mut()) {
                if !recorded.is_empty() {
                    count += recorded.len();
                    // Same bounds, so nothing can be out of range.
                    let added = into.add(&*recorded);
                    debug_assert!(added.is_ok(), "{added:?}");
                    recorded.reset();
                }
            }
        }
        let per_second = count as f64 / elapsed.as_secs_f64().max(1e-3);
        self.sampled.store(per_second > EVERY_ONE_MAX as f64, Ordering::Relaxed);
    }
}

fn shard_of_thread() -> usize {
    THREAD.with(|cell| {
        let mut thread = cell.get();
        if thread.shard == usize::MAX {
            thread.shard = NEXT_SHARD.fetch_add(1, Ordering::Relaxed) % SHARDS;
            cell.set(thread);
        }
        thread.shard
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(foreground: &Foreground, elapsed: Duration) -> ByOperation<Latencies> {
        let mut into = std::array::from_fn(|_| latencies());
        foreground.take(elapsed, &mut into);
        into
    }

    #[test]
    fn what_is_recorded_is_taken_once_and_by_kind() {
        let foreground = Foreground::default();
        foreground.record(Operation::Read, Duration::from_micros(50));
        foreground.record(Operation::SyncedWrite, Duration::from_millis(2));
        assert_eq!(foreground.measure(Operation::Scan, || 42), 42);
        let first = taken(&foreground, Duration::from_secs(1));
        assert_eq!(first.each_ref().map(Histogram::len), [1, 1, 0, 0, 1]);
        let read = duration(first[0].max()).as_micros();
        assert!((49..=51).contains(&read), "{read} microseconds");
        assert!(taken(&foreground, Duration::from_secs(1)).iter().all(Histogram::is_empty));
    }

    #[test]
    fn a_background_thread_is_not_measured() {
        let foreground = Foreground::default();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                mark_background();
                assert!(foreground.begin().is_none());
                foreground.record(Operation::Read, Duration::from_secs(1));
            });
        });
        assert!(taken(&foreground, Duration::from_secs(1)).iter().all(Histogram::is_empty));
        assert!(foreground.begin().is_some(), "the mark is the other thread's own");
    }

    #[test]
    fn many_operations_are_sampled_and_count_for_all() {
        let foreground = Foreground::default();
        for _ in 0..1000 {
            foreground.record(Operation::Read, Duration::from_micros(1));
        }
        // So many in a millisecond are a million per second: from here on they are sampled.
        assert_eq!(taken(&foreground, Duration::from_millis(1))[0].len(), 1000);
        for _ in 0..1600 {
            foreground.record(Operation::Read, Duration::from_micros(1));
        }
        assert_eq!(taken(&foreground, Duration::from_secs(1))[0].len(), 1600);
        assert!(!foreground.sampled.load(Ordering::Relaxed), "few again");
    }

    #[test]
    fn a_latency_beyond_the_scale_counts_as_the_longest() {
        let foreground = Foreground::default();
        foreground.record(Operation::Read, Duration::from_secs(600));
        let longest = duration(taken(&foreground, Duration::from_secs(1))[0].max());
        assert!(longest >= Duration::from_secs(59), "{longest:?}");
    }
}
