//! Golden bytes: what is written today can be read by every later release.

use super::*;
use crate::history::HistoryRecord;
use crate::settings::SettingRecord;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn id() -> JobId {
    JobId::from_raw(0x0102).unwrap()
}

fn control() -> Control {
    Control {
        id: id(),
        kind: "IMPORT".to_owned(),
        standing: Standing { state: State::Reverting, cause: Some(Cause::Failure) },
        epoch: Epoch::from_raw(4),
        description: "d".to_owned(),
        statement: "s".to_owned(),
        user: "root".to_owned(),
        subject: Some(9),
        cancellable: true,
        has_undo: true,
        created: UnixMillis::from_raw(1),
        started: Some(UnixMillis::from_raw(2)),
        finished: None,
        modified: UnixMillis::from_raw(3),
        attempts: 5,
        retries: 6,
        next_run: Some(UnixMillis::from_raw(7)),
        message: "m".to_owned(),
        pause_point: "p".to_owned(),
        error: Some(Failure::new("22P02", "bad").with_hint("h")),
        history_next: 8,
    }
}

#[test]
fn the_bytes_of_every_record_are_fixed() {
    let golden = [
        (
            control().record().encode_to_vec(),
            "0a06494d504f5254100618022004\
             2a0164320173\
             3a04726f6f744009\
             48015001\
             580160027003\
             7805800106\
             880107\
             92\
             01016d9a010170a201\
             0f0a0532325030321203626164\
             220168a80108",
        ),
        (
            PayloadRecord { version: 1, args: Bytes::from_static(b"ab") }.encode_to_vec(),
            "080112026162",
        ),
        (
            CheckpointRecord { version: 1, sequence: 300, body: Bytes::from_static(b"c") }
                .encode_to_vec(),
            "080110ac021a0163",
        ),
        (
            ProgressRecord {
                phase: "sort".to_owned(),
                fraction: 0.5,
                rows: 1,
                index_entries: 2,
                bytes: 3,
                bytes_total: 4,
                message: "f".to_owned(),
            }
            .encode_to_vec(),
            "0a04736f727411000000000000e03f18012002280330043a0166",
        ),
        (
            HistoryRecord {
                at_ms: 1,
                event: "start".to_owned(),
                state: 2,
                message: "m".to_owned(),
                user: "u".to_owned(),
                epoch: 3,
            }
            .encode_to_vec(),
            "0801120573746172741802\
             22016d2a01753003",
        ),
        (SettingRecord { value: "1s".to_owned() }.encode_to_vec(), "0a023173"),
    ];
    for (bytes, expected) in golden {
        assert_eq!(hex(&bytes), expected);
    }
}

#[test]
fn the_keys_of_every_record_are_fixed() {
    assert_eq!(hex(&key(FIRST, id())), "010000000000000102");
    assert_eq!(hex(&key(SECOND, id())), "020000000000000102");
    assert_eq!(hex(&crate::history::key(id(), 3)), "000000000000010200000003");
    assert_eq!(split_key(&key(SECOND, id())), Some((SECOND, id())));
    assert_eq!(split_key(b""), None);
    assert_eq!(split_key(b"\x01short"), None);
    assert_eq!(crate::history::split_key(&[0; 12]), None, "there is no job 0");
}

#[test]
fn a_control_record_reads_back_as_it_was_written() {
    let bytes = control().record().encode_to_vec();
    assert_eq!(Control::decode(&key(FIRST, id()), &bytes).unwrap(), control());
}

#[test]
fn unknown_states_and_causes_are_damage_and_not_guessed_at() {
    let key = key(FIRST, id());
    for (state, cause) in [(0, 0), (11, 0), (2, 3)] {
        let record = ControlRecord { state, cause, ..control().record() };
        let damage = Control::decode(&key, &record.encode_to_vec()).unwrap_err();
        assert!(damage.expected.starts_with("a known"), "{damage}");
    }
    assert!(Control::decode(&key, &[0xFF]).is_err());
    assert!(Control::decode(b"\x01", &control().record().encode_to_vec()).is_err());
}

#[test]
fn fields_of_a_later_release_are_passed_over() {
    let mut bytes = control().record().encode_to_vec();
    bytes.extend_from_slice(&[0xF8, 0x3F, 0x01]);
    assert_eq!(Control::decode(&key(FIRST, id()), &bytes).unwrap(), control());
}
