//! A connection to a server, for the commands that are clients.

use crate::table::Table;
use futures::StreamExt;
use std::fmt::Write as _;
use std::future::poll_fn;
use tokio_postgres::error::DbError;
use tokio_postgres::{AsyncMessage, Client, Config, Error, NoTls, SimpleQueryMessage};

/// The server of a `cairn start` without options.
pub(crate) const DEFAULT_URL: &str = "postgresql://root@127.0.0.1:26257/defaultdb";

/// Connects, and calls `on_notice` for every notice as soon as it arrives.
///
/// # Errors
/// When the URL is none, nobody listens there, or the login is refused.
pub(crate) async fn connect(
    url: &str,
    mut on_notice: impl FnMut(&DbError) + Send + 'static,
) -> Result<Client, Error> {
    let mut config: Config = url.parse()?;
    if config.get_application_name().is_none() {
        config.application_name("cairn");
    }
    let (client, mut connection) = config.connect(NoTls).await?;
    tokio::spawn(async move {
        // A broken connection shows in the statement that waits for its answer.
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notice(notice) = message {
                on_notice(&notice);
            }
        }
    });
    Ok(client)
}

/// What one statement answered.
pub(crate) enum Outcome {
    /// Rows, maybe none.
    Rows(Table),
    /// A statement without rows, and how many rows it changed.
    Done(u64),
}

/// Runs the statements of `sql` and calls `each` as they end.
///
/// # Errors
/// The first statement's error; those after it did not run.
pub(crate) async fn run(
    client: &Client,
    sql: &str,
    mut each: impl FnMut(Outcome),
) -> Result<(), Error> {
    let mut stream = std::pin::pin!(client.simple_query_raw(sql).await?);
    let mut table: Option<Table> = None;
    while let Some(message) = stream.next().await {
        match message? {
            SimpleQueryMessage::RowDescription(columns) => {
                let columns = columns.iter().map(|column| column.name().to_owned()).collect();
                table = Some(Table { columns, rows: Vec::new() });
            }
            SimpleQueryMessage::Row(row) => {
                let cells = (0..row.len()).map(|index| row.get(index).map(str::to_owned)).collect();
                table.get_or_insert_default().rows.push(cells);
            }
            SimpleQueryMessage::CommandComplete(count) => {
                each(table.take().map_or(Outcome::Done(count), Outcome::Rows));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The rows of a single query.
///
/// # Errors
/// As [`run`].
pub(crate) async fn query(client: &Client, sql: &str) -> Result<Table, Error> {
    let mut table = Table::default();
    run(client, sql, |outcome| {
        if let Outcome::Rows(rows) = outcome {
            table = rows;
        }
    })
    .await?;
    Ok(table)
}

/// An error as psql prints it, with its SQLSTATE.
pub(crate) fn describe(error: &Error) -> String {
    let Some(error) = error.as_db_error() else {
        let mut text = format!("error: {error}");
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            let _ = write!(text, ": {inner}");
            cause = inner.source();
        }
        return text;
    };
    describe_message(error)
}

/// A server's error or notice as psql prints it.
pub(crate) fn describe_message(message: &DbError) -> String {
    let mut text = format!("{}:  {}", message.severity(), message.message());
    if message.code().code() != "00000" {
        let _ = write!(text, " (SQLSTATE {})", message.code().code());
    }
    if let Some(detail) = message.detail() {
        let _ = write!(text, "\nDETAIL:  {detail}");
    }
    if let Some(hint) = message.hint() {
        let _ = write!(text, "\nHINT:  {hint}");
    }
    text
}
