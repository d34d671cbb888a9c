//! Where the memory of a store is, as far as RocksDB counts it.

use crate::family::Family;
use crate::open::{Engine, handle};

/// Bytes of memory that RocksDB holds for a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Writes that are not in sorted files yet. Each family fills a buffer of its own and begins anew when it is
    /// full: 64 MiB for rows, 1 MiB for each kind of record (64 KiB with [`Options::small`](crate::Options::small)).
    pub write_buffer_bytes: u64,
    /// Cached blocks, with the indexes and filters of files; at most `Options::block_cache_bytes`.
    pub block_cache_bytes: u64,
    /// What open files need outside of the block cache.
    pub table_reader_bytes: u64,
}

impl Engine {
    /// What RocksDB holds in memory for this store: a momentary reading of its own counters, which looks at each open
    /// file. A counter that RocksDB does not answer is 0.
    #[must_use]
    pub fn memory_use(&self) -> MemoryUse {
        let mut memory =
            MemoryUse { block_cache_bytes: self.tuning().cached_bytes(), ..MemoryUse::default() };
        for family in Family::ALL {
            let Ok(family) = handle(self.db(), family) else { continue };
            let property = |name: &str| {
                self.db().property_int_value_cf(&family, name).ok().flatten().unwrap_or_default()
            };
            memory.write_buffer_bytes += property("rocksdb.size-all-mem-tables");
            memory.table_reader_bytes += property("rocksdb.estimate-table-readers-mem");
        }
        memory
    }
}
