//! The counter of span ids: never reused, also not after a crash.
//!
//! Ids are handed out from a block whose end is durable before its first id is used. A crash wastes
//! the rest of the block (at most [`BLOCK`] ids of 2^48), which is cheaper than a sync per id.

use std::sync::{Mutex, PoisonError};

use crate::batch::{Batch, Sync};
use crate::envelope::kind;
use crate::error::Result;
use crate::family::Family;
use crate::id::SpanId;
use crate::open::Engine;
use crate::record;

/// Ids made durable at once.
const BLOCK: u64 = 256;

/// The key of the counter in `claims`: owner 0, which no job has.
pub(crate) const COUNTER_KEY: [u8; 9] = [0; 9];

#[derive(Debug, Default)]
struct Block {
    next: u64,
    end: u64,
}

/// Hands out ids.
#[derive(Debug, Default)]
pub(crate) struct Counter(Mutex<Block>);

impl Counter {
    /// An id that was never used before.
    pub(crate) fn next(&self, engine: &Engine) -> Result<SpanId> {
        let mut block = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if block.next == block.end {
            let start = durable_end(engine)?;
            let mut batch = Batch::new();
            let end = start + BLOCK;
            batch.put_record(Family::Claims, &COUNTER_KEY, kind::COUNTER, &end.to_be_bytes());
            engine.commit(batch, Sync::Yes)?;
            *block = Block { next: start, end };
        }
        let id = SpanId::from_raw(block.next);
        block.next += 1;
        Ok(id)
    }
}

/// The first id that was never handed out, as far as the store knows. Ids begin at 1.
pub(crate) fn durable_end(engine: &Engine) -> Result<u64> {
    let Some(body) = engine.get_record(Family::Claims, &COUNTER_KEY, kind::COUNTER)? else {
        return Ok(1);
    };
    Ok(record::counter(&COUNTER_KEY, &body)?)
}
