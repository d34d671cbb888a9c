//! [`RowAppender`]: stored rows into Arrow columns.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder, Int16Builder,
    Int32Builder, Int64Builder, RecordBatch, RecordBatchOptions, StringBuilder,
    TimestampMicrosecondBuilder,
};
use datafusion::arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef};

use super::RowDamage;
use super::codec::{Projection, RowCodec, RowSink};
use crate::error::SqlError;
use crate::value::{ColumnType, Field};

/// Decodes rows into the columns of a batch, only those of a projection.
pub struct RowAppender {
    codec: RowCodec,
    projection: Projection,
    schema: SchemaRef,
    columns: Columns,
    rows: usize,
}

impl std::fmt::Debug for RowAppender {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("RowAppender").field("rows", &self.rows).finish_non_exhaustive()
    }
}

struct Columns(Vec<Builder>);

/// Decimals have a type of their own: its digits are in the builder.
enum Builder {
    Int2(Int16Builder),
    Int4(Int32Builder),
    Int8(Int64Builder),
    Float8(Float64Builder),
    Decimal(Decimal128Builder),
    Bool(BooleanBuilder),
    Text(StringBuilder),
    Date(Date32Builder),
    TimestampTz(TimestampMicrosecondBuilder),
}

impl RowAppender {
    /// An appender for the columns at these positions of the table, in this order, with room for
    /// about `rows` rows.
    ///
    /// # Errors
    /// A position that the table does not have.
    pub fn new(codec: &RowCodec, columns: &[usize], rows: usize) -> Result<Self, SqlError> {
        let field = |index: &usize| {
            let column = codec.columns().get(*index)?;
            Some(ArrowField::new(&column.name, column.ty.arrow_type(), column.nullable))
        };
        let fields = columns.iter().map(field).collect::<Option<Vec<_>>>().ok_or_else(|| {
            SqlError::internal(format!("a projection to columns that are not there: {columns:?}"))
        })?;
        let types = columns.iter().filter_map(|&index| codec.types().get(index));
        Ok(Self {
            codec: codec.clone(),
            projection: codec.projection(columns),
            schema: Arc::new(Schema::new(fields)),
            columns: Columns(types.map(|ty| Builder::new(*ty, rows)).collect()),
            rows: 0,
        })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`RowDamage`]: drop the appender then, its columns may differ in length.
    pub fn append(&mut self, user_key: &[u8], value: &[u8]) -> Result<(), RowDamage> {
        self.codec.decode(user_key, value, &self.projection, &mut self.columns)?;
        self.rows += 1;
        Ok(())
    }

    /// Rows so far.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// The columns so far; the appender is empty afterwards and can be used again.
    pub fn finish_columns(&mut self) -> Vec<ArrayRef> {
        self.rows = 0;
        self.columns.0.iter_mut().map(Builder::finish).collect()
    }

    /// The rows so far as a batch; the appender is empty afterwards and can be used again.
    ///
    /// # Errors
    /// None that rows can cause.
    pub fn finish(&mut self) -> Result<RecordBatch, SqlError> {
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let columns = self.finish_columns();
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|error| SqlError::internal(format!("rows do not make a batch: {error}")))
    }
}

impl Builder {
    fn new(ty: ColumnType, rows: usize) -> Self {
        match ty {
            ColumnType::Int2 => Self::Int2(Int16Builder::with_capacity(rows)),
            ColumnType::Int4 => Self::Int4(Int32Builder::with_capacity(rows)),
            ColumnType::Int8 => Self::Int8(Int64Builder::with_capacity(rows)),
            ColumnType::Float8 => Self::Float8(Float64Builder::with_capacity(rows)),
            ColumnType::Decimal { precision, scale } => Self::Decimal(
                Decimal128Builder::with_capacity(rows)
                    .with_data_type(DataType::Decimal128(precision, scale.cast_signed())),
            ),
            ColumnType::Bool => Self::Bool(BooleanBuilder::with_capacity(rows)),
            ColumnType::Text | ColumnType::Varchar(_) => {
                Self::Text(StringBuilder::with_capacity(rows, rows * 16))
            }
            ColumnType::Date => Self::Date(Date32Builder::with_capacity(rows)),
            ColumnType::TimestampTz => Self::TimestampTz(
                TimestampMicrosecondBuilder::with_capacity(rows).with_timezone("UTC"),
            ),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Int2(builder) => Arc::new(builder.finish()),
            Self::Int4(builder) => Arc::new(builder.finish()),
            Self::Int8(builder) => Arc::new(builder.finish()),
            Self::Float8(builder) => Arc::new(builder.finish()),
            Self::Decimal(builder) => Arc::new(builder.finish()),
            Self::Bool(builder) => Arc::new(builder.finish()),
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Date(builder) => Arc::new(builder.finish()),
            Self::TimestampTz(builder) => Arc::new(builder.finish()),
        }
    }
}

impl RowSink for Columns {
    #[inline]
    fn put(&mut self, position: usize, value: Field<'_>) {
        let Some(builder) = self.0.get_mut(position) else { return };
        match (builder, value) {
            (Builder::Int8(builder), Field::Int(value)) => builder.append_value(value),
            (Builder::Text(builder), Field::Text(text)) => builder.append_value(text),
            (Builder::Decimal(builder), Field::Decimal(value, _)) => builder.append_value(value),
            // The decoder has checked the ranges.
            (Builder::Int4(builder), Field::Int(value)) => {
                builder.append_option(i32::try_from(value).ok());
            }
            (Builder::Date(builder), Field::Int(value)) => {
                builder.append_option(i32::try_from(value).ok());
            }
            (Builder::Int2(builder), Field::Int(value)) => {
                builder.append_option(i16::try_from(value).ok());
            }
            (Builder::Float8(builder), Field::Float(value)) => builder.append_value(value),
            (Builder::TimestampTz(builder), Field::Int(value)) => builder.append_value(value),
            (Builder::Bool(builder), Field::Bool(value)) => builder.append_value(value),
            (builder, _) => builder.append_null(),
        }
    }
}

impl Builder {
    fn append_null(&mut self) {
        match self {
            Self::Int2(builder) => builder.append_null(),
            Self::Int4(builder) => builder.append_null(),
            Self::Int8(builder) => builder.append_null(),
            Self::Float8(builder) => builder.append_null(),
            Self::Decimal(builder) => builder.append_null(),
            Self::Bool(builder) => builder.append_null(),
            Self::Text(builder) => builder.append_null(),
            Self::Date(builder) => builder.append_null(),
            Self::TimestampTz(builder) => builder.append_null(),
        }
    }
}
