//! Integers, FLOAT8 and DECIMAL: reading, fitting and writing.

use std::fmt;

use super::{ColumnType, DECIMAL_DIGITS_MAX, not_a, shortened, trimmed};
use crate::error::{SqlError, code};

/// Integers: decimal, or `0x`, `0o`, `0b`; single underscores between digits.
pub(super) fn parse_int(text: &str, ty: ColumnType) -> Result<i64, SqlError> {
    match plain_int(text.as_bytes()) {
        Some(value) => check_int(value, ty).map_err(|_| out_of_range(text, ty)),
        None => parse_any_int(text, ty),
    }
}

/// The form nearly every data file has: a sign at most, and 1 to 18 digits.
fn plain_int(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut value: i64 = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + i64::from(digit);
    }
    Some(if negative { -value } else { value })
}

fn parse_any_int(text: &str, ty: ColumnType) -> Result<i64, SqlError> {
    let damage = || not_a(ty.pg_name(), text);
    let word = trimmed(text);
    let (negative, unsigned) = match word.as_bytes().first() {
        Some(b'-') => (true, &word[1..]),
        Some(b'+') => (false, &word[1..]),
        _ => (false, word),
    };
    let (radix, digits) = match unsigned.get(..2) {
        Some("0x" | "0X") => (16, &unsigned[2..]),
        Some("0o" | "0O") => (8, &unsigned[2..]),
        Some("0b" | "0B") => (2, &unsigned[2..]),
        _ => (10, unsigned),
    };
    let mut magnitude: Option<u64> = Some(0);
    let mut digit_before = radix != 10;
    let mut any = false;
    for character in digits.chars() {
        if character == '_' {
            if !digit_before {
                return Err(damage());
            }
            digit_before = false;
            continue;
        }
        let digit = character.to_digit(radix).ok_or_else(damage)?;
        magnitude = magnitude
            .and_then(|so_far| so_far.checked_mul(radix.into()))
            .and_then(|so_far| so_far.checked_add(digit.into()));
        (digit_before, any) = (true, true);
    }
    if !any || !digit_before {
        return Err(damage());
    }
    let value = magnitude.and_then(|magnitude| {
        if negative { 0_i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
    });
    value.and_then(|value| check_int(value, ty).ok()).ok_or_else(|| out_of_range(text, ty))
}

fn out_of_range(text: &str, ty: ColumnType) -> SqlError {
    let text = shortened(trimmed(text));
    let message = format!("value \"{text}\" is out of range for type {}", ty.pg_name());
    SqlError::new(code::NUMERIC_VALUE_OUT_OF_RANGE, message)
}

/// The value if the integer type can hold it.
pub(super) fn check_int(value: i64, ty: ColumnType) -> Result<i64, SqlError> {
    let fits = match ty {
        ColumnType::Int2 => i16::try_from(value).is_ok(),
        ColumnType::Int4 => i32::try_from(value).is_ok(),
        _ => true,
    };
    if fits {
        return Ok(value);
    }
    let message = format!("{} out of range", ty.pg_name());
    Err(SqlError::new(code::NUMERIC_VALUE_OUT_OF_RANGE, message))
}

/// FLOAT8: decimal with or without an exponent, `NaN`, `Infinity`, `inf`.
pub(super) fn parse_float(text: &str) -> Result<f64, SqlError> {
    let word = trimmed(text);
    let value: f64 = word.parse().map_err(|_| not_a("double precision", text))?;
    let named = word.bytes().any(|byte| matches!(byte, b'n' | b'N'));
    let lost = if value == 0.0 {
        // Digits before the exponent that are not zero, and yet the value is.
        let mantissa = word.bytes().take_while(|byte| !matches!(byte, b'e' | b'E'));
        mantissa.into_iter().any(|byte| matches!(byte, b'1'..=b'9'))
    } else {
        value.is_infinite() && !named
    };
    if lost {
        let message = format!("\"{}\" is out of range for type double precision", shortened(word));
        return Err(SqlError::new(code::NUMERIC_VALUE_OUT_OF_RANGE, message));
    }
    Ok(value)
}

/// DECIMAL: rounded half away from zero to `scale`.
pub(super) fn parse_decimal(text: &str, precision: u8, scale: u8) -> Result<i128, SqlError> {
    let unscaled = match plain_decimal(text.as_bytes(), scale) {
        Some(unscaled) => unscaled,
        None => parse_any_decimal(text, precision, scale)?,
    };
    check_decimal(unscaled, precision, scale)
}

/// The form nearly every data file has: at most 18 digits once brought to `scale`, no more digits
/// behind the point than that, no exponent.
fn plain_decimal(bytes: &[u8], scale: u8) -> Option<i128> {
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    // One of them may be the point.
    if digits.len() + usize::from(scale) > 18 {
        return None;
    }
    let mut value: i64 = 0;
    let mut count = 0;
    let mut behind: Option<u8> = None;
    for &byte in digits {
        if byte == b'.' && behind.is_none() {
            behind = Some(0);
            continue;
        }
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + i64::from(digit);
        count += 1;
        behind = behind.map(|behind| behind + 1);
    }
    let missing = scale.checked_sub(behind.unwrap_or(0))?;
    if count == 0 {
        return None;
    }
    value *= 10_i64.checked_pow(missing.into())?;
    Some(i128::from(if negative { -value } else { value }))
}

fn parse_any_decimal(text: &str, precision: u8, scale: u8) -> Result<i128, SqlError> {
    let damage = || not_a("numeric", text);
    let word = trimmed(text);
    let (negative, unsigned) = match word.as_bytes().first() {
        Some(b'-') => (true, &word[1..]),
        Some(b'+') => (false, &word[1..]),
        _ => (false, word),
    };
    if unsigned.eq_ignore_ascii_case("nan") {
        return Err(SqlError::not_built("NaN as DECIMAL", "Use FLOAT8, or NULL for no value."));
    }
    if unsigned.eq_ignore_ascii_case("infinity") || unsigned.eq_ignore_ascii_case("inf") {
        return Err(overflow(precision, scale).with_detail(format!(
            "A field with precision {precision}, scale {scale} cannot hold an infinite value."
        )));
    }
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        None => (unsigned, 0),
        Some(at) => {
            let digits = &unsigned[at + 1..];
            let bare = digits.strip_prefix(['+', '-']).unwrap_or(digits);
            if bare.is_empty() || !bare.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(damage());
            }
            // Beyond any precision it does not matter by how much.
            let far = if digits.starts_with('-') { -100_000 } else { 100_000 };
            (&unsigned[..at], digits.parse::<i64>().unwrap_or(far).clamp(-100_000, 100_000))
        }
    };
    let (whole, behind) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && behind.is_empty() {
        return Err(damage());
    }
    // Digits with their place: the last digit kept is at 10^-scale, the one after it rounds.
    let mut value: u128 = 0;
    let mut round_up = false;
    let mut too_large = false;
    let whole_digits = i64::try_from(whole.len()).unwrap_or(i64::MAX / 2);
    let mut place = whole_digits + exponent + i64::from(scale);
    for byte in whole.bytes().chain(behind.bytes()) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(damage());
        }
        place -= 1;
        if place >= 0 {
            match value.checked_mul(10).and_then(|value| value.checked_add(digit.into())) {
                Some(more) => value = more,
                None => too_large = true,
            }
        } else if place == -1 {
            round_up = digit >= 5;
        }
    }
    if value != 0 && place > 0 {
        let factor = u32::try_from(place).ok().and_then(|place| 10_u128.checked_pow(place));
        match factor.and_then(|factor| value.checked_mul(factor)) {
            Some(more) => value = more,
            None => too_large = true,
        }
    }
    let value = value.saturating_add(round_up.into());
    match i128::try_from(value) {
        Ok(value) if !too_large => Ok(if negative { -value } else { value }),
        _ => Err(overflow(precision, scale)),
    }
}

fn check_decimal(unscaled: i128, precision: u8, scale: u8) -> Result<i128, SqlError> {
    if fits_digits(unscaled, precision) { Ok(unscaled) } else { Err(overflow(precision, scale)) }
}

/// `10^n` for every precision a DECIMAL can have.
const POWERS_OF_TEN: [u128; DECIMAL_DIGITS_MAX as usize + 1] = {
    let mut powers = [1; DECIMAL_DIGITS_MAX as usize + 1];
    let mut n = 1;
    while n < powers.len() {
        powers[n] = powers[n - 1] * 10;
        n += 1;
    }
    powers
};

/// Whether a DECIMAL of this many digits can hold the unscaled number.
#[inline]
pub(crate) fn fits_digits(unscaled: i128, precision: u8) -> bool {
    POWERS_OF_TEN.get(usize::from(precision)).is_some_and(|limit| unscaled.unsigned_abs() < *limit)
}

fn overflow(precision: u8, scale: u8) -> SqlError {
    let whole = precision.saturating_sub(scale);
    let limit = if whole == 0 { "1".to_owned() } else { format!("10^{whole}") };
    SqlError::new(code::NUMERIC_VALUE_OUT_OF_RANGE, "numeric field overflow").with_detail(format!(
        "A field with precision {precision}, scale {scale} must round to an absolute value less \
         than {limit}."
    ))
}

/// A DECIMAL of scale `from` as one of DECIMAL(precision, scale), rounded.
pub(super) fn fit_decimal(
    unscaled: i128,
    from: u8,
    precision: u8,
    scale: u8,
) -> Result<i128, SqlError> {
    let unscaled = rescale(unscaled, from, scale).ok_or_else(|| overflow(precision, scale))?;
    check_decimal(unscaled, precision, scale)
}

/// The unscaled number at another scale, rounded half away from zero; `None` if it overflows.
pub(crate) fn rescale(unscaled: i128, from: u8, to: u8) -> Option<i128> {
    if from <= to {
        let factor = 10_i128.checked_pow(u32::from(to - from))?;
        return unscaled.checked_mul(factor);
    }
    let Some(divisor) = 10_i128.checked_pow(u32::from(from - to)) else { return Some(0) };
    let (quotient, rest) = (unscaled / divisor, unscaled % divisor);
    let up = rest.unsigned_abs() >= divisor.unsigned_abs() / 2;
    Some(if up { quotient + rest.signum() } else { quotient })
}

/// A DECIMAL with all digits of its scale: `1.50`.
pub(super) fn write_decimal(
    out: &mut fmt::Formatter<'_>,
    unscaled: i128,
    scale: u8,
) -> fmt::Result {
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = unscaled.unsigned_abs().to_string();
    let scale = usize::from(scale);
    if scale == 0 {
        return write!(out, "{sign}{digits}");
    }
    if digits.len() <= scale {
        return write!(out, "{sign}0.{digits:0>scale$}");
    }
    let (whole, behind) = digits.split_at(digits.len() - scale);
    write!(out, "{sign}{whole}.{behind}")
}

/// A FLOAT8 as PostgreSQL writes it: the shortest digits that read back the same; an exponent from
/// 1e+15 up and below 0.0001.
pub(super) fn write_float(out: &mut fmt::Formatter<'_>, value: f64) -> fmt::Result {
    if value.is_nan() {
        return out.write_str("NaN");
    }
    if value.is_infinite() {
        return out.write_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    }
    let magnitude = value.abs();
    if magnitude == 0.0 || (1e-4..1e15).contains(&magnitude) {
        return write!(out, "{value}");
    }
    let shortest = format!("{value:e}");
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    write!(out, "{mantissa}e{sign}{digits:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rescaling_rounds_half_away_from_zero() {
        assert_eq!(rescale(125, 2, 1), Some(13));
        assert_eq!(rescale(-125, 2, 1), Some(-13));
        assert_eq!(rescale(124, 2, 1), Some(12));
        assert_eq!(rescale(1, 0, 38), Some(10_i128.pow(38)));
        assert_eq!(rescale(2, 0, 38), None);
    }
}
