//! One connection: its session, and how a statement runs on it.
//!
//! [`Connection::beside`] is the one place where the server waits for a statement. Notices go out while it waits, and
//! a client that has gone away ends the wait.

use super::cancel::{CancelKeys, Registration};
use super::encode::{Column, RowEncoder};
use super::errors::{failure, notice, statement_error};
use super::extended::OpenPortal;
use cairn_sql::{Database, Notice, Session, SqlError};
use datafusion::execution::SendableRecordBatchStream;
use futures::{Sink, SinkExt, StreamExt};
use pgwire::api::results::FieldFormat;
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use std::collections::HashMap;
use std::fmt::Debug;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;

/// How often a client that has sent more than it was answered is looked at again.
const PROBE_PAUSE: Duration = Duration::from_millis(250);

/// What belongs to one client from its login to its end.
pub(super) struct Connection {
    pub(super) database: Database,
    pub(super) keys: Arc<CancelKeys>,
    /// A second handle on the client's socket.
    probe: TcpStream,
    login: OnceLock<Login>,
    /// Guards the portals of the extended protocol; held to look one up, never while one runs.
    portals: Mutex<HashMap<String, OpenPortal>>,
}

/// What a login made.
struct Login {
    session: Arc<Session>,
    _registration: Registration,
}

impl Connection {
    /// A connection whose client has not logged in yet.
    pub(super) fn new(database: Database, keys: Arc<CancelKeys>, probe: TcpStream) -> Connection {
        Connection { database, keys, probe, login: OnceLock::new(), portals: Mutex::default() }
    }

    /// Keeps the session of a successful login.
    pub(super) fn logged_in(&self, session: Arc<Session>, registration: Registration) {
        // A second startup message is refused by the protocol's state before it gets here.
        let _ = self.login.set(Login { session, _registration: registration });
    }

    /// The session.
    ///
    /// # Errors
    /// 08P01 before the login.
    pub(super) fn session(&self) -> PgWireResult<&Arc<Session>> {
        match self.login.get() {
            Some(login) => Ok(&login.session),
            None => Err(failure("08P01", "a statement came before the startup message".to_owned())),
        }
    }

    pub(super) fn portals(&self) -> MutexGuard<'_, HashMap<String, OpenPortal>> {
        self.portals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `work`, a part of a statement, and meanwhile sends notices. Ends the statement when the client has
    /// gone away.
    ///
    /// # Errors
    /// The statement's error, or that of the connection.
    pub(super) async fn beside<C, T>(
        &self,
        client: &mut C,
        work: impl Future<Output = Result<T, SqlError>> + Send,
    ) -> PgWireResult<T>
    where
        C: Sink<PgWireBackendMessage> + Unpin + Send,
        C::Error: Debug,
        PgWireError: From<C::Error>,
    {
        let session = self.session()?;
        let notices = session.notices();
        let mut work = pin!(work);
        let mut gone = pin!(self.client_gone());
        let mut watching = true;
        let result = loop {
            tokio::select! {
                biased;
                result = &mut work => break result,
                next = notices.next() => client.send(message(next)).await?,
                () = &mut gone, if watching => {
                    watching = false;
                    session.cancel_handle().cancel();
                }
            }
        };
        for waiting in notices.take() {
            client.feed(message(waiting)).await?;
        }
        result.map_err(|error| statement_error(&error))
    }

    /// Returns once the client has closed its end. While bytes wait to be read it cannot be told, so it looks again.
    async fn client_gone(&self) {
        let mut byte = [0];
        loop {
            match self.probe.peek(&mut byte).await {
                Ok(0) | Err(_) => return,
                Ok(_) => tokio::time::sleep(PROBE_PAUSE).await,
            }
        }
    }
}

/// The rows of a running statement.
pub(super) struct Rows {
    stream: SendableRecordBatchStream,
    encoder: RowEncoder,
    /// The next row of the loaded batch, and how many it has.
    next: usize,
    loaded: usize,
}

impl Rows {
    /// Rows of `columns` in the given formats.
    pub(super) fn new(
        stream: SendableRecordBatchStream,
        columns: &[Column],
        formats: &[FieldFormat],
    ) -> Rows {
        Rows { stream, encoder: RowEncoder::new(columns, formats), next: 0, loaded: 0 }
    }

    /// Sends rows, at most `limit` if it is not 0. Answers how many, and whether there may be more.
    ///
    /// # Errors
    /// The statement's error; the rows before it have been sent.
    pub(super) async fn send<C>(
        &mut self,
        connection: &Connection,
        client: &mut C,
        limit: usize,
    ) -> PgWireResult<(u64, bool)>
    where
        C: Sink<PgWireBackendMessage> + Unpin + Send,
        C::Error: Debug,
        PgWireError: From<C::Error>,
    {
        let mut sent = 0;
        loop {
            while self.next < self.loaded {
                if limit != 0 && sent == limit {
                    return Ok((sent as u64, true));
                }
                client.feed(PgWireBackendMessage::DataRow(self.encoder.encode(self.next)?)).await?;
                self.next += 1;
                sent += 1;
            }
            let stream = &mut self.stream;
            let batch = connection
                .beside(client, async { stream.next().await.transpose().map_err(SqlError::from) });
            let Some(batch) = batch.await? else { return Ok((sent as u64, false)) };
            self.encoder.load(&batch)?;
            (self.next, self.loaded) = (0, batch.num_rows());
        }
    }
}

fn message(said: Notice) -> PgWireBackendMessage {
    notice(said.severity.as_str(), said.code, said.message, said.detail, said.hint)
}
