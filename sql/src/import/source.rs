//! Reads the files of an import, and turns them into blocks of rows on a thread of their own.
//!
//! One thread reads and encodes, the other writes: a bounded channel of blocks lies between them.
//! Blocks, and errors, arrive in the order of the files, so the first error of the files is the one
//! that is reported, whatever the two threads do. When the writing side ends, for whatever reason,
//! it raises a flag that the reading side looks at every few dozen rows.

use std::io::{Seek as _, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};

use cairn_jobs::{JobError, Result};

use super::args::{ImportArgs, ImportFile, InputPlace};
use super::rows::{Block, Encoder, failure};
use crate::csv::{Place, Reader};
use crate::place::{External, changed, unreadable};

/// Blocks on their way. When it is full, reading waits for writing.
const QUEUE_BLOCKS: usize = 4;

/// Bytes of a file after which a block ends even if its rows are few: its end is where work can go on.
const INPUT_BYTES: u64 = 4 << 20;

/// Records between two looks at the stop flag: about 0.1 ms of work.
const RECORDS_PER_LOOK: u64 = 64;

/// The files of an import.
pub(crate) struct Input {
    external: External,
    args: Arc<ImportArgs>,
    encoder: Encoder,
    block_bytes: usize,
}

impl Input {
    /// The files that `args` names, in blocks of about so many bytes.
    pub(crate) fn new(
        external: External,
        args: Arc<ImportArgs>,
        encoder: Encoder,
        block_bytes: usize,
    ) -> Self {
        Self { external, args, encoder, block_bytes }
    }

    /// What made the rows: it also words errors about them.
    pub(crate) fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// Reads on from a place and hands every block to `consume`, until the files end or either side
    /// fails. Blocks.
    ///
    /// # Errors
    /// The first error of the files, or what `consume` answered.
    pub(crate) fn read(
        &self,
        from: &InputPlace,
        mut consume: impl FnMut(Block) -> Result<()>,
    ) -> Result<()> {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel(QUEUE_BLOCKS);
            let span = tracing::Span::current();
            let over = &over;
            let reading = std::thread::Builder::new()
                .name("cairn-import".to_owned())
                .spawn_scoped(scope, move || {
                    span.in_scope(|| {
                        if let Err(error) = self.produce(from, over, &sender) {
                            // Nobody listens any more: then it has an error of its own.
                            let _ = sender.send(Err(error));
                        }
                    });
                })
                .map_err(|error| JobError::retry(format!("cannot start a thread: {error}")))?;
            let mut result = Ok(());
            for block in &receiver {
                result = block.and_then(&mut consume);
                if result.is_err() {
                    break;
                }
            }
            over.store(true, Ordering::Relaxed);
            drop(receiver);
            match reading.join() {
                Ok(()) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    fn produce(
        &self,
        from: &InputPlace,
        over: &AtomicBool,
        blocks: &SyncSender<Result<Block>>,
    ) -> Result<()> {
        let mut at = from.clone();
        while (at.file as usize) < self.args.files.len() {
            match self.read_file(&at, over, blocks)? {
                Some(next) => at = next,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// Reads one file to its end. Answers where to go on, or `None` if nobody listens any more.
    fn read_file(
        &self,
        from: &InputPlace,
        over: &AtomicBool,
        blocks: &SyncSender<Result<Block>>,
    ) -> Result<Option<InputPlace>> {
        let file = from.file;
        let Some(planned) = self.args.files.get(file as usize).map(ImportFile::source) else {
            return Ok(None);
        };
        let mut input = self.external.open(&planned).map_err(|error| failure(&error))?;
        input
            .seek(SeekFrom::Start(from.offset))
            .map_err(|error| failure(&unreadable(&planned.name, &error)))?;
        let delimiter = u8::try_from(self.args.delimiter).unwrap_or(b',');
        let mut reader = Reader::new(input, delimiter, from.place());
        let mut records = from.records;
        let mut block = Block::new(file, self.block_bytes);
        let mut block_start = from.offset;
        loop {
            if records.is_multiple_of(RECORDS_PER_LOOK) && over.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let record = reader.next().map_err(|error| self.encoder.unreadable(file, error))?;
            let ended = record.is_none();
            if let Some(record) = record {
                records += 1;
                // An empty line is no row, unless the file has one column: then it is a value.
                let is_row = !record.is_blank() || self.args.columns.len() == 1;
                if records > self.args.skip && is_row {
                    self.encoder.encode(&record, records, &mut block)?;
                }
            }
            let Place { offset, line } = reader.place();
            let input_bytes = offset - block_start;
            if !ended && block.has_room() && input_bytes < INPUT_BYTES {
                continue;
            }
            if ended && offset != planned.bytes {
                return Err(failure(&changed(&planned)));
            }
            let end = if ended {
                InputPlace::start_of(file + 1)
            } else {
                InputPlace { file, offset, lines: line - 1, records }
            };
            block.finish().map_err(|duplicate| self.encoder.duplicate(&duplicate))?;
            block.end = end.clone();
            block.input_bytes = input_bytes;
            block_start = offset;
            let full = std::mem::replace(&mut block, Block::new(file, self.block_bytes));
            if blocks.send(Ok(full)).is_err() {
                return Ok(None);
            }
            if ended {
                return Ok(Some(end));
            }
        }
    }
}
