//! DATE and TIMESTAMPTZ: PostgreSQL's many input forms, its one output form.
//!
//! Nearly everything is ISO 8601, which is read in one pass over the bytes. What is not goes through
//! tokens, as in PostgreSQL with `DateStyle` `ISO, MDY`: `January 8, 1999`, `08-Jan-1999`,
//! `1/8/1999`, `19990108`, `1999.008`, `J2451187`, each with a time, a zone, `AM`, `BC` and the name
//! of a weekday where these make sense. Zones are offsets or the common abbreviations; names of
//! places need a time zone database, which is not built in.

use std::fmt;

use super::{is_space, shortened, trimmed};
use crate::error::{SqlError, code};

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
/// The Julian day of 1970-01-01.
const JULIAN_1970: i64 = 2_440_588;
/// 4714-11-24 BC, where PostgreSQL's calendar begins.
const DAYS_MIN: i64 = -JULIAN_1970;
/// 5874897-12-31, the last DATE.
const DATE_DAYS_MAX: i64 = 2_147_483_493 - JULIAN_1970;

/// What a text means, before it is held against a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moment {
    /// Days since 1970-01-01.
    days: i64,
    /// Of the day; 24:00 and a leap second are the next day's.
    micros: i64,
    /// Seconds east of UTC.
    zone: i64,
}

/// Why a text has no meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Not a form of a date or time.
    Form,
    /// A field that does not exist: the 13th month.
    Field,
    /// The zone is out of range.
    Zone,
    /// Known to PostgreSQL, not here.
    NotBuilt(&'static str, &'static str),
}

/// A DATE, in days since 1970-01-01. A time in the text is passed over.
pub(super) fn parse_date(text: &str) -> Result<i32, SqlError> {
    let days = match iso_date(text.as_bytes()) {
        Some((days, [])) => days,
        _ => parse(trimmed(text)).map_err(|fault| refused(fault, text, "date"))?.days,
    };
    if !(DAYS_MIN..=DATE_DAYS_MAX).contains(&days) {
        return Err(out_of_range("date", text));
    }
    i32::try_from(days).map_err(|_| out_of_range("date", text))
}

/// A TIMESTAMPTZ, in microseconds since 1970-01-01 UTC.
pub(super) fn parse_timestamptz(text: &str) -> Result<i64, SqlError> {
    const TYPE: &str = "timestamp with time zone";
    let moment = match iso_timestamp(text.as_bytes()) {
        Some(moment) => moment,
        None => parse(trimmed(text)).map_err(|fault| refused(fault, text, TYPE))?,
    };
    let local = moment.micros - moment.zone * MICROS_PER_SECOND;
    moment
        .days
        .checked_mul(MICROS_PER_DAY)
        .and_then(|micros| micros.checked_add(local))
        .filter(|micros| *micros >= DAYS_MIN * MICROS_PER_DAY)
        .ok_or_else(|| out_of_range("timestamp", text))
}

fn refused(fault: Fault, text: &str, ty: &str) -> SqlError {
    let shown = shortened(text);
    match fault {
        Fault::Form => SqlError::new(
            code::INVALID_DATETIME_FORMAT,
            format!("invalid input syntax for type {ty}: \"{shown}\""),
        ),
        Fault::Field => SqlError::new(
            code::DATETIME_FIELD_OVERFLOW,
            format!("date/time field value out of range: \"{shown}\""),
        )
        .with_hint("Dates are read as year-month-day, or month/day/year."),
        Fault::Zone => SqlError::new(
            code::DATETIME_FIELD_OVERFLOW,
            format!("time zone displacement out of range: \"{shown}\""),
        ),
        Fault::NotBuilt(what, hint) => {
            SqlError::not_built(format_args!("{what} as {ty} (\"{shown}\")"), hint)
        }
    }
}

fn out_of_range(what: &str, text: &str) -> SqlError {
    let message = format!("{what} out of range: \"{}\"", shortened(text));
    SqlError::new(code::DATETIME_FIELD_OVERFLOW, message)
}

// ---- ISO 8601, quickly --------------------------------------------------------------------------

fn two_digits(high: u8, low: u8) -> Option<u32> {
    let (high, low) = (high.wrapping_sub(b'0'), low.wrapping_sub(b'0'));
    (high <= 9 && low <= 9).then(|| u32::from(high) * 10 + u32::from(low))
}

/// `YYYY-MM-DD` of a year that exists, and what follows it.
fn iso_date(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (&[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2], rest) = bytes.split_first_chunk::<10>()?
    else {
        return None;
    };
    let year = two_digits(y1, y2)? * 100 + two_digits(y3, y4)?;
    let (month, day) = (two_digits(m1, m2)?, two_digits(d1, d2)?);
    let days = days_of(year.into(), month, day)?;
    (year > 0).then_some((days, rest))
}

/// `YYYY-MM-DD[ HH:MM:SS[.ffffff]][Z|+HH[:MM]]`.
fn iso_timestamp(bytes: &[u8]) -> Option<Moment> {
    let (days, rest) = iso_date(bytes)?;
    let Some((b' ' | b'T', rest)) = rest.split_first() else {
        return rest.is_empty().then_some(Moment { days, micros: 0, zone: 0 });
    };
    let (&[h1, h2, b':', n1, n2, b':', s1, s2], mut rest) = rest.split_first_chunk::<8>()? else {
        return None;
    };
    let (hour, minute, second) = (two_digits(h1, h2)?, two_digits(n1, n2)?, two_digits(s1, s2)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut micros = i64::from(hour * 3600 + minute * 60 + second) * MICROS_PER_SECOND;
    if let Some((b'.', digits)) = rest.split_first() {
        let mut unit = 100_000;
        rest = digits;
        while let Some((digit @ b'0'..=b'9', more)) = rest.split_first() {
            if unit == 0 {
                return None; // A seventh digit: rounding is the other reader's business.
            }
            micros += i64::from(digit - b'0') * unit;
            unit /= 10;
            rest = more;
        }
    }
    let zone = match *rest {
        [] | [b'Z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2] => signed(sign, two_digits(h1, h2)?, 0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            signed(sign, two_digits(h1, h2)?, two_digits(m1, m2).filter(|minutes| *minutes < 60)?)
        }
        _ => return None,
    };
    (zone.abs() < 16 * 3600).then_some(Moment { days, micros, zone })
}

fn signed(sign: u8, hours: u32, minutes: u32) -> i64 {
    let seconds = i64::from(hours * 3600 + minutes * 60);
    if sign == b'-' { -seconds } else { seconds }
}

// ---- every other form ---------------------------------------------------------------------------

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    /// Digits.
    Number(&'a str),
    /// Letters.
    Word(&'a str),
    /// Anything else but spaces and commas.
    Mark(u8),
    /// Spaces and commas.
    Gap,
}

fn tokens(text: &str) -> Result<Vec<Token<'_>>, Fault> {
    /// Longer texts are no dates.
    const BYTES_MAX: usize = 128;
    if !text.is_ascii() || text.len() > BYTES_MAX {
        return Err(Fault::Form);
    }
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(&first) = rest.as_bytes().first() {
        let run =
            |of: fn(u8) -> bool| rest.bytes().position(|byte| !of(byte)).unwrap_or(rest.len());
        let gap = |byte: u8| is_space(byte) || byte == b',';
        let length = if first.is_ascii_digit() {
            let length = run(|byte| byte.is_ascii_digit());
            tokens.push(Token::Number(&rest[..length]));
            length
        } else if first.is_ascii_alphabetic() {
            let length = run(|byte| byte.is_ascii_alphabetic());
            tokens.push(Token::Word(&rest[..length]));
            length
        } else if gap(first) {
            tokens.push(Token::Gap);
            run(|byte| is_space(byte) || byte == b',')
        } else {
            tokens.push(Token::Mark(first));
            1
        };
        rest = &rest[length..];
    }
    Ok(tokens)
}

#[derive(Default)]
struct Reading {
    year: Option<(i64, usize)>,
    month: Option<u32>,
    day: Option<u32>,
    /// Of the year, in place of month and day.
    day_of_year: Option<u32>,
    /// A whole date that is given as one number.
    days: Option<i64>,
    /// Numbers that stand alone next to the name of a month.
    loose: Vec<(i64, usize)>,
    micros: Option<i64>,
    /// `AM` or `PM`.
    afternoon: Option<bool>,
    zone: Option<i64>,
    before_christ: bool,
}

fn parse(text: &str) -> Result<Moment, Fault> {
    let tokens = tokens(text)?;
    let mut reading = Reading::default();
    let mut rest = tokens.as_slice();
    while let Some((token, after)) = rest.split_first() {
        rest = match *token {
            Token::Gap => after,
            Token::Number(digits) => reading.number(digits, after)?,
            Token::Word(word) => reading.word(&word.to_ascii_lowercase(), after)?,
            Token::Mark(sign @ (b'+' | b'-')) if reading.micros.is_some() || reading.has_date() => {
                reading.offset(sign, after)?
            }
            Token::Mark(b'-') if is_word(after, "infinity") => return Err(INFINITY),
            Token::Mark(_) => return Err(Fault::Form),
        };
    }
    reading.finish()
}

const INFINITY: Fault = Fault::NotBuilt("infinity", "Use NULL, or a date far away.");

fn is_word(tokens: &[Token<'_>], word: &str) -> bool {
    matches!(tokens.first(), Some(Token::Word(found)) if found.eq_ignore_ascii_case(word))
}

fn value_of(digits: &str) -> Result<i64, Fault> {
    digits.parse().map_err(|_| Fault::Field)
}

fn small(value: i64) -> Result<u32, Fault> {
    u32::try_from(value).map_err(|_| Fault::Field)
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), Fault> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Fault::Form),
    }
}

impl Reading {
    fn has_date(&self) -> bool {
        self.days.is_some()
            || self.day_of_year.is_some()
            || (self.year.is_some() && self.day.is_some())
            || (self.month.is_some() && self.loose.len() >= 2)
    }

    /// Digits, and what belongs to them. Answers what comes after.
    fn number<'t, 'a>(
        &mut self,
        digits: &str,
        after: &'t [Token<'a>],
    ) -> Result<&'t [Token<'a>], Fault> {
        match *after {
            [Token::Mark(b':'), ..] => return self.time(digits, after),
            [Token::Mark(mark @ (b'-' | b'/' | b'.')), second, ref more @ ..]
                if !self.has_date() && self.month.is_none() =>
            {
                if let Some(rest) = self.group(digits, mark, second, more)? {
                    return Ok(rest);
                }
            }
            _ => {}
        }
        let value = value_of(digits)?;
        if self.has_date() {
            // A time without colons: `040506`, `0405`.
            let (hour, minute, second) = match digits.len() {
                6 => (value / 10_000, value / 100 % 100, value % 100),
                4 => (value / 100, value % 100, 0),
                _ => return Err(Fault::Form),
            };
            let (fraction, after) = fraction(after)?;
            self.set_time(hour, minute, second, fraction)?;
            return Ok(after);
        }
        if self.month.is_none() && matches!(digits.len(), 6 | 8) && self.loose.is_empty() {
            let years = digits.len() - 4;
            self.year = Some((value / 10_000, years));
            self.month = Some(small(value / 100 % 100)?);
            self.day = Some(small(value % 100)?);
        } else {
            self.loose.push((value, digits.len()));
        }
        Ok(after)
    }

    /// A date of parts with the same mark between them, of which the first is a number. `None` if it
    /// is none.
    fn group<'t, 'a>(
        &mut self,
        first: &str,
        mark: u8,
        second: Token<'a>,
        after: &'t [Token<'a>],
    ) -> Result<Option<&'t [Token<'a>]>, Fault> {
        let value = value_of(first)?;
        let third = match *after {
            [Token::Mark(again), Token::Number(third), ref rest @ ..] if again == mark => {
                Some((third, rest))
            }
            _ => None,
        };
        match (second, third) {
            (Token::Number(second), Some((third, rest))) => {
                let (second, last) = (small(value_of(second)?)?, value_of(third)?);
                if first.len() >= 3 {
                    self.set_date((value, first.len()), second, small(last)?);
                } else {
                    self.set_date((last, third.len()), small(value)?, second);
                }
                Ok(Some(rest))
            }
            (Token::Word(word), Some((third, rest))) => {
                let month = month(&word.to_ascii_lowercase()).ok_or(Fault::Form)?;
                let last = value_of(third)?;
                if first.len() >= 3 {
                    self.set_date((value, first.len()), month, small(last)?);
                } else {
                    self.set_date((last, third.len()), month, small(value)?);
                }
                Ok(Some(rest))
            }
            (Token::Number(day), None) if mark == b'.' && first.len() >= 4 && day.len() == 3 => {
                self.year = Some((value, first.len()));
                self.day_of_year = Some(small(value_of(day)?)?);
                Ok(Some(after))
            }
            _ => Err(Fault::Form),
        }
    }

    fn set_date(&mut self, year: (i64, usize), month: u32, day: u32) {
        (self.year, self.month, self.day) = (Some(year), Some(month), Some(day));
    }

    /// Minutes, seconds and their fraction after the hour.
    fn time<'t, 'a>(
        &mut self,
        hour: &str,
        after: &'t [Token<'a>],
    ) -> Result<&'t [Token<'a>], Fault> {
        let [Token::Mark(b':'), Token::Number(minute), after @ ..] = after else {
            return Err(Fault::Form);
        };
        let (second, after) = match after {
            [Token::Mark(b':'), Token::Number(second), rest @ ..] => (value_of(second)?, rest),
            rest => (0, rest),
        };
        let (fraction, after) = fraction(after)?;
        self.set_time(value_of(hour)?, value_of(minute)?, second, fraction)?;
        Ok(after)
    }

    fn set_time(&mut self, hour: i64, minute: i64, second: i64, micros: i64) -> Result<(), Fault> {
        let whole = hour == 24 && minute == 0 && second == 0 && micros == 0;
        if (hour > 23 && !whole) || minute > 59 || second > 60 {
            return Err(Fault::Field);
        }
        let micros = (hour * 3600 + minute * 60 + second) * MICROS_PER_SECOND + micros;
        once(&mut self.micros, micros)
    }

    fn word<'t, 'a>(
        &mut self,
        word: &str,
        after: &'t [Token<'a>],
    ) -> Result<&'t [Token<'a>], Fault> {
        if let Some(month) = month(word) {
            // `Jan-08-1999`.
            if let [
                Token::Mark(a @ (b'-' | b'/' | b'.')),
                Token::Number(day),
                Token::Mark(b),
                Token::Number(year),
                rest @ ..,
            ] = after
                && a == b
                && self.loose.is_empty()
            {
                self.set_date((value_of(year)?, year.len()), month, small(value_of(day)?)?);
                return Ok(rest);
            }
            once(&mut self.month, month)?;
            return Ok(after);
        }
        match word {
            "t" if self.has_date() && matches!(after, [Token::Number(_), ..]) => {}
            "j" | "jd" | "julian" => {
                let [Token::Number(day), rest @ ..] = after else { return Err(Fault::Form) };
                once(&mut self.days, value_of(day)? - JULIAN_1970)?;
                return Ok(rest);
            }
            "epoch" => once(&mut self.days, 0)?,
            "am" | "pm" => once(&mut self.afternoon, word == "pm")?,
            "bc" => self.before_christ = true,
            "ad" => {}
            "allballs" => once(&mut self.micros, 0)?,
            "infinity" => return Err(INFINITY),
            "now" | "today" | "tomorrow" | "yesterday" => {
                return Err(Fault::NotBuilt("a relative date", "Write the date itself."));
            }
            word if is_weekday(word) => {}
            word => match zone_named(word) {
                Some(hours) => once(&mut self.zone, hours * 3600)?,
                None if matches!(after, [Token::Mark(b'/'), Token::Word(_), ..]) => {
                    return Err(Fault::NotBuilt(
                        "a time zone by the name of a place",
                        "Write the offset from UTC, such as +02:00.",
                    ));
                }
                None => return Err(Fault::Form),
            },
        }
        Ok(after)
    }

    /// `+02`, `-0530`, `+05:30`, `+05:30:10`.
    fn offset<'t, 'a>(
        &mut self,
        sign: u8,
        after: &'t [Token<'a>],
    ) -> Result<&'t [Token<'a>], Fault> {
        let [Token::Number(digits), after @ ..] = after else { return Err(Fault::Form) };
        let value = value_of(digits)?;
        let (mut seconds, mut rest) = match digits.len() {
            1 | 2 => (value * 3600, after),
            3 | 4 => ((value / 100) * 3600 + checked_minutes(value % 100)? * 60, after),
            _ => return Err(Fault::Zone),
        };
        for unit in [60, 1] {
            if digits.len() <= 2
                && let [Token::Mark(b':'), Token::Number(more), behind @ ..] = rest
            {
                seconds += checked_minutes(value_of(more)?)? * unit;
                rest = behind;
            }
        }
        if seconds >= 16 * 3600 {
            return Err(Fault::Zone);
        }
        // After the name of a zone an offset would count the other way round: POSIX. Refused.
        once(&mut self.zone, if sign == b'-' { -seconds } else { seconds })?;
        Ok(rest)
    }

    /// The numbers beside the name of a month: one of them is the year.
    fn sort_loose(&mut self) -> Result<(), Fault> {
        match *self.loose.as_slice() {
            [] => Ok(()),
            [(a, a_digits), (b, b_digits)] if self.month.is_some() && self.day.is_none() => {
                if a_digits >= 3 {
                    (self.year, self.day) = (Some((a, a_digits)), Some(small(b)?));
                } else {
                    (self.year, self.day) = (Some((b, b_digits)), Some(small(a)?));
                }
                Ok(())
            }
            _ => Err(Fault::Form),
        }
    }

    fn finish(mut self) -> Result<Moment, Fault> {
        self.sort_loose()?;
        let days = match (self.days, self.year) {
            (Some(days), None) if self.month.is_none() => days,
            (None, Some((year, digits))) => {
                let year = match (self.before_christ, year) {
                    (_, 0) if digits > 2 || self.before_christ => return Err(Fault::Field),
                    (true, year) => 1 - year,
                    (false, year) if digits <= 2 => year + if year < 70 { 2000 } else { 1900 },
                    (false, year) => year,
                };
                if year.unsigned_abs() > 6_000_000 {
                    return Err(Fault::Field);
                }
                match (self.month, self.day, self.day_of_year) {
                    (Some(month), Some(day), None) => {
                        days_of(year, month, day).ok_or(Fault::Field)?
                    }
                    (None, None, Some(day)) => {
                        let length = if is_leap(year) { 366 } else { 365 };
                        if !(1..=length).contains(&day) {
                            return Err(Fault::Field);
                        }
                        days_of(year, 1, 1).ok_or(Fault::Field)? + i64::from(day) - 1
                    }
                    _ => return Err(Fault::Form),
                }
            }
            _ => return Err(Fault::Form),
        };
        const HOUR: i64 = 3600 * MICROS_PER_SECOND;
        let micros = match (self.micros, self.afternoon) {
            (micros, None) => micros.unwrap_or(0),
            (None, Some(_)) => return Err(Fault::Form),
            (Some(micros), Some(_)) if !(HOUR..13 * HOUR).contains(&micros) => {
                return Err(Fault::Field);
            }
            (Some(micros), Some(afternoon)) => {
                micros % (12 * HOUR) + if afternoon { 12 * HOUR } else { 0 }
            }
        };
        Ok(Moment { days, micros, zone: self.zone.unwrap_or(0) })
    }
}

fn checked_minutes(value: i64) -> Result<i64, Fault> {
    if value < 60 { Ok(value) } else { Err(Fault::Zone) }
}

/// `.ffffff` in microseconds, rounded.
fn fraction<'t, 'a>(after: &'t [Token<'a>]) -> Result<(i64, &'t [Token<'a>]), Fault> {
    let [Token::Mark(b'.'), Token::Number(digits), rest @ ..] = after else {
        return Ok((0, after));
    };
    let mut micros = 0;
    let mut unit = 1_000_000;
    for digit in digits.bytes().take(6) {
        unit /= 10;
        micros += i64::from(digit - b'0') * unit;
    }
    if digits.as_bytes().get(6).is_some_and(|digit| *digit >= b'5') {
        micros += 1;
    }
    Ok((micros, rest))
}

fn month(word: &str) -> Option<u32> {
    const MONTHS: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let known = |name: &&str| {
        *name == word || name[..3] == *word || (word == "sept" && name.starts_with(word))
    };
    (1..).zip(MONTHS).find(|(_, name)| known(name)).map(|(number, _)| number)
}

fn is_weekday(word: &str) -> bool {
    const DAYS: [&str; 7] =
        ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    const ALSO: [&str; 5] = ["tues", "weds", "thu", "thur", "thurs"];
    DAYS.iter().any(|day| *day == word || day[..3] == *word) || ALSO.contains(&word)
}

/// Hours east of UTC of the abbreviations everybody means the same zone by.
fn zone_named(word: &str) -> Option<i64> {
    Some(match word {
        "z" | "utc" | "gmt" | "ut" | "zulu" | "wet" => 0,
        "cet" | "bst" | "west" | "met" => 1,
        "cest" | "eet" | "mest" => 2,
        "eest" | "msk" => 3,
        "jst" | "kst" => 9,
        "edt" => -4,
        "est" | "cdt" => -5,
        "cst" | "mdt" => -6,
        "mst" | "pdt" => -7,
        "pst" | "akdt" => -8,
        "akst" => -9,
        "hst" => -10,
        _ => return None,
    })
}

// ---- the calendar -------------------------------------------------------------------------------

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Days since 1970-01-01 of a day of the Gregorian calendar; year 0 is 1 BC.
fn days_of(year: i64, month: u32, day: u32) -> Option<i64> {
    let length = match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    // Years begin in March, so that the leap day is the last; eras have 400 years.
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let month_from_march = i64::from((month + 9) % 12);
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

/// Year (0 is 1 BC), month and day of a count of days since 1970-01-01.
const fn date_of(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

/// `2024-01-31`, and ` BC` where it belongs. Answers whether it does.
fn write_day(out: &mut fmt::Formatter<'_>, days: i64) -> Result<bool, fmt::Error> {
    let (year, month, day) = date_of(days);
    let shown = if year > 0 { year } else { 1 - year };
    write!(out, "{shown:04}-{month:02}-{day:02}")?;
    Ok(year <= 0)
}

/// A DATE.
pub(super) fn write_date(out: &mut fmt::Formatter<'_>, days: i32) -> fmt::Result {
    if write_day(out, days.into())? { out.write_str(" BC") } else { Ok(()) }
}

/// A TIMESTAMPTZ, in UTC: `2024-01-31 12:00:00.5+00`.
pub(super) fn write_timestamptz(out: &mut fmt::Formatter<'_>, micros: i64) -> fmt::Result {
    let before_christ = write_day(out, micros.div_euclid(MICROS_PER_DAY))?;
    let of_day = micros.rem_euclid(MICROS_PER_DAY);
    let (seconds, fraction) = (of_day / MICROS_PER_SECOND, of_day % MICROS_PER_SECOND);
    write!(out, " {:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)?;
    if fraction != 0 {
        out.write_str(format!(".{fraction:06}").trim_end_matches('0'))?;
    }
    out.write_str(if before_christ { "+00 BC" } else { "+00" })
}
