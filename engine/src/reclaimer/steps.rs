//! The steps of reclaim: a look at the store, and what each step does to it.
//!
//! Each step is idempotent, lies between crash points, and answers what it did instead of keeping books.

use std::path::{Path, PathBuf};

use rocksdb::ReadOptions;

use crate::batch::{Batch, Sync};
use crate::claim::folder_bytes;
use crate::error::{EngineError, Result};
use crate::family::Family;
use crate::ffi::{self, CompactionStop};
use crate::governor::Class;
use crate::id::{SpanId, SpanRef};
use crate::key;
use crate::open::{Engine, handle};
use crate::reclaim::Survey;
use crate::residue::{File, Residue};
use crate::tombstone::Tombstone;
use crate::trash;

/// Bytes of input that one compaction of leftovers takes at most: bounds how long it runs after
/// the foreground begins to suffer.
const COMPACTION_BYTES: u64 = 256 << 20;

/// What a look at the store told.
pub(super) struct Look {
    pub(super) survey: Survey,
    pub(super) residue: Residue,
    pub(super) bytes_left: u64,
}

/// The effects of one step, for the books.
#[derive(Default)]
pub(super) struct Done {
    pub(super) wait_for: Option<String>,
    pub(super) dropped: Vec<PathBuf>,
    pub(super) range_deleted: bool,
    pub(super) compacted: bool,
    pub(super) folder_removed: bool,
}

/// Looks at everything that may be left of a tombstone.
pub(super) fn look(
    engine: &Engine,
    tombstone: &Tombstone,
    sequence: u64,
    dropped: &[PathBuf],
) -> Result<Look> {
    let staging = engine.staging_dir(tombstone.id);
    let mut survey = Survey {
        pinned: tombstone.published && engine.views().block(tombstone.id, sequence),
        staging: staging.exists(),
        trash_files: dropped.len(),
        ..Survey::default()
    };
    let mut residue = Residue::default();
    if let Some(span) = tombstone.span() {
        residue = Residue::of(span.id, engine.live_files(span.family.into())?);
        survey.has_keys = true;
        survey.droppable = residue.droppable.len();
        survey.stuck = residue.level0.len();
        survey.visible = has_key(engine, span, false)?;
        survey.stored = has_key(engine, span, true)?;
    }
    let trash: u64 = dropped.iter().map(|path| trash_len(path)).sum();
    let bytes_left = folder_bytes(&staging) + residue.own_bytes() + trash;
    Ok(Look { survey, residue, bytes_left })
}

/// Whether a key of the span is readable, or (`hidden_too`) stored at all.
fn has_key(engine: &Engine, span: SpanRef, hidden_too: bool) -> Result<bool> {
    let (lower, upper) = key::span_bounds(span.id);
    let mut options = ReadOptions::default();
    options.set_iterate_lower_bound(lower);
    options.set_iterate_upper_bound(upper);
    options.set_total_order_seek(true);
    options.fill_cache(false);
    #[expect(deprecated, reason = "the only way to see keys that a range deletion hides")]
    options.set_ignore_range_deletions(hidden_too);
    let family = handle(engine.db(), span.family.into())?;
    let mut iterator = engine.db().raw_iterator_cf_opt(&family, options);
    iterator.seek_to_first();
    iterator.status()?;
    Ok(iterator.valid())
}

pub(super) fn remove_staging(
    stopped: &dyn Fn() -> bool,
    engine: &Engine,
    id: SpanId,
    done: &mut Done,
) -> Result<()> {
    engine.crash().point("reclaim.before_staging")?;
    let freed = trash::remove_folder(&engine.staging_dir(id), &mut |bytes| {
        engine.governor().take(Class::Reclaim, bytes, stopped)
    })?;
    metrics::counter!(crate::metrics::RECLAIM_BYTES_TOTAL).increment(freed);
    engine.crash().point("reclaim.after_staging")?;
    done.folder_removed = true;
    Ok(())
}

pub(super) fn drop_files(
    engine: &Engine,
    tombstone: &Tombstone,
    residue: &Residue,
    done: &mut Done,
) -> Result<()> {
    let Some(span) = tombstone.span() else { return Ok(()) };
    engine.crash().point("reclaim.before_files")?;
    if !residue.droppable.is_empty() {
        let (lower, upper) = key::span_bounds(span.id);
        let family = handle(engine.db(), span.family.into())?;
        // The end is inclusive in this call; `upper` is never a key, so no neighbour begins there.
        engine.db().delete_file_in_range_cf(&family, lower, upper)?;
        done.dropped = residue.droppable.iter().map(|file| engine.file_path(&file.name)).collect();
        metrics::counter!(crate::metrics::RECLAIM_BYTES_TOTAL).increment(residue.own_bytes());
    }
    engine.crash().point("reclaim.after_files")
}

pub(super) fn delete_range(engine: &Engine, tombstone: &Tombstone, done: &mut Done) -> Result<()> {
    let Some(span) = tombstone.span() else { return Ok(()) };
    engine.crash().point("reclaim.before_range_deletion")?;
    let mut batch = Batch::new();
    batch.delete_span(span);
    engine.commit(batch, Sync::Yes)?;
    engine.crash().point("reclaim.after_range_deletion")?;
    // Flushed at once: a range deletion in memory slows every read of the family.
    engine.db().flush_cf(&handle(engine.db(), span.family.into())?)?;
    engine.crash().point("reclaim.after_flush")?;
    done.range_deleted = true;
    Ok(())
}

pub(super) fn compact(
    stopped: &dyn Fn() -> bool,
    stop: &CompactionStop,
    engine: &Engine,
    tombstone: &Tombstone,
    residue: &Residue,
    done: &mut Done,
) -> Result<()> {
    let Some(span) = tombstone.span() else { return Ok(()) };
    let occupied = engine.occupied_levels(span.family.into())?;
    let Some((names, level)) = residue.next_compaction(&occupied, COMPACTION_BYTES) else {
        // Nothing in files, so it is in memory: written after the flush, which only a straggler
        // of a fenced job could do. The next range deletion gets it.
        done.wait_for = Some("a flush".to_owned());
        engine.db().flush_cf(&handle(engine.db(), span.family.into())?)?;
        return Ok(());
    };
    let bytes = residue.files().filter(|file| names.contains(&file.name)).map(|file| file.bytes);
    engine.governor().take(Class::Reclaim, bytes.sum(), stopped)?;
    engine.crash().point("reclaim.before_compaction")?;
    let family = handle(engine.db(), span.family.into())?;
    match ffi::compact_files(engine.db(), &family, &names, level, stop) {
        Ok(()) => done.compacted = true,
        // Gone or busy: RocksDB's own compaction was faster. Look again.
        Err(EngineError::Busy(_)) => {
            done.wait_for = Some("a running compaction".to_owned());
        }
        Err(error) => return Err(error),
    }
    engine.crash().point("reclaim.after_compaction")?;
    let after = Residue::of(span.id, engine.live_files(span.family.into())?);
    if done.compacted && after.own_bytes() >= residue.own_bytes() && has_key(engine, span, true)? {
        // The keys are still stored: a snapshot older than the range deletion holds them.
        done.wait_for = Some("a snapshot that still reads it".to_owned());
    }
    Ok(())
}

impl Engine {
    /// The SST files of a family that hold data.
    pub(crate) fn live_files(&self, family: Family) -> Result<Vec<File>> {
        let files = self.db().live_files()?;
        Ok(files
            .into_iter()
            .filter(|file| file.column_family_name == family.name())
            .map(|file| File {
                name: file.name,
                level: file.level,
                bytes: file.size as u64,
                first: file.start_key.unwrap_or_default(),
                last: file.end_key.unwrap_or_default(),
                entries: file.num_entries,
                deletions: file.num_deletions,
            })
            .collect())
    }

    /// Which levels of a family hold files.
    fn occupied_levels(&self, family: Family) -> Result<Vec<bool>> {
        let mut occupied = vec![false; 7];
        for file in self.live_files(family)? {
            if let Some(level) = usize::try_from(file.level).ok().and_then(|l| occupied.get_mut(l))
            {
                *level = true;
            }
        }
        Ok(occupied)
    }

    /// Where a file that RocksDB calls `name` lies.
    pub(crate) fn file_path(&self, name: &str) -> PathBuf {
        self.data_path().join(name.trim_start_matches('/'))
    }
}

/// The name that RocksDB gives a file on its way out.
fn trash_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".trash");
    PathBuf::from(name)
}

/// Whether a dropped file still takes space, under its own name or as trash.
pub(super) fn on_disk(path: &Path) -> bool {
    path.exists() || trash_path(path).exists()
}

fn trash_len(path: &Path) -> u64 {
    let len = |path: &Path| std::fs::metadata(path).map_or(0, |meta| meta.len());
    len(path) + len(&trash_path(path))
}

/// Trash that an earlier process left; RocksDB goes on cutting it after open.
pub(super) fn leftover_trash(engine: &Engine) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(engine.data_path()) else { return Vec::new() };
    entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "trash"))
        .map(|path| path.with_extension(""))
        .collect()
}
