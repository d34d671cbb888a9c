//! `cairn.tombstones`: what is condemned and not yet given back.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;

use crate::session::Scope;
use crate::views::jobs::{rate, span};
use crate::views::{
    Rows, VirtualTable, at_millis, flag, int, maybe_text, schema, text, timestamptz,
};

/// Its columns.
pub(crate) fn columns() -> SchemaRef {
    schema(&[
        ("tombstone_id", DataType::Int64),
        ("job_id", DataType::Int64),
        ("span_id", DataType::Int64),
        ("reason", DataType::Utf8),
        ("phase", DataType::Utf8),
        ("condemned_at", timestamptz()),
        ("bytes", DataType::Int64),
        ("bytes_left", DataType::Int64),
        ("rate", DataType::Utf8),
        ("eta", DataType::Utf8),
        ("waiting_for", DataType::Utf8),
        ("bytes_freed", DataType::Int64),
        ("bytes_held", DataType::Int64),
        ("passes", DataType::Int64),
        ("stalled", DataType::Boolean),
    ])
}

/// `cairn.tombstones`.
pub(crate) fn table(scope: &Scope) -> Arc<VirtualTable> {
    let columns = columns();
    let (engine, rows_of) = (scope.db.engine().clone(), Arc::clone(&columns));
    VirtualTable::made(columns, move || {
        let mut rows = Rows::new(&rows_of);
        for status in engine.reclaimer().status() {
            let (eta, freed) = (status.eta(), status.bytes_freed());
            let tombstone = status.tombstone;
            let owner = tombstone.owner.raw();
            let span_id = tombstone.span().map(|span| span.id.raw());
            rows.push([
                int(tombstone.id.raw()),
                // 0 is nobody: DROP and TRUNCATE condemn without a job.
                if owner == 0 { ScalarValue::Int64(None) } else { int(owner) },
                span_id.map_or(ScalarValue::Int64(None), int),
                text(tombstone.reason),
                text(status.phase),
                at_millis(Some(tombstone.condemned_at_ms)),
                int(status.bytes),
                int(status.bytes_left),
                maybe_text((status.rate >= 1.0).then(|| rate(status.rate))),
                maybe_text(eta.map(span)),
                maybe_text(status.waiting_for),
                int(freed),
                int(status.bytes_held),
                int(status.passes),
                flag(status.stalled),
            ]);
        }
        rows.finish()
    })
}
