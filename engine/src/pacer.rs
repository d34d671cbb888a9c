//! The thin loop around the calculator of [`crate::governor`]: background work asks for its bytes here,
//! and waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{EngineError, Result};
use crate::governor::{Calculator, Class};

/// The longest time for which a waiting thread does not look at its stop flag and at the rate.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The budget that all background work of an engine shares. Clones share it too.
#[derive(Clone, Debug)]
pub struct Governor(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Bytes per second; 0 for no limit. The calculator takes it over when somebody asks next.
    rate: AtomicU64,
    taken: [AtomicU64; Class::ALL.len()],
    calculator: Mutex<Calculator>,
    start: Instant,
}

impl Governor {
    /// A budget of `bytes_per_second`; 0 for no limit.
    #[must_use]
    pub fn new(bytes_per_second: u64) -> Self {
        Self(Arc::new(Shared {
            rate: AtomicU64::new(bytes_per_second),
            taken: [const { AtomicU64::new(0) }; Class::ALL.len()],
            calculator: Mutex::new(Calculator::new(bytes_per_second)),
            start: Instant::now(),
        }))
    }

    /// Limits all background work together to `bytes_per_second`; 0 for no limit. Who waits now notices
    /// within 50 ms.
    pub fn set_rate_max(&self, bytes_per_second: u64) {
        self.0.rate.store(bytes_per_second, Ordering::Relaxed);
        metrics::gauge!(crate::metrics::BACKGROUND_RATE_BYTES).set(bytes_per_second as f64);
    }

    /// The limit in bytes per second; 0 for none.
    #[must_use]
    pub fn rate_max(&self) -> u64 {
        self.0.rate.load(Ordering::Relaxed)
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
        let mut waited_since = None;
        loop {
            if stop() {
                return Err(EngineError::Stopped);
            }
            let wait = self.try_take(class, bytes);
            if wait.is_zero() {
                break;
            }
            waited_since.get_or_insert_with(Instant::now);
            std::thread::sleep(wait.min(LOOK_EVERY));
        }
        if let Some(taken) = self.0.taken.get(class.index()) {
            taken.fetch_add(bytes, Ordering::Relaxed);
        }
        metrics::counter!(crate::metrics::BACKGROUND_BYTES_TOTAL, "class" => class.name())
            .increment(bytes);
        if let Some(since) = waited_since {
            metrics::histogram!(crate::metrics::BACKGROUND_WAIT_SECONDS, "class" => class.name())
                .record(since.elapsed().as_secs_f64());
        }
        Ok(())
    }

    /// Charges the bytes and answers zero, or says how long to wait before asking again.
    fn try_take(&self, class: Class, bytes: u64) -> Duration {
        let mut calculator = self.0.calculator.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock, or a thread that was held up could bring an old rate back.
        let (rate, now) = (self.rate_max(), self.0.start.elapsed());
        calculator.set_rate(rate, now);
        let wait = calculator.wait(class, now);
        if wait.is_zero() {
            calculator.charge(class, bytes, now);
        }
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: &dyn Fn() -> bool = &|| false;

    #[test]
    fn without_a_limit_nobody_waits() {
        let governor = Governor::new(0);
        for _ in 0..1000 {
            governor.take(Class::Ingest, 1 << 30, NEVER).unwrap();
        }
        assert_eq!(governor.taken(Class::Ingest), 1000 << 30);
        assert_eq!(governor.taken(Class::Reclaim), 0);
    }

    #[test]
    fn a_stop_ends_the_wait_and_takes_nothing() {
        let governor = Governor::new(1);
        governor.take(Class::Sort, 1000, NEVER).unwrap();
        let asked = AtomicU64::new(0);
        let stop = || asked.fetch_add(1, Ordering::Relaxed) == 2;
        let error = governor.take(Class::Sort, 1000, &stop).unwrap_err();
        assert!(matches!(error, EngineError::Stopped), "{error}");
        assert_eq!(governor.taken(Class::Sort), 1000);
    }

    #[test]
    fn a_waiting_thread_notices_a_new_rate() {
        let governor = Governor::new(1);
        governor.take(Class::Sort, 1_000_000, NEVER).unwrap();
        let waiting = governor.clone();
        let thread = std::thread::spawn(move || waiting.take(Class::Sort, 5, NEVER));
        governor.set_rate_max(0);
        thread.join().unwrap().unwrap();
        assert_eq!(governor.taken(Class::Sort), 1_000_005);
        assert_eq!(governor.rate_max(), 0);
    }
}
