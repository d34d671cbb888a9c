//! Column types and values as the query engine has them, and back.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;

use super::{ColumnType, Datum, number, rescale};

impl ColumnType {
    /// The Arrow type of its values.
    #[must_use]
    pub fn arrow_type(self) -> DataType {
        match self {
            Self::Int2 => DataType::Int16,
            Self::Int4 => DataType::Int32,
            Self::Int8 => DataType::Int64,
            Self::Float8 => DataType::Float64,
            Self::Decimal { precision, scale } => {
                DataType::Decimal128(precision, scale.cast_signed())
            }
            Self::Bool => DataType::Boolean,
            Self::Text | Self::Varchar(_) => DataType::Utf8,
            Self::Date => DataType::Date32,
            Self::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }
}

impl Datum {
    /// A query engine's value as one of a column of type `ty`, exactly; `None` if it is of another
    /// kind, or the column cannot hold it as it is (an integer out of range, digits that would be
    /// rounded away). NULL of any type is NULL.
    #[must_use]
    pub fn from_scalar(value: &ScalarValue, ty: ColumnType) -> Option<Self> {
        if value.is_null() {
            return Some(Self::Null);
        }
        match (ty, value) {
            (ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8, value) => {
                let value = integer(value)?;
                number::check_int(value, ty).ok().map(Self::Int)
            }
            (ColumnType::Float8, ScalarValue::Float64(Some(value))) => Some(Self::Float(*value)),
            (ColumnType::Float8, ScalarValue::Float32(Some(value))) => {
                Some(Self::Float((*value).into()))
            }
            (ColumnType::Decimal { precision, scale }, value) => {
                let (unscaled, from) = match value {
                    ScalarValue::Decimal128(Some(unscaled), _, from) => {
                        (*unscaled, u8::try_from(*from).ok()?)
                    }
                    value => (integer(value)?.into(), 0),
                };
                let fitted = number::fit_decimal(unscaled, from, precision, scale).ok()?;
                let exact = rescale(fitted, scale, from.max(scale))?
                    == rescale(unscaled, from, from.max(scale))?;
                exact.then_some(Self::Decimal(fitted, scale))
            }
            (ColumnType::Bool, ScalarValue::Boolean(Some(value))) => Some(Self::Bool(*value)),
            (
                ColumnType::Text | ColumnType::Varchar(_),
                ScalarValue::Utf8(Some(text))
                | ScalarValue::LargeUtf8(Some(text))
                | ScalarValue::Utf8View(Some(text)),
            ) => Some(Self::Text(text.clone())),
            (ColumnType::Date, ScalarValue::Date32(Some(days))) => Some(Self::Date(*days)),
            (ColumnType::TimestampTz, ScalarValue::TimestampMicrosecond(Some(micros), Some(_))) => {
                Some(Self::TimestampTz(*micros))
            }
            (ColumnType::TimestampTz, ScalarValue::TimestampMillisecond(Some(millis), Some(_))) => {
                millis.checked_mul(1000).map(Self::TimestampTz)
            }
            (ColumnType::TimestampTz, ScalarValue::TimestampSecond(Some(seconds), Some(_))) => {
                seconds.checked_mul(1_000_000).map(Self::TimestampTz)
            }
            (ColumnType::TimestampTz, ScalarValue::TimestampNanosecond(Some(nanos), Some(_)))
                if nanos % 1000 == 0 =>
            {
                Some(Self::TimestampTz(nanos / 1000))
            }
            _ => None,
        }
    }

    /// The value for the query engine, in the Arrow type of `ty`. A value of another kind becomes
    /// NULL.
    #[must_use]
    pub fn to_scalar(&self, ty: ColumnType) -> ScalarValue {
        match ty {
            ColumnType::Int2 => ScalarValue::Int16(self.as_int().and_then(|n| n.try_into().ok())),
            ColumnType::Int4 => ScalarValue::Int32(self.as_int().and_then(|n| n.try_into().ok())),
            ColumnType::Int8 => ScalarValue::Int64(self.as_int()),
            ColumnType::Float8 => ScalarValue::Float64(match self {
                Self::Float(value) => Some(*value),
                _ => None,
            }),
            ColumnType::Decimal { precision, scale } => {
                let unscaled = match self {
                    Self::Decimal(unscaled, from) => rescale(*unscaled, *from, scale),
                    _ => None,
                };
                ScalarValue::Decimal128(unscaled, precision, scale.cast_signed())
            }
            ColumnType::Bool => ScalarValue::Boolean(match self {
                Self::Bool(value) => Some(*value),
                _ => None,
            }),
            ColumnType::Text | ColumnType::Varchar(_) => ScalarValue::Utf8(match self {
                Self::Text(text) => Some(text.clone()),
                _ => None,
            }),
            ColumnType::Date => ScalarValue::Date32(match self {
                Self::Date(days) => Some(*days),
                _ => None,
            }),
            ColumnType::TimestampTz => {
                let micros = match self {
                    Self::TimestampTz(micros) => Some(*micros),
                    _ => None,
                };
                ScalarValue::TimestampMicrosecond(micros, Some("UTC".into()))
            }
        }
    }

    const fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            _ => None,
        }
    }
}

fn integer(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::Int8(value) => value.map(i64::from),
        ScalarValue::Int16(value) => value.map(i64::from),
        ScalarValue::Int32(value) => value.map(i64::from),
        ScalarValue::Int64(value) => *value,
        ScalarValue::UInt8(value) => value.map(i64::from),
        ScalarValue::UInt16(value) => value.map(i64::from),
        ScalarValue::UInt32(value) => value.map(i64::from),
        ScalarValue::UInt64(value) => value.and_then(|value| value.try_into().ok()),
        _ => None,
    }
}
