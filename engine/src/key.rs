//! Order-preserving keys: comparing encoded bytes compares the values.
//!
//! A row key is the span id (u64, big-endian), the byte `0x01`, and the *user key*: the encoded
//! columns of the primary key, one after the other. Each encoded value is self-delimiting, and no
//! encoded value is a prefix of another, so a key of several columns orders by the first, then the
//! second, and so on.
//!
//! | value | ascending |
//! |---|---|
//! | NULL | `00` |
//! | BOOL | `01`, `00` or `01` |
//! | integers, DATE, TIMESTAMPTZ | `01`, i64 big-endian with the sign bit flipped |
//! | FLOAT8 | `01`, bits big-endian; negative: all bits flipped, else: sign bit flipped |
//! | TEXT, bytes | `01`, bytes with `00` written as `00 FF`, then `00 01` |
//! | DECIMAL | `01`, see [`put_decimal`] |
//!
//! Descending is the complement of every byte of the value. So NULL comes first ascending and last
//! descending. `-0.0` is written as `0.0`; NaN is one value, above infinity; `1.0` and `1.00` are
//! the same DECIMAL.
//!
//! The `take_*` functions read what the `put_*` functions wrote. They are total, and strict: a value
//! has one encoding only, anything else is [`KeyDamage`].

mod decimal;
mod scalar;
mod text;

pub use decimal::{put_decimal, take_decimal};
pub use scalar::{put_bool, put_f64, put_i64, put_null, take_bool, take_f64, take_i64};
pub use text::{put_bytes, put_text, take_bytes, take_text};

use crate::id::SpanId;

/// Follows the span id in every row key; `0x02` therefore bounds the span from above.
const IN_SPAN: u8 = 0x01;
const AFTER_SPAN: u8 = 0x02;

const NULL: u8 = 0x00;
const VALUE: u8 = 0x01;

/// Whether a column is sorted upwards or downwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Small values first, NULL before them.
    #[default]
    Asc,
    /// Large values first, NULL after them.
    Desc,
}

impl Direction {
    /// What each byte is combined with: nothing changes, or every bit.
    const fn mask(self) -> u8 {
        match self {
            Self::Asc => 0x00,
            Self::Desc => 0xFF,
        }
    }
}

/// Key bytes that no encoder wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("damaged key: expected {expected}")]
pub struct KeyDamage {
    /// What should have been there, for people.
    pub expected: &'static str,
}

/// How a value is laid out: what [`skip`] must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// BOOL.
    Bool,
    /// Integers, dates and timestamps: whatever [`put_i64`] wrote.
    Int,
    /// FLOAT8.
    Float,
    /// TEXT and bytes.
    Text,
    /// DECIMAL.
    Decimal,
}

/// The row key of `user_key` in `span`.
#[must_use]
pub fn row_key(span: SpanId, user_key: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(9 + user_key.len());
    key.extend_from_slice(&span_bounds(span).0);
    key.extend_from_slice(user_key);
    key
}

/// The window of a span: first key and the first key after it, `[id 01, id 02)`.
#[must_use]
pub const fn span_bounds(span: SpanId) -> ([u8; 9], [u8; 9]) {
    let [a, b, c, d, e, f, g, h] = span.raw().to_be_bytes();
    ([a, b, c, d, e, f, g, h, IN_SPAN], [a, b, c, d, e, f, g, h, AFTER_SPAN])
}

/// Takes a row key apart; `None` if it is none.
#[must_use]
pub fn split_row_key(key: &[u8]) -> Option<(SpanId, &[u8])> {
    let (id, rest) = key.split_first_chunk::<8>()?;
    let (&mark, user_key) = rest.split_first()?;
    (mark == IN_SPAN).then(|| (SpanId::from_raw(u64::from_be_bytes(*id)), user_key))
}

/// The smallest key that is above every key that begins with `prefix`; `None` if there is none.
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(above) = last.checked_add(1) {
            end.push(above);
            return Some(end);
        }
    }
    None
}

/// Passes over one value without making it. Quicker than taking it, and less strict: what is inside
/// of the value is not looked at.
///
/// # Errors
/// [`KeyDamage`] if the value does not end, or does not begin.
pub fn skip(input: &mut &[u8], layout: Layout, direction: Direction) -> Result<(), KeyDamage> {
    if take_marker(input, direction)? {
        match layout {
            Layout::Bool => advance(input, 1),
            Layout::Int | Layout::Float => advance(input, 8),
            Layout::Text => text::skip(input, direction),
            Layout::Decimal => decimal::skip(input, direction),
        }
    } else {
        Ok(())
    }
}

fn advance(input: &mut &[u8], length: usize) -> Result<(), KeyDamage> {
    *input = input.get(length..).ok_or(KeyDamage { expected: "more bytes of a value" })?;
    Ok(())
}

/// Whether a value follows, or NULL.
fn take_marker(input: &mut &[u8], direction: Direction) -> Result<bool, KeyDamage> {
    match take_byte(input).map(|byte| byte ^ direction.mask()) {
        Some(NULL) => Ok(false),
        Some(VALUE) => Ok(true),
        _ => Err(KeyDamage { expected: "a value or NULL" }),
    }
}

fn take_byte(input: &mut &[u8]) -> Option<u8> {
    let (&first, rest) = input.split_first()?;
    *input = rest;
    Some(first)
}

#[cfg(test)]
mod tests;
