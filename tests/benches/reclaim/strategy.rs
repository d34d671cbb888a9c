//! The ways of undoing a job: Cairn's two roads, and what one would do without it.

use std::path::{Path, PathBuf};

use cairn_engine::rocksdb::{
    BoundColumnFamily, DB, DBCompressionType, IngestExternalFileOptions, Options as RocksOptions,
    ReadOptions, SstFileWriter, WriteBatch,
};
use cairn_engine::{
    Batch, ClaimKind, FILE_BYTES, Family, OwnerId, SpanFamily, SpanId, SpanRef, Sync, key,
};
use cairn_tests::Random;

use crate::disk::{blocks, files_below};
use crate::store::{
    Deletion, EPOCH, Store, condemn, file_path, files_of, ingest_rows, text, wait_reclaimed,
};

/// Rows of a batch, of puts and of deletes.
const BATCH_ROWS: usize = 1000;

/// So many bytes that were written row by row are in memory and in level 0 when their job is cancelled, which is the worst case. RocksDB
/// compacts those of a larger job while they are written, as it does, and most are in files of their own by then.
const LEVEL0_MAX_BYTES: u64 = 1 << 30;

/// A way of undoing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub(super) enum Strategy {
    /// The job's data stays: the control.
    Nothing,
    /// Each row is deleted, then the range is flushed and compacted.
    PointDeletes,
    /// One range deletion, a flush, and a compaction of the whole family.
    DeleteRange,
    /// One call that deletes the files, as fast as RocksDB can.
    DeleteFiles,
    /// The job's data is a column family of its own, which is dropped.
    DropFamily,
    /// Cairn, for data that was ingested.
    CairnFiles,
    /// Cairn, for data that was written row by row: in memory, in level 0, and in files below it if there is much.
    CairnRange,
}

impl Strategy {
    pub(super) const ALL: [Self; 7] = [
        Self::Nothing,
        Self::PointDeletes,
        Self::DeleteRange,
        Self::DeleteFiles,
        Self::DropFamily,
        Self::CairnFiles,
        Self::CairnRange,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing (control)",
            Self::PointDeletes => "point deletes",
            Self::DeleteRange => "DeleteRange, CompactRange",
            Self::DeleteFiles => "DeleteFilesInRange",
            Self::DropFamily => "dropped column family",
            Self::CairnFiles => "Cairn by files",
            Self::CairnRange => "Cairn by range deletion",
        }
    }

    /// Whether this is Cairn's own.
    pub(super) fn is_ours(self) -> bool {
        matches!(self, Self::CairnFiles | Self::CairnRange)
    }

    /// The store it is measured on. The control is on Cairn's.
    pub(super) fn deletion(self) -> Deletion {
        match self {
            Self::PointDeletes | Self::DeleteRange | Self::DeleteFiles | Self::DropFamily => {
                Deletion::Plain
            }
            Self::Nothing | Self::CairnFiles | Self::CairnRange => Deletion::Paced,
        }
    }

    /// Whether the job's bytes may be in other files before they are gone, so that the disk is back only when
    /// the calls have returned.
    fn rewrites(self) -> bool {
        matches!(self, Self::PointDeletes | Self::DeleteRange | Self::CairnRange)
    }

    /// Makes the data of a job, of about `bytes`, up to the moment of its cancel.
    ///
    /// # Errors
    /// A storage error.
    pub(super) fn prepare(self, store: &Store, bytes: u64, seed: u64) -> Result<Doomed, String> {
        let owner = store.new_owner();
        match self {
            Self::DropFamily => family_of_its_own(store, owner, bytes, seed),
            Self::CairnRange => written_rows(store, owner, bytes, seed),
            _ => {
                let value_bytes = store.table.value_bytes;
                let (claim, _) = ingest_rows(&store.engine, owner, bytes, value_bytes, seed)?;
                Doomed::of_span(self, store, owner, claim.span())
            }
        }
    }

    /// Undoes the job; returns when its own calls have. Calls `gone` when nobody can see the job's data any
    /// more.
    ///
    /// # Errors
    /// A storage error.
    pub(super) fn undo(
        self,
        store: &Store,
        doomed: &Doomed,
        gone: &dyn Fn(),
    ) -> Result<(), String> {
        let db = &store.db;
        let (lower, upper) = key::span_bounds(doomed.span.id);
        match self {
            Self::Nothing => {}
            Self::PointDeletes => {
                delete_rows(db, doomed.span)?;
                gone();
                let family = bulk(db)?;
                db.flush_cf(&family).map_err(text)?;
                db.compact_range_cf(&family, Some(lower), Some(upper));
            }
            Self::DeleteRange => {
                let family = bulk(db)?;
                db.delete_range_cf(&family, lower, upper).map_err(text)?;
                gone();
                db.flush_cf(&family).map_err(text)?;
                db.compact_range_cf(&family, None::<&[u8]>, None::<&[u8]>);
            }
            Self::DeleteFiles => {
                db.delete_file_in_range_cf(&bulk(db)?, lower, upper).map_err(text)?;
                gone();
            }
            Self::DropFamily => {
                if let Some(name) = &doomed.family {
                    // The last handle goes with it, and the files with the handle.
                    db.drop_cf(name).map_err(text)?;
                }
                gone();
            }
            Self::CairnFiles | Self::CairnRange => {
                let ids = condemn(&store.engine, doomed.owner)?;
                gone();
                wait_reclaimed(&store.engine, &ids)?;
            }
        }
        Ok(())
    }

    /// Whether the bytes of the job are back.
    pub(super) fn is_back(self, doomed: &Doomed, has_returned: bool) -> bool {
        (has_returned || !self.rewrites()) && doomed.bytes_left() == 0
    }

    /// Removes what the undo left: claims, and everything after the control. Not measured.
    ///
    /// # Errors
    /// A storage error.
    pub(super) fn tidy(self, store: &Store, doomed: &Doomed) -> Result<(), String> {
        if self == Self::CairnRange {
            compact_by_itself(&store.db, true)?;
        }
        let ids = condemn(&store.engine, doomed.owner)?;
        wait_reclaimed(&store.engine, &ids)?;
        store.engine.forget_latch(doomed.owner);
        Ok(())
    }
}

/// What is to be undone.
pub(super) struct Doomed {
    pub(super) owner: OwnerId,
    span: SpanRef,
    /// The column family of its own, if it has one.
    family: Option<String>,
    files: Vec<PathBuf>,
    /// Of staged files, and of dropped ones that the store keeps a link to.
    folders: [PathBuf; 2],
    /// Allocated on the disk before the undo.
    pub(super) bytes: u64,
}

impl Doomed {
    fn of_span(
        strategy: Strategy,
        store: &Store,
        owner: OwnerId,
        span: Option<SpanRef>,
    ) -> Result<Self, String> {
        let span = span.ok_or("a claimed span is none")?;
        let files = files_of(&store.db, span)?;
        if files.is_empty() {
            return Err(format!("{}: the doomed job has no files", strategy.name()));
        }
        Ok(Self::new(store, owner, span, None, files))
    }

    fn new(
        store: &Store,
        owner: OwnerId,
        span: SpanRef,
        family: Option<String>,
        files: Vec<PathBuf>,
    ) -> Self {
        let staging = store.engine.staging_dir(span.id);
        let name = staging.file_name().unwrap_or_default();
        let folders = [store.path.join("trash").join(name), staging.clone()];
        let mut doomed = Self { owner, span, family, files, folders, bytes: 0 };
        doomed.bytes = doomed.bytes_left();
        doomed
    }

    pub(super) fn files(&self) -> usize {
        self.files.len()
    }

    /// Bytes still allocated, trash and staged files included.
    pub(super) fn bytes_left(&self) -> u64 {
        let files = self.files.iter().flat_map(|path| [path.clone(), trash_of(path)]);
        blocks(files.chain(self.folders.iter().flat_map(|folder| files_below(folder))))
    }
}

/// The name that RocksDB gives a file on its way out.
fn trash_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".trash");
    PathBuf::from(name)
}

fn family<'db>(db: &'db DB, name: &str) -> Result<std::sync::Arc<BoundColumnFamily<'db>>, String> {
    db.cf_handle(name).ok_or_else(|| format!("family {name} is not open"))
}

fn bulk(db: &DB) -> Result<std::sync::Arc<BoundColumnFamily<'_>>, String> {
    family(db, Family::Bulk.name())
}

/// Deletes every row of a span, a thousand to a batch.
fn delete_rows(db: &DB, span: SpanRef) -> Result<(), String> {
    let (lower, upper) = key::span_bounds(span.id);
    let family = bulk(db)?;
    let mut options = ReadOptions::default();
    options.set_iterate_lower_bound(lower);
    options.set_iterate_upper_bound(upper);
    let mut rows = db.raw_iterator_cf_opt(&family, options);
    rows.seek_to_first();
    let mut batch = WriteBatch::default();
    while let Some(key) = rows.key() {
        batch.delete_cf(&family, key);
        if batch.len() == BATCH_ROWS {
            db.write(std::mem::take(&mut batch)).map_err(text)?;
        }
        rows.next();
    }
    rows.status().map_err(text)?;
    drop(rows);
    db.write(batch).map_err(text)
}

/// Lets RocksDB compact the family of rows by itself, or not. While it may not, everything stays in memory and
/// in level 0, where a job that was cancelled just now has it.
fn compact_by_itself(db: &DB, may: bool) -> Result<(), String> {
    let rows = family(db, Family::Rows.name())?;
    let disabled = if may { "false" } else { "true" };
    db.set_options_cf(&rows, &[("disable_auto_compactions", disabled)]).map_err(text)
}

/// Rows that were put one by one into a span of the family of rows.
fn written_rows(store: &Store, owner: OwnerId, bytes: u64, seed: u64) -> Result<Doomed, String> {
    compact_by_itself(&store.db, bytes > LEVEL0_MAX_BYTES)?;
    let what = ClaimKind::Span(SpanFamily::Rows);
    let claim = store.engine.claim(owner, EPOCH, what).map_err(text)?;
    let span = claim.span().ok_or("a claimed span is none")?;
    let mut random = Random::new(seed);
    let mut value = vec![0; store.table.value_bytes];
    let (mut row, mut written) = (0_u64, 0);
    while written < bytes {
        let mut batch = Batch::new();
        for _ in 0..BATCH_ROWS {
            random.fill(&mut value);
            batch.put_row(span, &row.to_be_bytes(), &value);
            row += 1;
        }
        written += batch.size_bytes() as u64;
        store.engine.commit(batch, Sync::No).map_err(text)?;
    }
    // A small job may be in memory as a whole; its first file is asked for, and some rows stay there.
    if files_of(&store.db, span)?.is_empty() {
        store.db.flush_cf(&family(&store.db, Family::Rows.name())?).map_err(text)?;
        let mut batch = Batch::new();
        batch.put_row(span, &row.to_be_bytes(), &value);
        store.engine.commit(batch, Sync::No).map_err(text)?;
    }
    // Longer than RocksDB takes from one compaction of its own to the next.
    store.settle(std::time::Duration::from_millis(500))?;
    Doomed::of_span(Strategy::CairnRange, store, owner, Some(span))
}

/// Files that were ingested into a column family that holds nothing else.
fn family_of_its_own(
    store: &Store,
    owner: OwnerId,
    bytes: u64,
    seed: u64,
) -> Result<Doomed, String> {
    let name = format!("job-{owner}");
    let mut options = RocksOptions::default();
    options.set_compression_type(DBCompressionType::Lz4);
    store.db.create_cf(&name, &options).map_err(text)?;
    let span = SpanRef { id: SpanId::from_raw(u64::MAX >> 16), family: SpanFamily::Bulk };
    let folder = store.path.join(&name);
    std::fs::create_dir_all(&folder).map_err(text)?;
    let mut random = Random::new(seed);
    let mut value = vec![0; store.table.value_bytes];
    let (mut row, mut left, mut paths) = (0_u64, bytes.max(1), Vec::new());
    while left > 0 {
        let path = folder.join(format!("{}.sst", paths.len()));
        let mut writer = SstFileWriter::create(&options);
        writer.open(&path).map_err(text)?;
        let first = row;
        while row == first || writer.file_size() < left.min(FILE_BYTES) {
            random.fill(&mut value);
            let key = key::row_key(span.id, &row.to_be_bytes());
            writer.put(key, &value).map_err(text)?;
            row += 1;
        }
        writer.finish().map_err(text)?;
        left = left.saturating_sub(writer.file_size());
        paths.push(path);
    }
    let mut ingest = IngestExternalFileOptions::default();
    ingest.set_move_files(true);
    let handle = family(&store.db, &name)?;
    store.db.ingest_external_file_cf_opts(&handle, &ingest, paths).map_err(text)?;
    std::fs::remove_dir_all(&folder).map_err(text)?;
    let live = store.db.live_files().map_err(text)?;
    let own = live.into_iter().filter(|file| file.column_family_name == name);
    let files = own.map(|file| file_path(&store.db, &file.name)).collect();
    Ok(Doomed::new(store, owner, span, Some(name), files))
}
