//! The harness can fail: each broken promise is reported, and what is allowed is not.

use super::*;
use crate::kill::source::{HAND_FROM, SOURCES, value};

/// The first good source, and a flawed one.
const GOOD: usize = 1;
const FLAWED: usize = 7;

/// One job, submitted and accepted with id 100.
fn with_job(source: usize) -> (Expected, Marker) {
    let mut expected = Expected::new(2, 1);
    let marker = expected.next_marker();
    expected.jobs.submit(marker, 0, Generation(0), &SOURCES[source], false);
    expected.jobs.accepted(marker, 100).unwrap();
    (expected, marker)
}

fn seen(marker: Marker, state: State, fraction: f64) -> Seen {
    Seen { marker: Some(marker), id: 100, state, fraction, bytes: None }
}

/// What a restart that shows the job so is found to break.
fn restarted(expected: &mut Expected, marker: Marker, state: State, fraction: f64) -> String {
    let faults = expected.jobs.restarted(&[seen(marker, state, fraction)], false);
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n")
}

fn summary_of(source: usize) -> Option<Summary> {
    Some(SOURCES[source].summary())
}

fn found_table(
    expected: &mut Expected,
    marker: Marker,
    state: State,
    found: Option<Summary>,
) -> bool {
    expected.found_table(0, &BTreeMap::from([(marker, state)]), found).is_ok()
}

#[test]
fn a_lost_or_changed_acknowledged_row_is_reported() {
    let acknowledged = Rows::from([(1, 10), (2, 20)]);
    for wrong in [
        Rows::from([(1, 10)]),
        Rows::from([(1, 10), (2, 21)]),
        Rows::from([(1, 10), (2, 20), (3, 30)]),
    ] {
        let mut expected = Expected::new(2, 1);
        expected.ledger[0].begin(acknowledged.clone());
        expected.ledger[0].acknowledge();
        let fault = expected.found_ledger(0, &wrong).unwrap_err();
        assert!(fault.found.contains("1 rows differ"), "{fault}");
        expected.found_ledger(0, &acknowledged).unwrap();
    }
}

#[test]
fn a_statement_under_way_is_there_wholly_or_not_at_all() {
    let (before, after) = (Rows::from([(1, 10), (2, 20)]), Rows::from([(1, 11), (2, 21)]));
    for (found, fits) in
        [(before.clone(), true), (after.clone(), true), (Rows::from([(1, 11), (2, 20)]), false)]
    {
        let mut expected = Expected::new(2, 1);
        expected.ledger[1].begin(before.clone());
        expected.ledger[1].acknowledge();
        expected.ledger[1].begin(after.clone());
        assert_eq!(expected.found_ledger(1, &found).is_ok(), fits, "{found:?}");
        if fits {
            assert_eq!(expected.ledger[1].value(), &found, "the next round goes on from there");
        }
    }
}

#[test]
fn money_that_is_lost_or_moved_twice_is_reported() {
    let moved = |amounts: [i64; 2]| {
        let mut balances = Bank::new().candidates().swap_remove(0);
        *balances.get_mut(&1).unwrap() -= amounts[0];
        *balances.get_mut(&2).unwrap() += amounts[1];
        balances
    };
    for (amounts, fits) in [
        ([10, 10], true),
        ([15, 15], true),
        ([0, 0], false),
        ([5, 5], false),
        ([15, 10], false),
        ([20, 20], false),
    ] {
        let mut expected = Expected::new(2, 1);
        expected.bank.begin(0, Transfer { from: 1, to: 2, amount: 10 });
        expected.bank.acknowledge(0);
        expected.bank.begin(1, Transfer { from: 1, to: 2, amount: 5 });
        assert_eq!(expected.found_bank(&moved(amounts)).is_ok(), fits, "{amounts:?}");
    }
}

#[test]
fn a_row_of_a_cancelled_import_is_reported() {
    let (mut expected, marker) = with_job(GOOD);
    expected.jobs.begin_cancel(&[marker]);
    expected.jobs.cancel_acknowledged(marker).unwrap();
    let known = expected.jobs.known();
    assert_eq!(expected.may_show(&known, 0), [Summary::default()]);
    assert!(restarted(&mut expected, marker, State::Succeeded, 1.0).contains("acknowledged"));

    let (mut expected, marker) = with_job(GOOD);
    expected.jobs.begin_cancel(&[marker]);
    assert_eq!(restarted(&mut expected, marker, State::Canceled, 0.5), "");
    let mut one_row = Summary::default();
    one_row.add(1, value(1));
    assert!(!found_table(&mut expected, marker, State::Canceled, Some(one_row)));
    assert!(!found_table(&mut expected, marker, State::Canceled, summary_of(GOOD)));
    assert!(found_table(&mut expected, marker, State::Canceled, Some(Summary::default())));
}

#[test]
fn an_import_is_seen_whole_once_it_succeeded_and_not_before() {
    let (mut expected, marker) = with_job(GOOD);
    let mut part = SOURCES[GOOD].summary();
    part.remove(7, value(7));
    for (state, found, fits) in [
        (State::Running, Some(Summary::default()), true),
        (State::Running, summary_of(GOOD), false),
        (State::Running, Some(part), false),
        (State::Succeeded, Some(part), false),
        (State::Succeeded, Some(Summary::default()), false),
        (State::Succeeded, None, false),
        (State::Succeeded, summary_of(GOOD), true),
    ] {
        assert_eq!(found_table(&mut expected, marker, state, found), fits, "{state} {found:?}");
    }
}

#[test]
fn a_changed_end_is_reported() {
    for (end, later) in [
        (State::Succeeded, State::Running),
        (State::Succeeded, State::Canceled),
        (State::Succeeded, State::Failed),
    ] {
        let (mut expected, marker) = with_job(GOOD);
        expected.jobs.heard_end(marker, end).unwrap();
        assert!(restarted(&mut expected, marker, later, 1.0).contains("for good"), "{end} {later}");
    }
    let (mut expected, marker) = with_job(FLAWED);
    assert_eq!(restarted(&mut expected, marker, State::Failed, 0.5), "");
    assert!(restarted(&mut expected, marker, State::Running, 0.5).contains("failed for good"));
    assert!(expected.jobs.heard_end(marker, State::Canceled).is_err());
}

#[test]
fn progress_that_goes_back_is_reported() {
    let (mut expected, marker) = with_job(GOOD);
    assert_eq!(restarted(&mut expected, marker, State::Running, 0.5), "");
    assert!(restarted(&mut expected, marker, State::Running, 0.49).contains("0.5 or more"));
    let before = expected.jobs.known();
    let bytes =
        |bytes| Seen { marker: None, bytes: Some(bytes), ..seen(marker, State::Running, 0.5) };
    assert!(expected.jobs.listed(&before, &[bytes(1000)], false).is_empty());
    let before = expected.jobs.known();
    assert_eq!(expected.jobs.listed(&before, &[bytes(999)], false).len(), 1);
    assert!(restarted(&mut expected, marker, State::Pending, 0.5).contains("begun"));
}

#[test]
fn ids_that_come_twice_go_back_or_change_are_reported() {
    let (mut expected, marker) = with_job(GOOD);
    let mut submit = |id| {
        let marker = expected.next_marker();
        expected.jobs.submit(marker, 0, Generation(0), &SOURCES[GOOD], false);
        expected.jobs.accepted(marker, id).map(|()| marker)
    };
    assert!(submit(100).unwrap_err().found.contains("op 1"));
    assert!(submit(99).unwrap_err().expected.contains("above 100"));
    submit(101).unwrap();
    assert!(expected.jobs.accepted(marker, 102).is_err());
}

#[test]
fn a_job_that_is_lost_or_that_nobody_asked_for_is_reported() {
    let (mut expected, marker) = with_job(GOOD);
    let faults = expected.jobs.restarted(&[], false);
    assert!(faults[0].to_string().contains("not listed"), "{faults:?}");

    let strange = seen(Marker(77), State::Running, 0.0);
    let seen = [seen(marker, State::Running, 0.0), Seen { id: 101, ..strange }];
    let faults = expected.jobs.restarted(&seen, false);
    assert!(faults.len() == 1 && faults[0].what.contains("op 77"), "{faults:?}");
}

#[test]
fn a_submission_that_was_not_answered_may_be_there_or_not_but_does_not_come_later() {
    let submit = || {
        let mut expected = Expected::new(2, 1);
        let marker = expected.next_marker();
        expected.jobs.submit(marker, 0, Generation(0), &SOURCES[GOOD], false);
        (expected, marker)
    };
    let (mut expected, marker) = submit();
    assert_eq!(restarted(&mut expected, marker, State::Running, 0.0), "");
    let (mut expected, marker) = submit();
    assert!(expected.jobs.restarted(&[], false).is_empty());
    assert!(restarted(&mut expected, marker, State::Running, 0.0).contains("no such job"));
}

#[test]
fn what_nobody_asked_for_does_not_happen_to_a_job() {
    for (state, text) in [
        (State::Canceled, "nothing would have led to it"),
        (State::CancelRequested, "nothing would have led to it"),
        (State::Paused, "nothing would have led to it"),
        (State::Failed, "nothing would have led to it"),
        (State::Reverting, "nothing would have led to it"),
        (State::RevertFailed, "nothing would have led to it"),
        (State::Running, ""),
        (State::Succeeded, ""),
    ] {
        let (mut expected, marker) = with_job(GOOD);
        let faults = restarted(&mut expected, marker, state, 1.0);
        assert!(faults.contains(text) && faults.is_empty() == text.is_empty(), "{state}: {faults}");
    }
    let (mut expected, marker) = with_job(FLAWED);
    assert_ne!(restarted(&mut expected, marker, State::Succeeded, 1.0), "");
}

#[test]
fn a_pause_holds_until_it_is_resumed_or_cancelled() {
    let paused = || {
        let (mut expected, marker) = with_job(GOOD);
        expected.jobs.begin_pause(marker);
        expected.jobs.end_control(marker, Hold::Held);
        (expected, marker)
    };
    let (mut expected, marker) = paused();
    assert_eq!(restarted(&mut expected, marker, State::Paused, 0.5), "");
    let (mut expected, marker) = paused();
    assert!(restarted(&mut expected, marker, State::Running, 0.5).contains("paused"));
    let (mut expected, marker) = paused();
    expected.jobs.begin_resume(marker);
    assert_eq!(restarted(&mut expected, marker, State::Running, 0.5), "");
    let (mut expected, marker) = paused();
    expected.jobs.begin_cancel(&[marker]);
    assert_eq!(restarted(&mut expected, marker, State::Reverting, 0.5), "");
}

#[test]
fn a_table_that_was_emptied_stays_empty_and_its_imports_have_ended() {
    let (mut expected, marker) = with_job(GOOD);
    let live = expected.jobs.live_on(0);
    expected.jobs.begin_cancel(&live);
    let generation = expected.next_generation();
    expected.tables[0].begin(Some(Table::empty(generation)));
    expected.tables[0].acknowledge();
    expected.jobs.cleared(&live);
    assert!(restarted(&mut expected, marker, State::Running, 0.5).contains("ended"));
    assert!(!found_table(&mut expected, marker, State::Succeeded, summary_of(GOOD)));
    assert!(found_table(&mut expected, marker, State::Succeeded, Some(Summary::default())));
}

#[test]
fn a_drop_under_way_leaves_the_table_as_it_was_or_nothing() {
    for (found, fits) in [(None, true), (Some(Summary::default()), true), (summary_of(GOOD), false)]
    {
        let (mut expected, marker) = with_job(GOOD);
        expected.tables[0].begin(None);
        assert_eq!(found_table(&mut expected, marker, State::Canceled, found), fits);
    }
}

#[test]
fn an_import_and_a_row_of_its_keys_are_never_both_there() {
    let mut expected = Expected::new(2, 1);
    let mut table = Table::empty(Generation(0));
    table.hand.insert(5, 1);
    assert_eq!(table.summary(Some(&SOURCES[GOOD])), None);
    table.changed.insert(5, None);
    assert!(table.summary(Some(&SOURCES[GOOD])).is_some(), "it was removed before");
    table.hand = BTreeMap::from([(HAND_FROM, 1)]);
    table.changed = BTreeMap::from([(2, Some(9)), (3, None)]);
    assert_eq!(table.row(Some(&SOURCES[GOOD]), 2), Some(9));
    assert_eq!(table.row(Some(&SOURCES[GOOD]), 3), None);
    assert_eq!(table.row(Some(&SOURCES[GOOD]), 4), Some(value(4)));
    assert_eq!(table.row(None, 4), None);
    let summary = table.summary(Some(&SOURCES[GOOD])).unwrap();
    assert_eq!(summary.rows, SOURCES[GOOD].rows());
    expected.tables[0].begin(Some(table));
    expected.tables[0].acknowledge();
}

#[test]
fn a_setting_that_goes_back_is_reported() {
    let mut expected = Expected::new(2, 1);
    expected.settings.insert("reclaim.paused", Known::new("false".to_owned()));
    let change = |expected: &mut Expected| {
        expected.settings.get_mut("reclaim.paused").unwrap().begin("true".to_owned());
    };
    change(&mut expected);
    expected.found_setting("reclaim.paused", "false").unwrap();
    change(&mut expected);
    expected.settings.get_mut("reclaim.paused").unwrap().acknowledge();
    assert!(expected.found_setting("reclaim.paused", "false").is_err());
}
