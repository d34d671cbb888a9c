//! The host of a virtual machine, which gives the machine's processors to others when it likes.
//!
//! A window in which it took many of them tells about the host. Such windows are measured again, whatever
//! was found in them, idle ones like others: what was taken is looked at, and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The part of the processors' time that may be taken in a window.
const STOLEN_MAX: f64 = 0.05;

/// How often the host is looked at while a foreground runs.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Time of the processors, as the kernel counts it since it began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Processors {
    all: u64,
    /// That the machine's own host gave to somebody else.
    stolen: u64,
}

impl Processors {
    /// Until now. Zero where the kernel does not count.
    pub(super) fn now() -> Self {
        let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        // user nice system idle iowait irq softirq steal; what follows is in these already.
        let ticks: Vec<u64> =
            line.split_whitespace().skip(1).take(8).flat_map(str::parse).collect();
        Self { all: ticks.iter().sum(), stolen: ticks.get(7).copied().unwrap_or(0) }
    }

    /// The part of the time since then that was stolen.
    pub(super) fn stolen_since(self, earlier: Self) -> f64 {
        let all = self.all.saturating_sub(earlier.all);
        self.stolen.saturating_sub(earlier.stolen) as f64 / all.max(1) as f64
    }
}

/// Looks at when the host takes something.
pub(super) struct Watch {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Duration>>,
}

impl Watch {
    /// Begins to look; moments count from `start`.
    pub(super) fn start(start: Instant) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let watched = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            let (mut moments, mut before) = (Vec::new(), Processors::now());
            while !watched.load(Ordering::Relaxed) {
                std::thread::sleep(LOOK_EVERY);
                let now = Processors::now();
                if now.stolen > before.stolen {
                    moments.push(start.elapsed());
                }
                before = now;
            }
            moments
        });
        Self { ended, thread }
    }

    /// The looks that found that something had been taken since the look before, in order.
    ///
    /// # Errors
    /// The thread panicked.
    pub(super) fn stop(self) -> Result<Vec<Duration>, String> {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the thread that watches the host panicked".to_owned())
    }
}

/// Decides what is measured again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retries {
    left: usize,
}

impl Retries {
    /// For so many measurements, each of which may be made again so often on the average.
    pub(super) fn new(measurements: usize, again: usize) -> Self {
        Self { left: measurements * again }
    }

    /// Whether a measurement counts, in whose windows such parts of the processors' time were taken. When
    /// too many were set aside each counts, or a busy host would keep the benchmark going for ever.
    pub(super) fn accepts(&mut self, stolen: impl IntoIterator<Item = f64>) -> bool {
        if self.left == 0 || stolen.into_iter().all(|part| part <= STOLEN_MAX) {
            return true;
        }
        self.left -= 1;
        false
    }
}

/// Why something was set aside.
pub(super) fn reason() -> String {
    format!("the host took more than {:.0} % of the processors", STOLEN_MAX * 100.0)
}
