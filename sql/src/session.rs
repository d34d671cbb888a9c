//! A session: one user in one database, running one statement after the other.
//!
//! [`Session::prepare`] says what a statement needs and what it will answer, without running it;
//! [`Session::execute`] runs it. Both work for every statement alike. A statement runs on the
//! database's own threads: a panic in it ends that statement with XX000 and nothing else, and
//! [`CancelHandle::cancel`] (or `statement_timeout`) ends it with 57014 at its next wait. Ending a
//! statement that waits for a job ends the wait; the job goes on, and the error says so.
//!
//! Left out: transactions over several statements. Each statement commits by itself.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use cairn_engine::metrics as names;
use cairn_jobs::JobId;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::session_state::SessionState;
use tokio::sync::watch;

use crate::ast::Parsed;
use crate::catalog::{Catalog, CatalogSnapshot};
use crate::database::Database;
use crate::error::{Result, SqlError, code};
use crate::notice::{Notice, Notices};
use crate::prepare::Prepared;
use crate::variables::{SERVER_VERSION, Variables};

/// What `version()` answers.
pub(crate) fn version() -> String {
    format!("PostgreSQL {SERVER_VERSION} (Cairn {})", env!("CARGO_PKG_VERSION"))
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultColumn {
    /// Its name, as PostgreSQL would choose it.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// Whether it may hold NULL.
    pub nullable: bool,
}

/// What a statement answers.
pub enum Answer {
    /// Rows, one batch after the other.
    Rows {
        /// The columns, as [`Prepared::columns`] promised them.
        schema: SchemaRef,
        /// The batches. Dropping it ends the statement.
        stream: SendableRecordBatchStream,
        /// The command tag for this number of rows.
        tag: fn(u64) -> String,
    },
    /// No rows, only a command tag.
    Done {
        /// The command tag.
        tag: String,
    },
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rows { schema, .. } => {
                out.debug_struct("Rows").field("schema", schema).finish_non_exhaustive()
            }
            Self::Done { tag } => out.debug_struct("Done").field("tag", tag).finish(),
        }
    }
}

/// What functions may ask about the session they run in.
pub(crate) struct Facts {
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) pid: i32,
    pub(crate) catalog: Catalog,
    pub(crate) engine: cairn_engine::Engine,
    /// Guards the variables only; held for a read or a change.
    variables: Mutex<Variables>,
}

impl Facts {
    pub(crate) fn snapshot(&self) -> Arc<CatalogSnapshot> {
        self.catalog.current()
    }

    pub(crate) fn search_path(&self) -> Vec<String> {
        self.with_variables(|variables| variables.search_path())
    }

    pub(crate) fn setting(&self, name: &str) -> Option<String> {
        self.with_variables(|variables| variables.get(name)).ok()
    }

    pub(crate) fn with_variables<T>(&self, f: impl FnOnce(&mut Variables) -> T) -> T {
        f(&mut self.variables.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Cancels whatever statement a session runs. Clones cancel the same session.
#[derive(Debug, Clone)]
pub struct CancelHandle(Arc<watch::Sender<u64>>);

impl CancelHandle {
    /// Ends the statement that runs now at its next wait; without one, nothing happens. Never
    /// waits.
    pub fn cancel(&self) {
        self.0.send_modify(|count| *count += 1);
    }
}

/// What a running statement looks at to find out that it should end.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    cancelled: watch::Receiver<u64>,
    started_at: u64,
    deadline: Option<tokio::time::Instant>,
    /// The job whose end the statement waits for, if it does. Guards this one value.
    waits_for: Arc<Mutex<Option<JobId>>>,
}

impl Stop {
    /// Runs `work` unless the statement is ended first; then `work` is dropped where it waits.
    pub(crate) async fn race<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        tokio::select! {
            biased;
            why = self.stopped() => Err(why),
            done = work => Ok(done),
        }
    }

    /// Says which job the statement waits for from now on.
    pub(crate) fn waits_for(&self, job: Option<JobId>) {
        *self.waits_for.lock().unwrap_or_else(PoisonError::into_inner) = job;
    }

    async fn stopped(&self) -> SqlError {
        let mut cancelled = self.cancelled.clone();
        let started_at = self.started_at;
        let asked = async move {
            if cancelled.wait_for(|count| *count != started_at).await.is_err() {
                // The session is gone, and its statement with it.
                tracing::debug!("the session of a running statement is gone");
            }
        };
        let message = match self.deadline {
            None => {
                asked.await;
                "canceling statement due to user request"
            }
            Some(deadline) => tokio::select! {
                () = asked => "canceling statement due to user request",
                () = tokio::time::sleep_until(deadline) => {
                    "canceling statement due to statement timeout"
                }
            },
        };
        let error = SqlError::new(code::QUERY_CANCELED, message);
        let job = *self.waits_for.lock().unwrap_or_else(PoisonError::into_inner);
        match job {
            None => error,
            Some(id) => error
                .with_detail(format!("Only the wait ended: job {id} goes on."))
                .with_hint(format!(
                    "CANCEL JOB {id} stops the job; SHOW JOB WHEN COMPLETE {id} waits for it again."
                )),
        }
    }
}

/// Everything a statement has at hand while it runs.
#[derive(Clone)]
pub(crate) struct Scope {
    pub(crate) db: Database,
    pub(crate) facts: Arc<Facts>,
    pub(crate) notices: Notices,
    pub(crate) stop: Stop,
    /// The query engine's state for this session: configuration and functions.
    pub(crate) state: Arc<SessionState>,
}

impl Scope {
    /// The job system.
    pub(crate) fn jobs(&self) -> &cairn_jobs::Jobs {
        self.db.jobs()
    }

    /// # Errors
    /// 42501 unless the user has the admin role.
    pub(crate) fn require_admin(&self, what: &str) -> Result<()> {
        if self.is_admin() {
            return Ok(());
        }
        let message = format!("only users with the admin role are allowed to {what}");
        Err(SqlError::new(code::INSUFFICIENT_PRIVILEGE, message)
            .with_hint(format!("A member of admin can say: GRANT admin TO {}", self.facts.user)))
    }

    /// Whether the user has the admin role.
    pub(crate) fn is_admin(&self) -> bool {
        self.facts.snapshot().is_admin(&self.facts.user)
    }
}

/// One user's connection to one database. All methods take `&self`: one task may run a statement
/// while another waits for notices or cancels.
pub struct Session {
    db: Database,
    facts: Arc<Facts>,
    notices: Notices,
    cancel: CancelHandle,
    state: Arc<SessionState>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Session").field("user", &self.facts.user).finish_non_exhaustive()
    }
}

impl Session {
    pub(crate) fn new(db: Database, user: String, database: String, pid: i32) -> Self {
        let facts = Arc::new(Facts {
            user,
            database,
            pid,
            catalog: db.catalog().clone(),
            engine: db.engine().clone(),
            variables: Mutex::default(),
        });
        let state = Arc::new(db.session_state(&facts));
        let (cancel, _) = watch::channel(0);
        let cancel = CancelHandle(Arc::new(cancel));
        Self { db, facts, notices: Notices::default(), cancel, state }
    }

    /// The user.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.facts.user
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.facts.database
    }

    /// The number that identifies the session to `pg_backend_pid()`; servers give it to clients.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.facts.pid
    }

    /// Ends running statements from elsewhere.
    #[must_use]
    pub fn cancel_handle(&self) -> CancelHandle {
        self.cancel.clone()
    }

    /// The queue of notices: take from it after a statement, or wait on it beside one.
    #[must_use]
    pub fn notices(&self) -> Notices {
        self.notices.clone()
    }

    /// Everything said since the last call.
    #[must_use]
    pub fn take_notices(&self) -> Vec<Notice> {
        self.notices.take()
    }

    /// The value of a session variable, for the parameters a server reports to its client.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<String> {
        self.facts.setting(name)
    }

    /// Sets a session variable, as a client's startup parameters do.
    ///
    /// # Errors
    /// 42704 or 22023; nothing changed then.
    pub fn set_variable(&self, name: &str, value: &str) -> Result<()> {
        self.facts.with_variables(|variables| variables.set(name, Some(value)))
    }

    /// Finds out what parameters a statement takes and what columns it answers. Nothing runs.
    /// `param_types` are the types the client declared for `$1`, `$2`, ...; `None` and missing
    /// ones are inferred.
    ///
    /// # Errors
    /// What is wrong with the statement, as far as that can be known before it runs.
    pub async fn prepare(
        &self,
        parsed: &Parsed,
        param_types: &[Option<DataType>],
    ) -> Result<Prepared> {
        let scope = self.scope();
        let parsed = parsed.clone();
        let types = param_types.to_vec();
        self.isolated(async move { crate::prepare::prepare(&scope, parsed, &types).await }).await
    }

    /// Runs a statement. The values stand for `$1`, `$2`, ... and are cast to the types that
    /// [`Prepared::params`] names. Rows arrive while the statement runs; a change is durable when
    /// this returns.
    ///
    /// # Errors
    /// The statement's error; it changed nothing then, unless the error says otherwise.
    pub async fn execute(&self, prepared: &Prepared, params: Vec<ScalarValue>) -> Result<Answer> {
        let scope = self.scope();
        let prepared = prepared.clone();
        let began = std::time::Instant::now();
        let work = async move { crate::execute::execute(&scope, &prepared, params).await };
        let answer = self.isolated(work).await;
        let outcome = if answer.is_ok() { "ok" } else { "error" };
        metrics::counter!(names::STATEMENTS_TOTAL, "outcome" => outcome).increment(1);
        metrics::histogram!(names::STATEMENT_SECONDS).record(began.elapsed().as_secs_f64());
        answer
    }

    fn scope(&self) -> Scope {
        let timeout = self.facts.with_variables(|variables| variables.statement_timeout());
        let cancelled = self.cancel.0.subscribe();
        let started_at = *cancelled.borrow();
        Scope {
            db: self.db.clone(),
            facts: Arc::clone(&self.facts),
            notices: self.notices.clone(),
            stop: Stop {
                cancelled,
                started_at,
                deadline: timeout.map(|timeout| tokio::time::Instant::now() + timeout),
                waits_for: Arc::default(),
            },
            state: Arc::clone(&self.state),
        }
    }

    /// Runs `work` on the database's threads, where its panic is an error. When the caller goes
    /// away, the statement is cancelled.
    async fn isolated<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let task = self.db.spawn(work);
        let abandoned = Abandoned(Some(self.cancel.clone()));
        let done = task.await;
        abandoned.disarm();
        done.unwrap_or_else(|error| Err(panicked(error)))
    }
}

/// Cancels when it is dropped before the statement came back.
struct Abandoned(Option<CancelHandle>);

impl Abandoned {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        if let Some(cancel) = &self.0 {
            cancel.cancel();
        }
    }
}

/// What a client sees of a statement that panicked.
pub(crate) fn panicked(error: tokio::task::JoinError) -> SqlError {
    let Ok(payload) = error.try_into_panic() else {
        return SqlError::new(code::ADMIN_SHUTDOWN, "the database is shutting down");
    };
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    tracing::error!(panic = text, "a statement panicked");
    SqlError::internal(format!("internal error: {text}"))
        .with_detail("Only this statement ended; the session and the database go on.")
}

#[cfg(test)]
mod tests {
    use crate::tests::Fresh;

    #[tokio::test]
    async fn a_panic_ends_its_statement_only() {
        let fresh = Fresh::new();
        let root = fresh.root();
        let panics = async { panic!("on purpose") };
        let error = root.0.isolated::<()>(panics).await.unwrap_err();
        assert_eq!((error.code, error.message.as_str()), ("XX000", "internal error: on purpose"));
        assert_eq!(root.value("SELECT 1").await, "1");
    }
}
