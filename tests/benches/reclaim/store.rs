//! The stores that are measured: one as an embedder without our tuning has it, one as Cairn has it.
//!
//! Both are RocksDB databases that the benchmark opens itself and hands to the engine: the naive ways of
//! undoing need the raw database, and so do its properties. Families and options are those of the engine; the
//! only difference is the one that the comparison is about, paced deletion of files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cairn_engine::rocksdb::properties;
use cairn_engine::rocksdb::{DB, LiveFile, Options as RocksOptions};
use cairn_engine::{
    Batch, Claim, ClaimKind, Engine, Epoch, Family, Options, OwnerId, SpanFamily, SpanId, SpanRef,
    SpanWriter, Sync, Tuning, key,
};
use cairn_tests::Random;

use crate::disk;
use crate::foreground::Table;
use crate::page_cache::PageCache;

/// Bytes of one ingest call: as much as a cancel may have to wait for.
const BATCH_BYTES: u64 = 128 << 20;

/// Everything in this program happens in the first epoch of its owner.
pub(super) const EPOCH: Epoch = Epoch::from_raw(1);

/// Nothing is compacted for longer than this without an end in sight.
const SETTLE_MAX: Duration = Duration::from_secs(120);

/// Longer than this is hanging.
const HANGING: Duration = Duration::from_secs(900);

/// How a store deletes files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deletion {
    /// As RocksDB does by itself.
    Plain,
    /// Paced by the file manager that Cairn installs.
    Paced,
}

/// An open store with a table for the foreground.
pub(super) struct Store {
    pub(super) engine: Engine,
    pub(super) db: Arc<DB>,
    pub(super) path: PathBuf,
    pub(super) table: Table,
    next_owner: AtomicU64,
}

impl Store {
    /// Makes a store with a table of about `table_bytes`.
    ///
    /// # Errors
    /// A storage error.
    pub(super) fn make(
        path: &Path,
        deletion: Deletion,
        cache_bytes: u64,
        table_bytes: u64,
        value_bytes: usize,
        seed: u64,
    ) -> Result<Self, String> {
        let options = Options { block_cache_bytes: cache_bytes, ..Options::new(path) };
        let tuning = Tuning::new(&options).map_err(text)?;
        let mut database = database_options();
        if deletion == Deletion::Paced {
            tuning.apply(&mut database);
        }
        std::fs::create_dir_all(path).map_err(text)?;
        let db = DB::open_cf_descriptors(&database, path.join("data"), tuning.families());
        let db = Arc::new(db.map_err(text)?);
        let engine = Engine::adopt(Arc::clone(&db), options, tuning).map_err(text)?;
        let table = make_table(&engine, OwnerId::from_raw(1), table_bytes, value_bytes, seed)?;
        let (of, span) = (Arc::clone(&db), table.span);
        let page_cache = PageCache::of(move || files_of(&of, span).unwrap_or_default());
        let table = Table { page_cache, ..table };
        let path = path.to_path_buf();
        Ok(Self { engine, db, path, table, next_owner: AtomicU64::new(2) })
    }

    /// Somebody who has claimed nothing yet.
    pub(super) fn new_owner(&self) -> OwnerId {
        OwnerId::from_raw(self.next_owner.fetch_add(1, Ordering::Relaxed))
    }

    /// Flushes what the foreground has written, waits until nothing has been flushed, compacted or deleted for `quiet`, and writes
    /// out what is dirty. Gives up waiting after two minutes: the window is then as noisy as it is.
    pub(super) fn settle(&self, quiet: Duration) -> Result<(), String> {
        self.begin_anew()?;
        let began = Instant::now();
        let mut busy_at = began;
        while busy_at.elapsed() < quiet && began.elapsed() < SETTLE_MAX {
            std::thread::sleep(Duration::from_millis(10));
            if self.is_busy() {
                busy_at = Instant::now();
            }
        }
        disk::settle(&self.path)
    }

    /// So that no compaction of the foreground's whole table comes in a window: memory and level 0 are empty then, and the fourth file
    /// that begins one is written after nine minutes.
    fn begin_anew(&self) -> Result<(), String> {
        let Some(bulk) = self.db.cf_handle(Family::Bulk.name()) else { return Ok(()) };
        self.db.flush_cf(&bulk).map_err(text)?;
        let name = properties::num_files_at_level(0);
        let files = self.db.property_int_value_cf(&bulk, &name).map_err(text)?;
        if files.is_some_and(|files| files > 0) {
            let (lower, upper) = key::span_bounds(self.table.span.id);
            self.db.compact_range_cf(&bulk, Some(lower), Some(upper));
        }
        Ok(())
    }

    fn is_busy(&self) -> bool {
        let number = |name| self.db.property_int_value(name).ok().flatten().unwrap_or(0);
        let in_family = |family: Family, name| {
            let Some(handle) = self.db.cf_handle(family.name()) else { return 0 };
            self.db.property_int_value_cf(&handle, name).ok().flatten().unwrap_or(0)
        };
        let is_pending = |family| in_family(family, properties::MEM_TABLE_FLUSH_PENDING) > 0;
        // The family of rows may be kept from compacting, and would pend for ever.
        let pending = in_family(Family::Bulk, properties::COMPACTION_PENDING) > 0
            || [Family::Rows, Family::Bulk].into_iter().any(is_pending);
        let running = number(properties::NUM_RUNNING_COMPACTIONS) > 0
            || number(properties::NUM_RUNNING_FLUSHES) > 0;
        pending || running || !self.engine.reclaimer().status().is_empty() || self.has_trash()
    }

    fn has_trash(&self) -> bool {
        disk::files_below(self.db.path())
            .iter()
            .any(|path| path.extension().is_some_and(|extension| extension == "trash"))
    }

    /// Lets RocksDB delete the files that nobody uses any more and that it has forgotten: when a look-up
    /// is the last user of a dropped file, the file stays until the next flush or compaction.
    ///
    /// # Errors
    /// A storage error.
    pub(super) fn purge(&self) -> Result<(), String> {
        self.db.disable_file_deletions().map_err(text)?;
        // Allowing it again looks for such files.
        self.db.enable_file_deletions().map_err(text)
    }

    /// Whether RocksDB holds writers up now.
    pub(super) fn is_stalled(&self) -> bool {
        let number = |name| self.db.property_int_value(name).ok().flatten().unwrap_or(0);
        number(properties::IS_WRITE_STOPPED) > 0
            || number(properties::ACTUAL_DELAYED_WRITE_RATE) > 0
    }
}

/// Paths of the files that begin in a span.
///
/// # Errors
/// A storage error.
pub(super) fn files_of(db: &DB, span: SpanRef) -> Result<Vec<PathBuf>, String> {
    let (lower, upper) = key::span_bounds(span.id);
    let within = |first: &[u8]| first >= lower.as_slice() && first < upper.as_slice();
    let of_span = |file: &LiveFile| {
        file.column_family_name == Family::from(span.family).name()
            && file.start_key.as_deref().is_some_and(within)
    };
    let files = db.live_files().map_err(text)?;
    Ok(files.into_iter().filter(of_span).map(|file| file_path(db, &file.name)).collect())
}

/// Where a file lies that RocksDB calls `name`.
pub(super) fn file_path(db: &DB, name: &str) -> PathBuf {
    db.path().join(name.trim_start_matches('/'))
}

impl Drop for Store {
    fn drop(&mut self) {
        self.engine.shutdown();
    }
}

/// As the engine opens a database of its own.
fn database_options() -> RocksOptions {
    let mut options = RocksOptions::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_max_open_files(-1);
    options.set_max_background_jobs(2);
    options.set_bytes_per_sync(1 << 20);
    options.set_wal_bytes_per_sync(1 << 20);
    options.set_max_manifest_file_size(16 << 20);
    options.set_max_log_file_size(8 << 20);
    options.set_keep_log_file_num(4);
    options.set_max_total_wal_size(512 << 20);
    options
}

/// Claims a span for `owner` and fills it with about `bytes` of rows. It stays claimed. Its files are those
/// that it begins with.
///
/// # Errors
/// A storage error.
pub(super) fn make_table(
    engine: &Engine,
    owner: OwnerId,
    bytes: u64,
    value_bytes: usize,
    seed: u64,
) -> Result<Table, String> {
    let before = disk::sst_files(engine.data_path());
    let (claim, rows) = ingest_rows(engine, owner, bytes, value_bytes, seed)?;
    let span = claim.span().ok_or("a claimed span is none")?;
    let mut own = disk::sst_files(engine.data_path());
    own.retain(|path| !before.contains(path));
    let page_cache = PageCache::of(move || own.clone());
    Ok(Table { span, rows, value_bytes, page_cache })
}

/// Claims a span in `bulk` for `owner` and ingests rows until their files have about `bytes`; answers the
/// claim and the number of rows.
///
/// # Errors
/// A storage error.
pub(super) fn ingest_rows(
    engine: &Engine,
    owner: OwnerId,
    bytes: u64,
    value_bytes: usize,
    seed: u64,
) -> Result<(Claim, u64), String> {
    let claim = engine.claim(owner, EPOCH, ClaimKind::Span(SpanFamily::Bulk)).map_err(text)?;
    let mut random = Random::new(seed);
    let mut value = vec![0; value_bytes];
    let (mut rows, mut left) = (0_u64, bytes.max(1));
    for number in 0.. {
        let mut writer = SpanWriter::create(engine, &claim, number).map_err(text)?;
        // The block that is being filled is not in `bytes`, so a batch has at least one row.
        while writer.rows() == 0 || writer.bytes() < left.min(BATCH_BYTES) {
            random.fill(&mut value);
            writer.put(&rows.to_be_bytes(), &value).map_err(text)?;
            rows += 1;
        }
        let staged = writer.finish().map_err(text)?;
        engine.ingest(&claim, &staged, b"", |_| {}).map_err(text)?;
        left = left.saturating_sub(staged.bytes());
        if left == 0 {
            break;
        }
    }
    Ok((claim, rows))
}

/// Condemns everything that `owner` has claimed, as a cancel does: one synced batch, the fence, and a word
/// to the reclaimer. Answers what is condemned.
///
/// # Errors
/// A storage error.
pub(super) fn condemn(engine: &Engine, owner: OwnerId) -> Result<Vec<SpanId>, String> {
    let mut batch = Batch::new();
    let ids = engine.condemn(&mut batch, owner, "job canceled by user", 1).map_err(text)?;
    engine.commit(batch, Sync::Yes).map_err(text)?;
    engine.latch(owner, EPOCH).raise(EPOCH.next());
    engine.condemned(&ids);
    Ok(ids)
}

/// Waits until the reclaimer has worked all of them off.
///
/// # Errors
/// It hangs; says what it waits for.
pub(super) fn wait_reclaimed(engine: &Engine, ids: &[SpanId]) -> Result<(), String> {
    let began = Instant::now();
    loop {
        let mut left = engine.reclaimer().status();
        left.retain(|status| ids.contains(&status.tombstone.id));
        if left.is_empty() {
            return Ok(());
        }
        if began.elapsed() > HANGING {
            return Err(format!("reclaim does not end: {left:?}"));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// An error as text: this program only passes errors on to people.
pub(super) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
