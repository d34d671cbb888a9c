//! The extended protocol: Parse, Bind, Describe, Execute.
//!
//! A statement is planned when it is parsed, so Describe knows the types of its parameters and of its result before
//! anything runs, also for our own statements. A portal keeps its rows between two Execute messages with a row limit
//! and is closed at Sync, where PostgreSQL's implicit transaction ends; rows are sent as they come, never collected.

use super::connection::{Connection, Rows};
use super::decode::{declared, parameter};
use super::encode::{Column, formats, type_of};
use super::errors::{failure, statement_error};
use async_trait::async_trait;
use cairn_sql::{Answer, Prepared};
use datafusion::common::ScalarValue;
use futures::{Sink, SinkExt};
use pgwire::api::portal::{Format, Portal};
use pgwire::api::query::ExtendedQueryHandler;
use pgwire::api::results::{DescribeStatementResponse, FieldFormat, FieldInfo, Response};
use pgwire::api::stmt::{QueryParser, StoredStatement};
use pgwire::api::store::{Entry, PortalStore};
use pgwire::api::{ClientInfo, ClientPortalStore, DEFAULT_NAME, PgWireConnectionState, Type};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::extendedquery::{
    Bind, BindComplete, Close, CloseComplete, Execute, PortalSuspended, Sync as SyncMessage,
    TARGET_TYPE_BYTE_PORTAL, TARGET_TYPE_BYTE_STATEMENT,
};
use pgwire::messages::response::{CommandComplete, EmptyQueryResponse, ReadyForQuery};
use std::fmt::Debug;
use std::sync::Arc;

/// A prepared statement and what the client is told about it.
#[derive(Clone)]
pub(super) struct Statement {
    prepared: Arc<Prepared>,
    /// The type each parameter's bytes are read as.
    parameters: Arc<[Type]>,
    /// None for a statement without rows.
    columns: Option<Arc<[Column]>>,
}

/// A portal that has begun.
pub(super) enum OpenPortal {
    /// It may have more rows.
    Rows(Box<Rows>, fn(u64) -> String),
    /// All rows were sent; another Execute answers with none.
    Drained(fn(u64) -> String),
    /// A statement without rows ran. Its tag is sent once: such a portal does not run twice.
    Done(Option<String>),
}

/// Plans statements for a connection.
pub(super) struct Planner {
    session: PgWireResult<Arc<cairn_sql::Session>>,
}

#[async_trait]
impl QueryParser for Planner {
    type Statement = Statement;

    async fn parse_sql<C>(
        &self,
        _client: &C,
        sql: &str,
        types: &[Option<Type>],
    ) -> PgWireResult<Option<Statement>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let session = match &self.session {
            Ok(session) => session,
            Err(error) => return Err(failure(error.code(), error.to_string())),
        };
        let statements = cairn_sql::parse(sql).map_err(|error| statement_error(&error))?;
        let statement = match statements.as_slice() {
            [] => return Ok(None),
            [statement] => statement,
            _ => {
                let message = "cannot insert multiple commands into a prepared statement";
                return Err(failure("42601", message.to_owned()));
            }
        };
        let asked: Vec<_> = types.iter().map(|pg| pg.as_ref().and_then(declared)).collect();
        let prepared =
            session.prepare(statement, &asked).await.map_err(|error| statement_error(&error))?;
        let parameters =
            prepared.params.iter().enumerate().map(|(index, arrow)| match types.get(index) {
                Some(Some(pg)) if declared(pg).is_some() => pg.clone(),
                _ => type_of(arrow),
            });
        let parameters = parameters.collect();
        let columns = prepared
            .columns
            .as_ref()
            .map(|columns| columns.iter().map(Column::of_result).collect());
        Ok(Some(Statement { prepared: Arc::new(prepared), parameters, columns }))
    }

    fn get_parameter_types(&self, statement: &Statement) -> PgWireResult<Vec<Type>> {
        Ok(statement.parameters.to_vec())
    }

    fn get_result_schema(
        &self,
        statement: &Statement,
        asked: Option<&Format>,
    ) -> PgWireResult<Vec<FieldInfo>> {
        let Some(columns) = &statement.columns else { return Ok(Vec::new()) };
        let formats = match asked {
            Some(asked) => formats(asked, columns.len())?,
            None => vec![FieldFormat::Text; columns.len()],
        };
        Ok(columns.iter().zip(formats).map(|(column, format)| column.info(format)).collect())
    }
}

#[async_trait]
impl ExtendedQueryHandler for Connection {
    type Statement = Statement;
    type QueryParser = Planner;

    fn query_parser(&self) -> Arc<Planner> {
        Arc::new(Planner { session: self.session().map(Arc::clone) })
    }

    async fn on_bind<C>(&self, client: &mut C, message: Bind) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let statement_name = message.statement_name.as_deref().unwrap_or(DEFAULT_NAME);
        let portal_name = message.portal_name.as_deref().unwrap_or(DEFAULT_NAME);
        let supplied = message.parameters.len();
        match client.portal_store().get_statement(statement_name) {
            Some(Entry::Value(statement)) => {
                check_count(supplied, statement.statement.parameters.len())?;
                client.portal_store().put_portal(Arc::new(Portal::try_new(&message, statement)?));
            }
            Some(Entry::Empty) => {
                check_count(supplied, 0)?;
                client.portal_store().put_empty_portal(portal_name);
            }
            None => {
                return Err(failure(
                    "26000",
                    format!("prepared statement \"{statement_name}\" does not exist"),
                ));
            }
        }
        self.portals().remove(portal_name);
        client.feed(PgWireBackendMessage::BindComplete(BindComplete::new())).await?;
        Ok(())
    }

    async fn on_execute<C>(&self, client: &mut C, message: Execute) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        let portal = match client.portal_store().get_portal(name) {
            Some(Entry::Value(portal)) => portal,
            Some(Entry::Empty) => {
                client
                    .feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new()))
                    .await?;
                return Ok(());
            }
            None => return Err(failure("34000", format!("portal \"{name}\" does not exist"))),
        };
        client.set_state(PgWireConnectionState::QueryInProgress);
        let limit = usize::try_from(message.max_rows).unwrap_or(0);
        let open = self.portals().remove(name);
        let open = match open {
            Some(open) => open,
            None => self.begin(client, &portal).await?,
        };
        let (answer, open) = self.fetch(client, open, limit).await?;
        self.portals().insert(name.to_owned(), open);
        client.feed(answer).await?;
        client.set_state(PgWireConnectionState::ReadyForQuery);
        Ok(())
    }

    async fn on_sync<C>(&self, client: &mut C, _message: SyncMessage) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        client.portal_store().clear_portals();
        self.portals().clear();
        let ready = ReadyForQuery::new(client.transaction_status());
        client.send(PgWireBackendMessage::ReadyForQuery(ready)).await?;
        Ok(())
    }

    async fn on_close<C>(&self, client: &mut C, message: Close) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        match message.target_type {
            TARGET_TYPE_BYTE_STATEMENT => client.portal_store().rm_statement(name),
            TARGET_TYPE_BYTE_PORTAL => {
                client.portal_store().rm_portal(name);
                self.portals().remove(name);
            }
            other => {
                return Err(failure("08P01", format!("invalid CLOSE message subtype {other}")));
            }
        }
        client.feed(PgWireBackendMessage::CloseComplete(CloseComplete::new())).await?;
        Ok(())
    }

    async fn do_describe_statement<C>(
        &self,
        _client: &mut C,
        target: &StoredStatement<Statement>,
    ) -> PgWireResult<DescribeStatementResponse>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let planner = self.query_parser();
        let fields = planner.get_result_schema(&target.statement, None)?;
        Ok(DescribeStatementResponse::new(planner.get_parameter_types(&target.statement)?, fields))
    }

    /// Never called: [`Self::on_execute`] answers by itself, so that rows stream and portals can be suspended.
    async fn do_query<C>(
        &self,
        _: &mut C,
        _: &Portal<Statement>,
        _: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        Ok(Response::EmptyQuery)
    }
}

impl Connection {
    /// Runs a portal's statement up to its first row.
    async fn begin<C>(&self, client: &mut C, portal: &Portal<Statement>) -> PgWireResult<OpenPortal>
    where
        C: Sink<PgWireBackendMessage> + Unpin + Send,
        C::Error: Debug,
        PgWireError: From<C::Error>,
    {
        let statement = &portal.statement.statement;
        let session = self.session()?;
        let parameters = bound(portal, statement)?;
        match self.beside(client, session.execute(&statement.prepared, parameters)).await? {
            Answer::Done { tag } => Ok(OpenPortal::Done(Some(tag))),
            Answer::Rows { schema, stream, tag } => {
                // The plan's own columns: a result that changed its shape since Describe is refused when it comes.
                let columns = match &statement.columns {
                    Some(columns) => Arc::clone(columns),
                    None => schema.fields().iter().map(|field| Column::of(field)).collect(),
                };
                let formats = formats(&portal.result_column_format, columns.len())?;
                Ok(OpenPortal::Rows(Box::new(Rows::new(stream, &columns, &formats)), tag))
            }
        }
    }

    /// Sends up to `limit` rows of a portal (0: all) and answers what ends this Execute, and what is left.
    async fn fetch<C>(
        &self,
        client: &mut C,
        open: OpenPortal,
        limit: usize,
    ) -> PgWireResult<(PgWireBackendMessage, OpenPortal)>
    where
        C: Sink<PgWireBackendMessage> + Unpin + Send,
        C::Error: Debug,
        PgWireError: From<C::Error>,
    {
        let complete = |tag| PgWireBackendMessage::CommandComplete(CommandComplete::new(tag));
        Ok(match open {
            OpenPortal::Rows(mut rows, tag) => match rows.send(self, client, limit).await? {
                (_, true) => (
                    PgWireBackendMessage::PortalSuspended(PortalSuspended::new()),
                    OpenPortal::Rows(rows, tag),
                ),
                (sent, false) => (complete(tag(sent)), OpenPortal::Drained(tag)),
            },
            OpenPortal::Drained(tag) => (complete(tag(0)), OpenPortal::Drained(tag)),
            OpenPortal::Done(Some(tag)) => {
                self.report_variables(client, &tag).await?;
                (complete(tag), OpenPortal::Done(None))
            }
            OpenPortal::Done(None) => {
                return Err(failure("55000", "the portal cannot be run again".to_owned()));
            }
        })
    }
}

/// The portal's parameters as the statement takes them.
fn bound(portal: &Portal<Statement>, statement: &Statement) -> PgWireResult<Vec<ScalarValue>> {
    let codes = match &portal.parameter_format {
        Format::Individual(codes) => Some(codes.len()),
        Format::UnifiedText | Format::UnifiedBinary => None,
    };
    if codes.is_some_and(|codes| codes != portal.parameters.len()) {
        let message = "bind message has another number of parameter formats than of parameters";
        return Err(failure("08P01", message.to_owned()));
    }
    let wanted = statement.parameters.iter().zip(&statement.prepared.params);
    portal
        .parameters
        .iter()
        .zip(wanted)
        .enumerate()
        .map(|(index, (bytes, (wire, arrow)))| {
            parameter(
                bytes.as_deref(),
                portal.parameter_format.is_binary(index),
                wire,
                arrow,
                index + 1,
            )
        })
        .collect()
}

fn check_count(supplied: usize, taken: usize) -> PgWireResult<()> {
    if supplied == taken {
        return Ok(());
    }
    let message = format!(
        "bind message supplies {supplied} parameters, but the prepared statement requires {taken}"
    );
    Err(failure("08P01", message))
}
