//! Text scripts for behaviour: sqllogictest against the real binary.
//!
//! An error is one line: `SQLSTATE: message DETAIL: ... HINT: ...`. A record that begins with `CONNECT user:` runs
//! on a connection of that user.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};
use tokio_postgres::SimpleQueryMessage;

use crate::client::{Client, Refused};
use crate::server::Server;

/// The connections of one script, one per user.
#[derive(Debug)]
pub struct ScriptConnection {
    address: String,
    clients: HashMap<String, Client>,
}

impl ScriptConnection {
    async fn client(&mut self, user: &str) -> Result<&Client, Refused> {
        if !self.clients.contains_key(user) {
            let url = format!("postgresql://{user}@{}/defaultdb", self.address);
            let client = Client::connect(&url).await?;
            self.clients.insert(user.to_owned(), client);
        }
        Ok(&self.clients[user])
    }
}

#[async_trait]
impl AsyncDB for ScriptConnection {
    type Error = Refused;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Refused> {
        let (user, sql) = match sql.strip_prefix("CONNECT ").and_then(|rest| rest.split_once(':')) {
            Some((user, sql)) => (user.trim(), sql.trim()),
            None => ("root", sql),
        };
        let client = self.client(user).await?;
        let mut rows = Vec::new();
        let mut columns = None;
        let mut count = 0;
        for message in client.driver().simple_query(sql).await? {
            match message {
                SimpleQueryMessage::RowDescription(described) => columns = Some(described.len()),
                SimpleQueryMessage::Row(row) => {
                    rows.push((0..row.len()).map(|i| cell(row.get(i))).collect());
                }
                SimpleQueryMessage::CommandComplete(n) => count = n,
                _ => {}
            }
        }
        Ok(match columns {
            Some(columns) => DBOutput::Rows { types: vec![DefaultColumnType::Any; columns], rows },
            None => DBOutput::StatementComplete(count),
        })
    }

    async fn shutdown(&mut self) {
        self.clients.clear();
    }

    fn engine_name(&self) -> &str {
        "cairn"
    }

    async fn sleep(duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

fn cell(text: Option<&str>) -> String {
    match text {
        None => "NULL".to_owned(),
        Some("") => "(empty)".to_owned(),
        Some(text) => text.to_owned(),
    }
}

/// Runs one script on a server; the server's store stays for the caller's last questions.
///
/// # Errors
/// The first record that did not answer as it should, for people.
pub async fn run_script(server: &Server, path: &Path) -> Result<(), String> {
    let address = server.address().to_owned();
    let mut runner = Runner::new(|| {
        let address = address.clone();
        async move { Ok(ScriptConnection { address, clients: HashMap::new() }) }
    });
    let answer = runner.run_file_async(path).await;
    runner.shutdown_async().await;
    answer.map_err(|error| format!("{}: {error}", path.display()))
}
