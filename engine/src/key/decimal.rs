//! DECIMAL: the value counts, not the scale it was written with.
//!
//! The value is taken as `0.d1 d2 ... dn * 10^e`, with neither `d1` nor `dn` zero. After the marker:
//!
//! | part | positive | negative |
//! |---|---|---|
//! | sign | `03` (zero: `02`, and nothing follows) | `01` |
//! | `e` | i16 big-endian with the sign bit flipped | the complement of each byte |
//! | digits | pairs from the left, `pair + 1`; a single last digit counts as its tens | complement |
//! | end | `00` | `FF` |

use super::{Direction, KeyDamage, VALUE, advance, take_byte, take_marker};

const NEGATIVE: u8 = 0x01;
const ZERO: u8 = 0x02;
const POSITIVE: u8 = 0x03;

/// The largest i128 has 39 digits.
const DIGITS_MAX: usize = 39;
const EXPONENT_BIAS: u16 = 0x8000;

/// Appends the DECIMAL `unscaled / 10^scale`. Equal values are equal bytes, whatever their scale.
pub fn put_decimal(out: &mut Vec<u8>, unscaled: i128, scale: u8, direction: Direction) {
    let from = out.len();
    out.push(VALUE);
    if unscaled == 0 {
        out.push(ZERO);
    } else {
        out.push(POSITIVE);
        let mut reversed = [0_u8; DIGITS_MAX];
        let digits = reversed_digits(unscaled.unsigned_abs(), &mut reversed);
        // Between -254 and 39.
        let exponent = i16::try_from(digits.len()).unwrap_or(i16::MAX) - i16::from(scale);
        out.extend_from_slice(&(exponent.cast_unsigned() ^ EXPONENT_BIAS).to_be_bytes());
        let significant = digits.iter().position(|&digit| digit != 0).unwrap_or(0);
        for pair in digits.get(significant..).unwrap_or_default().rchunks(2) {
            // Reversed, so the tens are last; a single digit is the tens of its pair.
            let (ones, tens) = match *pair {
                [ones, tens] => (ones, tens),
                [tens] => (0, tens),
                _ => (0, 0),
            };
            out.push(tens * 10 + ones + 1);
        }
        out.push(0);
        if unscaled < 0 {
            out.iter_mut().skip(from + 2).for_each(|byte| *byte = !*byte);
            if let Some(sign) = out.get_mut(from + 1) {
                *sign = NEGATIVE;
            }
        }
    }
    if direction == Direction::Desc {
        out.iter_mut().skip(from).for_each(|byte| *byte = !*byte);
    }
}

/// Takes a DECIMAL as `(unscaled, scale)` with the smallest scale that holds the value; `None` is
/// NULL.
///
/// # Errors
/// [`KeyDamage`] if none is there. The input is then at an unspecified place.
pub fn take_decimal(
    input: &mut &[u8],
    direction: Direction,
) -> Result<Option<(i128, u8)>, KeyDamage> {
    if !take_marker(input, direction)? {
        return Ok(None);
    }
    let negative = match take_byte(input).map(|sign| sign ^ direction.mask()) {
        Some(NEGATIVE) => true,
        Some(ZERO) => return Ok(Some((0, 0))),
        Some(POSITIVE) => false,
        _ => return Err(KeyDamage { expected: "the sign of a DECIMAL" }),
    };
    let mask = direction.mask() ^ if negative { 0xFF } else { 0x00 };
    let damage = KeyDamage { expected: "a DECIMAL" };
    let (high, low) = take_byte(input).zip(take_byte(input)).ok_or(damage)?;
    let biased = u16::from_be_bytes([high ^ mask, low ^ mask]);
    let exponent = i32::from((biased ^ EXPONENT_BIAS).cast_signed());

    let mut magnitude: u128 = 0;
    let mut count: i32 = 0;
    loop {
        let pair = match take_byte(input).ok_or(damage)? ^ mask {
            0 => break,
            byte @ 1..=100 => byte - 1,
            _ => return Err(damage),
        };
        if count == 0 && pair < 10 {
            return Err(damage); // A leading zero: not the one encoding of this value.
        }
        // A zero at the very end only completes the pair of a single digit.
        let single = pair % 10 == 0 && input.first().is_some_and(|next| next ^ mask == 0);
        let (step, digits, more) = if single { (10, pair / 10, 1) } else { (100, pair, 2) };
        magnitude = magnitude
            .checked_mul(step)
            .and_then(|magnitude| magnitude.checked_add(u128::from(digits)))
            .ok_or(damage)?;
        count += more;
    }
    if magnitude == 0 || magnitude.is_multiple_of(10) {
        return Err(damage);
    }
    let scale = if exponent >= count {
        let shift = u32::try_from(exponent - count).map_err(|_| damage)?;
        let factor = 10_u128.checked_pow(shift).ok_or(damage)?;
        magnitude = magnitude.checked_mul(factor).ok_or(damage)?;
        0
    } else {
        u8::try_from(count - exponent).map_err(|_| damage)?
    };
    let unscaled = if negative {
        0_i128.checked_sub_unsigned(magnitude)
    } else {
        0_i128.checked_add_unsigned(magnitude)
    };
    unscaled.map(|unscaled| Some((unscaled, scale))).ok_or(damage)
}

/// Passes over the rest of a value whose marker was taken.
pub(super) fn skip(input: &mut &[u8], direction: Direction) -> Result<(), KeyDamage> {
    let damage = KeyDamage { expected: "a DECIMAL" };
    let end = match take_byte(input).map(|sign| sign ^ direction.mask()) {
        Some(ZERO) => return Ok(()),
        Some(POSITIVE) => direction.mask(),
        Some(NEGATIVE) => !direction.mask(),
        _ => return Err(damage),
    };
    advance(input, 2)?;
    let at = input.iter().position(|&byte| byte == end).ok_or(damage)?;
    advance(input, at + 1)
}

/// The digits of a number that is not zero, ones first.
fn reversed_digits(mut magnitude: u128, digits: &mut [u8; DIGITS_MAX]) -> &[u8] {
    let mut length = 0;
    for digit in digits.iter_mut() {
        if magnitude == 0 {
            break;
        }
        *digit = u8::try_from(magnitude % 10).unwrap_or(0);
        magnitude /= 10;
        length += 1;
    }
    digits.get(..length).unwrap_or_default()
}
