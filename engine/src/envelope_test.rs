use proptest::prelude::*;

use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn golden_bytes_of_the_envelope() {
    let check = |family, key: &[u8], kind, body: &[u8], expect: &str| {
        let sealed = seal(family, key, kind, body);
        assert_eq!(hex(&sealed), expect);
        assert_eq!(open(family, key, &sealed), Ok((kind, body)));
    };
    check(
        Family::Claims,
        &[0; 9],
        kind::COUNTER,
        &[0, 0, 0, 0, 0, 0, 1, 1],
        "ca010200080000000000000000000101cc546fa0",
    );
    check(
        Family::Catalog,
        b"\0format",
        kind::FORMAT,
        &[0, 0, 0, 1],
        "ca01010004000000000000011a1d631a",
    );
    check(Family::Jobs, b"", kind::JOB_CONTROL, b"", "ca01200000000000d85e1d2c");
}

#[test]
fn every_flipped_bit_is_noticed() {
    let sealed = seal(Family::Jobs, b"key", kind::JOB_CONTROL, b"body");
    for bit in 0..sealed.len() * 8 {
        let mut bytes = sealed.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let damage = open(Family::Jobs, b"key", &bytes).unwrap_err();
        assert_eq!((damage.family, &damage.key[..]), (Family::Jobs, &b"key"[..]));
    }
}

#[test]
fn every_cut_and_every_tail_is_noticed() {
    let sealed = seal(Family::Jobs, b"key", kind::JOB_CONTROL, b"body");
    for length in 0..sealed.len() {
        assert!(open(Family::Jobs, b"key", &sealed[..length]).is_err(), "cut to {length}");
    }
    let mut longer = sealed.to_vec();
    longer.push(0);
    assert!(open(Family::Jobs, b"key", &longer).is_err());
}

#[test]
fn a_good_record_in_a_wrong_place_is_damage() {
    let sealed = seal(Family::Jobs, b"key", kind::JOB_CONTROL, b"body");
    assert!(open(Family::Jobs, b"kez", &sealed).is_err());
    assert!(open(Family::Progress, b"key", &sealed).is_err());
}

#[test]
fn an_unknown_kind_is_damage_unless_it_is_an_embedders() {
    let unknown = seal(Family::Jobs, b"key", Kind(0xBF), b"");
    let damage = open(Family::Jobs, b"key", &unknown).unwrap_err();
    assert_eq!(damage.expected, "a kind of record that this release knows");
    let embedders = seal(Family::Jobs, b"key", kind::FIRST_OF_EMBEDDERS, b"");
    assert!(open(Family::Jobs, b"key", &embedders).is_ok());
}

#[test]
fn kinds_are_listed_once_each_in_order() {
    for pair in kind::ALL.windows(2) {
        assert!(pair[0].0 < pair[1].0, "{} and {}", pair[0].1, pair[1].1);
    }
    assert!(kind::ALL.iter().all(|(kind, _)| *kind < kind::FIRST_OF_EMBEDDERS && kind.0 != 0));
}

#[test]
fn the_format_page_lists_every_kind() {
    let page = include_str!("../../docs/format.md");
    for (kind, name) in kind::ALL {
        let row = format!("| `{:02x}` | {name} |", kind.0);
        assert!(page.contains(&row), "docs/format.md has no row {row}");
    }
}

fn family() -> impl Strategy<Value = Family> {
    prop::sample::select(Family::ALL.to_vec())
}

fn known_kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(kind::ALL.iter().map(|(kind, _)| *kind).collect::<Vec<_>>())
}

proptest! {
    #[test]
    fn what_was_sealed_opens(
        family in family(), key: Vec<u8>, kind in known_kind(), body: Vec<u8>,
    ) {
        let sealed = seal(family, &key, kind, &body);
        prop_assert_eq!(open(family, &key, &sealed), Ok((kind, &body[..])));
    }

    #[test]
    fn any_bytes_get_an_answer(family in family(), key: Vec<u8>, bytes: Vec<u8>) {
        if let Ok((kind, body)) = open(family, &key, &bytes) {
            prop_assert_eq!(&seal(family, &key, kind, body)[..], &bytes[..]);
        }
    }
}
