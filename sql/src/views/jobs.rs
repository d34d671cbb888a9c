//! Jobs as tables: `SHOW JOBS`, `crdb_internal.jobs`, and `cairn.jobs`.
//!
//! The first two keep CockroachDB's columns, order and texts, among them an `error` of '' where
//! there is none. The third is our own: rate, time left, what is still to be given back, NULL where
//! there is nothing. All are made from the control and progress records alone. Who is not in admin
//! sees the jobs that are his own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cairn_jobs::{JobId, JobView, UnixMillis};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::common::ScalarValue;

use crate::error::Result;
use crate::session::Scope;
use crate::views::{
    Rows, VirtualTable, at_millis, flag, int, maybe_text, schema, text, timestamptz,
};

/// Finished jobs are listed this long.
const LISTED_MILLIS: u64 = 12 * 3600 * 1000;

/// Kinds of jobs that the database starts by itself.
const AUTOMATIC: [&str; 1] = ["AUTO CREATE STATS"];

/// The columns of `SHOW JOBS`.
pub(crate) fn show_schema() -> SchemaRef {
    schema(&[
        ("job_id", DataType::Int64),
        ("job_type", DataType::Utf8),
        ("description", DataType::Utf8),
        ("statement", DataType::Utf8),
        ("user_name", DataType::Utf8),
        ("status", DataType::Utf8),
        ("running_status", DataType::Utf8),
        ("created", timestamptz()),
        ("started", timestamptz()),
        ("finished", timestamptz()),
        ("modified", timestamptz()),
        ("fraction_completed", DataType::Float64),
        ("error", DataType::Utf8),
        ("coordinator_id", DataType::Int64),
    ])
}

/// Which jobs `SHOW JOBS` is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Which {
    /// Those the database did not start by itself, unfinished or finished lately.
    Recent,
    /// Those it did, unfinished or finished lately.
    RecentAutomatic,
    /// These, in this order, however old.
    These(Vec<JobId>),
}

/// The jobs the session's user may see.
pub(crate) async fn visible(scope: &Scope) -> Result<Vec<JobView>> {
    let admin = scope.is_admin();
    let mut jobs = scope.jobs().list().await?;
    jobs.retain(|job| admin || job.user == scope.facts.user);
    Ok(jobs)
}

/// The rows of `SHOW JOBS`.
pub(crate) async fn show(scope: &Scope, which: &Which) -> Result<RecordBatch> {
    let now = scope.jobs().clock().now().raw();
    let jobs = visible(scope).await?;
    let jobs = match which {
        Which::These(ids) => {
            let mut by_id: HashMap<JobId, JobView> =
                jobs.into_iter().map(|job| (job.id, job)).collect();
            ids.iter().filter_map(|id| by_id.remove(id)).collect()
        }
        Which::Recent => listed(jobs, now, false),
        Which::RecentAutomatic => listed(jobs, now, true),
    };
    let mut rows = Rows::new(&show_schema());
    for job in jobs {
        rows.push([
            ScalarValue::Int64(Some(job.id.raw())),
            text(job.kind),
            text(job.description),
            text(job.statement),
            text(job.user),
            text(job.state.as_str()),
            text(job.running_status),
            at_millis(Some(job.created.raw())),
            at_millis(job.started.map(UnixMillis::raw)),
            at_millis(job.finished.map(UnixMillis::raw)),
            at_millis(Some(job.modified.raw())),
            ScalarValue::Float64(Some(job.fraction)),
            text(job.error.map_or_else(String::new, |error| error.message)),
            int(1),
        ]);
    }
    rows.finish()
}

/// Unfinished first, the youngest on top; then finished ones, the latest on top.
fn listed(mut jobs: Vec<JobView>, now: u64, automatic: bool) -> Vec<JobView> {
    jobs.retain(|job| {
        let recent = job.finished.is_none_or(|at| at.raw().saturating_add(LISTED_MILLIS) > now);
        recent && AUTOMATIC.contains(&job.kind.as_str()) == automatic
    });
    jobs.sort_by_key(|job| {
        let ended = job.finished.map_or(u64::MAX, UnixMillis::raw);
        std::cmp::Reverse((ended, job.started.map(UnixMillis::raw), job.id))
    });
    jobs
}

/// `SHOW JOBS` as a table.
pub(crate) fn show_table(scope: &Scope, which: Which) -> Arc<VirtualTable> {
    let scope = scope.clone();
    VirtualTable::new(
        show_schema(),
        Arc::new(move || {
            let (scope, which) = (scope.clone(), which.clone());
            Box::pin(async move { show(&scope, &which).await })
        }),
    )
}

/// `crdb_internal.jobs`: every job that is still recorded.
pub(crate) fn internal_table(scope: &Scope) -> Arc<VirtualTable> {
    let scope = scope.clone();
    let columns = internal_schema();
    let rows_of = Arc::clone(&columns);
    VirtualTable::new(
        columns,
        Arc::new(move || {
            let (scope, columns) = (scope.clone(), Arc::clone(&rows_of));
            Box::pin(async move { internal_rows(&columns, visible(&scope).await?) })
        }),
    )
}

pub(crate) fn internal_schema() -> SchemaRef {
    let ids = DataType::List(Arc::new(Field::new("item", DataType::Int64, true)));
    schema(&[
        ("job_id", DataType::Int64),
        ("job_type", DataType::Utf8),
        ("description", DataType::Utf8),
        ("statement", DataType::Utf8),
        ("user_name", DataType::Utf8),
        ("descriptor_ids", ids),
        ("status", DataType::Utf8),
        ("running_status", DataType::Utf8),
        ("created", timestamptz()),
        ("started", timestamptz()),
        ("finished", timestamptz()),
        ("modified", timestamptz()),
        ("fraction_completed", DataType::Float64),
        ("high_water_timestamp", DataType::Decimal128(38, 10)),
        ("error", DataType::Utf8),
        ("coordinator_id", DataType::Int64),
    ])
}

fn internal_rows(columns: &SchemaRef, jobs: Vec<JobView>) -> Result<RecordBatch> {
    let mut rows = Rows::new(columns);
    for job in jobs {
        let ids: Vec<ScalarValue> = job.subject.into_iter().map(int).collect();
        rows.push([
            ScalarValue::Int64(Some(job.id.raw())),
            text(job.kind),
            text(job.description),
            text(job.statement),
            text(job.user),
            ScalarValue::List(ScalarValue::new_list_nullable(&ids, &DataType::Int64)),
            text(job.state.as_str()),
            text(job.running_status),
            at_millis(Some(job.created.raw())),
            at_millis(job.started.map(UnixMillis::raw)),
            at_millis(job.finished.map(UnixMillis::raw)),
            at_millis(Some(job.modified.raw())),
            ScalarValue::Float64(Some(job.fraction)),
            ScalarValue::Decimal128(None, 38, 10),
            text(job.error.map_or_else(String::new, |error| error.message)),
            int(1),
        ]);
    }
    rows.finish()
}

/// `cairn.jobs`: every job that is still recorded, the youngest on top.
pub(crate) fn cairn_table(scope: &Scope) -> Arc<VirtualTable> {
    let scope = scope.clone();
    let columns = cairn_schema();
    let rows_of = Arc::clone(&columns);
    VirtualTable::new(
        columns,
        Arc::new(move || {
            let (scope, columns) = (scope.clone(), Arc::clone(&rows_of));
            Box::pin(async move {
                let mut jobs = visible(&scope).await?;
                jobs.sort_by_key(|job| std::cmp::Reverse(job.id));
                cairn_rows(&columns, jobs)
            })
        }),
    )
}

pub(crate) fn cairn_schema() -> SchemaRef {
    schema(&[
        ("job_id", DataType::Int64),
        ("kind", DataType::Utf8),
        ("description", DataType::Utf8),
        ("user_name", DataType::Utf8),
        ("status", DataType::Utf8),
        ("phase", DataType::Utf8),
        ("bar", DataType::Utf8),
        ("fraction", DataType::Float64),
        ("rate", DataType::Utf8),
        ("eta", DataType::Utf8),
        ("stalled", DataType::Boolean),
        ("bytes_written", DataType::Int64),
        ("bytes_to_reclaim", DataType::Int64),
        ("attempts", DataType::Int64),
        ("message", DataType::Utf8),
        ("created", timestamptz()),
        ("finished", timestamptz()),
        ("error", DataType::Utf8),
    ])
}

fn cairn_rows(columns: &SchemaRef, jobs: Vec<JobView>) -> Result<RecordBatch> {
    let mut rows = Rows::new(columns);
    for job in jobs {
        rows.push([
            ScalarValue::Int64(Some(job.id.raw())),
            text(job.kind),
            text(job.description),
            text(job.user),
            text(job.state.as_str()),
            maybe_text(Some(job.phase).filter(|phase| !phase.is_empty())),
            text(bar(job.fraction)),
            ScalarValue::Float64(Some(job.fraction)),
            maybe_text((job.rate >= 1.0).then(|| rate(job.rate))),
            maybe_text(job.eta.map(span)),
            flag(job.stalled),
            int(job.bytes),
            int(job.bytes_to_reclaim),
            int(u64::from(job.attempts)),
            maybe_text(Some(job.message).filter(|message| !message.is_empty())),
            at_millis(Some(job.created.raw())),
            at_millis(job.finished.map(UnixMillis::raw)),
            maybe_text(job.error.map(|error| error.message)),
        ]);
    }
    rows.finish()
}

/// Ten cells and a percentage.
fn bar(fraction: f64) -> String {
    let fraction = fraction.clamp(0.0, 1.0);
    // In 0..=10 by the clamp.
    let full = (fraction * 10.0) as usize;
    format!("{}{} {:>3.0}%", "█".repeat(full), "░".repeat(10 - full), (fraction * 100.0).floor())
}

/// Bytes per second, for people.
pub(crate) fn rate(bytes_per_second: f64) -> String {
    let mut rate = bytes_per_second.max(0.0);
    for unit in ["B/s", "kB/s", "MB/s"] {
        if rate < 1000.0 {
            return format!("{rate:.0} {unit}");
        }
        rate /= 1000.0;
    }
    format!("{rate:.1} GB/s")
}

/// A time span, for people: two units at most.
pub(crate) fn span(time: Duration) -> String {
    let seconds = time.as_secs_f64().ceil() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (hours, minutes, _) => format!("{hours}h {minutes}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_reads_well_in_a_terminal() {
        assert_eq!(bar(0.0), "░░░░░░░░░░   0%");
        assert_eq!(bar(0.62), "██████░░░░  62%");
        assert_eq!(bar(1.0), "██████████ 100%");
        assert_eq!(rate(12_345_678.0), "12 MB/s");
        assert_eq!(span(Duration::from_secs(80)), "1m 20s");
        assert_eq!(span(Duration::from_secs(7260)), "2h 1m");
    }
}
