//! How RocksDB is set up for us: families, buffers, the partitioner, paced deletion.
//!
//! A host that opens its own database applies the same tuning and hands the database to
//! [`crate::Engine::adopt`]. The partitioner and the file manager are fixed when a database is opened, so this
//! is the moment for them.

use std::path::Path;

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompressionType, InfoLogger, LogLevel,
    Options as RocksOptions,
};

use crate::error::Result;
use crate::family::Family;
use crate::ffi::{self, FileManager, RateLimiter};
use crate::governor::{DELETION_UNLIMITED, Steps};
use crate::log::mark::{self, Opened};
use crate::options::Options;

/// Bytes of a MANIFEST after which RocksDB begins a new one with what is still true; a large store's may be six
/// times what is true (its `max_manifest_space_amp_pct`), so this is only for small ones.
const MANIFEST_BYTES: usize = 256 << 10;

/// Bytes of records in memory, for each kind, before they are written to a sorted file.
const RECORD_BUFFER_BYTES: usize = 1 << 20;

/// Bytes of anything in memory in a small store.
const SMALL_BUFFER_BYTES: usize = 64 << 10;

/// Bytes of rows in memory before they are written to a sorted file.
const ROWS_BUFFER_BYTES: usize = 64 << 20;

/// Buffers that a family of rows may have before writers wait: while somebody works a flush may take its time (see [`crate::upkeep`]), and
/// does not any more when two wait.
const ROWS_BUFFERS_MAX: i32 = 4;

/// How old a sorted file is, in seconds, before RocksDB rewrites it only because the snapshots have closed that its rows were kept for. Of a job that
/// writes row by row every file becomes one of those (RocksDB moves them down as they are), and whenever a statement ended, some would
/// be rewritten at full speed, the foreground beside it or not, and whether the job is then cancelled or not. What reclaim compacts
/// does not wait for that.
const REWRITE_AFTER_SECONDS: u32 = 3600;

/// Bytes of RocksDB's own log after which it begins a new one; four are kept.
const LOG_BYTES: usize = 8 << 20;

/// RocksDB options for one store, the file manager that paces its deletions, and the limiter of its flushes and compactions.
pub struct Tuning {
    options: Options,
    /// Copied, because each new one makes a block cache that nobody uses.
    defaults: RocksOptions,
    cache: Cache,
    file_manager: FileManager,
    limiter: RateLimiter,
    limited: std::sync::atomic::AtomicBool,
    applied: std::sync::atomic::AtomicBool,
}

impl std::fmt::Debug for Tuning {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Tuning").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Tuning {
    /// The tuning for a store with these options.
    ///
    /// # Errors
    /// RocksDB could not make a file manager or a rate limiter.
    pub fn new(options: &Options) -> Result<Self> {
        let chunk_bytes = if options.small { 64 << 10 } else { Steps::Alone.bytes() };
        let file_manager = FileManager::new(chunk_bytes)?;
        // Until the governor looks for the first time.
        let rate = if options.reclaim_paused { 0 } else { DELETION_UNLIMITED };
        file_manager.set_pace(rate, chunk_bytes, Steps::Alone.rest());
        let cache_bytes = usize::try_from(options.block_cache_bytes).unwrap_or(usize::MAX);
        let cache = Cache::new_lru_cache(cache_bytes);
        Ok(Self {
            options: options.clone(),
            defaults: RocksOptions::default(),
            cache,
            file_manager,
            limiter: RateLimiter::new()?,
            limited: false.into(),
            applied: false.into(),
        })
    }

    /// What must be set on the options of every database that we work in: readers do not unlink files
    /// themselves, deletions go through our file manager, and after a failed write of the MANIFEST no sorted
    /// file goes before the database is opened again. The last is done by an environment of ours: options
    /// that have another one keep it and go without, and so does a database whose sorted files are not in its own
    /// folder (`db_paths`, `cf_paths`).
    pub fn apply(&self, db: &mut RocksOptions) {
        // A reader that drops the last iterator over a dropped file would otherwise unlink it itself.
        db.set_avoid_unnecessary_blocking_io(true);
        self.file_manager.attach(db);
        if !ffi::keep_files_in_doubt(db) {
            tracing::warn!(
                "the database has an environment of its own: an ingest that fails because of the MANIFEST may leave it damaged"
            );
        }
        #[cfg(test)]
        if let Some(disk) = self.options.database_disk {
            disk.attach(db);
        }
        self.applied.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    /// Whether the log of a database that is not open can be read up to where it was synced, as far as the mark in the
    /// store's folder tells. RocksDB takes a log with a changed byte for one that ends there. For hosts, before they open
    /// their database; [`crate::Engine::open`] does so by itself. Changes nothing.
    ///
    /// # Errors
    /// [`crate::EngineError::Damaged`] if not; an I/O error.
    pub fn check_log(&self, data: &Path) -> Result<()> {
        mark::check(&self.options.path, data, || {
            let (mut options, families) = (self.database_options(), self.families());
            options.create_if_missing(false);
            let opened = DB::open_cf_descriptors_read_only(&options, data, families, false);
            let db = opened.ok()?;
            let first_log = db.property_int_value("rocksdb.min-log-number-to-keep").ok().flatten();
            let last = db.latest_sequence_number();
            Some(Opened { last, first_log: first_log.unwrap_or_default() })
        })
    }

    /// Descriptors of all our families.
    #[must_use]
    pub fn families(&self) -> Vec<ColumnFamilyDescriptor> {
        let descriptor = |family: Family| {
            ColumnFamilyDescriptor::new(family.name(), self.family_options(family))
        };
        Family::ALL.into_iter().map(descriptor).collect()
    }

    /// Whether [`Tuning::apply`] was called.
    pub(crate) fn is_applied(&self) -> bool {
        self.applied.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Changes the rate at which RocksDB frees dropped files, 0 for not at all, by how much it cuts them at a time, and for how many
    /// times as long as that took it rests.
    pub(crate) fn set_deletion_pace(&self, bytes_per_second: u64, step_bytes: u64, rest: u32) {
        self.file_manager.set_pace(bytes_per_second, step_bytes, rest);
    }

    /// Makes a database that we open ourselves flush and compact at the rate of [`Tuning::set_compaction_rate`]. A host's has the limiter that
    /// the host gave it.
    pub(crate) fn limit(&self, db: &mut RocksOptions) {
        self.limiter.attach(db);
        self.limited.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    /// Changes the rate at which the database flushes and compacts, `None` for no limit. Answers the rate that it has now, as far as it is
    /// ours to say.
    pub(crate) fn set_compaction_rate(&self, bytes_per_second: Option<u64>) -> Option<u64> {
        self.limiter.set(bytes_per_second);
        let is_limited = self.limited.load(std::sync::atomic::Ordering::Relaxed);
        bytes_per_second.filter(|_| is_limited)
    }

    /// Bytes of what was written to a family that are in memory before they go to a sorted file.
    pub(crate) fn buffer_bytes(&self, family: Family) -> usize {
        match (self.options.small, family) {
            (true, _) => SMALL_BUFFER_BYTES,
            (false, Family::Rows | Family::Bulk) => ROWS_BUFFER_BYTES,
            // Records are small: 10,000 jobs fill less than 2 MiB of each family.
            (false, _) => RECORD_BUFFER_BYTES,
        }
    }

    /// Bytes of dropped files that RocksDB is still to free.
    pub(crate) fn trash_bytes(&self) -> u64 {
        self.file_manager.trash_bytes()
    }

    /// Bytes in the block cache.
    pub(crate) fn cached_bytes(&self) -> u64 {
        self.cache.get_usage() as u64
    }

    /// Options of a database that we open ourselves.
    pub(crate) fn database_options(&self) -> RocksOptions {
        let options = &self.options;
        let mut db = self.defaults.clone();
        db.create_if_missing(true);
        db.create_missing_column_families(true);
        db.set_max_open_files(-1);
        db.set_max_background_jobs(2);
        db.set_bytes_per_sync(1 << 20);
        db.set_wal_bytes_per_sync(1 << 20);
        // Neither grows with the number of jobs that came and went.
        db.set_max_manifest_file_size(MANIFEST_BYTES);
        db.set_max_log_file_size(LOG_BYTES);
        db.set_keep_log_file_num(4);
        if options.small {
            db.set_max_file_opening_threads(1);
            // What is preallocated of MANIFEST and log is memory at once where a test has its store in memory: 78 MiB
            // by default, and most of the time that it took to open.
            db.set_manifest_preallocation_size(64 << 10);
            // Nobody reads the log of a store that goes with its test, and all its options take a while to write.
            db.set_info_logger(InfoLogger::new_callback_logger(LogLevel::Warn, |_, text| {
                tracing::warn!(target: "rocksdb", "{}", text.trim_end());
            }));
            db.set_max_total_wal_size(1 << 20);
        } else {
            db.set_max_total_wal_size(512 << 20);
        }
        db
    }

    /// Options of one family.
    pub(crate) fn family_options(&self, family: Family) -> RocksOptions {
        let (options, cache) = (&self.options, &self.cache);
        let mut cf = self.defaults.clone();
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(cache);
        table.set_bloom_filter(10.0, false);
        table.set_format_version(5);
        table.set_cache_index_and_filter_blocks(true);
        // Filters and indexes of level 0 are kept as long as they are asked for, like all others. Pinned, they would stay after the file
        // has been moved down as it is, as all of a job's are that writes row by row, and push out what the foreground asks for.
        table.set_pin_l0_filter_and_index_blocks_in_cache(false);
        if matches!(family, Family::Rows | Family::Bulk) {
            table.set_block_size(16 << 10);
        }
        cf.set_block_based_table_factory(&table);
        cf.set_compression_type(DBCompressionType::Lz4);
        // Bounds the cost of a read that meets many range deletions before they are flushed.
        cf.set_write_buffer_size(self.buffer_bytes(family));
        if !options.small && matches!(family, Family::Rows | Family::Bulk) {
            cf.set_max_write_buffer_number(ROWS_BUFFERS_MAX);
        }
        if options.small {
            cf.set_target_file_size_base(32 << 10);
            cf.set_max_bytes_for_level_base(128 << 10);
            cf.set_level_zero_file_num_compaction_trigger(2);
        }
        ffi::uncache_dropped_files(&mut cf);
        ffi::rewrite_after_snapshots(&mut cf, REWRITE_AFTER_SECONDS);
        if family == Family::Bulk && options.partition {
            ffi::partition_by_prefix(&mut cf, 8);
        }
        cf
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Batch, Sync};
    use crate::id::{Epoch, OwnerId, SpanFamily, SpanRef};
    use crate::open::{Engine, handle};
    use crate::record::ClaimKind;

    /// A store, and a span of rows that a job has claimed.
    fn with_a_job(folder: &Path) -> (Engine, SpanRef) {
        let engine = Engine::open(Options::small(folder)).unwrap();
        let what = ClaimKind::Span(SpanFamily::Rows);
        let claim = engine.claim(OwnerId::from_raw(1), Epoch::from_raw(1), what).unwrap();
        let span = claim.span().unwrap();
        (engine, span)
    }

    #[test]
    fn what_a_job_wrote_row_by_row_does_not_stay_in_the_block_cache_unasked() {
        let folder = tempfile::tempdir().unwrap();
        let (engine, span) = with_a_job(folder.path());
        let cache = &engine.tuning().cache;
        let (pinned, cached) = (cache.get_pinned_usage(), cache.get_usage());
        for file in 0..8_u64 {
            let mut batch = Batch::new();
            for row in 0..1000_u64 {
                batch.put_row(span, &(file * 1000 + row).to_be_bytes(), b"value");
            }
            engine.commit(batch, Sync::Yes).unwrap();
            engine.flush(Family::Rows).unwrap();
        }
        let filters = cache.get_usage() - cached;
        assert!(filters > 8 * 1000, "{filters} bytes: a filter has ten bits for each row");
        assert_eq!(cache.get_pinned_usage(), pinned, "of {filters} bytes");
    }

    #[test]
    fn a_flush_waits_for_the_limiter_and_goes_on_once_there_is_no_limit() {
        let folder = tempfile::tempdir().unwrap();
        let open = |name: &str| {
            let tuning = Tuning::new(&Options::small(folder.path().join(name))).unwrap();
            let mut options = tuning.database_options();
            tuning.limit(&mut options);
            let data = folder.path().join(name);
            let db = DB::open_cf_descriptors(&options, data, tuning.families()).unwrap();
            (db, tuning)
        };
        let ((db, tuning), (other, _other_tuning)) = (open("slow"), open("other"));
        let rows = handle(&db, Family::Rows).unwrap();
        tuning.set_compaction_rate(Some(1));
        // Less than a buffer, and nothing that a compression would find twice.
        for row in 0..200_u64 {
            let value = row.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            db.put_cf(&rows, value.to_be_bytes(), []).unwrap();
        }
        std::thread::scope(|scope| {
            let flush = scope.spawn(|| db.flush_cf(&rows));
            std::thread::sleep(std::time::Duration::from_millis(200));
            // Nor does it keep another database of the process waiting.
            let others = handle(&other, Family::Rows).unwrap();
            other.put_cf(&others, b"key", b"value").unwrap();
            other.flush_cf(&others).unwrap();
            assert!(!flush.is_finished());
            tuning.set_compaction_rate(None);
            flush.join().unwrap().unwrap();
        });
    }

    #[test]
    fn what_a_job_wrote_is_not_rewritten_because_a_statement_ends() {
        let folder = tempfile::tempdir().unwrap();
        let (engine, span) = with_a_job(folder.path());
        let mut batch = Batch::new();
        for row in 0..100_u64 {
            batch.put_row(span, &row.to_be_bytes(), b"value");
        }
        let statement = engine.db().snapshot();
        engine.commit(batch, Sync::Yes).unwrap();
        engine.flush(Family::Rows).unwrap();
        let rows = handle(engine.db(), Family::Rows).unwrap();
        // RocksDB says what it would compact, and does not do it.
        engine.db().set_options_cf(&rows, &[("disable_auto_compactions", "true")]).unwrap();
        let is_pending = || {
            let name = "rocksdb.compaction-pending";
            engine.db().property_int_value_cf(&rows, name).unwrap() == Some(1)
        };
        let mut later = Batch::new();
        later.put_row(span, b"later", b"value");
        engine.commit(later, Sync::Yes).unwrap();
        drop(statement);
        assert!(!is_pending());
        let delay = "bottommost_file_compaction_delay";
        engine.db().set_options_cf(&rows, &[(delay, "0")]).unwrap();
        drop(engine.db().snapshot());
        assert!(is_pending(), "without the delay it would be");
    }
}
