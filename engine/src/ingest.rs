//! Ingest: a staged batch becomes part of its span, whole or not at all, exactly once.
//!
//! ```text
//! intent (synced)  ->  ingest call, under the latch  ->  mark (not synced)
//! ```
//!
//! The intent names the batch, its bounds and the checkpoint that is true once it is in. The mark
//! adds the batch to what is in the span, stores that checkpoint and removes the intent, all in one
//! batch; the caller's progress goes along.
//!
//! # Recovery
//!
//! At most one intent exists per span, and it is newer than the mark. RocksDB's ingest is atomic and
//! durable when it returns, so after a crash either the first key of the intent's batch is in the span
//! or none of the batch is. In the first case the mark is written now; in the second the staged files
//! are removed and the caller goes on from the mark's checkpoint. Losing an unsynced mark in a power
//! cut brings its intent back (they are one batch), so the same rule applies. A mark older than a
//! synced intent is durable, because both are in one log.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message as _;
use rocksdb::{AsColumnFamilyRef, DB, IngestExternalFileOptions};
use rustix::fs::{Advice, fadvise};

use crate::batch::{Batch, Sync};
use crate::budget::Class;
use crate::claim::claims_key;
use crate::disk::{empty_folder, list};
use crate::envelope::kind;
use crate::error::{EngineError, Result};
use crate::family::Family;
use crate::ffi;
use crate::open::{Engine, handle};
use crate::record::{Claim, INTENT, IntentRecord, MARK, MarkRecord};
use crate::writer::StagedBatch;

/// Moves finished files into a family in one atomic step.
///
/// They are hard-linked; where the file system has no hard links they are copied, before any writer waits. No
/// snapshot numbers are reserved, because what a job ingests is invisible until it is published; a memtable overlap is
/// an error, not a hidden flush while all writers wait.
pub(crate) fn move_in(db: &DB, family: &impl AsColumnFamilyRef, files: &[PathBuf]) -> Result<()> {
    let mut options = IngestExternalFileOptions::default();
    options.set_move_files(true);
    options.set_snapshot_consistency(false);
    options.set_allow_blocking_flush(false);
    Ok(db.ingest_external_file_cf_opts(family, &options, files.to_vec())?)
}

/// What a claimed span holds, and where its writer goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Number of the next batch.
    pub next_batch: u64,
    /// The checkpoint that was stored with the last batch; `None` before the first.
    pub checkpoint: Option<Bytes>,
    /// Smallest and largest key-encoded primary key in the span.
    pub bounds: Option<(Bytes, Bytes)>,
    /// Rows in the span.
    pub rows: u64,
    /// Bytes of the ingested files.
    pub bytes: u64,
}

impl From<MarkRecord> for Recovered {
    fn from(mark: MarkRecord) -> Self {
        Self {
            next_batch: mark.number.saturating_add(1),
            checkpoint: Some(mark.checkpoint),
            bounds: Some((mark.first_key, mark.last_key)),
            rows: mark.rows,
            bytes: mark.bytes,
        }
    }
}

/// The mark after the intent's batch came in on top of `before`.
fn advance(before: Option<MarkRecord>, intent: &IntentRecord) -> MarkRecord {
    let mut mark = before.unwrap_or_else(|| MarkRecord {
        first_key: intent.first_key.clone(),
        last_key: intent.last_key.clone(),
        ..MarkRecord::default()
    });
    mark.number = intent.number;
    mark.checkpoint = intent.checkpoint.clone();
    mark.first_key = mark.first_key.min(intent.first_key.clone());
    mark.last_key = mark.last_key.max(intent.last_key.clone());
    mark.rows += intent.rows;
    mark.bytes += intent.bytes;
    mark
}

/// Bytes of a staged file that are read at a time. A reader that comes meanwhile waits for so many: 1 ms of a disk that reads
/// 250 MB/s, where a kernel that reads ahead as it likes was seen to ask for 4 MiB.
const READ_BYTES: usize = 256 << 10;

/// For how long a batch that did not get in is removed gently: a cancel waits for that, and the end of the process.
const REMOVAL_MAX: Duration = Duration::from_secs(2);

/// The longest rest after a step: a cancel waits for it.
const REST_MAX: Duration = Duration::from_millis(20);

impl Engine {
    /// Reads a staged file back and compares its checksums. `may_go_on` is asked on the way.
    fn verify_staged(&self, file: &Path, may_go_on: impl Fn() -> Result<()>) -> Result<()> {
        self.read_in_steps(file, may_go_on)?;
        ffi::verify_file(self.bulk_options(), file).map_err(|error| match error {
            // Not the store is damaged but a file that can be made again.
            EngineError::Damaged(text) => {
                EngineError::Storage(format!("staged file {}: {text}", file.display()))
            }
            other => other,
        })
    }

    /// Brings a file into the page cache, in steps with rests while somebody works. RocksDB would read it as fast as it can,
    /// and the kernel ahead of it. What cannot be read is left to RocksDB, which also knows of files that are not in
    /// the file system, but where its host's environment keeps them.
    fn read_in_steps(&self, file: &Path, may_go_on: impl Fn() -> Result<()>) -> Result<()> {
        may_go_on()?;
        let Ok(file) = File::open(file) else { return Ok(()) };
        // Where this is not known, the steps are those of the kernel.
        let _ = fadvise(&file, 0, None, Advice::Random);
        let (mut step, mut at) = (vec![0; READ_BYTES], 0);
        loop {
            let began = Instant::now();
            let Ok(count @ 1..) = file.read_at(&mut step, at).map(|count| count as u64) else {
                return Ok(());
            };
            at += count;
            self.governor().charge(Class::Ingest, count);
            let rest = began.elapsed() * self.governor().steps().rest_of_reads();
            std::thread::sleep(rest.min(REST_MAX));
            may_go_on()?;
        }
    }

    /// Ingests a staged batch together with `checkpoint`, the caller's state that is true once the
    /// batch is in. `also` adds to the batch of the mark (progress, say). A batch without rows only
    /// stores the checkpoint if the span has a mark. Returns what the span then holds.
    ///
    /// Crash points: `ingest.before_intent`, `ingest.after_intent`, `ingest.before_mark`,
    /// `ingest.after_mark`.
    ///
    /// # Errors
    /// [`EngineError::Fenced`] if the owner was cancelled, [`EngineError::NoSpace`] while the disk is nearly full: nothing was
    /// ingested. A storage error, also if a staged file is not what was written: the
    /// batch is in fully or not at all; [`Engine::recover_span`] tells which.
    pub fn ingest(
        &self,
        claim: &Claim,
        staged: &StagedBatch,
        checkpoint: &[u8],
        also: impl FnOnce(&mut Batch),
    ) -> Result<Recovered> {
        let Some((first_key, last_key)) = staged.bounds.clone() else {
            let mut batch = Batch::new();
            also(&mut batch);
            self.commit_fenced(claim.owner, claim.epoch, batch, Sync::No)?;
            return self.recover_span(claim);
        };
        // What is staged takes no more space, but a job that goes on stages more.
        self.check_space()?;
        let before = self.mark(claim)?;
        let intent = IntentRecord {
            epoch: claim.epoch.raw(),
            number: staged.number,
            first_key,
            last_key,
            rows: staged.rows,
            bytes: staged.bytes,
            checkpoint: Bytes::copy_from_slice(checkpoint),
            files: staged
                .files
                .iter()
                .filter_map(|file| Some(file.file_name()?.to_str()?.to_owned()))
                .collect(),
        };
        // Nothing is looked at again before somebody reads it: what was damaged on its way to the disk, or there, is
        // found while the batch can still be written anew. Before the latch, or a cancel would wait for it.
        let latch = self.latch(claim.owner, claim.epoch);
        for file in &staged.files {
            self.verify_staged(file, || latch.enter(claim.epoch).map(drop))?;
        }
        self.crash().point("ingest.before_intent")?;
        let mut batch = Batch::new();
        let key = claims_key(claim.owner, INTENT, claim.id);
        batch.put_record(Family::Claims, &key, kind::INTENT, &intent.encode_to_vec());
        self.commit_fenced(claim.owner, claim.epoch, batch, Sync::Yes)?;
        self.crash().point("ingest.after_intent")?;

        let guard = latch.enter(claim.epoch)?;
        let started = Instant::now();
        let (db, files) = (self.db().clone(), staged.files.clone());
        self.at_usual_priority(move || move_in(&db, &handle(&db, Family::Bulk)?, &files))??;
        metrics::histogram!(crate::metrics::INGEST_SECONDS).record(started.elapsed().as_secs_f64());
        metrics::counter!(crate::metrics::INGEST_BYTES_TOTAL).increment(staged.bytes);
        self.crash().point("ingest.before_mark")?;
        let mark = advance(before, &intent);
        let mut batch = Batch::new();
        put_mark(&mut batch, claim, &mark);
        also(&mut batch);
        self.commit(batch, Sync::No)?;
        drop(guard);
        self.crash().point("ingest.after_mark")?;
        Ok(mark.into())
    }

    /// Settles what a crash left open in a claimed span, and says where to go on. Staged files of a
    /// batch that did not get in are removed; the folder is made if a crash came before it.
    ///
    /// # Errors
    /// [`EngineError::Fenced`], a storage error, or damaged records. Harmless to repeat.
    pub fn recover_span(&self, claim: &Claim) -> Result<Recovered> {
        let Some(span) = claim.span() else {
            return Err(EngineError::Invalid(format!("claim {} is not a span", claim.id)));
        };
        let mut mark = self.mark(claim)?;
        let key = claims_key(claim.owner, INTENT, claim.id);
        if let Some(body) = self.get_record(Family::Claims, &key, kind::INTENT)? {
            let intent = IntentRecord::read(&key, body)?;
            let mut batch = Batch::new();
            batch.delete(Family::Claims, &key);
            if self.get_row(span, &intent.first_key)?.is_some() {
                let advanced = advance(mark, &intent);
                put_mark(&mut batch, claim, &advanced);
                mark = Some(advanced);
            }
            self.commit_fenced(claim.owner, claim.epoch, batch, Sync::No)?;
        }
        let folder = self.make_staging_dir(claim)?;
        let began = Instant::now();
        for file in list(self.disk().as_ref(), &folder)?.iter().filter(|path| path.is_file()) {
            match self.remove_file(file, &|| began.elapsed() >= REMOVAL_MAX) {
                Err(EngineError::Stopped) => break,
                removed => removed?,
            }
        }
        empty_folder(self.disk().as_ref(), &folder)?;
        Ok(mark.map(Recovered::from).unwrap_or_default())
    }

    fn mark(&self, claim: &Claim) -> Result<Option<MarkRecord>> {
        let key = claims_key(claim.owner, MARK, claim.id);
        let Some(body) = self.get_record(Family::Claims, &key, kind::MARK)? else {
            return Ok(None);
        };
        Ok(Some(MarkRecord::read(&key, body)?))
    }
}

/// Stores the mark and removes the intent it settles.
fn put_mark(batch: &mut Batch, claim: &Claim, mark: &MarkRecord) {
    let key = claims_key(claim.owner, MARK, claim.id);
    batch.put_record(Family::Claims, &key, kind::MARK, &mark.encode_to_vec());
    batch.delete(Family::Claims, &claims_key(claim.owner, INTENT, claim.id));
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::options::Options;

    #[test]
    fn reading_back_ends_as_soon_as_the_job_may_not_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::open(Options::small(folder.path())).unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, vec![7; 4 * READ_BYTES]).unwrap();
        for steps in 0..4 {
            let (before, asked) = (engine.governor().taken(Class::Ingest), Cell::new(0));
            let read = engine.read_in_steps(&file, || {
                asked.set(asked.get() + 1);
                if asked.get() > steps { Err(EngineError::Stopped) } else { Ok(()) }
            });
            assert!(matches!(read, Err(EngineError::Stopped)), "after {steps} steps: {read:?}");
            let taken = engine.governor().taken(Class::Ingest) - before;
            assert_eq!(taken, steps as u64 * READ_BYTES as u64, "asked {steps} times");
        }
        engine.shutdown();
    }
}
