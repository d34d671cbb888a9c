//! The foreground: point reads and updates of one table, which must not notice what goes on beside it.
//!
//! The load is open loop: each operation is due at a moment that was fixed beforehand, and its latency counts from
//! then, whether or not a thread was free. A stall of a second therefore shows in a second's worth of operations,
//! not in one. Nine in ten are reads of a random existing key through a view of its own; the tenth is an
//! update: lock, read, write, synced commit.
//!
//! A part of the table is always missing from the page cache, see [`crate::page_cache`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cairn_engine::{Engine, SpanRef, Sync};
use cairn_tests::Random;

use crate::disk::Io;
use crate::host::{Processors, Watch};
use crate::latency::{Recorded, Track};
use crate::page_cache::PageCache;
use crate::waits::{Delays, Waits};

/// One operation in so many is an update.
const UPDATE_EVERY: u64 = 10;

/// After the end of a window, threads that are behind work off what was due in it for so long. What is
/// left then counts with the time that it has waited.
const BEHIND_MAX: Duration = Duration::from_secs(30);

/// What the foreground works on: rows `0..rows`, keyed by their number, big-endian.
#[derive(Clone)]
pub(super) struct Table {
    pub(super) span: SpanRef,
    pub(super) rows: u64,
    pub(super) value_bytes: usize,
    pub(super) page_cache: PageCache,
}

/// How the load arrives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) threads: usize,
    /// Operations per second of all threads together.
    pub(super) rate: f64,
    /// For which the load runs before it counts.
    pub(super) warmup: Duration,
    /// For which it will run about: memory for so many samples is set aside.
    pub(super) expected: Duration,
    pub(super) seed: u64,
}

/// A load that runs.
pub(super) struct Load {
    threads: Vec<JoinHandle<Result<Track, String>>>,
    dropper: JoinHandle<()>,
    /// Nanoseconds after `start` at which the window ends; the greatest number while it is open.
    end: Arc<AtomicU64>,
    start: Instant,
    counts_from: Instant,
    processors: Processors,
    host: Watch,
}

impl Load {
    /// Starts it.
    pub(super) fn start(engine: &Engine, table: &Table, arrival: Arrival) -> Self {
        let end = Arc::new(AtomicU64::new(u64::MAX));
        let start = Instant::now();
        let worker = |index: usize| {
            let worker = Worker {
                engine: engine.clone(),
                table: table.clone(),
                random: Random::new(arrival.seed ^ ((index as u64) << 32)),
                value: vec![0; table.value_bytes],
            };
            let schedule = Schedule { arrival, index, start, end: Arc::clone(&end) };
            std::thread::spawn(move || schedule.run(worker))
        };
        let threads = (0..arrival.threads).map(worker).collect();
        let dropper = table.page_cache.drop_until(start, Arc::clone(&end));
        let counts_from = start + arrival.warmup;
        let (processors, host) = (Processors::now(), Watch::start(start));
        Self { threads, dropper, end, start, counts_from, processors, host }
    }

    /// When the window begins: operations due from then on count.
    pub(super) fn counts_from(&self) -> Instant {
        self.counts_from
    }

    /// Ends the window and answers for what was due in it.
    ///
    /// # Errors
    /// The first operation that failed.
    pub(super) fn stop(self) -> Result<Recorded, String> {
        let ended = self.start.elapsed();
        self.end.store(nanos(ended), Ordering::Relaxed);
        let stolen = Processors::now().stolen_since(self.processors);
        let mut recorded = Recorded::default();
        recorded.stolen = stolen;
        let warmup = self.counts_from.duration_since(self.start);
        recorded.note_stolen(&self.host.stop()?, ended, warmup);
        for thread in self.threads {
            let track = thread.join().map_err(|_| "a foreground thread panicked".to_owned())??;
            recorded.add(track)?;
        }
        self.dropper.join().map_err(|_| "the page cache thread panicked".to_owned())?;
        recorded.sort();
        Ok(recorded)
    }
}

/// Operations per second of so many threads that never wait: the peak. It is measured for `length` after
/// `warmup`, which is [`STEADY`](crate::page_cache::STEADY) where the number matters: with a table that was just made, all of it in the page
/// cache, a machine does half as much again, and half of that would be too much for it later.
///
/// # Errors
/// An operation that failed.
pub(super) fn peak(
    engine: &Engine,
    table: &Table,
    threads: usize,
    (warmup, length): (Duration, Duration),
    seed: u64,
) -> Result<f64, String> {
    let end = Arc::new(AtomicU64::new(nanos(warmup + length)));
    let start = Instant::now();
    let dropper = table.page_cache.drop_until(start, Arc::clone(&end));
    let run = |index: usize| {
        let mut worker = Worker {
            engine: engine.clone(),
            table: table.clone(),
            random: Random::new(seed ^ ((index as u64) << 32)),
            value: vec![0; table.value_bytes],
        };
        std::thread::spawn(move || -> Result<u64, String> {
            let mut operations = 0;
            loop {
                let elapsed = start.elapsed();
                if elapsed >= warmup + length {
                    return Ok(operations);
                }
                worker.operate()?;
                operations += u64::from(elapsed >= warmup);
            }
        })
    };
    let running: Vec<_> = (0..threads).map(run).collect();
    let mut operations = 0;
    for thread in running {
        operations += thread.join().map_err(|_| "a foreground thread panicked".to_owned())??;
    }
    let seconds = (start.elapsed() - warmup).as_secs_f64();
    dropper.join().map_err(|_| "the page cache thread panicked".to_owned())?;
    Ok(operations as f64 / seconds)
}

/// When one thread's operations are due.
struct Schedule {
    arrival: Arrival,
    index: usize,
    start: Instant,
    end: Arc<AtomicU64>,
}

impl Schedule {
    /// When the thread's operation of this number is due, from the start.
    fn due(&self, number: u64) -> Duration {
        let place = number as f64 * self.arrival.threads as f64 + self.index as f64;
        Duration::from_secs_f64(place / self.arrival.rate)
    }

    fn run(self, mut worker: Worker) -> Result<Track, String> {
        let share = self.arrival.rate / self.arrival.threads as f64;
        let mut track = Track::with_capacity(share * self.arrival.expected.as_secs_f64())?;
        let warmup = self.arrival.warmup;
        let (delays, mut waits) = (Delays::of_thread(), Waits::default());
        let mut io_before = None;
        for number in 0.. {
            let due = self.due(number);
            if nanos(due) >= self.end.load(Ordering::Relaxed) {
                break;
            }
            let ahead = due.saturating_sub(self.start.elapsed());
            if !ahead.is_zero() {
                std::thread::sleep(ahead);
            }
            let (began, delayed) = (self.start.elapsed(), delays.total());
            let late = began.saturating_sub(due);
            let before =
                if ahead.is_zero() { waits.inherited(late) } else { Waits::of_waking(late) };
            // Also of what was due before and is late: the process' counts begin then, too.
            if began >= warmup && io_before.is_none() {
                io_before = Some(Io::of_thread());
            }
            let is_update = !self.is_given_up() && worker.operate()?;
            let took = self.start.elapsed().saturating_sub(began);
            let delayed = delays.total().saturating_sub(delayed);
            waits = before.plus(Waits::of_operation(is_update, took, delayed));
            if let Some(due_in_window) = due.checked_sub(warmup) {
                track.record(due_in_window, (began + took).saturating_sub(due), waits);
            }
        }
        track.io = Io::of_thread().since(io_before.unwrap_or_else(Io::of_thread));
        Ok(track)
    }

    /// Whether the window ended so long ago that what was due in it is not worked off any more.
    fn is_given_up(&self) -> bool {
        let end = self.end.load(Ordering::Relaxed);
        end != u64::MAX && nanos(self.start.elapsed()) > end.saturating_add(nanos(BEHIND_MAX))
    }
}

/// One thread's way of working.
struct Worker {
    engine: Engine,
    table: Table,
    random: Random,
    value: Vec<u8>,
}

impl Worker {
    /// Reads or updates a row, and tells whether it was an update.
    fn operate(&mut self) -> Result<bool, String> {
        let key = self.random.below(self.table.rows).to_be_bytes();
        let is_update = self.random.below(UPDATE_EVERY) == 0;
        let found = if is_update {
            self.update(&key)
        } else {
            self.engine.view().get_row(self.table.span, &key).map(|row| row.is_some())
        };
        match found {
            Ok(true) => Ok(is_update),
            Ok(false) => Err(format!("row {} is missing", u64::from_be_bytes(key))),
            Err(error) => Err(error.to_string()),
        }
    }

    fn update(&mut self, key: &[u8; 8]) -> cairn_engine::Result<bool> {
        let mut set = self.engine.write_set();
        set.lock(&[key.to_vec()]);
        let found = set.get(self.table.span, key)?.is_some();
        self.random.fill(&mut self.value);
        set.put(self.table.span, key, &self.value);
        set.commit(Sync::Yes)?;
        Ok(found)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
