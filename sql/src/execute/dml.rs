//! INSERT, UPDATE and DELETE: planning what to write, and starting over when rows changed.
//!
//! The rows to write are computed like any query, on a view. `table/dml.rs` then checks under locks
//! that nothing it depends on has changed, and commits. If something has, the statement is computed
//! again on a fresh view; after [`TRIES`] times it gives up with 40001. A statement's rows are held
//! in memory until they are committed in one batch.

use std::sync::Arc;

use cairn_engine::blocking::Op;
use cairn_engine::{SpanId, Sync};
use datafusion::arrow::array::{Array, BinaryArray, RecordBatch, UInt64Array};
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::{Expr as DfExpr, LogicalPlan, LogicalPlanBuilder};
use sqlparser::ast::{
    self, AssignmentTarget, Expr, Ident, ObjectName, Query, SetExpr, TableAlias, TableFactor,
    TableObject, TableWithJoins, Value,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use crate::catalog::{CatalogSnapshot, TableDescriptor};
use crate::error::{Result, SqlError, code};
use crate::query::Query as Planned;
use crate::relations::{Relations, Sources, TARGET};
use crate::rewrite::{name_parts, normalized};
use crate::row::RowReader;
use crate::session::Scope;
use crate::table::Hidden;
use crate::table::dml::{Found, Outcome, Target, change, insert};
use crate::table::provider::{PLACE_KEY, PLACE_SPAN, PLACE_VALUE};
use crate::value::Datum;

/// How often a statement is computed before it gives up against other writers.
const TRIES: u32 = 32;

/// What a statement does to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Insert,
    Update,
    Delete,
}

impl Verb {
    fn tag(self, rows: u64) -> String {
        match self {
            Self::Insert => format!("INSERT 0 {rows}"),
            Self::Update => format!("UPDATE {rows}"),
            Self::Delete => format!("DELETE {rows}"),
        }
    }
}

/// The verb of a statement that changes rows; `None` for any other statement.
pub(crate) fn verb(statement: &ast::Statement) -> Option<Verb> {
    match statement {
        ast::Statement::Insert(_) => Some(Verb::Insert),
        ast::Statement::Update(_) => Some(Verb::Update),
        ast::Statement::Delete(_) => Some(Verb::Delete),
        _ => None,
    }
}

/// Plans a statement that changes rows, over its target under the name [`TARGET`].
pub(crate) async fn plan(
    scope: &Scope,
    verb: Verb,
    statement: &ast::Statement,
    sources: Sources,
) -> Result<(Planned, Arc<TableDescriptor>)> {
    let name = target_name(statement)?;
    let hidden = if verb == Verb::Insert { Hidden::No } else { Hidden::Place };
    let (relations, table) = Relations::with_target(
        scope,
        sources,
        |snapshot| find_table(scope, snapshot, &name),
        hidden,
    )?;
    let statement = match statement {
        ast::Statement::Insert(statement) => over_insert(statement, &table)?,
        ast::Statement::Update(statement) => over_update(statement, &table)?,
        ast::Statement::Delete(statement) => over_delete(statement)?,
        other => return Err(SqlError::internal(format!("not a change of rows: {other}"))),
    };
    let planned = Planned::plan(scope, &relations, statement).await?;
    let input = match &planned.plan {
        LogicalPlan::Dml(dml) => dml.input.as_ref().clone(),
        other => other.clone(),
    };
    let input = match verb {
        Verb::Insert | Verb::Update => input,
        Verb::Delete => {
            let places = [PLACE_KEY, PLACE_VALUE, PLACE_SPAN]
                .map(|name| DfExpr::Column(Column::new_unqualified(name)));
            LogicalPlanBuilder::from(input).project(places)?.build()?
        }
    };
    Ok((planned.with_plan(input), table))
}

/// Runs a statement that changes rows. Answers its command tag.
pub(crate) async fn execute(
    scope: &Scope,
    verb: Verb,
    statement: &ast::Statement,
    sources: &Sources,
    params: &[ScalarValue],
) -> Result<String> {
    let sync = scope.facts.with_variables(|variables| variables.synchronous_commit());
    let sync = if sync { Sync::Yes } else { Sync::No };
    for _ in 0..TRIES {
        let (planned, table) = plan(scope, verb, statement, sources.clone()).await?;
        let batches = planned.bind(params)?.collect(scope).await?;
        let target = Target { db: scope.db.clone(), table, sync };
        let outcome = crate::execute::blocking(Op::Write, move || match verb {
            Verb::Insert => insert(&target, &rows(&target.table, &batches)?),
            Verb::Update => {
                let (found, new) = (found(&batches)?, rows(&target.table, &batches)?);
                change(&target, &found, Some(&new))
            }
            Verb::Delete => change(&target, &found(&batches)?, None),
        })
        .await?;
        if let Outcome::Applied(rows) = outcome {
            return Ok(verb.tag(rows));
        }
        // Another writer won; the next view sees its rows.
        scope.stop.race(tokio::task::yield_now()).await?;
    }
    Err(SqlError::new(
        code::SERIALIZATION_FAILURE,
        "could not serialize access due to concurrent updates",
    )
    .with_detail(format!("The rows changed {TRIES} times while the statement was computed."))
    .with_hint("Nothing was written. Run the statement again."))
}

/// The rows of a query whose first columns are the table's.
fn rows(table: &TableDescriptor, batches: &[RecordBatch]) -> Result<Vec<Vec<Datum>>> {
    let mut rows = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());

    for batch in batches {
        rows.extend(RowReader::new(table, batch)?.all()?);
    }
    Ok(rows)
}

/// The places of the rows a query found: its last three columns.
fn found(batches: &[RecordBatch]) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for batch in batches {
        let (keys, values, spans) = places(batch)
            .ok_or_else(|| SqlError::internal("a change was planned without its rows' places"))?;
        for index in 0..batch.num_rows() {
            found.push(Found {
                key: keys.value(index).to_vec(),
                value: values.value(index).to_vec(),
                span: SpanId::from_raw(spans.value(index)),
            });
        }
    }
    Ok(found)
}

fn places(batch: &RecordBatch) -> Option<(&BinaryArray, &BinaryArray, &UInt64Array)> {
    let from = batch.num_columns().checked_sub(3)?;
    Some((
        batch.column(from).as_any().downcast_ref()?,
        batch.column(from + 1).as_any().downcast_ref()?,
        batch.column(from + 2).as_any().downcast_ref()?,
    ))
}

/// A table by its name as written: schema and database may be left out.
pub(crate) fn find_table(
    scope: &Scope,
    snapshot: &CatalogSnapshot,
    name: &ObjectName,
) -> Result<Arc<TableDescriptor>> {
    let parts = name_parts(name);
    let found = snapshot.expect_table(&parts, &scope.facts.database, &scope.facts.search_path());
    match found {
        Err(error) if error.code == code::UNDEFINED_TABLE && crate::views::is_virtual(&parts) => {
            let message = format!("\"{}\" is a listing and cannot be changed", parts.join("."));
            Err(SqlError::new(code::WRONG_OBJECT_TYPE, message))
        }
        found => found,
    }
}

fn target_name(statement: &ast::Statement) -> Result<ObjectName> {
    match statement {
        ast::Statement::Insert(insert) => match &insert.table {
            TableObject::TableName(name) => Ok(name.clone()),
            _ => Err(SqlError::syntax("INSERT takes the name of a table")),
        },
        ast::Statement::Update(update) => relation_name(&update.table),
        ast::Statement::Delete(delete) => relation_name(delete_from(delete)?),
        _ => Err(SqlError::internal("not a change of rows")),
    }
}

fn delete_from(delete: &ast::Delete) -> Result<&TableWithJoins> {
    let (ast::FromTable::WithFromKeyword(tables) | ast::FromTable::WithoutKeyword(tables)) =
        &delete.from;
    match tables.as_slice() {
        [only] => Ok(only),
        _ => Err(SqlError::syntax("DELETE takes the name of one table")),
    }
}

fn relation_name(table: &TableWithJoins) -> Result<ObjectName> {
    match &table.relation {
        TableFactor::Table { name, .. } if table.joins.is_empty() => Ok(name.clone()),
        _ => Err(SqlError::syntax("the target of a change is the name of one table")),
    }
}

/// The target under its internal name, known to the rest of the statement as it was written.
fn as_target(table: &TableWithJoins) -> Result<TableWithJoins> {
    let mut target = table.clone();
    let TableFactor::Table { name, alias, .. } = &mut target.relation else {
        return Err(SqlError::syntax("the target of a change is the name of one table"));
    };
    if alias.is_none() {
        let known_as = name.0.last().and_then(|part| part.as_ident()).cloned();
        let name = known_as.ok_or_else(|| SqlError::syntax("a table has a name"))?;
        *alias = Some(TableAlias { explicit: true, name, columns: Vec::new(), at: None });
    }
    *name = target_object();
    Ok(target)
}

fn target_object() -> ObjectName {
    ObjectName::from(vec![Ident::with_quote('"', TARGET)])
}

fn over_insert(insert: &ast::Insert, table: &TableDescriptor) -> Result<ast::Statement> {
    if insert.on.is_some() {
        return Err(SqlError::not_built(
            "INSERT ... ON CONFLICT",
            "Insert the rows that are not there yet: INSERT ... SELECT ... WHERE NOT EXISTS (...).",
        ));
    }
    no_returning(insert.returning.as_deref())?;
    let mut insert = insert.clone();
    insert.table = TableObject::TableName(target_object());
    insert.table_alias = None;
    for column in &insert.columns {
        let name = name_parts(column).join(".");
        if !table.columns.iter().any(|known| known.name == name) {
            return Err(no_such_column(table, &name));
        }
    }
    let Some(source) = &mut insert.source else {
        // DEFAULT VALUES: name one column, and the engine fills in all others.
        let first = table.columns.first().ok_or_else(|| SqlError::internal("no columns"))?;
        insert.columns = vec![ObjectName::from(vec![Ident::with_quote('"', &first.name)])];
        let text = format!("VALUES ({})", first.default.as_deref().unwrap_or("NULL"));
        insert.source = Some(Box::new(parsed_query(&text)?));
        return Ok(ast::Statement::Insert(insert));
    };
    if let SetExpr::Values(values) = source.body.as_mut() {
        let width = values.rows.first().map_or(0, |row| row.content.len());
        if insert.columns.is_empty() && width < table.columns.len() {
            insert.columns = table.columns[..width]
                .iter()
                .map(|column| ObjectName::from(vec![Ident::with_quote('"', &column.name)]))
                .collect();
        }
        let names: Vec<String> = if insert.columns.is_empty() {
            table.columns.iter().map(|column| column.name.clone()).collect()
        } else {
            insert.columns.iter().map(|name| name_parts(name).join(".")).collect()
        };
        for row in &mut values.rows {
            if row.content.len() != names.len() {
                let relation = if row.content.len() > names.len() { "more" } else { "fewer" };
                return Err(SqlError::syntax(format!(
                    "INSERT has {relation} expressions than target columns"
                )));
            }
            for (name, value) in names.iter().zip(&mut row.content) {
                fill_default(table, name, value)?;
            }
        }
    }
    Ok(ast::Statement::Insert(insert))
}

fn over_update(update: &ast::Update, table: &TableDescriptor) -> Result<ast::Statement> {
    no_returning(update.returning.as_deref())?;
    if update.from.is_some() {
        return Err(SqlError::not_built(
            "UPDATE ... FROM",
            "Use a subquery: SET a = (SELECT ...) WHERE key IN (SELECT ...).",
        ));
    }
    let mut update = update.clone();
    update.table = as_target(&update.table)?;
    for assignment in &mut update.assignments {
        let AssignmentTarget::ColumnName(target) = &mut assignment.target else {
            return Err(SqlError::not_built(
                "SET (a, b) = (...)",
                "Assign the columns one by one: SET a = ..., b = ...",
            ));
        };
        let name = name_parts(target).pop().unwrap_or_default();
        if !table.columns.iter().any(|known| known.name == name) {
            return Err(no_such_column(table, &name));
        }
        fill_default(table, &name, &mut assignment.value)?;
        *target = ObjectName::from(vec![Ident::with_quote('"', name)]);
    }
    Ok(ast::Statement::Update(update))
}

/// `SELECT * FROM target AS name WHERE ...`
fn over_delete(delete: &ast::Delete) -> Result<ast::Statement> {
    no_returning(delete.returning.as_deref())?;
    if delete.using.is_some() {
        return Err(SqlError::not_built(
            "DELETE ... USING",
            "Use a subquery: DELETE FROM t WHERE key IN (SELECT ...).",
        ));
    }
    if delete.limit.is_some() || !delete.order_by.is_empty() {
        return Err(SqlError::not_built(
            "DELETE with LIMIT or ORDER BY",
            "Use a subquery: DELETE FROM t WHERE key IN (SELECT ... LIMIT n).",
        ));
    }
    let mut query = parsed_query("SELECT * FROM t")?;
    let SetExpr::Select(select) = query.body.as_mut() else {
        return Err(SqlError::internal("a SELECT is a SELECT"));
    };
    select.from = vec![as_target(delete_from(delete)?)?];
    select.selection.clone_from(&delete.selection);
    Ok(ast::Statement::Query(Box::new(query)))
}

fn no_returning(returning: Option<&[ast::SelectItem]>) -> Result<()> {
    if returning.is_none() {
        return Ok(());
    }
    Err(SqlError::not_built("RETURNING", "Read the rows with a SELECT."))
}

fn no_such_column(table: &TableDescriptor, name: &str) -> SqlError {
    let message = format!("column \"{name}\" of relation \"{}\" does not exist", table.name);
    SqlError::new(code::UNDEFINED_COLUMN, message)
}

/// Puts a column's default in the place of the word DEFAULT.
fn fill_default(table: &TableDescriptor, column: &str, value: &mut Expr) -> Result<()> {
    let is_default = matches!(value, Expr::Identifier(ident)
        if ident.quote_style.is_none() && normalized(ident) == "default");
    if is_default {
        let column = table.columns.iter().find(|known| known.name == column);
        *value = match column.and_then(|column| column.default.as_deref()) {
            Some(text) => parsed_expr(text)?,
            None => Expr::Value(Value::Null.into()),
        };
    }
    Ok(())
}

fn parsed_expr(text: &str) -> Result<Expr> {
    let query = parsed_query(&format!("SELECT {text}"))?;
    let SetExpr::Select(select) = *query.body else {
        return Err(SqlError::internal("a SELECT is a SELECT"));
    };
    match select.projection.into_iter().next() {
        Some(ast::SelectItem::UnnamedExpr(expr)) => Ok(expr),
        _ => Err(SqlError::internal(format!("a stored default is not an expression: {text}"))),
    }
}

/// A query of our own making.
pub(crate) fn parsed_query(text: &str) -> Result<Query> {
    let statement = Parser::parse_sql(&PostgreSqlDialect {}, text)
        .map_err(|error| SqlError::internal(format!("our own query does not parse: {error}")))?
        .pop();
    match statement {
        Some(ast::Statement::Query(query)) => Ok(*query),
        _ => Err(SqlError::internal("our own query is not a query")),
    }
}
