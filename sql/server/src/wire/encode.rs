//! Rows on their way out: Arrow columns become the fields of DataRow messages, in PostgreSQL's text or binary form.
//!
//! A column's PostgreSQL type follows from its Arrow type; a view that stands for one of PostgreSQL's own (its `oid`,
//! `name` or `"char"` columns) says so in the field's metadata under [`TYPE_HINT`]. What has no type of its own
//! (structs, maps) goes out as text.

mod numeric;
#[cfg(test)]
mod tests;
mod text;

pub(super) use numeric::{Numeric, NumericError};

use super::errors::failure;
use bytes::{BufMut, BytesMut};
use cairn_sql::ResultColumn;
use datafusion::arrow::array::cast::AsArray;
use datafusion::arrow::array::types::{
    Date32Type, Date64Type, Decimal128Type, DurationMicrosecondType, DurationMillisecondType,
    DurationNanosecondType, DurationSecondType, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, IntervalDayTimeType, IntervalMonthDayNanoType, IntervalYearMonthType,
    Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::util::display::array_value_to_string;
use pgwire::api::Type;
use pgwire::api::portal::Format;
use pgwire::api::results::{FieldFormat, FieldInfo};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::data::DataRow;
use tokio_postgres::types::Kind;

/// Metadata key of a field that is shown with another PostgreSQL type than its Arrow type suggests.
pub(super) const TYPE_HINT: &str = "pg.type";

/// Days from 1970-01-01 to PostgreSQL's epoch, 2000-01-01.
const EPOCH_DAYS: i64 = 10_957;
const MICROS_PER_DAY: i64 = 86_400_000_000;
const EPOCH_MICROS: i64 = EPOCH_DAYS * MICROS_PER_DAY;

/// One result column as the client is told about it.
#[derive(Clone, Debug)]
pub(super) struct Column {
    name: String,
    pg: Type,
    modifier: i32,
}

impl Column {
    /// The column for an Arrow field.
    pub(super) fn of(field: &Field) -> Column {
        let pg = field.metadata().get(TYPE_HINT).and_then(|hint| type_named(hint));
        let modifier = match field.data_type() {
            // PostgreSQL packs NUMERIC(precision, scale) so.
            DataType::Decimal128(precision, scale) if *scale >= 0 => {
                (i32::from(*precision) << 16 | i32::from(*scale)) + 4
            }
            _ => -1,
        };
        let pg = pg.unwrap_or_else(|| type_of(field.data_type()));
        Column { name: field.name().clone(), pg, modifier }
    }

    /// The column a prepared statement promises.
    pub(super) fn of_result(column: &ResultColumn) -> Column {
        Column::of(&Field::new(column.name.clone(), column.data_type.clone(), column.nullable))
    }

    /// What RowDescription says of the column when it is sent in `format`.
    pub(super) fn info(&self, format: FieldFormat) -> FieldInfo {
        FieldInfo::new(self.name.clone(), None, None, self.pg.clone(), format)
            .with_type_size(width_of(&self.pg))
            .with_type_modifier(self.modifier)
    }
}

/// Result formats of `count` columns; a Bind message that names a wrong number of them is refused.
pub(super) fn formats(asked: &Format, count: usize) -> PgWireResult<Vec<FieldFormat>> {
    match asked {
        Format::UnifiedText => Ok(vec![FieldFormat::Text; count]),
        Format::UnifiedBinary => Ok(vec![FieldFormat::Binary; count]),
        Format::Individual(codes) if codes.len() == count => {
            Ok(codes.iter().map(|&code| FieldFormat::from(code)).collect())
        }
        Format::Individual(codes) => Err(failure(
            "08P01",
            format!(
                "bind message has {} result formats but query has {count} columns",
                codes.len()
            ),
        )),
    }
}

/// Turns the rows of record batches into DataRow messages.
pub(super) struct RowEncoder {
    columns: Vec<(Type, FieldFormat)>,
    arrays: Vec<ArrayRef>,
}

impl RowEncoder {
    /// An encoder for columns sent in the given formats, one per column.
    pub(super) fn new(columns: &[Column], formats: &[FieldFormat]) -> RowEncoder {
        let columns = columns
            .iter()
            .zip(formats)
            .map(|(column, format)| (column.pg.clone(), *format))
            .collect();
        RowEncoder { columns, arrays: Vec::new() }
    }

    /// Makes `batch` the one whose rows are encoded next.
    ///
    /// # Errors
    /// XX000 when the batch has another shape than the columns; then the statement has no row of it sent.
    pub(super) fn load(&mut self, batch: &RecordBatch) -> PgWireResult<()> {
        if batch.num_columns() != self.columns.len() {
            return Err(failure(
                "XX000",
                "result has another number of columns than was described".to_owned(),
            ));
        }
        self.arrays = batch.columns().iter().map(unpacked).collect::<PgWireResult<_>>()?;
        Ok(())
    }

    /// The row at `row` of the loaded batch.
    ///
    /// # Errors
    /// 22003 for a value out of its type's range, 0A000 for a type without a binary form.
    pub(super) fn encode(&self, row: usize) -> PgWireResult<DataRow> {
        let mut data = BytesMut::with_capacity(self.columns.len() * 16);
        for (array, (pg, format)) in self.arrays.iter().zip(&self.columns) {
            put_field(&mut data, array.as_ref(), row, pg, *format)?;
        }
        Ok(DataRow::new(data, self.columns.len() as i16))
    }
}

/// A column without the encodings that only save memory.
fn unpacked(array: &ArrayRef) -> PgWireResult<ArrayRef> {
    let plain = match array.data_type() {
        DataType::Dictionary(_, values) => values.as_ref().clone(),
        DataType::RunEndEncoded(_, values) => values.data_type().clone(),
        _ => return Ok(ArrayRef::clone(array)),
    };
    cast(array, &plain).map_err(|error| failure("XX000", error.to_string()))
}

/// One value with its length in front, -1 for NULL.
fn put_field(
    out: &mut BytesMut,
    array: &dyn Array,
    row: usize,
    pg: &Type,
    format: FieldFormat,
) -> PgWireResult<()> {
    if array.is_null(row) || *array.data_type() == DataType::Null {
        out.put_i32(-1);
        return Ok(());
    }
    let start = out.len();
    out.put_i32(0);
    match format {
        FieldFormat::Text => put_text(out, array, row, pg)?,
        FieldFormat::Binary => put_binary(out, array, row, pg)?,
    }
    let length = i32::try_from(out.len() - start - 4)
        .map_err(|_| failure("54000", "a value is larger than 2 GiB".to_owned()))?;
    if let Some(word) = out.get_mut(start..start + 4) {
        word.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

fn put_text(out: &mut BytesMut, array: &dyn Array, row: usize, pg: &Type) -> PgWireResult<()> {
    match Value::at(array, row)? {
        Value::Integer(value) if *pg == Type::CHAR => {
            text::put_str(out, char_of(value).encode_utf8(&mut [0; 4]));
        }
        Value::Integer(value) => text::put_fmt(out, format_args!("{value}")),
        Value::Float4(value) => text::put_f32(out, value),
        Value::Float8(value) => text::put_f64(out, value),
        Value::Numeric(value) => text::put_fmt(out, format_args!("{value}")),
        Value::Bool(value) => text::put_str(out, if value { "t" } else { "f" }),
        Value::Text(value) => text::put_str(out, value),
        Value::Owned(value) => text::put_str(out, &value),
        Value::Bytes(value) => text::put_bytea(out, value),
        Value::Date(days) => text::put_date(out, days),
        Value::Timestamp { micros, zone } => text::put_timestamp(out, micros, zone),
        Value::Time(micros) => text::put_time(out, micros),
        Value::Interval { months, days, micros } => text::put_interval(out, months, days, micros),
        Value::List(items) => {
            let element = element_of(pg);
            let (open, gap, close) = if is_vector(pg) { ("", " ", "") } else { ("{", ",", "}") };
            text::put_str(out, open);
            for index in 0..items.len() {
                if index > 0 {
                    text::put_str(out, gap);
                }
                if items.is_null(index) {
                    text::put_str(out, "NULL");
                    continue;
                }
                let mut item = BytesMut::new();
                put_text(&mut item, items.as_ref(), index, &element)?;
                text::put_element(out, &String::from_utf8_lossy(&item));
            }
            text::put_str(out, close);
        }
    }
    Ok(())
}

fn put_binary(out: &mut BytesMut, array: &dyn Array, row: usize, pg: &Type) -> PgWireResult<()> {
    match Value::at(array, row)? {
        Value::Integer(value) => put_integer(out, value, pg)?,
        Value::Float4(value) => out.put_f32(value),
        Value::Float8(value) => out.put_f64(value),
        Value::Numeric(value) => value.put_binary(out),
        Value::Bool(value) => out.put_u8(u8::from(value)),
        Value::Text(value) => put_text_binary(out, value, pg),
        Value::Owned(value) => put_text_binary(out, &value, pg),
        Value::Bytes(value) => out.put_slice(value),
        Value::Date(days) => out.put_i32(in_range(days - EPOCH_DAYS, pg)?),
        Value::Timestamp { micros, .. } => {
            out.put_i64(micros.checked_sub(EPOCH_MICROS).ok_or_else(|| out_of_range(pg))?);
        }
        Value::Time(micros) => out.put_i64(micros),
        Value::Interval { months, days, micros } => {
            out.put_i64(micros);
            out.put_i32(days);
            out.put_i32(months);
        }
        Value::List(items) => {
            let element = element_of(pg);
            out.put_i32(i32::from(!items.is_empty())); // dimensions
            out.put_i32(i32::from(items.null_count() > 0));
            out.put_u32(element.oid());
            if !items.is_empty() {
                out.put_i32(in_range(items.len() as i64, pg)?);
                out.put_i32(i32::from(!is_vector(pg))); // lower bound: 1, but 0 for oidvector and int2vector
            }
            for index in 0..items.len() {
                put_field(out, items.as_ref(), index, &element, FieldFormat::Binary)?;
            }
        }
    }
    Ok(())
}

fn put_integer(out: &mut BytesMut, value: i64, pg: &Type) -> PgWireResult<()> {
    match *pg {
        Type::INT2 => out.put_i16(in_range(value, pg)?),
        Type::INT4 => out.put_i32(in_range(value, pg)?),
        Type::OID
        | Type::REGCLASS
        | Type::REGTYPE
        | Type::REGPROC
        | Type::REGNAMESPACE
        | Type::XID => {
            out.put_u32(in_range(value, pg)?);
        }
        Type::CHAR => out.put_u8(in_range(value, pg)?),
        Type::NUMERIC => Numeric::Finite { unscaled: i128::from(value), scale: 0 }.put_binary(out),
        Type::TEXT | Type::VARCHAR | Type::NAME => text::put_fmt(out, format_args!("{value}")),
        _ => out.put_i64(value),
    }
    Ok(())
}

/// Text-like types share the bytes of their text form; `jsonb` has a version byte in front.
fn put_text_binary(out: &mut BytesMut, value: &str, pg: &Type) {
    if *pg == Type::JSONB {
        out.put_u8(1);
    }
    text::put_str(out, value);
}

fn in_range<T: TryFrom<i64>>(value: i64, pg: &Type) -> PgWireResult<T> {
    T::try_from(value).map_err(|_| out_of_range(pg))
}

fn out_of_range(pg: &Type) -> PgWireError {
    failure("22003", format!("value out of range for type {}", pg.name()))
}

fn char_of(value: i64) -> char {
    u8::try_from(value).map_or('?', char::from)
}

/// One non-null value, freed from Arrow's many widths and units.
enum Value<'a> {
    Integer(i64),
    Float4(f32),
    Float8(f64),
    Numeric(Numeric),
    Bool(bool),
    Text(&'a str),
    Owned(String),
    Bytes(&'a [u8]),
    /// Days since 1970-01-01.
    Date(i64),
    /// Microseconds since 1970-01-01 00:00 UTC.
    Timestamp {
        micros: i64,
        zone: bool,
    },
    /// Microseconds since midnight.
    Time(i64),
    Interval {
        months: i32,
        days: i32,
        micros: i64,
    },
    List(ArrayRef),
}

impl Value<'_> {
    fn at(array: &dyn Array, row: usize) -> PgWireResult<Value<'_>> {
        macro_rules! native {
            ($arrow:ty) => {
                array.as_primitive::<$arrow>().value(row)
            };
        }
        Ok(match array.data_type() {
            DataType::Int8 => Value::Integer(native!(Int8Type).into()),
            DataType::Int16 => Value::Integer(native!(Int16Type).into()),
            DataType::Int32 => Value::Integer(native!(Int32Type).into()),
            DataType::Int64 => Value::Integer(native!(Int64Type)),
            DataType::UInt8 => Value::Integer(native!(UInt8Type).into()),
            DataType::UInt16 => Value::Integer(native!(UInt16Type).into()),
            DataType::UInt32 => Value::Integer(native!(UInt32Type).into()),
            DataType::UInt64 => Value::Integer(
                i64::try_from(native!(UInt64Type)).map_err(|_| out_of_range(&Type::INT8))?,
            ),
            DataType::Float32 => Value::Float4(native!(Float32Type)),
            DataType::Float64 => Value::Float8(native!(Float64Type)),
            DataType::Decimal128(_, scale) => {
                Value::Numeric(Numeric::Finite { unscaled: native!(Decimal128Type), scale: *scale })
            }
            DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
            DataType::Utf8 => Value::Text(array.as_string::<i32>().value(row)),
            DataType::LargeUtf8 => Value::Text(array.as_string::<i64>().value(row)),
            DataType::Utf8View => Value::Text(array.as_string_view().value(row)),
            DataType::Binary => Value::Bytes(array.as_binary::<i32>().value(row)),
            DataType::LargeBinary => Value::Bytes(array.as_binary::<i64>().value(row)),
            DataType::BinaryView => Value::Bytes(array.as_binary_view().value(row)),
            DataType::Date32 => Value::Date(native!(Date32Type).into()),
            DataType::Date64 => Value::Date(native!(Date64Type).div_euclid(86_400_000)),
            DataType::Timestamp(unit, zone) => {
                let micros = match unit {
                    TimeUnit::Second => native!(TimestampSecondType).checked_mul(1_000_000),
                    TimeUnit::Millisecond => native!(TimestampMillisecondType).checked_mul(1000),
                    TimeUnit::Microsecond => Some(native!(TimestampMicrosecondType)),
                    TimeUnit::Nanosecond => Some(native!(TimestampNanosecondType).div_euclid(1000)),
                };
                let micros = micros.ok_or_else(|| out_of_range(&Type::TIMESTAMP))?;
                Value::Timestamp { micros, zone: zone.is_some() }
            }
            DataType::Time32(TimeUnit::Second) => {
                Value::Time(i64::from(native!(Time32SecondType)) * 1_000_000)
            }
            DataType::Time32(_) => Value::Time(i64::from(native!(Time32MillisecondType)) * 1000),
            DataType::Time64(TimeUnit::Nanosecond) => {
                Value::Time(native!(Time64NanosecondType).div_euclid(1000))
            }
            DataType::Time64(_) => Value::Time(native!(Time64MicrosecondType)),
            DataType::Duration(unit) => {
                let micros = match unit {
                    TimeUnit::Second => native!(DurationSecondType).checked_mul(1_000_000),
                    TimeUnit::Millisecond => native!(DurationMillisecondType).checked_mul(1000),
                    TimeUnit::Microsecond => Some(native!(DurationMicrosecondType)),
                    TimeUnit::Nanosecond => Some(native!(DurationNanosecondType).div_euclid(1000)),
                };
                let micros = micros.ok_or_else(|| out_of_range(&Type::INTERVAL))?;
                Value::Interval { months: 0, days: 0, micros }
            }
            DataType::Interval(IntervalUnit::YearMonth) => {
                Value::Interval { months: native!(IntervalYearMonthType), days: 0, micros: 0 }
            }
            DataType::Interval(IntervalUnit::DayTime) => {
                let value = native!(IntervalDayTimeType);
                Value::Interval {
                    months: 0,
                    days: value.days,
                    micros: i64::from(value.milliseconds) * 1000,
                }
            }
            DataType::Interval(IntervalUnit::MonthDayNano) => {
                let value = native!(IntervalMonthDayNanoType);
                Value::Interval {
                    months: value.months,
                    days: value.days,
                    micros: value.nanoseconds.div_euclid(1000),
                }
            }
            DataType::List(_) => Value::List(array.as_list::<i32>().value(row)),
            DataType::LargeList(_) => Value::List(array.as_list::<i64>().value(row)),
            _ => Value::Owned(
                array_value_to_string(array, row)
                    .map_err(|error| failure("0A000", error.to_string()))?,
            ),
        })
    }
}

/// The PostgreSQL type that stands for an Arrow type; TEXT for what PostgreSQL has no counterpart of.
pub(super) fn type_of(arrow: &DataType) -> Type {
    match arrow {
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => Type::INT2,
        DataType::UInt16 | DataType::Int32 => Type::INT4,
        DataType::UInt32 | DataType::Int64 | DataType::UInt64 => Type::INT8,
        DataType::Float32 => Type::FLOAT4,
        DataType::Float64 => Type::FLOAT8,
        DataType::Decimal128(..) => Type::NUMERIC,
        DataType::Boolean => Type::BOOL,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Type::BYTEA,
        DataType::Date32 | DataType::Date64 => Type::DATE,
        DataType::Timestamp(_, None) => Type::TIMESTAMP,
        DataType::Timestamp(_, Some(_)) => Type::TIMESTAMPTZ,
        DataType::Time32(_) | DataType::Time64(_) => Type::TIME,
        DataType::Interval(_) | DataType::Duration(_) => Type::INTERVAL,
        DataType::List(item) | DataType::LargeList(item) => array_of(&type_of(item.data_type())),
        DataType::Dictionary(_, values) => type_of(values),
        DataType::RunEndEncoded(_, values) => type_of(values.data_type()),
        _ => Type::TEXT,
    }
}

/// The types a field's metadata may name.
fn type_named(name: &str) -> Option<Type> {
    Some(match name {
        "oid" => Type::OID,
        "name" => Type::NAME,
        "char" => Type::CHAR,
        "regclass" => Type::REGCLASS,
        "regtype" => Type::REGTYPE,
        "regproc" => Type::REGPROC,
        "regnamespace" => Type::REGNAMESPACE,
        "xid" => Type::XID,
        "varchar" => Type::VARCHAR,
        "int2vector" => Type::INT2_VECTOR,
        "oidvector" => Type::OID_VECTOR,
        "name[]" => Type::NAME_ARRAY,
        "oid[]" => Type::OID_ARRAY,
        "json" => Type::JSON,
        "jsonb" => Type::JSONB,
        _ => return None,
    })
}

fn array_of(element: &Type) -> Type {
    match *element {
        Type::INT2 => Type::INT2_ARRAY,
        Type::INT4 => Type::INT4_ARRAY,
        Type::INT8 => Type::INT8_ARRAY,
        Type::FLOAT4 => Type::FLOAT4_ARRAY,
        Type::FLOAT8 => Type::FLOAT8_ARRAY,
        Type::NUMERIC => Type::NUMERIC_ARRAY,
        Type::BOOL => Type::BOOL_ARRAY,
        Type::DATE => Type::DATE_ARRAY,
        Type::TIMESTAMP => Type::TIMESTAMP_ARRAY,
        Type::TIMESTAMPTZ => Type::TIMESTAMPTZ_ARRAY,
        _ => Type::TEXT_ARRAY,
    }
}

fn element_of(array: &Type) -> Type {
    match array.kind() {
        Kind::Array(element) => element.clone(),
        _ => Type::TEXT,
    }
}

fn is_vector(pg: &Type) -> bool {
    matches!(*pg, Type::INT2_VECTOR | Type::OID_VECTOR)
}

/// `pg_type.typlen`.
fn width_of(pg: &Type) -> i16 {
    match *pg {
        Type::BOOL | Type::CHAR => 1,
        Type::INT2 => 2,
        Type::INT4 | Type::FLOAT4 | Type::DATE | Type::OID | Type::XID => 4,
        Type::REGCLASS | Type::REGTYPE | Type::REGPROC | Type::REGNAMESPACE => 4,
        Type::INT8 | Type::FLOAT8 | Type::TIMESTAMP | Type::TIMESTAMPTZ | Type::TIME => 8,
        Type::INTERVAL => 16,
        Type::NAME => 64,
        _ => -1,
    }
}
