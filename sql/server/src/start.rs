//! `cairn start`: opens a store and serves it until it is told to stop.
//!
//! Standard output gets one line, `ready postgresql://…`, once connections are accepted; logs go to standard error.
//! SIGTERM and SIGINT drain: no new connections, running statements get a few seconds, jobs stop at their next
//! checkpoint and go on at the next start; then it exits with 0. A second signal ends it at once, which loses nothing
//! that was acknowledged either.

use crate::metrics::{self, Recorder};
use crate::terminal::{complain, say};
use cairn_server::wire;
use cairn_sql::{Database, DatabaseOptions, SqlError};
use clap::Args;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// What is logged unless `CAIRN_LOG` says otherwise.
const LOG_DEFAULT: &str = "info,datafusion=warn";

/// Options of `cairn start`.
#[derive(Args)]
pub(crate) struct Start {
    /// The folder of the store; made if it does not exist.
    #[arg(long, value_name = "DIR")]
    store: PathBuf,
    /// Where to listen for clients; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:26257")]
    listen: String,
    /// The folder behind nodelocal:// [default: extern in the store]
    #[arg(long, value_name = "DIR")]
    external_dir: Option<PathBuf>,
    /// Where to serve /metrics and /health over HTTP; not at all without it.
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Size of the file that holds back space for CANCEL JOB and DROP on a full disk; 0 for none
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    ballast_mib: u32,
    /// Let every existing user in without a password and without encryption. The only way so far.
    #[arg(long)]
    insecure: bool,
}

impl Start {
    pub(crate) async fn run(self) -> ExitCode {
        if !self.insecure {
            complain(
                "cairn start: there are no passwords and no TLS yet: whoever reaches the port can log in as any \
                 user.\nHINT: if that is what you want, say so with --insecure.",
            );
            return ExitCode::from(2);
        }
        log_to_stderr();
        match self.serve().await {
            Ok(()) => ExitCode::SUCCESS,
            Err(message) => {
                complain(&format!("cairn start: {message}"));
                ExitCode::FAILURE
            }
        }
    }

    async fn serve(self) -> Result<(), String> {
        // Before the store opens, so that a signal during a long recovery is not lost.
        let mut signals =
            Signals::listen().map_err(|error| format!("cannot wait for signals: {error}"))?;
        let recorder = Recorder::install();
        let listener = bind(&self.listen).await?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "--insecure: everybody who reaches this address can log in as root");
        }
        let http = match self.http {
            Some(address) => Some(bind(&address.to_string()).await?),
            None => None,
        };
        let opening = Instant::now();
        let mut options = DatabaseOptions::new(&self.store);
        options.engine.ballast_bytes = u64::from(self.ballast_mib) << 20;
        if let Some(folder) = self.external_dir {
            options.external_dir = folder;
        }
        let database = Database::open(options).map_err(|error| described(&error))?;
        tracing::info!(store = %self.store.display(), took = ?opening.elapsed(), "store is open");

        let stop = CancellationToken::new();
        if let Some(http) = http {
            tracing::info!(address = ?http.local_addr().ok(), "serving /metrics and /health");
            tokio::spawn(metrics::serve(http, recorder, stop.clone()));
        }
        let serving = tokio::spawn(wire::serve(listener, database.clone(), stop.clone()));
        say(&format!("ready postgresql://root@{address}/defaultdb"));

        let name = signals.next().await;
        tracing::info!(signal = name, "stopping; a second signal ends at once");
        stop.cancel();
        let drained = async {
            if let Err(error) = serving.await {
                tracing::error!(%error, "the server ended by a panic");
            }
            database.shutdown().await;
        };
        tokio::select! {
            () = drained => tracing::info!("stopped"),
            name = signals.next() => tracing::warn!(signal = name, "ending without waiting"),
        }
        Ok(())
    }
}

async fn bind(address: &str) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| {
        format!("cannot listen on {address}: {error}\nHINT: --listen and --http take HOST:PORT; port 0 picks a free one.")
    })
}

fn described(error: &SqlError) -> String {
    let mut text = error.message.clone();
    if let Some(detail) = &error.detail {
        let _ = write!(text, "\nDETAIL: {detail}");
    }
    if let Some(hint) = &error.hint {
        let _ = write!(text, "\nHINT: {hint}");
    }
    text
}

fn log_to_stderr() {
    let filter =
        EnvFilter::try_from_env("CAIRN_LOG").unwrap_or_else(|_| EnvFilter::new(LOG_DEFAULT));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    // A panic is an error in the log like any other; the statement or task it happened in reports it too.
    // One in the decoder of the wire protocol is a mistake of the client, which hears of it.
    std::panic::set_hook(Box::new(|panic| {
        if wire::is_decoding() {
            tracing::debug!(reason = %panic, "a client sent a malformed message");
        } else {
            tracing::error!(%panic, "panic");
        }
    }));
}

/// The two signals that ask a server to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next one and names it.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
