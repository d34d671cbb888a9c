//! The life of a job that nobody disturbs, and what can be seen of it.

use std::sync::Arc;
use std::time::Duration;

use cairn_engine::{Batch, Sync};

use super::kinds::{Plain, Script, clean, ends, new, published_rows, setup, submit};
use crate::list::Reclaim;
use crate::record::Control;
use crate::testkit::{ForgetfulDisk, open_free, soon};
use crate::{Failure, JobError, JobId, Jobs, JobsOptions, State};

fn failure(error: JobError) -> Failure {
    error.into_failure()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_runs_publishes_and_leaves_nothing_else() {
    let (test, _) = setup().await;
    let id = submit(&test, "rows scratch put:5 publish").await;
    let view = ends(&test, id, State::Succeeded).await;
    assert!((view.fraction - 1.0).abs() < f64::EPSILON);
    assert_eq!((view.rows, view.attempts), (5, 1));
    assert!(view.started.is_some() && view.finished.is_some() && view.error.is_none());
    assert_eq!(published_rows(test.engine()), [0, 1, 2, 3, 4]);
    clean(&test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_is_the_answer_also_when_nothing_goes_on_any_more() {
    let (test, _) = setup().await;
    let id = submit(&test, "publish").await;
    ends(&test, id, State::Succeeded).await;
    test.jobs().shutdown().await;
    for _ in 0..100 {
        let view = test.jobs().wait(id).await.unwrap();
        assert_eq!(view.state, State::Succeeded);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ingested_batches_become_visible_with_the_publish() {
    let (test, _) = setup().await;
    let id = submit(&test, "bulk ingest:3 publish").await;
    ends(&test, id, State::Succeeded).await;
    assert_eq!(published_rows(test.engine()), (0..30).collect::<Vec<_>>());
    clean(&test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_ends_without_publishing_keeps_nothing() {
    let (test, _) = setup().await;
    let id = submit(&test, "bulk ingest:2").await;
    ends(&test, id, State::Succeeded).await;
    clean(&test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_job_ends_failed_with_its_error_and_leaves_nothing() {
    let (test, _) = setup().await;
    let id = submit(&test, "rows put:3 fail").await;
    let view = ends(&test, id, State::Failed).await;
    let error = view.error.unwrap();
    assert_eq!((error.code.as_str(), error.message.as_str()), ("22P02", "bad line 7"));
    clean(&test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_fails_its_job_and_no_other() {
    let (test, _) = setup().await;
    let (bad, good) =
        (submit(&test, "rows put:1 panic").await, submit(&test, "rows publish").await);
    let view = ends(&test, bad, State::Failed).await;
    assert!(view.error.unwrap().message.contains("panicked: line 7"));
    ends(&test, good, State::Succeeded).await;
    clean(&test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_most_as_many_jobs_as_slots_run_and_the_others_are_pending() {
    let (test, stage) = setup().await;
    test.jobs().settings().set("jobs.concurrency", "1").unwrap();
    soon("one slot", async {
        while test.jobs().inner.slots.free() != 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let first = submit(&test, "block").await;
    test.wait_for(first, State::Running).await;
    let second = submit(&test, "rows publish").await;
    let view = test.jobs().get(second).await.unwrap().unwrap();
    assert_eq!(view.state, State::Pending);
    assert_eq!(view.running_status, "waiting for a free slot");
    stage.release();
    ends(&test, first, State::Succeeded).await;
    ends(&test, second, State::Succeeded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_in_a_callers_batch_exists_if_and_only_if_the_batch_does() {
    let (test, _) = setup().await;
    let mut batch = Batch::new();
    let dropped = test.jobs().submit_in::<Plain>(&mut batch, new("rows")).unwrap();
    let id = dropped.id();
    drop((dropped, batch));
    assert!(test.jobs().get(id).await.unwrap().is_none());
    let mut batch = Batch::new();
    let submission = test.jobs().submit_in::<Plain>(&mut batch, new("rows publish")).unwrap();
    test.engine().commit(batch, Sync::Yes).unwrap();
    let id = submission.committed();
    ends(&test, id, State::Succeeded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exclusive_job_is_refused_while_its_subject_is_taken() {
    let (test, stage) = setup().await;
    let on = |words: &str| crate::NewJob { subject: Some(7), exclusive: true, ..new(words) };
    let first = test.jobs().submit::<Plain>(on("block")).await.unwrap();
    assert_eq!(test.jobs().live_on(7), [first]);
    let refused = failure(test.jobs().submit::<Plain>(on("rows")).await.unwrap_err());
    assert_eq!(refused.code, "55006");
    assert!(refused.message.contains(&first.to_string()), "{refused}");
    stage.release();
    ends(&test, first, State::Succeeded).await;
    assert!(test.jobs().live_on(7).is_empty());
    test.jobs().submit::<Plain>(on("rows")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_an_event_and_a_line_of_history() {
    let (test, _) = setup().await;
    let mut events = test.jobs().events();
    let id = submit(&test, "rows fail").await;
    let mut states = Vec::new();
    while states.last() != Some(&State::Failed) {
        let event = soon("an event", events.recv()).await.unwrap();
        assert_eq!((event.id, event.kind.as_str()), (id, "SCRIPT"));
        states.push(event.state);
    }
    assert_eq!(states, [State::Pending, State::Running, State::Reverting, State::Failed]);
    let history = test.jobs().history(id).await.unwrap();
    let names: Vec<&str> = history.iter().map(|entry| entry.event.as_str()).collect();
    assert_eq!(names, ["submit", "start", "fail", "finish"]);
    assert_eq!(history[2].message, "bad line 7");
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_listed_in_order_of_submission_live_and_ended() {
    let (test, stage) = setup().await;
    let mut ids = vec![submit(&test, "rows publish").await];
    ends(&test, ids[0], State::Succeeded).await;
    ids.push(submit(&test, "block").await);
    test.wait_for(ids[1], State::Running).await;
    let listed = test.jobs().list().await.unwrap();
    assert_eq!(listed.iter().map(|view| view.id).collect::<Vec<_>>(), ids);
    assert_eq!(listed[0].state, State::Succeeded);
    assert_eq!(listed[1].state, State::Running);
    stage.release();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_job_is_42704_and_an_unregistered_kind_is_refused() {
    let (test, _) = setup().await;
    let nobody = JobId::from_raw(42).unwrap();
    assert_eq!(failure(test.jobs().wait(nobody).await.unwrap_err()).code, "42704");
    let other = crate::testkit::TestJobs::new(|_| {}).await;
    let refused = failure(other.jobs().submit::<Plain>(new("rows")).await.unwrap_err());
    assert!(refused.message.contains("unknown kind of job SCRIPT"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn writing_into_a_span_without_a_claim_fails_the_job() {
    let (test, _) = setup().await;
    let id = submit(&test, "rows put:1 stray publish").await;
    let view = ends(&test, id, State::Failed).await;
    let error = view.error.unwrap();
    assert!(error.message.contains("without a claim"), "{error}");
    clean(&test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn finished_jobs_go_after_their_retention_time_with_everything_of_them() {
    let (test, _) = setup().await;
    let gone = submit(&test, "bulk ingest:2").await;
    ends(&test, gone, State::Succeeded).await;
    clean(&test).await;
    test.clock().advance(Duration::from_hours(335));
    let kept = submit(&test, "rows publish").await;
    ends(&test, kept, State::Succeeded).await;
    assert!(test.jobs().get(gone).await.unwrap().is_some());
    test.clock().advance(Duration::from_hours(2));
    soon("the removal", async {
        while test.jobs().get(gone).await.unwrap().is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(test.jobs().history(gone).await.unwrap().is_empty());
    let listed = test.jobs().list().await.unwrap();
    assert_eq!(listed.iter().map(|view| view.id).collect::<Vec<_>>(), [kept]);
    clean(&test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_last_handle_stops_the_jobs_and_the_next_open_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    for attempt in 1..=3 {
        // Succeeds once nobody has the store any more.
        let engine =
            soon("the end of all jobs", open_free(folder.path(), &ForgetfulDisk::default())).await;
        let jobs = Jobs::open(&engine, JobsOptions::default()).unwrap();
        jobs.register::<Plain>(Script(Arc::default()));
        jobs.start().unwrap();
        if attempt == 1 {
            jobs.submit::<Plain>(new("rows put:2 hold")).await.unwrap();
        }
        let id = jobs.list().await.unwrap()[0].id;
        let runs = |view: &crate::JobView| view.attempts == attempt && view.rows == 2;
        soon("the attempt", jobs.wait_until(id, runs)).await.unwrap();
        engine.shutdown();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_removed_while_it_is_listed_is_left_out() {
    let (test, _) = setup().await;
    let id = submit(&test, "rows put:5 publish").await;
    ends(&test, id, State::Succeeded).await;
    let inner = &test.jobs().inner;
    // What a listing has read before the job is removed, and what it makes of it before and after.
    let control = Control::load(&inner.engine, id).unwrap().unwrap();
    let view = inner.stored_view(&control, &Reclaim::default()).unwrap().unwrap();
    assert_eq!((view.state, view.rows), (State::Succeeded, 5));
    clean(&test).await;
    // A job is live for a moment after its end, and is not removed then.
    let later = inner.clock.now().plus(Duration::from_hours(24 * 365));
    soon("the removal", async {
        while Control::load(&inner.engine, id).unwrap().is_some() {
            crate::retention::run_once(inner, later).unwrap();
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(inner.stored_view(&control, &Reclaim::default()).unwrap(), None);
    clean(&test).await;
}
