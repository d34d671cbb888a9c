//! Everything that the benchmark asks of the governor, in one place.

use std::time::Duration;

use cairn_engine::Engine;
use cairn_jobs::Jobs;
use serde_json::{Value, json};

/// The setting of the feedback, and the value at which it is off.
const TARGET: &str = "background.latency.target";
const NO_TARGET: &str = "100";

/// Lets imports run as fast as they can, whatever the foreground feels, or lets the governor decide again.
/// By the setting, because the jobs set the limits of the governor whenever a setting changes.
///
/// # Errors
/// The setting cannot be written.
pub(super) fn set_feedback(jobs: &Jobs, on: bool) -> Result<(), String> {
    let settings = jobs.settings();
    let set = if on { settings.reset(TARGET) } else { settings.set(TARGET, NO_TARGET) };
    set.map_err(|error| error.to_string())
}

/// What the governor allows now, and why.
pub(super) fn status(engine: &Engine) -> Value {
    let status = engine.governor().status();
    json!({
        "rate": status.rate,
        "deletion_rate": status.deletion_rate,
        "reason": status.reason,
        "foreground_ratio": status.foreground.map(|comparison| comparison.ratio),
    })
}

/// What was decided, as of so long after the beginning of a window: seconds, bytes per second of deletion, bytes
/// still to be freed, operations of the foreground per second, the reason.
pub(super) fn decision(engine: &Engine, at: Duration) -> Value {
    let status = engine.governor().status();
    let seconds = at.as_secs_f64();
    json!([seconds, status.deletion_rate, status.trash_bytes, status.operations, status.reason])
}
