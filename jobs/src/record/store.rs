//! Records of jobs in and out of the store.

use bytes::Bytes;
use cairn_engine::envelope::kind;
use cairn_engine::{Batch, Corruption, Engine, Family};
use prost::Message as _;

use super::{CheckpointRecord, Control, FIRST, PayloadRecord, ProgressRecord, SECOND, key};
use crate::error::Result;
use crate::id::JobId;

impl Control {
    /// Adds the record to a batch.
    pub(crate) fn put(&self, batch: &mut Batch) {
        let key = key(FIRST, self.id);
        batch.put_record(Family::Jobs, &key, kind::JOB_CONTROL, &self.record().encode_to_vec());
    }

    pub(crate) fn load(engine: &Engine, id: JobId) -> Result<Option<Self>> {
        let key = key(FIRST, id);
        let Some(body) = engine.get_record(Family::Jobs, &key, kind::JOB_CONTROL)? else {
            return Ok(None);
        };
        Ok(Some(Self::decode(&key, &body)?))
    }

    /// All jobs in order of submission, each readable or damaged. Reads no payload.
    pub(crate) fn load_all(engine: &Engine) -> Result<Vec<Result<Self, Corruption>>> {
        let records = engine.records(Family::Jobs, &[FIRST])?;
        let decode =
            |(key, record): (Bytes, Result<(_, Bytes), Corruption>)| Self::decode(&key, &record?.1);
        Ok(records.into_iter().map(decode).collect())
    }
}

impl PayloadRecord {
    pub(crate) fn put(&self, batch: &mut Batch, id: JobId) {
        let key = key(SECOND, id);
        batch.put_record(Family::Jobs, &key, kind::JOB_PAYLOAD, &self.encode_to_vec());
    }

    pub(crate) fn load(engine: &Engine, id: JobId) -> Result<Self> {
        let key = key(SECOND, id);
        let body = engine
            .get_record(Family::Jobs, &key, kind::JOB_PAYLOAD)?
            .ok_or_else(|| Corruption::new(Family::Jobs, &key, "the payload of a job"))?;
        Ok(Self::from_body(&key, body)?)
    }
}

impl CheckpointRecord {
    pub(crate) fn put(&self, batch: &mut Batch, id: JobId) {
        let key = key(SECOND, id);
        batch.put_record(Family::Progress, &key, kind::JOB_CHECKPOINT, &self.encode_to_vec());
    }

    pub(crate) fn load(engine: &Engine, id: JobId) -> Result<Option<Self>> {
        let key = key(SECOND, id);
        let body = engine.get_record(Family::Progress, &key, kind::JOB_CHECKPOINT)?;
        Ok(body.map(|body| Self::from_body(&key, body)).transpose()?)
    }
}

impl ProgressRecord {
    pub(crate) fn put(&self, batch: &mut Batch, id: JobId) {
        let key = key(FIRST, id);
        batch.put_record(Family::Progress, &key, kind::JOB_PROGRESS, &self.encode_to_vec());
    }

    pub(crate) fn load(engine: &Engine, id: JobId) -> Result<Option<Self>> {
        let key = key(FIRST, id);
        let Some(body) = engine.get_record(Family::Progress, &key, kind::JOB_PROGRESS)? else {
            return Ok(None);
        };
        Ok(Some(Self::from_body(&key, body)?))
    }
}
