//! What happened to a job, for people: one entry per change of state, retry, or adoption.
//!
//! Written in the batch of what it tells. At most [`ENTRIES_MAX`] entries are kept per job: a job that
//! is retried for a month does not fill the disk.

use bytes::Bytes;
use cairn_engine::envelope::kind;
use cairn_engine::{Batch, Corruption, Engine, Family};
use prost::Message;

use crate::clock::UnixMillis;
use crate::error::Result;
use crate::id::JobId;
use crate::record::Control;
use crate::state::State;

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

/// Notes what happened with the state as it is after it. Counts up in `control`, which is to be put
/// into the same batch afterwards.
pub(crate) fn note(
    batch: &mut Batch,
    control: &mut Control,
    event: &str,
    message: &str,
    user: &str,
) {
    let number = control.history_next;
    let record = HistoryRecord {
        at_ms: control.modified.raw(),
        event: event.to_owned(),
        state: control.standing.state.number(),
        message: message.to_owned(),
        user: user.to_owned(),
        epoch: control.epoch.raw(),
    };
    let key = key(control.id, number);
    batch.put_record(Family::History, &key, kind::JOB_HISTORY, &record.encode_to_vec());
    if let Some(oldest) = number.checked_sub(ENTRIES_MAX) {
        batch.delete(Family::History, &self::key(control.id, oldest));
    }
    control.history_next = number.saturating_add(1);
}

/// The entries of a job, oldest first.
///
/// # Errors
/// A storage error or a damaged record.
pub(crate) fn load(engine: &Engine, id: JobId) -> Result<Vec<HistoryEntry>> {
    let decode = |(key, record): (Bytes, Result<(_, Bytes), Corruption>)| {
        let bad = |expected: &str| Corruption::new(Family::History, &key, expected);
        let (_, number) = split_key(&key).ok_or_else(|| bad("a key of 12 bytes"))?;
        let record = HistoryRecord::decode(record?.1).map_err(|_| bad("a history record"))?;
        Ok(HistoryEntry {
            number,
            at: UnixMillis::from_raw(record.at_ms),
            event: record.event,
            state: State::from_number(record.state).ok_or_else(|| bad("a known state"))?,
            message: record.message,
            user: record.user,
        })
    };
    engine.records(Family::History, &id.to_be_bytes())?.into_iter().map(decode).collect()
}
