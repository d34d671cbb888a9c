//! Column types and their values, and how PostgreSQL writes both.
//!
//! A [`ColumnType`] is what a column of a table can be. A value is a [`Datum`] where it is owned, and
//! a [`Field`] where it is only looked at: reading text ([`ColumnType::parse`]) and encoding rows
//! copy nothing. Text is taken in the forms PostgreSQL takes and refused with its SQLSTATEs:
//!
//! | code | when |
//! |---|---|
//! | 22P02 | not a number, not a boolean |
//! | 22003 | a number that the type cannot hold |
//! | 22007 | not a date or time |
//! | 22008 | a date or time that does not exist or is out of range |
//! | 22001 | a text longer than VARCHAR(n) |
//! | 22021 | a text with a zero byte |
//!
//! `Display` of a [`Datum`] is PostgreSQL's text form. Left out, because the columns they would be
//! stored in have no place for them: `infinity` dates, NaN as DECIMAL. Left out, because a value
//! must not depend on when it is read: `now`, `today`. Times without a zone are UTC.

mod datetime;
mod number;
#[cfg(feature = "store")]
mod scalar;
#[cfg(test)]
pub(crate) mod tests;

use std::fmt;

use crate::error::{SqlError, code};

pub(crate) use number::{fits_digits, rescale};

/// Decimal digits that a DECIMAL can have.
pub const DECIMAL_DIGITS_MAX: u8 = 38;

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// INT2: 16 bits.
    Int2,
    /// INT4: 32 bits.
    Int4,
    /// INT8, which INT means too: 64 bits.
    Int8,
    /// FLOAT8.
    Float8,
    /// DECIMAL(precision, scale).
    Decimal {
        /// Digits in all, 1 to 38.
        precision: u8,
        /// Digits after the point, at most `precision`.
        scale: u8,
    },
    /// BOOL.
    Bool,
    /// STRING, which TEXT means too.
    Text,
    /// VARCHAR(n), which STRING(n) and CHAR(n) mean too: at most n characters, never padded.
    Varchar(u32),
    /// DATE.
    Date,
    /// TIMESTAMPTZ, in microseconds.
    TimestampTz,
}

impl ColumnType {
    /// The name as CockroachDB shows it: `INT8`, `DECIMAL(10,2)`.
    #[must_use]
    pub fn sql_name(self) -> String {
        match self {
            Self::Int2 => "INT2".to_owned(),
            Self::Int4 => "INT4".to_owned(),
            Self::Int8 => "INT8".to_owned(),
            Self::Float8 => "FLOAT8".to_owned(),
            Self::Decimal { precision, scale: 0 } => format!("DECIMAL({precision})"),
            Self::Decimal { precision, scale } => format!("DECIMAL({precision},{scale})"),
            Self::Bool => "BOOL".to_owned(),
            Self::Text => "STRING".to_owned(),
            Self::Varchar(chars) => format!("VARCHAR({chars})"),
            Self::Date => "DATE".to_owned(),
            Self::TimestampTz => "TIMESTAMPTZ".to_owned(),
        }
    }

    /// The name as PostgreSQL's messages and `information_schema` have it: `bigint`.
    #[must_use]
    pub const fn pg_name(self) -> &'static str {
        match self {
            Self::Int2 => "smallint",
            Self::Int4 => "integer",
            Self::Int8 => "bigint",
            Self::Float8 => "double precision",
            Self::Decimal { .. } => "numeric",
            Self::Bool => "boolean",
            Self::Text => "text",
            Self::Varchar(_) => "character varying",
            Self::Date => "date",
            Self::TimestampTz => "timestamp with time zone",
        }
    }

    /// The number of the type in `pg_type`.
    #[must_use]
    pub const fn pg_oid(self) -> u32 {
        match self {
            Self::Bool => 16,
            Self::Int8 => 20,
            Self::Int2 => 21,
            Self::Int4 => 23,
            Self::Text => 25,
            Self::Float8 => 701,
            Self::Varchar(_) => 1043,
            Self::Date => 1082,
            Self::TimestampTz => 1184,
            Self::Decimal { .. } => 1700,
        }
    }

    /// What `pg_attribute.atttypmod` says of the type; -1 for nothing.
    #[must_use]
    pub fn pg_typmod(self) -> i32 {
        match self {
            Self::Decimal { precision, scale } => {
                ((i32::from(precision) << 16) | i32::from(scale)) + 4
            }
            Self::Varchar(chars) => i32::try_from(chars).unwrap_or(i32::MAX - 4) + 4,
            _ => -1,
        }
    }

    /// Reads a value in any text form that PostgreSQL takes for the type. Never answers NULL: which
    /// text stands for NULL is the caller's business.
    ///
    /// # Errors
    /// The codes of the module's table, with PostgreSQL's messages.
    pub fn parse(self, text: &str) -> Result<Field<'_>, SqlError> {
        match self {
            Self::Int2 | Self::Int4 | Self::Int8 => number::parse_int(text, self).map(Field::Int),
            Self::Float8 => number::parse_float(text).map(Field::Float),
            Self::Decimal { precision, scale } => number::parse_decimal(text, precision, scale)
                .map(|unscaled| Field::Decimal(unscaled, scale)),
            Self::Bool => parse_bool(text).map(Field::Bool),
            Self::Text | Self::Varchar(_) => self.fit_text(text).map(Field::Text),
            Self::Date => datetime::parse_date(text).map(|days| Field::Int(days.into())),
            Self::TimestampTz => datetime::parse_timestamptz(text).map(Field::Int),
        }
    }

    /// The text as the column stores it.
    fn fit_text(self, text: &str) -> Result<&str, SqlError> {
        if text.as_bytes().contains(&0) {
            return Err(SqlError::new(
                code::CHARACTER_NOT_IN_REPERTOIRE,
                "invalid byte sequence for encoding \"UTF8\": 0x00",
            ));
        }
        let Self::Varchar(chars) = self else { return Ok(text) };
        let limit = chars as usize;
        if text.len() <= limit {
            return Ok(text);
        }
        match text.char_indices().nth(limit) {
            None => Ok(text),
            // What is too much may be blanks: they are cut off, as the standard wants it.
            Some((at, _)) if text[at..].bytes().all(|byte| byte == b' ') => Ok(&text[..at]),
            Some(_) => Err(SqlError::new(
                code::STRING_DATA_RIGHT_TRUNCATION,
                format!("value too long for type character varying({chars})"),
            )),
        }
    }

    /// The value as a column of this type stores it: integers are checked against the type's range,
    /// DECIMALs rounded to its scale, texts held against VARCHAR(n).
    ///
    /// # Errors
    /// 22003 or 22001 if the type cannot hold the value; 42804 if it is of another kind.
    pub fn fit(self, value: Datum) -> Result<Datum, SqlError> {
        match (self, value) {
            (_, Datum::Null) => Ok(Datum::Null),
            (Self::Int2 | Self::Int4 | Self::Int8, Datum::Int(value)) => {
                number::check_int(value, self).map(Datum::Int)
            }
            (Self::Float8, value @ Datum::Float(_))
            | (Self::Bool, value @ Datum::Bool(_))
            | (Self::Date, value @ Datum::Date(_))
            | (Self::TimestampTz, value @ Datum::TimestampTz(_)) => Ok(value),
            (Self::Decimal { precision, scale }, Datum::Decimal(unscaled, from)) => {
                let unscaled = number::fit_decimal(unscaled, from, precision, scale)?;
                Ok(Datum::Decimal(unscaled, scale))
            }
            (Self::Text | Self::Varchar(_), Datum::Text(text)) => {
                let length = self.fit_text(&text)?.len();
                let mut text = text;
                text.truncate(length);
                Ok(Datum::Text(text))
            }
            (_, value) => Err(SqlError::wrong_type(format!(
                "column of type {} cannot hold {value}",
                self.sql_name()
            ))),
        }
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.sql_name())
    }
}

/// A value of a column, owned.
#[derive(Clone, Debug, PartialEq)]
pub enum Datum {
    /// NULL.
    Null,
    /// INT2, INT4, INT8.
    Int(i64),
    /// FLOAT8.
    Float(f64),
    /// DECIMAL: the unscaled number, and the scale, which is the column's.
    Decimal(i128, u8),
    /// BOOL.
    Bool(bool),
    /// STRING, VARCHAR(n).
    Text(String),
    /// DATE: days since 1970-01-01.
    Date(i32),
    /// TIMESTAMPTZ: microseconds since 1970-01-01 UTC.
    TimestampTz(i64),
}

impl Datum {
    /// As [`ColumnType::parse`], owned.
    ///
    /// # Errors
    /// As [`ColumnType::parse`].
    pub fn parse(text: &str, ty: ColumnType) -> Result<Self, SqlError> {
        ty.parse(text).map(|field| field.into_datum(ty))
    }

    /// Whether this is NULL.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

/// PostgreSQL's text form; NULL, which has none, is `NULL`.
impl fmt::Display for Datum {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => out.write_str("NULL"),
            Self::Int(value) => value.fmt(out),
            Self::Float(value) => number::write_float(out, *value),
            Self::Decimal(unscaled, scale) => number::write_decimal(out, *unscaled, *scale),
            Self::Bool(value) => out.write_str(if *value { "t" } else { "f" }),
            Self::Text(text) => out.write_str(text),
            Self::Date(days) => datetime::write_date(out, *days),
            Self::TimestampTz(micros) => datetime::write_timestamptz(out, *micros),
        }
    }
}

/// A value of a column, borrowed: what row encoding takes and row decoding gives. Which of the
/// types it belongs to is known from the column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Field<'a> {
    /// NULL.
    Null,
    /// INT2, INT4, INT8; days of a DATE; microseconds of a TIMESTAMPTZ.
    Int(i64),
    /// FLOAT8.
    Float(f64),
    /// DECIMAL: the unscaled number, and the scale, which is the column's.
    Decimal(i128, u8),
    /// BOOL.
    Bool(bool),
    /// STRING, VARCHAR(n).
    Text(&'a str),
}

impl Field<'_> {
    /// The value owned, as one of a column of type `ty`.
    #[must_use]
    pub fn into_datum(self, ty: ColumnType) -> Datum {
        match (self, ty) {
            (Self::Null, _) => Datum::Null,
            (Self::Int(days), ColumnType::Date) => {
                // Everything that makes fields checks the range.
                Datum::Date(i32::try_from(days).unwrap_or(i32::MAX))
            }
            (Self::Int(micros), ColumnType::TimestampTz) => Datum::TimestampTz(micros),
            (Self::Int(value), _) => Datum::Int(value),
            (Self::Float(value), _) => Datum::Float(value),
            (Self::Decimal(unscaled, scale), _) => Datum::Decimal(unscaled, scale),
            (Self::Bool(value), _) => Datum::Bool(value),
            (Self::Text(text), _) => Datum::Text(text.to_owned()),
        }
    }
}

/// What can be looked at as a [`Field`]: rows are encoded from slices of either.
pub trait AsField {
    /// The value, borrowed.
    fn as_field(&self) -> Field<'_>;
}

impl AsField for Field<'_> {
    fn as_field(&self) -> Field<'_> {
        *self
    }
}

impl AsField for Datum {
    fn as_field(&self) -> Field<'_> {
        match self {
            Self::Null => Field::Null,
            Self::Int(value) | Self::TimestampTz(value) => Field::Int(*value),
            Self::Date(days) => Field::Int((*days).into()),
            Self::Float(value) => Field::Float(*value),
            Self::Decimal(unscaled, scale) => Field::Decimal(*unscaled, *scale),
            Self::Bool(value) => Field::Bool(*value),
            Self::Text(text) => Field::Text(text),
        }
    }
}

/// 22P02: the text does not spell a value of the type.
fn not_a(ty: &str, text: &str) -> SqlError {
    SqlError::new(
        code::INVALID_TEXT_REPRESENTATION,
        format!("invalid input syntax for type {ty}: \"{}\"", shortened(text)),
    )
}

/// Text from a data file, short enough for a message.
fn shortened(text: &str) -> std::borrow::Cow<'_, str> {
    const SHOWN_CHARS: usize = 100;
    match text.char_indices().nth(SHOWN_CHARS) {
        None => text.into(),
        Some((at, _)) => format!("{}...", &text[..at]).into(),
    }
}

/// What PostgreSQL passes over around a value.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0B | 0x0C)
}

fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| u8::try_from(c).is_ok_and(is_space))
}

fn parse_bool(text: &str) -> Result<bool, SqlError> {
    let word = trimmed(text);
    // A unique beginning of a word will do; `o` begins two.
    let begins = |whole: &str, at_least: usize| {
        word.len() >= at_least
            && whole.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word))
    };
    if begins("true", 1) || begins("yes", 1) || begins("on", 2) || word == "1" {
        Ok(true)
    } else if begins("false", 1) || begins("no", 1) || begins("off", 2) || word == "0" {
        Ok(false)
    } else {
        Err(not_a("boolean", text))
    }
}
