//! Running statements.
//!
//! One function per family of statements, each in its own file; here is the switch. The row sources
//! of a query run first, in the order of the text, and their rows stand under their generated names
//! while the query runs. Job listings are the exception: they are read when the query reads them.

mod ddl;
pub(crate) mod dml;
mod import;
mod jobs;
mod settings;
mod show;
mod users;

use cairn_engine::{EngineError, blocking};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::concat_batches;
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use futures::TryStreamExt as _;
use futures::future::BoxFuture;
use sqlparser::ast;

use crate::ast::{ShowJobs, Sql, Statement, Text};
use crate::error::{Result, SqlError, code};
use crate::notice::Notice;
use crate::prepare::{Prepared, described_sources, is_query, no_rows};
use crate::query::{Query, ready};
use crate::relations::{Relations, Sources};
use crate::session::{Answer, Scope};
use crate::variables::Variables;
use crate::views::VirtualTable;
use crate::views::jobs::{Which, show_table};

/// Runs a prepared statement.
pub(crate) async fn execute(
    scope: &Scope,
    prepared: &Prepared,
    params: Vec<ScalarValue>,
) -> Result<Answer> {
    let params = prepared.fit(params)?;
    let context = Context { text: &prepared.text, params: &params };
    statement(scope, &prepared.statement, context).await
}

/// What came with a statement.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    /// The text of the whole statement.
    pub(crate) text: &'a str,
    /// The values of `$1`, `$2`, ...
    pub(crate) params: &'a [ScalarValue],
}

impl Context<'_> {
    /// A text of the statement, be it said or given.
    pub(crate) fn resolve(self, text: &Text) -> Result<String> {
        match text {
            Text::Literal(text) => Ok(text.clone()),
            Text::Param(number) => match self.params.get(number.wrapping_sub(1)) {
                Some(ScalarValue::Utf8(Some(text))) => Ok(text.clone()),
                Some(value) if !value.is_null() => Ok(value.to_string()),
                _ => Err(SqlError::invalid_value(format!("${number} must not be NULL"))),
            },
        }
    }
}

fn statement<'a>(
    scope: &'a Scope,
    statement: &'a Statement,
    context: Context<'a>,
) -> BoxFuture<'a, Result<Answer>> {
    Box::pin(async move {
        match statement {
            Statement::Sql(query) => sql(scope, query, context).await,
            Statement::ShowJobs(show) => jobs::show(scope, show, context).await,
            Statement::ControlJobs(control) => jobs::control(scope, control, context).await,
            Statement::Import(import) => import::execute(scope, import, context).await,
            Statement::SetClusterSetting { name, value } => {
                settings::set_cluster(scope, name, value.as_ref(), context).await
            }
            Statement::ShowClusterSetting { name } => settings::show_cluster(scope, name.as_ref()),
            Statement::ShowCatalog(listing) => show::listing(scope, listing),
            Statement::CreateRole { name, if_not_exists, kind } => {
                users::create(scope, name, *if_not_exists, *kind).await
            }
            Statement::DropRole { names, if_exists, kind } => {
                users::drop(scope, names, *if_exists, *kind).await
            }
            Statement::GrantRole { roles, to } => users::grant(scope, roles, to).await,
            Statement::RevokeRole { roles, from } => users::revoke(scope, roles, from).await,
            Statement::SetVariable { name, value } => {
                settings::set_variable(scope, name, value.as_ref(), context)
            }
            Statement::ResetVariables => {
                scope.facts.with_variables(Variables::reset);
                Ok(done("RESET"))
            }
            Statement::ShowVariable { name } => settings::show_variable(scope, name),
            Statement::ShowVariables => settings::show_variables(scope),
            Statement::Begin { .. } => Err(SqlError::not_built(
                "a transaction over several statements",
                "Leave out BEGIN: each statement commits by itself (autocommit).",
            )),
            Statement::Commit => Ok(no_transaction(scope, "COMMIT")),
            Statement::Rollback => Ok(no_transaction(scope, "ROLLBACK")),
            Statement::SetTransaction { session, modes } => set_transaction(scope, *session, modes),
            Statement::Discard(what) => {
                if *what == crate::ast::Discard::All {
                    scope.facts.with_variables(Variables::reset);
                }
                Ok(done(&format!("DISCARD {}", what.as_str())))
            }
            Statement::NotBuilt(what) => {
                Err(SqlError::not_built(what.what, what.hint).with_position(what.at))
            }
        }
    })
}

/// A statement in `sqlparser`'s tree.
async fn sql(scope: &Scope, query: &Sql, context: Context<'_>) -> Result<Answer> {
    if let Some(verb) = dml::verb(&query.ast) {
        let sources = sources(scope, query, context).await?;
        let tag = dml::execute(scope, verb, &query.ast, &sources, context.params).await?;
        return Ok(Answer::Done { tag });
    }
    if !is_query(&query.ast) {
        return ddl::execute(scope, &query.ast, context).await;
    }
    let explain = matches!(query.ast.as_ref(), ast::Statement::Explain { analyze: false, .. });
    let planned = planned(scope, query, context, explain).await?;
    let (schema, stream) = planned.run(scope).await?;
    let tag: fn(u64) -> String =
        if explain { |_| "EXPLAIN".to_owned() } else { |rows| format!("SELECT {rows}") };
    Ok(Answer::Rows { schema, stream, tag })
}

/// Plans a query whose row sources have run, or are empty if it is only `described`.
async fn planned(
    scope: &Scope,
    query: &Sql,
    context: Context<'_>,
    described: bool,
) -> Result<Query> {
    let sources = if described {
        described_sources(scope, query).await?
    } else {
        sources(scope, query, context).await?
    };
    let relations = Relations::new(scope, sources);
    let statement = query.ast.as_ref().clone();
    Query::plan(scope, &relations, statement).await?.bind(context.params)
}

/// Runs the row sources of a query.
async fn sources(scope: &Scope, query: &Sql, context: Context<'_>) -> Result<Sources> {
    let mut sources = Sources::new();
    for source in &query.sources {
        let table = match source.statement.as_ref() {
            Statement::ShowJobs(ShowJobs { automatic, of: None, .. }) => {
                let which = if *automatic { Which::RecentAutomatic } else { Which::Recent };
                show_table(scope, which)
            }
            inner => match statement(scope, inner, context).await? {
                Answer::Rows { schema, stream, .. } => {
                    let batches: Vec<RecordBatch> = stream.try_collect().await?;
                    let rows = concat_batches(&schema, &batches).map_err(DataFusionError::from)?;
                    VirtualTable::of(rows)
                }
                Answer::Done { .. } => return Err(no_rows(source)),
            },
        };
        sources.insert(source.name.clone(), table);
    }
    Ok(sources)
}

fn set_transaction(scope: &Scope, session: bool, modes: &[String]) -> Result<Answer> {
    if let Some(mode) = modes.iter().find(|mode| mode.contains("READ ONLY")) {
        return Err(SqlError::not_built(mode, "Every statement may write here."));
    }
    if !session {
        let message = "SET TRANSACTION can only be used in transaction blocks";
        scope.notices.send(Notice::warning(code::NO_ACTIVE_SQL_TRANSACTION, message));
    }
    Ok(done("SET"))
}

/// COMMIT and ROLLBACK where there is nothing to end: PostgreSQL warns, and so do we.
fn no_transaction(scope: &Scope, tag: &str) -> Answer {
    let message = "there is no transaction in progress";
    scope.notices.send(Notice::warning(code::NO_ACTIVE_SQL_TRANSACTION, message));
    done(tag)
}

pub(crate) fn done(tag: &str) -> Answer {
    Answer::Done { tag: tag.to_owned() }
}

/// Rows that are at hand, under a tag that counts them.
pub(crate) fn rows(batch: RecordBatch, tag: fn(u64) -> String) -> Answer {
    let (schema, stream) = ready(batch);
    Answer::Rows { schema, stream, tag }
}

/// The tag of SHOW statements.
pub(crate) fn show_tag(rows: u64) -> String {
    format!("SHOW {rows}")
}

/// Runs blocking work and unites its error with that of a panic.
pub(crate) async fn blocking<T: Send + 'static>(
    op: blocking::Op,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    blocking::run(op, work).await.map_err(EngineError::from)?
}
