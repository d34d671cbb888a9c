//! The one write path for rows: ordered changes under key locks, committed as one batch.
//!
//! A writer (1) names the keys it is going to decide about with [`WriteSet::lock`], (2) reads them
//! with [`WriteSet::get`], which sees the writer's own changes first and committed rows next, (3) puts
//! and deletes, (4) commits. Between (1) and (4) no other write set that locked the same keys can
//! run, so a decision like "this key does not exist yet" still holds when the batch is written.
//! Transactions, backfill capture and row counters attach here; nothing else writes rows.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::batch::{Batch, Sync};
use crate::error::Result;
use crate::id::{SpanId, SpanRef};
use crate::key_lock::KeyGuard;
use crate::open::Engine;

/// An ordered set of row changes. Dropped without [`WriteSet::commit`], nothing has happened.
#[derive(Debug)]
pub struct WriteSet {
    engine: Engine,
    batch: Batch,
    /// What this set did to each row so far: `None` means deleted.
    own: BTreeMap<(SpanId, Vec<u8>), Option<Bytes>>,
    locks: Vec<KeyGuard>,
}

impl WriteSet {
    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine, batch: Batch::new(), own: BTreeMap::new(), locks: Vec::new() }
    }

    /// Locks logical keys (by convention: table id, index id, encoded key) until the set is
    /// committed or dropped. Call it once, with every key of the statement, before reading:
    /// stripes are taken in ascending order, so one call cannot deadlock and two could.
    pub fn lock(&mut self, keys: &[Vec<u8>]) {
        debug_assert!(self.locks.is_empty(), "all keys are locked by one call");
        self.locks.push(self.engine.key_locks().lock(keys));
    }

    /// The row as this set would leave it.
    ///
    /// # Errors
    /// A storage error.
    pub fn get(&self, span: SpanRef, user_key: &[u8]) -> Result<Option<Bytes>> {
        match self.own.get(&(span.id, user_key.to_vec())) {
            Some(own) => Ok(own.clone()),
            None => self.engine.get_row(span, user_key),
        }
    }

    /// Puts a row.
    pub fn put(&mut self, span: SpanRef, user_key: &[u8], value: &[u8]) {
        self.own.insert((span.id, user_key.to_vec()), Some(Bytes::copy_from_slice(value)));
        self.batch.put_row(span, user_key, value);
    }

    /// Deletes a row; one that does not exist is fine.
    pub fn delete(&mut self, span: SpanRef, user_key: &[u8]) {
        self.own.insert((span.id, user_key.to_vec()), None);
        self.batch.delete_row(span, user_key);
    }

    /// The batch itself, for records that must be committed together with the rows.
    pub fn batch_mut(&mut self) -> &mut Batch {
        &mut self.batch
    }

    /// Writes everything in one batch and frees the locks.
    ///
    /// # Errors
    /// A storage error: the batch was applied fully or not at all, but may already be durable.
    pub fn commit(self, sync: Sync) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.engine.commit(self.batch, sync)
    }
}
