//! The list of metrics: the one place where their names are written.
//!
//! Values go through the `metrics` facade, so an embedder that installs no recorder pays almost
//! nothing. Names end in their unit (`_bytes`, `_seconds`), counters in `_total`. The labels of a metric
//! are part of its description.

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetricKind {
    /// Only grows while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution of values.
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// The name, unit last.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: MetricKind,
    /// One sentence for people, with the labels.
    pub description: &'static str,
}

macro_rules! list_of_metrics {
    ($($constant:ident = $name:literal, $kind:ident, $description:literal;)*) => {
        $(#[doc = $description] pub const $constant: &str = $name;)*

        const LIST: &[Metric] = &[
            $(Metric { name: $name, kind: MetricKind::$kind, description: $description }),*
        ];
    };
}

list_of_metrics! {
    INGEST_BYTES_TOTAL = "cairn_ingest_bytes_total", Counter,
        "Bytes of files that were ingested into spans.";
    INGEST_SECONDS = "cairn_ingest_seconds", Histogram,
        "Time of one ingest call, during which all writers may wait.";
    RECLAIM_BYTES_TOTAL = "cairn_reclaim_bytes_total", Counter,
        "Bytes that reclaim gave back.";
    RECLAIM_LEFT_BYTES = "cairn_reclaim_left_bytes", Gauge,
        "Bytes of condemned spans and folders that are still on disk.";
    RECLAIM_HELD_BYTES = "cairn_reclaim_held_bytes", Gauge,
        "Bytes of condemned spans that a reader, a snapshot or a checkpoint keeps on disk.";
    RECLAIM_RATE_BYTES = "cairn_reclaim_rate_bytes", Gauge,
        "Bytes per second that reclaim gives back, averaged over some moments.";
    RECLAIM_PASSES_TOTAL = "cairn_reclaim_passes_total", Counter,
        "Times that files of a tombstone were dropped: one for each in the usual case.";
    RECLAIM_STALLS_TOTAL = "cairn_reclaim_stalls_total", Counter,
        "Times that a tombstone made no progress for 30 s; the log names the cause.";
    TOMBSTONES = "cairn_tombstones", Gauge,
        "Tombstones that are not worked off.";
    BACKGROUND_BYTES_TOTAL = "cairn_background_bytes_total", Counter,
        "Bytes taken from the background budget, by class.";
    BACKGROUND_WAIT_SECONDS = "cairn_background_wait_seconds", Histogram,
        "Time that background work waited for its budget, if it had to, by class.";
    BACKGROUND_RATE_BYTES = "cairn_background_rate_bytes", Gauge,
        "Bytes per second that background work may take now; 0 for no limit.";
    DELETION_RATE_BYTES = "cairn_deletion_rate_bytes", Gauge,
        "Bytes per second at which dropped files are freed now.";
    COMPACTION_RATE_BYTES = "cairn_compaction_rate_bytes", Gauge,
        "Bytes per second at which RocksDB flushes and compacts by itself now; 0 for no limit.";
    OLDEST_READER_AGE = "cairn_oldest_reader_age", Gauge,
        "Age in seconds of the oldest view, snapshot or checkpoint that keeps files from going; 0 for none.";
    WRITE_BUFFER_BYTES = "cairn_write_buffer_bytes", Gauge,
        "Memory of writes that are not in sorted files yet.";
    BLOCK_CACHE_BYTES = "cairn_block_cache_bytes", Gauge,
        "Memory of cached blocks, indexes and filters.";
    TABLE_READER_BYTES = "cairn_table_reader_bytes", Gauge,
        "Memory that open sorted files need outside of the block cache.";
    FOREGROUND_SLOWDOWN_RATIO = "cairn_foreground_slowdown_ratio", Gauge,
        "The p99 of the foreground operations of the last second over the one they have while background work rests.";
    ROWS_REFUSED = "cairn_rows_refused", Gauge,
        "1 while the disk is nearly full and only what makes room is taken.";
    BLOCKING_WAIT_SECONDS = "cairn_blocking_wait_seconds", Histogram,
        "Time that blocking work waited for a thread, by op.";
    BLOCKING_RUN_SECONDS = "cairn_blocking_run_seconds", Histogram,
        "Time that blocking work ran, by op.";
    BLOCKING_PANICS_TOTAL = "cairn_blocking_panics_total", Counter,
        "Blocking work that panicked, by op.";

    JOBS_RUNNING = "cairn_jobs_running", Gauge,
        "Jobs that have a worker now.";
    JOBS_WAITING = "cairn_jobs_waiting", Gauge,
        "Jobs that wait for a free slot or for their next attempt.";
    JOBS_SUBMITTED_TOTAL = "cairn_jobs_submitted_total", Counter,
        "Jobs that were accepted, by kind.";
    JOBS_FINISHED_TOTAL = "cairn_jobs_finished_total", Counter,
        "Jobs that reached a terminal state, by kind and state.";
    JOB_RETRIES_TOTAL = "cairn_job_retries_total", Counter,
        "Attempts that ended in an error and will be repeated, by kind.";
    CANCEL_REQUEST_SECONDS = "cairn_cancel_request_seconds", Histogram,
        "Time from the call of a cancel until it was durable.";
    CANCEL_LAST_WRITE_SECONDS = "cairn_cancel_last_write_seconds", Histogram,
        "Time from a durable cancel until no write of the job could happen any more.";
    CANCEL_SECONDS = "cairn_cancel_seconds", Histogram,
        "Time from a durable cancel until the job was canceled.";
    PUBLISH_SECONDS = "cairn_publish_seconds", Histogram,
        "Time for which a publishing job kept writers of its table waiting.";

    STATEMENTS_TOTAL = "cairn_statements_total", Counter,
        "Statements that were executed, by outcome (ok, error).";
    STATEMENT_SECONDS = "cairn_statement_seconds", Histogram,
        "Time from the start of a statement until its first answer.";
    CONNECTIONS = "cairn_connections", Gauge,
        "Client connections that are open.";
}

/// Every metric of every crate.
#[must_use]
pub const fn list() -> &'static [Metric] {
    LIST
}

/// Tells the installed recorder what the metrics mean. Call it once, after installing one.
pub fn describe() {
    for metric in LIST {
        match metric.kind {
            MetricKind::Counter => metrics::describe_counter!(metric.name, metric.description),
            MetricKind::Gauge => metrics::describe_gauge!(metric.name, metric.description),
            MetricKind::Histogram => metrics::describe_histogram!(metric.name, metric.description),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_end_in_what_they_count() {
        for (at, metric) in LIST.iter().enumerate() {
            assert!(metric.name.starts_with("cairn_"), "{}", metric.name);
            assert!(LIST.iter().skip(at + 1).all(|other| other.name != metric.name));
            let total = metric.name.ends_with("_total");
            assert_eq!(total, metric.kind == MetricKind::Counter, "{}", metric.name);
            let seconds = metric.name.ends_with("_seconds");
            assert_eq!(seconds, metric.kind == MetricKind::Histogram, "{}", metric.name);
            assert!(metric.description.ends_with('.'), "{}", metric.name);
        }
    }
}
