use std::cmp::Ordering;

use proptest::prelude::*;

use super::Direction::{Asc, Desc};
use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Encodes ascending and compares; descending must be the complement.
fn golden(put: impl Fn(&mut Vec<u8>, Direction), expect: &str) {
    let (mut asc, mut desc) = (Vec::new(), Vec::new());
    put(&mut asc, Asc);
    put(&mut desc, Desc);
    assert_eq!(hex(&asc), expect);
    assert!(asc.iter().map(|byte| !byte).eq(desc), "descending is not the complement of {expect}");
}

#[test]
fn golden_bytes_of_row_keys() {
    let span = SpanId::from_raw(0x0102_0304);
    assert_eq!(hex(&row_key(span, &[0xAA])), "000000000102030401aa");
    assert_eq!(hex(&span_bounds(span).0), "000000000102030401");
    assert_eq!(hex(&span_bounds(span).1), "000000000102030402");
    assert_eq!(split_row_key(&row_key(span, &[0xAA])), Some((span, &[0xAA][..])));
    assert_eq!(split_row_key(&span_bounds(span).1), None);
    assert_eq!(split_row_key(&[0; 8]), None);
}

#[test]
fn golden_bytes_of_null_and_bool() {
    golden(put_null, "00");
    golden(|out, d| put_bool(out, false, d), "0100");
    golden(|out, d| put_bool(out, true, d), "0101");
}

#[test]
fn golden_bytes_of_integers() {
    golden(|out, d| put_i64(out, 0, d), "018000000000000000");
    golden(|out, d| put_i64(out, 1, d), "018000000000000001");
    golden(|out, d| put_i64(out, -1, d), "017fffffffffffffff");
    golden(|out, d| put_i64(out, i64::MIN, d), "010000000000000000");
    golden(|out, d| put_i64(out, i64::MAX, d), "01ffffffffffffffff");
}

#[test]
fn golden_bytes_of_floats() {
    golden(|out, d| put_f64(out, 0.0, d), "018000000000000000");
    golden(|out, d| put_f64(out, -0.0, d), "018000000000000000");
    golden(|out, d| put_f64(out, 1.0, d), "01bff0000000000000");
    golden(|out, d| put_f64(out, -1.0, d), "01400fffffffffffff");
    golden(|out, d| put_f64(out, f64::NEG_INFINITY, d), "01000fffffffffffff");
    golden(|out, d| put_f64(out, f64::INFINITY, d), "01fff0000000000000");
    golden(|out, d| put_f64(out, f64::NAN, d), "01fff8000000000000");
    golden(|out, d| put_f64(out, -f64::NAN, d), "01fff8000000000000");
}

#[test]
fn golden_bytes_of_texts() {
    golden(|out, d| put_text(out, "", d), "010001");
    golden(|out, d| put_text(out, "ab", d), "0161620001");
    golden(|out, d| put_text(out, "a\0b", d), "016100ff620001");
    golden(|out, d| put_bytes(out, &[0, 0, 0xFF], d), "0100ff00ffff0001");
}

#[test]
fn golden_bytes_of_decimals() {
    golden(|out, d| put_decimal(out, 0, 0, d), "0102");
    golden(|out, d| put_decimal(out, 0, 9, d), "0102");
    golden(|out, d| put_decimal(out, 1, 0, d), "010380010b00");
    golden(|out, d| put_decimal(out, 100, 2, d), "010380010b00");
    golden(|out, d| put_decimal(out, -1, 0, d), "01017ffef4ff");
    golden(|out, d| put_decimal(out, 12345, 2, d), "010380030d233300");
    golden(|out, d| put_decimal(out, -12345, 2, d), "01017ffcf2dcccff");
    golden(|out, d| put_decimal(out, 5, 3, d), "01037ffe3300");
    golden(|out, d| put_decimal(out, 1000, 0, d), "010380040b00");
    golden(
        |out, d| put_decimal(out, i128::MIN, 0, d),
        "01017fd8edfdd5ecdcc2d0a2dfb5eea7e0d9efa6d5f9b6aeff",
    );
}

#[test]
fn null_comes_first_ascending_and_last_descending() {
    let encode = |direction| {
        let (mut null, mut value) = (Vec::new(), Vec::new());
        put_null(&mut null, direction);
        put_i64(&mut value, i64::MIN, direction);
        null.cmp(&value)
    };
    assert_eq!(encode(Asc), Ordering::Less);
    assert_eq!(encode(Desc), Ordering::Greater);
}

#[test]
fn a_second_encoding_of_a_value_is_damage() {
    let refused: [(&str, &[u8]); 8] = [
        ("a BOOL of two", &[1, 2]),
        ("an unknown marker", &[2, 0]),
        ("negative zero", &[1, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),
        ("another NaN", &[1, 0xFF, 0xF8, 0, 0, 0, 0, 0, 1]),
        ("a DECIMAL with a leading zero", &[1, 3, 0x80, 1, 0x02, 0]),
        ("a DECIMAL with a last zero", &[1, 3, 0x80, 1, 0x0B, 0x01, 0]),
        ("a DECIMAL without digits", &[1, 3, 0x80, 1, 0]),
        ("a text with an unknown escape", &[1, 0x61, 0, 2]),
    ];
    for (what, bytes) in refused {
        let taken = match what {
            "a BOOL of two" => take_bool(&mut &bytes[..], Asc).map(drop),
            "negative zero" | "another NaN" => take_f64(&mut &bytes[..], Asc).map(drop),
            "a text with an unknown escape" => take_text(&mut &bytes[..], Asc).map(drop),
            _ => take_decimal(&mut &bytes[..], Asc).map(drop),
        };
        assert!(taken.is_err(), "{what} was taken");
    }
}

#[test]
fn a_prefix_ends_where_the_next_one_begins() {
    assert_eq!(prefix_end(&[1, 2]), Some(vec![1, 3]));
    assert_eq!(prefix_end(&[1, 0xFF, 0xFF]), Some(vec![2]));
    assert_eq!(prefix_end(&[0xFF]), None);
    assert_eq!(prefix_end(&[]), None);
}

#[derive(Clone, Debug)]
enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    Decimal(i128, u8),
}

impl Value {
    fn put(&self, out: &mut Vec<u8>, direction: Direction) {
        match self {
            Self::Null => put_null(out, direction),
            Self::Bool(value) => put_bool(out, *value, direction),
            Self::Int(value) => put_i64(out, *value, direction),
            Self::Float(value) => put_f64(out, *value, direction),
            Self::Text(value) => put_text(out, value, direction),
            Self::Bytes(value) => put_bytes(out, value, direction),
            Self::Decimal(unscaled, scale) => put_decimal(out, *unscaled, *scale, direction),
        }
    }

    fn layout(&self) -> Layout {
        match self {
            Self::Bool(_) => Layout::Bool,
            Self::Null | Self::Int(_) => Layout::Int,
            Self::Float(_) => Layout::Float,
            Self::Text(_) | Self::Bytes(_) => Layout::Text,
            Self::Decimal(..) => Layout::Decimal,
        }
    }

    /// Takes a value of the same type.
    fn take(&self, input: &mut &[u8], direction: Direction) -> Result<Self, KeyDamage> {
        Ok(match self {
            Self::Null => take_i64(input, direction)?.map(Self::Int),
            Self::Bool(_) => take_bool(input, direction)?.map(Self::Bool),
            Self::Int(_) => take_i64(input, direction)?.map(Self::Int),
            Self::Float(_) => take_f64(input, direction)?.map(Self::Float),
            Self::Text(_) => take_text(input, direction)?.map(Self::Text),
            Self::Bytes(_) => take_bytes(input, direction)?.map(Self::Bytes),
            Self::Decimal(..) => {
                take_decimal(input, direction)?.map(|(value, scale)| Self::Decimal(value, scale))
            }
        }
        .unwrap_or(Self::Null))
    }

    /// The order of SQL; only for two values of one type, or NULL.
    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Null, Self::Null) => Ordering::Equal,
            (Self::Null, _) => Ordering::Less,
            (_, Self::Null) => Ordering::Greater,
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Float(a), Self::Float(b)) => match (a.is_nan(), b.is_nan()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => a.partial_cmp(b).unwrap(),
            },
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Bytes(a), Self::Bytes(b)) => a.cmp(b),
            (Self::Decimal(a, p), Self::Decimal(b, q)) => compare_decimals((*a, *p), (*b, *q)),
            _ => panic!("two types"),
        }
    }
}

/// Compares on decimal text, to have nothing in common with the encoder.
fn compare_decimals(a: (i128, u8), b: (i128, u8)) -> Ordering {
    let scale = usize::from(a.1.max(b.1));
    let digits = |(value, own): (i128, u8)| {
        let zeros = "0".repeat(scale - usize::from(own));
        format!("{:0>400}", format!("{}{zeros}", value.unsigned_abs()))
    };
    match (a.0 < 0, b.0 < 0) {
        (false, true) => Ordering::Greater,
        (true, false) => Ordering::Less,
        (false, false) => digits(a).cmp(&digits(b)),
        (true, true) => digits(b).cmp(&digits(a)),
    }
}

fn float() -> impl Strategy<Value = f64> {
    let special = [0.0, -0.0, f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.0, -1.0];
    prop_oneof![any::<u64>().prop_map(f64::from_bits), prop::sample::select(special.to_vec())]
}

/// Decimals of all sizes, with many trailing zeros and near misses.
fn decimal() -> impl Strategy<Value = (i128, u8)> {
    let unscaled = prop_oneof![
        any::<i128>(),
        any::<i64>().prop_map(i128::from),
        -120_i128..120,
        (-120_i128..120, 0_u32..36).prop_map(|(value, zeros)| value * 10_i128.pow(zeros)),
        Just(i128::MIN),
        Just(i128::MAX),
    ];
    (unscaled, prop_oneof![any::<u8>(), 0_u8..5, Just(255)])
}

/// Bytes in which zeros and their neighbours are frequent.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(0_u8), Just(1), Just(0xFE), Just(0xFF), any::<u8>()];
    prop::collection::vec(byte, 0..12)
}

fn text() -> impl Strategy<Value = String> {
    let char = prop_oneof![Just('\0'), Just('\u{1}'), Just('a'), any::<char>()];
    prop::collection::vec(char, 0..8).prop_map(|chars| chars.into_iter().collect())
}

/// Two values of one type, or NULL.
fn pair() -> impl Strategy<Value = (Value, Value)> {
    fn two<S: Strategy>(
        one: impl Fn() -> S,
        make: fn(S::Value) -> Value,
    ) -> impl Strategy<Value = (Value, Value)> {
        let nullable = move || prop_oneof![9 => one().prop_map(make), 1 => Just(Value::Null)];
        (nullable(), nullable())
    }
    prop_oneof![
        two(any::<bool>, Value::Bool),
        two(any::<i64>, Value::Int),
        two(float, Value::Float),
        two(text, Value::Text),
        two(bytes, Value::Bytes),
        two(decimal, |(unscaled, scale)| Value::Decimal(unscaled, scale)),
    ]
}

fn direction() -> impl Strategy<Value = Direction> {
    prop_oneof![Just(Asc), Just(Desc)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn keys_of_several_columns_order_as_their_values(
        columns in prop::collection::vec((pair(), direction()), 1..4),
    ) {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        let mut expect = Ordering::Equal;
        for ((x, y), direction) in &columns {
            x.put(&mut a, *direction);
            y.put(&mut b, *direction);
            let order = x.compare(y);
            expect = expect.then(if *direction == Asc { order } else { order.reverse() });
        }
        prop_assert_eq!(a.cmp(&b), expect, "{} and {}", hex(&a), hex(&b));
    }

    #[test]
    fn what_was_put_is_taken(columns in prop::collection::vec((pair(), direction()), 1..4)) {
        let mut key = Vec::new();
        for ((x, _), direction) in &columns {
            x.put(&mut key, *direction);
        }
        let (mut taken, mut skipped) = (&key[..], &key[..]);
        for ((x, y), direction) in &columns {
            // A NULL can be of any type: its neighbour tells which.
            let like = if matches!(x, Value::Null) { y } else { x };
            let value = like.take(&mut taken, *direction).unwrap();
            prop_assert_eq!(value.compare(x), Ordering::Equal);
            skip(&mut skipped, like.layout(), *direction).unwrap();
            prop_assert_eq!(taken, skipped);
        }
        prop_assert!(taken.is_empty());
    }

    #[test]
    fn any_bytes_get_an_answer_and_one_encoding_only(
        bytes in prop_oneof![bytes(), any::<Vec<u8>>()],
        marker in prop_oneof![Just(None), Just(Some(1_u8)), Just(Some(0xFE))],
        like in pair(),
        direction in direction(),
    ) {
        let bytes: Vec<u8> = marker.into_iter().chain(bytes).collect();
        let mut input = &bytes[..];
        if let Ok(value) = like.0.take(&mut input, direction) {
            let read = bytes.len() - input.len();
            let mut again = Vec::new();
            value.put(&mut again, direction);
            prop_assert_eq!(&again[..], &bytes[..read]);
        }
        let mut input = &bytes[..];
        let _ = skip(&mut input, like.0.layout(), direction);
        let _ = split_row_key(&bytes);
    }

    #[test]
    fn damaged_decimals_never_panic_and_have_one_encoding(
        (unscaled, scale) in decimal(),
        at in any::<prop::sample::Index>(),
        byte: u8,
        direction in direction(),
    ) {
        let mut key = Vec::new();
        put_decimal(&mut key, unscaled, scale, direction);
        let at = at.index(key.len());
        key[at] = byte;
        let mut input = &key[..];
        if let Ok(Some((unscaled, scale))) = take_decimal(&mut input, direction) {
            let mut again = Vec::new();
            put_decimal(&mut again, unscaled, scale, direction);
            prop_assert_eq!(&again[..], &key[..key.len() - input.len()]);
        }
    }

    #[test]
    fn the_end_of_a_prefix_is_above_all_its_keys(prefix in bytes(), tail in bytes()) {
        if let Some(end) = prefix_end(&prefix) {
            prop_assert!([&prefix[..], &tail].concat() < end);
            prop_assert!(!end.starts_with(&prefix));
        }
    }
}
