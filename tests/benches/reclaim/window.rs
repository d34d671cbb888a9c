//! A window: the foreground for a while, alone or beside an undo, with everything that is measured in it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::disk::{Io, folder_blocks};
use crate::foreground::{Arrival, Load};
use crate::governed;
use crate::latency::{Course, Latency, Recorded};
use crate::store::Store;
use crate::strategy::{Doomed, Strategy};

/// How often the folder of the store and RocksDB's own throttle are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The governor decides that much more rarely.
const LOOKS_PER_DECISION: u64 = 5;

/// How often the doomed files are looked at.
pub(super) const BACK_EVERY: Duration = Duration::from_millis(5);

/// How often an undo is helped that has not ended with its window.
const HELP_EVERY: Duration = Duration::from_millis(200);

/// What happened in a window.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    pub(super) seconds: f64,
    pub(super) latency: Latency,
    /// In moments in which the host took nothing.
    pub(super) calm: Latency,
    pub(super) course: Course,
    /// Of everything but the foreground's own threads.
    pub(super) io: Io,
    /// Looks at which RocksDB held writers up, of all looks.
    pub(super) stalled_looks: u64,
    pub(super) looks: u64,
    /// The most that the store grew above its size at the beginning.
    pub(super) extra_bytes: u64,
    /// Seconds until nobody could see the job's data.
    pub(super) gone_seconds: Option<f64>,
    /// Seconds until the disk was back; `None` if the window ended before.
    pub(super) back_seconds: Option<f64>,
    /// What the governor said at the end.
    pub(super) governor: Value,
    /// What the governor decided, ten times a second.
    pub(super) decisions: Vec<Value>,
}

impl Window {
    pub(super) fn to_json(&self) -> Value {
        json!({
            "seconds": self.seconds,
            "latency": self.latency.to_json(),
            "in_calm_moments": {
                "operations": self.calm.operations,
                "p50_ms": self.calm.p50_ms,
                "p99_ms": self.calm.p99_ms,
                "p99.9_ms": self.calm.p999_ms,
                "max_ms": self.calm.max_ms,
            },
            "read_bytes": self.io.read,
            "read_from_disk_bytes": self.io.read_from_disk,
            "written_bytes": self.io.written,
            "stalled_looks": self.stalled_looks,
            "looks": self.looks,
            "extra_bytes": self.extra_bytes,
            "gone_seconds": self.gone_seconds,
            "disk_back_seconds": self.back_seconds,
            "governor": self.governor,
            "p99_ms_of_each_100_ms": self.course.p99,
            "decisions": self.decisions,
        })
    }
}

/// How long a window with an undo is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Length {
    pub(super) min: Duration,
    pub(super) max: Duration,
}

/// The foreground alone.
///
/// # Errors
/// An operation of the foreground that failed.
pub(super) fn idle(store: &Store, arrival: Arrival, length: Duration) -> Result<Window, String> {
    let (window, _) = measure(store, arrival, |_| {
        std::thread::sleep(length);
        Ok(Undone::default())
    })?;
    Ok(window)
}

/// The foreground beside an undo: until the disk is back, within the bounds of `length`. Returns when the
/// undo has, which may be later. An undo that does not come to its end by itself is helped after the window.
///
/// # Errors
/// An operation of the foreground, or the undo, that failed.
pub(super) fn undo(
    store: &Store,
    arrival: Arrival,
    length: Length,
    strategy: Strategy,
    doomed: &Doomed,
) -> Result<Window, String> {
    std::thread::scope(|scope| {
        let mut undoing = None;
        let window = measure(store, arrival, |began| {
            let gone = std::sync::Arc::new(Mutex::new(None));
            let noted = std::sync::Arc::clone(&gone);
            let thread = undoing.insert(scope.spawn(move || {
                strategy.undo(store, doomed, &|| {
                    *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(began.elapsed());
                })
            }));
            let mut back = None;
            loop {
                std::thread::sleep(BACK_EVERY);
                let now = began.elapsed();
                if back.is_none() && strategy.is_back(doomed, thread.is_finished()) {
                    back = Some(now);
                }
                let is_over = back.is_some() || strategy == Strategy::Nothing;
                if now >= length.max || (is_over && now >= length.min) {
                    break;
                }
            }
            let gone = *gone.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(Undone { gone, back })
        });
        if let Some(thread) = undoing {
            while !thread.is_finished() {
                store.purge()?;
                std::thread::sleep(HELP_EVERY);
            }
            thread.join().map_err(|_| "the undo panicked".to_owned())??;
        }
        window.map(|(window, _)| window)
    })
}

/// When something was undone, from the beginning of the window.
#[derive(Default)]
pub(super) struct Undone {
    pub(super) gone: Option<Duration>,
    pub(super) back: Option<Duration>,
}

/// Runs `what` beside the foreground and the looks. It is called when the window begins, and ends it. Answers each operation, too.
///
/// # Errors
/// An operation of the foreground, or `what`, that failed.
pub(super) fn measure(
    store: &Store,
    arrival: Arrival,
    what: impl FnOnce(Instant) -> Result<Undone, String>,
) -> Result<(Window, Recorded), String> {
    let load = Load::start(&store.engine, &store.table, arrival);
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        std::thread::sleep(load.counts_from().saturating_duration_since(Instant::now()));
        let before = Io::of_process();
        // What is due counts from then, too.
        let began = load.counts_from();
        let looks = scope.spawn(|| look(store, &ended));
        let undone = what(began);
        let seconds = began.elapsed().as_secs_f64();
        ended.store(true, Ordering::Relaxed);
        let recorded = load.stop()?;
        let io = Io::of_process().since(before).since(recorded.io);
        let looks = looks.join().map_err(|_| "the looking thread panicked".to_owned())?;
        let undone = undone?;
        let window = Window {
            seconds,
            latency: recorded.latency(),
            calm: recorded.calm(),
            course: recorded.course(),
            io,
            stalled_looks: looks.stalled,
            looks: looks.all,
            extra_bytes: looks.extra_bytes,
            gone_seconds: undone.gone.map(|gone| gone.as_secs_f64()),
            back_seconds: undone.back.map(|back| back.as_secs_f64()),
            governor: governed::status(&store.engine),
            decisions: looks.decisions,
        };
        Ok((window, recorded))
    })
}

#[derive(Default)]
struct Looks {
    all: u64,
    stalled: u64,
    extra_bytes: u64,
    decisions: Vec<Value>,
}

fn look(store: &Store, ended: &AtomicBool) -> Looks {
    let blocks = |folder: &Path| folder_blocks(folder);
    let (at_start, began) = (blocks(&store.path), Instant::now());
    let mut looks = Looks::default();
    while !ended.load(Ordering::Relaxed) {
        std::thread::sleep(LOOK_EVERY);
        if looks.all.is_multiple_of(LOOKS_PER_DECISION) {
            looks.decisions.push(governed::decision(&store.engine, began.elapsed()));
        }
        looks.all += 1;
        looks.stalled += u64::from(store.is_stalled());
        looks.extra_bytes = looks.extra_bytes.max(blocks(&store.path).saturating_sub(at_start));
    }
    looks
}
