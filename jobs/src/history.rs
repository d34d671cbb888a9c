//! What happened to a job, for people: one entry per change of state, retry, or adoption.
//!
//! Written in the batch of what it tells. At most [`ENTRIES_MAX`] entries are kept per job: a job that
//! is retried for a month does not fill the disk.

#[cfg(feature = "store")]
mod store;

use cairn_engine::{Corruption, Family};
use prost::Message;

use crate::clock::UnixMillis;
use crate::id::JobId;
use crate::state::State;
#[cfg(feature = "store")]
pub(crate) use store::{load, note};

/// Entries kept per job; older ones are removed.
pub const ENTRIES_MAX: u32 = 100;

/// One thing that happened to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Counts from 0.
    pub number: u32,
    /// When.
    pub at: UnixMillis,
    /// What: `submit`, `start`, `request-cancel`.
    pub event: String,
    /// The state afterwards.
    pub state: State,
    /// More: the error, the reason.
    pub message: String,
    /// Who asked for it; empty for the system.
    pub user: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct HistoryRecord {
    #[prost(uint64, tag = "1")]
    pub(crate) at_ms: u64,
    #[prost(string, tag = "2")]
    pub(crate) event: String,
    #[prost(uint32, tag = "3")]
    pub(crate) state: u32,
    #[prost(string, tag = "4")]
    pub(crate) message: String,
    #[prost(string, tag = "5")]
    pub(crate) user: String,
    #[prost(uint64, tag = "6")]
    pub(crate) epoch: u64,
}

pub(crate) fn key(id: JobId, number: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&id.to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

pub(crate) fn split_key(key: &[u8]) -> Option<(JobId, u32)> {
    let (id, number) = key.split_first_chunk::<8>()?;
    Some((JobId::from_be_bytes(id)?, u32::from_be_bytes(number.try_into().ok()?)))
}

impl HistoryRecord {
    pub(crate) fn from_body(key: &[u8], body: &[u8]) -> Result<Self, Corruption> {
        Self::decode(body).map_err(|_| Corruption::new(Family::History, key, "a history record"))
    }
}

/// Reads a stored entry.
pub(crate) fn decode(key: &[u8], body: &[u8]) -> Result<HistoryEntry, Corruption> {
    let bad = |expected: &str| Corruption::new(Family::History, key, expected);
    let (_, number) = split_key(key).ok_or_else(|| bad("a key of 12 bytes"))?;
    let record = HistoryRecord::from_body(key, body)?;
    Ok(HistoryEntry {
        number,
        at: UnixMillis::from_raw(record.at_ms),
        event: record.event,
        state: State::from_number(record.state).ok_or_else(|| bad("a known state"))?,
        message: record.message,
        user: record.user,
    })
}
