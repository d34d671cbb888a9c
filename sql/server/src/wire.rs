//! PostgreSQL's wire protocol over the sessions of `cairn-sql`.
//!
//! One task per connection reads messages and answers them; it translates and decides nothing. While a statement
//! runs, three things may happen beside it: a notice is sent at once (so a job's id reaches the client before the job
//! ends), a cancel request or the loss of the client ends the statement, and a panic is caught and becomes that
//! statement's error. A job never ends because its client went away.
//!
//! TLS is answered with "no": this server speaks plain TCP and is started with `--insecure`.

mod cancel;
mod connection;
mod contained;
mod decode;
mod encode;
mod errors;
mod extended;
mod simple;
mod startup;

use cairn_sql::Database;
use cancel::CancelKeys;
use connection::Connection;
use contained::contained;
pub use contained::is_decoding;
use errors::{fatal, panicked};
use extended::Statement;
use futures::{FutureExt, StreamExt};
use pgwire::api::{ClientInfo, NoopHandler, PgWireConnectionState};
use pgwire::messages::PgWireFrontendMessage;
use pgwire::tokio::server::{negotiate_tls, process_error, process_message};
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A client that has not logged in by then is let go.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(60);
/// How long running statements may go on once the server stops; then they are cancelled.
const DRAIN_GRACE: Duration = Duration::from_secs(3);
/// How long a cancelled statement may take to end before its connection is dropped.
const DRAIN_END: Duration = Duration::from_secs(5);
/// Pause after a failed accept (too many open files), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves connections until `stop` fires, then lets running statements end and returns: after 3 seconds they are
/// cancelled, after 5 more their connections are dropped. The database stays open; whoever opened it shuts it down.
pub async fn serve(listener: TcpListener, database: Database, stop: CancellationToken) {
    let keys = Arc::new(CancelKeys::default());
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(ended) = connections.join_next(), if !connections.is_empty() => report(ended),
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    let connection = connect(socket, database.clone(), Arc::clone(&keys), stop.clone());
                    connections.spawn(connection);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    tracing::info!(connections = connections.len(), "draining");
    if !all_ended(&mut connections, DRAIN_GRACE).await {
        keys.cancel_all();
        if !all_ended(&mut connections, DRAIN_END).await {
            tracing::warn!(
                connections = connections.len(),
                "connections did not end and are dropped"
            );
        }
    }
}

/// True when every connection ended within the time.
async fn all_ended(connections: &mut JoinSet<io::Result<()>>, time: Duration) -> bool {
    let ended = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    tokio::time::timeout(time, ended).await.is_ok()
}

fn report(ended: Result<io::Result<()>, tokio::task::JoinError>) {
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "connection lost"),
        Err(error) => tracing::error!(%error, "connection ended by a panic"),
    }
}

async fn connect(
    socket: TcpStream,
    database: Database,
    keys: Arc<CancelKeys>,
    stop: CancellationToken,
) -> io::Result<()> {
    // A second handle on the same socket tells when the client is gone while a statement runs.
    let socket = socket.into_std()?;
    let probe = TcpStream::from_std(socket.try_clone()?)?;
    let socket = TcpStream::from_std(socket)?;
    let startup_ends = tokio::time::Instant::now() + STARTUP_TIMEOUT;
    let negotiated = contained(negotiate_tls::<Statement>(socket, None));
    let Ok(Some(socket)) = tokio::time::timeout_at(startup_ends, negotiated).await else {
        return Ok(());
    };
    let Some(mut socket) = socket? else { return Ok(()) };
    let connection = Arc::new(Connection::new(database, Arc::clone(&keys), probe));
    let copy = Arc::new(NoopHandler);
    metrics::gauge!("cairn_sql_connections").increment(1.0);
    let _count = ConnectionCount;
    loop {
        let starting = matches!(
            socket.state(),
            PgWireConnectionState::AwaitingStartup
                | PgWireConnectionState::AuthenticationInProgress
        );
        let message = tokio::select! {
            biased;
            () = stop.cancelled() => {
                let error = fatal("57P01", "terminating connection because the server is stopping".to_owned());
                return process_error(&mut socket, error, false).await;
            }
            () = tokio::time::sleep_until(startup_ends), if starting => return Ok(()),
            message = contained(socket.next()) => message.unwrap_or_else(|| {
                Some(Err(fatal("08P01", "invalid message format".to_owned())))
            }),
        };
        let message = match message {
            None | Some(Ok(PgWireFrontendMessage::Terminate(_))) => return Ok(()),
            Some(Ok(message)) => message,
            Some(Err(error)) => return process_error(&mut socket, error, false).await,
        };
        let extended = message.is_extended_query();
        let last = matches!(message, PgWireFrontendMessage::CancelRequest(_));
        let handled = AssertUnwindSafe(process_message(
            message,
            &mut socket,
            Arc::clone(&connection),
            Arc::clone(&connection),
            Arc::clone(&connection),
            Arc::clone(&copy),
            Arc::clone(&keys),
        ))
        .catch_unwind()
        .await;
        if let Err(error) = handled.unwrap_or_else(|_| Err(panicked())) {
            let fatal = error.is_fatal();
            process_error(&mut socket, error, extended).await?;
            if fatal {
                return Ok(());
            }
        }
        if last {
            return Ok(());
        }
    }
}

/// Takes the connection out of the gauge when its task ends, however it ends.
struct ConnectionCount;

impl Drop for ConnectionCount {
    fn drop(&mut self) {
        metrics::gauge!("cairn_sql_connections").decrement(1.0);
    }
}
