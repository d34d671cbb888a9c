//! `cairn.governor`: how fast background work may go now, and why. One row.

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;

use crate::session::Scope;
use crate::views::jobs::{rate, span};
use crate::views::{Rows, VirtualTable, flag, int, maybe_text, schema, text};

/// Its columns.
pub(crate) fn columns() -> SchemaRef {
    schema(&[
        ("rate", DataType::Utf8),
        ("deletion_rate", DataType::Utf8),
        ("compaction_rate", DataType::Utf8),
        ("reason", DataType::Utf8),
        ("foreground_operations", DataType::Float64),
        ("compared", DataType::Utf8),
        ("foreground_ms", DataType::Float64),
        ("baseline_ms", DataType::Float64),
        ("slowdown", DataType::Float64),
        ("background", DataType::Utf8),
        ("level0_files", DataType::Int64),
        ("pending_compaction_bytes", DataType::Int64),
        ("writes_held", DataType::Boolean),
        ("reclaim_first", DataType::Boolean),
        ("rows_refused", DataType::Boolean),
        ("trash_bytes", DataType::Int64),
        ("free_bytes", DataType::Int64),
        ("oldest_reader", DataType::Utf8),
    ])
}

/// `cairn.governor`. `rate` and `compaction_rate` are NULL where there is no limit; `compared` says what of the foreground's latency the
/// next three columns tell, the one that is slowest in view of what is allowed: `read p99`, `synced write mean`.
pub(crate) fn table(scope: &Scope) -> Arc<VirtualTable> {
    let columns = columns();
    let (engine, rows_of) = (scope.db.engine().clone(), Arc::clone(&columns));
    VirtualTable::made(columns, move || {
        let status = engine.governor().status();
        let foreground = status.foreground;
        let mut rows = Rows::new(&rows_of);
        rows.push([
            maybe_text((status.rate > 0).then(|| rate(status.rate as f64))),
            text(rate(status.deletion_rate as f64)),
            maybe_text(status.compaction_rate.map(|bytes| rate(bytes as f64))),
            text(status.reason),
            number(Some(status.operations.round())),
            maybe_text(
                foreground.map(|of| format!("{} {}", of.operation.name(), of.statistic.name())),
            ),
            number(foreground.map(|of| millis(of.latency))),
            number(foreground.map(|of| millis(of.baseline))),
            number(foreground.map(|of| (of.ratio * 100.0).round() / 100.0)),
            text(rate(status.background)),
            int(status.level0_files),
            int(status.pending_compaction_bytes),
            flag(status.writes_held),
            flag(status.reclaim_first),
            flag(status.rows_refused),
            int(status.trash_bytes),
            status.free_bytes.map_or(ScalarValue::Int64(None), int),
            maybe_text(status.oldest_reader.map(span)),
        ]);
        rows.finish()
    })
}

fn number(value: Option<f64>) -> ScalarValue {
    ScalarValue::Float64(value)
}

/// Milliseconds to the microsecond.
fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
