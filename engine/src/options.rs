//! How to open a store.

use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::{Disk, SystemDisk};

/// How to open a store. Plain data; every value is valid.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder of the store; made if it does not exist.
    pub path: PathBuf,
    /// Bytes of cached blocks.
    pub block_cache_bytes: u64,
    /// Small buffers and files, so that a few rows reach every level: for tests.
    pub small: bool,
    /// Partition files of `bulk` by span. Off only in tests that want straddling files.
    pub partition: bool,
    /// Limit on all background bytes per second; 0 for none.
    pub background_bytes_per_second: u64,
    /// Bytes of a file that holds some of the disk back, so that what makes room is taken on a full one; 0 for none.
    /// Below about 256 MiB RocksDB may not go on by itself after it has met a full disk.
    pub ballast_bytes: u64,
    /// Start with reclaim paused (see [`ReclaimHandle::pause`](crate::ReclaimHandle::pause)). Where jobs run, they follow their setting `reclaim.paused` once they are
    /// started: a host whose pause is to outlast a restart opens its store paused.
    pub reclaim_paused: bool,
    /// Change nothing: no file is written, nothing is swept or reclaimed. For the doctor.
    pub read_only: bool,
    /// The disk under files of our own.
    pub disk: Arc<dyn Disk>,
    /// The disk under RocksDB.
    #[cfg(test)]
    pub(crate) database_disk: Option<crate::ffi::FaultyDisk>,
}

impl Options {
    /// The defaults for a store at `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            block_cache_bytes: 256 << 20,
            small: false,
            partition: true,
            background_bytes_per_second: 0,
            ballast_bytes: 256 << 20,
            reclaim_paused: false,
            read_only: false,
            disk: Arc::new(SystemDisk),
            #[cfg(test)]
            database_disk: None,
        }
    }

    /// Small buffers for tests: opens fast, and a few rows reach every level. No ballast, and no log of RocksDB's: its
    /// warnings go to `tracing`.
    #[must_use]
    pub fn small(path: impl Into<PathBuf>) -> Self {
        Self { small: true, block_cache_bytes: 8 << 20, ballast_bytes: 0, ..Self::new(path) }
    }
}
