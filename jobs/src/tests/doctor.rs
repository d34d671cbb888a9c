//! What the doctor finds when something is wrong, and that damage in one job is not damage to others.

use std::collections::BTreeMap;

use bytes::Bytes;
use cairn_engine::envelope::kind;
use cairn_engine::{Batch, ClaimKind, Epoch, Family, OwnerId, Sync};
use prost::Message as _;

use super::kinds::{clean, ends, published, setup, submit};
use crate::record::{CheckpointRecord, FIRST, PayloadRecord, key};
use crate::testkit::TestJobs;
use crate::{JobId, State, doctor};

fn findings(test: &TestJobs) -> Vec<String> {
    let found = doctor(test.engine(), &published(test.engine())).unwrap();
    found.iter().map(ToString::to_string).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_without_a_live_job_is_found() {
    let (test, _) = setup().await;
    let ended = submit(&test, "rows publish").await;
    ends(&test, ended, State::Succeeded).await;
    clean(&test).await;
    for owner in [OwnerId::from_raw(77), ended.owner(), OwnerId::from_raw(u64::MAX)] {
        // Nobody but a job claims; here somebody does behind its back.
        let latch = test.engine().latch(owner, Epoch::from_raw(1_000));
        latch.raise(Epoch::from_raw(1_000));
        test.engine().claim(owner, Epoch::from_raw(1_000), ClaimKind::Scratch).unwrap();
    }
    let findings = findings(&test).join("\n");
    assert!(findings.contains("job 77, which does not exist"), "{findings}");
    assert!(findings.contains(&format!("job {ended}, which is succeeded")), "{findings}");
    assert!(findings.contains("which is no job"), "{findings}");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_without_a_job_and_keys_of_unknown_form_are_found() {
    let (test, _) = setup().await;
    let nobody = JobId::from_raw(5).unwrap();
    let mut batch = Batch::new();
    CheckpointRecord::default().put(&mut batch, nobody);
    PayloadRecord { version: 1, args: Bytes::new() }.put(&mut batch, nobody);
    batch.put_record(Family::History, &crate::history::key(nobody, 0), kind::JOB_HISTORY, b"");
    batch.put_record(Family::Progress, b"odd", kind::JOB_PROGRESS, b"");
    test.engine().commit(batch, Sync::Yes).unwrap();
    let findings = findings(&test);
    assert_eq!(findings.len(), 4, "{findings:?}");
    let orphans = findings.iter().filter(|one| one.contains("job 5, which does not exist"));
    assert_eq!(orphans.count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_job_is_named_and_left_alone_and_all_others_go_on() {
    let (mut test, _) = setup().await;
    let id = submit(&test, "rows put:1 hold").await;
    test.wait_for(id, State::Running).await;
    let damaged = JobId::from_raw(id.raw() + 1).unwrap();
    let mut batch = Batch::new();
    let record = crate::record::ControlRecord { state: 99, ..Default::default() };
    let key = key(FIRST, damaged);
    batch.put_record(Family::Jobs, &key, kind::JOB_CONTROL, &record.encode_to_vec());
    test.engine().commit(batch, Sync::Yes).unwrap();
    test.reopen().await;
    test.wait_for(id, State::Running).await;
    assert_eq!(test.jobs().list().await.unwrap().len(), 1);
    let found = findings(&test).join("\n");
    assert!(found.contains("expected a known state"), "{found}");
    let error = test.jobs().get(damaged).await.unwrap_err().into_failure();
    assert_eq!(error.code, "XX001");
    // A new id is above the damaged one, too.
    let next = submit(&test, "rows publish").await;
    assert!(next > damaged);
    assert!(test.jobs().doctor(BTreeMap::new()).await.is_ok());
}
