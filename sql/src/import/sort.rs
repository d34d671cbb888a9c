//! Sorting in memory: blocks of rows, each in order by itself, become a sorted run.
//!
//! Blocks come sorted from the thread that parses, so what is left here is a merge of at most a few
//! hundred of them: it can be left after any row, where one large sort could not be cancelled.

use cairn_engine::EngineError;

use super::merge::{Merge, MergeError, Ordered};
use super::rows::Block;
use super::run::Origin;

/// Collects blocks until they fill the memory they may have.
#[derive(Default)]
pub(crate) struct Sorter {
    blocks: Vec<Block>,
    bytes: u64,
}

impl Sorter {
    /// Adds a block.
    pub(crate) fn add(&mut self, block: Block) {
        self.bytes += block.memory_bytes();
        self.blocks.push(block);
    }

    /// Memory taken.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether there are no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.blocks.iter().all(Block::is_empty)
    }

    /// Hands out all rows in key order and forgets them.
    ///
    /// # Errors
    /// A key that is there twice, or what `put` answers.
    pub(crate) fn drain<E: From<MergeError>>(
        &mut self,
        mut put: impl FnMut(&[u8], &[u8], Origin) -> Result<(), E>,
    ) -> Result<(), E> {
        self.bytes = 0;
        let blocks = std::mem::take(&mut self.blocks);
        let sources = blocks.into_iter().map(|block| BlockReader { block, next: 0 }).collect();
        let mut merge: Merge<BlockReader> = Merge::new(sources);
        while let Some(row) = merge.next()? {
            put(row.key(), row.value(), row.block.origin(row.rank()))?;
        }
        Ok(())
    }
}

struct BlockReader {
    block: Block,
    next: usize,
}

impl BlockReader {
    fn rank(&self) -> usize {
        self.next.saturating_sub(1)
    }
}

impl Ordered for BlockReader {
    fn advance(&mut self) -> Result<bool, EngineError> {
        let more = self.next < self.block.len();
        self.next += usize::from(more);
        Ok(more)
    }

    fn key(&self) -> &[u8] {
        self.block.key(self.rank())
    }

    fn value(&self) -> &[u8] {
        self.block.value(self.rank())
    }

    fn origin(&self) -> Option<Origin> {
        Some(self.block.origin(self.rank()))
    }
}
