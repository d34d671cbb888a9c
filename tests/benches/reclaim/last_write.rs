//! When a cancelled job could write for the last time, as the job system itself measures it: the time from
//! the cancel until the fence was closed and every write that had passed it was over.
//!
//! It is a metric of Cairn, so this is a recorder that keeps the latest value of that one and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cairn_engine::metrics::CANCEL_LAST_WRITE_SECONDS;
use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

/// Stands for no value.
const NONE: u64 = u64::MAX;

/// The latest value, in microseconds.
#[derive(Clone)]
pub(super) struct LastWrite(Arc<Latest>);

struct Latest(AtomicU64);

impl LastWrite {
    /// Listens from now on.
    ///
    /// # Errors
    /// Somebody listens already.
    pub(super) fn install() -> Result<Self, String> {
        let latest = Self(Arc::new(Latest(AtomicU64::new(NONE))));
        metrics::set_global_recorder(latest.clone()).map_err(|error| error.to_string())?;
        Ok(latest)
    }

    /// The latest value in milliseconds, once.
    pub(super) fn take_ms(&self) -> Option<f64> {
        let micros = self.0.0.swap(NONE, Ordering::Relaxed);
        (micros != NONE).then_some(micros as f64 / 1000.0)
    }
}

impl HistogramFn for Latest {
    fn record(&self, seconds: f64) {
        self.0.store((seconds * 1e6) as u64, Ordering::Relaxed);
    }
}

impl Recorder for LastWrite {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        if key.name() == CANCEL_LAST_WRITE_SECONDS {
            return Histogram::from_arc(Arc::clone(&self.0));
        }
        Histogram::noop()
    }
}
