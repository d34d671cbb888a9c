//! One atomic step: everything in a [`Batch`] becomes visible and durable together, or nothing.

use rocksdb::{DB, WriteBatch};

use crate::envelope::{self, Kind};
use crate::error::Result;
use crate::family::Family;
use crate::ffi;
use crate::id::{SpanId, SpanRef};
use crate::key;
use crate::open::handle;

/// Whether a commit waits until the write-ahead log is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Return when the batch survives a loss of power.
    Yes,
    /// Return when the batch survives the death of the process; the next synced commit makes it
    /// durable. For what can be derived again.
    No,
}

#[derive(Debug, Clone)]
enum Op {
    Put(Family, Vec<u8>, bytes::Bytes),
    Delete(Family, Vec<u8>),
    /// RocksDB's range deletion over the whole window of a span.
    DeleteSpan(SpanRef),
}

/// Changes that are committed as one by [`crate::Engine::commit`]. Nothing is visible or durable
/// before.
#[derive(Debug, Default, Clone)]
pub struct Batch {
    ops: Vec<Op>,
    bytes: usize,
    has_rows: bool,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a sealed record (see [`crate::envelope`]) under `key`.
    pub fn put_record(&mut self, family: Family, key: &[u8], kind: Kind, body: &[u8]) {
        let sealed = envelope::seal(family, key, kind, body);
        self.bytes += key.len() + sealed.len();
        self.ops.push(Op::Put(family, key.to_vec(), sealed));
    }

    /// Deletes the record under `key`; one that does not exist is fine.
    pub fn delete(&mut self, family: Family, key: &[u8]) {
        self.bytes += key.len();
        self.ops.push(Op::Delete(family, key.to_vec()));
    }

    /// Puts a row under its key-encoded primary key.
    pub fn put_row(&mut self, span: SpanRef, user_key: &[u8], value: &[u8]) {
        let key = key::row_key(span.id, user_key);
        self.has_rows = true;
        self.bytes += key.len() + value.len();
        self.ops.push(Op::Put(span.family.into(), key, bytes::Bytes::copy_from_slice(value)));
    }

    /// Deletes a row; one that does not exist is fine.
    pub fn delete_row(&mut self, span: SpanRef, user_key: &[u8]) {
        let key = key::row_key(span.id, user_key);
        self.has_rows = true;
        self.bytes += key.len();
        self.ops.push(Op::Delete(span.family.into(), key));
    }

    /// Shadows every key of the span by one range deletion. Only reclaim does this: the order
    /// rule (files first) is its business.
    pub(crate) fn delete_span(&mut self, span: SpanRef) {
        self.ops.push(Op::DeleteSpan(span));
    }

    /// Appends all changes of `other` after those of this batch.
    pub fn append(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.has_rows |= other.has_rows;
        self.ops.extend(other.ops);
    }

    /// Whether nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Whether rows are put or deleted.
    #[must_use]
    pub fn has_rows(&self) -> bool {
        self.has_rows
    }

    /// Bytes of keys and values, without RocksDB's overhead.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.bytes
    }

    /// The spans whose rows this batch puts or deletes, each once.
    #[must_use]
    pub fn spans(&self) -> Vec<SpanId> {
        let mut spans: Vec<SpanId> = self
            .ops
            .iter()
            .filter_map(|op| match op {
                Op::Put(family, key, _) | Op::Delete(family, key)
                    if matches!(family, Family::Rows | Family::Bulk) =>
                {
                    key::split_row_key(key).map(|(span, _)| span)
                }
                Op::DeleteSpan(span) => Some(span.id),
                Op::Put(..) | Op::Delete(..) => None,
            })
            .collect();
        spans.sort_unstable();
        spans.dedup();
        spans
    }

    /// Answers the sequence number of the last change.
    pub(crate) fn write(self, db: &DB, sync: Sync) -> Result<Option<u64>> {
        let mut batch = WriteBatch::default();
        for op in self.ops {
            match op {
                Op::Put(family, key, value) => batch.put_cf(&handle(db, family)?, key, value),
                Op::Delete(family, key) => batch.delete_cf(&handle(db, family)?, key),
                Op::DeleteSpan(span) => {
                    let (lower, upper) = key::span_bounds(span.id);
                    let family = handle(db, span.family.into())?;
                    batch.delete_range_cf(&family, lower, upper);
                }
            }
        }
        ffi::write(db, &batch, sync == Sync::Yes)
    }
}
