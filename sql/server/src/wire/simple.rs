//! The simple protocol: one message of SQL text, any number of statements, results in text form.
//!
//! All statements are parsed before the first one runs, so a syntax error anywhere runs nothing. The first error ends
//! the message; what ran before it stays, since every statement commits for itself.

use super::connection::{Connection, Rows};
use super::encode::Column;
use super::errors::statement_error;
use async_trait::async_trait;
use cairn_sql::{Answer, Parsed};
use futures::{Sink, SinkExt};
use pgwire::api::query::{SimpleQueryHandler, send_ready_for_query};
use pgwire::api::results::{FieldFormat, Response};
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, PgWireConnectionState};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::data::RowDescription;
use pgwire::messages::response::{CommandComplete, EmptyQueryResponse};
use pgwire::messages::simplequery::Query;
use std::fmt::Debug;

#[async_trait]
impl SimpleQueryHandler for Connection {
    async fn on_query<C>(&self, client: &mut C, query: Query) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        client.set_state(PgWireConnectionState::QueryInProgress);
        self.do_query(client, &query.query).await?;
        client.set_state(PgWireConnectionState::ReadyForQuery);
        send_ready_for_query(client, client.transaction_status()).await
    }

    /// Sends its answers itself, so that they stream; the list it returns is empty.
    async fn do_query<C>(&self, client: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let statements = cairn_sql::parse(query).map_err(|error| statement_error(&error))?;
        if statements.is_empty() {
            client
                .feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new()))
                .await?;
        }
        for statement in &statements {
            if let Some(name) = deallocated(&statement.text) {
                client.portal_store().rm_statement(name);
                let complete = CommandComplete::new("DEALLOCATE".to_owned());
                client.feed(PgWireBackendMessage::CommandComplete(complete)).await?;
                continue;
            }
            self.run(client, statement).await?;
        }
        Ok(Vec::new())
    }
}

impl Connection {
    async fn run<C>(&self, client: &mut C, statement: &Parsed) -> PgWireResult<()>
    where
        C: Sink<PgWireBackendMessage> + Unpin + Send,
        C::Error: Debug,
        PgWireError: From<C::Error>,
    {
        let session = self.session()?;
        let prepared = self.beside(client, session.prepare(statement, &[])).await?;
        let answer = self.beside(client, session.execute(&prepared, Vec::new())).await?;
        let tag = match answer {
            Answer::Done { tag } => {
                self.report_variables(client, &tag).await?;
                tag
            }
            Answer::Rows { schema, stream, tag } => {
                let columns: Vec<Column> =
                    schema.fields().iter().map(|field| Column::of(field)).collect();
                let fields =
                    columns.iter().map(|column| (&column.info(FieldFormat::Text)).into()).collect();
                client
                    .feed(PgWireBackendMessage::RowDescription(RowDescription::new(fields)))
                    .await?;
                let formats = vec![FieldFormat::Text; columns.len()];
                let (sent, _) = Rows::new(stream, &columns, &formats).send(self, client, 0).await?;
                tag(sent)
            }
        };
        client.feed(PgWireBackendMessage::CommandComplete(CommandComplete::new(tag))).await?;
        Ok(())
    }
}

/// The name in `DEALLOCATE [PREPARE] name`: prepared statements belong to the connection and not to the session, so
/// this one statement is the server's own. `ALL` forgets none of them, which no driver can tell: a later Parse under a
/// name that is taken replaces what it stands for.
fn deallocated(text: &str) -> Option<&str> {
    let mut words = text.trim_end_matches(';').split_whitespace();
    words.next().filter(|word| word.eq_ignore_ascii_case("deallocate"))?;
    let name = match words.next()? {
        word if word.eq_ignore_ascii_case("prepare") => words.next()?,
        word => word,
    };
    words.next().is_none().then(|| name.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::deallocated;

    #[test]
    fn deallocate_names_its_statement() {
        assert_eq!(deallocated("DEALLOCATE _pg3_0"), Some("_pg3_0"));
        assert_eq!(deallocated("deallocate prepare \"a\";"), Some("a"));
        assert_eq!(deallocated("DEALLOCATE"), None);
        assert_eq!(deallocated("SELECT 1"), None);
    }
}
