//! PAUSE and RESUME.

use std::sync::atomic::Ordering;

use super::kinds::{Plain, clean, ends, published_rows, setup, submit};
use crate::record::CheckpointRecord;
use crate::{ControlOptions, PauseOutcome, ResumeOutcome, State};

fn by() -> ControlOptions {
    ControlOptions::by("root")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_job_goes_on_where_it_was() {
    let (test, stage) = setup().await;
    let new = super::kinds::new("rows put:3 at:here put:2 publish");
    let id = test.submit_to::<Plain>(new, "here").await;
    let ids = [id];
    let view = test.jobs().get(id).await.unwrap().unwrap();
    assert_eq!(view.running_status, "pause point here");
    assert_eq!(stage.writes.load(Ordering::SeqCst), 3);
    assert_eq!(test.jobs().pause(&ids, by()).await.unwrap(), [PauseOutcome::AlreadyRequested]);
    assert_eq!(test.jobs().resume(&ids, by()).await.unwrap(), [ResumeOutcome::Resumed]);
    let view = ends(&test, id, State::Succeeded).await;
    assert_eq!((view.attempts, view.running_status.as_str()), (2, ""));
    assert_eq!(stage.writes.load(Ordering::SeqCst), 5, "nothing was done twice");
    assert_eq!(published_rows(test.engine()), [0, 1, 2, 3, 4]);
    clean(&test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_was_only_kept_survives_a_pause_and_a_crash_after_it() {
    let (mut test, _) = setup().await;
    // Named before the job exists, or it could be past the point already.
    test.pause_points("here");
    let id = submit(&test, "save:5 at:here hold").await;
    ends(&test, id, State::Paused).await;
    test.crash().await;
    let kept = CheckpointRecord::load(test.engine(), id).unwrap().unwrap();
    assert_eq!(kept.sequence, 6, "five saves, and the word after them");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reason_is_shown_and_a_second_pause_or_resume_is_a_success() {
    let (test, _) = setup().await;
    let id = submit(&test, "hold").await;
    test.wait_for(id, State::Running).await;
    let ids = [id];
    assert_eq!(test.jobs().resume(&ids, by()).await.unwrap(), [ResumeOutcome::AlreadyRunning]);
    test.jobs().pause(&ids, by().because("lunch")).await.unwrap();
    let view = ends(&test, id, State::Paused).await;
    assert_eq!((view.message.as_str(), view.running_status.as_str()), ("lunch", "lunch"));
    test.jobs().resume(&ids, by()).await.unwrap();
    let view = test.wait_for(id, State::Running).await;
    assert_eq!(view.message, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_job_can_be_paused_and_does_not_take_a_slot() {
    let (test, stage) = setup().await;
    let mut blockers = Vec::new();
    for _ in 0..4 {
        blockers.push(submit(&test, "block").await);
    }
    for &id in &blockers {
        test.wait_for(id, State::Running).await;
    }
    let id = submit(&test, "rows publish").await;
    test.jobs().pause(&[id], by()).await.unwrap();
    ends(&test, id, State::Paused).await;
    stage.release();
    for id in blockers {
        ends(&test, id, State::Succeeded).await;
    }
    assert_eq!(test.jobs().get(id).await.unwrap().unwrap().state, State::Paused);
    test.jobs().resume(&[id], by()).await.unwrap();
    test.wait_for(id, State::Succeeded).await;
}
