//! The mark: up to where RocksDB's log was synced.
//!
//! A log that ends in the middle of a batch is what a loss of power leaves, and what a changed byte leaves: RocksDB takes
//! all that follows for not written in either case, and rows that were acknowledged would be missing without a word. So
//! after every synced commit its last sequence number is written to a small file beside the database, and before the database
//! is opened, the log is read: if it can be read up to that number, it is whole. If not, the store is not opened.
//!
//! The file is not synced, which would cost a second sync for every commit. It need not be: it is written after the sync of the
//! log that it tells about, so whatever part of it a loss of power takes, it never promises what the log does not have. What
//! is lost with it is that damage of the last seconds before is noticed. A mark that is missing or not whole promises nothing. Only the
//! first of each life is synced, or what it says would be taken for a promise about the files of the next.
//!
//! ```text
//! log-mark   synced u64 | first log u64 | CRC-32 u32      big-endian; the checksum is of the 16 bytes before
//! ```
//!
//! Files of the log below *first log* are of earlier lives of the store, and all that is in them is in sorted files since it was
//! opened: RocksDB removes them then, but a loss of power may bring one back with its torn end. It may bring back one of this
//! life, too, so the database is asked which files it still needs before one is called damaged.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rocksdb::DB;

use crate::error::{EngineError, Result, io_error};
use crate::log::scan::{Scan, Verdict};

/// The file in the store's folder.
pub(crate) const LOG_MARK: &str = "log-mark";

const BYTES: usize = 20;

/// The mark of one life of a store.
#[derive(Debug)]
pub(crate) struct LogMark {
    path: PathBuf,
    /// `None` if there is none: nothing that happens to the log of this life will be noticed.
    file: Option<File>,
    first_log: u64,
    /// The last change that is in the log, synced or not.
    written: AtomicU64,
    /// What the file says. Raised after it was written.
    synced: AtomicU64,
    /// Held while the file is written.
    writing: Mutex<()>,
    has_failed: AtomicBool,
}

impl LogMark {
    /// No mark, for a store that is only read.
    pub(crate) fn none() -> Self {
        Self::new(PathBuf::new(), None, 0)
    }

    /// Begins a life: the database was just opened, so all that older files of the log have is in sorted files. A mark
    /// that cannot be written is done without, as on a full disk, and so it is for a database that has its log elsewhere.
    ///
    /// # Errors
    /// The database's folder cannot be read.
    pub(crate) fn begin(store: &Path, data: &Path) -> Result<Self> {
        let path = store.join(LOG_MARK);
        let Some((first_log, _)) = log_files(data)?.pop() else {
            return Ok(Self::none());
        };
        let opened = File::options().write(true).create(true).truncate(false).open(&path);
        let written = opened.and_then(|file| {
            let content = Content { synced: 0, first_log };
            let written = file.write_all_at(&content.encode(), 0).and_then(|()| file.sync_data());
            if written.is_err() {
                // That of an earlier life would be taken for one of this.
                file.set_len(0)?;
            }
            written.map(|()| file)
        });
        let mark = Self::new(path, None, first_log);
        match written {
            Ok(file) => Ok(Self { file: Some(file), ..mark }),
            Err(error) => {
                mark.note_failure(&error);
                Ok(mark)
            }
        }
    }

    fn new(path: PathBuf, file: Option<File>, first_log: u64) -> Self {
        Self {
            path,
            file,
            first_log,
            written: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            writing: Mutex::new(()),
            has_failed: AtomicBool::new(false),
        }
    }

    /// Notes that a batch is in the log, with its last sequence number.
    pub(crate) fn note_written(&self, last: u64) {
        self.written.fetch_max(last, Ordering::AcqRel);
    }

    /// Syncs what is in the log, and notes that: the end of a life.
    pub(crate) fn close(&self, db: &DB) {
        let written = self.written.load(Ordering::Acquire);
        if written > self.synced.load(Ordering::Acquire) && db.flush_wal(true).is_ok() {
            self.note_synced(written);
        }
    }

    /// Notes that the log was synced up to a sequence number, the last of a batch. Call it before the commit is acknowledged.
    ///
    /// Commits that were synced together come here in any order; all wait until the greatest is in the file.
    pub(crate) fn note_synced(&self, synced: u64) {
        let Some(file) = &self.file else { return };
        if self.synced.load(Ordering::Acquire) >= synced {
            return;
        }
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.synced.load(Ordering::Acquire) >= synced {
            return;
        }
        match file.write_all_at(&Content { synced, first_log: self.first_log }.encode(), 0) {
            Ok(()) => self.synced.store(synced, Ordering::Release),
            // What the file said before holds, or it is not whole and promises nothing.
            Err(error) => self.note_failure(&error),
        }
    }

    fn note_failure(&self, error: &io::Error) {
        if !self.has_failed.swap(true, Ordering::Relaxed) {
            let file = self.path.display().to_string();
            tracing::warn!(%error, file, "damage of RocksDB's log may not be noticed");
        }
    }
}

/// What a database says of itself that is opened without a change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened {
    /// The last sequence number.
    pub(crate) last: u64,
    /// The number of the first file of the log that it needs.
    pub(crate) first_log: u64,
}

/// Whether the log of a closed database can be read up to where it was synced. `open` opens the database without a change,
/// and is called only if the log alone does not tell. Changes nothing.
///
/// # Errors
/// [`EngineError::Damaged`] if not; mark or log cannot be read.
pub(crate) fn check(
    store: &Path,
    data: &Path,
    open: impl FnOnce() -> Option<Opened>,
) -> Result<()> {
    let Some(Content { synced, first_log }) = read(store)? else { return Ok(()) };
    if synced == 0 {
        return Ok(());
    }
    let scan = |first_log| {
        let files = log_files(data)?.into_iter().filter(|(number, _)| *number >= first_log);
        Scan::of(&files.map(|(_, path)| path).collect::<Vec<_>>())
    };
    let mut found = scan(first_log)?;
    if found.verdict(synced) == Verdict::Whole {
        return Ok(());
    }
    let opened = open();
    if let Some(opened) = opened {
        found = scan(first_log.max(opened.first_log))?;
    }
    match found.verdict(synced) {
        Verdict::Whole => Ok(()),
        Verdict::Damaged(place) => {
            let text = format!(
                "RocksDB's log is not what was written from byte {} of {} on",
                place.offset,
                place.file.display()
            );
            Err(damaged(store, &text, synced, found.last))
        }
        Verdict::Flushed => opened.map_or(Ok(()), |opened| check_opened(store, opened.last)),
    }
}

/// As [`check`], of a database that is open: only as far as its last sequence number tells.
///
/// # Errors
/// As [`check`].
pub(crate) fn check_opened(store: &Path, last: u64) -> Result<()> {
    match read(store)? {
        Some(mark) if mark.synced > last => {
            Err(damaged(store, "RocksDB's log ends too early", mark.synced, Some(last)))
        }
        _ => Ok(()),
    }
}

fn damaged(store: &Path, what: &str, synced: u64, last: Option<u64>) -> EngineError {
    let found = last.map_or_else(|| "none".to_owned(), |last| format!("up to {last}"));
    EngineError::Damaged(format!(
        "{what}: changes were synced up to number {synced}, and of these {found} can be read. Keep a copy of the store, \
         or restore it from a backup; without the file {} it opens with what is there",
        store.join(LOG_MARK).display(),
    ))
}

/// What the mark of a store says; `None` if it says nothing.
fn read(store: &Path) -> Result<Option<Content>> {
    let path = store.join(LOG_MARK);
    match std::fs::read(&path) {
        Ok(bytes) => Ok(Content::decode(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(io_error("read", &path, source)),
    }
}

/// The files of a database's log with their numbers, in the order of these; none if there is no database.
fn log_files(data: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let entries = match std::fs::read_dir(data) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|source| io_error("read", data, source))?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|source| io_error("read", data, source))?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        if path.extension().is_some_and(|extension| extension == "log")
            && let Some(number) = stem.and_then(|stem| stem.parse().ok())
        {
            files.push((number, path));
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Content {
    /// The last sequence number of this life that was synced; 0 for none.
    synced: u64,
    /// The number of the first file of the log of this life.
    first_log: u64,
}

impl Content {
    fn encode(self) -> [u8; BYTES] {
        let numbers = (u128::from(self.synced) << 64 | u128::from(self.first_log)).to_be_bytes();
        let mut bytes = [0; BYTES];
        let (front, checksum) = bytes.split_at_mut(numbers.len());
        front.copy_from_slice(&numbers);
        checksum.copy_from_slice(&crc32fast::hash(&numbers).to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (synced, rest) = bytes.split_first_chunk()?;
        let (synced, first_log) = (u64::from_be_bytes(*synced), rest.first_chunk()?);
        let content = Self { synced, first_log: u64::from_be_bytes(*first_log) };
        (bytes == content.encode()).then_some(content)
    }
}

#[cfg(test)]
#[path = "mark_test.rs"]
mod mark_test;
