//! IMPORT: files become rows of a table, as a job.
//!
//! The table is empty when the job is planned, and nobody sees a row of it until all of them appear in
//! one batch. Two roads lead there:
//!
//! ```text
//! files -> records -> encoded rows --- in key order ------------------> span   (direct)
//!                                  \-- not: sorted runs -> merge -----> span   (sort, merge)
//! ```
//!
//! An import begins on the direct road. When a block of rows does not continue the order, the rows that
//! came before stay where they are, in the first span, and everything from there on goes into sorted
//! runs in a scratch folder. At the end all runs *and the first span, which is one more sorted run,* are
//! merged into a second span, and that one is published; the first goes away with the scratch folder.
//! So each row is parsed once, a duplicate between any two places meets itself in the merge, and the
//! published table is one span again. The price: the rows of the first span are written twice.
//!
//! # Checkpoints
//!
//! Each batch that is ingested, and each run, is a checkpoint: a place in the list of files (byte,
//! line, record), and while merging the last key and a block per run. A batch is cut when its rows
//! have `bulkio.ingest.max_bytes`, or 32 MiB if that is less: at the speed of one core a third of a
//! second of work. Cutting by bytes and not by the clock makes the same batches of the same files.
//! Rows do not depend on where batches are cut, so the batch that is done again after a crash holds the
//! same bytes; the intent that the engine keeps for it has its bounds.
//!
//! # Left out
//!
//! - Tables that have rows: they answer 55000.
//! - Making the passes of a merge of more than 64 runs resumable inside a pass: with 256 MiB of memory
//!   that is a sort of more than 16 GiB, and a pass is done again from its beginning.

pub(crate) mod args;
mod batches;
mod job;
mod merge;
mod options;
mod plan;
mod publish;
mod rows;
mod run;
mod sort;
mod source;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use cairn_jobs::{Context, JobKind, Result};

pub use args::{ImportArgs, ImportCheckpoint};
pub(crate) use plan::plan;

use crate::catalog::Catalog;
use crate::place::External;

/// The kind of job that IMPORT submits.
#[derive(Debug, Clone)]
pub struct ImportKind {
    catalog: Catalog,
    external: External,
    limits: Limits,
}

impl ImportKind {
    /// Imports into tables of `catalog` from files below `external_dir`.
    #[must_use]
    pub fn new(catalog: Catalog, external_dir: impl Into<PathBuf>) -> Self {
        Self { catalog, external: External::new(external_dir), limits: Limits::default() }
    }

    /// The same with other limits, so that a small test takes every road.
    #[cfg(test)]
    fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}

/// Upper limits beside the settings.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Encoded rows that are handed from reading to writing at once.
    block_bytes: usize,
    /// Encoded rows of a batch.
    batch_bytes: u64,
    /// Memory for sorting.
    memory_bytes: u64,
    /// Sources that are merged at once.
    fan_in: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            block_bytes: rows::BLOCK_BYTES,
            batch_bytes: 32 << 20,
            memory_bytes: u64::MAX,
            fan_in: merge::FAN_IN_MAX,
        }
    }
}

impl JobKind for ImportKind {
    const NAME: &'static str = "IMPORT";
    type Args = ImportArgs;
    type Checkpoint = ImportCheckpoint;

    async fn run(&self, cx: Context<Self>) -> Result<()> {
        let kind = self.clone();
        cx.on_thread(move |cx| job::run(&kind, cx)).await
    }
}
