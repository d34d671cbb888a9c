//! Virtual tables: listings that are computed when they are read.
//!
//! A [`VirtualTable`] has a fixed schema and a closure that fetches its rows. Rows are fetched once
//! per scan, when the scan is planned, so that one statement sees one state of affairs; filters
//! and limits are left to the query engine, as every listing is small or already bounded.

pub(crate) mod governor;
pub(crate) mod information_schema;
pub(crate) mod jobs;
pub(crate) mod pg_catalog;
pub(crate) mod settings;
pub(crate) mod tombstones;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_empty_array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use futures::future::BoxFuture;

use crate::error::{Result, SqlError};
use crate::session::Scope;

/// The virtual schemas, which every database has, with the names of their tables.
pub(crate) const VIRTUAL_SCHEMAS: [(&str, &[&str]); 4] = [
    ("pg_catalog", &pg_catalog::TABLES),
    ("information_schema", &information_schema::TABLES),
    ("crdb_internal", &["jobs"]),
    ("cairn", &["governor", "jobs", "tombstones"]),
];

/// The virtual table of this name.
pub(crate) fn find(scope: &Scope, schema: &str, name: &str) -> Option<Arc<VirtualTable>> {
    match (schema, name) {
        ("pg_catalog", name) => pg_catalog::table(scope, name),
        ("information_schema", name) => information_schema::table(scope, name),
        ("crdb_internal", "jobs") => Some(jobs::internal_table(scope)),
        ("cairn", "governor") => Some(governor::table(scope)),
        ("cairn", "jobs") => Some(jobs::cairn_table(scope)),
        ("cairn", "tombstones") => Some(tombstones::table(scope)),
        _ => None,
    }
}

/// The columns of a virtual table.
pub(crate) fn columns(schema: &str, name: &str) -> Option<SchemaRef> {
    match (schema, name) {
        ("pg_catalog", name) => pg_catalog::columns(name),
        ("information_schema", name) => information_schema::columns(name),
        ("crdb_internal", "jobs") => Some(jobs::internal_schema()),
        ("cairn", "governor") => Some(governor::columns()),
        ("cairn", "jobs") => Some(jobs::cairn_schema()),
        ("cairn", "tombstones") => Some(tombstones::columns()),
        _ => None,
    }
}

/// Whether a name as written is that of a virtual table.
pub(crate) fn is_virtual(parts: &[String]) -> bool {
    let (schema, name) = match parts {
        [name] => ("pg_catalog", name),
        [schema, name] | [_, schema, name] => (schema.as_str(), name),
        _ => return false,
    };
    VIRTUAL_SCHEMAS.iter().any(|(known, names)| *known == schema && names.contains(&name.as_str()))
}

/// Fetches the rows of a virtual table.
pub(crate) type Fetch =
    Arc<dyn Fn() -> BoxFuture<'static, Result<RecordBatch>> + Send + Sync + 'static>;

/// A table whose rows are computed at each scan.
pub(crate) struct VirtualTable {
    schema: SchemaRef,
    fetch: Fetch,
}

impl fmt::Debug for VirtualTable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("VirtualTable").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl VirtualTable {
    /// A table whose rows `fetch` answers; it must keep to `schema`.
    pub(crate) fn new(schema: SchemaRef, fetch: Fetch) -> Arc<Self> {
        Arc::new(Self { schema, fetch })
    }

    /// A table of rows that are at hand.
    pub(crate) fn of(rows: RecordBatch) -> Arc<Self> {
        let schema = rows.schema();
        let fetch: Fetch = Arc::new(move || {
            let rows = rows.clone();
            Box::pin(async move { Ok(rows) })
        });
        Self::new(schema, fetch)
    }

    /// A table whose rows are made by a function that does not wait.
    pub(crate) fn made(
        schema: SchemaRef,
        make: impl Fn() -> Result<RecordBatch> + Send + Sync + 'static,
    ) -> Arc<Self> {
        let fetch: Fetch = Arc::new(move || {
            let rows = make();
            Box::pin(async move { rows })
        });
        Self::new(schema, fetch)
    }

    /// A table of these columns without rows: what stands for a row source while a statement is
    /// only described.
    pub(crate) fn empty(schema: SchemaRef) -> Arc<Self> {
        Self::of(RecordBatch::new_empty(schema))
    }
}

#[async_trait]
impl TableProvider for VirtualTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> datafusion::common::Result<Arc<dyn ExecutionPlan>> {
        let rows = (self.fetch)().await?;
        let schema = Arc::clone(&self.schema);
        Ok(MemorySourceConfig::try_new_exec(&[vec![rows]], schema, projection.cloned())?)
    }
}

/// Rows on their way into a batch.
pub(crate) struct Rows {
    schema: SchemaRef,
    columns: Vec<Vec<ScalarValue>>,
    count: usize,
}

impl Rows {
    pub(crate) fn new(schema: &SchemaRef) -> Self {
        let columns = schema.fields().iter().map(|_| Vec::new()).collect();
        Self { schema: Arc::clone(schema), columns, count: 0 }
    }

    /// Adds a row; the values come in the order of the columns.
    pub(crate) fn push<const N: usize>(&mut self, row: [ScalarValue; N]) {
        debug_assert_eq!(N, self.columns.len(), "a value for every column");
        for (column, value) in self.columns.iter_mut().zip(row) {
            column.push(value);
        }
        self.count += 1;
    }

    pub(crate) fn finish(self) -> Result<RecordBatch> {
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        for (field, values) in self.schema.fields().iter().zip(self.columns) {
            arrays.push(if values.is_empty() {
                new_empty_array(field.data_type())
            } else {
                ScalarValue::iter_to_array(values)?
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.count));
        RecordBatch::try_new_with_options(self.schema, arrays, &options).map_err(|error| {
            SqlError::internal(format!("a listing does not keep to its columns: {error}"))
        })
    }
}

/// A schema from (name, type) pairs, all nullable.
pub(crate) fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, data_type)| Field::new(*name, data_type.clone(), true))
        .collect();
    Arc::new(Schema::new(fields))
}

/// TIMESTAMPTZ as results carry it.
pub(crate) fn timestamptz() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// A TIMESTAMPTZ value from milliseconds since 1970.
pub(crate) fn at_millis(millis: Option<u64>) -> ScalarValue {
    let micros = millis.and_then(|millis| i64::try_from(millis).ok()?.checked_mul(1000));
    ScalarValue::TimestampMicrosecond(micros, Some("UTC".into()))
}

/// A STRING value.
pub(crate) fn text(value: impl Into<String>) -> ScalarValue {
    ScalarValue::Utf8(Some(value.into()))
}

/// A STRING value that may be NULL.
pub(crate) fn maybe_text(value: Option<impl Into<String>>) -> ScalarValue {
    ScalarValue::Utf8(value.map(Into::into))
}

/// An INT8 value; what does not fit is shown as the greatest one.
pub(crate) fn int(value: u64) -> ScalarValue {
    ScalarValue::Int64(Some(i64::try_from(value).unwrap_or(i64::MAX)))
}

/// A BOOL value.
pub(crate) fn flag(value: bool) -> ScalarValue {
    ScalarValue::Boolean(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_a_batch_of_the_declared_columns_even_if_there_are_none() {
        let columns = schema(&[("a", DataType::Int64), ("b", DataType::Utf8)]);
        assert_eq!(Rows::new(&columns).finish().unwrap().num_rows(), 0);
        let mut rows = Rows::new(&columns);
        rows.push([int(7), text("x")]);
        rows.push([int(u64::MAX), maybe_text(None::<String>)]);
        assert_eq!(rows.finish().unwrap().num_rows(), 2);
    }
}
