//! Sorted runs: files of rows in key order, in the scratch folder of an import that has to sort.
//!
//! A run is a row of blocks, each a sealed envelope of kind `RUN_BLOCK`. Its checksum covers the id of
//! the scratch claim, the number of the run and the offset of the block, so a block in a wrong place
//! is damage too. The body is a row of entries (see `entry.rs`). An entry is never cut: a block has at least
//! one, and ends with the first one that brings it to [`BLOCK_BYTES`].
//! The length of a run is in the checkpoint that names it; a longer file is not read further. A run
//! is durable, and its folder too, before a checkpoint may name it.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_engine::envelope::{self, kind};
use cairn_engine::{Corruption, Disk, DiskFile, EngineError, Family, SpanId};

use super::args::Run;
use crate::entry::{self, Entry};

pub(crate) use crate::entry::Origin;

/// Size at which a block ends. With the greatest fan-in, all open blocks of a merge are 8 MiB.
pub(crate) const BLOCK_BYTES: usize = 128 << 10;

/// Bytes of an envelope before its body, and in all.
const HEADER: usize = 8;
const ENVELOPE: usize = 12;

/// More than the longest row: longer than that is damage, not worth the memory.
const BODY_MAX: usize = 1 << 30;

/// The folder of an import's runs.
#[derive(Debug, Clone)]
pub(crate) struct RunFolder {
    /// The disk that it is on.
    pub(crate) disk: Arc<dyn Disk>,
    /// The scratch claim.
    pub(crate) scratch: SpanId,
    /// Its folder.
    pub(crate) path: PathBuf,
}

impl RunFolder {
    /// The file of a run.
    pub(crate) fn file(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:08}.run"))
    }

    /// What a block's checksum covers besides the block.
    fn place(&self, number: u64, offset: u64) -> [u8; 24] {
        let mut place = [0; 24];
        for (part, value) in place.chunks_exact_mut(8).zip([self.scratch.raw(), number, offset]) {
            part.copy_from_slice(&value.to_be_bytes());
        }
        place
    }

    /// The files of runs that no checkpoint names any more, and what a crash left half-written.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub(crate) fn all_but(&self, runs: &[Run]) -> Result<Vec<PathBuf>, EngineError> {
        let mut found =
            self.disk.list(&self.path).map_err(|error| failed("read", &self.path, error))?;
        found.retain(|path| !runs.iter().any(|run| self.file(run.number) == *path));
        Ok(found)
    }
}

/// An operating system error with what was tried.
pub(crate) fn failed(action: &str, path: &Path, source: io::Error) -> EngineError {
    let context = format!("{action} {}", path.display());
    if source.kind() == io::ErrorKind::StorageFull {
        return EngineError::NoSpace { message: format!("{context}: {source}") };
    }
    EngineError::Io { context, source }
}

/// Writes a run.
#[derive(Debug)]
pub(crate) struct RunWriter {
    folder: RunFolder,
    number: u64,
    path: PathBuf,
    file: Box<dyn DiskFile>,
    block: Vec<u8>,
    bytes: u64,
    rows: u64,
}

impl RunWriter {
    /// Begins run `number`, in place of what a crash may have left of it.
    ///
    /// # Errors
    /// If the file cannot be made: after the scratch claim was condemned, say.
    pub(crate) fn create(folder: &RunFolder, number: u64) -> Result<Self, EngineError> {
        let path = folder.file(number);
        let file = folder.disk.create(&path).map_err(|error| failed("create", &path, error))?;
        let block = Vec::with_capacity(BLOCK_BYTES + BLOCK_BYTES / 4);
        Ok(Self { folder: folder.clone(), number, path, file, block, bytes: 0, rows: 0 })
    }

    /// Appends a row. The caller sees to the order.
    ///
    /// # Errors
    /// A storage error; the run is lost then.
    pub(crate) fn put(
        &mut self,
        key: &[u8],
        value: &[u8],
        origin: Origin,
    ) -> Result<(), EngineError> {
        entry::put(&mut self.block, key, value, origin);
        self.rows += 1;
        if self.block.len() >= BLOCK_BYTES { self.end_block() } else { Ok(()) }
    }

    fn end_block(&mut self) -> Result<(), EngineError> {
        let place = self.folder.place(self.number, self.bytes);
        let sealed = envelope::seal(Family::Claims, &place, kind::RUN_BLOCK, &self.block);
        self.file.write_all(&sealed).map_err(|error| failed("write", &self.path, error))?;
        self.bytes += sealed.len() as u64;
        self.block.clear();
        Ok(())
    }

    /// Makes the run durable, and its name too.
    ///
    /// # Errors
    /// A storage error; the run is lost then.
    pub(crate) fn finish(mut self) -> Result<Run, EngineError> {
        if !self.block.is_empty() {
            self.end_block()?;
        }
        self.file.sync().map_err(|error| failed("sync", &self.path, error))?;
        let folder = &self.folder.path;
        self.folder.disk.sync_folder(folder).map_err(|error| failed("sync", folder, error))?;
        Ok(Run { number: self.number, bytes: self.bytes, rows: self.rows })
    }
}

/// Reads a run in order.
#[derive(Debug)]
pub(crate) struct RunReader {
    folder: RunFolder,
    run: Run,
    path: PathBuf,
    file: File,
    /// The block that `at` is in, and where the one after it begins.
    block_offset: u64,
    next_offset: u64,
    sealed: Vec<u8>,
    at: usize,
    end: usize,
    entry: Entry,
}

impl RunReader {
    /// Opens a run at a block: 0, or what [`RunReader::block_offset`] said. Before the first row.
    ///
    /// # Errors
    /// If the file cannot be read; [`EngineError::Damaged`] if it is gone, which no other attempt would mend.
    pub(crate) fn open(folder: &RunFolder, run: &Run, offset: u64) -> Result<Self, EngineError> {
        let path = folder.file(run.number);
        let mut file = File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                EngineError::Damaged(format!("the sorted run {} is gone", path.display()))
            }
            _ => failed("open", &path, error),
        })?;
        file.seek(SeekFrom::Start(offset)).map_err(|error| failed("read", &path, error))?;
        Ok(Self {
            folder: folder.clone(),
            run: run.clone(),
            path,
            file,
            block_offset: offset,
            next_offset: offset,
            sealed: Vec::new(),
            at: 0,
            end: 0,
            entry: Entry::default(),
        })
    }

    /// Goes to the next row; `false` at the end.
    ///
    /// # Errors
    /// A storage error, or [`EngineError::Corruption`] if the file is not what was written.
    pub(crate) fn advance(&mut self) -> Result<bool, EngineError> {
        if self.at == self.end && !self.next_block()? {
            return Ok(false);
        }
        let bytes = self.sealed.get(..self.end).unwrap_or_default();
        let mut at = self.at;
        let Some(entry) = Entry::take(bytes, &mut at) else {
            return Err(self.damaged("whole entries").into());
        };
        (self.entry, self.at) = (entry, at);
        Ok(true)
    }

    fn next_block(&mut self) -> Result<bool, EngineError> {
        if self.next_offset >= self.run.bytes {
            return Ok(false);
        }
        self.block_offset = self.next_offset;
        self.sealed.resize(HEADER, 0);
        self.read(0)?;
        let length = self.sealed.get(4..HEADER).and_then(|length| length.try_into().ok());
        let length = length.map_or(0, u32::from_le_bytes) as usize;
        if length > BODY_MAX {
            return Err(self.damaged("a block of less than 1 GiB").into());
        }
        self.sealed.resize(length + ENVELOPE, 0);
        self.read(HEADER)?;
        let place = self.folder.place(self.run.number, self.block_offset);
        let (kind, _) = envelope::open(Family::Claims, &place, &self.sealed)?;
        if kind != kind::RUN_BLOCK {
            return Err(self.damaged("a block of a run").into());
        }
        self.next_offset += self.sealed.len() as u64;
        self.at = HEADER;
        self.end = HEADER + length;
        // An empty block is never written; it would end the run early without a word.
        if length == 0 { Err(self.damaged("a block with entries").into()) } else { Ok(true) }
    }

    fn read(&mut self, from: usize) -> Result<(), EngineError> {
        let room = self.sealed.get_mut(from..).unwrap_or_default();
        match self.file.read_exact(room) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.damaged("a file as long as the checkpoint says").into())
            }
            Err(error) => Err(failed("read", &self.path, error)),
        }
    }

    fn damaged(&self, expected: &str) -> Corruption {
        let place = self.folder.place(self.run.number, self.block_offset);
        Corruption::new(Family::Claims, &place, format!("{expected} in {}", self.path.display()))
    }

    /// The key of the row.
    pub(crate) fn key(&self) -> &[u8] {
        self.sealed.get(self.entry.key.clone()).unwrap_or_default()
    }

    /// The value of the row.
    pub(crate) fn value(&self) -> &[u8] {
        self.sealed.get(self.entry.value.clone()).unwrap_or_default()
    }

    /// Where the row came from.
    pub(crate) fn origin(&self) -> Origin {
        self.entry.origin
    }

    /// Where the block of the row begins: reading can go on there later.
    pub(crate) fn block_offset(&self) -> u64 {
        self.block_offset
    }
}

#[cfg(test)]
mod tests {
    use cairn_engine::SystemDisk;

    use super::*;

    fn folder() -> (tempfile::TempDir, RunFolder) {
        let dir = tempfile::tempdir().unwrap();
        let folder = RunFolder {
            disk: Arc::new(SystemDisk),
            scratch: SpanId::from_raw(7),
            path: dir.path().to_owned(),
        };
        (dir, folder)
    }

    fn write(folder: &RunFolder, number: u64, rows: u32) -> Run {
        let mut writer = RunWriter::create(folder, number).unwrap();
        for row in 0..rows {
            let value = vec![row as u8; 300];
            let origin = Origin { file: 1, line: u64::from(row) + 1 };
            writer.put(&row.to_be_bytes(), &value, origin).unwrap();
        }
        writer.finish().unwrap()
    }

    fn read(folder: &RunFolder, run: &Run, offset: u64) -> Result<Vec<u32>, EngineError> {
        let mut reader = RunReader::open(folder, run, offset)?;
        let mut rows = Vec::new();
        while reader.advance()? {
            let row = u32::from_be_bytes(reader.key().try_into().unwrap());
            assert_eq!(reader.value(), vec![row as u8; 300]);
            assert_eq!(reader.origin(), Origin { file: 1, line: u64::from(row) + 1 });
            rows.push(row);
        }
        Ok(rows)
    }

    #[test]
    fn the_bytes_of_a_run_are_fixed() {
        let (_dir, folder) = folder();
        let mut writer = RunWriter::create(&folder, 3).unwrap();
        writer.put(b"k1", b"value", Origin { file: 0, line: 2 }).unwrap();
        writer.put(b"k2", b"", Origin { file: 300, line: 70_000 }).unwrap();
        let run = writer.finish().unwrap();
        let bytes = std::fs::read(folder.file(3)).unwrap();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(run, Run { number: 3, bytes: bytes.len() as u64, rows: 2 });
        assert_eq!(hex, "ca01470014000000026b310576616c75650002026b3200ac02f0a204761c3053");
        let sealed = &bytes[..];
        let place = folder.place(3, 0);
        assert!(envelope::open(Family::Claims, &place, sealed).is_ok());
        let elsewhere = folder.place(3, 1);
        assert!(envelope::open(Family::Claims, &elsewhere, sealed).is_err());
    }

    #[test]
    fn a_run_of_many_blocks_comes_back_from_any_block_on() {
        let (_dir, folder) = folder();
        let run = write(&folder, 1, 2000);
        assert!(run.bytes > 3 * BLOCK_BYTES as u64);
        assert_eq!(read(&folder, &run, 0).unwrap(), (0..2000).collect::<Vec<_>>());
        let mut reader = RunReader::open(&folder, &run, 0).unwrap();
        for _ in 0..1500 {
            assert!(reader.advance().unwrap());
        }
        let rest = read(&folder, &run, reader.block_offset()).unwrap();
        assert!(rest[0] > 0 && rest[0] < 1500);
        assert_eq!(rest, (rest[0]..2000).collect::<Vec<_>>());
    }

    #[test]
    fn every_damaged_byte_is_found_out() {
        let (_dir, folder) = folder();
        let run = write(&folder, 1, 3);
        let good = std::fs::read(folder.file(1)).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            std::fs::write(folder.file(1), &bad).unwrap();
            let error = read(&folder, &run, 0).unwrap_err();
            assert!(matches!(error, EngineError::Corruption(_)), "byte {at}: {error}");
        }
        std::fs::write(folder.file(1), &good[..good.len() - 1]).unwrap();
        assert!(read(&folder, &run, 0).is_err());
        std::fs::rename(folder.file(1), folder.file(2)).unwrap();
        std::fs::write(folder.file(2), &good).unwrap();
        assert!(read(&folder, &Run { number: 2, ..run }, 0).is_err());
    }

    #[test]
    fn the_runs_that_are_named_are_not_among_the_others() {
        let (_dir, folder) = folder();
        let runs: Vec<Run> = (1..4).map(|number| write(&folder, number, 1)).collect();
        let mut others = folder.all_but(&runs[1..2]).unwrap();
        others.sort();
        assert_eq!(others, [folder.file(1), folder.file(3)]);
    }
}
