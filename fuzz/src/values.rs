//! Values of columns as text.

use arbitrary::{Arbitrary, Unstructured};
use cairn_sql::value::{ColumnType, Datum};

/// Strategy: the first bytes choose the type of a column; what follows is a text in it, and a value of it.
/// Invariants: no panic; a text that is taken is written as text that is the same value, which fits its column
/// as it is; every value that a column can hold is written as text that is the same value.
pub fn values(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let Ok(ty) = column_type(&mut input) else { return };
    let text = String::from_utf8_lossy(input.peek_bytes(input.len()).unwrap_or_default());
    match Datum::parse(&text, ty) {
        Ok(value) => {
            same(&value, ty, &text);
            let fitted = ty.fit(value.clone());
            assert!(fitted.is_ok_and(|fitted| equal(&fitted, &value)), "{text:?} as {ty}");
        }
        Err(error) => assert_eq!(error.code.len(), 5, "{text:?} as {ty}: {error}"),
    }
    if let Ok(value) = datum(&mut input, ty) {
        same(&value, ty, "a value");
    }
}

/// The value is written as text that is the same value.
fn same(value: &Datum, ty: ColumnType, from: &str) {
    let shown = value.to_string();
    let again = Datum::parse(&shown, ty);
    let again = again.unwrap_or_else(|error| panic!("{from:?} as {ty}: {shown:?}: {error}"));
    assert!(equal(&again, value), "{from:?} as {ty}: {shown:?}: {again:?}, not {value:?}");
    assert_eq!(again.to_string(), shown);
}

/// As values are equal, with NaN equal to itself.
pub(crate) fn equal(a: &Datum, b: &Datum) -> bool {
    match (a, b) {
        (Datum::Float(a), Datum::Float(b)) => a == b || (a.is_nan() && b.is_nan()),
        (a, b) => a == b,
    }
}

/// A type of a column.
pub(crate) fn column_type(input: &mut Unstructured<'_>) -> arbitrary::Result<ColumnType> {
    Ok(match input.int_in_range(0..=9)? {
        0 => ColumnType::Int2,
        1 => ColumnType::Int4,
        2 => ColumnType::Int8,
        3 => ColumnType::Float8,
        4 => {
            let precision = input.int_in_range(1..=38)?;
            ColumnType::Decimal { precision, scale: input.int_in_range(0..=precision)? }
        }
        5 => ColumnType::Bool,
        6 => ColumnType::Text,
        7 => ColumnType::Varchar(input.int_in_range(1..=20)?),
        8 => ColumnType::Date,
        _ => ColumnType::TimestampTz,
    })
}

/// A value that a column of this type can hold; never NULL.
pub(crate) fn datum(input: &mut Unstructured<'_>, ty: ColumnType) -> arbitrary::Result<Datum> {
    Ok(match ty {
        ColumnType::Int2 => Datum::Int(i16::arbitrary(input)?.into()),
        ColumnType::Int4 => Datum::Int(i32::arbitrary(input)?.into()),
        ColumnType::Int8 => Datum::Int(i64::arbitrary(input)?),
        ColumnType::Float8 => Datum::Float(f64::arbitrary(input)?),
        ColumnType::Decimal { precision, scale } => {
            let limit = 10_i128.pow(precision.into());
            Datum::Decimal(i128::arbitrary(input)? % limit, scale)
        }
        ColumnType::Bool => Datum::Bool(bool::arbitrary(input)?),
        ColumnType::Text => Datum::Text(text(input, 200)?),
        ColumnType::Varchar(characters) => Datum::Text(text(input, characters as usize)?),
        // 4714-11-24 BC to 5874897-12-31.
        ColumnType::Date => Datum::Date(input.int_in_range(-2_440_588..=2_145_042_905)?),
        ColumnType::TimestampTz => {
            Datum::TimestampTz(input.int_in_range(-210_866_803_200_000_000..=i64::MAX)?)
        }
    })
}

/// A text of at most so many characters, none of them zero.
fn text(input: &mut Unstructured<'_>, characters: usize) -> arbitrary::Result<String> {
    Ok(<&str>::arbitrary(input)?.chars().filter(|c| *c != '\0').take(characters).collect())
}
