//! A kind of job: typed arguments, a typed checkpoint, what to do, and what to undo.
//!
//! The registry holds kinds behind a sealed adapter, so nobody forwards methods by hand, and a kind
//! cannot be called but through the context that fences it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::attempt::AttemptCore;
use crate::context::{Context, ThreadContext, UndoContext};
use crate::error::{JobError, Result};
use crate::migrate;
use crate::record::{CheckpointRecord, PayloadRecord};

/// A kind of job.
///
/// `run` may be called again from any checkpoint: after a crash, a pause, or an error that may pass.
/// Everything it writes goes through the context, into what it has claimed, and stays invisible until it
/// publishes. Whatever is claimed goes away by itself if the job is cancelled or fails.
pub trait JobKind: Sized + Send + Sync + 'static {
    /// The name in records and in `SHOW JOBS`: never changed once shipped.
    const NAME: &'static str;

    /// The version of `Args` and `Checkpoint`. Raise it when an old one needs [`JobKind::migrate`].
    const VERSION: u32 = 1;

    /// What the job is to do. Immutable. Written once, at submit.
    type Args: prost::Message + Default + Clone;

    /// Where the job goes on after a restart.
    type Checkpoint: prost::Message + Default + Clone;

    /// Reads arguments that were written by an older version of this kind.
    ///
    /// # Errors
    /// The job fails with it. By default protobuf's own rules hold: unknown fields are passed over and
    /// missing ones have their default.
    fn migrate(&self, from_version: u32, bytes: &[u8]) -> Result<Self::Args> {
        let _ = from_version;
        migrate::decode(bytes)
    }

    /// Reads a checkpoint that was written by an older version of this kind.
    ///
    /// # Errors
    /// As [`JobKind::migrate`].
    fn migrate_checkpoint(&self, from_version: u32, bytes: &[u8]) -> Result<Self::Checkpoint> {
        let _ = from_version;
        migrate::decode(bytes)
    }

    /// What may be asked of jobs of this kind.
    fn policy(&self) -> Policy {
        Policy::default()
    }

    /// Does the work. The job ends `succeeded` when it has published, or when this returns `Ok`.
    fn run(&self, cx: Context<Self>) -> impl Future<Output = Result<()>> + Send;

    /// Undoes what the job did beyond its claims. Called after a cancel and after a failure, maybe in
    /// another process and more than once: it must be harmless to repeat. Retried until it works.
    /// Only called if [`Policy::has_undo`].
    fn on_cancel_or_fail(&self, cx: UndoContext<Self>) -> impl Future<Output = Result<()>> + Send {
        let _ = cx;
        async { Ok(()) }
    }
}

/// What may be asked of jobs of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether CANCEL is accepted. A running job can change it for itself.
    pub cancellable: bool,
    /// Whether the kind has an undo of its own. A job of such a kind waits in `reverting` while the
    /// kind is not registered; without it the claims alone are given back, and no code is needed.
    pub has_undo: bool,
}

impl Default for Policy {
    /// Can be cancelled; has no undo beyond its claims.
    fn default() -> Self {
        Self { cancellable: true, has_undo: false }
    }
}

/// A job to be submitted.
#[derive(Clone, Debug, Default)]
pub struct NewJob<A> {
    /// What it is to do.
    pub args: A,
    /// For people, one line: `IMPORT INTO t ...`. Without secrets.
    pub description: String,
    /// The statement that made it, if there was one. Without secrets.
    pub statement: String,
    /// Who submitted it.
    pub user: String,
    /// What it works on (a descriptor id, say), for [`crate::Jobs::live_on`].
    pub subject: Option<u64>,
    /// Refuse it while an unfinished job has the same subject.
    pub exclusive: bool,
}

impl<A> NewJob<A> {
    /// A job with these arguments and this description; nobody's, about nothing in particular.
    #[must_use]
    pub fn new(args: A, description: impl Into<String>) -> Self {
        Self {
            args,
            description: description.into(),
            statement: String::new(),
            user: String::new(),
            subject: None,
            exclusive: false,
        }
    }
}

pub(crate) type Running = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// A kind without its types. Implemented by [`Adapter`] only.
pub(crate) trait ErasedKind: Send + Sync {
    fn name(&self) -> &'static str;
    fn version(&self) -> u32;
    fn policy(&self) -> Policy;
    /// An attempt to do the work.
    fn run(&self, core: Arc<AttemptCore>) -> Result<Running>;
    /// An attempt to undo it.
    fn undo(&self, core: Arc<AttemptCore>) -> Result<Running>;
}

pub(crate) struct Adapter<K>(pub(crate) Arc<K>);

impl<K: JobKind> Adapter<K> {
    fn open(&self, core: Arc<AttemptCore>) -> Result<ThreadContext<K>> {
        let args = self.args(core.payload())?;
        let checkpoint = match core.stored_checkpoint() {
            None => K::Checkpoint::default(),
            Some(record) => self.checkpoint(&record)?,
        };
        Ok(ThreadContext::new(Arc::clone(&self.0), core, args, checkpoint))
    }

    fn args(&self, payload: &PayloadRecord) -> Result<K::Args> {
        if payload.version < K::VERSION {
            self.0.migrate(payload.version, &payload.args)
        } else {
            migrate::decode(&payload.args)
        }
    }

    fn checkpoint(&self, record: &CheckpointRecord) -> Result<K::Checkpoint> {
        if record.version < K::VERSION {
            self.0.migrate_checkpoint(record.version, &record.body)
        } else {
            migrate::decode(&record.body)
        }
    }
}

impl<K: JobKind> ErasedKind for Adapter<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }

    fn version(&self) -> u32 {
        K::VERSION
    }

    fn policy(&self) -> Policy {
        self.0.policy()
    }

    fn run(&self, core: Arc<AttemptCore>) -> Result<Running> {
        let cx = Context::new(self.open(core)?);
        let kind = Arc::clone(&self.0);
        Ok(Box::pin(async move { kind.run(cx).await }))
    }

    fn undo(&self, core: Arc<AttemptCore>) -> Result<Running> {
        let cx = UndoContext::new(self.open(core)?);
        let kind = Arc::clone(&self.0);
        Ok(Box::pin(async move { kind.on_cancel_or_fail(cx).await }))
    }
}

/// The failure for a kind that is not there.
pub(crate) fn unknown(kind: &str) -> JobError {
    let failure =
        crate::Failure::new(crate::error::code::INTERNAL, format!("unknown kind of job {kind}"));
    failure.with_hint("Register the kind before submitting jobs of it.").into()
}
