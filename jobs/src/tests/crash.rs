//! Crashes: at every durable step, twice in a row, and in every state.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::kinds::{Args, At, Stage, clean, ends, published_rows, setup, submit, submit_undoing};
use crate::testkit::{TestJobs, conformance};
use crate::{Context, ControlOptions, JobId, JobKind, Result, State};

fn by() -> ControlOptions {
    ControlOptions::by("root")
}

/// What one run went through, for a crash at each of its points.
async fn recorded(words: &str, drive: impl AsyncFn(&TestJobs, JobId)) -> Vec<String> {
    let (test, _) = setup().await;
    test.engine().crash().record();
    let id = submit_undoing(&test, words).await;
    drive(&test, id).await;
    let mut points = test.engine().crash().recorded();
    points.retain(|point| !point.starts_with("reclaim"));
    points
}

/// Crashes at each point of a run, opens again, lets the job end, and checks the end.
async fn crash_everywhere(words: &str, cancel: bool, state: State, rows: &[u64]) {
    let drive = async |test: &TestJobs, id: JobId| {
        if cancel {
            let _ = test.jobs().wait_until(id, |view| view.rows >= 2).await;
            let _ = test.jobs().cancel(&[id], by()).await;
        }
        let _ = test.jobs().wait(id).await;
    };
    let points = recorded(words, drive).await;
    assert!(points.len() > 10, "{points:?}");
    let mut seen = std::collections::BTreeMap::<String, u32>::new();
    for point in points {
        let nth = seen.entry(point.clone()).and_modify(|nth| *nth += 1).or_insert(1);
        crash_at(words, &point, *nth, cancel, state, rows).await;
    }
}

async fn crash_at(words: &str, point: &str, nth: u32, cancel: bool, state: State, rows: &[u64]) {
    let (mut test, _) = setup().await;
    test.crash_at(point, nth);
    let submitted = test.jobs().submit::<super::kinds::Undoing>(super::kinds::new(words)).await;
    if let Ok(id) = submitted {
        let alive = async {
            if cancel {
                let _ = test.jobs().wait_until(id, |view| view.rows >= 2).await;
                let _ = test.jobs().cancel(&[id], by()).await;
            }
            let _ = test.jobs().wait(id).await;
        };
        tokio::select! {
            () = alive => {}
            () = test.until_dead() => {}
        }
    }
    test.reopen().await;
    let jobs = test.jobs().list().await.unwrap();
    if jobs.is_empty() {
        assert!(point.starts_with("jobs.submit"), "the job was lost at {point} {nth}");
        return;
    }
    assert_eq!(jobs.len(), 1);
    let id = jobs[0].id;
    if cancel && !jobs[0].state.is_terminal() {
        // An acknowledged cancel is durable; one that was not may be asked for again.
        let _ = test.jobs().cancel(&[id], by()).await.unwrap();
    }
    let view = test.wait(id).await;
    assert_eq!(view.state, state, "after {point} {nth}: {view:?}");
    assert_eq!(published_rows(test.engine()), rows, "after {point} {nth}");
    clean(&test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_commits_survives_a_crash_at_every_point() {
    crash_everywhere("rows put:3 publish", false, State::Succeeded, &[0, 1, 2]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_ingests_survives_a_crash_at_every_point() {
    let rows: Vec<u64> = (0..20).collect();
    crash_everywhere("bulk scratch ingest:2 publish", false, State::Succeeded, &rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_job_leaves_nothing_after_a_crash_at_any_point() {
    crash_everywhere("bulk ingest:1 scratch fail", false, State::Failed, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canceled_job_leaves_nothing_after_a_crash_at_any_point() {
    crash_everywhere("rows put:2 scratch hold", true, State::Canceled, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_and_checkpoints_never_go_backwards_also_when_paused_crashed_and_resumed_twice() {
    let (mut test, stage) = setup().await;
    let new = super::kinds::new("bulk ingest:4 at:here ingest:2 publish");
    let id = test.submit_to::<super::kinds::Plain>(new, "jobs.checkpoint.2").await;
    let mut rows = 0;
    let mut sequence = 0;
    for checkpoint in [3, 5] {
        assert!(test.run_to_checkpoint(id, checkpoint).await);
        for _ in 0..2 {
            test.crash().await;
            let view = test.wait(id).await;
            assert_eq!(view.state, State::Paused);
            assert!(view.rows >= rows, "{} after {rows}", view.rows);
            rows = view.rows;
        }
        test.jobs().resume(&[id], by()).await.unwrap();
        let view = test.wait_for(id, State::Running).await;
        assert!(view.rows >= rows);
        test.crash().await;
        let stored = crate::record::CheckpointRecord::load(test.engine(), id).unwrap().unwrap();
        assert!(stored.sequence >= sequence, "{} after {sequence}", stored.sequence);
        sequence = stored.sequence;
    }
    ends(&test, id, State::Succeeded).await;
    assert_eq!(published_rows(test.engine()), (0..60).collect::<Vec<_>>());
    let redone = stage.writes.load(Ordering::SeqCst) - 6;
    assert!(redone <= 4, "{redone} batches were redone; at most one per crash of a worker");
    clean(&test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_unfinished_job_is_adopted_in_the_state_it_was_in() {
    let (mut test, _) = setup().await;
    let mut ids = Vec::new();
    for words in ["rows put:2 hold", "rows put:2 hold", "rows put:2 hold"] {
        let id = submit(&test, words).await;
        let _ = test.jobs().wait_until(id, |view| view.rows == 2).await;
        ids.push(id);
    }
    test.jobs().pause(&ids[1..2], by()).await.unwrap();
    test.wait_for(ids[1], State::Paused).await;
    // The cancel is durable, and nothing after it.
    test.crash_at("jobs.revert.before", 1);
    test.jobs().cancel(&ids[2..], by()).await.unwrap();
    test.until_dead().await;
    test.reopen().await;
    ends(&test, ids[2], State::Canceled).await;
    assert_eq!(test.wait(ids[1]).await.state, State::Paused);
    let view = test.wait_for(ids[0], State::Running).await;
    assert_eq!(view.rows, 2);
    test.jobs().cancel(&ids[..2], by()).await.unwrap();
    for id in [ids[0], ids[1]] {
        test.wait_for(id, State::Canceled).await;
    }
    clean(&test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_was_requested_before_the_crash_is_a_pause_after_it() {
    let (mut test, stage) = setup().await;
    let id = submit(&test, "rows put:1 block publish").await;
    let _ = test.jobs().wait_until(id, |view| view.rows == 1).await;
    test.crash_at("jobs.pause.before", 1);
    test.jobs().pause(&[id], by()).await.unwrap();
    stage.release();
    test.until_dead().await;
    test.reopen().await;
    ends(&test, id, State::Paused).await;
    test.jobs().resume(&[id], by()).await.unwrap();
    test.wait_for(id, State::Succeeded).await;
    clean(&test).await;
}

/// The kind of `kinds`, a version later: `At::rows` was called `lines` and counted from 1.
struct Later(Arc<Stage>);

impl JobKind for Later {
    const NAME: &'static str = "SCRIPT";
    const VERSION: u32 = 2;
    type Args = Args;
    type Checkpoint = At;

    fn migrate(&self, from_version: u32, bytes: &[u8]) -> Result<Args> {
        assert_eq!(from_version, 1);
        let old: Args = crate::migrate::decode(bytes)?;
        Ok(Args { words: format!("{} migrated", old.words) })
    }

    fn migrate_checkpoint(&self, from_version: u32, bytes: &[u8]) -> Result<At> {
        assert_eq!(from_version, 1);
        let old: At = crate::migrate::decode(bytes)?;
        Ok(At { rows: old.rows + 100, ..old })
    }

    async fn run(&self, cx: Context<Self>) -> Result<()> {
        self.0.writes.store(u32::try_from(cx.checkpoint().rows).unwrap(), Ordering::SeqCst);
        assert!(cx.args().words.ends_with("migrated"));
        cx.save(&At { rows: 7, ..cx.checkpoint() }).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_version_of_a_kind_takes_over_and_an_older_one_waits() {
    let (mut test, stage) = setup().await;
    let id = submit(&test, "rows put:3 hold").await;
    let _ = test.jobs().wait_until(id, |view| view.rows == 3).await;
    let on_stage = Arc::clone(&stage);
    test.register(move |jobs| jobs.register(Later(Arc::clone(&on_stage))));
    test.reopen().await;
    ends(&test, id, State::Succeeded).await;
    assert_eq!(stage.writes.load(Ordering::SeqCst), 103);
    // And back: a job of version 2 is not touched by version 1.
    let newer = test.jobs().submit::<Later>(super::kinds::new("x")).await.unwrap();
    ends(&test, newer, State::Failed).await;
    let mut waiting = super::kinds::new("hold migrated");
    waiting.description = "newer".to_owned();
    test.jobs().settings().set("jobs.debug.pausepoints", "jobs.checkpoint.1").unwrap();
    let newer = test.jobs().submit::<Later>(waiting).await.unwrap();
    ends(&test, newer, State::Paused).await;
    let on_stage = Arc::clone(&stage);
    test.register(move |jobs| {
        jobs.register::<super::kinds::Plain>(super::kinds::Script(Arc::clone(&on_stage)));
    });
    test.reopen().await;
    test.pause_points("");
    test.jobs().resume(&[newer], by()).await.unwrap();
    let waits = |view: &crate::JobView| view.running_status.contains("version 2 of SCRIPT");
    let view = test.jobs().wait_until(newer, waits).await.unwrap();
    assert_eq!(view.state, State::Running);
    test.jobs().cancel(&[newer], by()).await.unwrap();
    ends(&test, newer, State::Canceled).await;
    clean(&test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_ingests_conforms() {
    let tried = conformance::<super::kinds::Plain>().await;
    assert!(tried.checkpoints >= 4 && tried.crashes > 10, "{tried:?}");
    assert!(tried.crashes_in_cancel > 5, "{tried:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_commits_and_has_an_undo_conforms() {
    let tried = conformance::<super::kinds::Undoing>().await;
    assert!(tried.checkpoints >= 3 && tried.crashes > 10, "{tried:?}");
}
