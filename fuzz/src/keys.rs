//! The order-preserving encoding of keys.

use std::cmp::Ordering;

use arbitrary::{Arbitrary, Unstructured};
use cairn_engine::SpanId;
use cairn_engine::key::{self, Direction, KeyDamage, Layout};

/// Strategy: the bytes are read as a key of every layout and direction; and two values of one type, taken from
/// them, are encoded.
/// Invariants: reading never panics; what is read encodes to exactly the bytes that were read (one encoding per
/// value); skipping ends where reading does; a row key comes apart into what it was made of; bytes of keys are
/// ordered as the values are, and the other way round descending; no encoding is a prefix of another.
pub fn keys(data: &[u8]) {
    for direction in [Direction::Asc, Direction::Desc] {
        again(data, direction, Layout::Int, key::take_i64, |out, value| {
            key::put_i64(out, *value, direction);
        });
        again(data, direction, Layout::Float, key::take_f64, |out, value| {
            key::put_f64(out, *value, direction);
        });
        again(data, direction, Layout::Bool, key::take_bool, |out, value| {
            key::put_bool(out, *value, direction);
        });
        again(data, direction, Layout::Text, key::take_bytes, |out, value| {
            key::put_bytes(out, value, direction);
        });
        again(data, direction, Layout::Text, key::take_text, |out, value| {
            key::put_text(out, value, direction);
        });
        again(data, direction, Layout::Decimal, key::take_decimal, |out, (unscaled, scale)| {
            key::put_decimal(out, *unscaled, *scale, direction);
        });
        for layout in [Layout::Bool, Layout::Int, Layout::Float, Layout::Text, Layout::Decimal] {
            let mut rest = data;
            let _ = key::skip(&mut rest, layout, direction);
        }
    }
    if let Some((span, user_key)) = key::split_row_key(data) {
        assert_eq!(key::row_key(span, user_key), data);
    }
    let (lower, upper) = key::span_bounds(SpanId::from_raw(7));
    let row = key::row_key(SpanId::from_raw(7), data);
    assert!(lower.as_slice() <= row.as_slice() && row.as_slice() < upper.as_slice());
    if let Some(end) = key::prefix_end(data) {
        assert!(data < end.as_slice());
    }
    if let Ok(pair) = Pair::arbitrary_take_rest(Unstructured::new(data)) {
        pair.check();
    }
}

fn again<T>(
    data: &[u8],
    direction: Direction,
    layout: Layout,
    take: impl Fn(&mut &[u8], Direction) -> Result<Option<T>, KeyDamage>,
    put: impl Fn(&mut Vec<u8>, &T),
) {
    let mut rest = data;
    let Ok(value) = take(&mut rest, direction) else { return };
    let read = &data[..data.len() - rest.len()];
    let mut encoded = Vec::new();
    match &value {
        Some(value) => put(&mut encoded, value),
        None => key::put_null(&mut encoded, direction),
    }
    assert_eq!(encoded, read);
    let mut skipped = data;
    assert!(key::skip(&mut skipped, layout, direction).is_ok());
    assert_eq!(skipped.len(), rest.len());
}

/// Two values of one type; `None` is NULL.
#[derive(Arbitrary, Debug)]
enum Pair {
    Int(Option<i64>, Option<i64>),
    Float(Option<f64>, Option<f64>),
    Bool(Option<bool>, Option<bool>),
    Text(Option<String>, Option<String>),
    Bytes(Option<Vec<u8>>, Option<Vec<u8>>),
    /// Unscaled number and scale.
    Decimal((i64, u8), (i64, u8)),
}

impl Pair {
    fn check(&self) {
        let order = match self {
            Self::Int(a, b) => a.cmp(b),
            Self::Bool(a, b) => a.cmp(b),
            Self::Text(a, b) => a.cmp(b),
            Self::Bytes(a, b) => a.cmp(b),
            Self::Float(a, b) => match (a, b) {
                (Some(a), Some(b)) => floats(*a, *b),
                (a, b) => a.is_some().cmp(&b.is_some()),
            },
            Self::Decimal(a, b) => scaled(*a).cmp(&scaled(*b)),
        };
        let [(a, b), (c, d)] = [Direction::Asc, Direction::Desc].map(|direction| {
            let (mut a, mut b) = (Vec::new(), Vec::new());
            self.encode(&mut a, &mut b, direction);
            (a, b)
        });
        assert_eq!(a.cmp(&b), order, "{self:?}");
        assert_eq!(c.cmp(&d), order.reverse(), "{self:?}, descending");
        if order != Ordering::Equal {
            assert!(!a.starts_with(&b) && !b.starts_with(&a), "{self:?}");
        }
    }

    fn encode(&self, a: &mut Vec<u8>, b: &mut Vec<u8>, direction: Direction) {
        fn put<T>(
            out: &mut Vec<u8>,
            value: Option<T>,
            direction: Direction,
            put: impl Fn(&mut Vec<u8>, T, Direction),
        ) {
            match value {
                Some(value) => put(out, value, direction),
                None => key::put_null(out, direction),
            }
        }
        match self {
            Self::Int(x, y) => {
                put(a, *x, direction, key::put_i64);
                put(b, *y, direction, key::put_i64);
            }
            Self::Float(x, y) => {
                put(a, *x, direction, key::put_f64);
                put(b, *y, direction, key::put_f64);
            }
            Self::Bool(x, y) => {
                put(a, *x, direction, key::put_bool);
                put(b, *y, direction, key::put_bool);
            }
            Self::Text(x, y) => {
                put(a, x.as_deref(), direction, key::put_text);
                put(b, y.as_deref(), direction, key::put_text);
            }
            Self::Bytes(x, y) => {
                put(a, x.as_deref(), direction, key::put_bytes);
                put(b, y.as_deref(), direction, key::put_bytes);
            }
            Self::Decimal(x, y) => {
                key::put_decimal(a, x.0.into(), x.1 % 19, direction);
                key::put_decimal(b, y.0.into(), y.1 % 19, direction);
            }
        }
    }
}

/// -0.0 is 0.0, and NaN is one value above all others.
fn floats(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// At scale 18.
fn scaled((unscaled, scale): (i64, u8)) -> i128 {
    i128::from(unscaled) * 10_i128.pow(u32::from(18 - scale % 19))
}
