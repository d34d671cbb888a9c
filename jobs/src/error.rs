//! Why a job, or a call about a job, did not go on; sorted by what happens next.
//!
//! | a job's `run` returns | the job |
//! |---|---|
//! | `Stopped` | does what it was asked to do: pauses, is undone, or goes on at the next open |
//! | `Retry` | tries again after a back-off, and stays `running` meanwhile |
//! | `Failed` | is undone, and ends `failed` with this error |
//! | `Engine` | depends on the error: see [`JobError::verdict`] |
//!
//! The calls of [`crate::Jobs`] answer `Failed` for a request that cannot be met (its code is an
//! SQLSTATE), `Engine` when the store failed, and `Stopped` after shutdown.

use std::fmt;

use cairn_engine::{Corruption, EngineError, Panicked};

/// The result of a call about jobs.
pub type Result<T, E = JobError> = std::result::Result<T, E>;

/// Why a job has to stop working now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stop {
    /// It was cancelled.
    Cancelled,
    /// It was asked to pause.
    Paused,
    /// The process is shutting down; the job goes on at the next open.
    Shutdown,
    /// A later attempt took over: this one may not write any more.
    Fenced,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancelled => "the job was cancelled",
            Self::Paused => "the job was asked to pause",
            Self::Shutdown => "the process is shutting down",
            Self::Fenced => "a later attempt of the job took over",
        })
    }
}

/// A failure that people are going to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Five characters: the SQLSTATE.
    pub code: String,
    /// One lower-case phrase that names what failed.
    pub message: String,
    /// More about this case, if there is more.
    pub detail: Option<String>,
    /// What to do about it, if that can be told.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure with a code and a message.
    #[must_use]
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), detail: None, hint: None }
    }

    /// Adds the detail.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds the hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The SQLSTATEs that this crate gives by itself.
pub mod code {
    /// The disk is full.
    pub const DISK_FULL: &str = "53100";
    /// The disk failed.
    pub const IO_ERROR: &str = "58030";
    /// A setting's value is out of its range, or cannot be read.
    pub const INVALID_VALUE: &str = "22023";
    /// There is no job, or no setting, of this name.
    pub const UNDEFINED_OBJECT: &str = "42704";
    /// The job's state does not allow it.
    pub const WRONG_STATE: &str = "55000";
    /// Another job works on the same object.
    pub const OBJECT_IN_USE: &str = "55006";
    /// The job was cancelled.
    pub const QUERY_CANCELED: &str = "57014";
    /// The process is shutting down.
    pub const SHUTDOWN: &str = "57P01";
    /// A mistake of ours or of a job kind.
    pub const INTERNAL: &str = "XX000";
    /// Stored bytes are damaged.
    pub const DATA_CORRUPTED: &str = "XX001";
}

/// Why a job, or a call about a job, did not go on.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// Stop now, quietly. Pass it on with `?`.
    #[error("{0}")]
    Stopped(Stop),
    /// It may work later: a place that does not answer, a disk that is full.
    #[error("{message}")]
    Retry {
        /// What failed, for people.
        message: String,
        /// The error below.
        #[source]
        cause: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// It will not work, however often it is tried.
    #[error("{0}")]
    Failed(Failure),
    /// The engine failed. For calls of [`crate::Jobs`]: nothing happened, or it cannot be told; reopen
    /// before relying on either.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl JobError {
    /// A permanent failure.
    #[must_use]
    pub fn failed(code: &str, message: impl Into<String>) -> Self {
        Self::Failed(Failure::new(code, message))
    }

    /// A failure that may pass.
    #[must_use]
    pub fn retry(message: impl Into<String>) -> Self {
        Self::Retry { message: message.into(), cause: None }
    }

    /// What the error of an attempt means for the job. No wildcard: each case was thought about.
    #[must_use]
    pub fn verdict(self) -> Verdict {
        match self {
            Self::Stopped(_) => Verdict::Stopped,
            Self::Retry { message, cause } => Verdict::Retry(match cause {
                Some(cause) => format!("{message}: {cause}"),
                None => message,
            }),
            Self::Failed(failure) => Verdict::Failed(failure),
            Self::Engine(error) => {
                let text = error.to_string();
                match error {
                    EngineError::Stopped | EngineError::Fenced { .. } => Verdict::Stopped,
                    EngineError::Crashed { .. } => Verdict::Dead,
                    EngineError::Busy(_)
                    | EngineError::NoSpace { .. }
                    | EngineError::Io { .. }
                    | EngineError::Storage(_) => Verdict::Retry(text),
                    EngineError::Corruption(_) | EngineError::Damaged(_) => {
                        Verdict::Broken(Failure::new(code::DATA_CORRUPTED, text))
                    }
                    EngineError::Invalid(_)
                    | EngineError::NotFound { .. }
                    | EngineError::InUse(_)
                    | EngineError::ReadOnly
                    | EngineError::NewerFormat { .. } => {
                        Verdict::Broken(Failure::new(code::INTERNAL, text))
                    }
                    EngineError::Panicked(_) => Verdict::Broken(
                        Failure::new(code::INTERNAL, text)
                            .with_hint("This is a bug of the job kind; the log has the place."),
                    ),
                }
            }
        }
    }

    /// The failure that a client sees for an error of a call.
    #[must_use]
    pub fn into_failure(self) -> Failure {
        let text = self.to_string();
        match self {
            Self::Stopped(Stop::Shutdown) => Failure::new(code::SHUTDOWN, text),
            Self::Stopped(Stop::Cancelled) => Failure::new(code::QUERY_CANCELED, text),
            Self::Stopped(Stop::Paused | Stop::Fenced) => Failure::new(code::WRONG_STATE, text),
            Self::Failed(failure) => failure,
            Self::Engine(EngineError::NoSpace { .. }) => Failure::new(code::DISK_FULL, text),
            Self::Engine(EngineError::Corruption(_) | EngineError::Damaged(_)) => {
                Failure::new(code::DATA_CORRUPTED, text)
            }
            Self::Engine(EngineError::Storage(_) | EngineError::Io { .. }) => {
                Failure::new(code::IO_ERROR, text).with_hint(
                    "If it goes on after the disk is well again, start the server again: what was acknowledged is kept.",
                )
            }
            Self::Retry { .. } | Self::Engine(_) => Failure::new(code::INTERNAL, text),
        }
    }
}

impl From<Stop> for JobError {
    fn from(stop: Stop) -> Self {
        Self::Stopped(stop)
    }
}

impl From<Failure> for JobError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Corruption> for JobError {
    fn from(corruption: Corruption) -> Self {
        Self::Engine(corruption.into())
    }
}

impl From<Panicked> for JobError {
    fn from(panicked: Panicked) -> Self {
        Self::Engine(panicked.into())
    }
}

/// What the error of an attempt means for the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It did as it was told; the job's state says what comes next.
    Stopped,
    /// Try again after a back-off; the text is shown meanwhile.
    Retry(String),
    /// Undo it; it ends `failed`.
    Failed(Failure),
    /// The same, but nobody said that it is permanent (a panic, say): a job that cannot be cancelled
    /// tries again.
    Broken(Failure),
    /// The store acts as if the process had died: touch nothing.
    Dead,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fenced_write_is_a_stop_and_a_full_disk_is_a_retry() {
        let full = EngineError::NoSpace { message: "x".to_owned() };
        assert!(matches!(JobError::from(full).verdict(), Verdict::Retry(_)));
        assert_eq!(JobError::from(EngineError::Stopped).verdict(), Verdict::Stopped);
        let crashed = EngineError::Crashed { point: "p".to_owned() };
        assert_eq!(JobError::from(crashed).verdict(), Verdict::Dead);
    }

    #[test]
    fn the_cause_of_a_retry_is_shown() {
        let cause = Some("connection refused".into());
        let error = JobError::Retry { message: "cannot list s3://b".to_owned(), cause };
        let shown = Verdict::Retry("cannot list s3://b: connection refused".to_owned());
        assert_eq!(error.verdict(), shown);
    }
}
