//! TEXT and bytes: `00` is escaped as `00 FF`, and `00 01` ends the value.
//!
//! A text that is a prefix of another meets the end (`00 01`) where the other goes on with at least
//! `00 FF`, so it comes first. Order is the order of bytes, which for UTF-8 is that of code points.

use super::{Direction, KeyDamage, VALUE, take_marker};

const ESCAPE: u8 = 0x00;
const ESCAPED_ZERO: u8 = 0xFF;
const END: u8 = 0x01;

/// Appends a TEXT.
pub fn put_text(out: &mut Vec<u8>, value: &str, direction: Direction) {
    put_bytes(out, value.as_bytes(), direction);
}

/// Appends a string of bytes.
pub fn put_bytes(out: &mut Vec<u8>, value: &[u8], direction: Direction) {
    let from = out.len();
    out.reserve(value.len() + 3);
    out.push(VALUE);
    let mut parts = value.split(|&byte| byte == ESCAPE);
    out.extend_from_slice(parts.next().unwrap_or_default());
    for part in parts {
        out.extend_from_slice(&[ESCAPE, ESCAPED_ZERO]);
        out.extend_from_slice(part);
    }
    out.extend_from_slice(&[ESCAPE, END]);
    if direction == Direction::Desc {
        out.iter_mut().skip(from).for_each(|byte| *byte = !*byte);
    }
}

/// Takes a TEXT; `None` is NULL.
///
/// # Errors
/// [`KeyDamage`] if none is there, or it is not UTF-8. The input is then at an unspecified place.
pub fn take_text(input: &mut &[u8], direction: Direction) -> Result<Option<String>, KeyDamage> {
    let Some(bytes) = take_bytes(input, direction)? else { return Ok(None) };
    String::from_utf8(bytes).map(Some).map_err(|_| KeyDamage { expected: "a text in UTF-8" })
}

/// Takes a string of bytes; `None` is NULL.
///
/// # Errors
/// [`KeyDamage`] if none is there. The input is then at an unspecified place.
pub fn take_bytes(input: &mut &[u8], direction: Direction) -> Result<Option<Vec<u8>>, KeyDamage> {
    if !take_marker(input, direction)? {
        return Ok(None);
    }
    let mut value = Vec::new();
    loop {
        let (part, ended) = take_part(input, direction)?;
        value.extend_from_slice(part);
        if ended {
            break;
        }
        value.push(ESCAPE ^ direction.mask());
    }
    if direction == Direction::Desc {
        value.iter_mut().for_each(|byte| *byte = !*byte);
    }
    Ok(Some(value))
}

/// Passes over the rest of a value whose marker was taken.
pub(super) fn skip(input: &mut &[u8], direction: Direction) -> Result<(), KeyDamage> {
    while !take_part(input, direction)?.1 {}
    Ok(())
}

/// Bytes as stored up to the next escape, and whether that was the end of the value.
fn take_part<'a>(
    input: &mut &'a [u8],
    direction: Direction,
) -> Result<(&'a [u8], bool), KeyDamage> {
    let mask = direction.mask();
    let bytes = *input;
    let damage = KeyDamage { expected: "the end of a text" };
    let at = bytes.iter().position(|&byte| byte == ESCAPE ^ mask).ok_or(damage)?;
    let (part, tail) = bytes.split_at(at);
    let Some(([_, code], rest)) = tail.split_first_chunk::<2>() else { return Err(damage) };
    *input = rest;
    match code ^ mask {
        ESCAPED_ZERO => Ok((part, false)),
        END => Ok((part, true)),
        _ => Err(KeyDamage { expected: "an escaped zero or the end of a text" }),
    }
}
