//! Gauges that count by existing. The names of all metrics are in `cairn_engine::metrics`.

use cairn_engine::metrics::{JOBS_RUNNING, JOBS_WAITING};

/// Counts as one for as long as it lives.
#[derive(Debug)]
pub(crate) struct Gauge(&'static str);

impl Gauge {
    /// A job that waits for a slot or for its next attempt.
    pub(crate) fn waiting() -> Self {
        Self::of(JOBS_WAITING)
    }

    /// A job that has a worker.
    pub(crate) fn running() -> Self {
        Self::of(JOBS_RUNNING)
    }

    fn of(name: &'static str) -> Self {
        metrics::gauge!(name).increment(1.0);
        Self(name)
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        metrics::gauge!(self.0).decrement(1.0);
    }
}
