//! Tables as the query engine sees them, and the statements that change them.
//!
//! A table's rows lie in a few spans; a key lies in at most one of them. [`Table`] is what queries
//! read: it turns filters on the primary key into key ranges ([`filter`]), splits them into
//! partitions, and leaves the reading to [`scan`]. [`dml`] is INSERT, UPDATE and DELETE.

pub(crate) mod dml;
pub(crate) mod filter;
pub(crate) mod provider;
pub(crate) mod scan;

pub(crate) use provider::Table;
pub(crate) use scan::{BATCH_ROWS, Hidden};

use std::sync::Arc;

use cairn_engine::key::Direction;
use datafusion::common::ScalarValue;

use crate::catalog::TableDescriptor;
use crate::row::RowCodec;
use crate::value::{ColumnType, Datum};

/// A column of a table's primary key.
#[derive(Debug, Clone)]
pub(crate) struct KeyColumn {
    pub(crate) name: String,
    pub(crate) ty: ColumnType,
    pub(crate) direction: Direction,
}

/// The key columns of a table, in key order; none if rows are told apart by a hidden number.
pub(crate) fn key_columns(table: &TableDescriptor) -> Vec<KeyColumn> {
    table
        .key_columns()
        .map(|(column, direction)| KeyColumn {
            name: column.name.clone(),
            ty: column.ty,
            direction,
        })
        .collect()
}

/// Appends a literal in the encoding of a key column. False if the literal is not of a type that
/// can be compared there byte by byte.
pub(crate) fn put_key_value(out: &mut Vec<u8>, column: &KeyColumn, value: &ScalarValue) -> bool {
    match Datum::from_scalar(value, column.ty) {
        Some(Datum::Null) | None => false,
        Some(datum) => {
            crate::row::put_key_datum(out, &datum, column.ty, column.direction);
            true
        }
    }
}

/// What is needed to read rows of one table.
pub(crate) struct Reader {
    pub(crate) codec: RowCodec,
    pub(crate) table: Arc<TableDescriptor>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Reader").field("table", &self.table.name).finish_non_exhaustive()
    }
}

impl Reader {
    pub(crate) fn new(table: Arc<TableDescriptor>) -> Self {
        Self { codec: RowCodec::new(&table), table }
    }
}
