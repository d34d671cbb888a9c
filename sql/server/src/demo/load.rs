//! The foreground load: point reads and updates of `orders`, arriving at a fixed rate whether or not the server keeps
//! up, each latency counted from the moment the operation was due. A server that stalls for a second therefore shows
//! a second in the maximum and in a whole second's worth of operations, not in one.

use crate::client::{connect, describe};
use hdrhistogram::Histogram;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

/// Operations per second.
pub(super) const RATE: u64 = 200;
/// One operation in so many is an update.
pub(super) const UPDATE_EVERY: u64 = 5;
/// Connections that work the operations off.
const CONNECTIONS: usize = 16;
/// Operations that may wait; beyond it the server is more than a minute behind and the demo has failed anyway.
const WAITING_MAX: usize = 16_384;

/// Ten minutes; what takes longer counts as that.
const LATENCY_MAX_MICROS: u64 = 600_000_000;

const READ: &str =
    "SELECT o_totalprice, o_orderstatus, o_orderdate FROM orders WHERE o_orderkey = $1";
const UPDATE: &str = "UPDATE orders SET o_shippriority = o_shippriority + 1 WHERE o_orderkey = $1";

/// What else goes on while an operation is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing yet; not measured, while caches and connections warm up.
    Warmup = 0,
    /// Nothing.
    Before = 1,
    /// The import runs.
    Import = 2,
    /// The import was cancelled and its bytes are given back.
    Cleanup = 3,
}

/// Latencies of one phase.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Latency {
    pub(super) operations: u64,
    pub(super) p50: Duration,
    pub(super) p99: Duration,
    pub(super) max: Duration,
}

/// What the load did.
pub(super) struct Summary {
    /// By phase.
    pub(super) latencies: [Latency; 4],
    /// Updates the server acknowledged.
    pub(super) updates: u64,
    /// Operations that failed, or touched another number of rows than one, and the first reason.
    pub(super) failures: u64,
    pub(super) first_failure: Option<String>,
}

/// A load that runs.
pub(super) struct Load {
    shared: Arc<Shared>,
    stop: CancellationToken,
    workers: JoinSet<()>,
}

struct Shared {
    keys: Vec<i64>,
    phase: AtomicUsize,
    // One lock per phase, held to record one latency in microseconds.
    latencies: [Mutex<Histogram<u64>>; 4],
    updates: AtomicU64,
    failures: AtomicU64,
    first_failure: Mutex<Option<String>>,
}

/// One operation and when it is due.
struct Operation {
    number: u64,
    due: Instant,
    phase: usize,
}

impl Load {
    /// Starts a load over the rows with these keys, in [`Phase::Warmup`].
    ///
    /// # Errors
    /// When a connection fails.
    pub(super) async fn start(url: &str, keys: Vec<i64>) -> Result<Load, String> {
        let histogram = || {
            let histogram = Histogram::new_with_bounds(1, LATENCY_MAX_MICROS, 3);
            histogram.map(Mutex::new).map_err(|error| error.to_string())
        };
        let shared = Arc::new(Shared {
            keys,
            phase: AtomicUsize::new(Phase::Warmup as usize),
            latencies: [histogram()?, histogram()?, histogram()?, histogram()?],
            updates: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            first_failure: Mutex::default(),
        });
        let stop = CancellationToken::new();
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let receiver = Arc::new(tokio::sync::Mutex::new(receiver));
        let mut workers = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let client = connect(url, |_| ()).await.map_err(|error| describe(&error))?;
            workers.spawn(work(client, Arc::clone(&shared), Arc::clone(&receiver)));
        }
        // A thread of its own: the runtime's timers are only as fine as a millisecond.
        let (clock, ended) = (Arc::clone(&shared), stop.clone());
        std::thread::spawn(move || arrive(&clock, &sender, &ended));
        Ok(Load { shared, stop, workers })
    }

    /// Counts the operations due from now on to another phase.
    pub(super) fn enter(&self, phase: Phase) {
        self.shared.phase.store(phase as usize, Ordering::Relaxed);
    }

    /// Ends the load once what is due has been answered.
    pub(super) async fn stop(mut self) -> Summary {
        self.stop.cancel();
        while self.workers.join_next().await.is_some() {}
        let shared = &self.shared;
        let latencies = std::array::from_fn(|phase| {
            shared.latencies.get(phase).map(summarized).unwrap_or_default()
        });
        Summary {
            latencies,
            updates: shared.updates.load(Ordering::Relaxed),
            failures: shared.failures.load(Ordering::Relaxed),
            first_failure: shared
                .first_failure
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        }
    }
}

/// Sends an operation each time one is due; ends by closing the channel.
fn arrive(shared: &Shared, sender: &mpsc::Sender<Operation>, stop: &CancellationToken) {
    let start = Instant::now();
    for number in 0.. {
        let due = start + Duration::from_nanos(number * 1_000_000_000 / RATE);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if stop.is_cancelled() {
            return;
        }
        let phase = shared.phase.load(Ordering::Relaxed);
        if sender.try_send(Operation { number, due, phase }).is_err() {
            shared.fail("the server is too far behind: an operation was dropped".to_owned());
        }
    }
}

/// Works operations off, one after the other, on one connection.
async fn work(
    client: Client,
    shared: Arc<Shared>,
    operations: Arc<tokio::sync::Mutex<mpsc::Receiver<Operation>>>,
) {
    let (read, update) = match (client.prepare(READ).await, client.prepare(UPDATE).await) {
        (Ok(read), Ok(update)) => (read, update),
        (Err(error), _) | (_, Err(error)) => return shared.fail(describe(&error)),
    };
    loop {
        let operation = operations.lock().await.recv().await;
        let Some(operation) = operation else { return };
        let Some(key) = shared.key(operation.number) else { return };
        let is_update = operation.number % UPDATE_EVERY == 0;
        let touched = if is_update {
            client.execute(&update, &[&key]).await
        } else {
            client.query(&read, &[&key]).await.map(|rows| rows.len() as u64)
        };
        let latency = operation.due.elapsed();
        match touched {
            Ok(1) => {
                if is_update {
                    shared.updates.fetch_add(1, Ordering::Relaxed);
                }
                shared.record(operation.phase, latency);
            }
            Ok(count) => shared.fail(format!("key {key}: {count} rows instead of 1")),
            Err(error) => {
                shared.fail(describe(&error));
                if client.is_closed() {
                    return;
                }
            }
        }
    }
}

impl Shared {
    /// The key of an operation: spread over the table by a multiplicative hash, the same in every run.
    fn key(&self, number: u64) -> Option<i64> {
        let mixed = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
        let index = mixed.checked_rem(self.keys.len() as u64)?;
        self.keys.get(usize::try_from(index).ok()?).copied()
    }

    fn record(&self, phase: usize, latency: Duration) {
        if let Some(histogram) = self.latencies.get(phase) {
            let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
            let mut histogram = histogram.lock().unwrap_or_else(PoisonError::into_inner);
            // `record` resizes for a value beyond its range; `saturating_record` would cut it off.
            let recorded = histogram.record(micros);
            debug_assert!(recorded.is_ok(), "a histogram that resizes takes every value");
        }
    }

    fn fail(&self, reason: String) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.first_failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
    }
}

fn summarized(histogram: &Mutex<Histogram<u64>>) -> Latency {
    let histogram = histogram.lock().unwrap_or_else(PoisonError::into_inner);
    Latency {
        operations: histogram.len(),
        p50: Duration::from_micros(histogram.value_at_quantile(0.5)),
        p99: Duration::from_micros(histogram.value_at_quantile(0.99)),
        max: Duration::from_micros(histogram.max()),
    }
}
