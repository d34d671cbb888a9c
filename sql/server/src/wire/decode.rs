//! Parameters on their way in: the fields of a Bind message become scalar values.
//!
//! A parameter is read as the type the client declared for it, or else as the type the statement was prepared with,
//! and then brought to the latter. Both formats are read; bytes that do not fit their type are an error of the client
//! (22P02, 22P03, 22003), never a guess.

use super::encode::{Numeric, NumericError};
use super::errors::failure;
use datafusion::arrow::compute::kernels::cast_utils::{Parser, string_to_datetime};
use datafusion::arrow::datatypes::{DataType, Date32Type, Field, TimeUnit};
use datafusion::common::ScalarValue;
use pgwire::api::Type;
use pgwire::error::{PgWireError, PgWireResult};
use std::sync::Arc;
use tokio_postgres::types::Kind;

const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// The zone of TIMESTAMPTZ values inside Cairn.
const ZONE: &str = "UTC";
/// Digits of a NUMERIC parameter whose column is not known.
const WIDEST: (u8, i8) = (38, 10);

/// The Arrow type a client's declared type is planned with; `None` leaves the choice to the statement, as does
/// declaring `unknown`.
pub(super) fn declared(pg: &Type) -> Option<DataType> {
    Some(match *pg {
        Type::BOOL => DataType::Boolean,
        Type::INT2 => DataType::Int16,
        Type::INT4 => DataType::Int32,
        Type::INT8 | Type::OID => DataType::Int64,
        Type::FLOAT4 => DataType::Float32,
        Type::FLOAT8 => DataType::Float64,
        Type::NUMERIC => DataType::Decimal128(WIDEST.0, WIDEST.1),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::CHAR => DataType::Utf8,
        Type::BYTEA => DataType::Binary,
        Type::DATE => DataType::Date32,
        Type::TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        Type::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some(ZONE.into())),
        _ => match pg.kind() {
            Kind::Array(element) => {
                DataType::List(Arc::new(Field::new_list_field(declared(element)?, true)))
            }
            _ => return None,
        },
    })
}

/// The value of one parameter.
///
/// `wire` is the type its bytes are in, `wanted` the type the statement takes; `number` counts from 1, for messages.
pub(super) fn parameter(
    bytes: Option<&[u8]>,
    binary: bool,
    wire: &Type,
    wanted: &DataType,
    number: usize,
) -> PgWireResult<ScalarValue> {
    let Some(bytes) = bytes else {
        return ScalarValue::try_from(wanted).map_err(|error| failure("0A000", error.to_string()));
    };
    let target = declared(wire).unwrap_or_else(|| wanted.clone());
    // A NUMERIC is read at the statement's own precision, so that no digit is rounded twice.
    let target = match (&target, wanted) {
        (DataType::Decimal128(..), DataType::Decimal128(..)) => wanted.clone(),
        _ => target,
    };
    let reader = Reader { pg: wire, number };
    let value = if binary {
        reader.binary(bytes, &target)?
    } else {
        reader.text(reader.utf8(bytes)?, &target)?
    };
    if value.data_type() == *wanted {
        return Ok(value);
    }
    value.cast_to(wanted).map_err(|_| {
        failure(
            "42804",
            format!(
                "parameter ${number} is of type {} and cannot be read as {wanted}",
                wire.name()
            ),
        )
    })
}

/// Reads the bytes of one parameter.
struct Reader<'a> {
    pg: &'a Type,
    number: usize,
}

impl Reader<'_> {
    fn utf8<'b>(&self, bytes: &'b [u8]) -> PgWireResult<&'b str> {
        let text = std::str::from_utf8(bytes).map_err(|_| {
            failure("22021", format!("parameter ${} is not valid UTF-8", self.number))
        })?;
        if text.contains('\0') {
            return Err(failure(
                "22021",
                format!("parameter ${} contains a zero byte", self.number),
            ));
        }
        Ok(text)
    }

    fn text(&self, text: &str, target: &DataType) -> PgWireResult<ScalarValue> {
        let malformed = || self.malformed(text);
        let integer = || self.integer(text);
        let float = || text.trim().parse::<f64>().map_err(|_| malformed());
        Ok(match target {
            DataType::Boolean => ScalarValue::Boolean(Some(boolean(text).ok_or_else(malformed)?)),
            DataType::Int8 => ScalarValue::Int8(Some(self.narrow(integer()?, text)?)),
            DataType::Int16 => ScalarValue::Int16(Some(self.narrow(integer()?, text)?)),
            DataType::Int32 => ScalarValue::Int32(Some(self.narrow(integer()?, text)?)),
            DataType::Int64 => ScalarValue::Int64(Some(self.narrow(integer()?, text)?)),
            DataType::UInt8 => ScalarValue::UInt8(Some(self.narrow(integer()?, text)?)),
            DataType::UInt16 => ScalarValue::UInt16(Some(self.narrow(integer()?, text)?)),
            DataType::UInt32 => ScalarValue::UInt32(Some(self.narrow(integer()?, text)?)),
            DataType::UInt64 => ScalarValue::UInt64(Some(self.narrow(integer()?, text)?)),
            DataType::Float32 => ScalarValue::Float32(Some(float()? as f32)),
            DataType::Float64 => ScalarValue::Float64(Some(float()?)),
            DataType::Decimal128(precision, scale) => {
                let value = Numeric::from_text(text).and_then(|value| value.at(*precision, *scale));
                self.decimal(value, *precision, *scale)?
            }
            DataType::Utf8 | DataType::Null => ScalarValue::Utf8(Some(text.to_owned())),
            DataType::LargeUtf8 => ScalarValue::LargeUtf8(Some(text.to_owned())),
            DataType::Utf8View => ScalarValue::Utf8View(Some(text.to_owned())),
            DataType::Binary => ScalarValue::Binary(Some(bytea(text).ok_or_else(malformed)?)),
            DataType::Date32 => {
                ScalarValue::Date32(Some(Date32Type::parse(text.trim()).ok_or_else(malformed)?))
            }
            DataType::Timestamp(_, zone) => {
                let time = string_to_datetime(&chrono::Utc, text.trim())
                    .map_err(|_| self.no_time(text))?;
                let micros =
                    ScalarValue::TimestampMicrosecond(Some(time.timestamp_micros()), zone.clone());
                micros.cast_to(target).map_err(|_| malformed())?
            }
            DataType::List(item) => {
                let items = array_items(text).ok_or_else(malformed)?;
                let values = items
                    .iter()
                    .map(|element| match element {
                        Some(element) => self.text(element, item.data_type()),
                        None => ScalarValue::try_from(item.data_type()).map_err(|_| malformed()),
                    })
                    .collect::<PgWireResult<Vec<_>>>()?;
                list(&values, item.data_type())
            }
            other => return Err(self.unsupported(other)),
        })
    }

    fn binary(&self, bytes: &[u8], target: &DataType) -> PgWireResult<ScalarValue> {
        Ok(match *self.pg {
            Type::BOOL => ScalarValue::Boolean(Some(self.fixed::<1>(bytes)? != [0])),
            Type::INT2 => ScalarValue::Int16(Some(i16::from_be_bytes(self.fixed(bytes)?))),
            Type::INT4 => ScalarValue::Int32(Some(i32::from_be_bytes(self.fixed(bytes)?))),
            Type::OID => ScalarValue::Int64(Some(u32::from_be_bytes(self.fixed(bytes)?).into())),
            Type::INT8 => ScalarValue::Int64(Some(i64::from_be_bytes(self.fixed(bytes)?))),
            Type::FLOAT4 => ScalarValue::Float32(Some(f32::from_be_bytes(self.fixed(bytes)?))),
            Type::FLOAT8 => ScalarValue::Float64(Some(f64::from_be_bytes(self.fixed(bytes)?))),
            Type::NUMERIC => {
                let (precision, scale) = match target {
                    DataType::Decimal128(precision, scale) => (*precision, *scale),
                    _ => WIDEST,
                };
                let value =
                    Numeric::from_binary(bytes).and_then(|value| value.at(precision, scale));
                self.decimal(value, precision, scale)?
            }
            Type::BYTEA => ScalarValue::Binary(Some(bytes.to_vec())),
            Type::DATE => {
                let days = i32::from_be_bytes(self.fixed(bytes)?).checked_add(EPOCH_DAYS);
                ScalarValue::Date32(Some(days.ok_or_else(|| self.out_of_range())?))
            }
            Type::TIMESTAMP | Type::TIMESTAMPTZ => {
                let micros = i64::from_be_bytes(self.fixed(bytes)?).checked_add(EPOCH_MICROS);
                let zone = (*self.pg == Type::TIMESTAMPTZ).then(|| Arc::from(ZONE));
                ScalarValue::TimestampMicrosecond(
                    Some(micros.ok_or_else(|| self.out_of_range())?),
                    zone,
                )
            }
            _ => match self.pg.kind() {
                Kind::Array(element) => self.binary_array(bytes, element)?,
                // Text and everything that shares its bytes.
                _ => self.text(self.utf8(bytes)?, target)?,
            },
        })
    }

    /// Dimensions, a flag, the element type, length and lower bound per dimension, then the elements.
    fn binary_array(&self, bytes: &[u8], element: &Type) -> PgWireResult<ScalarValue> {
        let item = declared(element).ok_or_else(|| self.unsupported_array())?;
        let mut rest = bytes;
        let mut word = || -> Option<i32> {
            let (word, behind) = rest.split_first_chunk::<4>()?;
            rest = behind;
            Some(i32::from_be_bytes(*word))
        };
        let wrong = || self.wrong_bytes();
        let dimensions = word().ok_or_else(wrong)?;
        let _has_nulls = word().ok_or_else(wrong)?;
        let _element_oid = word().ok_or_else(wrong)?;
        let count = match dimensions {
            0 => 0,
            1 => {
                let count = word().ok_or_else(wrong)?;
                let _lower_bound = word().ok_or_else(wrong)?;
                count
            }
            _ => return Err(self.unsupported_array()),
        };
        let reader = Reader { pg: element, number: self.number };
        let mut values = Vec::new();
        for _ in 0..count {
            let (length, behind) = rest.split_first_chunk::<4>().ok_or_else(wrong)?;
            rest = behind;
            match usize::try_from(i32::from_be_bytes(*length)) {
                Err(_) => values.push(ScalarValue::try_from(&item).map_err(|_| wrong())?),
                Ok(length) => {
                    let (value, behind) = rest.split_at_checked(length).ok_or_else(wrong)?;
                    rest = behind;
                    values.push(reader.binary(value, &item)?);
                }
            }
        }
        Ok(list(&values, &item))
    }

    fn fixed<const N: usize>(&self, bytes: &[u8]) -> PgWireResult<[u8; N]> {
        <[u8; N]>::try_from(bytes).map_err(|_| self.wrong_bytes())
    }

    fn integer(&self, text: &str) -> PgWireResult<i128> {
        let digits = text.trim();
        digits.parse::<i128>().map_err(|error| match error.kind() {
            std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => {
                self.out_of_range()
            }
            _ => self.malformed(text),
        })
    }

    fn narrow<T: TryFrom<i128>>(&self, value: i128, text: &str) -> PgWireResult<T> {
        T::try_from(value).map_err(|_| {
            failure(
                "22003",
                format!("value \"{text}\" is out of range for type {}", self.pg.name()),
            )
        })
    }

    fn decimal(
        &self,
        value: Result<i128, NumericError>,
        precision: u8,
        scale: i8,
    ) -> PgWireResult<ScalarValue> {
        match value {
            Ok(value) => Ok(ScalarValue::Decimal128(Some(value), precision, scale)),
            Err(NumericError::Malformed) => Err(self.malformed("")),
            Err(NumericError::OutOfRange) => Err(failure(
                "22003",
                format!("parameter ${} does not fit DECIMAL({precision},{scale})", self.number),
            )),
        }
    }

    fn malformed(&self, text: &str) -> PgWireError {
        let mut shown: String = text.chars().take(60).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        failure(
            "22P02",
            format!(
                "invalid input syntax for type {}: \"{shown}\" (parameter ${})",
                self.pg.name(),
                self.number
            ),
        )
    }

    fn no_time(&self, text: &str) -> PgWireError {
        let mut error = self.malformed(text);
        if let PgWireError::UserError(info) = &mut error {
            "22007".clone_into(&mut info.code);
        }
        error
    }

    fn out_of_range(&self) -> PgWireError {
        failure(
            "22003",
            format!("parameter ${} is out of range for type {}", self.number, self.pg.name()),
        )
    }

    fn wrong_bytes(&self) -> PgWireError {
        failure("22P03", format!("incorrect binary data format in parameter ${}", self.number))
    }

    fn unsupported(&self, target: &DataType) -> PgWireError {
        failure("0A000", format!("parameter ${} of type {target} is not supported", self.number))
    }

    fn unsupported_array(&self) -> PgWireError {
        failure(
            "0A000",
            format!("parameter ${}: only arrays of one dimension are supported", self.number),
        )
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "t" | "true" | "y" | "yes" | "on" | "1" => Some(true),
        "f" | "false" | "n" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// The hex form, or plain text without backslashes.
fn bytea(text: &str) -> Option<Vec<u8>> {
    let Some(hex) = text.strip_prefix("\\x") else {
        return (!text.contains('\\')).then(|| text.as_bytes().to_vec());
    };
    let nibble = |byte: u8| char::from(byte).to_digit(16);
    hex.as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => u8::try_from(nibble(*high)? * 16 + nibble(*low)?).ok(),
            _ => None,
        })
        .collect()
}

/// The elements of an array's text form, `None` for NULL; nested arrays are refused.
fn array_items(text: &str) -> Option<Vec<Option<String>>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut items = Vec::new();
    if inner.trim().is_empty() {
        return Some(items);
    }
    let mut chars = inner.chars();
    let (mut item, mut quoted, mut was_quoted) = (String::new(), false, false);
    loop {
        match chars.next() {
            Some('\\') => item.push(chars.next()?),
            Some('"') => {
                quoted = !quoted;
                was_quoted = true;
            }
            Some(c) if quoted => item.push(c),
            Some('{' | '}') => return None,
            end @ (Some(',') | None) => {
                if quoted {
                    return None;
                }
                let plain = if was_quoted { item.as_str() } else { item.trim() };
                let null = !was_quoted && plain.eq_ignore_ascii_case("null");
                items.push((!null).then(|| plain.to_owned()));
                if end.is_none() {
                    return Some(items);
                }
                item.clear();
                was_quoted = false;
            }
            Some(c) if !(was_quoted && c.is_whitespace()) => item.push(c),
            Some(_) => {}
        }
    }
}

fn list(values: &[ScalarValue], item: &DataType) -> ScalarValue {
    let array = ScalarValue::new_list_nullable(values, item);
    ScalarValue::List(array)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        bytes: &[u8],
        binary: bool,
        wire: &Type,
        wanted: &DataType,
    ) -> Result<ScalarValue, String> {
        parameter(Some(bytes), binary, wire, wanted, 1).map_err(|error| error.code().to_owned())
    }

    #[test]
    fn both_forms_give_the_same_value() {
        let stamp = DataType::Timestamp(TimeUnit::Microsecond, Some(ZONE.into()));
        for (wire, wanted, text, binary) in [
            (Type::INT8, DataType::Int64, "42", 42i64.to_be_bytes().to_vec()),
            (Type::INT2, DataType::Int64, " -3 ", (-3i16).to_be_bytes().to_vec()),
            (Type::BOOL, DataType::Boolean, "t", vec![1]),
            (Type::FLOAT8, DataType::Float64, "1.5", 1.5f64.to_be_bytes().to_vec()),
            (Type::TEXT, DataType::Utf8, "ä", "ä".as_bytes().to_vec()),
            (Type::DATE, DataType::Date32, "2000-01-02", 1i32.to_be_bytes().to_vec()),
            (
                Type::TIMESTAMPTZ,
                stamp,
                "2000-01-01 00:00:01+00",
                1_000_000i64.to_be_bytes().to_vec(),
            ),
            (
                Type::NUMERIC,
                DataType::Decimal128(10, 2),
                "1.5",
                vec![0, 2, 0, 0, 0, 0, 0, 1, 0, 1, 0x13, 0x88],
            ),
        ] {
            let from_text = read(text.as_bytes(), false, &wire, &wanted);
            assert_eq!(from_text, read(&binary, true, &wire, &wanted), "{wire}");
            assert_eq!(from_text.unwrap().data_type(), wanted);
        }
    }

    #[test]
    fn bytes_that_do_not_fit_their_type_are_refused_with_their_sqlstate() {
        assert_eq!(read(b"x", false, &Type::INT8, &DataType::Int64), Err("22P02".into()));
        assert_eq!(read(b"70000", false, &Type::INT2, &DataType::Int16), Err("22003".into()));
        assert_eq!(read(&[1, 2], true, &Type::INT8, &DataType::Int64), Err("22P03".into()));
        assert_eq!(read(&[0xff], false, &Type::TEXT, &DataType::Utf8), Err("22021".into()));
        assert_eq!(
            read(b"NaN", false, &Type::NUMERIC, &DataType::Decimal128(5, 1)),
            Err("22003".into())
        );
        assert_eq!(
            read(b"yesterday", false, &Type::TIMESTAMPTZ, &DataType::Int64),
            Err("22007".into())
        );
    }

    #[test]
    fn arrays_are_read_in_both_forms() {
        let wanted = DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true)));
        let mut binary = Vec::new();
        for word in [1i32, 1, 20, 2, 1, 8] {
            binary.extend(word.to_be_bytes());
        }
        binary.extend(7i64.to_be_bytes());
        binary.extend((-1i32).to_be_bytes());
        assert_eq!(
            read(b"{7,NULL}", false, &Type::INT8_ARRAY, &wanted),
            read(&binary, true, &Type::INT8_ARRAY, &wanted)
        );
        assert_eq!(
            array_items(r#"{a,"b c","\"",NULL,"null"}"#).unwrap(),
            [
                Some("a".to_owned()),
                Some("b c".to_owned()),
                Some("\"".to_owned()),
                None,
                Some("null".to_owned())
            ]
        );
        assert_eq!(array_items("{{1},{2}}"), None);
        assert_eq!(array_items("{\"a"), None);
    }

    #[test]
    fn null_takes_the_type_of_the_statement() {
        assert_eq!(
            parameter(None, true, &Type::INT8, &DataType::Utf8, 1).unwrap(),
            ScalarValue::Utf8(None)
        );
    }
}
