//! An entry of a sorted run, as bytes: a row and where it came from.
//!
//! ```text
//! key length varint | key | value length varint | value | file varint | line varint
//! ```
//!
//! Varints are LEB128. File and line are for messages. What lies around entries is in `import/run.rs`.

use std::ops::Range;

/// Where a row came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Origin {
    /// The file, as an index into the job's list.
    pub(crate) file: u32,
    /// The line, from 1.
    pub(crate) line: u64,
}

/// Appends an entry.
pub(crate) fn put(out: &mut Vec<u8>, key: &[u8], value: &[u8], origin: Origin) {
    put_varint(out, key.len() as u64);
    out.extend_from_slice(key);
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value);
    put_varint(out, u64::from(origin.file));
    put_varint(out, origin.line);
}

/// Where the parts of an entry are in a block.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Entry {
    pub(crate) key: Range<usize>,
    pub(crate) value: Range<usize>,
    pub(crate) origin: Origin,
}

impl Entry {
    /// The entry at `at`, which is behind it afterwards; `None` if there is no whole one.
    pub(crate) fn take(bytes: &[u8], at: &mut usize) -> Option<Self> {
        let key = take_range(bytes, at)?;
        let value = take_range(bytes, at)?;
        let file = u32::try_from(take_varint(bytes, at)?).ok()?;
        Some(Self { key, value, origin: Origin { file, line: take_varint(bytes, at)? } })
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        let part = u64::from(byte & 0x7f);
        if shift == 63 && part > 1 {
            return None;
        }
        value |= part << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take_range(bytes: &[u8], at: &mut usize) -> Option<Range<usize>> {
    let length = usize::try_from(take_varint(bytes, at)?).ok()?;
    let end = at.checked_add(length).filter(|end| *end <= bytes.len())?;
    let range = *at..end;
    *at = end;
    Some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_come_back_and_a_longer_one_is_refused() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            let mut at = 0;
            assert_eq!(take_varint(&bytes, &mut at), Some(value));
            assert_eq!(at, bytes.len());
        }
        assert_eq!(take_varint(&[0xff; 11], &mut 0), None);
        assert_eq!(take_varint(&[0x80], &mut 0), None);
    }
}
