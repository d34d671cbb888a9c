//! The steps of reclaim: a look at the store, and what each step does to it.
//!
//! Each step is idempotent, lies between crash points, and answers what it did instead of keeping books.

use std::path::PathBuf;

use rocksdb::ReadOptions;

use super::dropped::Dropped;
use super::work::Work;
use crate::batch::{Batch, Sync};
use crate::budget::Class;
use crate::claim::folder_bytes;
use crate::disk::{free_bytes, remove_all};
use crate::error::{EngineError, Result, io_error};
use crate::family::Family;
use crate::ffi::{self, CompactionStop};
use crate::holder::Inode;
use crate::id::{SpanId, SpanRef};
use crate::key;
use crate::open::{Engine, handle};
use crate::reclaim::Survey;
use crate::record::Tombstone;
use crate::residue::{File, Residue, Unit};
use crate::trash;
use crate::view::Readers;

/// Bytes of input that one compaction of leftovers takes at most, or of one file if that has more: bounds how long it runs
/// after the foreground begins to suffer.
const COMPACTION_BYTES: u64 = 256 << 20;

/// Bytes of our own files that one turn frees: then it is told how far it is, and another tombstone has
/// its turn.
const TURN_BYTES: u64 = 16 << 20;

/// What is known before a look.
pub(super) struct Before {
    tombstone: Tombstone,
    condemned_sequence: u64,
    range_sequence: Option<u64>,
    dropped: Vec<PathBuf>,
    rewritten: Vec<PathBuf>,
    shared_bytes: u64,
    leftover: Vec<PathBuf>,
    counts_leftover: bool,
    only_trash: bool,
}

impl Before {
    pub(super) fn of(work: &Work) -> Self {
        Self {
            tombstone: work.tombstone.clone(),
            condemned_sequence: work.condemned_sequence,
            range_sequence: work.range_sequence.filter(|_| work.pass.range_deleted),
            dropped: work.dropped.clone(),
            rewritten: work.rewritten.clone(),
            shared_bytes: work.shared_bytes,
            leftover: work.leftover.clone(),
            counts_leftover: work.counts_leftover,
            only_trash: work.only_trash,
        }
    }
}

/// What a look at the store told.
pub(super) struct Look {
    pub(super) tombstone: Tombstone,
    pub(super) survey: Survey,
    pub(super) residue: Residue,
    /// Every file of the family.
    all: Vec<File>,
    dropped: Dropped,
    readers: Option<Readers>,
    pub(super) bytes_left: u64,
    pub(super) bytes_held: u64,
    /// Bytes in files that it shares.
    pub(super) shared_bytes: u64,
    /// Bytes that we have to free ourselves.
    pub(super) own_trash: u64,
}

impl Look {
    /// Who still reads the span, for people: statements, and jobs that read rows.
    pub(super) fn readers(&self) -> String {
        match self.readers {
            Some(Readers { count: 1, oldest }) => {
                format!("a statement or job that has been reading for {} s", oldest.as_secs())
            }
            Some(Readers { count, oldest }) => {
                let oldest = oldest.as_secs();
                format!("{count} statements or jobs, of which one has been reading for {oldest} s")
            }
            None => "a statement or job that still reads it".to_owned(),
        }
    }
}

/// The effects of one step, for the books.
#[derive(Default)]
pub(super) struct Done {
    pub(super) wait_for: Option<String>,
    pub(super) dropped: Vec<PathBuf>,
    /// A range deletion was written, and this is the sequence number after it.
    pub(super) range_sequence: Option<u64>,
    pub(super) compacted: bool,
    /// Files of the span alone that a compaction has replaced.
    pub(super) compacted_files: Vec<PathBuf>,
    /// Files that it has replaced and that held others' rows too.
    pub(super) rewritten: Vec<PathBuf>,
    pub(super) folder_removed: bool,
    /// Bytes that are somebody's outside of the store, and not given back.
    pub(super) bytes_elsewhere: u64,
}

/// Looks at everything that may be left of a tombstone.
pub(super) fn look(engine: &Engine, before: Before) -> Result<Look> {
    let Before { tombstone, dropped: names, leftover, .. } = &before;
    let staging = engine.staging_dir(tombstone.id);
    let readers = tombstone
        .published
        .then(|| engine.views().readers(tombstone.id, before.condemned_sequence))
        .flatten();
    let staged = folder_bytes(&staging);
    let folder = trash::folder(engine.path(), tombstone.id);
    let mut dropped = Dropped::look(engine, names, Some(&folder))?;
    let rewritten = Dropped::look(engine, &before.rewritten, None)?;
    let (is_rewritten, is_read) = (!rewritten.0.is_empty(), rewritten.read());
    dropped.add_uncounted(rewritten);
    let earlier = Dropped::look(engine, leftover, None)?;
    let mut survey = Survey {
        pinned: readers.is_some(),
        // What cannot be looked at is not gone.
        staging: staging.try_exists().map_err(|source| io_error("look at", &staging, source))?,
        has_keys: tombstone.keys.is_some(),
        cuttable: dropped.cuttable().count(),
        trash_files: dropped.0.len() + earlier.0.len(),
        ..Survey::default()
    };
    let (mut residue, mut all, mut shared_bytes) = (Residue::default(), Vec::new(), 0);
    // Files on their way out are looked at often; the database again when they are gone.
    let trash_only = before.only_trash && survey.trash_files > 0;
    if let Some(span) = tombstone.span().filter(|_| !trash_only) {
        all = engine.live_files(span.family.into())?;
        residue = Residue::of(span.id, all.iter().cloned());
        survey.droppable = residue.droppable.len();
        survey.stuck = residue.level0.len();
        survey.visible = has_key(engine, span, false)?;
        survey.stored = has_key(engine, span, true)?;
        survey.snapshot = before
            .range_sequence
            .is_some_and(|range| oldest_snapshot(engine).is_some_and(|snapshot| snapshot < range));
        if survey.stored {
            // Of files that it shares, as much as their indexes say.
            let sum = |files: &mut dyn Iterator<Item = &File>| files.map(|file| file.bytes).sum();
            let (own, straddling): (u64, u64) =
                (sum(&mut residue.own()), sum(&mut residue.straddling.iter()));
            let shared = || engine.span_bytes(span).saturating_sub(own).min(straddling);
            shared_bytes = if straddling > 0 { shared() } else { 0 };
        }
    }
    let own = residue.own().filter_map(|file| Inode::of(&engine.file_path(&file.name)));
    // What was in files that it shared is given back when those that were replaced are gone.
    let counted = if is_rewritten { shared_bytes.max(before.shared_bytes) } else { shared_bytes };
    let span_bytes: u64 = own.map(|inode| inode.bytes).sum::<u64>() + counted;
    let earlier_bytes = if before.counts_leftover { earlier.bytes() } else { 0 };
    // A file that is kept and not yet dropped is counted as a file of the span.
    let gone = dropped.0.iter().filter(|left| !residue.own().any(|file| left.is(&file.name)));
    let dropped_bytes: u64 = gone.map(|left| left.bytes).sum();
    let held = if survey.pinned || survey.snapshot {
        span_bytes
    } else {
        dropped.held_bytes() + if is_read { counted } else { 0 }
    };
    Ok(Look {
        bytes_left: staged + span_bytes + dropped_bytes + earlier_bytes,
        bytes_held: held,
        shared_bytes,
        own_trash: staged + dropped.cuttable().map(|left| left.bytes).sum::<u64>(),
        tombstone: before.tombstone,
        survey,
        residue,
        all,
        dropped,
        readers,
    })
}

/// The sequence number that the oldest open snapshot reads at.
fn oldest_snapshot(engine: &Engine) -> Option<u64> {
    let sequence = engine.db().property_int_value("rocksdb.oldest-snapshot-sequence");
    sequence.ok().flatten().filter(|&sequence| sequence > 0)
}

/// The snapshots that are waited for, for people.
pub(super) fn snapshots(engine: &Engine) -> String {
    match engine.oldest_snapshot() {
        Some(age) => format!("a snapshot that has been open for {} s", age.as_secs()),
        None => "a snapshot that still reads it".to_owned(),
    }
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
    let dir = engine.staging_dir(id);
    let governor = engine.governor();
    let pace = &mut |bytes, took| governor.pace(bytes, took, stopped);
    done.folder_removed = trash::remove_folder(
        engine.disk().as_ref(),
        &dir,
        governor.steps().bytes(),
        TURN_BYTES,
        pace,
    )?;
    engine.crash().point("reclaim.after_staging")?;
    Ok(())
}

pub(super) fn drop_files(engine: &Engine, look: &Look, done: &mut Done) -> Result<()> {
    let Some(span) = look.tombstone.span() else { return Ok(()) };
    engine.crash().point("reclaim.before_files")?;
    if !look.residue.droppable.is_empty() {
        // How fast they go is decided by who works now, not by who did when the governor last looked.
        engine.governor().ring();
        keep_links(engine, look, &mut look.residue.droppable.iter())?;
        engine.crash().point("reclaim.after_links")?;
        let (lower, upper) = key::span_bounds(span.id);
        let family = handle(engine.db(), span.family.into())?;
        // The end is inclusive in this call; `upper` is never a key, so no neighbour begins there.
        engine.db().delete_file_in_range_cf(&family, lower, upper)?;
        let live = engine.live_files(span.family.into())?;
        let gone = |file: &&File| !live.iter().any(|live| live.name == file.name);
        let dropped = look.residue.droppable.iter().filter(gone);
        done.dropped = dropped.map(|file| engine.file_path(&file.name)).collect();
        if done.dropped.is_empty() {
            done.wait_for = Some("a compaction that reads its files".to_owned());
        }
    }
    engine.crash().point("reclaim.after_files")
}

/// Keeps a link to each file that RocksDB would free in one step, or that somebody else links to.
fn keep_links(engine: &Engine, look: &Look, files: &mut dyn Iterator<Item = &File>) -> Result<()> {
    let folder = trash::folder(engine.path(), look.tombstone.id);
    let paced = engine.tuning().is_applied();
    for file in files {
        let path = engine.file_path(&file.name);
        let linked = Inode::of(&path).is_some_and(|inode| inode.links > 1);
        if linked || !paced {
            trash::keep(engine.disk().as_ref(), &path, &folder)?;
        }
    }
    Ok(())
}

pub(super) fn delete_range(engine: &Engine, look: &Look, done: &mut Done) -> Result<()> {
    let Some(span) = look.tombstone.span() else { return Ok(()) };
    engine.crash().point("reclaim.before_range_deletion")?;
    let mut batch = Batch::new();
    batch.delete_span(span);
    engine.commit(batch, Sync::Yes)?;
    engine.crash().point("reclaim.after_range_deletion")?;
    // Flushed at once: a range deletion in memory slows every read of the family.
    engine.flush(span.family.into())?;
    engine.crash().point("reclaim.after_flush")?;
    done.range_sequence = Some(engine.db().latest_sequence_number());
    Ok(())
}

/// `waits`: told what is waited for before it begins, and that it has begun.
pub(super) fn compact(
    stopped: &dyn Fn() -> bool,
    waits: &dyn Fn(Option<&str>),
    stop: &CompactionStop,
    engine: &Engine,
    look: &Look,
    done: &mut Done,
) -> Result<()> {
    let Some(span) = look.tombstone.span() else { return Ok(()) };
    // What it writes must fit beside what it replaces.
    let bytes_max = COMPACTION_BYTES.min(free_bytes(engine.data_path())? / 2);
    let Some(unit) = look.residue.next_compaction(&look.all, bytes_max) else {
        // Nothing in files, so it is in memory: written after the flush, which only a straggler
        // of a fenced job could do. The next range deletion gets it.
        done.wait_for = Some("a flush".to_owned());
        engine.flush(span.family.into())?;
        return Ok(());
    };
    waits(Some("the background budget"));
    engine.governor().take(Class::Compaction, unit.bytes, stopped)?;
    waits(None);
    // Those of the span alone; what others have a part in is not ours to keep.
    let mut own = look.residue.own().filter(|file| unit.names.contains(&file.name));
    keep_links(engine, look, &mut own)?;
    engine.crash().point("reclaim.before_compaction")?;
    // The compaction runs on the thread that asks for it: on one that lets others go first.
    let compacted = std::thread::scope(|scope| {
        let compaction = scope.spawn(|| {
            ffi::lower_thread_priority();
            let family = handle(engine.db(), span.family.into())?;
            ffi::compact_files(engine.db(), &family, &unit.names, unit.level, stop)
        });
        compaction.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    match compacted {
        Ok(()) => {
            done.compacted = true;
            note_replaced(engine, look, &unit, done)?;
        }
        // A pause or the end of the store cut it short: nothing has changed.
        Err(_) if stopped() => return Err(EngineError::Stopped),
        // Gone or busy: RocksDB's own compaction was faster. Look again.
        Err(EngineError::Busy(_)) => {
            done.wait_for = Some("a running compaction".to_owned());
        }
        Err(error) => return Err(error),
    }
    engine.crash().point("reclaim.after_compaction")
}

/// Notes which files a compaction has replaced: their bytes are back when these are gone from the disk. A file that a compaction of
/// RocksDB's own replaced meanwhile may be among them; waiting for it does no harm.
fn note_replaced(engine: &Engine, look: &Look, unit: &Unit, done: &mut Done) -> Result<()> {
    let Some(span) = look.tombstone.span() else { return Ok(()) };
    let live = engine.live_files(span.family.into())?;
    let gone = |file: &&File| !live.iter().any(|live| live.name == file.name);
    for file in look.all.iter().filter(|file| unit.overlaps(file)).filter(gone) {
        let own = look.residue.own().any(|own| own.name == file.name);
        let list = if own { &mut done.compacted_files } else { &mut done.rewritten };
        list.push(engine.file_path(&file.name));
    }
    Ok(())
}

/// Cuts files of our own trash that nobody else has a link to.
pub(super) fn cut_trash(stopped: &dyn Fn() -> bool, engine: &Engine, look: &Look) -> Result<()> {
    engine.crash().point("reclaim.before_cut")?;
    let (governor, mut bytes_max) = (engine.governor(), TURN_BYTES);
    for left in look.dropped.cuttable() {
        let pace = &mut |bytes, took| governor.pace(bytes, took, stopped);
        let step_bytes = governor.steps().bytes();
        let gone = trash::remove_file(
            engine.disk().as_ref(),
            &left.path,
            step_bytes,
            &mut bytes_max,
            pace,
        )?;
        if !gone || bytes_max == 0 {
            break;
        }
    }
    engine.crash().point("reclaim.after_cut")
}

/// Gives up the links to files that somebody outside of the store owns too, reminds RocksDB of files that
/// it has forgotten, and says what else is waited for.
pub(super) fn let_go(engine: &Engine, look: &Look, done: &mut Done) -> Result<()> {
    // A checkpoint that is being made now may link to files that still have their names, and RocksDB gives those up without a
    // word when it is done: that their bytes stay, and with whom, is known by a link of ours.
    let folder = trash::folder(engine.path(), look.tombstone.id);
    for path in look.dropped.named_in(engine.data_path()) {
        engine.crash().point("reclaim.before_keep")?;
        trash::keep_dropped(engine.disk().as_ref(), path, &folder);
        engine.crash().point("reclaim.after_keep")?;
    }
    for left in look.dropped.strange() {
        tracing::info!(
            file = %left.path.display(),
            bytes = left.bytes,
            "a link outside of the store keeps its bytes"
        );
        trash::remove_file(engine.disk().as_ref(), &left.path, u64::MAX, &mut 0, &mut |_, _| {
            Ok(())
        })?;
        done.bytes_elsewhere += left.bytes;
    }
    if look.dropped.read() {
        // A look-up that was under way when the files were dropped keeps the version they are in. When it
        // ends and is the last to leave, RocksDB (db_impl.cc, CleanupSuperVersion) notes the files as
        // obsolete but deletes none: they would lie there until the next flush or compaction. Enabling
        // deletions makes it look.
        engine.db().disable_file_deletions()?;
        engine.db().enable_file_deletions()?;
    }
    done.wait_for = Some(look.dropped.waiting_for());
    Ok(())
}

/// The folder of our own trash holds no file of the database at the end. Most tombstones never had one.
pub(super) fn remove_trash_folder(engine: &Engine, id: SpanId) -> Result<()> {
    remove_all(engine.disk().as_ref(), &trash::folder(engine.path(), id))
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

    /// Where a file that RocksDB calls `name` lies.
    pub(crate) fn file_path(&self, name: &str) -> PathBuf {
        self.data_path().join(name.trim_start_matches('/'))
    }
}
