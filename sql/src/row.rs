//! Rows as bytes: keys and values of the spans of a table.
//!
//! A [`RowCodec`] is made from a table's descriptor. It encodes rows into a *user key* (the columns of
//! the primary key, order-preserving, see [`cairn_engine::key`]) and a *value* (every other column),
//! and decodes them again, only the columns that are asked for. [`RowAppender`] decodes into Arrow
//! columns, which is how scans read; [`RowReader`] goes the other way, from the query engine's
//! batches to rows that are to be stored.
//!
//! # The value
//!
//! | part | bytes |
//! |---|---|
//! | format | `01` |
//! | schema version | varint: the table's when the row was written |
//! | each column, by ascending id | tag: varint of `(id - previous id) * 8 + form`; then the form's bytes |
//!
//! | form | types | bytes |
//! |---|---|---|
//! | 0, 1 | BOOL | none: false, true |
//! | 2 | INT2, INT4, INT8, DATE; DECIMAL whose unscaled number fits an i64 | varint of the zigzag |
//! | 3 | FLOAT8, TIMESTAMPTZ | 8, little-endian: the bits, the microseconds |
//! | 4 | DECIMAL, larger ones | 16, little-endian: the unscaled number at the column's scale |
//! | 5 | STRING, VARCHAR | varint of the length, UTF-8 |
//!
//! A varint has 7 bits per byte, low ones first, and no empty high bytes. A column that is absent is
//! NULL; if it was added to the table later than the row's schema version, it is what its descriptor
//! says rows from before have. Ids that the descriptor does not know are passed over (dropped
//! columns). Columns of the primary key live in the key only.
//!
//! A table without a primary key has hidden row ids for keys: see [`hidden_key`].
//!
//! Decoders are total: bytes that no encoder wrote are a [`RowDamage`], never a panic and never a
//! guess.

#[cfg(feature = "store")]
mod append;
mod codec;
#[cfg(feature = "store")]
mod read;
#[cfg(test)]
mod tests;

#[cfg(feature = "store")]
pub use append::RowAppender;
pub use codec::{Projection, RowCodec, RowSink};
#[cfg(feature = "store")]
pub use read::RowReader;

use cairn_engine::SpanId;
use cairn_engine::key::{self, Direction, KeyDamage};

use crate::error::{SqlError, code};
use crate::value::{AsField, ColumnType, Field};

/// A key or a value that no encoder wrote. Whoever read it knows where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("damaged row: expected {expected}")]
pub struct RowDamage {
    /// What should have been there, for people.
    pub expected: &'static str,
}

impl From<KeyDamage> for RowDamage {
    fn from(damage: KeyDamage) -> Self {
        Self { expected: damage.expected }
    }
}

impl From<RowDamage> for SqlError {
    fn from(damage: RowDamage) -> Self {
        Self::new(code::DATA_CORRUPTED, damage.to_string())
            .with_hint("Keep a copy of the store, then run: cairn doctor")
    }
}

/// The user key of a row without a primary key: the span it was first written to and its number
/// there, both u64 big-endian. It stays with the row when rows are moved to another span, and two
/// spans never hand out the same one. In a home span the number counts rows; what a job numbers by
/// is its own business, as long as doing the work again gives the same numbers.
#[must_use]
pub fn hidden_key(origin: SpanId, number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&origin.raw().to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The origin of a hidden row id; `None` if the key is none.
#[must_use]
pub fn hidden_key_origin(user_key: &[u8]) -> Option<SpanId> {
    let (origin, number) = user_key.split_first_chunk::<8>()?;
    (number.len() == 8).then(|| SpanId::from_raw(u64::from_be_bytes(*origin)))
}

/// The number of a hidden row id; `None` if the key is none.
#[must_use]
pub fn hidden_key_number(user_key: &[u8]) -> Option<u64> {
    let (origin, number) = user_key.split_last_chunk::<8>()?;
    (origin.len() == 8).then(|| u64::from_be_bytes(*number))
}

/// Appends a value in the key encoding of a column of type `ty`: what a key range is made of.
pub fn put_key_datum<V: AsField>(
    out: &mut Vec<u8>,
    value: &V,
    ty: ColumnType,
    direction: Direction,
) {
    put_key_field(out, value.as_field(), ty, direction);
}

#[inline]
fn put_key_field(out: &mut Vec<u8>, field: Field<'_>, ty: ColumnType, direction: Direction) {
    match field {
        Field::Null => key::put_null(out, direction),
        Field::Int(value) => key::put_i64(out, value, direction),
        Field::Float(value) => key::put_f64(out, value, direction),
        Field::Decimal(unscaled, scale) => {
            debug_assert!(matches!(ty, ColumnType::Decimal { .. }), "a DECIMAL in {ty}");
            key::put_decimal(out, unscaled, scale, direction);
        }
        Field::Bool(value) => key::put_bool(out, value, direction),
        Field::Text(text) => key::put_text(out, text, direction),
    }
}

/// How keys lay the type out.
const fn key_layout(ty: ColumnType) -> key::Layout {
    match ty {
        ColumnType::Int2
        | ColumnType::Int4
        | ColumnType::Int8
        | ColumnType::Date
        | ColumnType::TimestampTz => key::Layout::Int,
        ColumnType::Float8 => key::Layout::Float,
        ColumnType::Decimal { .. } => key::Layout::Decimal,
        ColumnType::Bool => key::Layout::Bool,
        ColumnType::Text | ColumnType::Varchar(_) => key::Layout::Text,
    }
}
