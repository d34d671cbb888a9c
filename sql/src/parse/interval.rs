//! Lengths of time as people write them: `30s`, `1.5 min`, `2 hours 5 minutes`, `00:01:30`.

use std::time::Duration;

/// Longest first where one begins like another.
const UNITS: &[(&[&str], f64)] = &[
    (&["us", "microsecond", "microseconds"], 1e-6),
    (&["ms", "msec", "msecs", "millisecond", "milliseconds"], 1e-3),
    (&["s", "sec", "secs", "second", "seconds"], 1.0),
    (&["m", "min", "mins", "minute", "minutes"], 60.0),
    (&["h", "hr", "hrs", "hour", "hours"], 3600.0),
    (&["d", "day", "days"], 86_400.0),
    (&["w", "week", "weeks"], 604_800.0),
];

/// The length that `text` means; a number without a unit is seconds. `None` if it means nothing,
/// is negative, or is longer than a thousand years.
pub(crate) fn interval(text: &str) -> Option<Duration> {
    const SECONDS_MAX: f64 = 1000.0 * 365.0 * 86_400.0;
    let text = text.trim().to_ascii_lowercase();
    if text.is_empty() {
        return None;
    }
    let seconds = if text.contains(':') { clock(&text)? } else { units(&text)? };
    (seconds.is_finite() && (0.0..=SECONDS_MAX).contains(&seconds))
        .then(|| Duration::from_secs_f64(seconds))
}

/// `hours:minutes[:seconds]`.
fn clock(text: &str) -> Option<f64> {
    let parts: Vec<f64> = text.split(':').map(number).collect::<Option<_>>()?;
    match parts.as_slice() {
        [hours, minutes] => Some(hours * 3600.0 + minutes * 60.0),
        [hours, minutes, seconds] => Some(hours * 3600.0 + minutes * 60.0 + seconds),
        _ => None,
    }
}

fn units(text: &str) -> Option<f64> {
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let amount = number(rest.get(..end)?)?;
        rest = rest.get(end..)?.trim_start();
        let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit = rest.get(..end)?;
        rest = rest.get(end..)?.trim_start_matches([' ', ',']);
        let factor = if unit.is_empty() && rest.is_empty() {
            1.0
        } else {
            UNITS.iter().find(|(names, _)| names.contains(&unit))?.1
        };
        seconds += amount * factor;
    }
    Some(seconds)
}

/// Digits with at most one point. Not `f64`'s own grammar, which takes `inf` and `1e9`.
fn number(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if plain && !text.is_empty() { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_as_people_write_them() {
        let cases = [
            ("30s", 30_000),
            ("30", 30_000),
            (" 1.5 min ", 90_000),
            ("2 hours 5 minutes", 7_500_000),
            ("1h30m", 5_400_000),
            ("1 hour, 1 second", 3_601_000),
            ("00:01:30", 90_000),
            ("01:30", 5_400_000),
            ("250ms", 250),
            ("0s", 0),
        ];
        for (text, millis) in cases {
            assert_eq!(interval(text), Some(Duration::from_millis(millis)), "{text}");
        }
        let nothing = [
            "",
            "s",
            "-1s",
            "1x",
            "1 2",
            "1:2:3:4",
            "inf",
            "1e9",
            "é",
            "1..2s",
            "99999999 w",
            "3 é",
        ];
        for text in nothing {
            assert_eq!(interval(text), None, "{text}");
        }
    }
}
