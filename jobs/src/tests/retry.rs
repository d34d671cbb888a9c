//! Errors that pass: back-off by the clock, and a job that stays `running`.

use std::time::Duration;

use super::kinds::{Plain, Script, clean, ends, setup, submit};
use crate::testkit::{TestJobs, soon};
use crate::{ControlOptions, JobId, State};

async fn until_retries(test: &TestJobs, id: JobId, retries: u32) -> crate::JobView {
    let enough = move |view: &crate::JobView| view.retries == retries && view.next_run.is_some();
    soon("the retry", test.jobs().wait_until(id, enough)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_waits_longer_after_each_error_and_shows_why() {
    let (test, _) = setup().await;
    let id = submit(&test, "rows put:1 retry:3 publish").await;
    let mut last = Duration::ZERO;
    for retries in 1..=3 {
        let view = until_retries(&test, id, retries).await;
        assert_eq!((view.state, view.attempts), (State::Running, retries));
        assert_eq!(view.display_status(test.jobs().clock().now()), "retry-running");
        assert!(view.running_status.contains("no answer"), "{}", view.running_status);
        let wait = view.next_run.unwrap().since(test.jobs().clock().now());
        assert!(wait > last, "{wait:?} after {last:?}");
        last = wait;
        test.clock().advance(wait);
    }
    let view = ends(&test, id, State::Succeeded).await;
    assert_eq!((view.attempts, view.retries, view.message.as_str()), (4, 0, ""));
    clean(&test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_waits_for_its_retry_can_be_paused_and_canceled() {
    let (test, _) = setup().await;
    for pause in [true, false] {
        let id = submit(&test, "rows put:1 retry:99").await;
        until_retries(&test, id, 1).await;
        if pause {
            test.jobs().pause(&[id], ControlOptions::by("root")).await.unwrap();
            ends(&test, id, State::Paused).await;
        }
        test.jobs().cancel(&[id], ControlOptions::by("root")).await.unwrap();
        test.wait_for(id, State::Canceled).await;
    }
    clean(&test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_back_off_survives_a_restart() {
    let (mut test, _) = setup().await;
    let id = submit(&test, "rows retry:1 publish").await;
    let before = until_retries(&test, id, 1).await;
    test.crash().await;
    let after = until_retries(&test, id, 1).await;
    assert_eq!((after.next_run, after.attempts), (before.next_run, 1));
    test.clock().advance(Duration::from_secs(5));
    ends(&test, id, State::Succeeded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_cannot_be_undone_any_more_tries_again_after_a_panic() {
    let (test, _) = setup().await;
    let id = submit(&test, "rows put:1 never panic").await;
    let view = until_retries(&test, id, 1).await;
    assert_eq!(view.state, State::Running);
    assert!(view.message.contains("panicked"), "{}", view.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seed_decides_how_long_a_retry_is_waited_for() {
    let mut waits = Vec::new();
    for seed in [7, 7, 8] {
        let test = TestJobs::seeded(seed, |jobs| {
            jobs.register::<Plain>(Script(std::sync::Arc::default()));
        })
        .await;
        let id = submit(&test, "rows retry:1 publish").await;
        let view = until_retries(&test, id, 1).await;
        waits.push(view.next_run.unwrap().since(test.jobs().clock().now()));
    }
    assert_eq!(waits[0], waits[1]);
    assert_ne!(waits[0], waits[2]);
}
