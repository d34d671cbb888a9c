//! Text forms of PostgreSQL: floats, dates, times, intervals, bytea and array elements.
//!
//! Every function appends to a buffer and is total: a date out of the calendar of other libraries still prints.

use bytes::BytesMut;
use std::fmt::Write as _;

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// How many digits a float prints at most before its exponent form takes over.
#[derive(Clone, Copy)]
pub(super) enum FloatWidth {
    /// FLOAT4: plain up to 999999.
    Four,
    /// FLOAT8: plain up to 14 digits.
    Eight,
}

/// A float as PostgreSQL prints it: the shortest digits that read back the same, an exponent of two digits or more
/// for the very large and very small.
pub(super) fn put_float(out: &mut BytesMut, shortest: &str, width: FloatWidth) {
    let (sign, digits) = shortest.strip_prefix('-').map_or(("", shortest), |digits| ("-", digits));
    put_str(out, sign);
    let Some((mantissa, exponent)) = digits.split_once('e') else { return put_str(out, digits) };
    let Ok(exponent) = exponent.parse::<i32>() else { return put_str(out, digits) };
    let mantissa: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let plain_below = match width {
        FloatWidth::Four => 6,
        FloatWidth::Eight => 15,
    };
    if (-4..0).contains(&exponent) {
        let zeros = (exponent.unsigned_abs() - 1) as usize;
        put_fmt(out, format_args!("0.{}{mantissa}", "0".repeat(zeros)));
    } else if (0..plain_below).contains(&exponent) {
        let whole = exponent as usize + 1;
        if mantissa.len() <= whole {
            put_fmt(out, format_args!("{mantissa}{}", "0".repeat(whole - mantissa.len())));
        } else {
            let (before, behind) = mantissa.split_at(whole);
            put_fmt(out, format_args!("{before}.{behind}"));
        }
    } else {
        let (first, rest) = mantissa.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        let direction = if exponent < 0 { '-' } else { '+' };
        put_fmt(
            out,
            format_args!("{first}{point}{rest}e{direction}{:02}", exponent.unsigned_abs()),
        );
    }
}

/// FLOAT8.
pub(super) fn put_f64(out: &mut BytesMut, value: f64) {
    match special(value) {
        Some(name) => put_str(out, name),
        None => put_float(out, &format!("{value:e}"), FloatWidth::Eight),
    }
}

/// FLOAT4.
pub(super) fn put_f32(out: &mut BytesMut, value: f32) {
    match special(f64::from(value)) {
        Some(name) => put_str(out, name),
        None => put_float(out, &format!("{value:e}"), FloatWidth::Four),
    }
}

fn special(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value.is_infinite() {
        Some(if value > 0.0 { "Infinity" } else { "-Infinity" })
    } else {
        None
    }
}

/// DATE from days since 1970-01-01, ISO style, with ` BC` before the year 1.
pub(super) fn put_date(out: &mut BytesMut, days: i64) {
    let (year, month, day) = civil_from_days(days);
    if year > 0 {
        put_fmt(out, format_args!("{year:04}-{month:02}-{day:02}"));
    } else {
        put_fmt(out, format_args!("{:04}-{month:02}-{day:02} BC", 1 - year));
    }
}

/// TIMESTAMP or, with `zone`, TIMESTAMPTZ in UTC, from microseconds since 1970-01-01 00:00 UTC.
pub(super) fn put_timestamp(out: &mut BytesMut, micros: i64, zone: bool) {
    let (year, month, day) = civil_from_days(micros.div_euclid(MICROS_PER_DAY));
    let shown_year = if year > 0 { year } else { 1 - year };
    put_fmt(out, format_args!("{shown_year:04}-{month:02}-{day:02} "));
    put_time(out, micros.rem_euclid(MICROS_PER_DAY));
    if zone {
        put_str(out, "+00");
    }
    if year <= 0 {
        put_str(out, " BC");
    }
}

/// TIME from microseconds since midnight; the fraction is printed without trailing zeros.
pub(super) fn put_time(out: &mut BytesMut, micros: i64) {
    let seconds = micros / MICROS_PER_SECOND;
    let fraction = micros % MICROS_PER_SECOND;
    put_fmt(
        out,
        format_args!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
    );
    if fraction != 0 {
        put_str(out, format!(".{fraction:06}").trim_end_matches('0'));
    }
}

/// INTERVAL in the style `postgres`: `1 year 2 mons 3 days 04:05:06.7`.
pub(super) fn put_interval(out: &mut BytesMut, months: i32, days: i32, micros: i64) {
    let start = out.len();
    let mut part = |count: i64, unit: &str| {
        if count != 0 {
            let gap = if out.len() > start { " " } else { "" };
            let plural = if count == 1 { "" } else { "s" };
            put_fmt(out, format_args!("{gap}{count} {unit}{plural}"));
        }
    };
    part(i64::from(months / 12), "year");
    part(i64::from(months % 12), "mon");
    part(i64::from(days), "day");
    if micros != 0 || out.len() == start {
        let gap = if out.len() > start { " " } else { "" };
        let sign = if micros < 0 { "-" } else { "" };
        put_fmt(out, format_args!("{gap}{sign}"));
        put_time(out, i64::try_from(micros.unsigned_abs()).unwrap_or(i64::MAX));
    }
}

/// BYTEA in hex form.
pub(super) fn put_bytea(out: &mut BytesMut, bytes: &[u8]) {
    put_str(out, "\\x");
    for byte in bytes {
        put_fmt(out, format_args!("{byte:02x}"));
    }
}

/// One element of an array's text form, quoted when it must be.
pub(super) fn put_element(out: &mut BytesMut, element: &str) {
    let plain = !element.is_empty()
        && !element.eq_ignore_ascii_case("null")
        && !element
            .contains(|c: char| matches!(c, '{' | '}' | '"' | '\\' | ',') || c.is_whitespace());
    if plain {
        return put_str(out, element);
    }
    put_str(out, "\"");
    for c in element.chars() {
        if matches!(c, '"' | '\\') {
            put_str(out, "\\");
        }
        put_str(out, c.encode_utf8(&mut [0; 4]));
    }
    put_str(out, "\"");
}

pub(super) fn put_str(out: &mut BytesMut, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

pub(super) fn put_fmt(out: &mut BytesMut, text: std::fmt::Arguments<'_>) {
    // Writing to memory fails only when a Display lies about failing; then the text is short, not wrong.
    let _ = out.write_fmt(text);
}

/// Year, month and day of the proleptic Gregorian calendar (Howard Hinnant's algorithm).
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(put: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        put(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn floats_print_as_postgresql_prints_them() {
        for (value, expected) in [
            (1.0, "1"),
            (0.5, "0.5"),
            (-0.0, "-0"),
            (0.1 + 0.2, "0.30000000000000004"),
            (123_456_789.25, "123456789.25"),
            (1e14, "100000000000000"),
            (1e15, "1e+15"),
            (1.5e300, "1.5e+300"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (-1.25e-7, "-1.25e-07"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(shown(|out| put_f64(out, value)), expected);
        }
        assert_eq!(shown(|out| put_f32(out, 1e6)), "1e+06");
        assert_eq!(shown(|out| put_f32(out, 0.1)), "0.1");
    }

    #[test]
    fn dates_and_times_print_in_iso_style() {
        assert_eq!(shown(|out| put_date(out, 0)), "1970-01-01");
        assert_eq!(shown(|out| put_date(out, 19_782)), "2024-02-29");
        assert_eq!(shown(|out| put_date(out, -719_163)), "0001-12-31 BC");
        assert_eq!(shown(|out| put_date(out, i64::from(i32::MAX))), "5881580-07-11");
        assert_eq!(shown(|out| put_timestamp(out, 0, true)), "1970-01-01 00:00:00+00");
        assert_eq!(shown(|out| put_timestamp(out, -1, true)), "1969-12-31 23:59:59.999999+00");
        assert_eq!(shown(|out| put_timestamp(out, 1_500_000, false)), "1970-01-01 00:00:01.5");
        assert!(shown(|out| put_timestamp(out, i64::MIN, true)).ends_with(" BC"));
    }

    #[test]
    fn intervals_name_their_parts() {
        assert_eq!(shown(|out| put_interval(out, 0, 0, 0)), "00:00:00");
        assert_eq!(
            shown(|out| put_interval(out, 14, 1, 3_723_500_000)),
            "1 year 2 mons 1 day 01:02:03.5"
        );
        assert_eq!(shown(|out| put_interval(out, 0, -2, -1_000_000)), "-2 days -00:00:01");
    }

    #[test]
    fn array_elements_are_quoted_only_when_they_must_be() {
        for (element, expected) in [
            ("a", "a"),
            ("", "\"\""),
            ("a b", "\"a b\""),
            ("null", "\"null\""),
            ("a\"b\\c", "\"a\\\"b\\\\c\""),
            ("a,b", "\"a,b\""),
        ] {
            assert_eq!(shown(|out| put_element(out, element)), expected);
        }
    }
}
