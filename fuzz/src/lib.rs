//! The bodies of the fuzz targets: plain functions, so that a failing input becomes a test.

use cairn_engine::envelope::{self, Kind};
use cairn_engine::key::{self, Direction, Layout};
use cairn_engine::{Family, SpanId};

/// Strategy: arbitrary bytes are opened as a record of every family, and sealed as one.
/// Invariants: opening never panics; what was sealed opens to the same; under another key, in another family,
/// or with one byte changed it does not.
pub fn envelope(data: &[u8]) {
    for family in Family::ALL {
        let _ = envelope::open(family, b"key", data);
    }
    let kind = Kind(0xC0);
    let sealed = envelope::seal(Family::Jobs, b"key", kind, data);
    assert_eq!(envelope::open(Family::Jobs, b"key", &sealed), Ok((kind, data)));
    assert!(envelope::open(Family::Jobs, b"kez", &sealed).is_err());
    assert!(envelope::open(Family::Claims, b"key", &sealed).is_err());
    let mut damaged = sealed.to_vec();
    let at = data.len() % damaged.len();
    damaged[at] ^= 1 << (data.len() % 8);
    assert!(envelope::open(Family::Jobs, b"key", &damaged).is_err());
}

/// Strategy: arbitrary bytes are read as a key of every layout and direction.
/// Invariants: reading never panics; what is read encodes to exactly the bytes that were read (one encoding per
/// value); skipping ends where reading does; a row key comes apart into what it was made of.
pub fn keys(data: &[u8]) {
    for direction in [Direction::Asc, Direction::Desc] {
        again(data, direction, key::take_i64, |out, value| key::put_i64(out, value, direction));
        again(data, direction, key::take_f64, |out, value| key::put_f64(out, value, direction));
        again(data, direction, key::take_bool, |out, value| key::put_bool(out, value, direction));
        for layout in [Layout::Bool, Layout::Int, Layout::Float, Layout::Text, Layout::Decimal] {
            let mut rest = data;
            let _ = key::skip(&mut rest, layout, direction);
        }
        let mut rest = data;
        if let Ok(Some(bytes)) = key::take_bytes(&mut rest, direction) {
            let mut encoded = Vec::new();
            key::put_bytes(&mut encoded, &bytes, direction);
            assert_eq!(encoded, data[..data.len() - rest.len()]);
        }
        let mut rest = data;
        if let Ok(Some((unscaled, scale))) = key::take_decimal(&mut rest, direction) {
            let mut encoded = Vec::new();
            key::put_decimal(&mut encoded, unscaled, scale, direction);
            assert_eq!(encoded, data[..data.len() - rest.len()]);
        }
    }
    if let Some((span, user_key)) = key::split_row_key(data) {
        assert_eq!(key::row_key(span, user_key), data);
    }
    let (lower, upper) = key::span_bounds(SpanId::from_raw(7));
    let row = key::row_key(SpanId::from_raw(7), data);
    assert!(lower.as_slice() <= row.as_slice() && row.as_slice() < upper.as_slice());
}

fn again<T: Copy>(
    data: &[u8],
    direction: Direction,
    take: impl Fn(&mut &[u8], Direction) -> Result<Option<T>, key::KeyDamage>,
    put: impl Fn(&mut Vec<u8>, T),
) {
    let mut rest = data;
    if let Ok(Some(value)) = take(&mut rest, direction) {
        let mut encoded = Vec::new();
        put(&mut encoded, value);
        assert_eq!(encoded, data[..data.len() - rest.len()]);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_targets_hold_on_simple_inputs() {
        for length in 0..64u8 {
            let data: Vec<u8> = (0..length).map(|n| n.wrapping_mul(37) ^ length).collect();
            super::envelope(&data);
            super::keys(&data);
        }
    }
}
