//! NUMERIC values as PostgreSQL writes and reads them, in both formats.
//!
//! The binary format is four 16-bit fields (number of base-10000 digits, weight of the first one, sign, display
//! scale) and the digits, without leading or trailing zero digits. The text format prints exactly the display scale.
//! `NaN` exists on the wire only: a DECIMAL column cannot hold it, so reading one is for the caller to refuse.

use bytes::{BufMut, BytesMut};
use std::fmt;

const SIGN_POSITIVE: u16 = 0x0000;
const SIGN_NEGATIVE: u16 = 0x4000;
const SIGN_NAN: u16 = 0xC000;
const DIGITS_PER_GROUP: usize = 4;

/// A NUMERIC value as it crosses the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numeric {
    /// Not a number.
    NaN,
    /// `unscaled / 10^scale`.
    Finite {
        /// The value without its decimal point.
        unscaled: i128,
        /// How many of its digits stand behind the decimal point; negative means trailing zeros.
        scale: i8,
    },
}

/// Why bytes or text are not a NUMERIC that fits 38 digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NumericError {
    /// Not a number at all.
    Malformed,
    /// A number, but too large for the place it goes to.
    OutOfRange,
}

impl Numeric {
    /// Appends the binary format (without the length word in front).
    pub(crate) fn put_binary(self, out: &mut BytesMut) {
        let Numeric::Finite { unscaled, scale } = self else {
            out.put_u16(0);
            out.put_i16(0);
            out.put_u16(SIGN_NAN);
            out.put_u16(0);
            return;
        };
        let (whole, fraction) = split_digits(unscaled, scale);
        let groups = groups_of(&whole, &fraction);
        let first_weight = whole.len().div_ceil(DIGITS_PER_GROUP) as i16 - 1;
        let leading = groups.iter().take_while(|&&group| group == 0).count();
        let end = groups.iter().rposition(|&group| group != 0).map_or(leading, |last| last + 1);
        let kept = groups.get(leading..end).unwrap_or_default();
        out.put_u16(kept.len() as u16);
        out.put_i16(if kept.is_empty() { 0 } else { first_weight - leading as i16 });
        out.put_u16(if unscaled < 0 { SIGN_NEGATIVE } else { SIGN_POSITIVE });
        out.put_u16(fraction.len() as u16);
        for &group in kept {
            out.put_u16(group);
        }
    }

    /// Reads the binary format.
    pub(crate) fn from_binary(bytes: &[u8]) -> Result<Numeric, NumericError> {
        let mut fields = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        let mut field = || fields.next().ok_or(NumericError::Malformed);
        let count = field()?;
        let weight = i32::from(field()?.cast_signed());
        let sign = field()?;
        let scale = field()?;
        if bytes.len() != 8 + usize::from(count) * 2 {
            return Err(NumericError::Malformed);
        }
        match sign {
            SIGN_NAN => return Ok(Numeric::NaN),
            SIGN_POSITIVE | SIGN_NEGATIVE => {}
            _ => return Err(NumericError::OutOfRange), // the infinities of PostgreSQL 14
        }
        if scale > 38 {
            return Err(NumericError::OutOfRange);
        }
        let mut unscaled: i128 = 0;
        for (position, group) in fields.enumerate() {
            if group > 9999 {
                return Err(NumericError::Malformed);
            }
            let exponent = 4 * (weight - position as i32) + i32::from(scale);
            let part = if exponent >= 0 {
                10i128
                    .checked_pow(exponent.unsigned_abs())
                    .and_then(|power| power.checked_mul(i128::from(group)))
                    .or((group == 0).then_some(0))
                    .ok_or(NumericError::OutOfRange)?
            } else {
                // Digits behind the display scale: PostgreSQL writes none, so nothing is lost.
                10i128
                    .checked_pow(exponent.unsigned_abs())
                    .map_or(0, |power| i128::from(group) / power)
            };
            unscaled = unscaled.checked_add(part).ok_or(NumericError::OutOfRange)?;
        }
        let unscaled = if sign == SIGN_NEGATIVE { -unscaled } else { unscaled };
        Ok(Numeric::Finite { unscaled, scale: scale as i8 })
    }

    /// Reads the text format: an optional sign, digits with at most one point, and an optional exponent.
    pub(crate) fn from_text(text: &str) -> Result<Numeric, NumericError> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("nan") {
            return Ok(Numeric::NaN);
        }
        let (negative, digits) = match text.as_bytes() {
            [b'-', ..] => (true, &text[1..]),
            [b'+', ..] => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => {
                (mantissa, exponent.parse::<i32>().map_err(|_| NumericError::Malformed)?)
            }
            None => (digits, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if whole.is_empty() && fraction.is_empty() {
            return Err(NumericError::Malformed);
        }
        let mut unscaled: i128 = 0;
        for byte in whole.bytes().chain(fraction.bytes()) {
            if !byte.is_ascii_digit() {
                return Err(NumericError::Malformed);
            }
            unscaled = unscaled
                .checked_mul(10)
                .and_then(|value| value.checked_add(i128::from(byte - b'0')))
                .ok_or(NumericError::OutOfRange)?;
        }
        let scale =
            i64::try_from(fraction.len()).unwrap_or(i64::MAX).saturating_sub(i64::from(exponent));
        let unscaled = if negative { -unscaled } else { unscaled };
        if unscaled == 0 {
            return Ok(Numeric::Finite { unscaled, scale: scale.clamp(0, 38) as i8 });
        }
        let scale = i8::try_from(scale).map_err(|_| NumericError::OutOfRange)?;
        Ok(Numeric::Finite { unscaled, scale })
    }

    /// The unscaled value at a column's precision and scale, rounded half away from zero as PostgreSQL does.
    pub(crate) fn at(self, precision: u8, scale: i8) -> Result<i128, NumericError> {
        let Numeric::Finite { unscaled, scale: own } = self else {
            return Err(NumericError::OutOfRange);
        };
        let shift = i32::from(scale) - i32::from(own);
        let value = if shift >= 0 {
            match 10i128.checked_pow(shift.unsigned_abs()) {
                Some(power) => unscaled.checked_mul(power).ok_or(NumericError::OutOfRange)?,
                None if unscaled == 0 => 0,
                None => return Err(NumericError::OutOfRange),
            }
        } else {
            match 10i128.checked_pow(shift.unsigned_abs()) {
                Some(power) => {
                    let rest = unscaled % power;
                    let round = if rest.unsigned_abs() * 2 >= power.unsigned_abs() {
                        unscaled.signum()
                    } else {
                        0
                    };
                    unscaled / power + round
                }
                None => 0,
            }
        };
        match 10i128.checked_pow(u32::from(precision)) {
            Some(limit) if value.unsigned_abs() >= limit.unsigned_abs() => {
                Err(NumericError::OutOfRange)
            }
            _ => Ok(value),
        }
    }
}

impl fmt::Display for Numeric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Numeric::Finite { unscaled, scale } = *self else { return f.write_str("NaN") };
        let (whole, fraction) = split_digits(unscaled, scale);
        let sign = if unscaled < 0 { "-" } else { "" };
        let whole = if whole.is_empty() { "0" } else { &whole };
        match fraction.as_str() {
            "" => write!(f, "{sign}{whole}"),
            fraction => write!(f, "{sign}{whole}.{fraction}"),
        }
    }
}

/// The digits before and behind the decimal point, without sign; none before it when the value is below one.
fn split_digits(unscaled: i128, scale: i8) -> (String, String) {
    let mut digits = unscaled.unsigned_abs().to_string();
    if scale <= 0 {
        if unscaled == 0 {
            return (String::new(), String::new());
        }
        digits.extend(std::iter::repeat_n('0', usize::from(scale.unsigned_abs())));
        return (digits, String::new());
    }
    let scale = usize::from(scale.unsigned_abs());
    if digits.len() < scale {
        digits.insert_str(0, &"0".repeat(scale - digits.len()));
    }
    let fraction = digits.split_off(digits.len() - scale);
    if digits == "0" {
        digits.clear();
    }
    (digits, fraction)
}

/// Base-10000 digits: the whole part filled up with zeros on its left, the fraction on its right.
fn groups_of(whole: &str, fraction: &str) -> Vec<u16> {
    let pad = |length: usize| length.div_ceil(DIGITS_PER_GROUP) * DIGITS_PER_GROUP - length;
    let digits = std::iter::repeat_n(b'0', pad(whole.len()))
        .chain(whole.bytes())
        .chain(fraction.bytes())
        .chain(std::iter::repeat_n(b'0', pad(fraction.len())));
    let mut groups = Vec::with_capacity((whole.len() + fraction.len()) / DIGITS_PER_GROUP + 2);
    let mut group = 0u16;
    for (position, digit) in digits.enumerate() {
        group = group * 10 + u16::from(digit - b'0');
        if position % DIGITS_PER_GROUP == DIGITS_PER_GROUP - 1 {
            groups.push(group);
            group = 0;
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(unscaled: i128, scale: i8) -> String {
        let mut out = BytesMut::new();
        Numeric::Finite { unscaled, scale }.put_binary(&mut out);
        out.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn binary_form_is_byte_for_byte_what_postgresql_sends() {
        // Golden bytes of PostgreSQL 15's numeric_send.
        assert_eq!(binary(0, 0), "0000000000000000");
        assert_eq!(binary(0, 2), "0000000000000002");
        assert_eq!(binary(1, 0), "00010000000000000001");
        assert_eq!(binary(1234567, 2), "0003000100000002000109291a2c");
        assert_eq!(binary(-1, 2), "0001ffff400000020064");
        assert_eq!(binary(10000, 0), "00010001000000000001");
        assert_eq!(binary(1, 8), "0001fffe000000080001");
        assert_eq!(binary(5, -4), "00010001000000000005");
        let mut out = BytesMut::new();
        Numeric::NaN.put_binary(&mut out);
        assert_eq!(&out[..], &[0, 0, 0, 0, 0xC0, 0, 0, 0]);
    }

    #[test]
    fn every_value_comes_back_from_both_forms() {
        let largest = 10i128.pow(38) - 1;
        for unscaled in [0, 1, -1, 9, 10, 9999, 10000, 123_456_789, -99_990_001, largest, -largest]
        {
            for scale in [0, 1, 2, 3, 4, 5, 9, 37, 38] {
                let value = Numeric::Finite { unscaled, scale };
                let mut out = BytesMut::new();
                value.put_binary(&mut out);
                assert_eq!(Numeric::from_binary(&out), Ok(value));
                assert_eq!(Numeric::from_text(&value.to_string()), Ok(value), "{value}");
            }
        }
    }

    #[test]
    fn text_prints_exactly_the_scale() {
        let text = |unscaled, scale| Numeric::Finite { unscaled, scale }.to_string();
        assert_eq!(text(150, 2), "1.50");
        assert_eq!(text(-5, 2), "-0.05");
        assert_eq!(text(0, 2), "0.00");
        assert_eq!(text(7, 0), "7");
        assert_eq!(text(7, -3), "7000");
        assert_eq!(Numeric::NaN.to_string(), "NaN");
    }

    #[test]
    fn values_are_rounded_to_the_column_or_refused() {
        let at = |text: &str, precision, scale| {
            Numeric::from_text(text).and_then(|value| value.at(precision, scale))
        };
        assert_eq!(at("1.005", 10, 2), Ok(101));
        assert_eq!(at("-1.005", 10, 2), Ok(-101));
        assert_eq!(at("1.0049", 10, 2), Ok(100));
        assert_eq!(at("1e3", 10, 2), Ok(100_000));
        assert_eq!(at("99.995", 4, 2), Err(NumericError::OutOfRange));
        assert_eq!(at("NaN", 4, 2), Err(NumericError::OutOfRange));
        assert_eq!(at("1e-300", 4, 2), Err(NumericError::OutOfRange));
        assert_eq!(at("", 4, 2), Err(NumericError::Malformed));
        assert_eq!(at("1.2.3", 4, 2), Err(NumericError::Malformed));
        assert_eq!(Numeric::from_binary(&[0, 1, 0, 0, 0, 0, 0, 0]), Err(NumericError::Malformed));
    }
}
