//! Rows in key order become batches of a span.

use cairn_engine::{Batch, Claim, SpanWriter};
use cairn_jobs::{Result, ThreadContext};

use super::ImportKind;
use super::args::ImportCheckpoint;

/// Fills a claimed span, batch by batch.
pub(crate) struct Batches<'a> {
    cx: &'a ThreadContext<ImportKind>,
    claim: Claim,
    next_batch: u64,
    writer: Option<SpanWriter>,
    /// Keys and values of the batch under way.
    pending_bytes: u64,
    /// The greatest key put; empty before the first.
    last_key: Vec<u8>,
}

impl<'a> Batches<'a> {
    /// Goes on behind what the span holds.
    pub(crate) fn new(cx: &'a ThreadContext<ImportKind>, claim: Claim) -> Result<Self> {
        let holds = cx.recover(&claim)?;
        let last_key = holds.bounds.map(|(_, last)| last.to_vec()).unwrap_or_default();
        let next_batch = holds.next_batch;
        Ok(Self { cx, claim, next_batch, writer: None, pending_bytes: 0, last_key })
    }

    /// The greatest key that the span will hold once the batch under way is in it.
    pub(crate) fn last_key(&self) -> Option<&[u8]> {
        (!self.last_key.is_empty()).then_some(self.last_key.as_slice())
    }

    /// Bytes of the batch under way.
    pub(crate) fn pending_bytes(&self) -> u64 {
        self.pending_bytes
    }

    /// Appends a row. The caller sees to the order.
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if self.writer.is_none() {
            self.writer = Some(SpanWriter::create(self.cx.engine(), &self.claim, self.next_batch)?);
        }
        if let Some(writer) = &mut self.writer {
            writer.put(key, value)?;
        }
        self.pending_bytes += (key.len() + value.len()) as u64;
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        Ok(())
    }

    /// Makes the batch part of the span, together with the checkpoint, to which its rows and bytes are
    /// added. Without rows only the checkpoint is stored.
    pub(crate) fn ingest(&mut self, checkpoint: &mut ImportCheckpoint) -> Result<()> {
        let Some(writer) = self.writer.take() else {
            return self.cx.commit(Batch::new(), checkpoint);
        };
        let staged = writer.finish()?;
        checkpoint.rows += staged.rows();
        checkpoint.bytes += staged.bytes();
        self.cx.ingest(&self.claim, &staged, checkpoint)?;
        self.next_batch += 1;
        self.pending_bytes = 0;
        Ok(())
    }
}
