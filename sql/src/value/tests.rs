use datafusion::common::ScalarValue;
use proptest::prelude::*;

use super::*;

const DECIMAL: ColumnType = ColumnType::Decimal { precision: 10, scale: 2 };

/// Text in, text out.
fn check(ty: ColumnType, text: &str, expect: &str) {
    match Datum::parse(text, ty) {
        Ok(value) => assert_eq!(value.to_string(), expect, "{text:?} as {ty}"),
        Err(error) => panic!("{text:?} as {ty}: {error}"),
    }
}

fn check_all(ty: ColumnType, cases: &[(&str, &str)]) {
    for (text, expect) in cases {
        check(ty, text, expect);
    }
}

fn refused(ty: ColumnType, text: &str, code: &str, message: &str) {
    let error = Datum::parse(text, ty).unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (code, message), "{text:?} as {ty}");
}

#[test]
fn integers_are_read_as_postgresql_reads_them() {
    check_all(
        ColumnType::Int8,
        &[
            ("0", "0"),
            ("-0", "0"),
            ("007", "7"),
            (" 42\t", "42"),
            ("+5", "5"),
            ("9223372036854775807", "9223372036854775807"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("0x1F", "31"),
            ("-0b101", "-5"),
            ("0o17", "15"),
            ("1_000_000", "1000000"),
        ],
    );
    check(ColumnType::Int2, "-32768", "-32768");
    let message = "value \"32768\" is out of range for type smallint";
    refused(ColumnType::Int2, "32768", "22003", message);
    let message = "value \"3000000000\" is out of range for type integer";
    refused(ColumnType::Int4, " 3000000000", "22003", message);
    let message = "value \"9223372036854775808\" is out of range for type bigint";
    refused(ColumnType::Int8, "9223372036854775808", "22003", message);
    for text in ["", " ", "-", "1.0", "1e3", "12a", "x", "1__0", "_1", "1_", "0x", "--1", "1 2"] {
        let message = format!("invalid input syntax for type bigint: \"{text}\"");
        refused(ColumnType::Int8, text, "22P02", &message);
    }
}

#[test]
fn floats_are_read_and_written_as_postgresql_does() {
    check_all(
        ColumnType::Float8,
        &[
            ("1", "1"),
            ("1.0", "1"),
            (" .5", "0.5"),
            ("-0", "-0"),
            ("1e3", "1000"),
            ("1e14", "100000000000000"),
            ("1e15", "1e+15"),
            ("123456789012345680", "1.2345678901234568e+17"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("1.5e-10", "1.5e-10"),
            ("1e300", "1e+300"),
            ("nan", "NaN"),
            ("Infinity", "Infinity"),
            ("-inf", "-Infinity"),
            ("0.1", "0.1"),
        ],
    );
    let message = "\"1e400\" is out of range for type double precision";
    refused(ColumnType::Float8, "1e400", "22003", message);
    let message = "\"1e-400\" is out of range for type double precision";
    refused(ColumnType::Float8, "1e-400", "22003", message);
    for text in ["", "abc", "1,5", "1e", "0x10"] {
        let message = format!("invalid input syntax for type double precision: \"{text}\"");
        refused(ColumnType::Float8, text, "22P02", &message);
    }
}

#[test]
fn decimals_are_rounded_half_away_from_zero() {
    check_all(
        DECIMAL,
        &[
            ("1", "1.00"),
            ("1.5", "1.50"),
            ("-0.01", "-0.01"),
            (".5", "0.50"),
            ("5.", "5.00"),
            (" 1.005 ", "1.01"),
            ("-1.005", "-1.01"),
            ("1.0049999", "1.00"),
            ("1e3", "1000.00"),
            ("12345e-3", "12.35"),
            ("99999999.99", "99999999.99"),
            ("0e100", "0.00"),
            ("1e-1000", "0.00"),
            ("+7", "7.00"),
        ],
    );
    let wide = ColumnType::Decimal { precision: 38, scale: 0 };
    let nines = "9".repeat(38);
    check(wide, &nines, &nines);
    check(ColumnType::Decimal { precision: 3, scale: 3 }, "0.1234", "0.123");
    for text in ["100000000", "99999999.995", "1e9", "1e99999999999", "-123456789012345678901"] {
        refused(DECIMAL, text, "22003", "numeric field overflow");
    }
    let detail = Datum::parse("1e9", DECIMAL).unwrap_err().detail.unwrap();
    assert_eq!(
        detail,
        "A field with precision 10, scale 2 must round to an absolute value less than 10^8."
    );
    for text in ["", ".", "1.2.3", "1e", "e5", "abc", "1 2", "--1", "1e+"] {
        let message = format!("invalid input syntax for type numeric: \"{text}\"");
        refused(DECIMAL, text, "22P02", &message);
    }
    assert_eq!(Datum::parse("NaN", DECIMAL).unwrap_err().code, "0A000");
    refused(DECIMAL, "inf", "22003", "numeric field overflow");
}

#[test]
fn booleans_are_words_and_their_unique_beginnings() {
    for text in ["t", "TRUE", "tr", "y", "yes", "on", "1", " true "] {
        check(ColumnType::Bool, text, "t");
    }
    for text in ["f", "False", "n", "no", "of", "off", "0"] {
        check(ColumnType::Bool, text, "f");
    }
    for text in ["", "o", "2", "truee", "yess", "on1"] {
        let message = format!("invalid input syntax for type boolean: \"{text}\"");
        refused(ColumnType::Bool, text, "22P02", &message);
    }
}

#[test]
fn texts_are_taken_as_they_are_and_measured_in_characters() {
    check(ColumnType::Text, " a b ", " a b ");
    check(ColumnType::Varchar(3), "äöü", "äöü");
    check(ColumnType::Varchar(3), "abc  ", "abc");
    let message = "value too long for type character varying(3)";
    refused(ColumnType::Varchar(3), "abcd", "22001", message);
    assert_eq!(Datum::parse("a\0b", ColumnType::Text).unwrap_err().code, "22021");
}

#[test]
fn dates_come_in_many_forms() {
    check_all(
        ColumnType::Date,
        &[
            ("2024-01-31", "2024-01-31"),
            (" 2024-02-29 ", "2024-02-29"),
            ("2024-1-5", "2024-01-05"),
            ("20240131", "2024-01-31"),
            ("240131", "2024-01-31"),
            ("1999-01-08", "1999-01-08"),
            ("January 8, 1999", "1999-01-08"),
            ("8 January 1999", "1999-01-08"),
            ("1999 Jan 8", "1999-01-08"),
            ("1/8/1999", "1999-01-08"),
            ("1/8/99", "1999-01-08"),
            ("1/8/03", "2003-01-08"),
            ("1999-Jan-08", "1999-01-08"),
            ("Jan-08-1999", "1999-01-08"),
            ("08-Jan-1999", "1999-01-08"),
            ("08-Jan-99", "1999-01-08"),
            ("1999.008", "1999-01-08"),
            ("J2451187", "1999-01-08"),
            ("epoch", "1970-01-01"),
            ("Fri Jan 08 1999", "1999-01-08"),
            ("January 8, 99 BC", "0099-01-08 BC"),
            ("0001-01-01", "0001-01-01"),
            ("0001-01-01 BC", "0001-01-01 BC"),
            ("4714-11-24 BC", "4714-11-24 BC"),
            ("12024-01-31", "12024-01-31"),
            ("5874897-12-31", "5874897-12-31"),
            ("2024-01-31 23:59:59", "2024-01-31"),
            ("2024/01/31", "2024-01-31"),
        ],
    );
    for text in ["2023-02-29", "2024-13-01", "2024-00-10", "13/13/2024", "2024-04-31", "0000-01-01"]
    {
        let message = format!("date/time field value out of range: \"{text}\"");
        refused(ColumnType::Date, text, "22008", &message);
    }
    for text in ["", "x", "2024", "2024-01", "yesterdayish", "2024-01-31x", "1-2", "ä", "Jan 8"] {
        let message = format!("invalid input syntax for type date: \"{text}\"");
        refused(ColumnType::Date, text, "22007", &message);
    }
    refused(ColumnType::Date, "5874898-01-01", "22008", "date out of range: \"5874898-01-01\"");
    let far = "9223372036854775807-01-01 BC";
    let message = format!("date/time field value out of range: \"{far}\"");
    refused(ColumnType::Date, far, "22008", &message);
    refused(ColumnType::Date, "4714-11-23 BC", "22008", "date out of range: \"4714-11-23 BC\"");
    for text in ["today", "infinity", "-infinity"] {
        assert_eq!(Datum::parse(text, ColumnType::Date).unwrap_err().code, "0A000", "{text}");
    }
}

#[test]
fn timestamps_come_with_zones_and_are_written_in_utc() {
    check_all(
        ColumnType::TimestampTz,
        &[
            ("2024-01-31 12:34:56", "2024-01-31 12:34:56+00"),
            ("2024-01-31T12:34:56Z", "2024-01-31 12:34:56+00"),
            ("2024-01-31 12:34:56.5", "2024-01-31 12:34:56.5+00"),
            ("2024-01-31 12:34:56.123456+02", "2024-01-31 10:34:56.123456+00"),
            ("2024-01-31 12:34:56.1234567", "2024-01-31 12:34:56.123457+00"),
            ("2024-01-31 12:34:56-05:30", "2024-01-31 18:04:56+00"),
            ("2024-01-31 12:34:56 -0530", "2024-01-31 18:04:56+00"),
            ("2024-01-31 12:34", "2024-01-31 12:34:00+00"),
            ("2024-01-31", "2024-01-31 00:00:00+00"),
            ("2024-01-31 24:00:00", "2024-02-01 00:00:00+00"),
            ("2024-01-31 23:59:60", "2024-02-01 00:00:00+00"),
            ("20240131T123456", "2024-01-31 12:34:56+00"),
            ("2024-01-31 04:05 PM", "2024-01-31 16:05:00+00"),
            ("2024-01-31 12:05 AM", "2024-01-31 00:05:00+00"),
            ("2024-01-31 04:05:06 PST", "2024-01-31 12:05:06+00"),
            ("Wed Jan 31 12:34:56 2024 UTC", "2024-01-31 12:34:56+00"),
            ("12:34:56 2024-01-31", "2024-01-31 12:34:56+00"),
            ("1969-12-31 23:59:59.999999", "1969-12-31 23:59:59.999999+00"),
            ("0044-03-15 12:00 BC", "0044-03-15 12:00:00+00 BC"),
            ("1996-03-13 00:00:00+00:00", "1996-03-13 00:00:00+00"),
        ],
    );
    let ty = "timestamp with time zone";
    for text in ["", "12:00:00", "2024-01-31 x", "2024-01-31 12", "2024-01-31 12:00:00 12:00:00"] {
        let message = format!("invalid input syntax for type {ty}: \"{text}\"");
        refused(ColumnType::TimestampTz, text, "22007", &message);
    }
    for text in
        ["2024-01-31 25:00:00", "2024-01-31 12:60:00", "2024-01-32 12:00:00", "2024-01-31 13:00 PM"]
    {
        let message = format!("date/time field value out of range: \"{text}\"");
        refused(ColumnType::TimestampTz, text, "22008", &message);
    }
    let message = "time zone displacement out of range: \"2024-01-31 12:00:00+99\"";
    refused(ColumnType::TimestampTz, "2024-01-31 12:00:00+99", "22008", message);
    let message = "timestamp out of range: \"300000-01-01\"";
    refused(ColumnType::TimestampTz, "300000-01-01", "22008", message);
    let place = Datum::parse("2024-01-31 12:00 Europe/Berlin", ColumnType::TimestampTz);
    assert_eq!(place.unwrap_err().code, "0A000");
}

#[test]
fn scalars_that_a_column_holds_exactly_become_its_values() {
    let decimal = |unscaled, scale| ScalarValue::Decimal128(Some(unscaled), 20, scale);
    let from = Datum::from_scalar;
    assert_eq!(from(&ScalarValue::Int32(Some(7)), ColumnType::Int2), Some(Datum::Int(7)));
    assert_eq!(from(&ScalarValue::Int64(Some(70_000)), ColumnType::Int2), None);
    assert_eq!(from(&ScalarValue::Int64(None), ColumnType::Text), Some(Datum::Null));
    assert_eq!(from(&decimal(1500, 3), DECIMAL), Some(Datum::Decimal(150, 2)));
    assert_eq!(from(&decimal(1501, 3), DECIMAL), None);
    assert_eq!(from(&ScalarValue::Int64(Some(3)), DECIMAL), Some(Datum::Decimal(300, 2)));
    assert_eq!(from(&ScalarValue::Utf8(Some("x".into())), ColumnType::Int8), None);
    let at = ScalarValue::TimestampMicrosecond(Some(5), None);
    assert_eq!(from(&at, ColumnType::TimestampTz), None, "a local time is another kind");
}

#[test]
fn values_are_fitted_into_columns() {
    assert_eq!(DECIMAL.fit(Datum::Decimal(12_345, 3)).unwrap(), Datum::Decimal(1235, 2));
    assert_eq!(
        ColumnType::Int2.fit(Datum::Int(70_000)).unwrap_err().message,
        "smallint out of range"
    );
    assert_eq!(ColumnType::Varchar(2).fit(Datum::Text("abc".into())).unwrap_err().code, "22001");
    assert_eq!(ColumnType::Bool.fit(Datum::Int(1)).unwrap_err().code, "42804");
    assert_eq!(ColumnType::Bool.fit(Datum::Null).unwrap(), Datum::Null);
}

fn any_type() -> impl Strategy<Value = ColumnType> {
    prop_oneof![
        Just(ColumnType::Int2),
        Just(ColumnType::Int4),
        Just(ColumnType::Int8),
        Just(ColumnType::Float8),
        (1_u8..=38).prop_flat_map(|precision| {
            (0..=precision).prop_map(move |scale| ColumnType::Decimal { precision, scale })
        }),
        Just(ColumnType::Bool),
        Just(ColumnType::Text),
        (1_u32..20).prop_map(ColumnType::Varchar),
        Just(ColumnType::Date),
        Just(ColumnType::TimestampTz),
    ]
}

/// Any value of a type, NULL among them.
pub(crate) fn any_datum(ty: ColumnType) -> BoxedStrategy<Datum> {
    let value = match ty {
        ColumnType::Int2 => any::<i16>().prop_map(|n| Datum::Int(n.into())).boxed(),
        ColumnType::Int4 => any::<i32>().prop_map(|n| Datum::Int(n.into())).boxed(),
        ColumnType::Int8 => any::<i64>().prop_map(Datum::Int).boxed(),
        ColumnType::Float8 => any::<f64>().prop_map(Datum::Float).boxed(),
        ColumnType::Decimal { precision, scale } => {
            let limit = 10_i128.pow(precision.into());
            prop_oneof![1 - limit..limit, -100_i128.min(limit - 1)..100_i128.min(limit)]
                .prop_map(move |unscaled| Datum::Decimal(unscaled % limit, scale))
                .boxed()
        }
        ColumnType::Bool => any::<bool>().prop_map(Datum::Bool).boxed(),
        ColumnType::Text => "[^\\x00]{0,40}".prop_map(Datum::Text).boxed(),
        ColumnType::Varchar(characters) => {
            proptest::string::string_regex(&format!("[a-zäöü]{{0,{characters}}}"))
                .unwrap()
                .prop_map(Datum::Text)
                .boxed()
        }
        ColumnType::Date => (-2_440_588..2_145_042_905_i32).prop_map(Datum::Date).boxed(),
        ColumnType::TimestampTz => {
            (-210_866_803_200_000_000..i64::MAX).prop_map(Datum::TimestampTz).boxed()
        }
    };
    prop_oneof![1 => Just(Datum::Null), 6 => value].boxed()
}

pub(crate) fn any_typed() -> impl Strategy<Value = (ColumnType, Datum)> {
    any_type().prop_flat_map(|ty| any_datum(ty).prop_map(move |value| (ty, value)))
}

proptest! {
    #[test]
    fn what_is_written_reads_back((ty, value) in any_typed()) {
        if !value.is_null() {
            let text = value.to_string();
            let back = Datum::parse(&text, ty);
            prop_assert!(back.is_ok(), "{} as {}: {:?}", text, ty, back);
            let same = match (&back.unwrap(), &value) {
                (Datum::Float(a), Datum::Float(b)) if a.is_nan() => b.is_nan(),
                (back, value) => back == value,
            };
            prop_assert!(same, "{} as {}", text, ty);
        }
    }

    #[test]
    fn scalars_go_both_ways((ty, value) in any_typed()) {
        let back = Datum::from_scalar(&value.to_scalar(ty), ty);
        match (&back, &value) {
            (Some(Datum::Float(a)), Datum::Float(b)) if b.is_nan() => prop_assert!(a.is_nan()),
            _ => prop_assert_eq!(back, Some(value)),
        }
    }

    #[test]
    fn no_text_makes_a_reader_panic(ty in any_type(), text in "\\PC{0,40}") {
        let _ = Datum::parse(&text, ty);
    }

    #[test]
    fn nothing_like_a_number_or_date_makes_a_reader_panic(
        ty in any_type(),
        text in "[-+0-9.:eE/ TZJabcnuryx_,]{0,30}",
    ) {
        let _ = Datum::parse(&text, ty);
    }
}
