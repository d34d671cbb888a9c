//! Queries: from a tree to a plan, from a plan to a stream of batches.
//!
//! Planning sees one state of the catalog and reads through one view of the store, both held by
//! the [`Relations`] the statement was given. Execution happens on the database's own threads; the
//! caller gets a stream over a short channel, so a slow client slows the query down instead of
//! filling memory. Results leave in a few plain Arrow types only, under the names PostgreSQL would
//! give the columns.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execute_stream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::sql::parser::Statement as DfStatement;
use futures::StreamExt as _;
use sqlparser::ast::{self, Expr, SelectItem, SetExpr};
use tokio::sync::mpsc;

use crate::error::{Result, SqlError};
use crate::relations::{DEFAULT_SCHEMA, Relations};
use crate::rewrite::{name_parts, normalized};
use crate::session::{ResultColumn, Scope};

/// Batches on their way from the query to whoever reads it.
const BATCHES_WAITING: usize = 2;

/// A planned query.
pub(crate) struct Query {
    state: SessionState,
    pub(crate) plan: LogicalPlan,
    names: Vec<String>,
}

impl Query {
    /// Plans `statement` over `relations`.
    pub(crate) async fn plan(
        scope: &Scope,
        relations: &Relations,
        statement: ast::Statement,
    ) -> Result<Self> {
        let mut state = scope.state.as_ref().clone();
        state.register_catalog_list(Arc::new(relations.clone()));
        state.mark_start_execution();
        let items = select_items(&statement);
        let plan = state
            .statement_to_plan(DfStatement::Statement(Box::new(statement)))
            .await
            .map_err(planning)?;
        relations.pin();
        let names = names(items, &plan);
        Ok(Self { state, plan, names })
    }

    /// The same query over another plan, made from its own.
    pub(crate) fn with_plan(self, plan: LogicalPlan) -> Self {
        let names = names(None, &plan);
        Self { state: self.state, plan, names }
    }

    /// Puts values in the place of `$1`, `$2`, ...
    pub(crate) fn bind(mut self, params: &[ScalarValue]) -> Result<Self> {
        if !params.is_empty() {
            self.plan = self.plan.with_param_values(ParamValues::from(params.to_vec()))?;
        }
        Ok(self)
    }

    /// What the query will answer.
    pub(crate) fn columns(&self) -> Vec<ResultColumn> {
        let fields = self.plan.schema().fields();
        self.names
            .iter()
            .zip(fields)
            .map(|(name, field)| ResultColumn {
                name: name.clone(),
                data_type: presented(field.data_type()),
                nullable: field.is_nullable(),
            })
            .collect()
    }

    /// Runs the query. Rows arrive through the stream while it runs.
    pub(crate) async fn run(self, scope: &Scope) -> Result<(SchemaRef, SendableRecordBatchStream)> {
        let columns = self.columns();
        let physical = self.state.create_physical_plan(&self.plan).await?;
        let batches = execute_stream(physical, self.state.task_ctx())?;
        let schema = result_schema(&columns);
        Ok((Arc::clone(&schema), pumped(scope, batches, schema)))
    }

    /// Runs the query and waits for all of its rows, in the types of its plan.
    pub(crate) async fn collect(self, scope: &Scope) -> Result<Vec<RecordBatch>> {
        let physical = self.state.create_physical_plan(&self.plan).await?;
        let context = self.state.task_ctx();
        Ok(scope.stop.race(datafusion::physical_plan::collect(physical, context)).await??)
    }
}

/// What is wrong with a query, in PostgreSQL's words where the engine has its own.
fn planning(error: DataFusionError) -> SqlError {
    let text = error.to_string();
    let missing = text.split_once("table '").and_then(|(_, rest)| rest.split_once("' not found"));
    match missing {
        // The engine names all three parts; what was not written is left out again.
        Some((name, _)) => match name.split_once(&format!("{DEFAULT_SCHEMA}.")) {
            Some((_, name)) => SqlError::no_such_table(name),
            None => SqlError::no_such_table(name),
        },
        None => error.into(),
    }
}

/// The schema of a result with these columns.
pub(crate) fn result_schema(columns: &[ResultColumn]) -> SchemaRef {
    let fields: Vec<Field> = columns
        .iter()
        .map(|column| Field::new(&column.name, column.data_type.clone(), true))
        .collect();
    Arc::new(Schema::new(fields))
}

/// The type in which a column of this type leaves: one of the few that have a PostgreSQL type.
pub(crate) fn presented(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View | DataType::LargeUtf8 | DataType::Null => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary | DataType::FixedSizeBinary(_) => {
            DataType::Binary
        }
        DataType::Int8 | DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::Float16 => DataType::Float32,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Date64 => DataType::Date32,
        DataType::Timestamp(_, zone) => {
            DataType::Timestamp(TimeUnit::Microsecond, zone.as_ref().map(|_| "UTC".into()))
        }
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Dictionary(_, values) => presented(values),
        DataType::LargeList(item) | DataType::List(item) | DataType::FixedSizeList(item, _) => {
            DataType::List(Arc::new(Field::new("item", presented(item.data_type()), true)))
        }
        other => other.clone(),
    }
}

/// A batch under the result's names and types.
fn present(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (column, field) in batch.columns().iter().zip(schema.fields()) {
        columns.push(if column.data_type() == field.data_type() {
            Arc::clone(column)
        } else {
            cast(column, field.data_type()).map_err(DataFusionError::from)?
        });
    }
    let options =
        datafusion::arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let batch = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(DataFusionError::from)?;
    Ok(batch)
}

/// Runs `batches` on the database's threads and hands them over one by one, under `schema`.
fn pumped(
    scope: &Scope,
    mut batches: SendableRecordBatchStream,
    schema: SchemaRef,
) -> SendableRecordBatchStream {
    // When it is full the query waits; when the reader is gone the query ends.
    let (send, receive) = mpsc::channel::<Result<RecordBatch>>(BATCHES_WAITING);
    let stop = scope.stop.clone();
    let presented = Arc::clone(&schema);
    let pump = scope.db.spawn(async move {
        loop {
            let next = match stop.race(batches.next()).await {
                Ok(None) => break,
                Ok(Some(Ok(batch))) if batch.num_rows() == 0 => continue,
                Ok(Some(Ok(batch))) => present(&batch, &presented),
                Ok(Some(Err(error))) => Err(SqlError::from(error)),
                Err(stopped) => Err(stopped),
            };
            let last = next.is_err();
            if send.send(next).await.is_err() || last {
                break;
            }
        }
    });
    let rows = futures::stream::unfold((receive, Some(pump)), |(mut receive, pump)| async move {
        if let Some(next) = receive.recv().await {
            let next = next.map_err(DataFusionError::from);
            return Some((next, (receive, pump)));
        }
        // The channel also closes when the pump panicked: that is an error, not the end.
        match pump?.await {
            Ok(()) => None,
            Err(error) => Some((Err(crate::session::panicked(error).into()), (receive, None))),
        }
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}

/// A stream of batches that are at hand.
pub(crate) fn ready(batch: RecordBatch) -> (SchemaRef, SendableRecordBatchStream) {
    let schema = batch.schema();
    let rows = futures::stream::iter([Ok(batch)]);
    (Arc::clone(&schema), Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
}

/// The items of the query's (leftmost) SELECT.
fn select_items(statement: &ast::Statement) -> Option<Vec<SelectItem>> {
    let ast::Statement::Query(query) = statement else { return None };
    let mut body = query.body.as_ref();
    loop {
        match body {
            SetExpr::Select(select) => return Some(select.projection.clone()),
            SetExpr::SetOperation { left, .. } => body = left,
            SetExpr::Query(query) => body = &query.body,
            _ => return None,
        }
    }
}

/// Column names as PostgreSQL chooses them; what the plan calls its fields where that is unclear.
fn names(items: Option<Vec<SelectItem>>, plan: &LogicalPlan) -> Vec<String> {
    let fields: Vec<String> =
        plan.schema().fields().iter().map(|field| field.name().clone()).collect();
    let Some(items) = items else { return fields };
    let wild = |item: &SelectItem| {
        matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..))
    };
    let wildcards = items.iter().filter(|item| wild(item)).count();
    let plain = items.len() - wildcards;
    if wildcards > 1 || plain > fields.len() || (wildcards == 0 && plain != fields.len()) {
        return fields;
    }
    let mut names = Vec::with_capacity(fields.len());
    for item in &items {
        if wild(item) {
            let from = names.len();
            names.extend_from_slice(&fields[from..from + fields.len() - plain]);
            continue;
        }
        names.push(match item {
            SelectItem::ExprWithAlias { alias, .. } => normalized(alias),
            SelectItem::UnnamedExpr(expr) => expr_name(expr).unwrap_or_else(|| "?column?".into()),
            _ => fields[names.len()].clone(),
        });
    }
    names
}

fn expr_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(ident) => Some(normalized(ident)),
        Expr::CompoundIdentifier(parts) => parts.last().map(normalized),
        Expr::Function(function) => name_parts(&function.name).pop().map(|name| {
            // The names the rewriting gave to casts are nobody's business.
            match name.as_str() {
                "regclass_oid" | "regclass_name" => "regclass".to_owned(),
                _ => name,
            }
        }),
        Expr::Nested(inner) => expr_name(inner),
        Expr::Cast { expr, data_type, .. } => expr_name(expr).or_else(|| {
            let shown = data_type.to_string().to_ascii_lowercase();
            Some(match shown.split(['(', ' ']).next().unwrap_or_default() {
                "bigint" | "int8" => "int8".to_owned(),
                "integer" | "int" | "int4" => "int4".to_owned(),
                "smallint" | "int2" => "int2".to_owned(),
                "boolean" => "bool".to_owned(),
                "decimal" => "numeric".to_owned(),
                other => other.to_owned(),
            })
        }),
        Expr::Case { .. } => Some("case".to_owned()),
        Expr::Exists { .. } => Some("exists".to_owned()),
        Expr::Extract { .. } => Some("extract".to_owned()),
        Expr::Substring { .. } => Some("substring".to_owned()),
        Expr::Trim { .. } => Some("btrim".to_owned()),
        Expr::Position { .. } => Some("position".to_owned()),
        Expr::Array(_) => Some("array".to_owned()),
        Expr::Subquery(query) => match query.body.as_ref() {
            SetExpr::Select(select) => match select.projection.first()? {
                SelectItem::ExprWithAlias { alias, .. } => Some(normalized(alias)),
                SelectItem::UnnamedExpr(expr) => expr_name(expr),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}
