//! Tombstones: the durable order to remove what nobody owns any more.
//!
//! A tombstone is written in the batch that takes the ownership away: a cancel, a failure, a DROP, a
//! TRUNCATE. From then on nothing names the span but the tombstone, and the reclaimer works it off.
//! (RocksDB's own tombstone is called a *range deletion* throughout.)
//!
//! Family `tombstones`, key: id u64 big-endian. The id is the span's, or the scratch folder's, and is
//! never reused, so a tombstone can never meet a successor.

use prost::Message;

use crate::batch::Batch;
use crate::claim::{keys_from_u32, keys_to_u32};
use crate::envelope::kind;
use crate::error::{Result, corrupt_body};
use crate::family::Family;
use crate::id::{OwnerId, SpanFamily, SpanId, SpanRef};
use crate::open::Engine;

/// What is to be removed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The span id and the name of the staging folder.
    pub id: SpanId,
    /// The family that holds keys of the span; `None` for a staging folder alone.
    pub keys: Option<SpanFamily>,
    /// Who owned it last; 0 for nobody.
    pub owner: OwnerId,
    /// For people: `job canceled by user`, `DROP TABLE t`.
    pub reason: String,
    /// When, in milliseconds since the Unix epoch.
    pub condemned_at_ms: u64,
    /// Bytes on disk when it was condemned, as an estimate.
    pub bytes: u64,
    /// Whether readers may still have it open: it was published once.
    pub published: bool,
}

#[derive(Clone, PartialEq, Message)]
struct TombstoneRecord {
    #[prost(uint32, tag = "1")]
    keys: u32,
    #[prost(uint64, tag = "2")]
    owner: u64,
    #[prost(string, tag = "3")]
    reason: String,
    #[prost(uint64, tag = "4")]
    condemned_at_ms: u64,
    #[prost(uint64, tag = "5")]
    bytes: u64,
    #[prost(bool, tag = "6")]
    published: bool,
}

impl Tombstone {
    /// The condemned span, unless this is a staging folder alone.
    #[must_use]
    pub fn span(&self) -> Option<SpanRef> {
        self.keys.map(|family| SpanRef { id: self.id, family })
    }

    pub(crate) fn put(&self, batch: &mut Batch) {
        let record = TombstoneRecord {
            keys: keys_to_u32(self.keys),
            owner: self.owner.raw(),
            reason: self.reason.clone(),
            condemned_at_ms: self.condemned_at_ms,
            bytes: self.bytes,
            published: self.published,
        };
        let key = self.id.raw().to_be_bytes();
        batch.put_record(Family::Tombstones, &key, kind::TOMBSTONE, &record.encode_to_vec());
    }

    pub(crate) fn remove(batch: &mut Batch, id: SpanId) {
        batch.delete(Family::Tombstones, &id.raw().to_be_bytes());
    }

    fn decode(key: &[u8], body: &[u8]) -> Result<Self> {
        let bad = |expected: &str| corrupt_body(Family::Tombstones, key, expected);
        let id: [u8; 8] = key.try_into().map_err(|_| bad("an 8-byte key"))?;
        let record = TombstoneRecord::decode(body).map_err(|_| bad("a tombstone record"))?;
        let keys = keys_from_u32(record.keys).ok_or_else(|| bad("a known kind of tombstone"))?;
        Ok(Self {
            id: SpanId::from_raw(u64::from_be_bytes(id)),
            keys,
            owner: OwnerId::from_raw(record.owner),
            reason: record.reason,
            condemned_at_ms: record.condemned_at_ms,
            bytes: record.bytes,
            published: record.published,
        })
    }
}

impl Engine {
    /// All tombstones by id, each readable or damaged.
    ///
    /// # Errors
    /// A storage error.
    pub fn tombstones(&self) -> Result<Vec<Result<Tombstone>>> {
        let records = self.records(Family::Tombstones, &[])?;
        let decode = |(key, record): (bytes::Bytes, Result<(_, bytes::Bytes), _>)| {
            Tombstone::decode(&key, &record?.1)
        };
        Ok(records.into_iter().map(decode).collect())
    }

    /// The tombstone of `id`, if it is condemned.
    ///
    /// # Errors
    /// A storage error or a damaged record.
    pub fn tombstone(&self, id: SpanId) -> Result<Option<Tombstone>> {
        let key = id.raw().to_be_bytes();
        let body = self.get_record(Family::Tombstones, &key, kind::TOMBSTONE)?;
        body.map(|body| Tombstone::decode(&key, &body)).transpose()
    }
}
