//! Values of fixed length: NULL, BOOL, integers, FLOAT8.

use super::{Direction, KeyDamage, NULL, VALUE, take_byte, take_marker};

const SIGN: u64 = 1 << 63;

/// Appends NULL.
pub fn put_null(out: &mut Vec<u8>, direction: Direction) {
    out.push(NULL ^ direction.mask());
}

/// Appends a BOOL; false comes before true.
pub fn put_bool(out: &mut Vec<u8>, value: bool, direction: Direction) {
    out.extend_from_slice(&[VALUE ^ direction.mask(), u8::from(value) ^ direction.mask()]);
}

/// Appends an integer: also days of a DATE, microseconds of a TIMESTAMPTZ.
pub fn put_i64(out: &mut Vec<u8>, value: i64, direction: Direction) {
    put_u64(out, value.cast_unsigned() ^ SIGN, direction);
}

/// Appends a FLOAT8. `-0.0` is written as `0.0`, every NaN as the same one, above infinity.
pub fn put_f64(out: &mut Vec<u8>, value: f64, direction: Direction) {
    let bits = if value.is_nan() {
        f64::NAN.to_bits() & !SIGN
    } else if value == 0.0 {
        0
    } else {
        value.to_bits()
    };
    let ordered = if bits & SIGN == 0 { bits ^ SIGN } else { !bits };
    put_u64(out, ordered, direction);
}

/// Takes a BOOL; `None` is NULL.
///
/// # Errors
/// [`KeyDamage`] if none is there. The input is then at an unspecified place.
pub fn take_bool(input: &mut &[u8], direction: Direction) -> Result<Option<bool>, KeyDamage> {
    if !take_marker(input, direction)? {
        return Ok(None);
    }
    match take_byte(input).map(|byte| byte ^ direction.mask()) {
        Some(0) => Ok(Some(false)),
        Some(1) => Ok(Some(true)),
        _ => Err(KeyDamage { expected: "a BOOL" }),
    }
}

/// Takes an integer; `None` is NULL.
///
/// # Errors
/// As [`take_bool`].
pub fn take_i64(input: &mut &[u8], direction: Direction) -> Result<Option<i64>, KeyDamage> {
    let ordered = take_u64(input, direction, "eight bytes of an integer")?;
    Ok(ordered.map(|ordered| (ordered ^ SIGN).cast_signed()))
}

/// Takes a FLOAT8; `None` is NULL.
///
/// # Errors
/// As [`take_bool`].
pub fn take_f64(input: &mut &[u8], direction: Direction) -> Result<Option<f64>, KeyDamage> {
    let Some(ordered) = take_u64(input, direction, "eight bytes of a FLOAT8")? else {
        return Ok(None);
    };
    let bits = if ordered & SIGN == 0 { !ordered } else { ordered ^ SIGN };
    let value = f64::from_bits(bits);
    let canonical = if value.is_nan() {
        bits == f64::NAN.to_bits() & !SIGN
    } else {
        bits != (-0.0_f64).to_bits()
    };
    if canonical { Ok(Some(value)) } else { Err(KeyDamage { expected: "the one NaN or zero" }) }
}

fn put_u64(out: &mut Vec<u8>, ordered: u64, direction: Direction) {
    let masked = if direction == Direction::Asc { ordered } else { !ordered };
    out.push(VALUE ^ direction.mask());
    out.extend_from_slice(&masked.to_be_bytes());
}

fn take_u64(
    input: &mut &[u8],
    direction: Direction,
    expected: &'static str,
) -> Result<Option<u64>, KeyDamage> {
    if !take_marker(input, direction)? {
        return Ok(None);
    }
    let (bytes, rest) = input.split_first_chunk::<8>().ok_or(KeyDamage { expected })?;
    *input = rest;
    let masked = u64::from_be_bytes(*bytes);
    Ok(Some(if direction == Direction::Asc { masked } else { !masked }))
}
