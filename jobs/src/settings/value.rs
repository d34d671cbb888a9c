//! Values of settings, as text and back.
//!
//! Bytes: a number with `B`, `KiB`, `MiB`, `GiB`, `TiB`, or `kB`, `MB`, `GB`, `TB` (decimal), or without a
//! unit. Time: numbers with `d`, `h`, `m`, `s`, `ms`, each at most once and in this order, or a plain
//! number of seconds. What is printed can be read back.

use std::fmt;
use std::time::Duration;

/// The value of a setting.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A whole number.
    Int(u64),
    /// A number.
    Float(f64),
    /// A number of bytes.
    Bytes(u64),
    /// A time.
    Duration(Duration),
    /// True or false.
    Bool(bool),
    /// A text.
    Text(String),
}

const BINARY: [(&str, u64); 4] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
const DECIMAL: [(&str, u64); 5] =
    [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000), ("B", 1)];
const TIMES: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(int) => int.fmt(f),
            Self::Float(float) => float.fmt(f),
            Self::Bool(bool) => bool.fmt(f),
            Self::Text(text) => text.fmt(f),
            Self::Bytes(0) => f.write_str("0"),
            Self::Bytes(bytes) => {
                let unit = BINARY.into_iter().find(|(_, unit)| bytes.is_multiple_of(*unit));
                let (name, unit) = unit.unwrap_or(("B", 1));
                write!(f, "{}{name}", bytes / unit)
            }
            Self::Duration(duration) if duration.is_zero() => f.write_str("0s"),
            Self::Duration(duration) => {
                let mut ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
                // Days are read but not printed: 336h stays 336h.
                for (name, unit) in TIMES.into_iter().skip(1) {
                    if ms >= unit {
                        write!(f, "{}{name}", ms / unit)?;
                        ms %= unit;
                    }
                }
                Ok(())
            }
        }
    }
}

pub(super) fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let (number, unit) =
        text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = unit.trim();
    let factor = if unit.is_empty() {
        1
    } else {
        let mut units = BINARY.into_iter().chain(DECIMAL);
        units.find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, factor)| factor)?
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

pub(super) fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if let Ok(seconds) = rest.parse::<u64>() {
        return seconds.checked_mul(1000).map(Duration::from_millis);
    }
    let mut total_ms = 0_u64;
    let mut units = TIMES.into_iter();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let (_, factor) = units.find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()))?;
        let ms = number.parse::<u64>().ok()?.checked_mul(factor)?;
        total_ms = total_ms.checked_add(ms)?;
        rest = tail;
    }
    Some(Duration::from_millis(total_ms))
}

pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "t" | "on" | "yes" | "y" | "1" => Some(true),
        "false" | "f" | "off" | "no" | "n" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_with_and_without_unit() {
        for (text, expected) in [
            ("0", Some(0)),
            ("256MiB", Some(256 << 20)),
            (" 1 gib ", Some(1 << 30)),
            ("3MB", Some(3_000_000)),
            ("17", Some(17)),
            ("", None),
            ("MiB", None),
            ("-1", None),
            ("1XB", None),
            ("99999999999TiB", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }

    #[test]
    fn durations_are_read_part_by_part() {
        for (text, expected) in [
            ("336h", Some(336 * 3_600_000)),
            ("1h30m", Some(5_400_000)),
            ("1d 250ms", Some(86_400_250)),
            ("90", Some(90_000)),
            ("10m", Some(600_000)),
            ("1s1h", None),
            ("1s2s", None),
            ("h", None),
            ("", None),
            ("5parsecs", None),
            ("18446744073709551", Some(18_446_744_073_709_551_000)),
            // More milliseconds than there is room for.
            ("18446744073709552", None),
        ] {
            assert_eq!(duration(text), expected.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn what_is_printed_reads_back() {
        for value in [0, 1, 1023, 1024, 1 << 20, (1 << 20) + 1, 256 << 20, u64::MAX] {
            let printed = Value::Bytes(value).to_string();
            assert_eq!(bytes(&printed), Some(value), "{printed}");
        }
        for ms in [0, 1, 1000, 61_001, 336 * 3_600_000] {
            let value = Duration::from_millis(ms);
            let printed = Value::Duration(value).to_string();
            assert_eq!(duration(&printed), Some(value), "{printed}");
        }
        assert_eq!(Value::Duration(Duration::from_hours(336)).to_string(), "336h");
    }
}
