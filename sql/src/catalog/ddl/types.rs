//! Names of types: which column type each means.

use sqlparser::ast::{CharacterLength, DataType, ExactNumberInfo, TimezoneInfo};

use crate::catalog::names;
use crate::error::{Result, SqlError, code};
use crate::value::{ColumnType, DECIMAL_DIGITS_MAX};

/// Characters that VARCHAR(n) can ask for, as in PostgreSQL.
const VARCHAR_MAX: u64 = 10_485_760;

/// The column type that a name of a type means: INT is INT8, as in CockroachDB.
///
/// # Errors
/// 42704 for a name that is no type; 0A000 for a type that is not built; 22023 for digits or
/// characters that a type cannot have.
pub fn column_type(data_type: &DataType) -> Result<ColumnType> {
    match data_type {
        DataType::Int2(None) | DataType::SmallInt(None) | DataType::Int16 => Ok(ColumnType::Int2),
        DataType::Int4(None) | DataType::Int32 => Ok(ColumnType::Int4),
        DataType::Int8(None)
        | DataType::Int(None)
        | DataType::Integer(None)
        | DataType::BigInt(None)
        | DataType::Int64 => Ok(ColumnType::Int8),
        DataType::Float8
        | DataType::Float64
        | DataType::DoublePrecision
        | DataType::Double(ExactNumberInfo::None)
        | DataType::Float(ExactNumberInfo::None) => Ok(ColumnType::Float8),
        DataType::Float(ExactNumberInfo::Precision(bits)) if (25..=53).contains(bits) => {
            Ok(ColumnType::Float8)
        }
        DataType::Float(ExactNumberInfo::Precision(1..=24))
        | DataType::Float4
        | DataType::Float32
        | DataType::Real => Err(SqlError::not_built("type FLOAT4", "Use FLOAT8.")),
        DataType::Decimal(digits) | DataType::Numeric(digits) | DataType::Dec(digits) => {
            decimal(*digits)
        }
        DataType::Bool | DataType::Boolean => Ok(ColumnType::Bool),
        DataType::Text | DataType::String(None) => Ok(ColumnType::Text),
        DataType::String(Some(length)) => varchar(*length),
        DataType::Varchar(length)
        | DataType::CharacterVarying(length)
        | DataType::CharVarying(length) => match length {
            None => Ok(ColumnType::Text),
            Some(length) => varchar(characters(*length)?),
        },
        DataType::Char(length) | DataType::Character(length) => match length {
            None => varchar(1),
            Some(length) => varchar(characters(*length)?),
        },
        DataType::Date | DataType::Date32 => Ok(ColumnType::Date),
        DataType::Timestamp(None | Some(6), TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) => {
            Ok(ColumnType::TimestampTz)
        }
        DataType::Timestamp(Some(_), TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) => {
            Err(SqlError::not_built(
                format_args!("type {data_type}"),
                "Use TIMESTAMPTZ, which keeps microseconds.",
            ))
        }
        DataType::Timestamp(..) | DataType::TimestampNtz(_) | DataType::Datetime(_) => {
            Err(SqlError::not_built("type TIMESTAMP", "Use TIMESTAMPTZ, which is always in UTC."))
        }
        DataType::Custom(name, arguments) => custom(&names::parts(name)?, arguments),
        DataType::Array(_) => Err(SqlError::not_built("an array type", "Use STRING.")),
        DataType::Time(..)
        | DataType::Interval { .. }
        | DataType::Uuid
        | DataType::JSON
        | DataType::JSONB
        | DataType::Bytes(_)
        | DataType::Bytea
        | DataType::Blob(_)
        | DataType::Bit(_)
        | DataType::BitVarying(_)
        | DataType::VarBit(_) => {
            Err(SqlError::not_built(format_args!("type {data_type}"), "Use STRING."))
        }
        DataType::Unspecified => Err(SqlError::syntax("a column has a type")),
        other => Err(unknown(&other.to_string())),
    }
}

fn custom(parts: &[String], arguments: &[String]) -> Result<ColumnType> {
    let name = match parts {
        [name] => name,
        [schema, name] if schema == "pg_catalog" => name,
        _ => return Err(unknown(&parts.join("."))),
    };
    match (name.as_str(), arguments) {
        ("timestamptz", []) => Ok(ColumnType::TimestampTz),
        ("string" | "text" | "varchar", []) => Ok(ColumnType::Text),
        ("int2" | "smallint", []) => Ok(ColumnType::Int2),
        ("int4", []) => Ok(ColumnType::Int4),
        ("int8" | "int" | "int64", []) => Ok(ColumnType::Int8),
        ("float8", []) => Ok(ColumnType::Float8),
        ("bool", []) => Ok(ColumnType::Bool),
        ("date", []) => Ok(ColumnType::Date),
        ("string" | "varchar", [length]) => match length.parse() {
            Ok(length) => varchar(length),
            Err(_) => Err(SqlError::invalid_value(format!("\"{length}\" is not a length"))),
        },
        ("serial" | "serial2" | "serial4" | "serial8" | "bigserial" | "smallserial", _) => {
            Err(SqlError::not_built(
                format_args!("type {name}"),
                "Use INT8 and give the numbers, or leave out the primary key.",
            ))
        }
        ("timetz" | "inet" | "oid" | "name" | "bit" | "varbit", _) => {
            Err(SqlError::not_built(format_args!("type {name}"), "Use STRING."))
        }
        _ => Err(unknown(name)),
    }
}

fn unknown(name: &str) -> SqlError {
    let message = format!("type \"{}\" does not exist", name.to_lowercase());
    SqlError::new(code::UNDEFINED_OBJECT, message).with_hint(
        "Types are INT2, INT4, INT8, FLOAT8, DECIMAL(p,s), BOOL, STRING, VARCHAR(n), DATE and \
         TIMESTAMPTZ.",
    )
}

fn decimal(digits: ExactNumberInfo) -> Result<ColumnType> {
    let (precision, scale) = match digits {
        ExactNumberInfo::None => {
            return Err(SqlError::not_built(
                "DECIMAL without a precision",
                "Say how many digits, and how many of them behind the point: DECIMAL(18,2).",
            ));
        }
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
    };
    let in_range = u8::try_from(precision)
        .ok()
        .filter(|precision| (1..=DECIMAL_DIGITS_MAX).contains(precision));
    let Some(precision) = in_range else {
        let message =
            format!("NUMERIC precision {precision} must be between 1 and {DECIMAL_DIGITS_MAX}");
        return Err(SqlError::invalid_value(message));
    };
    match u8::try_from(scale) {
        Ok(scale) if scale <= precision => Ok(ColumnType::Decimal { precision, scale }),
        _ => Err(SqlError::invalid_value(format!(
            "NUMERIC scale {scale} must be between 0 and precision {precision}"
        ))),
    }
}

fn characters(length: CharacterLength) -> Result<u64> {
    match length {
        CharacterLength::IntegerLength { length, .. } => Ok(length),
        CharacterLength::Max => Err(SqlError::syntax("VARCHAR(MAX) is STRING")),
    }
}

fn varchar(length: u64) -> Result<ColumnType> {
    match u32::try_from(length) {
        Ok(characters) if (1..=VARCHAR_MAX).contains(&length) => {
            Ok(ColumnType::Varchar(characters))
        }
        _ => Err(SqlError::invalid_value(format!(
            "length for type varchar must be between 1 and {VARCHAR_MAX}"
        ))),
    }
}
