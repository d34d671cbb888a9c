//! Builds the SST files of one ingest batch in a span's staging folder.
//!
//! Keys come in ascending order, each once. Files are cut at [`FILE_BYTES`], so a batch is a few
//! disjoint files that one ingest call moves in. Nothing in the store knows of them until then;
//! the folder belongs to the claim, so a crash or a cancel leaves nothing behind.

use std::path::PathBuf;

use bytes::Bytes;

use crate::disk::gone;
use crate::error::{EngineError, Result, io_error};
use crate::ffi::SstWriter;
use crate::id::SpanRef;
use crate::key;
use crate::open::Engine;
use crate::record::Claim;

/// Size at which a file is cut: RocksDB's own target, 64 MiB.
pub const FILE_BYTES: u64 = 64 << 20;

/// Rows between two looks at the size of the file.
const ROWS_PER_LOOK: u64 = 256;

/// A finished batch of files, ready for [`Engine::ingest`].
#[derive(Debug)]
pub struct StagedBatch {
    pub(crate) number: u64,
    pub(crate) files: Vec<PathBuf>,
    /// First and last user key; `None` for a batch without rows.
    pub(crate) bounds: Option<(Bytes, Bytes)>,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

impl StagedBatch {
    /// Rows in the batch.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes of the files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// First and last key-encoded primary key, if there are rows.
    #[must_use]
    pub fn bounds(&self) -> Option<(&Bytes, &Bytes)> {
        self.bounds.as_ref().map(|(first, last)| (first, last))
    }
}

/// Writes one batch.
#[derive(Debug)]
pub struct SpanWriter {
    engine: Engine,
    span: SpanRef,
    dir: PathBuf,
    number: u64,
    current: Option<SstWriter>,
    files: Vec<PathBuf>,
    /// Span prefix and user key of the row being put; its tail is the last key.
    key: Vec<u8>,
    first: Option<Bytes>,
    rows: u64,
    finished_bytes: u64,
    in_file: u64,
}

/// Length of a span's prefix in a row key.
const PREFIX: usize = 9;

impl SpanWriter {
    /// A writer for batch `number` of a claimed span in `bulk`.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] for a claim that is not a bulk span.
    pub fn create(engine: &Engine, claim: &Claim, number: u64) -> Result<Self> {
        let span = claim.span().filter(|span| span.family == crate::SpanFamily::Bulk).ok_or_else(
            || EngineError::Invalid(format!("claim {} is not a span in bulk", claim.id)),
        )?;
        Ok(Self {
            engine: engine.clone(),
            span,
            dir: engine.staging_dir(claim.id),
            number,
            current: None,
            files: Vec::new(),
            key: key::span_bounds(span.id).0.to_vec(),
            first: None,
            rows: 0,
            finished_bytes: 0,
            in_file: 0,
        })
    }

    /// Appends a row.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] if the key is not above the last one: sorting and duplicates are the
    /// caller's business. A storage error: the batch is lost, its files stay with the claim.
    pub fn put(&mut self, user_key: &[u8], value: &[u8]) -> Result<()> {
        if self.first.is_none() {
            self.first = Some(Bytes::copy_from_slice(user_key));
        } else if user_key <= &self.key[PREFIX..] {
            return Err(EngineError::Invalid(format!(
                "row {} of batch {} of span {} is out of order",
                self.rows + 1,
                self.number,
                self.span.id
            )));
        }
        self.key.truncate(PREFIX);
        self.key.extend_from_slice(user_key);
        if self.in_file.is_multiple_of(ROWS_PER_LOOK)
            && self.current.as_ref().is_some_and(|file| file.file_bytes() >= FILE_BYTES)
        {
            self.finish_file()?;
        }
        let file = match &mut self.current {
            Some(file) => file,
            None => self.current.insert(open_file(
                &self.engine,
                &self.dir,
                self.number,
                &mut self.files,
            )?),
        };
        file.put(&self.key, value)?;
        self.rows += 1;
        self.in_file += 1;
        Ok(())
    }

    /// Bytes of SST files so far; the block that is being filled is not counted.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.finished_bytes + self.current.as_ref().map_or(0, SstWriter::file_bytes)
    }

    /// Rows so far.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The key-encoded primary key of the last row.
    #[must_use]
    pub fn last_key(&self) -> Option<&[u8]> {
        self.first.is_some().then(|| &self.key[PREFIX..])
    }

    /// Completes and syncs the files.
    ///
    /// # Errors
    /// A storage error.
    pub fn finish(mut self) -> Result<StagedBatch> {
        self.finish_file()?;
        let last = Bytes::copy_from_slice(&self.key[PREFIX..]);
        Ok(StagedBatch {
            number: self.number,
            files: self.files,
            bounds: self.first.map(|first| (first, last)),
            rows: self.rows,
            bytes: self.finished_bytes,
        })
    }

    fn finish_file(&mut self) -> Result<()> {
        if let Some(mut file) = self.current.take() {
            file.finish()?;
            self.finished_bytes += file.file_bytes();
            self.in_file = 0;
        }
        Ok(())
    }
}

/// Starts the next file of a batch. The folder exists since the claim was made and is never made
/// again here: once reclaim has removed it, a straggling writer gets an error instead of leaving files.
fn open_file(
    engine: &Engine,
    dir: &std::path::Path,
    number: u64,
    files: &mut Vec<PathBuf>,
) -> Result<SstWriter> {
    engine.check_space()?;
    let path = dir.join(format!("{number:08}-{:04}.sst", files.len()));
    gone(engine.disk().remove_file(&path)).map_err(|source| io_error("replace", &path, source))?;
    let mut file = SstWriter::new(engine.bulk_options());
    file.open(&path)?;
    files.push(path);
    Ok(file)
}
