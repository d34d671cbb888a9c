//! [`RowReader`]: the query engine's batches into rows that are to be stored.

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType,
};
use datafusion::arrow::error::ArrowError;

use crate::catalog::TableDescriptor;
use crate::error::{SqlError, code};
use crate::value::{ColumnType, Datum};

/// Reads rows out of a batch whose columns are those of a table, by position, fitted to their types:
/// INT8 into INT2 is checked, DECIMAL rounded, VARCHAR(n) measured.
#[derive(Debug)]
pub struct RowReader {
    columns: Vec<(ColumnType, Values)>,
    rows: usize,
}

#[derive(Debug)]
enum Values {
    Int(ArrayRef),
    Float(ArrayRef),
    Decimal(ArrayRef, u8),
    Bool(BooleanArray),
    Text(StringArray),
    Date(ArrayRef),
    TimestampTz(ArrayRef),
}

impl RowReader {
    /// A reader of `batch`, whose first columns are those of `table`, in its order. Arrow types that
    /// differ from the table's are converted here, once per batch.
    ///
    /// # Errors
    /// 42804 if a column cannot become the table's; 22003 and its kin if a value cannot; XX000 if
    /// there are too few columns.
    pub fn new(table: &TableDescriptor, batch: &RecordBatch) -> Result<Self, SqlError> {
        if batch.num_columns() < table.columns.len() {
            return Err(SqlError::internal(format!(
                "{} columns where {} are needed",
                batch.num_columns(),
                table.columns.len()
            )));
        }
        let columns = batch
            .columns()
            .iter()
            .zip(&table.columns)
            .map(|(array, column)| Ok((column.ty, Values::new(array, column.ty)?)))
            .collect::<Result<_, SqlError>>()?;
        Ok(Self { columns, rows: batch.num_rows() })
    }

    /// Number of rows.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// A row.
    ///
    /// # Errors
    /// 22003 or 22001 if a column cannot hold its value.
    pub fn row(&self, row: usize) -> Result<Vec<Datum>, SqlError> {
        self.columns.iter().map(|(ty, values)| values.datum(row, *ty)).collect()
    }

    /// All rows.
    ///
    /// # Errors
    /// As [`RowReader::row`].
    pub fn all(&self) -> Result<Vec<Vec<Datum>>, SqlError> {
        (0..self.rows).map(|row| self.row(row)).collect()
    }
}

impl Values {
    fn new(array: &ArrayRef, ty: ColumnType) -> Result<Self, SqlError> {
        Ok(match ty {
            // The range is checked row by row, where the message can say it as PostgreSQL does.
            ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8 => {
                Self::Int(converted(array, &DataType::Int64, ty)?)
            }
            ColumnType::Float8 => Self::Float(converted(array, &DataType::Float64, ty)?),
            ColumnType::Decimal { precision, scale } => match array.data_type() {
                DataType::Decimal128(_, from) if (0..=38).contains(from) => {
                    Self::Decimal(array.clone(), from.cast_unsigned())
                }
                DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
                    let whole = DataType::Decimal128(38, 0);
                    Self::Decimal(converted(array, &whole, ty)?, 0)
                }
                _ => {
                    let exact = DataType::Decimal128(precision, scale.cast_signed());
                    Self::Decimal(converted(array, &exact, ty)?, scale)
                }
            },
            ColumnType::Bool => {
                Self::Bool(converted(array, &DataType::Boolean, ty)?.as_boolean().clone())
            }
            ColumnType::Text | ColumnType::Varchar(_) => {
                Self::Text(converted(array, &DataType::Utf8, ty)?.as_string::<i32>().clone())
            }
            ColumnType::Date => Self::Date(converted(array, &DataType::Date32, ty)?),
            ColumnType::TimestampTz => Self::TimestampTz(converted(array, &ty.arrow_type(), ty)?),
        })
    }

    fn datum(&self, row: usize, ty: ColumnType) -> Result<Datum, SqlError> {
        let array: &dyn Array = match self {
            Self::Int(array)
            | Self::Float(array)
            | Self::Decimal(array, _)
            | Self::Date(array)
            | Self::TimestampTz(array) => array,
            Self::Bool(array) => array,
            Self::Text(array) => array,
        };
        if array.is_null(row) {
            return Ok(Datum::Null);
        }
        ty.fit(match self {
            Self::Int(array) => Datum::Int(array.as_primitive::<Int64Type>().value(row)),
            Self::Float(array) => Datum::Float(array.as_primitive::<Float64Type>().value(row)),
            Self::Decimal(array, scale) => {
                Datum::Decimal(array.as_primitive::<Decimal128Type>().value(row), *scale)
            }
            Self::Bool(array) => Datum::Bool(array.value(row)),
            Self::Text(array) => Datum::Text(array.value(row).to_owned()),
            Self::Date(array) => Datum::Date(array.as_primitive::<Date32Type>().value(row)),
            Self::TimestampTz(array) => {
                Datum::TimestampTz(array.as_primitive::<TimestampMicrosecondType>().value(row))
            }
        })
    }
}

fn converted(array: &ArrayRef, to: &DataType, ty: ColumnType) -> Result<ArrayRef, SqlError> {
    if array.data_type() == to {
        return Ok(array.clone());
    }
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, to, &strict).map_err(|error| match error {
        ArrowError::CastError(_) if !matches!(array.data_type(), DataType::Null) => {
            SqlError::wrong_type(format!(
                "column of type {ty} cannot hold every value of type {}: {error}",
                array.data_type()
            ))
        }
        error => SqlError::new(code::NUMERIC_VALUE_OUT_OF_RANGE, format!("{ty}: {error}")),
    })
}
