//! The envelope of every stored record.

use cairn_engine::Family;
use cairn_engine::envelope::{self, Kind};

/// Strategy: the bytes are opened as they are, in every family; they are sealed as the body of a record, and
/// then damaged at a place that depends on them; and they are taken for a header and a body, and given the
/// checksum they need, so that the checks of the header are reached.
/// Invariants: opening never panics; what was sealed opens to the same; under another key, in another family,
/// cut, lengthened, or with one bit changed it does not open; whatever opens is, byte for byte, what sealing
/// makes.
pub fn envelope(data: &[u8]) {
    for family in Family::ALL {
        opens_to_itself(family, data);
    }
    let kind = Kind(0xC0 | data.first().copied().unwrap_or(0));
    let sealed = envelope::seal(Family::Jobs, b"key", kind, data);
    assert_eq!(envelope::open(Family::Jobs, b"key", &sealed), Ok((kind, data)));
    assert!(envelope::open(Family::Jobs, b"kez", &sealed).is_err());
    assert!(envelope::open(Family::Jobs, b"ke", &sealed).is_err());
    assert!(envelope::open(Family::Claims, b"key", &sealed).is_err());
    assert!(envelope::open(Family::Jobs, b"key", &sealed[..sealed.len() - 1]).is_err());
    let place = data.iter().fold(data.len(), |sum, byte| sum.wrapping_mul(31) + usize::from(*byte));
    let mut damaged = sealed.to_vec();
    damaged[place / 8 % sealed.len()] ^= 1 << (place % 8);
    assert!(envelope::open(Family::Jobs, b"key", &damaged).is_err());
    let mut longer = sealed.to_vec();
    longer.push(0);
    assert!(envelope::open(Family::Jobs, b"key", &longer).is_err());

    let sum = crc32(&[Family::Catalog.name().as_bytes(), b"key", data]);
    opens_to_itself(Family::Catalog, &[data, &sum.to_le_bytes()].concat());
}

fn opens_to_itself(family: Family, bytes: &[u8]) {
    match envelope::open(family, b"key", bytes) {
        Ok((kind, body)) => {
            assert!(kind.name().is_some());
            assert_eq!(envelope::seal(family, b"key", kind, body), bytes);
        }
        Err(damage) => assert_eq!(damage.family, family),
    }
}

/// CRC-32 (IEEE), one bit at a time: written apart from the one it checks.
fn crc32(parts: &[&[u8]]) -> u32 {
    let mut sum = u32::MAX;
    for byte in parts.concat() {
        sum ^= u32::from(byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ 0xEDB8_8320 } else { sum >> 1 };
        }
    }
    !sum
}
