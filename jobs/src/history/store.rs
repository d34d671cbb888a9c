//! Entries in and out of the store.

use bytes::Bytes;
use cairn_engine::envelope::kind;
use cairn_engine::{Batch, Corruption, Engine, Family};
use prost::Message as _;

use super::{ENTRIES_MAX, HistoryEntry, HistoryRecord, key};
use crate::error::Result;
use crate::id::JobId;
use crate::record::Control;

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
    let entry = key(control.id, number);
    batch.put_record(Family::History, &entry, kind::JOB_HISTORY, &record.encode_to_vec());
    if let Some(oldest) = number.checked_sub(ENTRIES_MAX) {
        batch.delete(Family::History, &key(control.id, oldest));
    }
    control.history_next = number.saturating_add(1);
}

/// The entries of a job, oldest first.
///
/// # Errors
/// A storage error or a damaged record.
pub(crate) fn load(engine: &Engine, id: JobId) -> Result<Vec<HistoryEntry>> {
    let decode = |(key, record): (Bytes, Result<(_, Bytes), Corruption>)| {
        Ok(super::decode(&key, &record?.1)?)
    };
    engine.records(Family::History, &id.to_be_bytes())?.into_iter().map(decode).collect()
}
