//! CANCEL in every situation: what it answers, how the job ends, and that nothing is left.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::kinds::{Plain, clean, ends, new, published_rows, setup, submit, submit_undoing};
use crate::testkit::{TestJobs, soon};
use crate::{CancelOutcome, ControlOptions, JobId, ResumeOutcome, State};

fn by() -> ControlOptions {
    ControlOptions::by("root")
}

async fn cancel(test: &TestJobs, id: JobId) -> CancelOutcome {
    test.jobs().cancel(&[id], by()).await.unwrap().remove(0)
}

async fn until_blocked(stage: &super::kinds::Stage) {
    soon("a blocked worker", async {
        while stage.blocked.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stores_in_one_process_do_not_know_of_each_other() {
    let ((mut one, _), (two, stage)) = (setup().await, setup().await);
    // Their jobs, spans and folders have the same ids.
    let kept = submit(&two, "rows scratch put:4 block publish").await;
    until_blocked(&stage).await;
    let doomed = submit(&one, "rows scratch put:3 hold").await;
    one.wait_for(doomed, State::Running).await;
    assert_eq!(cancel(&one, doomed).await, CancelOutcome::Requested);
    ends(&one, doomed, State::Canceled).await;
    clean(&one).await;
    one.crash().await;
    assert_eq!(doomed, kept);
    assert_eq!(two.jobs().get(kept).await.unwrap().unwrap().state, State::Running);
    stage.release();
    ends(&two, kept, State::Succeeded).await;
    assert_eq!(published_rows(two.engine()), [0, 1, 2, 3]);
    clean(&two).await;
    clean(&one).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_job_is_canceled_and_leaves_nothing() {
    let (test, _) = setup().await;
    for words in ["rows put:3 hold", "bulk ingest:2 hold", "rows scratch spin", "hold"] {
        let id = submit(&test, words).await;
        test.wait_for(id, State::Running).await;
        assert_eq!(cancel(&test, id).await, CancelOutcome::Requested);
        let view = ends(&test, id, State::Canceled).await;
        let error = view.error.unwrap();
        assert_eq!(
            (error.code.as_str(), error.message.as_str()),
            ("57014", "job canceled by user")
        );
        assert!(view.finished.is_some());
        clean(&test).await;
    }
    assert!(published_rows(test.engine()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_after_rows_were_ingested_gives_the_space_back() {
    let (test, stage) = setup().await;
    let id = submit(&test, "bulk ingest:3 block publish").await;
    until_blocked(&stage).await;
    assert!(!test.engine().stored_spans(cairn_engine::SpanFamily::Bulk).unwrap().is_empty());
    assert_eq!(cancel(&test, id).await, CancelOutcome::Requested);
    stage.release();
    ends(&test, id, State::Canceled).await;
    soon("reclaim", test.jobs().wait_reclaimed(id)).await.unwrap();
    let view = test.jobs().get(id).await.unwrap().unwrap();
    assert_eq!((view.bytes_to_reclaim, view.rows), (0, 30));
    clean(&test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_job_is_canceled_without_ever_running() {
    let (test, stage) = setup().await;
    let blockers = [
        submit(&test, "block").await,
        submit(&test, "block").await,
        submit(&test, "block").await,
        submit(&test, "block").await,
    ];
    for id in blockers {
        test.wait_for(id, State::Running).await;
    }
    let id = submit(&test, "rows put:1 publish").await;
    assert_eq!(cancel(&test, id).await, CancelOutcome::Requested);
    let view = ends(&test, id, State::Canceled).await;
    assert_eq!((view.attempts, view.started), (0, None));
    stage.release();
    for id in blockers {
        ends(&test, id, State::Succeeded).await;
    }
    clean(&test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_job_is_canceled() {
    let (test, _) = setup().await;
    let id = submit(&test, "rows put:3 hold").await;
    test.wait_for(id, State::Running).await;
    test.jobs().pause(&[id], by()).await.unwrap();
    ends(&test, id, State::Paused).await;
    assert_eq!(cancel(&test, id).await, CancelOutcome::Requested);
    test.wait_for(id, State::Canceled).await;
    clean(&test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_pausing_refuses_until_it_is_paused() {
    let (test, stage) = setup().await;
    let id = submit(&test, "rows block").await;
    until_blocked(&stage).await;
    test.jobs().pause(&[id], by()).await.unwrap();
    let refused = CancelOutcome::Refused { state: State::PauseRequested };
    assert_eq!(cancel(&test, id).await, refused);
    stage.release();
    test.wait_for(id, State::Paused).await;
    assert_eq!(cancel(&test, id).await, CancelOutcome::Requested);
    test.wait_for(id, State::Canceled).await;
    clean(&test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_being_undone_refuses_whatever_the_cause() {
    let (test, stage) = setup().await;
    stage.undo_fails.store(1, Ordering::SeqCst);
    let failed = submit_undoing(&test, "rows put:1 fail").await;
    test.wait_for(failed, State::Reverting).await;
    let refused = CancelOutcome::Refused { state: State::Reverting };
    assert_eq!(cancel(&test, failed).await, refused);
    soon("a retry of undo", test.jobs().wait_until(failed, |view| view.retries == 1))
        .await
        .unwrap();
    test.clock().advance(Duration::from_secs(2));
    let view = ends(&test, failed, State::Failed).await;
    assert_eq!(view.error.unwrap().message, "bad line 7", "the first error is the one that counts");
    assert_eq!(stage.undone.load(Ordering::SeqCst), 2);
    clean(&test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_paused_while_being_undone_has_to_be_resumed() {
    let (test, stage) = setup().await;
    test.pause_points("undo.begin");
    let id = submit_undoing(&test, "rows put:1 fail").await;
    let view = ends(&test, id, State::Paused).await;
    assert_eq!(view.running_status, "pause point undo.begin");
    assert_eq!(cancel(&test, id).await, CancelOutcome::Refused { state: State::Paused });
    test.pause_points("");
    let resumed = test.jobs().resume(&[id], by()).await.unwrap();
    assert_eq!(resumed, [ResumeOutcome::Resumed]);
    ends(&test, id, State::Failed).await;
    assert_eq!(stage.undone.load(Ordering::SeqCst), 2);
    clean(&test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_twice_is_one_cancel() {
    let (test, stage) = setup().await;
    let id = submit(&test, "rows put:1 block").await;
    until_blocked(&stage).await;
    assert_eq!(cancel(&test, id).await, CancelOutcome::Requested);
    assert_eq!(cancel(&test, id).await, CancelOutcome::AlreadyRequested);
    stage.release();
    ends(&test, id, State::Canceled).await;
    let again = cancel(&test, id).await;
    assert_eq!(again, CancelOutcome::AlreadyTerminal(State::Canceled));
    assert!(again.is_success());
    let events = test.jobs().history(id).await.unwrap();
    assert_eq!(events.iter().filter(|entry| entry.event == "request-cancel").count(), 1);
    clean(&test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_sessions_that_cancel_at_once_one_is_first() {
    let (test, _) = setup().await;
    for _ in 0..20 {
        let id = submit(&test, "rows put:2 hold").await;
        test.wait_for(id, State::Running).await;
        let ids = [id];
        let (one, two) =
            tokio::join!(test.jobs().cancel(&ids, by()), test.jobs().cancel(&ids, by()));
        let outcomes = [one.unwrap().remove(0), two.unwrap().remove(0)];
        let requested = outcomes.iter().filter(|one| **one == CancelOutcome::Requested).count();
        assert_eq!(requested, 1, "{outcomes:?}");
        ends(&test, id, State::Canceled).await;
    }
    clean(&test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_right_before_the_publish_wins_and_right_after_it_loses() {
    let (test, stage) = setup().await;
    let before = submit(&test, "rows put:2 block publish").await;
    until_blocked(&stage).await;
    assert_eq!(cancel(&test, before).await, CancelOutcome::Requested);
    stage.release();
    ends(&test, before, State::Canceled).await;
    assert!(published_rows(test.engine()).is_empty());
    let after = submit(&test, "rows put:2 publish").await;
    ends(&test, after, State::Succeeded).await;
    assert_eq!(cancel(&test, after).await, CancelOutcome::AlreadyTerminal(State::Succeeded));
    assert_eq!(published_rows(test.engine()), [0, 1]);
    clean(&test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_that_races_with_the_publish_is_either_and_never_both() {
    let (test, _) = setup().await;
    let (mut canceled, mut rows) = (0, 0);
    for round in 0..40 {
        let id = submit(&test, "rows put:1 publish").await;
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        let outcome = cancel(&test, id).await;
        let view = test.wait(id).await;
        match (outcome, view.state) {
            (CancelOutcome::Requested, State::Canceled) => canceled += 1,
            (CancelOutcome::AlreadyTerminal(State::Succeeded), State::Succeeded) => rows += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(published_rows(test.engine()).len(), rows);
    assert_eq!(canceled + rows, 40);
    clean(&test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_or_nothing_changes_nothing_if_one_job_refuses() {
    let (test, _) = setup().await;
    let done = submit(&test, "rows publish").await;
    ends(&test, done, State::Succeeded).await;
    let running = submit(&test, "hold").await;
    test.wait_for(running, State::Running).await;
    let nobody = JobId::from_raw(42).unwrap();
    let ids = [running, done, nobody];
    let outcomes = test.jobs().cancel(&ids, by().all_or_nothing()).await.unwrap();
    assert_eq!(
        outcomes,
        [
            CancelOutcome::Requested,
            CancelOutcome::AlreadyTerminal(State::Succeeded),
            CancelOutcome::NotFound
        ]
    );
    assert_eq!(test.jobs().get(running).await.unwrap().unwrap().state, State::Running);
    let outcomes = test.jobs().cancel(&ids, by().because("cleanup")).await.unwrap();
    assert_eq!(outcomes[0], CancelOutcome::Requested);
    let view = ends(&test, running, State::Canceled).await;
    assert_eq!(view.error.unwrap().detail.unwrap(), "reason: cleanup");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_past_its_point_of_no_return_refuses() {
    let (test, stage) = setup().await;
    let id = submit(&test, "rows put:1 never block publish").await;
    until_blocked(&stage).await;
    let outcome = cancel(&test, id).await;
    assert!(matches!(outcome, CancelOutcome::NotCancellable { .. }), "{outcome:?}");
    stage.release();
    ends(&test, id, State::Succeeded).await;
    clean(&test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_does_not_stop_is_fenced_and_canceled_is_said_when_it_is_true() {
    let (test, stage) = setup().await;
    let id = submit(&test, "rows put:1 block put:9 publish").await;
    until_blocked(&stage).await;
    assert_eq!(cancel(&test, id).await, CancelOutcome::Requested);
    let mut views = test.jobs().subscribe(id).await.unwrap();
    // The clock moves in steps: the driver may begin its wait after the first.
    let unresponsive = soon("giving up the worker", async {
        loop {
            test.clock().advance(Duration::from_secs(11));
            let view = views.borrow_and_update().clone();
            if view.state == State::Reverting && view.running_status == "worker unresponsive" {
                break view;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(unresponsive.message, "worker unresponsive");
    // What it wrote is given back although it still runs.
    soon("reclaim", test.jobs().wait_reclaimed(id)).await.unwrap();
    assert_eq!(test.jobs().get(id).await.unwrap().unwrap().state, State::Reverting);
    let writes = stage.writes.load(Ordering::SeqCst);
    stage.release();
    ends(&test, id, State::Canceled).await;
    assert_eq!(stage.writes.load(Ordering::SeqCst), writes, "nothing was written after the fence");
    clean(&test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_a_worker_leaked_writes_nothing_after_the_end_of_its_job() {
    for (words, end) in [("rows leak", State::Succeeded), ("rows leak:hold", State::Canceled)] {
        let (test, stage) = setup().await;
        let id = submit(&test, words).await;
        if end == State::Canceled {
            soon("a leaked write", async {
                while stage.writes.load(Ordering::SeqCst) == 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            })
            .await;
            assert_eq!(cancel(&test, id).await, CancelOutcome::Requested);
        }
        ends(&test, id, end).await;
        soon("reclaim", test.jobs().wait_reclaimed(id)).await.unwrap();
        test.assert_no_write_after_terminal(id).await;
        soon("the end of the leaked task", async {
            while stage.leaked.load(Ordering::SeqCst) > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        clean(&test).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_with_an_undo_whose_code_is_absent_waits_and_one_without_does_not() {
    let (mut test, stage) = setup().await;
    let plain = submit(&test, "rows put:1 hold").await;
    let undoing = submit_undoing(&test, "rows put:1 hold").await;
    for id in [plain, undoing] {
        test.wait_for(id, State::Running).await;
    }
    test.register(|_| {});
    test.reopen().await;
    for id in [plain, undoing] {
        assert_eq!(cancel(&test, id).await, CancelOutcome::Requested);
    }
    ends(&test, plain, State::Canceled).await;
    let waits = |view: &crate::JobView| {
        view.state == State::Reverting && view.running_status.contains("to be registered")
    };
    soon("the wait", test.jobs().wait_until(undoing, waits)).await.unwrap();
    test.jobs().register(super::kinds::Script::<true>(stage.clone()));
    ends(&test, undoing, State::Canceled).await;
    assert_eq!(stage.undone.load(Ordering::SeqCst), 1);
    clean(&test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_test_kit_cancels_at_a_checkpoint() {
    let (test, _) = setup().await;
    let id = test.cancel_at::<Plain>(new("rows put:5 publish"), 3).await;
    let view = ends(&test, id, State::Canceled).await;
    // The first checkpoint is that of the claim.
    assert_eq!(view.rows, 2, "{view:?}");
    clean(&test).await;
}
