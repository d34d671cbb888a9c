//! The storage engine under Cairn's jobs: RocksDB with private key spans, bulk ingest, and cleanup that
//! the rest of the database does not notice.
//!
//! Promises: a [`Batch`] is atomic and durable; what is ingested into a claimed span appears whole or not
//! at all; a condemned span disappears, and its neighbours do not notice. The engine knows no jobs, only
//! owners; no tables, only spans.
//!
//! ```
//! use cairn_engine::{Batch, Engine, Options, SpanFamily, SpanRef, Sync};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let engine = Engine::open(Options::small(folder.path()))?;
//! let span = SpanRef { id: engine.new_span_id()?, family: SpanFamily::Rows };
//! let mut batch = Batch::new();
//! batch.put_row(span, b"key", b"value");
//! engine.commit(batch, Sync::Yes)?;
//! assert_eq!(engine.get_row(span, b"key")?.as_deref(), Some(&b"value"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! Without the default feature `store` only the codecs are built (keys, envelopes, records): no RocksDB.

pub mod envelope;
mod error;
mod family;
mod id;
pub mod key;
mod record;

#[cfg(feature = "store")]
mod ballast;
#[cfg(feature = "store")]
mod baseline;
#[cfg(feature = "store")]
mod batch;
#[cfg(feature = "store")]
pub mod blocking;
#[cfg(feature = "store")]
mod budget;
#[cfg(feature = "store")]
mod claim;
#[cfg(feature = "store")]
mod closing;
#[cfg(feature = "store")]
#[cfg(test)]
mod closing_model_test;
#[cfg(feature = "store")]
mod committer;
#[cfg(feature = "store")]
mod counter;
#[cfg(feature = "store")]
mod crash;
#[cfg(feature = "store")]
mod disk;
#[cfg(feature = "store")]
mod doctor;
#[cfg(feature = "store")]
mod ffi;
#[cfg(feature = "store")]
mod governor;
#[cfg(feature = "store")]
mod holder;
#[cfg(feature = "store")]
mod ingest;
#[cfg(feature = "store")]
mod key_lock;
#[cfg(feature = "store")]
#[cfg(test)]
mod key_lock_model_test;
mod latch;
#[cfg(test)]
mod latch_model_test;
#[cfg(feature = "store")]
mod latches;
#[cfg(feature = "store")]
mod latency;
#[cfg(feature = "store")]
mod log;
#[cfg(feature = "store")]
mod memory;
pub mod metrics;
#[cfg(feature = "store")]
mod open;
#[cfg(feature = "store")]
mod options;
#[cfg(feature = "store")]
mod pacer;
#[cfg(feature = "store")]
mod reclaim;
#[cfg(feature = "store")]
mod reclaimer;
#[cfg(test)]
mod reclaimer_test;
#[cfg(feature = "store")]
mod residue;
#[cfg(feature = "store")]
mod tombstone;
#[cfg(feature = "store")]
mod trash;
#[cfg(feature = "store")]
mod tuning;
#[cfg(feature = "store")]
mod upkeep;
#[cfg(feature = "store")]
mod usage;
#[cfg(feature = "store")]
mod view;
#[cfg(feature = "store")]
mod write_set;
#[cfg(feature = "store")]
mod writer;

pub use envelope::Kind;
pub use error::{Corruption, EngineError, Panicked, Result};
pub use family::Family;
pub use id::{Epoch, OwnerId, SpanFamily, SpanId, SpanRef};
pub use latch::{EpochLock, Latch};
pub use record::{Claim, ClaimKind, Tombstone, recode};

#[cfg(feature = "store")]
pub use baseline::{Comparison, Statistic};
#[cfg(feature = "store")]
pub use batch::{Batch, Sync};
#[cfg(feature = "store")]
pub use budget::Class;
#[cfg(feature = "store")]
pub use crash::CrashPlan;
#[cfg(all(feature = "store", any(test, feature = "testkit")))]
pub use disk::forgetful::{ForgetfulDisk, Lost};
#[cfg(feature = "store")]
pub use disk::{Disk, DiskFile, SystemDisk};
#[cfg(feature = "store")]
pub use doctor::{Finding, Severity};
#[cfg(feature = "store")]
pub use governor::GovernorLimits;
#[cfg(feature = "store")]
pub use ingest::Recovered;
#[cfg(feature = "store")]
pub use latency::{Foreground, Operation};
#[cfg(feature = "store")]
pub use memory::MemoryUse;
#[cfg(feature = "store")]
pub use open::{Engine, FORMAT_VERSION};
#[cfg(feature = "store")]
pub use options::Options;
#[cfg(feature = "store")]
pub use pacer::{Governor, GovernorStatus};
#[cfg(feature = "store")]
pub use reclaimer::{ReclaimCounts, ReclaimEvent, ReclaimHandle, TombstoneStatus};
#[cfg(feature = "store")]
pub use rocksdb;
#[cfg(feature = "store")]
pub use tuning::Tuning;
#[cfg(feature = "store")]
pub use usage::DiskUsage;
#[cfg(feature = "store")]
pub use view::{ReadView, Scan};
#[cfg(feature = "store")]
pub use write_set::WriteSet;
#[cfg(feature = "store")]
pub use writer::{FILE_BYTES, SpanWriter, StagedBatch};
