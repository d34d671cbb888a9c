//! What is stored about a job, and under which key.
//!
//! | family | key | record |
//! |---|---|---|
//! | `jobs` | `01`, job id | control: state, epoch, and all that decides what happens next |
//! | `jobs` | `02`, job id | payload: the arguments, immutable |
//! | `progress` | `01`, job id | progress, for people |
//! | `progress` | `02`, job id | checkpoint: where the job goes on |
//! | `history` | job id, number u32 | one thing that happened |
//!
//! Integers in keys are big-endian, so control records are in order of submission, and listing jobs
//! reads neither payloads nor checkpoints. Bodies are protobuf.
//!
//! [`Control`] is what the rest of the crate works with; [`ControlRecord`] is its stored form, and
//! [`Control::decode`] is the only way from one to the other. Putting and loading is in
//! `record/store.rs`.

#[cfg(feature = "store")]
mod store;

use bytes::Bytes;
use cairn_engine::envelope::kind;
use cairn_engine::{Corruption, Epoch, Family, Kind};
use prost::Message;

use crate::clock::UnixMillis;
use crate::error::Failure;
use crate::history::{self, HistoryRecord};
use crate::id::JobId;
use crate::progress::Progress;
use crate::settings::{self, SettingRecord};
use crate::state::{Cause, Standing, State};

pub(crate) const FIRST: u8 = 1;
pub(crate) const SECOND: u8 = 2;

/// Everything that decides what happens next with a job.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Control {
    pub(crate) id: JobId,
    pub(crate) kind: String,
    pub(crate) standing: Standing,
    /// Grows with every change of who may write.
    pub(crate) epoch: Epoch,
    pub(crate) description: String,
    pub(crate) statement: String,
    pub(crate) user: String,
    pub(crate) subject: Option<u64>,
    pub(crate) cancellable: bool,
    pub(crate) has_undo: bool,
    pub(crate) created: UnixMillis,
    pub(crate) started: Option<UnixMillis>,
    pub(crate) finished: Option<UnixMillis>,
    pub(crate) modified: UnixMillis,
    /// Attempts of `run` that began.
    pub(crate) attempts: u32,
    /// Errors in a row since the last pause, resume or change of direction.
    pub(crate) retries: u32,
    pub(crate) next_run: Option<UnixMillis>,
    /// What people should know now: the error before a retry, the reason of a pause.
    pub(crate) message: String,
    /// The pause point at which the job paused itself.
    pub(crate) pause_point: String,
    pub(crate) error: Option<Failure>,
    /// Number of the next history entry.
    pub(crate) history_next: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ControlRecord {
    #[prost(string, tag = "1")]
    pub(crate) kind: String,
    #[prost(uint32, tag = "2")]
    pub(crate) state: u32,
    /// 0: none, 1: cancel, 2: failure.
    #[prost(uint32, tag = "3")]
    pub(crate) cause: u32,
    #[prost(uint64, tag = "4")]
    pub(crate) epoch: u64,
    #[prost(string, tag = "5")]
    pub(crate) description: String,
    #[prost(string, tag = "6")]
    pub(crate) statement: String,
    #[prost(string, tag = "7")]
    pub(crate) user: String,
    #[prost(uint64, optional, tag = "8")]
    pub(crate) subject: Option<u64>,
    #[prost(bool, tag = "9")]
    pub(crate) cancellable: bool,
    #[prost(bool, tag = "10")]
    pub(crate) has_undo: bool,
    #[prost(uint64, tag = "11")]
    pub(crate) created_ms: u64,
    #[prost(uint64, optional, tag = "12")]
    pub(crate) started_ms: Option<u64>,
    #[prost(uint64, optional, tag = "13")]
    pub(crate) finished_ms: Option<u64>,
    #[prost(uint64, tag = "14")]
    pub(crate) modified_ms: u64,
    #[prost(uint32, tag = "15")]
    pub(crate) attempts: u32,
    #[prost(uint32, tag = "16")]
    pub(crate) retries: u32,
    #[prost(uint64, optional, tag = "17")]
    pub(crate) next_run_ms: Option<u64>,
    #[prost(string, tag = "18")]
    pub(crate) message: String,
    #[prost(string, tag = "19")]
    pub(crate) pause_point: String,
    #[prost(message, optional, tag = "20")]
    pub(crate) error: Option<FailureRecord>,
    #[prost(uint32, tag = "21")]
    pub(crate) history_next: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct FailureRecord {
    #[prost(string, tag = "1")]
    pub(crate) code: String,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    #[prost(string, optional, tag = "3")]
    pub(crate) detail: Option<String>,
    #[prost(string, optional, tag = "4")]
    pub(crate) hint: Option<String>,
}

/// The arguments of a job.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PayloadRecord {
    /// The version of the kind that wrote them.
    #[prost(uint32, tag = "1")]
    pub(crate) version: u32,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) args: Bytes,
}

/// Where a job goes on. Stored under its own key, and in the marks of ingested spans.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct CheckpointRecord {
    /// The version of the kind that wrote it.
    #[prost(uint32, tag = "1")]
    pub(crate) version: u32,
    /// Counts the checkpoints of the job: of two, the one with the higher number holds.
    #[prost(uint64, tag = "2")]
    pub(crate) sequence: u64,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) body: Bytes,
}

/// How far a job is.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ProgressRecord {
    #[prost(string, tag = "1")]
    pub(crate) phase: String,
    #[prost(double, tag = "2")]
    pub(crate) fraction: f64,
    #[prost(uint64, tag = "3")]
    pub(crate) rows: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) index_entries: u64,
    #[prost(uint64, tag = "5")]
    pub(crate) bytes: u64,
    #[prost(uint64, tag = "6")]
    pub(crate) bytes_total: u64,
    #[prost(string, tag = "7")]
    pub(crate) message: String,
}

/// A key of `jobs` or `progress`.
pub(crate) fn key(which: u8, id: JobId) -> [u8; 9] {
    let mut key = [which; 9];
    key[1..].copy_from_slice(&id.to_be_bytes());
    key
}

/// Takes a key of `jobs` or `progress` apart.
pub(crate) fn split_key(key: &[u8]) -> Option<(u8, JobId)> {
    let (&which, id) = key.split_first()?;
    Some((which, JobId::from_be_bytes(id)?))
}

impl Control {
    fn record(&self) -> ControlRecord {
        ControlRecord {
            kind: self.kind.clone(),
            state: self.standing.state.number(),
            cause: match self.standing.cause {
                None => 0,
                Some(Cause::Cancel) => 1,
                Some(Cause::Failure) => 2,
            },
            epoch: self.epoch.raw(),
            description: self.description.clone(),
            statement: self.statement.clone(),
            user: self.user.clone(),
            subject: self.subject,
            cancellable: self.cancellable,
            has_undo: self.has_undo,
            created_ms: self.created.raw(),
            started_ms: self.started.map(UnixMillis::raw),
            finished_ms: self.finished.map(UnixMillis::raw),
            modified_ms: self.modified.raw(),
            attempts: self.attempts,
            retries: self.retries,
            next_run_ms: self.next_run.map(UnixMillis::raw),
            message: self.message.clone(),
            pause_point: self.pause_point.clone(),
            error: self.error.clone().map(FailureRecord::from),
            history_next: self.history_next,
        }
    }

    /// Reads a stored control record.
    pub(crate) fn decode(key: &[u8], body: &[u8]) -> Result<Self, Corruption> {
        let bad = |expected: &str| Corruption::new(Family::Jobs, key, expected);
        let (_, id) = split_key(key).ok_or_else(|| bad("a key with a job id"))?;
        let record = ControlRecord::decode(body).map_err(|_| bad("a job control record"))?;
        let state = State::from_number(record.state).ok_or_else(|| bad("a known state"))?;
        let cause = match record.cause {
            0 => None,
            1 => Some(Cause::Cancel),
            2 => Some(Cause::Failure),
            _ => return Err(bad("a known cause")),
        };
        Ok(Self {
            id,
            kind: record.kind,
            standing: Standing { state, cause },
            epoch: Epoch::from_raw(record.epoch),
            description: record.description,
            statement: record.statement,
            user: record.user,
            subject: record.subject,
            cancellable: record.cancellable,
            has_undo: record.has_undo,
            created: UnixMillis::from_raw(record.created_ms),
            started: record.started_ms.map(UnixMillis::from_raw),
            finished: record.finished_ms.map(UnixMillis::from_raw),
            modified: UnixMillis::from_raw(record.modified_ms),
            attempts: record.attempts,
            retries: record.retries,
            next_run: record.next_run_ms.map(UnixMillis::from_raw),
            message: record.message,
            pause_point: record.pause_point,
            error: record.error.map(Failure::from),
            history_next: record.history_next,
        })
    }
}

impl PayloadRecord {
    pub(crate) fn from_body(key: &[u8], body: Bytes) -> Result<Self, Corruption> {
        Self::decode(body).map_err(|_| Corruption::new(Family::Jobs, key, "a job payload record"))
    }
}

impl CheckpointRecord {
    /// Reads a checkpoint from a record of this crate or from the mark of a span.
    pub(crate) fn from_body(key: &[u8], body: Bytes) -> Result<Self, Corruption> {
        let damage = |_| Corruption::new(Family::Progress, key, "a job checkpoint record");
        Self::decode(body).map_err(damage)
    }
}

impl ProgressRecord {
    pub(crate) fn from_body(key: &[u8], body: Bytes) -> Result<Self, Corruption> {
        let damage = |_| Corruption::new(Family::Progress, key, "a job progress record");
        Self::decode(body).map_err(damage)
    }
}

/// Decodes the body of a record of this crate, and encodes what was understood. For those who check the
/// decoders from outside.
///
/// # Errors
/// [`Corruption`] for what no release has written, and for kinds of other crates.
pub fn recode(key: &[u8], kind: Kind, body: &[u8]) -> Result<Vec<u8>, Corruption> {
    let which = split_key(key).map(|(which, _)| which);
    let bytes = Bytes::copy_from_slice(body);
    Ok(match (kind, which) {
        (kind::JOB_CONTROL, Some(FIRST)) => Control::decode(key, body)?.record().encode_to_vec(),
        (kind::JOB_PAYLOAD, Some(SECOND)) => PayloadRecord::from_body(key, bytes)?.encode_to_vec(),
        (kind::JOB_PROGRESS, Some(FIRST)) => {
            let progress = Progress::from(ProgressRecord::from_body(key, bytes)?);
            ProgressRecord::from(progress).encode_to_vec()
        }
        (kind::JOB_CHECKPOINT, Some(SECOND)) => {
            CheckpointRecord::from_body(key, bytes)?.encode_to_vec()
        }
        (kind::JOB_HISTORY, _) => {
            history::decode(key, &bytes)?;
            HistoryRecord::from_body(key, &bytes)?.encode_to_vec()
        }
        (kind::SETTING, _) => {
            let (_, value) = settings::decode(key, &bytes)?;
            SettingRecord { value: value.to_string() }.encode_to_vec()
        }
        _ => return Err(Corruption::new(Family::Jobs, key, "a record of jobs under its key")),
    })
}

impl From<Progress> for ProgressRecord {
    fn from(progress: Progress) -> Self {
        let Progress { phase, fraction, rows, index_entries, bytes, bytes_total, message } =
            progress;
        Self { phase, fraction, rows, index_entries, bytes, bytes_total, message }
    }
}

impl From<ProgressRecord> for Progress {
    fn from(record: ProgressRecord) -> Self {
        let ProgressRecord { phase, fraction, rows, index_entries, bytes, bytes_total, message } =
            record;
        Self { phase, fraction, rows, index_entries, bytes, bytes_total, message }
    }
}

impl From<Failure> for FailureRecord {
    fn from(failure: Failure) -> Self {
        let Failure { code, message, detail, hint } = failure;
        Self { code, message, detail, hint }
    }
}

impl From<FailureRecord> for Failure {
    fn from(record: FailureRecord) -> Self {
        let FailureRecord { code, message, detail, hint } = record;
        Self { code, message, detail, hint }
    }
}

#[cfg(test)]
#[path = "record_test.rs"]
mod tests;
