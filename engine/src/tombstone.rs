//! Tombstones: the durable order to remove what nobody owns any more.
//!
//! A tombstone is written in the batch that takes the ownership away: a cancel, a failure, a DROP, a
//! TRUNCATE. From then on nothing names the span but the tombstone, and the reclaimer works it off.
//! (RocksDB's own tombstone is called a *range deletion* throughout.)
//!
//! The id is the span's, or the scratch folder's, and is never reused, so a tombstone can never meet a
//! successor. What is stored is in `record.rs`.

use crate::batch::Batch;
use crate::envelope::kind;
use crate::error::Result;
use crate::family::Family;
use crate::id::SpanId;
use crate::open::Engine;
use crate::record::Tombstone;

impl Tombstone {
    pub(crate) fn put(&self, batch: &mut Batch) {
        let key = self.id.raw().to_be_bytes();
        batch.put_record(Family::Tombstones, &key, kind::TOMBSTONE, &self.encode());
    }

    pub(crate) fn remove(batch: &mut Batch, id: SpanId) {
        batch.delete(Family::Tombstones, &id.raw().to_be_bytes());
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
            Ok(Tombstone::decode(&key, &record?.1)?)
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
        Ok(body.map(|body| Tombstone::decode(&key, &body)).transpose()?)
    }
}
